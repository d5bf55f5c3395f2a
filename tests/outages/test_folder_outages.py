"""One of two folder grids fails while clients work: they notice nothing, and afterwards it is as if it had not failed.

Each test stages one outage of grid `a`, the one that is read first. No request may fail, no answer may be stale,
and in the end both directories hold exactly what was acknowledged.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest

from tests.outages.conftest import Make
from tests.outages.gateway import Gateway, Report, until
from tests.outages.staging import away, full, hanging, lose, read_only, small_disk
from tests.outages.workload import MIB, Workload

Seen = Callable[[Report], bool]


def ride_out(
    gateway: Gateway,
    workload: Workload,
    outage: AbstractContextManager[None],
    seen: Seen,
    *,
    slow: bool = False,
    during: int = 1,
) -> None:
    """Work before, during and after an outage of grid `a`; `seen` is what its status must come to say meanwhile."""
    before = workload.fill("before")
    gateway.until_trimmed()
    count = 15 if slow else 60
    with workload.load() as load:
        load.await_answers(count)
        with outage:
            load.await_answers(count)
            workload.fill("during", each=during)
            for key in before[::2]:
                workload.put(key)
            for key in before[1::4]:
                workload.delete(key)
            until(lambda: seen(gateway.grid("a")), lambda: gateway.grid("a"))
            check_told(gateway)
            workload.check_all()
            load.await_answers(count)
        load.await_answers(count)
    gateway.until_paid()
    workload.check_all()
    workload.assert_untroubled()
    assert_both_match(gateway, workload)


def check_told(gateway: Gateway) -> None:
    """`holdfast status` tells what an operator must know of a grid that is owed something, and of one that is not."""
    status = json.loads(gateway.status_command("--json"))
    a, b = status["grids"]
    assert a["owed"] > 0
    assert a["owed_bytes"] > 0
    assert a["oldest_debt_s"] > 0
    assert {"state", "held", "held_bytes", "eta_s", "reason"} <= a.keys()
    assert b["state"] == "up"
    assert b["held"] > 0
    assert b["held_bytes"] > 0
    text = gateway.status_command()
    assert all(word in text for word in ("State", "Held", "Owed", "Oldest", "ETA", "spool"))
    if a["state"] == "down":
        assert a["eta_s"] is None
        assert "after its return" in text
        assert a["reason"] in text


def assert_both_match(gateway: Gateway, workload: Workload) -> None:
    """Both directories hold what was acknowledged and nothing else."""
    content = workload.content()
    for name in ("a", "b"):
        files = gateway.files(name)
        assert sorted(files) == sorted(content), name
        assert [key for key in files if files[key] != content[key]] == [], name


def down(grid: Report) -> bool:
    return bool(grid["state"] == "down" and grid["owed"])


def cannot_write(grid: Report) -> bool:
    return bool(grid["owed"] and grid["breakers"].get("write", "closed") != "closed")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_directory_that_is_renamed_away_and_back(run: Make, workers: int) -> None:
    gateway, workload = run(workers=workers)
    ride_out(gateway, workload, away(gateway.places["a"]), down)


def test_a_read_only_file_system(run: Make) -> None:
    gateway, workload = run()
    ride_out(gateway, workload, read_only(gateway.places["a"]), cannot_write)


def test_a_full_file_system(cleanup: ExitStack, prepare: Make) -> None:
    gateway, workload = prepare()
    disk = gateway.places["a"].parent
    cleanup.enter_context(small_disk(disk, 96 * MIB))
    gateway.start()
    workload.create_bucket()
    # Deletions make room again, which is used: more than that must be written for something to stay owed.
    ride_out(gateway, workload, full(disk), lambda grid: grid["owed_bytes"] > 3 * MIB, during=4)
    assert gateway.wrote("the file system is full (ENOSPC)")


def test_a_file_system_that_hangs(run: Make) -> None:
    gateway, workload = run()
    ride_out(gateway, workload, hanging(gateway.places["a"]), down, slow=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_directory_that_is_lost_and_replaced_by_an_empty_one(run: Make, workers: int) -> None:
    gateway, workload = run(workers=workers)
    place = gateway.places["a"]
    workload.fill("before")
    gateway.until_trimmed()
    with workload.load() as load:
        load.await_answers(60)
        lose(place)
        gateway.until_state("a", "down")
        assert "missing" in gateway.grid("a")["reason"]
        load.await_answers(60)
        workload.check_all()
    place.mkdir()
    # Nobody reads now: what is missing there must be known without being met.
    gateway.until_state("a", "up")
    gateway.until_held("a", len(workload.content()))
    gateway.until_paid()
    assert_both_match(gateway, workload)
    with workload.load() as load:
        load.await_answers(60)
    workload.check_all()
    workload.assert_untroubled()
    gateway.until_paid()
    assert_both_match(gateway, workload)


def test_what_was_deleted_and_overwritten_while_a_grid_was_away_is_so_there_too(run: Make) -> None:
    gateway, workload = run()
    workload.fill("kept")
    gone = workload.fill("gone")
    changed = workload.fill("changed")
    gateway.until_paid()
    before = gateway.files("a")
    with away(gateway.places["a"]):
        for key in gone:
            workload.delete(key)
        for key in changed:
            workload.put(key, "medium")
        gateway.until_state("a", "down")
    gateway.until_paid()
    assert_both_match(gateway, workload)
    after = gateway.files("a")
    assert not set(gone) & set(after)
    assert all(after[key] != before[key] for key in changed)
    workload.assert_untroubled()


def test_a_gateway_that_stops_and_starts_while_a_grid_is_away_forgets_no_debt(run: Make) -> None:
    gateway, workload = run()
    keys = workload.fill("k")
    gateway.until_paid()
    with away(gateway.places["a"]):
        workload.delete(keys[0])
        workload.put(keys[-1], "large")
        gateway.restart()
        grid = gateway.grid("a")
        assert grid["state"] == "down"
        assert "missing" in grid["reason"]
        assert grid["owed"] == 2
        assert gateway.wrote("missing")
        workload.check_all()
        workload.put("while degraded", "medium")
    gateway.until_paid()
    workload.check_all()
    workload.assert_untroubled()
    assert_both_match(gateway, workload)
