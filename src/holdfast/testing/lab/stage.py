"""The stage: two providers, a proxy in front of each, a gateway that keeps everything on both, and its clients.

Answers for starting all of it in the right order and for ending it whatever happens. Invariant: when the context is over no process
of it runs and its directory can be removed.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from holdfast.clock import Clock
from holdfast.serve.status import Status
from holdfast.testing.lab.gateway import FROM_GRIDS, STORE, Gateway, GridAt, Names
from holdfast.testing.lab.network.faults import PROCESS, Fault, Kind
from holdfast.testing.lab.network.proxy import Proxy
from holdfast.testing.lab.providers import Make, Provider
from holdfast.testing.lab.workload import Workload

GRIDS: Final = ("a", "b")
_LOOK_S: Final = 0.2


class NotSettled(Exception):
    """Something is still owed although there was time."""


class Stage:
    """All that a scenario needs, running."""

    def __init__(
        self,
        providers: dict[str, Provider],
        proxies: dict[str, Proxy],
        gateway: Gateway,
        workload: Workload,
        clock: Clock,
    ) -> None:
        self.providers = providers
        self.proxies = proxies
        self.gateway = gateway
        self.workload = workload
        self.clock = clock

    @property
    def met(self) -> int:
        """How many requests the proxies did something wrong to, ever."""
        return sum(proxy.met for proxy in self.proxies.values())

    def begin(self, faults: Sequence[Fault]) -> None:
        """From now on these faults take their course, those of processes excepted: see `die`."""
        for proxy in self.proxies.values():
            proxy.begin(faults)

    def heal(self) -> None:
        """The proxies do nothing wrong any more."""
        for proxy in self.proxies.values():
            proxy.heal()

    async def die(self, fault: Fault) -> None:
        """Let the processes of these grids die as the fault says."""
        assert fault.kind in PROCESS
        for name in fault.grids:
            provider = self.providers[name]
            await (provider.lose() if fault.kind is Kind.LOSS else provider.kill())

    async def revive(self, fault: Fault) -> None:
        """Start the processes of these grids again."""
        for name in fault.grids:
            await self.providers[name].start()

    async def until(self, holds: Callable[[Status], bool], patience_s: float) -> float | None:
        """Look at the gateway's status until something holds; returns the seconds, None when there was not time enough."""
        began_s = self.clock.monotonic_s()
        while (waited_s := self.clock.monotonic_s() - began_s) < patience_s:
            with contextlib.suppress(OSError):
                if holds(await self.gateway.status()):
                    return waited_s
            await self.clock.sleep(_LOOK_S)
        return None


def settled(status: Status) -> bool:
    """Every grid holds everything, and no more is kept here than shall be."""
    up = all(grid.state == "up" for grid in status.grids)
    return (
        up
        and not (status.owed or status.tombstones or status.spool_bytes)
        and status.inline_bytes <= status.inline_limit
    )


@asynccontextmanager
async def open_stage(
    folder: Path,
    *,
    clock: Clock,
    makes: Sequence[Make] = ("holdfast", "rclone"),
    tls: bool = False,
    names: bool = False,
    proxied: bool = True,
    settings: str = FROM_GRIDS,
) -> AsyncIterator[Stage]:
    """Start everything. Raises NotStarted.

    Without proxies only processes can fail.
    """
    async with AsyncExitStack() as stack:
        known = Names(folder / "names") if names else None
        host = "{name}.holdfast.test" if names else "127.0.0.1"
        providers, proxies, grids = dict[str, Provider](), dict[str, Proxy](), list[GridAt]()
        for name, make in zip(GRIDS, makes, strict=True):
            provider = providers[name] = Provider(name, make, folder=folder / name, bucket=STORE, clock=clock)
            stack.push_async_callback(provider.end)
            await provider.start()
            port = provider.port
            if proxied:
                tell = partial(known.set, name) if known is not None else None
                proxy = proxies[name] = Proxy(name, provider.port, clock=clock, tls=tls, name=tell)
                await stack.enter_async_context(proxy.serving())
                port = proxy.port
            if known is not None:
                known.set(name, True)
            endpoint = f"{'https' if tls else 'http'}://{host.format(name=name)}:{port}"
            grids.append(GridAt(name, endpoint, provider.keys, make))
        gateway = Gateway(folder / "gateway", grids, clock=clock, settings=settings, names=known)
        stack.push_async_callback(gateway.end)
        await gateway.start()
        client = gateway.client()
        stack.callback(client.close)
        workload = Workload(client, clock=clock)
        await workload.create_bucket()
        yield Stage(providers, proxies, gateway, workload, clock)
