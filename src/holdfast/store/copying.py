"""CopyObject and UploadPartCopy: the source's verified bytes become a new body.

The new version is committed and published like any other write, so a copy is as durable as a PUT and
touches no grid's visible state before its commit. Source: Amazon S3 API Reference, CopyObject, UploadPartCopy.
"""

from collections.abc import AsyncIterator

from holdfast.copies.holdable import check_holdable
from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.limits import PUT_BYTES
from holdfast.model import Checksum, Facts, Place, Span, Version, replace
from holdfast.s3 import CopyObject, CopySource, Expected, ObjectCopied
from holdfast.s3.encryption import sealed
from holdfast.s3.expiry import expiry_of
from holdfast.s3.notices import CREATED_COPY
from holdfast.s3.versioning import NULL
from holdfast.store.locks import marks_with_default
from holdfast.store.plan import check_copy
from holdfast.store.read import current, layout_of, read_plain
from holdfast.store.receive import Received, receive
from holdfast.store.seals import Sealing, begin_sealing, key_of, wanted
from holdfast.store.write import check_outage, commit_body, facts_with


class StoredBody:
    """A span of a version as an incoming body."""

    def __init__(self, stream: AsyncIterator[bytes], size: int) -> None:
        self._stream = stream
        self._size = size

    @property
    def size(self) -> int | None:
        return self._size

    async def read(self) -> bytes:
        async for piece in self._stream:
            return piece
        return b""

    @property
    def trailer(self) -> Checksum | None:
        return None


async def copy_source(site: Site, source: CopySource) -> tuple[Version, bytes | None]:
    """The version that a copy source names, and its data key if it is sealed. Raises NoSuchKey and the like, PreconditionFailed, and
    what `key_of` raises."""
    try:
        version = await current(site, source.bucket, source.key, source.version_id)
    except S3Error as answer:
        if answer.code != "MethodNotAllowed":
            raise
        message = "The source of a copy request may not specifically refer to a delete marker by version id."
        raise S3Error("InvalidRequest", message) from answer
    key = None
    if version.facts.seal is not None or source.customer is not None:
        key = await key_of(site, Place(source.bucket, source.key), version, source.customer)
    check_copy(source.conditions, version)
    return version, key


async def receive_copy(
    site: Site,
    source: CopySource,
    found: tuple[Version, bytes | None],
    span: Span,
    expected: Expected,
    *,
    inline: bool = True,
    sealing: Sealing | None = None,
) -> Received:
    """Take in a span of a stored version as a new body."""
    if span.size > PUT_BYTES:
        raise S3Error(
            "InvalidRequest",
            f"The specified copy source is larger than the maximum allowable size for a copy source: {PUT_BYTES}",
        )
    version, key = found
    place = Place(source.bucket, version.home or source.key)
    stream = read_plain(site, place, version, await layout_of(site, version), span, key)
    return await receive(site, StoredBody(stream, span.size), expected, inline=inline, sealing=sealing)


async def copy_object(site: Site, ask: CopyObject) -> ObjectCopied:
    """Copy an object, with its metadata or with new metadata."""
    bucket = await site.index.bucket(ask.bucket)
    policy = check_outage(site, ask.bucket)
    version, key = await copy_source(site, ask.source)
    facts = _facts(ask, version)
    seal = wanted(bucket, policy, ask.seal)
    sealing = None if seal is None else await begin_sealing(site, Place(ask.bucket, ask.key), seal)
    whole = Span(0, version.plain_size)
    size = whole.size if sealing is None else sealing.stored_size(whole.size)
    check_holdable(site, policy, bucket=ask.bucket, key=ask.key, facts=facts, size=size)
    previous = version.facts.checksum
    algorithm = ask.algorithm or (previous.algorithm if previous is not None else None)
    expected = Expected(algorithm=algorithm)
    received = await receive_copy(site, ask.source, (version, key), whole, expected, sealing=sealing)
    facts = facts_with(facts, received)
    marks = ask.marks if ask.replace_tags else replace(ask.marks, tags=version.marks.tags)
    marks = marks_with_default(bucket, marks, site.clock.now_ms())
    modified_ms, version_id = await commit_body(
        site, bucket, ask.key, received, facts, ask.condition, marks=marks, event=CREATED_COPY
    )
    source_id = version.version_id if version.version_id != NULL or ask.source.version_id else ""
    expiry = expiry_of(bucket, ask.key, received.plain_size, marks.tags, modified_ms)
    told = None if seal is None else sealed(received.seal, seal.customer)
    return ObjectCopied(received.etag, modified_ms, facts.checksum, version_id, source_id, expiry, told)


def _facts(ask: CopyObject, version: Version) -> Facts:
    # A version that is not current is brought back so.
    same = (ask.bucket, ask.key) == (ask.source.bucket, ask.source.key) and not version.home
    if ask.replace:
        return ask.facts
    redirect = "x-amz-website-redirect-location"
    changed = ask.facts.storage_class != version.facts.storage_class or redirect in ask.facts.system
    if same and not changed and ask.algorithm is None and ask.seal is None:
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
            "metadata, storage class, website redirect location or encryption attributes.",
        )
    system = {name: value for name, value in version.facts.system.items() if name != redirect}
    if redirect in ask.facts.system:
        system[redirect] = ask.facts.system[redirect]
    return replace(
        version.facts, system=system, storage_class=ask.facts.storage_class, checksum=None, upload_id="", seal=None
    )
