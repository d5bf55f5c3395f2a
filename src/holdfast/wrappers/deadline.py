"""A grid that answers in time, or is silent by definition.

Answers for: no call waits longer than its deadline, no body moves more slowly than the floor. Only the time that the grid
takes counts, never that of a slow reader, nor that of a body that is still arriving. A change that ran out of time is Uncertain, everything else
Unavailable. It never retries. Invariant: what is given up is cancelled.
"""

import asyncio
from collections.abc import AsyncIterator

from holdfast.errors import Unavailable, Uncertain
from holdfast.grids.grid import Capabilities, Download, Grid, Held, Label, Source, Staged
from holdfast.grids.sources import WaitedSource
from holdfast.limits import GRID_COPY_S, GRID_FLOOR_BYTES, GRID_FLOOR_S, GRID_LIST_S, GRID_STAGE_BYTES_S
from holdfast.model import Place, Span


class DeadlineGrid:
    """`inner`, with `deadline_s` for the answer of a small operation or the first byte of a body."""

    def __init__(self, inner: Grid, *, deadline_s: float) -> None:
        self._inner = inner
        self._deadline_s = deadline_s

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def attach(self, known: str) -> str:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._inner.attach(known)
        except TimeoutError as late:
            raise Unavailable(self.name, "attach", _silent(self._deadline_s)) from late

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        limit_s = self._deadline_s + source.size / GRID_STAGE_BYTES_S
        try:
            async with asyncio.timeout(limit_s) as limit:
                if source.data is not None:
                    return await self._inner.stage(place, source, label)
                with _Stopwatch(limit) as watch:
                    return await self._inner.stage(place, WaitedSource(source, watch.wait), label)
        except TimeoutError as late:
            raise self._unavailable("stage", place, limit_s) from late

    async def publish(self, staged: Staged) -> str:
        limit_s = self._deadline_s + staged.pending_bytes / GRID_STAGE_BYTES_S
        try:
            async with asyncio.timeout(limit_s):
                return await self._inner.publish(staged)
        except TimeoutError as late:
            raise self._uncertain("publish", staged.place, limit_s) from late

    async def discard(self, staged: Staged) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._inner.discard(staged)
        except TimeoutError as late:
            raise self._unavailable("discard", staged.place, self._deadline_s) from late

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        try:
            async with asyncio.timeout(self._deadline_s):
                download = await self._inner.get(place, span=span, if_match=if_match)
        except TimeoutError as late:
            raise self._unavailable("get", place, self._deadline_s) from late
        return _Download(download, self.name, place, self._deadline_s)

    async def head(self, place: Place) -> Held:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._inner.head(place)
        except TimeoutError as late:
            raise self._unavailable("head", place, self._deadline_s) from late

    async def delete(self, place: Place) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._inner.delete(place)
        except TimeoutError as late:
            raise self._uncertain("delete", place, self._deadline_s) from late

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        limit_s = max(self._deadline_s, GRID_LIST_S)
        try:
            async with asyncio.timeout(limit_s):
                return await self._inner.list(bucket, prefix=prefix, after=after, limit=limit)
        except TimeoutError as late:
            raise self._unavailable("list", Place(bucket, prefix), limit_s) from late

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        limit_s = max(self._deadline_s, GRID_COPY_S)
        try:
            async with asyncio.timeout(limit_s):
                return await self._inner.copy(source, target, if_match=if_match, label=label)
        except TimeoutError as late:
            raise self._uncertain("copy", target, limit_s) from late

    async def close(self) -> None:
        await self._inner.close()

    def _unavailable(self, operation: str, place: Place, limit_s: float) -> Unavailable:
        return Unavailable(self.name, operation, _silent(limit_s), bucket=place.bucket, key=place.key)

    def _uncertain(self, operation: str, place: Place, limit_s: float) -> Uncertain:
        return Uncertain(self.name, operation, _silent(limit_s), bucket=place.bucket, key=place.key)


def _silent(limit_s: float) -> str:
    return f"no answer within {limit_s:g} s"


class _Stopwatch:
    """A limit that does not run while somebody waits for a body."""

    __slots__ = ("_left_s", "_limit", "_now_s", "_over", "_waiting")

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._now_s = asyncio.get_running_loop().time
        self._waiting = 0
        self._left_s = 0.0
        self._over = False

    def __enter__(self) -> "_Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True

    def wait(self, waiting: bool) -> None:
        """Stand still while anybody waits."""
        self._waiting += 1 if waiting else -1
        if self._over or self._limit.expired():
            return
        if waiting and self._waiting == 1:
            self._left_s = (self._limit.when() or self._now_s()) - self._now_s()
            self._limit.reschedule(None)
        elif not waiting and not self._waiting:
            self._limit.reschedule(self._now_s() + self._left_s)


class _Download:
    __slots__ = ("_deadline_s", "_inner", "_name", "_place", "etag", "size")

    def __init__(self, inner: Download, name: str, place: Place, deadline_s: float) -> None:
        self._inner = inner
        self._name = name
        self._place = place
        self._deadline_s = deadline_s
        self.etag = inner.etag
        self.size = inner.size

    async def stream(self) -> AsyncIterator[bytes]:
        now_s = asyncio.get_running_loop().time
        pieces = self._inner.stream()
        left_s = self._deadline_s
        moved = GRID_FLOOR_BYTES  # The first bytes, however few, end the wait for them.
        while True:
            began_s = now_s()
            try:
                async with asyncio.timeout(left_s):
                    piece = await anext(pieces, None)
            except TimeoutError as late:
                detail = f"the body came more slowly than {GRID_FLOOR_BYTES} bytes in {GRID_FLOOR_S:g} s, or not at all"
                raise Unavailable(self._name, "get", detail, bucket=self._place.bucket, key=self._place.key) from late
            if piece is None:
                return
            left_s -= now_s() - began_s
            moved += len(piece)
            if moved >= GRID_FLOOR_BYTES:
                left_s = GRID_FLOOR_S
                moved = 0
            yield piece

    async def close(self) -> None:
        await self._inner.close()
