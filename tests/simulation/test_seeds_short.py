"""The same short runs every time: many installations with all that goes wrong, and every promise holds in each."""

from collections.abc import Callable

import pytest

from tests.simulation.playing import expect_all_held

STEPS = 80


@pytest.mark.slow
@pytest.mark.parametrize("first", [81, 86, 91, 96])
def test_every_promise_holds_in_short_runs(first: int, record_property: Callable[[str, object], None]) -> None:
    expect_all_held(range(first, first + 5), STEPS, record_property)


@pytest.mark.slow
def test_no_version_is_lost_or_comes_back(record_property: Callable[[str, object], None]) -> None:
    expect_all_held(range(1, 4), STEPS, record_property, "versions-")
