"""What every index engine promises about buckets, objects, listings and uploads."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.errors import S3Error
from holdfast.index.interface import Deleted
from holdfast.model import Bucket, MarkChange, Marks, Presence, Version, WriteCondition, pack
from holdfast.s3 import DeleteAsk
from holdfast.s3.locks import ObjectLock
from holdfast.s3.versioning import Versioning
from tests.contract.index_bench import BUCKET, ENGINES, Maker, Workbench, layout_of, part_of, upload_of

ABSENT = WriteCondition(Presence.ABSENT)
Run = Callable[[Callable[[Workbench], Awaitable[None]]], None]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Maker:
    return ENGINES[request.param]


@pytest.fixture
def run(engine: Maker, tmp_path: Path) -> Run:
    """Runs a scenario on the index of this test's folder; twice means: close and open it again in between."""

    def runner(scenario: Callable[[Workbench], Awaitable[None]]) -> None:
        async def main() -> None:
            async with engine(tmp_path) as bench:
                await scenario(bench)

        asyncio.run(main())

    return runner


def refused(code: str) -> "pytest.RaisesExc[S3Error]":
    return pytest.raises(S3Error, match=rf"^{code}: ")


def match(etag: str) -> WriteCondition:
    return WriteCondition(Presence.MATCH, etag)


# --- buckets ---


def test_buckets_are_created_found_listed_and_deleted(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        with refused("BucketAlreadyOwnedByYou"):
            await index.create_bucket(Bucket(BUCKET, 2, "", "me"))
        with refused("BucketAlreadyExists"):
            await index.create_bucket(Bucket(BUCKET, 2, "", "another"))
        assert await index.bucket(BUCKET) == Bucket(BUCKET, 1, "vital", "me", "us-east-1")
        for name in ("zebra", "photos-2", "alpha"):
            await index.create_bucket(Bucket(name, 3, ""))
        assert [b.name for b in await index.buckets()] == ["alpha", "photos", "photos-2", "zebra"]
        assert [b.name for b in await index.buckets(owner="me")] == ["photos"]
        assert [b.name for b in await index.buckets(prefix="photos")] == ["photos", "photos-2"]
        assert [b.name for b in await index.buckets(after="photos", limit=1)] == ["photos-2"]
        await index.delete_bucket("alpha")
        with refused("NoSuchBucket"):
            await index.bucket("alpha")
        with refused("NoSuchBucket"):
            await index.delete_bucket("alpha")
        assert "alpha" not in [b.name for b in await index.buckets()]

    run(scenario)


def test_settings_of_a_bucket_are_seen_at_once_and_end_with_it(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        assert (await index.bucket(BUCKET)).settings == {}
        await index.configure(BUCKET, "cors", b"1")
        await index.configure(BUCKET, "versioning", b"2")
        await index.configure(BUCKET, "cors", b"3")
        assert (await index.bucket(BUCKET)).settings == {"cors": b"3", "versioning": b"2"}
        await index.configure(BUCKET, "cors", None)
        assert (await index.bucket(BUCKET)).settings == {"versioning": b"2"}
        assert await index.configured("versioning") == (BUCKET,)
        assert await index.configured("cors") == ()
        await index.delete_bucket(BUCKET)
        assert await index.configured("versioning") == ()
        await index.create_bucket(Bucket(BUCKET, 2, ""))
        assert (await index.bucket(BUCKET)).settings == {}
        with refused("NoSuchBucket"):
            await index.configure("another", "cors", b"")

    run(scenario)


def test_a_bucket_is_never_left_with_locks_and_without_versions(run: Run) -> None:
    """Two requests at once passed the store's rules, and a deletion in a bucket that keeps no versions asks no lock."""

    async def scenario(bench: Workbench) -> None:
        index, lock = bench.index, pack(ObjectLock())
        with refused("InvalidBucketState"):
            await index.configure(BUCKET, "object-lock", lock)
        await index.configure(BUCKET, "versioning", pack(Versioning("Enabled")))
        outcomes = await asyncio.gather(
            index.configure(BUCKET, "object-lock", lock),
            index.configure(BUCKET, "versioning", pack(Versioning("Suspended"))),
            return_exceptions=True,
        )
        assert [getattr(outcome, "code", "") for outcome in outcomes] == ["", "InvalidBucketState"]
        with refused("InvalidBucketState"):
            await index.configure(BUCKET, "versioning", None)
        await index.configure(BUCKET, "versioning", pack(Versioning("Enabled")))
        settings = {"object-lock": lock, "versioning": pack(Versioning("Enabled"))}
        await index.create_bucket(Bucket("locked-from-the-start", 1, "", settings=settings))
        assert (await index.bucket("locked-from-the-start")).settings == settings

    run(scenario)


def test_marks_of_a_version_change_alone_and_go_with_it(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        seq = (await bench.put("k")).seq
        version = await index.mark(BUCKET, "k", "", MarkChange(tags={"a": "1"}))
        assert (version.seq, version.marks) == (seq, Marks({"a": "1"}))
        assert (await index.mark(BUCKET, "k", "null", MarkChange(grants="public"))).marks == Marks(
            {"a": "1"}, grants="public"
        )
        assert await index.get(BUCKET, "k") == await index.mark(BUCKET, "k", "", MarkChange())
        await bench.put("k")
        found = await index.get(BUCKET, "k")
        assert found is not None
        assert found.marks == Marks()
        with refused("NoSuchKey"):
            await index.mark(BUCKET, "j", "", MarkChange(tags={}))
        with refused("NoSuchVersion"):
            await index.mark(BUCKET, "k", "other", MarkChange(tags={}))

    run(scenario)


def test_a_bucket_with_objects_is_not_deleted_and_uploads_end_with_theirs(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("k")
        with refused("BucketNotEmpty"):
            await bench.index.delete_bucket(BUCKET)
        await bench.index.create_upload(upload_of("k", "u"))
        await bench.index.put_part(BUCKET, "k", "u", part_of(1, "file-1"))
        with refused("BucketNotEmpty"):
            await bench.index.delete_bucket(BUCKET)
        assert (await bench.index.upload(BUCKET, "k", "u")).upload_id == "u"  # A refusal ends nothing.
        await bench.delete("k")
        await bench.index.create_upload(upload_of("other", "v"))
        assert await bench.index.delete_bucket(BUCKET) == ("file-1",)
        usage = await bench.index.usage()
        assert (usage.uploads, usage.spool_bytes) == (0, 0)
        await bench.index.create_bucket(Bucket(BUCKET, 2, ""))
        with refused("NoSuchUpload"):
            await bench.index.upload(BUCKET, "k", "u")

    run(scenario)


def test_nothing_can_be_done_in_a_bucket_that_is_not_there(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        await bench.put("k")
        await bench.delete("k")
        await bench.index.get(BUCKET, "k")
        await index.delete_bucket(BUCKET)
        attempts: list[Awaitable[object]] = [
            index.get(BUCKET, "k"),
            bench.put("k"),
            bench.delete("k"),
            index.scan(BUCKET, prefix="", delimiter="", after="", limit=1),
            index.create_upload(upload_of("k", "u")),
            index.upload(BUCKET, "k", "u"),
            index.uploads(BUCKET, prefix="", delimiter="", key_marker="", upload_marker="", limit=1),
        ]
        for attempt in attempts:
            with refused("NoSuchBucket"):
                await attempt

    run(scenario)


def test_debts_of_a_deleted_bucket_meet_the_objects_of_a_later_one_with_its_name(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("k")
        await bench.delete("k")
        await bench.index.delete_bucket(BUCKET)
        (debt,) = await bench.claim(bench.grids[0])
        assert (debt.bucket, debt.key, debt.version) == (BUCKET, "k", None)
        await bench.index.create_bucket(Bucket(BUCKET, 9, ""))
        await bench.put("k", b"reborn")
        assert await bench.index.debt_of(BUCKET, "k") == bench.grids
        await bench.pay(debt)
        assert await bench.index.debt_of(BUCKET, "k") == bench.grids
        await bench.pay_all()
        assert await bench.copies("k") == set(bench.grids)

    run(scenario)


# --- objects ---


def test_a_version_comes_back_as_it_was_put_also_after_reopening(run: Run) -> None:
    async def before(bench: Workbench) -> None:
        await bench.put("k\0 ü/\n", b"bytes")
        await bench.put("empty", b"")
        await bench.put_large("large", "s1", "s2")

    async def after(bench: Workbench) -> None:
        change = bench.small("k\0 ü/\n", b"bytes")
        version = await bench.index.get(BUCKET, change.key)
        assert version is not None
        assert (version.size, version.etag, version.modified_ms) == (5, change.etag, change.modified_ms)
        assert (version.facts, version.copies, version.crc) == (change.facts, (), 7)
        assert (version.inline, version.spooled, version.version_id) == (b"bytes", False, "null")
        assert await bench.index.layout(version.seq) is None
        empty = await bench.index.get(BUCKET, "empty")
        assert empty is not None
        assert empty.inline == b""
        large = await bench.index.get(BUCKET, "large")
        assert large is not None
        assert (large.size, large.inline, large.crc, large.spooled) == (200, None, None, True)
        assert await bench.index.layout(large.seq) == layout_of("s1", "s2")
        assert await bench.index.get(BUCKET, "absent") is None

    run(before)
    run(after)


def test_each_change_has_a_higher_number_than_all_before_it_also_after_reopening(run: Run) -> None:
    seqs: list[int] = []

    async def scenario(bench: Workbench) -> None:
        seqs.extend([(await bench.put(key)).seq for key in ("a", "b", "a")])
        await bench.delete("a")
        seqs.append((await bench.put("c")).seq)

    run(scenario)
    run(scenario)
    assert seqs == sorted(set(seqs))


def test_a_reserved_number_is_used_unless_the_key_has_changed_since(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        reserved = [await bench.index.reserve() for _ in range(4)]
        assert sorted(set(reserved)) == reserved
        other = await bench.put("other")
        assert other.seq > reserved[-1]
        assert (await bench.put("k", seq=reserved[1])).seq == reserved[1]
        again = await bench.put("k", b"older by its number, later by its commit", seq=reserved[0])
        assert again.seq > other.seq
        await bench.index.delete(BUCKET, (DeleteAsk("k"),), now_ms=bench.now_ms, owes=())
        gone = await bench.index.tombstone(BUCKET, "k")
        assert gone is not None
        assert (await bench.put("k", b"after the deletion", seq=reserved[2])).seq > gone
        assert (await bench.put("free", seq=reserved[3])).seq == reserved[3]

    run(scenario)


def test_an_overwrite_replaces_everything_of_the_version_before(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first = await bench.put_large("k", "s1", "s2")
        second = await bench.put("k", b"new")
        assert sorted(second.released) == ["s1", "s2"]
        assert await bench.index.layout(first.seq) is None
        assert await bench.index.spooled(["s1", "s2"]) == frozenset()
        third = await bench.put_large("k", "s3")
        assert third.released == ()
        usage = await bench.index.usage()
        assert (usage.objects, usage.object_bytes, usage.inline_bytes, usage.spool_bytes) == (1, 100, 0, 100)
        assert await bench.index.spooled(["s3", "s4"]) == {"s3"}

    run(scenario)


def test_a_put_that_must_find_nothing_finds_something_and_changes_nothing(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("k", b"first", condition=ABSENT)
        with refused("PreconditionFailed"):
            await bench.put("k", b"second", condition=ABSENT)
        version = await bench.index.get(BUCKET, "k")
        assert version is not None
        assert version.inline == b"first"
        assert (await bench.index.usage()).object_bytes == 5
        await bench.delete("k")
        await bench.put("k", b"third", condition=ABSENT)

    run(scenario)


def test_a_put_may_require_the_etag_that_it_replaces(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        with refused("NoSuchKey"):
            await bench.put("k", condition=match("*"))
        with refused("NoSuchKey"):
            await bench.put("k", condition=match("x"))
        await bench.put("k", b"1", etag="x")
        with refused("PreconditionFailed"):
            await bench.put("k", b"2", condition=match("y"))
        await bench.put("k", b"3", etag="y", condition=match("x"))
        await bench.put("k", b"4", condition=match("*"))

    run(scenario)


def test_of_many_concurrent_creations_exactly_one_wins(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        attempts = [bench.put("k", b"%d" % number, condition=ABSENT) for number in range(50)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        assert sum(not isinstance(result, S3Error) for result in results) == 1
        assert all(
            isinstance(r, S3Error) and r.code == "PreconditionFailed" for r in results if isinstance(r, Exception)
        )
        assert (await bench.index.usage()).objects == 1

    run(scenario)


# --- deletion ---


def test_a_deleted_key_is_gone_and_every_grid_is_owed_its_absence(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("k")
        await bench.pay_all()
        asks = (DeleteAsk("k"), DeleteAsk("never"), DeleteAsk("k"))
        outcomes, _ = await bench.index.delete(BUCKET, asks, now_ms=bench.now_ms, owes=bench.grids)
        assert [(done.existed, done.code) for done in outcomes] == [(True, ""), (False, ""), (False, "")]
        assert await bench.index.get(BUCKET, "k") is None
        assert await bench.index.tombstone(BUCKET, "k") is not None
        assert await bench.index.tombstone(BUCKET, "never") is None
        assert await bench.index.debt_of(BUCKET, "k") == bench.grids
        assert await bench.index.debt_of(BUCKET, "never") == ()
        usage = await bench.index.usage()
        assert (usage.objects, usage.object_bytes, usage.inline_bytes, usage.tombstones, usage.debts) == (0, 0, 0, 1, 2)

    run(scenario)


def test_a_deletion_reaches_grids_that_the_policy_no_longer_names(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first, second = bench.grids
        await bench.put("held", owes=(first,))
        await bench.pay_all()
        await bench.put("owed", owes=(first,))
        await bench.index.delete(BUCKET, (DeleteAsk("held"), DeleteAsk("owed")), now_ms=bench.now_ms, owes=(second,))
        assert await bench.index.debt_of(BUCKET, "held") == bench.grids
        assert await bench.index.debt_of(BUCKET, "owed") == bench.grids

    run(scenario)


def test_an_overwrite_under_a_new_policy_still_reaches_the_grids_of_the_old_one(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first, second = bench.grids
        await bench.put("k", owes=(first,))
        await bench.pay_all()
        await bench.put("k", b"new", owes=(second,))
        assert await bench.index.debt_of(BUCKET, "k") == bench.grids

    run(scenario)


def test_a_conditional_deletion_judges_each_key_alone(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("a", etag="x")
        await bench.put("b", etag="x")
        asks = (
            DeleteAsk("a", condition=match("x")),
            DeleteAsk("b", condition=match("y")),
            DeleteAsk("c", condition=match("x")),
            DeleteAsk("c", condition=match("*")),
            DeleteAsk("b", version_id="other"),
            DeleteAsk("b", version_id="null"),
        )
        outcomes, _ = await bench.index.delete(BUCKET, asks, now_ms=bench.now_ms, owes=bench.grids)
        assert [done.code for done in outcomes] == [
            "",
            "PreconditionFailed",
            "NoSuchKey",
            "PreconditionFailed",
            "NoSuchVersion",
            "",
        ]
        assert (await bench.index.usage()).objects == 0

    run(scenario)


def test_a_deletion_of_what_was_seen_leaves_what_came_since(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index

        async def look() -> Version:
            found = await index.get(BUCKET, "k")
            assert found is not None
            return found

        async def outcome(looked_at: Version) -> Deleted:
            asks = (DeleteAsk("k", seen=looked_at),)
            return (await index.delete(BUCKET, asks, now_ms=bench.now_ms, owes=bench.grids))[0][0]

        await bench.put("k", etag="x")
        seen = await look()
        await bench.put("k", etag="x")
        newer = await look()
        tagged = await index.mark(BUCKET, "k", "", MarkChange(tags={"a": "b"}))
        assert (await outcome(seen)).code == "PreconditionFailed", "replaced by the same bytes"
        assert (await outcome(newer)).code == "PreconditionFailed", "tagged"
        assert (await outcome(tagged)).code == ""
        assert (await outcome(tagged)).code == "PreconditionFailed", "gone already"

    run(scenario)


def test_a_put_after_a_deletion_takes_its_tombstone_and_its_debts_over(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("k")
        await bench.delete("k")
        await bench.put("k", b"again")
        assert await bench.index.tombstone(BUCKET, "k") is None
        usage = await bench.index.usage()
        assert (usage.tombstones, usage.debts, usage.objects) == (0, 2, 1)

    run(scenario)


# --- listings ---


def test_a_listing_is_in_byte_order_of_the_whole_key(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        keys = ["a b", "a/x", "a", "é", "z", "\U0001f600", "\uffff", "//", "A"]
        for key in keys:
            await bench.put(key)
        page = await bench.index.scan(BUCKET, prefix="", delimiter="", after="", limit=100)
        assert [key for key, _ in page.versions] == sorted(keys, key=str.encode)
        assert page.next == ""
        assert all(version.inline is None for _, version in page.versions)

    run(scenario)


def test_common_prefixes_are_given_once_from_page_to_page(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        for key in ("a", "d/1", "d/2", "d/3", "e", "f/", "f/1", "g"):
            await bench.put(key)
        seen: list[str] = []
        after = ""
        while True:
            page = await bench.index.scan(BUCKET, prefix="", delimiter="/", after=after, limit=2)
            seen += sorted([key for key, _ in page.versions] + list(page.prefixes))
            after = page.next
            if not after:
                break
        assert seen == ["a", "d/", "e", "f/", "g"]
        inside = await bench.index.scan(BUCKET, prefix="", delimiter="/", after="d/2", limit=10)
        assert (inside.prefixes, [key for key, _ in inside.versions]) == (("f/",), ["e", "g"])
        below = await bench.index.scan(BUCKET, prefix="f/", delimiter="/", after="f/", limit=10)
        assert [key for key, _ in below.versions] == ["f/1"]
        nothing = await bench.index.scan(BUCKET, prefix="", delimiter="/", after="", limit=0)
        assert (nothing.versions, nothing.prefixes, nothing.next) == ((), (), "")

    run(scenario)


def test_a_long_page_has_each_key_once(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        keys = [f"k{number:04}" for number in range(700)]
        await asyncio.gather(*[bench.put(key) for key in keys])
        page = await bench.index.scan(BUCKET, prefix="k", delimiter="/", after="", limit=1000)
        assert [key for key, _ in page.versions] == keys
        page = await bench.index.scan(BUCKET, prefix="k", delimiter="", after="k0099", limit=500)
        assert [key for key, _ in page.versions] == keys[100:600]
        assert page.next == "k0599"

    run(scenario)


def test_a_page_that_ends_exactly_at_the_end_says_so(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        for key in ("a", "b/1", "b/2"):
            await bench.put(key)
        page = await bench.index.scan(BUCKET, prefix="", delimiter="/", after="", limit=2)
        assert (len(page.versions), page.prefixes, page.next) == (1, ("b/",), "")

    run(scenario)


# --- uploads ---


def test_an_upload_collects_parts_and_becomes_a_version(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        upload = upload_of("k", "u1")
        await index.create_upload(upload)
        assert await index.upload(BUCKET, "k", "u1") == upload
        for number, spool in ((3, "s3"), (1, "s1"), (2, "s2")):
            assert await index.put_part(BUCKET, "k", "u1", part_of(number, spool)) == ()
        assert await index.put_part(BUCKET, "k", "u1", part_of(2, "s2b", size=50)) == ("s2",)
        parts = await index.parts(BUCKET, "k", "u1", after=0, limit=10)
        assert parts == (part_of(1, "s1"), part_of(2, "s2b", size=50), part_of(3, "s3"))
        assert [part.number for part in await index.parts(BUCKET, "k", "u1", after=1, limit=1)] == [2]
        assert (await index.usage()).spool_bytes == 250
        await bench.put_large("k", "old")
        written = await index.complete_upload("u1", bench.composed("k", "s1"))
        assert sorted(written.released) == ["old", "s2b", "s3"]
        assert await index.layout(written.seq) == layout_of("s1")
        assert await index.spooled(["s1", "s2", "s2b", "s3", "old"]) == {"s1"}
        with refused("NoSuchUpload"):
            await index.upload(BUCKET, "k", "u1")
        usage = await index.usage()
        assert (usage.uploads, usage.spool_bytes, usage.objects) == (0, 100, 1)
        assert await bench.pay_all() == ("s1",)
        version = await index.get(BUCKET, "k")
        assert version is not None
        assert not version.spooled

    run(scenario)


def test_completing_fails_whole_when_a_part_was_replaced_or_a_condition_does_not_hold(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        await index.create_upload(upload_of("k", "u"))
        await index.put_part(BUCKET, "k", "u", part_of(1, "s1"))
        with refused("InvalidPart"):
            await index.complete_upload("u", bench.composed("k", "gone"))
        with refused("NoSuchUpload"):
            await index.complete_upload("u", bench.composed("other", "s1"))
        with refused("NoSuchUpload"):
            await index.complete_upload("u2", bench.composed("k", "s1"))
        await bench.put("k")
        with refused("PreconditionFailed"):
            await index.complete_upload("u", bench.composed("k", "s1", condition=ABSENT))
        assert len(await index.parts(BUCKET, "k", "u", after=0, limit=10)) == 1
        assert (await index.usage()).uploads == 1

    run(scenario)


def test_an_aborted_upload_releases_its_parts_and_is_unknown_afterwards(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        await index.create_upload(upload_of("k", "u"))
        await index.put_part(BUCKET, "k", "u", part_of(1, "s1"))
        await index.put_part(BUCKET, "k", "u", part_of(2, "s2"))
        assert sorted(await index.abort_upload(BUCKET, "k", "u")) == ["s1", "s2"]
        attempts: list[Awaitable[object]] = [
            index.abort_upload(BUCKET, "k", "u"),
            index.put_part(BUCKET, "k", "u", part_of(1, "s3")),
            index.parts(BUCKET, "k", "u", after=0, limit=1),
        ]
        for attempt in attempts:
            with refused("NoSuchUpload"):
                await attempt
        assert (await index.usage()).spool_bytes == 0

    run(scenario)


def test_uploads_are_listed_by_key_and_initiation_with_markers(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        for key, upload_id, at_ms in (
            ("b", "z", 1),
            ("b", "a", 2),
            ("b", "m", 2),
            ("a", "q", 9),
            ("d/1", "r", 1),
            ("d/2", "s", 1),
        ):
            await index.create_upload(upload_of(key, upload_id, at_ms))

        async def listed(key_marker: str = "", upload_marker: str = "", limit: int = 10) -> list[str]:
            page = await index.uploads(
                BUCKET, prefix="", delimiter="/", key_marker=key_marker, upload_marker=upload_marker, limit=limit
            )
            return [upload.upload_id for upload in page.uploads] + [*page.prefixes, page.next_key, page.next_upload]

        assert await listed() == ["q", "z", "a", "m", "d/", "", ""]
        assert await listed(limit=2) == ["q", "z", "b", "z"]
        assert await listed("b", "z") == ["a", "m", "d/", "", ""]
        assert await listed("b", "z", limit=2) == ["a", "m", "b", "m"]
        assert await listed("b") == ["d/", "", ""]
        assert await listed("d/") == ["", ""]
        await index.abort_upload(BUCKET, "b", "z")
        assert await listed("b", "z") == ["a", "m", "d/", "", ""]

    run(scenario)


def test_uploads_without_progress_are_found(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        began_ms = bench.now_ms
        for name in ("idle", "busy"):
            await index.create_upload(upload_of(name, name, began_ms))
        bench.pass_ms(1000)
        await index.put_part(BUCKET, "busy", "busy", part_of(1, "s"))
        stale = await index.stale_uploads(before_ms=began_ms + 500, limit=10)
        assert [upload.upload_id for upload in stale] == ["idle"]

    run(scenario)


def test_small_facts_are_remembered(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        assert await bench.index.noted("cursor") == ""
        await bench.index.note("cursor", "a")
        await bench.index.note("cursor", "b")
        assert await bench.index.noted("cursor") == "b"
        await bench.index.check()

    run(scenario)
