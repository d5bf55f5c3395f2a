"""How a directory is made to fail as real disks do, and made well again.

Answers for staging one outage as a context: it begins with the context and is over after it, whatever happens within. What
needs privileges skips the test where they are missing, and says so. It never touches what a grid holds.
Invariant: no mount outlives its context.
"""

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

_libc = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY: Final = 1
_MS_REMOUNT: Final = 32
_MS_BIND: Final = 4096
_MNT_DETACH: Final = 2
_UNPRIVILEGED: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENODEV, errno.ENOSYS})


@contextmanager
def away(place: Path) -> Iterator[None]:
    """Renamed, as a disk that is unplugged and plugged in again."""
    elsewhere = place.with_name(place.name + "-away")
    place.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(place)


def lose(place: Path) -> None:
    """Gone with all that was there."""
    gone = place.with_name(place.name + "-gone")
    place.rename(gone)
    shutil.rmtree(gone)


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Mounted read-only, as a file system is after its journal failed."""
    with ExitStack() as undo:
        _mount(str(place), place, "", _MS_BIND)
        undo.callback(_unmount, place)
        _mount("none", place, "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY)
        yield


@contextmanager
def small_disk(point: Path, size_bytes: int) -> Iterator[None]:
    """A file system of this size at `point`."""
    _mount("holdfast-test", point, "tmpfs", 0, f"size={size_bytes}")
    try:
        yield
    finally:
        _unmount(point)


@contextmanager
def full(point: Path) -> Iterator[None]:
    """Somebody else's file takes all the space that is left on a small disk."""
    ballast = point / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            for piece_bytes in (64 * 1024, 4096, 1):
                while True:
                    try:
                        file.write(bytes(piece_bytes))
                    except OSError as trouble:
                        if trouble.errno != errno.ENOSPC:
                            raise
                        break
            yield
        finally:
            ballast.unlink()


@contextmanager
def hanging(place: Path) -> Iterator[None]:
    """Every system call below the directory waits until the context ends, as on a network file system whose
    server is silent; then those that wait fail. (A FUSE mount that nobody answers.)"""
    try:
        silent = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as trouble:
        pytest.skip(f"needs /dev/fuse, to stage a file system that does not answer: {trouble.strerror}")
    with ExitStack() as undo:
        undo.callback(os.close, silent)
        _mount("holdfast-test", place, "fuse", 0, f"fd={silent},rootmode=40000,user_id=0,group_id=0")
        undo.callback(_unmount, place)
        yield


def _mount(source: str, point: Path, kind: str, flags: int, options: str = "") -> None:
    done = _libc.mount(
        source.encode(), str(point).encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    if done != 0:
        number = ctypes.get_errno()
        if number in _UNPRIVILEGED:
            pytest.skip(f"needs the right to mount file systems, to stage this outage: {os.strerror(number)}")
        raise OSError(number, os.strerror(number), str(point))


def _unmount(point: Path) -> None:
    """Detach at once, even while system calls wait there."""
    if _libc.umount2(str(point).encode(), _MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(point))
