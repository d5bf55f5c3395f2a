"""The admin listener over a real index: what it answers, and that it answers when something is wrong."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import events
from holdfast.cache.cache import Cache
from holdfast.copies.site import PolicyTerms, Seat, Site
from holdfast.errors import S3Error, Unavailable
from holdfast.events import Teller
from holdfast.grids.memory import MemoryGrid
from holdfast.index.interface import Debt, Delay, NewVersion, Payment
from holdfast.index.sqlite import SqliteIndex
from holdfast.keepers.probe import attach_all
from holdfast.limits import BROWNOUT_ATTEMPTS, CATCHUP_LATE_S, CATCHUP_TOLD_S, GIB, STUCK_ATTEMPTS
from holdfast.model import Bucket, Facts, Place
from holdfast.serve.admin import AdminServer, Readiness, application
from holdfast.serve.metrics import Gauges, Publisher, Tally
from holdfast.serve.standings import health_gauges
from holdfast.serve.status import Watch
from holdfast.serve.workers import listen
from holdfast.spool.spool import Spool
from holdfast.testing.rawhttp import StillClock
from holdfast.wrappers.breaker import Breakers

Answer = tuple[int, str, str]


class Worn(Breakers):
    """Of a grid that can be made to brown out at once."""

    def brown_out(self, clock: StillClock) -> None:
        for number in range(2 * BROWNOUT_ATTEMPTS):
            clock.at_s += 0.1
            attempt = self.begin("read", "get", Place("photos", "k"))
            if number % 10:
                attempt.succeeded()
            else:
                attempt.failed(Unavailable("a", "get", "silent"))


class Office:
    """A node without S3: index, two grids in memory, and its admin listener."""

    def __init__(self, folder: Path) -> None:
        self.clock = StillClock()
        self.teller = Teller()
        self.tally = Tally()
        self.teller.subscribe(self.tally.listen)
        self.index = SqliteIndex(folder / "index.db", clock=self.clock, teller=self.teller, node="here")
        self.breakers = {name: Worn(name, clock=self.clock, teller=self.teller) for name in ("a", "b")}
        policies = [PolicyTerms("standard", ("a", "b"), 1, True)]
        self.site = Site(
            index=self.index,
            spool=Spool(folder / "spool", limit_bytes=GIB, clock=self.clock),
            seats=[Seat(MemoryGrid(name), "memory:", breakers=self.breakers[name]) for name in ("a", "b")],
            policies=policies,
            default_policy="standard",
            bucket_policies={},
            clock=self.clock,
            teller=self.teller,
            holder="me",
            keep_inline_bytes=GIB,
        )
        self.gauges = {
            "holdfast_connections": 3.0,
            "holdfast_requests_in_progress": 2.0,
            "holdfast_suspects_itself": 1.0,
        }
        publisher = Publisher(self.tally, folder, worker=0, clock=self.clock, gauges=self._gauges)
        self.watch = Watch(
            self.site, clock=self.clock, publisher=publisher, policies=policies, inline_limit=GIB, node="here"
        )
        self.readiness = Readiness(self.index, clock=self.clock, draining=lambda: self.watch.draining)
        self.port = 0

    def _gauges(self) -> Gauges:
        return {**self.gauges, **health_gauges(self.site, worker=0)}

    async def put(self, key: str, body: bytes) -> None:
        grids = self.site.redundancy("photos").grids
        await self.index.put(
            NewVersion("photos", key, len(body), "etag", self.clock.now_ms(), Facts(), grids, inline=body, crc=0)
        )

    async def get(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        def ask() -> Answer:
            url = f"http://127.0.0.1:{self.port}{path}"
            request = urllib.request.Request(url, method=method, headers=headers or {})
            try:
                with urllib.request.urlopen(request, timeout=20) as reply:
                    return reply.status, reply.headers["content-type"], reply.read().decode()
            except urllib.error.HTTPError as refusal:
                return refusal.code, refusal.headers["content-type"], refusal.read().decode()

        return await asyncio.to_thread(ask)

    async def json(self, path: str) -> tuple[int, Any]:
        status, kind, body = await self.get(path)
        assert kind == "application/json"
        return status, json.loads(body)


def open_office(folder: Path, visit: Callable[[Office], Awaitable[None]]) -> None:
    """Run `visit` while the admin listener of an office serves."""

    async def main() -> None:
        office = Office(folder)
        await office.index.open()
        office.site.spool.open()
        await attach_all(office.site)
        await office.index.create_bucket(Bucket("photos", 0, ""))
        server = AdminServer(application(office.watch, office.readiness))
        sockets = listen("127.0.0.1", 0)
        office.port = sockets[0].getsockname()[1]
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets))
            try:
                await visit(office)
            finally:
                server.stop()
        await office.index.close()

    asyncio.run(main())


def test_a_living_process_says_so(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        assert await office.json("/healthz") == (200, {"alive": True})

    open_office(tmp_path, visit)


def test_a_node_is_ready_when_its_index_commits(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        assert await office.json("/readyz") == (200, {"ready": True, "reasons": []})
        assert int(await office.index.noted("checked")) == office.clock.now_ms()

    open_office(tmp_path, visit)


def test_asking_often_does_not_cost_more_commits(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        for _ in range(3):
            assert (await office.json("/readyz"))[0] == 200
        office.clock.at_s += 0.5
        await office.json("/readyz")
        checked_ms = int(await office.index.noted("checked"))
        assert checked_ms == office.clock.now_ms() - 500

    open_office(tmp_path, visit)


def test_a_stopping_node_is_not_ready_and_still_alive(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        office.watch.draining = True
        status, body = await office.json("/readyz")
        assert (status, body["ready"]) == (503, False)
        assert "stopping" in body["reasons"][0]
        assert (await office.json("/status"))[1]["unready"] == body["reasons"]
        assert (await office.json("/healthz"))[0] == 200

    open_office(tmp_path, visit)


class BrokenIndex(SqliteIndex):
    """An index whose disk is full."""

    async def check(self) -> None:
        raise S3Error("SlowDown", detail="database or disk is full")


def test_a_node_whose_index_cannot_commit_is_not_ready_and_says_why(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        broken = BrokenIndex(tmp_path / "x.db", clock=office.clock, teller=office.teller, node="here")
        readiness = Readiness(broken, clock=office.clock, draining=lambda: False)
        assert await readiness.reasons() == ["index: database or disk is full"]

    open_office(tmp_path, visit)


def test_the_status_says_what_each_grid_is_owed_and_for_how_long(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        await office.put("one", b"x" * 100)
        office.clock.at_s += 5
        await office.put("two", b"y" * 50)
        office.clock.at_s += 5
        status, body = await office.json("/status")
        assert status == 200
        assert (body["objects"], body["object_bytes"], body["owed"]) == (2, 150, 4)
        assert (body["spool_bytes"], body["spool_limit"], body["inline_bytes"]) == (0, GIB, 150)
        assert [grid["name"] for grid in body["grids"]] == ["a", "b"]
        for grid in body["grids"]:
            assert (grid["state"], grid["held"], grid["owed"], grid["owed_bytes"]) == ("up", 0, 2, 150)
            assert grid["oldest_debt_s"] == 10
            assert grid["eta_s"] is None
        assert body["policies"] == [{"name": "standard", "grids": ["a", "b"], "ack": 1, "outage": "accept"}]
        assert [(worker["connections"], worker["requests"]) for worker in body["workers"]] == [(3, 2)]

    open_office(tmp_path, visit)


def test_the_status_tells_how_the_cache_does_and_why_it_is_off(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        _, body = await office.json("/status")
        assert body["cache"]["state"] == "off"
        assert "every grid is on this machine" in body["cache"]["reason"]
        clock, teller = office.clock, office.teller
        cache = Cache(tmp_path / "cache", size_bytes=GIB, age_s=9.0, local=False, clock=clock, teller=teller)
        office.site.cache = cache
        office.gauges |= {"holdfast_cache_on": 1.0, "holdfast_cache_bytes": 7.0, "holdfast_cache_limit_bytes": 9.0}
        await cache.step()
        for event in (events.CacheAsked(3, 1, 700), events.CacheOffered("rejected"), events.CacheEvicted("age", 2)):
            teller.tell(event)
        _, body = await office.json("/status")
        told = body["cache"]
        assert (told["state"], told["size_bytes"], told["limit_bytes"]) == ("on", 7, 9)
        assert (told["hits"], told["misses"], told["hit_bytes"]) == (3, 1, 700)
        assert (told["offers"], told["evictions"]) == ({"rejected": 1}, {"age": 2})
        office.gauges |= {"holdfast_cache_on": 0.0}
        _, body = await office.json("/status")
        assert (body["cache"]["state"], body["cache"]["reason"]) == ("off", "in some of the workers; the log says why")
        await cache.close()

    open_office(tmp_path, visit)


def test_the_status_names_debts_that_are_stuck_and_the_log_tells_how_catch_up_gets_on(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        told: list[events.CatchUpTold] = []
        office.teller.subscribe(lambda event: told.append(event) if isinstance(event, events.CatchUpTold) else None)
        number = office.site.seats["a"].number
        for key in ("bad", "good"):
            await office.put(key, b"x" * 100)

        async def claimed(key: str) -> Debt:
            now_ms = office.clock.now_ms()
            debt = await office.index.claim_key(
                number, "photos", key, holder="me", now_ms=now_ms, lease_until_ms=now_ms + 1
            )
            assert debt is not None
            return debt

        for _ in range(STUCK_ATTEMPTS):
            await office.index.postpone([Delay(await claimed("bad"), office.clock.now_ms(), "no copy is known")])
        await office.watch.step()
        office.clock.at_s += CATCHUP_LATE_S
        await office.watch.step()
        await office.index.settle([Payment(await claimed("good"), "etag")])
        _, body = await office.json("/status")
        grid = body["grids"][0]
        assert (grid["owed"], grid["stuck"], grid["eta_s"], grid["payable_eta_s"]) == (1, 1, None, 0.0)
        [stuck] = grid["stuck_debts"]
        assert (stuck["bucket"], stuck["key"], stuck["age_s"]) == ("photos", "bad", CATCHUP_LATE_S)
        assert (stuck["attempts"], stuck["reason"]) == (STUCK_ATTEMPTS, "no copy is known")
        _, _, scrape = await office.get("/metrics")
        assert 'holdfast_debts_stuck{grid="a"} 1.0' in scrape.splitlines()
        for _ in range(2):
            office.clock.at_s += CATCHUP_TOLD_S
            await office.watch.step()
        await office.index.settle([Payment(await claimed("bad"), "etag")])
        await office.watch.step()
        mine = [(event.phase, event.owed, event.paid, event.stuck) for event in told if event.grid == "a"]
        assert mine == [("begins", 2, 0, 1), ("goes on", 1, 1, 1), ("makes no progress", 1, 1, 1), ("is done", 0, 2, 0)]
        idle = next(event for event in told if event.phase == "makes no progress" and event.grid == "a")
        assert idle.reason == "no copy is known"

    open_office(tmp_path, visit)


def test_the_status_tells_the_worst_state_of_a_breaker(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        office.teller.tell(events.BreakerMoved("a", "read", "open", "silent"))
        office.teller.tell(events.BreakerMoved("a", "write", "open", "silent"))
        office.teller.tell(events.BreakerMoved("a", "write", "closed", "it answers"))
        _, body = await office.json("/status")
        assert body["grids"][0]["breakers"] == {"read": "open", "write": "closed"}
        assert body["grids"][1]["breakers"] == {}

    open_office(tmp_path, visit)


def test_a_scrape_has_counts_and_what_is_owed(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        await office.put("one", b"x" * 100)
        status, kind, body = await office.get("/metrics")
        assert status == 200
        assert kind.startswith("text/plain")
        lines = body.splitlines()
        assert 'holdfast_debts{grid="a"} 1.0' in lines
        assert 'holdfast_debt_bytes{grid="b"} 100.0' in lines
        assert 'holdfast_debt_eta_seconds{grid="a"} NaN' in lines
        assert 'holdfast_grid_up{grid="a"} 1.0' in lines
        assert "holdfast_connections 3.0" in lines
        assert "holdfast_commit_seconds_count 0.0" not in lines
        assert any(line.startswith("holdfast_build_info{") for line in lines)

    open_office(tmp_path, visit)


def test_an_operator_takes_a_grid_out_of_use_and_back(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        status, _, body = await office.get("/grids/a?use=out", "PUT")
        assert (status, json.loads(body)) == (200, {"grid": "a", "use": "out"})
        _, told = await office.json("/status")
        assert [(grid["use"], grid["state"]) for grid in told["grids"]] == [("out", "up"), ("auto", "up")]
        assert await office.index.noted("pins") == '{"a":"out"}'
        assert 'holdfast_grid_use{grid="a",use="out"} 1.0' in (await office.get("/metrics"))[2]
        assert (await office.get("/grids/a?use=auto", "PUT"))[0] == 200
        assert await office.index.noted("pins") == "{}"

    open_office(tmp_path, visit)


def test_what_cannot_be_decided_about_a_grid_is_said(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        assert (await office.get("/grids/x?use=out", "PUT"))[0] == 404
        assert (await office.get("/grids/a?use=away", "PUT"))[0] == 400
        assert (await office.get("/grids/a", "PUT"))[0] == 400
        for method in ("GET", "POST", "DELETE"):
            assert (await office.get("/grids/a?use=out", method))[0] == 405
        assert await office.index.noted("pins") == ""

    open_office(tmp_path, visit)


def test_a_page_in_a_browser_decides_nothing(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        for origin in ("http://evil.example", f"http://127.0.0.1:{office.port}", "null"):
            assert (await office.get("/grids/a?use=out", "PUT", {"Origin": origin}))[0] == 403
        assert await office.index.noted("pins") == ""

    open_office(tmp_path, visit)


def test_the_status_and_the_scrape_tell_how_reads_of_each_grid_fare(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        for number in range(300):
            office.breakers["a"].first_block(10_000, 0.02)
            if number % 3 == 0:
                office.teller.tell(events.Hedged("a", "b", "won" if number else "denied"))
        office.teller.tell(events.FailedOver("b", "a", "silent"))
        office.breakers["a"].brown_out(office.clock)
        _, told = await office.json("/status")
        first, second = told["grids"]
        assert first["demoted"] == {"read": "errors"}
        assert (first["read_share"], second["read_share"]) == (0.01, 1.0)
        assert set(first["first_block"]) == {"64KiB"}
        assert first["first_block"]["64KiB"]["p50_s"] == pytest.approx(0.02, rel=0.2)
        assert (first["hedges"], first["failovers"], second["hedges"], second["failovers"]) == (99, 0, 0, 1)
        assert told["suspects_itself"] is True
        lines = (await office.get("/metrics"))[2].splitlines()
        for line in (
            'holdfast_hedges_total{grid="a",outcome="won"} 99.0',
            'holdfast_hedges_total{grid="a",outcome="denied"} 1.0',
            'holdfast_failovers_total{grid="b"} 1.0',
            'holdfast_demoted{class="read",grid="a",reason="errors"} 1.0',
            'holdfast_demotions_total{class="read",grid="a",reason="errors"} 1.0',
            'holdfast_read_share{grid="a",worker="0"} 0.01',
            "holdfast_suspects_itself 1.0",
        ):
            assert line in lines
        assert any(line.startswith('holdfast_first_block_seconds{grid="a",quantile="0.95"') for line in lines)

    open_office(tmp_path, visit)


def test_nothing_here_changes_state(tmp_path: Path) -> None:
    async def visit(office: Office) -> None:
        for path in ("/status", "/metrics", "/healthz", "/readyz"):
            for method in ("POST", "PUT", "DELETE"):
                assert (await office.get(path, method))[0] == 405
        assert (await office.get("/nothing"))[0] == 404

    open_office(tmp_path, visit)
