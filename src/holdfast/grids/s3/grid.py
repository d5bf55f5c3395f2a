"""A place at an S3-compatible vendor that keeps objects as plain objects.

Answers for the guarantees of `Grid` over S3 requests: a small body is one PutObject when it is published, a large one a multipart
upload that is staged in parts and published by completing it. What the vendor does differently is in its row of
`quirks`, what a reply means in `replies`. It never repeats a change, and holds no body whole. Invariant: "not there" is
said only while the identity of the attached place was seen to be in place.
"""

import asyncio
import re
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from urllib.parse import unquote_plus

from holdfast.clock import Clock
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.events import Teller
from holdfast.grids.grid import Download, Held, Label, Source, Staged
from holdfast.grids.identity import Identity
from holdfast.grids.s3.connection import Answer, Pool
from holdfast.grids.s3.credentials import KeySource
from holdfast.grids.s3.deletes import Deletes
from holdfast.grids.s3.labels import headers_of, label_of
from holdfast.grids.s3.location import Location, Spot
from holdfast.grids.s3.marks import S3Marks
from holdfast.grids.s3.replies import Asked, NoBucket, date_ms, iso_ms, reply_tree
from holdfast.grids.s3.requests import Request, Requester
from holdfast.grids.s3.terms import Address, Endpoint, capabilities_of
from holdfast.grids.s3.uploads import Room, Upload, Uploads, read_whole
from holdfast.grids.sources import DownloadSource
from holdfast.limits import (
    GRID_WAIT_S,
    LIST_PAGE,
    S3_ALOOF_S,
    S3_COMPOSE,
    S3_HELD_BYTES,
    S3_PUT_BYTES,
    S3_SORT_KEYS,
)
from holdfast.model import Place, Span, Value
from holdfast.signing import encode_path
from holdfast.xml import Element


class _Elsewhere(Value, frozen=True):
    """A copy of a body in another grid's place at the provider."""

    spot: Spot
    etag: str
    size: int
    label: Label


class _Staged:
    """Bytes to be published: a body in memory, an upload at the provider, or a copy that lies elsewhere at the provider."""

    __slots__ = ("__weakref__", "data", "elsewhere", "headers", "pending_bytes", "place", "release", "upload")

    def __init__(
        self,
        place: Place,
        headers: dict[str, str],
        *,
        data: bytes | None = None,
        upload: Upload | None = None,
        elsewhere: _Elsewhere | None = None,
        pending_bytes: int = 0,
    ) -> None:
        self.place = place
        self.headers = headers
        self.data = data
        self.upload = upload
        self.elsewhere = elsewhere
        self.pending_bytes = pending_bytes or len(data or b"")
        self.release: Callable[[], object] = int
        """Gives the room of the body back; more than once does no harm."""

    def forget(self) -> None:
        """The body is not needed any more."""
        self.data = None
        self.release()


class S3Grid:
    """A bucket, a directory in one, or many buckets, at one vendor."""

    def __init__(
        self,
        name: str,
        location: Location,
        endpoint: Endpoint,
        *,
        keys: KeySource,
        pool: Pool,
        create_buckets: bool,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self.name = name
        self._location = location
        self._quirks = endpoint.quirks
        self._clock = clock
        self._create = create_buckets
        self._address = Address(endpoint, location, keys)
        self._aloof: dict[str, float] = {}
        """Buckets that the provider does not let us copy from, and until when that is believed (monotonic seconds)."""
        self._requester = Requester(endpoint, pool, keys, clock=clock, teller=teller, grid=name)
        self._marks = S3Marks(
            name, location, self._requester, clock=clock, create=create_buckets, region=endpoint.region
        )
        self._identity = Identity(name, self._marks, clock=clock)
        self.capabilities = capabilities_of(self._address)
        self._room = Room(S3_HELD_BYTES)
        self._uploads = Uploads(self._requester, self._room, clock=clock)
        self._deletes = Deletes(name, self._requester, self._identity, clock=clock, teller=teller)

    async def attach(self, known: str) -> str:
        identity = await self._identity.attach(known)
        if identity == known:
            spot = self._location.identity
            asked = self._asked("sweep", Place("", ""), spot)
            await self._uploads.sweep(asked, spot.bucket, self._location.base)
        return identity

    # --- writing ---

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        spot = self._spot(place, "stage")
        headers = headers_of(label, room_bytes=self._quirks.metadata_bytes)
        if (elsewhere := await self._elsewhere(source, label, headers)) is not None:
            return _Staged(place, headers, elsewhere=elsewhere, pending_bytes=source.size)
        if source.size > S3_PUT_BYTES:
            asked = self._asked("stage", place, spot)
            await self._identity.claim()
            try:
                upload = await self._uploads.stage(asked, spot, source, headers, self._location.base)
            except NoBucket as missing:
                await self._make_bucket(spot, missing)
                upload = await self._uploads.stage(asked, spot, source, headers, self._location.base)
            return _Staged(place, headers, upload=upload, pending_bytes=source.size // S3_COMPOSE)
        if source.data is not None:
            return _Staged(place, headers, data=source.data)
        await self._take_room(place, source.size)
        try:
            staged = _Staged(place, headers, data=await read_whole(source))
        except BaseException:
            self._room.give(source.size)
            raise
        # Also when nobody publishes or discards it: whoever meant to may have been cancelled.
        staged.release = weakref.finalize(staged, self._room.give, source.size)
        return staged

    async def publish(self, staged: Staged) -> str:
        assert isinstance(staged, _Staged)
        with self._identity.changing():
            await self._identity.claim()
            return await self._publish(staged)

    async def _publish(self, staged: _Staged) -> str:
        place, upload = staged.place, staged.upload
        spot = self._spot(place, "publish")
        asked = self._asked("publish", place, spot, changes=True)
        if upload is not None:
            return await self._complete(asked, upload)
        if staged.elsewhere is not None:
            return await self._bring_over(asked, spot, staged.elsewhere, staged.headers)
        if staged.data is None:
            raise Unavailable(self.name, "publish", "the staged bytes are gone", bucket=place.bucket, key=place.key)
        request = Request("PUT", spot, headers=staged.headers)
        try:
            answered, _ = await self._requester.ask(asked, request, staged.data)
        except NoBucket as missing:
            await self._make_bucket(spot, missing)
            answered, _ = await self._requester.ask(asked, request, staged.data)
        staged.forget()
        return self._etag(asked, answered)

    async def _complete(self, asked: Asked, upload: Upload) -> str:
        request = Request("POST", upload.spot, (("uploadId", upload.upload_id),), {"content-type": "application/xml"})
        answered, body = await self._requester.ask(asked, request, upload.document)
        tree = reply_tree(asked, body, answered, "CompleteMultipartUploadResult", now_ms=self._clock.now_ms())
        if self._quirks.etag_of_upload:
            return self._etag(asked, {"etag": tree.get("ETag") or ""})
        return (await self._seen(asked)).etag

    async def _elsewhere(self, source: Source, label: Label, headers: dict[str, str]) -> _Elsewhere | None:
        """The first of a body's origins that the provider may copy from. The copy must carry a label: it is how it is known."""
        if not self._quirks.copy_if_match or source.size > self._quirks.copy_bytes or label_of(headers) is None:
            return None
        for origin in source.origins:
            if isinstance(origin.address, Address) and await self._address.reaches(origin.address):
                spot = origin.address.location.spot(origin.place)
                if self._clock.monotonic_s() >= self._aloof.get(spot.bucket, float("-inf")):
                    return _Elsewhere(spot, origin.etag, source.size, label)
        return None

    async def _bring_over(self, asked: Asked, spot: Spot, origin: _Elsewhere, headers: dict[str, str]) -> str:
        """Have the provider copy, and look at what is there then. Raises Refused(MISMATCH) when it answered that it will not."""
        try:
            await self._copy_object(asked, spot, origin.spot, origin.etag, headers)
        except (Refused, Unavailable) as trouble:
            if isinstance(trouble, Unavailable):
                # Being asked too much is for everybody to obey; what has a cause is no reply, but a silence.
                if not trouble.lasting or trouble.__cause__ is not None:
                    raise
                if not isinstance(trouble, NoBucket):
                    self._aloof[origin.spot.bucket] = self._clock.monotonic_s() + S3_ALOOF_S
            detail = f"no copy from bucket {origin.spot.bucket}: {trouble.detail}"
            raise self._refuse(asked, detail, Reason.MISMATCH) from trouble
        held = await self._seen(asked)
        label = held.label
        if (
            held.size != origin.size
            or label is None
            or (label.seq, label.etag) != (origin.label.seq, origin.label.etag)
        ):
            raise self._corrupt(asked, "it was copied, and what is there is something else")
        return held.etag

    async def _seen(self, asked: Asked) -> Held:
        """What is there after a change. Raises Uncertain."""
        try:
            return await self.head(asked.place)
        except GridError as trouble:
            detail = f"it was published, and its etag is not known: {trouble.detail}"
            raise Uncertain(
                self.name, asked.operation, detail, bucket=asked.place.bucket, key=asked.place.key
            ) from trouble

    async def discard(self, staged: Staged) -> None:
        assert isinstance(staged, _Staged)
        staged.forget()
        upload, staged.upload = staged.upload, None
        if upload is not None:
            asked = self._asked("discard", staged.place, upload.spot)
            await self._uploads.abort(asked, upload.spot, upload.upload_id)

    async def delete(self, place: Place) -> None:
        spot = self._spot(place, "delete")
        try:
            await self._deletes.delete(self._asked("delete", place, spot, changes=True), spot)
        except NoBucket as missing:
            await self._absent_bucket(missing)
        except Refused as refused:
            if refused.reason is not Reason.ABSENT:
                raise

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        spot, origin = self._spot(target, "copy"), self._spot(source, "copy")
        if not self._quirks.copy_if_match:
            return await self._carry(source, target, if_match, label)
        headers = headers_of(label, room_bytes=self._quirks.metadata_bytes)
        asked = self._asked("copy", source, spot, changes=True)
        await self._identity.claim()
        try:
            etag = await self._copy_object(asked, spot, origin, if_match, headers)
        except Refused as refused:
            await self._confirmed(refused)
            raise
        return self._etag(asked, {"etag": etag})

    async def _copy_object(self, asked: Asked, spot: Spot, origin: Spot, if_match: str, headers: dict[str, str]) -> str:
        """The etag that the reply names; possibly none."""
        directives = {
            "x-amz-copy-source": encode_path(f"/{origin.bucket}/{origin.key}"),
            "x-amz-copy-source-if-match": f'"{if_match}"',
            "x-amz-metadata-directive": "REPLACE",
        }
        answered, body = await self._requester.ask(asked, Request("PUT", spot, headers=headers | directives))
        tree = reply_tree(asked, body, answered, "CopyObjectResult", now_ms=self._clock.now_ms())
        return tree.get("ETag") or ""

    async def _carry(self, source: Place, target: Place, if_match: str, label: Label) -> str:
        """A copy through this process."""
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
        headers = {"range": f"bytes={span.start}-{span.end - 1}"} if span is not None else {}
        if if_match:
            headers["if-match"] = f'"{if_match}"'
        if self._quirks.gzip:
            headers["accept-encoding"] = "gzip"
        try:
            answer = await self._requester.open(asked, Request("GET", spot, headers=headers))
        except NoBucket as missing:
            raise await self._nothing(asked, missing) from missing
        except Refused as refused:
            await self._confirmed(refused)
            raise
        try:
            return self._download(asked, answer, span, if_match)
        except GridError:
            answer.close()
            raise

    def _download(self, asked: Asked, answer: Answer, span: Span | None, if_match: str) -> Download:
        etag = self._etag(asked, answer.headers)
        if if_match and etag != if_match:
            detail = f"its etag is {etag}"
            if self._quirks.if_match:
                raise self._corrupt(asked, f"{detail}, although another one was asked for")
            raise self._refuse(asked, detail, Reason.MISMATCH)
        length = answer.headers.get("content-length", "")
        if not length.isdigit():
            raise self._corrupt(asked, "the reply does not say how long it is")
        if span is None:
            return _Download(answer, etag, int(length))
        if "content-range" not in answer.headers:
            if span.start or int(length) != span.size:
                raise self._corrupt(asked, f"it gives {length} bytes where {span.size} were asked for")
            return _Download(answer, etag, int(length))
        extent, _, total = answer.headers.get("content-range", "").removeprefix("bytes ").partition("/")
        if extent != f"{span.start}-{span.end - 1}" or int(length) != span.size or not total.isdigit():
            raise self._corrupt(
                asked, f"it gives bytes {extent or 'unknown'} where {span.start}-{span.end - 1} were asked for"
            )
        return _Download(answer, etag, int(total))

    async def head(self, place: Place) -> Held:
        spot = self._spot(place, "head")
        asked = self._asked("head", place, spot)
        try:
            headers, _ = await self._requester.ask(asked, Request("HEAD", spot))
        except NoBucket as missing:
            raise await self._nothing(asked, missing) from missing
        except Refused as refused:
            await self._confirmed(refused)
            raise
        length, modified_ms = headers.get("content-length", ""), date_ms(headers.get("last-modified", ""))
        if not length.isdigit() or modified_ms is None:
            raise self._corrupt(asked, "the reply says neither its length nor its time")
        return Held(place.key, int(length), self._etag(asked, headers), modified_ms, label_of(headers))

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        asked = self._asked("list", Place(bucket, prefix), Spot(self._location.bucket_of(bucket), ""))
        await self._identity.confirm()
        try:
            if self._quirks.byte_order:
                return await self._page(asked, prefix, after, limit)
            rows = [row async for row in self._rows(asked, prefix, "") if row.key.encode() > after.encode()]
            return tuple(sorted(rows, key=lambda row: row.key.encode())[:limit])
        except NoBucket as missing:
            await self._absent_bucket(missing)
            return ()

    async def _page(self, asked: Asked, prefix: str, after: str, limit: int) -> tuple[Held, ...]:
        rows: list[Held] = []
        if limit > 0:
            async for row in self._rows(asked, prefix, after, limit):
                rows.append(row)
                if len(rows) == limit:
                    break
        return tuple(rows)

    async def _rows(self, asked: Asked, prefix: str, after: str, limit: int = LIST_PAGE) -> AsyncIterator[Held]:
        """Objects in the vendor's order. Raises GridError."""
        location, bucket = self._location, asked.place.bucket
        base = location.prefix_of(bucket)
        query = [
            ("list-type", "2"),
            ("prefix", base + location.escape(prefix)),
            ("encoding-type", "url"),
            ("max-keys", str(min(limit + 1, LIST_PAGE))),
        ]
        more = [("start-after", base + location.escape(after))] if after else []
        seen = 0
        while True:
            request = Request("GET", Spot(location.bucket_of(bucket), ""), (*query, *more))
            headers, body = await self._requester.ask(asked, request)
            tree = reply_tree(asked, body, headers, "ListBucketResult", now_ms=self._clock.now_ms())
            decoded = tree.get("EncodingType") == "url"
            for item in tree.all("Contents"):
                held = self._listed(asked, bucket, item, decoded)
                seen += 1
                if held is not None and held.key.startswith(prefix):
                    yield held
            if tree.get("IsTruncated") != "true":
                return
            if seen > S3_SORT_KEYS:
                detail = f"the listing of more than {S3_SORT_KEYS} keys does not end, or is in no order"
                raise Unavailable(self.name, "list", detail, bucket=bucket, lasting=True)
            before, token = more, tree.get("NextContinuationToken")
            more = [("continuation-token", token or "")]
            if not token or more == before:
                raise self._corrupt(asked, "the listing goes on and does not say where")

    def _listed(self, asked: Asked, bucket: str, item: Element, decoded: bool) -> Held | None:
        name, size, modified_ms = item.get("Key") or "", item.get("Size") or "", iso_ms(item.get("LastModified") or "")
        if decoded:
            name = unquote_plus(name)
        if not size.isdigit() or modified_ms is None:
            raise self._corrupt(asked, f"the listing says neither size nor time of {name!r}")
        key = self._location.key_of(bucket, name)
        return None if key is None else Held(key, int(size), _bare(item.get("ETag") or ""), modified_ms)

    async def release(self) -> None:
        """Give an empty place up, so that another index may have it. Raises Unavailable when objects are left."""
        await self._identity.release()

    async def close(self) -> None:
        self._deletes.close()
        await self._requester.close()

    # --- within ---

    def _spot(self, place: Place, operation: str) -> Spot:
        """Where an object lies. Raises Refused(INVALID) for what can never be held."""
        spot = self._location.spot(place)
        try:
            size = len(spot.key.encode())
        except UnicodeEncodeError as trouble:
            asked = self._asked(operation, place, spot)
            raise self._refuse(asked, "the key is not UTF-8", Reason.INVALID) from trouble
        if not place.key or size > self._quirks.key_bytes:
            asked = self._asked(operation, place, spot)
            detail = f"its name there would have {size} bytes; it takes 1 to {self._quirks.key_bytes}"
            raise self._refuse(asked, detail, Reason.INVALID)
        if self._quirks.refused_keys and re.search(self._quirks.refused_keys, spot.key):
            asked = self._asked(operation, place, spot)
            raise self._refuse(asked, "the provider cannot hold this name", Reason.INVALID)
        return spot

    async def _take_room(self, place: Place, size: int) -> None:
        try:
            async with asyncio.timeout(GRID_WAIT_S):
                await self._room.take(size)
        except TimeoutError as late:
            detail = f"{S3_HELD_BYTES} bytes are on their way to it"
            raise Unavailable(self.name, "stage", detail, bucket=place.bucket, key=place.key, shielded=True) from late

    async def _make_bucket(self, spot: Spot, missing: NoBucket) -> None:
        """Create a client's bucket at the provider before its first object, where that is wanted."""
        if not self._create or not self._location.per_bucket:
            raise missing
        await self._identity.confirm()
        await self._marks.create_bucket(spot.bucket)

    async def _absent_bucket(self, missing: NoBucket) -> None:
        """A bucket is not there: that is an answer only where each client's bucket is one, and this is the place."""
        if not self._location.per_bucket:
            raise missing
        await self._identity.confirm()

    async def _nothing(self, asked: Asked, missing: NoBucket) -> GridError:
        """What a read is told when there is no bucket."""
        if not self._location.per_bucket:
            return missing
        await self._identity.confirm(age_s=0.0)
        return self._refuse(asked, "not there", Reason.ABSENT)

    async def _confirmed(self, refused: Refused) -> None:
        """Before "not there" leaves here: it is the right place that says so, seen after the answer. A provider may have come
        back empty since the last look, and the reply to HEAD does not even say whether it is the bucket that is missing."""
        if refused.reason is Reason.ABSENT:
            await self._identity.confirm(age_s=0.0)

    def _asked(self, operation: str, place: Place, spot: Spot, *, changes: bool = False) -> Asked:
        return Asked(self.name, operation, place, spot.bucket, changes)

    def _etag(self, asked: Asked, headers: Mapping[str, str]) -> str:
        etag = _bare(headers.get("etag", ""))
        if not etag:
            raise self._corrupt(asked, "the reply has no etag")
        return etag

    def _corrupt(self, asked: Asked, detail: str) -> GridError:
        kind = Uncertain if asked.changes else Corrupt
        return kind(self.name, asked.operation, detail, bucket=asked.place.bucket, key=asked.place.key)

    def _refuse(self, asked: Asked, detail: str, reason: Reason) -> Refused:
        place = asked.place
        return Refused(self.name, asked.operation, detail, reason=reason, bucket=place.bucket, key=place.key)


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


class _Download:
    __slots__ = ("_answer", "etag", "size")

    def __init__(self, answer: Answer, etag: str, size: int) -> None:
        self._answer = answer
        self.etag = etag
        self.size = size

    def stream(self) -> AsyncIterator[bytes]:
        return self._answer.stream()

    async def close(self) -> None:
        self._answer.close()
