"""What every index engine promises about events that wait to be told."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.errors import S3Error
from holdfast.index import sqlite_notices
from holdfast.index.notices import PutOff
from holdfast.model import Bucket, MarkChange, Presence, WriteCondition, replace
from holdfast.s3 import DeleteAsk
from holdfast.s3.notification import Notice
from tests.contract.index_bench import BUCKET, ENGINES, Workbench, layout_of, part_of, upload_of

Run = Callable[[Callable[[Workbench], Awaitable[None]]], None]


@pytest.fixture(params=ENGINES)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a scenario on a new index."""

    def runner(scenario: Callable[[Workbench], Awaitable[None]]) -> None:
        async def main() -> None:
            async with ENGINES[request.param](tmp_path) as bench:
                await scenario(bench)

        asyncio.run(main())

    return runner


def notice(key: str = "k", event: str = "ObjectCreated:Put", webhook: str = "hook") -> Notice:
    return Notice(webhook, event, BUCKET, key, 5)


async def due(bench: Workbench, webhook: str = "hook", limit: int = 100) -> list[tuple[str, str]]:
    found = await bench.index.due_notices(webhook, now_ms=bench.now_ms, limit=limit)
    return [(waiting.notice.event, waiting.notice.key) for waiting in found]


async def tell_all(bench: Workbench) -> list[tuple[str, str]]:
    """Settle what is due, again and again; what was told, in order."""
    told: list[tuple[str, str]] = []
    while found := await bench.index.due_notices("hook", now_ms=bench.now_ms, limit=100):
        told += [(waiting.notice.event, waiting.notice.key) for waiting in found]
        await bench.index.settle_notices([waiting.number for waiting in found], [])
    return told


def test_every_kind_of_change_records_its_events_with_it(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        put = await bench.put("k", notices=(notice(),))
        await index.mark(BUCKET, "k", "", MarkChange(tags={"a": "b"}), notices=[notice(event="ObjectTagging:Put")])
        both = (notice(event="ObjectRemoved:Delete"), notice(event="ObjectRemoved:DeleteMarkerCreated"))
        await index.delete(BUCKET, [DeleteAsk("k", notices=both)], now_ms=bench.now_ms, owes=bench.grids)
        await index.create_upload(upload_of("u", "id"))
        await index.put_part(BUCKET, "u", "id", part_of(1, "s1"))
        change = replace(bench.composed("u", "s1"), spool=(), layout=layout_of("s1"), notices=(notice("u"),))
        await index.complete_upload("id", change)
        await index.configure(BUCKET, "notification", b"x", notices=[notice("", "s3:TestEvent")])
        (first, *_) = await index.due_notices("hook", now_ms=bench.now_ms, limit=1)
        assert (first.seq, first.attempts) == (put.seq, 0)
        told = await tell_all(bench)
        assert [event for event, key in told if key == "k"] == [
            "ObjectCreated:Put",
            "ObjectTagging:Put",
            "ObjectRemoved:Delete",
        ], "a marker was not made"
        assert [key for _, key in told if key != "k"] == ["u", ""]
        assert [(sums.webhook, sums.waiting) for sums in await index.notice_sums()] == [("hook", 0)]

    run(scenario)


def test_what_did_not_happen_is_not_told(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        await bench.put("k")
        absent = WriteCondition(Presence.ABSENT)
        with pytest.raises(S3Error):
            await bench.put("k", condition=absent, notices=(notice(),))
        removed = (notice(event="ObjectRemoved:Delete"),)
        asks = [DeleteAsk("k", condition=absent, notices=removed), DeleteAsk("never", notices=removed)]
        await index.delete(BUCKET, asks, now_ms=bench.now_ms, owes=bench.grids)
        with pytest.raises(S3Error):
            await index.mark(BUCKET, "never", "", MarkChange(tags={}), notices=[notice()])
        assert await due(bench) == []
        assert await index.notice_sums() == ()

    run(scenario)


def test_of_each_key_only_the_oldest_event_is_given_out(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        for _ in range(3):
            for key in ("a", "b"):
                await bench.put(key, notices=(notice(key), notice(key, webhook="other")))
        assert [key for _, key in await due(bench)] == ["a", "b"]
        (first, _) = await bench.index.due_notices("hook", now_ms=bench.now_ms, limit=9)
        await bench.index.settle_notices([], [PutOff(first.number, bench.now_ms + 1000)])
        assert [key for _, key in await due(bench)] == ["b"], "what is behind it waits, too"
        await bench.put("a", notices=(notice("a"),))
        assert [key for _, key in await due(bench)] == ["b"]
        assert [key for _, key in await due(bench, "other")] == ["a", "b"], "another webhook does not wait"
        bench.pass_ms(1000)
        again = await bench.index.due_notices("hook", now_ms=bench.now_ms, limit=9)
        assert [(waiting.notice.key, waiting.attempts) for waiting in again] == [("b", 0), ("a", 1)]
        await bench.index.settle_notices([waiting.number for waiting in again], [])
        assert [key for _, key in await due(bench)] == ["a", "b"], "nothing waits longer than what it waited for"

    run(scenario)


def test_old_events_are_found_whichever_webhook_they_are_for(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("a", notices=(notice("a"), notice("a", webhook="gone")))
        bench.pass_ms(1000)
        await bench.put("b", notices=(notice("b"),))
        found = await bench.index.old_notices(before_ms=bench.now_ms, limit=10)
        assert [(waiting.notice.webhook, waiting.notice.key) for waiting in found] == [("hook", "a"), ("gone", "a")]
        sums = {row.webhook: row for row in await bench.index.notice_sums()}
        assert (sums["hook"].waiting, sums["hook"].oldest_ms) == (2, bench.now_ms - 1000)

    run(scenario)


def test_what_is_one_too_many_is_dropped_and_counted_and_the_change_happens(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_notices, "NOTICES_WAITING", 2)

    async def scenario(bench: Workbench) -> None:
        for number in range(4):
            await bench.put(f"k{number}", notices=(notice(f"k{number}"),))
        assert (await bench.index.usage()).objects == 4
        assert [key for _, key in await due(bench)] == ["k0", "k1"]
        assert await bench.index.take_dropped("hook") == 2
        assert await bench.index.take_dropped("hook") == 0
        await tell_all(bench)
        await bench.put("k5", notices=(notice("k5"),))
        assert await tell_all(bench) == [("ObjectCreated:Put", "k5")]

    run(scenario)


def test_events_wait_also_when_their_bucket_is_gone(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.index.create_bucket(Bucket("short-lived", 1, ""))
        await bench.index.configure("short-lived", "notification", b"x", notices=[notice("", "s3:TestEvent")])
        await bench.index.delete_bucket("short-lived")
        assert await tell_all(bench) == [("s3:TestEvent", "")]

    run(scenario)
