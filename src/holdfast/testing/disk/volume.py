"""What a disk holds for certain and what it may hold, as a value that file operations change one after the other.

Answers for: of all that was written, what a power loss may leave. It looks at no file system and knows no time; chance is a
function that its caller brings. Invariant: what a flush made durable is in every image.

The model is that of POSIX, with what journaling file systems add and nothing more (Pillai et al., "All File Systems Are Not Created
Equal", OSDI 2014; CrashMonkey, OSDI 2018):
- A file's bytes, size, time and attributes are durable after a flush of that file. Until then any subset of its changes may survive, a
  write also in parts, torn at sectors, and a lost write may leave its length behind, filled with zeros.
- An entry of a directory (a name that was made, linked, renamed or removed) is durable after a flush of that directory. Until then the
  changes of one directory survive up to some point: a journal never lets a later one overtake an earlier one. Between
  directories there is no order.
- A rename is atomic. It counts as a change of the directory that it leads to: the old name goes exactly when the new one comes.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from holdfast.model import Value

Draw = Callable[[], float]
"""Chance: floats in [0, 1)."""

ROOT: Final = 0
"""The inode of the directory below which everything lies."""
_ANY: Final = -1
"""Whatever inode has the name."""
SECTOR_BYTES: Final = 512
"""A disk writes so much at once or not at all."""
_PIECES: Final = 64
"""A torn write is torn into at most so many pieces of whole sectors."""
_COLLECT: Final = 256
"""After so many removals, files that have no name any more are forgotten."""


def nothing() -> float:
    """The draw with which nothing survives that was not flushed."""
    return 0.0


def everything() -> float:
    """The draw with which all of it survives."""
    return 1 - 2**-53


class Op(Value, frozen=True):
    """One change of the disk, or a mark.

    `kind` is one of: create mkdir link unlink rmdir rename (entries) · write truncate setxattr utime (a file) · fsync fdatasync
    syncfs (flushes) · mark. `path` is below the root and there to be read; what counts are inodes, which are numbers of ours.
    """

    kind: str
    path: str = ""
    inode: int = ROOT
    folder: int = ROOT
    """The directory whose entry changes."""
    name: str = ""
    """The entry, the extended attribute, or what a mark says."""
    source: tuple[int, str] = (ROOT, "")
    """Of a rename: the directory and the entry that go."""
    offset: int = 0
    """Where a write begins; the size that a truncation leaves."""
    data: bytes | None = b""
    """What was written; the attribute's value, None when it was removed."""
    mtime_ns: int = 0
    mode: int = 0


class File(Value, frozen=True):
    """A file as an image has it."""

    data: bytes
    labels: dict[str, bytes]
    mtime_ns: int
    mode: int


class Image(Value, frozen=True):
    """What is on a disk: directories with their modes, and names of files, several of which may be one file."""

    folders: dict[str, int]
    names: dict[str, int]
    files: dict[int, File]

    def data(self, path: str) -> bytes | None:
        """The bytes of a file; None when it is not there."""
        inode = self.names.get(path)
        return None if inode is None else self.files[inode].data

    def write(self, folder: Path) -> None:
        """Make it real below a directory, which must be there and empty. Raises OSError."""
        for path, mode in self.folders.items():
            os.mkdir(folder / path, mode)
        first: dict[int, Path] = {}
        for path, inode in self.names.items():
            target = folder / path
            if inode in first:
                os.link(first[inode], target)
                continue
            first[inode] = target
            _write_file(target, self.files[inode])


def _write_file(path: Path, file: File) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    try:
        rest = memoryview(file.data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        for name, value in file.labels.items():
            os.setxattr(descriptor, name, value)
        os.utime(descriptor, ns=(file.mtime_ns, file.mtime_ns))
    finally:
        os.close(descriptor)


class Inode:
    """A file: what is durable of it, and the changes that are not."""

    __slots__ = ("data", "labels", "mode", "mtime_ns", "waiting")

    def __init__(
        self, mode: int, mtime_ns: int, data: bytes | bytearray = b"", labels: dict[str, bytes] | None = None
    ) -> None:
        self.mode = mode
        self.mtime_ns = mtime_ns
        self.data = bytearray(data)
        self.labels = labels or {}
        self.waiting: list[Op] = []

    def copy(self) -> "Inode":
        made = Inode(self.mode, self.mtime_ns, self.data, dict(self.labels))
        made.waiting = list(self.waiting)
        return made

    def flush(self, *, data_only: bool) -> None:
        waiting, self.waiting = self.waiting, []
        for op in waiting:
            if data_only and op.kind in ("setxattr", "utime"):
                self.waiting.append(op)
            else:
                self._change(op)

    def drawn(self, draw: Draw) -> File:
        """What may be left of it."""
        if self.waiting:
            left = self.copy()
            for op in self.waiting:
                left._survive(op, draw)
            return left.file()
        return self.file()

    def file(self) -> File:
        return File(bytes(self.data), dict(self.labels), self.mtime_ns, self.mode)

    def _survive(self, op: Op, draw: Draw) -> None:
        if op.kind != "write":
            if draw() >= 0.5:
                self._change(op)
            return
        assert op.data is not None
        fate = draw()
        if fate >= 2 / 3:
            self._change(op)
        elif fate >= 1 / 3:
            for start, end in _pieces(op.offset, len(op.data)):
                if draw() >= 0.5:
                    self._put(start, op.data[start - op.offset : end - op.offset], op.mtime_ns)
        elif op.offset + len(op.data) > len(self.data) and draw() >= 0.5:
            self._resize(op.offset + len(op.data))

    def _change(self, op: Op) -> None:
        match op.kind:
            case "write":
                assert op.data is not None
                self._put(op.offset, op.data, op.mtime_ns)
            case "truncate":
                self._resize(op.offset)
                self.mtime_ns = op.mtime_ns
            case "utime":
                self.mtime_ns = op.mtime_ns
            case _ if op.data is None:
                self.labels.pop(op.name, None)
            case _:
                self.labels[op.name] = op.data

    def _put(self, offset: int, data: bytes, mtime_ns: int) -> None:
        if offset > len(self.data):
            self._resize(offset)
        self.data[offset : offset + len(data)] = data
        self.mtime_ns = mtime_ns

    def _resize(self, size_bytes: int) -> None:
        del self.data[size_bytes:]
        self.data.extend(bytes(size_bytes - len(self.data)))


def _pieces(offset: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """What one write is torn into: from where to where in the file."""
    end = offset + size_bytes
    step = SECTOR_BYTES * max(1, -(-size_bytes // (SECTOR_BYTES * _PIECES)))
    at = offset
    while at < end:
        until = min(end, (at // step + 1) * step)
        yield at, until
        at = until


class Names:
    """Directories: their durable entries, and the changes of entries that are not durable."""

    def __init__(self) -> None:
        self.entries: dict[int, dict[str, int]] = {ROOT: {}}
        self.modes: dict[int, int] = {}
        self.waiting: dict[int, list[tuple[int, Op]]] = {}
        """By directory, in order; the number gives the order among all."""
        self._away: dict[tuple[int, str], tuple[tuple[int, int], ...]] = {}
        """Entries that waiting renames take to other directories: their numbers, and which directories."""

    def copy(self) -> "Names":
        made = Names()
        made.entries = {folder: dict(entries) for folder, entries in self.entries.items()}
        made.modes = dict(self.modes)
        made.waiting = {folder: list(ops) for folder, ops in self.waiting.items() if ops}
        made._away = dict(self._away)
        return made

    def enter(self, number: int, op: Op) -> None:
        """Change an entry; it waits for a flush."""
        self.waiting.setdefault(op.folder, []).append((number, op))
        if op.kind == "rename" and op.source[0] != op.folder:
            self._away[op.source] = (*self._away.get(op.source, ()), (number, op.folder))

    def drawn(self, draw: Draw) -> "Names":
        """What may be left of them."""
        left = self.copy()
        surviving: list[tuple[int, Op]] = []
        for folder in sorted(left.waiting):
            ops = left.waiting[folder]
            kept = int(draw() * (len(ops) + 1))
            surviving += ops[:kept]
            left.waiting[folder] = ops[kept:]
        for number, op in sorted(surviving, key=lambda numbered: numbered[0]):
            left.change(number, op)
        return left

    def flush(self, folder: int) -> int:
        """Make a directory's entries durable; returns how many changes that were."""
        ops = self.waiting.pop(folder, [])
        for number, op in ops:
            self.change(number, op)
        return len(ops)

    def flush_to(self, inode: int) -> None:
        """Make durable how an inode is reached, as file systems do that write their whole journal for one fsync."""
        for folder, ops in list(self.waiting.items()):
            ends = [at for at, (_, op) in enumerate(ops, 1) if op.inode == inode]
            if ends:
                self.waiting[folder] = ops[ends[-1] :]
                for number, op in ops[: ends[-1]]:
                    self.change(number, op)
                self.flush_to(folder)

    def change(self, number: int, op: Op) -> None:
        """Make one change durable, before those that wait."""
        self._bring_away(number, op.folder, op.name)
        entries = self.entries.get(op.folder)
        if entries is None:
            return  # The directory was removed for good.
        if op.kind in ("unlink", "rmdir"):
            if op.inode in (_ANY, entries.get(op.name)):
                entries.pop(op.name, None)
            return
        if op.kind == "rename":
            self._arrived(number, op)
            self._leave(*op.source, op.inode, number)
        entries[op.name] = op.inode

    def _bring_away(self, number: int, folder: int, name: str) -> None:
        """A later change of an entry cannot be durable before what was there has its new name, or it would have none."""
        for away, target in self._away.get((folder, name), ()):
            if away < number:
                ops = self.waiting.get(target, [])
                self.waiting[target] = [one for one in ops if one[0] > away]
                for earlier, op in ops:
                    if earlier <= away:
                        self.change(earlier, op)

    def _arrived(self, number: int, op: Op) -> None:
        """A rename does not wait any more."""
        rest = tuple(one for one in self._away.pop(op.source, ()) if one[0] != number)
        if rest:
            self._away[op.source] = rest

    def _leave(self, folder: int, name: str, inode: int, before: int) -> None:
        """A rename from here is durable, so this entry is gone, and whatever was still to make it."""
        entries = self.entries.get(folder, {})
        if entries.get(name) == inode:
            del entries[name]
        ops = self.waiting.get(folder, [])
        for at in reversed(range(len(ops))):
            number, op = ops[at]
            if number < before and op.name == name and op.inode == inode and op.kind not in ("unlink", "rmdir"):
                ops[at] = (number, Op("unlink", op.path, _ANY, folder, name))  # What was there before is gone as well.
                if op.kind == "rename":
                    self._arrived(number, op)
                    self._leave(*op.source, inode, number)
                return

    def reached(self, start: int = ROOT) -> Iterator[tuple[str, int]]:
        """Path and inode of everything below a directory, in order, each directory before what it has."""
        stack = [("", start)]
        while stack:
            above, folder = stack.pop()
            for name, inode in sorted(self.entries.get(folder, {}).items()):
                yield above + name, inode
                if inode in self.entries:
                    stack.append((f"{above}{name}/", inode))


class Volume:
    """One file system. `strict_names=False`: a flush of a file also makes its name durable, as ext4, XFS and btrfs do."""

    def __init__(self, *, strict_names: bool = True) -> None:
        self.inodes: dict[int, Inode] = {}
        self.names = Names()
        self._strict_names = strict_names
        self._number = 0
        self._removals = 0

    def copy(self) -> "Volume":
        made = Volume(strict_names=self._strict_names)
        made.inodes = {number: inode.copy() for number, inode in self.inodes.items()}
        made.names = self.names.copy()
        made._number = self._number
        return made

    def apply(self, op: Op) -> None:
        """Do one operation."""
        self._number += 1
        match op.kind:
            case "create":
                self.inodes[op.inode] = Inode(op.mode, op.mtime_ns)
                self._enter(op)
            case "mkdir":
                self.names.entries[op.inode] = {}
                self.names.modes[op.inode] = op.mode
                self._enter(op)
            case "link" | "unlink" | "rmdir" | "rename":
                self._enter(op)
            case "write" | "truncate" | "setxattr" | "utime":
                if op.inode in self.inodes:
                    self.inodes[op.inode].waiting.append(op)
            case "fsync" | "fdatasync":
                self._flush(op.inode, data_only=op.kind == "fdatasync")
            case "syncfs":
                for inode in self.inodes.values():
                    inode.flush(data_only=False)
                # All of them in the order in which they came: a file may have been renamed through several directories.
                waiting = sorted((one for ops in self.names.waiting.values() for one in ops), key=lambda one: one[0])
                self.names.waiting.clear()
                for number, change in waiting:
                    self.names.change(number, change)
                self._forget(len(waiting))
            case _:
                assert op.kind == "mark", op.kind

    def image(self, draw: Draw) -> Image:
        """What a power loss now may leave."""
        names = self.names.drawn(draw)
        folders: dict[str, int] = {}
        files: dict[int, File] = {}
        found: dict[str, int] = {}
        for path, inode in names.reached():
            if inode in names.entries:
                folders[path] = names.modes.get(inode, 0o700)
                continue
            found[path] = inode
            if inode not in files:
                files[inode] = self.inodes[inode].drawn(draw)
        return Image(folders, found, files)

    def _enter(self, op: Op) -> None:
        self.names.enter(self._number, op)

    def _flush(self, inode: int, *, data_only: bool) -> None:
        if inode in self.names.entries:
            self._forget(self.names.flush(inode))
        elif inode in self.inodes:
            self.inodes[inode].flush(data_only=data_only)
            if not self._strict_names:
                self.names.flush_to(inode)

    def _forget(self, changes: int) -> None:
        """From time to time let go of what has no name and will never have one again."""
        self._removals += changes
        if self._removals < _COLLECT:
            return
        self._removals = 0
        live: set[int] = set()
        ahead = [ROOT]
        while ahead:
            start = ahead.pop()
            for inode in (start, *(inode for _, inode in self.names.reached(start))):
                if inode not in live:
                    live.add(inode)
                    ahead += [op.inode for _, op in self.names.waiting.get(inode, ())]
        self.inodes = {number: inode for number, inode in self.inodes.items() if number in live}
        self.names.entries = {number: entries for number, entries in self.names.entries.items() if number in live}
        self.names.modes = {number: mode for number, mode in self.names.modes.items() if number in live}
        self.names.waiting = {number: ops for number, ops in self.names.waiting.items() if number in live}
