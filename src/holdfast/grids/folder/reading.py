"""Reading an open file while the event loop goes on, and letting go of it at any moment.

Never opens anything. Invariant: a descriptor is closed exactly once, and never while a thread uses it.
"""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator

from holdfast.crew import Crew
from holdfast.errors import Corrupt
from holdfast.grids.folder.files import Bytes, etag_of, finish_file, read_at, write_all
from holdfast.grids.folder.troubles import TROUBLES, explain
from holdfast.limits import BLOCK_BYTES
from holdfast.model import Place


class Descriptor:
    """An open file that a thread may be using while the event loop lets go of it."""

    __slots__ = ("_descriptor", "_lock", "_released", "_users")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = -1
        self._users = 0
        self._released = False

    def adopt(self, descriptor: int) -> None:
        with self._lock:
            if not self._released:
                self._descriptor = descriptor
                return
        os.close(descriptor)

    def read(self, offset: int, size_bytes: int) -> bytes:
        descriptor = self._use()
        try:
            return read_at(descriptor, offset, size_bytes)
        finally:
            self._leave()

    def write(self, data: bytes) -> None:
        descriptor = self._use()
        try:
            write_all(descriptor, data)
        finally:
            self._leave()

    def finish(self, path: bytes, mtime_ns: int, label: bytes | None) -> Bytes:
        descriptor = self._use()
        try:
            staged = finish_file(descriptor, path, mtime_ns, label)
            os.fsync(descriptor)
            return staged
        finally:
            self._leave()

    def release(self) -> None:
        """Close it as soon as nobody uses it. Safe at any time and repeatedly."""
        with self._lock:
            self._released = True
        self._close()

    def _use(self) -> int:
        with self._lock:
            if self._released:
                raise OSError(errno.EBADF, "it was closed meanwhile")
            self._users += 1
            return self._descriptor

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
        self._close()

    def _close(self) -> None:
        with self._lock:
            if not self._released or self._users or self._descriptor < 0:
                return
            descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


class FileDownload:
    """An open file. The first piece was read when it was opened; small bodies need no descriptor at all."""

    __slots__ = ("_ahead", "_at", "_crew", "_end", "_first", "_held", "_name", "_place", "etag", "size")

    def __init__(
        self,
        name: str,
        crew: Crew,
        held: Descriptor,
        place: Place,
        status: os.stat_result,
        first: bytes,
        start: int,
        end: int,
    ) -> None:
        self.etag = etag_of(status.st_size, status.st_mtime_ns)
        self.size = status.st_size
        self._name = name
        self._crew = crew
        self._held = held
        self._place = place
        self._first = first
        self._at = start + len(first)
        self._end = end
        self._ahead: asyncio.Future[bytes] | None = None

    async def stream(self) -> AsyncIterator[bytes]:
        piece, self._first = self._first, b""
        while self._at < self._end:
            wanted = min(BLOCK_BYTES, self._end - self._at)
            try:
                ahead = self._ahead = self._crew.submit(self._held.read, self._at, wanted)
            except TROUBLES as trouble:
                raise explain(self._name, "get", self._place, trouble) from trouble
            yield piece
            try:
                piece = await ahead
            except TROUBLES as trouble:
                raise explain(self._name, "get", self._place, trouble) from trouble
            self._at += len(piece)
            if len(piece) < wanted:
                raise ended(self._name, self._place, self._at)
        if piece:
            yield piece

    async def close(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and not ahead.cancel() and not ahead.cancelled():
            ahead.exception()
        self._held.release()


def ended(grid: str, place: Place, at: int) -> Corrupt:
    """A file is shorter than its size was."""
    return Corrupt(grid, "get", f"the file ends at byte {at}", bucket=place.bucket, key=place.key)
