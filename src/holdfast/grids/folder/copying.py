"""Bringing large bodies into a folder grid from local files, in one thread, without passing through Python where possible.

The cheapest way that the file systems offer is taken: shared blocks (FICLONE), a copy inside the kernel, reading and
writing. Invariant: the staged file is whole and durable when `fill` returns, and gone when it raises.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from holdfast.grids.folder.files import Bytes, begin_file, finish_file, write_all
from holdfast.limits import BLOCK_BYTES

_FICLONE = 0x40049409
"""ioctl_ficlone(2)"""
_SLICE_BYTES = 16 * BLOCK_BYTES
"""Copied at once; between slices an abandoned copy is given up."""
_CANNOT = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EIO, errno.ETXTBSY})
"""The kernel does not copy between these files, or does not say which of the two is to blame."""


class SourceGone(Exception):
    """The body could not be read: no evidence against the grid."""


class Abandoned(Exception):
    """Nobody waits for this copy any more."""


def fill(
    path: bytes,
    sources: Sequence[Path | int],
    size_bytes: int,
    mtime_ns: int,
    label: bytes | None,
    stop: threading.Event,
) -> Bytes:
    """Stage the concatenation of local files (or of open descriptors). Raises OSError, SourceGone and Abandoned."""
    target = begin_file(path)
    try:
        moved = sum(_append(target, source, len(sources) == 1, stop) for source in sources)
        if moved != size_bytes:
            raise SourceGone(f"the body's files have {moved} bytes instead of {size_bytes}")
        staged = finish_file(target, path, mtime_ns, label)
        os.fsync(target)
        if stop.is_set():
            raise Abandoned
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(target)
    return staged


def _append(target: int, source: Path | int, alone: bool, stop: threading.Event) -> int:
    if isinstance(source, int):
        return _copy(target, source, alone, stop)
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as trouble:
        raise SourceGone(f"the body cannot be read: {trouble}") from trouble
    try:
        return _copy(target, descriptor, alone, stop)
    finally:
        os.close(descriptor)


def _copy(target: int, source: int, alone: bool, stop: threading.Event) -> int:
    if alone:
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            pass  # Not on this file system: the bytes must move.
        else:
            return os.fstat(source).st_size
    moved = _copy_in_kernel(target, source, stop)
    os.lseek(source, moved, os.SEEK_SET)
    while not stop.is_set():
        try:
            piece = os.read(source, BLOCK_BYTES)
        except OSError as trouble:
            raise SourceGone(f"the body cannot be read: {trouble}") from trouble
        if not piece:
            return moved
        write_all(target, piece)
        moved += len(piece)
    raise Abandoned


def _copy_in_kernel(target: int, source: int, stop: threading.Event) -> int:
    """Copy as much as the kernel will; returns how much that was."""
    moved = 0
    while hasattr(os, "copy_file_range"):
        if stop.is_set():
            raise Abandoned
        try:
            wrote = os.copy_file_range(source, target, _SLICE_BYTES, offset_src=moved)
        except OSError as trouble:
            if trouble.errno in _CANNOT:
                return moved
            raise
        if not wrote:
            return moved
        moved += wrote
    return moved
