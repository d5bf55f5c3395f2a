"""S3 semantics over the real index and spool, with grids that are in memory."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.digests import checksum_text, combine, composite
from holdfast.errors import S3Error
from holdfast.grids.memory import MemoryGrid
from holdfast.limits import BLOCK_BYTES, INLINE_BYTES, PART_BYTES_MIN
from holdfast.model import Algorithm, Checksum, ChecksumType, Facts, Presence, Span, WriteCondition
from holdfast.s3 import (
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CopySource,
    CreateBucket,
    CreateMultipartUpload,
    DeleteAsk,
    DeleteBucket,
    DeleteObjects,
    Expected,
    GetObject,
    GetObjectAttributes,
    ListBuckets,
    ListMultipartUploads,
    ListObjects,
    ListParts,
    PartAsk,
    PutObject,
    RangeAsk,
    ReadConditions,
    UploadPart,
    UploadPartCopy,
)
from tests.engine import BUCKET, Bytes, Engine, engine, md5

Scene = Callable[[Engine], Awaitable[None]]


def play(tmp_path: Path, scene: Scene) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a"), MemoryGrid("b")]) as made:
            await scene(made)

    asyncio.run(main())


async def refused(work: Awaitable[object]) -> str:
    try:
        await work
    except S3Error as refusal:
        return refusal.code
    return "ok"


SIZES = [0, 1, 4096, INLINE_BYTES, INLINE_BYTES + 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 17]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("declared", [True, False])
def test_what_was_put_is_got_before_and_after_the_grids_have_it(tmp_path: Path, size: int, declared: bool) -> None:
    data = os.urandom(size)

    async def scene(made: Engine) -> None:
        put = await made.store.put_object(PutObject(BUCKET, "k", Facts()), Bytes(data, declared=declared))
        assert put.etag == md5(data)
        assert await made.read("k") == data
        assert await made.settle() == 0
        assert await made.copies("k") == {"a", "b"}
        await made.site.index.trim_inline(0, limit=100)
        assert (await made.site.index.usage()).spool_bytes == 0
        assert await made.read("k") == data

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "ask", [RangeAsk(0, 0), RangeAsk(5), RangeAsk(suffix=7), RangeAsk(BLOCK_BYTES - 3, BLOCK_BYTES + 3)]
)
@pytest.mark.parametrize("size", [100, 2 * BLOCK_BYTES + 50])
def test_a_range_is_a_slice_from_every_source(tmp_path: Path, size: int, ask: RangeAsk) -> None:
    data = os.urandom(size)

    async def scene(made: Engine) -> None:
        await made.put("k", data)
        for settle in (False, True):
            if settle:
                await made.settle()
                await made.site.index.trim_inline(0, limit=100)
            try:
                got, served = await made.got(GetObject(BUCKET, "k", range=ask))
            except S3Error as refusal:
                assert refusal.code == "InvalidRange"
                assert (ask.first or 0) >= size
                continue
            assert served == data[got.span.start : got.span.end]
            assert served == (
                data[-ask.suffix :] if ask.suffix else data[ask.first : None if ask.last is None else ask.last + 1]
            )

    play(tmp_path, scene)


def test_facts_come_back_exactly(tmp_path: Path) -> None:
    facts = Facts({"content-type": "text/x", "cache-control": "no-store"}, {"name": "wert ä"}, "STANDARD_IA")

    async def scene(made: Engine) -> None:
        await made.put("k", b"x", facts=facts)
        got, _ = await made.got(GetObject(BUCKET, "k", head=True))
        assert got.version.facts == facts

    play(tmp_path, scene)


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_body_that_is_not_what_the_client_said_leaves_nothing(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    wrong = Checksum(Algorithm.CRC32, checksum_text(Algorithm.CRC32, b"other"))
    cases = [
        (Expected(md5=b"0" * 16), None, "BadDigest"),
        (Expected(sha256="0" * 64), None, "XAmzContentSHA256Mismatch"),
        (Expected(checksum=wrong), None, "BadDigest"),
        (Expected(trailer=Algorithm.CRC32), wrong, "BadDigest"),
        (Expected(trailer=Algorithm.CRC32), None, "InvalidRequest"),
    ]

    async def scene(made: Engine) -> None:
        for expected, trailer, code in cases:
            body = Bytes(data, trailer=trailer)
            ask = PutObject(BUCKET, "k", Facts(), expected)
            assert await refused(made.store.put_object(ask, body)) == code
        assert await made.keys() == []
        assert await made.site.spool.idle_files(age_s=-60) == ()

    play(tmp_path, scene)


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("size", [10, 200_000])
def test_every_checksum_is_verified_stored_and_returned(tmp_path: Path, algorithm: Algorithm, size: int) -> None:
    data = os.urandom(size)
    right = Checksum(algorithm, checksum_text(algorithm, data))

    async def scene(made: Engine) -> None:
        for expected, trailer in (
            (Expected(checksum=right), None),
            (Expected(trailer=algorithm), right),
            (Expected(algorithm=algorithm), None),
        ):
            put = await made.store.put_object(PutObject(BUCKET, "k", Facts(), expected), Bytes(data, trailer=trailer))
            assert put.checksum == right
            got, _ = await made.got(GetObject(BUCKET, "k"))
            assert got.version.facts.checksum == right

    play(tmp_path, scene)


def test_conditional_writes_have_one_winner(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        absent = WriteCondition(Presence.ABSENT)
        asks = [
            made.store.put_object(PutObject(BUCKET, "k", Facts(), condition=absent), Bytes(bytes([n])))
            for n in range(20)
        ]
        codes = await asyncio.gather(*(refused(ask) for ask in asks))
        assert sorted(set(codes)) == ["PreconditionFailed", "ok"]
        assert codes.count("ok") == 1
        first = md5(await made.read("k"))
        match = WriteCondition(Presence.MATCH, first)
        put = PutObject(BUCKET, "k", Facts(), condition=match)
        assert await refused(made.store.put_object(put, Bytes(b"new"))) == "ok"
        assert await refused(made.store.put_object(put, Bytes(b"newer"))) == "PreconditionFailed"
        missing = PutObject(BUCKET, "none", Facts(), condition=match)
        assert await refused(made.store.put_object(missing, Bytes(b"x"))) == "NoSuchKey"

    play(tmp_path, scene)


def test_reads_obey_conditions(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        etag = (await made.put("k", b"x")).etag
        stale = GetObject(BUCKET, "k", conditions=ReadConditions(if_match=("other",)))
        fresh = GetObject(BUCKET, "k", head=True, conditions=ReadConditions(if_none_match=(etag,)))
        assert await refused(made.store.get_object(stale)) == "PreconditionFailed"
        assert await refused(made.store.get_object(fresh)) == "NotModified"

    play(tmp_path, scene)


def test_missing_things_are_named(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        assert await made.code("none") == "NoSuchKey"
        assert await refused(made.store.get_object(GetObject("nowhere", "k"))) == "NoSuchBucket"
        assert await refused(made.store.put_object(PutObject("nowhere", "k", Facts()), Bytes(b""))) == "NoSuchBucket"
        assert await refused(made.store.list_objects(ListObjects("nowhere", v2=True))) == "NoSuchBucket"
        await made.put("k", b"x")
        assert await refused(made.store.get_object(GetObject(BUCKET, "k", version_id="v1"))) == "NoSuchVersion"
        assert await refused(made.store.get_object(GetObject(BUCKET, "k", version_id="null"))) == "ok"

    play(tmp_path, scene)


def test_buckets_are_made_listed_and_removed_only_when_empty(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        assert await refused(made.store.create_bucket(CreateBucket(BUCKET))) == "BucketAlreadyOwnedByYou"
        await made.store.create_bucket(CreateBucket("other"))
        listed = await made.store.list_buckets(ListBuckets(limit=1))
        assert ([bucket.name for bucket in listed.buckets], listed.next) == (["other"], "other")
        listed = await made.store.list_buckets(ListBuckets(limit=1, after="other"))
        assert ([bucket.name for bucket in listed.buckets], listed.next) == ([BUCKET], "")
        await made.put("k", b"x")
        assert await refused(made.store.delete_bucket(DeleteBucket(BUCKET))) == "BucketNotEmpty"
        await made.delete("k")
        assert await refused(made.store.delete_bucket(DeleteBucket(BUCKET))) == "ok"
        assert await made.code("k") == "NoSuchBucket"

    play(tmp_path, scene)


def test_many_keys_are_deleted_at_once_each_for_itself(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        for key in ("a", "b", "c"):
            await made.put(key, b"x")
        asks = (DeleteAsk("a"), DeleteAsk("never"), DeleteAsk("b", "v9"), DeleteAsk("c", "null"), DeleteAsk("é" * 513))
        done = await made.store.delete_objects(DeleteObjects(BUCKET, asks))
        assert [ask.key for ask in done.deleted] == ["a", "never", "c"]
        assert [(failed.key, failed.code) for failed in done.failed] == [
            ("b", "NoSuchVersion"),
            ("é" * 513, "KeyTooLongError"),
        ]
        assert await made.keys() == ["b"]

    play(tmp_path, scene)


def test_a_copy_has_the_bytes_and_the_facts_of_its_source(tmp_path: Path) -> None:
    data = os.urandom(BLOCK_BYTES + 5)
    facts = Facts({"content-type": "text/x"}, {"n": "v"})

    async def scene(made: Engine) -> None:
        for key, body in (("small", b"abc"), ("large", data), ("empty", b"")):
            await made.put(key, body, facts=facts)
            ask = CopyObject(BUCKET, "to", CopySource(BUCKET, key), replace=False, facts=Facts())
            copied = await made.store.copy_object(ask)
            got, served = await made.got(GetObject(BUCKET, "to"))
            assert (served, copied.etag, got.version.facts) == (body, md5(body), facts)
        same = CopyObject(BUCKET, "small", CopySource(BUCKET, "small"), replace=False, facts=Facts())
        assert await refused(made.store.copy_object(same)) == "InvalidRequest"
        anew = CopyObject(BUCKET, "small", CopySource(BUCKET, "small"), replace=True, facts=Facts(user={"m": "w"}))
        await made.store.copy_object(anew)
        got, _ = await made.got(GetObject(BUCKET, "small"))
        assert got.version.facts.user == {"m": "w"}
        gone = CopySource(BUCKET, "small", conditions=ReadConditions(if_match=("no",)))
        held = CopyObject(BUCKET, "to", gone, replace=False, facts=Facts())
        assert await refused(made.store.copy_object(held)) == "PreconditionFailed"

    play(tmp_path, scene)


PARTS = [os.urandom(PART_BYTES_MIN), os.urandom(PART_BYTES_MIN + 3), b"tail"]


def test_a_multipart_object_is_its_parts_in_order(tmp_path: Path) -> None:
    whole = b"".join(PARTS)

    async def scene(made: Engine) -> None:
        etag = await made.upload("k", PARTS, facts=Facts(user={"n": "v"}))
        assert etag == md5(b"".join(bytes.fromhex(md5(part)) for part in PARTS)) + "-3"
        for settle in (False, True):
            if settle:
                assert await made.settle() == 0
            got, served = await made.got(GetObject(BUCKET, "k"))
            assert served == whole
            assert got.version.facts.user == {"n": "v"}
            got, served = await made.got(GetObject(BUCKET, "k", part_number=2))
            assert (served, got.parts) == (PARTS[1], 3)
            _, served = await made.got(GetObject(BUCKET, "k", range=RangeAsk(len(PARTS[0]) - 2, len(PARTS[0]) + 2)))
            assert served == whole[len(PARTS[0]) - 2 : len(PARTS[0]) + 3]
        assert await refused(made.store.get_object(GetObject(BUCKET, "k", part_number=4))) == "InvalidPartNumber"
        told = await made.store.get_object_attributes(
            GetObjectAttributes(BUCKET, "k", ("ObjectParts",), max_parts=1, part_marker=1)
        )
        assert ([part.number for part in told.parts], told.parts_count, told.truncated) == ([2], 3, True)
        assert (await made.site.index.usage()).spool_bytes == 0

    play(tmp_path, scene)


def test_the_rules_of_completing_an_upload(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        begun = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts()))
        etags = {}
        for number, data in ((1, b"short"), (2, PARTS[0]), (3, b"end")):
            part = UploadPart(BUCKET, "k", begun.upload_id, number)
            etags[number] = (await made.store.upload_part(part, Bytes(data))).etag

        async def complete(*numbers: int, size: int | None = None, etag: str = "") -> str:
            parts = tuple(PartAsk(number, etag or etags.get(number, "x")) for number in numbers)
            return await refused(
                made.store.complete_multipart_upload(
                    CompleteMultipartUpload(BUCKET, "k", begun.upload_id, parts, object_size=size)
                )
            )

        assert await complete(1, 3) == "EntityTooSmall"
        assert await complete(3, 2) == "InvalidPartOrder"
        assert await complete(2, 2) == "InvalidPartOrder"
        assert await complete(2, 9) == "InvalidPart"
        assert await complete(2, etag=md5(b"other")) == "InvalidPart"
        assert await complete(2, 3, size=7) == "InvalidRequest"
        assert await made.keys() == []
        assert await complete(2, 3) == "ok"
        assert await complete(2, 3) == "ok", "a repeated request is answered again"
        assert await made.read("k") == PARTS[0] + b"end"
        released = (await made.site.index.usage()).spool_bytes
        assert released == len(PARTS[0]) + 3, "the part that was left out is gone"
        await made.put("k", b"newer")
        assert await complete(2, 3) == "NoSuchUpload"
        assert await made.read("k") == b"newer"

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        (Algorithm.CRC64NVME, ChecksumType.FULL_OBJECT),
        (Algorithm.CRC32, ChecksumType.FULL_OBJECT),
        (Algorithm.CRC32C, ChecksumType.COMPOSITE),
        (Algorithm.SHA256, ChecksumType.COMPOSITE),
    ],
)
def test_multipart_checksums_are_composed_and_verified(
    tmp_path: Path, algorithm: Algorithm, kind: ChecksumType
) -> None:
    whole = b"".join(PARTS)
    texts = [checksum_text(algorithm, part) for part in PARTS]
    if kind is ChecksumType.FULL_OBJECT:
        expected = checksum_text(algorithm, whole)
        assert expected == combine(algorithm, [(text, len(part)) for text, part in zip(texts, PARTS, strict=True)])
    else:
        expected = composite(algorithm, texts)

    async def scene(made: Engine) -> None:
        begun = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts(), algorithm, kind))
        asks = []
        for number, data in enumerate(PARTS, 1):
            part = await made.store.upload_part(UploadPart(BUCKET, "k", begun.upload_id, number), Bytes(data))
            assert part.checksum == Checksum(algorithm, texts[number - 1])
            asks.append(PartAsk(number, part.etag, part.checksum))
        ask = CompleteMultipartUpload(BUCKET, "k", begun.upload_id, tuple(asks))
        wrong = Checksum(algorithm, checksum_text(algorithm, b"other"), kind)
        bad = CompleteMultipartUpload(BUCKET, "k", begun.upload_id, tuple(asks), checksum=wrong)
        assert await refused(made.store.complete_multipart_upload(bad)) == "BadDigest"
        done = await made.store.complete_multipart_upload(ask)
        assert done.checksum == Checksum(algorithm, expected, kind)

    play(tmp_path, scene)


def test_parts_are_replaced_listed_copied_and_forgotten(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        await made.put("source", PARTS[0])
        begun = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts()))
        for data in (b"first", b"second"):
            await made.store.upload_part(UploadPart(BUCKET, "k", begun.upload_id, 7), Bytes(data))
        copy = UploadPartCopy(BUCKET, "k", begun.upload_id, 8, CopySource(BUCKET, "source"), Span(10, 20))
        copied = await made.store.upload_part_copy(copy)
        assert copied.etag == md5(PARTS[0][10:20])
        beyond = UploadPartCopy(
            BUCKET, "k", begun.upload_id, 8, CopySource(BUCKET, "source"), Span(0, len(PARTS[0]) + 1)
        )
        assert await refused(made.store.upload_part_copy(beyond)) == "InvalidArgument"
        listed = await made.store.list_parts(ListParts(BUCKET, "k", begun.upload_id, limit=1))
        assert [(part.number, part.etag) for part in listed.parts] == [(7, md5(b"second"))]
        assert listed.next == 7
        uploads = await made.store.list_multipart_uploads(ListMultipartUploads(BUCKET))
        assert [upload.upload_id for upload in uploads.page.uploads] == [begun.upload_id]
        await made.store.abort_multipart_upload(AbortMultipartUpload(BUCKET, "k", begun.upload_id))
        assert await refused(made.store.list_parts(ListParts(BUCKET, "k", begun.upload_id))) == "NoSuchUpload"
        await made.delete("source")
        assert await made.site.spool.idle_files(age_s=-60) == ()

    play(tmp_path, scene)
