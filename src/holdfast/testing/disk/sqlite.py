"""SQLite's files while a disk records: a VFS that is the default inside, and the usual one for all files elsewhere.

Answers for: what SQLite writes, truncates, flushes and removes below the root is recorded like what `os` functions do. Locks and
shared memory stay SQLite's own. Invariant: after `Disk.close_all` an owner's connections change nothing, so closing
one is what the end of its process would be.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import apsw

from holdfast.testing.disk.volume import Op

if TYPE_CHECKING:
    from holdfast.testing.disk.disk import Disk

_JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


@contextmanager
def registered(disk: "Disk") -> Iterator[None]:
    """Inside, databases are opened through the disk unless their VFS is named."""
    before = apsw.vfs_names()[0]
    vfs = _Vfs(disk, before)
    disk.dead.append(vfs.bury)
    try:
        yield
    finally:
        disk.dead.remove(vfs.bury)
        vfs.unregister()
        apsw.set_default_vfs(before)


@contextmanager
def _errors() -> Iterator[None]:
    """A trouble of the disk as SQLite tells it."""
    try:
        yield
    except OSError as trouble:
        kind = apsw.FullError if trouble.errno in (errno.ENOSPC, errno.EDQUOT) else apsw.IOError
        raise kind(os.strerror(trouble.errno or errno.EIO)) from trouble


class _Vfs(apsw.VFS):
    def __init__(self, disk: "Disk", base: str) -> None:
        self._disk = disk
        self._base = base
        self.files: list[_File] = []
        super().__init__(f"holdfast-disk-{id(disk):x}", base, makedefault=True)

    def bury(self, owner: object) -> None:
        for file in self.files:
            if file.owner == owner:
                file.dead = True

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        below = self._disk.below(text)
        if below is None:
            return apsw.VFSFile(self._base, name, flags)
        with _errors(), self._disk.doing("open", below):
            return _File(self, self._disk, self._base, name, below, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        below = self._disk.below(filename)
        if below is None:
            super().xDelete(filename, syncdir)
            return
        if any(file.dead and below.startswith(file.path) for file in self.files):
            return
        with _errors(), self._disk.doing("unlink", below):
            super().xDelete(filename, False)
            self._disk.leave("unlink", below)
            if syncdir:
                self._disk.flush_above(below)


class _File(apsw.VFSFile):
    def __init__(self, vfs: _Vfs, disk: "Disk", base: str, name: Any, below: str, flags: list[int]) -> None:
        self.path = below
        self.owner = disk.owner()
        self.dead = False
        self._vfs = vfs
        self._disk = disk
        known = disk.find(below)
        # A new journal's name is flushed with its first flush, as SQLite's own VFS does it.
        self._new_name = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _JOURNALS)
        super().__init__(base, name, flags)
        where = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._inode = disk.enter("create", below, mode=os.stat(where).st_mode & 0o777) if known is None else known
        vfs.files.append(self)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if self._disk.hook is not None and not self.dead:
            with _errors(), self._disk.doing("read", self.path):
                return super().xRead(amount, offset)
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        if self.dead:
            return
        with _errors(), self._disk.doing("write", self.path):
            super().xWrite(data, offset)
            stamp = self._disk.stamp(self.path)
            self._disk.record(Op("write", self.path, self._inode, offset=offset, data=bytes(data), mtime_ns=stamp))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        if self.dead:
            return
        with _errors(), self._disk.doing("truncate", self.path):
            super().xTruncate(newsize)
            stamp = self._disk.stamp(self.path)
            self._disk.record(Op("truncate", self.path, self._inode, offset=newsize, mtime_ns=stamp))

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self.dead:
            return
        with _errors(), self._disk.doing("fsync", self.path):
            self._disk.record(Op("fsync", self.path, self._inode))
            if self._new_name:
                self._new_name = False
                self._disk.flush_above(self.path)

    def xClose(self) -> None:  # noqa: N802
        if self in self._vfs.files:
            self._vfs.files.remove(self)
        super().xClose()
