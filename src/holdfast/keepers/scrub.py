"""Scrub: reads copies back, slowly, and makes rotten ones owed again.

Answers for: each copy of each object is read and every block checked about once per `interval_s`, a fraction of the
index at a time, going on where it stopped after a restart. It repairs nothing itself: a bad copy
becomes a debt. Invariant: a silent grid is skipped, never taken for a rotten copy.
"""

import asyncio

from holdfast.copies.blocks import all_blocks
from holdfast.copies.reading import verify_copy
from holdfast.copies.searching import judge
from holdfast.copies.site import Site
from holdfast.errors import GridError
from holdfast.limits import SCRUB_BATCH, SCRUB_PAUSE_MAX_S
from holdfast.model import GridState, Place, Version

_CURSOR = "scrub/cursor"


class Scrub:
    """The scrubber of one node."""

    name = "scrub"

    def __init__(self, site: Site, *, interval_s: float) -> None:
        self.wake = asyncio.Event()
        self._site = site
        self._interval_s = interval_s

    async def step(self) -> float:
        """Check all copies of the next few objects; return the pause that spreads a round over the interval."""
        index = self._site.index
        bucket, _, after = (await index.noted(_CURSOR)).partition("/")
        names = [known.name for known in await index.buckets()]
        if bucket not in names:
            bucket, after = next((name for name in names if name > bucket), ""), ""
        if not bucket:
            await index.note(_CURSOR, "")
            # The next round follows at once: the pauses lie between the steps of a round.
            return 0.0 if names else min(SCRUB_PAUSE_MAX_S, self._interval_s)
        batch = await index.copies(bucket, after=after, limit=SCRUB_BATCH)
        for key, version in batch:
            await self._check(Place(bucket, key), version)
        await index.note(_CURSOR, f"{bucket}/{batch[-1][0]}" if batch else f"{bucket}!/")
        usage = await index.usage()
        return min(SCRUB_PAUSE_MAX_S, self._interval_s * max(1, len(batch)) / max(1, usage.objects))

    async def close(self) -> None:
        """Nothing outlives a step."""

    async def _check(self, place: Place, version: Version) -> None:
        layout = await self._site.index.layout(version.seq) if version.crc is None else None
        if version.crc is None and layout is None:
            return
        blocks = list(all_blocks(version, layout))
        for copy in version.copies:
            seat = self._site.seat(copy.grid)
            if seat is None or seat.state is not GridState.UP:
                continue
            try:
                await verify_copy(self._site, place, copy, blocks)
            except GridError as trouble:
                await judge(self._site, place, version, copy.grid, trouble)
