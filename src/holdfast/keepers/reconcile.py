"""Reconcile: finds objects whose copies do not match their policy, and writes down what is owed.

Answers for: after a change of policy, a new grid or a grid that came back empty, every object of the affected
buckets is looked at once. It moves no bytes: catch-up pays. Invariant: a bucket counts as aligned to a set of
grids only after all of its keys were looked at under that set, and no other was applied since.
"""

import asyncio

from holdfast.copies.site import Site
from holdfast.limits import LIST_PAGE, RECONCILE_BATCH, RECONCILE_S
from holdfast.model import Bucket


class Reconcile:
    """The policy walk over all buckets."""

    name = "reconcile"

    def __init__(self, site: Site) -> None:
        self.wake = site.debt_waker()
        self._site = site
        self._looked: dict[str, str] = {}
        """What this process already knows to be aligned, by bucket."""
        self._applied: dict[str, str] = {}
        """The set of grids that holds for a bucket now, aligned or not."""

    async def step(self) -> float:
        """Look at one batch of one bucket that is not aligned."""
        behind: list[tuple[Bucket, tuple[int, ...], str]] = []
        for bucket in await self._site.index.buckets():
            wanted = self._site.redundancy(bucket.name).grids
            if 0 in wanted:
                continue  # A grid that was never reached yet has no number to owe anything to.
            mark = ",".join(map(str, sorted(wanted)))
            if self._looked.get(bucket.name) != mark or self._applied.get(bucket.name) != mark:
                behind.append((bucket, wanted, mark))
        self._site.aligned = not behind
        if not behind:
            return RECONCILE_S
        await self._disown([(bucket, mark) for bucket, _, mark in behind if self._applied.get(bucket.name) != mark])
        bucket, wanted, mark = behind[0]
        if await self._advance(bucket, wanted, mark):
            self._looked[bucket.name] = mark
        return 0.0

    async def close(self) -> None:
        """Nothing outlives a step."""

    async def _disown(self, changed: list[tuple[Bucket, str]]) -> None:
        """Buckets get another set of grids: what was aligned to the one before counts no more, also if that comes back."""
        for start in range(0, len(changed), LIST_PAGE):
            async with asyncio.TaskGroup() as group:
                for bucket, mark in changed[start : start + LIST_PAGE]:
                    self._looked.pop(bucket.name, None)
                    noted = await self._site.index.noted(_note(bucket))
                    if noted and noted.partition(" ")[0] != mark:
                        group.create_task(self._site.index.note(_note(bucket), ""))
            self._applied.update({bucket.name: mark for bucket, mark in changed[start : start + LIST_PAGE]})

    async def _advance(self, bucket: Bucket, wanted: tuple[int, ...], mark: str) -> bool:
        """Look at the next keys; True when the bucket is aligned."""
        index = self._site.index
        noted = await index.noted(_note(bucket))
        if noted == mark:
            return True
        begun, _, last = noted.partition(" ")
        walked = await index.reconcile(
            bucket.name,
            wanted=wanted,
            after=last if begun == mark else "",
            limit=RECONCILE_BATCH,
            now_ms=self._site.clock.now_ms(),
        )
        await self._site.spool.release(walked.released)
        self._site.note_debts()
        await index.note(_note(bucket), f"{mark} {walked.last}" if walked.last else mark)
        await asyncio.sleep(0)
        return not walked.last


def _note(bucket: Bucket) -> str:
    """Where it is remembered to which set of grids a bucket is aligned, or with which last key the walk to it goes on."""
    return f"aligned/{bucket.name}/{bucket.created_ms}"
