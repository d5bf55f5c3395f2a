"""Staging ahead: a large body goes to the grids that must acknowledge it while it arrives.

Answers for: the transfer to the client's side and the one to the grids take the time of the longer one, and nothing of it can be
seen before the commit. The grids read the spool file as it grows, so a slow one holds nobody up and no bytes wait in
memory; one that fails is left to catch-up, and another one begins in its place. Invariant: when the request ends, everything
that was staged is published or discarded; what a crash leaves is removed by the grid itself, as any leftover.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from holdfast.copies.arriving import Arriving
from holdfast.copies.paying import discard
from holdfast.copies.site import Seat, Site
from holdfast.errors import GridError
from holdfast.grids.grid import Label, Staged
from holdfast.limits import AHEAD_BODIES, AHEAD_BYTES, PUT_BYTES
from holdfast.model import Place, Redundancy
from holdfast.s3 import PutObject
from holdfast.spool.incoming import Incoming


class Ahead:
    """One arriving body on its way to grids."""

    def __init__(self, site: Site, place: Place, label: Label, candidates: list[Seat], size: int) -> None:
        self.label = label
        """What the copies carry: its number was reserved, its etag is not known yet."""
        self.failed: set[int] = set()
        """Grids that did not take the body while it arrived."""
        self._site = site
        self._place = place
        self._candidates = candidates
        self._size = size
        self._arriving: asyncio.Future[Arriving] = asyncio.get_running_loop().create_future()
        self._staging: dict[int, asyncio.Future[Staged]] = {}
        self._staged: list[tuple[Seat, Staged]] = []

    def begin(self, incoming: Incoming) -> None:
        """The body arrives here from now on."""
        self._arriving.set_result(Arriving(incoming, self._size, self._site.spool))

    def has(self, number: int) -> bool:
        """Whether the body is at this grid, or gets there just now."""
        return number in self._staging and number not in self.failed

    def source(self, number: int, seq: int) -> Callable[[], Awaitable[Staged]] | None:
        """Gives what was staged at a grid, once it is there, or raises GridError; None when it was not, or not as this version:
        the key may have changed since its number was reserved. Whoever asks for it publishes or discards it."""
        return partial(self._take, number) if self.has(number) and seq == self.label.seq else None

    async def _take(self, number: int) -> Staged:
        # Who waits may give up, and what is staged then must still be found and discarded.
        staged = await asyncio.shield(self._staging[number])
        self._staged = [(seat, other) for seat, other in self._staged if other is not staged]
        return staged

    async def bring(self) -> None:
        """Stage the body at one grid, or else at the next."""
        source = await self._arriving
        while self._candidates and not source.lost:
            seat = self._candidates.pop(0)
            staging: asyncio.Future[Staged] = asyncio.get_running_loop().create_future()
            self._staging[seat.number] = staging
            seat.arriving += 1
            try:
                staged = await seat.grid.stage(self._place, source, self.label)
                self._staged.append((seat, staged))
                staging.set_result(staged)
                return
            except GridError as trouble:
                self.failed.add(seat.number)
                staging.set_exception(trouble)
                staging.exception()  # Perhaps nobody asks.
            finally:
                seat.arriving -= 1
                staging.cancel()

    async def drop(self) -> None:
        """Discard what was staged and nobody took."""
        for seat, staged in self._staged:
            await discard(seat, staged)


@asynccontextmanager
async def staging_ahead(
    site: Site, ask: PutObject, policy: Redundancy, size: int | None
) -> AsyncIterator[Ahead | None]:
    """Within, a body of this size is staged while it arrives; None where that gains nothing: small bodies, bodies of unknown
    size, grids on this machine, and grids that have enough of it."""
    lanes, candidates = _candidates(site, policy)
    if size is None or not AHEAD_BYTES < size <= PUT_BYTES or not lanes:
        yield None
        return
    label = Label(await site.index.reserve(), "", site.clock.now_ms(), ask.facts.system, ask.facts.user)
    ahead = Ahead(site, Place(ask.bucket, ask.key), label, candidates, size)
    try:
        async with asyncio.TaskGroup() as group:
            bringing = [group.create_task(ahead.bring()) for _ in range(lanes)]
            try:
                yield ahead
            finally:
                for lane in bringing:
                    lane.cancel()
                await asyncio.wait(bringing)
                await ahead.drop()
    except BaseExceptionGroup as troubles:
        raise troubles.exceptions[-1] from troubles


def _candidates(site: Site, policy: Redundancy) -> tuple[int, list[Seat]]:
    """The remote grids of the policy that take writes well, in its order, and at how many of them the body is to be staged: as
    many as are among those that acknowledge first. A grid on trial is not tried for as long as a client takes."""
    seats = [seat for number in policy.grids if (seat := site.seat(number)) is not None and seat.takes_writes]
    first = [seat for seat in seats[: policy.ack] if not seat.grid.capabilities.local]
    remote = [seat for seat in seats if not seat.grid.capabilities.local and seat.arriving < AHEAD_BODIES]
    return min(len(first), len(remote)), remote
