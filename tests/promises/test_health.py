"""Slow, half-broken, dead and returning grids: reads go on, evidence stays where it belongs, and nobody is given up for ever.

The engine is the real one, the grids are in memory behind their coats, and time leaps where it would have to pass.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from holdfast.copies.site import Seat
from holdfast.errors import S3Error
from holdfast.events import BreakerMoved, FailedOver, GridDemoted, Hedged, SelfSuspected
from holdfast.grids.grid import Download
from holdfast.grids.memory import MemoryGrid
from holdfast.health.breaker import State
from holdfast.health.standing import Use
from holdfast.index.interface import Payment
from holdfast.keepers.pins import Pins
from holdfast.keepers.probe import Probe
from holdfast.limits import (
    BLOCK_BYTES,
    BREAKER_TRIAL_MAX_S,
    BREAKER_TRIAL_S,
    BROWNOUT_ATTEMPTS,
    CLEAR_S,
    HEDGE_BURST,
    HEDGE_SHARE,
    LATE_ROW,
    PROBE_WRITE_S,
    QUIET_KEPT_S,
    RAMP_STEP_S,
)
from holdfast.model import Place, Span
from holdfast.s3 import GetObject, RangeAsk
from holdfast.testing.faults import Fault, Kind
from holdfast.wrappers.breaker import GROUPS, Breakers
from tests.engine import BUCKET, Engine, engine
from tests.promises.troubled import DEADLINE_S, LeapClock, Troubled

PATIENT_S = 20.0
"""A deadline that no test waits for: whoever is served before it was not served by waiting."""
LONG_S = 5.0
"""Longer than any hedge delay, and never waited for to its end."""
BODY = os.urandom(3000)

Scene = Callable[[Troubled, Engine], Awaitable[None]]


class EvenClock(LeapClock):
    """Draws are spread evenly, so that shares come out as they should."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn = 0

    def random(self) -> float:
        self._drawn += 1
        return self._drawn * 0.6180339887498949 % 1.0


def play(
    folder: Path,
    scene: Scene,
    *,
    names: Sequence[str] = ("a", "b"),
    deadline_s: float = PATIENT_S,
    objects: int = 1,
    size: int = len(BODY),
) -> None:
    """Run `scene` when all grids hold k0, k1, ... and nobody else does."""

    async def main() -> None:
        troubled = Troubled(deadline_s=deadline_s, names=names, clock=EvenClock())
        async with troubled.engine(folder) as made:
            for number in range(objects):
                await made.put(f"k{number}", (BODY * (size // len(BODY) + 1))[:size])
            await troubled.converge(made)
            await trim(made)
            troubled.told.clear()
            made.events.clear()
            for grid in troubled.faults.values():
                grid.calls.clear()
            await scene(troubled, made)

    asyncio.run(main())


async def trim(made: Engine) -> None:
    while await made.site.index.trim_inline(0, limit=1000):
        pass


def health(made: Engine, name: str) -> Breakers:
    breakers = made.site.seats[name].breakers
    assert breakers is not None
    return breakers


def hedges(made: Engine) -> list[tuple[str, str, str]]:
    return [(event.grid, event.other, event.outcome) for event in made.events if isinstance(event, Hedged)]


def moves(troubled: Troubled) -> set[tuple[str, str]]:
    return {(event.grid, event.state) for event in troubled.told if isinstance(event, BreakerMoved)}


async def firsts(troubled: Troubled, made: Engine, *, reads: int) -> dict[str, int]:
    """How many of so many reads asked each grid."""
    before = {name: grid.calls["get"] for name, grid in troubled.faults.items()}
    for _ in range(reads):
        assert await made.read("k0") == BODY
    return {name: grid.calls["get"] - before[name] for name, grid in troubled.faults.items()}


# --- hedging ---


@pytest.mark.parametrize("kind", [Kind.HANG, Kind.LATE_BODY, Kind.SLOW, Kind.TRICKLE])
def test_a_slow_copy_is_not_waited_for(tmp_path: Path, kind: Kind) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        before = asyncio.all_tasks()
        troubled.faults["a"].inject(Fault(kind, delay_s=LONG_S), "get")
        async with asyncio.timeout(LONG_S):
            assert await made.read("k0") == BODY
        assert hedges(made) == [("a", "b", "won")]
        assert asyncio.all_tasks() == before, "the one that lost is over, not left behind"
        assert moves(troubled) == set(), "to be slower is no fault"
        assert troubled.faults["a"].calls["get"] == troubled.faults["b"].calls["get"] == 1

    play(tmp_path, scene)


def test_a_fast_copy_is_not_hedged(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        assert await firsts(troubled, made, reads=30) == {"a": 30, "b": 0}
        assert hedges(made) == []

    play(tmp_path, scene)


def test_being_slow_counts_towards_its_latency(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        assert await firsts(troubled, made, reads=5) == {"a": 5, "b": 0}
        before_s = health(made, "a").latency.p95(len(BODY), troubled.clock.monotonic_s())
        troubled.faults["a"].inject(Fault(Kind.HANG), "get")
        assert await made.read("k0") == BODY
        after_s = health(made, "a").latency.p95(len(BODY), troubled.clock.monotonic_s())
        assert before_s is not None
        assert after_s is not None
        assert after_s > before_s

    play(tmp_path, scene)


def test_a_grid_that_says_nothing_is_asked_after_the_others_before_any_deadline(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.HANG), "get")
        assert await made.read("k0") == BODY
        asked = await firsts(troubled, made, reads=50)
        assert asked["a"] <= 2, "only who began before it was noticed"
        assert health(made, "a").state("read") is State.CLOSED
        troubled.faults["a"].heal()
        troubled.clock.leap(QUIET_KEPT_S + 1)
        assert (await firsts(troubled, made, reads=20))["a"] == 20

    play(tmp_path, scene)


def test_a_hedge_that_loses_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        before = asyncio.all_tasks()
        troubled.faults["a"].inject(Fault(Kind.SLOW, delay_s=0.4), "get")
        troubled.faults["b"].inject(Fault(Kind.HANG), "get")
        assert await made.read("k0") == BODY
        assert hedges(made) == [("a", "b", "lost")]
        assert asyncio.all_tasks() == before
        assert moves(troubled) == set()

    play(tmp_path, scene)


@pytest.mark.parametrize(("a_s", "b_s", "winner"), [(0.6, 1.2, "a"), (1.2, 0.0, "b")])
def test_who_lost_a_hedge_goes_on_where_the_winner_breaks_off(
    tmp_path: Path, a_s: float, b_s: float, winner: str
) -> None:
    """The client has the first block already: there is nobody else, and it must not notice."""

    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.SLOW, delay_s=a_s), "get")
        troubled.faults["b"].inject(Fault(Kind.SLOW, delay_s=b_s), "get")
        assert troubled.inner[winner].rot(Place(BUCKET, "k0"), BLOCK_BYTES + 1)
        body = await made.read("k0")
        assert body == (BODY * (len(body) // len(BODY) + 1))[: 2 * BLOCK_BYTES]
        assert hedges(made)[0] == ("a", "b", "lost" if winner == "a" else "won")

    play(tmp_path, scene, size=2 * BLOCK_BYTES)


def test_a_hedge_and_its_first_may_both_fail_and_the_third_copy_serves(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.HANG), "get")
        troubled.faults["b"].inject(Fault(Kind.REFUSE), "get")
        assert await made.read("k0") == BODY
        assert hedges(made) == [("a", "b", "failed")]

    play(tmp_path, scene, names=("a", "b", "c"), deadline_s=0.5)


def test_an_empty_budget_stops_hedging_and_not_reading(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        while made.site.hedges.take():
            pass
        troubled.faults["a"].inject(Fault(Kind.HANG), "get")
        assert await made.read("k0") == BODY
        assert hedges(made) == [("a", "b", "denied")]

    play(tmp_path, scene, deadline_s=0.5)


@pytest.mark.parametrize("kind", [Kind.HANG, Kind.TRICKLE, Kind.LATE_BODY])
def test_a_read_that_is_very_late_is_rescued_whatever_the_budget_says(tmp_path: Path, kind: Kind) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        while made.site.hedges.take():
            pass
        troubled.faults["a"].inject(Fault(kind, delay_s=PATIENT_S), "get")
        async with asyncio.timeout(PATIENT_S / 2):
            assert await made.read("k0") == BODY
        assert hedges(made) == [("a", "b", "denied"), ("a", "b", "won")]
        assert made.site.rescues == 0

    play(tmp_path, scene)


def test_a_grid_that_answers_and_brings_nothing_in_time_is_soon_asked_after_the_others(tmp_path: Path) -> None:
    """It says something to everybody, so it is not silent; and it was fast for so long that its median does not move yet."""

    async def scene(troubled: Troubled, made: Engine) -> None:
        assert await firsts(troubled, made, reads=200) == {"a": 200, "b": 0}
        troubled.faults["a"].inject(Fault(Kind.TRICKLE, delay_s=PATIENT_S), "get")
        assert (await firsts(troubled, made, reads=50))["a"] == LATE_ROW
        troubled.heal()
        troubled.clock.leap(QUIET_KEPT_S * 2)
        assert (await firsts(troubled, made, reads=50))["a"] == 50

    play(tmp_path, scene)


def test_a_grid_that_gives_wrong_bytes_to_everybody_is_soon_asked_after_the_others(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.CORRUPT), "get")
        for number in range(20):
            assert await made.read(f"k{number}") == BODY
        assert troubled.faults["a"].calls["get"] == LATE_ROW

    play(tmp_path, scene, objects=20)


def test_slowness_costs_no_more_second_reads_than_the_budget(tmp_path: Path) -> None:
    """Both grids are slow now and then: the budget bounds what that can cost."""

    async def scene(troubled: Troubled, made: Engine) -> None:
        for grid in troubled.faults.values():
            grid.inject(Fault(Kind.SLOW, 1.0, 0.06), "get")
        for name in ("a", "b"):
            for _ in range(8):
                health(made, name).first_block(len(BODY), 0.001)
        reads = 2 * HEDGE_BURST
        asked = sum((await firsts_together(troubled, made, reads=reads)).values())
        assert asked <= reads + HEDGE_BURST + HEDGE_SHARE * reads
        assert {outcome for _, _, outcome in hedges(made)} >= {"denied"}

    play(tmp_path, scene)


async def firsts_together(troubled: Troubled, made: Engine, *, reads: int) -> dict[str, int]:
    before = {name: grid.calls["get"] for name, grid in troubled.faults.items()}
    for body in await asyncio.gather(*(made.read("k0") for _ in range(reads))):
        assert body == BODY
    return {name: grid.calls["get"] - before[name] for name, grid in troubled.faults.items()}


def test_a_client_that_leaves_in_the_middle_of_a_hedge_leaves_nothing_running(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        before = asyncio.all_tasks()
        for grid in troubled.faults.values():
            grid.inject(Fault(Kind.HANG), "get")
        reading = asyncio.ensure_future(made.read("k0"))
        while not troubled.faults["b"].calls["get"]:  # noqa: ASYNC110 - the grid is a fake that tells nobody
            await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.wait((reading,))
        assert reading.cancelled()
        assert asyncio.all_tasks() == before
        assert moves(troubled) == set()

    play(tmp_path, scene)


def test_a_slow_copy_is_not_waited_for_on_the_way_through_the_cache_either(tmp_path: Path) -> None:
    async def main() -> None:
        slow, fast = Counting("a"), Counting("b")
        async with engine(tmp_path, [slow, fast], cache_bytes=64 * BLOCK_BYTES) as made:
            body = os.urandom(3 * BLOCK_BYTES)
            await made.put("k", body)
            await made.converge()
            slow.streaming = asyncio.Event()
            assert await made.read("k") == body
            assert hedges(made) == [("a", "b", "won")]
            assert (slow.open, fast.open) == (0, 0)

    asyncio.run(main())


class Counting(MemoryGrid):
    """Counts the downloads that are open. `gate` is waited for before each, `closing` before one is closed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked = asyncio.Event()
        self.gate: asyncio.Event | None = None
        self.streaming: asyncio.Event | None = None
        self.closing: asyncio.Event | None = None
        self.open = 0

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        download = await super().get(place, span=span, if_match=if_match)
        self.open += 1
        return _Counted(download, self)


class _Counted:
    def __init__(self, inner: Download, grid: Counting) -> None:
        self._inner = inner
        self._grid = grid
        self.etag, self.size = inner.etag, inner.size

    async def stream(self) -> AsyncIterator[bytes]:
        if self._grid.streaming is not None:
            await self._grid.streaming.wait()
        async for piece in self._inner.stream():
            yield piece

    async def close(self) -> None:
        self._grid.open -= 1
        if self._grid.closing is not None:
            self._grid.closing.set()
            await asyncio.sleep(0.1)
        await self._inner.close()


def test_two_copies_that_begin_in_the_same_moment_are_both_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        grids = [Counting("a"), Counting("b")]
        async with engine(tmp_path, grids, keep_inline_bytes=0) as made:
            body = os.urandom(2 * BLOCK_BYTES)
            await made.put("k", body)
            await made.converge()
            grids[0].gate = grids[1].gate = grids[1].asked
            grids[1].asked.clear()
            _, got = await made.got(GetObject(BUCKET, "k"))
            assert got == body
            assert [grid.open for grid in grids] == [0, 0]

    asyncio.run(main())


def test_a_client_that_leaves_while_a_loser_ends_lets_the_winner_go(tmp_path: Path) -> None:
    async def main() -> None:
        slow, fast = Counting("a"), Counting("b")
        async with engine(tmp_path, [slow, fast]) as made:
            await made.put("k", os.urandom(2 * BLOCK_BYTES))
            await made.converge()
            slow.streaming, slow.closing = asyncio.Event(), asyncio.Event()
            reading = asyncio.ensure_future(made.store.get_object(GetObject(BUCKET, "k")))
            await slow.closing.wait()
            reading.cancel()
            await asyncio.wait((reading,))
            assert reading.cancelled()
            assert (slow.open, fast.open) == (0, 0)

    asyncio.run(main())


def test_a_copy_that_is_not_trusted_is_not_asked_beside_a_slow_one(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["b"].inject(Fault(Kind.LASTING), "get")
        for _ in range(2):
            await Probe(made.site, _seat(made, "b")).read()
        assert health(made, "b").state("read") is State.OPEN
        troubled.faults["a"].inject(Fault(Kind.SLOW, delay_s=0.4), "get")
        assert await made.read("k0") == BODY
        assert hedges(made) == []

    play(tmp_path, scene)


def test_catch_up_waits_for_a_slow_copy_instead_of_costing_clients_their_second_reads(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["c"].inject(Fault(Kind.FULL))
        await made.put("new", bytes(2 * BLOCK_BYTES))
        await made.settle(rounds=3)
        assert await made.copies("new") == {"a", "b"}
        version = await made.site.index.get(BUCKET, "new")
        assert version is not None
        for path in list((tmp_path / "spool").rglob("*")):
            if path.is_file():
                path.unlink()
        for name in ("a", "b"):
            troubled.faults[name].inject(Fault(Kind.SLOW, delay_s=0.4), "get")
        troubled.faults["c"].heal()
        troubled.clock.leap(100.0)
        await made.probe()
        await made.settle(rounds=2)
        assert await made.copies("new") == {"a", "b", "c"}
        assert hedges(made) == []

    play(tmp_path, scene, names=("a", "b", "c"))


def test_a_write_is_never_hedged(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.SLOW, delay_s=0.3), "stage", "publish")
        await made.put("new", BODY)
        await troubled.converge(made)
        assert hedges(made) == []
        assert troubled.faults["a"].calls["publish"] == troubled.faults["b"].calls["publish"] == 1

    play(tmp_path, scene)


# --- failing over ---


def test_a_failing_copy_is_left_at_once_and_that_is_counted(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.REFUSE), "get")
        assert await made.read("k0") == BODY
        told = [(event.grid, event.other) for event in made.events if isinstance(event, FailedOver)]
        assert told == [("a", "b")]
        assert hedges(made) == []

    play(tmp_path, scene)


def test_the_last_copy_is_asked_once_more_when_it_failed_quickly(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.REFUSE))
        troubled.faults["b"].inject(Fault(Kind.REFUSE, times=1), "get")
        assert await made.read("k0") == BODY

    play(tmp_path, scene)


def test_nothing_is_asked_again_without_a_budget(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        for name in ("a", "b"):
            while health(made, name).retries.take():
                pass
            troubled.faults[name].inject(Fault(Kind.REFUSE, times=1), "get")
        assert await made.code("k0") == "ServiceUnavailable"
        assert [grid.calls["get"] for grid in troubled.faults.values()] == [1, 1]

    play(tmp_path, scene)


def test_a_copy_that_was_silent_to_its_deadline_is_not_asked_again(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        for grid in troubled.faults.values():
            grid.inject(Fault(Kind.HANG), "get")
        assert await made.code("k0") == "ServiceUnavailable"
        assert [grid.calls["get"] for grid in troubled.faults.values()] == [1, 1]

    play(tmp_path, scene, deadline_s=1.2)


class Spans(MemoryGrid):
    """Remembers what of a body was asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.spans: list[Span | None] = []

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        self.spans.append(span)
        return await super().get(place, span=span, if_match=if_match)


@pytest.mark.parametrize(
    ("first", "last", "blocks"),
    [(0, 0, (0, 1)), (BLOCK_BYTES, BLOCK_BYTES, (1, 2)), (BLOCK_BYTES - 1, 3 * BLOCK_BYTES, (0, 4)), (-1, -1, (6, 7))],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_a_range_asks_a_grid_for_the_blocks_that_it_needs_and_no_others(
    tmp_path: Path, first: int, last: int, blocks: tuple[int, int], parts: int
) -> None:
    async def main() -> None:
        grids = [Spans("a"), Spans("b")]
        async with engine(tmp_path, grids) as made:
            body = os.urandom(6 * BLOCK_BYTES + 100)
            if parts == 1:
                await made.put("k", body)
            else:
                await made.upload("k", [body[: 5 * BLOCK_BYTES], body[5 * BLOCK_BYTES :]])
            await made.converge()
            for grid in grids:
                grid.spans.clear()
            ask = RangeAsk(suffix=1) if first < 0 else RangeAsk(first=first, last=last)
            _, got = await made.got(GetObject(BUCKET, "k", range=ask))
            assert got == (body[-1:] if first < 0 else body[first : last + 1])
            wanted = Span(blocks[0] * BLOCK_BYTES, min(blocks[1] * BLOCK_BYTES, len(body)))
            assert [grid.spans for grid in grids] == [[wanted], []]

    asyncio.run(main())


# --- brown-out, and the way back ---


def test_a_grid_in_a_brown_out_is_asked_after_the_others_and_comes_back_by_the_ramp(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        probe = Probe(made.site, made.site.seats["a"])
        troubled.faults["a"].inject(Fault(Kind.REFUSE, 0.1), "get")
        for _ in range(BROWNOUT_ATTEMPTS + 20):
            assert await made.read("k0") == BODY
            troubled.clock.leap(0.5)
        told = [event for event in troubled.told if isinstance(event, GridDemoted)]
        assert [(event.grid, event.group, event.reason) for event in told] == [("a", "read", "errors")]
        assert health(made, "a").state("read") is State.CLOSED, "demoted, not ejected"
        asked = await firsts(troubled, made, reads=100)
        assert asked["a"] <= 2
        troubled.faults["b"].inject(Fault(Kind.REFUSE), "get")
        assert await made.code("k0") == "ok", "a demoted copy still serves"
        troubled.faults["b"].heal()
        troubled.faults["a"].heal()
        while health(made, "a").demoted("read"):
            troubled.clock.leap(CLEAR_S / 10)
            await probe.read()
        shares = []
        for _ in range(4):
            shares.append((await firsts(troubled, made, reads=100))["a"] / 100)
            troubled.clock.leap(RAMP_STEP_S + 1)
        assert shares == pytest.approx([0.01, 0.05, 0.25, 1.0], abs=0.02)

    play(tmp_path, scene)


def test_a_grid_that_was_dead_comes_back_by_the_ramp_without_a_client_having_to_try(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        probe = Probe(made.site, made.site.seats["a"])
        troubled.faults["a"].inject(Fault(Kind.REFUSE))
        for _ in range(6):
            assert await made.read("k0") == BODY
            troubled.clock.leap(1.0)
        assert health(made, "a").state("read") is State.OPEN
        troubled.faults["a"].heal()
        troubled.clock.leap(2 * BREAKER_TRIAL_S)
        assert await made.read("k0") == BODY
        assert health(made, "a").state("read") is State.TRIAL, "clients have a better copy and try nothing"
        await probe.step()
        assert health(made, "a").state("read") is State.CLOSED
        assert health(made, "a").share("read") == 0.01
        asked = await firsts(troubled, made, reads=100)
        assert asked["a"] <= 2

    play(tmp_path, scene)


# --- nobody is given up for ever ---


def test_the_last_copy_is_asked_although_its_breaker_is_open(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        for grid in troubled.faults.values():
            grid.inject(Fault(Kind.REFUSE), "get")
        await open_breakers(troubled, made)
        assert {health(made, name).state("read") for name in ("a", "b")} == {State.OPEN}
        troubled.faults["b"].heal("get")
        assert await made.read("k0") == BODY
        assert health(made, "b").state("read") is State.CLOSED, "an answer is as good as a trial"

    play(tmp_path, scene)


async def open_breakers(troubled: Troubled, made: Engine) -> None:
    """Let reads fail for as long as we suspect ourselves, and then until they are blamed on the grids."""
    for _ in range(90):
        await made.code("k0")
        troubled.clock.leap(1.0)
        if State.CLOSED not in {health(made, name).state("read") for name in troubled.faults}:
            return


def test_grids_that_say_nothing_do_not_use_up_the_servers_requests(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        for grid in troubled.faults.values():
            grid.inject(Fault(Kind.REFUSE), "get")
        await open_breakers(troubled, made)
        for grid in troubled.faults.values():
            grid.inject(Fault(Kind.HANG), "get")
            grid.calls.clear()
        reading = [asyncio.ensure_future(made.code("k0")) for _ in range(100)]
        done, waiting = await asyncio.wait(reading, timeout=0.5)
        assert {task.result() for task in done} == {"ServiceUnavailable"}
        assert len(waiting) <= 16
        assert sum(grid.calls["get"] for grid in troubled.faults.values()) <= 16
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    play(tmp_path, scene)


# --- whose fault ---


def test_when_all_grids_fall_silent_at_once_no_breaker_opens(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        for grid in troubled.faults.values():
            grid.inject(Fault(Kind.REFUSE))
        for _ in range(20):
            assert await made.code("k0") == "ServiceUnavailable"
            await made.probe()
            troubled.clock.leap(1.0)
        assert moves(troubled) == set()
        assert [event.suspected for event in troubled.told if isinstance(event, SelfSuspected)] == [True]
        troubled.heal()
        assert await firsts(troubled, made, reads=20) == {"a": 20, "b": 0}, "nobody has to come back by a ramp"
        assert [event.suspected for event in troubled.told if isinstance(event, SelfSuspected)] == [True, False]

    play(tmp_path, scene)


def test_two_dead_grids_do_not_trip_the_healthy_one(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        for name in ("a", "b"):
            troubled.faults[name].inject(Fault(Kind.REFUSE))
        for _ in range(60):
            assert await made.read("k0") == BODY
            troubled.clock.leap(1.0)
        assert {grid for grid, _ in moves(troubled)} == {"a", "b"}
        assert {health(made, "c").state(group) for group in GROUPS} == {State.CLOSED}
        assert health(made, "c").demoted("read") == ""

    play(tmp_path, scene, names=("a", "b", "c"))


def test_writes_that_fail_do_not_cost_a_grid_its_reads(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.REFUSE), "stage", "publish", "delete")
        for number in range(20):
            await made.put(f"new {number}", BODY)
            await made.settle(rounds=2)
            troubled.clock.leap(1.0)
        assert health(made, "a").state("write") is not State.CLOSED
        assert (await firsts(troubled, made, reads=20))["a"] == 20

    play(tmp_path, scene)


def test_a_fault_that_lasts_is_believed_after_two_confirmations(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.LASTING), "get")
        asked = await firsts(troubled, made, reads=20)
        assert asked == {"a": 2, "b": 20}

    play(tmp_path, scene)


def test_a_missing_or_changed_copy_is_no_evidence_against_its_grid(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        for kind in (Kind.ABSENT, Kind.DENY):
            troubled.faults["a"].inject(Fault(kind), "get", "head")
            for number in range(20):
                assert await made.read(f"k{number}") == BODY
                troubled.clock.leap(1.0)
        assert moves(troubled) == set()
        assert health(made, "a").demoted("read") == ""

    play(tmp_path, scene, objects=20)


# --- the operator ---


def test_a_grid_that_was_taken_out_of_use_is_not_asked_anything(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        await made.site.pin("a", Use.OUT)
        assert await made.read("k0") == BODY
        await made.put("new", BODY)
        await made.delete("k0")
        for _ in range(5):
            await made.settle(rounds=2)
            for seat in made.site.seats.values():
                await Probe(made.site, seat).step()
            troubled.clock.leap(120.0)
        assert troubled.faults["a"].calls.total() == 0
        troubled.faults["b"].inject(Fault(Kind.REFUSE))
        await trim(made)
        assert await made.read("new") == BODY, "what it is owed is kept here"
        troubled.faults["b"].heal()
        await made.site.pin("a", Use.AUTO)
        await troubled.converge(made)
        assert await troubled.content("a") == {"new": BODY}

    play(tmp_path, scene)


def test_a_grid_that_is_out_of_use_is_not_asked_even_for_the_last_copy(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        await made.site.pin("a", Use.OUT)
        troubled.faults["b"].inject(Fault(Kind.REFUSE), "get")
        assert await made.code("k0") == "ServiceUnavailable"
        assert troubled.faults["a"].calls.total() == 0

    play(tmp_path, scene)


def test_a_grid_that_is_kept_in_use_is_asked_whatever_its_breaker_would_say(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        await made.site.pin("a", Use.IN)
        troubled.faults["a"].inject(Fault(Kind.REFUSE), "get")
        for _ in range(20):
            assert await made.read("k0") == BODY
            troubled.clock.leap(1.0)
        assert troubled.faults["a"].calls["get"] == 20
        assert moves(troubled) == set()

    play(tmp_path, scene)


def test_what_an_operator_decided_holds_after_a_restart_and_in_other_workers(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            await made.put("k0", BODY)
            await troubled.converge(made)
            await made.site.pin("a", Use.OUT)
        troubled.faults["a"].calls.clear()
        async with troubled.engine(tmp_path) as made:
            await trim(made)
            assert await made.read("k0") == BODY
            assert troubled.faults["a"].calls.total() == 0
            # Another worker decides; this one looks at what the index remembers.
            await made.site.index.note("pins", "")
            await Pins(made.site).step()
            assert made.site.seats["a"].use is Use.AUTO

    asyncio.run(main())


def test_there_is_nothing_to_decide_about_a_grid_that_is_not_there(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        with pytest.raises(KeyError):
            await made.site.pin("x", Use.OUT)

    play(tmp_path, scene)


# --- probes ---


def _seat(made: Engine, name: str = "a") -> Seat:
    return made.site.seats[name]


def test_a_probe_reads_a_copy_and_makes_a_rotten_one_owed(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.inner["a"].rot(Place(BUCKET, "k0"), 7)
        await Probe(made.site, _seat(made)).read()
        assert await made.copies("k0") == {"b"}

    play(tmp_path, scene)


def test_a_probe_leaves_nothing_where_it_writes(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        before = await troubled.content("a")
        await Probe(made.site, _seat(made)).write()
        assert troubled.faults["a"].calls["stage"] == troubled.faults["a"].calls["discard"] == 1
        assert troubled.faults["a"].calls["publish"] == 0
        assert await troubled.content("a") == before

    play(tmp_path, scene)


def test_a_probe_asks_for_more_than_a_name_only_now_and_then(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        probe = Probe(made.site, _seat(made))
        for _ in range(120):
            await probe.step()
            troubled.clock.leap(5.0)
        calls = troubled.faults["a"].calls
        assert calls["attach"] == 120
        assert 8 <= calls["get"] <= 12
        assert 1 <= calls["stage"] <= 2

    play(tmp_path, scene)


def test_a_probe_does_not_take_staging_for_proof_that_writes_work(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.LASTING), "publish")
        for number in range(3):
            await made.put(f"new {number}", BODY)
            await made.settle(rounds=2)
            troubled.clock.leap(1.0)
        assert health(made, "a").state("write") is State.OPEN
        probe = Probe(made.site, _seat(made))
        for _ in range(20):
            troubled.clock.leap(PROBE_WRITE_S)
            await probe.step()
        assert health(made, "a").state("write") is State.TRIAL

    play(tmp_path, scene)


def test_a_worker_that_is_owed_nothing_believes_the_one_that_paid(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        """Its own breaker would stay open for ever: it has nothing to try the grid with."""
        troubled.faults["a"].inject(Fault(Kind.FULL), "stage", "publish")
        for number in range(3):
            await made.put(f"new {number}", BODY)
            await made.settle(rounds=2)
            troubled.clock.leap(2.0)
        assert health(made, "a").state("write") is State.OPEN
        probe = Probe(made.site, _seat(made))
        troubled.clock.leap(BREAKER_TRIAL_MAX_S * 2)
        await probe.step()
        assert health(made, "a").state("write") is State.TRIAL, "it is owed something, so that is what tries it"
        troubled.heal()
        number = made.site.seats["a"].number
        while debts := await made.site.index.claim(
            number, holder="another worker", now_ms=made.site.clock.now_ms(), lease_until_ms=1 << 60, limit=9
        ):
            await made.site.index.settle([Payment(debt, "etag") for debt in debts])
        await probe.step()
        assert health(made, "a").state("write") is State.CLOSED
        assert ("a", "closed") in moves(troubled)

    play(tmp_path, scene)


def test_a_probe_of_a_silent_grid_opens_its_breakers_though_no_client_comes(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        troubled.faults["a"].inject(Fault(Kind.HANG), "get")
        health(made, "a").left("read", 100, 1.0)
        probe = Probe(made.site, _seat(made))
        for _ in range(5):
            await probe.read()
            troubled.clock.leap(2.0)
        assert health(made, "a").state("read") is not State.CLOSED

    play(tmp_path, scene, deadline_s=DEADLINE_S)


def test_a_probe_without_anything_to_read_or_write_is_content(tmp_path: Path) -> None:
    async def scene(troubled: Troubled, made: Engine) -> None:
        probe = Probe(made.site, _seat(made))
        await made.delete("k0")
        await troubled.converge(made)
        await probe.read()
        try:
            await made.site.index.delete_bucket(BUCKET)
        except S3Error as refusal:
            pytest.fail(str(refusal))
        await probe.read()
        await probe.write()
        assert troubled.faults["a"].calls["get"] == 0

    play(tmp_path, scene)
