"""A bucket's settings: kept by the index, seen by every process at once.

Answers for what may be set when. A rule that needs more than the document itself has a row in RULES. It never reads a document: that is
`wire.documents`. Invariant: what is refused changes nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from holdfast.copies.site import Site
from holdfast.model import Bucket, pack
from holdfast.s3 import Done
from holdfast.s3.settings import DeleteSetting, GetSetting, PutSetting, SettingGot, SettingPut
from holdfast.s3.sharing import OwnershipControls
from holdfast.store.locks import check_lock, check_versioning

Rule = Callable[[Site, Bucket, Any], Awaitable[None]]
"""Raises S3Error when this value (None: its deletion) may not be set."""


RULES: Mapping[str, Rule] = {"versioning": check_versioning, "object-lock": check_lock}
LEFT: Mapping[str, Any] = {"ownershipControls": OwnershipControls("")}
"""What a deletion leaves behind, where having had a setting differs from never having had it."""


async def get_setting(site: Site, ask: GetSetting) -> SettingGot:
    """The packed value of a setting. Raises NoSuchBucket."""
    bucket = await site.index.bucket(ask.bucket)
    return SettingGot(ask.bucket, ask.name, bucket.settings.get(ask.name))


async def put_setting(site: Site, ask: PutSetting) -> SettingPut:
    """Set it. Raises NoSuchBucket and what its rule raises."""
    await _check(site, ask.bucket, ask.name, ask.value)
    await site.index.configure(ask.bucket, ask.name, pack(ask.value))
    return SettingPut(ask.name)


async def delete_setting(site: Site, ask: DeleteSetting) -> Done:
    """Take it away; succeeds when there is none. Raises NoSuchBucket and what its rule raises."""
    await _check(site, ask.bucket, ask.name, None)
    left = LEFT.get(ask.name)
    await site.index.configure(ask.bucket, ask.name, None if left is None else pack(left))
    return Done()


async def _check(site: Site, name: str, setting: str, value: Any) -> None:
    bucket = await site.index.bucket(name)
    rule = RULES.get(setting)
    if rule is not None:
        await rule(site, bucket, value)
