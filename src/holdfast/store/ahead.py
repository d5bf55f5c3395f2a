"""Staging ahead: a large body goes to the grids that must acknowledge it while it arrives.

Answers for: the transfer to the client's side and the one to the grids take the time of the longer one, and nothing of it can be
seen before the commit. The grids read the spool file as it grows, so a slow one holds nobody up and no bytes wait in
memory; one that fails is left to catch-up, and another one begins in its place. Invariant: when the request ends, everything
that was staged is published or discarded; what a crash leaves is removed by the grid itself, as any leftover.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from holdfast.copies.arriving import Arriving
from holdfast.copies.paying import discard
from holdfast.copies.site import Seat, Site
from holdfast.errors import GridError
from holdfast.grids.grid import Label, Staged
from holdfast.limits import AHEAD_BODIES, AHEAD_BYTES, PUT_BYTES
from holdfast.model import GridState, Place, Redundancy
from holdfast.s3 import PutObject
from holdfast.spool.incoming import Incoming


class Ahead:
    """One arriving body on its way to grids."""

    def __init__(self, site: Site, place: Place, label: Label, candidates: list[Seat], size: int) -> None:
        self.label = label
        """What the copies carry: its number was reserved, its etag is not known yet."""
        self.brought: dict[int, Awaitable[Staged]] = {}
        """Grids that have the bytes, or get them just now; the result raises GridError."""
        self.failed: set[int] = set()
        self._site = site
        self._place = place
        self._candidates = candidates
        self._size = size
        self._arriving: asyncio.Future[Arriving] = asyncio.get_running_loop().create_future()

    def begin(self, incoming: Incoming) -> None:
        """The body arrives here from now on."""
        self._arriving.set_result(Arriving(incoming, self._size, self._site.spool))

    def fits(self, seq: int) -> bool:
        """Whether what was staged is this version: the key may have changed since its number was reserved."""
        return seq == self.label.seq

    async def bring(self) -> None:
        """Stage the body at one grid, or else at the next."""
        source = await self._arriving
        while self._candidates and not source.lost:
            seat = self._candidates.pop(0)
            staging: asyncio.Future[Staged] = asyncio.get_running_loop().create_future()
            self.brought[seat.number] = staging
            seat.arriving += 1
            try:
                staging.set_result(await seat.grid.stage(self._place, source, self.label))
                return
            except GridError as trouble:
                self.failed.add(seat.number)
                staging.set_exception(trouble)
                staging.exception()  # Perhaps nobody asks.
            finally:
                seat.arriving -= 1
                staging.cancel()

    async def drop(self) -> None:
        """Discard what was staged and not published."""
        for number, staging in self.brought.items():
            assert isinstance(staging, asyncio.Future)
            seat = self._site.seat(number)
            if seat is not None and staging.done() and not staging.cancelled() and staging.exception() is None:
                await discard(seat, staging.result())


@asynccontextmanager
async def staging_ahead(
    site: Site, ask: PutObject, policy: Redundancy, size: int | None
) -> AsyncIterator[Ahead | None]:
    """Within, a body of this size is staged while it arrives; None where that gains nothing: small bodies, bodies of unknown
    size, grids on this machine, and grids that have enough of it."""
    candidates = _candidates(site, policy) if size is not None and AHEAD_BYTES < size <= PUT_BYTES else []
    if size is None or not candidates:
        yield None
        return
    label = Label(await site.index.reserve(), "", site.clock.now_ms(), ask.facts.system, ask.facts.user)
    ahead = Ahead(site, Place(ask.bucket, ask.key), label, candidates, size)
    try:
        async with asyncio.TaskGroup() as group:
            lanes = [group.create_task(ahead.bring()) for _ in range(min(policy.ack, len(candidates)))]
            try:
                yield ahead
            finally:
                for lane in lanes:
                    lane.cancel()
                await asyncio.wait(lanes)
                await ahead.drop()
    except BaseExceptionGroup as troubles:
        raise troubles.exceptions[-1] from troubles


def _candidates(site: Site, policy: Redundancy) -> list[Seat]:
    """Remote grids of the policy that are up, in its order; none while those that come first are on this machine."""
    seats = [seat for number in policy.grids if (seat := site.seat(number)) is not None and seat.state is GridState.UP]
    if all(seat.grid.capabilities.local for seat in seats[: policy.ack]):
        return []
    return [seat for seat in seats if not seat.grid.capabilities.local and seat.arriving < AHEAD_BODIES]
