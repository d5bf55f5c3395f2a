"""The simulator itself: runs that are stopped, changes of nodes that died, and answers that its clients must not accept."""

import asyncio
import random
import signal
from pathlib import Path

import pytest

from holdfast.errors import Uncertain
from holdfast.grids.grid import Label
from holdfast.grids.sources import BytesSource
from holdfast.model import Place, replace
from holdfast.testing.evidence.history import Verb
from holdfast.testing.faults import Fault, Kind
from holdfast.testing.lab.network.http import Message
from holdfast.testing.simulation import run
from holdfast.testing.simulation.loop import SimLoop
from holdfast.testing.simulation.machine import Machine, SimClock
from holdfast.testing.simulation.places import Provider
from holdfast.testing.simulation.plan import FOCUSES, draw_plan, draw_terms
from holdfast.testing.simulation.run import Verdict, play_all
from holdfast.testing.simulation.workload import Crowd


def test_runs_that_are_stopped_end_at_once_and_leave_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_MEMORY", tmp_path)

    def play(seed: str, steps: int, folder: Path) -> Verdict:
        (folder / "file").write_text(seed)
        while seed == "2":
            signal.pause()
        return Verdict(seed, "", 0.0, 0.0, steps, 0, 0, 0, {}, ())

    playing = play_all(["1", "2"], 7, jobs=2, play=play)
    assert next(playing).requests == 7
    playing.close()
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_process_is_killed_is_a_red_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_MEMORY", tmp_path)

    def play(seed: str, steps: int, folder: Path) -> Verdict:
        signal.raise_signal(signal.SIGKILL)
        raise AssertionError("unreachable")

    [verdict] = play_all(["1"], 1, play=play)
    assert verdict.broken == ("the process ended with -9",)
    assert list(tmp_path.iterdir()) == []


def test_a_change_that_a_dead_node_asked_for_arrives_late_all_the_same() -> None:
    loop = SimLoop(draw=random.Random(1).random)
    clock = SimClock(Machine(loop, random.Random(1)), "1")
    provider = Provider("alpha", random.Random(1), lambda line: None)
    place = Place("photos", "a")

    async def scene() -> None:
        way = provider.way("one", clock)
        await way.attach("")
        provider.inject(Fault(Kind.LATE), ("publish",))
        staged = await way.stage(place, BytesSource(b"late"), Label(1, "etag", 0, {}, {}))
        with pytest.raises(Uncertain):
            await way.publish(staged)
        provider.way("one", clock)  # Its successor.
        assert await provider.content() == {}
        await provider.land(25.0)
        assert await provider.content() == {("photos", "a"): b"late"}

    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(scene())
    finally:
        asyncio.set_event_loop(None)


@pytest.mark.parametrize(
    ("code", "is_wrong"), [("NoSuchUpload", True), ("InvalidPart", True), ("RequestTimeTooSkewed", False)]
)
def test_an_upload_may_not_be_refused_as_if_what_was_acknowledged_of_it_were_not_there(
    code: str, is_wrong: bool
) -> None:
    loop = SimLoop(draw=random.Random(1).random)
    clock = SimClock(Machine(loop, random.Random(1)), "1")
    crowd = Crowd(
        loop.time,
        dice=random.Random(1),
        clock=clock,
        terms=draw_terms(random.Random(1), 10),
        acknowledged=lambda key, body: "",
    )
    reply = Message(b"HTTP/1.1 404 Not Found\r\n\r\n")
    reply.body = f"<Error><Code>{code}</Code></Error>".encode()
    assert crowd._outcome(Verb.COMPLETE, reply, "etag-2", None) is None
    assert bool(crowd.wrong) is is_wrong


def test_a_read_that_is_not_served_is_red_unless_more_went_wrong_than_redundancy_is_for() -> None:
    plan = draw_plan(
        random.Random(3),
        grids=("alpha", "beta"),
        nodes=("one",),
        horizon_s=3600.0,
        correlated=False,
        focus=FOCUSES["deaths"],
    )
    assert plan.mishaps and not plan.lies
    assert not plan.spares_reads(plan.mishaps[0].start_s + 5)
    assert plan.spares_reads(plan.mishaps[-1].start_s + 3600)
    assert not replace(plan, correlated=True).spares_reads(plan.mishaps[-1].start_s + 3600)
