"""Two S3 providers as real processes behind the engine: one vanishes and comes back, and nothing is lost or wrong."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import boto3
import pytest

from holdfast.clock import Clock, SystemClock
from holdfast.errors import ConfigError, Refused
from holdfast.events import Teller
from holdfast.grids.grid import Grid
from holdfast.grids.s3.grid import S3Grid
from holdfast.limits import S3_EMPTY_S
from holdfast.model import Facts, GridState, Place
from holdfast.s3 import DeleteAsk, DeleteObjects
from holdfast.wrappers.breaker import Breakers
from holdfast.wrappers.coats import put_on
from tests.engine import BUCKET, Engine, engine
from tests.promises.troubled import LeapClock
from tests.providers import ACCESS_KEY, SECRET_KEY, FixedKeys, HoldfastProvider, s3_grid

LARGE = 20 * 1024 * 1024
URLS = {"one": "s3://{bucket}", "two": "s3://kept/here"}


@pytest.fixture
def providers(tmp_path: Path) -> Iterator[dict[str, HoldfastProvider]]:
    made = {name: HoldfastProvider(tmp_path / name) for name in URLS}
    try:
        for provider in made.values():
            provider.start()
        yield made
    finally:
        for provider in made.values():
            provider.close()


def coated(name: str, provider: HoldfastProvider, clock: Clock | None = None) -> Grid:
    clock, teller = clock or SystemClock(), Teller()
    grid: S3Grid = s3_grid(URLS[name], provider.url, row=provider.row, name=name, clock=clock)
    return put_on(grid, breakers=Breakers(name, clock=clock, teller=teller), clock=clock, teller=teller)


@asynccontextmanager
async def gateway(
    folder: Path, providers: dict[str, HoldfastProvider], clock: Clock | None = None
) -> AsyncIterator[Engine]:
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing runs beside it yet
    grids = [coated(name, provider, clock) for name, provider in providers.items()]
    async with engine(folder, grids, ack=1, keep_inline_bytes=0, clock=clock) as made:
        yield made


async def from_grids_alone(made: Engine, key: str) -> bytes:
    """The bytes as the grids have them: not from the index."""
    await made.site.index.trim_inline(0, limit=100)
    return await made.read(key)


@pytest.mark.slow
def test_many_deletions_owed_to_a_provider_remove_exactly_these(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    gone = [f"photos/{number:03}{mark}.jpg" for number in range(20) for mark in ("", " ", "&<b>", "é")]
    kept = [f"photos/{number:03}.jpg.{mark}" for number in range(20) for mark in ("", "orig")]

    async def scene() -> None:
        async with gateway(tmp_path / "node", providers) as made:
            for key in (*gone, *kept):
                await made.put(key, key.encode())
            await made.converge()
            providers["one"].kill()
            asks = tuple(DeleteAsk(key) for key in gone)
            await made.store.delete_objects(DeleteObjects(BUCKET, asks, quiet=True))
            await made.probe()
            assert await made.settle() >= len(gone)

            providers["one"].start()
            await made.probe()
            await made.converge()
            assert await made.keys() == sorted(kept)
            for key in kept:
                assert await made.copies(key) == {"one", "two"}

    asyncio.run(scene())
    for name, provider in providers.items():
        listed = asyncio.run(everything_at(name, provider))
        assert listed == sorted(kept, key=str.encode)


async def everything_at(name: str, provider: HoldfastProvider) -> list[str]:
    """Keys that a grid holds, whatever the index believes."""
    grid = s3_grid(URLS[name], provider.url, row=provider.row, name=name)
    try:
        grid._identity._seen_s = float("inf")
        return [held.key for held in await grid.list(BUCKET)]
    finally:
        await grid.close()


@pytest.mark.slow
def test_a_provider_vanishes_and_comes_back_and_nothing_is_lost(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    large, facts = os.urandom(LARGE), Facts({"content-type": "image/jpeg"}, {"who": "Zoë"})

    async def scene() -> None:
        async with gateway(tmp_path / "node", providers) as made:
            await made.put("before", b"1", facts=facts)
            await made.put("changed", b"old")
            await made.put("removed", b"old")
            await made.put("large", large)
            await made.converge()
            assert await made.copies("large") == {"one", "two"}

            providers["one"].kill()
            assert await from_grids_alone(made, "before") == b"1"
            assert await from_grids_alone(made, "large") == large
            await made.put("during", b"2")
            await made.put("changed", b"new")
            await made.put("large during", large[::-1])
            await made.delete("removed")
            await made.probe()
            assert made.site.seats["one"].state is GridState.DOWN
            assert await made.read("changed") == b"new"
            assert await made.code("removed") == "NoSuchKey"
            assert await made.settle() > 0

            providers["one"].start()
            await made.probe()
            await made.converge()
            for key in ("before", "changed", "during", "large", "large during"):
                assert await made.copies(key) == {"one", "two"}

            providers["two"].kill()
            assert await from_grids_alone(made, "during") == b"2"
            assert await from_grids_alone(made, "changed") == b"new"
            assert await from_grids_alone(made, "large during") == large[::-1]
            assert await made.code("removed") == "NoSuchKey"

    asyncio.run(scene())
    s3 = boto3.client(
        "s3",
        endpoint_url=providers["one"].url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )
    plain = s3.get_object(Bucket=BUCKET, Key="before")
    assert plain["Body"].read() == b"1"
    assert plain["ContentType"] == "image/jpeg"
    assert plain["Metadata"]["who"] == "=?UTF-8?B?Wm/Dqw==?="
    assert "removed" not in [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]


@pytest.mark.slow
def test_the_gateway_starts_while_a_provider_cannot_be_reached(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    async def scene() -> None:
        providers["two"].kill()
        async with gateway(tmp_path / "node", providers) as made:
            seat = made.site.seats["two"]
            assert seat.state is GridState.DOWN
            assert "no connection with 127.0.0.1" in seat.reason
            await made.put("k", b"x")
            assert await from_grids_alone(made, "k") == b"x"
            providers["two"].start()
            await made.probe()
            await made.converge()
            assert await made.copies("k") == {"one", "two"}

    asyncio.run(scene())


@pytest.mark.slow
def test_the_gateway_starts_with_wrong_credentials_and_names_the_setting(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    async def scene() -> None:
        (tmp_path / "node").mkdir()
        wrong = s3_grid(
            "s3://kept", providers["one"].url, row="holdfast", name="wrong", keys=FixedKeys(ACCESS_KEY, "no")
        )
        unknown = s3_grid(
            "s3://kept2", providers["one"].url, row="holdfast", name="unknown", keys=FixedKeys("who", "no")
        )
        async with engine(tmp_path / "node", [coated("two", providers["two"]), wrong, unknown], ack=1) as made:
            assert "check secret_key" in made.site.seats["wrong"].reason
            assert "check access_key" in made.site.seats["unknown"].reason
            await made.put("k", b"x")
            assert await made.read("k") == b"x"

    asyncio.run(scene())


@pytest.mark.slow
def test_a_bucket_that_was_emptied_is_filled_again(tmp_path: Path, providers: dict[str, HoldfastProvider]) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=providers["two"].url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )

    clock = LeapClock()

    async def scene() -> None:
        async with gateway(tmp_path / "node", providers, clock) as made:
            await made.put("k", b"x")
            await made.converge()
            number = made.site.seats["two"].number
            for item in s3.list_objects_v2(Bucket="kept")["Contents"]:
                s3.delete_object(Bucket="kept", Key=item["Key"])
            await made.probe()
            assert made.site.seats["two"].state is GridState.DOWN
            assert "it is empty" in made.site.seats["two"].reason
            assert made.site.seats["two"].number == number
            clock.leap(S3_EMPTY_S)
            await made.probe()
            assert made.site.seats["two"].number != number
            assert await made.copies("k") == {"one"}
            await made.reconcile()
            await made.converge()
            assert await made.copies("k") == {"one", "two"}

    asyncio.run(scene())


def come_back_empty(provider: HoldfastProvider, bucket: str) -> None:
    """It is killed, its disk is wiped, and it is there again with an empty bucket before anybody has looked."""
    provider.kill()
    shutil.rmtree(provider.folder / "data")
    provider.start()
    s3 = boto3.client(
        "s3",
        endpoint_url=provider.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )
    s3.create_bucket(Bucket=bucket)


async def is_filled_anew(made: Engine, clock: LeapClock) -> None:
    number = made.site.seats["two"].number
    await made.probe()
    assert made.site.seats["two"].state is GridState.DOWN
    assert "empty but for what was written since it was last seen" in made.site.seats["two"].reason
    clock.leap(S3_EMPTY_S)
    await made.probe()
    await made.probe()
    assert not made.site.seats["two"].reason
    assert made.site.seats["two"].number != number
    await made.reconcile()
    await made.converge()


@pytest.mark.slow
def test_a_provider_that_comes_back_empty_under_writes_is_filled_again(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    clock = LeapClock()

    async def scene() -> None:
        async with gateway(tmp_path / "node", providers, clock) as made:
            for key in ("before", "changed", "removed"):
                await made.put(key, b"old")
            await made.converge()
            await asyncio.to_thread(come_back_empty, providers["two"], "kept")

            await made.put("after", b"new")
            await made.put("changed", b"new")
            await made.put("gone", b"new")
            await made.converge()
            assert await made.copies("after") == {"one", "two"}, "it went into the new bucket"
            await made.delete("removed")
            await is_filled_anew(made, clock)
            await made.delete("gone")
            await made.converge()
            for key in ("before", "changed", "after"):
                assert await made.copies(key) == {"one", "two"}

            providers["one"].kill()
            assert await from_grids_alone(made, "before") == b"old"
            assert await from_grids_alone(made, "changed") == b"new"
            assert await from_grids_alone(made, "after") == b"new"
            two = made.site.seats["two"].grid
            assert [held.key for held in await two.list(BUCKET)] == ["after", "before", "changed"]

    asyncio.run(scene())


@pytest.mark.slow
def test_what_only_a_provider_holds_that_came_back_empty_is_not_forgotten(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    clock = LeapClock()
    alone = {"two": providers["two"]}

    async def scene() -> None:
        async with gateway(tmp_path / "node", alone, clock) as made:
            await made.put("before", b"old")
            await made.converge()
            await asyncio.to_thread(come_back_empty, providers["two"], "kept")
            await made.put("after", b"new")
            await made.converge()
            await made.delete("before")
            await made.site.index.trim_inline(0, limit=100)
            await is_filled_anew(made, clock)
            assert await made.copies("after") == {"two"}
            assert await from_grids_alone(made, "after") == b"new"

    asyncio.run(scene())


@pytest.mark.slow
def test_a_bucket_that_is_gone_is_down_with_what_to_do_and_is_not_made_again(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=providers["two"].url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )

    async def scene() -> None:
        async with gateway(tmp_path / "node", providers) as made:
            await made.put("k", b"x")
            await made.converge()
            for item in s3.list_objects_v2(Bucket="kept")["Contents"]:
                s3.delete_object(Bucket="kept", Key=item["Key"])
            s3.delete_bucket(Bucket="kept")
            await made.probe()
            seat = made.site.seats["two"]
            assert seat.state is GridState.DOWN
            assert 'the bucket "kept" is missing: bring it back' in seat.reason
            assert await made.copies("k") == {"one", "two"}
            await made.put("k2", b"y")
            assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == []

    asyncio.run(scene())


@pytest.mark.slow
def test_one_place_under_two_names_is_found_when_names_do_not_tell(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    async def scene() -> None:
        alias = providers["one"].url.replace("127.0.0.1", "localhost")
        first = s3_grid("s3://kept", providers["one"].url, row="holdfast", name="first")
        second = s3_grid("s3://kept", alias, row="holdfast", name="second")
        for name in ("node", "other"):
            (tmp_path / name).mkdir()
        async with engine(tmp_path / "node", [first]) as made:
            for claimed in (False, True):
                with pytest.raises(ConfigError, match='grid "first"') as caught:
                    async with engine(tmp_path / "other", [second], bucket=False):
                        pass
                assert "a bucket or a directory of its own" in str(caught.value)
                if not claimed:
                    await made.site.attach(made.site.seats["first"])
        await second.close()

    asyncio.run(scene())


@pytest.mark.slow
def test_a_place_of_another_index_stops_the_start_with_what_to_do(
    tmp_path: Path, providers: dict[str, HoldfastProvider]
) -> None:
    async def scene() -> None:
        async with gateway(tmp_path / "node", providers) as made:
            await made.put("k", b"x")
            await made.converge()
        with pytest.raises(ConfigError, match="belongs to another index"):
            async with gateway(tmp_path / "another", providers):
                pass

    asyncio.run(scene())


@pytest.mark.slow
def test_a_bucket_with_somebodys_objects_is_not_taken(tmp_path: Path, providers: dict[str, HoldfastProvider]) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=providers["one"].url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )
    s3.create_bucket(Bucket="theirs")
    s3.put_object(Bucket="theirs", Key="precious", Body=b"x")

    async def scene() -> None:
        grid = s3_grid("s3://theirs", providers["one"].url, row="holdfast")
        with pytest.raises(Refused, match="it has objects and no identity"):
            await grid.attach("")
        await grid.close()
        beside = s3_grid("s3://theirs/holdfast", providers["one"].url, row="holdfast")
        await beside.attach(await beside.attach(""))
        await beside.delete(Place(BUCKET, "nothing"))
        await beside.close()

    asyncio.run(scene())
    assert s3.get_object(Bucket="theirs", Key="precious")["Body"].read() == b"x"
