"""A grid that misbehaves on demand, for tests and drills.

Each operation can be given one fault, at any moment, with the share of calls that meet it. What it does then is what
real places were seen to do. It never misbehaves unasked. Invariant: without faults it is its inner grid.
"""

import asyncio
import contextlib
import enum
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, assert_never

from holdfast.clock import Clock
from holdfast.errors import GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.grids.grid import Capabilities, Download, Grid, Held, Label, Source, Staged
from holdfast.model import Place, Span, Value

OPERATIONS: Final = ("attach", "stage", "publish", "discard", "get", "head", "delete", "list", "copy")


class Kind(str, enum.Enum):
    """What goes wrong."""

    REFUSE = "refuse"
    """Fails at once, without acting."""
    HANG = "hang"
    """Says nothing until it is healed; then it acts."""
    SLOW = "slow"
    """Acts after a delay."""
    THROTTLE = "throttle"
    """Says that it is asked too much, and to come again after the delay; does not act."""
    FULL = "full"
    """Has no space left: stage, publish and copy fail."""
    LASTING = "lasting"
    """Refuses as if the credentials were wrong or the bucket were gone, and says that this will not pass."""
    LATE_BODY = "late body"
    """A read's answer comes at once and its first byte after a delay."""
    TRICKLE = "trickle"
    """A body comes in small pieces with a delay before each."""
    DENY = "deny"
    """Refuses as if the credentials were wrong."""
    ABSENT = "absent"
    """Says that nothing is there, although it is."""
    CORRUPT = "corrupt"
    """Gives other bytes than it was given, as many."""
    TRUNCATED = "truncated"
    """Ends a body early, as if that were all."""
    WRONG_ETAG = "wrong etag"
    """Names another etag than the copy's, and cares for no If-Match."""
    LOST_ANSWER = "lost answer"
    """Acts, but its answer is lost."""
    LATE = "late"
    """Loses the answer of a change, and makes the change only when `land` is called."""


class Fault(Value, frozen=True):
    kind: Kind
    share: float = 1.0
    """Of the calls, from 0 to 1."""
    delay_s: float = 0.0
    times: int = 0
    """After so many calls it is over; 0: not by itself."""


_TRICKLES: Final = 8
"""Small pieces for each piece that the inner grid gives."""


class FaultGrid:
    """`inner`, with faults that can be set at any time."""

    def __init__(self, inner: Grid, *, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._faults: dict[str, Fault] = {}
        self._met: Counter[str] = Counter()
        self._healed = asyncio.Event()
        self.calls: Counter[str] = Counter()
        """How often each operation was asked for."""
        self._late: list[tuple[float, Callable[[], Awaitable[object]]]] = []
        self._underway: set[int] = set()

    def inject(self, fault: Fault, *operations: str) -> None:
        """Give these operations (all, when none is named) a fault in place of the one they had."""
        for operation in operations or OPERATIONS:
            assert operation in OPERATIONS, operation
            self._faults[operation] = fault
            self._met[operation] = 0

    def heal(self, *operations: str) -> None:
        """Take the faults of these operations (all, when none is named) away, and let every hanging call go on."""
        for operation in operations or OPERATIONS:
            self._faults.pop(operation, None)
        self._healed.set()
        self._healed = asyncio.Event()

    async def land(self, within_s: float) -> None:
        """Make the changes that are late, if they were asked for within that time; others are lost for ever."""
        late, self._late = self._late, []
        for asked_s, act in late:
            if self._clock.monotonic_s() - asked_s < within_s:
                with contextlib.suppress(GridError):
                    await act()
        self._underway.clear()

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def attach(self, known: str) -> str:
        lost = await self._meet("attach", Place("", "")) is Kind.LOST_ANSWER
        identity = await self._inner.attach(known)
        if lost:
            raise Unavailable(self.name, "attach", "injected: the answer was lost")
        return identity

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        lost = await self._meet("stage", place) is Kind.LOST_ANSWER
        staged = await self._inner.stage(place, source, label)
        if lost:
            raise self._unavailable("stage", place, "the answer was lost")
        return staged

    async def publish(self, staged: Staged) -> str:
        kind = await self._meet("publish", staged.place)
        if kind is Kind.LATE:
            self._underway.add(id(staged))
            raise self._delayed("publish", staged.place, partial(self._inner.publish, staged))
        etag = await self._inner.publish(staged)
        return self._answer("publish", staged.place, kind, etag)

    async def discard(self, staged: Staged) -> None:
        await self._meet("discard", staged.place)
        if id(staged) not in self._underway:
            await self._inner.discard(staged)

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        kind = await self._meet("get", place)
        if kind is Kind.LOST_ANSWER:
            raise self._unavailable("get", place, "the answer was lost")
        delay_s = self._faults["get"].delay_s if "get" in self._faults else 0.0
        download = await self._inner.get(place, span=span, if_match="" if kind is Kind.WRONG_ETAG else if_match)
        return download if kind is None else _Download(download, kind, self._clock, delay_s)

    async def head(self, place: Place) -> Held:
        kind = await self._meet("head", place)
        held = await self._inner.head(place)
        if kind is Kind.LOST_ANSWER:
            raise self._unavailable("head", place, "the answer was lost")
        return _renamed(held) if kind is Kind.WRONG_ETAG else held

    async def delete(self, place: Place) -> None:
        kind = await self._meet("delete", place)
        if kind is Kind.LATE:
            raise self._delayed("delete", place, partial(self._inner.delete, place))
        await self._inner.delete(place)
        self._answer("delete", place, kind, "")

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        place = Place(bucket, prefix)
        kind = await self._meet("list", place)
        page = await self._inner.list(bucket, prefix=prefix, after=after, limit=limit)
        if kind is Kind.LOST_ANSWER:
            raise self._unavailable("list", place, "the answer was lost")
        if kind is Kind.TRUNCATED:
            return page[: len(page) // 2]
        return tuple(map(_renamed, page)) if kind is Kind.WRONG_ETAG else page

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        kind = await self._meet("copy", source)
        if kind is Kind.LATE:
            act = partial(self._inner.copy, source, target, if_match=if_match, label=label)
            raise self._delayed("copy", target, act)
        etag = await self._inner.copy(source, target, if_match=if_match, label=label)
        return self._answer("copy", target, kind, etag)

    async def close(self) -> None:
        """Also lets hanging calls go on."""
        self.heal()
        await self._inner.close()

    async def _meet(self, operation: str, place: Place) -> Kind | None:
        """Go wrong before acting, or say what shall go wrong with the answer."""
        self.calls[operation] += 1
        fault = self._faults.get(operation)
        if fault is None or self._clock.random() >= fault.share:
            return None
        if fault.times:
            self._met[operation] += 1
            if self._met[operation] > fault.times:
                return None
        match fault.kind:
            case Kind.REFUSE:
                raise self._unavailable(operation, place, "it refuses")
            case Kind.LASTING:
                raise self._unavailable(operation, place, "it refuses for good", lasting=True)
            case Kind.THROTTLE:
                raise self._unavailable(operation, place, "slow down", retry_after_s=fault.delay_s or None)
            case Kind.FULL:
                if operation in ("stage", "publish", "copy"):
                    raise self._unavailable(operation, place, "no space left")
            case Kind.DENY:
                raise self._refused(operation, place, Reason.DENIED)
            case Kind.ABSENT:
                if operation in ("get", "head", "copy"):
                    raise self._refused(operation, place, Reason.ABSENT)
            case Kind.HANG:
                await self._healed.wait()
            case Kind.SLOW:
                await self._clock.sleep(fault.delay_s)
            case Kind.LATE:
                return fault.kind if operation in ("publish", "delete", "copy") else None
            case Kind.CORRUPT | Kind.TRUNCATED | Kind.WRONG_ETAG | Kind.LOST_ANSWER | Kind.LATE_BODY | Kind.TRICKLE:
                return fault.kind
            case _:
                assert_never(fault.kind)
        return None

    def _answer(self, operation: str, place: Place, kind: Kind | None, etag: str) -> str:
        """What a change answers after it has happened."""
        if kind is Kind.LOST_ANSWER:
            detail = "injected: the answer was lost"
            raise Uncertain(self.name, operation, detail, bucket=place.bucket, key=place.key)
        return _wrong(etag) if kind is Kind.WRONG_ETAG else etag

    def _delayed(self, operation: str, place: Place, act: Callable[[], Awaitable[object]]) -> Uncertain:
        self._late.append((self._clock.monotonic_s(), act))
        detail = "injected: the answer was lost, and the change is late"
        return Uncertain(self.name, operation, detail, bucket=place.bucket, key=place.key)

    def _unavailable(
        self,
        operation: str,
        place: Place,
        detail: str,
        *,
        retry_after_s: float | None = None,
        lasting: bool = False,
    ) -> Unavailable:
        return Unavailable(
            self.name,
            operation,
            f"injected: {detail}",
            bucket=place.bucket,
            key=place.key,
            retry_after_s=retry_after_s,
            lasting=lasting,
        )

    def _refused(self, operation: str, place: Place, reason: Reason) -> Refused:
        detail = f"injected: {reason.value}"
        return Refused(self.name, operation, detail, reason=reason, bucket=place.bucket, key=place.key)


def _wrong(etag: str) -> str:
    return f"not-{etag}"


def _renamed(held: Held) -> Held:
    return Held(held.key, held.size, _wrong(held.etag), held.modified_ms, held.label)


class _Download:
    __slots__ = ("_clock", "_delay_s", "_inner", "_kind", "etag", "size")

    def __init__(self, inner: Download, kind: Kind, clock: Clock, delay_s: float) -> None:
        self._inner = inner
        self._kind = kind
        self._clock = clock
        self._delay_s = delay_s
        self.etag = _wrong(inner.etag) if kind is Kind.WRONG_ETAG else inner.etag
        self.size = inner.size

    async def stream(self) -> AsyncIterator[bytes]:
        if self._kind is Kind.LATE_BODY:
            await self._clock.sleep(self._delay_s)
        async for piece in self._inner.stream():
            if self._kind is Kind.CORRUPT:
                middle = len(piece) // 2
                yield piece[:middle] + bytes((piece[middle] ^ 1,)) + piece[middle + 1 :]
            elif self._kind is Kind.TRUNCATED:
                yield piece[: len(piece) // 2]
                return
            elif self._kind is Kind.TRICKLE:
                step = -(-len(piece) // _TRICKLES)
                for start in range(0, len(piece), step):
                    await self._clock.sleep(self._delay_s)
                    yield piece[start : start + step]
            else:
                yield piece

    async def close(self) -> None:
        await self._inner.close()
