"""Runs of the simulator: a seed in, a verdict out, each in a process of its own.

Answers for what is checked after a run, and for runs that cannot disturb each other. It needs `PYTHONHASHSEED=0`, or the same seed
does not give the same trace. Invariant: a run that did not come to its end is a red one.
"""

import os
import select
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from holdfast.clock import SystemClock
from holdfast.model import Value, from_json, to_json
from holdfast.testing.simulation.judge import bounds, during, winners
from holdfast.testing.simulation.world import World

HASH_SEED: Final = "0"
_MEMORY: Final = Path("/dev/shm")
_TAIL: Final = 60
_TOLD: Final = 10
"""Enough is said after so many."""


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


def play(seed: str, steps: int, trace: Path | None = None) -> Verdict:
    """Play a seed in this process and judge it. Afterwards the process should end: what died in it is still in memory."""
    assert os.environ.get("PYTHONHASHSEED") == HASH_SEED, "set PYTHONHASHSEED=0 before Python starts"
    clock = SystemClock()
    began_s = clock.monotonic_s()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-simulation-", dir=_MEMORY if _MEMORY.is_dir() else None))
    world = World(seed, steps=steps, folder=folder, keep=trace is not None)
    broken: list[str] = []
    try:
        try:
            world.run()
        except Exception:  # noqa: BLE001 - whatever ends a run early is its result
            broken.append(f"the run broke: {traceback.format_exc()}")
        broken += list(dict.fromkeys(world.wrong))[:_TOLD]
        calls = world.crowd.history.calls()
        found = [*during(calls, world.crowd.pieces), *winners(calls), *bounds(world.samples, world.limits)]
        broken += [violation.told() for violation in found]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
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


def play_all(
    seeds: Iterable[str], steps: int, *, jobs: int = 1, play: Callable[[str, int], Verdict] = play
) -> Iterator[Verdict]:
    """Play seeds, `jobs` at a time, each in a child of this process; verdicts come as they are ready."""
    waiting = iter(seeds)
    running: dict[int, tuple[str, int, bytearray]] = {}
    while True:
        while len(running) < jobs and (seed := next(waiting, None)) is not None:
            descriptor, pid = _fork(seed, steps, play)
            running[descriptor] = seed, pid, bytearray()
        if not running:
            return
        ready, _, _ = select.select(list(running), [], [])
        for descriptor in ready:
            seed, pid, said = running[descriptor]
            piece = os.read(descriptor, 1 << 20)
            said += piece
            if not piece:
                os.close(descriptor)
                del running[descriptor]
                _, status = os.waitpid(pid, 0)
                yield from_json(bytes(said), Verdict) if said else _crashed(seed, status)


def _fork(seed: str, steps: int, play: Callable[[str, int], Verdict]) -> tuple[int, int]:
    """Play in a child; returns where it will say its verdict, and its process."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return reading, pid
    code = 1
    try:
        os.close(reading)
        said = memoryview(to_json(play(seed, steps)))
        while said:
            said = said[os.write(writing, said) :]
        code = 0
    except BaseException:  # noqa: BLE001 - the child's frame
        traceback.print_exc()
    finally:
        os._exit(code)  # What died in the simulation must not be cleaned up.


def _crashed(seed: str, status: int) -> Verdict:
    return Verdict(seed, "", 0.0, 0.0, 0, 0, 0, 0, {}, (f"the process ended with {os.waitstatus_to_exitcode(status)}",))
