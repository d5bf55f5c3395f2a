"""Etag lists, dates and ranges."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import S3Error
from holdfast.limits import OBJECT_BYTES
from holdfast.model import Span
from holdfast.s3 import RangeAsk
from holdfast.wire.conditions import http_date, iso_date, parse_copy_range, parse_etags, parse_http_date, parse_range

SECONDS = st.integers(0, 4_102_444_799)
"""1970 to 2099."""


@pytest.mark.parametrize(
    ("text", "etags"),
    [
        ("", ()),
        (" , ,", ()),
        ("*", ("*",)),
        ('"a"', ("a",)),
        ("a", ("a",)),
        ('W/"a"', ("a",)),
        ('"a", W/"b" ,c,"d"', ("a", "b", "c", "d")),
        ('"a,b", "c d"', ("a,b", "c d")),
        ('""', ("",)),
        ('"*"', ('"*"',)),
        ('"open', ('"open',)),
        ('"5d41402abc4b2a76b9719d911017c592-2"', ("5d41402abc4b2a76b9719d911017c592-2",)),
    ],
)
def test_entity_tags_are_listed_without_quotes(text: str, etags: tuple[str, ...]) -> None:
    assert parse_etags(text) == etags


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters='"'), min_size=1).filter(lambda tag: tag != "*"), max_size=5))
def test_any_quoted_tags_come_back(tags: list[str]) -> None:
    assert parse_etags(", ".join(f'"{tag}"' for tag in tags)) == tuple(tags)


@settings(deadline=None)
@given(st.text() | st.text(alphabet='W/"*, \t'))
def test_any_text_is_a_list_of_tags(text: str) -> None:
    assert all(isinstance(tag, str) for tag in parse_etags(text))


WHEN_MS = 784_111_777_000


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_all_forms_of_http_dates_are_read(text: str) -> None:
    assert parse_http_date(text) == WHEN_MS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Now 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, ०६ Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT" + " " * 100,
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None


def test_two_digit_years_are_of_this_century_before_seventy() -> None:
    assert parse_http_date("Friday, 02-Jan-26 03:04:05 GMT") == parse_http_date("Fri, 02 Jan 2026 03:04:05 GMT")
    assert parse_http_date("Thursday, 01-Jan-70 00:00:00 GMT") == 0


def test_a_leap_second_is_a_time() -> None:
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == parse_http_date("Sat, 31 Dec 2016 23:59:59 GMT")


@settings(deadline=None)
@given(SECONDS, st.integers(0, 999))
def test_dates_are_written_as_the_standard_library_does(at_s: int, ms: int) -> None:
    when = datetime.fromtimestamp(at_s, UTC)
    assert http_date(at_s * 1000 + ms) == format_datetime(when, usegmt=True)
    assert iso_date(at_s * 1000 + ms) == when.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert parse_http_date(http_date(at_s * 1000 + ms)) == at_s * 1000


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    ("text", "ask"),
    [
        ("bytes=0-9", RangeAsk(first=0, last=9)),
        ("bytes=5-5", RangeAsk(first=5, last=5)),
        ("bytes=10-", RangeAsk(first=10)),
        ("bytes=-5", RangeAsk(suffix=5)),
        ("bytes=-0", RangeAsk(suffix=0)),
        ("bytes=007-9", RangeAsk(first=7, last=9)),
        ("Bytes= 0-9 ", RangeAsk(first=0, last=9)),
        ("bytes=0-" + "9" * 5000, RangeAsk(first=0, last=OBJECT_BYTES)),
        ("bytes=" + "9" * 5000 + "-", RangeAsk(first=OBJECT_BYTES)),
        ("bytes=9-0", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes", None),
        ("", None),
        ("items=0-9", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=-1-2", None),
        ("bytes=0x0-9", None),
        ("bytes=٠-٩", None),
        ("0-9", None),
    ],
)
def test_one_byte_range_is_read_and_everything_else_ignored(text: str, ask: RangeAsk | None) -> None:
    assert parse_range(text) == ask


@settings(deadline=None)
@given(st.text() | st.text(alphabet="bytes=0123456789-, "))
def test_any_text_is_a_range_or_none(text: str) -> None:
    ask = parse_range(text)
    assert ask is None or ask.first is not None or ask.suffix is not None


@settings(deadline=None)
@given(st.integers(0, 10**18), st.integers(0, 10**6))
def test_a_copy_range_is_a_span(first: int, more: int) -> None:
    assert parse_copy_range(f"bytes={first}-{first + more}") == Span(first, first + more + 1)


@pytest.mark.parametrize(
    "text", ["", "bytes=0-", "bytes=-5", "bytes=9-0", "bytes=0-1,2-3", "0-9", "bytes= 0-9", "bytes=0-" + "9" * 5000]
)
def test_any_other_copy_range_is_refused(text: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_copy_range(text)
    assert caught.value.code == "InvalidArgument"
    assert caught.value.fields["ArgumentName"] == "x-amz-copy-source-range"
