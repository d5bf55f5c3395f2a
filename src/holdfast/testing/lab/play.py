"""Plays one scenario on a stage: calm, the outage, its end, and what has to be true afterwards.

Answers for the order of things and for the marks in time that figures are made from. It judges nothing itself. Invariant: the load
never pauses from the calm to the moment when everything that the outage left is paid.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import uvloop

from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.model import Value, replace
from holdfast.testing.lab.gateway import FROM_GRIDS, STORE, Names
from holdfast.testing.lab.network.client import Silence
from holdfast.testing.lab.network.faults import PROCESS, Fault, compressed
from holdfast.testing.lab.processes import NotStarted
from holdfast.testing.lab.providers import Make
from holdfast.testing.lab.report import Marks, Result, judge
from holdfast.testing.lab.scenarios import Scenario
from holdfast.testing.lab.stage import NotSettled, Stage, open_stage, settled
from holdfast.testing.lab.workload import BUCKET, LARGE, SIZES

T = TypeVar("T")

_READ_AGAIN: Final = 3
"""How often everything is read so that it is in the cache, which does not believe in what was read once."""

_LOOK_S: Final = 0.1

_WARM_S: Final = 1.0
"""The load's first second, which no figure counts."""


class Tempo(Value, frozen=True):
    """How fast and how long."""

    calm_s: float = 5.0
    history_s: float = 12.0
    """A historic outage is compressed to this."""
    after_s: float = 4.0
    """The load goes on for at least this long after the end."""
    patience_s: float = 60.0
    """For catching up."""
    rate_per_s: float = 30.0
    objects: int = 60
    shorten: float = 1.0
    """Failure classes are played this many times faster than they say."""


Tell = Callable[[str], None]
"""Is told what happens now, in a few words."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until SIGINT, SIGTERM or SIGHUP: then whatever was started is ended first.

    Raises KeyboardInterrupt, or CancelledError for the others.
    """

    async def attended() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await main

    return uvloop.run(attended())


def length_of(scenario: Scenario, tempo: Tempo) -> float:
    """How long its outage is played."""
    return tempo.history_s if scenario.historic else scenario.lasted_s / tempo.shorten


async def perform(
    scenario: Scenario, folder: Path, *, clock: Clock, tempo: Tempo, makes: Sequence[Make], tell: Tell
) -> Result:
    """Play a scenario on a stage of its own. What keeps it from being played is in the result."""
    blank = Result(scenario.name, scenario.about, historic=scenario.historic, both=scenario.both)
    if scenario.needs == "names" and not Names.available():
        return replace(blank, not_staged="needs `unshare`, and the right to give a process its own host names")
    if scenario.not_staged:
        return replace(blank, not_staged=scenario.not_staged)
    tell("starting")
    result = blank
    try:
        async with open_stage(
            folder,
            clock=clock,
            makes=makes,
            tls=scenario.needs == "tls",
            names=scenario.needs == "names",
            settings="" if scenario.cached else FROM_GRIDS,
        ) as stage:
            result = await play(stage, scenario, tempo, tell)
    except* TROUBLES as troubles:
        result = replace(blank, trouble=told(troubles))
    return result


TROUBLES: Final = (NotStarted, NotSettled, Silence, S3Error)
"""What keeps a scenario from being played. Task groups raise them in groups."""


def told(trouble: BaseException) -> str:
    """The first sentence of the first of these."""
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    return str(trouble)


async def play(stage: Stage, scenario: Scenario, tempo: Tempo, tell: Tell) -> Result:
    """Play a scenario on a stage where nothing is wrong and nothing is owed. Raises NotSettled."""
    clock, workload = stage.clock, stage.workload
    outage_s = length_of(scenario, tempo)
    factor = scenario.lasted_s / outage_s
    faults = [compressed(fault, factor) for fault in scenario.faults]
    workload.sizes = LARGE if scenario.large else SIZES
    if not workload.names:
        tell("filling")
        await workload.fill(tempo.objects)
    if await stage.until(settled, tempo.patience_s) is None:
        raise NotSettled(f"before the outage: {await stage.gateway.status()}\n{stage.gateway.log()}")
    if scenario.cached:
        tell("reading everything")
        for _ in range(_READ_AGAIN):
            await workload.check_all()
    workload.samples.clear()
    workload.lies.clear()
    met = stage.met
    over = False
    calm_s = clock.monotonic_s() + _WARM_S
    async with asyncio.TaskGroup() as group:
        group.create_task(workload.run(tempo.rate_per_s, lambda: over))
        tell("calm")
        await clock.sleep(_WARM_S + tempo.calm_s)
        began_s = clock.monotonic_s()
        tell("outage")
        stage.begin(faults)
        await _die(stage, faults)
        await clock.sleep(outage_s)
        if not (scenario.unasked or any(fault.kind in PROCESS for fault in faults)):
            await _met(stage, met, tempo.patience_s)
        ended_s, caught_up_s = clock.monotonic_s(), None
        tell("after")
        if not scenario.for_good:
            await _end(stage, faults)
            ended_s = clock.monotonic_s()
            caught_up_s = await _catch_up(stage, ended_s, tempo.patience_s)
        await clock.sleep(max(0.0, ended_s + tempo.after_s - clock.monotonic_s()))
        over_s, over = clock.monotonic_s(), True
    tell("checking")
    marks = Marks(calm_s, began_s, ended_s, over_s, caught_up_s)
    samples = tuple(workload.samples)
    await workload.check_all()
    astray = await _astray(stage, scenario, tempo)
    met = stage.met - met + sum(fault.kind in PROCESS for fault in faults)
    return judge(scenario, marks, samples, workload.lies, astray, compression=factor, met=met)


async def _met(stage: Stage, before: int, patience_s: float) -> None:
    """Let an outage that nothing has met yet go on until something does: which keys are asked for is chance."""
    until_s = stage.clock.monotonic_s() + patience_s
    while stage.met == before and stage.clock.monotonic_s() < until_s:
        await stage.clock.sleep(_LOOK_S)


async def _die(stage: Stage, faults: Sequence[Fault]) -> None:
    for fault in faults:
        if fault.kind in PROCESS:
            await stage.die(fault)


async def _end(stage: Stage, faults: Sequence[Fault]) -> None:
    for fault in faults:
        if fault.kind in PROCESS:
            await stage.revive(fault)
    stage.heal()


async def _catch_up(stage: Stage, ended_s: float, patience_s: float) -> float | None:
    """Seconds from the end of the outage until every grid is up and no debt is as old as that."""
    waited_s = await stage.until(
        lambda status: all(
            grid.state == "up" and (not grid.owed or grid.oldest_debt_s < stage.clock.monotonic_s() - ended_s)
            for grid in status.grids
        ),
        patience_s,
    )
    return None if waited_s is None else stage.clock.monotonic_s() - ended_s


async def _astray(stage: Stage, scenario: Scenario, tempo: Tempo) -> list[str]:
    """What the grids that are there hold otherwise than was acknowledged, once nothing is owed to them."""
    if not scenario.for_good and await stage.until(settled, tempo.patience_s) is None:
        status = await stage.gateway.status()
        return [f"{grid.name} is {grid.state} and still owed {grid.owed}: {grid.reason}" for grid in status.grids]
    gone = {name for fault in scenario.faults for name in fault.grids} if scenario.for_good else set()
    found = []
    for name, provider in stage.providers.items():
        if name not in gone:
            client = provider.client()
            found += [f"{name}: {told}" for told in await stage.workload.check_place(client, STORE, f"{BUCKET}/")]
            client.close()
    return found
