"""Encryption through the store: what lies in spool and grids is ciphertext, and only who may have it opened gets a byte of it."""

import asyncio
import base64
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

import holdfast
from holdfast.clock import SystemClock
from holdfast.digests import checksum_text, combine
from holdfast.errors import S3Error
from holdfast.events import Teller
from holdfast.grids.folder import FolderGrid
from holdfast.grids.memory import MemoryGrid
from holdfast.limits import AHEAD_BYTES, BLOCK_BYTES, FRAME_BYTES, INLINE_BYTES, PART_BYTES_MIN
from holdfast.model import Algorithm, ChecksumType, Facts, Place, SealKind, Span, Version
from holdfast.s3 import (
    CompleteMultipartUpload,
    CopyObject,
    CopySource,
    CreateBucket,
    CreateMultipartUpload,
    Expected,
    GetObject,
    GetObjectAttributes,
    ListObjects,
    ListParts,
    PartAsk,
    PutObject,
    RangeAsk,
    ReadConditions,
    UploadPart,
    UploadPartCopy,
)
from holdfast.s3.encryption import BucketEncryption, CustomerKey, SealAsk
from holdfast.s3.settings import DeleteSetting, GetSetting, PutSetting
from holdfast.s3.versioning import Versioning
from holdfast.sealing.frames import MAGIC, open_copy
from holdfast.serve.gateway import Gateway
from holdfast.testing.rawhttp import RawClient, StillClock, serving
from holdfast.testing.scene import REGION, code_of, guard_of
from tests.engine import BUCKET, MASTER, Bytes, Engine, engine, md5
from tests.hostile.forging import Ask, Sent, by_header, by_query
from tests.promises.test_ahead import MeteredGrid

Scene = Callable[[Engine], Awaitable[None]]

MINE = CustomerKey(bytes(range(32)))
OTHER = CustomerKey(bytes(range(1, 33)))
ASKS = {
    "SSE-S3": SealAsk(SealKind.S3),
    "SSE-KMS": SealAsk(SealKind.KMS, "key-1", '{"team":"red"}', bucket_key=True),
    "SSE-C": SealAsk(SealKind.CUSTOMER, customer=MINE),
}
SIZES = [0, 1, FRAME_BYTES, INLINE_BYTES + 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 17]
LINE = b"these words must not be found on any disk. "


def body(size: int) -> bytes:
    """Of this size, and easily recognised."""
    return (LINE * (size // len(LINE) + 1))[:size]


def play(tmp_path: Path, scene: Scene, *, ack: int = 0, encrypt: bool = False) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a"), MemoryGrid("b")], ack=ack, encrypt=encrypt) as made:
            await scene(made)

    asyncio.run(main())


async def refused(work: Awaitable[object]) -> str:
    try:
        await work
    except S3Error as refusal:
        return refusal.code
    return "ok"


async def put(made: Engine, key: str, data: bytes, ask: SealAsk | None, **more: object) -> str:
    declared = bool(more.pop("declared", True))
    done = await made.store.put_object(
        PutObject(BUCKET, key, Facts(user={"a": "b"}), seal=ask, **more),  # type: ignore[arg-type]
        Bytes(data, declared=declared),
    )
    assert done.size == len(data)
    return done.etag


def get(key: str, ask: SealAsk | None = None, **more: object) -> GetObject:
    return GetObject(BUCKET, key, customer=ask.customer if ask is not None else None, **more)  # type: ignore[arg-type]


async def current(made: Engine, key: str) -> Version:
    version = await made.site.index.get(BUCKET, key)
    assert version is not None
    return version


@pytest.mark.parametrize("kind", ASKS)
@pytest.mark.parametrize("ack", [0, 1])
def test_a_body_of_any_size_comes_back_and_is_ciphertext_everywhere(tmp_path: Path, kind: str, ack: int) -> None:
    ask = ASKS[kind]

    async def scene(made: Engine) -> None:
        for size in SIZES:
            for declared in (True, False):
                data = body(size)
                key = f"{size}/{declared}"
                etag = await put(made, key, data, ask, declared=declared)
                assert (etag == md5(data)) is (kind == "SSE-S3") and len(etag) == 32
                got, read = await made.got(get(key, ask))
                assert read == data
                assert got.span.end == got.version.plain_size == size
                assert got.version.size > size
                assert got.version.facts.user == {"a": "b"}
                assert (await made.got(get(key, ask, head=True)))[0].span.size == size
        await made.converge()
        for size in SIZES:
            version = await current(made, f"{size}/True")
            for seat in made.site.seats.values():
                download = await seat.grid.get(Place(BUCKET, f"{size}/True"))
                copy = b"".join([piece async for piece in download.stream()])
                assert copy.startswith(MAGIC) and LINE[:20] not in copy
                assert len(copy) == version.size
                label = (await seat.grid.head(Place(BUCKET, f"{size}/True"))).label
                assert label is not None and label.etag == ""
            assert (await made.got(get(f"{size}/True", ask)))[1] == body(size)

    play(tmp_path, scene, ack=ack)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or LINE[:20] not in path.read_bytes(), path


@pytest.mark.parametrize("kind", ASKS)
def test_ranges_are_those_of_the_plaintext(tmp_path: Path, kind: str) -> None:
    ask = ASKS[kind]
    size = 2 * BLOCK_BYTES + 17
    data = os.urandom(size)

    async def scene(made: Engine) -> None:
        await put(made, "k", data, ask)
        await put(made, "small", data[:1000], ask)
        for settled in (False, True):
            for first, last in (
                (0, 0),
                (FRAME_BYTES - 1, FRAME_BYTES),
                (5, size - 6),
                (BLOCK_BYTES - 9, BLOCK_BYTES + 9),
            ):
                got, read = await made.got(get("k", ask, range=RangeAsk(first, last)))
                assert read == data[first : last + 1]
                assert got.span.size == last - first + 1
            assert (await made.got(get("k", ask, range=RangeAsk(suffix=10))))[1] == data[-10:]
            assert (await made.got(get("k", ask, range=RangeAsk(first=size - 3))))[1] == data[-3:]
            assert (await made.got(get("small", ask, range=RangeAsk(10, 19))))[1] == data[10:20]
            assert (await made.got(get("k", ask, part_number=1)))[1] == data
            assert await refused(made.got(get("k", ask, range=RangeAsk(first=size)))) == "InvalidRange"
            if not settled:
                await made.converge()

    play(tmp_path, scene)


def test_a_range_reads_the_frames_that_it_touches_and_no_more(tmp_path: Path) -> None:
    data = os.urandom(8 * BLOCK_BYTES)

    async def scene(made: Engine) -> None:
        await put(made, "k", data, ASKS["SSE-S3"])
        await made.converge()
        version = await current(made, "k")
        assert not version.spooled
        seat = made.site.seats["a"]
        asked: list[int] = []
        plain_get = seat.grid.get

        async def watched(place: Place, **more: object) -> object:
            span = more["span"]
            asked.append(span.size)  # type: ignore[attr-defined]
            return await plain_get(place, **more)  # type: ignore[arg-type]

        seat.grid.get = watched  # type: ignore[method-assign, assignment]
        made.site.seats["b"].grid.get = watched  # type: ignore[method-assign, assignment]
        at = 3 * BLOCK_BYTES + BLOCK_BYTES // 2
        assert (await made.got(get("k", range=RangeAsk(at, at))))[1] == data[at : at + 1]
        assert sum(asked) <= 2 * BLOCK_BYTES

    play(tmp_path, scene)


def test_the_client_s_key_is_needed_for_everything_that_tells_of_the_object(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        for key, size in (("small", 100), ("large", INLINE_BYTES + 5)):
            etag = await put(made, key, body(size), ASKS["SSE-C"])
            for head in (False, True):
                assert await refused(made.got(GetObject(BUCKET, key, head))) == "InvalidRequest"
                assert await refused(made.got(GetObject(BUCKET, key, head, customer=OTHER))) == "AccessDenied"
                assert await refused(made.got(GetObject(BUCKET, key, head, customer=MINE))) == "ok"
            there = ReadConditions(if_none_match=(etag,))
            assert await refused(made.got(GetObject(BUCKET, key, conditions=there))) == "InvalidRequest"
            assert await refused(made.got(GetObject(BUCKET, key, conditions=there, customer=MINE))) == "NotModified"
            for customer, code in ((None, "InvalidRequest"), (OTHER, "AccessDenied"), (MINE, "ok")):
                asked = GetObjectAttributes(BUCKET, key, ("ETag", "ObjectSize"), customer=customer)
                assert await refused(made.store.get_object_attributes(asked)) == code
                copied = CopyObject(BUCKET, "c", CopySource(BUCKET, key, customer=customer), False, Facts())
                assert await refused(made.store.copy_object(copied)) == code
        await made.put("plain", b"x")
        await put(made, "s3", b"x", ASKS["SSE-S3"])
        for key in ("plain", "s3"):
            assert await refused(made.got(GetObject(BUCKET, key, customer=MINE))) == "InvalidRequest"

    play(tmp_path, scene)


def test_nothing_of_a_client_s_key_is_kept(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        await put(made, "k", body(3 * INLINE_BYTES), ASKS["SSE-C"])
        seal = (await current(made, "k")).facts.seal
        assert seal is not None and MINE.key not in seal.wrapped

    play(tmp_path, scene)
    digests = [hashlib.md5(MINE.key).digest(), hashlib.sha256(MINE.key).digest(), MINE.md5.encode(), MINE.key]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(digest in data for digest in digests), path
    assert MINE.md5 not in repr(ASKS["SSE-C"]) and repr(MINE.key) not in repr(ASKS["SSE-C"])


async def upload(
    made: Engine, key: str, parts: Sequence[bytes], ask: SealAsk | None, algorithm: Algorithm | None = None
) -> list[PartAsk]:
    customer = ask.customer if ask is not None else None
    kind = ChecksumType.FULL_OBJECT if algorithm is not None else None
    begun = await made.store.create_multipart_upload(
        CreateMultipartUpload(BUCKET, key, Facts(), algorithm, kind, seal=ask)
    )
    asks = []
    for number, data in enumerate(parts, 1):
        part = UploadPart(BUCKET, key, begun.upload_id, 3 * number, customer=customer)
        for _ in range(2):  # Sent again, a part is sealed anew and has the same etag.
            sent = await made.store.upload_part(part, Bytes(data))
        asks.append(PartAsk(3 * number, sent.etag))
    listed = await made.store.list_parts(ListParts(BUCKET, key, begun.upload_id))
    assert [part.plain_size for part in listed.parts] == [len(data) for data in parts]
    whole = sum(map(len, parts))
    named = (BUCKET, key, begun.upload_id, tuple(asks))
    complete = CompleteMultipartUpload(*named, object_size=whole, customer=customer)
    done = await made.store.complete_multipart_upload(complete)
    again = await made.store.complete_multipart_upload(complete)
    assert done == again
    return asks


@pytest.mark.parametrize("kind", ASKS)
def test_a_multipart_upload_is_sealed_part_by_part(tmp_path: Path, kind: str) -> None:
    ask = ASKS[kind]
    parts = [os.urandom(PART_BYTES_MIN), os.urandom(PART_BYTES_MIN + 9), os.urandom(5)]
    data = b"".join(parts)

    async def scene(made: Engine) -> None:
        await upload(made, "k", parts, ask, Algorithm.CRC32)
        for settled in (False, True):
            got, read = await made.got(get("k", ask))
            assert read == data and got.version.plain_size == len(data)
            checksum = got.version.facts.checksum
            sums = [(checksum_text(Algorithm.CRC32, part), len(part)) for part in parts]
            assert checksum is not None and checksum.value == combine(Algorithm.CRC32, sums)
            for number, part in enumerate(parts, 1):
                got, read = await made.got(get("k", ask, part_number=3 * number))
                assert (read, got.parts) == (part, 3)
            for first, last in ((PART_BYTES_MIN - 3, PART_BYTES_MIN + 3), (2 * PART_BYTES_MIN, len(data) - 1)):
                assert (await made.got(get("k", ask, range=RangeAsk(first, last))))[1] == data[first : last + 1]
            told = await made.store.get_object_attributes(
                GetObjectAttributes(BUCKET, "k", ("ObjectParts",), customer=ask.customer)
            )
            assert [part.plain_size for part in told.parts] == [len(part) for part in parts]
            page = (await made.store.list_objects(ListObjects(BUCKET, v2=True))).page
            assert [version.plain_size for _, version in page.versions] == [len(data)]
            if not settled:
                await made.converge()

    play(tmp_path, scene)


def test_parts_need_the_upload_s_key(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        begun = await made.store.create_multipart_upload(
            CreateMultipartUpload(BUCKET, "k", Facts(), seal=ASKS["SSE-C"])
        )
        plain = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts()))
        for upload_id, customer, code in (
            (begun.upload_id, None, "InvalidRequest"),
            (begun.upload_id, OTHER, "InvalidRequest"),
            (begun.upload_id, MINE, "ok"),
            (plain.upload_id, MINE, "InvalidRequest"),
            (plain.upload_id, None, "ok"),
        ):
            part = UploadPart(BUCKET, "k", upload_id, 1, customer=customer)
            assert await refused(made.store.upload_part(part, Bytes(b"x" * 1000))) == code

    play(tmp_path, scene)


def test_the_least_size_of_a_part_is_that_of_its_plaintext(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        parts = [os.urandom(PART_BYTES_MIN - 1), b"x"]
        assert await refused(upload(made, "k", parts, ASKS["SSE-S3"])) == "EntityTooSmall"

    play(tmp_path, scene)


@pytest.mark.parametrize("source", [None, *ASKS])
@pytest.mark.parametrize("target", [None, *ASKS])
def test_copies_are_opened_and_sealed_under_a_key_of_their_own(
    tmp_path: Path, source: str | None, target: str | None
) -> None:
    one, other = ASKS.get(source or ""), ASKS.get(target or "")
    data = os.urandom(BLOCK_BYTES + 7)

    async def scene(made: Engine) -> None:
        await made.store.put_object(
            PutObject(BUCKET, "s", Facts(), Expected(algorithm=Algorithm.SHA256), seal=one), Bytes(data)
        )
        where = CopySource(BUCKET, "s", customer=one.customer if one else None)
        done = await made.store.copy_object(CopyObject(BUCKET, "t", where, False, Facts(), seal=other))
        got, read = await made.got(get("t", other))
        assert read == data
        assert (got.version.facts.seal is None) is (other is None)
        assert done.checksum is not None and done.checksum.value == checksum_text(Algorithm.SHA256, data)
        assert (done.sealed is None) is (other is None)
        begun = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "m", Facts(), seal=other))
        customer = other.customer if other else None
        ask = UploadPartCopy(BUCKET, "m", begun.upload_id, 1, where, Span(5, BLOCK_BYTES), customer)
        part = await made.store.upload_part_copy(ask)
        await made.store.complete_multipart_upload(
            CompleteMultipartUpload(BUCKET, "m", begun.upload_id, (PartAsk(1, part.etag),))
        )
        assert (await made.got(get("m", other)))[1] == data[5:BLOCK_BYTES]
        seals = [(await current(made, key)).facts.seal for key in ("s", "t", "m")]
        wrapped = [seal.wrapped for seal in seals if seal is not None]
        assert len(set(wrapped)) == len(wrapped)

    play(tmp_path, scene)


def test_a_copy_onto_itself_may_change_how_it_is_sealed(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        await made.put("k", b"body")
        same = CopyObject(BUCKET, "k", CopySource(BUCKET, "k"), False, Facts())
        assert await refused(made.store.copy_object(same)) == "InvalidRequest"
        sealing = CopyObject(BUCKET, "k", CopySource(BUCKET, "k"), False, Facts(), seal=ASKS["SSE-S3"])
        await made.store.copy_object(sealing)
        assert (await current(made, "k")).facts.seal is not None
        assert await made.read("k") == b"body"

    play(tmp_path, scene)


def test_what_is_decided_by_the_request_then_by_the_bucket_then_by_the_policy(tmp_path: Path) -> None:
    async def kind(made: Engine, ask: SealAsk | None = None) -> SealKind | None:
        await put(made, "k", b"x", ask)
        seal = (await current(made, "k")).facts.seal
        return None if seal is None else seal.kind

    async def scene(made: Engine, encrypt: bool) -> None:
        rest = SealKind.S3 if encrypt else None
        assert await kind(made) is rest
        got = await made.store.get_setting(GetSetting(BUCKET, "encryption"))
        assert (got.data is not None) is encrypt
        default = BucketEncryption(SealKind.KMS, "key-1", True, ("SSE-C",))
        await made.store.put_setting(PutSetting(BUCKET, "encryption", default))
        assert await kind(made) is SealKind.KMS
        seal = (await current(made, "k")).facts.seal
        assert seal is not None and (seal.key_id, seal.bucket_key) == ("key-1", True)
        assert await kind(made, ASKS["SSE-S3"]) is SealKind.S3
        assert await kind(made, SealAsk(SealKind.KMS)) is SealKind.KMS
        seal = (await current(made, "k")).facts.seal
        assert seal is not None and (seal.key_id, seal.bucket_key) == ("aws/s3", True)
        assert await refused(put(made, "k", b"x", ASKS["SSE-C"])) == "AccessDenied"
        begun = await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts()))
        assert begun.sealed is not None and begun.sealed.key_id == "key-1"
        await made.store.put_setting(PutSetting(BUCKET, "encryption", BucketEncryption(None, blocked=("NONE",))))
        assert await kind(made) is rest
        await made.store.delete_setting(DeleteSetting(BUCKET, "encryption"))
        assert await kind(made) is rest
        assert await kind(made, ASKS["SSE-C"]) is SealKind.CUSTOMER

    for encrypt in (False, True):
        folder = tmp_path / str(encrypt)
        folder.mkdir()
        play(folder, partial(scene, encrypt=encrypt), encrypt=encrypt)


def test_an_unknown_key_of_the_kms_writes_nothing(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        unknown = SealAsk(SealKind.KMS, "key-2")
        assert await refused(put(made, "k", b"x", unknown)) == "KMS.NotFoundException"
        assert await refused(
            made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k", Facts(), seal=unknown))
        ) == ("KMS.NotFoundException")
        assert await made.keys() == []

    play(tmp_path, scene)


def test_after_a_rotation_of_the_master_key_old_objects_open_and_new_ones_need_the_new_key(tmp_path: Path) -> None:
    newer = bytes(range(100, 132))

    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            await put(made, "old", b"old", ASKS["SSE-S3"])
        async with engine(tmp_path, [MemoryGrid("a")], masters=[newer, MASTER]) as made:
            assert await made.read("old") == b"old"
            await put(made, "new", b"new", ASKS["SSE-S3"])
        async with engine(tmp_path, [MemoryGrid("a")], masters=[newer]) as made:
            assert await made.read("new") == b"new"
            assert await made.code("old") == "InternalError"

    asyncio.run(main())


def test_a_copy_that_was_swapped_with_another_object_s_is_not_served(tmp_path: Path) -> None:
    """Whoever can write into a grid and into the index's blocks still cannot make one object out of another."""

    async def scene(made: Engine) -> None:
        await put(made, "a", body(100), ASKS["SSE-S3"])
        await put(made, "b", body(100)[::-1], ASKS["SSE-S3"])
        one, other = await current(made, "a"), await current(made, "b")
        key = await made.site.vault.key_of(one.facts.seal, Place(BUCKET, "a"), None)  # type: ignore[union-attr, arg-type]
        with pytest.raises(S3Error, match="InternalError"):
            await made.site.vault.key_of(one.facts.seal, Place(BUCKET, "b"), None)  # type: ignore[union-attr, arg-type]
        assert other.inline is not None and one.inline is not None
        assert b"".join(open_copy(_reader(one.inline), lambda seal: key)) == body(100)
        with pytest.raises(Exception, match="damaged"):
            b"".join(open_copy(_reader(other.inline), lambda seal: key))

    play(tmp_path, scene)


def _reader(data: bytes) -> Callable[[int], bytes]:
    rest = bytearray(data)

    def read(size: int) -> bytes:
        piece = bytes(rest[:size])
        del rest[:size]
        return piece

    return read


def test_a_wrong_checksum_of_the_plaintext_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        for size in (10, INLINE_BYTES + 10):
            ask = PutObject(BUCKET, "k", Facts(), Expected(md5=bytes(16)), seal=ASKS["SSE-S3"])
            assert await refused(made.store.put_object(ask, Bytes(body(size)))) == "BadDigest"
            data = body(size)
            right = Expected(md5=hashlib.md5(data).digest(), sha256=hashlib.sha256(data).hexdigest())
            ask = PutObject(BUCKET, "right", Facts(), right, seal=ASKS["SSE-C"])
            assert await refused(made.store.put_object(ask, Bytes(data))) == "ok"
        assert await made.keys() == ["right"]

    play(tmp_path, scene)


def test_a_large_sealed_body_is_staged_while_it_arrives(tmp_path: Path) -> None:
    data = body(AHEAD_BYTES + 100)

    async def main() -> None:
        metered = MeteredGrid("a")
        async with engine(tmp_path, [metered], ack=1) as made:
            came: list[int] = []

            class Watching(Bytes):
                async def read(self) -> bytes:
                    piece = await super().read()
                    if not piece:  # All was sent, and nothing is committed: what can be at the grid by now is there.
                        await metered.has(AHEAD_BYTES // 2)
                        came.append(metered.came)
                    return piece

            await made.store.put_object(PutObject(BUCKET, "k", Facts(), seal=ASKS["SSE-KMS"]), Watching(data))
            assert came and (metered.stagings, metered.open) == (1, set())
            copy = await made.site.seats["a"].grid.get(Place(BUCKET, "k"))
            assert LINE[:20] not in b"".join([piece async for piece in copy.stream()])
            assert await made.copies("k") == {"a"}
            assert (await made.site.index.usage()).debts == 0
            assert await made.read("k") == data

    asyncio.run(main())


def test_catch_up_after_an_outage_moves_ciphertext_without_keys(tmp_path: Path) -> None:
    """The grid that was away gets its copies by a process that has no master key."""

    async def main() -> None:
        data = body(2 * BLOCK_BYTES)

        def grids() -> list[FolderGrid]:
            return [FolderGrid(name, tmp_path / name, clock=SystemClock()) for name in ("a", "b")]

        async with engine(tmp_path, grids()) as made:
            await put(made, "large", data, ASKS["SSE-S3"])
            await put(made, "small", body(1000), ASKS["SSE-C"])
        async with engine(tmp_path, grids()) as made:
            made.site.vault = None
            await made.converge()
        async with engine(tmp_path, grids()) as made:
            assert await made.copies("large") == {"a", "b"}
            assert await made.read("large") == data
            assert (await made.got(get("small", ASKS["SSE-C"])))[1] == body(1000)

    asyncio.run(main())
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or LINE[:20] not in path.read_bytes(), path


def test_objects_of_another_bucket_with_the_same_key_have_other_keys(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        await made.store.create_bucket(CreateBucket("another"))
        await put(made, "k", b"x", ASKS["SSE-S3"])
        seal = (await current(made, "k")).facts.seal
        assert seal is not None and made.site.vault is not None
        assert await refused(made.site.vault.key_of(seal, Place("another", "k"), None)) == "InternalError"
        customer = (await made.site.vault.begin(ASKS["SSE-C"], Place(BUCKET, "k")))[0]
        assert await refused(made.site.vault.key_of(customer, Place("another", "k"), MINE)) == "AccessDenied"

    play(tmp_path, scene)


@pytest.mark.parametrize("way", [by_header, by_query])
def test_a_client_s_key_is_refused_where_others_could_read_it(tmp_path: Path, way: Callable[[Ask], Sent]) -> None:
    start = "x-amz-server-side-encryption-customer-"
    headers: dict[str, str] = {
        start + "algorithm": "AES256",
        start + "key": base64.b64encode(MINE.key).decode(),
        start + "key-md5": MINE.md5,
    }

    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            for allowed in (False, True):
                gateway = Gateway(
                    made.store,
                    guard=guard_of(made.site.index),
                    region=REGION,
                    domain="",
                    clock=StillClock(),
                    teller=Teller(),
                    customer_keys=allowed,
                )
                async with serving(gateway.handle) as (_, port):
                    client = await RawClient.connect(port)
                    answer = await client.ask(way(Ask("PUT", f"/{BUCKET}/k", headers=headers, body=b"body")).bytes)
                    assert answer.status == (200 if allowed else 400)
                    assert allowed or code_of(answer) == "InvalidRequest"
                    answer = await client.ask(way(Ask("PUT", f"/{BUCKET}/plain", body=b"body")).bytes)
                    assert answer.status == 200
                    client.leave()
            assert (await made.got(get("k", ASKS["SSE-C"])))[1] == b"body"

    asyncio.run(main())


def test_only_the_store_asks_for_keys() -> None:
    package = Path(holdfast.__file__).parent
    asking = [path for path in package.rglob("*.py") if "site.vault" in path.read_text()]
    assert [path.relative_to(package).as_posix() for path in asking] == ["store/seals.py"]


@pytest.mark.parametrize("kind", ASKS)
def test_older_versions_stay_sealed_and_readable_wherever_they_move(tmp_path: Path, kind: str) -> None:
    """In a grid an older version lies under a name of its own; its key still belongs to the object's."""
    ask = ASKS[kind]

    async def scene(made: Engine) -> None:
        await made.store.put_setting(PutSetting(BUCKET, "versioning", Versioning("Enabled")))
        ids: dict[str, bytes] = {}
        for size in (100, BLOCK_BYTES + 3, 2000):
            done = await made.store.put_object(PutObject(BUCKET, "k", Facts(), seal=ask), Bytes(body(size)))
            ids[done.version_id] = body(size)
            await made.converge()
        while await made.site.index.trim_inline(0, limit=1000):
            pass
        for version_id, data in ids.items():
            got, read = await made.got(get("k", ask, version_id=version_id))
            assert read == data and got.version.version_id == version_id
            where = CopySource(BUCKET, "k", version_id, customer=ask.customer)
            await made.store.copy_object(CopyObject(BUCKET, "c", where, False, Facts(), seal=ASKS["SSE-S3"]))
            assert await made.read("c") == data
        for seat in made.site.seats.values():
            for held in await seat.grid.list(BUCKET):
                copy = await seat.grid.get(Place(BUCKET, held.key))
                assert (b"".join([piece async for piece in copy.stream()])).startswith(MAGIC), held.key

    play(tmp_path, scene)
