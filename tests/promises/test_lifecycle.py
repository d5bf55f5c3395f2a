"""Lifecycle through the store: what is due goes, everywhere and for ever; what is not, or is no longer what was looked at, stays."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.events import Expired
from holdfast.keepers import lifecycle
from holdfast.keepers.lifecycle import Lifecycle as Keeper
from holdfast.limits import LIFECYCLE_BATCH, LIFECYCLE_DAY_S, LIFECYCLE_PAUSE_S, LIFECYCLE_ROUNDS
from holdfast.model import Facts, MarkChange, Marks, Retention, SealKind
from holdfast.s3 import CreateBucket, CreateMultipartUpload, DeleteObject, GetObject, ListParts, PutObject, UploadPart
from holdfast.s3.encryption import SealAsk
from holdfast.s3.lifecycle import Filter, Lifecycle, Rule
from holdfast.s3.settings import DeleteSetting, PutSetting
from holdfast.s3.versioning import Versioning
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


def test_a_round_rests_between_its_steps_while_clients_are_busy(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await configure(made, OLD)
        made.site.pressure = lambda: 1
        assert await Keeper(made.site, day_s=DAY_S).step() == LIFECYCLE_PAUSE_S

    scene(tmp_path, body)


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


def test_the_size_of_a_sealed_object_is_that_of_what_is_in_it(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await configure(made, Rule("small", filter=Filter(below=11), days=1))
        for key, size in (("small", 10), ("large", 11)):
            await made.store.put_object(PutObject(BUCKET, key, Facts(), seal=SealAsk(SealKind.S3)), Bytes(b"x" * size))
        version = await made.site.index.get(BUCKET, "small")
        assert version is not None
        assert version.size > version.plain_size == 10, "its seal takes room"
        for key, due in (("small", True), ("large", False)):
            got = await made.store.get_object(GetObject(BUCKET, key, head=True))
            assert (got.expiry is not None) == due
        grids.clock.leap(2 * DAY_S)
        await whole_round(made)
        assert await made.keys() == ["large"]

    scene(tmp_path, body)


# --- buckets that keep versions ---


async def keep_versions(made: Engine, *rules: Rule) -> None:
    await made.store.put_setting(PutSetting(BUCKET, "versioning", Versioning("Enabled")))
    await configure(made, *rules)


async def history(made: Engine) -> list[tuple[str, str]]:
    """Every version in order: its key, and whether it is the latest, older, or a marker."""
    page = await made.site.index.scan_versions(
        BUCKET, prefix="", delimiter="", key_marker="", version_marker="", limit=1000
    )
    return [
        (entry.key, ("marker" if entry.version.marker else "version") + ("" if entry.latest else " before"))
        for entry in page.entries
    ]


def test_a_current_version_that_expires_stays_under_a_delete_marker(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await keep_versions(made, OLD)
        await made.put("old/a", b"x")
        grids.clock.leap(2 * DAY_S)
        await whole_round(made)
        assert await history(made) == [("old/a", "marker"), ("old/a", "version before")]
        await whole_round(made)
        assert len(await history(made)) == 2, "a marker does not expire while there is something under it"

    scene(tmp_path, body)


def test_versions_go_some_days_after_they_were_replaced_and_the_newest_of_them_stay(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await keep_versions(made, Rule("n", noncurrent_days=1, newer=2))
        for number in range(5):
            await made.put("k", b"%d" % number)
        await made.put("other", b"x")
        await whole_round(made)
        assert len(await history(made)) == 6
        grids.clock.leap(2 * DAY_S)
        await whole_round(made)
        assert await history(made) == [("k", "version"), *[("k", "version before")] * 2, ("other", "version")]
        assert await made.read("k") == b"4"
        assert Expired(BUCKET, "versions", 2) in made.events

    scene(tmp_path, body)


def test_a_long_history_is_walked_in_pages_and_counted_across_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LIFECYCLE_BATCH", 3)

    async def body(grids: Troubled, made: Engine) -> None:
        await keep_versions(made, Rule("n", filter=Filter("k"), noncurrent_days=1, newer=5))
        for number in range(14):
            await made.put("k", b"%d" % number)
        await made.put("kk", b"x")
        await made.put("kk", b"y")
        grids.clock.leap(2 * DAY_S)
        await whole_round(made)
        found = await history(made)
        assert found.count(("k", "version before")) == 5
        assert found.count(("kk", "version before")) == 1

    scene(tmp_path, body)


@pytest.mark.parametrize("rule", [Rule("m", markers=True), Rule("d", filter=Filter("gone"), days=1)])
def test_a_delete_marker_goes_with_the_last_version_under_it(tmp_path: Path, rule: Rule) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await keep_versions(made, rule, Rule("n", noncurrent_days=1))
        for key in ("gone", "gone too"):
            await made.put(key, b"x")
            await made.delete(key)
        await made.put("here", b"x")
        await whole_round(made)
        assert len(await history(made)) == 5
        grids.clock.leap(2 * DAY_S)
        await whole_round(made)
        await whole_round(made)
        assert await history(made) == [("here", "version")]
        assert Expired(BUCKET, "markers", 2) in made.events

    scene(tmp_path, body)


@pytest.mark.parametrize("lock", [MarkChange(hold=True), MarkChange(retention=Retention("COMPLIANCE", 10**15))])
@pytest.mark.parametrize("when", ["before", "while it is looked at"])
def test_a_locked_version_is_never_deleted(tmp_path: Path, lock: MarkChange, when: str) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await keep_versions(made, Rule("n", noncurrent_days=1))
        for data in (b"locked", b"free", b"current"):
            await made.put("k", data)
        scan = made.site.index.scan_versions
        page = await scan(BUCKET, prefix="", delimiter="", key_marker="", version_marker="", limit=9)
        locked = page.entries[2].version.version_id

        async def scan_and_lock(*named: Any, **terms: Any) -> Any:
            found = await scan(*named, **terms)
            await made.site.index.mark(BUCKET, "k", locked, lock)
            return found

        if when == "before":
            await made.site.index.mark(BUCKET, "k", locked, lock)
        else:
            made.site.index.scan_versions = scan_and_lock  # type: ignore[method-assign]
        grids.clock.leap(3 * DAY_S)
        await whole_round(made)
        assert [event for event in made.events if isinstance(event, Expired)] == [Expired(BUCKET, "versions", 1)]
        assert (await made.got(GetObject(BUCKET, "k", version_id=locked)))[1] == b"locked"

    scene(tmp_path, body)


def test_a_version_that_is_current_again_is_not_taken_for_a_replaced_one(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await keep_versions(made, Rule("n", noncurrent_days=1))
        await made.put("k", b"first")
        second = await made.put("k", b"second")
        grids.clock.leap(2 * DAY_S)
        scan = made.site.index.scan_versions

        async def scan_and_go_back(*named: Any, **terms: Any) -> Any:
            found = await scan(*named, **terms)
            await made.store.delete_object(DeleteObject(BUCKET, "k", second.version_id))
            return found

        made.site.index.scan_versions = scan_and_go_back  # type: ignore[method-assign]
        await whole_round(made)
        assert await made.read("k") == b"first"

    scene(tmp_path, body)


def test_versions_that_expired_while_a_grid_was_down_leave_it_when_it_returns(tmp_path: Path) -> None:
    async def body(grids: Troubled, made: Engine) -> None:
        await keep_versions(made, Rule("n", noncurrent_days=1))
        await made.put("k", b"first")
        await made.put("k", b"second")
        await grids.converge(made)
        grids.faults["b"].inject(Fault(Kind.REFUSE))
        await made.probe()
        grids.clock.leap(2 * DAY_S)
        await whole_round(made)
        assert await history(made) == [("k", "version")]
        await made.settle()
        grids.heal()
        await grids.converge(made)
        for name in ("a", "b"):
            assert await grids.content(name) == {"k": b"second"}

    scene(tmp_path, body)
