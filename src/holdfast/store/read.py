"""GetObject, HeadObject and GetObjectAttributes.

The index says what is current; the bytes come verified from the spool or from whichever grid gives them. Invariant: an answer
is begun only when its first bytes are here and verified, so a silent grid is never seen by the client.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from holdfast.copies.blocks import Block, blocks_of, part_span, trim
from holdfast.copies.reading import NoCopy
from holdfast.copies.site import Site
from holdfast.copies.through import read_through
from holdfast.digests import crc32c
from holdfast.errors import S3Error
from holdfast.health.breaker import State
from holdfast.health.standing import Standing
from holdfast.limits import INLINE_BYTES, LIST_PAGE, READ_AGAIN
from holdfast.model import Checksum, Layout, Place, Span, Version
from holdfast.s3 import GetObject, GetObjectAttributes, ObjectAttributes, ObjectGot
from holdfast.s3.expiry import expiry_of
from holdfast.s3.versioning import RESERVED, is_reserved, is_version_id, versioning_of
from holdfast.sealing.frames import Damaged
from holdfast.store.plan import check_read, order_copies, resolve_range
from holdfast.store.seals import key_of, opener_of

_NOBODY: Final = Standing(State.OPEN, 0.0)
"""A grid that is no longer configured."""


async def current(site: Site, bucket: str, key: str, version_id: str = "") -> Version:
    """The version that a request means. Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (a delete marker)."""
    version = await site.index.get(bucket, key)
    if version is not None and version_id in ("", version.version_id) and not key.startswith(RESERVED):
        return version
    return await _another(site, bucket, key, version_id)


async def _another(site: Site, bucket: str, key: str, version_id: str) -> Version:
    """A version that is not current; raises what is to be said of one that is not there. Amazon S3 User Guide, "Working with delete
    markers"."""
    if is_reserved(key):
        raise S3Error("NoSuchKey", fields={"Key": key})
    fields = {"Key": key}
    found = None
    if versioning_of(await site.index.bucket(bucket)):
        if version_id and not is_version_id(version_id):
            raise S3Error(
                "InvalidArgument",
                "Invalid version id specified",
                fields={"ArgumentName": "versionId", "ArgumentValue": version_id},
            )
        found = await site.index.version(bucket, key, version_id)
    if found is None:
        if version_id:
            raise S3Error("NoSuchVersion", fields=fields | {"VersionId": version_id})
        raise S3Error("NoSuchKey", fields=fields)
    if not found.marker:
        return found
    headers = {"x-amz-delete-marker": "true", "x-amz-version-id": found.version_id}
    if not version_id:
        raise S3Error("NoSuchKey", fields=fields, headers=headers)
    headers |= {"Allow": "DELETE"}
    raise S3Error("MethodNotAllowed", fields={"Method": "GET", "ResourceType": "DeleteMarker"}, headers=headers)


async def get_object(site: Site, ask: GetObject) -> ObjectGot:
    """The object, or what of it was asked; with `head` without its bytes."""
    version = await current(site, ask.bucket, ask.key, ask.version_id)
    for _ in range(READ_AGAIN):
        try:
            got = await _serve(site, ask, version)
            if not ask.version_id:
                # As it was when the request was judged, a moment ago.
                bucket = site.index.remembered(ask.bucket) or await site.index.bucket(ask.bucket)
                if bucket.settings:
                    got.versioned = versioning_of(bucket) != ""
                    tags, size = version.marks.tags, version.plain_size
                    got.expiry = expiry_of(bucket, ask.key, size, tags, version.modified_ms)
            return got
        except S3Error as trouble:
            if trouble.code != "ServiceUnavailable":
                raise
            # The bytes may be gone because the object was overwritten a moment ago: then the newer version is the answer.
            newer = await current(site, ask.bucket, ask.key, ask.version_id)
            if newer.seq == version.seq and newer.copies == version.copies and newer.spooled == version.spooled:
                raise
            version = newer
    raise _try_again("the object is being overwritten faster than it can be read")


async def _serve(site: Site, ask: GetObject, version: Version) -> ObjectGot:
    key = None
    if version.facts.seal is not None or ask.customer is not None:
        key = await key_of(site, Place(ask.bucket, ask.key), version, ask.customer)
    check_read(ask.conditions, version)
    size = version.size if key is None else version.plain_size
    if ask.part_number is None and ask.range is None:
        if version.inline is not None and not ask.head and key is None and crc32c(version.inline) == version.crc:
            return ObjectGot(version, Span(0, size), data=version.inline)
        if ask.head or not size:
            return ObjectGot(version, Span(0, size), data=b"")
    layout = await layout_of(site, version)
    parts, part_checksum = 0, None
    if ask.part_number is not None:
        span, parts, part_checksum = _part(layout, version, ask.part_number)
    else:
        span = resolve_range(ask.range, size)
    if ask.head or not span.size:
        return ObjectGot(version, span, data=b"", parts=parts, part_checksum=part_checksum)
    stream = read_plain(site, Place(ask.bucket, version.home or ask.key), version, layout, span, key)
    first = await anext(stream)
    if len(first) == span.size:
        await stream.aclose()
        return ObjectGot(version, span, data=first, parts=parts, part_checksum=part_checksum)
    return ObjectGot(version, span, stream=_chain(first, stream), parts=parts, part_checksum=part_checksum)


async def layout_of(site: Site, version: Version) -> Layout | None:
    """The layout of a version that has one. Raises SlowDown when it was overwritten just now: the client asks again."""
    if version.crc is not None:
        return None
    layout = await site.index.layout(version.seq)
    if layout is None:
        raise _try_again("the version was replaced between two reads of the index")
    return layout


def read_plain(
    site: Site, place: Place, version: Version, layout: Layout | None, span: Span, key: bytes | None
) -> AsyncGenerator[bytes, None]:
    """The bytes of a span as clients know them; `key` is the data key of a version that is sealed. Raises what `read_span` raises."""
    if key is not None and span.size:
        return _open_span(site, place, version, layout, span, key)
    return read_span(site, place, version, blocks_of(version, layout, span), span)


async def _open_span(
    site: Site, place: Place, version: Version, layout: Layout | None, span: Span, key: bytes
) -> AsyncGenerator[bytes, None]:
    """Of a sealed version no more is read than the frames that the span touches."""
    opener = opener_of(version, layout, key, span)
    blocks = blocks_of(version, layout, opener.stored)
    try:
        async with aclosing(read_span(site, place, version, blocks, opener.stored)) as pieces:
            async for piece in pieces:
                small = len(piece) <= INLINE_BYTES
                plain = opener.add(piece) if small else await site.spool.crew.do(opener.add, piece)
                if plain:
                    yield plain
        opener.finish()
    except Damaged as trouble:
        # Its checksums are right, so no other copy would be another one.
        detail = f"{place.bucket}/{place.key}: it is not what was sealed: {trouble}"
        raise S3Error("InternalError", "The object cannot be decrypted.", detail=detail) from trouble


async def read_span(
    site: Site, place: Place, version: Version, blocks: Sequence[Block], span: Span
) -> AsyncGenerator[bytes, None]:
    """The bytes of a span as they are kept, verified. Raises S3Error ServiceUnavailable when no source can give them (never NoSuchKey)."""
    try:
        position = 0
        order = route(site, place.bucket, version, blocks[0].size if blocks else 0)
        source = read_through(site, place, version, blocks, order, hedges=site.hedges)
        async with aclosing(source) as pieces:
            async for data in pieces:
                yield trim(data, blocks[position], span)
                position += 1
    except NoCopy as lost:
        raise _try_again(str(lost)) from lost


def route(site: Site, bucket: str, version: Version, size_bytes: int) -> list[int]:
    """The grids to ask for a version whose first block has `size_bytes`, in order."""

    def standing_of(number: int) -> Standing:
        seat = site.seat(number)
        return seat.standing(size_bytes) if seat is not None else _NOBODY

    return order_copies(version, site.redundancy(bucket).grids, standing_of, draw=site.clock.random())


def _try_again(detail: str) -> S3Error:
    return S3Error(
        "ServiceUnavailable",
        "No intact copy of this object can be reached right now. Try again.",
        detail=detail,
    )


def _part(layout: Layout | None, version: Version, number: int) -> tuple[Span, int, Checksum | None]:
    span = part_span(layout, version, number)
    if span is None:
        raise S3Error("InvalidPartNumber", fields={"PartNumberRequested": str(number)})
    if layout is None or not layout.multipart:
        return span, 0, version.facts.checksum
    part = next(part for part in layout.parts if part.number == number)
    return span, len(layout.parts), part.checksum


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for data in rest:
            yield data


async def get_object_attributes(site: Site, ask: GetObjectAttributes) -> ObjectAttributes:
    """What GetObjectAttributes asks for, with a page of the parts."""
    version = await current(site, ask.bucket, ask.key, ask.version_id)
    if version.facts.seal is not None or ask.customer is not None:
        await key_of(site, Place(ask.bucket, ask.key), version, ask.customer)
    layout = await layout_of(site, version)
    multipart = layout is not None and layout.multipart
    parts = layout.parts if layout is not None and multipart else ()
    limit = min(ask.max_parts, LIST_PAGE)
    rest = [part for part in parts if part.number > ask.part_marker]
    page = tuple(rest[:limit]) if limit else ()
    return ObjectAttributes(
        version, ask.attributes, multipart, page, len(parts), limit, ask.part_marker, len(rest) > len(page)
    )
