"""Lifecycle: removes what the rules of its bucket say has expired.

Answers for: every object and every upload of every bucket with rules is looked at LIFECYCLE_ROUNDS times in a lifecycle day, a few
at a time, going on where it stopped after a restart. What is due is deleted as a client would delete it, so what is left to do at
grids is debts. When a rule is due is arithmetic of `s3.expiry`. Invariant: only what it looked at is deleted: a version that was
replaced, tagged or locked meanwhile stays.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.events import Expired
from holdfast.limits import LIFECYCLE_BATCH, LIFECYCLE_ROUNDS, LIFECYCLE_SLICE
from holdfast.model import Bucket, DecodeError, Value, from_json, to_json
from holdfast.s3 import DeleteAsk
from holdfast.s3.expiry import abort_due, current_due, prefixes
from holdfast.s3.lifecycle import Lifecycle as Rules
from holdfast.s3.notices import EXPIRED, telling
from holdfast.s3.settings import setting

_CURSOR: Final = "lifecycle/cursor"


class Cursor(Value, frozen=True):
    """How far a round came: in which bucket, in which of its stages, after which key (and upload)."""

    bucket: str = ""
    stage: int = 0
    after: str = ""
    upload: str = ""


class Stage(Value, frozen=True):
    """A walk along a part of a bucket: `what` is objects or uploads."""

    what: str
    prefix: str


def stages(rules: Rules) -> tuple[Stage, ...]:
    """The walks that a bucket's rules need, in order."""
    expiring = [rule for rule in rules.rules if rule.days or rule.date_ms is not None]
    aborting = [rule for rule in rules.rules if rule.abort_days]
    return (
        *(Stage("objects", prefix) for prefix in prefixes(expiring)),
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
        return 0.0

    async def close(self) -> None:
        """Nothing outlives a step."""

    async def _advance(self, cursor: Cursor) -> Cursor:
        bucket = await self._site.index.bucket(cursor.bucket)
        rules = setting(bucket, "lifecycle", Rules)
        todo = () if rules is None else stages(rules)
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
            due = current_due(rules, key, version.size, version.marks.tags, version.modified_ms, self._day_ms)
            if due is not None and due.at_ms <= now_ms:
                asks.append(DeleteAsk(key, seen=version))
            if number % LIFECYCLE_SLICE == 0:
                await asyncio.sleep(0)
        if asks:
            asks = telling(bucket, site.webhooks, asks, EXPIRED, at_ms=now_ms)
            owes = site.redundancy(bucket.name).grids
            outcomes, released = await site.index.delete(bucket.name, asks, now_ms=now_ms, owes=owes)
            await site.spool.release(released)
            site.note_debts()
            site.note_notices()
            self._tell(bucket, "objects", sum(outcome.existed and not outcome.code for outcome in outcomes))
        return Cursor(bucket.name, cursor.stage, page.next) if page.next else _next_stage(cursor)

    async def _uploads(self, bucket: Bucket, rules: Rules, stage: Stage, cursor: Cursor) -> Cursor:
        """Multipart uploads that were begun too long ago."""
        site, now_ms = self._site, self._site.clock.now_ms()
        page = await site.index.uploads(
            bucket.name,
            prefix=stage.prefix,
            delimiter="",
            key_marker=cursor.after,
            upload_marker=cursor.upload,
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
