"""What each coat of a grid does, on virtual time."""

import asyncio
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.events import BreakerMoved, Event, GridAttempt, GridDemoted, Teller
from holdfast.grids.grid import Download, Grid, Label, Source, Staged
from holdfast.grids.memory import MemoryGrid
from holdfast.grids.sources import BytesSource
from holdfast.health.breaker import State
from holdfast.health.standing import Standing, Use
from holdfast.limits import (
    BASELINE_AGE_S,
    BLOCK_BYTES,
    BREAKER_ROW,
    BREAKER_TRIAL_MAX_S,
    DEMOTED_SHARE,
    GRID_COPY_S,
    GRID_FLOOR_BYTES,
    GRID_FLOOR_S,
    GRID_LIST_S,
    GRID_STAGE_BYTES_S,
    GRID_WAIT_S,
    GRID_WAITING,
    HEDGE_MIN_S,
    HEDGE_UNKNOWN_S,
)
from holdfast.model import Place, Span
from holdfast.testing.contract.check import Streamed, label, put, read
from holdfast.testing.faults import OPERATIONS, Fault, FaultGrid, Kind
from holdfast.wrappers.breaker import GROUPS, BreakerGrid, Breakers
from holdfast.wrappers.coats import put_on
from holdfast.wrappers.deadline import DeadlineGrid
from holdfast.wrappers.limit import LimitGrid
from holdfast.wrappers.trace import TraceGrid

T = TypeVar("T")
KEY = Place("bucket", "key")


class _Selector(selectors.SelectSelector):
    """Instead of waiting, lets the time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for ever"
        ready = super().select(0)
        if not ready:
            self.now_s += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now_s


class LoopClock(SystemClock):
    """The virtual time of the running loop; draws are the middle."""

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    def random(self) -> float:
        return 0.5


CLOCK = LoopClock()


def _run(body: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await body()

    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main())


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _faulty() -> FaultGrid:
    """A grid with one object."""
    grid = FaultGrid(MemoryGrid("grid"), clock=CLOCK)
    await put(grid, KEY.bucket, KEY.key, b"bytes")
    return grid


def _calls(grid: Grid) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every operation, as a call that works on a healthy grid with KEY in it."""

    async def publish() -> str:
        return await grid.publish(await grid.stage(KEY, BytesSource(b"new"), label()))

    async def discard() -> None:
        await grid.discard(await grid.stage(KEY, BytesSource(b"new"), label()))

    async def copy() -> str:
        etag = (await grid.head(KEY)).etag
        return await grid.copy(KEY, Place("bucket", "copy"), if_match=etag, label=label())

    return {
        "attach": lambda: grid.attach(""),
        "stage": lambda: grid.stage(KEY, BytesSource(b"new"), label()),
        "publish": publish,
        "discard": discard,
        "get": lambda: read(grid, KEY.bucket, KEY.key),
        "head": lambda: grid.head(KEY),
        "delete": lambda: grid.delete(Place("bucket", "other")),
        "list": lambda: grid.list("bucket"),
        "copy": copy,
    }


# --- deadline ---


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_hanging_operation_ends_at_its_deadline(operation: str) -> None:
    async def body() -> None:
        faulty = await _faulty()
        timely = DeadlineGrid(faulty, deadline_s=3.0)
        faulty.inject(Fault(Kind.HANG), operation)
        changes = operation in ("publish", "delete", "copy")
        began_s = _now_s()
        with pytest.raises(Uncertain if changes else Unavailable) as silence:
            await _calls(timely)[operation]()
        limit_s = {"list": GRID_LIST_S, "copy": GRID_COPY_S}.get(operation, 3.0)
        assert _now_s() - began_s == pytest.approx(limit_s, abs=0.01)
        assert (silence.value.grid, silence.value.operation) == ("grid", operation)
        assert "no answer" in silence.value.detail

    _run(body)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_slow_operation_that_keeps_its_deadline_succeeds(operation: str) -> None:
    async def body() -> None:
        faulty = await _faulty()
        faulty.inject(Fault(Kind.SLOW, delay_s=2.9), operation)
        await _calls(DeadlineGrid(faulty, deadline_s=3.0))[operation]()

    _run(body)


class _Slow(Streamed):
    """Comes in two pieces, each after `pause_s`."""

    pause_s = 0.0

    async def stream(self) -> AsyncIterator[bytes]:
        for size in (1, self.size - 1):
            await asyncio.sleep(self.pause_s)
            yield b"x" * size


def test_a_large_body_is_given_time_by_its_size() -> None:
    async def body() -> None:
        faulty = FaultGrid(MemoryGrid("grid"), clock=CLOCK)
        timely = DeadlineGrid(faulty, deadline_s=3.0)
        source = _Slow(b"", size=8 * GRID_STAGE_BYTES_S)
        faulty.inject(Fault(Kind.SLOW, delay_s=8 + 2.0), "stage")
        await timely.stage(KEY, source, label())
        faulty.inject(Fault(Kind.SLOW, delay_s=8 + 4.0), "stage")
        with pytest.raises(Unavailable):
            await timely.stage(KEY, source, label())

    _run(body)


def test_the_time_that_a_body_takes_to_arrive_is_not_the_grids() -> None:
    """It neither runs against the deadline nor is told as latency; the grid's own time does and is, before and after."""

    async def body() -> None:
        faulty, _, attempts = _traced()
        teller = Teller()
        teller.subscribe(lambda event: attempts.append(event) if isinstance(event, GridAttempt) else None)
        timely = TraceGrid(DeadlineGrid(faulty, deadline_s=3.0), clock=CLOCK, teller=teller)
        source = _Slow(b"", size=2)
        source.pause_s = 100.0
        faulty.inject(Fault(Kind.SLOW, delay_s=2.0), "stage")
        await timely.stage(KEY, source, label())
        assert attempts[0].elapsed_s == pytest.approx(2.0, abs=0.01)

        class Stuck(MemoryGrid):
            async def stage(self, place: Place, source: Source, label: Label) -> Staged:
                async for _ in source.stream():
                    await asyncio.sleep(2.0)
                return await super().stage(place, source, label)

        began_s = _now_s()
        with pytest.raises(Unavailable):
            await DeadlineGrid(Stuck("grid"), deadline_s=3.0).stage(KEY, source, label())
        assert _now_s() - began_s == pytest.approx(100.0 + 2.0 + 100.0 + 1.0, abs=0.01)

    _run(body)


class _Trickle(MemoryGrid):
    """Gives a body in pieces of `piece` bytes, each after `pause_s`."""

    def __init__(self, size_bytes: int, piece: int, pause_s: float) -> None:
        super().__init__("grid")
        self.size_bytes, self.piece, self.pause_s = size_bytes, piece, pause_s

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        return _TrickleDownload(self)


class _TrickleDownload:
    etag = "etag"

    def __init__(self, grid: _Trickle) -> None:
        self._grid = grid
        self.size = grid.size_bytes

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(self.size // self._grid.piece):
            await asyncio.sleep(self._grid.pause_s)
            yield b"x" * self._grid.piece

    async def close(self) -> None:
        pass


def test_a_body_above_the_floor_may_take_as_long_as_it_wants() -> None:
    async def body() -> None:
        piece = GRID_FLOOR_BYTES // 4
        grid = DeadlineGrid(_Trickle(40 * piece, piece, GRID_FLOOR_S / 4 - 0.1), deadline_s=3.0)
        assert len(await read(grid, "bucket", "key")) == 40 * piece
        assert _now_s() > 1000.0 + 4 * GRID_FLOOR_S

    _run(body)


def test_a_body_that_trickles_below_the_floor_is_silent() -> None:
    async def body() -> None:
        grid = DeadlineGrid(_Trickle(GRID_FLOOR_BYTES, 1, 1.0), deadline_s=3.0)
        with pytest.raises(Unavailable):
            await read(grid, "bucket", "key")
        assert _now_s() == pytest.approx(1001.0 + GRID_FLOOR_S, abs=0.01)

    _run(body)


def test_a_first_byte_that_does_not_come_is_silence_within_the_deadline() -> None:
    async def body() -> None:
        grid = DeadlineGrid(_Trickle(10, 1, 60.0), deadline_s=3.0)
        with pytest.raises(Unavailable):
            await read(grid, "bucket", "key")
        assert _now_s() == pytest.approx(1003.0, abs=0.01)

    _run(body)


def test_a_slow_reader_is_not_the_grids_fault() -> None:
    async def body() -> None:
        grid = DeadlineGrid(_Trickle(20, 1, 0.1), deadline_s=3.0)
        download = await grid.get(KEY)
        count = 0
        async for _ in download.stream():
            count += 1
            await asyncio.sleep(10 * GRID_FLOOR_S)
        assert count == 20

    _run(body)


def test_a_cancelled_caller_is_not_a_deadline() -> None:
    async def body() -> None:
        faulty = await _faulty()
        faulty.inject(Fault(Kind.HANG))
        task = asyncio.ensure_future(DeadlineGrid(faulty, deadline_s=3.0).head(KEY))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    _run(body)


# --- limit ---


def test_no_more_than_its_concurrency_reach_the_grid() -> None:
    async def body() -> None:
        faulty = await _faulty()
        limited = LimitGrid(faulty, concurrency=3)
        faulty.calls.clear()
        faulty.inject(Fault(Kind.HANG), "head")
        tasks = [asyncio.ensure_future(limited.head(KEY)) for _ in range(8)]
        await asyncio.sleep(GRID_WAIT_S / 2)
        assert faulty.calls["head"] == 3
        faulty.heal()
        await asyncio.gather(*tasks)
        assert faulty.calls["head"] == 8

    _run(body)


def test_waiting_for_a_turn_is_bounded_in_time_and_is_no_evidence() -> None:
    async def body() -> None:
        faulty = await _faulty()
        limited = LimitGrid(faulty, concurrency=1)
        faulty.inject(Fault(Kind.HANG), "head")
        hanging = asyncio.ensure_future(limited.head(KEY))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as busy:
            await limited.head(KEY)
        assert busy.value.shielded
        assert _now_s() == pytest.approx(1000.0 + GRID_WAIT_S, abs=0.01)
        faulty.heal()
        await hanging
        await limited.head(KEY)

    _run(body)


def test_waiting_for_a_turn_is_bounded_in_number() -> None:
    async def body() -> None:
        faulty = await _faulty()
        limited = LimitGrid(faulty, concurrency=1)
        faulty.inject(Fault(Kind.HANG), "head")
        tasks = [asyncio.ensure_future(limited.head(KEY)) for _ in range(1 + GRID_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as busy:
            await limited.head(KEY)
        assert busy.value.shielded
        assert _now_s() == 1000.0
        faulty.heal()
        await asyncio.gather(*tasks)

    _run(body)


def test_a_grid_that_hangs_on_changes_can_still_be_read_and_probed() -> None:
    async def body() -> None:
        faulty = await _faulty()
        limited = LimitGrid(faulty, concurrency=2)
        faulty.inject(Fault(Kind.HANG), "stage", "delete")
        tasks = [asyncio.ensure_future(limited.delete(KEY)) for _ in range(2)]
        await asyncio.sleep(0)
        assert await read(limited, KEY.bucket, KEY.key) == b"bytes"
        assert await limited.list("bucket")
        assert (await limited.head(KEY)).size == 5
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    _run(body)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_turns_are_given_back_whatever_happens(operation: str) -> None:
    async def body() -> None:
        faulty = await _faulty()
        limited = LimitGrid(faulty, concurrency=1)
        calls = _calls(limited)
        for kind in (Kind.REFUSE, Kind.DENY):
            faulty.inject(Fault(kind), operation)
            for _ in range(3):
                with pytest.raises(GridError) as error:
                    await calls[operation]()
                assert "injected" in error.value.detail
        faulty.inject(Fault(Kind.HANG), operation)
        task = asyncio.ensure_future(calls[operation]())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait((task,))
        faulty.heal()
        for call in calls.values():
            await call()

    _run(body)


# --- breaker ---


class _Kit:
    """A faulty grid behind a breaker, and what was told."""

    def __init__(self, inner: Grid | None = None) -> None:
        self.events: list[Event] = []
        teller = Teller()
        teller.subscribe(self.events.append)
        self.faulty = FaultGrid(inner or MemoryGrid("grid"), clock=CLOCK)
        self.breakers = Breakers("grid", clock=CLOCK, teller=teller)
        self.grid = BreakerGrid(self.faulty, self.breakers)

    async def fail(self, operation: str, times: int = BREAKER_ROW) -> None:
        for _ in range(times):
            await asyncio.sleep(0.5)
            with pytest.raises((Unavailable, Uncertain, Corrupt)):
                await _calls(self.grid)[operation]()

    def moves(self) -> list[tuple[str, str]]:
        return [(event.group, event.state) for event in self.events if isinstance(event, BreakerMoved)]

    def states(self) -> dict[str, State]:
        return {group: self.breakers.state(group) for group in GROUPS}


_GROUP_OF = {"get": "read", "head": "read", "stage": "write", "publish": "write", "list": "list", "delete": "delete"}


@pytest.mark.parametrize("operation", _GROUP_OF)
def test_silence_opens_the_breaker_of_its_class_only(operation: str) -> None:
    async def body() -> None:
        kit = _Kit()
        await put(kit.grid, KEY.bucket, KEY.key, b"bytes")
        kit.faulty.inject(Fault(Kind.REFUSE), operation)
        await kit.fail(operation)
        mine = _GROUP_OF[operation]
        assert kit.states() == {group: State.OPEN if group == mine else State.CLOSED for group in GROUPS}
        assert kit.moves() == [(mine, "open")]
        kit.faulty.calls.clear()
        with pytest.raises(Unavailable) as refused:
            await _calls(kit.grid)[operation]()
        assert refused.value.shielded
        assert not kit.faulty.calls, "an open breaker does not ask"

    _run(body)


def test_answers_never_open_a_breaker() -> None:
    async def body() -> None:
        kit = _Kit()
        for kind in (Kind.DENY, Kind.ABSENT):
            kit.faulty.inject(Fault(kind))
            for _ in range(10 * BREAKER_ROW):
                await asyncio.sleep(1.0)
                for call in (kit.grid.head(KEY), kit.grid.get(KEY, if_match="x")):
                    with pytest.raises(Refused):
                        await call
        assert set(kit.states().values()) == {State.CLOSED}

    _run(body)


def test_an_answer_that_refuses_closes_after_a_trial() -> None:
    async def body() -> None:
        kit = _Kit()
        kit.faulty.inject(Fault(Kind.REFUSE), "head")
        await kit.fail("head")
        kit.faulty.heal()
        await asyncio.sleep(BREAKER_TRIAL_MAX_S)
        assert kit.breakers.state("read") is State.TRIAL
        with pytest.raises(Refused) as absent:
            await kit.grid.head(KEY)
        assert absent.value.reason is Reason.ABSENT
        assert kit.breakers.state("read") is State.CLOSED
        assert kit.moves() == [("read", "open"), ("read", "trial"), ("read", "closed")]

    _run(body)


def test_cancelled_attempts_never_open_a_breaker_nor_keep_it_in_trial() -> None:
    async def body() -> None:
        kit = _Kit()
        await put(kit.grid, KEY.bucket, KEY.key, b"bytes")

        async def abort(call: Awaitable[object]) -> None:
            task = asyncio.ensure_future(call)
            await asyncio.sleep(1.0)
            task.cancel()
            await asyncio.wait((task,))

        kit.faulty.inject(Fault(Kind.HANG), "head", "get")
        for _ in range(5 * BREAKER_ROW):
            await abort(kit.grid.head(KEY))
            await abort(kit.grid.get(KEY))
        assert kit.breakers.state("read") is State.CLOSED
        kit.faulty.inject(Fault(Kind.REFUSE), "head")
        await kit.fail("head")
        await asyncio.sleep(BREAKER_TRIAL_MAX_S)
        kit.faulty.inject(Fault(Kind.HANG), "head", "get")
        await abort(kit.grid.head(KEY))
        await abort(kit.grid.get(KEY))
        kit.faulty.heal()
        unread = await kit.grid.get(KEY)
        await unread.close()
        assert await read(kit.grid, KEY.bucket, KEY.key) == b"bytes"
        assert kit.breakers.state("read") is State.CLOSED

    _run(body)


def test_a_body_that_never_comes_is_silence_though_its_headers_came() -> None:
    async def body() -> None:
        kit = _Kit(DeadlineGrid(_Trickle(10, 1, 60.0), deadline_s=3.0))
        for _ in range(BREAKER_ROW):
            with pytest.raises(Unavailable):
                await read(kit.grid, "bucket", "key")
        assert kit.breakers.state("read") is State.OPEN

    _run(body)


def test_another_grids_silence_is_not_counted_against_this_one() -> None:
    async def body() -> None:
        kit = _Kit()
        for _ in range(5 * BREAKER_ROW):
            await asyncio.sleep(1.0)
            with pytest.raises(Unavailable):
                await kit.grid.stage(KEY, Streamed(b"x", breaks=True), label())
        assert kit.breakers.state("write") is State.CLOSED

    _run(body)


def test_a_grid_that_stages_but_never_publishes_is_silent() -> None:
    async def body() -> None:
        kit = _Kit()
        kit.faulty.inject(Fault(Kind.LOST_ANSWER), "publish")
        await kit.fail("publish")
        assert kit.breakers.state("write") is State.OPEN

    _run(body)


def test_a_probe_is_always_asked_and_brings_the_trial_forward() -> None:
    async def body() -> None:
        kit = _Kit()
        kit.faulty.inject(Fault(Kind.REFUSE))
        await kit.fail("head")
        with pytest.raises(Unavailable):
            await kit.grid.attach("")
        assert kit.breakers.state("read") is State.OPEN
        kit.faulty.heal()
        await kit.grid.attach("")
        assert kit.breakers.state("read") is State.TRIAL
        with pytest.raises(Refused):
            await kit.grid.head(KEY)
        assert kit.breakers.state("read") is State.CLOSED

    _run(body)


@pytest.mark.parametrize("operation", _GROUP_OF | {"copy": "write"})
def test_every_attempt_ends_for_those_who_count_them(operation: str) -> None:
    async def body() -> None:
        kit = _Kit()
        await put(kit.grid, KEY.bucket, KEY.key, b"bytes")
        for kind in (Kind.SLOW, Kind.REFUSE, Kind.DENY, Kind.LOST_ANSWER, Kind.ABSENT):
            kit.faulty.inject(Fault(kind), operation)
            await asyncio.gather(_calls(kit.grid)[operation](), return_exceptions=True)
        kit.faulty.inject(Fault(Kind.HANG), operation)
        task = asyncio.ensure_future(_calls(kit.grid)[operation]())
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait((task,))
        kit.faulty.heal()
        await (await kit.grid.get(KEY)).close()
        assert [kit.breakers.waiting(group) for group in GROUPS] == [0, 0, 0, 0]

    _run(body)


def test_its_last_door_asks_though_the_breaker_is_open_and_not_though_it_is_out_of_use() -> None:
    async def body() -> None:
        kit = _Kit()
        await put(kit.grid, KEY.bucket, KEY.key, b"bytes")
        kit.faulty.inject(Fault(Kind.REFUSE), "get")
        await kit.fail("get")
        kit.faulty.heal()
        with pytest.raises(Unavailable):
            await read(kit.grid, KEY.bucket, KEY.key)
        kit.breakers.pin(Use.OUT)
        with pytest.raises(Unavailable) as refused:
            await read(kit.grid.as_last(), KEY.bucket, KEY.key)
        assert refused.value.shielded
        kit.breakers.pin(Use.AUTO)
        kit.faulty.inject(Fault(Kind.REFUSE), "get")
        await kit.fail("get")
        kit.faulty.heal()
        assert await read(kit.grid.as_last(), KEY.bucket, KEY.key) == b"bytes"
        assert kit.breakers.state("read") is State.CLOSED

    _run(body)


def test_a_hedge_waits_for_the_p95_and_for_a_little_at_least() -> None:
    async def body() -> None:
        kit = _Kit()
        assert kit.breakers.hedge_delay_s(1000) == HEDGE_UNKNOWN_S
        for _ in range(20):
            kit.breakers.first_block(1000, 0.001)
        assert kit.breakers.hedge_delay_s(1000) == HEDGE_MIN_S
        assert kit.breakers.hedge_delay_s(BLOCK_BYTES) == HEDGE_UNKNOWN_S
        for _ in range(20):
            kit.breakers.first_block(1000, 0.8)
        assert kit.breakers.hedge_delay_s(1000) == pytest.approx(0.8, rel=0.2)

    _run(body)


def test_what_an_operator_decides_forgets_what_was_held_against_the_grid() -> None:
    async def body() -> None:
        kit = _Kit()
        kit.faulty.inject(Fault(Kind.REFUSE), "head")
        await kit.fail("head")
        kit.breakers.pin(Use.IN)
        assert set(kit.states().values()) == {State.CLOSED}
        await kit.fail("head", 3 * BREAKER_ROW)
        kit.breakers.pin(Use.AUTO)
        assert set(kit.states().values()) == {State.CLOSED}
        assert kit.breakers.standing("read", 0) == Standing()
        await kit.fail("head")
        assert kit.moves() == [("read", "open"), ("read", "closed"), ("read", "open")]

    _run(body)


def test_a_slow_grid_that_never_fails_is_demoted_and_comes_back() -> None:
    async def body() -> None:
        kit = _Kit()
        await put(kit.grid, KEY.bucket, KEY.key, b"bytes")

        async def reads(*, seconds: int, elapsed_s: float) -> None:
            for _ in range(seconds):
                await asyncio.sleep(1.0)
                assert await read(kit.grid, KEY.bucket, KEY.key) == b"bytes"
                kit.breakers.first_block(5, elapsed_s)

        await reads(seconds=2 * int(BASELINE_AGE_S), elapsed_s=0.04)
        assert kit.breakers.demoted("read") == ""
        await reads(seconds=180, elapsed_s=0.4)
        assert kit.breakers.demoted("read") == "slow"
        assert kit.breakers.standing("read", 5).state is State.CLOSED
        assert kit.breakers.standing("read", 5).share == DEMOTED_SHARE
        await reads(seconds=400, elapsed_s=0.04)
        assert kit.breakers.demoted("read") == ""
        told = [event.reason for event in kit.events if isinstance(event, GridDemoted)]
        assert told == ["slow", ""]

    _run(body)


# --- trace ---


def _traced() -> tuple[FaultGrid, TraceGrid, list[GridAttempt]]:
    attempts: list[GridAttempt] = []
    teller = Teller()
    teller.subscribe(lambda event: attempts.append(event) if isinstance(event, GridAttempt) else None)
    faulty = FaultGrid(MemoryGrid("grid"), clock=CLOCK)
    return faulty, TraceGrid(faulty, clock=CLOCK, teller=teller), attempts


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_attempt_is_told_once_with_its_outcome_and_time(operation: str) -> None:
    async def body() -> None:
        faulty, traced, attempts = _traced()
        await put(traced, KEY.bucket, KEY.key, b"bytes")
        for fault, outcome, elapsed_s in (
            (Fault(Kind.SLOW, delay_s=2.0), "ok", 2.0),
            (Fault(Kind.REFUSE), "unavailable", 0.0),
            (Fault(Kind.DENY), "refused", 0.0),
        ):
            attempts.clear()
            faulty.inject(fault, operation)
            await asyncio.gather(_calls(traced)[operation](), return_exceptions=True)
            mine = [attempt for attempt in attempts if attempt.operation == operation]
            assert [(attempt.grid, attempt.outcome) for attempt in mine] == [("grid", outcome)]
            assert mine[0].elapsed_s == pytest.approx(elapsed_s, abs=0.01)

    _run(body)


def test_a_read_is_told_with_the_bytes_that_it_moved() -> None:
    async def body() -> None:
        _, traced, attempts = _traced()
        await put(traced, KEY.bucket, KEY.key, b"0123456789")
        attempts.clear()
        await read(traced, KEY.bucket, KEY.key, span=Span(2, 9))
        assert [(attempt.operation, attempt.size_bytes) for attempt in attempts] == [("get", 7)]

    _run(body)


def test_a_body_that_breaks_off_is_told_as_what_it_is() -> None:
    async def body() -> None:
        attempts: list[Event] = []
        teller = Teller()
        teller.subscribe(attempts.append)
        timely = DeadlineGrid(_Trickle(10, 1, 60.0), deadline_s=3.0)
        with pytest.raises(Unavailable):
            await read(TraceGrid(timely, clock=CLOCK, teller=teller), "bucket", "key")
        assert [attempt.outcome for attempt in attempts if isinstance(attempt, GridAttempt)] == ["unavailable"]

    _run(body)


def test_what_says_nothing_about_the_grid_is_not_told() -> None:
    async def body() -> None:
        faulty, traced, attempts = _traced()
        with pytest.raises(Unavailable):
            await traced.stage(KEY, Streamed(b"x", breaks=True), label())
        faulty.inject(Fault(Kind.HANG))
        task = asyncio.ensure_future(traced.head(KEY))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait((task,))
        assert attempts == []

    _run(body)


# --- all coats ---


def test_a_hung_grid_costs_its_deadline_until_the_breaker_opens_and_nothing_after() -> None:
    async def body() -> None:
        events: list[Event] = []
        teller = Teller()
        teller.subscribe(events.append)
        faulty = await _faulty()
        breakers = Breakers("grid", clock=CLOCK, teller=teller)
        grid = put_on(faulty, breakers=breakers, clock=CLOCK, teller=teller, deadline_s=3.0)
        faulty.inject(Fault(Kind.HANG))
        results = await asyncio.gather(*(grid.head(KEY) for _ in range(BREAKER_ROW)), return_exceptions=True)
        assert {type(result) for result in results} == {Unavailable}
        assert _now_s() == pytest.approx(1003.0, abs=0.01)
        for _ in range(100):
            with pytest.raises(Unavailable):
                await grid.head(KEY)
        assert _now_s() == pytest.approx(1003.0, abs=0.01)
        attempts = [event for event in events if isinstance(event, GridAttempt)]
        assert [attempt.outcome for attempt in attempts] == ["unavailable"] * BREAKER_ROW
        faulty.heal()
        await asyncio.sleep(BREAKER_TRIAL_MAX_S)
        assert await read(grid, KEY.bucket, KEY.key) == b"bytes"

    _run(body)


def test_every_coat_passes_on_what_it_is_given() -> None:
    class Recorder(MemoryGrid):
        def __init__(self) -> None:
            super().__init__("grid")
            self.seen: list[tuple[object, ...]] = []

        async def stage(self, place: Place, source: Source, label: Label) -> Staged:
            self.seen.append((place, source, label))
            return await super().stage(place, source, label)

        async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
            self.seen.append((place, span, if_match))
            return await super().get(place, span=span, if_match=if_match)

        async def close(self) -> None:
            self.seen.append(("close",))

    async def body() -> None:
        inner = Recorder()
        breakers = Breakers("grid", clock=CLOCK, teller=Teller())
        grid = put_on(FaultGrid(inner, clock=CLOCK), breakers=breakers, clock=CLOCK, teller=Teller())
        source, tag = BytesSource(b"0123"), label()
        etag = await grid.publish(await grid.stage(KEY, source, tag))
        assert await read(grid, KEY.bucket, KEY.key, span=Span(1, 3), if_match=etag) == b"12"
        await grid.close()
        assert inner.seen == [(KEY, source, tag), (KEY, Span(1, 3), etag), ("close",)]
        assert grid.capabilities == inner.capabilities
        assert grid.name == "grid"

    _run(body)
