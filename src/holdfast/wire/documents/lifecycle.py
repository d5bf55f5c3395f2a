"""LifecycleConfiguration. Source: Amazon S3 API Reference, PutBucketLifecycleConfiguration.

Transitions are checked like everything else and then refused by name: nothing here has a storage class to go to, and a rule that
silently does nothing would be found out by its bill. Several conditions directly within a Filter are taken as if within And.
"""

import datetime
import hashlib
from typing import Final

from holdfast.errors import S3Error
from holdfast.limits import KEY_BYTES, LIFECYCLE_RULES, NEWER_VERSIONS_MAX, OBJECT_BYTES, OBJECT_TAGS, RULE_ID_CHARS
from holdfast.s3.expiry import DAY_MS
from holdfast.s3.lifecycle import Filter, Lifecycle, Rule
from holdfast.wire.conditions import iso_date
from holdfast.xml import Element, element, malformed

_DAYS_MAX: Final = 2**31 - 1
_ACTIONS: Final = (
    "Expiration",
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
    "Transition",
    "NoncurrentVersionTransition",
)
_CLASSES: Final = frozenset(
    {"GLACIER", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"}
)


def read(root: Element) -> Lifecycle:
    items = list(root.all("Rule"))
    if not items:
        raise malformed("no Rule")
    if len(items) > LIFECYCLE_RULES:
        raise malformed(f"more than {LIFECYCLE_RULES} rules")
    rules = tuple(_rule(number, item) for number, item in enumerate(items))
    ids = {rule.id for rule in rules}
    if len(ids) < len(rules):
        raise _refused("ID", "", "Rule ID must be unique. Found same ID for more than one rule.")
    for item in items:
        for action in ("Transition", "NoncurrentVersionTransition"):
            if item.find(action) is not None:
                message = f"{action} is not implemented: there are no storage classes to move objects to."
                raise S3Error("NotImplemented", message, fields={"Element": action})
    return Lifecycle(rules)


def _rule(number: int, item: Element) -> Rule:
    given = (item.get("ID") or "").strip()
    if len(given) > RULE_ID_CHARS:
        raise _refused("ID", given, f"ID length should not exceed allowed limit of {RULE_ID_CHARS}")
    status = item.get("Status")
    if status not in ("Enabled", "Disabled"):
        raise malformed(f"the status {status!r}")
    if all(item.find(action) is None for action in _ACTIONS):
        raise _invalid("At least one action needs to be specified in a rule")
    form, chosen = _filter(item)
    days, date_ms, markers = _expiration(item, chosen)
    noncurrent_days, newer = _noncurrent(item)
    abort_days = _abort(item, chosen)
    _check_transitions(item)
    made = hashlib.sha256(repr((number, form, chosen, days, date_ms, noncurrent_days, abort_days)).encode()).hexdigest()
    return Rule(
        given or made[:36],
        status == "Enabled",
        chosen,
        form,
        days,
        date_ms,
        markers,
        noncurrent_days,
        newer,
        abort_days,
    )


# --- which objects ---


def _filter(item: Element) -> tuple[str, Filter]:
    outer, old = item.find("Filter"), item.find("Prefix")
    if (outer is None) == (old is None):
        raise malformed("a rule needs either a Filter or a Prefix")
    if outer is None:
        return "Prefix", Filter(_prefix(item))
    both = outer.find("And")
    if both is not None and len(outer.children) > 1:
        raise malformed("a Filter with conditions beside And")
    found = _conditions(outer if both is None else both)
    if both is not None and not both.children:
        raise malformed("an empty And")
    return "Filter" if both is None else "And", found


def _conditions(within: Element) -> Filter:
    tags: dict[str, str] = {}
    for tag in within.all("Tag"):
        name, value = tag.get("Key"), tag.get("Value")
        if not name or value is None:
            raise malformed("a Tag without Key or Value")
        if name in tags:
            raise _invalid("Duplicate Tag Keys are not allowed.")
        tags[name] = value
    if len(tags) > OBJECT_TAGS:
        raise _invalid(f"A filter can have no more than {OBJECT_TAGS} tags.")
    above, below = _size(within, "ObjectSizeGreaterThan"), _size(within, "ObjectSizeLessThan")
    if above is not None and below is not None and below <= above:
        raise _invalid("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'")
    if below == 0:
        raise _invalid("'ObjectSizeLessThan' has to be a value greater than 0")
    return Filter(_prefix(within), tags, above, below)


def _prefix(within: Element) -> str | None:
    text = within.get("Prefix")
    if text is not None and len(text.encode()) > KEY_BYTES:
        raise _invalid(f"The maximum size of a prefix is {KEY_BYTES}.")
    return text


def _size(within: Element, name: str) -> int | None:
    text = within.get(name)
    return None if text is None else _number(name, text, least=0, most=OBJECT_BYTES)


# --- what becomes of them ---


def _expiration(item: Element, chosen: Filter) -> tuple[int | None, int | None, bool | None]:
    found = item.find("Expiration")
    if found is None:
        return None, None, None
    days, date, marker = found.get("Days"), found.get("Date"), found.get("ExpiredObjectDeleteMarker")
    if marker is not None and marker.strip() not in ("true", "false"):
        raise malformed(f"ExpiredObjectDeleteMarker is {marker!r}")
    if sum(text is not None for text in (days, date, marker)) != 1:
        raise malformed("Expiration needs one of Days, Date and ExpiredObjectDeleteMarker")
    if marker is not None:
        if chosen.tags:
            raise _invalid("Tag filter is not supported with ExpiredObjectDeleteMarker.")
        return None, None, marker.strip() == "true"
    if date is not None:
        return None, _midnight(date), None
    return _days("Expiration", "Days", days), None, None


def _noncurrent(item: Element) -> tuple[int | None, int | None]:
    found = item.find("NoncurrentVersionExpiration")
    if found is None:
        return None, None
    if found.get("NoncurrentDays") is None:
        raise malformed("NoncurrentVersionExpiration without NoncurrentDays")
    days = _days("NoncurrentVersionExpiration", "NoncurrentDays", found.get("NoncurrentDays"))
    newer = found.get("NewerNoncurrentVersions")
    if newer is None:
        return days, None
    return days, _number("NewerNoncurrentVersions", newer, least=1, most=NEWER_VERSIONS_MAX)


def _abort(item: Element, chosen: Filter) -> int | None:
    found = item.find("AbortIncompleteMultipartUpload")
    if found is None:
        return None
    if not chosen.plain:
        what = "Tag" if chosen.tags else "Object size"
        raise _invalid(f"AbortIncompleteMultipartUpload cannot be specified with {what}s.")
    if found.get("DaysAfterInitiation") is None:
        raise malformed("AbortIncompleteMultipartUpload without DaysAfterInitiation")
    return _days("AbortIncompleteMultipartUpload", "DaysAfterInitiation", found.get("DaysAfterInitiation"))


def _check_transitions(item: Element) -> None:
    for move in item.all("Transition"):
        if (move.get("Days") is None) == (move.get("Date") is None):
            raise malformed("Transition needs Days or Date")
        if (date := move.get("Date")) is not None:
            _midnight(date)
        _number("Days", move.get("Days") or "0", least=0, most=_DAYS_MAX)
        _check_class(move)
    for move in item.all("NoncurrentVersionTransition"):
        _number("NoncurrentDays", move.get("NoncurrentDays") or "0", least=0, most=_DAYS_MAX)
        _check_class(move)


def _check_class(move: Element) -> None:
    if move.get("StorageClass") not in _CLASSES:
        raise malformed(f"the storage class {move.get('StorageClass')!r}")


def _days(action: str, name: str, text: str | None) -> int:
    digits = (text or "").strip()
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:11]) <= _DAYS_MAX):
        raise _refused(name, digits, f"'{name}' for {action} action must be a positive integer")
    return int(digits)


def _number(name: str, text: str, *, least: int, most: int) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and least <= int(digits[:20]) <= most):
        raise _refused(name, digits, f"'{name}' must be an integer between {least} and {most}")
    return int(digits)


def _midnight(text: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError as trouble:
        raise malformed(f"the date {text!r}") from trouble
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    at_ms = int(moment.timestamp() * 1000)
    if at_ms % DAY_MS or moment.microsecond:
        raise _refused("Date", text, "'Date' must be at midnight GMT")
    return at_ms


def _refused(name: str, value: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, fields={"ArgumentName": name, "ArgumentValue": value})


def _invalid(message: str) -> S3Error:
    return S3Error("InvalidRequest", message)


# --- and back ---


def write(value: Lifecycle) -> str:
    return "".join(f"<Rule>{_written(rule)}</Rule>" for rule in value.rules)


def _written(rule: Rule) -> str:
    conditions = _conditions_of(rule.filter)
    match rule.form:
        case "Prefix":
            conditions = element("Prefix", rule.filter.prefix or "")
        case "And":
            conditions = f"<Filter><And>{conditions}</And></Filter>"
        case _:
            conditions = f"<Filter>{conditions}</Filter>"
    text = element("ID", rule.id) + conditions + element("Status", "Enabled" if rule.enabled else "Disabled")
    text += _group(
        "Expiration",
        Days=rule.days,
        Date=None if rule.date_ms is None else iso_date(rule.date_ms),
        ExpiredObjectDeleteMarker=None if rule.markers is None else str(rule.markers).lower(),
    )
    text += _group(
        "NoncurrentVersionExpiration", NoncurrentDays=rule.noncurrent_days, NewerNoncurrentVersions=rule.newer
    )
    return text + _group("AbortIncompleteMultipartUpload", DaysAfterInitiation=rule.abort_days)


def _conditions_of(chosen: Filter) -> str:
    text = "" if chosen.prefix is None else element("Prefix", chosen.prefix)
    for name, value in chosen.tags.items():
        text += f"<Tag>{element('Key', name)}{element('Value', value)}</Tag>"
    text += "" if chosen.above is None else element("ObjectSizeGreaterThan", chosen.above)
    return text + ("" if chosen.below is None else element("ObjectSizeLessThan", chosen.below))


def _group(name: str, **values: str | int | None) -> str:
    content = "".join(element(field, value) for field, value in values.items() if value is not None)
    return f"<{name}>{content}</{name}>" if content else ""
