"""What is special about a folder: its files, its identity, its disk."""

import asyncio
import errno
import itertools
import os
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.clock import SystemClock
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.grids import names
from holdfast.grids.folder import FolderGrid, flush
from holdfast.grids.folder import files as folder_files
from holdfast.grids.folder.place import FolderPlace
from holdfast.grids.folder.walk import walk
from holdfast.grids.grid import Label
from holdfast.grids.sources import BytesSource, FilesSource
from holdfast.limits import BLOCK_BYTES, FOLDER_FLUSH_WHOLE, FOLDER_LEFTOVER_AGE_S
from holdfast.model import Place, Span
from holdfast.testing.contract.check import Streamed, label, pattern, put, read, refusal

T = TypeVar("T")
CLOCK = SystemClock()
KEY = Place("bucket", "dir/key")


def _run(root: Path, body: Callable[[FolderGrid], Awaitable[T]], *, known: str = "") -> T:
    """Run `body` on an attached grid."""

    async def run() -> T:
        grid = FolderGrid("grid", root, clock=CLOCK)
        await grid.attach(known)
        try:
            return await body(grid)
        finally:
            await grid.close()

    return asyncio.run(run())


def _attach(root: Path, known: str = "") -> str:
    return asyncio.run(_attach_only(root, known))


async def _attach_only(root: Path, known: str) -> str:
    grid = FolderGrid("grid", root, clock=CLOCK)
    try:
        return await grid.attach(known)
    finally:
        await grid.close()


def _used(root: Path) -> str:
    """A place that belongs to an index and holds one object."""
    identity = _attach(root)

    async def body(grid: FolderGrid) -> None:
        await put(grid, KEY.bucket, KEY.key, b"bytes")

    _run(root, body, known=identity)
    return identity


def _drafts(root: Path) -> list[str]:
    return [path.name for path in (root / ".holdfast" / "tmp").iterdir()]


async def _silence(operation: Awaitable[object]) -> str:
    """What the Unavailable that an operation raises says."""
    with pytest.raises(Unavailable) as silence:
        await operation
    return silence.value.detail


# --- files ---


def test_objects_are_plain_files_under_their_own_names(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        for key in ("photos/summer 1.jpg", "ünï/日本", "a%20b", ".hidden"):
            await put(grid, "bucket", key, key.encode())

    _run(tmp_path, body)
    for key in ("photos/summer 1.jpg", "ünï/日本", "a%20b", ".hidden"):
        assert (tmp_path / "bucket" / key).read_bytes() == key.encode()


def test_a_files_time_is_that_of_the_version(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        tag = Label(seq=7, etag="e", modified_ms=1_600_000_000_123, system={}, user={})
        await put(grid, "bucket", "key", b"x", tag)
        assert (await grid.head(Place("bucket", "key"))).modified_ms == tag.modified_ms

    _run(tmp_path, body)
    assert (tmp_path / "bucket" / "key").stat().st_mtime_ns // 1_000_000 == 1_600_000_000_123


def test_versions_of_one_moment_and_size_have_different_etags(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        tags = [Label(seq=seq, etag="", modified_ms=5, system={}, user={}) for seq in (1, 2)]
        first, second = [await put(grid, "bucket", "key", b"x", tag) for tag in tags]
        assert first != second

    _run(tmp_path, body)


def test_a_copy_made_by_another_tool_keeps_its_etag(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        etag = await put(grid, KEY.bucket, KEY.key, b"bytes")
        file = tmp_path / KEY.bucket / KEY.key
        shutil.copy2(file, file.with_name("restored"))
        file.with_name("restored").rename(file)
        assert await read(grid, KEY.bucket, KEY.key, if_match=etag) == b"bytes"

    _run(tmp_path, body)


def test_deletes_leave_no_empty_directories(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        for key in ("a/b/c", "a/b", "x//y/"):
            await put(grid, "bucket", key, b"x")
        for key in ("a/b/c", "a/b", "x//y/"):
            await grid.delete(Place("bucket", key))

    _run(tmp_path, body)
    assert [path.name for path in tmp_path.iterdir()] == [".holdfast"]


def test_an_object_replaces_empty_directories_that_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    identity = _attach(tmp_path / "root")
    (tmp_path / "root" / "bucket" / "a").mkdir(parents=True)

    async def body(grid: FolderGrid) -> None:
        await put(grid, "bucket", "a", b"x")

    _run(tmp_path / "root", body, known=identity)
    assert (tmp_path / "root" / "bucket" / "a").read_bytes() == b"x"


def test_an_object_comes_under_its_own_name_once_nothing_is_in_the_way(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        await put(grid, "bucket", "a/b", b"x")
        await put(grid, "bucket", "a", b"old")
        assert not (tmp_path / "bucket" / "a").is_file()
        await grid.delete(Place("bucket", "a/b"))
        await put(grid, "bucket", "a", b"new")
        assert await read(grid, "bucket", "a") == b"new"

    _run(tmp_path, body)
    assert (tmp_path / "bucket" / "a").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "bucket").iterdir()] == ["a"]


def test_when_a_crash_left_both_forms_the_plain_one_is_the_object(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        await put(grid, "bucket", "a", b"new")
        hidden = tmp_path / "bucket" / ".holdfast"
        hidden.mkdir()
        (hidden / "a").write_bytes(b"older")
        assert await read(grid, "bucket", "a") == b"new"
        assert [(held.key, held.size) for held in await grid.list("bucket")] == [("a", 3)]
        await grid.delete(Place("bucket", "a"))
        assert await refusal(grid.head(Place("bucket", "a")), "head") is Reason.ABSENT

    _run(tmp_path, body)


def test_a_reader_finds_an_object_that_moves_to_its_own_name_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(grid: FolderGrid) -> None:
        await put(grid, "bucket", "a/b", b"x")
        await put(grid, "bucket", "a", b"object")
        bucket = tmp_path / "bucket"
        hard = names.hard

        def move(key: str) -> bytes:
            shutil.rmtree(bucket / "a")
            (bucket / ".holdfast" / "a").rename(bucket / "a")
            monkeypatch.setattr(names, "hard", hard)
            return hard(key)

        monkeypatch.setattr(names, "hard", move)
        assert await read(grid, "bucket", "a") == b"object"

    _run(tmp_path, body)


def test_foreign_files_are_not_listed_and_do_no_harm(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        await put(grid, "bucket", "a//b", b"x")
        hidden = tmp_path / "bucket" / ".holdfast"
        (hidden / "%61").write_bytes(b"not canonical")
        (hidden / "foreign").mkdir()
        (hidden / "foreign" / "x").write_bytes(b"x")
        (tmp_path / "bucket" / "link").symlink_to("/etc/passwd")
        os.mkfifo(tmp_path / "bucket" / "fifo")
        shutil.copy(tmp_path / "bucket" / ".holdfast" / "a%" / "%" / "b", tmp_path / "bucket" / "\udcff\udcfe")
        assert [held.key for held in await grid.list("bucket")] == ["a//b"]

    _run(tmp_path, body)


def test_what_is_no_file_is_corrupt_and_can_be_replaced(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")

    async def body(grid: FolderGrid) -> None:
        for name in ("link", "fifo"):
            with pytest.raises(Corrupt):
                await grid.get(Place("bucket", name))
            with pytest.raises(Corrupt):
                await grid.head(Place("bucket", name))
            await put(grid, "bucket", name, b"object")
            assert await read(grid, "bucket", name) == b"object"

    root = tmp_path / "root"
    identity = _attach(root)
    (root / "bucket").mkdir()
    (root / "bucket" / "link").symlink_to(secret)
    os.mkfifo(root / "bucket" / "fifo")
    _run(root, body, known=identity)
    assert secret.read_bytes() == b"secret"


def _check_pages(folder: Path, keys: Collection[str], prefix: str, limit: int) -> None:
    """Objects of these keys are listed in order, page by page."""
    root = os.fsencode(folder)
    for number, key in enumerate(keys):
        (folder / f"draft{number}").write_bytes(b"x")
        folder_files.publish(flush.Dirty(), root, b"bucket", key, root + b"/draft%d" % number)
    found: list[str] = []
    page = [""]
    while page:
        after = found[-1].encode() if found else b""
        rest = walk(root + b"/bucket/", prefix=prefix.encode(), after=after, page=limit)
        page = [key for key, _ in itertools.islice(rest, limit)]
        found += page
    assert found == sorted((key for key in keys if key.startswith(prefix)), key=str.encode)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_listing_pages_agree_with_sorting(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    segment = st.sampled_from(["a", "b", "", ".", "a!", "a0", "é", "a" * 240, "a" * 241, "a" * 240 + "!", "%"])
    keys = data.draw(st.sets(st.lists(segment, min_size=1, max_size=4).map("/".join).filter(bool), max_size=25))
    prefix = data.draw(st.sampled_from(["", *keys]).map(lambda key: key[: len(key) // 2]))
    _check_pages(tmp_path_factory.mktemp("bucket"), keys, prefix, data.draw(st.integers(1, 7)))


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_may_end_between_names_that_begin_alike(tmp_path: Path, limit: int) -> None:
    stem = "/" + "a" * 240
    _check_pages(tmp_path, [stem, stem + "!", stem + "/", stem + "/b", stem + "b", stem + "~/c"], "", limit)


# --- bodies ---


def test_a_file_that_is_handed_over_is_linked_not_copied(tmp_path: Path) -> None:
    spooled = tmp_path / "spooled"
    spooled.write_bytes(pattern(200_000))

    async def body(grid: FolderGrid) -> None:
        source = FilesSource((spooled,), 200_000, handover=True)
        tag = label(a="b")
        etag = await grid.publish(await grid.stage(KEY, source, tag))
        assert await read(grid, KEY.bucket, KEY.key, if_match=etag) == pattern(200_000)
        if grid.capabilities.metadata:
            assert (await grid.head(KEY)).label == tag

    _run(tmp_path / "root", body)
    assert os.path.samefile(spooled, tmp_path / "root" / KEY.bucket / KEY.key)


def test_two_grids_never_share_the_blocks_of_one_file(tmp_path: Path) -> None:
    spooled = tmp_path / "spooled"
    spooled.write_bytes(pattern(200_000))
    for name in ("a", "b"):

        async def body(grid: FolderGrid) -> None:
            source = FilesSource((spooled,), 200_000, handover=True)
            await grid.publish(await grid.stage(KEY, source, label()))

        _run(tmp_path / name, body)
    first, second = (tmp_path / name / KEY.bucket / KEY.key for name in ("a", "b"))
    assert not os.path.samefile(first, second)
    assert first.read_bytes() == second.read_bytes() == pattern(200_000)


def test_files_that_are_not_handed_over_are_copied_in_order(tmp_path: Path) -> None:
    parts = [tmp_path / f"part{number}" for number in range(3)]
    data = [pattern(BLOCK_BYTES + 3, 1), b"", pattern(77, 2)]
    for part, piece in zip(parts, data, strict=True):
        part.write_bytes(piece)
    whole = b"".join(data)

    async def body(grid: FolderGrid) -> None:
        await grid.publish(await grid.stage(KEY, FilesSource(parts, len(whole)), label()))
        assert await read(grid, KEY.bucket, KEY.key) == whole

    _run(tmp_path / "root", body)
    assert parts[0].stat().st_nlink == 1


def test_a_body_whose_file_is_gone_is_no_evidence_against_the_grid(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        for handover in (True, False):
            with pytest.raises(Unavailable) as gone:
                await grid.stage(KEY, FilesSource((tmp_path / "gone",), 5, handover), label())
            assert gone.value.shielded

    _run(tmp_path / "root", body)
    assert _drafts(tmp_path / "root") == []


def test_a_file_of_another_size_than_promised_is_not_staged(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")

    async def body(grid: FolderGrid) -> None:
        for handover in (True, False):
            for size in (4, 6):
                with pytest.raises(Unavailable) as wrong:
                    await grid.stage(KEY, FilesSource((tmp_path / "file",), size, handover), label())
                assert wrong.value.shielded

    _run(tmp_path / "root", body)
    assert _drafts(tmp_path / "root") == []


def test_cancelled_stages_leave_no_drafts(tmp_path: Path) -> None:
    class Endless(Streamed):
        async def stream(self) -> AsyncIterator[bytes]:
            yield b"begun"
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()

    async def body(grid: FolderGrid) -> None:
        staging = asyncio.ensure_future(grid.stage(KEY, Endless(b"", size=10), label()))
        await begun.wait()
        staging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staging
        for source in (BytesSource(b"x"), Streamed(pattern(BLOCK_BYTES))):
            staging = asyncio.ensure_future(grid.stage(KEY, source, label()))
            await asyncio.sleep(0)
            staging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await staging
        # Changes are made in their order: after this one the drafts of all before are gone.
        await grid.delete(KEY)

    _run(tmp_path, body)
    assert _drafts(tmp_path) == []


def test_a_file_that_shrinks_while_it_is_read_is_corrupt(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        await put(grid, KEY.bucket, KEY.key, pattern(4 * BLOCK_BYTES))
        download = await grid.get(KEY)
        os.truncate(tmp_path / KEY.bucket / KEY.key, BLOCK_BYTES + 5)
        with pytest.raises(Corrupt):
            _ = [piece async for piece in download.stream()]
        await download.close()
        with pytest.raises(Corrupt):
            await grid.get(KEY, span=Span(0, 4 * BLOCK_BYTES))

    _run(tmp_path, body)


def test_a_file_that_was_changed_in_place_is_another_copy(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        etag = await put(grid, KEY.bucket, KEY.key, b"bytes")
        (tmp_path / KEY.bucket / KEY.key).write_bytes(b"BYTES")
        assert await refusal(grid.get(KEY, if_match=etag), "get") is Reason.MISMATCH

    _run(tmp_path, body)


def test_reading_and_writing_leave_no_descriptor_open(tmp_path: Path) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def body(grid: FolderGrid) -> None:
        async def once() -> None:
            await put(grid, KEY.bucket, KEY.key, pattern(3 * BLOCK_BYTES))
            await read(grid, KEY.bucket, KEY.key)
            unread = await grid.get(KEY)
            await unread.close()
            getting = asyncio.ensure_future(grid.get(KEY))
            await asyncio.sleep(0)
            getting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await getting
            with pytest.raises(GridError):
                await grid.stage(KEY, Streamed(b"x", breaks=True), label())
            await grid.delete(KEY)

        await once()
        before = opened()
        for _ in range(5):
            await once()
        # Whatever a thread still has to close, it closes before it makes a later change.
        for _ in range(16):
            await grid.delete(KEY)
        assert opened() <= before + 1

    _run(tmp_path, body)


# --- durability ---


def _watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is flushed, by inode or as a whole."""
    flushed: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        flushed.append(f"{kind} {os.readlink(f'/proc/self/fd/{descriptor}')}")
        fsync(descriptor)

    whole = flush._syncfs
    assert whole is not None

    def watch_whole(descriptor: int) -> int:
        flushed.append("whole")
        return whole(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    monkeypatch.setattr(flush, "_syncfs", watch_whole)
    return flushed


def test_what_is_reported_as_held_was_flushed_with_all_new_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.grids.folder.place._FLUSHED_WHOLE", frozenset())

    async def body(grid: FolderGrid) -> None:
        flushed = _watch(monkeypatch)
        staged = await grid.stage(Place("bucket", "a/b/key"), BytesSource(b"x"), label())
        assert [line.split("/")[0] for line in flushed if line.startswith("file")] == ["file "]
        flushed.clear()
        await grid.publish(staged)
        assert sorted(flushed) == sorted(
            f"folder {path}"
            for path in (tmp_path, tmp_path / "bucket", tmp_path / "bucket" / "a", tmp_path / "bucket" / "a" / "b")
        )
        flushed.clear()
        await grid.delete(Place("bucket", "a/b/key"))
        assert flushed == [f"folder {tmp_path}"]

    _run(tmp_path, body)


def test_many_changes_share_one_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(grid: FolderGrid) -> None:
        if grid._flusher.whole is None:
            pytest.skip("this file system is not flushed as a whole")
        await put(grid, "bucket", "first", b"x")
        flushed = _watch(monkeypatch)
        count = 50
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(put(grid, "bucket", f"key{number}", b"x"))
        assert "whole" in flushed
        assert len(flushed) < count

    _run(tmp_path, body)


def test_a_single_change_does_not_flush_what_others_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FOLDER_FLUSH_WHOLE > 1

    async def body(grid: FolderGrid) -> None:
        await put(grid, "bucket", "first", b"x")
        flushed = _watch(monkeypatch)
        await put(grid, "bucket", "second", b"x")
        assert "whole" not in flushed
        assert len(flushed) == 2

    _run(tmp_path, body)


def test_a_failed_flush_leaves_a_publication_uncertain_and_a_stage_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(grid: FolderGrid) -> None:
        staged = await grid.stage(KEY, BytesSource(b"x"), label())

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            patch.setattr(flush, "_syncfs", None)
            with pytest.raises(Uncertain):
                await grid.publish(staged)
            with pytest.raises(Uncertain):
                await grid.delete(KEY)
            with pytest.raises(Unavailable):
                await grid.stage(KEY, BytesSource(b"y"), label())
            with pytest.raises(Unavailable):
                await grid.stage(KEY, Streamed(pattern(BLOCK_BYTES)), label())
        await grid.delete(KEY)

    _run(tmp_path, body)
    assert _drafts(tmp_path) == []


# --- what a disk can do ---


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_takes_nothing_is_unavailable_for_writes_and_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async def body(grid: FolderGrid) -> None:
        await put(grid, KEY.bucket, KEY.key, b"old")
        original = os.open

        def fail(path: bytes | str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_CREAT:
                raise OSError(number, os.strerror(number), path)
            return original(path, flags, mode)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", fail)
            for source in (BytesSource(b"new"), Streamed(pattern(BLOCK_BYTES))):
                detail = await _silence(grid.stage(KEY, source, label()))
                assert errno.errorcode[number] in detail
                assert str(tmp_path) in detail
            assert await read(grid, KEY.bucket, KEY.key) == b"old"
        await put(grid, KEY.bucket, KEY.key, b"new")

    _run(tmp_path, body)


def test_a_hung_disk_does_not_hold_up_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()

    async def body(grid: FolderGrid) -> None:
        await put(grid, KEY.bucket, KEY.key, b"old")
        staged = await grid.stage(KEY, BytesSource(b"new"), label())
        rename = os.rename
        loop = asyncio.get_running_loop()
        hanging = asyncio.Event()

        def wait(source: bytes, target: bytes) -> None:
            loop.call_soon_threadsafe(hanging.set)
            hang.wait()
            rename(source, target)

        monkeypatch.setattr(os, "rename", wait)
        publishing = asyncio.ensure_future(grid.publish(staged))
        await hanging.wait()
        behind = asyncio.ensure_future(grid.delete(KEY))
        assert await read(grid, KEY.bucket, KEY.key) == b"old", "reads have threads of their own"
        publishing.cancel()
        behind.cancel()
        await asyncio.wait((publishing, behind))
        hang.set()
        await put(grid, "bucket", "later", b"x")
        assert await read(grid, KEY.bucket, KEY.key) == b"new", "what had begun is done, what had not is dropped"

    try:
        _run(tmp_path, body)
    finally:
        hang.set()


def test_when_too_much_waits_the_grid_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush, "GRID_QUEUE", 2)

    async def body(grid: FolderGrid) -> None:
        tasks = [asyncio.ensure_future(grid.delete(KEY)) for _ in range(5)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [type(None)] * 3 + [Unavailable] * 2
        await grid.delete(KEY)

    _run(tmp_path, body)


# --- whose place it is ---


def test_a_missing_root_is_made_at_first_sight_and_never_again(tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"
    identity = _used(root)
    assert identity
    shutil.rmtree(root)
    with pytest.raises(Unavailable, match="missing"):
        _attach(root, identity)
    assert not root.exists()


def test_an_empty_root_is_taken_and_stays_itself(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    identity = _used(tmp_path)
    assert _attach(tmp_path, identity) == identity
    assert _attach(tmp_path, identity) == identity


def test_two_places_have_two_identities(tmp_path: Path) -> None:
    assert _attach(tmp_path / "a") != _attach(tmp_path / "b")


def test_a_root_with_files_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    with pytest.raises(Refused, match="empty directory") as refused:
        _attach(tmp_path)
    assert refused.value.reason is Reason.DENIED
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_root_of_another_index_is_refused(tmp_path: Path) -> None:
    identity = _used(tmp_path)
    with pytest.raises(Refused, match="another index") as refused:
        _attach(tmp_path)
    assert refused.value.reason is Reason.DENIED
    with pytest.raises(Unavailable, match=identity):
        _attach(tmp_path, "0123")


def test_a_crash_before_the_index_knew_its_identity_does_not_lock_a_place(tmp_path: Path) -> None:
    first = _attach(tmp_path)
    assert _attach(tmp_path) == first, "nobody has written there: the same index may ask again"
    assert _attach(tmp_path, first) == first
    with pytest.raises(Refused):
        _attach(tmp_path)


def test_processes_that_attach_at_once_agree(tmp_path: Path) -> None:
    async def both() -> list[str]:
        grids = [FolderGrid("grid", tmp_path, clock=CLOCK) for _ in range(4)]
        identities = await asyncio.gather(*(grid.attach("") for grid in grids))
        await asyncio.gather(*(put(grid, "bucket", f"key{at}", b"x") for at, grid in enumerate(grids)))
        assert len(await grids[0].list("bucket")) == 4
        for grid in grids:
            await grid.close()
        return identities

    assert len(set(asyncio.run(both()))) == 1


def test_a_marker_that_another_process_leaves_between_two_looks_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[str] = []
    look = FolderPlace._empty

    def late(place: FolderPlace) -> bool:
        if not others:
            others.append("")
            others[0] = FolderPlace("other", tmp_path, CLOCK).attach("")
        return look(place)

    monkeypatch.setattr(FolderPlace, "_empty", late)
    assert FolderPlace("grid", tmp_path, CLOCK).attach("") == others[0] != ""


def test_a_place_that_was_emptied_gets_a_new_identity(tmp_path: Path) -> None:
    identity = _used(tmp_path / "root")
    shutil.rmtree(tmp_path / "root")
    (tmp_path / "root").mkdir()
    new = _attach(tmp_path / "root", identity)
    assert new != identity
    assert _attach(tmp_path / "root", identity) == new, "a crash before the index knew does not lock it"
    assert _attach(tmp_path / "root", new) == new
    with pytest.raises(Unavailable):
        _attach(tmp_path / "root", identity)


def test_a_place_that_lost_only_its_marker_is_not_taken_for_empty(tmp_path: Path) -> None:
    identity = _used(tmp_path)
    (tmp_path / ".holdfast" / "identity").unlink()
    with pytest.raises(Unavailable, match="identity: put that back; or, if what it held is lost, empty the directory"):
        _attach(tmp_path, identity)


def test_an_empty_mount_point_is_not_a_replaced_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "mnt"
    root.mkdir()
    with monkeypatch.context() as mounted:
        mounted.setattr(FolderPlace, "_mounted", lambda self: True)
        identity = _used(root)
    shutil.rmtree(root)
    root.mkdir()
    with pytest.raises(Unavailable, match="mounted"):
        _attach(root, identity)
    assert list(root.iterdir()) == []
    monkeypatch.setattr(FolderPlace, "_mounted", lambda self: True)
    assert _attach(root, identity) not in ("", identity), "a new disk is mounted there"


def test_nothing_is_absent_or_deleted_where_the_place_is_gone(tmp_path: Path) -> None:
    root = tmp_path / "root"

    async def body(grid: FolderGrid) -> None:
        etag = await put(grid, KEY.bucket, KEY.key, b"bytes")
        staged = await grid.stage(KEY, BytesSource(b"new"), label())

        async def all_silent() -> None:
            await _silence(grid.get(KEY))
            await _silence(grid.head(KEY))
            await _silence(grid.delete(KEY))
            await _silence(grid.list("bucket"))
            await _silence(grid.stage(KEY, BytesSource(b"x"), label()))
            await _silence(grid.stage(KEY, Streamed(pattern(BLOCK_BYTES)), label()))
            await _silence(grid.publish(staged))
            await _silence(grid.copy(KEY, Place("bucket", "x"), if_match=etag, label=label()))

        root.rename(tmp_path / "away")
        await all_silent()
        assert not root.exists(), "a vanished root is never made again"
        root.mkdir()
        await all_silent()
        assert list(root.iterdir()) == [], "nothing is written to an unmounted directory"
        root.rmdir()
        (tmp_path / "away").rename(root)
        assert await read(grid, KEY.bucket, KEY.key, if_match=etag) == b"bytes"
        await grid.publish(staged)
        assert await read(grid, KEY.bucket, KEY.key) == b"new"

    _run(root, body)


def test_another_disk_in_the_same_place_is_not_written_to(tmp_path: Path) -> None:
    _used(tmp_path / "other")

    async def body(grid: FolderGrid) -> None:
        (tmp_path / "root").rename(tmp_path / "away")
        (tmp_path / "other").rename(tmp_path / "root")
        await _silence(grid.delete(KEY))
        await _silence(grid.stage(KEY, BytesSource(b"x"), label()))

    _run(tmp_path / "root", body)
    assert (tmp_path / "root" / KEY.bucket / KEY.key).read_bytes() == b"bytes"


def test_a_grid_that_was_never_attached_is_unavailable(tmp_path: Path) -> None:
    async def run() -> None:
        grid = FolderGrid("grid", tmp_path, clock=CLOCK)
        await _silence(grid.head(KEY))
        await _silence(grid.delete(KEY))
        await _silence(grid.stage(KEY, BytesSource(b""), label()))
        await grid.close()

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_old_drafts_are_swept_and_young_ones_are_not(tmp_path: Path) -> None:
    identity = _used(tmp_path)
    (tmp_path / ".holdfast" / "tmp" / "draft").write_bytes(b"x")

    class Later(SystemClock):
        def now_ms(self) -> int:
            return super().now_ms() + (FOLDER_LEFTOVER_AGE_S + 60) * 1000

    _attach(tmp_path, identity)
    assert _drafts(tmp_path) == ["draft"]

    async def later() -> None:
        grid = FolderGrid("grid", tmp_path, clock=Later())
        await grid.attach(identity)
        await grid.close()

    asyncio.run(later())
    assert _drafts(tmp_path) == []


def test_a_place_is_released_only_when_it_is_empty(tmp_path: Path) -> None:
    async def body(grid: FolderGrid) -> None:
        await put(grid, KEY.bucket, KEY.key, b"x")
        assert "objects" in await _silence(grid.release())
        await grid.delete(KEY)
        await grid.release()

    _run(tmp_path, body)
    assert list(tmp_path.iterdir()) == []
    assert _attach(tmp_path)


def test_the_marker_tells_a_person_what_it_is_for(tmp_path: Path) -> None:
    identity = _used(tmp_path)
    text = (tmp_path / ".holdfast" / "identity").read_text()
    assert text.startswith(identity)
    assert "Keep this file" in text
