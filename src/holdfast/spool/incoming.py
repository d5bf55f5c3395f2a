"""One arriving body: written to its file and digested at the same time, off the event loop.

Answers for: MD5, the requested checksums, one CRC-32C per block, the size, and that the file is durable when
`finish` returned. A body that is sealed lies in the file as ciphertext: its blocks and its size are those of the ciphertext, the
other digests those of what came. It never looks at what the digests should be. Invariant: pieces are written and
digested in the order in which they were given, each exactly once.
"""

import asyncio
import errno
import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.digests import Digest, crc32c, digest
from holdfast.folders import flush_folder
from holdfast.limits import BLOCK_BYTES, SPOOL_FLUSH_BYTES
from holdfast.model import Algorithm
from holdfast.sealing.frames import Sealer, sealed_so_far, stored_size

if TYPE_CHECKING:
    from holdfast.spool.spool import Spool


_IOV_MAX = 1024
"""Most buffers of one writev on Linux."""


class Incoming:
    """Use as: `expect`, then `add` repeatedly, then `finish`; or `abandon` at any time."""

    def __init__(self, identifier: str, path: Path, spool: "Spool", announced_bytes: int) -> None:
        self.identifier = identifier
        self.size = 0
        """Bytes of the file."""
        self.plain = 0
        """Bytes that came."""
        self._sealer: Sealer | None = None
        self._header_bytes = 0
        self._announced = announced_bytes
        spool.arriving(announced_bytes)
        self._path = path
        self._spool = spool
        self._descriptor = -1
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256: hashlib._Hash | None = None
        self._digests: dict[Algorithm, Digest] = {}
        self._blocks = bytearray()
        self._crc = 0
        self._fill = 0
        self._pending: tuple[asyncio.Future[None], ...] | None = None
        self._settled = False
        self._flushing: asyncio.Future[None] | None = None
        self._flushed = 0
        self._come = 0
        self._moved = asyncio.Event()
        self.abandoned = False
        """True when the rest will never come."""

    def expect(self, algorithms: Sequence[Algorithm], *, payload_sha256: bool) -> None:
        """Which digests to compute beside MD5 and the blocks' CRCs."""
        self._digests = {algorithm: digest(algorithm) for algorithm in algorithms}
        self._sha256 = hashlib.sha256() if payload_sha256 else None

    def seal(self, sealer: Sealer, header_bytes: int) -> None:
        """Keep what comes sealed, as one stretch with a header of this size."""
        self._sealer = sealer
        self._header_bytes = header_bytes

    async def add(self, pieces: list[bytes], size_bytes: int) -> None:
        """Begin to write and digest these pieces (`size_bytes` in all), once those before are done.

        Returns while the work goes on, so that the next pieces can arrive meanwhile. Raises OSError.
        """
        await self._wait()
        self.plain += size_bytes
        self._grow(self.plain if self._sealer is None else sealed_so_far(self.plain, self._header_bytes))
        crew = self._spool.crew
        self._pending = (crew.submit(self._write if self._sealer is None else self._seal, pieces),)
        self._pending = (*self._pending, crew.submit(self._hash, pieces))
        for future in self._pending:
            future.add_done_callback(partial(self._progress, self._pending, self.size))
        if self.size - self._flushed >= SPOOL_FLUSH_BYTES and (self._flushing is None or self._flushing.done()):
            # Begun early, so that little is left to be flushed when the last byte has come.
            await self._wait_flush()
            self._flushed = self.size
            self._flushing = crew.submit(self._flush)

    async def finish(self) -> None:
        """Wait for all of it and make the file durable. Raises OSError."""
        await self._wait()
        if self._sealer is not None:
            self._grow(stored_size(self.plain, self._header_bytes))
            self._pending = (self._spool.crew.submit(self._seal_last, self._sealer),)
            await self._wait()
            self._turn(self.size)
        await self._wait_flush()
        self._pending = (self._spool.crew.submit(self._sync),)
        await self._wait()
        self._settle()

    async def has_come(self, size_bytes: int) -> bool:
        """Wait until so many bytes of the body are in the file and digested; False when they will never be."""
        while self._come < size_bytes and not self.abandoned:
            await self._moved.wait()
        return self._come >= size_bytes

    def crc_of(self, block: int) -> int:
        """The CRC-32C of a block that has come."""
        start = 4 * block
        return int.from_bytes(self._blocks[start : start + 4], "little") if start < len(self._blocks) else self._crc

    def _grow(self, size_bytes: int) -> None:
        """The file gets so large now."""
        self._spool.arrived(size_bytes - self.size)
        self.size = size_bytes
        if size_bytes > self._announced:
            self._spool.arriving(size_bytes - self._announced)
            self._announced = size_bytes

    def _progress(self, work: "tuple[asyncio.Future[None], ...]", size_bytes: int, _: "asyncio.Future[None]") -> None:
        if all(future.done() and not future.cancelled() and future.exception() is None for future in work):
            self._turn(size_bytes)

    def _turn(self, size_bytes: int) -> None:
        self._come = size_bytes
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def abandon(self) -> None:
        """Remove the file. Safe at any time, also after `finish`."""
        self.abandoned = True
        self._turn(self._come)
        if self._pending is not None:
            await asyncio.wait(self._pending)
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        self._settle()
        await self._spool.crew.do(self._remove)

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    @property
    def sha256(self) -> str:
        """Of the payload, as hex; empty when it was not asked for."""
        return self._sha256.hexdigest() if self._sha256 is not None else ""

    def checksum(self, algorithm: Algorithm) -> str:
        """Base64 of one of the expected checksums."""
        return self._digests[algorithm].text()

    @property
    def blocks(self) -> bytes:
        """One CRC-32C per block, the last one included; complete after `finish`."""
        if self._fill:
            return bytes(self._blocks) + self._crc.to_bytes(4, "little")
        return bytes(self._blocks)

    async def _wait(self) -> None:
        if self._pending is None:
            return
        # `wait`, not `gather`: when the caller is cancelled, the threads' futures must not be, since
        # `abandon` relies on them to know when the descriptor is free.
        await asyncio.wait(self._pending)
        pending, self._pending = self._pending, None
        for future in pending:
            future.result()

    async def _wait_flush(self) -> None:
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
            flushing, self._flushing = self._flushing, None
            flushing.result()

    def _settle(self) -> None:
        if not self._settled:
            self._settled = True
            self._spool.arriving(-self._announced)
            self._spool.arrived(-self.size)

    # --- in threads ---

    def _write(self, pieces: list[bytes]) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        rest: list[bytes | memoryview] = list(pieces)
        while rest:
            wrote = os.writev(self._descriptor, rest[:_IOV_MAX])
            while rest and wrote >= len(rest[0]):
                wrote -= len(rest.pop(0))
            if wrote:
                rest[0] = memoryview(rest[0])[wrote:]

    def _flush(self) -> None:
        if self._descriptor >= 0:
            os.fdatasync(self._descriptor)

    def _seal(self, pieces: list[bytes]) -> None:
        assert self._sealer is not None
        self._keep(self._sealer.add(pieces))

    def _seal_last(self, sealer: Sealer) -> None:
        self._keep(sealer.finish())

    def _keep(self, frames: bytes) -> None:
        self._write([frames] if frames else [])
        self._block(frames)

    def _hash(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._md5.update(piece)
            if self._sha256 is not None:
                self._sha256.update(piece)
            for running in self._digests.values():
                running.update(piece)
            if self._sealer is None:
                self._block(piece)

    def _block(self, piece: bytes) -> None:
        at = 0
        view = memoryview(piece)
        while at < len(piece):
            take = min(len(piece) - at, BLOCK_BYTES - self._fill)
            self._crc = crc32c(view[at : at + take], self._crc)
            self._fill += take
            at += take
            if self._fill == BLOCK_BYTES:
                self._blocks += self._crc.to_bytes(4, "little")
                self._crc = 0
                self._fill = 0

    def _sync(self) -> None:
        if self._descriptor < 0:
            self._write([])
        os.fsync(self._descriptor)
        if not os.fstat(self._descriptor).st_nlink:
            # After a leap of the wall clock the sweep of another moment may have taken it for an old one.
            raise FileNotFoundError(errno.ENOENT, "the file was removed while it was written", str(self._path))
        os.close(self._descriptor)
        self._descriptor = -1
        flush_folder(self._path.parent)

    def _remove(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._path.unlink(missing_ok=True)
