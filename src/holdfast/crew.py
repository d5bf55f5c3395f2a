"""Threads for blocking work that may hang and must then be abandoned.

A crew belongs to one owner (a grid, the spool), so that one hung disk cannot take the threads of
another. Waiting work is bounded. Each thread takes a share of what waits and delivers the results
together, so that many small operations cost one wake-up of the event loop instead of one each.
Threads are daemons: a hung one never keeps the process alive. Invariant: every accepted job's
future is settled, unless its thread hangs.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_SHARE = 16
"""Most jobs that one thread takes at once."""


class CrewFull(Exception):
    """More work waits than the crew's limit allows."""


class _Job:
    __slots__ = ("args", "fn", "future", "kwargs", "loop", "result", "trouble")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        future: "asyncio.Future[Any]",
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.loop = loop
        self.future = future
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.trouble: BaseException | None = None


class Crew:
    """`size` threads and at most `waiting` queued jobs."""

    def __init__(self, name: str, *, size: int, waiting: int) -> None:
        self._name = name
        self._size = size
        self._waiting = waiting
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition(threading.Lock())
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[R]":
        """Begin `fn` in a thread and return its future. Raises CrewFull at once when too much waits.

        A job whose future is cancelled before it began is dropped; one that has begun runs to its end.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        job = _Job(loop, future, fn, args, kwargs)
        with self._wake:
            if self._closed or len(self._jobs) >= self._waiting:
                raise CrewFull(f"{self._name}: {len(self._jobs)} operations wait already")
            self._jobs.append(job)
            if self._idle:
                self._idle -= 1
                self._wake.notify()
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        return future

    async def do(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn` in a thread and return its result; see `submit`."""
        return await self.submit(fn, *args, **kwargs)

    def close(self) -> None:
        """Take no more work and let idle threads end. Does not wait."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._jobs:
                    if self._closed:
                        return
                    self._idle += 1
                    self._wake.wait()  # Whoever notifies counts this thread as busy again.
                share = min(_SHARE, -(-len(self._jobs) // self._size))
                taken = [self._jobs.popleft() for _ in range(share)]
            for job in taken:
                if job.future.cancelled():
                    continue
                try:
                    job.result = job.fn(*job.args, **job.kwargs)
                except BaseException as trouble:  # noqa: BLE001 - every outcome belongs to the caller
                    job.trouble = trouble
            try:
                taken[0].loop.call_soon_threadsafe(_deliver, taken)
            except RuntimeError:
                return  # The loop is closed: nobody waits any more.


def _deliver(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.trouble is not None:
            job.future.set_exception(job.trouble)
        else:
            job.future.set_result(job.result)
