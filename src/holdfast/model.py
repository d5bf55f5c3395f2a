"""The values that rooms pass to each other. Immutable, no behaviour beyond arithmetic on themselves.

This is also the one door to `msgspec`: every value here is a struct, `pack`/`unpack` are the
durable encoding (MessagePack) of what the index stores inside a row.
"""

import enum
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from holdfast.limits import BLOCK_BYTES

T = TypeVar("T")

DecodeError = msgspec.DecodeError
"""Data is not what it should be."""


class Value(msgspec.Struct, frozen=True):
    """Base of every value. Subclass as `class X(Value, frozen=True)`."""


def pack(value: Any) -> bytes:
    """The durable encoding of a value."""
    return msgspec.msgpack.encode(value)


def unpack(data: bytes, kind: type[T]) -> T:
    """The value that `pack` encoded. Raises DecodeError when `data` is something else."""
    return msgspec.msgpack.decode(data, type=kind)


def unpacker(kind: type[T]) -> Callable[[bytes], T]:
    """`unpack` for one kind, made once: half the cost where rows are read."""
    return msgspec.msgpack.Decoder(kind).decode


def to_json(value: Any) -> bytes:
    """JSON of a value or of plain data, for machines."""
    return msgspec.json.encode(value)


V = TypeVar("V", bound=Value)


def replace(value: V, **changes: Any) -> V:
    """A copy of a value with some fields changed."""
    return msgspec.structs.replace(value, **changes)


def from_json(data: bytes, kind: type[T]) -> T:
    """The value that `to_json` wrote. Raises DecodeError; fields that `kind` does not know are ignored."""
    return msgspec.json.decode(data, type=kind)


class Place(Value, frozen=True):
    """Where an object lives, in every grid and in the index."""

    bucket: str
    key: str


class Span(Value, frozen=True):
    """Bytes `start` (inclusive) to `end` (exclusive) of an object."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Algorithm(str, enum.Enum):
    """Checksum algorithms of the S3 API, by their names there."""

    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    SHA1 = "SHA1"
    SHA256 = "SHA256"

    @property
    def header(self) -> str:
        """Name of the header or trailer that carries it."""
        return "x-amz-checksum-" + self.value.lower()


class ChecksumType(str, enum.Enum):
    FULL_OBJECT = "FULL_OBJECT"
    COMPOSITE = "COMPOSITE"


class Checksum(Value, frozen=True, omit_defaults=True):
    """A checksum as S3 says it: base64, with `-N` behind it when composite."""

    algorithm: Algorithm
    value: str
    kind: ChecksumType = ChecksumType.FULL_OBJECT


class SealKind(str, enum.Enum):
    """Whose key seals an object, by S3's names. Amazon S3 User Guide, "Protecting data with encryption"."""

    S3 = "AES256"
    """SSE-S3: the node's master key."""
    KMS = "aws:kms"
    """SSE-KMS: a named key of a key management service."""
    CUSTOMER = "customer"
    """SSE-C: a key that comes with each request and is kept nowhere."""


class Seal(Value, frozen=True, omit_defaults=True):
    """How a version is sealed: all that it takes to open it, except the key under which its data key is wrapped."""

    kind: SealKind
    wrapped: bytes
    """The data key, wrapped for this bucket and key."""
    size: int = 0
    """Bytes of the object as its clients know it."""
    salt: bytes = b""
    """Of a body that was received as one; parts have their own."""
    key_id: str = ""
    """SSE-KMS: the named key."""
    context: str = ""
    """SSE-KMS: the client's encryption context, as JSON."""
    bucket_key: bool = False
    """SSE-KMS: the client asked for an S3 Bucket Key, and is told so. It changes nothing here."""


class Facts(Value, frozen=True, omit_defaults=True):
    """Canonical metadata of a version: what the client said, kept exactly.

    `system` maps lower-case header names (content-type, cache-control, content-disposition,
    content-encoding, content-language, expires, x-amz-website-redirect-location) to values.
    `user` maps lower-case names without `x-amz-meta-` to values. Header values are text as
    UTF-8 if they were that, else Latin-1.
    """

    system: dict[str, str] = {}
    user: dict[str, str] = {}
    storage_class: str = "STANDARD"
    checksum: Checksum | None = None
    upload_id: str = ""
    """The multipart upload that made this version, so that a repeated CompleteMultipartUpload can be answered."""
    seal: Seal | None = None
    """None: its bytes are kept as they came."""


class Part(Value, frozen=True, omit_defaults=True):
    """A stretch of a body that was received as one: a part of a multipart upload, or a whole PUT.

    `blocks` is one little-endian CRC-32C (4 bytes) per BLOCK_BYTES of this part; blocks never
    span parts. `spool` names the spool file that holds (or held) exactly these bytes.
    """

    number: int
    size: int
    etag: str
    blocks: bytes
    spool: str
    checksum: Checksum | None = None
    modified_ms: int = 0
    plain: int = -1
    """Of a sealed part: its bytes before they were sealed."""
    salt: bytes = b""
    """Of a sealed part: what makes its frames' key one of its own."""

    @property
    def plain_size(self) -> int:
        """Its bytes as clients know them; `size` is what is kept."""
        return self.size if self.plain < 0 else self.plain


class Layout(Value, frozen=True):
    """What a body that is not inline consists of, in order."""

    parts: tuple[Part, ...]
    multipart: bool


class Copy(Value, frozen=True, array_like=True):
    """One grid's copy of a version: the grid's number in the index, and that grid's own etag of it."""

    grid: int
    etag: str
    at: str = ""
    """The key under which it lies there, when that is not (yet) its version's own."""


class Retention(Value, frozen=True, array_like=True):
    """Until when a version may not be deleted. Amazon S3 User Guide, "Locking objects with Object Lock"."""

    mode: str
    """GOVERNANCE or COMPLIANCE."""
    until_ms: int


class Marks(Value, frozen=True, omit_defaults=True):
    """What can change of a version after it was written. It says nothing about the bytes, and no grid needs it to serve them."""

    tags: dict[str, str] = {}
    retention: Retention | None = None
    hold: bool = False
    """Legal hold."""
    grants: str = ""
    """The access control list that it was given, as `access` writes it; empty for that of a private object."""
    owner: str = ""
    """Canonical id of who wrote it; empty for the bucket's owner."""


UNMARKED = Marks()


class MarkChange(Value, frozen=True):
    """A change of a version's marks. What is None stays as it is."""

    tags: dict[str, str] | None = None
    retention: Retention | None = None
    unretained: bool = False
    """Take the retention away."""
    hold: bool | None = None
    grants: str | None = None
    bypass: bool = False
    """The client may, and asks to, shorten a GOVERNANCE retention."""


class Version(Value, frozen=True):
    """A version of an object as the index knows it.

    Small bodies have `crc` (CRC-32C of the whole body) and no layout; others have a layout,
    which `Index.layout(seq)` gives. `inline` is the body when the index still has it.
    """

    seq: int
    size: int
    etag: str
    modified_ms: int
    facts: Facts
    copies: tuple[Copy, ...]
    crc: int | None
    inline: bytes | None = None
    spooled: bool = False
    """True while this version's parts are spool files."""
    version_id: str = "null"
    marks: Marks = UNMARKED
    home: str = ""
    """The key under which it is kept, when that is not the object's: it is not current."""
    marker: bool = False
    """It is a delete marker: nothing but its id and its time."""

    @property
    def plain_size(self) -> int:
        """Bytes of the object as clients know it; `size` is what index, spool and grids keep."""
        seal = self.facts.seal
        return self.size if seal is None else seal.size


def block_count(size_bytes: int) -> int:
    """How many blocks a part of this size has (an empty one has none)."""
    return -(-size_bytes // BLOCK_BYTES)


class Bucket(Value, frozen=True):
    name: str
    created_ms: int
    policy: str
    """Name of its policy; empty means the default."""
    owner: str = ""
    region: str = ""
    settings: dict[str, bytes] = {}
    """Its configuration: packed values by the names of S3's sub-resources ("versioning", "cors", ...), each understood by whoever
    answers for it."""


class Presence(str, enum.Enum):
    """What is required of the current version before a write."""

    ANY = "any"
    ABSENT = "absent"
    """`If-None-Match: *`"""
    MATCH = "match"
    """`If-Match: etag` (or `*`: any version exists)"""


class WriteCondition(Value, frozen=True):
    """A precondition of a write, evaluated inside the index transaction."""

    presence: Presence = Presence.ANY
    etag: str = ""
    """Without quotes; `*` matches any."""


ALWAYS = WriteCondition()


class GridState(str, enum.Enum):
    """What the probe last found."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class Redundancy(Value, frozen=True):
    """A policy as the store applies it: grid numbers in order of preference."""

    name: str
    grids: tuple[int, ...]
    ack: int
    accept_outage: bool
    encrypt: bool = False
    """What nobody asked to be sealed in another way is sealed with SSE-S3."""
