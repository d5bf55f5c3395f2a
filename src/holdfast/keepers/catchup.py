"""Catch-up: pays debts until there are none.

Answers for: a grid's debts are claimed, paid in parallel and settled together; large bodies settle on their own, so
they hold up nobody. A grid that is down or is not being asked costs nothing but a look now and then. While clients are busy it
works only a share of the time (CATCHUP_DUTY), unless the spool is filling up. Invariant: every
claimed debt is settled or postponed once, or its lease runs out.
"""

import asyncio
from collections.abc import Sequence

from holdfast.copies.paying import pay
from holdfast.copies.site import Seat, Site
from holdfast.index.interface import Debt, Delay, Payment
from holdfast.limits import (
    BLOCK_BYTES,
    CATCHUP_BARRED_S,
    CATCHUP_DUTY,
    CATCHUP_IDLE_S,
    CATCHUP_LANES,
    CATCHUP_LARGE,
    CATCHUP_REST_MAX_S,
    CLAIM_BATCH,
    LEASE_S,
    SPOOL_URGENT,
)
from holdfast.model import GridState


class CatchUp:
    """One lane of catch-up of one grid in this process. A second lane goes on while the first moves large bodies."""

    def __init__(self, site: Site, seat: Seat, lane: int) -> None:
        self.name = f"catch-up {seat.name} {lane}"
        self.wake = site.debt_waker()
        self._site = site
        self._seat = seat

    async def step(self) -> float:
        """Claim a batch of debts, pay them, settle them."""
        if self._seat.state is not GridState.UP:
            return CATCHUP_IDLE_S
        began_s = self._site.clock.monotonic_s()
        debts = await self._claim()
        if not debts:
            return CATCHUP_IDLE_S
        small = [debt for debt in debts if debt.version is None or debt.version.size <= BLOCK_BYTES]
        large = [debt for debt in debts if debt.version is not None and debt.version.size > BLOCK_BYTES]
        now_ms = self._site.clock.now_ms()
        await self._postpone([Delay(debt, now_ms, "its turn comes", False) for debt in large[CATCHUP_LARGE:]])
        async with asyncio.TaskGroup() as group:
            paying = [
                group.create_task(self._pay(some)) for some in (*[[debt] for debt in large[:CATCHUP_LARGE]], small)
            ]
        await self._yield_to_clients(began_s)
        return 0.0 if any(task.result() for task in paying) else CATCHUP_BARRED_S

    async def close(self) -> None:
        """Nothing outlives a step."""

    async def _claim(self) -> tuple[Debt, ...]:
        now_ms = self._site.clock.now_ms()
        return await self._site.index.claim(
            self._seat.number,
            holder=self._site.new_holder(),
            now_ms=now_ms,
            lease_until_ms=now_ms + int(LEASE_S * 1000),
            limit=CLAIM_BATCH,
        )

    async def _pay(self, debts: Sequence[Debt]) -> bool:
        """Pay these debts. False when none could even be tried, which the next ones cannot either."""
        if not debts:
            return False
        async with asyncio.TaskGroup() as group:
            paying = [group.create_task(pay(self._site, debt)) for debt in debts]
        outcomes = [task.result() for task in paying]
        payments = [outcome for outcome in outcomes if isinstance(outcome, Payment)]
        if payments:
            settled = await self._site.index.settle(payments)
            await self._site.spool.release(settled.released)
        await self._postpone([outcome for outcome in outcomes if isinstance(outcome, Delay)])
        return any(isinstance(outcome, Payment) or outcome.counts for outcome in outcomes)

    async def _postpone(self, delays: Sequence[Delay]) -> None:
        if delays:
            await self._site.index.postpone(delays)

    async def _yield_to_clients(self, began_s: float) -> None:
        if not self._site.pressure():
            return
        if await self._site.waiting_bytes() > self._site.spool.limit_bytes * SPOOL_URGENT:
            return
        worked_s = self._site.clock.monotonic_s() - began_s
        lanes = CATCHUP_LANES * len(self._site.seats)
        await self._site.clock.sleep(min(CATCHUP_REST_MAX_S, worked_s * (lanes / CATCHUP_DUTY - 1)))
