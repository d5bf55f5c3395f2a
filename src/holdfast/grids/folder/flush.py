"""Changes of one file system that share a flush.

Answers for: when a change's future has its result, what it did survives power loss. A batch of changes is made one
after the other in one thread, and flushed once; what arrives meanwhile is the next batch. It never
knows what a change means. Invariant: one batch at a time, in the order in which changes were submitted.
"""

import asyncio
import contextlib
import ctypes
import os
from collections import deque
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from holdfast import folders
from holdfast.crew import Crew, CrewFull
from holdfast.limits import FOLDER_BATCH, FOLDER_FLUSH_WHOLE, GRID_QUEUE

P = ParamSpec("P")
R = TypeVar("R")

_syncfs: Callable[[int], int] | None = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


class Unfinished(Exception):
    """The change was made, but it is not known to be whole and durable. `__cause__` says why."""


class Dirty:
    """What a batch touched and a flush must make durable. Takes over the descriptors it is given."""

    __slots__ = ("_files", "_folders")

    def __init__(self) -> None:
        self._files: list[int] = []
        self._folders: set[bytes] = set()

    def file(self, descriptor: int) -> None:
        self._files.append(descriptor)

    def folder(self, path: bytes) -> None:
        self._folders.add(path)

    def flush(self, whole: bytes | None) -> None:
        """Make everything durable, by one flush of the file system of `whole` where that is cheaper. Raises OSError."""
        count = len(self._files) + len(self._folders)
        if whole is not None and _syncfs is not None and count >= FOLDER_FLUSH_WHOLE:
            _flush_whole(whole)
            return
        for descriptor in self._files:
            os.fsync(descriptor)
        for path in self._folders:
            flush_folder(path)

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)


def flush_folder(path: bytes) -> None:
    """Make a directory's entries durable. One that is gone meanwhile was emptied by others, who answer for that."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        folders.flush_folder(path)


def _flush_whole(path: bytes) -> None:
    assert _syncfs is not None
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


class _Change:
    __slots__ = ("act", "args", "future", "kwargs", "result", "trouble")

    def __init__(
        self,
        future: "asyncio.Future[Any]",
        act: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.future = future
        self.act = act
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.trouble: Exception | None = None


class Flusher:
    """Makes changes durable in batches, with one thread of `crew` at a time."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._waiting: deque[_Change] = deque()
        self._running = False
        self.whole: bytes | None = None
        """A directory whose whole file system may be flushed at once; None where that flushes nothing."""

    def submit(self, act: Callable[Concatenate[Dirty, P], R], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[R]":
        """Begin `act(dirty, ...)` and return a future that has its result once all of it is durable.

        A change whose future is cancelled before it began is dropped. The future raises what `act` raised, or Unfinished when
        the flush failed. Raises CrewFull at once when too much waits.
        """
        if len(self._waiting) >= GRID_QUEUE:
            self._waiting = deque(change for change in self._waiting if not change.future.cancelled())
            if len(self._waiting) >= GRID_QUEUE:
                raise CrewFull(f"{len(self._waiting)} changes wait already")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Change(future, act, args, kwargs))
        if not self._running:
            self._begin()
        return future

    def _begin(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), FOLDER_BATCH))]
        try:
            done = self._crew.submit(_make, batch, self.whole)
        except CrewFull as full:
            for change in batch:
                if not change.future.done():
                    change.future.set_exception(full)
            return
        self._running = True
        done.add_done_callback(lambda _: self._deliver(batch))

    def _deliver(self, batch: list[_Change]) -> None:
        self._running = False
        if self._waiting:
            self._begin()
        for change in batch:
            if change.future.done():
                continue
            if change.trouble is not None:
                change.future.set_exception(change.trouble)
            else:
                change.future.set_result(change.result)


def _make(batch: list[_Change], whole: bytes | None) -> None:
    dirty = Dirty()
    try:
        made = []
        for change in batch:
            if change.future.cancelled():
                continue
            try:
                change.result = change.act(dirty, *change.args, **change.kwargs)
                made.append(change)
            except Exception as trouble:  # noqa: BLE001 - every outcome belongs to the caller
                change.trouble = trouble
        try:
            dirty.flush(whole)
        except OSError as trouble:
            for change in made:
                change.trouble = Unfinished()
                change.trouble.__cause__ = trouble
    finally:
        dirty.close()
