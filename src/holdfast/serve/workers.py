"""Processes of one server: sockets are opened once, workers share them, and a dead one is replaced.

Answers for signals and exit codes. SIGTERM or SIGINT stops gracefully, a second one at once; SIGHUP reloads.
The parent of several workers serves nothing and starts no thread and no event loop, so that forking is safe.
Invariant: no worker outlives its parent, however that ended; a half-done request is safe, because only what is
committed was acknowledged.
"""

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from holdfast.clock import Clock
from holdfast.errors import ConfigError
from holdfast.limits import BACKLOG, WORKER_RETRY_MAX_S, WORKER_RETRY_S, WORKER_TRIES, WORKERS

Child = Callable[[int], int]
"""Serves as the worker of that number until it is stopped, and returns an exit code."""

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_AT_ONCE: Final = 128 + signal.SIGTERM
"""Exit code of a process that was told twice."""

_parent_pipe: int | None = None
"""In a worker: reads as ended when the parent is no more."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of `host` (all addresses when it is empty), inheritable by workers.

    Port 0 takes a free port, the same for all addresses. Raises ConfigError.
    """
    where = f"server.listen = {host}:{port}"
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            opened.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(opened) > 1:
                address = (address[0], opened[0].getsockname()[1], *address[2:])
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise ConfigError(where, f"cannot listen: {error.strerror or error}.", "Is another server running?") from error
    return opened


async def until_stopped(reload: Callable[[], None] | None = None) -> None:
    """Return at the first SIGTERM or SIGINT; from then on a second one ends the process at once.

    Call it once per process. `reload` is called at SIGHUP. To a worker a second one means nothing: terminals and
    service managers signal all processes, and its parent does too. A worker whose parent died ends at once.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def stop() -> None:
        if told.is_set() and _parent_pipe is None:
            os._exit(_AT_ONCE)
        told.set()

    for number in _STOPS:
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload or _ignore)
    if _parent_pipe is not None:
        loop.add_reader(_parent_pipe, os._exit, 1)
    await told.wait()


def supervise(
    child: Child,
    *,
    workers: int,
    sockets: Sequence[socket.socket],
    clock: Clock,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Run `child(number)` in `workers` processes until they are stopped, and return the exit code.

    One worker runs in this process. Of several, one that dies is started again after a pause; one that keeps failing
    at its start stops them all, with its exit code (being killed does not count). `sockets` are those that `child`
    serves: the parent keeps them open, so that clients wait while a worker is replaced, until the stop. `tell` is given a sentence for the log.
    """
    if not 1 <= workers <= WORKERS:
        raise ConfigError("server.workers", f"{workers} is not possible.", f"Choose 1 to {WORKERS}.")
    if workers == 1:
        return child(0)
    return _Parent(child, workers, sockets, clock, tell).run()


class _Slot:
    """One worker's place: its process now, and how its predecessors fared."""

    __slots__ = ("began_s", "code", "due_s", "number", "pid", "quick_deaths")

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.began_s = 0.0
        self.due_s = 0.0
        """When it is to be started, while it is not running."""
        self.quick_deaths = 0
        self.code = 0


class _Parent:
    def __init__(
        self,
        child: Child,
        workers: int,
        sockets: Sequence[socket.socket],
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self._child = child
        self._sockets = sockets
        self._clock = clock
        self._tell = tell
        self._slots = [_Slot(number) for number in range(workers)]
        self._life, self._life_held = os.pipe()
        self._wake, self._wake_end = os.pipe()
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        with self._signals():
            while True:
                self._reap()
                running = [slot for slot in self._slots if slot.pid]
                if self._stopping and not running:
                    return self._code
                if not self._stopping:
                    self._start_due()
                select.select([self._wake], [], [], self._pause())
                self._obey(self._drain_wake())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals become bytes in a pipe, so that none is lost between two looks."""
        for end in (self._wake, self._wake_end):
            os.set_blocking(end, False)
        before = {number: signal.signal(number, lambda *_: None) for number in (*_STOPS, signal.SIGHUP, signal.SIGCHLD)}
        previous = signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in (self._wake, self._wake_end, self._life, self._life_held):
                os.close(end)

    def _drain_wake(self) -> bytes:
        try:
            return os.read(self._wake, 1024)
        except BlockingIOError:
            return b""

    def _obey(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _STOPS:
                self._signal(signal.SIGKILL if self._stopping else signal.SIGTERM)
                self._stopping = True
                for sock in self._sockets:
                    sock.close()
            elif number == signal.SIGHUP:
                self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)

    def _start_due(self) -> None:
        for slot in self._slots:
            if not slot.pid and self._clock.monotonic_s() >= slot.due_s:
                self._fork(slot)

    def _pause(self) -> float | None:
        """Seconds until a worker is to be started; None when only a signal matters."""
        due = [slot.due_s for slot in self._slots if not slot.pid]
        return None if self._stopping or not due else max(0.0, min(due) - self._clock.monotonic_s())

    def _fork(self, slot: _Slot) -> None:
        slot.began_s = self._clock.monotonic_s()
        pid = os.fork()
        if pid:
            slot.pid = pid
            return
        code = 1
        try:
            self._become_child()
            code = self._child(slot.number)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        finally:
            if sys.exc_info()[0] not in (None, SystemExit):
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _become_child(self) -> None:
        global _parent_pipe
        signal.set_wakeup_fd(-1)
        for number in _STOPS:
            signal.signal(number, lambda *_: os._exit(0))  # Until its event loop listens there is nothing to finish.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._wake, self._wake_end, self._life_held):
            os.close(end)
        _parent_pipe = self._life

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.pid:
                pid, status = os.waitpid(slot.pid, os.WNOHANG)
                if pid:
                    slot.pid = 0
                    self._note_end(slot, os.waitstatus_to_exitcode(status))

    def _note_end(self, slot: _Slot, code: int) -> None:
        if self._stopping:
            self._code = self._code or (code if code >= 0 else _AT_ONCE)
            return
        now_s = self._clock.monotonic_s()
        quick = now_s - slot.began_s < WORKER_RETRY_MAX_S
        slot.quick_deaths = slot.quick_deaths + 1 if quick else 1
        self._tell(f"worker {slot.number} ended with {code}")
        if slot.quick_deaths >= WORKER_TRIES and code > 0:
            self._tell(f"worker {slot.number} cannot stay alive: stopping all of them")
            self._code = code
            self._obey(bytes([signal.SIGTERM]))
            return
        slot.due_s = now_s + min(WORKER_RETRY_S * 2 ** (slot.quick_deaths - 1), WORKER_RETRY_MAX_S)


def _ignore() -> None:
    pass
