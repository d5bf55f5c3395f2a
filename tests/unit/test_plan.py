"""The pure decisions of the store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import S3Error
from holdfast.model import Copy, Facts, GridState, Span, Version, replace
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


def test_held_copies_come_before_owed_ones_and_healthy_before_silent_ones() -> None:
    down = {2, 4}

    def state_of(number: int) -> GridState:
        return GridState.DOWN if number in down else GridState.UP

    assert order_copies(_version(copies=(2, 3)), (1, 2, 3, 4), state_of) == [3, 2, 1, 4]


@given(st.sets(st.integers(1, 6)), st.lists(st.integers(1, 6), unique=True))
def test_every_possible_copy_is_asked_exactly_once(held: set[int], preferred: list[int]) -> None:
    order = order_copies(_version(copies=tuple(held)), preferred, lambda _: GridState.UNKNOWN)
    assert sorted(order) == sorted(held | set(preferred))


def test_enough_counts_only_grids_that_hold_the_write() -> None:
    assert enough(0, {})
    assert enough(1, {1: "held", 2: "down"})
    assert not enough(2, {1: "held", 2: "busy"})
