"""One simulated computer: its threads, its clock, and what happens to a process's files and database when it dies.

Answers for putting the simulation in place of threads, of locks that block, and of what a file system leaves to chance
(the order of a directory), while a simulation runs in this process. The files themselves are real, below one directory. It changes nothing
of what the product does with them. Invariant: after `simulated` everything is as it was.
"""

import asyncio
import contextlib
import fcntl
import os
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import apsw

from holdfast.crew import Crew, CrewFull
from holdfast.serve.log import Outlet
from holdfast.testing.simulation.life import LIFE, Life
from holdfast.testing.simulation.loop import SimLoop

_BEGAN_MS: Final = 1_767_225_600_000
"""The first day of 2026."""
_STALL_S: Final = 0.3
_LOCK_LOOK_S: Final = 0.003


class WouldBlock(Exception):
    """A thread would wait here for another process."""


class Machine:
    """What all its processes share."""

    def __init__(self, loop: SimLoop, dice: random.Random) -> None:
        self.loop = loop
        self.dice = dice
        self.skew_ms = 0
        """How wrong its wall clock is."""
        self.slowness = 1.0
        """How many times longer than usual its disk takes."""
        self.connections: dict[Life, list[apsw.Connection]] = {}

    def now_ms(self) -> int:
        """What its wall clock says, since the Unix epoch."""
        return _BEGAN_MS + int(self.loop.time() * 1000) + self.skew_ms

    def pause_s(self) -> float:
        """How long a thread takes for a piece of work: mostly little, now and then much."""
        draw = self.dice.random()
        usual = _STALL_S * self.dice.random() if draw > 0.995 else 0.0001 + 0.003 * draw**4
        return usual * self.slowness

    def bury(self, life: Life) -> None:
        """Let go of what a dead process held of the database, without a change to it."""
        for connection in self.connections.pop(life, ()):
            with contextlib.suppress(apsw.Error):
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close(True)


class SimClock:
    """Time and chance of one process."""

    def __init__(self, machine: Machine, seed: str) -> None:
        self._machine = machine
        self._dice = random.Random(seed)

    def now_ms(self) -> int:
        return self._machine.now_ms()

    def monotonic_s(self) -> float:
        return self._machine.loop.time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def random(self) -> float:
        return self._dice.random()

    def token(self, size_bytes: int) -> bytes:
        return self._dice.randbytes(size_bytes)


class Lines(Outlet):
    """A log that is kept, the newest lines of it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def msg(self, line: str) -> None:
        self._tell(line)

    debug = info = warning = warn = error = critical = fatal = log = msg

    def close(self, timeout_s: float = 1.0) -> None:
        """Nothing waits."""


@contextlib.contextmanager
def simulated(machine: Machine) -> Iterator[None]:
    """Threads, locks and directories are the machine's while this lasts."""
    hooks = [
        (Crew, "submit", _submitter(machine)),
        (Crew, "close", _close),
        (fcntl, "flock", _flock),
        (os, "listdir", _sorted(os.listdir)),
        (os, "scandir", _scandir(os.scandir)),
    ]
    before = [(place, name, getattr(place, name)) for place, name, _ in hooks]

    def connected(connection: apsw.Connection) -> None:
        life = LIFE.get()
        if life is not None:
            machine.connections.setdefault(life, []).append(connection)

    apsw.connection_hooks.append(connected)
    for place, name, replacement in hooks:
        setattr(place, name, replacement)
    try:
        yield
    finally:
        for place, name, original in before:
            setattr(place, name, original)
        apsw.connection_hooks.remove(connected)


# --- threads ---

_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def _submitter(machine: Machine) -> Callable[..., "asyncio.Future[Any]"]:
    """`Crew.submit` without threads: a job is done in one go, after a while, and never two more than the crew is large at once."""

    def submit(crew: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> "asyncio.Future[Any]":
        future = machine.loop.create_future()
        if crew._closed or len(crew._jobs) >= crew._waiting:
            raise CrewFull(f"{crew._name}: {len(crew._jobs)} operations wait already")
        crew._jobs.append((future, fn, args, kwargs))
        begin(crew)
        return future

    def begin(crew: Any) -> None:
        while crew._jobs and crew._threads < crew._size:
            job: _Job = crew._jobs.popleft()
            if not job[0].cancelled():
                crew._threads += 1
                machine.loop.call_later(machine.pause_s(), end, crew, job)

    def end(crew: Any, job: _Job) -> None:
        future, fn, args, kwargs = job
        try:
            result, trouble = fn(*args, **kwargs), None
        except WouldBlock:
            machine.loop.call_later(_LOCK_LOOK_S * (0.5 + machine.dice.random()), end, crew, job)
            return
        except Exception as raised:  # noqa: BLE001 - every outcome belongs to the caller
            result, trouble = None, raised
        crew._threads -= 1
        life = LIFE.get()
        if not future.done() and (life is None or not life.dead):
            if trouble is not None:
                future.set_exception(trouble)
            else:
                future.set_result(result)
        begin(crew)

    return submit


def _close(crew: Any) -> None:
    crew._closed = True


_real_flock = fcntl.flock


def _flock(descriptor: int, operation: int) -> None:
    """A lock that another process has: its owner would have to run while we wait."""
    if operation & fcntl.LOCK_EX and not operation & fcntl.LOCK_NB:
        try:
            _real_flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WouldBlock from None
    else:
        _real_flock(descriptor, operation)


# --- directories ---


def _sorted(listdir: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    return lambda *path: sorted(listdir(*path))


class _Entries:
    """What `scandir` returns, in order."""

    def __init__(self, entries: Any) -> None:
        with entries:
            self._entries = iter(sorted(entries, key=lambda entry: entry.name))

    def __iter__(self) -> Any:
        return self._entries

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> "_Entries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """All was read."""


def _scandir(scandir: Callable[..., Any]) -> Callable[..., _Entries]:
    return lambda *path: _Entries(scandir(*path))
