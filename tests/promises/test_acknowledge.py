"""What `ack` and `outage` promise, with grids that fail while they are being written to."""

import asyncio
import os
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import S3Error
from holdfast.grids.memory import MemoryGrid
from holdfast.index.interface import NewVersion, Written
from holdfast.limits import BLOCK_BYTES
from holdfast.model import Facts, GridState, Place
from holdfast.s3 import PutObject
from holdfast.store import acknowledge
from holdfast.testing.faults import Fault, FaultGrid, Kind
from tests.engine import BUCKET, Bytes, Engine, engine
from tests.promises.troubled import Troubled

LARGE = os.urandom(BLOCK_BYTES + 7)
BODIES = [b"small", LARGE]


def grids() -> tuple[FaultGrid, FaultGrid]:
    clock = SystemClock()
    return FaultGrid(MemoryGrid("a"), clock=clock), FaultGrid(MemoryGrid("b"), clock=clock)


async def put(made: Engine, data: bytes) -> str:
    try:
        await made.store.put_object(PutObject(BUCKET, "k", Facts()), Bytes(data))
    except S3Error as refusal:
        return refusal.code
    return "ok"


@pytest.mark.parametrize("ack", [0, 1, 2])
@pytest.mark.parametrize("data", BODIES)
def test_as_many_grids_hold_a_write_as_the_policy_says_before_it_is_acknowledged(
    tmp_path: Path, ack: int, data: bytes
) -> None:
    async def main() -> None:
        async with engine(tmp_path, grids(), ack=ack) as made:
            for _ in range(3):
                assert await put(made, data) == "ok"
                assert len(await made.copies("k")) == ack
            assert await made.settle() == 0
            assert await made.read("k") == data

    asyncio.run(main())


@pytest.mark.parametrize("kind", [Kind.REFUSE, Kind.FULL, Kind.DENY, Kind.LOST_ANSWER])
@pytest.mark.parametrize("data", BODIES)
def test_another_grid_stands_in_for_one_that_fails(tmp_path: Path, kind: Kind, data: bytes) -> None:
    async def main() -> None:
        a, b = grids()
        async with engine(tmp_path, (a, b), ack=1, accept=False) as made:
            a.inject(Fault(kind), "stage", "publish")
            assert await put(made, data) == "ok"
            assert await made.copies("k") == {"b"}
            a.heal()
            await made.converge()
            assert await made.copies("k") == {"a", "b"}

    asyncio.run(main())


@pytest.mark.parametrize("data", BODIES)
def test_a_write_that_missed_its_quorum_is_refused_and_yet_not_lost(tmp_path: Path, data: bytes) -> None:
    async def main() -> None:
        a, b = grids()
        async with engine(tmp_path, (a, b), ack=2, accept=False) as made:
            b.inject(Fault(Kind.FULL), "stage", "publish")
            assert await put(made, data) == "ServiceUnavailable"
            # It was committed before the grid failed: from then on nothing may take its bytes away.
            a.inject(Fault(Kind.REFUSE))
            assert await made.read("k") == data
            a.heal()
            b.heal()
            await made.converge()
            assert await made.copies("k") == {"a", "b"}
            assert await made.read("k") == data

    asyncio.run(main())


def test_an_outage_is_refused_before_the_body_is_taken_or_accepted_as_the_policy_says(tmp_path: Path) -> None:
    async def main() -> None:
        for accept, expected in ((False, "ServiceUnavailable"), (True, "ok")):
            a, b = grids()
            folder = tmp_path / str(accept)
            folder.mkdir()
            async with engine(folder, (a, b), ack=1, accept=accept) as made:
                for grid in (a, b):
                    grid.inject(Fault(Kind.REFUSE))
                await made.probe()
                body = Bytes(LARGE)
                ask = PutObject(BUCKET, "k", Facts())
                if accept:
                    await made.store.put_object(ask, body)
                    assert await made.read("k") == LARGE
                    continue
                with pytest.raises(S3Error) as refusal:
                    await made.store.put_object(ask, body)
                assert refusal.value.code == expected
                assert "Retry-After" in refusal.value.headers
                assert await body.read() == LARGE[:100_000], "nothing of the body was read"
                assert await made.keys() == []

    asyncio.run(main())


def test_concurrent_overwrites_with_acknowledgement_end_with_one_version_everywhere(tmp_path: Path) -> None:
    async def main() -> None:
        a, b = grids()
        async with engine(tmp_path, (a, b), ack=2) as made:
            bodies = [bytes([number]) * 1000 for number in range(12)]
            await asyncio.gather(*(put(made, body) for body in bodies))
            await made.converge()
            current = await made.read("k")
            assert current in bodies
            for grid in (a, b):
                download = await grid.get(Place(BUCKET, "k"))
                assert b"".join([piece async for piece in download.stream()]) == current

    asyncio.run(main())


def test_small_writes_are_bounded_like_large_ones_while_no_grid_can_be_reached(tmp_path: Path) -> None:
    async def main() -> None:
        a, b = grids()
        async with engine(tmp_path, (a, b), spool_bytes=100_000, keep_inline_bytes=0) as made:
            for grid in (a, b):
                grid.inject(Fault(Kind.REFUSE))
            accepted = 0
            for number in range(10_000):
                try:
                    await made.put(f"k{number}", bytes(10_000))
                except S3Error as refusal:
                    assert (refusal.code, refusal.headers["Retry-After"]) == ("SlowDown", "2")
                    break
                accepted += 1
            assert accepted == 10  # To the byte, although the index was not asked again in between.
            assert await made.read("k0") == bytes(10_000)
            for grid in (a, b):
                grid.heal()
            await made.converge()
            assert await made.site.index.trim_inline(0, limit=1000)
            made.site._looked_s = float("-inf")
            await made.put("again", b"x")
            assert await made.read("k0") == bytes(10_000)

    asyncio.run(main())


def test_a_policy_that_refuses_outages_takes_nothing_while_a_grid_answers_and_cannot_write(tmp_path: Path) -> None:
    """A read-only or full grid is there when it is asked who it is. The first writes find out; the others are refused before."""

    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path, ack=2, accept=False) as made:
            assert await put(made, b"before") == "ok"
            await troubled.converge(made)
            troubled.faults["b"].inject(Fault(Kind.FULL), "stage", "publish")
            for number in range(20):
                assert await put(made, b"%d" % number) == "ServiceUnavailable"
                troubled.clock.leap(0.5)
            known = await made.read("k")
            assert await put(made, b"refused") == "ServiceUnavailable"
            assert await made.read("k") == known
            with pytest.raises(S3Error, match="ServiceUnavailable"):
                await made.delete("k")
            troubled.heal()
            await troubled.converge(made)
            assert await put(made, b"after") == "ok"
            assert await made.copies("k") == {"a", "b"}
            assert await made.read("k") == b"after"

    asyncio.run(main())


@pytest.mark.parametrize("ack", [1, 2])
def test_what_was_acknowledged_while_all_grids_were_down_is_paid_as_soon_as_they_are_back(
    tmp_path: Path, ack: int
) -> None:
    """The write claimed debts that it then had no use for: nobody may wait for their leases to run out, no later write either."""

    async def main() -> None:
        pair = grids()
        async with engine(tmp_path, pair, ack=ack) as made:
            for grid in pair:
                grid.inject(Fault(Kind.REFUSE))
            await made.probe()
            assert await put(made, b"small") == "ok"
            assert await put(made, b"newer") == "ok"
            for grid in pair:
                grid.heal()
            await made.probe()
            assert await made.settle() == 0
            assert await made.copies("k") == {"a", "b"}

    asyncio.run(main())


def test_a_grid_that_falls_silent_between_the_commit_and_its_turn_keeps_no_lease(tmp_path: Path) -> None:
    async def main() -> None:
        a, b = grids()
        async with engine(tmp_path, (a, b), ack=1) as made:
            down = made.site.seats["a"]
            commit = made.site.index.put

            async def commit_and_lose(change: NewVersion) -> Written:
                written = await commit(change)
                down.state = GridState.DOWN
                return written

            made.site.index.put = commit_and_lose  # type: ignore[method-assign]
            assert await put(made, b"small") == "ok"
            assert await made.copies("k") == {"b"}
            down.state = GridState.UP
            assert await made.settle() == 0
            assert await made.copies("k") == {"a", "b"}

    asyncio.run(main())


def test_a_large_write_does_not_wait_for_a_grid_that_is_found_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledge, "ACK_PATIENCE_BYTES_S", 1)  # It would be waited for for days.

    async def main() -> None:
        a, b = grids()
        async with engine(tmp_path, (a, b), ack=1) as made:
            a.inject(Fault(Kind.HANG), "publish")
            writing = asyncio.create_task(put(made, LARGE))
            while not a.calls["publish"]:  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0)
            made.site.seats["a"].state = GridState.DOWN
            async with asyncio.timeout(60):
                assert await writing == "ok"
            assert await made.copies("k") == {"b"}
            assert await made.read("k") == LARGE

    asyncio.run(main())
