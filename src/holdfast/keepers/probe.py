"""Probe: asks each grid whether it is there, and is the place it should be; and whether it does what it is for.

In three depths. *Attach*: each time. *Read*: the first block of a copy that the index knows there, checked like any other
read; now and then, and each time while the grid is not trusted to be read, so that it is found well without a client
having to try. *Write*: now and then a few bytes are staged and discarded, never published, so nobody sees them and nothing is left; a
grid that is not trusted to be written is tried by what it is owed, as staging alone proves too little.

Answers for the state that `status` shows and that catch-up obeys: a grid that does not answer is down until it does, one
that came back empty is registered anew. It never decides about a request: reads and writes act on what they
meet. Invariant: one silent grid never delays the probe of another, and a grid that an operator took out of use is not asked.
"""

import asyncio

from holdfast.copies.blocks import all_blocks
from holdfast.copies.reading import verify_copy
from holdfast.copies.searching import judge
from holdfast.copies.site import Seat, Site
from holdfast.errors import GridError, S3Error
from holdfast.grids.grid import Label
from holdfast.grids.sources import BytesSource
from holdfast.health.standing import Use
from holdfast.limits import (
    INLINE_BYTES,
    PROBE_BUCKETS,
    PROBE_DOUBT_S,
    PROBE_READ_S,
    PROBE_ROWS,
    PROBE_S,
    PROBE_WRITE_S,
)
from holdfast.model import GridState, Place, Version
from holdfast.wrappers.breaker import Group

_CANARY = b"A few bytes to find out whether this grid takes any. Nobody sees them, and they are gone in a moment.\n"


class Probe:
    """The probe of one grid in this process."""

    def __init__(self, site: Site, seat: Seat) -> None:
        self.name = f"probe {seat.name}"
        self.wake = site.doubt_waker(seat)
        self._site = site
        self._seat = seat
        self._asked_s = float("-inf")
        self._read_s = site.clock.monotonic_s() - PROBE_READ_S * site.clock.random()
        self._wrote_s = site.clock.monotonic_s() - PROBE_WRITE_S * site.clock.random()
        """Begun at different moments, so that the probes of many workers do not come together."""
        self._canary: Place | None = None

    async def step(self) -> float:
        """Ask the grid who it is, at most once per PROBE_DOUBT_S however much it is doubted, and then what it can do."""
        early_s = self._asked_s + PROBE_DOUBT_S - self._now_s()
        if early_s > 0:
            await self._site.clock.sleep(early_s)
        self._asked_s = self._now_s()
        await self._site.attach(self._seat)
        if self._seat.number and self._seat.use is not Use.OUT:
            if self._now_s() - self._read_s >= PROBE_READ_S or not self._at_ease("read"):
                self._read_s = self._now_s()
                await self.read()
            if not (self._at_ease("write") and self._at_ease("delete")):
                await self._relieve()
            if self._now_s() - self._wrote_s >= PROBE_WRITE_S and self._at_ease("write"):
                self._wrote_s = self._now_s()
                await self.write()
        return PROBE_S * (0.75 + self._site.clock.random() / 2)

    async def close(self) -> None:
        """Nothing outlives a step."""

    def _now_s(self) -> float:
        return self._site.clock.monotonic_s()

    def _at_ease(self, group: Group) -> bool:
        return self._seat.breakers is None or self._seat.breakers.at_ease(group)

    async def _relieve(self) -> None:
        """A breaker is tried by what the grid is owed. When that is nothing, another worker paid it, and the grid can be written."""
        sums = await self._site.index.sums()
        owed = any(row.grid == self._seat.number and row.debts for row in sums)
        if not owed and self._seat.breakers is not None and self._seat.state is GridState.UP:
            self._seat.breakers.relieve()

    async def read(self) -> None:
        """Read the first block of a copy. What comes of it is evidence like that of any read."""
        found = await self._find()
        if found is None:
            return
        place, version = found
        layout = await self._site.index.layout(version.seq) if version.crc is None else None
        if version.crc is None and layout is None:
            return
        copy = next(copy for copy in version.copies if copy.grid == self._seat.number)
        try:
            await verify_copy(self._site, place, copy, list(all_blocks(version, layout))[:1])
        except GridError as trouble:
            await judge(self._site, place, version, self._seat.number, trouble)

    async def write(self) -> None:
        """Bring a few bytes and take them back."""
        buckets = await self._site.index.buckets()
        names = [bucket.name for bucket in buckets if self._seat.number in self._site.redundancy(bucket.name).grids]
        if not names:
            return  # Nothing is to be written there.
        place = Place(names[0], f".holdfast-probe-{self._site.clock.token(8).hex()}")
        label = Label(0, "", self._site.clock.now_ms(), {}, {})
        try:
            staged = await self._seat.grid.stage(place, BytesSource(_CANARY), label)
            await self._seat.grid.discard(staged)
        except GridError:
            return  # Its breaker has seen it.

    async def _find(self) -> tuple[Place, Version] | None:
        """A small object that the grid holds: the one of the last time, or one of the first in some bucket."""
        if self._canary is not None:
            version = await self._current(self._canary)
            if version is not None and self._holds(version):
                return self._canary, version
        for bucket in (await self._site.index.buckets())[:PROBE_BUCKETS]:
            found = [
                (Place(bucket.name, key), version)
                for key, version in await self._site.index.copies(bucket.name, after="", limit=PROBE_ROWS)
                if self._holds(version) and version.size
            ]
            if found:
                found.sort(key=lambda row: row[1].size > INLINE_BYTES)
                self._canary = found[0][0]
                return found[0]
        return None

    async def _current(self, place: Place) -> Version | None:
        try:
            return await self._site.index.get(place.bucket, place.key)
        except S3Error:
            return None  # The bucket is gone.

    def _holds(self, version: Version) -> bool:
        return any(copy.grid == self._seat.number for copy in version.copies)


def probes(site: Site) -> list[Probe]:
    """One probe per configured grid."""
    return [Probe(site, seat) for seat in site.seats.values()]


async def attach_all(site: Site) -> None:
    """Ask every grid at once, at the start. A missing grid is noted; a foreign one raises ConfigError."""
    results = await asyncio.gather(*(site.attach(seat) for seat in site.seats.values()), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
