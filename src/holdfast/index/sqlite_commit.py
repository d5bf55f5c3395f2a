"""Group commit: concurrent changes share one transaction and one fsync.

Answers for: each change is applied whole or not at all, in the order of arrival, and its result is given only when
it is durable. Changes run inline on the event loop, a slice at a time; only the wait for another process and
the fsync happen in a thread. It never knows what a change does. Invariant: a refused change
(S3Error) has written nothing, and when a commit fails every change in it fails, refused ones too,
because what they were judged by never was.

Processes take turns by `flock` on a file beside the index, so that nobody polls SQLite's own write lock.
"""

import asyncio
import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from holdfast.clock import Clock
from holdfast.crew import Crew
from holdfast.errors import S3Error
from holdfast.events import Committed, Noted, Teller
from holdfast.index.interface import CommitUnknown
from holdfast.index.sqlite_batch import Batch, GridBook, Steps
from holdfast.index.sqlite_open import unavailable
from holdfast.limits import (
    COMMIT_BATCH,
    COMMIT_GATHER,
    COMMIT_GATHER_S,
    COMMIT_QUEUE,
    COMMIT_SLICE,
    INDEX_CHECKPOINT_BYTES,
    INDEX_LOCK_S,
    INDEX_PAGE_BYTES,
)

P = ParamSpec("P")
R = TypeVar("R")

_CHECKPOINT_PAGES = INDEX_CHECKPOINT_BYTES // INDEX_PAGE_BYTES

# The file or its disk is in trouble, not the change: every change of the batch fails.
_OUTAGES = (
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.NoMemError,
    apsw.InterruptError,
    apsw.ThreadingViolationError,
    apsw.ConnectionClosedError,
)


class _Change:
    __slots__ = ("apply", "arguments", "future", "long", "outcome", "refusal")

    def __init__(
        self, apply: Callable[..., Any], arguments: tuple[Any, ...], future: "asyncio.Future[Any]", long: bool
    ) -> None:
        self.apply = apply
        self.arguments = arguments
        self.future = future
        self.long = long
        self.outcome: Any = None
        self.refusal: S3Error | None = None


class _Broken(Exception):
    """A change raised something other than S3Error: it may have written half of itself."""

    def __init__(self, change: _Change, trouble: Exception) -> None:
        self.change = change
        self.trouble = trouble


class Committer:
    """The one writer of a process. Owns its connection and the lock's descriptor from now on."""

    def __init__(
        self, connection: apsw.Connection, lock: int, grids: GridBook, *, clock: Clock, teller: Teller
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._lock = lock
        self._grids = grids
        self._clock = clock
        self._teller = teller
        self._crew = Crew("commit", size=1, waiting=2)
        self._queue: deque[_Change] = deque()
        self._awake = asyncio.Event()
        self._closing = False
        self._locking: asyncio.Future[None] | None = None
        self._log_pages = 0
        self._enough = 1
        """Queued changes that wake the committer."""
        self._expected = 0
        self._gather_until_s = 0.0
        connection.set_wal_hook(self._logged)
        self._task = asyncio.create_task(self._run(), name="index committer")

    def submit(
        self, apply: Callable[Concatenate[Batch, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[R]":
        """Queue a change; the future has its result once it is durable. Raises SlowDown when too many wait.

        `apply` first checks, raising S3Error, then writes. It may be run again when another change of its
        batch broke. A change whose future is cancelled before its turn is dropped.
        """
        assert not kwargs
        return self._enqueue(apply, args, long=False)

    def submit_long(
        self, apply: Callable[Concatenate[Batch, P], Steps[R]], *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[R]":
        """`submit` for a change that works in steps."""
        assert not kwargs
        return self._enqueue(apply, args, long=True)

    def _enqueue(self, apply: Callable[..., Any], arguments: tuple[Any, ...], *, long: bool) -> "asyncio.Future[Any]":
        if len(self._queue) >= COMMIT_QUEUE or self._closing:
            detail = "index: it is closing" if self._closing else f"index: {COMMIT_QUEUE} changes wait already"
            raise S3Error("SlowDown", detail=detail)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append(_Change(apply, arguments, future, long))
        if len(self._queue) >= self._enough:
            self._awake.set()
        return future

    async def close(self) -> None:
        """Commit what was accepted, then let go of everything."""
        self._closing = True
        self._awake.set()
        await self._task
        if self._locking is None:
            await self._crew.do(self._connection.close)
            os.close(self._lock)
        else:  # The thread still waits for another process: it keeps the descriptor until this process ends.
            self._connection.close()
        self._crew.close()

    async def _run(self) -> None:
        while not (self._closing and not self._queue):
            if self._queue:
                await self._gather()
                await self._commit_some()
            else:
                self._enough = 1
                self._awake.clear()
                await self._awake.wait()

    async def _gather(self) -> None:
        """Let those whose changes were just committed come back with their next ones, so that all of them share a commit
        again instead of waiting for each other's. Waits no longer than that commit took."""
        wait_s = self._gather_until_s - self._clock.monotonic_s()
        if wait_s > 0 and len(self._queue) < self._expected and not self._closing:
            self._enough = self._expected
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._awake.wait()

    async def _commit_some(self) -> None:
        """Commit up to COMMIT_BATCH queued changes together. Settles every one of them, whatever happens."""
        try:
            await self._take_lock()
        except TimeoutError:
            self._fail_queue(f"index: another process kept it for {INDEX_LOCK_S} s")
            return
        except OSError as trouble:
            self._fail_queue(f"index: its lock failed ({trouble.strerror})")
            return
        batch = [self._queue.popleft() for _ in range(min(COMMIT_BATCH, len(self._queue)))]
        started_s = self._clock.monotonic_s()
        try:
            written = await self._transact(batch)
        except apsw.Error as trouble:
            _fail(batch, partial(unavailable, trouble))
        except CommitUnknown as unknown:
            _fail(batch, partial(CommitUnknown, *unknown.args))
        except Exception as mistake:  # noqa: BLE001 - ours; the committer must live on, and every waiter be told
            _fail(batch, partial(CommitUnknown, f"index: {type(mistake).__name__}: {mistake}"))
        else:
            _settle(batch)
            if written:
                now_s = self._clock.monotonic_s()
                came = min(COMMIT_BATCH, len(batch) + len(self._queue))
                self._expected = came if came >= COMMIT_GATHER else 0
                self._gather_until_s = now_s + min(COMMIT_GATHER_S, now_s - started_s)
                self._teller.tell(Committed(len(batch), now_s - started_s))
        finally:
            if self._log_pages >= _CHECKPOINT_PAGES:
                await self._checkpoint()
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _fail_queue(self, detail: str) -> None:
        waiting = tuple(self._queue)
        self._queue.clear()
        _fail(waiting, partial(S3Error, "SlowDown", detail=detail))

    async def _transact(self, batch: list[_Change]) -> bool:
        """Apply and commit; True when there was something to commit. Raises apsw.Error when certainly nothing
        was committed, else CommitUnknown."""
        connection = self._connection
        while True:
            before = connection.total_changes()
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                transaction = Batch(connection, self._grids, self._clock.now_ms())
                await self._apply(batch, transaction)
                transaction.finish()
                break
            except _Broken as broken:
                self._roll_back()
                if not broken.change.future.done():
                    broken.change.future.set_exception(broken.trouble)
            except BaseException:
                self._roll_back()
                raise
        if connection.total_changes() == before:
            connection.execute("COMMIT")
            return False
        try:
            await self._crew.do(connection.execute, "COMMIT")
        except apsw.Error as trouble:
            # A full disk or a busy lock stops the log before the frame that makes it a commit.
            certain = isinstance(trouble, apsw.FullError | apsw.BusyError)
            self._roll_back()
            if certain:
                raise
            raise CommitUnknown(f"index: {type(trouble).__name__}: {trouble}") from trouble
        return True

    async def _apply(self, batch: list[_Change], transaction: Batch) -> None:
        connection = self._connection
        applied = 0
        for change in batch:
            if change.future.done():
                continue
            if applied and applied % COMMIT_SLICE == 0:
                await asyncio.sleep(0)
            applied += 1
            change.refusal = None
            before = connection.total_changes()
            try:
                outcome = change.apply(transaction, *change.arguments)
                change.outcome = await _walk(outcome) if change.long else outcome
            except S3Error as refusal:
                if connection.total_changes() != before:
                    raise _Broken(change, refusal) from refusal
                change.refusal = refusal
            except _OUTAGES:
                raise
            except Exception as trouble:
                raise _Broken(change, trouble) from trouble

    def _roll_back(self) -> None:
        self._grids.forget()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    async def _take_lock(self) -> None:
        """Have the lock that all processes respect. Raises TimeoutError after INDEX_LOCK_S."""
        if self._locking is None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self._locking = self._crew.submit(fcntl.flock, self._lock, fcntl.LOCK_EX)
        # A wait that was given up goes on in its thread, and the next batch joins it.
        waiting = self._locking
        done, _ = await asyncio.wait({waiting}, timeout=INDEX_LOCK_S)
        if not done:
            if not waiting.done():
                waiting.add_done_callback(self._came_late)
            raise TimeoutError
        waiting.remove_done_callback(self._came_late)
        self._locking = None
        waiting.result()

    def _came_late(self, locking: "asyncio.Future[None]") -> None:
        """The lock came when nobody waited for it any more."""
        if self._locking is locking and not self._queue:
            self._locking = None
            if not locking.cancelled() and locking.exception() is None:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    async def _checkpoint(self) -> None:
        """Move the log into the file while nobody writes, so that it starts anew."""
        try:
            await self._crew.do(self._connection.wal_checkpoint, mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._log_pages = 0
        except apsw.Error as trouble:
            # Nothing is lost: the log only grows until a later one succeeds.
            self._teller.tell(Noted("index checkpoint failed", {"reason": f"{type(trouble).__name__}: {trouble}"}))

    def _logged(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK


async def _walk(steps: "Steps[R]") -> R:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: R = end.value
            return outcome
        await asyncio.sleep(0)


def _settle(batch: list[_Change]) -> None:
    for change in batch:
        if not change.future.done():
            if change.refusal is not None:
                change.future.set_exception(change.refusal)
            else:
                change.future.set_result(change.outcome)


def _fail(batch: Iterable[_Change], error: Callable[[], Exception]) -> None:
    """Each waiter gets an error of its own: raising one object in several tasks would mix their tracebacks."""
    for change in batch:
        if not change.future.done():
            change.future.set_exception(error())
