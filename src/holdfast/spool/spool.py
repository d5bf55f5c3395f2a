"""Accepted bytes that are not yet held by enough grids, as files on this machine's disk.

Answers for: receiving a body into a file with all its digests, making it durable, giving it back block by
block, and forgetting it. It never decides whether a file is still needed: the index does. Invariant:
what `Incoming.finish` returned survives power loss, and its name is never used again.

A file's name is a random identifier; `spool/<first two digits>/<identifier>`.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from holdfast.clock import Clock
from holdfast.crew import Crew, CrewFull
from holdfast.digests import crc32c
from holdfast.errors import NO_ROOM, S3Error
from holdfast.folders import flush_folder, make_folder
from holdfast.limits import (
    FREE_SPACE_AGE_S,
    INLINE_BYTES,
    SPOOL_OPEN_FILES,
    SPOOL_RESERVE_BYTES,
    SPOOL_THREADS,
    SPOOL_WAITING,
)
from holdfast.spool.incoming import Incoming


class Spool:
    """The spool of one node; several processes of the node share the directory."""

    def __init__(self, root: Path, *, limit_bytes: int, clock: Clock) -> None:
        self.root = root
        self.limit_bytes = limit_bytes
        self._clock = clock
        self._crew = Crew("spool", size=SPOOL_THREADS, waiting=SPOOL_WAITING)
        self._arriving = 0
        self._arrived = 0
        self._looked_s = float("-inf")

    @property
    def crew(self) -> Crew:
        """Threads for hashing and for reading this node's disk."""
        return self._crew

    def open(self) -> None:
        """Make the directories. Raises OSError."""
        make_folder(self.root)
        for number in range(256):
            (self.root / f"{number:02x}").mkdir(exist_ok=True)
        flush_folder(self.root)
        flush_folder(self.root.parent)  # Whoever made it may have been killed before its name was durable.

    def close(self) -> None:
        self._crew.close()

    def path(self, identifier: str) -> Path:
        return self.root / identifier[:2] / identifier

    def begin(self, size_bytes: int | None, *, used_bytes: int) -> Incoming:
        """A place for an arriving body of the declared size (None: unknown yet).

        `used_bytes` is what the index knows to lie in the spool. Raises S3Error SlowDown when the
        limit or the file system has no room; nothing that was accepted is affected.
        """
        self.check_room(size_bytes or 0, used_bytes=used_bytes)
        identifier = self._clock.token(16).hex()
        return Incoming(identifier, self.path(identifier), self, size_bytes or 0)

    def arriving(self, size_bytes: int) -> None:
        """Count bytes of bodies that are being received, announced ones included (negative: they are done)."""
        self._arriving += size_bytes

    def arrived(self, size_bytes: int) -> None:
        """Count those of them that are here."""
        self._arrived += size_bytes

    def check_room(self, size_bytes: int, *, used_bytes: int) -> None:
        """Raise SlowDown unless so many more bytes may be accepted, beside those that are arriving."""
        wanted = used_bytes + self._arriving + size_bytes
        if wanted > self.limit_bytes:
            raise S3Error(
                "SlowDown",
                NO_ROOM,
                detail=f"spool: {wanted} bytes would be over its limit of {self.limit_bytes}; grids are behind or down",
            )
        now_s = self._clock.monotonic_s()
        if size_bytes <= INLINE_BYTES and now_s - self._looked_s < FREE_SPACE_AGE_S:
            return
        self._looked_s = now_s
        disk = os.statvfs(self.root)
        coming = self._arriving - self._arrived + size_bytes
        if disk.f_bavail * disk.f_frsize < coming + SPOOL_RESERVE_BYTES:
            raise S3Error("SlowDown", NO_ROOM, detail=f"spool: the file system of {self.root} is almost full")

    async def reader(self, identifiers: Iterable[str]) -> "Reader":
        """Open spooled files for reading. Raises OSError (FileNotFoundError when one was released)."""
        names = list(dict.fromkeys(identifiers))
        return Reader(self, await self._crew.do(_open, [self.path(name) for name in names[:SPOOL_OPEN_FILES]]))

    def read_once(self, identifier: str, offset: int, size_bytes: int) -> "asyncio.Future[tuple[bytes, int]]":
        """Begin to read from a file that may still grow; the result is the bytes and their CRC-32C, or raises OSError.
        Raises CrewFull."""
        return self._crew.submit(_read_path, self.path(identifier), offset, size_bytes)

    async def release(self, identifiers: Iterable[str]) -> None:
        """Forget files that no index row names any more. What the disk does not let go now is left to the sweep."""
        paths = [self.path(identifier) for identifier in identifiers]
        if paths:
            with contextlib.suppress(OSError, CrewFull):
                await self._crew.do(_unlink, paths)

    async def idle_files(self, *, age_s: float) -> tuple[str, ...]:
        """Identifiers of files that were not written to for `age_s`: candidates for being orphans."""
        return await self._crew.do(_idle_files, self.root, self._clock.now_ms() / 1000 - age_s)


class Reader:
    """Spooled files being read: those open at the beginning can be read to their end even if they are released meanwhile.
    Of a body of very many parts the later files are opened when their turn comes. `close` always."""

    def __init__(self, spool: Spool, descriptors: dict[str, int]) -> None:
        self._spool = spool
        self._descriptors = descriptors
        self._reading: set[asyncio.Future[tuple[bytes, int]]] = set()

    def begin_block(self, identifier: str, offset: int, size_bytes: int) -> "asyncio.Future[tuple[bytes, int]]":
        """Begin to read; the result is the bytes and their CRC-32C, or raises OSError."""
        descriptor = self._descriptors.get(identifier)
        crew = self._spool.crew
        if descriptor is None:
            reading = crew.submit(_read_path, self._spool.path(identifier), offset, size_bytes)
        else:
            reading = crew.submit(_read, descriptor, offset, size_bytes)
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)
        return reading

    async def close(self) -> None:
        """Close the files once no thread reads them any more."""
        if self._reading:
            await asyncio.wait(self._reading)
        descriptors, self._descriptors = self._descriptors, {}
        for descriptor in descriptors.values():
            os.close(descriptor)


def _open(paths: Sequence[Path]) -> dict[str, int]:
    descriptors: dict[str, int] = {}
    try:
        for path in paths:
            descriptors[path.name] = os.open(path, os.O_RDONLY)
    except OSError:
        for descriptor in descriptors.values():
            os.close(descriptor)
        raise
    return descriptors


def _read(descriptor: int, offset: int, size_bytes: int) -> tuple[bytes, int]:
    data = os.pread(descriptor, size_bytes, offset)
    return data, crc32c(data)


def _read_path(path: Path, offset: int, size_bytes: int) -> tuple[bytes, int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _read(descriptor, offset, size_bytes)
    finally:
        os.close(descriptor)


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _idle_files(root: Path, before_s: float) -> tuple[str, ...]:
    found: list[str] = []
    for folder in root.iterdir():
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.stat().st_mtime < before_s:
                        found.append(entry.name)
                except FileNotFoundError:
                    continue
    return tuple(found)
