"""What this process works with: the index, the spool, and the configured grids with what is known of them.

Answers for: which grid has which number in the index, what the probe last found there, and what a policy
means in numbers. It decides nothing about requests. Invariant: a grid's number changes only when
the place behind it was replaced, and then the old number holds nothing for ever.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

from holdfast.cache.cache import Cache
from holdfast.clock import Clock
from holdfast.errors import ConfigError, GridError, Reason, Refused
from holdfast.events import GridMoved, Teller
from holdfast.grids.grid import Grid
from holdfast.health.breaker import State
from holdfast.health.budget import Budget
from holdfast.health.standing import WELL, Standing, Use
from holdfast.health.window import Window
from holdfast.index.interface import Index, Usage
from holdfast.limits import HEDGE_BURST, HEDGE_SHARE, REST_MAX_S, WAITING_AGE_S
from holdfast.model import GridState, Redundancy, Value, from_json, to_json
from holdfast.sealing.vault import Vault
from holdfast.spool.spool import Spool
from holdfast.wrappers.breaker import Breakers

_PINS = "pins"
"""The note of what operators decided about grids."""


class PolicyTerms(Value, frozen=True):
    """A policy as configured: grids by name."""

    name: str
    grids: tuple[str, ...]
    ack: int
    accept_outage: bool
    encrypt: bool = False


class Seat:
    """One configured grid in this process, and how it is doing.

    `breakers` is what is known of its health, where anybody keeps account; `last` is the same grid, to be asked
    when no other copy is left.
    """

    __slots__ = (
        "arriving",
        "breakers",
        "grid",
        "last",
        "number",
        "reason",
        "rest_until_s",
        "since_ms",
        "state",
        "url",
        "window",
    )

    def __init__(self, grid: Grid, url: str, *, breakers: Breakers | None = None, last: Grid | None = None) -> None:
        self.grid = grid
        self.url = url
        self.breakers = breakers
        self.last = last or grid
        self.number = 0
        self.state = GridState.UNKNOWN
        self.reason = "not asked yet"
        self.since_ms = 0
        self.arriving = 0
        """Bodies that this process stages there while they arrive."""
        self.rest_until_s = float("-inf")
        """The grid asked to be left alone until then (monotonic seconds): whatever can wait does."""
        self.window = Window()
        """How many of its debts this process pays at once."""

    @property
    def name(self) -> str:
        return self.grid.name

    @property
    def takes_writes(self) -> bool:
        """Whether it is among the first to be asked to hold a write: it is not demoted for writes, either."""
        return self.writable and (self.breakers is None or not self.breakers.demoted("write"))

    @property
    def writable(self) -> bool:
        """Whether a write may well count on it: it is there, and did not fail to write just now."""
        return self.state is GridState.UP and (self.breakers is None or self.breakers.state("write") is State.CLOSED)

    @property
    def use(self) -> Use:
        """What an operator decided about it."""
        return self.breakers.use if self.breakers is not None else Use.AUTO

    @property
    def trusted(self) -> bool:
        """Whether a read may well count on it."""
        return self.state is GridState.UP and (self.breakers is None or self.breakers.state("read") is State.CLOSED)

    def standing(self, size_bytes: int) -> Standing:
        """Where it belongs in the order of a read whose first block has this size."""
        known = self.breakers.standing("read", size_bytes) if self.breakers is not None else WELL
        if self.state is GridState.UP or known.state is not State.CLOSED:
            return known
        return Standing(State.TRIAL, 0.0, known.latency_s)  # Its probe doubts it, and reads may work all the same.


class Site:
    """Index, spool and grids of one process, and how they are doing."""

    def __init__(
        self,
        *,
        index: Index,
        spool: Spool,
        seats: Sequence[Seat],
        policies: Sequence[PolicyTerms],
        default_policy: str,
        bucket_policies: dict[str, str],
        clock: Clock,
        teller: Teller,
        holder: str,
        keep_inline_bytes: int,
        cache: Cache | None = None,
        webhooks: Collection[str] = (),
        vault: Vault | None = None,
    ) -> None:
        self.index = index
        self.spool = spool
        self.seats = {seat.name: seat for seat in seats}
        self.clock = clock
        self.teller = teller
        self.holder = holder
        """Under this name debts are claimed; unique for the life of a process."""
        self.keep_inline_bytes = keep_inline_bytes
        """Inline bodies up to this sum are local copies; more of them are waiting for grids, or for the sweep."""
        self.cache = cache
        """Blocks that were fetched from grids; None when none are kept."""
        self.webhooks = frozenset(webhooks)
        """Names of those that the operator configured: events go nowhere else."""
        self.vault = vault
        """Keys of sealed objects, for `store` alone: whoever moves copies moves ciphertext."""
        self.hedges = Budget(share=HEDGE_SHARE, burst=HEDGE_BURST)
        """Second reads that slowness may cost in this process."""
        self.aligned = False
        """Whether reconcile has looked at every object under the policies of now: until then, what a grid is owed may be unknown."""
        self.rescues = 0
        """Reads that asked a second grid without a budget, and have no first block yet."""
        self.sweep_wanted = asyncio.Event()
        """Set when inline bodies that all grids hold may take the room of new ones."""
        self.pressure: Callable[[], int] = lambda: 0
        """Client requests in progress in this process."""
        self._requests = 0
        self._usage_lately: Usage | None = None
        self._taken_since_bytes = 0
        self._looked_s = float("-inf")
        self._debt_wakers: list[asyncio.Event] = []
        self._notice_wakers: list[asyncio.Event] = []
        self._doubt_wakers: dict[str, asyncio.Event] = {}
        self._terms = {terms.name: terms for terms in policies}
        self._default = default_policy
        self._bucket_policies = bucket_policies
        self._numbers: dict[int, Seat] = {}
        self._redundancies: dict[str, Redundancy] = {}

    def seat(self, number: int) -> Seat | None:
        """The seat with this number in the index; None for replaced and unconfigured grids."""
        return self._numbers.get(number)

    def is_up(self, number: int) -> bool:
        """Whether the probe finds this grid."""
        seat = self._numbers.get(number)
        return seat is not None and seat.state is GridState.UP

    def policy_of(self, bucket: str) -> str:
        """The name of the policy that applies to a bucket."""
        return self._bucket_policies.get(bucket, self._default)

    def redundancy(self, bucket: str) -> Redundancy:
        """The policy of a bucket, in grid numbers."""
        name = self.policy_of(bucket)
        known = self._redundancies.get(name)
        if known is None:
            terms = self._terms[name]
            numbers = tuple(self.seats[grid].number for grid in terms.grids)
            known = Redundancy(name, numbers, terms.ack, terms.accept_outage, terms.encrypt)
            self._redundancies[name] = known
        return known

    @property
    def wanted(self) -> tuple[int, ...]:
        """Grids of any policy. Others, such as those that were taken out of the configuration, need no bytes."""
        return tuple(sorted({self.seats[name].number for terms in self._terms.values() for name in terms.grids}))

    def policies_changed(self, policies: Sequence[PolicyTerms]) -> None:
        """Apply other policies from now on; reconcile brings the objects after them."""
        self._terms = {terms.name: terms for terms in policies}
        self._redundancies.clear()
        self.aligned = False
        self.note_debts()

    async def attach(self, seat: Seat) -> bool:
        """Ask a grid who it is and take note of the answer. True when it is there.

        A grid that belongs to another index raises ConfigError: writing to it could destroy data.
        """
        known = await self._known(seat)
        if seat.use is Use.OUT:
            await self._move(seat, known, GridState.DOWN, "an operator took it out of use")
            return False
        try:
            try:
                identity = await seat.grid.attach(known)
            except Refused:
                # Another process of this node may have registered the place since we looked.
                again = await self._known(seat)
                if again == known:
                    raise
                known = again
                identity = await seat.grid.attach(known)
        except Refused as refusal:
            if refusal.reason is Reason.DENIED:
                await self._move(seat, known, GridState.DOWN, refusal.detail)
                raise ConfigError(f"grid {seat.name!r} ({seat.url})", refusal.detail) from refusal
            await self._move(seat, known, GridState.DOWN, refusal.detail)
            return False
        except GridError as silence:
            await self._move(seat, known, GridState.DOWN, silence.detail)
            return False
        await self._move(seat, identity, GridState.UP, "")
        return True

    async def _known(self, seat: Seat) -> str:
        """The identity under which the index knows this grid; empty at first sight."""
        rows = await self.index.grids()
        return next((row.identity for row in rows if row.name == seat.name and not row.retired), "")

    async def _move(self, seat: Seat, identity: str, state: GridState, reason: str) -> None:
        row = await self.index.register_grid(seat.name, identity, seat.url)
        if row.id != seat.number:
            replaced = seat.number != 0
            self._numbers.pop(seat.number, None)
            seat.number = row.id
            self._numbers[row.id] = seat
            self._redundancies.clear()
            if replaced:
                self.teller.tell(GridMoved(seat.name, "replaced", "it came back empty: every object is owed to it"))
        if state is not seat.state or (state is GridState.DOWN and reason != seat.reason):
            self.teller.tell(GridMoved(seat.name, state.value, reason))
            seat.since_ms = self.clock.now_ms()
        if state is GridState.UP and seat.state is not GridState.UP:
            self.note_debts()
        seat.state = state
        seat.reason = reason

    async def pin(self, name: str, use: Use) -> None:
        """Take a grid in or out of use, or leave it to its health: here at once, in other workers within PINS_S, and after
        a restart. Raises KeyError when there is no such grid."""
        seat = self.seats[name]
        pins = {**await self.pins(), name: use}
        await self.index.note(_PINS, to_json({grid: pin for grid, pin in pins.items() if pin is not Use.AUTO}).decode())
        self._apply(seat, use)

    async def pins(self) -> dict[str, Use]:
        """What operators decided, as the index remembers it. Grids that are left to their health are not named."""
        noted = await self.index.noted(_PINS)
        return from_json(noted.encode(), dict[str, Use]) if noted else {}

    async def obey_pins(self) -> None:
        """Do as the index remembers."""
        pins = await self.pins()
        for seat in self.seats.values():
            self._apply(seat, pins.get(seat.name, Use.AUTO))

    def _apply(self, seat: Seat, use: Use) -> None:
        if seat.breakers is not None and seat.use is not use:
            seat.breakers.pin(use)
            self.was_silent(seat.number)  # Its probe looks, or stops looking.

    async def waiting_bytes(self) -> int:
        """Accepted bytes that wait for grids, in the spool and in the index: what `spool.limit` bounds."""
        return self._waiting(await self.index.usage())

    async def waiting_with_bytes(self, size_bytes: int) -> int:
        """`waiting_bytes`, for a small body that is about to be taken in and is counted from now on.

        The index is asked once per WAITING_AGE_S; in between, this process adds up what it takes in itself.
        """
        now_s = self.clock.monotonic_s()
        if self._usage_lately is None or now_s - self._looked_s > WAITING_AGE_S:
            self._looked_s = now_s
            self._usage_lately = await self.index.usage()
            self._taken_since_bytes = 0
        waiting = self._waiting(self._usage_lately, self._taken_since_bytes)
        self._taken_since_bytes += size_bytes
        return waiting

    def _waiting(self, usage: Usage, taken_bytes: int = 0) -> int:
        surplus = max(0, usage.inline_bytes + taken_bytes - self.keep_inline_bytes)
        if surplus:
            self.sweep_wanted.set()
        return usage.spool_bytes + surplus

    def was_silent(self, number: int) -> None:
        """Somebody got no answer from this grid: let its probe look soon."""
        seat = self._numbers.get(number)
        if seat is not None and seat.name in self._doubt_wakers:
            self._doubt_wakers[seat.name].set()

    def asked_to_rest(self, number: int, rest_s: float) -> None:
        """A grid said that it is asked too much, and for how long it wants to be left alone."""
        seat = self._numbers.get(number)
        if seat is not None:
            now_s = self.clock.monotonic_s()
            seat.rest_until_s = max(seat.rest_until_s, now_s + min(rest_s, REST_MAX_S))
            seat.window.throttled(now_s)

    def note_debts(self) -> None:
        """A change left debts behind: catch-up need not wait for its next look."""
        for waker in self._debt_wakers:
            waker.set()

    def note_notices(self) -> None:
        """A change recorded events that are to be told to webhooks."""
        for waker in self._notice_wakers:
            waker.set()

    def notice_waker(self) -> asyncio.Event:
        """An event that `note_notices` sets."""
        waker = asyncio.Event()
        self._notice_wakers.append(waker)
        return waker

    def new_holder(self) -> str:
        """A name under which one request or one batch of catch-up claims debts; unique for ever, so that a lease that
        ran out is never taken for a later one."""
        self._requests += 1
        return f"{self.holder}#{self._requests}"

    def debt_waker(self) -> asyncio.Event:
        """An event that `note_debts` sets."""
        waker = asyncio.Event()
        self._debt_wakers.append(waker)
        return waker

    def doubt_waker(self, seat: Seat) -> asyncio.Event:
        """An event that `was_silent` sets for this grid."""
        return self._doubt_wakers.setdefault(seat.name, asyncio.Event())
