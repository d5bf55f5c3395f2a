"""The pure decisions of the store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import S3Error
from holdfast.health.breaker import State
from holdfast.health.standing import WELL, Standing
from holdfast.model import Copy, Facts, Span, Version, replace
from holdfast.s3 import RangeAsk, ReadConditions
from holdfast.store.plan import check_copy, check_read, enough, order_copies, resolve_range


def _version(etag: str = "e1", modified_ms: int = 1_700_000_000_500, copies: tuple[int, ...] = ()) -> Version:
    return Version(1, 10, etag, modified_ms, Facts(), tuple(Copy(grid, "g") for grid in copies), 0)


def _outcome(conditions: ReadConditions, version: Version) -> str:
    try:
        check_read(conditions, version)
    except S3Error as refusal:
        return refusal.code
    return "ok"


SAME_S = 1_700_000_000_000
CASES = [
    (ReadConditions(), "ok"),
    (ReadConditions(if_match=("e1",)), "ok"),
    (ReadConditions(if_match=("*",)), "ok"),
    (ReadConditions(if_match=("e0", "e2")), "PreconditionFailed"),
    (ReadConditions(if_none_match=("e1",)), "NotModified"),
    (ReadConditions(if_none_match=("*",)), "NotModified"),
    (ReadConditions(if_none_match=("e2",)), "ok"),
    (ReadConditions(if_modified_since_ms=SAME_S), "NotModified"),
    (ReadConditions(if_modified_since_ms=SAME_S - 1000), "ok"),
    (ReadConditions(if_unmodified_since_ms=SAME_S), "ok"),
    (ReadConditions(if_unmodified_since_ms=SAME_S - 1000), "PreconditionFailed"),
    (ReadConditions(if_match=("e1",), if_unmodified_since_ms=SAME_S - 1000), "ok"),
    (ReadConditions(if_none_match=("e1",), if_modified_since_ms=SAME_S - 1000), "NotModified"),
    (ReadConditions(if_none_match=("e2",), if_modified_since_ms=SAME_S), "ok"),
]


@pytest.mark.parametrize(("conditions", "expected"), CASES)
def test_read_conditions_combine_as_s3_documents(conditions: ReadConditions, expected: str) -> None:
    assert _outcome(conditions, _version()) == expected


def test_not_modified_brings_what_a_cache_renews_its_entry_by() -> None:
    system = {"cache-control": "max-age=60", "expires": "never", "content-type": "text/plain"}
    version = replace(_version(), facts=Facts(system))
    with pytest.raises(S3Error) as refusal:
        check_read(ReadConditions(if_none_match=("e1",)), version)
    assert refusal.value.headers == {"ETag": '"e1"', "Cache-Control": "max-age=60", "Expires": "never"}


def test_a_copy_source_that_is_unchanged_is_a_failed_precondition() -> None:
    with pytest.raises(S3Error) as refusal:
        check_copy(ReadConditions(if_none_match=("e1",)), _version())
    assert refusal.value.status == 412


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60), st.integers(0, 3))
def test_a_range_gives_what_slicing_gives(size: int, first: int, length: int, form: int) -> None:
    body = bytes(range(size))
    match form:
        case 0:
            ask, expected = RangeAsk(first=first, last=first + length), body[first : first + length + 1]
        case 1:
            ask, expected = RangeAsk(first=first), body[first:]
        case 2:
            ask, expected = RangeAsk(suffix=length), body[-length:] if length else b""
        case _:
            assert resolve_range(None, size) == Span(0, size)
            return
    try:
        span = resolve_range(ask, size)
    except S3Error as refusal:
        assert refusal.code == "InvalidRange"
        assert refusal.fields["ActualObjectSize"] == str(size)
        assert not expected
        return
    assert body[span.start : span.end] == expected
    assert span.size > 0


SHUT = Standing(State.OPEN)
ON_TRIAL = Standing(State.TRIAL)
RETURNING = Standing(State.CLOSED, 0.05)


def _order(standings: dict[int, Standing], *, draw: float = 0.5, prices: dict[int, float] | None = None) -> list[int]:
    """Of copies on these grids, which the policy prefers in the order that they stand in."""
    return order_copies(
        _version(copies=tuple(standings)),
        tuple(standings),
        lambda number: standings[number],
        draw=draw,
        price_of=lambda number: (prices or {}).get(number, 0.0),
    )


def test_held_copies_come_before_owed_ones_and_healthy_before_silent_ones() -> None:
    down = {2, 4}

    def standing_of(number: int) -> Standing:
        return SHUT if number in down else WELL

    assert order_copies(_version(copies=(2, 3)), (1, 2, 3, 4), standing_of) == [3, 2, 1, 4]


def test_closed_comes_before_trial_and_returning_before_open() -> None:
    assert _order({1: SHUT, 2: ON_TRIAL, 3: RETURNING, 4: WELL}) == [4, 2, 3, 1]


def test_a_returning_grid_has_its_place_in_its_share_of_the_reads() -> None:
    assert _order({1: RETURNING, 2: WELL}, draw=0.049) == [1, 2]
    assert _order({1: RETURNING, 2: WELL}, draw=0.05) == [2, 1]


def test_a_faster_copy_is_asked_first_and_one_about_as_fast_is_not() -> None:
    assert _order({1: Standing(latency_s=0.1), 2: Standing(latency_s=0.04)}) == [2, 1]
    assert _order({1: Standing(latency_s=0.1), 2: Standing(latency_s=0.06)}) == [1, 2]
    assert _order({1: Standing(latency_s=0.009), 2: Standing(latency_s=0.0001)}) == [1, 2]


def test_an_unknown_latency_is_no_reason_to_ask_later() -> None:
    assert _order({1: WELL, 2: Standing(latency_s=0.01)}) == [1, 2]


def test_the_cheaper_of_equals_is_asked_first() -> None:
    assert _order({1: WELL, 2: WELL}, prices={1: 0.09, 2: 0.01}) == [2, 1]
    assert _order({1: Standing(latency_s=0.01), 2: Standing(latency_s=0.9)}, prices={1: 0.09}) == [1, 2]


STANDINGS = st.builds(
    Standing, st.sampled_from(State), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 100, allow_subnormal=False))
)


@given(st.sets(st.integers(1, 6)), st.lists(st.integers(1, 6), unique=True), st.data())
def test_every_possible_copy_is_asked_exactly_once(held: set[int], preferred: list[int], data: st.DataObject) -> None:
    standings = {number: data.draw(STANDINGS) for number in range(1, 7)}
    order = order_copies(
        _version(copies=tuple(held)), preferred, standings.__getitem__, draw=data.draw(st.floats(0, 0.999))
    )
    assert sorted(order) == sorted(held | set(preferred))


@given(st.lists(STANDINGS, min_size=1, max_size=6), st.floats(0, 0.999))
def test_no_copy_that_can_be_asked_comes_after_one_that_is_shut(found: list[Standing], draw: float) -> None:
    order = _order(dict(enumerate(found, 1)), draw=draw)
    shut = [found[number - 1].state is State.OPEN for number in order]
    assert shut == sorted(shut)


def test_enough_counts_only_grids_that_hold_the_write() -> None:
    assert enough(0, {})
    assert enough(1, {1: "held", 2: "down"})
    assert not enough(2, {1: "held", 2: "busy"})
