"""Etag lists, HTTP dates and byte ranges: the small grammars of conditional and partial requests.

Answers for reading and writing them; never evaluates a condition (the store does, against a version).
Invariant: nothing here raises but `parse_copy_range`, which raises S3Error.
RFC 9110 sections 5.6.7 (dates), 8.8.3 (entity tags), 13.1 (preconditions) and 14.1 (ranges).
"""

import re
from datetime import UTC, datetime
from functools import lru_cache

from holdfast.errors import S3Error
from holdfast.limits import OBJECT_BYTES, PARSED_MEMORY
from holdfast.model import Span
from holdfast.s3 import RangeAsk

_ETAG = re.compile(r'(?:W/)?"([^"]*)"|([^\s,]+)')
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBER = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"[a-z]{{3}}, (?P<day>[0-9]{{1,2}}) (?P<month>[a-z]{{3}}) (?P<year>[0-9]{{4}}) {_TIME} (?:GMT|UTC|[+-]0000)",
        rf"[a-z]{{6,9}}, (?P<day>[0-9]{{2}})-(?P<month>[a-z]{{3}})-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_CENTURY_PIVOT = 70
"""Two-digit years from here on are of the twentieth century, as POSIX has it."""
_DATE_CHARS = 48
"""No date is longer; longer texts are not worth remembering either."""
_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
_COPY_RANGE = re.compile(r"bytes=([0-9]{1,19})-([0-9]{1,19})")


def parse_etags(text: str) -> tuple[str, ...]:
    """The entity tags of an If-Match or If-None-Match list, without quotes and weakness marks; `*` stands for itself.

    Unquoted tags are taken as they are, as S3 does. The tag `"*"` keeps its quotes, so that it is not taken for
    any; nothing has it.
    """
    tags = []
    for match in _ETAG.finditer(text):
        quoted, bare = match.groups()
        if quoted is None:
            tags.append(bare)
        else:
            tags.append('"*"' if quoted == "*" else quoted)
    return tuple(tags)


def parse_http_date(text: str) -> int | None:
    """Milliseconds since the epoch of a date in one of HTTP's three forms, or None for anything else."""
    return _parse_http_date(text) if len(text) <= _DATE_CHARS else None


@lru_cache(PARSED_MEMORY)
def _parse_http_date(text: str) -> int | None:
    for form in _DATES:
        match = form.fullmatch(text)
        if match is None:
            continue
        month = _MONTH_NUMBER.get(match["month"].lower())
        year, second = int(match["year"]), int(match["second"])
        if len(match["year"]) == 2:
            year += 1900 if year >= _CENTURY_PIVOT else 2000
        if month is None or second > 60:
            return None
        try:
            # A leap second has no number of its own in Unix time.
            when = datetime(
                year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), min(second, 59), tzinfo=UTC
            )
        except ValueError:
            return None
        return int(when.timestamp()) * 1000
    return None


def parse_range(text: str) -> RangeAsk | None:
    """The one byte range that a Range header asks for, or None when it is to be ignored.

    S3 ignores what is not well-formed, other units, and lists of several ranges. Whether the range can be satisfied
    depends on the object.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return RangeAsk(suffix=_offset(last)) if last else None
    if not last:
        return RangeAsk(first=_offset(first))
    ask = RangeAsk(first=_offset(first), last=_offset(last))
    return ask if _offset(first) <= _offset(last) else None


def _offset(digits: str) -> int:
    """The number, or one beyond every object when it is larger than any."""
    digits = digits.lstrip("0")
    return min(int(digits or "0"), OBJECT_BYTES) if len(digits) < 20 else OBJECT_BYTES


def parse_copy_range(text: str) -> Span:
    """The span that x-amz-copy-source-range names: `bytes=first-last`, both given. Raises InvalidArgument."""
    match = _COPY_RANGE.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            fields={"ArgumentName": "x-amz-copy-source-range", "ArgumentValue": text},
        )
    return Span(int(match[1]), int(match[2]) + 1)


def http_date(at_ms: int) -> str:
    """`Fri, 02 Jan 2026 03:04:05 GMT`: the preferred form of HTTP. Parts of a second are dropped."""
    return _http_date(at_ms // 1000)


@lru_cache(PARSED_MEMORY)
def _http_date(at_s: int) -> str:
    t = datetime.fromtimestamp(at_s, UTC)
    return f"{_DAYS[t.weekday()]}, {t.day:02} {_MONTHS[t.month - 1]} {t.year:04} {t.hour:02}:{t.minute:02}:{t.second:02} GMT"


def parse_iso_date(text: str) -> int | None:
    """Milliseconds of a date as ISO 8601 writes it, with a zone (`Z` or an offset) or in UTC; None for what is none."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def iso_date(at_ms: int) -> str:
    """`2026-01-02T03:04:05.000Z`, as in S3's XML.

    Always whole seconds, like S3's own, so that a listing and a Last-Modified header of one version agree.
    """
    return _iso_date(at_ms // 1000)


@lru_cache(PARSED_MEMORY)
def _iso_date(at_s: int) -> str:
    t = datetime.fromtimestamp(at_s, UTC)
    return f"{t.year:04}-{t.month:02}-{t.day:02}T{t.hour:02}:{t.minute:02}:{t.second:02}.000Z"
