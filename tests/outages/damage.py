"""What happens to files behind the back of whoever keeps them: a row of the table per kind of damage.

Never touches what a gateway knows. Invariant: after each of them the file is no longer the copy that it was.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

Damage = Callable[[Path], None]


def flip(path: Path) -> None:
    """One bit, with size and times as they were: what a rotten disk does."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(times.st_size // 2)
        byte = file.read(1)[0]
        file.seek(times.st_size // 2)
        file.write(bytes((byte ^ 16,)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flip_last(path: Path) -> None:
    """One bit of the last byte: a stream is almost over when it shows."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes((byte ^ 1,)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def cut(path: Path) -> None:
    """Shorter, with its time as it was."""
    times = path.stat()
    os.truncate(path, times.st_size - 1)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def empty(path: Path) -> None:
    """Nothing left of it, as a file system's repair leaves it."""
    os.truncate(path, 0)


def replace_by_older(path: Path) -> None:
    """Other content of the same size and an older time, as from a backup."""
    times = path.stat()
    path.write_bytes(bytes(times.st_size))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns - 3600 * 10**9))


def delete(path: Path) -> None:
    path.unlink()


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_full_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "stray").write_bytes(b"not an object")


def replace_by_fifo(path: Path) -> None:
    """Opening it would wait for a writer for ever."""
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path) -> None:
    """A symbolic link to itself."""
    path.unlink()
    path.symlink_to(path.name)


def delete_folder(path: Path) -> None:
    """With the directory that it lies in, and so with its neighbours."""
    shutil.rmtree(path.parent)


DAMAGES: Final[Mapping[str, Damage]] = MappingProxyType(
    {
        "one bit flipped": flip,
        "last bit flipped": flip_last,
        "cut short": cut,
        "emptied": empty,
        "older content": replace_by_older,
        "deleted": delete,
        "a folder instead": replace_by_folder,
        "a full folder instead": replace_by_full_folder,
        "a fifo instead": replace_by_fifo,
        "a link instead": replace_by_link,
        "its folder deleted": delete_folder,
    }
)
