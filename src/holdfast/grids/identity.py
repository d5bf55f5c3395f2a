"""Whose place a remote location is.

Answers for the object `.holdfast/identity` that gives a place its identity (decision 0006), wherever it lies. It is first
`offered`: whoever is given that identity may come again with it, or without it after a crash. With the first change, or as soon
as the index names it, it is `claimed`, and from then on it belongs to that index alone. How the object is read and
written is its `Marks`'; it never touches others. Invariant: a place that is missing, or somebody else's, is never mistaken for an empty one.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from holdfast.clock import Clock
from holdfast.errors import Reason, Refused, Unavailable, Uncertain
from holdfast.limits import (
    S3_CHANGE_S,
    S3_EMPTY_S,
    S3_FRESH,
    S3_FRESH_LANES,
    S3_FRESH_SKEW_S,
    S3_IDENTITY_S,
)
from holdfast.model import Value

_OFFERED, _CLAIMED = "offered", "claimed"
_TEXT: Final = """{identity} {state} {grid}

This place belongs to one Holdfast installation. Objects are plain objects under their own names. Keep this one with
them: without it Holdfast does not touch the place.
"""


class NoPlace(Unavailable):
    """The provider's bucket or container does not exist. Never that an object is absent."""


class Marks(Protocol):
    """The object with the identity, at a provider. Everything raises GridError, NoPlace when its bucket does not exist."""

    @property
    def kind(self) -> str:
        """What the provider calls a bucket."""
        ...

    @property
    def home(self) -> str:
        """The bucket that has it."""
        ...

    @property
    def where(self) -> str:
        """The place as an operator would write it, ending in a slash."""
        ...

    @property
    def name(self) -> str:
        """The object as an operator would write it."""
        ...

    async def make_place(self) -> bool:
        """Make the bucket; False when that is not wanted."""
        ...

    async def read(self) -> bytes | None:
        """What it says; None when it is not there, though the place is."""
        ...

    async def write(self, data: bytes, *, fresh: bool) -> None:
        """Make it say this. `fresh`: leave one that is there already alone, where the provider can do so."""
        ...

    async def remove(self) -> None: ...

    async def has_objects(self) -> bool:
        """Whether anything else lies in the place."""
        ...

    async def names(self, *, limit: int) -> tuple[str, ...]:
        """Up to so many of the objects that lie in the place, beside this one."""
        ...

    async def is_fresh(self, name: str, since_ms: int) -> bool:
        """Whether such an object carries a label of ours and was written since then, or is not there any more."""
        ...


class _Marker(Value, frozen=True):
    identity: str
    state: str
    grid: str


class Identity:
    """Who a grid's place is, and whether it still is."""

    def __init__(self, grid: str, marks: Marks, *, clock: Clock) -> None:
        self._grid = grid
        self._marks = marks
        self._clock = clock
        self._identity = ""
        self._claimed = False
        self._seen_s = float("-inf")
        self._seen_ms: int | None = None
        """By the wall clock, when `_identity` was last seen in the place; None when this process never saw it."""
        self._empty_s: float | None = None
        self._turn = asyncio.Lock()

    async def attach(self, known: str) -> str:
        """See `Grid.attach`."""
        async with self._turn:
            marker = await self._look(known)
            if marker is not None:
                self._empty_s = None
                return await self._meet(marker, known)
            looks = "empty"
            if await self._marks.has_objects():
                if not await self._has_only_fresh(known):
                    self._empty_s = None
                    raise self._occupied(known)
                looks = "empty but for what was written since it was last seen"
            if known:
                self._wait_whether_it_stays_empty(looks)
            return self._take(await self._offer())

    async def claim(self) -> None:
        """Before a change: the place belongs to us from now on, and was ours just now. Raises Unavailable."""
        if self._claimed and self._was_seen(S3_CHANGE_S):
            return
        async with self._turn:
            if self._claimed:
                await self.confirm(age_s=S3_CHANGE_S)
                return
            await self.confirm(age_s=0.0)
            await self._write(_Marker(self._identity, _CLAIMED, self._grid))
            self._claimed = True

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around a change: a place that did not answer, or has no bucket, may be another one when it answers again, so it is
        looked at before the next one."""
        try:
            yield
        except (Unavailable, Uncertain) as trouble:
            if isinstance(trouble, Uncertain | NoPlace) or trouble.__cause__ is not None:
                self._seen_s = float("-inf")
            raise

    async def confirm(self, *, age_s: float = S3_IDENTITY_S) -> None:
        """Before something is said to be not there: this was the place, at most `age_s` ago. Raises Unavailable when it is not,
        or does not say."""
        if self._was_seen(age_s):
            return
        if not self._identity:
            raise self._missing("it is not attached")
        identity, marker = self._identity, await self._read()
        if marker is None or marker.identity != identity:
            raise self._missing(f"its {self._marks.name} is missing or another one")
        if identity == self._identity:
            self._saw()

    async def release(self) -> None:
        """Give an empty place up. Raises Unavailable when objects are left."""
        if await self._marks.has_objects():
            raise self._missing("there are objects left")
        await self._marks.remove()
        self._identity, self._claimed, self._seen_s, self._seen_ms = "", False, float("-inf"), None

    # --- within ---

    def _was_seen(self, age_s: float) -> bool:
        return self._clock.monotonic_s() - self._seen_s < age_s

    def _saw(self) -> None:
        self._seen_s = self._clock.monotonic_s()
        self._seen_ms = self._clock.now_ms()

    async def _has_only_fresh(self, known: str) -> bool:
        """Whether nothing lies there but what we wrote after the place was lost: a provider may come back empty between two looks
        at it. Only a process that saw its own place here can know: after a restart, url may name somebody else's."""
        if not known or known != self._identity or self._seen_ms is None:
            return False
        since_ms = self._seen_ms - int(S3_FRESH_SKEW_S * 1000)
        names = await self._marks.names(limit=S3_FRESH + 1)
        if len(names) > S3_FRESH:
            return False
        for start in range(0, len(names), S3_FRESH_LANES):
            looks = [self._marks.is_fresh(name, since_ms) for name in names[start : start + S3_FRESH_LANES]]
            for found in await asyncio.gather(*looks, return_exceptions=True):
                if isinstance(found, BaseException):
                    raise found
                if not found:
                    return False
        return True

    def _occupied(self, known: str) -> Refused | Unavailable:
        detail, kind = "it has objects and no identity", self._marks.kind
        if known:
            return self._missing(
                f"{detail}. If what it held is lost, remove all objects there, and everything is brought there anew; if it is not, "
                f"put {self._marks.name} back; if it is another place, correct url"
            )
        return self._deny(
            f"{detail}. Give this grid an empty {kind}, or an empty directory: {self._marks.where}directory"
        )

    def _wait_whether_it_stays_empty(self, looks: str) -> None:
        """A place that was lost is owed everything, which costs: that it looks empty once is not enough."""
        now_s = self._clock.monotonic_s()
        if self._empty_s is None:
            self._empty_s = now_s
        if now_s - self._empty_s < S3_EMPTY_S:
            raise self._missing(
                f"it is {looks}. If it still is {S3_EMPTY_S:g} s from now, what it held counts as lost and is brought there anew"
            )

    async def _look(self, known: str) -> _Marker | None:
        try:
            return await self._read()
        except NoPlace as missing:
            if known:
                detail = "is missing: bring it back; or, if what it held is lost, create an empty one"
                raise self._missing(f'the {self._marks.kind} "{self._marks.home}" {detail}') from missing
            if not await self._marks.make_place():
                raise
            return None

    async def _meet(self, marker: _Marker, known: str) -> str:
        if marker.state == _CLAIMED:
            if not known:
                raise self._deny(
                    f'it belongs to another index, as its grid "{marker.grid}", or to another grid of this one. Give this grid a '
                    f"{self._marks.kind} or a directory of its own; or, if that index is gone for good, remove {self._marks.name} and all objects there"
                )
            if marker.identity != known:
                raise self._missing(
                    f"it is marked as {marker.identity} and should be {known}: does url name the right {self._marks.kind}?"
                )
        elif marker.grid != self._grid:
            raise self._foreign(marker)
        elif marker.identity == known:
            marker = _Marker(known, _CLAIMED, self._grid)
            await self._write(marker)
        return self._take(marker)

    def _take(self, marker: _Marker) -> str:
        self._identity = marker.identity
        self._claimed = marker.state == _CLAIMED
        self._saw()
        return marker.identity

    async def _offer(self) -> _Marker:
        await self._write(_Marker(self._clock.token(16).hex(), _OFFERED, self._grid), fresh=True)
        found = await self._read()  # Another process of this node may have been first.
        if found is None:
            raise self._missing(f"its {self._marks.name} was written and is not there")
        if found.grid != self._grid:
            raise self._foreign(found)
        return found

    async def _read(self) -> _Marker | None:
        data = await self._marks.read()
        if data is None:
            return None
        words = data.decode("utf-8", "replace").partition("\n")[0].split()
        if len(words) != 3:
            return _Marker("something unreadable", _CLAIMED, "unknown")
        return _Marker(*words)

    async def _write(self, marker: _Marker, *, fresh: bool = False) -> None:
        text = _TEXT.format(identity=marker.identity, state=marker.state, grid=marker.grid)
        await self._marks.write(text.encode(), fresh=fresh)

    def _foreign(self, marker: _Marker) -> Refused:
        kind = self._marks.kind
        return self._deny(f'it is the place of grid "{marker.grid}". Give each grid a {kind} or a directory of its own')

    def _deny(self, detail: str) -> Refused:
        return Refused(self._grid, "attach", f"{self._marks.where}: {detail}", reason=Reason.DENIED)

    def _missing(self, detail: str) -> Unavailable:
        return Unavailable(self._grid, "attach", f"{self._marks.where}: {detail}", lasting=True)
