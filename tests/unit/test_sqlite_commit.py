"""Group commit over SQLite: what is shared, what is kept apart, and what happens when the disk or a neighbour fails."""

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from holdfast.clock import SystemClock
from holdfast.errors import S3Error
from holdfast.events import Committed, Event, Noted, Teller
from holdfast.index import sqlite_commit
from holdfast.index.interface import CommitUnknown, NewVersion, SpoolFile
from holdfast.index.sqlite import SqliteIndex
from holdfast.index.sqlite_batch import Batch
from holdfast.index.sqlite_open import lock_path
from holdfast.model import ALWAYS, Bucket, Facts, Layout, Presence, WriteCondition
from holdfast.s3 import DeleteAsk
from tests.unit.sqlite_children import KEPT, RACES


class Opened:
    """An open index of one grid and one bucket, and everything it told."""

    def __init__(self, index: SqliteIndex, told: list[Event], grid: int) -> None:
        self.index = index
        self.told = told
        self.grid = grid

    async def put(self, key: str, body: bytes = b"body", condition: WriteCondition = ALWAYS) -> None:
        await self.index.put(
            NewVersion("b", key, len(body), "e", 1, Facts(), (self.grid,), inline=body, crc=1, condition=condition)
        )

    async def put_spooled(self, key: str, file: str) -> None:
        await self.index.put(
            NewVersion(
                "b", key, 9, "e", 1, Facts(), (self.grid,), layout=Layout((), False), spool=(SpoolFile(file, 9),)
            )
        )

    async def keys(self) -> set[str]:
        page = await self.index.scan("b", prefix="", delimiter="", after="", limit=10_000)
        return {key for key, _ in page.versions}

    def batches(self) -> list[int]:
        return [event.changes for event in self.told if isinstance(event, Committed)]

    async def assert_sound(self) -> None:
        """The kept sums are what the rows add up to."""
        reader = self.index._reader
        usage = await self.index.usage()
        assert (usage.objects, usage.object_bytes) == reader.execute("SELECT count(*), total(size) FROM object").get
        assert usage.inline_bytes == reader.execute("SELECT total(length(data)) FROM body").get
        assert usage.spool_bytes == reader.execute("SELECT total(size) FROM spool").get
        assert usage.debts == reader.execute("SELECT count(*) FROM debt").get
        (sums,) = await self.index.sums()
        assert (sums.debts, sums.debt_bytes) == reader.execute("SELECT count(*), total(size) FROM debt").get
        assert reader.execute("PRAGMA integrity_check").get == "ok"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Opened]:
    teller = Teller()
    told: list[Event] = []
    teller.subscribe(told.append)
    index = SqliteIndex(folder / "index.db", clock=SystemClock(), teller=teller, node="n")
    await index.open()
    try:
        grid = await index.register_grid("a", "identity", "folder:a")
        if not await index.buckets():
            await index.create_bucket(Bucket("b", 1, ""))
        told.clear()
        yield Opened(index, told, grid.id)
    finally:
        await index.close()


class Disk(apsw.VFS):
    """The default file system of SQLite, where writing or syncing the log, or writing the index itself, can be made to fail."""

    def __init__(self) -> None:
        self.fails = ""
        super().__init__("failing", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return DiskFile(self, name, flags)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self.disk = disk
        self.kind = "log" if flags[0] & apsw.SQLITE_OPEN_WAL else "file"
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self.disk.fails == f"write {self.kind}":
            raise apsw.FullError("no space left")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self.disk.fails == f"sync {self.kind}":
            raise apsw.IOError("cannot sync")
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    try:
        yield made
    finally:
        made.unregister()


async def outcomes(*changes: "asyncio.Future[None]") -> list[str]:
    """What became of each change: its error's code or name, or `done`."""
    results = await asyncio.gather(*changes, return_exceptions=True)
    return [
        result.code if isinstance(result, S3Error) else "done" if result is None else type(result).__name__
        for result in results
    ]


def task(change: Coroutine[None, None, None]) -> "asyncio.Future[None]":
    return asyncio.ensure_future(change)


# --- sharing ---


def test_concurrent_changes_share_commits(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            await asyncio.gather(*[made.put(f"k{number}") for number in range(200)])
            assert sum(made.batches()) == 200
            assert len(made.batches()) <= 4
            assert len(await made.keys()) == 200

    asyncio.run(main())


def test_writers_that_began_apart_come_to_share_their_commits(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:

            async def writer(name: int) -> None:
                for number in range(20):
                    await made.put(f"k{name}-{number}")

            early = [task(writer(name)) for name in range(8)]
            for _ in range(3):
                await asyncio.sleep(0)  # The early ones have a commit to themselves.
            await asyncio.gather(*early, *[writer(name) for name in range(8, 16)])
            assert made.batches()[0] == 8
            assert 16 in made.batches()

    asyncio.run(main())


def test_a_refused_change_writes_nothing_and_the_others_are_committed(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            absent = WriteCondition(Presence.ABSENT)
            changes = [task(made.put(key, condition=absent)) for key in ("a", "a", "b", "a")]
            assert await outcomes(*changes) == ["done", "PreconditionFailed", "done", "PreconditionFailed"]
            await made.assert_sound()
            assert (await made.index.usage()).objects == 2

    asyncio.run(main())


def test_a_change_that_breaks_half_way_fails_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            await made.put("c", b"old")
            # A spool file's name is used once: the second insertion of it is an error after the first row was written.
            changes = [
                task(made.put("a")),
                task(made.put_spooled("b", "s1")),
                task(made.put_spooled("c", "s1")),
                task(made.put("d")),
            ]
            assert await outcomes(*changes) == ["done", "done", "ConstraintError", "done"]
            assert await made.keys() == {"a", "b", "c", "d"}
            left = await made.index.get("b", "c")
            assert left is not None
            assert left.inline == b"old"
            await made.assert_sound()

    asyncio.run(main())


def test_a_refusal_that_came_after_a_write_leaves_nothing_of_it(tmp_path: Path) -> None:
    def late(batch: Batch) -> None:
        batch.execute("INSERT INTO note (name, value) VALUES ('late', 'written')")
        raise S3Error("PreconditionFailed")

    async def main() -> None:
        async with opened(tmp_path) as made:
            changes = [task(made.put("a")), made.index._committer.submit(late), task(made.put("b"))]
            assert await outcomes(*changes) == ["done", "PreconditionFailed", "done"]
            assert await made.index.noted("late") == ""
            assert await made.keys() == {"a", "b"}

    asyncio.run(main())


def test_a_change_whose_waiter_left_before_its_turn_is_dropped(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            with neighbour(tmp_path):
                changes = [task(made.put(key)) for key in ("a", "b", "c")]
                await asyncio.sleep(0)
                changes[1].cancel()
                await asyncio.sleep(0)
            assert await outcomes(changes[0], changes[2]) == ["done", "done"]
            assert await made.keys() == {"a", "c"}

    asyncio.run(main())


def test_a_waiter_that_left_does_not_disturb_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            changes = [task(made.put(f"k{number}")) for number in range(50)]
            await asyncio.sleep(0)
            for change in changes[::2]:
                change.cancel()
            await asyncio.gather(*changes, return_exceptions=True)
            keys = await made.keys()
            assert {f"k{number}" for number in range(1, 50, 2)} <= keys
            await made.put("after")
            await made.assert_sound()

    asyncio.run(main())


def test_the_event_loop_has_its_turns_during_a_long_change(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            await asyncio.gather(*[made.put(f"k{number:04}") for number in range(600)])
            turns = 0

            async def tick() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            ticking = task(tick())
            asks = [DeleteAsk(f"k{number:04}") for number in range(600)]
            gone, _ = await made.index.delete("b", asks, now_ms=1, owes=(made.grid,))
            ticking.cancel()
            assert all(done.existed for done in gone)
            assert turns >= 600 // 16
            assert made.batches()[-1:] == [1]
            await made.assert_sound()

    asyncio.run(main())


# --- limits ---


def test_too_many_waiting_changes_are_told_to_slow_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_commit, "COMMIT_QUEUE", 8)

    async def main() -> None:
        async with opened(tmp_path) as made:
            with neighbour(tmp_path):
                changes = [task(made.put(f"k{number}")) for number in range(8)]
                await asyncio.sleep(0)
                with pytest.raises(S3Error, match="SlowDown") as refusal:
                    await made.put("one too many")
                assert int(refusal.value.headers["Retry-After"]) > 0
            assert await outcomes(*changes) == ["done"] * 8

    asyncio.run(main())


class neighbour:  # noqa: N801 - reads as what it stands for
    """Another process that is in the middle of its transaction."""

    def __init__(self, folder: Path) -> None:
        self._lock = os.open(lock_path(folder / "index.db"), os.O_RDWR)

    def __enter__(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        os.close(self._lock)


def test_a_neighbour_that_keeps_the_lock_slows_down_and_a_late_lock_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_commit, "INDEX_LOCK_S", 0.02)

    async def main() -> None:
        async with opened(tmp_path) as made:
            with neighbour(tmp_path):
                assert await outcomes(task(made.put("a")), task(made.put("b"))) == ["SlowDown", "SlowDown"]
                assert await outcomes(task(made.put("c"))) == ["SlowDown"]
            lock = os.open(lock_path(tmp_path / "index.db"), os.O_RDWR)
            async with asyncio.timeout(30):
                while not _lockable(lock):  # noqa: ASYNC110 - a lock of the system has no event
                    await asyncio.sleep(0.001)
            os.close(lock)
            await made.put("d")
            assert await made.keys() == {"d"}

    asyncio.run(main())


def _lockable(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_the_log_is_moved_into_the_file_before_it_grows_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_commit, "_CHECKPOINT_PAGES", 100)

    async def main() -> None:
        async with opened(tmp_path) as made:
            for number in range(40):
                await asyncio.gather(*[made.put(f"k{number}-{other}", b"x" * 4000) for other in range(8)])
            log = (tmp_path / "index.db-wal").stat().st_size
            assert log < 200 * 4096 * 1.1
            assert (tmp_path / "index.db").stat().st_size > 200 * 4096

    asyncio.run(main())


# --- trouble ---


def test_a_full_index_fails_whole_batches_and_recovers(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            await made.put("before")
            writer = made.index._committer._connection
            pages: int = writer.pragma("page_count")
            writer.pragma("max_page_count", pages + 6)
            changes = [task(made.put(f"k{number}", b"x" * 3000)) for number in range(20)]
            assert await outcomes(*changes) == ["ServiceUnavailable"] * 20
            assert await made.keys() == {"before"}
            await made.assert_sound()
            writer.pragma("max_page_count", 1 << 30)
            await asyncio.gather(*[made.put(f"k{number}", b"x" * 3000) for number in range(20)])
            assert len(await made.keys()) == 21
            await made.assert_sound()

    asyncio.run(main())


@pytest.mark.parametrize(("fails", "told"), [("write log", "ServiceUnavailable"), ("sync log", "CommitUnknown")])
def test_a_commit_that_fails_is_never_acknowledged_and_the_index_goes_on(
    tmp_path: Path, disk: Disk, fails: str, told: str
) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            await made.put("before")
            disk.fails = fails
            absent = WriteCondition(Presence.ABSENT)
            changes = [task(made.put("a", condition=absent)), task(made.put("a", condition=absent))]
            # The second was refused because of the first, which never came to be.
            assert await outcomes(*changes) == [told, told]
            with pytest.raises((S3Error, CommitUnknown)):
                await made.index.check()
            disk.fails = ""
            assert await made.keys() == {"before"}
            await made.put("a", condition=absent)
            await made.index.check()
            await made.assert_sound()
        async with opened(tmp_path) as again:
            assert await again.keys() == {"before", "a"}

    asyncio.run(main())


def test_a_grid_whose_registration_failed_is_not_used(tmp_path: Path, disk: Disk) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            disk.fails = "write log"
            with pytest.raises(S3Error, match="ServiceUnavailable"):
                await made.index.register_grid("a", "another disk", "folder:a")
            disk.fails = ""
            await made.put("k")
            assert await made.index.debt_of("b", "k") == (made.grid,)
            await made.assert_sound()

    asyncio.run(main())


def test_a_checkpoint_that_fails_loses_nothing(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_commit, "_CHECKPOINT_PAGES", 1)

    async def main() -> None:
        async with opened(tmp_path) as made:
            reader = made.index._reader
            await made.put("a")
            disk.fails = "write file"
            await made.put("b")
            await made.put("c")
            disk.fails = ""
            assert {event.message for event in made.told if isinstance(event, Noted)} == {"index checkpoint failed"}
            assert await made.keys() == {"a", "b", "c"}
            assert reader.execute("PRAGMA integrity_check").get == "ok"

    asyncio.run(main())


# --- life ---


def test_closing_commits_what_was_accepted_and_refuses_the_rest(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as made:
            changes = [task(made.put(f"k{number}")) for number in range(300)]
            await asyncio.sleep(0)
            await made.index._committer.close()
            assert await outcomes(*changes) == ["done"] * 300
            assert await outcomes(task(made.put("late"))) == ["SlowDown"]
            made.index._committer.close = _nothing  # type: ignore[method-assign]
        async with opened(tmp_path) as again:
            assert len(await again.keys()) == 300

    asyncio.run(main())


async def _nothing() -> None:
    pass


def test_what_was_acknowledged_is_there_after_a_process_vanished(tmp_path: Path) -> None:
    child = _child("vanish", tmp_path, 0)
    told, _ = child.communicate(timeout=60)
    assert child.returncode == 9
    acknowledged = {f"k{number}" for number in range(KEPT)} | {f"x{number}" for number in told.split()}

    async def main() -> None:
        async with opened(tmp_path) as made:
            assert acknowledged <= await made.keys()
            await made.assert_sound()
            await made.put("after")

    asyncio.run(main())


def test_processes_that_race_for_keys_agree_on_the_winners_and_the_sums(tmp_path: Path) -> None:
    children = [_child("race", tmp_path, number) for number in range(4)]
    won = [child.communicate(timeout=120)[0].split() for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert sorted(key for keys in won for key in keys) == sorted(f"k{number}" for number in range(RACES))

    async def main() -> None:
        async with opened(tmp_path) as made:
            for number, keys in enumerate(won):
                for key in keys:
                    version = await made.index.get("b", key)
                    assert version is not None
                    assert version.inline == b"%d" % number
            usage = await made.index.usage()
            assert (usage.objects, usage.debts) == (RACES + 4, RACES + 4)
            assert usage.object_bytes == RACES + 4 * 5
            await made.assert_sound()

    asyncio.run(main())


def _child(what: str, folder: Path, number: int) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-m", "tests.unit.sqlite_children", what, str(folder), str(number)]
    return subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


def test_a_process_sees_the_commits_of_another_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as one, opened(tmp_path) as other:
            for number in range(20):
                await one.put(f"k{number}", b"%d" % number)
                version = await other.index.get("b", f"k{number}")
                assert version is not None
                await other.put(f"k{number}", b"changed")
                version = await one.index.get("b", f"k{number}")
                assert version is not None
                assert version.inline == b"changed"
            assert (await one.index.usage()).objects == 20
            replaced = await other.index.register_grid("a", "another disk", "folder:a")
            await one.put("late")
            assert await one.index.debt_of("b", "late") == (replaced.id,)

    asyncio.run(main())
