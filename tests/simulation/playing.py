"""Runs of the simulator in processes of their own, as an operator starts them, and what they add to the summary of the tests."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from holdfast.model import from_json
from holdfast.testing.simulation.run import HASH_SEED, Verdict

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments from the root of the sources, with sets in the order that the simulator needs."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": HASH_SEED},
        capture_output=True,
        text=True,
        check=False,
    )


def simulate(seeds: range, steps: int, focus: str = "") -> tuple[int, list[Verdict]]:
    """`holdfast simulate --json`: its exit code and its verdicts."""
    done = run(
        "-m", "holdfast", "simulate",
        "--seed", f"{focus}{seeds.start}", "--count", str(len(seeds)), "--steps", str(steps), "--json",
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, verdicts_of(json.loads(done.stdout))


def verdicts_of(said: Iterable[Any]) -> list[Verdict]:
    """Verdicts as `--json` writes them."""
    return [from_json(json.dumps(one).encode(), Verdict) for one in said]


def expect_all_held(seeds: range, steps: int, record: Callable[[str, object], None], focus: str = "") -> None:
    """Play seeds; every promise must hold in each, and each must be a run that is worth something."""
    code, verdicts = simulate(seeds, steps, focus)
    note(verdicts, record)
    broken = {verdict.seed: verdict.broken for verdict in verdicts if verdict.broken}
    assert not broken, f"again: holdfast simulate --seed {min(broken)} --steps {steps} --trace trace.txt"
    assert code == 0
    assert [verdict.seed for verdict in verdicts] == [f"{focus}{seed}" for seed in seeds]
    assert all(verdict.requests >= steps and verdict.calls > steps / 2 and verdict.troubles for verdict in verdicts)


def note(verdicts: Iterable[Verdict], record: Callable[[str, object], None]) -> None:
    """Let the summary of the tests tell of these runs, too."""
    for verdict in verdicts:
        record("simulated runs", 1)
        record("simulated hours", verdict.seconds / 3600)
        record("simulated requests", verdict.requests)
        record("simulated troubles", sum(verdict.troubles.values()))
