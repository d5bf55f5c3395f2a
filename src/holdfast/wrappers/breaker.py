"""A grid that is not asked while it is silent.

Answers for which outcome is evidence: an answer is one even when it is a refusal, a silence is one only when it was this
grid's own, and a cancelled attempt is none. Refuses with `Unavailable(shielded=True)`. It never
retries. Invariant: every attempt that was admitted as a trial is settled.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Literal

from holdfast.clock import Clock
from holdfast.errors import GridError, Refused, Unavailable
from holdfast.events import BreakerMoved, Teller
from holdfast.grids.grid import Capabilities, Download, Grid, Held, Label, Source, Staged
from holdfast.health.breaker import Breaker, Pass, State
from holdfast.model import Place, Span

Group = Literal["read", "write", "list", "delete"]
GROUPS: Final[tuple[Group, ...]] = ("read", "write", "list", "delete")


class Breakers:
    """The breakers of one grid, one per class of operations, as `plan` reads them and `BreakerGrid` moves them."""

    def __init__(self, grid: str, *, clock: Clock, teller: Teller) -> None:
        self._grid = grid
        self._clock = clock
        self._teller = teller
        self._breakers: dict[Group, Breaker] = {group: Breaker() for group in GROUPS}

    def state(self, group: Group) -> State:
        """Closed, open, or trial: the next attempt is let through to find out, or is on its way."""
        return self._breakers[group].state(self._clock.monotonic_s())

    def hint(self) -> None:
        """The grid answered its probe after a silence: let each class try at once."""
        now_s = self._clock.monotonic_s()
        for breaker in self._breakers.values():
            breaker.hint(now_s)

    def begin(self, group: Group, operation: str, place: Place) -> "Attempt":
        """Admit an attempt, or raise Unavailable(shielded)."""
        breaker = self._breakers[group]
        now_s = self._clock.monotonic_s()
        admitted = breaker.admit(now_s)
        if admitted is Pass.NO:
            detail = "not asked: it was silent before"
            raise Unavailable(self._grid, operation, detail, bucket=place.bucket, key=place.key, shielded=True)
        if admitted is Pass.TRIAL:
            self._tell(group, State.TRIAL, "its pause is over")
        return Attempt(self, group, breaker, admitted, now_s)

    def answered(self, group: Group, breaker: Breaker, admitted: Pass) -> None:
        if breaker.answered(admitted, self._clock.monotonic_s()):
            self._tell(group, State.CLOSED, "it answered")

    def silent(self, group: Group, breaker: Breaker, admitted: Pass, began_s: float, reason: str) -> None:
        if breaker.silent(admitted, began_s, self._clock.monotonic_s(), self._clock.random()):
            self._tell(group, State.OPEN, reason)

    def given_up(self, group: Group, breaker: Breaker, admitted: Pass) -> None:
        breaker.given_up(admitted, self._clock.monotonic_s())
        if admitted is Pass.TRIAL:
            self._tell(group, State.OPEN, "the trial was given up")

    def is_own(self, error: GridError) -> bool:
        """Whether this error says something about this grid: a body's source may be another one."""
        return error.grid == self._grid and not (isinstance(error, Unavailable) and error.shielded)

    def _tell(self, group: Group, state: State, reason: str) -> None:
        self._teller.tell(BreakerMoved(self._grid, group, state.value, reason))


class Attempt:
    """One admitted attempt. As a context manager it judges what happens within."""

    __slots__ = ("_admitted", "_began_s", "_breaker", "_breakers", "_group", "_judged", "_neutral")

    def __init__(self, breakers: Breakers, group: Group, breaker: Breaker, admitted: Pass, began_s: float) -> None:
        self._breakers = breakers
        self._group: Group = group
        self._breaker = breaker
        self._admitted = admitted
        self._began_s = began_s
        self._judged = False
        self._neutral = False

    def neutral(self) -> "Attempt":
        """Success does not end a row of silences (though it ends a trial): a later step is the evidence."""
        self._neutral = True
        return self

    def succeeded(self) -> None:
        if not self._judged:
            self._judged = True
            self._breakers.answered(self._group, self._breaker, self._admitted)

    def failed(self, error: GridError) -> None:
        """Judge an error; also one that comes after success, in the middle of a body."""
        if isinstance(error, Refused):
            self.succeeded()
        elif not self._breakers.is_own(error):
            self.dropped()
        else:
            admitted = Pass.FREE if self._judged else self._admitted
            self._judged = True
            self._breakers.silent(self._group, self._breaker, admitted, self._began_s, error.detail)

    def dropped(self) -> None:
        """It ended without evidence."""
        if not self._judged:
            self._judged = True
            self._breakers.given_up(self._group, self._breaker, self._admitted)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if not self._neutral or self._admitted is Pass.TRIAL:
                self.succeeded()
        elif isinstance(error, GridError):
            self.failed(error)
        else:
            self.dropped()


class BreakerGrid:
    """`inner`, while its breakers allow."""

    def __init__(self, inner: Grid, breakers: Breakers) -> None:
        self._inner = inner
        self._breakers = breakers
        self._mute = False

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def attach(self, known: str) -> str:
        """Always asked: this is the probe. An answer after a silence lets each class try again."""
        try:
            identity = await self._inner.attach(known)
        except GridError:
            self._mute = True
            raise
        if self._mute:
            self._mute = False
            self._breakers.hint()
        return identity

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        with self._breakers.begin("write", "stage", place).neutral():
            return await self._inner.stage(place, source, label)

    async def publish(self, staged: Staged) -> str:
        with self._breakers.begin("write", "publish", staged.place):
            return await self._inner.publish(staged)

    async def discard(self, staged: Staged) -> None:
        await self._inner.discard(staged)

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        attempt = self._breakers.begin("read", "get", place)
        try:
            return _Download(await self._inner.get(place, span=span, if_match=if_match), attempt)
        except GridError as error:
            attempt.failed(error)
            raise
        except BaseException:
            attempt.dropped()
            raise

    async def head(self, place: Place) -> Held:
        with self._breakers.begin("read", "head", place):
            return await self._inner.head(place)

    async def delete(self, place: Place) -> None:
        with self._breakers.begin("delete", "delete", place):
            await self._inner.delete(place)

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        with self._breakers.begin("list", "list", Place(bucket, prefix)):
            return await self._inner.list(bucket, prefix=prefix, after=after, limit=limit)

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        with self._breakers.begin("write", "copy", source):
            return await self._inner.copy(source, target, if_match=if_match, label=label)

    async def close(self) -> None:
        await self._inner.close()


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
