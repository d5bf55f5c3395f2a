"""A grid that tells each attempt at it.

One `GridAttempt` per attempt that ended with an answer or a silence of this grid; a cancelled attempt, and one that failed for
its source's sake, says nothing about it. A read is told when it ends, with the bytes that it moved and
the time to its answer. It never changes an outcome. Invariant: an attempt is told at most once.
"""

from collections.abc import AsyncIterator
from types import TracebackType

from holdfast.clock import Clock
from holdfast.errors import GridError, Unavailable
from holdfast.events import ERRAND, GridAttempt, Teller
from holdfast.grids.grid import Capabilities, Download, Grid, Held, Label, Source, Staged
from holdfast.grids.sources import WaitedSource
from holdfast.model import Place, Span


class _Attempt:
    __slots__ = ("_began_s", "_clock", "_grid", "_operation", "_size", "_teller", "_waited_s", "_waiting")

    def __init__(self, grid: str, operation: str, size_bytes: int, clock: Clock, teller: Teller) -> None:
        self._grid = grid
        self._operation = operation
        self._size = size_bytes
        self._clock = clock
        self._teller = teller
        self._began_s = clock.monotonic_s()
        self._waiting = 0
        self._waited_s = 0.0

    def wait(self, waiting: bool) -> None:
        """What passes while somebody waits for a body is not the grid's time."""
        self._waiting += 1 if waiting else -1
        if waiting and self._waiting == 1:
            self._waited_s = self._clock.monotonic_s()
        elif not waiting and not self._waiting:
            self._began_s += self._clock.monotonic_s() - self._waited_s

    def moved_nothing(self) -> None:
        self._size = 0

    def elapsed_s(self) -> float:
        return self._clock.monotonic_s() - self._began_s

    def tell(self, error: GridError | None, elapsed_s: float, size_bytes: int) -> None:
        errand = ERRAND.get()
        if error is None:
            self._teller.tell(GridAttempt(self._grid, self._operation, "ok", elapsed_s, size_bytes, errand=errand))
        elif error.grid == self._grid and not (isinstance(error, Unavailable) and error.shielded):
            self._teller.tell(
                GridAttempt(self._grid, self._operation, error.outcome, elapsed_s, size_bytes, error.detail, errand)
            )

    def __enter__(self) -> "_Attempt":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.tell(None, self.elapsed_s(), self._size)
        elif isinstance(error, GridError):
            self.tell(error, self.elapsed_s(), 0)


class TraceGrid:
    """`inner`, told about."""

    def __init__(self, inner: Grid, *, clock: Clock, teller: Teller) -> None:
        self._inner = inner
        self._clock = clock
        self._teller = teller

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def attach(self, known: str) -> str:
        with self._attempt("attach"):
            return await self._inner.attach(known)

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        with self._attempt("stage", source.size) as attempt:
            if source.data is not None:
                return await self._inner.stage(place, source, label)
            patient = WaitedSource(source, attempt.wait)
            staged = await self._inner.stage(place, patient, label)
            if source.origins and not patient.streamed:
                attempt.moved_nothing()  # The bytes will come from where they lie.
            return staged

    async def publish(self, staged: Staged) -> str:
        with self._attempt("publish"):
            return await self._inner.publish(staged)

    async def discard(self, staged: Staged) -> None:
        with self._attempt("discard"):
            await self._inner.discard(staged)

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        attempt = self._attempt("get")
        try:
            download = await self._inner.get(place, span=span, if_match=if_match)
        except GridError as error:
            attempt.tell(error, attempt.elapsed_s(), 0)
            raise
        return _Download(download, attempt)

    async def head(self, place: Place) -> Held:
        with self._attempt("head"):
            return await self._inner.head(place)

    async def delete(self, place: Place) -> None:
        with self._attempt("delete"):
            await self._inner.delete(place)

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        with self._attempt("list"):
            return await self._inner.list(bucket, prefix=prefix, after=after, limit=limit)

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        with self._attempt("copy"):
            return await self._inner.copy(source, target, if_match=if_match, label=label)

    async def close(self) -> None:
        await self._inner.close()

    def _attempt(self, operation: str, size_bytes: int = 0) -> _Attempt:
        return _Attempt(self.name, operation, size_bytes, self._clock, self._teller)


class _Download:
    __slots__ = ("_answer_s", "_attempt", "_inner", "_moved", "_told", "etag", "size")

    def __init__(self, inner: Download, attempt: _Attempt) -> None:
        self._inner = inner
        self._attempt = attempt
        self._answer_s = attempt.elapsed_s()
        self._moved = 0
        self._told = False
        self.etag = inner.etag
        self.size = inner.size

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._inner.stream():
                self._moved += len(piece)
                yield piece
        except GridError as error:
            self._tell(error)
            raise

    async def close(self) -> None:
        self._tell(None)
        await self._inner.close()

    def _tell(self, error: GridError | None) -> None:
        if not self._told:
            self._told = True
            self._attempt.tell(error, self._answer_s, self._moved)
