"""What versions and their locks promise, over the real index and spool: nothing that is kept is lost, nothing locked goes."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.copies.paying import pay
from holdfast.errors import S3Error
from holdfast.events import CopySuspected
from holdfast.grids.memory import MemoryGrid
from holdfast.index.interface import Debt, Payment
from holdfast.keepers.probe import Probe
from holdfast.keepers.scrub import Scrub
from holdfast.limits import BLOCK_BYTES, DEBT_RETRY_MAX_S, LEASE_S
from holdfast.model import Facts, Marks, Place, Retention
from holdfast.s3 import (
    CompleteMultipartUpload,
    CopyObject,
    CopySource,
    CreateBucket,
    CreateMultipartUpload,
    DeleteAsk,
    DeleteObject,
    DeleteObjects,
    GetObject,
    ListVersions,
    PartAsk,
    PutObject,
    UploadPart,
)
from holdfast.s3.locks import GetLegalHold, GetRetention, ObjectLock, PutLegalHold, PutRetention
from holdfast.s3.settings import PutSetting
from holdfast.s3.versioning import Versioning, home_of
from holdfast.testing.faults import Fault, FaultGrid, Kind
from tests.engine import BUCKET, Bytes, Engine, engine
from tests.promises.troubled import LeapClock

LARGE = os.urandom(2 * BLOCK_BYTES + 5)
DAY_MS = 24 * 3600 * 1000


class Stage:
    """An engine with two grids that can fail, on a clock that can leap, and a bucket that keeps versions."""

    def __init__(self, made: Engine, a: FaultGrid, b: FaultGrid, clock: LeapClock) -> None:
        self.made = made
        self.a = a
        self.b = b
        self.clock = clock

    async def replicated(self, key: str, data: bytes) -> str:
        """Put a version and see both grids hold it, so that nothing of it is kept here; returns its id."""
        done = await self.made.put(key, data)
        await self.paid()
        return done.version_id

    async def paid(self) -> None:
        for _ in range(20):
            self.clock.leap(DEBT_RETRY_MAX_S)
            if not await self.made.settle():
                break
        else:
            raise AssertionError(f"debts are left: {await self.made.site.index.sums()}")
        await self.made.site.index.trim_inline(0, limit=1000)

    async def read(self, key: str, version_id: str) -> bytes:
        return (await self.made.got(GetObject(BUCKET, key, version_id=version_id)))[1]

    async def delete(self, key: str, version_id: str = "", *, bypass: bool = False) -> str:
        done = await self.made.store.delete_object(DeleteObject(BUCKET, key, version_id, bypass=bypass))
        return done.version_id

    async def put(self, key: str, data: bytes, marks: Marks) -> str:
        return (await self.made.store.put_object(PutObject(BUCKET, key, Facts(), marks=marks), Bytes(data))).version_id

    async def claimed(self, key: str) -> list[Debt]:
        """What grids are owed of a key, taken by somebody who has not begun to pay it."""
        now_ms = self.clock.now_ms()
        found = [
            await self.made.site.index.claim_key(
                number, BUCKET, key, holder="slow", now_ms=now_ms, lease_until_ms=now_ms + int(LEASE_S * 1000)
            )
            for number in [seat.number for seat in self.made.site.seats.values()]
        ]
        return [debt for debt in found if debt is not None]

    async def pay(self, debts: list[Debt]) -> None:
        """Pay them at once, and tell the index."""
        for outcome in await asyncio.gather(*(pay(self.made.site, debt) for debt in debts)):
            if isinstance(outcome, Payment):
                await self.made.site.index.settle([outcome])
            else:
                await self.made.site.index.postpone([outcome])

    async def held(self, grid: FaultGrid) -> set[str]:
        return {item.key for item in await grid.list(BUCKET)}


def staged(tmp_path: Path, scenario: Callable[[Stage], Awaitable[None]], *, ack: int = 0, locks: bool = False) -> None:
    async def main() -> None:
        clock = LeapClock()
        a, b = (FaultGrid(MemoryGrid(name), clock=clock) for name in "ab")
        async with engine(tmp_path, [a, b], clock=clock, ack=ack, bucket=False) as made:
            await made.store.create_bucket(CreateBucket(BUCKET, object_lock=locks))
            await made.store.put_setting(PutSetting(BUCKET, "versioning", Versioning("Enabled")))
            await scenario(Stage(made, a, b, clock))

    asyncio.run(main())


def test_a_deletion_that_was_taken_back_since_it_was_claimed_deletes_no_copy(tmp_path: Path) -> None:
    """Claimed with the version as its guest; then the marker was deleted, and the guest was at home: its last copies went."""

    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        marker = await stage.delete("k")
        debts = await stage.claimed("k")
        assert len(debts) == 2 and all(debt.guest for debt in debts)
        await stage.delete("k", marker)
        await stage.pay(debts)
        assert await stage.read("k", first) == LARGE
        await stage.paid()
        assert await stage.held(stage.a) == await stage.held(stage.b) == {"k"}

    staged(tmp_path, scenario)


def test_an_overwrite_that_was_deleted_since_it_was_claimed_replaces_no_copy(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        second = (await stage.made.put("k", b"second")).version_id
        debts = await stage.claimed("k")
        await stage.delete("k", second)
        await stage.pay(debts)
        assert await stage.read("k", first) == LARGE
        await stage.paid()
        assert await stage.held(stage.a) == await stage.held(stage.b) == {"k"}

    staged(tmp_path, scenario)


def test_a_deletion_that_is_taken_back_while_the_version_makes_way_deletes_no_copy(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        marker = await stage.delete("k")
        debts = await stage.claimed("k")
        for grid in (stage.a, stage.b):
            grid.inject(Fault(Kind.HANG), "copy")
        async with asyncio.TaskGroup() as group:
            paying = group.create_task(stage.pay(debts))
            async with asyncio.timeout(10):
                while True:
                    if stage.a.calls["copy"] and stage.b.calls["copy"]:
                        break
                    await asyncio.sleep(0)
            await stage.delete("k", marker)
            for grid in (stage.a, stage.b):
                grid.heal()
            await paying
        assert await stage.read("k", first) == LARGE
        await stage.paid()
        assert await stage.held(stage.a) == await stage.held(stage.b) == {"k"}

    staged(tmp_path, scenario)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_an_acknowledged_overwrite_does_not_take_the_last_copies_of_what_it_replaces(
    tmp_path: Path, data: bytes
) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", data)
        second = (await stage.made.put("k", b"second" + data)).version_id
        assert await stage.read("k", first) == data, "both grids have acknowledged the newer one under its key"
        assert await stage.read("k", second) == b"second" + data
        await stage.paid()
        for grid in (stage.a, stage.b):
            assert await stage.held(grid) == {"k", home_of("k", first)}

    staged(tmp_path, scenario, ack=2)


def test_a_large_version_is_moved_within_its_grid_and_not_sent_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.replicated("k", LARGE)
        stage.a.calls.clear()
        await stage.made.put("k", b"small")
        await stage.paid()
        assert stage.a.calls["copy"] == 1
        assert stage.a.calls["get"] == 0

    staged(tmp_path, scenario)


def test_a_delete_during_an_outage_reaches_the_grid_later_and_every_version_is_there(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        stage.b.inject(Fault(Kind.REFUSE))
        second = (await stage.made.put("k", b"second")).version_id
        marker = await stage.delete("k")
        await stage.made.settle()
        assert await stage.made.code("k") == "NoSuchKey"
        assert await stage.read("k", first) == LARGE
        stage.b.heal()
        await stage.paid()
        homes = {home_of("k", first), home_of("k", second)}
        assert await stage.held(stage.a) == await stage.held(stage.b) == homes
        await stage.delete("k", marker)
        assert await stage.made.read("k") == b"second"
        await stage.paid()
        assert await stage.held(stage.a) == await stage.held(stage.b) == {"k", home_of("k", first)}
        await stage.delete("k", second)
        assert await stage.made.read("k") == LARGE
        await stage.paid()
        assert await stage.held(stage.b) == {"k"}

    staged(tmp_path, scenario)


def test_a_version_that_was_deleted_during_an_outage_does_not_come_back(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        await stage.replicated("k", b"second")
        stage.b.inject(Fault(Kind.REFUSE))
        await stage.delete("k", first)
        await stage.made.settle()
        stage.b.heal()
        await stage.paid()
        assert await stage.held(stage.b) == {"k"}
        with pytest.raises(S3Error, match="NoSuchVersion"):
            await stage.read("k", first)

    staged(tmp_path, scenario)


def test_a_grid_that_can_never_hold_an_older_version_still_gets_the_newer_ones(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        stage.b.inject(Fault(Kind.DENY), "copy")
        stage.b.inject(Fault(Kind.REFUSE), "stage")
        await stage.made.put("k", b"second")
        for _ in range(8):
            stage.clock.leap(DEBT_RETRY_MAX_S)
            await stage.made.settle()
        assert await stage.read("k", first) == LARGE
        stage.b.heal()
        await stage.paid()
        assert await stage.held(stage.b) == {"k", home_of("k", first)}

    staged(tmp_path, scenario)


def test_a_copy_of_an_older_version_that_is_damaged_where_it_lies_is_repaired_from_elsewhere(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        await stage.a.delete(Place(BUCKET, "k"))
        await stage.made.put("k", b"second")
        await stage.paid()
        for grid in (stage.a, stage.b):
            grid.inject(Fault(Kind.REFUSE))
            assert await stage.read("k", first) == LARGE
            grid.heal()

    staged(tmp_path, scenario)


def test_a_probe_and_the_scrub_look_for_a_copy_where_it_lies(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        for grid in (stage.a, stage.b):
            grid.inject(Fault(Kind.FULL), "copy", "stage")
        await stage.made.put("k", b"second")
        await stage.made.settle()
        site = stage.made.site
        for seat in site.seats.values():
            await Probe(site, seat).read()
        await Scrub(site, interval_s=1).step()
        assert not any(isinstance(event, CopySuspected) for event in stage.made.events)
        assert await stage.read("k", first) == LARGE

    staged(tmp_path, scenario)


def test_a_payment_of_a_key_is_none_of_the_version_that_left_it_with_its_number(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        index, now_ms = stage.made.site.index, stage.clock.now_ms()
        number = stage.made.site.seats["a"].number
        first = (await stage.made.put("k", b"first")).version_id
        terms: dict[str, Any] = {"holder": "me", "now_ms": now_ms, "lease_until_ms": now_ms + 60_000}
        paying = await index.claim_key(number, BUCKET, "k", **terms)
        await stage.made.put("k", b"second")
        home = home_of("k", first)
        moving = await index.claim_key(number, BUCKET, home, **terms)
        assert paying is not None
        assert moving is not None
        assert paying.seq == moving.seq
        await index.settle([Payment(paying, "an etag")])
        assert number in await index.debt_of(BUCKET, home)
        assert number in await index.debt_of(BUCKET, "k")
        for key in ("k", home):
            version = await index.get(BUCKET, key)
            assert version is not None
            assert version.copies == ()

    staged(tmp_path, scenario)


def test_a_copy_takes_the_version_that_it_names(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replicated("k", LARGE)
        await stage.replicated("k", b"second")
        source = CopySource(BUCKET, "k", first)
        done = await stage.made.store.copy_object(CopyObject(BUCKET, "k", source, False, Facts()))
        assert done.source_version_id == first
        assert await stage.made.read("k") == LARGE
        marker = await stage.delete("k")
        with pytest.raises(S3Error, match="InvalidRequest"):
            source = CopySource(BUCKET, "k", marker)
            await stage.made.store.copy_object(CopyObject(BUCKET, "k", source, False, Facts()))

    staged(tmp_path, scenario)


def test_a_bucket_with_nothing_but_a_delete_marker_is_not_empty(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        marker = await stage.delete("never was")
        with pytest.raises(S3Error, match="BucketNotEmpty"):
            await stage.made.site.index.delete_bucket(BUCKET)
        await stage.delete("never was", marker)
        await stage.made.site.index.delete_bucket(BUCKET)

    staged(tmp_path, scenario)


# --- locks ---


def test_a_locked_version_is_deleted_by_nobody_until_its_time_has_come(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        until_ms = stage.clock.now_ms() + DAY_MS
        version = await stage.put("k", LARGE, Marks(retention=Retention("COMPLIANCE", until_ms)))
        await stage.paid()
        marker = await stage.delete("k")
        for bypass in (False, True):
            with pytest.raises(S3Error, match="AccessDenied"):
                await stage.delete("k", version, bypass=bypass)
        asks = (DeleteAsk("k", version, bypass=True), DeleteAsk("k", marker))
        done = await stage.made.store.delete_objects(DeleteObjects(BUCKET, asks))
        assert [failed.code for failed in done.failed] == ["AccessDenied"]
        assert await stage.made.read("k") == LARGE
        stage.clock.leap(DAY_MS / 1000 + 1)
        await stage.delete("k", version)
        await stage.paid()
        assert await stage.held(stage.a) == set()

    staged(tmp_path, scenario, locks=True)


def test_a_lock_holds_while_its_copies_are_on_their_way(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.a.inject(Fault(Kind.REFUSE))
        until_ms = stage.clock.now_ms() + 365 * DAY_MS
        version = await stage.put("k", LARGE, Marks(retention=Retention("GOVERNANCE", until_ms)))
        await stage.made.settle()
        await stage.made.put("k", b"newer")
        with pytest.raises(S3Error, match="AccessDenied"):
            await stage.delete("k", version)
        stage.a.heal()
        await stage.paid()
        for grid in (stage.a, stage.b):
            assert home_of("k", version) in await stage.held(grid)
        await stage.delete("k", version, bypass=True)

    staged(tmp_path, scenario, locks=True)


def test_retentions_are_prolonged_by_all_and_shortened_only_where_that_is_allowed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        store, now_ms = stage.made.store, stage.clock.now_ms()

        async def retain(version: str, mode: str, days: int, *, bypass: bool = False) -> None:
            retention = Retention(mode, now_ms + days * DAY_MS)
            await store.put_retention(PutRetention(BUCKET, "k", version, retention, bypass))

        governed = await stage.put("k", b"1", Marks(retention=Retention("GOVERNANCE", now_ms + 10 * DAY_MS)))
        strict = await stage.put("k", b"2", Marks())
        await retain(governed, "GOVERNANCE", 20)
        with pytest.raises(S3Error, match="AccessDenied"):
            await retain(governed, "GOVERNANCE", 5)
        await retain(governed, "GOVERNANCE", 5, bypass=True)
        await retain(strict, "COMPLIANCE", 10)
        for mode, days in (("COMPLIANCE", 5), ("GOVERNANCE", 20)):
            with pytest.raises(S3Error, match="AccessDenied"):
                await retain(strict, mode, days, bypass=True)
        await retain(strict, "COMPLIANCE", 20)
        found = await store.get_retention(GetRetention(BUCKET, "k", governed))
        assert found.retention == Retention("GOVERNANCE", now_ms + 5 * DAY_MS)
        await store.put_legal_hold(PutLegalHold(BUCKET, "k", governed, True))
        assert (await store.get_legal_hold(GetLegalHold(BUCKET, "k", governed))).on
        with pytest.raises(S3Error, match="AccessDenied"):
            await stage.delete("k", governed, bypass=True)
        await store.put_legal_hold(PutLegalHold(BUCKET, "k", governed, False))
        await stage.delete("k", governed, bypass=True)

    staged(tmp_path, scenario, locks=True)


def test_the_default_of_a_bucket_locks_what_comes_without_a_lock_of_its_own(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        lock = ObjectLock("GOVERNANCE", days=3)
        await stage.made.store.put_setting(PutSetting(BUCKET, "object-lock", lock))
        await stage.made.put("put", b"x")
        await stage.made.upload("upload", [b"x"])
        source = CopySource(BUCKET, "put")
        await stage.made.store.copy_object(CopyObject(BUCKET, "copy", source, False, Facts()))
        page = (await stage.made.store.list_versions(ListVersions(BUCKET))).page
        for entry in page.entries:
            retention = entry.version.marks.retention
            assert retention is not None
            assert abs(retention.until_ms - stage.clock.now_ms() - 3 * DAY_MS) < 60_000
        with pytest.raises(S3Error, match="InvalidBucketState"):
            await stage.made.store.put_setting(PutSetting(BUCKET, "versioning", Versioning("Suspended")))

    staged(tmp_path, scenario, locks=True)


def test_a_default_that_is_set_while_an_upload_is_under_way_locks_what_comes_of_it(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        store = stage.made.store
        begun = await store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts()))
        part = await store.upload_part(UploadPart(BUCKET, "k", begun.upload_id, 1), Bytes(b"x"))
        await store.put_setting(PutSetting(BUCKET, "object-lock", ObjectLock("COMPLIANCE", days=1)))
        stage.clock.leap(2 * DAY_MS / 1000)
        parts = (PartAsk(1, part.etag),)
        done = await store.complete_multipart_upload(CompleteMultipartUpload(BUCKET, "k", begun.upload_id, parts))
        with pytest.raises(S3Error, match="AccessDenied"):
            await stage.delete("k", done.version_id)

    staged(tmp_path, scenario, locks=True)


def test_nothing_can_be_locked_where_no_lock_was_asked_for(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        version = (await stage.made.put("k", b"x")).version_id
        retention = Retention("GOVERNANCE", stage.clock.now_ms() + DAY_MS)
        with pytest.raises(S3Error, match="InvalidRequest"):
            await stage.put("k", b"y", Marks(retention=retention))
        with pytest.raises(S3Error, match="InvalidRequest"):
            await stage.made.store.put_retention(PutRetention(BUCKET, "k", version, retention))
        assert await stage.made.read("k") == b"x"

    staged(tmp_path, scenario)
