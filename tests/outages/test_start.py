"""A gateway starts when a grid is not what it should be."""

import pytest

from tests.outages.conftest import Make
from tests.outages.staging import away
from tests.outages.test_folder_outages import assert_both_match
from tests.outages.workload import Failure


def test_it_serves_without_one_of_its_grids_and_says_so(run: Make) -> None:
    gateway, workload = run()
    keys = workload.fill("k", each=1)
    gateway.until_trimmed()
    assert gateway.stop() == 0
    with away(gateway.places["a"]):
        gateway.start()
        grid = gateway.grid("a")
        assert grid["state"] == "down"
        assert "the directory is missing" in grid["reason"]
        assert str(gateway.places["a"]) in grid["reason"]
        assert gateway.grid("b")["state"] == "up"
        assert gateway.wrote("the directory is missing")
        workload.check_all()
        workload.put(keys[0], "medium")
        workload.put("new", "large")
    gateway.until_paid()
    assert gateway.grid("a")["state"] == "up"
    workload.check_all()
    workload.assert_untroubled()
    assert_both_match(gateway, workload)


def test_it_serves_when_a_grid_was_never_there_yet(prepare: Make) -> None:
    """What is owed to a place that nobody has seen is paid when it is first seen."""
    gateway, workload = prepare()
    place = gateway.places["a"].parent
    place.rmdir()
    place.write_bytes(b"in the way")
    gateway.start()
    workload.create_bucket()
    assert gateway.grid("a")["state"] == "down"
    workload.fill("k", each=1)
    gateway.until_held("b", 4)
    place.unlink()
    place.mkdir()
    gateway.until_paid()
    workload.check_all()
    workload.assert_untroubled()
    assert_both_match(gateway, workload)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_refuses_a_directory_that_belongs_to_another_gateway(run: Make, prepare: Make, workers: int) -> None:
    first, workload = run()
    workload.fill("k", each=1)
    first.until_paid()
    second, _ = prepare(workers=workers)
    second.places["b"] = first.places["b"]
    second.launch()
    assert second.end() == 2
    told = second.log()
    assert 'grid "b"' in told or "grid 'b'" in told
    assert str(first.places["b"]) in told
    assert "it belongs to another index" in told
    assert "Traceback" not in told
    workload.check_all()
    workload.assert_untroubled()
    assert_both_match(first, workload)


def test_directories_that_were_swapped_are_left_alone(run: Make) -> None:
    gateway, workload = run()
    keys = workload.fill("k", each=1)
    gateway.until_trimmed()
    assert gateway.stop() == 0
    a, b = gateway.places.values()
    between = a.with_name("between")
    a.rename(between)
    b.rename(a)
    between.rename(b)
    gateway.start()
    for name in ("a", "b"):
        grid = gateway.grid(name)
        assert (grid["state"], "marked as" in grid["reason"]) == ("down", True), grid
    workload.delete(keys[0])
    workload.put("new")
    for key in keys[1:]:
        try:
            workload.get(key)
        except Failure as failure:
            assert failure.status == 503, failure
    assert "new" not in gateway.files("a")
    assert keys[0] in gateway.files("a")
    a.rename(between)
    b.rename(a)
    between.rename(b)
    gateway.until_paid()
    workload.check_all()
    workload.assert_faithful()
    assert_both_match(gateway, workload)
