"""Probe: asks each grid whether it is there, and is the place it should be.

Answers for the state that `status` shows and that catch-up obeys: a grid that does not answer is down until it does, one
that came back empty is registered anew. It never decides about a request: reads and writes act on what they
meet. Invariant: one silent grid never delays the probe of another.
"""

import asyncio

from holdfast.copies.site import Seat, Site
from holdfast.limits import PROBE_DOUBT_S, PROBE_S


class Probe:
    """The probe of one grid in this process."""

    def __init__(self, site: Site, seat: Seat) -> None:
        self.name = f"probe {seat.name}"
        self.wake = site.doubt_waker(seat)
        self._site = site
        self._seat = seat
        self._asked_s = float("-inf")

    async def step(self) -> float:
        """Ask the grid who it is, at most once per PROBE_DOUBT_S however much it is doubted."""
        early_s = self._asked_s + PROBE_DOUBT_S - self._site.clock.monotonic_s()
        if early_s > 0:
            await self._site.clock.sleep(early_s)
        self._asked_s = self._site.clock.monotonic_s()
        await self._site.attach(self._seat)
        return PROBE_S * (0.75 + self._site.clock.random() / 2)

    async def close(self) -> None:
        """Nothing outlives a step."""


def probes(site: Site) -> list[Probe]:
    """One probe per configured grid."""
    return [Probe(site, seat) for seat in site.seats.values()]


async def attach_all(site: Site) -> None:
    """Ask every grid at once, at the start. A missing grid is noted; a foreign one raises ConfigError."""
    results = await asyncio.gather(*(site.attach(seat) for seat in site.seats.values()), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
