"""Verified reading of one version from wherever its bytes are.

Answers for P3: no block leaves here whose CRC-32C is not the index's. A source that is silent, refuses or gives
wrong bytes is left at the block where it stopped, and the next one goes on from there. It never says
"not found": when every source has failed it raises `NoCopy`, which is a silence (P9).
Invariant: the bytes given are a prefix of the asked blocks, in order, each once.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from holdfast.copies.blocks import Block
from holdfast.copies.site import Site
from holdfast.crew import CrewFull
from holdfast.digests import crc32c
from holdfast.errors import Corrupt, GridError, Reason, Refused
from holdfast.events import CopySuspected
from holdfast.model import Place, Span, Version


class NoCopy(Exception):
    """No source could give the bytes now. `tried` maps sources to what happened."""

    def __init__(self, place: Place, tried: dict[str, str]) -> None:
        self.place = place
        self.tried = tried
        told = ", ".join(f"{name}: {what}" for name, what in tried.items()) or "no copy is known"
        super().__init__(f"{place.bucket}/{place.key}: {told}")


async def read_blocks(
    site: Site, place: Place, version: Version, blocks: Sequence[Block], route: Sequence[int]
) -> AsyncGenerator[bytes, None]:
    """Give each block's bytes, verified, from the spool and then from the grids of `route`.

    Raises NoCopy when the blocks that are left cannot be had from any of them.
    """
    if not blocks:
        return
    done = 0
    tried: dict[str, str] = {}
    if version.inline is not None:
        if version.crc is not None and crc32c(version.inline) == version.crc:
            yield version.inline
            return
        tried["index"] = "the inline body is damaged"
    if version.spooled:
        try:
            async with aclosing(_from_spool(site, blocks)) as pieces:
                async for data in pieces:
                    yield data
                    done += 1
            return
        except (OSError, Corrupt, CrewFull) as trouble:
            tried["spool"] = str(trouble)
    held = {copy.grid: copy.etag for copy in version.copies}
    for number in route:
        seat = site.seat(number)
        if seat is None:
            continue
        try:
            async with aclosing(_from_grid(site, number, place, blocks[done:], held.get(number, ""))) as pieces:
                async for data in pieces:
                    yield data
                    done += 1
            return
        except GridError as trouble:
            tried[seat.name] = trouble.detail
            if number in held:
                await judge(site, place, version, number, trouble)
    raise NoCopy(place, tried)


async def judge(site: Site, place: Place, version: Version, number: int, trouble: GridError) -> None:
    """A copy that was to be there gave trouble: a wrong answer makes it suspect, a silence only doubts the grid."""
    wrong = isinstance(trouble, Corrupt) or (
        isinstance(trouble, Refused) and trouble.reason in (Reason.ABSENT, Reason.MISMATCH)
    )
    if not wrong:
        site.was_silent(number)
        return
    suspected = await site.index.suspect(place.bucket, place.key, version.seq, number, now_ms=site.clock.now_ms())
    if suspected:
        site.teller.tell(CopySuspected(trouble.grid, place.bucket, place.key, trouble.detail))
        site.note_debts()


async def _from_spool(site: Site, blocks: Sequence[Block]) -> AsyncGenerator[bytes, None]:
    reader = await site.spool.reader(block.spool for block in blocks)
    try:
        ahead = None
        for position, block in enumerate(blocks):
            data, crc = await (ahead or reader.begin_block(block.spool, block.spool_offset, block.size))
            ahead = None
            if position + 1 < len(blocks):
                following = blocks[position + 1]
                ahead = reader.begin_block(following.spool, following.spool_offset, following.size)
            if len(data) != block.size or crc != block.crc:
                raise Corrupt("spool", "get", f"block at {block.offset} of spool file {block.spool} is damaged")
            yield data
    finally:
        await reader.close()


async def spool_is_sound(site: Site, blocks: Sequence[Block]) -> bool:
    """Whether the spool still has exactly the bytes that the index describes."""
    try:
        async with aclosing(_from_spool(site, blocks)) as pieces:
            async for _ in pieces:
                pass
    except (OSError, Corrupt):
        return False
    return True


async def _from_grid(
    site: Site, number: int, place: Place, blocks: Sequence[Block], etag: str
) -> AsyncGenerator[bytes, None]:
    seat = site.seat(number)
    assert seat is not None
    if not blocks:
        return
    span = Span(blocks[0].offset, blocks[-1].end)
    download = await seat.grid.get(place, span=span, if_match=etag)
    try:
        pieces = download.stream()
        held = bytearray()
        for block in blocks:
            data = b""
            while len(held) < block.size:
                piece = await anext(pieces, b"")
                if not piece:
                    raise Corrupt(
                        seat.name, "get", f"ended {block.size - len(held)} bytes early in the block at {block.offset}"
                    )
                if not held and len(piece) == block.size:
                    data = piece
                    break
                held += piece
            if not data:
                data = bytes(held[: block.size])
                del held[: block.size]
            if crc32c(data) != block.crc:
                raise Corrupt(seat.name, "get", f"the block at {block.offset} is damaged")
            yield data
    finally:
        await download.close()


async def verify_copy(site: Site, number: int, place: Place, blocks: Sequence[Block], etag: str) -> None:
    """Read one grid's copy and check every block. Raises GridError when it is not what the index says.

    An empty body is checked by asking for it.
    """
    seat = site.seat(number)
    assert seat is not None
    if not blocks:
        held = await seat.grid.head(place)
        if held.size:
            raise Corrupt(seat.name, "head", f"it has {held.size} bytes and should be empty")
        if etag and held.etag != etag:
            raise Refused(seat.name, "head", "another etag", reason=Reason.MISMATCH)
        return
    async for _ in _from_grid(site, number, place, blocks, etag):
        pass
