"""S3 as typed values: one request and one result per operation.

`wire` parses HTTP into these requests and renders these results; `store` runs them. Nobody below
`wire` looks at HTTP again. Values say what S3 says, with Python's types: times are milliseconds
since the epoch, etags carry no quotes, keys are text.
Names follow the Amazon S3 API Reference.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from holdfast.model import (
    ALWAYS,
    UNMARKED,
    Algorithm,
    Bucket,
    Checksum,
    ChecksumType,
    Facts,
    Marks,
    Part,
    Span,
    Value,
    Version,
    WriteCondition,
)
from holdfast.s3.encryption import CustomerKey, SealAsk, Sealed
from holdfast.s3.lifecycle import Due
from holdfast.s3.listings import ListObjects as ListObjects
from holdfast.s3.listings import ListVersions as ListVersions
from holdfast.s3.listings import ObjectsListed as ObjectsListed
from holdfast.s3.listings import Page as Page
from holdfast.s3.notification import Notice


class Body(Protocol):
    """An incoming body, decoded: framing is off, chunk signatures are verified as they pass."""

    @property
    def size(self) -> int | None:
        """Decoded length in bytes when the client declared it."""
        ...

    async def read(self) -> bytes:
        """The next piece, of any size above 0; empty at the end. Raises S3Error (IncompleteBody,
        SignatureDoesNotMatch, RequestTimeout and the like)."""
        ...

    @property
    def trailer(self) -> Checksum | None:
        """After the end: the checksum that came as a trailer."""
        ...


class Expected(Value, frozen=True):
    """What the client says about the body it sends; all of it is verified before anything is committed."""

    md5: bytes = b""
    """Content-MD5, 16 bytes, or empty."""
    sha256: str = ""
    """x-amz-content-sha256 as lower-case hex when it is a digest, else empty."""
    checksum: Checksum | None = None
    """Given by header."""
    trailer: Algorithm | None = None
    """Announced by x-amz-trailer; the body's `trailer` has its value."""
    algorithm: Algorithm | None = None
    """Asked for by x-amz-sdk-checksum-algorithm or x-amz-checksum-algorithm: compute, store and return it."""


class ReadConditions(Value, frozen=True):
    """RFC 9110 section 13, as S3 applies it. Etags without quotes; `*` matches any. Times in whole seconds as ms."""

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_modified_since_ms: int | None = None
    if_unmodified_since_ms: int | None = None


class RangeAsk(Value, frozen=True):
    """One byte range as asked: `first-last`, `first-`, or the last `suffix` bytes."""

    first: int | None = None
    last: int | None = None
    suffix: int | None = None


# --- service and buckets ---


class ListBuckets(Value, frozen=True):
    prefix: str = ""
    after: str = ""
    """From the continuation token."""
    limit: int | None = None
    region: str = ""
    """Only those there; empty for all."""
    owner: str = ""
    """Canonical id of the account whose buckets are meant; empty: all."""


class BucketsListed(Value, frozen=True):
    buckets: tuple[Bucket, ...]
    owner: str
    prefix: str = ""
    next: str = ""
    names: dict[str, str] = {}
    """Display names by canonical id; likewise below."""


class CreateBucket(Value, frozen=True):
    bucket: str
    region: str = ""
    """LocationConstraint."""
    object_lock: bool = False
    tags: dict[str, str] = {}
    expected: Expected = Expected()
    """Of the XML body."""
    owner: str = ""
    """Canonical id of its account; empty: the root account."""
    settings: dict[str, bytes] = {}
    """What it begins with, packed, by name."""


class HeadBucket(Value, frozen=True):
    bucket: str


class DeleteBucket(Value, frozen=True):
    bucket: str


class GetBucketLocation(Value, frozen=True):
    bucket: str


# --- objects ---


class PutObject(Value, frozen=True):
    bucket: str
    key: str
    facts: Facts
    expected: Expected = Expected()
    condition: WriteCondition = ALWAYS
    marks: Marks = UNMARKED
    form: bool = False  # PostObject
    seal: SealAsk | None = None


class ObjectPut(Value, frozen=True):
    etag: str
    checksum: Checksum | None
    size: int
    version_id: str = ""
    """Empty in a bucket that never kept versions; so in the other results, too."""
    expiry: Due | None = None
    sealed: Sealed | None = None


class GetObject(Value, frozen=True):
    """Also HeadObject, with `head`: the same, without the body."""

    bucket: str
    key: str
    head: bool = False
    range: RangeAsk | None = None
    part_number: int | None = None
    conditions: ReadConditions = ReadConditions()
    version_id: str = ""
    checksum_mode: bool = False
    overrides: dict[str, str] = {}
    """response-* query parameters: lower-case header name to value."""
    customer: CustomerKey | None = None


class ObjectGot:
    """A version, the span of it that is served, and its bytes.

    `data` is the whole answer when it is at hand; else `stream` gives verified pieces. `close`
    must be called in the end when there is a stream. Not a Value: it is used once.
    """

    __slots__ = ("data", "expiry", "part_checksum", "parts", "span", "stream", "version", "versioned")

    def __init__(
        self,
        version: Version,
        span: Span,
        *,
        data: bytes | None = None,
        stream: AsyncIterator[bytes] | None = None,
        parts: int = 0,
        part_checksum: Checksum | None = None,
    ) -> None:
        self.version = version
        self.span = span
        self.data = data
        self.stream = stream
        self.parts = parts
        """Number of parts when the request named a part of a multipart object (x-amz-mp-parts-count)."""
        self.part_checksum = part_checksum
        """The checksum of the asked part, when the request named one."""
        self.expiry: Due | None = None
        self.versioned = False
        """The bucket keeps versions, or did: then this one's id is told, be it `null`."""


class DeleteObject(Value, frozen=True):
    bucket: str
    key: str
    version_id: str = ""
    condition: WriteCondition = ALWAYS
    bypass: bool = False
    """x-amz-bypass-governance-retention"""


class ObjectDeleted(Value, frozen=True):
    version_id: str = ""
    """What was deleted, or the delete marker that was made."""
    marker: bool = False


class DeleteAsk(Value, frozen=True):
    key: str
    version_id: str = ""
    condition: WriteCondition = ALWAYS
    bypass: bool = False
    seen: Version | None = None
    since_ms: int = 0
    """Only while it is as it was seen, its marks and since when it is not the latest (0: it is); else PreconditionFailed."""
    notices: tuple[Notice, ...] = ()
    """Of all that it may turn out to be; the index records what it was."""


class DeleteObjects(Value, frozen=True):
    """The keys come in the body: serve parses it with `wire` and fills `asks`."""

    bucket: str
    asks: tuple[DeleteAsk, ...] = ()
    quiet: bool = False
    expected: Expected = Expected()
    bypass: bool = False


class DeleteFailed(Value, frozen=True):
    key: str
    version_id: str
    code: str
    message: str


class KeyDeleted(Value, frozen=True):
    key: str
    version_id: str = ""
    """As it was asked for."""
    marker: bool = False
    marker_version_id: str = ""
    """Of the delete marker that was made, or deleted."""


class ObjectsDeleted(Value, frozen=True):
    deleted: tuple[KeyDeleted, ...]
    failed: tuple[DeleteFailed, ...]
    quiet: bool


class CopySource(Value, frozen=True):
    bucket: str
    key: str
    version_id: str = ""
    conditions: ReadConditions = ReadConditions()
    customer: CustomerKey | None = None


class CopyObject(Value, frozen=True):
    bucket: str
    key: str
    source: CopySource
    replace: bool
    """x-amz-metadata-directive: REPLACE takes `facts`, COPY takes the source's."""
    facts: Facts
    algorithm: Algorithm | None = None
    condition: WriteCondition = ALWAYS
    marks: Marks = UNMARKED
    replace_tags: bool = False
    """x-amz-tagging-directive: REPLACE takes the tags of `marks`, COPY takes the source's."""
    seal: SealAsk | None = None


class ObjectCopied(Value, frozen=True):
    etag: str
    modified_ms: int
    checksum: Checksum | None
    version_id: str = ""
    source_version_id: str = ""
    expiry: Due | None = None
    sealed: Sealed | None = None


class GetObjectAttributes(Value, frozen=True):
    bucket: str
    key: str
    attributes: tuple[str, ...]
    """Of ETag, Checksum, ObjectParts, StorageClass, ObjectSize."""
    max_parts: int = 1000
    part_marker: int = 0
    version_id: str = ""
    customer: CustomerKey | None = None


class ObjectAttributes(Value, frozen=True):
    version: Version
    attributes: tuple[str, ...]
    multipart: bool
    parts: tuple[Part, ...]
    parts_count: int
    max_parts: int
    part_marker: int
    truncated: bool


# --- multipart ---


class CreateMultipartUpload(Value, frozen=True):
    bucket: str
    key: str
    facts: Facts
    algorithm: Algorithm | None = None
    kind: ChecksumType | None = None
    marks: Marks = UNMARKED
    seal: SealAsk | None = None


class UploadCreated(Value, frozen=True):
    bucket: str
    key: str
    upload_id: str
    algorithm: Algorithm | None
    kind: ChecksumType | None
    abort: Due | None = None
    """When a lifecycle rule aborts it."""
    sealed: Sealed | None = None


class UploadPart(Value, frozen=True):
    bucket: str
    key: str
    upload_id: str
    number: int
    expected: Expected = Expected()
    customer: CustomerKey | None = None


class PartUploaded(Value, frozen=True):
    etag: str
    checksum: Checksum | None
    sealed: Sealed | None = None


class UploadPartCopy(Value, frozen=True):
    bucket: str
    key: str
    upload_id: str
    number: int
    source: CopySource
    span: Span | None = None
    """x-amz-copy-source-range; must lie within the source."""
    customer: CustomerKey | None = None


class PartCopied(Value, frozen=True):
    etag: str
    modified_ms: int
    checksum: Checksum | None
    sealed: Sealed | None = None


class PartAsk(Value, frozen=True):
    number: int
    etag: str
    checksum: Checksum | None = None


class CompleteMultipartUpload(Value, frozen=True):
    """The parts come in the body: serve parses it with `wire` and fills `parts`."""

    bucket: str
    key: str
    upload_id: str
    parts: tuple[PartAsk, ...] = ()
    checksum: Checksum | None = None
    """Of the whole object, when the client gives it. A composite value may come with or without `-N`."""
    kind: ChecksumType | None = None
    object_size: int | None = None
    """x-amz-mp-object-size"""
    condition: WriteCondition = ALWAYS
    expected: Expected = Expected()
    """Of the XML body; its checksums are above, because they are the object's."""
    customer: CustomerKey | None = None


class UploadCompleted(Value, frozen=True):
    bucket: str
    key: str
    etag: str
    checksum: Checksum | None
    version_id: str = ""
    expiry: Due | None = None
    sealed: Sealed | None = None


class AbortMultipartUpload(Value, frozen=True):
    bucket: str
    key: str
    upload_id: str


class Upload(Value, frozen=True):
    bucket: str
    key: str
    upload_id: str
    initiated_ms: int
    facts: Facts
    algorithm: Algorithm | None = None
    kind: ChecksumType | None = None
    marks: Marks = UNMARKED


class ListParts(Value, frozen=True):
    bucket: str
    key: str
    upload_id: str
    after: int = 0
    limit: int = 1000


class PartsListed(Value, frozen=True):
    ask: ListParts
    upload: Upload
    parts: tuple[Part, ...]
    next: int
    """Last part number of this page when there are more, else 0."""
    owner: str
    names: dict[str, str] = {}
    abort: Due | None = None


class ListMultipartUploads(Value, frozen=True):
    bucket: str
    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    upload_marker: str = ""
    limit: int = 1000
    encode: bool = False


class UploadsPage(Value, frozen=True):
    uploads: tuple[Upload, ...]
    prefixes: tuple[str, ...]
    next_key: str
    """Empty at the end."""
    next_upload: str


class UploadsListed(Value, frozen=True):
    ask: ListMultipartUploads
    page: UploadsPage
    owner: str
    names: dict[str, str] = {}


class Done(Value, frozen=True):
    """Success without content (DeleteBucket, AbortMultipartUpload)."""


class BucketCreated(Value, frozen=True):
    bucket: str


class BucketHead(Value, frozen=True):
    bucket: str
    region: str


class Location(Value, frozen=True):
    region: str
