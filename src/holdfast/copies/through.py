"""Reading through the cache: blocks that are on this machine's disk come from there, stretches of missing ones from grids.

Answers for the order cache before grids, for asking grids for no more than is missing, and for offering the cache what
they gave. Bytes come verified from both. What the index or the spool has, or a grid on this machine, needs no cache
and goes by it. Invariant: the blocks given are a prefix of those asked, in order, each once.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from holdfast.cache.cache import Cache
from holdfast.cache.files import Lost
from holdfast.cache.names import name_of, tag_of
from holdfast.copies.blocks import Block
from holdfast.copies.reading import read_blocks
from holdfast.copies.site import Site
from holdfast.health.budget import Budget
from holdfast.limits import CACHE_BRIDGE, CACHE_WINDOW
from holdfast.model import GridState, Place, Version

_IN_HAND: Final = -1
"""In place of a share: this very read has the block."""


def read_through(
    site: Site,
    place: Place,
    version: Version,
    blocks: Sequence[Block],
    route: Sequence[int],
    *,
    keep: bool = True,
    hedges: Budget | None = None,
) -> AsyncGenerator[bytes, None]:
    """As `read_blocks`, with the cache before the grids. Without `keep` the cache learns nothing from it."""
    if site.cache is None or not site.cache.on or version.inline is not None or version.spooled:
        return read_blocks(site, place, version, blocks, route, hedges=hedges)
    if not site.cache.local and _is_local(site, version):
        return read_blocks(site, place, version, blocks, route, hedges=hedges)
    return _Through(site, site.cache, place, version, route, keep, hedges).read(blocks)


def _is_local(site: Site, version: Version) -> bool:
    """Whether a grid on this machine has it: then fetching costs nothing."""
    seats = [site.seat(copy.grid) for copy in version.copies]
    return any(seat is not None and seat.state is GridState.UP and seat.grid.capabilities.local for seat in seats)


async def is_here(site: Site, version: Version, blocks: Sequence[Block]) -> bool:
    """Whether a version that is neither in the index nor in the spool can be had without asking another machine, all of it."""
    if _is_local(site, version):
        return True
    if site.cache is None or not site.cache.on:
        return False
    tag = tag_of(version.etag)
    for start in range(0, len(blocks), CACHE_WINDOW):
        names = [
            name_of(seq=version.seq, tag=tag, offset=block.offset, size=block.size, crc=block.crc)
            for block in blocks[start : start + CACHE_WINDOW]
        ]
        if None in await site.cache.locate(names, count=False):
            return False
    return True


def gap_end(where: Sequence[int | None], start: int) -> int:
    """Where the stretch of missing blocks that begins at `start` ends; short cached ones between missing ones belong to it."""
    end, at = start + 1, start + 1
    while at < min(len(where), end + CACHE_BRIDGE + 1):
        at += 1
        if where[at - 1] is None:
            end = at
    return end


class _Through:
    """One read."""

    def __init__(
        self,
        site: Site,
        cache: Cache,
        place: Place,
        version: Version,
        route: Sequence[int],
        keep: bool,
        hedges: Budget | None,
    ) -> None:
        self._site = site
        self._cache = cache
        self._place = place
        self._version = version
        self._route = route
        self._keep = keep
        self._hedges = hedges
        self._hits = self._misses = self._hit_bytes = 0
        self._in_hand = b""
        """The first missing block, when it was fetched before its turn."""

    async def read(self, blocks: Sequence[Block]) -> AsyncGenerator[bytes, None]:
        """The blocks' bytes. Raises NoCopy when one of them is neither here nor to be had from a grid."""
        seq, tag = self._version.seq, tag_of(self._version.etag)
        try:
            for start in range(0, len(blocks), CACHE_WINDOW):
                window = blocks[start : start + CACHE_WINDOW]
                names = [
                    name_of(seq=seq, tag=tag, offset=block.offset, size=block.size, crc=block.crc) for block in window
                ]
                where = await self._cache.locate(names, count=self._keep)
                if not start:
                    await self._prove(window, names, where)
                at = 0
                while at < len(window):
                    source = self._cached if where[at] is not None else self._fetched
                    async with aclosing(source(window, names, where, at)) as pieces:
                        async for data in pieces:
                            yield data
                            at += 1
        finally:
            self._cache.asked(hits=self._hits, misses=self._misses, hit_bytes=self._hit_bytes)

    async def _prove(self, window: Sequence[Block], names: Sequence[str], where: list[int | None]) -> None:
        """Before an answer is begun with what is here: fetch the first block that is not. If no grid has it, that is
        said at once and not in the middle of the answer."""
        if where[0] is None or None not in where:
            return
        gap = where.index(None)
        async for data in self._fetched(window[: gap + 1], names, where, gap):
            self._in_hand = data
            where[gap] = _IN_HAND

    async def _cached(
        self, window: Sequence[Block], names: Sequence[str], where: list[int | None], at: int
    ) -> AsyncGenerator[bytes, None]:
        """Blocks that are here, as far as that goes. One that is not to be had after all is noted as missing."""
        ahead = None
        while at < len(window) and (share := where[at]) is not None:
            reading = ahead or self._begin(names, where, at)
            ahead = self._begin(names, where, at + 1)
            if share == _IN_HAND:
                yield self._in_hand
            else:
                data = await self._cache.finish(names[at], share, reading)
                if data is None:
                    where[at] = None
                    return
                self._hits += 1
                self._hit_bytes += len(data)
                yield data
            at += 1

    def _begin(
        self, names: Sequence[str], where: Sequence[int | None], at: int
    ) -> "asyncio.Future[bytes | Lost] | None":
        share = where[at] if at < len(where) else None
        return None if share is None or share == _IN_HAND else self._cache.begin(names[at], share)

    async def _fetched(
        self, window: Sequence[Block], names: Sequence[str], where: Sequence[int | None], at: int
    ) -> AsyncGenerator[bytes, None]:
        """A stretch of missing blocks, and short cached ones between them, from grids."""
        wanted = window[at : gap_end(where, at)]
        source = read_blocks(self._site, self._place, self._version, wanted, self._route, hedges=self._hedges)
        async with aclosing(source) as pieces:
            async for data in pieces:
                if where[at] is None:
                    self._misses += 1
                    if self._keep:
                        self._cache.offer(names[at], data)
                yield data
                at += 1
