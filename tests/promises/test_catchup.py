"""Catch-up: fast where it can be, polite where it must be, and nobody waits for ever."""

import asyncio
import os
from pathlib import Path

from holdfast.clock import SystemClock
from holdfast.events import ERRAND, DebtPaid, Event, GridAttempt, Teller
from holdfast.grids.grid import Label, Source, Staged
from holdfast.grids.memory import MemoryGrid
from holdfast.keepers.catchup import LANES, CatchUp
from holdfast.keepers.supervisor import Supervisor
from holdfast.limits import (
    BLOCK_BYTES,
    CATCHUP_BEGIN,
    CATCHUP_DUTY,
    CATCHUP_IDLE_S,
    CATCHUP_ROUNDS,
    CLAIM_BATCH,
    CLAIM_LEAST,
    INLINE_BYTES,
    REST_MAX_S,
    STUCK_ATTEMPTS,
)
from holdfast.model import Place
from holdfast.testing.faults import Fault, FaultGrid, Kind
from holdfast.wrappers.trace import TraceGrid
from tests.engine import Engine, engine
from tests.promises.troubled import LeapClock

LARGE = os.urandom(BLOCK_BYTES + 1)


class Counting(MemoryGrid):
    """Counts what is done to it at once."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.now = 0
        self.most = 0
        self.order: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        """Keys that are not taken before their event."""

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        self.now += 1
        self.most = max(self.most, self.now)
        self.order.append(place.key)
        try:
            if gate := self.gates.get(place.key):
                await gate.wait()
            await asyncio.sleep(0)
            return await super().stage(place, source, label)
        finally:
            self.now -= 1


def lanes(made: Engine, name: str) -> list[CatchUp]:
    return [keeper for keeper in made.catchups if keeper.name.startswith(f"catch-up {name} ")]


async def owed(made: Engine, name: str) -> int:
    sums = {row.grid: row for row in await made.site.index.sums()}
    return sums[made.site.seats[name].number].debts


def test_large_bodies_hold_up_no_small_ones(tmp_path: Path) -> None:
    async def main() -> None:
        grid = Counting("a")
        gate = asyncio.Event()
        async with engine(tmp_path, [grid]) as made:
            for number in range(20):
                grid.gates[f"large {number:02}"] = gate
                await made.put(f"large {number:02}", LARGE)
            for number in range(50):
                await made.put(f"small {number:02}", b"x")
            newest, oldest, large = lanes(made, "a")
            async with asyncio.TaskGroup() as group:
                moving = group.create_task(large.step())
                while not await newest.step() or not await oldest.step():
                    pass
                assert await owed(made, "a") == 20
                assert not moving.done()
                gate.set()
            await made.converge()
            assert await owed(made, "a") == 0

    asyncio.run(main())


def test_a_large_body_is_settled_when_it_is_there_and_not_when_the_others_are(tmp_path: Path) -> None:
    """Its lease is renewed no more once it is paid, and the body beside it may take an hour."""

    async def main() -> None:
        grid = Counting("a")
        async with engine(tmp_path, [grid]) as made:
            await made.put("first", LARGE)
            await made.put("second", LARGE)
            large = lanes(made, "a")[2]
            grid.gates["second"] = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(large.step())
                async with asyncio.timeout(20):
                    while await owed(made, "a") > 1:  # noqa: ASYNC110 - nobody tells of a settlement
                        await asyncio.sleep(0)
                assert await made.copies("first") == {"a"}
                grid.gates["second"].set()
            assert await owed(made, "a") == 0

    asyncio.run(main())


def test_bytes_that_are_here_are_never_read_from_a_grid(tmp_path: Path) -> None:
    """Two grids behind: both get a spooled body from the spool and a small one from the index; reading costs money elsewhere."""

    async def main() -> None:
        clock = LeapClock()
        grids = [FaultGrid(MemoryGrid(name), clock=clock) for name in ("a", "b")]
        async with engine(tmp_path, grids, clock=clock) as made:
            grids[1].inject(Fault(Kind.REFUSE), "stage")
            for key, data in (("large", LARGE), ("spooled", LARGE[: INLINE_BYTES + 1]), ("small", b"x")):
                await made.put(key, data)
            await made.settle()
            grids[1].heal()
            for _ in range(10):
                clock.leap(100.0)
                await made.settle()
            assert await owed(made, "a") == await owed(made, "b") == 0
            assert [grid.calls["get"] + grid.calls["head"] for grid in grids] == [0, 0]

    asyncio.run(main())


def test_a_spool_that_fills_up_is_more_urgent_than_clients(tmp_path: Path) -> None:
    async def main() -> None:
        grid = Counting("a")
        async with engine(tmp_path, [grid], spool_bytes=4 * len(LARGE)) as made:
            for number in range(200):
                await made.put(f"{number:04}", b"x")
            made.site.pressure = lambda: 1
            newest = lanes(made, "a")[0]
            await newest.step()
            assert grid.most == 1
            for number in range(3):
                await made.put(f"large {number}", LARGE)
            await newest.step()
            assert grid.most == CATCHUP_BEGIN // 2

    asyncio.run(main())


def test_what_is_newest_is_paid_first_and_what_is_oldest_all_the_same(tmp_path: Path) -> None:
    """However fast new debts come, half of what is paid are the oldest ones."""

    async def main() -> None:
        grid, clock = Counting("a"), LeapClock()
        async with engine(tmp_path, [grid], clock=clock) as made:
            number = 0

            async def more(count: int) -> None:
                nonlocal number
                clock.leap(0.001)
                await asyncio.gather(*[made.put(f"{number + more:04}", b"x") for more in range(count)])
                number += count

            for _ in range(300):
                await more(1)
            newest, oldest, _ = lanes(made, "a")
            await newest.step()
            assert max(grid.order) == grid.order[0] == "0299"
            grid.order.clear()
            await oldest.step()
            assert min(grid.order) == grid.order[0] == "0000"
            for _ in range(12):
                await more(3 * CLAIM_BATCH)  # More than both lanes can pay.
                await newest.step()
                await oldest.step()
            assert {f"{old:04}" for old in range(250)} <= {held.key for held in await grid.list("photos")}
            assert await owed(made, "a") > 0

    asyncio.run(main())


def test_a_grid_that_asks_for_rest_gets_it_from_every_lane(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LeapClock()
        grid = FaultGrid(MemoryGrid("a"), clock=clock)
        async with engine(tmp_path, [grid], clock=clock) as made:
            for number in range(CLAIM_BATCH):
                await made.put(f"{number:04}", b"x")
            await made.put("large", LARGE)
            grid.inject(Fault(Kind.THROTTLE, delay_s=30.0), "publish")
            newest, oldest, large = lanes(made, "a")
            await newest.step()
            asked = grid.calls["publish"]
            assert asked <= CATCHUP_BEGIN, "the rest of the batch was not even tried"
            assert made.site.seats["a"].window.size < CATCHUP_BEGIN
            for lane in (newest, oldest, large):
                assert 29.0 < await lane.step() <= 30.0
            assert grid.calls["publish"] == asked
            grid.heal()
            clock.leap(31.0)
            for _ in range(100):
                await made.settle()
                clock.leap(60.0)
            assert await owed(made, "a") == 0
            made.site.asked_to_rest(made.site.seats["a"].number, 1e9)
            assert await newest.step() <= REST_MAX_S, "no reply makes a grid unused for days"

    asyncio.run(main())


def test_a_grid_that_denies_everything_is_not_asked_for_all_that_it_is_owed_over_and_over(tmp_path: Path) -> None:
    """An account that was closed: the queue is long, and each answer is a refusal."""

    async def main() -> None:
        clock = LeapClock()
        grid = FaultGrid(MemoryGrid("a"), clock=clock)
        async with engine(tmp_path, [grid], clock=clock) as made:
            for number in range(500):
                await made.put(f"{number:04}", b"x")
            grid.inject(Fault(Kind.DENY), "stage")
            newest, _, _ = lanes(made, "a")
            rests = []
            for _ in range(12):
                rests.append(await newest.step())
                clock.leap(1.0)
            assert all(rests)
            assert rests[-1] == CATCHUP_IDLE_S
            grid.calls.clear()
            assert made.site.seats["a"].window.size == 1
            await newest.step()
            assert grid.calls["stage"] <= CLAIM_LEAST

    asyncio.run(main())


def test_a_throttled_debt_is_not_stuck(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LeapClock()
        grid = FaultGrid(MemoryGrid("a"), clock=clock)
        async with engine(tmp_path, [grid], clock=clock) as made:
            await made.put("k", b"x")
            grid.inject(Fault(Kind.THROTTLE, delay_s=5.0), "stage")
            for _ in range(2 * STUCK_ATTEMPTS):
                await made.settle(rounds=1)
                clock.leap(6.0)
            assert grid.calls["stage"] >= STUCK_ATTEMPTS
            assert await made.site.index.stuck(made.site.seats["a"].number, limit=1) == ()

    asyncio.run(main())


def test_while_clients_are_busy_it_takes_its_share_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        grid = Counting("a")
        async with engine(tmp_path, [grid]) as made:
            for number in range(1000):
                await made.put(f"{number:04}", b"x")
            await made.settle(rounds=8)
            window = made.site.seats["a"].window.size
            assert window > CATCHUP_BEGIN
            made.site.pressure = lambda: 1
            for number in range(1000):
                await made.put(f"{number:04}", b"y")
            grid.most = 0
            newest, oldest, _ = lanes(made, "a")
            await asyncio.gather(newest.step(), oldest.step())
            assert 1 <= grid.most <= window * CATCHUP_DUTY

    asyncio.run(main())


def test_a_silent_grid_is_asked_for_less_and_a_healthy_one_beside_it_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LeapClock()
        bad, good = FaultGrid(MemoryGrid("bad"), clock=clock), Counting("good")
        async with engine(tmp_path, [bad, good], clock=clock) as made:
            bad.inject(Fault(Kind.REFUSE), "stage")
            for number in range(500):
                await made.put(f"{number:04}", b"x")
            for _ in range(20):
                await made.settle(rounds=1)
                clock.leap(1.0)
            assert await owed(made, "good") == 0
            assert made.site.seats["bad"].window.size == 1
            assert made.site.seats["good"].window.size > CATCHUP_BEGIN
            bad.heal()
            for _ in range(20):
                await made.settle()
                clock.leap(100.0)
            assert await owed(made, "bad") == 0

    asyncio.run(main())


def test_what_was_paid_before_a_restart_is_not_paid_again(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LeapClock()
        grid = FaultGrid(MemoryGrid("a"), clock=clock)
        paid = 0
        async with engine(tmp_path, [grid], clock=clock) as made:
            for number in range(200):
                await made.put(f"{number:04}", b"x")
            newest, _, _ = lanes(made, "a")
            paying = asyncio.ensure_future(newest.step())
            while not paid:  # It ends in the middle of a batch.
                await asyncio.sleep(0)
                paid = 200 - await owed(made, "a")
            paying.cancel()
            await asyncio.wait([paying])
            paid = 200 - await owed(made, "a")
            left = max(CLAIM_LEAST, CATCHUP_BEGIN * CATCHUP_ROUNDS // 2) - paid
        async with engine(tmp_path, [grid], clock=clock) as made:
            clock.leap(100.0)
            await made.converge()
            assert grid.calls["publish"] <= 200 + left, "only what was under way is looked at or written again"
            assert len(await grid.list("photos")) == 200

    asyncio.run(main())


def test_a_debt_that_nobody_can_pay_is_told_as_stuck_with_its_reason(tmp_path: Path) -> None:
    async def main() -> None:
        clock = LeapClock()
        a = MemoryGrid("a")
        async with engine(tmp_path, [a], clock=clock) as made:
            await made.put("lost", b"x")
            await made.converge()
            await made.site.index.trim_inline(0, limit=10)
            await a.delete(Place("photos", "lost"))
            assert await made.code("lost") == "ServiceUnavailable"
            for _ in range(10):
                await made.settle()
                clock.leap(200.0)
            number = made.site.seats["a"].number
            [stuck] = await made.site.index.stuck(number, limit=10)
            assert (stuck.key, stuck.reason) == ("lost", "photos/lost: a: not there"), (
                "what was tried, and what came of it"
            )
            await made.put("lost", b"found again")
            await made.converge()
            assert await made.site.index.stuck(number, limit=10) == ()

    asyncio.run(main())


def test_attempts_of_keepers_are_told_apart_from_those_for_clients(tmp_path: Path) -> None:
    async def main() -> None:
        told: list[GridAttempt] = []
        paid = asyncio.Event()
        teller = Teller()

        def listen(event: Event) -> None:
            if isinstance(event, GridAttempt) and event.operation == "publish":
                told.append(event)
                if len(told) == 2:
                    paid.set()

        teller.subscribe(listen)
        grids = [TraceGrid(MemoryGrid(name), clock=SystemClock(), teller=teller) for name in ("a", "b")]
        async with engine(tmp_path, grids, ack=1) as made:
            await made.put("k", b"x")
            supervisor = Supervisor(lanes(made, "b"), clock=made.site.clock, teller=teller)
            supervisor.start()
            async with asyncio.timeout(20):
                await paid.wait()
            await supervisor.stop()
            assert [(attempt.grid, attempt.errand) for attempt in told] == [("a", False), ("b", True)]
            assert not ERRAND.get()

    asyncio.run(main())


def test_lanes_rest_when_nothing_is_due(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            assert [await lane.step() for lane in lanes(made, "a")] == [CATCHUP_IDLE_S] * len(LANES)
            await made.put("k", b"x")
            await made.delete("k")
            assert await made.settle() == 0
            assert [event.how for event in made.events if isinstance(event, DebtPaid)] == ["deleted"]

    asyncio.run(main())
