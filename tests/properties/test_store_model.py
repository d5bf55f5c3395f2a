"""The store against a model of it in a dictionary: any sequence of requests, with one grid failing, engines that start
again, and catch-up at any moment. What a client is answered is what the model answers, always."""

import asyncio
import hashlib
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.errors import S3Error
from holdfast.limits import DOUBT_S, INLINE_BYTES, PART_BYTES_MIN
from holdfast.model import ALWAYS, Facts, Presence, Value, WriteCondition
from holdfast.s3 import (
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CopySource,
    CreateMultipartUpload,
    DeleteObject,
    Expected,
    GetObject,
    ListObjects,
    PartAsk,
    PutObject,
    RangeAsk,
    ReadConditions,
    UploadPart,
)
from holdfast.testing.faults import Fault, Kind
from tests.engine import BUCKET, Bytes, Engine, md5
from tests.promises.troubled import Troubled

T = TypeVar("T")
KEYS = st.sampled_from(["a", "a/b", "a/c", "a/c/d", "b", "b/", "é"])
SIZES = st.sampled_from([0, INLINE_BYTES, INLINE_BYTES + 1, INLINE_BYTES + 2])
"""Kept in the index, or in the spool."""
CONDITIONS = st.sampled_from([Presence.ANY, Presence.ANY, Presence.ABSENT, Presence.MATCH])
READ_TROUBLES = st.sampled_from([None, Kind.REFUSE, Kind.ABSENT, Kind.CORRUPT, Kind.CORRUPT, Kind.TRUNCATED])
CHANGE_TROUBLES = st.sampled_from([None, Kind.REFUSE, Kind.LASTING, Kind.LOST_ANSWER, Kind.LATE, Kind.LATE])


class Body(Value, frozen=True):
    """An object of the model."""

    data: bytes
    etag: str


class Upload:
    """A multipart upload of the model."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.parts: dict[int, Body] = {}


class StoreMachine(RuleBasedStateMachine):
    """Requests in any order, next to what they must answer."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.troubled = Troubled(deadline_s=30)
        self.stack = AsyncExitStack()
        self.engine = self.open()
        self.objects: dict[str, Body] = {}
        self.etags = ["never written"]
        self.uploads: dict[str, Upload] = {}
        self.written = 0
        self.failing = ""

    def open(self) -> Engine:
        return self.wait(self.stack.enter_async_context(self.troubled.engine(Path(self.folder.name))))

    def wait(self, work: Awaitable[T]) -> T:
        async def waiting() -> T:
            return await work

        return self.loop.run_until_complete(waiting())

    def teardown(self) -> None:
        self.converge()
        self.wait(self.stack.aclose())
        self.loop.close()
        self.folder.cleanup()

    def fresh(self, size: int) -> bytes:
        self.written += 1
        return (f"{self.written:>11}".encode() * (size // 11 + 1))[:size]

    def answer(self, work: Awaitable[T], expected: str) -> T | None:
        """What a request returns when the model wants success (""), or nothing when it wants this error."""
        try:
            result = self.wait(work)
        except S3Error as refusal:
            assert refusal.code == expected
            return None
        assert not expected, f"should have been {expected}"
        return result

    def condition(self, kind: Presence, pick: int) -> WriteCondition:
        if kind is Presence.MATCH:
            return WriteCondition(kind, self.etags[pick % len(self.etags)])
        return ALWAYS if kind is Presence.ANY else WriteCondition(kind)

    def verdict(self, key: str, condition: WriteCondition) -> str:
        there = self.objects.get(key)
        match condition.presence:
            case Presence.ABSENT:
                return "" if there is None else "PreconditionFailed"
            case Presence.MATCH:
                if there is None:
                    return "NoSuchKey"
                return "" if there.etag == condition.etag else "PreconditionFailed"
            case _:
                return ""

    def now_is(self, key: str, data: bytes, etag: str) -> None:
        self.objects[key] = Body(data, etag)
        self.etags.append(etag)

    # --- objects ---

    @rule(key=KEYS, size=SIZES, kind=CONDITIONS, pick=st.integers(0, 99))
    def put(self, key: str, size: int, kind: Presence, pick: int) -> None:
        data, condition = self.fresh(size), self.condition(kind, pick)
        verdict = self.verdict(key, condition)
        ask = PutObject(BUCKET, key, Facts(), condition=condition)
        done = self.answer(self.engine.store.put_object(ask, Bytes(data)), verdict)
        if done is not None:
            assert done.etag == md5(data)
            self.now_is(key, data, done.etag)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=3), size=SIZES)
    def put_some(self, keys: list[str], size: int) -> None:
        for key in keys:
            self.put(key, size, Presence.ANY, 0)

    @rule(key=KEYS, size=SIZES)
    def put_with_a_wrong_digest(self, key: str, size: int) -> None:
        ask = PutObject(BUCKET, key, Facts(), Expected(md5=bytes(16)))
        self.answer(self.engine.store.put_object(ask, Bytes(self.fresh(size))), "BadDigest")

    @rule(key=KEYS, kind=st.sampled_from([Presence.ANY, Presence.MATCH]), pick=st.integers(0, 99))
    def delete(self, key: str, kind: Presence, pick: int) -> None:
        condition = self.condition(kind, pick)
        verdict = self.verdict(key, condition)
        self.answer(self.engine.store.delete_object(DeleteObject(BUCKET, key, condition=condition)), verdict)
        if not verdict:
            self.objects.pop(key, None)

    @rule(source=KEYS, to=KEYS, pick=st.none() | st.integers(0, 99))
    def copy(self, source: str, to: str, pick: int | None) -> None:
        there = self.objects.get(source)
        wanted = () if pick is None else (self.etags[pick % len(self.etags)],)
        verdict = "NoSuchKey" if there is None else "PreconditionFailed" if wanted and there.etag not in wanted else ""
        asked = CopySource(BUCKET, source, conditions=ReadConditions(if_match=wanted))
        done = self.answer(
            self.engine.store.copy_object(CopyObject(BUCKET, to, asked, replace=True, facts=Facts())), verdict
        )
        if done is not None and there is not None:
            assert done.etag == md5(there.data)
            self.now_is(to, there.data, done.etag)

    @invariant()
    def everything_can_be_read(self) -> None:
        for key, there in self.objects.items():
            got, data = self.wait(self.engine.got(GetObject(BUCKET, key)))
            assert (got.version.etag, got.version.size, data) == (there.etag, len(there.data), there.data)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.answer(self.engine.got(GetObject(BUCKET, key)), "" if key in self.objects else "NoSuchKey")

    @rule(key=KEYS, first=st.integers(0, INLINE_BYTES + 2), size=st.integers(1, 20))
    def get_a_range(self, key: str, first: int, size: int) -> None:
        there = self.objects.get(key)
        verdict = "NoSuchKey" if there is None else "InvalidRange" if first >= len(there.data) else ""
        ask = GetObject(BUCKET, key, range=RangeAsk(first=first, last=first + size - 1))
        got = self.answer(self.engine.got(ask), verdict)
        if got is not None and there is not None:
            assert got[1] == there.data[first : first + size]

    @rule(key=KEYS, pick=st.integers(0, 99), head=st.booleans())
    def get_if_it_changed(self, key: str, pick: int, head: bool) -> None:
        there, known = self.objects.get(key), self.etags[pick % len(self.etags)]
        verdict = "NoSuchKey" if there is None else "NotModified" if there.etag == known else ""
        ask = GetObject(BUCKET, key, head=head, conditions=ReadConditions(if_none_match=(known,)))
        got = self.answer(self.engine.got(ask), verdict)
        if got is not None and there is not None:
            assert got[0].version.etag == there.etag

    @rule(
        prefix=st.sampled_from(["", "a", "a/", "a/c", "z"]),
        delimiter=st.sampled_from(["", "/"]),
        after=st.sampled_from(["", "a", "a/b", "b", "z"]),
        limit=st.sampled_from([1, 2, 1000]),
    )
    def list_all(self, prefix: str, delimiter: str, after: str, limit: int) -> None:
        """Page by page. A common prefix that the bound begins with was listed before it."""
        keys = [key for key in sorted(self.objects, key=str.encode) if key.startswith(prefix) and key > after]
        entries = dict.fromkeys(_rolled(key, prefix, delimiter) for key in keys)
        expected = [
            entry for entry in entries if not (delimiter and entry.endswith(delimiter) and after.startswith(entry))
        ]
        seen: list[str] = []
        while True:
            ask = ListObjects(BUCKET, True, prefix, delimiter, after, limit)
            page = self.wait(self.engine.store.list_objects(ask)).page
            assert {key: version.etag for key, version in page.versions} == {
                key: self.objects[key].etag for key, _ in page.versions
            }
            listed = sorted([*(key for key, _ in page.versions), *page.prefixes], key=str.encode)
            assert len(listed) <= limit
            seen += listed
            after = page.next
            if not after:
                break
            assert listed
        assert seen == expected

    # --- multipart ---

    @rule(key=KEYS)
    def begin(self, key: str) -> None:
        begun = self.wait(self.engine.store.create_multipart_upload(CreateMultipartUpload(BUCKET, key, Facts())))
        self.uploads[begun.upload_id] = Upload(key)

    def chosen(self, pick: int) -> tuple[str, Upload]:
        names = list(self.uploads)
        return names[pick % len(names)], self.uploads[names[pick % len(names)]]

    @precondition(lambda self: self.uploads)
    @rule(pick=st.integers(0, 9), number=st.sampled_from([1, 2, 7]), size=st.sampled_from([5, 5, PART_BYTES_MIN]))
    def part(self, pick: int, number: int, size: int) -> None:
        upload_id, upload = self.chosen(pick)
        data = self.fresh(size)
        ask = UploadPart(BUCKET, upload.key, upload_id, number)
        done = self.wait(self.engine.store.upload_part(ask, Bytes(data)))
        assert done.etag == md5(data)
        upload.parts[number] = Body(data, done.etag)

    @precondition(lambda self: self.uploads)
    @rule(pick=st.integers(0, 9), kind=CONDITIONS, etag=st.integers(0, 99))
    def complete(self, pick: int, kind: Presence, etag: int) -> None:
        upload_id, upload = self.chosen(pick)
        parts = [upload.parts[number] for number in sorted(upload.parts)]
        condition = self.condition(kind, etag)
        verdict = self.verdict(upload.key, condition)
        if any(len(part.data) < PART_BYTES_MIN for part in parts[:-1]):
            verdict = "EntityTooSmall"
        if not parts:
            verdict = "MalformedXML"
        asks = tuple(PartAsk(number, upload.parts[number].etag) for number in sorted(upload.parts))
        ask = CompleteMultipartUpload(BUCKET, upload.key, upload_id, asks, condition=condition)
        done = self.answer(self.engine.store.complete_multipart_upload(ask), verdict)
        if done is not None:
            assert done.etag == _etag_of(parts)
            self.now_is(upload.key, b"".join(part.data for part in parts), done.etag)
            del self.uploads[upload_id]

    @precondition(lambda self: self.uploads)
    @rule(pick=st.integers(0, 9))
    def abort(self, pick: int) -> None:
        upload_id, upload = self.chosen(pick)
        ask = AbortMultipartUpload(BUCKET, upload.key, upload_id)
        self.wait(self.engine.store.abort_multipart_upload(ask))
        del self.uploads[upload_id]
        part = UploadPart(BUCKET, upload.key, upload_id, 1)
        self.answer(self.engine.store.upload_part(part, Bytes(b"late")), "NoSuchUpload")

    # --- what happens to the engine ---

    @rule()
    def open_again(self) -> None:
        self.wait(self.stack.aclose())
        self.stack = AsyncExitStack()
        self.engine = self.open()

    @precondition(lambda self: not self.failing)
    @rule(name=st.sampled_from(["a", "b"]), read=READ_TROUBLES, change=CHANGE_TROUBLES, paid=st.booleans())
    def one_grid_fails(self, name: str, read: Kind | None, change: Kind | None, paid: bool) -> None:
        """Its reads, its changes, or both; when all was paid there, nothing is read from the spool."""
        if paid:
            self.wait(self.engine.settle())
        self.failing = name
        if read is not None:
            self.troubled.faults[name].inject(Fault(read), "get", "head")
        if change is not None:
            self.troubled.faults[name].inject(Fault(change), "publish", "delete", "copy")

    @precondition(lambda self: self.failing)
    @rule()
    def it_is_well_again(self) -> None:
        self.troubled.heal()
        self.failing = ""

    @rule()
    def what_is_late_arrives(self) -> None:
        """A change whose answer was lost happens now, whatever came after it, as long as it was not too long ago."""
        for fault in self.troubled.faults.values():
            self.wait(fault.land(DOUBT_S))

    @rule(passed_s=st.sampled_from([0, 10, 700]))
    def catch_up(self, passed_s: int) -> None:
        self.troubled.clock.leap(passed_s)
        self.wait(self.engine.probe())
        self.wait(self.engine.settle())

    @precondition(lambda self: not self.failing)
    @rule()
    def converge(self) -> None:
        """Both grids end up with what clients see, and nothing else."""
        if self.failing:
            self.it_is_well_again()
        self.wait(self.troubled.converge(self.engine))
        expected = {key: body.data for key, body in self.objects.items()}
        for name in ("a", "b"):
            assert self.wait(self.troubled.content(name)) == expected


def _rolled(key: str, prefix: str, delimiter: str) -> str:
    cut = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if cut < 0 else key[: cut + 1]


def _etag_of(parts: list[Body]) -> str:
    digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(digests).hexdigest()}-{len(parts)}"


TestStore: Any = StoreMachine.TestCase
StoreMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=100, deadline=None, derandomize=True)
