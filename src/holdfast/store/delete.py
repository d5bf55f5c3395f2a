"""DeleteObject and DeleteObjects: one commit of tombstones and debts, then the grids follow.

Invariant: a deletion is acknowledged when the index committed it; no grid is asked before, and none has to answer.
"""

from collections.abc import Sequence

from holdfast.copies.site import Site
from holdfast.errors import CODES, S3Error
from holdfast.index.interface import Deleted
from holdfast.limits import KEY_BYTES
from holdfast.s3 import DeleteAsk, DeleteFailed, DeleteObject, DeleteObjects, ObjectDeleted, ObjectsDeleted
from holdfast.s3.notices import REMOVED, telling
from holdfast.store.write import check_outage


async def delete_object(site: Site, ask: DeleteObject) -> ObjectDeleted:
    """Delete one key; succeeds when nothing is there."""
    outcome = (await _delete(site, ask.bucket, [DeleteAsk(ask.key, ask.version_id, ask.condition)]))[0]
    if outcome.code:
        raise S3Error(outcome.code, fields={"Key": ask.key})
    return ObjectDeleted()


async def delete_objects(site: Site, ask: DeleteObjects) -> ObjectsDeleted:
    """Delete up to 1,000 keys in one commit; each succeeds or fails for itself."""
    outcomes = await _delete(site, ask.bucket, ask.asks)
    deleted: list[DeleteAsk] = []
    failed: list[DeleteFailed] = []
    for key, outcome in zip(ask.asks, outcomes, strict=True):
        if outcome.code:
            failed.append(DeleteFailed(key.key, key.version_id, outcome.code, CODES[outcome.code].message))
        else:
            deleted.append(key)
    return ObjectsDeleted(tuple(deleted), tuple(failed), ask.quiet)


async def _delete(site: Site, bucket: str, asks: Sequence[DeleteAsk]) -> list[Deleted]:
    policy = check_outage(site, bucket)
    refusals = [_refusal(ask) for ask in asks]
    meant = [ask for ask, refusal in zip(asks, refusals, strict=True) if not refusal]
    meant = telling(await site.index.bucket(bucket), site.webhooks, meant, REMOVED, at_ms=site.clock.now_ms())
    outcomes, released = await site.index.delete(bucket, meant, now_ms=site.clock.now_ms(), owes=policy.grids)
    await site.spool.release(released)
    site.note_debts()
    if any(ask.notices for ask in meant):
        site.note_notices()
    given = iter(outcomes)
    return [Deleted(False, refusal) if refusal else next(given) for refusal in refusals]


def _refusal(ask: DeleteAsk) -> str:
    """The error code for a key that names nothing that could be there; empty for others.

    In a bucket without versioning every object is the version "null".
    """
    if len(ask.key) > KEY_BYTES // 4 and len(ask.key.encode()) > KEY_BYTES:
        return "KeyTooLongError"
    return "" if ask.version_id in ("", "null") else "NoSuchVersion"
