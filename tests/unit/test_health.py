"""What a process knows of its grids' health, on virtual time: windows, budgets, latencies, brown-outs, suspicion of itself."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.health.brownout import Brownout
from holdfast.health.budget import Budget
from holdfast.health.lately import Lately
from holdfast.health.latency import Latency, Spread
from holdfast.health.ramp import RAMP_S, ramp_share
from holdfast.health.suspicion import Suspicion
from holdfast.health.waiting import Waiting
from holdfast.limits import (
    BASELINE_AGE_S,
    BROWNOUT_ATTEMPTS,
    CLEAR_ATTEMPTS,
    CLEAR_MAX_S,
    CLEAR_S,
    DEMOTED_SHARE,
    KIB,
    LATE_ROW,
    LATENCY_HALF_LIFE_S,
    MIB,
    QUIET_KEPT_S,
    SUSPECT_MAX_S,
    SUSPECT_TOGETHER_S,
)

# --- window ---


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
def test_a_window_counts_what_lies_within_it(steps: list[tuple[float, bool]]) -> None:
    window = Lately(slots=10, slot_s=1.0)
    now_s, seen = 1000.0, []
    for gap_s, silent in steps:
        now_s += gap_s
        seen.append((now_s, silent))
        window.note(now_s, silent=silent)
    inside = [silent for at_s, silent in seen if at_s // 1.0 > now_s // 1.0 - 10]
    assert window.attempts(now_s) == len(inside)
    assert window.silences(now_s) == sum(inside)


def test_what_happened_in_one_moment_is_one_fact() -> None:
    window = Lately(slots=10, slot_s=1.0)
    for _ in range(100):
        window.note(7.5, silent=True)
    assert window.spread(7.5) == 1
    window.note(9.0, silent=True)
    assert window.spread(9.0) == 2
    window.clear()
    assert (window.attempts(9.0), window.silences(9.0), window.spread(9.0)) == (0, 0, 0)


# --- budget ---


@given(st.lists(st.booleans(), max_size=500))
def test_a_budget_never_gives_more_than_its_share_and_what_was_saved(steps: list[bool]) -> None:
    budget = Budget(share=0.05, burst=10)
    earned = taken = 0
    for earns in steps:
        if earns:
            budget.earn()
            earned += 1
        else:
            taken += budget.take()
    assert taken <= 10 + 0.05 * earned + 1e-9


def test_an_empty_budget_gives_again_after_it_has_earned() -> None:
    budget = Budget(share=0.1, burst=2)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    for _ in range(11):
        budget.earn()
    assert [budget.take() for _ in range(2)] == [True, False]


def test_a_budget_saves_no_more_than_its_burst() -> None:
    budget = Budget(share=0.5, burst=3)
    for _ in range(1000):
        budget.earn()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


# --- ramp ---


@given(st.floats(0, 1000), st.floats(0, 1000))
def test_the_ramp_only_rises(one_s: float, other_s: float) -> None:
    assert ramp_share(min(one_s, other_s)) <= ramp_share(max(one_s, other_s))


def test_the_ramp_takes_at_least_a_minute() -> None:
    assert RAMP_S >= 60
    assert ramp_share(0.0) == 0.01
    assert ramp_share(RAMP_S - 0.01) == 0.25
    assert ramp_share(RAMP_S) == ramp_share(float("inf")) == 1.0


# --- latency ---


@given(st.lists(st.floats(0.0001, 30), min_size=1, max_size=400), st.sampled_from([0.1, 0.5, 0.95, 1.0]))
def test_a_quantile_is_right_within_a_fifth(found: list[float], share: float) -> None:
    spread = Spread(60.0)
    for elapsed_s in found:
        spread.note(elapsed_s, 1000.0)
    ranked = sorted(found)
    true_s = next(value for number, value in enumerate(ranked, 1) if number >= share * len(ranked) - 1e-9)
    assert spread.quantile(share) == pytest.approx(true_s, rel=0.2)


def test_the_kept_quantiles_are_those_of_a_moment_ago() -> None:
    spread, draws = Spread(60.0), random.Random(7)
    for number in range(2000):
        spread.note(draws.lognormvariate(-4, 1), 1000.0 + number / 100)
    assert spread.p50 == pytest.approx(spread.quantile(0.5), rel=0.2)
    assert spread.p95 == pytest.approx(spread.quantile(0.95), rel=0.2)


def test_recent_durations_outweigh_old_ones() -> None:
    spread = Spread(60.0)
    for number in range(1000):
        spread.note(0.005, 1000.0 + number / 100)
    for number in range(100):
        spread.note(0.5, 1000.0 + 600.0 + number / 100)
    assert spread.p50 == pytest.approx(0.5, rel=0.2)


def test_years_of_observations_neither_overflow_nor_lose_the_recent_ones() -> None:
    spread = Spread(60.0)
    now_s = 0.0
    for number in range(5000):
        now_s += 3600.0
        spread.note(0.001 if number % 2 else 0.1, now_s)
    spread.note(0.02, now_s + 1)
    assert 0 < spread.weight(now_s + 1) < 3
    assert spread.weight(now_s + 1e9) == 0.0


def test_sizes_are_kept_apart() -> None:
    latency = Latency()
    for number in range(50):
        latency.note(10 * KIB, 0.01, float(number))
        latency.note(MIB, 0.3, float(number))
    assert latency.p50(KIB, 50.0) == pytest.approx(0.01, rel=0.2)
    assert latency.p95(MIB, 50.0) == pytest.approx(0.3, rel=0.2)
    assert latency.p50(100 * KIB, 50.0) is None


def test_what_was_seen_long_ago_or_hardly_ever_is_unknown() -> None:
    latency = Latency()
    latency.note(KIB, 0.01, 0.0)
    assert latency.p50(KIB, 0.0) is None
    for _ in range(20):
        latency.note(KIB, 0.01, 0.0)
    assert latency.p50(KIB, 1.0) is not None
    assert latency.p50(KIB, 20 * LATENCY_HALF_LIFE_S) is None


def _a_day(latency: Latency, elapsed_s: float, until_s: float = 2 * BASELINE_AGE_S) -> float:
    for number in range(int(until_s)):
        latency.note(KIB, elapsed_s, float(number))
    return until_s


def test_slowness_is_measured_against_the_grids_own_day() -> None:
    latency = Latency()
    now_s = _a_day(latency, 0.05)
    assert latency.slowness(now_s) == 0.0
    for number in range(180):
        latency.note(KIB, 0.5, now_s + number)
    assert latency.slowness(now_s + 180) == pytest.approx(10, rel=0.5)


def test_a_grid_that_was_always_slow_is_not_slow() -> None:
    latency = Latency()
    assert latency.slowness(_a_day(latency, 2.0)) == 0.0


def test_a_few_milliseconds_more_are_not_slow_however_many_times() -> None:
    latency = Latency()
    now_s = _a_day(latency, 0.0005)
    for number in range(180):
        latency.note(KIB, 0.01, now_s + number)
    assert latency.slowness(now_s + 180) == 0.0


def test_a_grid_that_is_new_has_no_usual_latency() -> None:
    latency = Latency()
    now_s = _a_day(latency, 0.01, BASELINE_AGE_S / 2)
    for number in range(60):
        latency.note(KIB, 1.0, now_s + number)
    assert latency.slowness(now_s + 60) == 0.0


# --- brown-out ---


def _asked(brownout: Brownout, now_s: float, *, seconds: int, silent_of_hundred: int, per_s: int = 5) -> float:
    """Attempts at a steady pace; the time after them."""
    for number in range(seconds * per_s):
        at_s = now_s + number / per_s
        brownout.note(at_s, silent=number % 100 < silent_of_hundred)
        brownout.judge(at_s, 0.0)
    return now_s + seconds


def test_five_percent_for_minutes_demotes() -> None:
    brownout = Brownout()
    now_s = _asked(brownout, 1000.0, seconds=300, silent_of_hundred=5)
    assert brownout.reason == "errors"
    assert brownout.share(now_s) == DEMOTED_SHARE


def test_one_percent_does_not_demote() -> None:
    brownout = Brownout()
    now_s = _asked(brownout, 1000.0, seconds=3000, silent_of_hundred=1)
    assert (brownout.reason, brownout.share(now_s)) == ("", 1.0)


def test_few_attempts_do_not_demote() -> None:
    brownout = Brownout()
    for number in range(1000):
        brownout.note(number * 300.0 / BROWNOUT_ATTEMPTS * 1.2, silent=number % 3 == 0)
        assert not brownout.judge(number * 300.0 / BROWNOUT_ATTEMPTS * 1.2, 0.0)


def test_a_demoted_grid_that_is_well_for_a_while_comes_back_by_the_ramp() -> None:
    brownout = Brownout()
    now_s = _asked(brownout, 1000.0, seconds=300, silent_of_hundred=5)
    back_s = None
    for _ in range(200):
        now_s += 1.0
        brownout.note(now_s, silent=False)
        if brownout.judge(now_s, 0.0):
            back_s = now_s
            break
    assert back_s is not None
    assert brownout.reason == ""
    assert [brownout.share(back_s + passed_s) for passed_s in (0, 20, 40, 60)] == [0.01, 0.05, 0.25, 1.0]
    assert not brownout.judge(back_s + 1, 0.0), "what went wrong before is not held against it again"


def test_a_demotion_does_not_end_without_answers() -> None:
    brownout = Brownout()
    now_s = _asked(brownout, 1000.0, seconds=300, silent_of_hundred=5)
    brownout.note(now_s, silent=True)
    assert not brownout.judge(now_s + 100 * CLEAR_S, 0.0)
    for _ in range(CLEAR_ATTEMPTS):
        brownout.note(now_s + 100 * CLEAR_S, silent=False)
    assert brownout.judge(now_s + 100 * CLEAR_S, 0.0)


def test_whoever_falls_again_on_the_ramp_has_to_be_well_for_longer() -> None:
    brownout = Brownout()
    waits = []
    now_s = 1000.0
    for _ in range(7):
        now_s = _asked(brownout, now_s, seconds=45, silent_of_hundred=20)
        assert brownout.reason == "errors"
        began_s = now_s
        while brownout.reason:
            now_s += 1.0
            brownout.note(now_s, silent=False)
            brownout.judge(now_s, 0.0)
        waits.append(now_s - began_s)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(CLEAR_MAX_S, abs=10)


def test_a_slow_grid_is_demoted_and_back_when_it_is_not() -> None:
    brownout = Brownout()
    assert brownout.judge(0.0, 3.5)
    assert brownout.reason == "slow"
    for number in range(1, 300):
        brownout.note(float(number), silent=False)
        assert not brownout.judge(float(number), 2.5), "still slower than it should be"
    for number in range(300, 300 + int(CLEAR_S) - 1):
        brownout.note(float(number), silent=False)
        assert not brownout.judge(float(number), 1.0)
    brownout.note(500.0, silent=False)
    assert brownout.judge(500.0, 1.0)
    assert brownout.reason == ""


# --- ourselves ---


def _suspicion(*grids: str) -> Suspicion:
    suspicion = Suspicion()
    for grid in grids:
        suspicion.know(grid)
    return suspicion


def test_all_grids_silent_at_once_is_us() -> None:
    suspicion = _suspicion("a", "b", "c")
    assert not suspicion.silent("a", 100.0, 103.0)
    assert not suspicion.silent("b", 100.5, 103.5)
    assert suspicion.silent("c", 101.0, 104.0)
    assert suspicion.ourselves
    assert not suspicion.silent("c", 104.0, 107.0), "told once"


def test_one_answer_clears_us_at_once() -> None:
    suspicion = _suspicion("a", "b")
    suspicion.silent("a", 100.0, 103.0)
    suspicion.silent("b", 100.0, 103.0)
    assert suspicion.answered("a")
    assert not suspicion.ourselves
    assert not suspicion.silent("b", 103.0, 106.0)


def test_a_grid_that_was_dead_long_before_does_not_excuse_the_next() -> None:
    suspicion = _suspicion("a", "b")
    suspicion.silent("a", 0.0, 3.0)
    assert not suspicion.silent("b", 1000.0, 1003.0)
    assert not suspicion.silent("b", SUSPECT_TOGETHER_S + 0.1, 1003.0)


def test_a_single_grid_is_never_excused() -> None:
    suspicion = _suspicion("a")
    assert not any(suspicion.silent("a", float(at), float(at)) for at in range(100))


def test_after_a_while_they_are_what_they_seem_to_be() -> None:
    suspicion = _suspicion("a", "b")
    suspicion.silent("a", 0.0, 3.0)
    suspicion.silent("b", 0.0, 3.0)
    suspicion.silent("a", 3.0, SUSPECT_MAX_S + 0.1)
    assert not suspicion.ourselves


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 20)), max_size=60))
def test_we_are_never_suspect_while_any_grid_answers(steps: list[tuple[str, bool, float]]) -> None:
    suspicion = _suspicion("a", "b", "c")
    now_s, last = 0.0, dict.fromkeys("abc", True)
    for grid, answered, gap_s in steps:
        now_s += gap_s
        last[grid] = answered
        if answered:
            suspicion.answered(grid)
        else:
            suspicion.silent(grid, now_s, now_s)
        assert not (suspicion.ourselves and any(last.values()))


# --- waiting ---


def test_a_grid_that_says_nothing_to_anybody_is_quiet() -> None:
    waiting = Waiting()
    waiting.began(10.0)
    waiting.began(10.2)
    assert waiting.quiet_s(10.5) == 0.5
    waiting.answered(10.5)
    assert waiting.quiet_s(10.6) == pytest.approx(0.1)


def test_nobody_waits_nobody_is_quiet() -> None:
    waiting = Waiting()
    waiting.began(10.0)
    waiting.ended()
    assert waiting.quiet_s(1000.0) == 0.0
    waiting.began(1000.0)
    assert waiting.quiet_s(1000.0) == 0.0, "a client that left an hour ago says nothing about now"


def test_a_grid_whose_readers_went_elsewhere_is_still_quiet_for_a_while() -> None:
    waiting = Waiting()
    waiting.began(10.0)
    waiting.left(10.1)
    waiting.ended()
    assert waiting.quiet_s(11.0) == 1.0
    waiting.began(11.0)
    assert waiting.quiet_s(12.0) == 2.0
    waiting.answered(12.0)
    waiting.ended()
    assert waiting.quiet_s(12.1) == 0.0
    waiting.began(20.0)
    waiting.left(20.0)
    waiting.ended()
    assert waiting.quiet_s(20.0 + QUIET_KEPT_S) == 0.0


def test_only_a_row_of_late_blocks_puts_a_grid_behind_and_one_in_time_or_some_seconds_end_it() -> None:
    waiting = Waiting()
    for _ in range(LATE_ROW - 1):
        waiting.late(1.0)
    assert not waiting.is_late(2.0)
    waiting.in_time()
    waiting.late(3.0)
    assert not waiting.is_late(3.0)
    for at_s in (3.1, 3.2):
        waiting.late(at_s)
    assert waiting.is_late(3.2)
    assert not waiting.is_late(3.3 + QUIET_KEPT_S)
    waiting.late(20.0)
    assert waiting.is_late(20.0), "who was late before is believed at once"
