"""Server access logs through a gateway: requests of buckets with a log are delivered as objects, those of others cost nothing."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.errors import S3Error
from holdfast.events import AccessLogged
from holdfast.grids.memory import MemoryGrid
from holdfast.model import Bucket
from holdfast.s3 import CreateBucket, GetObject, ListObjects
from holdfast.s3.identities import OWNER_ID
from holdfast.s3.logging import EVENT_TIME, Logging
from holdfast.s3.settings import PutSetting
from holdfast.serve.gateway import Gateway
from holdfast.serve.journal import delivery
from holdfast.serve.journal.delivery import Journal
from holdfast.testing.faults import Fault, FaultGrid, Kind
from holdfast.testing.rawhttp import RawClient, StillClock, run, serving
from holdfast.testing.scene import ACCESS, REGION, guard_of
from tests.engine import BUCKET, Engine, engine
from tests.hostile.forging import Ask, by_header

LOGS = "logs"
INTERVAL_S = 60.0
TO_LOGS = Logging(LOGS, "of/")


class Desk:
    """A gateway on a socket with its journal."""

    def __init__(self, made: Engine, journal: Journal, clock: StillClock, port: int) -> None:
        self.made = made
        self.journal = journal
        self.clock = clock
        self._port = port

    async def ask(self, method: str, path: str, *query: tuple[str, str], body: bytes = b"") -> int:
        client = await RawClient.connect(self._port)
        answer = await client.ask(by_header(Ask(method, path, query, {"user-agent": "tester"}, body)).bytes)
        client.leave()
        return answer.status

    async def log_of(self, bucket: str = BUCKET, logging: Logging = TO_LOGS) -> None:
        """The bucket has a log from now on."""
        await self.made.store.put_setting(PutSetting(bucket, "logging", logging))
        await self.journal.step()

    async def pass_interval(self) -> None:
        self.clock.at_s += INTERVAL_S
        await self.journal.step()

    async def delivered(self, target: str = LOGS) -> dict[str, list[str]]:
        """Lines by the keys of their objects."""
        page = (await self.made.store.list_objects(ListObjects(target, v2=True))).page
        found: dict[str, list[str]] = {}
        for key, _ in page.versions:
            _, data = await self.made.got(GetObject(target, key))
            found[key] = data.decode().splitlines()
        return found

    def outcomes(self) -> list[tuple[str, int]]:
        return [(event.outcome, event.lines) for event in self.made.events if isinstance(event, AccessLogged)]


def desk(
    tmp_path: Path, body: Callable[[Desk], Awaitable[None]], *, grid: FaultGrid | None = None, ack: int = 0
) -> None:
    async def main() -> None:
        clock = StillClock()
        grids = [MemoryGrid("a")] if grid is None else [grid]
        async with engine(tmp_path, grids, ack=ack, accept=False) as made:
            await made.store.create_bucket(CreateBucket(LOGS))
            teller = made.site.teller
            journal = Journal(
                made.site.index,
                made.store,
                owner_of={ACCESS: "canonical"}.__getitem__,
                region=REGION,
                interval_s=INTERVAL_S,
                clock=clock,
                teller=teller,
            )
            gateway = Gateway(
                made.store, guard=guard_of(made.site.index, clock), region=REGION, domain="", clock=clock, teller=teller
            )
            async with serving(gateway.handle) as (_, port):
                await body(Desk(made, journal, clock, port))

    run(main())


def test_requests_are_delivered_as_lines_once_in_an_interval(tmp_path: Path) -> None:
    async def body(at: Desk) -> None:
        await at.log_of()
        await at.ask("PUT", f"/{BUCKET}/k", body=b"12345")
        await at.ask("GET", f"/{BUCKET}/k")
        await at.ask("GET", f"/{BUCKET}/none")
        await at.ask("GET", f"/{LOGS}")
        await at.journal.step()
        assert await at.delivered() == {}
        await at.pass_interval()
        ((key, lines),) = (await at.delivered()).items()
        assert key.startswith("of/20")
        put, got, missing = (line.split(" ") for line in lines)
        assert put[:2] == [OWNER_ID, BUCKET]
        assert put[5:9:2] == ["canonical", "REST.PUT.OBJECT"]
        assert [line[8] for line in (put, got, missing)] == ["k", "k", "none"]
        assert [line[12:16] for line in (put, got, missing)] == [
            ["200", "-", "-", "5"],
            ["200", "-", "5", "5"],
            ["404", "NoSuchKey", missing[14], "-"],
        ]
        assert at.outcomes() == [("delivered", 3)]
        await at.pass_interval()
        assert len(await at.delivered()) == 1, "nothing happened, nothing is delivered"

    desk(tmp_path, body)


def test_a_bucket_without_a_log_leaves_nothing_in_memory(tmp_path: Path) -> None:
    async def body(at: Desk) -> None:
        await at.journal.step()
        await at.ask("GET", f"/{BUCKET}")
        await at.journal.close()
        assert at.outcomes() == []

    desk(tmp_path, body)


def test_an_orderly_stop_loses_nothing(tmp_path: Path) -> None:
    async def body(at: Desk) -> None:
        await at.log_of()
        await at.ask("GET", f"/{BUCKET}")
        await at.journal.close()
        assert sum(len(lines) for lines in (await at.delivered()).values()) == 1

    desk(tmp_path, body)


def test_lines_wait_while_their_target_cannot_take_them(tmp_path: Path) -> None:
    grid = FaultGrid(MemoryGrid("a"), clock=StillClock())

    async def body(at: Desk) -> None:
        await at.log_of()
        await at.ask("GET", f"/{BUCKET}")
        grid.inject(Fault(Kind.REFUSE))
        await at.made.probe()
        await at.pass_interval()
        await at.ask("GET", f"/{BUCKET}")
        grid.heal()
        await at.made.probe()
        await at.pass_interval()
        assert at.outcomes() == [("failed", 1), ("delivered", 2)]
        assert [len(lines) for lines in (await at.delivered()).values()] == [2]

    desk(tmp_path, body, grid=grid, ack=1)


def test_lines_without_a_target_are_lost_and_told(tmp_path: Path) -> None:
    async def body(at: Desk) -> None:
        await at.log_of()
        await at.ask("GET", f"/{BUCKET}")
        await at.made.site.index.delete_bucket(LOGS)
        await at.pass_interval()
        await at.pass_interval()
        assert at.outcomes() == [("lost", 1)]

    desk(tmp_path, body)


def test_nobody_else_gets_the_lines(tmp_path: Path) -> None:
    async def body(at: Desk) -> None:
        index = at.made.site.index
        await index.create_bucket(Bucket("strange", 1, "", "stranger"))
        with pytest.raises(S3Error, match="InvalidTargetBucketForLogging"):
            await at.log_of(logging=Logging("strange"))
        await at.log_of()
        await at.ask("GET", f"/{BUCKET}")
        await index.delete_bucket(LOGS)
        await index.create_bucket(Bucket(LOGS, 2, "", "stranger"))
        await at.pass_interval()
        assert await at.delivered() == {}
        assert at.outcomes() == [("lost", 1)]

    desk(tmp_path, body)


def test_what_waits_is_bounded_and_the_rest_is_dropped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "JOURNAL_BYTES", 800)

    async def body(at: Desk) -> None:
        await at.log_of()
        for _ in range(5):
            await at.ask("GET", f"/{BUCKET}")
        await at.pass_interval()
        (dropped, delivered) = at.outcomes()
        assert (dropped[0], delivered[0]) == ("dropped", "delivered")
        assert dropped[1] + delivered[1] == 5
        await at.ask("GET", f"/{BUCKET}")
        await at.pass_interval()
        assert at.outcomes()[2:] == [("delivered", 1)], "what was delivered gave its room back"

    desk(tmp_path, body)


def test_many_lines_do_not_wait_for_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "JOURNAL_OBJECT_BYTES", 1)

    async def body(at: Desk) -> None:
        await at.log_of()
        await at.ask("GET", f"/{BUCKET}")
        assert at.journal.wake.is_set()
        await at.journal.step()
        assert at.outcomes() == [("delivered", 1)]

    desk(tmp_path, body)


def test_an_object_by_event_time_has_one_day(tmp_path: Path) -> None:
    async def body(at: Desk) -> None:
        await at.log_of(logging=Logging(LOGS, "", EVENT_TIME, True))
        await at.ask("GET", f"/{BUCKET}")
        at.clock.at_s += 86_400
        await at.ask("GET", f"/{BUCKET}")  # Too late for its signature: a refusal is a request, too.
        await at.pass_interval()
        assert sorted(key.split("/")[:6] for key in await at.delivered()) == [
            [OWNER_ID, "us-east-1", BUCKET, "2023", "11", "14"],
            [OWNER_ID, "us-east-1", BUCKET, "2023", "11", "15"],
        ]

    desk(tmp_path, body)


def test_a_log_that_was_turned_off_gets_no_more_lines(tmp_path: Path) -> None:
    async def body(at: Desk) -> None:
        await at.log_of()
        await at.log_of(logging=Logging())
        await at.ask("GET", f"/{BUCKET}")
        await at.pass_interval()
        assert at.outcomes() == []

    desk(tmp_path, body)
