"""Bodies that can be read again: from memory, or from local files.

Never decides what a body should be. Invariant: `stream` gives exactly `size` bytes or raises.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from holdfast.crew import Crew, CrewFull
from holdfast.errors import Unavailable
from holdfast.grids.grid import Download, Origin, Source
from holdfast.limits import BLOCK_BYTES


class BytesSource:
    """A body in memory."""

    __slots__ = ("data", "size")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    @property
    def files(self) -> tuple[Path, ...]:
        return ()

    @property
    def handover(self) -> bool:
        return False

    @property
    def origins(self) -> tuple[Origin, ...]:
        return ()

    async def stream(self) -> AsyncIterator[bytes]:
        for start in range(0, self.size, BLOCK_BYTES):
            yield self.data[start : start + BLOCK_BYTES]


class FilesSource:
    """The concatenation of local files, `size` bytes in all. With a crew its threads do the reading."""

    __slots__ = ("_crew", "_handover", "files", "size")

    def __init__(self, paths: Sequence[Path], size: int, handover: bool = False, *, crew: Crew | None = None) -> None:
        self.files = tuple(paths)
        self.size = size
        self._handover = handover
        self._crew = crew

    @property
    def data(self) -> bytes | None:
        return None

    @property
    def handover(self) -> bool:
        return self._handover and len(self.files) == 1

    @property
    def origins(self) -> tuple[Origin, ...]:
        return ()

    async def stream(self) -> AsyncIterator[bytes]:
        moved = 0
        for path in self.files:
            offset = 0
            while piece := await self._read(path, offset):
                offset += len(piece)
                moved += len(piece)
                yield piece
        if moved != self.size:
            raise gone(f"the body's files have {moved} bytes instead of {self.size}")

    async def _read(self, path: Path, offset: int) -> bytes:
        try:
            if self._crew is not None:
                return await self._crew.do(_read_piece, path, offset)
            return await asyncio.to_thread(_read_piece, path, offset)
        except (OSError, CrewFull) as trouble:
            raise gone(f"the body cannot be read: {trouble}") from trouble


class WaitedSource:
    """`inner`, whose slowness is told: `waiting` is called with True whenever somebody begins to wait for its next piece, and
    with False when that is there. A grid that waits for a body is not slow itself."""

    __slots__ = ("_inner", "_waiting", "data", "files", "handover", "origins", "size", "streamed")

    def __init__(self, inner: Source, waiting: Callable[[bool], None]) -> None:
        self._inner = inner
        self._waiting = waiting
        self.size = inner.size
        self.data = inner.data
        self.files = inner.files
        self.handover = inner.handover
        self.origins = inner.origins
        self.streamed = False
        """Whether anybody wanted its bytes."""

    async def stream(self) -> AsyncIterator[bytes]:
        self.streamed = True
        pieces = self._inner.stream()
        while True:
            self._waiting(True)
            try:
                piece = await anext(pieces, None)
            finally:
                self._waiting(False)
            if piece is None:
                return
            yield piece


class DownloadSource:
    """An object that is being read from a grid. It can be read once, which is all that a copy needs."""

    data: bytes | None = None
    files: tuple[Path, ...] = ()
    handover = False
    origins: tuple[Origin, ...] = ()

    def __init__(self, download: Download) -> None:
        self._download = download
        self.size = download.size

    def stream(self) -> AsyncIterator[bytes]:
        return self._download.stream()


def gone(detail: str) -> Unavailable:
    """The body itself could not be read: no evidence against the grid that it was meant for."""
    return Unavailable("source", "stage", detail, shielded=True)


def _read_piece(path: Path, offset: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, BLOCK_BYTES, offset)
    finally:
        os.close(descriptor)
