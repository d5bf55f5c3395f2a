"""Deletions: of keys, of single versions, and by delete markers.

Answers for: what a deletion leaves behind, and what is current after it. Functions over a `Batch`. Invariant: a version that a
lock keeps is never taken away here, whoever asks.
"""

from collections.abc import Sequence

from holdfast.index.interface import Deleted
from holdfast.index.sqlite_batch import Batch, Steps
from holdfast.index.sqlite_notices import record
from holdfast.index.sqlite_objects import Prior, drop_null, erase, find, owe_absence, read_marks
from holdfast.index.sqlite_versions import (
    Past,
    add_marker,
    bring_back,
    drop_past,
    find_past,
    keeps,
    newest,
    owe_home,
    pass_marker,
    return_marker,
    set_aside,
)
from holdfast.limits import COMMIT_SLICE
from holdfast.model import UNMARKED, Presence, Version
from holdfast.s3 import DeleteAsk
from holdfast.s3.versioning import NULL, is_version_id, new_version_id


def delete(
    batch: Batch, bucket_name: str, asks: Sequence[DeleteAsk], now_ms: int, owes: tuple[int, ...]
) -> Steps[tuple[tuple[Deleted, ...], tuple[str, ...]]]:
    """Delete keys. Raises NoSuchBucket."""
    bucket = batch.bucket(bucket_name)
    grids = batch.grids.successors(owes)
    outcomes: list[Deleted] = []
    released: list[str] = []
    for number, ask in enumerate(asks, start=1):
        outcome = _delete_one(batch, bucket, ask, now_ms, grids, released)
        outcomes.append(outcome)
        if ask.notices and not outcome.code:
            _record(batch, bucket, ask, outcome)
        if number % COMMIT_SLICE == 0:
            yield
    return tuple(outcomes), tuple(released)


def _delete_one(
    batch: Batch, bucket: int, ask: DeleteAsk, now_ms: int, grids: set[int], released: list[str]
) -> Deleted:
    key = ask.key.encode()
    prior = find(batch, bucket, key)
    status = batch.versioning(bucket)
    if ask.seen is not None and not _unchanged(batch, bucket, key, prior, ask.seen, ask.since_ms):
        return Deleted(prior is not None, "PreconditionFailed", ask.version_id)
    if ask.version_id and status:
        return _delete_version(batch, bucket, key, ask, prior, grids, released)
    code = "NoSuchVersion" if ask.version_id not in ("", NULL) else _refusal(ask, prior)
    if code:
        return Deleted(prior is not None, code)
    if status:
        return _mark_deleted(batch, bucket, key, status, prior, grids, released)
    if prior is None:
        return Deleted(False)
    erase(batch, bucket, key, prior, grids, released)
    return Deleted(True)


def _unchanged(batch: Batch, bucket: int, key: bytes, prior: Prior | None, seen: Version, since_ms: int) -> bool:
    """Whether a version or a delete marker is what a keeper saw: with the same marks, and current or not since the same moment."""
    found, home = prior, key
    if seen.marker or since_ms:
        past = find_past(batch, bucket, key, seen.version_id)
        if past is None or past.since_ms != since_ms or bool(past.marker) != seen.marker:
            return False
        if seen.marker:
            return True
        found, home = find(batch, bucket, past.home), past.home
    if found is None or found.seq != seen.seq:
        return False
    packed: bytes | None = batch.execute("SELECT marks FROM object WHERE bucket = ? AND key = ?", (bucket, home)).get
    return (UNMARKED if packed is None else read_marks(packed)) == seen.marks


def _record(batch: Batch, bucket: int, ask: DeleteAsk, outcome: Deleted) -> None:
    """Of what the deletion might have turned out to be, tell what it was; where nothing was, nothing happened."""
    made = outcome.marker and not ask.version_id
    if made or outcome.existed:
        told = [notice for notice in ask.notices if notice.marks == made]
        record(batch, bucket, ask.key.encode(), batch.next_seq(), outcome.version_id, told)


def _mark_deleted(
    batch: Batch, bucket: int, key: bytes, status: str, prior: Prior | None, grids: set[int], released: list[str]
) -> Deleted:
    """A deletion without a version: a delete marker becomes the latest, also where nothing was."""
    if status == "Suspended":
        released.extend(drop_null(batch, bucket, key, tuple(grids)))
    if prior is None:
        pass_marker(batch, bucket, key)
    elif keeps(status, prior.version_id):
        home, held = set_aside(batch, bucket, key, prior.seq, prior.version_id, prior.copies)
        owe_absence(batch, bucket, key, prior.seq, grids | held)
        owe_home(batch, bucket, home, prior.seq, prior.size, grids | held)
    else:
        erase(batch, bucket, key, prior, grids, released)
    place = batch.next_seq()
    version_id = new_version_id(place, batch.now_ms) if status == "Enabled" else NULL
    add_marker(batch, bucket, key, place, version_id)
    return Deleted(prior is not None, version_id=version_id, marker=True)


def _delete_version(
    batch: Batch,
    bucket: int,
    key: bytes,
    ask: DeleteAsk,
    prior: Prior | None,
    grids: set[int],
    released: list[str],
) -> Deleted:
    """One version, or one delete marker, is gone for ever. When it was the latest, what was before it is so again."""
    current = prior is not None and prior.version_id == ask.version_id
    past = None if current else find_past(batch, bucket, key, ask.version_id)
    if not current and past is None:
        return Deleted(False, "" if is_version_id(ask.version_id) else "InvalidArgument", ask.version_id)
    marker = past is not None and past.marker != 0
    home = past.home if past is not None else key
    found = prior if current else None if marker else find(batch, bucket, home)
    if found is not None:
        code = _refusal(ask, found) or locked(batch, bucket, home, ask.bypass)
        if code:
            return Deleted(True, code, ask.version_id)
        erase(batch, bucket, home, found, grids, released)
    if past is not None:
        drop_past(batch, bucket, key, past.place)
    if current or (marker and past is not None and not past.since_ms):
        _resume(batch, bucket, key, newest(batch, bucket, key), grids)
    return Deleted(True, "", ask.version_id, marker)


def _resume(batch: Batch, bucket: int, key: bytes, past: Past | None, grids: set[int]) -> None:
    """What is the newest now is the latest."""
    if past is None:
        return
    if past.marker:
        return_marker(batch, bucket, key, past)
    else:
        bring_back(batch, bucket, key, past, grids)


def locked(batch: Batch, bucket: int, key: bytes, bypass: bool) -> str:
    """The code with which a lock refuses that a version goes, or empty. Amazon S3 User Guide, "Object Lock"."""
    packed: bytes | None = batch.execute("SELECT marks FROM object WHERE bucket = ? AND key = ?", (bucket, key)).get
    if packed is None:
        return ""
    marks = read_marks(packed)
    retention = marks.retention
    kept = (
        retention is not None and retention.until_ms > batch.now_ms and not (bypass and retention.mode == "GOVERNANCE")
    )
    return "AccessDenied" if marks.hold or kept else ""


def _refusal(ask: DeleteAsk, prior: Prior | None) -> str:
    """The code with which a condition refuses a deletion, or empty. Amazon S3 User Guide, "How to perform
    conditional deletes": `*` asks whether the object exists, an etag whether it is unchanged."""
    match ask.condition.presence:
        case Presence.ANY:
            return ""
        case Presence.ABSENT:
            return "" if prior is None else "PreconditionFailed"
        case Presence.MATCH:
            if prior is None:
                return "PreconditionFailed" if ask.condition.etag == "*" else "NoSuchKey"
            return "" if ask.condition.etag in ("*", prior.etag) else "PreconditionFailed"
