"""A body that is still arriving, as a source for grids.

Answers for giving each byte that is in the spool file and digested, and for waiting for those that are not. It holds nobody up:
the file is the buffer, and whoever reads slowly reads behind. Invariant: no block leaves here whose CRC-32C is
not the one that was computed when it came in.
"""

from collections.abc import AsyncIterator
from pathlib import Path

from holdfast.crew import CrewFull
from holdfast.grids.grid import Origin
from holdfast.grids.sources import gone
from holdfast.limits import BLOCK_BYTES
from holdfast.spool.incoming import Incoming
from holdfast.spool.spool import Spool


class Arriving:
    """The body of one `Incoming`, `size` bytes in all. Can be read by several at once, each from its start."""

    data: bytes | None = None
    files: tuple[Path, ...] = ()
    handover = False
    origins: tuple[Origin, ...] = ()

    def __init__(self, incoming: Incoming, size: int, spool: Spool) -> None:
        self.size = size
        self._incoming = incoming
        self._spool = spool

    @property
    def lost(self) -> bool:
        """True when the rest will never come."""
        return self._incoming.abandoned

    async def stream(self) -> AsyncIterator[bytes]:
        for offset in range(0, self.size, BLOCK_BYTES):
            end = min(offset + BLOCK_BYTES, self.size)
            if not await self._incoming.has_come(end):
                raise gone("the client did not send all of it")
            try:
                reader = self._spool.read_once(self._incoming.identifier, offset, end - offset)
                data, crc = await reader
            except (OSError, CrewFull) as trouble:
                raise gone(f"the spool cannot be read: {trouble}") from trouble
            if len(data) != end - offset or crc != self._incoming.crc_of(offset // BLOCK_BYTES):
                raise gone(f"block at {offset} of spool file {self._incoming.identifier} is damaged")
            yield data
