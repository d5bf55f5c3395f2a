"""ObjectLockConfiguration, Retention and LegalHold. Source: Amazon S3 API Reference, PutObjectLockConfiguration and following."""

from holdfast.errors import S3Error
from holdfast.model import Retention
from holdfast.s3.locks import COMPLIANCE, GOVERNANCE, ObjectLock
from holdfast.wire.conditions import iso_date, parse_iso_date
from holdfast.xml import Element, element, malformed

_MODES = (GOVERNANCE, COMPLIANCE)
_DAYS_MAX = 36500
_YEARS_MAX = 100


def read(root: Element) -> ObjectLock:
    if root.get("ObjectLockEnabled") != "Enabled":
        raise malformed(f"ObjectLockEnabled {root.get('ObjectLockEnabled')!r}")
    rule = root.find("Rule")
    if rule is None:
        return ObjectLock()
    default = rule.find("DefaultRetention")
    if default is None or default.get("Mode") not in _MODES:
        raise malformed("a rule without the mode of its default retention")
    days, years = default.get("Days"), default.get("Years")
    if (days is None) == (years is None):
        raise malformed("a default retention has either days or years")
    return ObjectLock(
        default.get("Mode") or "",
        0 if days is None else _period(days, _DAYS_MAX),
        0 if years is None else _period(years, _YEARS_MAX),
    )


def _period(text: str, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise malformed(f"the retention period {text!r}") from None
    if not 0 < value <= most:
        raise S3Error("InvalidRetentionPeriod")
    return value


def write(value: ObjectLock) -> str:
    content = element("ObjectLockEnabled", "Enabled")
    if not value.mode:
        return content
    period = element("Days", value.days) if value.days else element("Years", value.years)
    return f"{content}<Rule><DefaultRetention>{element('Mode', value.mode)}{period}</DefaultRetention></Rule>"


def read_retention(root: Element) -> Retention | None:
    """None for an empty one, which takes the retention away."""
    if not root.children:
        return None
    mode, text = root.get("Mode"), root.get("RetainUntilDate")
    until_ms = None if text is None else parse_iso_date(text)
    if mode not in _MODES or until_ms is None:
        raise malformed("a retention needs a mode and a date")
    return Retention(mode, until_ms)


def write_retention(value: Retention) -> str:
    return element("Mode", value.mode) + element("RetainUntilDate", iso_date(value.until_ms))


def read_hold(root: Element) -> bool:
    status = root.get("Status")
    if status not in ("ON", "OFF"):
        raise malformed(f"the legal hold {status!r}")
    return status == "ON"


def write_hold(on: bool) -> str:
    return element("Status", "ON" if on else "OFF")
