"""Two grids at one provider, a real process: what one of them lost is brought from the other there, and no byte of it comes by here."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest

from holdfast.errors import Uncertain
from holdfast.events import CopySuspected, DebtPaid, DebtPostponed, GridAttempt, Teller
from holdfast.grids.memory import MemoryGrid
from holdfast.health.standing import Use
from holdfast.index.interface import Payment
from holdfast.limits import DEBT_RETRY_MAX_S, DOUBT_S, S3_EMPTY_S
from holdfast.model import Facts
from holdfast.testing.faults import Fault, FaultGrid, Kind
from holdfast.wrappers.breaker import Breakers
from holdfast.wrappers.coats import put_on
from tests.engine import BUCKET, Engine, engine
from tests.promises.troubled import LeapClock, body_of
from tests.providers import ACCESS_KEY, SECRET_KEY, HoldfastProvider, s3_grid

LARGE = os.urandom(20 * 1024 * 1024 + 5)
SMALL = b"meow"
FACTS = Facts({"content-type": "image/jpeg"}, {"who": "Zoë"})


class Wire:
    """The way to the provider, which counts what passes in both directions, in bytes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self.passed = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        with suppress(OSError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, back))
                group.create_task(self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                self.passed += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()


class Stage:
    """Grids `one` and `two` in two buckets of one provider, and `far` at another."""

    def __init__(self, made: Engine, wire: Wire, clock: LeapClock, far: MemoryGrid, two: FaultGrid) -> None:
        self.made = made
        self.wire = wire
        self.clock = clock
        self.far = far
        self.two = two
        self.attempts: list[GridAttempt] = []

    async def put(self, key: str, data: bytes) -> None:
        await self.made.put(key, data, facts=FACTS)

    async def lose_two(self, s3: Any) -> None:
        """Everything converged, nothing is here, and the bucket of `two` is empty: all is owed to it anew."""
        await self.made.converge()
        await self.made.site.index.trim_inline(0, limit=100)
        for item in s3.list_objects_v2(Bucket="two")["Contents"]:
            s3.delete_object(Bucket="two", Key=item["Key"])
        await self.made.probe()
        self.clock.leap(S3_EMPTY_S)
        await self.made.probe()
        await self.made.reconcile()
        self.made.events.clear()
        self.attempts.clear()
        self.wire.passed = 0

    def paid(self) -> dict[str, str]:
        """How what was owed to `two` was brought there."""
        return {
            event.key: event.how for event in self.made.events if isinstance(event, DebtPaid) if event.grid == "two"
        }


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[HoldfastProvider]:
    made = HoldfastProvider(tmp_path / "provider")
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def s3(provider: HoldfastProvider) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=provider.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )


@asynccontextmanager
async def staged(folder: Path, provider: HoldfastProvider, *, cache_bytes: int = 0) -> AsyncIterator[Stage]:
    clock, teller = LeapClock(), Teller()
    async with Wire(provider.port) as wire:
        one = s3_grid("s3://one", wire.url, row="holdfast", name="one", clock=clock)
        two = FaultGrid(s3_grid("s3://two", wire.url, row="holdfast", name="two", clock=clock), clock=clock)
        far = MemoryGrid("far")
        coated = [
            put_on(grid, breakers=Breakers(grid.name, clock=clock, teller=teller), clock=clock, teller=teller)
            for grid in (one, two, far)
        ]
        (folder / "node").mkdir()
        async with engine(
            folder / "node", coated, ack=1, keep_inline_bytes=0, clock=clock, cache_bytes=cache_bytes
        ) as made:
            stage = Stage(made, wire, clock, far, two)
            teller.subscribe(lambda event: stage.attempts.append(event) if isinstance(event, GridAttempt) else None)
            yield stage


@pytest.mark.slow
def test_what_one_of_two_grids_at_a_provider_lost_is_copied_there_and_no_byte_comes_by_here(
    tmp_path: Path, provider: HoldfastProvider, s3: Any
) -> None:
    async def scene() -> None:
        async with staged(tmp_path, provider) as stage:
            await stage.put("small", SMALL)
            await stage.put("large", LARGE)
            await stage.lose_two(s3)
            assert await stage.made.copies("large") == {"one", "far"}
            await stage.made.converge()
            assert stage.paid() == {"small": "copied there", "large": "copied there"}
            assert stage.wire.passed < 50_000
            assert [told.operation for told in stage.attempts if told.size_bytes] == []
            for key in ("small", "large"):
                assert await stage.made.copies(key) == {"one", "two", "far"}

    asyncio.run(scene())
    for key, data in (("small", SMALL), ("large", LARGE)):
        copied = s3.get_object(Bucket="two", Key=f"{BUCKET}/{key}")
        assert copied["Body"].read() == data
        assert copied["ContentType"] == "image/jpeg"
        assert copied["Metadata"]["who"] == "=?UTF-8?B?Wm/Dqw==?="
        assert copied["Metadata"]["holdfast-seq"]


@pytest.mark.slow
def test_a_copy_that_is_another_one_by_now_is_not_taken_and_the_bytes_come_from_elsewhere_at_once(
    tmp_path: Path, provider: HoldfastProvider, s3: Any
) -> None:
    async def scene() -> None:
        async with staged(tmp_path, provider) as stage:
            await stage.put("small", SMALL)
            await stage.put("gone", SMALL[::-1])
            await stage.lose_two(s3)
            s3.put_object(Bucket="one", Key=f"{BUCKET}/small", Body=b"MEOW")
            s3.delete_object(Bucket="one", Key=f"{BUCKET}/gone")
            await stage.made.converge()
            assert stage.paid() == {"small": "copied", "gone": "copied"}
            assert [event for event in stage.made.events if isinstance(event, DebtPostponed)] == []
            assert await stage.made.copies("small") == {"one", "two", "far"}

    asyncio.run(scene())
    for bucket in ("one", "two"):
        assert s3.get_object(Bucket=bucket, Key=f"{BUCKET}/small")["Body"].read() == SMALL
        assert s3.get_object(Bucket=bucket, Key=f"{BUCKET}/gone")["Body"].read() == SMALL[::-1]


@pytest.mark.slow
def test_a_copy_whose_answer_was_lost_is_read_back_before_anything_is_written(
    tmp_path: Path, provider: HoldfastProvider, s3: Any
) -> None:
    async def scene() -> None:
        async with staged(tmp_path, provider) as stage:
            await stage.put("large", LARGE)
            await stage.lose_two(s3)
            stage.two.inject(Fault(Kind.LOST_ANSWER, times=1), "publish")
            stage.two.calls.clear()
            assert await stage.made.settle() == 1
            stage.clock.leap(DEBT_RETRY_MAX_S + DOUBT_S)
            await stage.made.converge()
            assert stage.paid() == {"large": "confirmed"}
            assert stage.two.calls["publish"] == 1
            assert any(told.outcome == Uncertain.outcome for told in stage.attempts if told.operation == "publish")

    asyncio.run(scene())


@pytest.mark.slow
def test_what_the_cache_has_is_sent_from_here_as_that_is_verified(
    tmp_path: Path, provider: HoldfastProvider, s3: Any
) -> None:
    async def scene() -> None:
        async with staged(tmp_path, provider, cache_bytes=1 << 26) as stage:
            await stage.put("hot", SMALL)
            await stage.put("cold", SMALL)
            await stage.made.converge()
            await stage.made.site.index.trim_inline(0, limit=100)
            cache = stage.made.site.cache
            assert cache is not None
            for _ in range(3):
                assert await stage.made.read("hot") == SMALL
                await cache._writer.do(lambda: None)
            await stage.lose_two(s3)
            await stage.made.converge()
            assert stage.paid() == {"hot": "copied", "cold": "copied there"}

    asyncio.run(scene())


@pytest.mark.slow
def test_a_grid_that_an_operator_took_out_of_use_is_not_copied_from(
    tmp_path: Path, provider: HoldfastProvider, s3: Any
) -> None:
    async def scene() -> None:
        async with staged(tmp_path, provider) as stage:
            await stage.put("small", SMALL)
            await stage.lose_two(s3)
            await stage.made.site.pin("one", Use.OUT)
            await stage.made.converge()
            assert stage.paid() == {"small": "copied"}

    asyncio.run(scene())


@pytest.mark.slow
def test_a_rotten_copy_that_was_copied_is_found_when_it_is_read_and_repaired_from_elsewhere(
    tmp_path: Path, provider: HoldfastProvider, s3: Any
) -> None:
    rotten = LARGE[:-1] + bytes([LARGE[-1] ^ 1])

    async def scene() -> None:
        async with staged(tmp_path, provider) as stage:
            index, one = stage.made.site.index, stage.made.site.seats["one"]
            await stage.put("large", LARGE)
            await stage.made.converge()
            # The provider lies: it has other bytes, under the etag by which the index knows the copy.
            etag = s3.put_object(Bucket="one", Key=f"{BUCKET}/large", Body=rotten)["ETag"].strip('"')
            version = await index.get(BUCKET, "large")
            assert version is not None
            now_ms = stage.clock.now_ms()
            assert await index.suspect(BUCKET, "large", version.seq, one.number, now_ms=now_ms)
            debt = await index.claim_key(
                one.number, BUCKET, "large", holder="liar", now_ms=now_ms, lease_until_ms=now_ms + 60_000
            )
            assert debt is not None
            await index.settle([Payment(debt, etag)])
            await stage.lose_two(s3)
            await stage.made.converge()
            assert stage.paid() == {"large": "copied there"}
            assert s3.get_object(Bucket="two", Key=f"{BUCKET}/large")["Body"].read() == rotten

            assert await stage.made.read("large") == LARGE
            suspected = {event.grid for event in stage.made.events if isinstance(event, CopySuspected)}
            assert suspected == {"one", "two"}
            stage.made.events.clear()
            await stage.made.converge()
            assert stage.paid() == {"large": "copied"}, "what was found to be wrong is read before it is sent"
            assert await stage.made.copies("large") == {"one", "two", "far"}
            assert await body_of(stage.far, "large") == LARGE

    asyncio.run(scene())
    for bucket in ("one", "two"):
        assert s3.get_object(Bucket=bucket, Key=f"{BUCKET}/large")["Body"].read() == LARGE
