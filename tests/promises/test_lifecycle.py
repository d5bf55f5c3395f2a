"""Lifecycle through the store: what is due goes, everywhere and for ever; what is not, or is no longer what was looked at, stays."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.events import Expired
from holdfast.keepers.lifecycle import Lifecycle as Keeper
from holdfast.limits import LIFECYCLE_BATCH, LIFECYCLE_DAY_S, LIFECYCLE_ROUNDS
from holdfast.model import Facts, MarkChange, Marks
from holdfast.s3 import CreateBucket, CreateMultipartUpload, GetObject, ListParts, PutObject, UploadPart
from holdfast.s3.lifecycle import Filter, Lifecycle, Rule
from holdfast.s3.settings import DeleteSetting, PutSetting
from holdfast.testing.faults import Fault, Kind
from tests.engine import BUCKET, Bytes, Engine
from tests.promises.troubled import Troubled

DAY_S = LIFECYCLE_DAY_S
OLD = Rule("old", filter=Filter("old/"), days=1)


async def configure(made: Engine, *rules: Rule) -> None:
    await made.store.put_setting(PutSetting(BUCKET, "lifecycle", Lifecycle(rules)))


async def whole_round(made: Engine) -> None:
    keeper = Keeper(made.site, day_s=DAY_S)
    while not await keeper.step():
        pass


def scene(tmp_path: Path, body: Callable[[Troubled, Engine], Awaitable[None]]) -> None:
    async def main() -> None:
        grids = Troubled()
        async with grids.engine(tmp_path) as made:
            await body(grids, made)

    asyncio.run(main())


def test_what_is_due_goes_and_nothing_else(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        tagged = Rule("tagged", filter=Filter(None, {"kind": "temp"}), days=1)
        await configure(made, OLD, tagged, Rule("off", enabled=False, days=1))
        await made.put("old/a", b"x")
        await made.put("kept", b"x")
        marks = Marks(tags={"kind": "temp"})
        await made.store.put_object(PutObject(BUCKET, "tagged", Facts(), marks=marks), Bytes(b"x"))
        await whole_round(made)
        assert await made.keys() == ["kept", "old/a", "tagged"]
        grids.clock.leap(2 * DAY_S)
        await made.put("old/young", b"x")
        await whole_round(made)
        assert await made.keys() == ["kept", "old/young"]
        assert [event for event in made.events if isinstance(event, Expired)] == [Expired(BUCKET, "objects", 2)]
        await made.converge()
        assert set(await grids.content("a")) == {"kept", "old/young"}

    scene(tmp_path, body)


def test_expired_objects_stay_gone_when_a_grid_returns_that_was_down(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await made.put("old/a", b"x")
        await made.put("kept", b"y")
        await made.converge()
        await configure(made, OLD)
        grids.faults["b"].inject(Fault(Kind.REFUSE))
        await made.probe()
        grids.clock.leap(2 * DAY_S)
        await whole_round(made)
        assert await made.keys() == ["kept"]
        await made.settle()
        assert set(await grids.content("b")) == {"old/a", "kept"}, "it was down and still has it"
        grids.heal()
        await grids.converge(made)
        for name in ("a", "b"):
            assert set(await grids.content(name)) == {"kept"}
        await made.reconcile()
        assert await made.code("old/a") == "NoSuchKey"

    scene(tmp_path, body)


@pytest.mark.parametrize("how", ["replaced", "tagged", "deleted"])
def test_what_changed_since_it_was_looked_at_stays_as_it_is(tmp_path: Path, how: str) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await configure(made, OLD)
        await made.put("old/a", b"same bytes")
        grids.clock.leap(2 * DAY_S)
        scan = made.site.index.scan

        async def scan_and_meddle(*named: Any, **terms: Any) -> Any:
            page = await scan(*named, **terms)
            match how:
                case "replaced":
                    await made.put("old/a", b"same bytes")
                case "tagged":
                    await made.site.index.mark(BUCKET, "old/a", "", MarkChange(tags={"keep": "it"}))
                case _:
                    await made.delete("old/a")
            return page

        made.site.index.scan = scan_and_meddle  # type: ignore[method-assign]
        await whole_round(made)
        assert await made.code("old/a") == ("NoSuchKey" if how == "deleted" else "ok")
        assert not [event for event in made.events if isinstance(event, Expired)]

    scene(tmp_path, body)


def test_a_round_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    async def main() -> None:
        grids, count = Troubled(), LIFECYCLE_BATCH + 5
        async with grids.engine(tmp_path) as made:
            for name in ("another", "elsewhere"):
                await made.store.create_bucket(CreateBucket(name))
            await configure(made, OLD)
            for number in range(count):
                await made.put(f"old/{number:04}", b"x")
            grids.clock.leap(2 * DAY_S)
            assert await Keeper(made.site, day_s=DAY_S).step() == 0.0
            assert len(await made.keys()) == 5
        async with grids.engine(tmp_path) as made:
            await made.put("old/0000", b"made after the walk went by")
            await Keeper(made.site, day_s=DAY_S).step()
            assert await made.keys() == ["old/0000"]
            keeper = Keeper(made.site, day_s=DAY_S)
            pauses = [await keeper.step() for _ in range(2)]
            assert pauses == [0.0, DAY_S / LIFECYCLE_ROUNDS], "the end of the bucket, the end of the round"

    asyncio.run(main())


def test_a_configuration_that_was_deleted_expires_nothing(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await configure(made, OLD)
        await made.put("old/a", b"x")
        grids.clock.leap(2 * DAY_S)
        await made.store.delete_setting(DeleteSetting(BUCKET, "lifecycle"))
        await whole_round(made)
        assert await made.keys() == ["old/a"]

    scene(tmp_path, body)


def test_uploads_that_were_begun_too_long_ago_are_aborted(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await configure(made, Rule("u", filter=Filter("up/"), abort_days=1))
        begun = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "up/a", Facts()))
        other = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "b", Facts()))
        assert begun.abort is not None and other.abort is None
        await made.store.upload_part(UploadPart(BUCKET, "up/a", begun.upload_id, 1), Bytes(b"x" * 70_000))
        listed = await made.store.list_parts(ListParts(BUCKET, "up/a", begun.upload_id))
        assert listed.abort == begun.abort
        await whole_round(made)
        assert (await made.site.index.usage()).uploads == 2
        grids.clock.leap(2 * DAY_S)
        assert made.site.clock.now_ms() >= begun.abort.at_ms
        await whole_round(made)
        usage = await made.site.index.usage()
        assert (usage.uploads, usage.spool_bytes) == (1, 0)
        assert Expired(BUCKET, "uploads", 1) in made.events

    scene(tmp_path, body)


def test_replies_say_when_an_object_expires(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await configure(made, OLD)
        put = await made.put("old/a", b"x")
        assert put.expiry is not None
        assert put.expiry.rule == "old"
        got = await made.store.get_object(GetObject(BUCKET, "old/a", head=True))
        assert got.expiry == put.expiry
        assert (await made.put("kept", b"x")).expiry is None
        grids.clock.leap((put.expiry.at_ms - made.site.clock.now_ms()) / 1000 - 60)
        await whole_round(made)
        assert await made.code("old/a") == "ok", "a minute before it is due"
        grids.clock.leap(60)
        await whole_round(made)
        assert await made.code("old/a") == "NoSuchKey"

    scene(tmp_path, body)
