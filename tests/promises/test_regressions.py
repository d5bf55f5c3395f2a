"""What once broke a promise: each of these failed before it was mended."""

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from holdfast.clock import SystemClock
from holdfast.copies import paying, reading
from holdfast.copies.blocks import Block
from holdfast.copies.site import PolicyTerms, Site
from holdfast.errors import S3Error
from holdfast.grids.folder import FolderGrid
from holdfast.grids.memory import MemoryGrid
from holdfast.keepers import catchup
from holdfast.keepers.catchup import CatchUp
from holdfast.keepers.sweep import Sweep
from holdfast.limits import BLOCK_BYTES, DOUBT_S, RECONCILE_BATCH
from holdfast.model import Facts, Place
from holdfast.s3 import (
    CompleteMultipartUpload,
    CopyObject,
    CopySource,
    CreateBucket,
    CreateMultipartUpload,
    GetObject,
    PartAsk,
    PutObject,
    UploadPart,
)
from holdfast.testing.faults import Fault, FaultGrid, Kind
from tests.engine import BUCKET, Bytes, Engine, engine
from tests.promises.troubled import LeapClock

LARGE = os.urandom(BLOCK_BYTES + 7)


def faulty(name: str) -> FaultGrid:
    return FaultGrid(MemoryGrid(name), clock=SystemClock())


def damage_inline_bodies(folder: Path) -> None:
    index = apsw.Connection(str(folder / "index.db"))
    index.execute("UPDATE body SET data = CAST(x'00' || substr(data, 2) AS BLOB)").fetchall()
    index.close()


async def one_part(made: Engine) -> CompleteMultipartUpload:
    """An upload that only has to be completed."""
    begun = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts()))
    part = await made.store.upload_part(UploadPart(BUCKET, "k", begun.upload_id, 1), Bytes(LARGE))
    return CompleteMultipartUpload(BUCKET, "k", begun.upload_id, (PartAsk(1, part.etag),))


# --- P1 durable ---


def test_a_grid_that_was_replaced_is_not_counted_as_holding_a_write(tmp_path: Path) -> None:
    async def main() -> None:
        a, b = MemoryGrid("a"), MemoryGrid("b")
        async with engine(tmp_path, [a, b], ack=1, accept=False) as made:
            # Another process found the place of `a` empty; this one has not looked since.
            await made.site.index.register_grid("a", "another disk", "test:a")
            await made.put("k", LARGE)
            assert await made.copies("k") == {"b"}

    asyncio.run(main())


def test_a_repeated_completion_is_not_acknowledged_before_enough_grids_hold_the_object(tmp_path: Path) -> None:
    async def main() -> None:
        a, b = faulty("a"), faulty("b")
        async with engine(tmp_path, [a, b], ack=2, accept=False) as made:
            complete = await one_part(made)
            b.inject(Fault(Kind.FULL), "stage")
            for _ in range(2):
                with pytest.raises(S3Error) as refusal:
                    await made.store.complete_multipart_upload(complete)
                assert refusal.value.code == "ServiceUnavailable"
            b.heal()
            await made.store.complete_multipart_upload(complete)
            assert await made.copies("k") == {"a", "b"}
            assert await made.read("k") == LARGE

    asyncio.run(main())


def test_a_completion_that_is_sent_twice_at_once_succeeds_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            complete = await one_part(made)
            done = await asyncio.gather(*(made.store.complete_multipart_upload(complete) for _ in range(2)))
            assert done[0].etag == done[1].etag

    asyncio.run(main())


def test_a_body_whose_file_was_removed_while_it_arrived_is_not_acknowledged(tmp_path: Path) -> None:
    class Swept(Bytes):
        def __init__(self, data: bytes, made: Engine) -> None:
            super().__init__(data)
            self._made = made

        async def read(self) -> bytes:
            piece = await super().read()
            spool = self._made.site.spool
            while not piece and (files := await spool.idle_files(age_s=-60)):
                await spool.release(files)
            return piece

    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            with pytest.raises(S3Error) as refusal:
                await made.store.put_object(PutObject(BUCKET, "k", Facts()), Swept(LARGE * 2, made))
            assert refusal.value.code == "SlowDown"
            assert await made.code("k") == "NoSuchKey"

    asyncio.run(main())


# --- P3 intact ---


def test_a_copy_of_a_damaged_body_is_made_from_an_intact_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            await made.put("k", b"abcdef")
            assert await made.settle() == 0
            damage_inline_bodies(tmp_path)
            ask = CopyObject(BUCKET, "to", CopySource(BUCKET, "k"), replace=False, facts=Facts())
            await made.store.copy_object(ask)
            assert await made.read("to") == b"abcdef"

    asyncio.run(main())


@pytest.mark.parametrize("rotten", [{"a": [1], "b": [5]}, {"a": [5], "b": [1]}, {"a": [0, 3, 6], "b": [1, 4, 7]}])
def test_a_body_is_whole_and_repaired_while_each_block_is_intact_somewhere(
    tmp_path: Path, rotten: dict[str, list[int]]
) -> None:
    async def main() -> None:
        grids = {name: MemoryGrid(name) for name in "ab"}
        body = os.urandom(8 * BLOCK_BYTES)
        async with engine(tmp_path, list(grids.values())) as made:
            await made.put("k", body)
            await made.converge()
            for name, blocks in rotten.items():
                for number in blocks:
                    assert grids[name].rot(Place(BUCKET, "k"), number * BLOCK_BYTES + 9)
            assert await made.read("k") == body
            await made.converge()
            assert await made.copies("k") == {"a", "b"}
            for grid in grids.values():
                download = await grid.get(Place(BUCKET, "k"))
                assert b"".join([piece async for piece in download.stream()]) == body

    asyncio.run(main())


def test_a_block_that_is_damaged_everywhere_is_never_sent_and_the_blocks_before_it_are(tmp_path: Path) -> None:
    async def main() -> None:
        grids = [MemoryGrid(name) for name in "ab"]
        body = os.urandom(4 * BLOCK_BYTES)
        async with engine(tmp_path, grids) as made:
            await made.put("k", body)
            await made.converge()
            for grid in grids:
                assert grid.rot(Place(BUCKET, "k"), 2 * BLOCK_BYTES)
            got = await made.store.get_object(GetObject(BUCKET, "k"))
            assert got.stream is not None
            sent = b""
            with pytest.raises(S3Error, match="ServiceUnavailable"):
                async for piece in got.stream:
                    sent += piece
            assert sent == body[: 2 * BLOCK_BYTES]

    asyncio.run(main())


def test_a_damaged_copy_is_not_confirmed_by_its_label(tmp_path: Path) -> None:
    """Repairing it failed once; nothing of it is here; it still carries the version's number."""

    async def main() -> None:
        a, b = MemoryGrid("a"), faulty("b")
        async with engine(tmp_path, [a, b]) as made:
            await made.put("k", LARGE)
            await made.converge()
            assert a.rot(Place(BUCKET, "k"), 3)
            number = made.site.seats["a"].number
            version = await made.site.index.get(BUCKET, "k")
            assert version is not None
            assert await made.site.index.suspect(BUCKET, "k", version.seq, number, now_ms=made.site.clock.now_ms())
            b.inject(Fault(Kind.REFUSE), "get")
            await made.settle()
            assert await made.copies("k") == {"b"}
            b.heal()
            await made.converge()
            download = await a.get(Place(BUCKET, "k"))
            assert b"".join([piece async for piece in download.stream()]) == LARGE

    asyncio.run(main())


# --- P5 converges ---


def test_a_damaged_body_in_the_index_is_no_obstacle_while_a_grid_holds_it(tmp_path: Path) -> None:
    async def main() -> None:
        a = MemoryGrid("a")
        async with engine(tmp_path, [a]) as made:
            await made.put("k", b"abcdef")
            assert await made.settle() == 0
        damage_inline_bodies(tmp_path)
        async with engine(tmp_path, [a, MemoryGrid("b")]) as made:
            await made.reconcile()
            assert await made.settle() == 0
            assert await made.copies("k") == {"a", "b"}

    asyncio.run(main())


def test_a_policy_that_was_changed_for_a_moment_leaves_nothing_behind_when_it_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        grids = [MemoryGrid("a"), MemoryGrid("b")]
        async with engine(tmp_path, grids) as made:
            await made.reconcile()
        async with engine(tmp_path, grids) as made:
            await made.reconcile()
            made.site.policies_changed([PolicyTerms("standard", ("a",), 0, True)])
            for number in range(RECONCILE_BATCH + 1):
                await made.put(f"k{number:04}", b"x")
            await made.reconciler.step()
            made.site.policies_changed([PolicyTerms("standard", ("a", "b"), 0, True)])
            await made.reconcile()
            assert await made.settle() == 0
            assert await made.copies("k0000") == await made.copies(f"k{RECONCILE_BATCH:04}") == {"a", "b"}

    asyncio.run(main())


def test_a_policy_that_was_changed_until_the_next_start_leaves_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        grids = [MemoryGrid("a"), MemoryGrid("b")]
        async with engine(tmp_path, grids) as made:
            await made.reconcile()
        async with engine(tmp_path, grids) as made:
            made.site.policies_changed([PolicyTerms("standard", ("a",), 0, True)])
            for number in range(RECONCILE_BATCH + 1):
                await made.put(f"k{number:04}", b"x")
            await made.reconciler.step()
        async with engine(tmp_path, grids) as made:
            await made.reconcile()
            assert await made.settle() == 0
            assert await made.copies("k0000") == await made.copies(f"k{RECONCILE_BATCH:04}") == {"a", "b"}

    asyncio.run(main())


def test_a_walk_goes_on_only_where_nothing_was_written_under_another_policy_since(tmp_path: Path) -> None:
    async def main() -> None:
        grids = [MemoryGrid("a"), MemoryGrid("b")]
        async with engine(tmp_path, grids) as made:
            for number in range(RECONCILE_BATCH + 1):
                await made.put(f"k{number:04}", b"x")
            await made.reconciler.step()
        async with engine(tmp_path, grids) as made:
            made.site.policies_changed([PolicyTerms("standard", ("a",), 0, True)])
            await made.store.create_bucket(CreateBucket("before"))
            await made.reconciler.step()
            await made.put("early", b"x")
        async with engine(tmp_path, grids) as made:
            await made.reconcile()
            assert await made.settle() == 0
            assert await made.copies("early") == {"a", "b"}

    asyncio.run(main())


def test_a_large_body_that_takes_longer_than_a_lease_is_looked_at_and_brought_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    is_sound = reading.spool_is_sound

    async def slowly(site: Site, blocks: Sequence[Block]) -> bool:
        nonlocal looks
        looks += 1
        await site.clock.sleep(1.2)
        return await is_sound(site, blocks)

    async def lane(made: Engine, keeper: CatchUp) -> None:
        while (await made.site.index.usage()).debts:
            if await keeper.step():
                await made.site.clock.sleep(0.05)

    async def main() -> None:
        # Only a grid on this machine is given the file, which is looked at before.
        grid = FaultGrid(FolderGrid("a", tmp_path / "a", clock=SystemClock()), clock=SystemClock())
        async with engine(tmp_path, [grid]) as made:
            await made.put("k", LARGE)
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                for keeper in made.catchups:
                    group.create_task(lane(made, keeper))
            assert (looks, grid.calls["stage"]) == (1, 1)

    for module in (paying, catchup):
        monkeypatch.setattr(module, "LEASE_S", 0.6)
    monkeypatch.setattr(paying, "spool_is_sound", slowly)
    asyncio.run(main())


# --- P6 no lock-in ---


def test_an_overwrite_with_the_same_bytes_replaces_what_the_grid_knows_of_the_object(tmp_path: Path) -> None:
    async def main() -> None:
        grid, clock = faulty("a"), LeapClock()
        async with engine(tmp_path, [grid], clock=clock) as made:
            grid.inject(Fault(Kind.LOST_ANSWER), "publish")
            await made.put("k", b"same", facts=Facts(user={"n": "1"}))
            await made.settle()
            await made.put("k", b"same", facts=Facts(user={"n": "2"}))
            grid.heal()
            await made.settle()
            clock.leap(DOUBT_S)  # Until then the first of them might still arrive.
            await made.converge()
            held = await grid.head(Place(BUCKET, "k"))
            assert held.label is not None
            assert held.label.user == {"n": "2"}

    asyncio.run(main())


# --- P8 bounded ---


def test_a_grid_that_was_taken_out_of_the_configuration_keeps_no_bytes_here(tmp_path: Path) -> None:
    async def main() -> None:
        a, dead = MemoryGrid("a"), faulty("dead")
        async with engine(tmp_path, [a, dead]) as made:
            await made.put("held", LARGE)
            await made.put("small", b"x" * 100)
            assert await made.settle() == 0
            dead.inject(Fault(Kind.REFUSE))
            await made.put("owed", LARGE)
            await made.settle()
            assert (await made.site.index.usage()).spool_bytes == len(LARGE)
        async with engine(tmp_path, [a], keep_inline_bytes=0) as made:
            await made.reconcile()
            assert (await made.site.index.usage()).spool_bytes == 0
            await made.put("held", LARGE)
            await made.settle()
            await Sweep(made.site).step()
            usage = await made.site.index.usage()
            assert (usage.spool_bytes, usage.inline_bytes) == (0, 0)
            assert await made.site.spool.idle_files(age_s=-60) == ()
            for key in ("held", "owed"):
                assert await made.read(key) == LARGE
            await made.delete("owed")
            await made.settle()
            assert await made.site.index.tombstone(BUCKET, "owed"), "it may have the key, and is remembered"

    asyncio.run(main())


def test_bodies_that_arrive_together_stay_within_the_limit_of_the_spool(tmp_path: Path) -> None:
    class Slow(Bytes):
        async def read(self) -> bytes:
            await SystemClock().sleep(0.01)
            return await super().read()

    async def main() -> None:
        size = 3 * BLOCK_BYTES
        async with engine(tmp_path, [MemoryGrid("a")], spool_bytes=size + BLOCK_BYTES) as made:
            asks = [PutObject(BUCKET, f"k{number}", Facts()) for number in range(10)]
            puts = [made.store.put_object(ask, Slow(bytes(size))) for ask in asks]
            outcomes = await asyncio.gather(*puts, return_exceptions=True)
            refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            assert len(refused) == 9
            assert all(isinstance(refusal, S3Error) and refusal.code == "SlowDown" for refusal in refused)
            assert await made.settle() == 0
            await made.put("again", bytes(size))

    asyncio.run(main())


# --- what was done is not called a failure ---


def test_a_spool_file_that_cannot_be_removed_fails_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            await made.put("k", LARGE)
            monkeypatch.setattr(Path, "unlink", refuse)
            await made.put("k", b"small")
            await made.delete("k")
            assert await made.code("k") == "NoSuchKey"

    asyncio.run(main())
