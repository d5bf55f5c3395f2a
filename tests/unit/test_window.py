"""How many debts are paid at once, on virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.health.window import Window
from holdfast.limits import (
    CATCHUP_BACKOFF_S,
    CATCHUP_BEGIN,
    CATCHUP_DUTY,
    CATCHUP_STRAIN,
    CATCHUP_STRAIN_S,
    CATCHUP_WINDOW,
)


class Rounds:
    """Rounds of payments, each some time after the one before."""

    def __init__(self) -> None:
        self.window = Window()
        self.now_s = 100.0

    def round(self, *, answered: int = 10, silent: int = 0, mean_s: float | None = 0.01, full: bool = True) -> int:
        self.now_s += CATCHUP_BACKOFF_S
        self.window.observe(answered=answered, silent=silent, mean_s=mean_s, full=full, now_s=self.now_s)
        return self.window.size


def grown() -> Rounds:
    rounds = Rounds()
    for _ in range(2 * CATCHUP_WINDOW):
        rounds.round()
    return rounds


def test_it_grows_by_one_for_each_round_that_was_full_and_quick_up_to_its_limit() -> None:
    rounds = Rounds()
    assert rounds.window.size == CATCHUP_BEGIN
    assert [rounds.round() for _ in range(3)] == [CATCHUP_BEGIN + 1, CATCHUP_BEGIN + 2, CATCHUP_BEGIN + 3]
    assert rounds.round(full=False) == CATCHUP_BEGIN + 3, "what was not tried is not known to be possible"
    assert rounds.round(answered=0) == CATCHUP_BEGIN + 3
    assert grown().window.size == CATCHUP_WINDOW


def test_silence_cuts_it_by_its_share() -> None:
    rounds = grown()
    assert rounds.round(answered=0, silent=10) == CATCHUP_WINDOW // 2
    rounds = grown()
    assert rounds.round(answered=19, silent=1) == int(CATCHUP_WINDOW * 0.975), "a brown-out slows it down, and no more"
    for _ in range(100):
        size = rounds.round(answered=19, silent=1)
        size = rounds.round()
    assert size > CATCHUP_WINDOW / 2


def test_a_grid_that_says_that_it_is_asked_too_much_halves_it_once_for_all_that_was_under_way() -> None:
    rounds = grown()
    for _ in range(CATCHUP_WINDOW):
        rounds.window.throttled(rounds.now_s + CATCHUP_BACKOFF_S)
    assert rounds.window.size == CATCHUP_WINDOW // 2


def test_a_grid_that_becomes_slower_under_load_is_asked_for_fewer_at_once() -> None:
    rounds = grown()
    slow_s = 0.01 * CATCHUP_STRAIN + CATCHUP_STRAIN_S + 0.001
    assert rounds.round(mean_s=slow_s - 0.002) == CATCHUP_WINDOW
    assert rounds.round(mean_s=slow_s) == int(CATCHUP_WINDOW * 0.75)
    assert rounds.round() > int(CATCHUP_WINDOW * 0.75)


def test_what_is_slower_for_good_becomes_usual() -> None:
    rounds = grown()
    for _ in range(200):
        rounds.round(mean_s=0.5)
    assert rounds.window.size > 1
    for _ in range(2 * CATCHUP_WINDOW):
        rounds.round(mean_s=0.5)
    assert rounds.window.size == CATCHUP_WINDOW


def test_while_clients_are_busy_it_gives_a_share_of_the_measured_headroom() -> None:
    window = grown().window
    assert window.share(False) == window.size == CATCHUP_WINDOW
    assert window.share(True) == int(CATCHUP_WINDOW * CATCHUP_DUTY)
    assert Window().share(True) >= 1


@given(
    st.lists(
        st.tuples(
            st.integers(0, 50), st.integers(0, 50), st.one_of(st.none(), st.floats(0.0, 100.0)), st.floats(0.0, 10.0)
        )
    )
)
def test_it_never_leaves_its_bounds(rounds: list[tuple[int, int, float | None, float]]) -> None:
    window, now_s = Window(), 0.0
    for answered, silent, mean_s, passed_s in rounds:
        now_s += passed_s
        window.observe(answered=answered, silent=silent, mean_s=mean_s, full=True, now_s=now_s)
        window.throttled(now_s)
        assert 1 <= window.size <= CATCHUP_WINDOW
        assert 1 <= window.share(True) <= window.size


@pytest.mark.parametrize("busy", [True, False])
def test_it_always_lets_one_through(busy: bool) -> None:
    rounds = Rounds()
    for _ in range(100):
        rounds.round(answered=0, silent=1)
    assert rounds.window.share(busy) == 1
