"""Notify: tells webhooks the events that were recorded for them, and gives up those that nobody took for NOTICE_AGE_S.

Answers for: each event is told at least once, the events of a key in their order, and a webhook that is silent, slow or asked too
much is left alone for longer and longer. Each webhook has a keeper of its own, so that none waits for another. Invariant: an event is
forgotten only when its webhook took it, or as a dead letter that is counted and told.
"""

import asyncio
from typing import Final

from holdfast.copies.site import Site
from holdfast.events import NoticeEnded, NoticesDropped
from holdfast.index.notices import NoticeSums, PutOff, WaitingNotice
from holdfast.limits import (
    NOTICE_AGE_S,
    NOTICE_BATCH,
    NOTICE_IDLE_S,
    NOTICE_LOOK_S,
    NOTICES_AT_ONCE,
    REST_MAX_S,
    WEBHOOK_RETRY_MAX_S,
    WEBHOOK_RETRY_S,
)
from holdfast.webhooks.message import body_of, headers_of, identify, key_of
from holdfast.webhooks.sender import Answer, Sender

_ASKED_TOO_MUCH: Final = frozenset({408, 425, 429})
"""Refusals that are about the webhook and not about what it was sent."""


class Notify:
    """The keeper of one webhook. `region` is that of buckets that were made without one."""

    def __init__(self, site: Site, name: str, sender: Sender, *, secret: str, region: str) -> None:
        self.name = f"notify {name}"
        self.wake = site.notice_waker()
        self._site = site
        self._webhook = name
        self._sender = sender
        self._key = key_of(secret)
        self._region = region
        self._silences = 0
        """Attempts in a row without an answer."""
        self._rest_until_s = float("-inf")

    async def step(self) -> float:
        """Tell the next few events; return how long there is nothing to do, or the webhook is to be left alone."""
        clock = self._site.clock
        if (rest_s := self._rest_until_s - clock.monotonic_s()) > 0:
            return rest_s
        limit = 1 if self._silences else NOTICE_BATCH
        batch = await self._site.index.due_notices(self._webhook, now_ms=clock.now_ms(), limit=limit)
        if not batch:
            return NOTICE_IDLE_S
        told: list[int] = []
        put_off: list[PutOff] = []
        queue = list(reversed(batch))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(NOTICES_AT_ONCE, len(queue))):
                    group.create_task(self._work(queue, told, put_off))
        finally:
            if told or put_off:
                await self._site.index.settle_notices(told, put_off)
        return max(0.0, self._rest_until_s - clock.monotonic_s())

    async def close(self) -> None:
        await self._sender.close()

    async def _work(self, queue: list[WaitingNotice], told: list[int], put_off: list[PutOff]) -> None:
        clock = self._site.clock
        while queue and self._rest_until_s <= clock.monotonic_s():
            waiting = queue.pop()
            body = body_of(waiting, self._region)
            answer = await self._sender.send(
                body, headers_of(identify(waiting), body, self._key, clock.now_ms() // 1000)
            )
            if 200 <= answer.status < 300:
                self._silences = 0
                told.append(waiting.number)
                outcome = "told"
            elif answer.status >= 500 or answer.status in _ASKED_TOO_MUCH or not answer.status:
                self._silences += 1
                pause_s = max(self._pause_s(self._silences), min(answer.retry_after_s, REST_MAX_S))
                self._rest_until_s = max(self._rest_until_s, clock.monotonic_s() + pause_s)
                outcome = "silent"
            else:
                self._silences = 0
                due_ms = clock.now_ms() + int(self._pause_s(waiting.attempts + 1) * 1000)
                put_off.append(PutOff(waiting.number, due_ms))
                outcome = "refused"
            self._tell(waiting, outcome, answer)

    def _pause_s(self, attempts: int) -> float:
        pause_s = min(WEBHOOK_RETRY_MAX_S, WEBHOOK_RETRY_S * float(2 ** min(attempts - 1, 16)))
        return pause_s * (0.5 + self._site.clock.random())

    def _tell(self, waiting: WaitingNotice, outcome: str, answer: Answer) -> None:
        detail = answer.detail or (f"it answered {answer.status}" if outcome != "told" else "")
        self._site.teller.tell(ended(waiting, outcome, detail, self._site.clock.now_ms()))


class DeadLetters:
    """Gives up events that are too old, also those of webhooks that are configured no longer, and counts what waits."""

    name = "dead letters"

    def __init__(self, site: Site) -> None:
        self.wake = asyncio.Event()
        self.sums: tuple[NoticeSums, ...] = ()
        """What waited when it was counted last."""
        self._site = site

    async def step(self) -> float:
        """Give up the next few, and look again soon when there were many."""
        site, now_ms = self._site, self._site.clock.now_ms()
        self.sums = await site.index.notice_sums()
        for sums in self.sums:
            if sums.dropped:
                site.teller.tell(NoticesDropped(sums.webhook, await site.index.take_dropped(sums.webhook)))
        if not any(sums.waiting for sums in self.sums):
            return NOTICE_LOOK_S
        dead = await site.index.old_notices(before_ms=now_ms - int(NOTICE_AGE_S * 1000), limit=NOTICE_BATCH)
        if dead:
            await site.index.settle_notices([waiting.number for waiting in dead], [])
            for waiting in dead:
                site.teller.tell(ended(waiting, "dead", f"{waiting.attempts} times refused", now_ms))
        return 0.0 if len(dead) == NOTICE_BATCH else NOTICE_LOOK_S

    async def close(self) -> None:
        """Nothing outlives a step."""


def ended(waiting: WaitingNotice, outcome: str, detail: str, now_ms: int) -> NoticeEnded:
    notice = waiting.notice
    return NoticeEnded(
        notice.webhook, notice.event, notice.bucket, notice.key, outcome, (now_ms - waiting.since_ms) / 1000, detail
    )
