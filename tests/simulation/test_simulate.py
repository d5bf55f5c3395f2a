"""`holdfast simulate`: the same seed is the same run, byte for byte, and a broken promise is told and changes the exit code."""

import json

import pytest

from tests.simulation.planted import MUTANTS
from tests.simulation.playing import run, simulate, verdicts_of

STEPS = 60

WITH_A_MISTAKE = """
import sys
from holdfast.cli.main import main
from tests.simulation.planted import MUTANTS
with MUTANTS[sys.argv.pop(1)].plant(lambda: None):
    main()
"""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_trace_in_two_processes_and_another_seed_another_one() -> None:
    seeds = range(2, 4)
    (_, once), (_, again) = simulate(seeds, STEPS), simulate(seeds, STEPS)
    traces = [verdict.sha256 for verdict in once]
    assert traces == [verdict.sha256 for verdict in again]
    assert [verdict.callbacks for verdict in once] == [verdict.callbacks for verdict in again]
    assert len(set(traces)) == len(seeds)


@pytest.mark.slow
def test_a_broken_promise_is_told_and_makes_the_exit_code_one() -> None:
    name = "publish before commit"
    seed, steps = str(MUTANTS[name].seed), str(MUTANTS[name].steps)
    done = run("-c", WITH_A_MISTAKE, name, "simulate", "--seed", seed, "--count", "1", "--steps", steps, "--json")
    assert done.returncode == 1, done.stderr
    [verdict] = verdicts_of(json.loads(done.stdout))
    assert verdict.broken
    assert verdict.tail, "the end of the trace is there for whoever looks for the reason"
    assert f"--seed {seed} --steps {steps} --trace" in done.stderr, "and how to play it again is said"
