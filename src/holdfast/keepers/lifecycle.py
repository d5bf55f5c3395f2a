"""Lifecycle: removes what the rules of its bucket say has expired.

Answers for: every object, version and upload of every bucket with rules is looked at LIFECYCLE_ROUNDS times in a lifecycle day, a few
at a time, going on where it stopped after a restart. What is due is deleted as a client would delete it, so what is left to do at
grids is debts. When a rule is due is arithmetic of `s3.expiry`. Invariant: only what it looked at is deleted: a version that was
replaced, tagged or locked meanwhile stays.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.events import Expired
from holdfast.limits import LIFECYCLE_BATCH, LIFECYCLE_PAUSE_S, LIFECYCLE_ROUNDS, LIFECYCLE_SLICE
from holdfast.model import Bucket, DecodeError, Value, Version, from_json, to_json
from holdfast.s3 import DeleteAsk
from holdfast.s3.expiry import abort_due, current_due, marker_due, noncurrent_due, prefixes
from holdfast.s3.lifecycle import Lifecycle as Rules
from holdfast.s3.notices import EXPIRED, telling
from holdfast.s3.settings import setting
from holdfast.s3.versioning import VersionEntry, versioning_of

_CURSOR: Final = "lifecycle/cursor"


class Cursor(Value, frozen=True):
    """How far a round came: in which bucket, in which of its stages, after which key, and after which upload or version of that."""

    bucket: str = ""
    stage: int = 0
    after: str = ""
    within: str = ""
    newer: int = 0
    """Versions of that key up to there that were replaced."""


class Stage(Value, frozen=True):
    """A walk along a part of a bucket: `what` is objects, versions or uploads."""

    what: str
    prefix: str


def stages(rules: Rules, *, versioned: bool) -> tuple[Stage, ...]:
    """The walks that a bucket's rules need, in order."""
    expiring = [rule for rule in rules.rules if rule.days or rule.date_ms is not None]
    past = (
        [rule for rule in rules.rules if rule.noncurrent_days or rule.markers or rule in expiring] if versioned else []
    )
    aborting = [rule for rule in rules.rules if rule.abort_days]
    return (
        *(Stage("objects", prefix) for prefix in prefixes(expiring)),
        *(Stage("versions", prefix) for prefix in prefixes(past)),
        *(Stage("uploads", prefix) for prefix in prefixes(aborting)),
    )


class Lifecycle:
    """The lifecycle keeper of one node. A day of its rules lasts `day_s`."""

    name = "lifecycle"

    def __init__(self, site: Site, *, day_s: float) -> None:
        self.wake = asyncio.Event()
        self._site = site
        self._day_ms = max(1, int(day_s * 1000))
        self._rest_s = day_s / LIFECYCLE_ROUNDS
        self._walks: Mapping[str, Callable[[Bucket, Rules, Stage, Cursor], Awaitable[Cursor]]] = {
            "objects": self._objects,
            "versions": self._versions,
            "uploads": self._uploads,
        }

    async def step(self) -> float:
        """Look at the next few objects or uploads; at the end of a round return the pause until the next one."""
        index = self._site.index
        names = await index.configured("lifecycle")
        cursor = _read(await index.noted(_CURSOR))
        if cursor.bucket not in names:
            cursor = Cursor(next((name for name in names if name > cursor.bucket), ""))
        if not cursor.bucket:
            if await index.noted(_CURSOR):
                await index.note(_CURSOR, "")
            return self._rest_s
        try:
            cursor = await self._advance(cursor)
        except S3Error as trouble:
            if trouble.code != "NoSuchBucket":
                raise
            cursor = _next_bucket(cursor)
        await index.note(_CURSOR, to_json(cursor).decode())
        return LIFECYCLE_PAUSE_S if self._site.pressure() else 0.0

    async def close(self) -> None:
        """Nothing outlives a step."""

    async def _advance(self, cursor: Cursor) -> Cursor:
        bucket = await self._site.index.bucket(cursor.bucket)
        rules = setting(bucket, "lifecycle", Rules)
        todo = () if rules is None else stages(rules, versioned=bool(versioning_of(bucket)))
        if rules is None or cursor.stage >= len(todo):
            return _next_bucket(cursor)
        stage = todo[cursor.stage]
        return await self._walks[stage.what](bucket, rules, stage, cursor)

    async def _objects(self, bucket: Bucket, rules: Rules, stage: Stage, cursor: Cursor) -> Cursor:
        """Current versions that expired: gone, or under a delete marker where the bucket keeps versions."""
        site, now_ms = self._site, self._site.clock.now_ms()
        page = await site.index.scan(
            bucket.name, prefix=stage.prefix, delimiter="", after=cursor.after, limit=LIFECYCLE_BATCH
        )
        asks: list[DeleteAsk] = []
        for number, (key, version) in enumerate(page.versions, start=1):
            due = current_due(rules, key, version.plain_size, version.marks.tags, version.modified_ms, self._day_ms)
            if due is not None and due.at_ms <= now_ms:
                asks.append(DeleteAsk(key, seen=version))
            if number % LIFECYCLE_SLICE == 0:
                await asyncio.sleep(0)
        gone = await self._delete(bucket, asks)
        self._tell(bucket, "objects", len(gone))
        return Cursor(bucket.name, cursor.stage, page.next) if page.next else _next_stage(cursor)

    async def _versions(self, bucket: Bucket, rules: Rules, stage: Stage, cursor: Cursor) -> Cursor:
        """Versions that were replaced too long ago, and delete markers with nothing under them: gone for ever, unless they are locked."""
        site, now_ms = self._site, self._site.clock.now_ms()
        page = await site.index.scan_versions(
            bucket.name,
            prefix=stage.prefix,
            delimiter="",
            key_marker=cursor.after,
            version_marker=cursor.within,
            limit=LIFECYCLE_BATCH,
        )
        asks: list[DeleteAsk] = []
        newer = _counted(page.entries, cursor)
        for number, (entry, before) in enumerate(zip(page.entries, newer, strict=True), start=1):
            key, version = entry.key, entry.version
            due = None
            if not entry.latest and not _locked(version, now_ms):
                due = noncurrent_due(
                    rules, key, version.plain_size, version.marks.tags, entry.since_ms, before, self._day_ms
                )
            elif entry.latest and version.marker and await self._lonely(bucket, key):
                due = marker_due(rules, key, version.modified_ms, self._day_ms)
            if due is not None and due.at_ms <= now_ms:
                asks.append(DeleteAsk(key, version.version_id, seen=version, since_ms=entry.since_ms))
            if number % LIFECYCLE_SLICE == 0:
                await asyncio.sleep(0)
        gone = {(ask.key, ask.version_id) for ask in await self._delete(bucket, asks)}
        markers = sum(e.version.marker for e in page.entries if (e.key, e.version.version_id) in gone)
        self._tell(bucket, "markers", markers)
        self._tell(bucket, "versions", len(gone) - markers)
        if not page.next_key:
            return _next_stage(cursor)
        # What is gone is no place to go on from: the walk goes on after the last that stayed.
        for entry, before in zip(page.entries, newer, strict=True):
            if (entry.key, entry.version.version_id) not in gone:
                replaced = not entry.latest and not entry.version.marker
                cursor = Cursor(bucket.name, cursor.stage, entry.key, entry.version.version_id, before + replaced)
        return cursor

    async def _lonely(self, bucket: Bucket, key: str) -> bool:
        """Whether a delete marker is all that there is of a key."""
        page = await self._site.index.scan_versions(
            bucket.name, prefix=key, delimiter="", key_marker="", version_marker="", limit=2
        )
        return [entry.key for entry in page.entries].count(key) == 1

    async def _delete(self, bucket: Bucket, asks: list[DeleteAsk]) -> list[DeleteAsk]:
        """Delete what is unchanged, as clients do; returns what is gone."""
        if not asks:
            return []
        site, now_ms = self._site, self._site.clock.now_ms()
        asks = telling(bucket, site.webhooks, asks, EXPIRED, at_ms=now_ms)
        owes = site.redundancy(bucket.name).grids
        outcomes, released = await site.index.delete(bucket.name, asks, now_ms=now_ms, owes=owes)
        await site.spool.release(released)
        site.note_debts()
        site.note_notices()
        return [ask for ask, outcome in zip(asks, outcomes, strict=True) if outcome.existed and not outcome.code]

    async def _uploads(self, bucket: Bucket, rules: Rules, stage: Stage, cursor: Cursor) -> Cursor:
        """Multipart uploads that were begun too long ago."""
        site, now_ms = self._site, self._site.clock.now_ms()
        page = await site.index.uploads(
            bucket.name,
            prefix=stage.prefix,
            delimiter="",
            key_marker=cursor.after,
            upload_marker=cursor.within,
            limit=LIFECYCLE_BATCH,
        )
        aborted = 0
        for upload in page.uploads:
            due = abort_due(rules, upload.key, upload.initiated_ms, self._day_ms)
            if due is None or due.at_ms > now_ms:
                continue
            try:
                released = await site.index.abort_upload(bucket.name, upload.key, upload.upload_id)
            except S3Error as trouble:
                if trouble.code != "NoSuchUpload":
                    raise
                continue  # Completed or aborted by its client meanwhile.
            await site.spool.release(released)
            aborted += 1
        self._tell(bucket, "uploads", aborted)
        if not page.next_key:
            return _next_stage(cursor)
        return Cursor(bucket.name, cursor.stage, page.next_key, page.next_upload)

    def _tell(self, bucket: Bucket, what: str, count: int) -> None:
        if count:
            self._site.teller.tell(Expired(bucket.name, what, count))


def _counted(entries: Sequence[VersionEntry], cursor: Cursor) -> list[int]:
    """For each entry how many versions of its key were replaced after it."""
    found: list[int] = []
    key, newer = cursor.after if cursor.within else None, cursor.newer
    for entry in entries:
        if entry.key != key:
            key, newer = entry.key, 0
        found.append(newer)
        newer += not entry.latest and not entry.version.marker
    return found


def _locked(version: Version, now_ms: int) -> bool:
    retention = version.marks.retention
    return version.marks.hold or (retention is not None and retention.until_ms > now_ms)


def _next_stage(cursor: Cursor) -> Cursor:
    return Cursor(cursor.bucket, cursor.stage + 1)


def _next_bucket(cursor: Cursor) -> Cursor:
    """The place behind a bucket: no name is above it and below the next one."""
    return Cursor(cursor.bucket + "!")


def _read(text: str) -> Cursor:
    try:
        return from_json(text.encode(), Cursor) if text else Cursor()
    except DecodeError:
        return Cursor()
