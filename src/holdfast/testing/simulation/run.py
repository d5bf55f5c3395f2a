"""Runs of the simulator: a seed in, a verdict out, each in a process of its own.

Answers for what is checked after a run, and for runs that cannot disturb each other. It needs `PYTHONHASHSEED=0`, or the same seed
does not give the same trace. Invariant: a run that did not come to its end is a red one.
"""

import os
import select
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Final

from holdfast.clock import SystemClock
from holdfast.model import Value, from_json, to_json
from holdfast.testing.evidence.judge import bounds, during, winners
from holdfast.testing.evidence.linear import Undecided
from holdfast.testing.simulation.world import World

HASH_SEED: Final = "0"
_MEMORY: Final = Path("/dev/shm")
_TAIL: Final = 60
_TOLD: Final = 10
"""Enough is said after so many."""


def insist_on_hash_seed(module: str) -> None:
    """Start this command anew, as `python -m module`, unless sets have the same order in every run: Python decides on that before
    it starts."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        sys.stdout.flush()
        environment = os.environ | {"PYTHONHASHSEED": HASH_SEED}
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environment)


class Verdict(Value, frozen=True):
    """What one run showed."""

    seed: str
    sha256: str
    """Of the trace: the same for the same seed, steps and release."""
    seconds: float
    """Simulated."""
    elapsed_s: float
    """Real."""
    requests: int
    unserved: int
    """Requests that were answered with an error, or not at all."""
    calls: int
    """Calls by key whose order was judged."""
    callbacks: int
    troubles: dict[str, int]
    """What went wrong, and how often."""
    broken: tuple[str, ...]
    """Which promises broke, and how; empty when none did."""
    terms: str = ""
    tail: tuple[str, ...] = ()
    """The end of the trace, when a promise broke."""


def play(seed: str, steps: int, folder: Path, trace: Path | None = None) -> Verdict:
    """Play a seed in this process, with its files in this empty directory, and judge it. Afterwards the process should end: what
    died in it is still in memory."""
    assert os.environ.get("PYTHONHASHSEED") == HASH_SEED, "set PYTHONHASHSEED=0 before Python starts"
    clock = SystemClock()
    began_s = clock.monotonic_s()
    world = World(seed, steps=steps, folder=folder, keep=trace is not None)
    broken: list[str] = []
    try:
        try:
            world.run()
        except Exception:  # noqa: BLE001 - whatever ends a run early is its result
            broken.append(f"the run broke: {traceback.format_exc()}")
        broken += list(dict.fromkeys(world.wrong))[:_TOLD]
        calls = world.crowd.history.calls()
        found = [*winners(calls), *bounds(world.samples, world.limits)]
        try:
            found += during(calls, world.crowd.pieces)
        except Undecided as trouble:
            broken.append(f"undecided: {trouble}")
        broken += [violation.told() for violation in found]
    finally:
        if trace is not None:
            trace.write_text("\n".join(world.all_lines or ()), encoding="utf-8")
    return Verdict(
        seed=seed,
        sha256=world.sha256,
        seconds=world.loop.time(),
        elapsed_s=clock.monotonic_s() - began_s,
        requests=world.crowd.served + world.crowd.failures.total(),
        unserved=world.crowd.failures.total(),
        calls=len(calls),
        callbacks=world.loop.steps,
        troubles=dict(world.troubles),
        broken=tuple(broken),
        terms=str(world.terms),
        tail=tuple(world.lines)[-_TAIL:] if broken else (),
    )


Play = Callable[[str, int, Path], Verdict]


def play_all(seeds: Iterable[str], steps: int, *, jobs: int = 1, play: Play = play) -> Generator[Verdict, None, None]:
    """Play seeds, `jobs` at a time, each in a child of this process; verdicts come as they are ready. When it is closed, those that
    play are killed, and no file is left."""
    waiting = iter(seeds)
    running: dict[int, _Child] = {}
    try:
        while True:
            while len(running) < jobs and (seed := next(waiting, None)) is not None:
                child = _Child(seed, steps, play)
                running[child.descriptor] = child
            if not running:
                return
            ready, _, _ = select.select(list(running), [], [])
            for descriptor in ready:
                child = running[descriptor]
                if not child.listen():
                    del running[descriptor]
                    yield child.end()
    finally:
        for child in running.values():
            os.kill(child.pid, signal.SIGKILL)
            child.end()


class _Child:
    """A run in a process of its own."""

    def __init__(self, seed: str, steps: int, play: Play) -> None:
        self._seed = seed
        self._said = bytearray()
        self._room = tempfile.TemporaryDirectory(
            prefix="holdfast-simulation-", dir=_MEMORY if _MEMORY.is_dir() else None, ignore_cleanup_errors=True
        )
        self.descriptor, self.pid = _fork(seed, steps, Path(self._room.name), play)

    def listen(self) -> bool:
        """Take in what it says; False when that was all."""
        piece = os.read(self.descriptor, 1 << 20)
        self._said += piece
        return bool(piece)

    def end(self) -> Verdict:
        """Its verdict, once it has ended or was killed."""
        os.close(self.descriptor)
        _, status = os.waitpid(self.pid, 0)
        self._room.cleanup()
        return from_json(bytes(self._said), Verdict) if status == 0 else _crashed(self._seed, status)


def _fork(seed: str, steps: int, folder: Path, play: Play) -> tuple[int, int]:
    """Play in a child; returns where it will say its verdict, and its process."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return reading, pid
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; this process's parent decides.
        os.close(reading)
        said = memoryview(to_json(play(seed, steps, folder)))
        while said:
            said = said[os.write(writing, said) :]
        code = 0
    except BaseException:  # noqa: BLE001 - the child's frame
        traceback.print_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # Its parent may have been terminated meanwhile.
        os._exit(code)  # What died in the simulation must not be cleaned up.


def _crashed(seed: str, status: int) -> Verdict:
    return Verdict(seed, "", 0.0, 0.0, 0, 0, 0, 0, {}, (f"the process ended with {os.waitstatus_to_exitcode(status)}",))
