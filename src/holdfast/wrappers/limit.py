"""A grid that does so much at once and no more.

Reads and changes have turns of their own, so that a grid which hangs on writing can still be read. Waiting for a turn is
bounded in number and time; beyond that `Unavailable(shielded=True)`. A body that is being read holds no turn:
how many there are is bounded by the requests of the server. Invariant: every turn that was taken is given back.
"""

import asyncio

from holdfast.errors import Unavailable
from holdfast.grids.grid import Capabilities, Download, Grid, Held, Label, Source, Staged
from holdfast.limits import GRID_WAIT_S, GRID_WAITING
from holdfast.model import Place, Span


class _Turns:
    """`count` turns."""

    __slots__ = ("_semaphore", "_waiting")

    def __init__(self, count: int) -> None:
        self._semaphore = asyncio.Semaphore(count)
        self._waiting = 0

    async def take(self, grid: str, operation: str, place: Place) -> None:
        """Raises Unavailable(shielded) when it would take too long."""
        if not self._semaphore.locked():
            await self._semaphore.acquire()  # Does not wait.
            return
        if self._waiting >= GRID_WAITING:
            raise _busy(grid, operation, place, f"{self._waiting} operations wait already")
        self._waiting += 1
        try:
            async with asyncio.timeout(GRID_WAIT_S):
                await self._semaphore.acquire()
        except TimeoutError as late:
            raise _busy(grid, operation, place, f"no turn within {GRID_WAIT_S:g} s") from late
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        self._semaphore.release()


def _busy(grid: str, operation: str, place: Place, detail: str) -> Unavailable:
    return Unavailable(grid, operation, detail, bucket=place.bucket, key=place.key, shielded=True)


class LimitGrid:
    """`inner`, with at most `concurrency` reads and as many changes at once."""

    def __init__(self, inner: Grid, *, concurrency: int) -> None:
        self._inner = inner
        self._reads = _Turns(concurrency)
        self._changes = _Turns(concurrency)

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def attach(self, known: str) -> str:
        """Takes no turn: a busy grid must still answer its probe."""
        return await self._inner.attach(known)

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        await self._changes.take(self.name, "stage", place)
        try:
            return await self._inner.stage(place, source, label)
        finally:
            self._changes.give_back()

    async def publish(self, staged: Staged) -> str:
        await self._changes.take(self.name, "publish", staged.place)
        try:
            return await self._inner.publish(staged)
        finally:
            self._changes.give_back()

    async def discard(self, staged: Staged) -> None:
        """Takes no turn: it frees what others hold."""
        await self._inner.discard(staged)

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        await self._reads.take(self.name, "get", place)
        try:
            return await self._inner.get(place, span=span, if_match=if_match)
        finally:
            self._reads.give_back()

    async def head(self, place: Place) -> Held:
        await self._reads.take(self.name, "head", place)
        try:
            return await self._inner.head(place)
        finally:
            self._reads.give_back()

    async def delete(self, place: Place) -> None:
        await self._changes.take(self.name, "delete", place)
        try:
            await self._inner.delete(place)
        finally:
            self._changes.give_back()

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        await self._reads.take(self.name, "list", Place(bucket, prefix))
        try:
            return await self._inner.list(bucket, prefix=prefix, after=after, limit=limit)
        finally:
            self._reads.give_back()

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        await self._changes.take(self.name, "copy", source)
        try:
            return await self._inner.copy(source, target, if_match=if_match, label=label)
        finally:
            self._changes.give_back()

    async def close(self) -> None:
        await self._inner.close()
