"""Every failure class, in short, against one of two S3 grids of a running gateway: no request fails, nothing is lost, nothing is stale.

Classes are played one after another on a few gateways that run side by side, since a class consists of waiting for the most
part; each has its own test. A gateway has to heal completely in between. How fast it is, is for `make outages`: here
nothing depends on the speed of the machine.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.model import replace
from holdfast.testing.lab.gateway import FROM_GRIDS, Names
from holdfast.testing.lab.play import TROUBLES, Tempo, play, run, told
from holdfast.testing.lab.providers import Make, find_rclone
from holdfast.testing.lab.report import Result, misses
from holdfast.testing.lab.scenarios import Scenario, all_scenarios
from holdfast.testing.lab.stage import open_stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TEMPO = Tempo(calm_s=0.0, after_s=0.5, patience_s=90.0, rate_per_s=10.0, objects=16, shorten=4.0)
AT_ONCE = 5
"""Gateways, each with two providers, that run side by side."""
GATEWAYS = (
    ("refused", "black-hole-connect", "killed", "black-hole-answer"),
    ("error", "list-fails", "part-of-the-keys", "reads-fail"),
    ("writes-fail", "auth", "clock", "throttled"),
    ("brown-out-30", "throttled-429", "throttled-per-key", "correlated"),
    ("slow", "ambiguous-write", "late-error"),
    ("not-visible", "flapping", "recovery-wave"),
    ("trickle", "ramp"),
    ("truncated", "short", "wrong-bytes", "wrong-etag", "older-version"),
    ("lost", "account-closed"),
    ("tls",),
    ("dns", "dns-cold"),
    ("correlated-cached",),
)
"""Longest first. A change that was in doubt is watched for half a minute (DOUBT_S), so classes that lead to many are spread."""
ELSEWHERE = {
    "brown-out-5": "brown-out-30 is the same, and worse",
    "slow-seconds": "slow is the same for what must hold",
    "path": "not staged",
}
SCENARIOS = {scenario.name: scenario for scenario in all_scenarios() if not scenario.historic}
PLAYED = [name for names in GATEWAYS for name in names]

Results = dict[str, Result]


def makes() -> tuple[Make, Make]:
    return ("holdfast", "rclone") if find_rclone() else ("holdfast", "holdfast")


async def perform(folder: Path, scenarios: Sequence[Scenario], results: Results) -> None:
    """Play scenarios one after another on one stage. What keeps one from being played is its result, and that of those after it."""
    needs = {scenario.needs for scenario in scenarios}
    trouble = ""
    try:
        async with open_stage(
            folder,
            clock=SystemClock(),
            makes=makes(),
            tls="tls" in needs,
            names="names" in needs,
            settings="" if scenarios[0].cached else FROM_GRIDS,
        ) as stage:
            for scenario in scenarios:
                results[scenario.name] = await play(stage, scenario, TEMPO, lambda _: None)
    except* TROUBLES as troubles:
        trouble = told(troubles)
    for scenario in scenarios:
        results.setdefault(scenario.name, replace(Result(scenario.name, scenario.about), trouble=trouble))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What every class showed."""
    played: Results = {}

    async def main() -> None:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(names: Sequence[str]) -> None:
            async with turns:
                await perform(tmp_path_factory.mktemp(names[0]), [SCENARIOS[name] for name in names], played)

        async with asyncio.TaskGroup() as group:
            for names in GATEWAYS:
                if Names.available() or SCENARIOS[names[0]].needs != "names":
                    group.create_task(one(names))

    run(main())
    return played


def broken(result: Result) -> tuple[str, ...]:
    """What of the promise broke, speed apart."""
    return tuple(miss for miss in misses(result) if not miss.startswith("slow"))


def test_every_class_is_played_somewhere() -> None:
    assert {*PLAYED, *ELSEWHERE} == set(SCENARIOS)


@pytest.mark.parametrize("name", PLAYED)
def test_nobody_notices_what_one_of_two_providers_does(results: Results, name: str) -> None:
    if SCENARIOS[name].needs == "names" and name not in results:
        pytest.skip("needs unshare, and the right to give a process its own host names")
    result = results[name]
    assert (broken(result), result.trouble, result.lies, result.astray) == ((), "", (), ())
    if not result.both:
        assert result.failures == {}


def test_with_both_providers_out_only_reads_fail_and_they_say_so(results: Results) -> None:
    failures = results["correlated"].failures
    assert {failure.partition(": ")[0] for failure in failures} <= {"GET"}
    assert {failure.partition(": ")[2] for failure in failures} <= {"503 ServiceUnavailable"}
