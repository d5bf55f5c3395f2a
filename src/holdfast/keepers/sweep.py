"""Sweep: removes what nobody needs any more.

Answers for: inline bodies beyond `cache.inline` that every grid holds, spool files that no row names,
and multipart uploads that were abandoned. It never removes the last known bytes of anything: the index
refuses to let go of a body that is owed to any grid. Invariant: each step is bounded.
"""

import asyncio

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.events import Noted
from holdfast.limits import KEEPER_SWEEP_S, LIST_PAGE, SPOOL_ORPHAN_AGE_S, TRIM_BATCH, UPLOAD_AGE_S


class Sweep:
    """The sweeper of one node."""

    name = "sweep"

    def __init__(self, site: Site, *, keep_inline_bytes: int) -> None:
        self.wake = asyncio.Event()
        self._site = site
        self._keep_inline_bytes = keep_inline_bytes

    async def step(self) -> float:
        """One round over all that may expire."""
        freed = await self._site.index.trim_inline(self._keep_inline_bytes, limit=TRIM_BATCH)
        if freed:
            return 0.0
        await self._uploads()
        await self._orphans()
        return KEEPER_SWEEP_S

    async def close(self) -> None:
        """Nothing outlives a step."""

    async def _uploads(self) -> None:
        index = self._site.index
        before_ms = self._site.clock.now_ms() - UPLOAD_AGE_S * 1000
        for upload in await index.stale_uploads(before_ms=before_ms, limit=LIST_PAGE):
            try:
                released = await index.abort_upload(upload.bucket, upload.key, upload.upload_id)
            except S3Error:
                continue  # Completed or aborted by its client meanwhile.
            await self._site.spool.release(released)
            self._site.teller.tell(
                Noted("an abandoned multipart upload was removed", {"bucket": upload.bucket, "key": upload.key})
            )

    async def _orphans(self) -> None:
        idle = await self._site.spool.idle_files(age_s=SPOOL_ORPHAN_AGE_S)
        for start in range(0, len(idle), LIST_PAGE):
            some = idle[start : start + LIST_PAGE]
            needed = await self._site.index.spooled(some)
            orphans = [name for name in some if name not in needed]
            if orphans:
                await self._site.spool.release(orphans)
                self._site.teller.tell(Noted("spool files of unfinished uploads were removed", {"files": len(orphans)}))
