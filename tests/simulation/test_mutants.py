"""Every planted mistake is found by its seed, for the right reason: so the checkers can fail, and the troubles reach the code."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.testing.simulation.run import Verdict
from tests.simulation.mutants import is_found
from tests.simulation.planted import MUTANTS
from tests.simulation.playing import note, run, verdicts_of

FOUND = {name: mutant for name, mutant in MUTANTS.items() if mutant.seed}
"""Those for which a seed is known. The others show what the simulator does not reach yet."""

Played = dict[tuple[str, str, int], Verdict]
"""By mutant (empty: none), seed and steps."""


@pytest.fixture(scope="module")
def played() -> Played:
    """All of them on their seeds, and their seeds without them."""
    done = run("-m", "tests.simulation.mutants", "--honest")
    said: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert said, done.stderr
    verdicts = verdicts_of(one["verdict"] for one in said)
    return {(one["name"], verdict.seed, one["steps"]): verdict for one, verdict in zip(said, verdicts, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_the_simulator_finds_a_planted_mistake(name: str, played: Played) -> None:
    verdict = played[name, MUTANTS[name].seed, MUTANTS[name].steps]
    assert verdict.troubles.get(name), "it never acted"
    assert is_found(name, verdict), f"{MUTANTS[name].promise} Told was: {verdict.broken}"


@pytest.mark.slow
def test_the_same_seeds_are_green_without_a_mistake(
    played: Played, record_property: Callable[[str, object], None]
) -> None:
    honest = {(mutant.seed, mutant.steps): played["", mutant.seed, mutant.steps] for mutant in FOUND.values()}
    note(honest.values(), record_property)
    assert {seeds: verdict.broken for seeds, verdict in honest.items() if verdict.broken} == {}


def test_there_are_enough_mistakes_and_each_says_which_promise_it_breaks() -> None:
    assert len(FOUND) >= 14
    assert len({mutant.promise for mutant in MUTANTS.values()}) == len(MUTANTS)
