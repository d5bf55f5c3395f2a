"""The event loop of a simulation: virtual time, no threads, no sockets, and processes that can die at any moment.

Answers for time (it leaps to the next timer when nothing is ready), for what dies with a process (whatever its code
scheduled is dropped, so no `finally` of it runs), and for the order of things being the same in every run of a seed. It knows
nothing of Holdfast. Invariant: nothing here waits for the real world.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from holdfast.testing.simulation.life import LIFE, Life
from holdfast.testing.simulation.network import Network


class Stalled(Exception):
    """Nothing is left that could ever happen."""


class _Future(asyncio.Future[Any]):
    """Sets of these are iterated in the order of their numbers, not of their addresses."""

    def __init__(self, serial: int, loop: asyncio.AbstractEventLoop) -> None:
        self._serial = serial
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._serial


class _Task(asyncio.Task[Any]):
    def __init__(self, serial: int, coro: Coroutine[Any, Any, Any], loop: "SimLoop", context: Context | None) -> None:
        self._serial = serial
        self.life = context.get(LIFE) if context is not None else LIFE.get()
        super().__init__(coro, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._serial


class SimLoop(asyncio.BaseEventLoop):
    """An event loop on which hours pass in seconds."""

    def __init__(self, *, draw: Callable[[], float]) -> None:
        self._now_s = 0.0
        super().__init__()
        self._serials = itertools.count(1)
        self._draw = draw
        self.network = Network(self, draw)
        self.graveyard: list[Life] = []
        """Kept to the end, since a coroutine that is collected runs its `finally`."""
        self.steps = 0
        """Callbacks that ran."""
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now_s

    def create_future(self) -> "asyncio.Future[Any]":
        return _Future(next(self._serials), self)

    def kill(self, life: Life) -> None:
        """This process ends at once: nothing of it runs any more, not even a `finally`."""
        life.dead = True
        self.graveyard.append(life)
        for task in asyncio.all_tasks(self):
            if isinstance(task, _Task) and task.life is life:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                life.tasks.append(task)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Work of a thread: done after a moment, in one go."""
        future = self.create_future()
        self.call_later(self._draw() * 0.001, _do, future, func, args)
        return future

    async def create_server(self, protocol_factory: Any, *_: Any, sock: Any = None, **__: Any) -> Any:
        return self.network.listen(sock.getsockname(), protocol_factory)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        return await self.network.connect((host, port), protocol_factory)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None) -> Any:
        return _Task(next(self._serials), coro, self, context)

    def _run_once(self) -> None:
        timers = self._scheduled  # type: ignore[attr-defined]
        ready = self._ready  # type: ignore[attr-defined]
        while timers and (timers[0]._cancelled or _is_dead(timers[0])):
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise Stalled
            self._now_s = max(self._now_s, timers[0]._when)
        while timers and timers[0]._when <= self._now_s:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled and not _is_dead(handle):
                self.steps += 1
                handle._run()

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled timers go when their time comes."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who must be woken."""


def _is_dead(handle: Any) -> bool:
    life = handle._context.get(LIFE)
    return life is not None and life.dead


def _do(future: "asyncio.Future[Any]", func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.done():
        return
    try:
        result = func(*args)
    except Exception as trouble:  # noqa: BLE001 - every outcome belongs to the caller
        future.set_exception(trouble)
    else:
        future.set_result(result)
