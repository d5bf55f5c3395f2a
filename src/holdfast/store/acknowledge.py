"""Acknowledging: as many grids as the policy wants hold a committed version, or the client is told that they do not.

Answers for which grids are asked, and in whose place others are. It never commits, and never takes a write back. Invariant:
a grid is counted only when it holds the version, or whatever replaced it meanwhile.
"""

import asyncio
from collections import deque

from holdfast.copies.paying import pay
from holdfast.copies.site import Site
from holdfast.errors import QuorumMissed, S3Error
from holdfast.index.interface import SEVERAL, Debt, Delay, NewVersion, Payment, Written
from holdfast.limits import ACK_PATIENCE_BYTES_S, ACK_PATIENCE_S, ACK_POLL_S, ACK_WAIT_S, LEASE_S
from holdfast.model import Redundancy, Version
from holdfast.store.ahead import Ahead
from holdfast.store.plan import enough


def outage(detail: str) -> S3Error:
    """What a policy that refuses outages says in one."""
    return S3Error(
        "ServiceUnavailable",
        "Too few storage systems can be reached for the reliability that this bucket's policy promises. Try again.",
        detail=detail,
    )


def candidates_of(site: Site, policy: Redundancy, ahead: Ahead | None = None) -> list[int]:
    """Grids of a policy in the order in which they are asked to hold a write: those that have its bytes already, those that
    take writes well, those that are up, the others; those that failed while the body arrived come last."""

    def rank(number: int) -> tuple[bool, bool, bool, bool]:
        has = ahead is not None and ahead.has(number)
        failed = ahead is not None and number in ahead.failed
        seat = site.seat(number)
        return failed, not has, seat is None or not seat.takes_writes, not site.is_up(number)

    return sorted(policy.grids, key=rank)


class Acknowledgement:
    """One committed write on its way to its acknowledgement."""

    def __init__(
        self, site: Site, change: NewVersion, written: Written, policy: Redundancy, ahead: Ahead | None = None
    ) -> None:
        self._site = site
        self._change = change
        self._written = written
        self._policy = policy
        self._ahead = ahead
        self._outcomes: dict[int, str] = {}
        self._doubtful: list[int] = []

    async def reach(self, candidates: list[int]) -> None:
        """Publish until `ack` grids hold the version: first to as many as needed, then to others in place of those that failed,
        or beside those that keep the client waiting.

        A grid that may have acted is looked at once more before the client is refused. Raises ServiceUnavailable.
        """
        await self._try(candidates)
        if self._missing and not self._policy.accept_outage:
            await self._try(self._doubtful)
        if self._missing and not self._policy.accept_outage:
            told = {self._name(number): outcome for number, outcome in self._outcomes.items()}
            missed = QuorumMissed(self._policy.ack, told)
            raise outage(str(missed)) from missed

    @property
    def _missing(self) -> bool:
        return not enough(self._policy.ack, self._outcomes)

    async def _try(self, candidates: list[int]) -> None:
        waiting = deque(candidates)
        patience_s = ACK_PATIENCE_S + self._change.size / ACK_PATIENCE_BYTES_S
        async with asyncio.TaskGroup() as group:
            running: dict[asyncio.Task[None], int] = {}

            def ask() -> None:
                number = waiting.popleft()
                running[group.create_task(self._hold(number))] = number

            waited_s = 0.0
            while self._missing and (waiting or running):
                missing = self._policy.ack - sum(outcome == "held" for outcome in self._outcomes.values())
                while waiting and len(running) < missing:
                    ask()
                # The wait is cut into short ones: a grid that the probe finds gone is not waited for any longer.
                look_s = min(ACK_PATIENCE_S, patience_s - waited_s) if waiting else None
                began_s = self._site.clock.monotonic_s()
                done, _ = await asyncio.wait(running, timeout=look_s, return_when=asyncio.FIRST_COMPLETED)
                waited_s += self._site.clock.monotonic_s() - began_s
                for task in done:
                    del running[task]
                gone = any(not self._site.is_up(number) for number in running.values())
                if waiting and not done and (gone or waited_s >= patience_s):
                    ask()
                    waited_s = 0.0
            for task in running:
                task.cancel()  # Others were quicker: it is left to catch-up.

    async def _hold(self, number: int) -> None:
        """Make one grid hold the version, or see it held by whoever pays there now; then note the outcome."""
        site, change, written = self._site, self._change, self._written
        if self._policy.accept_outage and not site.is_up(number):
            await self._leave(number)
            self._outcomes[number] = "down"
            return
        first = number in written.claimed and number not in self._outcomes
        debt = self._own_debt(number) if first else None
        deadline_s = site.clock.monotonic_s() + ACK_WAIT_S
        while debt is None:
            if number not in await site.index.debt_of(change.bucket, change.key):
                self._outcomes[number] = await self._found(number)
                return
            if site.clock.monotonic_s() > deadline_s:
                self._outcomes[number] = "busy"
                return
            debt = await self._claim(number)
            if debt is None:
                await site.clock.sleep(ACK_POLL_S)
        staged = self._ahead.source(number, debt.seq) if self._ahead is not None else None
        try:
            outcome = await pay(site, debt, staged)
        except asyncio.CancelledError:
            # Others were quicker, or the client left: whoever pays it next finds out what happened here.
            await site.index.postpone([Delay(debt, site.clock.now_ms(), "it was too slow", False, doubt=True)])
            raise
        if isinstance(outcome, Payment):
            settled = await site.index.settle([outcome])
            await site.spool.release(settled.released)
            self._outcomes[number] = "held"
            return
        await site.index.postpone([outcome])
        self._outcomes[number] = "held" if outcome.holds else outcome.reason
        if outcome.doubt:
            self._doubtful.append(number)

    async def _leave(self, number: int) -> None:
        """Give a debt back that our commit claimed and that we shall not pay: else it would wait for its lease to end, and the
        next write of the key for it."""
        if number in self._written.claimed and number not in self._outcomes:
            now_ms = self._site.clock.now_ms()
            await self._site.index.postpone([Delay(self._own_debt(number), now_ms, "the grid is down", False)])

    async def _found(self, number: int) -> str:
        """The outcome at a grid that is not owed the key: it holds what is current, unless it was replaced meanwhile."""
        version = await self._site.index.get(self._change.bucket, self._change.key)
        if version is None or any(copy.grid == number for copy in version.copies):
            return "held"
        return "it was replaced"

    async def _claim(self, number: int) -> Debt | None:
        now_ms = self._site.clock.now_ms()
        return await self._site.index.claim_key(
            number,
            self._change.bucket,
            self._change.key,
            holder=self._change.holder,
            now_ms=now_ms,
            lease_until_ms=now_ms + int(LEASE_S * 1000),
        )

    def _name(self, number: int) -> str:
        seat = self._site.seat(number)
        return seat.name if seat is not None else f"#{number}"

    def _own_debt(self, number: int) -> Debt:
        """The debt that our own commit recorded and claimed."""
        change, written = self._change, self._written
        version = Version(
            written.seq, change.size, change.etag, change.modified_ms, change.facts, (), change.crc, change.inline,
            bool(change.spool),
        )  # fmt: skip
        policy = self._site.policy_of(change.bucket)
        return Debt(
            number, change.bucket, change.key, written.seq, change.modified_ms, 0, change.holder, policy, version,
            doubt_ms=written.doubts.get(number, 0), doubt_seq=SEVERAL, guest=written.guests.get(number, ""),
        )  # fmt: skip
