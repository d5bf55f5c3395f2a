"""A place at Azure Blob Storage or Google Cloud Storage that keeps objects as plain objects.

Answers for the guarantees of `Grid` over `obstore`: a small body is one request when it is published, a large one an upload
in parts that is staged and then published by closing it. What the two differ in is in their row of `providers`. It never repeats a
change, and holds no large body whole. Invariant: "not there" is said only while the identity of the attached
place was seen to be in place.
"""

import asyncio
import re
import weakref
from collections.abc import AsyncIterator

from holdfast.clock import Clock
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.grids.grid import Capabilities, Download, Held, Label, Source, Staged
from holdfast.grids.identity import Identity, NoPlace
from holdfast.grids.obstore.attributes import attributes_of, label_of
from holdfast.grids.obstore.marks import ObstoreMarks
from holdfast.grids.obstore.names import (
    HARD,
    Unholdable,
    begin_after,
    directory_of,
    hard_key,
    in_byte_order,
    is_plain,
    name_of,
    refused_keys,
)
from holdfast.grids.obstore.providers import Provider, part_bytes
from holdfast.grids.obstore.store import Account, Facts, Found, Writer
from holdfast.grids.s3.location import MARK, PRIVATE, Location, Spot
from holdfast.grids.s3.replies import Asked
from holdfast.grids.s3.uploads import Room, read_whole
from holdfast.grids.sources import DownloadSource, gone
from holdfast.limits import GRID_WAIT_S, OBSTORE_HELD_BYTES, OBSTORE_LANES, S3_IDENTITY_S, S3_PART_BYTES, S3_PUT_BYTES
from holdfast.model import Place, Span

_LAST = "~"
"""Above every name of ours below `.holdfast/`."""


class _Staged:
    """Bytes to be published: a body in memory, or an upload at the provider."""

    __slots__ = ("__weakref__", "attributes", "data", "label", "pending_bytes", "place", "size", "writer")

    def __init__(self, place: Place, label: Label, attributes: dict[str, str], size: int) -> None:
        self.place = place
        self.label = label
        self.attributes = attributes
        self.size = size
        self.data: bytes | None = None
        self.writer: Writer | None = None
        self.pending_bytes = 0


class ObstoreGrid:
    """A container or bucket, a directory in one, or many of them, in one account."""

    def __init__(self, name: str, location: Location, account: Account, *, clock: Clock) -> None:
        self.name = name
        self._location = location
        self._account = account
        self._provider = account.provider
        self._identity = Identity(name, ObstoreMarks(name, location, account), clock=clock)
        self._room = Room(OBSTORE_HELD_BYTES)
        self.capabilities = _capabilities(account.provider, location)
        self._refused = re.compile(self.capabilities.refused_keys)

    async def attach(self, known: str) -> str:
        return await self._identity.attach(known)

    # --- writing ---

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        spot = self._spot(place, "stage")
        staged = _Staged(place, label, attributes_of(label, self._provider), source.size)
        if source.size > self._provider.object_bytes:
            detail = f"{source.size} bytes are more than the {self._provider.object_bytes} that can be held"
            raise self._refuse("stage", place, detail, Reason.INVALID)
        if source.size > S3_PUT_BYTES:
            await self._upload(staged, spot, source)
        elif source.data is not None:
            staged.data = source.data
        else:
            await self._take_room(staged, source.size)
            staged.data = await read_whole(source)
        staged.pending_bytes = len(staged.data) if staged.data is not None else S3_PART_BYTES * OBSTORE_LANES
        return staged

    async def _upload(self, staged: _Staged, spot: Spot, source: Source) -> None:
        part = part_bytes(source.size, self._provider)
        lanes = OBSTORE_LANES if part <= S3_PART_BYTES else 1
        await self._take_room(staged, part * (lanes + 1))
        await self._identity.claim()
        asked = self._asked("stage", staged.place, spot)
        writer = await self._account.begin(asked, spot, staged.attributes, part=part, lanes=lanes)
        moved = 0
        async for piece in source.stream():
            moved += len(piece)
            if moved > source.size:
                break
            await writer.write(piece)
        if moved != source.size:
            raise gone(f"the body has {moved} bytes or more instead of {source.size}")
        staged.writer = writer

    async def publish(self, staged: Staged) -> str:
        assert isinstance(staged, _Staged)
        with self._identity.changing():
            await self._identity.claim()
            return await self._publish(staged)

    async def _publish(self, staged: _Staged) -> str:
        place = staged.place
        spot = self._spot(place, "publish")
        asked = self._asked("publish", place, spot, changes=True)
        writer, staged.writer = staged.writer, None
        if writer is not None:
            await writer.finish(asked)
            return await self._published(asked, staged, spot)
        if staged.data is None:
            raise Unavailable(self.name, "publish", "the staged bytes are gone", bucket=place.bucket, key=place.key)
        etag = await self._account.put(asked, spot, staged.data, staged.attributes)
        staged.data = None
        if not etag:
            raise Uncertain(self.name, "publish", "the reply has no etag", bucket=place.bucket, key=place.key)
        return etag

    async def _published(self, asked: Asked, staged: _Staged, spot: Spot) -> str:
        """The etag of what was just published, which the library does not say. Raises Uncertain."""
        place = asked.place
        try:
            found = await self._account.head(self._asked("head", place, spot), spot)
        except GridError as trouble:
            detail = f"it was published, and its etag is not known: {trouble.detail}"
            raise Uncertain(self.name, asked.operation, detail, bucket=place.bucket, key=place.key) from trouble
        label = label_of(found.attributes, self._provider)
        if found.facts.size != staged.size or (label is not None and label != staged.label):
            detail = "it was published, and something else is there"
            raise Uncertain(self.name, asked.operation, detail, bucket=place.bucket, key=place.key)
        return found.facts.etag

    async def discard(self, staged: Staged) -> None:
        """Blocks that nobody will see are removed by Azure after a week, and at Google by a lifecycle rule."""
        assert isinstance(staged, _Staged)
        staged.data = None
        staged.writer = None

    async def delete(self, place: Place) -> None:
        spot = self._spot(place, "delete")
        await self._identity.claim()
        try:
            await self._account.delete(self._asked("delete", place, spot, changes=True), spot)
        except NoPlace as missing:
            await self._absent_place(missing)
        except Refused as refused:
            if refused.reason is not Reason.ABSENT:
                raise

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        """Through this process: the library's own copy takes no condition and no new label."""
        self._spot(target, "copy")
        download = await self.get(source, if_match=if_match)
        try:
            staged = await self.stage(target, DownloadSource(download), label)
        finally:
            await download.close()
        return await self.publish(staged)

    # --- reading ---

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        spot = self._spot(place, "get")
        asked = self._asked("get", place, spot)
        try:
            found = await self._account.get(asked, spot, span=span, if_match=if_match)
        except (NoPlace, Refused) as answer:
            raise await self._confirmed(asked, answer) from answer
        facts = found.facts
        wanted = (span.start, span.end) if span is not None else (0, facts.size)
        if (found.start, found.end) != wanted or not facts.etag or (if_match and facts.etag != if_match):
            found.close()
            detail = f"it gives bytes {found.start} to {found.end} of {facts.etag!r}, which were not asked for"
            raise Corrupt(self.name, "get", detail, bucket=place.bucket, key=place.key)
        return _Download(found)

    async def head(self, place: Place) -> Held:
        spot = self._spot(place, "head")
        asked = self._asked("head", place, spot)
        try:
            found = await self._account.head(asked, spot)
        except (NoPlace, Refused) as answer:
            raise await self._confirmed(asked, answer) from answer
        facts = found.facts
        return Held(place.key, facts.size, facts.etag, facts.modified_ms, label_of(found.attributes, self._provider))

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        await self._identity.confirm()
        if limit <= 0 or not self._possible(bucket):
            return ()
        asked = self._asked("list", Place(bucket, prefix), Spot(self._location.bucket_of(bucket), ""))
        rows: list[Held] = []
        plain, hard = self._plain(asked, prefix, after), self._hard(asked, prefix, after)
        try:
            one, other = await anext(plain, None), await anext(hard, None)
            while len(rows) < limit and (one is not None or other is not None):
                if other is None or (one is not None and one.key.encode() < other.key.encode()):
                    assert one is not None
                    rows.append(one)
                    one = await anext(plain, None) if len(rows) < limit else None
                else:
                    rows.append(other)
                    other = await anext(hard, None) if len(rows) < limit else None
        except NoPlace as missing:
            await self._absent_place(missing)
            return ()
        except Unholdable as trouble:
            raise Unavailable(self.name, "list", str(trouble), bucket=bucket, key=prefix, lasting=True) from trouble
        return tuple(rows)

    async def _plain(self, asked: Asked, prefix: str, after: str) -> AsyncIterator[Held]:
        """Objects with plain names, in byte order."""
        base = self._location.prefix_of(asked.place.bucket)
        directory = directory_of(base, prefix)
        if directory is None:
            return
        begin, jumped = begin_after(base + max(after, prefix[:-1], key=str.encode)), False
        while True:
            rows = self._account.list(asked, asked.target, directory, begin)
            async for name, facts in in_byte_order((facts.name, facts) async for facts in rows):
                key = name.removeprefix(base)
                if key.startswith(PRIVATE):
                    if jumped:  # It lists from the beginning, wherever it was told to begin.
                        continue
                    break
                if key.encode() <= after.encode() or not key.startswith(prefix):
                    if key.encode() > prefix.encode() and not key.startswith(prefix):
                        return
                elif is_plain(key, base, self._provider):
                    yield _held(key, facts)
            else:
                return
            after, begin, jumped = max(after, PRIVATE + _LAST, key=str.encode), base + PRIVATE + _LAST, True

    async def _hard(self, asked: Asked, prefix: str, after: str) -> AsyncIterator[Held]:
        """Objects with hard names, in byte order: that of hexadecimal is that of the keys."""
        base = self._location.prefix_of(asked.place.bucket)
        below = base + HARD
        begin = below + max(after.encode().hex(), prefix.encode().hex()[:-1])
        async for facts in self._account.list(asked, asked.target, below.rstrip("/"), begin.rstrip("/")):
            key = hard_key(facts.name, base)
            if key is None or key.encode() <= after.encode():
                continue
            if key.startswith(prefix):
                yield _held(key, facts)
            elif key.encode() > prefix.encode():
                return

    async def release(self) -> None:
        """Give an empty place up, so that another index may have it. Raises Unavailable when objects are left."""
        await self._identity.release()

    async def close(self) -> None:
        await self._account.close()

    # --- within ---

    def _possible(self, bucket: str) -> bool:
        """Whether a client's bucket can be there at all."""
        if not self._location.per_bucket:
            return True
        return re.fullmatch(self._provider.container, self._location.bucket_of(bucket), re.ASCII) is not None

    def _spot(self, place: Place, operation: str) -> Spot:
        """Where an object lies. Raises Refused(INVALID) for what can never be held."""
        bucket = self._location.bucket_of(place.bucket)
        if not self._possible(place.bucket):
            detail = f'"{bucket}" cannot be the name of a {self._provider.place}'
            raise self._refuse(operation, place, detail, Reason.INVALID)
        if self._refused.search(f"{place.bucket}/{place.key}" if self.capabilities.bucket_in_key else place.key):
            detail = "the key cannot be a name there, and is too long to be escaped"
            raise self._refuse(operation, place, detail, Reason.INVALID)
        try:
            return Spot(bucket, name_of(place.key, self._location.prefix_of(place.bucket), self._provider))
        except Unholdable as trouble:
            raise self._refuse(operation, place, str(trouble), Reason.INVALID) from trouble

    async def _take_room(self, staged: _Staged, size: int) -> None:
        """Take memory for as long as the staged bytes are in anybody's hands."""
        try:
            async with asyncio.timeout(GRID_WAIT_S):
                await self._room.take(size)
        except TimeoutError as late:
            detail, place = f"{OBSTORE_HELD_BYTES} bytes are on their way to it", staged.place
            raise Unavailable(self.name, "stage", detail, bucket=place.bucket, key=place.key, shielded=True) from late
        weakref.finalize(staged, self._room.give, size)

    async def _absent_place(self, missing: NoPlace, *, age_s: float = S3_IDENTITY_S) -> None:
        """A container is not there: that is an answer only where each client's bucket is one, and this is the place."""
        if not self._location.per_bucket:
            raise missing
        await self._identity.confirm(age_s=age_s)

    async def _confirmed(self, asked: Asked, answer: NoPlace | Refused) -> GridError:
        """Before "not there" leaves here: it is the right place that says so, seen after the answer. A provider may have come
        back empty since the last look, and the reply to HEAD does not even say whether it is the container that is missing."""
        if isinstance(answer, NoPlace):
            await self._absent_place(answer, age_s=0.0)
            return self._refuse(asked.operation, asked.place, "not there", Reason.ABSENT)
        if answer.reason is Reason.MISMATCH:  # Azure says so of what is not there, too.
            try:
                await self.head(asked.place)
            except Refused as absent:
                return self._refuse(asked.operation, asked.place, absent.detail, absent.reason)
        if answer.reason is Reason.ABSENT:
            await self._identity.confirm(age_s=0.0)
        return answer

    def _asked(self, operation: str, place: Place, spot: Spot, *, changes: bool = False) -> Asked:
        return Asked(self.name, operation, place, spot.bucket, changes)

    def _refuse(self, operation: str, place: Place, detail: str, reason: Reason) -> Refused:
        return Refused(self.name, operation, detail, reason=reason, bucket=place.bucket, key=place.key)


def _capabilities(provider: Provider, location: Location) -> Capabilities:
    return Capabilities(
        metadata=True,
        server_copy=False,
        local=False,
        object_bytes=provider.object_bytes,
        key_bytes=provider.name_limit - len(location.prefix.replace(MARK, "")),
        bucket_in_key=MARK in location.prefix,
        refused_keys=refused_keys(provider, location.prefix),
        metadata_bytes=provider.metadata_bytes,
    )


def _held(key: str, facts: Facts) -> Held:
    return Held(key, facts.size, facts.etag, facts.modified_ms)


class _Download:
    __slots__ = ("_found",)

    def __init__(self, found: Found) -> None:
        self._found = found

    @property
    def etag(self) -> str:
        return self._found.facts.etag

    @property
    def size(self) -> int:
        return self._found.facts.size

    def stream(self) -> AsyncIterator[bytes]:
        return self._found.stream()

    async def close(self) -> None:
        self._found.close()
