"""Catch-up: pays debts until there are none.

Answers for: each grid has lanes of its own, of which one pays what is newest, one what has waited longest, and one large
bodies, so that neither the old nor the large ones starve or hold up the others. How many are paid at once follows what the
grid shows it can take (`health/window`); one that asks for rest gets it from all lanes. A grid that is down or is not being
asked costs nothing but a look now and then. While clients are busy catch-up takes a share of that, and of the time, unless the
spool is filling up. Invariant: every claimed debt is settled or postponed once, or its lease runs out.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from holdfast.copies.paying import pay
from holdfast.copies.site import Seat, Site
from holdfast.index.interface import Debt, Delay, Payment, Pick
from holdfast.limits import (
    BLOCK_BYTES,
    CATCHUP_BARRED_S,
    CATCHUP_DUTY,
    CATCHUP_HOLD_S,
    CATCHUP_IDLE_S,
    CATCHUP_LARGE,
    CATCHUP_REST_MAX_S,
    CATCHUP_ROUNDS,
    CLAIM_BATCH,
    CLAIM_LEAST,
    FOLDER_BATCH,
    INLINE_BYTES,
    LEASE_S,
    SETTLE_BATCH,
    SPOOL_URGENT,
)
from holdfast.model import GridState

LANES: Final = (Pick.NEWEST, Pick.OLDEST, Pick.LARGE)
"""The lanes of each grid in each process."""


class CatchUp:
    """One lane of catch-up of one grid in this process."""

    def __init__(self, site: Site, seat: Seat, lane: int) -> None:
        self._pick = LANES[lane % len(LANES)]
        self.name = f"catch-up {seat.name} {self._pick.name.lower()}"
        self.wake = site.debt_waker()
        self._site = site
        self._seat = seat
        self._vain = 0
        """Batches in a row of which nothing was paid."""

    async def step(self) -> float:
        """Claim a batch of debts, pay them, settle them."""
        if self._seat.state is not GridState.UP:
            return CATCHUP_IDLE_S
        began_s = self._site.clock.monotonic_s()
        if self._seat.rest_until_s > began_s:
            return self._seat.rest_until_s - began_s
        busy = await self._clients_first()
        width = self._width(busy)
        limit = width if self._pick is Pick.LARGE else min(CLAIM_BATCH, max(CLAIM_LEAST, width * CATCHUP_ROUNDS))
        debts = await self._claim(limit)
        if not debts:
            return CATCHUP_IDLE_S
        batch = _Batch(self._site, self._seat, debts)
        await batch.pay(width)
        if busy:
            await self._rest(self._site.clock.monotonic_s() - began_s)
        self._vain = 0 if batch.answered else self._vain + 1
        return min(CATCHUP_IDLE_S, CATCHUP_BARRED_S * 2 ** min(self._vain - 1, 8)) if self._vain else 0.0

    async def close(self) -> None:
        """Nothing outlives a step."""

    async def _clients_first(self) -> bool:
        """Whether clients are busy here, and the spool has room enough for that to matter more than what is owed."""
        if not self._site.pressure():
            return False
        return await self._site.waiting_bytes() <= self._site.spool.limit_bytes * SPOOL_URGENT

    def _width(self, busy: bool) -> int:
        """Debts that this lane pays at once."""
        if self._seat.grid.capabilities.local and self._pick is not Pick.LARGE:
            return FOLDER_BATCH  # They share a flush of the disk: fewer at once would cost more, not less.
        share = self._seat.window.share(busy)
        if self._pick is Pick.LARGE:
            return min(CATCHUP_LARGE, share)
        return max(1, share // 2)  # There are two lanes of small ones.

    async def _claim(self, limit: int) -> tuple[Debt, ...]:
        now_ms = self._site.clock.now_ms()
        return await self._site.index.claim(
            self._seat.number,
            holder=self._site.new_holder(),
            now_ms=now_ms,
            lease_until_ms=now_ms + int(LEASE_S * 1000),
            limit=limit,
            pick=self._pick,
        )

    async def _rest(self, worked_s: float) -> None:
        """All lanes together work a share of the time."""
        lanes = len(LANES) * len(self._site.seats)
        await self._site.clock.sleep(min(CATCHUP_REST_MAX_S, worked_s * (lanes / CATCHUP_DUTY - 1)))


class _Batch:
    """Claimed debts of one grid, on their way to being paid."""

    def __init__(self, site: Site, seat: Seat, debts: Sequence[Debt]) -> None:
        self._site = site
        self._seat = seat
        self._waiting = deque(debts)
        self._paid: list[Payment] = []
        self._delayed: list[Delay] = []
        self._until_s = site.clock.monotonic_s() + CATCHUP_HOLD_S
        self.answered = 0
        """How many were paid."""
        self._silent = 0
        self._small = 0
        self._small_s = 0.0

    async def pay(self, width: int) -> None:
        """Pay all of them, `width` at once, and settle them as they are done."""
        full = len(self._waiting) >= width
        async with asyncio.TaskGroup() as group:
            for _ in range(min(width, len(self._waiting))):
                group.create_task(self._work())
        await self._settle()
        self._seat.window.observe(
            answered=self.answered,
            silent=self._silent,
            mean_s=self._small_s / self._small if self._small else None,
            full=full,
            now_s=self._site.clock.monotonic_s(),
        )

    async def _work(self) -> None:
        site = self._site
        while self._waiting:
            debt = self._waiting.popleft()
            now_s = site.clock.monotonic_s()
            if self._seat.rest_until_s > now_s or now_s > self._until_s:
                due_ms = site.clock.now_ms() + int(max(0.0, self._seat.rest_until_s - now_s) * 1000)
                self._delayed.append(Delay(debt, due_ms, "its turn comes", False))
                continue
            outcome = await pay(site, debt)
            if isinstance(outcome, Payment):
                self._paid.append(outcome)
                self.answered += 1
                if debt.version is None or debt.version.size <= INLINE_BYTES:
                    self._small += 1
                    self._small_s += site.clock.monotonic_s() - now_s
            else:
                self._delayed.append(outcome)
                self._silent += outcome.silent
            if len(self._paid) >= SETTLE_BATCH or (debt.version is not None and debt.version.size > BLOCK_BYTES):
                await self._settle()  # Others of its batch may take longer than its lease.

    async def _settle(self) -> None:
        paid, self._paid = self._paid, []
        delayed, self._delayed = self._delayed, []
        if paid:
            settled = await self._site.index.settle(paid)
            await self._site.spool.release(settled.released)
        if delayed:
            await self._site.index.postpone(delayed)
