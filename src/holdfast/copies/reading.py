"""Verified reading of one version from wherever its bytes are.

Answers for P3: no block leaves here whose CRC-32C is not the index's. A source that is silent, refuses or gives
wrong bytes is left at the block where it stopped, and the next one goes on from there; so a body is whole as long as each of its
blocks is intact somewhere. It never says
"not found": when every source has failed it raises `NoCopy`, which is a silence (P9).
Invariant: the bytes given are a prefix of the asked blocks, in order, each once.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from holdfast.copies.blocks import Block
from holdfast.copies.searching import Search, from_grid, lies_at
from holdfast.copies.site import Site
from holdfast.crew import CrewFull
from holdfast.digests import crc32c
from holdfast.errors import Corrupt, GridError, Reason, Refused
from holdfast.health.budget import Budget
from holdfast.model import Copy, Place, Version


class NoCopy(Exception):
    """No source could give the bytes now. `tried` maps sources to what happened."""

    def __init__(self, place: Place, tried: dict[str, str]) -> None:
        self.place = place
        self.tried = tried
        told = ", ".join(f"{name}: {what}" for name, what in tried.items()) or "none is known"
        super().__init__(f"{place.bucket}/{place.key}: no intact copy can be reached ({told})")


async def read_blocks(
    site: Site,
    place: Place,
    version: Version,
    blocks: Sequence[Block],
    route: Sequence[int],
    *,
    hedges: Budget | None = None,
) -> AsyncGenerator[bytes, None]:
    """Give each block's bytes, verified, from the spool and then from the grids of `route`.

    With `hedges`, a first block that does not come in time is asked for at the next grid, too, while that budget lasts:
    for clients, who wait. Raises NoCopy when the blocks that are left cannot be had from any of them.
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
    search = Search(site, place, version, route, tried, hedges=hedges)
    while (begun := await search.begin(blocks[done:])) is not None:
        asked_s = 0.0
        try:
            async with aclosing(begun.rest):
                yield begun.first
                done += 1
                asked_s = site.clock.monotonic_s()
                async for data in begun.rest:
                    yield data
                    done += 1
                    asked_s = site.clock.monotonic_s()
            return
        except GridError as trouble:
            if done == len(blocks):
                return  # What it says after the last block is no matter.
            await search.failed(begun.seat, trouble, asked_s, blocks[done])
    raise NoCopy(place, tried)


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


async def verify_copy(site: Site, place: Place, copy: Copy, blocks: Sequence[Block]) -> None:
    """Read the copy of what is kept at `place`, wherever it lies at its grid, and check every block. Raises GridError when it is not
    what the index says.

    An empty body is checked by asking for it.
    """
    seat, etag, place = site.seat(copy.grid), copy.etag, lies_at(place, copy)
    assert seat is not None
    if not blocks:
        held = await seat.grid.head(place)
        if held.size:
            raise Corrupt(seat.name, "head", f"it has {held.size} bytes and should be empty")
        if etag and held.etag != etag:
            raise Refused(seat.name, "head", "another etag", reason=Reason.MISMATCH)
        return
    async for _ in from_grid(site, seat, seat.grid, place, blocks, etag):
        pass
