"""A bucket's settings: kept by the index, seen by every process at once.

Answers for what may be set when. A rule that needs more than the document itself has a row in RULES. It never reads a document: that is
`wire.documents`. Invariant: what is refused changes nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.model import Bucket, pack
from holdfast.s3 import Done
from holdfast.s3.cors import Cors, Preflight, Shared, share
from holdfast.s3.encryption import BY_POLICY
from holdfast.s3.logging import Logging
from holdfast.s3.notices import notices_of_test, webhook_of
from holdfast.s3.notification import Notice, Notification
from holdfast.s3.settings import DeleteSetting, GetSetting, PutSetting, SettingGot, SettingPut, setting
from holdfast.s3.sharing import OwnershipControls
from holdfast.store.locks import check_lock, check_versioning
from holdfast.store.seals import ENCRYPTION

Rule = Callable[[Site, Bucket, Any], Awaitable[None]]
"""Raises S3Error when this value (None: its deletion) may not be set."""


async def _check_logging(site: Site, bucket: Bucket, value: Logging) -> None:
    if value.target:
        refused = S3Error("InvalidTargetBucketForLogging", fields={"TargetBucket": value.target})
        try:
            target = await site.index.bucket(value.target)
        except S3Error as missing:
            raise refused from missing
        if target.owner != bucket.owner:
            raise refused


async def _check_notification(site: Site, bucket: Bucket, value: Notification) -> None:
    for route in value.routes:
        if webhook_of(route.destination) not in site.webhooks:
            raise S3Error(
                "InvalidArgument",
                "Unable to validate the following destination configurations",
                fields={"ArgumentName": route.destination, "ArgumentValue": "The destination does not exist"},
            )


RULES: Mapping[str, Rule] = {
    "versioning": check_versioning,
    "object-lock": check_lock,
    "logging": _check_logging,
    "notification": _check_notification,
}
LEFT: Mapping[str, Any] = {"ownershipControls": OwnershipControls("")}
"""What a deletion leaves behind, where having had a setting differs from never having had it."""


async def get_setting(site: Site, ask: GetSetting) -> SettingGot:
    """The packed value of a setting. Raises NoSuchBucket."""
    bucket = await site.index.bucket(ask.bucket)
    data = bucket.settings.get(ask.name)
    if data is None and ask.name == ENCRYPTION and site.redundancy(ask.bucket).encrypt:
        data = pack(BY_POLICY)
    return SettingGot(ask.bucket, ask.name, data)


async def put_setting(site: Site, ask: PutSetting) -> SettingPut:
    """Set it. Raises NoSuchBucket and what its rule raises."""
    bucket = await _check(site, ask.bucket, ask.name, ask.value)
    notices: tuple[Notice, ...] = ()
    if isinstance(ask.value, Notification):
        notices = notices_of_test(bucket, ask.value, at_ms=site.clock.now_ms())
    await site.index.configure(ask.bucket, ask.name, pack(ask.value), notices=notices)
    if notices:
        site.note_notices()
    return SettingPut(ask.name)


async def delete_setting(site: Site, ask: DeleteSetting) -> Done:
    """Take it away; succeeds when there is none. Raises NoSuchBucket and what its rule raises."""
    await _check(site, ask.bucket, ask.name, None)
    left = LEFT.get(ask.name)
    await site.index.configure(ask.bucket, ask.name, None if left is None else pack(left))
    return Done()


async def preflight(site: Site, ask: Preflight) -> Shared:
    """What a bucket's rules say to a page of another origin. Raises NoSuchBucket."""
    cors = setting(await site.index.bucket(ask.bucket), "cors", Cors)
    return Shared(False) if cors is None else Shared(True, share(cors, ask.origin, ask.method, ask.headers))


async def _check(site: Site, name: str, marker: str, value: Any) -> Bucket:
    bucket = await site.index.bucket(name)
    rule = RULES.get(marker)
    if rule is not None:
        await rule(site, bucket, value)
    return bucket
