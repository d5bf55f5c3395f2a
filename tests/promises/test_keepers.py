"""What the keepers promise, over the real index and spool."""

import asyncio
import os
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.copies.site import PolicyTerms
from holdfast.errors import ConfigError, S3Error
from holdfast.events import CopySuspected, GridMoved, KeeperFailed, Teller
from holdfast.grids.folder import FolderGrid
from holdfast.grids.memory import MemoryGrid
from holdfast.index.interface import CommitUnknown
from holdfast.keepers.scrub import Scrub
from holdfast.keepers.supervisor import Supervisor
from holdfast.keepers.sweep import Sweep
from holdfast.limits import BLOCK_BYTES, CATCHUP_IDLE_S
from holdfast.model import Facts, GridState, Place
from holdfast.s3 import CreateMultipartUpload, UploadPart
from holdfast.testing.faults import Fault, FaultGrid, Kind
from tests.engine import BUCKET, Bytes, Engine, engine

LARGE = os.urandom(BLOCK_BYTES + 99)


def folder(tmp_path: Path, name: str) -> FolderGrid:
    return FolderGrid(name, tmp_path / name, clock=SystemClock())


def files(tmp_path: Path, grid: str) -> dict[str, bytes]:
    root = tmp_path / grid / BUCKET
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def whole_scrub(made: Engine) -> None:
    """Steps of the scrub until it begins anew."""
    scrub = Scrub(made.site, interval_s=1.0)
    await made.site.index.note("scrub/cursor", "")
    while True:
        await scrub.step()
        if not await made.site.index.noted("scrub/cursor"):
            return


def test_a_new_grid_gets_every_object_and_loses_those_that_go_later(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [folder(tmp_path, "a")]) as made:
            for number in range(20):
                await made.put(f"k{number:02}", b"x" * number)
            await made.put("large", LARGE)
            assert await made.settle() == 0
        async with engine(tmp_path, [folder(tmp_path, "a"), folder(tmp_path, "b")]) as made:
            await made.reconcile()
            assert (await made.site.index.usage()).debts == 21
            assert await made.settle() == 0
            assert files(tmp_path, "b") == files(tmp_path, "a")
            assert await made.copies("large") == {"a", "b"}
            await made.delete("large")
            assert await made.settle() == 0
            assert "large" not in files(tmp_path, "b")

    asyncio.run(main())


def test_a_grid_that_left_the_policy_is_emptied_but_not_before_the_others_hold_everything(tmp_path: Path) -> None:
    async def main() -> None:
        a, b = MemoryGrid("a"), MemoryGrid("b")
        async with engine(tmp_path, [a, b]) as made:
            await made.put("k", LARGE)
            await made.settle()
            made.site.policies_changed([PolicyTerms("standard", ("b",), 0, True)])
            await b.delete(Place(BUCKET, "k"))
            version = await made.site.index.get(BUCKET, "k")
            assert version is not None
            number = made.site.seats["b"].number
            await made.site.index.suspect(BUCKET, "k", version.seq, number, now_ms=made.site.clock.now_ms())
            await made.reconcile()
            leaving = [keeper for keeper in made.catchups if keeper.name.startswith("catch-up a")]
            assert min([await keeper.step() for keeper in leaving]) < CATCHUP_IDLE_S
            assert await made.copies("k") == {"a"}, "the only copy is left alone"
            await made.converge()
            assert await made.copies("k") == {"b"}
            assert [held.key for held in await a.list(BUCKET)] == []
            assert await made.read("k") == LARGE

    asyncio.run(main())


def test_a_grid_that_came_back_empty_is_filled_again(tmp_path: Path) -> None:
    async def main() -> None:
        lost = MemoryGrid("b")
        async with engine(tmp_path, [MemoryGrid("a"), lost]) as made:
            await made.put("small", b"x")
            await made.put("large", LARGE)
            await made.settle()
            lost.lose()
            await made.probe()
            assert any(isinstance(event, GridMoved) and event.state == "replaced" for event in made.events)
            assert await made.copies("large") == {"a"}
            await made.reconcile()
            assert await made.settle() == 0
            assert await made.copies("large") == {"a", "b"}
            assert sorted(held.key for held in await lost.list(BUCKET)) == ["large", "small"]

    asyncio.run(main())


def test_a_round_of_the_scrub_takes_about_its_interval_and_the_next_one_follows_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [folder(tmp_path, "a")]) as made:
            scrub = Scrub(made.site, interval_s=8.0)
            assert await scrub.step() == 8.0, "an empty bucket is looked at once in an interval"
            assert await scrub.step() == 0.0, "the end of a round is no reason to wait"
            for number in range(40):
                await made.put(f"k{number:02}", b"x")
            await made.settle()
            for _ in range(3):
                pauses = list[float]()
                while not pauses or await made.site.index.noted("scrub/cursor"):
                    pauses.append(await scrub.step())
                assert 8.0 <= sum(pauses) <= 10.0

    asyncio.run(main())


def test_scrub_finds_every_kind_of_rot_and_catch_up_repairs_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [folder(tmp_path, "a"), folder(tmp_path, "b")]) as made:
            for key in ("flipped", "cut", "gone", "sound"):
                await made.put(key, LARGE)
            await made.put("tiny", b"tiny")
            await made.settle()
            root = tmp_path / "b" / BUCKET
            for key in ("flipped", "tiny"):
                path = root / key
                times = path.stat()
                data = bytearray(path.read_bytes())
                data[-1] ^= 1
                path.write_bytes(data)
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            (root / "cut").write_bytes(LARGE[:-1])
            (root / "gone").unlink()
            await whole_scrub(made)
            suspects = {event.key for event in made.events if isinstance(event, CopySuspected)}
            assert suspects == {"flipped", "cut", "gone", "tiny"}
            assert await made.settle() == 0
            assert files(tmp_path, "b") == files(tmp_path, "a")
            made.events.clear()
            await whole_scrub(made)
            assert not any(isinstance(event, CopySuspected) for event in made.events)

    asyncio.run(main())


def test_sweep_removes_orphans_and_abandoned_uploads_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            await made.put("waiting", LARGE)
            begun = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts()))
            await made.store.upload_part(UploadPart(BUCKET, "k", begun.upload_id, 1), Bytes(b"part"))
            orphan = made.site.spool.begin(1, used_bytes=0)
            await orphan.add([b"x"], 1)
            await orphan.finish()
            for name in await made.site.spool.idle_files(age_s=-60):
                os.utime(made.site.spool.path(name), (1, 1))
            await Sweep(made.site).step()
            left = set(await made.site.spool.idle_files(age_s=60))
            assert orphan.identifier not in left
            assert len(left) == 2
            assert await made.read("waiting") == LARGE

    asyncio.run(main())


def test_sweep_drops_inline_bodies_only_when_every_grid_holds_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")], keep_inline_bytes=0) as made:
            await made.put("held", b"h" * 1000)
            await made.settle()
            await made.put("owed", b"o" * 1000)
            sweep = Sweep(made.site)
            await sweep.step()
            assert (await made.site.index.usage()).inline_bytes == 2000, "nobody knows yet what the policy is owed"
            await made.reconcile()
            while not await sweep.step():
                pass
            assert (await made.site.index.usage()).inline_bytes == 1000
            assert await made.read("held") == b"h" * 1000
            assert await made.read("owed") == b"o" * 1000

    asyncio.run(main())


def test_a_keeper_that_fails_is_told_and_tried_again_and_stops_nobody() -> None:
    done = asyncio.Event()

    class Flaky:
        name = "flaky"

        def __init__(self) -> None:
            self.wake = asyncio.Event()
            self.steps = 0
            self.closed = False

        async def step(self) -> float:
            self.steps += 1
            self.wake.set()
            if self.steps == 1:
                raise RuntimeError("a bug")
            if self.steps == 12:
                done.set()
            return 60.0

        async def close(self) -> None:
            self.closed = True

    async def main() -> None:
        teller = Teller()
        told: list[object] = []
        teller.subscribe(told.append)
        flaky, other = Flaky(), Flaky()
        other.steps = 5
        supervisor = Supervisor([flaky, other], clock=SystemClock(), teller=teller)
        supervisor.start()
        await done.wait()
        await supervisor.stop()
        failures = [event for event in told if isinstance(event, KeeperFailed)]
        assert failures
        assert "a bug" in failures[0].reason
        assert flaky.steps > 1
        assert flaky.closed

    asyncio.run(main())


def test_a_process_that_meets_a_new_grid_late_finds_it_taken_by_its_own_index(tmp_path: Path) -> None:
    async def main() -> None:
        late = FaultGrid(folder(tmp_path, "a"), clock=SystemClock())
        late.inject(Fault(Kind.HANG), "attach")
        taken = asyncio.Event()

        async def second() -> None:
            async with engine(tmp_path, [late], bucket=False) as made:
                assert taken.is_set()
                assert await made.copies("k") == {"a"}

        async with asyncio.TaskGroup() as group:
            group.create_task(second())
            while not late.calls["attach"]:
                await SystemClock().sleep(0.01)
            async with engine(tmp_path, [folder(tmp_path, "a")]) as made:
                await made.put("k", b"x")
                assert await made.settle() == 0
                taken.set()
                late.heal()

    asyncio.run(main())


def test_a_grid_that_turns_out_to_be_somebody_elses_is_down_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        grid = FaultGrid(MemoryGrid("a"), clock=SystemClock())
        async with engine(tmp_path, [grid]) as made:
            grid.inject(Fault(Kind.DENY), "attach")
            seat = made.site.seats["a"]
            with pytest.raises(ConfigError):
                await made.site.attach(seat)
            assert seat.state is GridState.DOWN
            assert seat.reason and "not asked" not in seat.reason

    asyncio.run(main())


def test_an_index_that_fails_under_several_payments_is_told_in_a_sentence() -> None:
    """A simulation with disk errors found tracebacks of groups, nested as deep as the task groups were."""

    class Failing:
        name = "catch-up"

        def __init__(self, trouble: Exception) -> None:
            self.wake = asyncio.Event()
            self.trouble = trouble

        async def step(self) -> float:
            raise self.trouble

        async def close(self) -> None:
            pass

    def reason(trouble: Exception) -> str:
        async def main() -> str:
            told: asyncio.Queue[KeeperFailed] = asyncio.Queue()
            teller = Teller()
            teller.subscribe(lambda event: told.put_nowait(event) if isinstance(event, KeeperFailed) else None)
            supervisor = Supervisor([Failing(trouble)], clock=SystemClock(), teller=teller)
            supervisor.start()
            failed = await told.get()
            await supervisor.stop()
            return failed.reason

        return asyncio.run(main())

    unknown, refusal = CommitUnknown("index: IOError"), S3Error("ServiceUnavailable", detail="index: BusyError")
    assert reason(unknown) == "index: IOError"
    assert reason(ExceptionGroup("", [ExceptionGroup("", [unknown, refusal]), refusal])) == "index: IOError"
    assert reason(ExceptionGroup("", [refusal])).endswith("index: BusyError")
    assert "Traceback" in reason(ExceptionGroup("", [refusal, KeyError("a bug")])), "a bug is never hidden"
