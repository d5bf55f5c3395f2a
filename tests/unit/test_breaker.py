"""Breakers on virtual time."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.health.breaker import Breaker, Pass, State
from holdfast.limits import (
    BREAKER_ATTEMPTS,
    BREAKER_LASTING,
    BREAKER_MUTE_ATTEMPTS,
    BREAKER_MUTE_S,
    BREAKER_ROW,
    BREAKER_TRIAL_MAX_S,
    BREAKER_TRIAL_S,
    BREAKER_WINDOW_S,
)

HALF = 0.5
"""The draw that leaves a pause as it is."""


def _opened(at_s: float = 100.0) -> Breaker:
    breaker = Breaker()
    for number in range(BREAKER_ROW):
        breaker.silent(Pass.FREE, at_s - 3.0, at_s - BREAKER_ROW + 1 + number, HALF)
    assert breaker.state(at_s) is State.OPEN
    return breaker


def test_a_new_breaker_is_closed() -> None:
    breaker = Breaker()
    assert breaker.admit(0.0) is Pass.FREE
    assert breaker.state(0.0) is State.CLOSED


def test_a_row_of_silences_opens() -> None:
    breaker = Breaker()
    moved = [breaker.silent(Pass.FREE, 0.3 * number, 0.3 * number, HALF) for number in range(BREAKER_ROW)]
    assert moved == [False] * (BREAKER_ROW - 1) + [True]
    assert breaker.admit(2.0) is Pass.NO


def test_a_burst_of_silences_in_one_moment_does_not_open() -> None:
    breaker = Breaker()
    assert not any(breaker.silent(Pass.FREE, 7.0, 7.0, HALF) for _ in range(50))
    assert breaker.admit(7.0) is Pass.FREE


def test_attempts_that_hang_together_open_when_they_time_out_together() -> None:
    breaker = Breaker()
    moved = [breaker.silent(Pass.FREE, 7.0, 10.0, HALF) for _ in range(BREAKER_ROW)]
    assert moved[-1]


def test_an_answer_ends_the_row() -> None:
    breaker = Breaker()
    for number in range(100):
        assert not breaker.silent(Pass.FREE, float(number), float(number), HALF)
        if number % 3 == 2:
            breaker.answered(Pass.FREE, float(number))
    assert breaker.state(100.0) is State.CLOSED


def test_silence_is_not_older_than_the_last_answer() -> None:
    breaker = Breaker()
    breaker.answered(Pass.FREE, 99.9)
    assert not any(breaker.silent(Pass.FREE, 90.0, 100.0, HALF) for _ in range(BREAKER_ROW))


def test_few_silences_over_a_long_time_open() -> None:
    breaker = Breaker()
    assert not breaker.silent(Pass.FREE, 0.0, 3.0, HALF)
    assert not breaker.silent(Pass.FREE, 0.0, 3.0, HALF)
    assert breaker.silent(Pass.FREE, 3.0, BREAKER_MUTE_S, HALF)


def test_few_silences_after_long_idleness_do_not_open() -> None:
    breaker = Breaker()
    breaker.answered(Pass.FREE, 0.0)
    assert not any(breaker.silent(Pass.FREE, 3600.0, 3600.0, HALF) for _ in range(BREAKER_ROW - 1))


def test_one_trial_is_admitted_when_the_pause_is_over() -> None:
    breaker = _opened(100.0)
    assert breaker.admit(100.0 + BREAKER_TRIAL_S - 0.01) is Pass.NO
    assert breaker.state(100.0 + BREAKER_TRIAL_S) is State.TRIAL
    assert breaker.admit(100.0 + BREAKER_TRIAL_S) is Pass.TRIAL
    assert breaker.admit(100.0 + BREAKER_TRIAL_S) is Pass.NO
    assert breaker.state(100.0 + BREAKER_TRIAL_S) is State.TRIAL


def test_the_pause_is_jittered_by_half() -> None:
    for draw in (0.0, 0.25, 0.999):
        breaker = Breaker()
        for _ in range(BREAKER_ROW):
            breaker.silent(Pass.FREE, 0.0, 10.0, draw)
        pause_s = BREAKER_TRIAL_S * (0.5 + draw)
        assert breaker.admit(10.0 + pause_s - 0.001) is Pass.NO
        assert breaker.admit(10.0 + pause_s + 0.001) is Pass.TRIAL


def test_an_answered_trial_closes() -> None:
    breaker = _opened(100.0)
    assert breaker.answered(breaker.admit(200.0), 200.0)
    assert breaker.state(200.0) is State.CLOSED
    assert breaker.admit(200.0) is Pass.FREE


def test_silent_trials_double_the_pause_up_to_its_limit() -> None:
    breaker = _opened(0.0)
    now_s, pause_s = 0.0, BREAKER_TRIAL_S
    for _ in range(8):
        assert breaker.admit(now_s + pause_s - 0.01) is Pass.NO
        now_s += pause_s
        assert breaker.silent(breaker.admit(now_s), now_s, now_s, HALF)
        pause_s = min(BREAKER_TRIAL_MAX_S, pause_s * 2)
    assert pause_s == BREAKER_TRIAL_MAX_S


def test_after_closing_the_pause_is_short_again() -> None:
    breaker = _opened(0.0)
    breaker.silent(breaker.admit(10.0), 10.0, 10.0, HALF)
    breaker.answered(breaker.admit(100.0), 100.0)
    for _ in range(BREAKER_ROW):
        breaker.silent(Pass.FREE, 100.0, 110.0, HALF)
    assert breaker.admit(110.0 + BREAKER_TRIAL_S) is Pass.TRIAL


def test_its_own_refusals_never_count_as_failed_trials() -> None:
    breaker = _opened(100.0)
    for number in range(1000):
        assert breaker.admit(100.0 + number / 1000) is Pass.NO
    assert breaker.admit(100.0 + BREAKER_TRIAL_S) is Pass.TRIAL


def test_a_trial_that_was_given_up_is_followed_by_another_at_once() -> None:
    breaker = _opened(100.0)
    breaker.given_up(breaker.admit(110.0), 110.0)
    assert breaker.admit(110.0) is Pass.TRIAL
    assert breaker.answered(Pass.TRIAL, 110.0)


def test_what_began_before_it_opened_decides_nothing() -> None:
    breaker = _opened(100.0)
    assert not breaker.answered(Pass.FREE, 101.0)
    assert not breaker.silent(Pass.FREE, 90.0, 101.0, HALF)
    assert breaker.state(101.0) is State.OPEN
    assert breaker.admit(100.0 + BREAKER_TRIAL_S) is Pass.TRIAL
    assert not breaker.silent(Pass.FREE, 90.0, 106.0, HALF)
    assert not breaker.answered(Pass.FREE, 106.0)
    breaker.given_up(Pass.FREE, 106.0)
    assert breaker.admit(106.0) is Pass.NO, "the trial is still on its way"


def test_a_hint_brings_the_trial_forward_and_closes_nothing() -> None:
    breaker = _opened(100.0)
    breaker.hint(100.5)
    assert breaker.state(100.5) is State.TRIAL
    assert breaker.admit(100.5) is Pass.TRIAL
    assert breaker.admit(100.5) is Pass.NO


# --- by share ---


def _mixed(breaker: Breaker, *, silent_of_ten: int, seconds: int, per_s: int = 10) -> float | None:
    """Attempts at a steady pace, of which a fixed share is silent; when the breaker opened, or None."""
    for number in range(seconds * per_s):
        now_s = 100.0 + number / per_s
        # The silent ones are spread so that no row of them is long.
        if number * silent_of_ten % 10 < silent_of_ten:
            if breaker.silent(Pass.FREE, now_s, now_s, HALF):
                return now_s
        else:
            breaker.answered(Pass.FREE, now_s)
    return None


def test_half_of_the_attempts_silent_opens_though_others_are_answered() -> None:
    opened_s = _mixed(Breaker(), silent_of_ten=5, seconds=60)
    assert opened_s is not None
    assert opened_s - 100.0 <= BREAKER_WINDOW_S


def test_a_third_of_the_attempts_silent_does_not_open() -> None:
    assert _mixed(Breaker(), silent_of_ten=3, seconds=600) is None


def test_half_of_few_attempts_does_not_open() -> None:
    breaker = Breaker()
    for number in range(100):
        now_s = 100.0 + number * (BREAKER_WINDOW_S / (BREAKER_ATTEMPTS / 2))
        if number % 2:
            assert not breaker.silent(Pass.FREE, now_s, now_s, HALF)
        else:
            breaker.answered(Pass.FREE, now_s)


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.floats(0.01, 2.0))
def test_a_closed_breaker_never_opens_on_an_answer_nor_while_most_is_answered(silent: list[bool], gap_s: float) -> None:
    """A model of the rules: it opens only with a row, a long silence, or half of the window against it."""
    breaker = Breaker()
    seen: list[tuple[float, bool]] = []
    for number, one in enumerate(silent):
        now_s = 100.0 + number * gap_s
        seen.append((now_s, one))
        if not one:
            assert not breaker.answered(Pass.FREE, now_s)
            continue
        opened = breaker.silent(Pass.FREE, now_s, now_s, HALF)
        row = 0
        while row < len(seen) and seen[-1 - row][1]:
            row += 1
        lately = [was for at_s, was in seen if at_s > now_s - BREAKER_WINDOW_S - 1]
        if opened:
            by_share = len(lately) >= BREAKER_ATTEMPTS and sum(lately) >= 0.5 * BREAKER_ATTEMPTS
            assert row >= BREAKER_MUTE_ATTEMPTS or by_share
            break


# --- faults that last ---


def test_two_faults_that_last_open_at_once() -> None:
    breaker = Breaker()
    assert not breaker.silent(Pass.FREE, 7.0, 7.0, HALF, lasting=True)
    assert breaker.silent(Pass.FREE, 7.0, 7.0, HALF, lasting=True)


def test_an_answer_in_between_starts_the_confirmation_anew() -> None:
    breaker = Breaker()
    for number in range(50):
        assert not breaker.silent(Pass.FREE, float(number), float(number), HALF, lasting=True)
        breaker.answered(Pass.FREE, float(number))


def test_a_fault_that_lasts_is_tried_again_like_any_other() -> None:
    breaker = Breaker()
    for _ in range(BREAKER_LASTING):
        breaker.silent(Pass.FREE, 7.0, 7.0, HALF, lasting=True)
    assert breaker.answered(breaker.admit(7.0 + BREAKER_TRIAL_S), 20.0)


# --- re-admission ---


def test_it_comes_back_by_the_ramp() -> None:
    breaker = _opened(100.0)
    assert Breaker().share(0.0) == 1.0
    breaker.answered(breaker.admit(200.0), 200.0)
    shares = [breaker.share(200.0 + passed_s) for passed_s in range(0, 70, 5)]
    assert shares == sorted(shares)
    assert set(shares) == {0.01, 0.05, 0.25, 1.0}
    assert breaker.share(259.9) < 1.0


# --- nobody else can be asked ---


def test_whoever_has_no_other_copy_is_admitted_though_it_is_open() -> None:
    breaker = _opened(100.0)
    assert breaker.admit(100.0) is Pass.NO
    assert breaker.admit(100.0, last=True) is Pass.LAST
    assert breaker.answered(Pass.LAST, 100.5)
    assert breaker.state(100.5) is State.CLOSED
    assert breaker.share(100.5) < 1.0


def test_a_last_attempts_silence_does_not_put_the_trial_off() -> None:
    breaker = _opened(100.0)
    for number in range(50):
        assert not breaker.silent(Pass.LAST, 100.0, 100.0 + number / 100, HALF)
        breaker.given_up(Pass.LAST, 100.0)
    assert breaker.admit(100.0 + BREAKER_TRIAL_S, last=True) is Pass.TRIAL


# --- blame ---


def test_silences_that_are_not_blamed_on_it_open_nothing() -> None:
    breaker = Breaker()
    assert not any(
        breaker.silent(Pass.FREE, float(at), float(at), HALF, blamed=False, lasting=True) for at in range(100)
    )
    assert breaker.mute(100.0)
    breaker.answered(Pass.FREE, 101.0)
    assert not breaker.mute(101.0)


def test_a_trial_that_is_not_blamed_on_it_does_not_double_the_pause() -> None:
    breaker = _opened(0.0)
    now_s = 0.0
    for _ in range(5):
        now_s += BREAKER_TRIAL_S
        assert breaker.silent(breaker.admit(now_s), now_s, now_s, HALF, blamed=False)
    assert breaker.admit(now_s + BREAKER_TRIAL_S) is Pass.TRIAL
