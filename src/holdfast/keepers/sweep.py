"""Sweep: removes what nobody needs any more.

Answers for: inline bodies beyond `cache.inline` that every grid holds, spool files that no row names,
and multipart uploads that were abandoned. It never removes the last known bytes of anything: the index
refuses to let go of a body that is owed to any grid. Invariant: each step is bounded.
"""

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.events import Noted
from holdfast.limits import KEEPER_SWEEP_S, LIST_PAGE, SPOOL_ORPHAN_AGE_S, SWEEP_REST_S, TRIM_BATCH, UPLOAD_AGE_S


class Sweep:
    """The sweeper of one node."""

    name = "sweep"

    def __init__(self, site: Site) -> None:
        self.wake = site.sweep_wanted
        self._site = site
        self._due_s = float("-inf")

    async def step(self) -> float:
        """One round over all that may expire."""
        keep_bytes = self._site.keep_inline_bytes
        if self._site.aligned and await self._site.index.trim_inline(
            keep_bytes, limit=TRIM_BATCH, wanted=self._site.wanted
        ):
            return 0.0
        now_s = self._site.clock.monotonic_s()
        if now_s >= self._due_s:
            self._due_s = now_s + KEEPER_SWEEP_S
            await self._uploads()
            await self._orphans()
        # When it is wanted and nothing could go, all that lies there is owed: asking again at once changes nothing.
        await self._site.clock.sleep(SWEEP_REST_S)
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
