"""A disk that remembers what this process does to it, and can lose power.

Answers for: everything that is done below one directory of the real file system, by `os` functions, built-in files and SQLite, is
written down in the order of its effects; and for the images that a power loss may leave of it. What this cannot record it refuses. It
never flushes the real disk: what is durable is decided by the model in `volume`. Invariant: the log and the
real directory tell the same story.

Changes by other processes, permissions after creation, times of directories, symbolic links and writes into mapped memory are not
modelled. `-shm` files of SQLite are no durable state: no image has them.
"""

import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from holdfast.testing.disk.calls import Descriptor, Unrecorded, patched
from holdfast.testing.disk.sqlite import registered
from holdfast.testing.disk.volume import ROOT, Draw, Image, Inode, Op, Volume

SHARED_MEMORY: Final = "-shm"


class Disk:
    """Records below `root` while `installed`. Several disks may be installed at once, one inside the other; files do not move
    between them, as between file systems.

    `history=False` keeps no log: for long runs, of which only images of the present are wanted.
    """

    def __init__(self, root: Path, *, strict_names: bool = True, history: bool = True) -> None:
        self.root = root
        self.log: list[Op] = []
        self.hook: Callable[[str, str], None] | None = None
        """Called before each operation with its name (as in `os`) and its path below the root; may raise. Reads are told, too."""
        self.owner: Callable[[], object] = lambda: None
        """Who opens a file now, see `close_all`."""
        self.now_ns: Callable[[], int] | None = None
        """The time that files get when they are written to; None: the real one."""
        self.lock = threading.RLock()
        self.descriptors: dict[int, Descriptor] = {}
        self.dead: list[Callable[[object], None]] = []
        """How other libraries learn that an owner's files are closed."""
        self._prefixes: tuple[str, ...] = ()
        self._strict_names = strict_names
        self._history = history
        self._names: dict[int, dict[str, int]] = {}
        self._next = ROOT + 1
        self._base = Volume()
        self._now = Volume()
        self._then: tuple[int, Volume] | None = None

    # --- for users ---

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Record inside. What is there at the beginning is durable."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._prefixes = tuple({f"{os.path.abspath(self.root)}/", f"{os.path.realpath(self.root)}/"})
        self._scan()
        with ExitStack() as stack:
            stack.enter_context(patched(self))
            stack.enter_context(registered(self))
            yield

    def mark(self, text: str) -> None:
        """Note in the log what is known at this moment."""
        with self.lock:
            self.record(Op("mark", name=text))

    def image(self, draw: Draw, upto: int | None = None) -> Image:
        """What power loss may leave after so many operations of the log (None: now)."""
        with self.lock:
            if upto is None or (upto == len(self.log) and self._history):
                return self._now.image(draw)
            assert self._history, "without a history there is only the present"
            if self._then is None or self._then[0] > upto:
                self._then = (0, self._base.copy())
            at, volume = self._then
            for op in self.log[at:upto]:
                volume.apply(op)
            self._then = (upto, volume)
            return volume.image(draw)

    def cut(self, draw: Draw) -> None:
        """Lose power: what is below the root becomes what is left of it, and that is durable. All connections of SQLite must be
        closed (`close_all` first); descriptors that are still open are closed. The log begins anew."""
        with self.lock:
            image = self.image(draw)
            for descriptor in list(self.descriptors):
                os.close(descriptor)
            hook, self.hook = self.hook, None
            prefixes, self._prefixes = self._prefixes, ()  # What is done here is no doing of the machine.
            try:
                for entry in self.root.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                image.write(self.root)
            finally:
                self.hook, self._prefixes = hook, prefixes
            self._scan()

    def write_back(self) -> None:
        """Make everything durable, as the kernel does half a minute after it was written."""
        with self.lock:
            self.record(Op("syncfs"))

    def close_all(self, owner: object) -> None:
        """Close every descriptor that this owner has open, as the end of its process does.

        Its connections of SQLite change nothing any more, and must be closed by the caller before anybody opens the same database.
        """
        with self.lock:
            for descriptor in [number for number, held in self.descriptors.items() if held.owner == owner]:
                os.close(descriptor)
            for tell in self.dead:
                tell(owner)

    # --- for those who record ---

    @contextmanager
    def doing(self, operation: str, path: str) -> Iterator[None]:
        """Around an operation and its record. Raises what the hook raises."""
        with self.lock:
            if self.hook is not None:
                self.hook(operation, path)
            yield

    def record(self, op: Op) -> None:
        """Write down what was done."""
        self._now.apply(op)
        if self._history:
            self.log.append(op)

    def below(self, path: object) -> str | None:
        """A path as it is below the root; None when it is elsewhere. The root itself is ''."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        text = os.fsdecode(path)
        if (
            not text.startswith("/")
            or any(mark in text for mark in ("//", "/./", "/../"))
            or text.endswith(("/.", "/.."))
        ):
            text = os.path.abspath(text)
        for prefix in self._prefixes:
            if text.startswith(prefix):
                return text[len(prefix) :].rstrip("/")
            if text == prefix[:-1]:
                return ""
        return None

    def find(self, path: str) -> int | None:
        """The inode that has this name now."""
        inode = ROOT
        for name in path.split("/") if path else ():
            found = self._names.get(inode, {}).get(name)
            if found is None:
                return None
            inode = found
        return inode

    def inode(self, path: str) -> int:
        """As `find`, of what must be there."""
        found = self.find(path)
        if found is None:
            raise Unrecorded(f"{path}: it was made behind the back of this recorder")
        return found

    def enter(self, kind: str, path: str, *, inode: int | None = None, mode: int = 0) -> int:
        """Record a new entry: of a new inode unless one is given. Returns the inode."""
        folder, name = self._split(path)
        if inode is None:
            inode, self._next = self._next, self._next + 1
            if kind == "mkdir":
                self._names[inode] = {}
        self._names[folder][name] = inode
        mtime_ns = self.stamp(path) if kind == "create" else 0
        self.record(Op(kind, path, inode, folder, name, mtime_ns=mtime_ns, mode=mode))
        return inode

    def leave(self, kind: str, path: str) -> None:
        """Record that an entry is gone."""
        folder, name = self._split(path)
        inode = self._names[folder].pop(name)
        if kind == "rmdir":
            del self._names[inode]
        self.record(Op(kind, path, inode, folder, name))

    def move(self, source: str, target: str) -> None:
        """Record a rename."""
        old, old_name = self._split(source)
        folder, name = self._split(target)
        inode = self._names[old][old_name]
        if self._names[folder].get(name) == inode:
            return  # Both are names of one file: POSIX does nothing.
        del self._names[old][old_name]
        self._names[folder][name] = inode
        self.record(Op("rename", target, inode, folder, name, (old, old_name)))

    def flush_above(self, path: str) -> None:
        """Record a flush of the directory that a path is in."""
        above = path.rpartition("/")[0]
        self.record(Op("fsync", above, self.inode(above)))

    def stamp(self, target: int | str) -> int:
        """The time of last change of an open file or a path, in ns; set to that of the clock where there is one."""
        where = self._prefixes[0] + target if isinstance(target, str) else target
        if self.now_ns is None:
            return os.stat(where).st_mtime_ns
        now_ns = self.now_ns()
        _UTIME(where, ns=(now_ns, now_ns))
        return now_ns

    def _split(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self.inode(above), name

    def _scan(self) -> None:
        """Begin with what is there."""
        volume = Volume(strict_names=self._strict_names)
        known: dict[tuple[int, int], int] = {}
        self._names = {ROOT: {}}
        folders = [(self.root, ROOT)]
        while folders:
            path, folder = folders.pop()
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                status = entry.stat(follow_symlinks=False)
                inode = known.get((status.st_dev, status.st_ino))
                if entry.is_dir(follow_symlinks=False):
                    inode, self._next = self._next, self._next + 1
                    self._names[inode] = {}
                    volume.names.entries[inode] = {}
                    volume.names.modes[inode] = stat.S_IMODE(status.st_mode)
                    folders.append((Path(entry.path), inode))
                elif entry.name.endswith(SHARED_MEMORY):
                    continue
                elif not entry.is_file(follow_symlinks=False):
                    raise Unrecorded(f"{entry.path} is neither a file nor a directory")
                elif inode is None:
                    inode, self._next = self._next, self._next + 1
                    known[status.st_dev, status.st_ino] = inode
                    labels = {name: os.getxattr(entry.path, name) for name in os.listxattr(entry.path)}
                    data = Path(entry.path).read_bytes()
                    volume.inodes[inode] = Inode(stat.S_IMODE(status.st_mode), status.st_mtime_ns, data, labels)
                self._names[folder][entry.name] = inode
                volume.names.entries[folder][entry.name] = inode
        self.log = []
        self._now, self._base, self._then = volume, volume.copy() if self._history else volume, None


_UTIME: Final = os.utime
"""The real one: setting the time of a write is no change of its own."""
