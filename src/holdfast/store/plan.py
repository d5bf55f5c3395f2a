"""What to do, decided purely: which bytes, which copies, whether preconditions hold, whether enough grids acted.

No I/O, no clock, no chance. Sources: RFC 9110 sections 13 and 14, and Amazon S3 API Reference, GetObject and
CopyObject (order and outcome of the conditional headers).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from holdfast.errors import S3Error
from holdfast.health.breaker import State
from holdfast.health.standing import Standing
from holdfast.limits import LATENCY_ALIKE, LATENCY_ALIKE_S
from holdfast.model import Span, Version
from holdfast.s3 import RangeAsk, ReadConditions


def check_read(conditions: ReadConditions, version: Version) -> None:
    """Raise PreconditionFailed or NotModified as the conditions say of this version.

    If-Match that holds overrides If-Unmodified-Since; If-None-Match that fails overrides If-Modified-Since.
    """
    seconds_ms = version.modified_ms // 1000 * 1000
    if conditions.if_match:
        if not _matches(conditions.if_match, version.etag):
            raise S3Error("PreconditionFailed", fields={"Condition": "If-Match"})
    elif conditions.if_unmodified_since_ms is not None and seconds_ms > conditions.if_unmodified_since_ms:
        raise S3Error("PreconditionFailed", fields={"Condition": "If-Unmodified-Since"})
    if conditions.if_none_match:
        if _matches(conditions.if_none_match, version.etag):
            raise _not_modified(version)
    elif conditions.if_modified_since_ms is not None and seconds_ms <= conditions.if_modified_since_ms:
        raise _not_modified(version)


def check_copy(conditions: ReadConditions, version: Version) -> None:
    """As `check_read`, for a copy's source: whatever does not hold is PreconditionFailed."""
    try:
        check_read(conditions, version)
    except S3Error as refusal:
        if refusal.code == "NotModified":
            raise S3Error("PreconditionFailed", fields={"Condition": "x-amz-copy-source-If-None-Match"}) from refusal
        raise


def _matches(etags: Sequence[str], etag: str) -> bool:
    return etag in etags or "*" in etags


def _not_modified(version: Version) -> S3Error:
    """With what a cache renews its entry by: RFC 9110 section 15.4.5."""
    system = version.facts.system
    fresh = {name: system[name.lower()] for name in ("Cache-Control", "Expires") if name.lower() in system}
    return S3Error("NotModified", headers={"ETag": f'"{version.etag}"', **fresh})


def resolve_range(ask: RangeAsk | None, size_bytes: int) -> Span:
    """The bytes that a range means for an object of this size. Raises InvalidRange."""
    if ask is None:
        return Span(0, size_bytes)
    if ask.suffix is not None:
        if ask.suffix == 0 or size_bytes == 0:
            raise _invalid_range(f"bytes=-{ask.suffix}", size_bytes)
        return Span(max(0, size_bytes - ask.suffix), size_bytes)
    first = ask.first or 0
    if first >= size_bytes:
        last = "" if ask.last is None else str(ask.last)
        raise _invalid_range(f"bytes={first}-{last}", size_bytes)
    return Span(first, size_bytes if ask.last is None else min(ask.last + 1, size_bytes))


def _invalid_range(asked: str, size_bytes: int) -> S3Error:
    return S3Error(
        "InvalidRange",
        fields={"RangeRequested": asked, "ActualObjectSize": str(size_bytes)},
        headers={"Content-Range": f"bytes */{size_bytes}"},
    )


def order_copies(
    version: Version,
    preferred: Sequence[int],
    standing_of: Callable[[int], Standing],
    *,
    draw: float = 0.0,
    price_of: Callable[[int], float] = lambda _: 0.0,
) -> list[int]:
    """The grids to ask for a version, in order: every grid that may have it, each once.

    Those that hold it come before those that may. Among these: the well ones, then those that are on trial, demoted or
    coming back, then the silent; among equals the fast, then the cheap, then as the policy says. `draw`, from
    [0, 1), decides whether this read is one of the few in which a demoted or returning grid has its ordinary place.
    Grids that are owed the version come last: they may hold it already (it was published and not settled yet),
    and a wrong answer of theirs is found by its checksum.
    """
    held = {copy.grid for copy in version.copies}
    place = {number: position for position, number in enumerate(preferred)}
    candidates = held | set(preferred)
    standings = {number: standing_of(number) for number in candidates}
    known = [standing.latency_s for standing in standings.values() if standing.latency_s is not None]
    fastest_s = min(known, default=0.0)

    def rank(number: int) -> tuple[bool, int, int, float, int, int]:
        standing = standings[number]
        return (
            number not in held,
            _tier(standing, draw),
            _slower(standing.latency_s, fastest_s),
            price_of(number),
            place.get(number, len(place)),
            number,
        )

    return sorted(candidates, key=rank)


def _tier(standing: Standing, draw: float) -> int:
    match standing.state:
        case State.CLOSED:
            return 0 if draw < standing.share else 1
        case State.TRIAL:
            return 1
        case State.OPEN:
            return 2
        case _:
            assert_never(standing.state)


def _slower(latency_s: float | None, fastest_s: float) -> int:
    """In how many steps of LATENCY_ALIKE a grid is slower than the fastest one; 0 when that is not known. Steps, as
    otherwise chance would decide between equals, and neither price nor policy ever."""
    if latency_s is None or latency_s - fastest_s < LATENCY_ALIKE_S or fastest_s <= 0:
        return 0
    return int(math.log(latency_s, LATENCY_ALIKE) - math.log(fastest_s, LATENCY_ALIKE))


def enough(ack: int, outcomes: Mapping[int, str]) -> bool:
    """Whether as many grids hold the write as its policy wants. Outcomes are "held" or the reason why not."""
    return sum(outcome == "held" for outcome in outcomes.values()) >= ack
