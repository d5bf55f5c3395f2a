"""The search for a copy that gives its first block, and gives it right.

Answers for one read's way through the copies: the next one at once when one fails, a second one beside it when one is slow, one
with a damaged block again for the blocks behind it, and in the end those that are not asked otherwise, because no other copy is left. It judges what each copy did. It never
decides the order. Invariant: of two copies that are asked at once the one that lost is cancelled *and awaited*, and losing is
no evidence against it, only slowness.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from holdfast.copies.blocks import Block
from holdfast.copies.site import Seat, Site
from holdfast.digests import crc32c
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable
from holdfast.events import CopySuspected, FailedOver, Hedged
from holdfast.grids.grid import Grid
from holdfast.health.breaker import State
from holdfast.health.budget import Budget
from holdfast.health.standing import Use
from holdfast.limits import HEDGE_UNKNOWN_S, RESCUE_S, RESCUES, RETRY_QUICK_S
from holdfast.model import Copy, Place, Span, Version


def lies_at(place: Place, copy: Copy) -> Place:
    """Where the copy of what is kept at `place` lies at its grid."""
    return Place(place.bucket, copy.at) if copy.at else place


class Begun:
    """A copy that gave its first block, and the rest of it."""

    __slots__ = ("first", "rest", "seat")

    def __init__(self, seat: Seat, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self.seat = seat
        self.first = first
        self.rest = rest


class Search:
    """One read of one version. `tried` is told what became of each source."""

    def __init__(
        self,
        site: Site,
        place: Place,
        version: Version,
        route: Sequence[int],
        tried: dict[str, str],
        *,
        hedges: Budget | None,
    ) -> None:
        self._site = site
        self._place = place
        self._version = version
        self._held = {copy.grid: copy.etag for copy in version.copies}
        self._elsewhere = {copy.grid: lies_at(place, copy) for copy in version.copies if copy.at}
        self._next = [seat for number in route if (seat := site.seat(number)) is not None]
        self._again: list[Seat] = []
        """Failed quickly, which may pass."""
        self._barred: list[Seat] = []
        """Not asked, because they were silent before."""
        self._damaged: list[tuple[Seat, int]] = []
        """Wrong in the block at this offset, and perhaps good behind it."""
        self._repeated: set[str] = set()
        self._tried = tried
        self._hedges = hedges
        self._failed = ("", "")
        """The grid that gave trouble last, and which."""
        if hedges is not None:
            hedges.earn()

    async def begin(self, blocks: Sequence[Block]) -> Begun | None:
        """The first of these blocks from the first copy that gives it; None when no copy does."""
        while (choice := self._choose(blocks[0].offset)) is not None:
            seat, grid = choice
            if self._failed[0]:
                name, reason = self._failed
                self._failed = ("", "")
                self._site.teller.tell(FailedOver(name, seat.name, reason))
            rival = self._rival() if self._hedges is not None and grid is seat.grid else None
            if rival is not None:
                begun = await self._race(seat, rival, blocks)
            else:
                began_s = self._site.clock.monotonic_s()
                result = await self._try(seat, grid, blocks)
                begun = await self._judged(seat, result, began_s, blocks[0])
            if begun is not None:
                return begun
        return None

    async def failed(self, seat: Seat, trouble: GridError, asked_s: float, block: Block) -> None:
        """A copy gave trouble with this block, which it was asked for at `asked_s`: judge it, and remember whether to come back."""
        self._tried[seat.name] = trouble.detail
        self._failed = (seat.name, trouble.detail)
        if isinstance(trouble, Corrupt):
            self._damaged.append((seat, block.offset))
            if seat.breakers is not None:
                seat.breakers.late()
        elif isinstance(trouble, Unavailable) and seat.breakers is not None and seat.use is not Use.OUT:
            again = seat.name in self._repeated
            self._repeated.add(seat.name)
            if again:
                pass
            elif trouble.shielded:
                if seat.breakers.state("read") is not State.CLOSED:
                    self._barred.append(seat)
            elif not trouble.lasting and self._site.clock.monotonic_s() - asked_s <= RETRY_QUICK_S:
                self._again.append(seat)
        if seat.number in self._held:
            await judge(self._site, self._place, self._version, seat.number, trouble)

    def _choose(self, offset: int) -> tuple[Seat, Grid] | None:
        """Whom to ask for the blocks from `offset` on, and through which of its doors."""
        if self._next:
            seat = self._next.pop(0)
            return seat, seat.grid
        for position, (seat, damaged) in enumerate(self._damaged):
            if damaged < offset:
                del self._damaged[position]
                return seat, seat.grid
        while self._again:
            seat = self._again.pop(0)
            if seat.breakers is not None and seat.breakers.retries.take():
                return seat, seat.grid
        if self._barred:
            seat = self._barred.pop(0)
            return seat, seat.last
        return None

    def _rival(self) -> Seat | None:
        """Whom to ask beside a slow one: the next that holds the version and is trusted to answer."""
        for seat in self._next:
            if seat.number in self._held and seat.trusted:
                return seat
        return None

    async def _race(self, seat: Seat, rival: Seat, blocks: Sequence[Block]) -> Begun | None:
        """The first block from `seat`, or from `rival` when that is slow and the budget allows, or slower than RESCUE_S.

        `seat` is asked by this very task, as nearly always that is all; the rival's success interrupts it.
        """
        size, clock = blocks[0].size, self._site.clock
        timer: asyncio.TimerHandle
        began_s = clock.monotonic_s()
        loop, site = asyncio.get_running_loop(), self._site
        delay_s = HEDGE_UNKNOWN_S
        if seat.breakers is not None:
            delay_s = seat.breakers.hedge_delay_s(size, rival.breakers)
        wait, waiting = asyncio.timeout(None), True
        first: Begun | GridError | None = None
        second: asyncio.Task[Begun | GridError] | None = None

        def hedge() -> None:
            nonlocal timer
            if seat.breakers is not None:
                seat.breakers.late()
            if self._may_hedge(seat, rival, size):
                ask()
            else:
                timer = loop.call_later(max(RESCUE_S, 2 * delay_s) - delay_s, rescue)

        def rescue() -> None:
            nonlocal timer
            if site.rescues < RESCUES:
                site.rescues += 1
                ask().add_done_callback(rescued)
            else:
                timer = loop.call_later(RESCUE_S, rescue)

        def rescued(_: asyncio.Task[Begun | GridError]) -> None:
            site.rescues -= 1

        def ask() -> asyncio.Task[Begun | GridError]:
            nonlocal second
            self._next.remove(rival)
            second = group.create_task(self._try(rival, rival.grid, blocks))
            second.add_done_callback(interrupt)
            return second

        def interrupt(rivals: asyncio.Task[Begun | GridError]) -> None:
            if waiting and _begun(rivals) is not None:
                if seat.breakers is not None:
                    seat.breakers.left("read", size, clock.monotonic_s() - began_s)
                wait.reschedule(0.0)  # At once: that is long ago.

        try:
            async with asyncio.TaskGroup() as group:
                timer = loop.call_later(delay_s, hedge)
                try:
                    async with wait:
                        first = await self._try(seat, seat.grid, blocks)
                except TimeoutError:
                    pass  # The rival was faster.
                finally:
                    timer.cancel()
                    waiting = False
                if second is not None and isinstance(first, Begun):
                    second.cancel()
        except BaseException:
            await _close(first, _begun(second))
            raise
        other = _begun(second)
        winner = first if isinstance(first, Begun) else other
        if winner is not other:
            await _close(other)
        if second is not None:
            outcome = "failed" if winner is None else "lost" if winner is first else "won"
            self._site.teller.tell(Hedged(seat.name, rival.name, outcome))
            if not second.cancelled() and isinstance(result := second.result(), GridError):
                await self.failed(rival, result, began_s, blocks[0])
        if isinstance(first, GridError):
            await self.failed(seat, first, began_s, blocks[0])
        # Who lost was only slower, and is there for the blocks behind the first.
        if first is None:
            self._next.append(seat)
        elif second is not None and winner is first and (second.cancelled() or isinstance(second.result(), Begun)):
            self._next.insert(0, rival)
        return winner

    def _may_hedge(self, seat: Seat, rival: Seat, size_bytes: int) -> bool:
        assert self._hedges is not None
        if seat.breakers is not None and not seat.breakers.share("read", size_bytes):
            self._site.was_silent(seat.number)  # It is not just slow, it says nothing to anybody: let its probe look.
        if self._hedges.take():
            return True
        self._site.teller.tell(Hedged(seat.name, rival.name, "denied"))
        return False

    async def _try(self, seat: Seat, grid: Grid, blocks: Sequence[Block]) -> Begun | GridError:
        place = self._elsewhere.get(seat.number, self._place) if self._elsewhere else self._place
        pieces = from_grid(self._site, seat, grid, place, blocks, self._held.get(seat.number, ""))
        try:
            return Begun(seat, await anext(pieces), pieces)
        except GridError as trouble:
            return trouble

    async def _judged(self, seat: Seat, result: Begun | GridError, began_s: float, block: Block) -> Begun | None:
        if isinstance(result, Begun):
            return result
        await self.failed(seat, result, began_s, block)
        return None


def _begun(task: asyncio.Task[Begun | GridError] | None) -> Begun | None:
    """What a task that has ended found, when it found a copy."""
    if task is None or not task.done() or task.cancelled() or task.exception() is not None:
        return None
    result = task.result()
    return result if isinstance(result, Begun) else None


async def _close(*copies: Begun | GridError | None) -> None:
    """Let go of copies that began and are not wanted."""
    for copy in copies:
        if isinstance(copy, Begun):
            await copy.rest.aclose()


async def from_grid(
    site: Site, seat: Seat, grid: Grid, place: Place, blocks: Sequence[Block], etag: str
) -> AsyncGenerator[bytes, None]:
    """One grid's copy of these blocks, each verified. Raises GridError at the first that is not right."""
    began_s = site.clock.monotonic_s()
    download = await grid.get(place, span=Span(blocks[0].offset, blocks[-1].end), if_match=etag)
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
            if block is blocks[0] and seat.breakers is not None:
                seat.breakers.first_block(block.size, site.clock.monotonic_s() - began_s)
            yield data
    finally:
        await download.close()


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
