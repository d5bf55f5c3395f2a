"""Reconcile: finds objects whose copies do not match their policy, and writes down what is owed.

Answers for: after a change of policy, a new grid or a grid that came back empty, every object of the affected
buckets is looked at once. It moves no bytes: catch-up pays. Invariant: a bucket counts as aligned to a set of
grids only after all of its keys were looked at under that set.
"""

import asyncio

from holdfast.copies.site import Site
from holdfast.limits import RECONCILE_BATCH, RECONCILE_S
from holdfast.model import Bucket


class Reconcile:
    """The policy walk over all buckets."""

    name = "reconcile"

    def __init__(self, site: Site) -> None:
        self.wake = site.debt_waker()
        self._site = site
        self._looked: dict[str, str] = {}
        """What this process already knows to be aligned, by bucket."""

    async def step(self) -> float:
        """Look at one batch of one bucket that is not aligned."""
        for bucket in await self._site.index.buckets():
            wanted = self._site.redundancy(bucket.name).grids
            if 0 in wanted:
                continue  # A grid that was never reached yet has no number to owe anything to.
            mark = ",".join(map(str, sorted(wanted)))
            if self._looked.get(bucket.name) == mark:
                continue
            if await self._advance(bucket, wanted, mark):
                self._looked[bucket.name] = mark
            return 0.0
        return RECONCILE_S

    async def close(self) -> None:
        """Nothing outlives a step."""

    async def _advance(self, bucket: Bucket, wanted: tuple[int, ...], mark: str) -> bool:
        """Look at the next keys; True when the bucket is aligned."""
        index = self._site.index
        name = f"aligned/{bucket.name}/{bucket.created_ms}"
        noted = await index.noted(name)
        if noted == mark:
            return True
        done, _, cursor = (await index.noted(name + "/cursor")).partition(" ")
        after = cursor if done == mark else ""
        last = await index.reconcile(
            bucket.name, wanted=wanted, after=after, limit=RECONCILE_BATCH, now_ms=self._site.clock.now_ms()
        )
        self._site.note_debts()
        if last:
            await index.note(name + "/cursor", f"{mark} {last}")
            return False
        await index.note(name, mark)
        await index.note(name + "/cursor", "")
        await asyncio.sleep(0)
        return True
