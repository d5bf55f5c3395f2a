"""The functions of `os`, and the built-in `open`, while a disk records.

Answers for: each does what the real one does and is recorded when it changes something below the disk's root; what cannot be
recorded is refused there. Elsewhere all of them are the real ones. Invariant: a call that failed left no record.
"""

import builtins
import ctypes
import errno
import fcntl
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from holdfast.grids.folder import flush
from holdfast.testing.simulation.volume import Op

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from holdfast.testing.simulation.disk import Disk

_FICLONE: Final = 0x40049409
"""ioctl_ficlone(2)"""
_NAMES: Final = (
    *("open", "close", "read", "pread", "write", "writev", "pwrite", "pwritev", "truncate", "ftruncate"),
    *("posix_fallocate", "copy_file_range", "sendfile", "splice", "dup", "dup2", "fsync", "fdatasync", "sync"),
    *("rename", "replace", "link", "symlink", "mkfifo", "mknod", "unlink", "remove", "mkdir", "rmdir"),
    *("setxattr", "removexattr", "utime"),
)


class Unrecorded(AssertionError):
    """Something was about to change the disk in a way that is not modelled."""


class Descriptor:
    """An open file or directory below the root."""

    __slots__ = ("append", "inode", "owner", "path")

    def __init__(self, inode: int, path: str, owner: object, *, append: bool = False) -> None:
        self.inode = inode
        self.path = path
        self.owner = owner
        self.append = append


@contextmanager
def patched(disk: "Disk") -> Iterator[None]:
    """Inside, what this process does to files goes by the disk."""
    calls = _Calls(disk)
    with ExitStack() as stack:
        for name in _NAMES:
            if hasattr(os, name):
                stack.enter_context(_replaced(os, name, getattr(calls, name)))
        stack.enter_context(_replaced(fcntl, "ioctl", calls.ioctl))
        for module in (builtins, io):
            stack.enter_context(_replaced(module, "open", calls.open_file))
        if calls.real_syncfs is not None:
            stack.enter_context(_replaced(flush, "_syncfs", calls.syncfs))
        yield


@contextmanager
def _replaced(module: Any, name: str, function: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, before)


class _Calls:
    """As in `os`, name by name."""

    def __init__(self, disk: "Disk") -> None:
        self._disk = disk
        self._held = disk.descriptors
        self._real = {name: getattr(os, name) for name in _NAMES if hasattr(os, name)}
        self._real_open_file = io.open
        self._real_ioctl = fcntl.ioctl
        self.real_syncfs = flush._syncfs

    # --- descriptors ---

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        below = self._below(path, dir_fd)
        if below is None:
            descriptor: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
            self._held.pop(descriptor, None)
            return descriptor
        disk = self._disk
        with disk.doing("open", below):
            inode = disk.find(below)
            if flags & os.O_TMPFILE == os.O_TMPFILE or (inode is None and os.path.lexists(path) and _writes(flags)):
                raise Unrecorded(f"{below}: it has no name, or was made behind the back of this recorder")
            descriptor = self._real["open"](path, flags, mode)
            if inode is None and flags & os.O_CREAT:
                inode = disk.enter("create", below, mode=stat.S_IMODE(os.fstat(descriptor).st_mode))
            elif inode is not None and flags & os.O_TRUNC and _writes(flags):
                disk.record(Op("truncate", below, inode, mtime_ns=disk.stamp(descriptor)))
            self._held.pop(descriptor, None)
            if inode is not None:
                append = bool(flags & os.O_APPEND)
                self._held[descriptor] = Descriptor(inode, below, disk.owner(), append=append)
        return descriptor

    def close(self, fd: int) -> None:
        self._held.pop(fd, None)  # First: as soon as it is closed its number is another one's.
        self._real["close"](fd)

    def dup(self, fd: int, /) -> int:
        self._refuse(fd, "dup")
        return int(self._real["dup"](fd))

    def dup2(self, fd: int, fd2: int, inheritable: bool = True) -> int:
        self._refuse(fd, "dup2")
        self._refuse(fd2, "dup2")
        return int(self._real["dup2"](fd, fd2, inheritable))

    # --- a file's bytes ---

    def read(self, fd: int, length: int, /) -> bytes:
        self._tell("read", fd)
        data: bytes = self._real["read"](fd, length)
        return data

    def pread(self, fd: int, length: int, offset: int, /) -> bytes:
        self._tell("read", fd)
        data: bytes = self._real["pread"](fd, length, offset)
        return data

    def write(self, fd: int, data: "Buffer", /) -> int:
        return self._write("write", fd, (data,), None, data)

    def writev(self, fd: int, buffers: Sequence["Buffer"], /) -> int:
        return self._write("writev", fd, buffers, None, buffers)

    def pwrite(self, fd: int, data: "Buffer", offset: int, /) -> int:
        return self._write("pwrite", fd, (data,), offset, data, offset)

    def pwritev(self, fd: int, buffers: Sequence["Buffer"], offset: int, flags: int = 0, /) -> int:
        return self._write("pwritev", fd, buffers, offset, buffers, offset, flags)

    def _write(self, call: str, fd: int, buffers: Sequence["Buffer"], offset: int | None, *arguments: Any) -> int:
        held = self._held.get(fd)
        if held is None:
            return int(self._real[call](fd, *arguments))
        with self._disk.doing("write", held.path):
            if held.append:
                offset = os.fstat(fd).st_size
            elif offset is None:
                offset = os.lseek(fd, 0, os.SEEK_CUR)
            wrote = int(self._real[call](fd, *arguments))
            if wrote:
                data = b"".join(buffers)[:wrote]
                stamp = self._disk.stamp(fd)
                self._disk.record(Op("write", held.path, held.inode, offset=offset, data=data, mtime_ns=stamp))
        return wrote

    def copy_file_range(
        self, src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
    ) -> int:
        if dst not in self._held:
            return int(self._real["copy_file_range"](src, dst, count, offset_src, offset_dst))
        start = os.lseek(src, 0, os.SEEK_CUR) if offset_src is None else offset_src
        data = os.pread(src, count, start)
        wrote = (os.write(dst, data) if offset_dst is None else os.pwrite(dst, data, offset_dst)) if data else 0
        if offset_src is None:
            os.lseek(src, start + wrote, os.SEEK_SET)
        return wrote

    def sendfile(self, out_fd: int, *arguments: Any, **named: Any) -> int:
        self._refuse(out_fd, "sendfile")
        return int(self._real["sendfile"](out_fd, *arguments, **named))

    def splice(self, src: int, dst: int, *arguments: Any, **named: Any) -> int:
        self._refuse(dst, "splice")
        return int(self._real["splice"](src, dst, *arguments, **named))

    def ioctl(self, fd: Any, request: int, *arguments: Any, **named: Any) -> Any:
        if request == _FICLONE and fd in self._held:
            raise OSError(errno.EOPNOTSUPP, "this disk shares no blocks")
        return self._real_ioctl(fd, request, *arguments, **named)

    def ftruncate(self, fd: int, length: int, /) -> None:
        self._resize("ftruncate", fd, length)

    def truncate(self, path: Any, length: int) -> None:
        self._resize("truncate", path, length)

    def posix_fallocate(self, fd: int, offset: int, length: int, /) -> None:
        self._resize("posix_fallocate", fd, offset, length)

    def _resize(self, call: str, target: Any, *arguments: int) -> None:
        found = self._target(target)
        if found is None:
            self._real[call](target, *arguments)
            return
        path, inode = found
        with self._disk.doing("truncate", path):
            self._real[call](target, *arguments)
            where = target if isinstance(target, int) else path
            size = os.stat(target).st_size
            self._disk.record(Op("truncate", path, inode, offset=size, mtime_ns=self._disk.stamp(where)))

    # --- flushes ---

    def fsync(self, fd: Any) -> None:
        self._sync("fsync", fd)

    def fdatasync(self, fd: Any) -> None:
        self._sync("fdatasync", fd)

    def _sync(self, call: str, fd: Any) -> None:
        held = self._held.get(fd if isinstance(fd, int) else fd.fileno())
        if held is None:
            self._real[call](fd)
            return
        with self._disk.doing(call, held.path):
            self._disk.record(Op(call, held.path, held.inode))

    def sync(self) -> None:
        with self._disk.doing("syncfs", ""):
            self._disk.record(Op("syncfs"))
        self._real["sync"]()

    def syncfs(self, fd: int) -> int:
        """As the C function: 0, or -1 and errno."""
        held = self._held.get(fd)
        if held is None:
            assert self.real_syncfs is not None
            return self.real_syncfs(fd)
        try:
            with self._disk.doing("syncfs", held.path):
                self._disk.record(Op("syncfs", held.path))
        except OSError as trouble:
            ctypes.set_errno(trouble.errno or errno.EIO)
            return -1
        return 0

    # --- entries ---

    def rename(self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        self._rename("rename", src, dst, src_dir_fd, dst_dir_fd)

    def replace(self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        self._rename("replace", src, dst, src_dir_fd, dst_dir_fd)

    def _rename(self, call: str, src: Any, dst: Any, src_dir_fd: int | None, dst_dir_fd: int | None) -> None:
        source, target = self._below(src, src_dir_fd), self._below(dst, dst_dir_fd)
        if source is None and target is None:
            self._real[call](src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            return
        if source is None or target is None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), src, None, dst)
        with self._disk.doing("rename", target):
            if os.path.lexists(src):
                self._disk.inode(source)
            self._real[call](src, dst)
            self._disk.move(source, target)

    def link(
        self,
        src: Any,
        dst: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        source, target = self._below(src, src_dir_fd), self._below(dst, dst_dir_fd)
        if source is None and target is None:
            fds = {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd}
            self._real["link"](src, dst, follow_symlinks=follow_symlinks, **fds)
            return
        if source is None or target is None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), src, None, dst)
        with self._disk.doing("link", target):
            self._real["link"](src, dst, follow_symlinks=follow_symlinks)
            self._disk.enter("link", target, inode=self._disk.inode(source))

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._leave("unlink", path, dir_fd)

    def remove(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._leave("unlink", path, dir_fd)

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._leave("rmdir", path, dir_fd)

    def _leave(self, call: str, path: Any, dir_fd: int | None) -> None:
        below = self._below(path, dir_fd)
        if below is None:
            self._real[call](path, dir_fd=dir_fd)
            return
        with self._disk.doing(call, below):
            self._real[call](path)
            if self._disk.find(below) is not None:
                self._disk.leave(call, below)

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        below = self._below(path, dir_fd)
        if below is None:
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            return
        with self._disk.doing("mkdir", below):
            self._real["mkdir"](path, mode)
            self._disk.enter("mkdir", below, mode=stat.S_IMODE(os.stat(path).st_mode))

    def symlink(self, src: Any, dst: Any, *arguments: Any, **named: Any) -> None:
        self._refuse(dst, "symlink")
        self._real["symlink"](src, dst, *arguments, **named)

    def mkfifo(self, path: Any, *arguments: Any, **named: Any) -> None:
        self._refuse(path, "mkfifo")
        self._real["mkfifo"](path, *arguments, **named)

    def mknod(self, path: Any, *arguments: Any, **named: Any) -> None:
        self._refuse(path, "mknod")
        self._real["mknod"](path, *arguments, **named)

    # --- attributes ---

    def setxattr(
        self, path: Any, attribute: Any, value: "Buffer", flags: int = 0, *, follow_symlinks: bool = True
    ) -> None:
        found = self._target(path)
        if found is None:
            self._real["setxattr"](path, attribute, value, flags, follow_symlinks=follow_symlinks)
            return
        with self._disk.doing("setxattr", found[0]):
            self._real["setxattr"](path, attribute, value, flags)
            self._disk.record(Op("setxattr", *found, name=os.fsdecode(attribute), data=bytes(value)))

    def removexattr(self, path: Any, attribute: Any, *, follow_symlinks: bool = True) -> None:
        found = self._target(path)
        if found is None:
            self._real["removexattr"](path, attribute, follow_symlinks=follow_symlinks)
            return
        with self._disk.doing("setxattr", found[0]):
            self._real["removexattr"](path, attribute)
            self._disk.record(Op("setxattr", *found, name=os.fsdecode(attribute), data=None))

    def utime(self, path: Any, times: Any = None, **named: Any) -> None:
        found = self._target(path)
        if found is None:
            self._real["utime"](path, times, **named)
            return
        with self._disk.doing("utime", found[0]):
            self._real["utime"](path, times, **named)
            self._disk.record(Op("utime", *found, mtime_ns=os.stat(path).st_mtime_ns))

    # --- the built-in ---

    def open_file(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> IO[Any]:
        held = self._held.get(file) if isinstance(file, int) else None
        below = self._disk.below(file) if held is None else held.path
        if below is None:
            return self._real_open_file(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not set(mode) & set("wax+"):
            with self._disk.doing("open", below):
                return self._real_open_file(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if opener is not None:
            raise Unrecorded(f"{file} with an opener")
        return _open(file, mode, buffering, encoding, errors, newline, closefd)

    # --- within ---

    def _below(self, path: Any, dir_fd: int | None) -> str | None:
        if dir_fd is None:
            return self._disk.below(path)
        if not os.path.isabs(path):
            self._refuse(dir_fd, "a path below a descriptor")
            return None
        return self._disk.below(path)

    def _target(self, target: Any) -> tuple[str, int] | None:
        """Path and inode of a path or of a descriptor below the root; None when it is elsewhere or not there."""
        if isinstance(target, int):
            held = self._held.get(target)
            return None if held is None else (held.path, held.inode)
        below = self._disk.below(target)
        if below is None or not os.path.lexists(target):
            return None
        return below, self._disk.inode(below)

    def _tell(self, operation: str, fd: int) -> None:
        held = self._held.get(fd)
        if held is not None and self._disk.hook is not None:
            with self._disk.doing(operation, held.path):
                pass

    def _refuse(self, target: Any, call: str) -> None:
        ours = target in self._held if isinstance(target, int) else self._disk.below(target) is not None
        if ours:
            raise Unrecorded(f"{call} of {target!r}")


def _writes(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY


class _Raw(io.RawIOBase):
    """A file object whose every effect is a call of `os`."""

    def __init__(self, fd: int, mode: str, *, closefd: bool) -> None:
        self._fd = fd
        self._mode = mode
        self._closefd = closefd

    def fileno(self) -> int:
        return self._fd

    def readable(self) -> bool:
        return "+" in self._mode

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = os.read(self._fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        return os.write(self._fd, data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._fd, offset, whence)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self._fd, size)
        return size

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self._closefd:
                os.close(self._fd)


_FLAGS: Final = {"w": os.O_CREAT | os.O_TRUNC, "x": os.O_CREAT | os.O_EXCL, "a": os.O_CREAT | os.O_APPEND, "r": 0}


def _open(
    file: Any,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    closefd: bool,
) -> IO[Any]:
    kind = next(letter for letter in mode if letter in _FLAGS)
    access = os.O_RDWR if "+" in mode else os.O_WRONLY
    fd = file if isinstance(file, int) else os.open(file, access | _FLAGS[kind] | os.O_CLOEXEC, 0o666)
    raw: Any = _Raw(fd, mode, closefd=closefd)
    if kind == "a":
        raw.seek(0, os.SEEK_END)
    if buffering == 0:
        return raw  # type: ignore[no-any-return]
    buffer: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)
