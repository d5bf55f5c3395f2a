"""Reading through the cache: blocks that are on this machine's disk come from there, stretches of missing ones from grids.

Answers for the order cache before grids, for asking grids for no more than is missing, and for offering the cache what
they gave. Bytes come verified from both. What the index or the spool has, or a grid on this machine, needs no cache
and goes by it. Invariant: the blocks given are a prefix of those asked, in order, each once.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from holdfast.cache.cache import Cache
from holdfast.cache.names import name_of, tag_of
from holdfast.copies.blocks import Block
from holdfast.copies.reading import NoCopy, read_blocks
from holdfast.copies.site import Site
from holdfast.limits import CACHE_BRIDGE, CACHE_WINDOW
from holdfast.model import GridState, Place, Version


def read_through(
    site: Site, place: Place, version: Version, blocks: Sequence[Block], route: Sequence[int], *, keep: bool = True
) -> AsyncGenerator[bytes, None]:
    """As `read_blocks`, with the cache before the grids. Without `keep` the cache learns nothing from it."""
    if site.cache is None or not site.cache.on or version.inline is not None or version.spooled:
        return read_blocks(site, place, version, blocks, route)
    if not site.cache.local and _is_local(site, version):
        return read_blocks(site, place, version, blocks, route)
    return _Through(site, site.cache, place, version, route, keep).read(blocks)


def _is_local(site: Site, version: Version) -> bool:
    """Whether a grid on this machine has it: then fetching costs nothing."""
    seats = [site.seat(copy.grid) for copy in version.copies]
    return any(seat is not None and seat.state is GridState.UP and seat.grid.capabilities.local for seat in seats)


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
        self, site: Site, cache: Cache, place: Place, version: Version, route: Sequence[int], keep: bool
    ) -> None:
        self._site = site
        self._cache = cache
        self._place = place
        self._version = version
        self._route = route
        self._keep = keep
        self._hits = self._misses = self._hit_bytes = 0

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
                    await self._prove(window, where)
                at = 0
                while at < len(window):
                    source = self._cached if where[at] is not None else self._fetched
                    async with aclosing(source(window, names, where, at)) as pieces:
                        async for data in pieces:
                            yield data
                            at += 1
        finally:
            self._cache.asked(hits=self._hits, misses=self._misses, hit_bytes=self._hit_bytes)

    async def _prove(self, window: Sequence[Block], where: Sequence[int | None]) -> None:
        """When all grids are silent and the rest is not here, say so before the answer is begun, not in its middle."""
        if where[0] is None or None not in where:
            return
        seats = [self._site.seat(number) for number in self._route]
        if any(seat is not None and seat.state is GridState.UP for seat in seats):
            return
        gap = where.index(None)
        missing = window[gap : gap + 1]
        async for _ in read_blocks(self._site, self._place, self._version, missing, self._route):
            pass

    async def _cached(
        self, window: Sequence[Block], names: Sequence[str], where: list[int | None], at: int
    ) -> AsyncGenerator[bytes, None]:
        """Blocks from the cache, as far as they are there. One that is not after all is noted as missing."""
        ahead = None
        while at < len(window) and (share := where[at]) is not None:
            reading = ahead or self._cache.begin(names[at], share)
            ahead = None
            if at + 1 < len(window) and (following := where[at + 1]) is not None:
                ahead = self._cache.begin(names[at + 1], following)
            data = await self._cache.finish(names[at], share, reading)
            if data is None:
                where[at] = None
                return
            self._hits += 1
            self._hit_bytes += len(data)
            yield data
            at += 1

    async def _fetched(
        self, window: Sequence[Block], names: Sequence[str], where: Sequence[int | None], at: int
    ) -> AsyncGenerator[bytes, None]:
        """A stretch of missing blocks from grids."""
        wanted = window[at : gap_end(where, at)]
        source = read_blocks(self._site, self._place, self._version, wanted, self._route)
        try:
            async with aclosing(source) as pieces:
                async for data in pieces:
                    if where[at] is None:
                        self._misses += 1
                        if self._keep:
                            self._cache.offer(names[at], data)
                    yield data
                    at += 1
        except NoCopy:
            if where[at] is None:
                raise
