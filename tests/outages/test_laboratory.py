"""The laboratory itself: what it stages is what a client meets, and a lie that reaches a client is found.

Here clients ask a provider through a proxy, with no gateway between that would hide anything.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.clock import SystemClock
from holdfast.testing.lab.network.faults import Fault, Kind
from holdfast.testing.lab.network.proxy import Proxy
from holdfast.testing.lab.play import run
from holdfast.testing.lab.providers import MAKES, Make, Provider, find_rclone
from holdfast.testing.lab.workload import BUCKET, MIB, Workload

KEY = "some/key"


class Bench:
    """A provider, its proxy, and a client that asks through it."""

    def __init__(self, provider: Provider, proxy: Proxy, workload: Workload) -> None:
        self.provider = provider
        self.proxy = proxy
        self.workload = workload

    async def stage(self, kind: Kind, **terms: object) -> None:
        """Return when the proxy misbehaves."""
        self.proxy.begin([Fault(kind, **terms)])  # type: ignore[arg-type]
        await asyncio.sleep(0.1)

    async def heal(self) -> None:
        """Return when it does not any more."""
        self.proxy.heal()
        await asyncio.sleep(0.1)

    async def failure(self, asking: Coroutine[Any, Any, Any]) -> str:
        """What a request failed with; empty when it did not."""
        await asking
        return self.workload.samples[-1].failure

    @property
    def lies(self) -> list[str]:
        return [lie.kind for lie in self.workload.lies]


@asynccontextmanager
async def bench(folder: Path, make: Make = "holdfast") -> AsyncIterator[Bench]:
    clock = SystemClock()
    provider = Provider("a", make, folder=folder, bucket=BUCKET, clock=clock)
    try:
        await provider.start()
        proxy = Proxy("a", provider.port, clock=clock)
        async with proxy.serving():
            provider.port, own = proxy.port, provider.port
            client = provider.client()
            provider.port = own
            workload = Workload(client, clock=clock)
            for number in range(2):
                await workload.put(KEY, 1000 + number)
            await workload.put("other", 2 * MIB)
            yield Bench(provider, proxy, workload)
            client.close()
    finally:
        await provider.end()


def on_a_bench(folder: Path, what: Callable[[Bench], Coroutine[Any, Any, None]], make: Make = "holdfast") -> None:
    async def main() -> None:
        async with bench(folder, make) as made:
            await what(made)

    run(main())


@pytest.mark.parametrize("make", MAKES)
def test_without_faults_nothing_is_found(tmp_path: Path, make: Make) -> None:
    if make == "rclone" and not find_rclone():
        pytest.skip("rclone is not here")

    async def what(made: Bench) -> None:
        await made.workload.fill(12)
        ended = asyncio.get_running_loop().time() + 1.0
        await made.workload.run(40, lambda: asyncio.get_running_loop().time() > ended)
        await made.workload.check_all()
        assert made.workload.lies == []
        assert {sample.failure for sample in made.workload.samples} == {""}
        assert await made.workload.check_place(made.provider.client()) == []
        assert made.proxy.met == 0

    on_a_bench(tmp_path, what, make)


def test_what_a_provider_says_is_what_the_client_hears(tmp_path: Path) -> None:
    async def what(made: Bench) -> None:
        workload = made.workload
        for status, code in ((500, "InternalError"), (403, "RequestTimeTooSkewed"), (429, "TooManyRequests")):
            await made.stage(Kind.ERROR, status=status, code=code)
            assert await made.failure(workload.get(KEY)) == f"{status} {code}"
            assert await made.failure(workload.put(KEY, 500)) == f"{status} {code}"
        await made.stage(Kind.ERROR, operations=("list",))
        assert await made.failure(workload.check_list()) == "503 ServiceUnavailable"
        assert await made.failure(workload.get(KEY)) == ""
        await made.stage(Kind.KEY_LIMIT, operations=("write",), delay_s=60.0, status=429, code="TooManyRequests")
        assert await made.failure(workload.put(KEY, 500)) == ""
        assert await made.failure(workload.put(KEY, 500)) == "429 TooManyRequests"
        await made.stage(Kind.OVERLOAD, at_once=0, code="SlowDown")
        assert await made.failure(workload.get(KEY)) == "503 SlowDown"
        await made.heal()
        await workload.check_all()
        assert workload.lies == []
        assert made.proxy.met > 0

    on_a_bench(tmp_path, what)


def test_a_door_that_is_shut_refuses_and_opens_again(tmp_path: Path) -> None:
    async def what(made: Bench) -> None:
        await made.stage(Kind.REFUSE)
        assert "Refused" in await made.failure(made.workload.get(KEY))
        await made.heal()
        assert await made.failure(made.workload.get(KEY)) == ""

    on_a_bench(tmp_path, what)


@pytest.mark.parametrize("kind", [Kind.BLACK_HOLE, Kind.MUTE])
@pytest.mark.parametrize("fresh", [True, False])
def test_what_is_swallowed_is_never_answered(tmp_path: Path, kind: Kind, fresh: bool) -> None:
    async def what(made: Bench) -> None:
        if fresh:
            made.workload._client.close()
        await made.stage(kind)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await made.workload.get(KEY)
        await made.heal()
        assert await made.failure(made.workload.get(KEY)) == ""

    on_a_bench(tmp_path, what)


def test_an_answer_that_is_lost_or_cut_is_no_answer(tmp_path: Path) -> None:
    async def what(made: Bench) -> None:
        await made.stage(Kind.LOST_ANSWER, operations=("write",))
        assert "Reset" in await made.failure(made.workload.put(KEY, 77))
        await made.stage(Kind.CUT, operations=("read",))
        assert "within the reply" in await made.failure(made.workload.get("other"))
        await made.heal()
        found = await made.workload.get(KEY)
        assert found is not None
        assert found.size == 77
        assert made.lies == []

    on_a_bench(tmp_path, what)


@pytest.mark.parametrize("kind", [Kind.GARBLED, Kind.SHORT, Kind.WRONG_ETAG])
def test_a_lie_about_bytes_is_found(tmp_path: Path, kind: Kind) -> None:
    async def what(made: Bench) -> None:
        await made.stage(kind, operations=("read",))
        assert await made.failure(made.workload.get("other")) == ""
        assert set(made.lies) == {"wrong"}

    on_a_bench(tmp_path, what)


def test_an_older_version_is_found(tmp_path: Path) -> None:
    async def what(made: Bench) -> None:
        await made.stage(Kind.OLDER)
        await made.workload.get(KEY)
        assert made.lies == ["stale"]

    on_a_bench(tmp_path, what)


def test_a_change_that_is_not_visible_is_found_and_comes_later(tmp_path: Path) -> None:
    async def what(made: Bench) -> None:
        workload = made.workload
        await made.stage(Kind.HELD_BACK)
        assert await made.failure(workload.put(KEY, 5)) == ""
        assert await made.failure(workload.delete("other")) == ""
        await workload.get(KEY)
        await workload.get("other")
        assert made.lies == ["stale", "stale"]
        workload.lies.clear()
        await made.heal()
        await workload.check_all()
        assert workload.lies == []

    on_a_bench(tmp_path, what)


def test_what_a_provider_lost_is_counted_as_lost(tmp_path: Path) -> None:
    async def what(made: Bench) -> None:
        await made.provider.lose()
        await made.provider.start()
        await made.workload.check_all()
        assert set(made.lies) == {"lost"}
        assert len(await made.workload.check_place(made.provider.client())) == 2

    on_a_bench(tmp_path, what)


def test_a_provider_that_was_killed_has_everything_again(tmp_path: Path) -> None:
    async def what(made: Bench) -> None:
        await made.provider.kill()
        assert await made.failure(made.workload.get(KEY)) != ""
        await made.provider.start()
        await made.workload.check_all()
        assert made.workload.lies == []

    on_a_bench(tmp_path, what)
