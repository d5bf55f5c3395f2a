"""Multipart uploads: parts are spool files, and completing one composes them without moving a byte.

Answers for S3's rules: part numbers and order, the minimum size of all parts but the last, the etag `md5-N`, composite and
full-object checksums. Invariant: an upload's parts become visible all at once, in the commit that ends the upload.
Source: Amazon S3 API Reference, CompleteMultipartUpload; User Guide, "Checking object integrity".
"""

import hashlib
from collections.abc import Sequence

from holdfast.copies.holdable import check_holdable
from holdfast.copies.site import Site
from holdfast.digests import combine, composite
from holdfast.errors import S3Error
from holdfast.index.interface import NewVersion, SpoolFile
from holdfast.limits import LIST_PAGE, OBJECT_BYTES, PART_BYTES_MIN, PART_NUMBER_MAX
from holdfast.model import Algorithm, Checksum, ChecksumType, Layout, Part, Place, Span, replace
from holdfast.s3 import (
    AbortMultipartUpload,
    Body,
    CompleteMultipartUpload,
    CreateMultipartUpload,
    Done,
    Expected,
    ListParts,
    PartAsk,
    PartCopied,
    PartsListed,
    PartUploaded,
    Upload,
    UploadCompleted,
    UploadCreated,
    UploadPart,
    UploadPartCopy,
)
from holdfast.s3.encryption import sealed
from holdfast.s3.expiry import abort_of, expiry_of
from holdfast.s3.notices import CREATED_UPLOAD, notices_of
from holdfast.s3.sharing import ENFORCED, ownership_of
from holdfast.s3.versioning import NULL
from holdfast.store.copying import copy_source, receive_copy
from holdfast.store.locks import check_marks, with_default
from holdfast.store.receive import Received, receive
from holdfast.store.seals import begin_seal, check_upload_key, part_sealing, wanted
from holdfast.store.sharing import names_of
from holdfast.store.write import acknowledge_again, check_outage, commit


async def create_upload(site: Site, ask: CreateMultipartUpload) -> UploadCreated:
    """Begin an upload. If it is to be sealed, all its parts are under one data key."""
    policy = site.redundancy(ask.bucket)
    check_holdable(site, policy, bucket=ask.bucket, key=ask.key, facts=ask.facts)
    bucket = await site.index.bucket(ask.bucket)
    facts, told = ask.facts, None
    seal = wanted(bucket, policy, ask.seal)
    if seal is not None:
        facts = replace(facts, seal=(await begin_seal(site, Place(ask.bucket, ask.key), seal))[0])
        told = sealed(facts.seal, seal.customer)
    upload_id, now_ms = site.clock.token(24).hex(), site.clock.now_ms()
    check_marks(bucket, ask.marks, now_ms)
    upload = Upload(ask.bucket, ask.key, upload_id, now_ms, facts, ask.algorithm, ask.kind, ask.marks)
    await site.index.create_upload(upload)
    abort = abort_of(bucket, ask.key, upload.initiated_ms)
    return UploadCreated(ask.bucket, ask.key, upload_id, ask.algorithm, ask.kind, abort, told)


async def upload_part(site: Site, ask: UploadPart, body: Body) -> PartUploaded:
    """Store one part."""
    upload = await site.index.upload(ask.bucket, ask.key, ask.upload_id)
    check_outage(site, ask.bucket)
    expected = _expected(upload, ask.expected)
    sealing = None
    if upload.facts.seal is not None or ask.customer is not None:
        place = Place(ask.bucket, ask.key)
        sealing = await part_sealing(site, place, upload.facts.seal, ask.customer, ask.number)
    received = await receive(site, body, expected, inline=False, sealing=sealing)
    await _commit_part(site, ask.bucket, ask.key, ask.upload_id, ask.number, received)
    return PartUploaded(received.etag, received.checksum, sealed(received.seal, ask.customer))


async def upload_part_copy(site: Site, ask: UploadPartCopy) -> PartCopied:
    """Store a span of a stored object as one part."""
    upload = await site.index.upload(ask.bucket, ask.key, ask.upload_id)
    check_outage(site, ask.bucket)
    found = await copy_source(site, ask.source)
    size = found[0].plain_size
    span = ask.span or Span(0, size)
    if span.end > size:
        raise S3Error(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
            fields={"ArgumentName": "x-amz-copy-source-range", "ArgumentValue": f"bytes={span.start}-{span.end - 1}"},
        )
    expected = _expected(upload, Expected())
    sealing = await part_sealing(site, Place(ask.bucket, ask.key), upload.facts.seal, ask.customer, ask.number)
    received = await receive_copy(site, ask.source, found, span, expected, inline=False, sealing=sealing)
    modified_ms = await _commit_part(site, ask.bucket, ask.key, ask.upload_id, ask.number, received)
    return PartCopied(received.etag, modified_ms, received.checksum, sealed(received.seal, ask.customer))


def _expected(upload: Upload, expected: Expected) -> Expected:
    """What to compute for a part: the upload's algorithm, whatever the client gives for the part itself."""
    if upload.algorithm is None:
        return expected
    given = expected.checksum.algorithm if expected.checksum is not None else expected.trailer
    if given is not None and given is not upload.algorithm:
        raise S3Error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {upload.algorithm.value.lower()}, "
            f"actual checksum Type: {given.value.lower()}",
        )
    return replace(expected, algorithm=upload.algorithm)


async def _commit_part(site: Site, bucket: str, key: str, upload_id: str, number: int, received: Received) -> int:
    now_ms = site.clock.now_ms()
    assert received.file is not None
    try:
        released = await site.index.put_part(bucket, key, upload_id, received.part(number, now_ms))
    except S3Error:
        await site.spool.release([received.file.id])
        raise
    await site.spool.release(released)
    return now_ms


async def complete_upload(site: Site, ask: CompleteMultipartUpload) -> UploadCompleted:
    """Make the parts the object. A repeated request for an upload that has become the current version succeeds again."""
    try:
        upload = await site.index.upload(ask.bucket, ask.key, ask.upload_id)
    except S3Error as missing:
        return await _completed_before(site, ask, missing)
    policy = check_outage(site, ask.bucket)
    await check_upload_key(site, upload, ask.customer)
    parts = _chosen(ask.parts, await _stored_parts(site, ask), upload)
    kept = sum(part.size for part in parts)
    size = sum(part.plain_size for part in parts)
    if ask.object_size is not None and ask.object_size != size:
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {ask.object_size} does not match what was computed: {size}",
        )
    check_holdable(site, policy, bucket=ask.bucket, key=ask.key, size=kept)
    if size > OBJECT_BYTES:
        raise S3Error("EntityTooLarge", fields={"ProposedSize": str(size), "MaxSizeAllowed": str(OBJECT_BYTES)})
    md5 = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
    etag = f"{md5.hexdigest()}-{len(parts)}"
    checksum = _checksum(ask, upload, parts)
    bucket, now_ms = await site.index.bucket(ask.bucket), site.clock.now_ms()
    seal = None if upload.facts.seal is None else replace(upload.facts.seal, size=size)
    version = NewVersion(
        ask.bucket,
        ask.key,
        kept,
        etag,
        now_ms,
        replace(upload.facts, checksum=checksum, upload_id=ask.upload_id, seal=seal),
        (),
        layout=Layout(parts, multipart=True),
        spool=tuple(SpoolFile(part.spool, part.size) for part in parts),
        condition=ask.condition,
        marks=with_default(
            bucket, upload.marks, now_ms
        ),  # The bucket's own lock begins with the version, not with its upload.
        notices=notices_of(bucket, site.webhooks, (CREATED_UPLOAD,), ask.key, at_ms=now_ms, size=size, etag=etag),
    )
    try:
        written = await commit(site, version, ask.upload_id)
    except S3Error as missing:
        return await _completed_before(site, ask, missing)
    expiry = expiry_of(bucket, ask.key, size, upload.marks.tags, now_ms)
    return UploadCompleted(ask.bucket, ask.key, etag, checksum, written.version_id, expiry, sealed(seal))


async def _completed_before(site: Site, ask: CompleteMultipartUpload, missing: S3Error) -> UploadCompleted:
    if missing.code == "NoSuchUpload":
        version = await site.index.get(ask.bucket, ask.key)
        if version is not None and version.facts.upload_id == ask.upload_id:
            await acknowledge_again(site, ask.bucket, ask.key, version)
            version_id = version.version_id if version.version_id != NULL else ""
            told = sealed(version.facts.seal)
            checksum = version.facts.checksum
            return UploadCompleted(ask.bucket, ask.key, version.etag, checksum, version_id, sealed=told)
    raise missing


async def _stored_parts(site: Site, ask: CompleteMultipartUpload) -> dict[int, Part]:
    parts = await site.index.parts(ask.bucket, ask.key, ask.upload_id, after=0, limit=PART_NUMBER_MAX)
    return {part.number: part for part in parts}


def _chosen(asks: Sequence[PartAsk], stored: dict[int, Part], upload: Upload) -> tuple[Part, ...]:
    """The parts that the client listed, in order. Raises InvalidPartOrder, InvalidPart, EntityTooSmall."""
    chosen: list[Part] = []
    previous = 0
    for ask in asks:
        if ask.number <= previous:
            raise S3Error("InvalidPartOrder", fields={"UploadId": upload.upload_id})
        previous = ask.number
        part = stored.get(ask.number)
        if part is None or part.etag != ask.etag or not _same_checksum(ask.checksum, part.checksum):
            raise S3Error(
                "InvalidPart",
                fields={"UploadId": upload.upload_id, "PartNumber": str(ask.number), "ETag": ask.etag},
            )
        chosen.append(part)
    for part in chosen[:-1]:
        if part.plain_size < PART_BYTES_MIN:
            raise S3Error(
                "EntityTooSmall",
                fields={
                    "ProposedSize": str(part.plain_size),
                    "MinSizeAllowed": str(PART_BYTES_MIN),
                    "PartNumber": str(part.number),
                    "ETag": part.etag,
                },
            )
    if not chosen:
        raise S3Error("MalformedXML")
    return tuple(chosen)


def _same_checksum(given: Checksum | None, stored: Checksum | None) -> bool:
    if given is None or stored is None:
        return given is None
    return given.algorithm is stored.algorithm and given.value == stored.value


def _checksum(ask: CompleteMultipartUpload, upload: Upload, parts: Sequence[Part]) -> Checksum | None:
    """The object's checksum, checked against the client's where it gave one."""
    algorithm = upload.algorithm
    if algorithm is None:
        if ask.checksum is None:
            return None
        algorithm = ask.checksum.algorithm
    values = [part.checksum for part in parts]
    if any(value is None or value.algorithm is not algorithm for value in values):
        if ask.checksum is None:
            return None
        raise S3Error("InvalidRequest", f"The upload's parts have no {algorithm.value} checksums.")
    kind = upload.kind or ask.kind or _default_kind(algorithm)
    texts = [value.value for value in values if value is not None]
    if kind is ChecksumType.FULL_OBJECT:
        value = combine(algorithm, [(text, part.plain_size) for text, part in zip(texts, parts, strict=True)])
    else:
        value = composite(algorithm, texts)
    computed = Checksum(algorithm, value, kind)
    if ask.kind is not None and ask.kind is not kind:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using the {kind.value} checksum mode. The complete request must use the same checksum mode.",
        )
    if ask.checksum is not None and not _agrees(ask.checksum, computed):
        raise S3Error("BadDigest", f"The {algorithm.value} you specified did not match the calculated checksum.")
    return computed


def _default_kind(algorithm: Algorithm) -> ChecksumType:
    return ChecksumType.FULL_OBJECT if algorithm is Algorithm.CRC64NVME else ChecksumType.COMPOSITE


def _agrees(given: Checksum, computed: Checksum) -> bool:
    if given.algorithm is not computed.algorithm:
        return False
    return given.value in (computed.value, computed.value.partition("-")[0])


async def abort_upload(site: Site, ask: AbortMultipartUpload) -> Done:
    """Forget an upload and its parts."""
    released = await site.index.abort_upload(ask.bucket, ask.key, ask.upload_id)
    await site.spool.release(released)
    return Done()


async def list_parts(site: Site, ask: ListParts) -> PartsListed:
    """A page of an upload's parts."""
    bucket = await site.index.bucket(ask.bucket)
    upload = await site.index.upload(ask.bucket, ask.key, ask.upload_id)
    limit = min(ask.limit, LIST_PAGE)
    found = await site.index.parts(ask.bucket, ask.key, ask.upload_id, after=ask.after, limit=limit + 1)
    page = found[:limit]
    more = page[-1].number if page and len(found) > len(page) else 0
    owner = bucket.owner if ownership_of(bucket) == ENFORCED else upload.marks.owner or bucket.owner
    abort = abort_of(bucket, ask.key, upload.initiated_ms)
    return PartsListed(ask, upload, page, more, owner, names_of(site, [owner]), abort)
