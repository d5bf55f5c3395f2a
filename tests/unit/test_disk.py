"""The recorded disk: what may be lost is lost, what may not is kept, and the log tells what the real directory shows."""

import errno
import fcntl
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from holdfast.grids.folder import flush as flushing
from holdfast.testing.simulation.disk import Disk
from holdfast.testing.simulation.disk_calls import Unrecorded
from holdfast.testing.simulation.volume import SECTOR_BYTES, Image, everything, nothing


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    with made.installed():
        yield made


def create(path: Path, data: bytes, *, sync: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, data)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def create_durable(path: Path, data: bytes) -> None:
    create(path, data, sync=True)
    sync_folder(path.parent)


def real(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def told(image: Image) -> dict[str, bytes]:
    return {path: image.files[inode].data for path, inode in image.names.items()}


def draws(*values: float) -> Callable[[], float]:
    """These, and an error after the last."""
    return iter(values).__next__


def images(disk: Disk, count: int = 200) -> list[Image]:
    dice = random.Random("images")
    return [disk.image(dice.random) for _ in range(count)]


# --- a file's bytes ---


def test_a_write_that_was_not_flushed_may_be_lost_and_may_be_kept(disk: Disk) -> None:
    create_durable(disk.root / "a", b"old")
    with open(disk.root / "a", "r+b") as file:
        file.write(b"new")
    assert disk.image(nothing).data("a") == b"old"
    assert disk.image(everything).data("a") == b"new"


@pytest.mark.parametrize("flush", ["fsync", "fdatasync"])
def test_a_write_that_was_flushed_is_kept_and_its_length_too(disk: Disk, flush: str) -> None:
    create_durable(disk.root / "a", b"old")
    descriptor = os.open(disk.root / "a", os.O_WRONLY)
    os.pwrite(descriptor, b"longer than it was", 0)
    getattr(os, flush)(descriptor)
    os.close(descriptor)
    assert {image.data("a") for image in images(disk)} == {b"longer than it was"}


def test_a_write_is_torn_at_sectors_only(disk: Disk) -> None:
    create_durable(disk.root / "a", bytes(4 * SECTOR_BYTES))
    descriptor = os.open(disk.root / "a", os.O_WRONLY)
    os.pwrite(descriptor, b"x" * 1000, 300)  # Three sectors, the first and the last in part.
    os.close(descriptor)
    zeros = bytes(4 * SECTOR_BYTES)

    def with_parts(*parts: tuple[int, int]) -> bytes:
        data = bytearray(zeros)
        for start, end in parts:
            data[start:end] = b"x" * (end - start)
        return bytes(data)

    spans = ((300, 512), (512, 1024), (1024, 1300))
    possible = {with_parts(*(span for at, span in enumerate(spans) if bits >> at & 1)) for bits in range(8)}
    assert {image.data("a") for image in images(disk)} == possible


def test_any_subset_of_writes_may_survive_and_a_lost_one_may_leave_its_length(disk: Disk) -> None:
    create_durable(disk.root / "a", b"")
    descriptor = os.open(disk.root / "a", os.O_WRONLY)
    os.write(descriptor, b"1")
    os.write(descriptor, b"2")
    os.close(descriptor)
    found = {image.data("a") for image in images(disk)}
    assert found == {b"", b"1", b"\0", b"12", b"1\0", b"\x002", b"\0\0"}


def test_a_truncation_and_a_time_and_an_attribute_wait_for_the_flush_of_their_file(disk: Disk) -> None:
    path = disk.root / "a"
    create(path, b"12345678")
    os.utime(path, ns=(5, 5))
    create_durable(path.with_name("b"), b"")
    descriptor = os.open(path, os.O_WRONLY)
    os.fsync(descriptor)
    sync_folder(disk.root)
    os.ftruncate(descriptor, 3)
    os.setxattr(descriptor, "user.label", b"v")
    os.utime(descriptor, ns=(7, 7))
    lost = disk.image(nothing)
    file = lost.files[lost.names["a"]]
    assert (file.data, file.labels, file.mtime_ns) == (b"12345678", {}, 5)
    os.fdatasync(descriptor)
    lost = disk.image(nothing)
    file = lost.files[lost.names["a"]]
    assert (file.data, file.labels) == (b"123", {}), "fdatasync is for data"
    os.fsync(descriptor)
    os.close(descriptor)
    lost = disk.image(nothing)
    file = lost.files[lost.names["a"]]
    assert (file.data, file.labels, file.mtime_ns) == (b"123", {"user.label": b"v"}, 7)


# --- names ---


def test_a_flushed_file_has_no_durable_name_before_its_directory_is_flushed(disk: Disk) -> None:
    create(disk.root / "a", b"bytes", sync=True)
    assert told(disk.image(nothing)) == {}
    sync_folder(disk.root)
    assert told(disk.image(nothing)) == {"a": b"bytes"}


def test_a_name_without_bytes_is_left_when_only_the_directory_was_flushed(disk: Disk) -> None:
    create(disk.root / "a", b"bytes")
    sync_folder(disk.root)
    assert told(disk.image(nothing)) == {"a": b""}


def test_names_are_not_strict_where_the_file_system_flushes_its_whole_journal(tmp_path: Path) -> None:
    lenient = Disk(tmp_path / "disk", strict_names=False)
    with lenient.installed():
        (lenient.root / "new").mkdir()
        create(lenient.root / "new" / "a", b"bytes", sync=True)
        create(lenient.root / "new" / "b", b"bytes")
        assert told(lenient.image(nothing)) == {"new/a": b"bytes"}


def test_a_directory_that_was_lost_takes_what_is_in_it(disk: Disk) -> None:
    (disk.root / "new").mkdir()
    create_durable(disk.root / "new" / "a", b"bytes")
    assert (disk.image(nothing).folders, told(disk.image(nothing))) == ({}, {})
    sync_folder(disk.root)
    assert told(disk.image(nothing)) == {"new/a": b"bytes"}


def test_a_rename_without_a_flush_of_its_directory_leaves_the_old_or_the_new_and_never_neither(disk: Disk) -> None:
    create_durable(disk.root / "a", b"old")
    (disk.root / "tmp").mkdir()
    sync_folder(disk.root)
    create_durable(disk.root / "tmp" / "draft", b"new")
    os.rename(disk.root / "tmp" / "draft", disk.root / "a")
    sync_folder(disk.root / "tmp")  # Not the one that it leads to.
    found = {tuple(sorted(told(image).items())) for image in images(disk)}
    assert found == {(("a", b"old"), ("tmp/draft", b"new")), (("a", b"new"),)}
    sync_folder(disk.root)
    assert {tuple(told(image).items()) for image in images(disk)} == {(("a", b"new"),)}


def test_a_renamed_file_does_not_come_back_under_a_name_that_was_never_durable(disk: Disk) -> None:
    (disk.root / "tmp").mkdir()
    sync_folder(disk.root)
    create(disk.root / "tmp" / "draft", b"new", sync=True)
    os.rename(disk.root / "tmp" / "draft", disk.root / "a")
    sync_folder(disk.root)
    sync_folder(disk.root / "tmp")
    assert {tuple(told(image).items()) for image in images(disk)} == {(("a", b"new"),)}


def test_a_name_that_is_used_again_does_not_bury_what_was_renamed_away(disk: Disk) -> None:
    (disk.root / "tmp").mkdir()
    create_durable(disk.root / "tmp" / "draft", b"first")
    sync_folder(disk.root)
    os.rename(disk.root / "tmp" / "draft", disk.root / "a")
    create_durable(disk.root / "tmp" / "draft", b"second")
    assert {tuple(sorted(told(image).items())) for image in images(disk)} == {
        (("a", b"first"), ("tmp/draft", b"second"))
    }


def test_a_file_that_was_renamed_there_and_back_is_there(disk: Disk) -> None:
    (disk.root / "tmp").mkdir()
    sync_folder(disk.root)
    create_durable(disk.root / "tmp" / "draft", b"bytes")
    os.rename(disk.root / "tmp" / "draft", disk.root / "a")
    os.rename(disk.root / "a", disk.root / "tmp" / "draft")
    sync_folder(disk.root / "tmp")
    assert told(disk.image(nothing)) == {"tmp/draft": b"bytes"}


def test_changes_of_one_directory_survive_up_to_some_point(disk: Disk) -> None:
    for name in "abc":
        create(disk.root / name, b"", sync=True)
    os.unlink(disk.root / "a")
    found = {tuple(image.names) for image in images(disk)}
    assert found == {(), ("a",), ("a", "b"), ("a", "b", "c"), ("b", "c")}


def test_changes_of_different_directories_have_no_order(disk: Disk) -> None:
    for name in "ab":
        (disk.root / name).mkdir()
    sync_folder(disk.root)
    create(disk.root / "a" / "first", b"")
    create(disk.root / "b" / "second", b"")
    assert ("b/second",) in {tuple(image.names) for image in images(disk)}


def test_a_removal_comes_undone_before_its_directory_is_flushed(disk: Disk) -> None:
    create_durable(disk.root / "a", b"bytes")
    os.unlink(disk.root / "a")
    assert disk.image(nothing).data("a") == b"bytes"
    sync_folder(disk.root)
    assert told(disk.image(nothing)) == {}


def test_two_names_are_one_file(disk: Disk, tmp_path: Path) -> None:
    create_durable(disk.root / "a", b"old")
    os.link(disk.root / "a", disk.root / "b")
    sync_folder(disk.root)
    os.unlink(disk.root / "a")
    create(disk.root / "b", b"new", sync=True)  # Through the other name.
    image = disk.image(nothing)
    assert told(image) == {"a": b"new", "b": b"new"}
    copy = tmp_path / "copy"
    copy.mkdir()
    image.write(copy)
    assert os.path.samefile(copy / "a", copy / "b")


def test_one_flush_of_the_file_system_makes_everything_durable(disk: Disk) -> None:
    (disk.root / "new").mkdir()
    create(disk.root / "new" / "draft", b"bytes")
    os.rename(disk.root / "new" / "draft", disk.root / "a")
    assert flushing._syncfs is not None
    descriptor = os.open(disk.root, os.O_RDONLY)
    assert flushing._syncfs(descriptor) == 0
    os.close(descriptor)
    assert (told(disk.image(nothing)), list(disk.image(nothing).folders)) == ({"a": b"bytes"}, ["new"])


# --- what is recorded, and what is refused ---


def _by_path(root: Path) -> None:
    (root / "a").write_bytes(b"bytes")
    (root / "b").write_text("Grüße\n")
    with open(root / "b", "a", encoding="utf-8") as file:
        file.write("more\n")
    with open(root / "a", "r+b", buffering=0) as raw:
        raw.seek(2)
        raw.write(b"T")
        raw.truncate(4)
    (root / "c").touch()
    (root / "d" / "e").mkdir(parents=True)
    (root / "c").rename(root / "d" / "e" / "c")
    (root / "d" / "e" / "c").unlink()
    (root / "d" / "e").rmdir()


def _by_descriptor(root: Path) -> None:
    descriptor = os.open(root / "a", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    assert os.writev(descriptor, [b"one", bytearray(b"two"), memoryview(b"three")]) == 11
    os.pwritev(descriptor, [b"X"], 1)
    os.posix_fallocate(descriptor, 0, 20)
    other = os.open(root / "b", os.O_WRONLY | os.O_CREAT)
    assert os.copy_file_range(descriptor, other, 5, offset_src=2) == 5
    os.lseek(descriptor, 0, os.SEEK_SET)
    assert os.copy_file_range(descriptor, other, 3) == 3
    assert os.read(descriptor, 3) == b"two"
    with pytest.raises(OSError, match="no blocks"):
        fcntl.ioctl(other, 0x40049409, descriptor)
    os.close(descriptor)
    os.close(other)
    os.truncate(root / "a", 15)
    appending = os.open(root / "b", os.O_WRONLY | os.O_APPEND)
    os.write(appending, b"!")
    os.close(appending)
    with pytest.raises(FileExistsError):
        os.mkdir(root / "a")
    with pytest.raises(FileNotFoundError):
        os.rename(root / "nothing", root / "a")
    os.replace(root / "a", root / "c")


@pytest.mark.parametrize("work", [_by_path, _by_descriptor])
def test_the_log_tells_what_the_directory_shows(disk: Disk, tmp_path: Path, work: Callable[[Path], None]) -> None:
    work(disk.root)
    assert told(disk.image(everything)) == real(disk.root)
    copy = tmp_path / "copy"
    copy.mkdir()
    disk.image(everything).write(copy)
    assert real(copy) == real(disk.root)
    for path in real(copy):
        ours, theirs = (copy / path).stat(), (disk.root / path).stat()
        assert (ours.st_mtime_ns, ours.st_mode) == (theirs.st_mtime_ns, theirs.st_mode)


def test_random_work_is_told_as_it_was_at_every_point_of_the_log(tmp_path: Path) -> None:
    disk, dice = Disk(tmp_path / "disk"), random.Random("work")
    seen: list[tuple[int, dict[str, bytes]]] = []
    with disk.installed():
        (disk.root / "d").mkdir()
        paths = [disk.root / name for name in ("a", "b", "c", "d/a", "d/b")]
        for _ in range(300):
            path, other = dice.sample(paths, 2)
            match dice.choice(("write", "append", "rename", "link", "unlink", "fsync", "folder")):
                case "write":
                    create(path, dice.randbytes(dice.randrange(2000)))
                case "append" if path.exists():
                    with open(path, "ab") as file:
                        file.write(dice.randbytes(dice.randrange(700)))
                case "rename" if path.exists():
                    os.rename(path, other)
                case "link" if path.exists() and not other.exists():
                    os.link(path, other)
                case "unlink":
                    path.unlink(missing_ok=True)
                case "fsync" if path.exists():
                    with open(path, "ab") as file:
                        os.fsync(file.fileno())
                case "folder":
                    sync_folder(path.parent)
            seen.append((len(disk.log), real(disk.root)))
        for upto, files in dice.sample(seen, len(seen)):
            assert told(disk.image(everything, upto)) == files


@pytest.mark.parametrize(
    "work",
    [
        lambda root: os.symlink("a", root / "b"),
        lambda root: os.mkfifo(root / "b"),
        lambda root: os.dup(os.open(root / "a", os.O_WRONLY | os.O_CREAT)),
        lambda root: os.open(root, os.O_WRONLY | os.O_TMPFILE),
        lambda root: os.unlink("a", dir_fd=os.open(root, os.O_RDONLY)),
    ],
)
def test_what_is_not_modelled_is_refused(disk: Disk, work: Callable[[Path], None]) -> None:
    with pytest.raises(Unrecorded):
        work(disk.root)
    disk.close_all(None)


def test_elsewhere_nothing_is_recorded_and_no_file_leaves_the_disk(disk: Disk, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"1")
    os.symlink("outside", tmp_path / "link")
    os.rename(outside, tmp_path / "renamed")
    assert not disk.log
    for move in (os.rename, os.link):
        with pytest.raises(OSError) as refused:
            move(tmp_path / "renamed", disk.root / "a")
        assert refused.value.errno == errno.EXDEV


def test_everything_is_as_before_once_it_is_not_installed(tmp_path: Path) -> None:
    before = (os.open, os.fsync, open, fcntl.ioctl, flushing._syncfs, apsw.vfs_names())
    disk, other = Disk(tmp_path / "a"), Disk(tmp_path / "b")
    with disk.installed(), other.installed():
        create(disk.root / "x", b"1", sync=True)
        create(other.root / "x", b"2", sync=True)
        assert apsw.vfs_names() != before[-1]
    assert (os.open, os.fsync, open, fcntl.ioctl, flushing._syncfs, apsw.vfs_names()) == before
    for made, data in ((disk, b"1"), (other, b"2")):
        assert [op.data for op in made.log if op.kind == "write"] == [data]


def test_the_order_of_the_log_is_the_order_of_effects_in_threads(disk: Disk) -> None:
    create(disk.root / "a", b"")

    def write(number: int) -> None:
        descriptor = os.open(disk.root / "a", os.O_WRONLY)
        for _ in range(200):
            os.pwrite(descriptor, b"%d" % number, 0)
        os.close(descriptor)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(disk.image(everything)) == real(disk.root)


# --- hook, owner, cut ---


def test_a_hook_sees_each_operation_and_may_refuse_it(disk: Disk) -> None:
    seen: list[tuple[str, str]] = []

    def full(operation: str, path: str) -> None:
        seen.append((operation, path))
        if operation == "write":
            raise OSError(errno.ENOSPC, "full")

    disk.hook = full
    with pytest.raises(OSError, match="full"):
        create(disk.root / "a", b"bytes")
    assert (disk.root / "a").read_bytes() == b""
    disk.hook = None
    assert seen == [("open", "a"), ("write", "a"), ("open", "a")]
    assert told(disk.image(everything)) == {"a": b""}


def test_a_process_that_ends_closes_its_own_descriptors_and_no_others(disk: Disk) -> None:
    disk.owner = lambda: "one"
    mine = os.open(disk.root / "a", os.O_WRONLY | os.O_CREAT)
    disk.owner = lambda: "other"
    theirs = os.open(disk.root / "b", os.O_WRONLY | os.O_CREAT)
    disk.close_all("one")
    with pytest.raises(OSError, match="Bad file"):
        os.write(mine, b"1")
    os.write(theirs, b"2")
    os.close(theirs)


def test_after_a_cut_the_directory_is_what_was_left_and_recording_goes_on(disk: Disk) -> None:
    create_durable(disk.root / "kept", b"kept")
    os.utime(disk.root / "kept", ns=(9, 9))
    create(disk.root / "lost", b"lost")
    descriptor = os.open(disk.root / "kept", os.O_WRONLY)
    os.fsync(descriptor)
    os.write(descriptor, b"torn")
    disk.cut(nothing)
    assert real(disk.root) == {"kept": b"kept"}
    assert (disk.root / "kept").stat().st_mtime_ns == 9
    with pytest.raises(OSError, match="Bad file"):
        os.write(descriptor, b"more")
    create(disk.root / "again", b"again")
    assert told(disk.image(nothing)) == {"kept": b"kept"}
    assert told(disk.image(everything)) == real(disk.root)
    assert told(disk.image(everything, 0)) == {"kept": b"kept"}


def test_without_a_history_only_the_present_is_kept(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk", history=False)
    with disk.installed():
        for number in range(2000):
            create(disk.root / f"{number}", b"bytes")
            os.unlink(disk.root / f"{number}")
            if number % 50 == 0:
                disk.write_back()
        assert not disk.log
        assert len(disk._now.inodes) < 600, "what has no name any more is forgotten"
        create_durable(disk.root / "kept", b"kept")
        disk.cut(nothing)
    assert real(disk.root) == {"kept": b"kept"}


def test_files_get_the_time_of_the_clock_that_is_given(disk: Disk) -> None:
    disk.now_ns = lambda: 1_000_000_007
    create(disk.root / "a", b"bytes", sync=True)
    assert (disk.root / "a").stat().st_mtime_ns == 1_000_000_007


# --- SQLite ---


def database(disk: Disk, synchronous: str) -> apsw.Connection:
    connection = apsw.Connection(str(disk.root / "db"))
    connection.execute(
        f"PRAGMA journal_mode = wal; PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0"
    ).fetchall()
    connection.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, data)")
    sync_folder(disk.root)
    return connection


def fill(disk: Disk, connection: apsw.Connection) -> None:
    """A dozen commits, each acknowledged by a mark, and two checkpoints."""
    for number in range(12):
        connection.execute("INSERT INTO t VALUES(?, randomblob(3000))", (number,))
        disk.mark(str(number))
        if number % 5 == 4:
            connection.wal_checkpoint()


def found_after(image: Image, folder: Path) -> tuple[list[int], str]:
    folder.mkdir()
    image.write(folder)
    connection = apsw.Connection(str(folder / "db"))
    try:
        check = str(connection.pragma("integrity_check"))
        return [number for (number,) in connection.execute("SELECT n FROM t ORDER BY n")], check
    except apsw.Error as trouble:
        return [], str(trouble)
    finally:
        connection.close()


def lost_commits(disk: Disk, folder: Path) -> int:
    """Cut at points of the log; how many times a commit that was acknowledged was lost, or the file was damaged."""
    dice, lost, promised = random.Random("cuts"), 0, -1
    started = next(at for at, op in enumerate(disk.log) if op.name == "0")
    for at in range(started, len(disk.log)):
        promised = int(disk.log[at].name) if disk.log[at].kind == "mark" else promised
        if at % 3:
            continue
        for number, draw in enumerate((nothing, everything, dice.random, dice.random)):
            rows, check = found_after(disk.image(draw, at + 1), folder / f"{at}-{number}")
            lost += check != "ok" or rows[: promised + 1] != list(range(promised + 1))
    return lost


def test_what_sqlite_committed_survives_every_cut(disk: Disk, tmp_path: Path) -> None:
    connection = database(disk, "FULL")
    fill(disk, connection)
    connection.close()
    assert told(disk.image(everything)) == real(disk.root)
    assert lost_commits(disk, tmp_path) == 0


def test_without_flushes_of_sqlite_commits_are_lost(disk: Disk, tmp_path: Path) -> None:
    connection = database(disk, "OFF")
    fill(disk, connection)
    connection.close()
    assert lost_commits(disk, tmp_path) > 0


def test_a_connection_whose_process_ended_changes_nothing_when_it_is_closed(disk: Disk) -> None:
    disk.owner = lambda: "dead"
    connection = database(disk, "FULL")
    fill(disk, connection)
    disk.close_all("dead")
    before = real(disk.root)
    connection.close()
    assert real(disk.root) == before, "no checkpoint was made, and the log is there"
    disk.owner = lambda: "alive"
    after = apsw.Connection(str(disk.root / "db"))
    assert after.execute("SELECT count(*) FROM t").get == 12
    after.close()


def test_a_disk_that_refuses_sqlite_is_told_in_its_words(disk: Disk) -> None:
    connection = database(disk, "FULL")

    def refuse(operation: str, path: str) -> None:
        if operation == "fsync" and path == "db-wal":
            raise OSError(errno.EIO, "broken")
        if operation == "write":
            raise OSError(errno.ENOSPC, "full")

    disk.hook = refuse
    with pytest.raises(apsw.FullError):
        connection.execute("INSERT INTO t VALUES(1, 'x')")
    disk.hook = lambda operation, path: refuse(operation, path) if operation == "fsync" else None
    with pytest.raises(apsw.IOError):
        connection.execute("INSERT INTO t VALUES(1, 'x')")
    disk.hook = None
    connection.close()
