"""Object lock: what a bucket says of it, and the requests on single versions.

Source: Amazon S3 User Guide, "Locking objects with Object Lock"; API Reference, PutObjectLockConfiguration, PutObjectRetention,
PutObjectLegalHold.
"""

from typing import Final

from holdfast.model import Bucket, Retention, Value
from holdfast.s3 import Expected
from holdfast.s3.settings import setting

GOVERNANCE: Final = "GOVERNANCE"
COMPLIANCE: Final = "COMPLIANCE"
_DAY_MS: Final = 24 * 3600 * 1000


class ObjectLock(Value, frozen=True):
    """The setting `object-lock` of a bucket whose versions can be locked. Without `mode` there is no default retention."""

    mode: str = ""
    days: int = 0
    years: int = 0


class GetRetention(Value, frozen=True):
    bucket: str
    key: str
    version_id: str = ""


class PutRetention(Value, frozen=True):
    bucket: str
    key: str
    version_id: str = ""
    retention: Retention | None = None
    """From the body. None takes it away."""
    bypass: bool = False
    expected: Expected = Expected()


class RetentionGot(Value, frozen=True):
    retention: Retention


class GetLegalHold(Value, frozen=True):
    bucket: str
    key: str
    version_id: str = ""


class PutLegalHold(Value, frozen=True):
    bucket: str
    key: str
    version_id: str = ""
    on: bool = False
    """From the body."""
    expected: Expected = Expected()


class LockPut(Value, frozen=True):
    """A retention or a legal hold was set."""


class LegalHoldGot(Value, frozen=True):
    on: bool


def lock_of(bucket: Bucket) -> ObjectLock | None:
    """None in a bucket whose versions cannot be locked."""
    return setting(bucket, "object-lock", ObjectLock)


def default_retention(lock: ObjectLock | None, now_ms: int) -> Retention | None:
    """What a version gets that comes without a retention of its own."""
    if lock is None or not lock.mode:
        return None
    return Retention(lock.mode, now_ms + (lock.days + 365 * lock.years) * _DAY_MS)
