"""Bringing a body to a folder grid by the cheapest way that its source offers.

A small body is written in a batch with others, a file that is handed over is linked, other files are copied in one thread, and
everything else is written piece by piece as it comes. Never shows anything to readers. Invariant: what
`bring` returned is whole and durable; what it did not return is removed, by this process or as a leftover.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from holdfast.crew import Crew, CrewFull
from holdfast.grids.folder.copying import SourceGone, fill
from holdfast.grids.folder.files import Bytes, begin_file, drop, stage_link, stage_small
from holdfast.grids.folder.flush import Dirty, Flusher
from holdfast.grids.folder.place import FolderPlace
from holdfast.grids.folder.reading import Descriptor
from holdfast.grids.grid import Label, Source
from holdfast.limits import INLINE_BYTES
from holdfast.model import Value, pack


class Draft(Value, frozen=True):
    """A body on its way: the file it lies in until it is published, and what that file will carry."""

    path: bytes
    mtime_ns: int
    label: bytes | None


class Staging:
    """The private files of one grid in this process."""

    def __init__(self, place: FolderPlace, crew: Crew, flusher: Flusher, *, token: str) -> None:
        self._place = place
        self._crew = crew
        self._flusher = flusher
        self._prefix = place.tmp + b"/" + token.encode() + b"-"
        self._count = 0

    def draft(self, label: Label) -> Draft:
        """A new draft. Its time tells the version from every other one, see `etag_of`."""
        self._count += 1
        mtime_ns = max(0, label.modified_ms) * 1_000_000 + label.seq % 1_000_000
        return Draft(self._prefix + b"%x" % self._count, mtime_ns, pack(label) if self._place.labels else None)

    async def bring(self, draft: Draft, source: Source, stop: threading.Event) -> Bytes:
        """Stage the body. Raises TROUBLES and what the source raises."""
        data = source.data
        if data is not None and len(data) <= INLINE_BYTES:
            return await self._flusher.submit(self._small, draft, data)
        files = source.files
        if not files:
            return await self._stream(draft, source)
        if source.handover and len(files) == 1:
            linked = await self._flusher.submit(self._link, draft, os.fsencode(files[0]), source.size)
            if linked is not None:
                return linked
        return await self._crew.do(self._files, draft, files, source.size, stop)

    def forget(self, draft: Draft) -> None:
        """Remove a draft after what may still be writing it; if that cannot wait, it is swept as a leftover."""
        try:
            self._flusher.submit(drop, draft.path)
        except CrewFull:
            return

    async def _stream(self, draft: Draft, source: Source) -> Bytes:
        held = Descriptor()
        writing = self._crew.submit(self._begin, held, draft)
        moved = 0
        try:
            pieces = source.stream()
            while piece := await _next_piece(pieces):
                moved += len(piece)
                await writing
                writing = self._crew.submit(held.write, piece)
            await writing
            if moved != source.size:
                raise SourceGone(f"the body has {moved} bytes instead of {source.size}")
            return await self._crew.do(held.finish, draft.path, draft.mtime_ns, draft.label)
        finally:
            _ignore(writing)
            self._release(held)

    def _release(self, held: Descriptor) -> None:
        """Close in a thread: closing what was written may hang like writing it."""
        try:
            self._crew.submit(held.release)
        except CrewFull:
            return

    # --- in threads ---

    def _small(self, dirty: Dirty, draft: Draft, data: bytes) -> Bytes:
        self._place.claim()
        return stage_small(dirty, draft.path, data, draft.mtime_ns, draft.label)

    def _link(self, dirty: Dirty, draft: Draft, file: bytes, size_bytes: int) -> Bytes | None:
        self._place.claim()
        return stage_link(dirty, draft.path, file, size_bytes, draft.mtime_ns, draft.label)

    def _files(self, draft: Draft, files: tuple[Path, ...], size_bytes: int, stop: threading.Event) -> Bytes:
        self._place.claim()
        return fill(draft.path, files, size_bytes, draft.mtime_ns, draft.label, stop)

    def _begin(self, held: Descriptor, draft: Draft) -> None:
        self._place.claim()
        held.adopt(begin_file(draft.path))


async def _next_piece(pieces: AsyncIterator[bytes]) -> bytes:
    """The next bytes of a body, empty at its end. Raises GridError and SourceGone."""
    try:
        async for piece in pieces:
            if piece:
                return piece
    except OSError as trouble:
        raise SourceGone(f"the body cannot be read: {trouble}") from trouble
    return b""


def _ignore(future: "asyncio.Future[None]") -> None:
    """Nobody wants to know any more how this ends."""
    if not future.cancel() and not future.cancelled():
        future.exception()
