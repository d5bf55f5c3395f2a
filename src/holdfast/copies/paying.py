"""Paying one debt: make one grid match the index for one key.

Answers for: the current version is published where its policy wants it, and absent elsewhere; what an earlier, uncertain
attempt may have left is read back before anything is written again. It never settles: it says what is to be
settled or postponed, and the index decides whether that still holds. Invariant: nothing is published after the
debt's lease has run out.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from holdfast.copies.blocks import Block, all_blocks
from holdfast.copies.reading import NoCopy, spool_is_sound, verify_copy
from holdfast.copies.searching import judge, lies_at
from holdfast.copies.site import Seat, Site
from holdfast.copies.through import is_here, read_through
from holdfast.crew import CrewFull
from holdfast.digests import crc32c
from holdfast.errors import Corrupt, GridError, Reason, Refused, S3Error, Unavailable, Uncertain
from holdfast.events import DebtPaid, DebtPostponed
from holdfast.grids.grid import Label, Origin, Staged
from holdfast.index.interface import CommitUnknown, Debt, Delay, Payment
from holdfast.limits import BLOCK_BYTES, DEBT_RETRY_MAX_S, DEBT_RETRY_S, DOUBT_S, LEASE_S
from holdfast.model import Copy, Place, Version

T = TypeVar("T")
Ready = Callable[[], Awaitable[Staged]]


class _Body:
    """A version's body as a `Source`: from memory, from the spool, or read and verified from other grids.

    Only a grid on this machine is offered files, which are checked before; others get every block checked as it goes.
    """

    def __init__(
        self,
        site: Site,
        place: Place,
        version: Version,
        blocks: Sequence[Block],
        route: Sequence[int],
        *,
        last: bool,
        local: bool,
    ) -> None:
        self._site = site
        self._place = place
        self._version = version
        self._blocks = blocks
        self._route = route
        self._last = last
        self._spooled = version.spooled
        self._local = local
        self.streamed = False
        self.origins: tuple[Origin, ...] = ()
        self.size = version.size
        self.data = _sound_inline(version) if version.size else b""

    @property
    def files(self) -> tuple[Path, ...]:
        if not self._spooled or not self._local:
            return ()
        names = dict.fromkeys(block.spool for block in self._blocks)
        return tuple(self._site.spool.path(name) for name in names)

    @property
    def handover(self) -> bool:
        return self._last and len(self.files) == 1

    def without_files(self) -> None:
        """The spool's bytes are damaged or gone: read from other grids instead."""
        self._spooled = False

    def stream(self) -> AsyncIterator[bytes]:
        self.streamed = True
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            source = read_through(self._site, self._place, self._version, self._blocks, self._route, keep=False)
            async for data in source:
                yield data
        except NoCopy as lost:
            raise Unavailable("copies", "get", str(lost), bucket=self._place.bucket, key=self._place.key) from lost


def _sound_inline(version: Version) -> bytes | None:
    """The inline body; None when there is none, or when it is damaged and other copies must serve."""
    return version.inline if version.inline is not None and crc32c(version.inline) == version.crc else None


async def pay(site: Site, debt: Debt, staged: Ready | None = None) -> Payment | Delay:
    """Do what a claimed debt asks for. Never raises GridError: a failure is a Delay. `staged` gives this version's bytes at the
    grid, once they are there."""
    seat = site.seat(debt.grid)
    if seat is None:
        return Delay(debt, site.clock.now_ms() + int(DEBT_RETRY_MAX_S * 1000), "this grid is not configured", False)
    place = Place(debt.bucket, debt.key)
    try:
        policy = site.redundancy(debt.bucket)
        if debt.guest:
            due = await _while_leased(site, debt, partial(make_way, site, debt))
            if due is not None:
                return Delay(debt, due.due_ms, due.reason, counts=False, silent=due.silent)
            if await _is_back(site, debt):
                return Delay(debt, site.clock.now_ms(), "the older version is the current one again", False)
        if debt.version is None:
            await seat.grid.delete(place)
            payment, how = Payment(debt, None, policy.grids), "deleted"
        elif debt.grid in policy.grids:
            bring = partial(_bring, site, seat, debt, debt.version, place, staged)
            # Whatever has to be fetched or looked at first, and a large body, may take longer than a lease.
            brief = debt.version.inline is not None and not debt.doubt_ms
            etag, how = await (bring() if brief else _while_leased(site, debt, bring))
            payment = Payment(debt, etag, policy.grids)
        else:
            # The policy moved away from this grid, which may still have the only copy.
            now = await site.index.get(debt.bucket, debt.key)  # The claim may be a while ago.
            held = {copy.grid for copy in now.copies} if now is not None and now.seq == debt.seq else set[int]()
            held -= set(await site.index.debt_of(debt.bucket, debt.key))  # What is owed may be about to go.
            here = {number for number in held if site.is_up(number)}
            if not set(policy.grids) <= here:
                due_ms = site.clock.now_ms() + int(DEBT_RETRY_S * 1000)
                return Delay(debt, due_ms, "the grids of the new policy do not all hold it yet", False)
            await seat.grid.delete(place)
            payment, how = Payment(debt, None, policy.grids), "deleted"
    except (GridError, OSError, CrewFull) as trouble:
        return _postpone(site, debt, trouble)
    until_ms = _in_doubt_until_ms(seat, debt)
    # A copy that was counted all the time is owed because a policy left it: then it may be its deletion that is in doubt.
    arrived = how == "confirmed" and debt.doubt_seq == debt.seq and not _counted(debt)
    if until_ms > site.clock.now_ms() and not arrived:
        # An older change may still arrive on top of this one: the bytes stay here, and the grid is looked at again.
        holds = payment.etag is not None
        return Delay(debt, until_ms, "an earlier change of it may still arrive", False, holds=holds)
    lag_s = max(0.0, (site.clock.now_ms() - debt.since_ms) / 1000)
    size = debt.version.size if debt.version is not None else 0
    site.teller.tell(DebtPaid(seat.name, debt.bucket, debt.key, size, lag_s, how))
    return payment


async def make_way(site: Site, debt: Debt) -> Delay | None:
    """Before a key is changed at a grid: bring the older version whose copy lies there to the place where it belongs. None when nothing
    is in the way any more; else when to try again, and why."""
    guest = await site.index.get(debt.bucket, debt.guest)
    lies = guest is not None and any(copy.grid == debt.grid and copy.at == debt.key for copy in guest.copies)
    if guest is None or not lies or _is_kept(guest):
        return None
    now_ms = site.clock.now_ms()
    until_ms = now_ms + int(LEASE_S * 1000)
    moving = await site.index.claim_key(
        debt.grid, debt.bucket, debt.guest, holder=debt.holder, now_ms=now_ms, lease_until_ms=until_ms
    )
    if moving is None:
        if debt.grid not in await site.index.debt_of(debt.bucket, debt.guest):
            return None
        return Delay(debt, now_ms + int(DEBT_RETRY_S * 1000), "an older version is being moved out of its way", False)
    outcome = await pay(site, moving)
    if isinstance(outcome, Payment):
        settled = await site.index.settle([outcome])
        await site.spool.release(settled.released)
        return None
    await site.index.postpone([outcome])
    if outcome.holds:
        return None
    # A grid that refuses the older version for good must not keep the key for ever: then a copy elsewhere is enough.
    elsewhere = any(copy.grid != debt.grid and not copy.at for copy in guest.copies)
    return None if elsewhere and not outcome.silent and not outcome.doubt else outcome


async def _is_back(site: Site, debt: Debt) -> bool:
    """Whether what replaced the guest was deleted since the claim, so that the guest's copy is that of the current version. When it
    comes back later than this, it was moved out of the way before, or has its bytes elsewhere."""
    now = await site.index.get(debt.bucket, debt.key)
    return (
        now is not None and now.seq != debt.seq and any(copy.grid == debt.grid and not copy.at for copy in now.copies)
    )


def _counted(debt: Debt) -> bool:
    """Whether the grid's copy counts although the grid is owed the key."""
    return debt.version is not None and any(copy.grid == debt.grid for copy in debt.version.copies)


async def _bring(
    site: Site, seat: Seat, debt: Debt, version: Version, place: Place, staged: Ready | None
) -> tuple[str, str]:
    """Make the grid hold this version; returns the grid's etag and how it came there."""
    layout = await site.index.layout(version.seq) if version.crc is None else None
    if version.crc is None and layout is None:
        raise Unavailable(seat.name, "stage", "the version was replaced meanwhile", shielded=True)
    blocks = list(all_blocks(version, layout))
    here = _is_kept(version)
    if debt.doubt_ms or (debt.attempts and not here):
        # It may hold the version already; and where nobody could give the bytes, the one that is owed them may have them.
        etag = await _read_back(site, debt.grid, place, version, blocks, trusting=here and debt.doubt_seq == debt.seq)
        if etag is not None:
            return etag, "confirmed"
    if staged is not None:
        return await _publish(seat, await staged()), "copied"
    # The etag of what is sealed may be a digest of its plaintext, which a provider has no business to know.
    known = version.etag if version.facts.seal is None else ""
    label = Label(version.seq, known, version.modified_ms, version.facts.system, version.facts.user)
    if not here and (etag := await _moved(site, seat, debt, version, place, label)):
        return etag, "moved there"
    # Those that hold it first; then those that may have parts of it, and the one that is owed it may, too.
    sources = dict.fromkeys([copy.grid for copy in version.copies] + list(site.redundancy(debt.bucket).grids))
    route = [*(number for number in sources if number != debt.grid), debt.grid]
    last = version.spooled and await site.index.debt_of(debt.bucket, debt.key) == (debt.grid,)
    body = _Body(site, place, version, blocks, route, last=last, local=seat.grid.capabilities.local)
    if body.files and not await spool_is_sound(site, blocks):
        body.without_files()
    elif body.data is None and not version.spooled:
        body.origins = await _origins(site, debt, place, version, blocks)
    if body.origins:
        try:
            etag = await _publish(seat, await seat.grid.stage(place, body, label))
            return etag, "copied" if body.streamed else "copied there"
        except Refused as refusal:
            if refusal.reason is not Reason.MISMATCH:
                raise
            body.origins = ()  # The provider does not copy it, or it is another one there: send it from here.
    how = "linked" if body.handover else "copied"
    return await _publish(seat, await seat.grid.stage(place, body, label)), how


async def _moved(site: Site, seat: Seat, debt: Debt, version: Version, place: Place, label: Label) -> str:
    """Copy within the grid what lies there under another key; empty when nothing does, or when the grid cannot."""
    held = next((copy for copy in version.copies if copy.grid == debt.grid and copy.at), None)
    if held is None or not held.etag or not seat.grid.capabilities.server_copy:
        return ""
    try:
        return await seat.grid.copy(lies_at(place, held), place, if_match=held.etag, label=label)
    except Refused as refusal:
        # It is not there, or too large to be copied in one go: it comes from wherever it can be read.
        if refusal.reason in (Reason.ABSENT, Reason.MISMATCH):
            await judge(site, place, version, debt.grid, refusal)
        return ""


def _is_kept(version: Version) -> bool:
    """Whether index or spool have the body."""
    return version.spooled or version.inline is not None or not version.size


async def _origins(
    site: Site, debt: Debt, place: Place, version: Version, blocks: Sequence[Block]
) -> tuple[Origin, ...]:
    """Where else the bytes lie, the most trusted first, when they are nowhere on this machine: what is here is verified as it is
    sent. A copy that is suspect or owed is none that the version names. What was found to be wrong, or failed once, goes the
    ordinary way: nobody has read those copies, and rot must not go round in a circle."""
    owing = site.seat(debt.grid)
    if debt.suspect or debt.attempts or debt.doubt_ms or owing is None or owing.grid.capabilities.address is None:
        return ()
    held = [(seat, copy) for copy in version.copies if (seat := site.seat(copy.grid)) is not None and seat is not owing]
    held.sort(key=lambda one: -one[0].standing(min(version.size, BLOCK_BYTES)).share)
    origins = [
        Origin(address, lies_at(place, copy), copy.etag)
        for seat, copy in held
        if seat.trusted and copy.etag and (address := seat.grid.capabilities.address) is not None
    ]
    return () if not origins or await is_here(site, version, blocks) else tuple(origins)


async def _publish(seat: Seat, staged: Staged) -> str:
    try:
        return await seat.grid.publish(staged)
    except GridError:
        await discard(seat, staged)
        raise


async def discard(seat: Seat, staged: Staged) -> None:
    """Forget what was staged, if the grid can be asked."""
    try:
        await seat.grid.discard(staged)
    except GridError:
        return  # The grid removes what was staged and forgotten when it is next attached.


async def _read_back(
    site: Site, number: int, place: Place, version: Version, blocks: Sequence[Block], *, trusting: bool
) -> str | None:
    """The grid's etag when it already holds exactly this version, else None. Raises GridError on silence.

    `trusting` that a large body under our own number is what was staged whole, as reading it all would be egress; not so
    when its bytes are nowhere here: then this copy may have been found damaged, which does not change its number.
    """
    seat = site.seat(number)
    assert seat is not None
    try:
        held = await seat.grid.head(place)
        if held.size != version.size or (held.label is not None and held.label.seq != version.seq):
            return None
        if trusting and held.label is not None and version.size > BLOCK_BYTES:
            return held.etag
        await verify_copy(site, place, Copy(number, held.etag), blocks)
    except Refused as refusal:
        if refusal.reason in (Reason.ABSENT, Reason.MISMATCH):
            return None
        raise
    except Corrupt:
        return None
    return held.etag


async def _while_leased(site: Site, debt: Debt, work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` and renew the lease meanwhile; raises Unavailable, with the work cancelled, when the lease is lost."""

    async def renew() -> None:
        ends_s = site.clock.monotonic_s() + LEASE_S
        while True:
            await site.clock.sleep(LEASE_S / 3)
            until_ms = site.clock.now_ms() + int(LEASE_S * 1000)
            try:
                kept = await site.index.renew(debt, lease_until_ms=until_ms)
            except (S3Error, CommitUnknown):
                kept = site.clock.monotonic_s() < ends_s  # The index is busy: the lease goes on as it was.
            else:
                ends_s = site.clock.monotonic_s() + LEASE_S
            if not kept:
                raise Unavailable("index", "renew", "the lease was lost", shielded=True)

    try:
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(renew())
            result = await work()
            renewing.cancel()
    except BaseExceptionGroup as troubles:
        raise troubles.exceptions[0] from troubles
    return result


def _postpone(site: Site, debt: Debt, trouble: Exception) -> Delay:
    seat = site.seat(debt.grid)
    name = seat.name if seat is not None else str(debt.grid)
    rest_s = (trouble.retry_after_s or 0.0) if isinstance(trouble, Unavailable) and trouble.grid == name else 0.0
    # A grid that was not asked, or that says when to come again, has not failed to do this.
    counts = not (isinstance(trouble, Unavailable) and trouble.shielded) and not rest_s
    silent = counts and _is_silence(trouble, name)
    delay_s = min(DEBT_RETRY_MAX_S, DEBT_RETRY_S * 2 ** min(debt.attempts, 16)) * (0.75 + site.clock.random() / 2)
    if silent:
        site.was_silent(debt.grid)
    if rest_s:
        site.asked_to_rest(debt.grid, rest_s)
    if not counts:
        delay_s = max(DEBT_RETRY_S, rest_s)
    reason = trouble.detail if isinstance(trouble, GridError) else str(trouble)
    if counts or rest_s:
        site.teller.tell(DebtPostponed(name, debt.bucket, debt.key, debt.attempts + int(counts), delay_s, reason))
    due_ms = site.clock.now_ms() + int(delay_s * 1000)
    return Delay(debt, due_ms, reason, counts, doubt=_may_have_acted(trouble, name), silent=silent)


def _may_have_acted(trouble: Exception, grid: str) -> bool:
    """Whether a change may have happened, or may yet: its answer was lost, or was none that could be believed."""
    wrong = isinstance(trouble, Corrupt) and trouble.operation in ("publish", "delete")
    return (
        isinstance(trouble, Uncertain | Corrupt) and trouble.grid == grid and (wrong or isinstance(trouble, Uncertain))
    )


def _is_silence(trouble: Exception, grid: str) -> bool:
    """Whether this grid did nothing, for a reason that others of its debts will meet as well."""
    denied = isinstance(trouble, Refused) and trouble.reason is Reason.DENIED
    return (
        isinstance(trouble, GridError)
        and trouble.grid == grid
        and (denied or isinstance(trouble, Unavailable | Uncertain))
    )


def _in_doubt_until_ms(seat: Seat, debt: Debt) -> int:
    """When an earlier change in doubt has arrived if it ever does; 0 when there is none. What a process on this machine
    began ends with it, and is done in order before."""
    if not debt.doubt_ms or seat.grid.capabilities.local:
        return 0
    return debt.doubt_ms + int(DOUBT_S * 1000)
