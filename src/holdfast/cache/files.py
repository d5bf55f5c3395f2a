"""The files of one worker's share of the cache. Everything here blocks: it runs in threads.

A block is one file, `<cache>/<worker>/<first two digits>/<name>`. It is written under another name and renamed, so that no reader
sees half of it, and never synced: after a power loss its CRC-32C decides. Invariant: only files
whose names are those of blocks, or of drafts, are ever removed.
"""

import contextlib
import enum
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from holdfast.cache.names import crc_in, size_in
from holdfast.digests import crc32c
from holdfast.limits import BLOCK_BYTES

_DRAFT: Final = ".draft"
_FOLDERS: Final = tuple(f"{number:02x}" for number in range(256))


class Lost(enum.Enum):
    """Why a block cannot be had."""

    GONE = "gone"
    """It is not there: the usual end of a block that had to make room."""
    DAMAGED = "damaged"
    """Its bytes are not what the index says."""
    UNREADABLE = "unreadable"
    """The disk would not give them."""


Found = tuple[str, int, int]
"""A block on the disk: its name, its size, and when it was written, in seconds since the epoch."""


class Share:
    """What one of several workers keeps. Any worker may read it, only its own changes it."""

    def __init__(self, root: Path, *, worker: int, workers: int) -> None:
        self._root = root
        self._worker = worker
        self._workers = workers
        self._own = root / str(worker)
        self._lock = -1

    def path(self, name: str, share: int) -> str:
        return f"{self._root}/{share}/{name[:2]}/{name}"

    def open(self) -> list[Found]:
        """Make the directories, see that they can be written to, and list the blocks that are here, oldest first.

        Shares of workers that are no more are taken over. Raises OSError, also when another server has this share.
        """
        for folder in _FOLDERS:
            (self._own / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.close()  # The directory may be another one than it was.
        self._lock = _locked(self._own / "lock")
        self.put("", b"", ())
        found = [*self._list(self._own)]
        for other in self._orphaned():
            for name, size_bytes, written_s in self._list(other):
                os.rename(other / name[:2] / name, self.path(name, self._worker))
                found.append((name, size_bytes, written_s))
        return sorted(found, key=lambda block: block[2])

    def close(self) -> None:
        """Let others have the share."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _orphaned(self) -> list[Path]:
        numbers = [int(entry.name) for entry in os.scandir(self._root) if entry.name.isdecimal() and entry.is_dir()]
        mine = [number for number in numbers if number >= self._workers and number % self._workers == self._worker]
        return [self._root / str(number) for number in mine]

    def _list(self, share: Path) -> Iterator[Found]:
        (share / _DRAFT).unlink(missing_ok=True)
        for folder in _FOLDERS:
            with contextlib.suppress(FileNotFoundError), os.scandir(share / folder) as entries:
                for entry in entries:
                    size_bytes = size_in(entry.name)
                    if size_bytes is None:
                        continue
                    status = entry.stat()
                    if status.st_size == size_bytes <= BLOCK_BYTES:
                        yield entry.name, size_bytes, int(status.st_mtime)
                    else:
                        os.unlink(entry.path)  # Its end was lost when the power was.

    def put(self, name: str, data: bytes, gone: Sequence[str]) -> None:
        """Remove the blocks `gone`, then write one (none, when it has no name). Raises OSError."""
        self.drop(gone, self._worker)
        draft = self._own / _DRAFT
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if name:
                os.rename(draft, self.path(name, self._worker))
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def drop(self, names: Sequence[str], share: int) -> None:
        """Remove blocks of a share. Raises OSError."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(name, share))

    def find(self, names: Sequence[str], shares: Sequence[int]) -> list[int | None]:
        """In which of these shares each block lies."""
        return [next((share for share in shares if os.access(self.path(name, share), os.R_OK)), None) for name in names]

    def read(self, name: str, share: int) -> bytes | Lost:
        """A block's bytes, verified."""
        size_bytes = size_in(name)
        assert size_bytes is not None
        try:
            descriptor = os.open(self.path(name, share), os.O_RDONLY)
            try:
                data = os.pread(descriptor, size_bytes, 0)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return Lost.GONE
        except OSError:
            return Lost.UNREADABLE
        return data if len(data) == size_bytes and crc32c(data) == crc_in(name) else Lost.DAMAGED

    def free_bytes(self) -> int:
        """What the file system has left. Raises OSError, also when the share is not there any more."""
        disk = os.statvfs(self._own)
        return disk.f_bavail * disk.f_frsize


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        os.close(descriptor)
        raise OSError(errno.EBUSY, "another server uses it", str(path)) from taken
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
