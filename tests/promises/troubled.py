"""An engine whose grids fail on demand, for the tests of outages: a clock that can leap, and the grids in their coats.

Answers for what a test needs to let an outage pass in no time and to look at what the grids really hold. It never
decides what is right. Invariant: the engine itself is the real one.
"""

import copy
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.clock import SystemClock
from holdfast.events import Event, Teller
from holdfast.grids.grid import Capabilities, Download, Grid, Held, Label, Source, Staged
from holdfast.grids.memory import MemoryGrid
from holdfast.health.suspicion import Suspicion
from holdfast.limits import BREAKER_TRIAL_MAX_S, DEBT_RETRY_MAX_S
from holdfast.model import Place, Span
from holdfast.testing.faults import FaultGrid
from holdfast.wrappers.breaker import Breakers
from holdfast.wrappers.coats import put_on
from tests.engine import BUCKET, Engine, engine

DEADLINE_S = 0.03
_ROUNDS = 200


class LeapClock(SystemClock):
    """The real time, and as much more as a test says has passed."""

    def __init__(self) -> None:
        self._leapt_s = 0.0

    def leap(self, passed_s: float) -> None:
        self._leapt_s += passed_s

    def now_ms(self) -> int:
        return super().now_ms() + int(self._leapt_s * 1000)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self._leapt_s


class LaggingGrid:
    """`inner`, whose readers may see for a while what was there before: not what was just written or deleted."""

    def __init__(self, inner: MemoryGrid) -> None:
        self._inner = inner
        self._seen = inner

    def lag(self) -> None:
        """From now on nobody sees what changes."""
        self._seen = copy.deepcopy(self._inner)

    def appear(self) -> None:
        """Everything shows."""
        self._seen = self._inner

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def attach(self, known: str) -> str:
        return await self._inner.attach(known)

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        return await self._inner.stage(place, source, label)

    async def publish(self, staged: Staged) -> str:
        return await self._inner.publish(staged)

    async def discard(self, staged: Staged) -> None:
        await self._inner.discard(staged)

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        return await self._seen.get(place, span=span, if_match=if_match)

    async def head(self, place: Place) -> Held:
        return await self._seen.head(place)

    async def delete(self, place: Place) -> None:
        await self._inner.delete(place)

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        return await self._seen.list(bucket, prefix=prefix, after=after, limit=limit)

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        return await self._inner.copy(source, target, if_match=if_match, label=label)

    async def close(self) -> None:
        await self._inner.close()


class Troubled:
    """Grids in memory, each with faults and with the coats of the real thing."""

    def __init__(
        self, *, deadline_s: float = DEADLINE_S, names: Sequence[str] = ("a", "b"), clock: LeapClock | None = None
    ) -> None:
        self.clock = clock or LeapClock()
        self.deadline_s = deadline_s
        self.told: list[Event] = []
        """What the coats of the grids told."""
        self.inner = {name: MemoryGrid(name) for name in names}
        self.lagging = {name: LaggingGrid(grid) for name, grid in self.inner.items()}
        self.faults = {name: FaultGrid(grid, clock=self.clock) for name, grid in self.lagging.items()}

    def heal(self) -> None:
        for name in self.inner:
            self.faults[name].heal()
            self.lagging[name].appear()

    @asynccontextmanager
    async def engine(
        self, folder: Path, *, ack: int = 0, accept: bool = True, cache_bytes: int = 0
    ) -> AsyncIterator[Engine]:
        """The engine on these grids; opened again it goes on where it stopped, as after a crash."""
        grids = self._coated()
        async with engine(folder, grids, ack=ack, accept=accept, clock=self.clock, cache_bytes=cache_bytes) as made:
            yield made

    def _coated(self) -> Sequence[Grid]:
        coated = []
        suspicion = Suspicion()
        for name, grid in self.faults.items():
            teller = Teller()
            teller.subscribe(self.told.append)
            breakers = Breakers(name, clock=self.clock, teller=teller, suspicion=suspicion)
            coated.append(put_on(grid, breakers=breakers, clock=self.clock, teller=teller, deadline_s=self.deadline_s))
        return coated

    async def converge(self, made: Engine) -> None:
        """Let time pass and the keepers work until nothing is owed. The grids must be healthy."""
        for _ in range(_ROUNDS):
            await made.probe()
            await made.reconcile()
            if not await made.settle():
                return
            self.clock.leap(max(DEBT_RETRY_MAX_S, BREAKER_TRIAL_MAX_S) * 2)
        raise AssertionError(f"debts are left: {await made.site.index.sums()}")

    async def content(self, name: str) -> dict[str, bytes]:
        """What a grid holds, seen past its faults and coats."""
        grid = self.inner[name]
        held = await grid.list(BUCKET, limit=10_000)
        return {row.key: await body_of(grid, row.key) for row in held}


async def body_of(grid: Grid, key: str) -> bytes:
    download = await grid.get(Place(BUCKET, key))
    return b"".join([piece async for piece in download.stream()])
