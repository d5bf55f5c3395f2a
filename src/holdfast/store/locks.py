"""Object lock: who locks a version, and until when.

Answers for what may be locked and with which default. That nobody deletes a locked version is the index's part, in the very
transaction of the deletion. Source: Amazon S3 User Guide, "Locking objects with Object Lock".
"""

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.model import Bucket, MarkChange, Marks, replace
from holdfast.s3.locks import (
    GetLegalHold,
    GetRetention,
    LegalHoldGot,
    LockPut,
    ObjectLock,
    PutLegalHold,
    PutRetention,
    RetentionGot,
    default_retention,
    lock_of,
)
from holdfast.s3.versioning import Versioning, versioning_of
from holdfast.store.read import current


def marks_with_default(bucket: Bucket, marks: Marks, now_ms: int) -> Marks:
    """What a new version of this bucket is marked with. Raises InvalidRequest where nothing can be locked, InvalidArgument."""
    check_marks(bucket, marks, now_ms)
    return with_default(bucket, marks, now_ms)


def check_marks(bucket: Bucket, marks: Marks, now_ms: int) -> None:
    """Raises InvalidRequest where nothing can be locked, InvalidArgument for a lock that has ended before it begins."""
    if marks.retention is not None or marks.hold:
        _require(lock_of(bucket))
        if marks.retention is not None and marks.retention.until_ms <= now_ms:
            raise S3Error("InvalidArgument", "The retain until date must be in the future!")


def with_default(bucket: Bucket, marks: Marks, now_ms: int) -> Marks:
    """The marks, locked as the bucket says from now on when they say nothing themselves."""
    retention = None if marks.retention is not None else default_retention(lock_of(bucket), now_ms)
    return marks if retention is None else replace(marks, retention=retention)


def _require(lock: ObjectLock | None) -> None:
    if lock is None:
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


async def get_retention(site: Site, ask: GetRetention) -> RetentionGot:
    """Raises NoSuchObjectLockConfiguration when it has none."""
    _require(lock_of(await site.index.bucket(ask.bucket)))
    version = await current(site, ask.bucket, ask.key, ask.version_id)
    if version.marks.retention is None:
        raise S3Error("NoSuchObjectLockConfiguration")
    return RetentionGot(version.marks.retention)


async def put_retention(site: Site, ask: PutRetention) -> LockPut:
    """Set, prolong or, where that is allowed, shorten or take away a retention. Raises AccessDenied."""
    _require(lock_of(await site.index.bucket(ask.bucket)))
    if ask.retention is not None and ask.retention.until_ms <= site.clock.now_ms():
        raise S3Error("InvalidRequest", "The retain until date must be in the future!")
    await current(site, ask.bucket, ask.key, ask.version_id)
    change = MarkChange(retention=ask.retention, unretained=ask.retention is None, bypass=ask.bypass)
    await site.index.mark(ask.bucket, ask.key, ask.version_id, change)
    return LockPut()


async def get_legal_hold(site: Site, ask: GetLegalHold) -> LegalHoldGot:
    """Whether a version is held."""
    _require(lock_of(await site.index.bucket(ask.bucket)))
    return LegalHoldGot((await current(site, ask.bucket, ask.key, ask.version_id)).marks.hold)


async def put_legal_hold(site: Site, ask: PutLegalHold) -> LockPut:
    """Hold a version, or let it go."""
    _require(lock_of(await site.index.bucket(ask.bucket)))
    await current(site, ask.bucket, ask.key, ask.version_id)
    await site.index.mark(ask.bucket, ask.key, ask.version_id, MarkChange(hold=ask.on))
    return LockPut()


async def check_versioning(site: Site, bucket: Bucket, value: Versioning) -> None:
    """Raises InvalidBucketState: versions that can be locked must be kept."""
    if value.status != "Enabled" and lock_of(bucket) is not None:
        raise S3Error(
            "InvalidBucketState",
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        )


async def check_lock(site: Site, bucket: Bucket, value: ObjectLock) -> None:
    """Raises InvalidBucketState: only a bucket that keeps versions can lock them."""
    if versioning_of(bucket) != "Enabled":
        raise S3Error(
            "InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
        )
