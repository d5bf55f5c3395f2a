"""Runs with a planted mistake: whether it is found, and for the right reason.

`python -m tests.simulation.mutants` plays each mistake on its seed and prints verdicts as lines of JSON; `--search` looks for the seeds anew,
for when a change of the simulator has shifted what they draw.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from holdfast.model import replace, to_json
from holdfast.testing.simulation.plan import draw_terms
from holdfast.testing.simulation.run import Verdict, insist_on_hash_seed, play, play_all
from tests.simulation.planted import MUTANTS


def play_mutant(name: str, seed: str, steps: int, folder: Path) -> Verdict:
    """Play a seed with a mutant in this process. How often it acted is told as a trouble of its name."""
    acted: Counter[str] = Counter()

    def act() -> None:
        acted[name] += 1

    with MUTANTS[name].plant(act):
        verdict = play(seed, steps, folder)
    return replace(verdict, troubles=verdict.troubles | acted)


def is_found(name: str, verdict: Verdict) -> bool:
    """Whether a run with this mutant is red for the right reason."""
    told = [line for line in verdict.broken if re.search(MUTANTS[name].told, line)]
    return bool(told) and verdict.troubles.get(name, 0) > 0 and "the run broke" not in verdict.broken[0]


def _played(name: str, seeds: Sequence[str], steps: int) -> Iterator[Verdict]:
    """Without a name: as the product is."""
    playing = partial(play_mutant, name) if name else play
    return play_all(seeds, steps, play=playing)


def _search(name: str, seeds: Sequence[str], steps: int) -> None:
    """The first of these seeds, those of short runs first, that finds a mutant, and nothing without it; says what it told."""
    shortest = sorted(
        seeds, key=lambda seed: draw_terms(random.Random(f"{seed}/terms"), steps).horizon_s
    )  # Of any focus.
    for tried, verdict in enumerate(_played(name, shortest, steps), 1):
        if is_found(name, verdict) and not any(honest.broken for honest in _played("", [verdict.seed], steps)):
            acted = verdict.troubles[name]
            told = next(line for line in verdict.broken if re.search(MUTANTS[name].told, line))
            print(
                f"{name}: seed {verdict.seed}, the {tried}. of {len(seeds)} ({verdict.elapsed_s:.1f} s, acted {acted}x): {told[:200]}",
                flush=True,
            )
            return
        if verdict.broken:
            print(f"{name}: seed {verdict.seed} is red for another reason: {verdict.broken[0][-400:]}", flush=True)
    print(f"{name}: survived seeds {seeds[0]} to {seeds[-1]} with {steps} steps", flush=True)


def _replay(names: Sequence[str], *, honest: bool) -> None:
    """Each on its seed, and without any (`honest`); one line of JSON each."""
    runs = [(name, mutant.seed, mutant.steps) for name, mutant in MUTANTS.items() if name in names and mutant.seed]
    if honest:
        runs += sorted({("", seed, steps) for _, seed, steps in runs})
    for name, seed, steps in runs:
        for verdict in _played(name, [seed], steps):
            print(json.dumps({"name": name, "steps": steps, "verdict": json.loads(to_json(verdict))}), flush=True)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("names", nargs="*", help="mutants, or how their names begin; none: all")
    parser.add_argument("--search", action="store_true", help="look for the first seed of each, and print it")
    parser.add_argument("--first", type=int, default=81, help="the first seed of a search")
    parser.add_argument("--focus", default="", help="search seeds about one thing, such as `power`")
    parser.add_argument("--count", type=int, default=20, help="how many seeds a search takes")
    parser.add_argument("--steps", type=int, default=0, help="of a search")
    parser.add_argument("--honest", action="store_true", help="play the seeds without a mutant, too")
    asked = parser.parse_args(arguments)
    names = [name for name in MUTANTS if not asked.names or any(name.startswith(some) for some in asked.names)]
    if not asked.search:
        _replay(names, honest=asked.honest)
        return
    for name in names:
        focus = f"{asked.focus}-" if asked.focus else ""
        seeds = [f"{focus}{number}" for number in range(asked.first, asked.first + asked.count)]
        _search(name, seeds, asked.steps or MUTANTS[name].steps)


if __name__ == "__main__":
    insist_on_hash_seed("tests.simulation.mutants")
    main(sys.argv[1:])
