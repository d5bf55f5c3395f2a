"""When lifecycle rules are due: pure arithmetic over what is known of an object, a delete marker or an upload.

Answers for S3's rounding: days count from the moment that matters to the midnight (UTC) that follows their end. `day_ms` is the
length of a day; another one than 24 hours is for tests. It decides nothing about locks and reads no clock. When several rules
apply, the earliest is meant. Source: Amazon S3 User Guide, "Lifecycle configuration elements", "Expiring objects".
"""

from collections.abc import Iterable, Iterator
from typing import Final

from holdfast.model import Bucket
from holdfast.s3.lifecycle import Due, Lifecycle, Rule
from holdfast.s3.settings import setting

DAY_MS: Final = 24 * 3600 * 1000


def expiry_of(bucket: Bucket, key: str, size: int, tags: dict[str, str], modified_ms: int) -> Due | None:
    """When the current version of a key expires, by the rules of its bucket and by the calendar."""
    life = setting(bucket, "lifecycle", Lifecycle)
    return None if life is None else current_due(life, key, size, tags, modified_ms)


def abort_of(bucket: Bucket, key: str, initiated_ms: int) -> Due | None:
    """The same for a multipart upload."""
    life = setting(bucket, "lifecycle", Lifecycle)
    return None if life is None else abort_due(life, key, initiated_ms)


def midnight_after(from_ms: int, days: int, day_ms: int) -> int:
    """The end of the day on which `days` days have passed."""
    return ((from_ms + days * day_ms) // day_ms + 1) * day_ms


def current_due(
    life: Lifecycle, key: str, size: int, tags: dict[str, str], modified_ms: int, day_ms: int = DAY_MS
) -> Due | None:
    """When the current version of a key expires."""
    return _earliest(
        Due(_current(rule, modified_ms, day_ms), rule.id)
        for rule in _enabled(life)
        if (rule.days or rule.date_ms is not None) and rule.filter.matches(key, size, tags)
    )


def marker_due(life: Lifecycle, key: str, modified_ms: int, day_ms: int = DAY_MS) -> Due | None:
    """When a delete marker goes under which no version is left. Only rules without tags and sizes are about markers: they have
    neither."""
    return _earliest(
        Due(modified_ms if rule.markers else _current(rule, modified_ms, day_ms), rule.id)
        for rule in _enabled(life)
        if (rule.markers or rule.days or rule.date_ms is not None)
        and rule.filter.plain
        and key.startswith(rule.filter.prefix or "")
    )


def noncurrent_due(
    life: Lifecycle, key: str, size: int, tags: dict[str, str], since_ms: int, newer: int, day_ms: int = DAY_MS
) -> Due | None:
    """When a version goes that was replaced at `since_ms`, if `newer` versions of its key were replaced after it. For a delete
    marker that was replaced, `size` is 0 and there are no tags."""
    return _earliest(
        Due(midnight_after(since_ms, rule.noncurrent_days, day_ms), rule.id)
        for rule in _enabled(life)
        if rule.noncurrent_days and newer >= (rule.newer or 0) and rule.filter.matches(key, size, tags)
    )


def abort_due(life: Lifecycle, key: str, initiated_ms: int, day_ms: int = DAY_MS) -> Due | None:
    """When a multipart upload is aborted."""
    return _earliest(
        Due(midnight_after(initiated_ms, rule.abort_days, day_ms), rule.id)
        for rule in _enabled(life)
        if rule.abort_days and key.startswith(rule.filter.prefix or "")
    )


def prefixes(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Prefixes under which everything lies that these rules are about, in order, none within another."""
    found: list[str] = []
    for prefix in sorted({rule.filter.prefix or "" for rule in rules if rule.enabled}, key=str.encode):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return tuple(found)


def _enabled(life: Lifecycle) -> Iterator[Rule]:
    return (rule for rule in life.rules if rule.enabled)


def _current(rule: Rule, modified_ms: int, day_ms: int) -> int:
    if rule.date_ms is not None:
        return rule.date_ms
    assert rule.days, "asked only of rules that expire"
    return midnight_after(modified_ms, rule.days, day_ms)


def _earliest(found: Iterator[Due]) -> Due | None:
    return min(found, key=lambda due: due.at_ms, default=None)
