"""Whether a directory is the place that the index means.

Answers for the marker below `.holdfast/` that gives a directory its identity, and for what its file system can do. It
never touches objects. Invariant: a directory that is missing, unmounted or somebody else's is never
mistaken for an empty one.

A marker is first `offered`: whoever is given that identity may come again with it, or without it after a crash. With the first
change, or as soon as the index names it, it becomes `identity`, and from then on it belongs to
that index alone. The identity itself says whether the directory was a mount point, so an empty directory
found later is either a new disk or the bare place where one should be mounted.
"""

import errno
import os
from pathlib import Path

from holdfast.clock import Clock
from holdfast.errors import Reason, Refused, Unavailable
from holdfast.folders import make_folder
from holdfast.grids.folder.flush import flush_folder
from holdfast.grids.names import PRIVATE
from holdfast.limits import FOLDER_LEFTOVER_AGE_S

XATTR = b"user.holdfast"
"""Extended attribute of a copy: its label."""

_IDENTITY = "identity"
_OFFERED = "offered"
_MOUNTED = "-mount"
_TEXT = """{identity}

This directory belongs to one Holdfast installation. Objects are plain files under <bucket>/<key>; keys that
a file system cannot hold as they are lie under <bucket>/.holdfast/ with %XX escapes. Keep this file with
them: without it Holdfast does not touch the directory.
"""
_FLUSHED_WHOLE = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs", "zfs"})
"""File systems where syncfs(2) makes all files durable. On FUSE it may do nothing at all, so others are not trusted with it."""


class NotThere(Exception):
    """The directory is not the place that was attached."""


class FolderPlace:
    """The root of a folder grid and its private area. All methods block."""

    def __init__(self, name: str, root: Path, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self.root = os.fsencode(os.path.abspath(root))
        self.private = self.root + b"/" + PRIVATE.encode()
        self.tmp = self.private + b"/tmp"
        self.labels = False
        """Files here can carry a label."""
        self.whole_flush = False
        """One flush of the file system makes all changes durable."""
        self._seal: tuple[int, int, int] | None = None
        self._claimed = False
        self._swept_s = float("-inf")

    def attach(self, known: str) -> str:
        """See `Grid.attach`. Raises GridError and OSError."""
        taken = self._read(_IDENTITY)
        if taken:
            if not known:
                raise self._deny(
                    "it belongs to another index, and its files may be somebody's only copy: leave them. Start with that index, or "
                    "give this grid an empty directory and copy the objects in from here; they are plain files"
                )
            if taken != known:
                raise self._missing(f"it is marked as {taken} and should be {known}: is something else mounted there?")
            return self._take(taken, _IDENTITY)
        if known:
            self._check_present(known)
        offered = self._read(_OFFERED)
        if offered:
            if offered == known:
                self._take(offered, _OFFERED)
                self.claim()
            return self._take(offered, _IDENTITY if offered == known else _OFFERED)
        if not known:
            make_folder(Path(os.fsdecode(self.root)), 0o700)
        if not self._empty():
            if self._read(_OFFERED) or self._read(_IDENTITY):
                return self.attach(known)  # Another process of this node was first, between the two looks.
            detail = (
                "it is not empty and has no marker. Give this grid an empty directory"
                if not known
                else f"it has files but not the marker {self._show(_IDENTITY)}: put that back; or, if what it held "
                "is lost, empty the directory"
            )
            raise self._missing(detail) if known else self._deny(detail)
        return self._take(self._offer(), _OFFERED)

    def claim(self) -> None:
        """Make sure that this is the attached place and that it is this index's own; precedes every change. Raises
        OSError and NotThere."""
        self.check()
        if self._claimed:
            return
        try:
            os.rename(self._path(_OFFERED), self._path(_IDENTITY))
        except FileNotFoundError:
            self.check()  # Another process of this node was first.
        flush_folder(self.private)
        self._claimed = True

    def check(self) -> None:
        """Raise NotThere unless the marker of the attached place is there. Costs one system call."""
        if self._seal is None:
            raise NotThere("it was never attached")
        # In this order, as another thread may be renaming the one to the other at this moment.
        for name in (_IDENTITY,) if self._claimed else (_OFFERED, _IDENTITY):
            try:
                if _seal(os.stat(self._path(name))) == self._seal:
                    return
            except (FileNotFoundError, NotADirectoryError):
                continue
        raise NotThere(
            f"{os.fsdecode(self.root)}: its marker {PRIVATE}/{_IDENTITY} is missing or another one: is the disk mounted?"
        )

    def release(self) -> None:
        """Give the place up, as empty as it was found: another index may have it. Raises OSError and NotThere,
        which also says when objects are left."""
        self.check()
        if set(os.listdir(self.root)) - {b"lost+found", PRIVATE.encode()}:
            raise NotThere(f"{os.fsdecode(self.root)}: there are objects left")
        for name in os.listdir(self.tmp):
            os.unlink(self.tmp + b"/" + name)
        os.rmdir(self.tmp)
        os.unlink(self._path(_IDENTITY if self._claimed else _OFFERED))
        os.rmdir(self.private)
        flush_folder(self.root)
        self._seal = None

    # --- the marker ---

    def _path(self, name: str) -> bytes:
        return self.private + b"/" + name.encode()

    def _show(self, name: str) -> str:
        return os.fsdecode(self._path(name))

    def _read(self, name: str) -> str:
        try:
            with open(self._path(name), encoding="utf-8", errors="replace") as marker:
                return marker.readline(256).strip() or "nothing readable"
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def _take(self, identity: str, name: str) -> str:
        """Be content with this marker, and look what the place can do."""
        seal = _seal(os.stat(self._path(name)))
        if seal != self._seal:
            self._make_folder(self.tmp)
            self.labels = self._try_label()
            self.whole_flush = _file_system(os.fsdecode(os.path.realpath(self.root))) in _FLUSHED_WHOLE
            self._seal = seal
        self._claimed = name == _IDENTITY
        if self._clock.monotonic_s() - self._swept_s > FOLDER_LEFTOVER_AGE_S / 24:
            self._swept_s = self._clock.monotonic_s()
            self._sweep()
        return identity

    def _offer(self) -> str:
        identity = self._clock.token(16).hex() + (_MOUNTED if self._mounted() else "")
        self._make_folder(self.private)
        self._make_folder(self.tmp)
        draft = self.tmp + b"/marker-" + self._clock.token(8).hex().encode()
        _write(draft, _TEXT.format(identity=identity).encode())
        try:
            os.link(draft, self._path(_OFFERED))
        except FileExistsError:
            identity = self._read(_OFFERED)  # Another process of this node was first.
        except OSError as trouble:
            if trouble.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            os.rename(draft, self._path(_OFFERED))  # A file system without hard links.
            draft = b""
        if draft:
            os.unlink(draft)
        flush_folder(self.private)
        flush_folder(self.root)
        return identity

    # --- the directory ---

    def _check_present(self, known: str) -> None:
        if not os.path.isdir(self.root):
            raise self._missing(
                "the directory is missing: put it back; or, if what it held is lost, make an empty one in its place"
            )
        if known.endswith(_MOUNTED) and not self._mounted():
            raise self._missing("nothing is mounted there")

    def _mounted(self) -> bool:
        return os.stat(self.root).st_dev != os.stat(os.path.dirname(self.root)).st_dev

    def _empty(self) -> bool:
        there = set(os.listdir(self.root)) - {b"lost+found", PRIVATE.encode()}
        if there:
            return False
        try:
            return not set(os.listdir(self.private)) - {b"tmp"}
        except FileNotFoundError:
            return True

    def _make_folder(self, path: bytes) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return
        flush_folder(os.path.dirname(path))

    def _try_label(self) -> bool:
        draft = self.tmp + b"/label-" + self._clock.token(8).hex().encode()
        _write(draft, b"")
        try:
            os.setxattr(draft, XATTR, b"x")
        except (OSError, AttributeError):
            return False
        finally:
            os.unlink(draft)
        return True

    def _sweep(self) -> None:
        before_s = self._clock.now_ms() / 1000 - FOLDER_LEFTOVER_AGE_S
        with os.scandir(self.tmp) as entries:
            for entry in entries:
                try:
                    # A file that was linked here is as old as it was elsewhere, but its inode changed when it was linked.
                    if entry.stat(follow_symlinks=False).st_ctime < before_s:
                        os.unlink(entry.path)
                except FileNotFoundError:
                    continue

    def _deny(self, detail: str) -> Refused:
        return Refused(self._name, "attach", f"{os.fsdecode(self.root)}: {detail}", reason=Reason.DENIED)

    def _missing(self, detail: str) -> Unavailable:
        return Unavailable(self._name, "attach", f"{os.fsdecode(self.root)}: {detail}")


def _seal(status: os.stat_result) -> tuple[int, int, int]:
    """What tells one marker file from another without reading it."""
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _write(path: bytes, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file_system(path: str) -> str:
    """The type of the file system that holds a path; empty when the system does not say."""
    best, kind = "", ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                point = left.split(" ")[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
                if len(point) >= len(best) and (path + "/").startswith(point.rstrip("/") + "/"):
                    best, kind = point, right.split(" ")[0]
    except OSError:
        return ""
    return kind
