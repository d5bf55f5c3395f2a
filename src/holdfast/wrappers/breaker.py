"""A grid that is not asked while it is silent, and what this process knows of how it is doing.

Answers for which outcome is evidence: an answer is one even when it is a refusal, a silence is one only when it was this
grid's own and we do not suspect ourselves, and a cancelled attempt is none. Refuses with `Unavailable(shielded=True)`. It never
retries. What is decided is decided by `health/`; here are only the clock and the telling.
Invariant: every attempt that was admitted as a trial is settled.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Literal

from holdfast.clock import Clock
from holdfast.errors import Corrupt, GridError, Refused, Unavailable
from holdfast.events import BreakerMoved, GridDemoted, GridPinned, SelfSuspected, Teller
from holdfast.grids.grid import Capabilities, Download, Grid, Held, Label, Source, Staged
from holdfast.health.breaker import Breaker, Pass, State
from holdfast.health.brownout import Brownout
from holdfast.health.budget import Budget
from holdfast.health.latency import Latency
from holdfast.health.standing import Standing, Use
from holdfast.health.suspicion import Suspicion
from holdfast.health.waiting import Waiting
from holdfast.limits import (
    BROWNOUT_LOOK_S,
    HEDGE_MIN_S,
    HEDGE_RIVAL,
    HEDGE_UNKNOWN_S,
    MUTE_AT_ONCE,
    QUIET_S,
    RETRY_BURST,
    RETRY_SHARE,
)
from holdfast.model import Place, Span

Group = Literal["read", "write", "list", "delete"]
GROUPS: Final[tuple[Group, ...]] = ("read", "write", "list", "delete")


_OWED: Final[tuple[Group, ...]] = ("write", "delete")
"""What catch-up does."""


class _Side:
    """One class of operations at one grid."""

    __slots__ = ("breaker", "brownout", "group", "judged_s", "reason", "waiting")

    def __init__(self, group: Group) -> None:
        self.group: Group = group
        self.breaker = Breaker()
        self.brownout = Brownout()
        self.waiting = Waiting()
        self.judged_s = float("-inf")
        self.reason = ""
        """What the grid said, or did not, when its breaker opened last."""


class Breakers:
    """How one grid is doing, per class of operations: `plan` reads it, `BreakerGrid` moves it.

    `suspicion` is shared by all grids of a process.
    """

    def __init__(self, grid: str, *, clock: Clock, teller: Teller, suspicion: Suspicion | None = None) -> None:
        self.use = Use.AUTO
        self.retries = Budget(share=RETRY_SHARE, burst=RETRY_BURST)
        self.latency = Latency()
        self._grid = grid
        self._clock = clock
        self._teller = teller
        self._suspicion = suspicion or Suspicion()
        self._suspicion.know(grid)
        self._sides: dict[Group, _Side] = {group: _Side(group) for group in GROUPS}

    # --- what others ask ---

    def state(self, group: Group) -> State:
        """Closed, open, or trial: the next attempt is let through to find out, or is on its way."""
        match self.use:
            case Use.OUT:
                return State.OPEN
            case Use.IN:
                return State.CLOSED
            case _:
                return self._sides[group].breaker.state(self._clock.monotonic_s())

    def standing(self, group: Group, size_bytes: int) -> Standing:
        """Where the grid belongs in the order of whoever wants a first block of this size."""
        now_s = self._clock.monotonic_s()
        latency_s = self.latency.p50(size_bytes, now_s)
        match self.use:
            case Use.IN:
                return Standing(State.CLOSED, 1.0, latency_s)
            case Use.OUT:
                return Standing(State.OPEN, 0.0, latency_s)
            case _:
                side = self._sides[group]
                return Standing(side.breaker.state(now_s), self._share(side, size_bytes, now_s), latency_s)

    def share(self, group: Group, size_bytes: int = 0) -> float:
        """The share of requests for which it has its ordinary place: 1 when it is well."""
        if self.use is not Use.AUTO:
            return float(self.use is Use.IN)
        return self._share(self._sides[group], size_bytes, self._clock.monotonic_s())

    def _share(self, side: _Side, size_bytes: int, now_s: float) -> float:
        if side.waiting.is_late(now_s):
            return 0.0
        quiet_s = side.waiting.quiet_s(now_s)
        if quiet_s > QUIET_S and quiet_s > 2 * (self.latency.p95(size_bytes, now_s) or 0.0):
            return 0.0
        return min(side.breaker.share(now_s), side.brownout.share(now_s))

    def shut(self, group: Group) -> str:
        """Why it is not asked; empty when it is."""
        return "" if self.state(group) is State.CLOSED else self._sides[group].reason

    def demoted(self, group: Group) -> str:
        """Why it is asked after the others (`errors`, `slow`); empty when it is not."""
        return self._sides[group].brownout.reason

    def at_ease(self, group: Group) -> bool:
        """Whether nothing needs to be found out."""
        return self.state(group) is State.CLOSED and self.share(group) == 1.0

    def waiting(self, group: Group) -> int:
        """Attempts that are on their way and have not been answered."""
        return self._sides[group].waiting.count

    def hedge_delay_s(self, size_bytes: int, rival: "Breakers | None" = None) -> float:
        """How long a first block of this size is waited for before another grid (`rival`) is asked, too."""
        now_s = self._clock.monotonic_s()
        p95_s = self.latency.p95(size_bytes, now_s)
        if p95_s is None:
            return HEDGE_UNKNOWN_S
        others_s = rival.latency.p95(size_bytes, now_s) if rival is not None else None
        if others_s is not None:
            p95_s = min(p95_s, HEDGE_RIVAL * others_s)
        return max(p95_s, HEDGE_MIN_S)

    # --- what others tell ---

    def hint(self) -> None:
        """The grid answered its probe after a silence: let each class try at once."""
        now_s = self._clock.monotonic_s()
        for side in self._sides.values():
            side.breaker.hint(now_s)

    def relieve(self) -> None:
        """Nothing is owed to the grid any more, so somebody wrote there: whoever has nothing to try it with believes that."""
        now_s = self._clock.monotonic_s()
        for group in _OWED:
            breaker = self._sides[group].breaker
            if self.use is Use.AUTO and breaker.state(now_s) is State.TRIAL and breaker.answered(Pass.LAST, now_s):
                self._tell(group, State.CLOSED, "all that was owed to it was paid")

    def pin(self, use: Use) -> None:
        """Do as an operator says from now on. What was held against the grid is forgotten."""
        if use is self.use:
            return
        self.use = use
        for side in self._sides.values():
            if side.breaker.state(self._clock.monotonic_s()) is not State.CLOSED:
                self._tell(side.group, State.CLOSED, f"an operator set it to {use.value}")
            side.breaker, side.brownout = Breaker(), Brownout()
        self._teller.tell(GridPinned(self._grid, use.value))

    def first_block(self, size_bytes: int, elapsed_s: float) -> None:
        """The first block of a body was here, and was right, after this time."""
        if elapsed_s <= self.hedge_delay_s(size_bytes):
            self._sides["read"].waiting.in_time()
        self.latency.note(size_bytes, elapsed_s, self._clock.monotonic_s())

    def late(self) -> None:
        """A block is not here although it is time to ask another grid, or it is not the right one."""
        self._sides["read"].waiting.late(self._clock.monotonic_s())

    def left(self, group: Group, size_bytes: int, elapsed_s: float) -> None:
        """Another grid was faster, and this one had not answered by then: no evidence against it, but it was slow."""
        now_s = self._clock.monotonic_s()
        self.latency.note(size_bytes, elapsed_s, now_s)
        self._sides[group].waiting.left(now_s)

    # --- attempts ---

    def begin(self, group: Group, operation: str, place: Place, *, last: bool = False) -> "Attempt":
        """Admit an attempt, or raise Unavailable(shielded). `last`: no other copy is left, ask it also when it is silent."""
        if self.use is Use.OUT:
            raise self._barred(operation, place, "not asked: an operator took it out of use")
        side = self._sides[group]
        now_s = self._clock.monotonic_s()
        admitted = Pass.FREE
        if self.use is Use.AUTO:
            if side.breaker.mute(now_s) and side.waiting.count >= MUTE_AT_ONCE:
                raise self._barred(operation, place, f"not asked: {side.waiting.count} wait for it already, in vain")
            admitted = side.breaker.admit(now_s, last=last)
        if admitted is Pass.NO:
            raise self._barred(operation, place, "not asked: it was silent before")
        if admitted is Pass.TRIAL:
            self._tell(group, State.TRIAL, "its pause is over")
        side.waiting.began(now_s)
        self.retries.earn()
        return Attempt(self, side, admitted, now_s)

    def answered(self, side: _Side, breaker: Breaker, admitted: Pass) -> None:
        now_s = self._clock.monotonic_s()
        self.heard()
        if breaker.answered(admitted, now_s):
            self._tell(side.group, State.CLOSED, "it answered")
        side.waiting.answered(now_s)
        side.brownout.note(now_s, silent=False)
        self._judge(side, now_s)

    def silent(self, side: _Side, breaker: Breaker, admitted: Pass, began_s: float, error: GridError) -> None:
        now_s = self._clock.monotonic_s()
        if isinstance(error, Corrupt):
            self.heard()  # To answer wrongly is not to be silent.
        else:
            self.unheard(began_s)
        blamed = self.use is Use.AUTO and not self._suspicion.ourselves
        lasting = isinstance(error, Unavailable) and error.lasting
        draw = self._clock.random()
        if breaker.silent(admitted, began_s, now_s, draw, lasting=lasting, blamed=blamed):
            side.reason = error.detail
            self._tell(side.group, State.OPEN, error.detail)
        if blamed:
            side.brownout.note(now_s, silent=True)
            self._judge(side, now_s)

    def given_up(self, side: _Side, breaker: Breaker, admitted: Pass) -> None:
        breaker.given_up(admitted, self._clock.monotonic_s())
        if admitted is Pass.TRIAL:
            self._tell(side.group, State.OPEN, "the trial was given up")

    def heard(self) -> None:
        """The grid said something: it is not us."""
        if self._suspicion.answered(self._grid):
            self._teller.tell(SelfSuspected(False))

    def unheard(self, began_s: float) -> None:
        """It did not, since `began_s`: if nobody does, it may be us."""
        before = self._suspicion.ourselves
        self._suspicion.silent(self._grid, began_s, self._clock.monotonic_s())
        if self._suspicion.ourselves is not before:
            self._teller.tell(SelfSuspected(not before))

    def now_s(self) -> float:
        return self._clock.monotonic_s()

    def is_own(self, error: GridError) -> bool:
        """Whether this error says something about this grid: a body's source may be another one."""
        return error.grid == self._grid and not (isinstance(error, Unavailable) and error.shielded)

    def _judge(self, side: _Side, now_s: float) -> None:
        if now_s - side.judged_s < BROWNOUT_LOOK_S or self.use is not Use.AUTO:
            return
        side.judged_s = now_s
        slowness = self.latency.slowness(now_s) if side.group == "read" else 0.0
        if side.brownout.judge(now_s, slowness):
            self._teller.tell(GridDemoted(self._grid, side.group, side.brownout.reason))

    def _barred(self, operation: str, place: Place, detail: str) -> Unavailable:
        return Unavailable(self._grid, operation, detail, bucket=place.bucket, key=place.key, shielded=True)

    def _tell(self, group: Group, state: State, reason: str) -> None:
        self._teller.tell(BreakerMoved(self._grid, group, state.value, reason))


class Attempt:
    """One admitted attempt. As a context manager it judges what happens within."""

    __slots__ = ("_admitted", "_began_s", "_breaker", "_breakers", "_judged", "_neutral", "_side")

    def __init__(self, breakers: Breakers, side: _Side, admitted: Pass, began_s: float) -> None:
        self._breakers = breakers
        self._side = side
        self._breaker = side.breaker
        self._admitted = admitted
        self._began_s = began_s
        self._judged = False
        self._neutral = False

    def neutral(self) -> "Attempt":
        """Success does not end a row of silences (though it ends a trial): a later step is the evidence."""
        self._neutral = True
        return self

    def succeeded(self) -> None:
        if self._settle():
            self._breakers.answered(self._side, self._breaker, self._admitted)

    def failed(self, error: GridError) -> None:
        """Judge an error; also one that comes after success, in the middle of a body."""
        if isinstance(error, Refused):
            self.succeeded()
        elif not self._breakers.is_own(error):
            self.dropped()
        else:
            admitted = self._admitted if self._settle() else Pass.FREE
            self._breakers.silent(self._side, self._breaker, admitted, self._began_s, error)

    def dropped(self) -> None:
        """It ended without evidence."""
        if self._settle():
            self._breakers.given_up(self._side, self._breaker, self._admitted)

    def _settle(self) -> bool:
        """True for the first outcome, which ends the waiting."""
        if self._judged:
            return False
        self._judged = True
        self._side.waiting.ended()
        return True

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if self._neutral and self._admitted is Pass.FREE:
                self._settle()
            else:
                self.succeeded()
        elif isinstance(error, GridError):
            self.failed(error)
        else:
            self.dropped()


class BreakerGrid:
    """`inner`, while its breakers allow; with `last` also otherwise, as when no other copy is left."""

    def __init__(self, inner: Grid, breakers: Breakers, *, last: bool = False) -> None:
        self._inner = inner
        self._breakers = breakers
        self._last = last
        self._mute = False

    @property
    def breakers(self) -> Breakers:
        return self._breakers

    def as_last(self) -> "BreakerGrid":
        """The same grid, to be asked when nobody else can be."""
        return BreakerGrid(self._inner, self._breakers, last=True)

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def attach(self, known: str) -> str:
        """Always asked: this is the probe. An answer after a silence lets each class try again."""
        began_s = self._breakers.now_s()
        try:
            identity = await self._inner.attach(known)
        except GridError as error:
            self._mute = True
            if isinstance(error, Refused):
                self._breakers.heard()
            else:
                self._breakers.unheard(began_s)
            raise
        self._breakers.heard()
        if self._mute:
            self._mute = False
            self._breakers.hint()
        return identity

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        with self._begin("write", "stage", place).neutral():
            return await self._inner.stage(place, source, label)

    async def publish(self, staged: Staged) -> str:
        with self._begin("write", "publish", staged.place):
            return await self._inner.publish(staged)

    async def discard(self, staged: Staged) -> None:
        await self._inner.discard(staged)

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        attempt = self._begin("read", "get", place)
        try:
            return _Download(await self._inner.get(place, span=span, if_match=if_match), attempt)
        except GridError as error:
            attempt.failed(error)
            raise
        except BaseException:
            attempt.dropped()
            raise

    async def head(self, place: Place) -> Held:
        with self._begin("read", "head", place):
            return await self._inner.head(place)

    async def delete(self, place: Place) -> None:
        with self._begin("delete", "delete", place):
            await self._inner.delete(place)

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        with self._begin("list", "list", Place(bucket, prefix)):
            return await self._inner.list(bucket, prefix=prefix, after=after, limit=limit)

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        with self._begin("write", "copy", source):
            return await self._inner.copy(source, target, if_match=if_match, label=label)

    async def close(self) -> None:
        await self._inner.close()

    def _begin(self, group: Group, operation: str, place: Place) -> Attempt:
        return self._breakers.begin(group, operation, place, last=self._last)


class _Download:
    """The evidence of a read is its first bytes, not the promise of them."""

    __slots__ = ("_attempt", "_inner", "etag", "size")

    def __init__(self, inner: Download, attempt: Attempt) -> None:
        self._inner = inner
        self._attempt = attempt
        self.etag = inner.etag
        self.size = inner.size

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._inner.stream():
                self._attempt.succeeded()
                yield piece
        except GridError as error:
            self._attempt.failed(error)
            raise
        self._attempt.succeeded()

    async def close(self) -> None:
        self._attempt.dropped()
        await self._inner.close()
