"""What the laboratory calls a lie, and what it makes of figures."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.testing.lab.memory import Content, History
from holdfast.testing.lab.report import COLUMNS, Marks, Result, judge, markdown, misses, percentile, row
from holdfast.testing.lab.scenarios import Scenario
from holdfast.testing.lab.workload import Lie, Sample

ONE, TWO, THREE = Content("1", 1), Content("2", 2), Content("3", 3)


def written(*states: Content | None) -> History:
    history = History()
    for state in states:
        history.acknowledge(history.send(state))
    return history


def test_an_older_state_than_was_acknowledged_is_stale() -> None:
    history = written(ONE, TWO)
    assert history.judge(history.floor, ONE) == "stale"
    assert history.judge(history.floor, None) == "stale"
    assert history.judge(history.floor, TWO) == "right"


def test_what_nobody_wrote_is_wrong() -> None:
    assert written(ONE).judge(0, THREE) == "wrong"


def test_a_deleted_key_that_is_back_is_stale() -> None:
    history = written(ONE, None)
    assert history.judge(history.floor, ONE) == "stale"
    assert history.judge(history.floor, None) == "right"


def test_a_read_that_began_before_a_write_was_acknowledged_may_show_either() -> None:
    history = written(ONE)
    since = history.floor
    position = history.send(TWO)
    assert history.judge(since, TWO) == "right"
    history.acknowledge(position)
    assert history.judge(since, ONE) == "right"


def test_what_one_read_showed_the_next_may_not_take_back() -> None:
    history = written(ONE)
    history.send(TWO)
    assert history.judge(history.floor, TWO) == "right"
    assert history.judge(history.floor, ONE) == "stale"


def test_a_refused_write_may_have_happened_until_the_next_is_acknowledged() -> None:
    history = written(ONE)
    history.send(TWO)
    assert history.judge(history.floor, ONE) == "right"
    history.acknowledge(history.send(THREE))
    assert history.judge(history.floor, TWO) == "stale"


def test_a_write_that_was_never_answered_may_happen_at_any_time() -> None:
    history = written(ONE)
    history.lose(history.send(TWO))
    history.acknowledge(history.send(THREE))
    assert history.judge(history.floor, TWO) == "right"
    assert history.judge(history.floor, THREE) == "right"
    assert history.judge(history.floor, ONE) == "stale"


@given(st.lists(st.sampled_from(["write", "refused", "delete", "read"]), max_size=40), st.data())
def test_a_correct_store_is_never_accused(steps: list[str], data: st.DataObject) -> None:
    """A register that applies each write at once, or not at all when it refuses it."""
    history, held = History(), None
    for number, step in enumerate(steps):
        if step == "read":
            assert history.judge(history.floor, held) == "right"
            continue
        state = None if step == "delete" else Content(str(number), number)
        position = history.send(state)
        if step != "refused":
            held = state
            history.acknowledge(position)
        elif data.draw(st.booleans()):
            held = state


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([], 0.99) == 0.0
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([float(value) for value in range(1, 101)], 0.99) == 99.0
    assert percentile([2.0, 1.0, 3.0], 0.5) == 2.0


MARKS = Marks(0.0, 10.0, 22.0, 30.0, 1.5)


def gets(began_s: float, count: int, elapsed_s: float, failure: str = "") -> list[Sample]:
    return [Sample(began_s + number / 1000, elapsed_s, "GET", failure) for number in range(count)]


def result(samples: list[Sample], lies: list[Lie] | None = None, marks: Marks = MARKS, **terms: object) -> Result:
    scenario = Scenario("refused", "about", **terms)  # type: ignore[arg-type]
    return judge(scenario, marks, samples, lies or [], (), compression=1.0, met=7)


def test_figures_belong_to_their_stretch_of_time() -> None:
    made = result(gets(1, 50, 0.01) + gets(11, 50, 2.0) + gets(16, 50, 0.015) + gets(25, 50, 0.02))
    assert (made.calm_p99_s, made.early_p99_s, made.late_p99_s) == (0.01, 2.0, 0.02)
    assert made.requests == 150
    assert made.first_served_s == 3.0
    assert misses(made) == ()


def test_only_what_began_since_the_outage_counts_as_failed() -> None:
    made = result(gets(1, 5, 0.01, "503 X") + gets(12, 3, 0.01, "503 X") + gets(13, 9, 0.01))
    assert made.failed == 3
    assert made.failures == {"GET: 503 X": 3}
    assert "requests failed" in misses(made)


def test_every_part_of_the_bar_can_be_missed() -> None:
    calm = gets(1, 50, 0.01)
    assert misses(result(calm + gets(11, 50, 3.0) + gets(16, 50, 0.01))) == ("slow at first",)
    assert misses(result(calm + gets(11, 50, 0.01) + gets(16, 50, 0.021))) == ("slow after 5 s",)
    quick = calm + gets(11, 50, 0.01) + gets(16, 50, 0.01)
    assert misses(result(quick, [Lie("lost", "x")])) == ("writes lost",)
    assert misses(result(quick, [Lie("stale", "x")])) == ("wrong answers",)
    assert misses(result(quick, [Lie("wrong", "x")])) == ("wrong answers",)
    assert misses(result(quick, marks=Marks(0.0, 10.0, 22.0, 30.0, None))) == ("not caught up",)
    assert misses(result(quick, marks=Marks(0.0, 10.0, 22.0, 30.0, None), for_good=True)) == ()


def test_with_both_grids_out_only_losses_and_lies_count() -> None:
    some = gets(1, 50, 0.01) + gets(11, 50, 4.0, "503 ServiceUnavailable") + gets(16, 50, 0.5)
    assert misses(result(some, both=True)) == ()
    assert misses(result(some, [Lie("lost", "x")], both=True)) == ("writes lost",)


def test_a_scenario_in_which_nothing_went_wrong_showed_nothing() -> None:
    quick = gets(1, 50, 0.01) + gets(11, 50, 0.01)
    scenario = Scenario("refused", "about")
    assert misses(judge(scenario, MARKS, quick, (), (), compression=1.0, met=0)) == ("nothing was staged",)


def test_the_page_has_a_row_for_each_and_explains_what_missed() -> None:
    missed = result(gets(1, 50, 0.01) + gets(12, 3, 0.01, "503 X"))
    away = Result("path", "about it", not_staged="needs several nodes")
    page = markdown([missed, away], ["A remark."])
    assert "A remark." in page
    assert "not staged: needs several nodes" in page
    assert "3 x GET: 503 X" in page
    assert len(row(missed)) == len(row(away)) == len(COLUMNS)
