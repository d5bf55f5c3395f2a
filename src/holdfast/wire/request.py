"""What an HTTP request addresses: method, bucket, key, query and headers, as text.

Answers for turning the bytes of a request line and of header lines into a `Request`. It never looks at
a body, a signature or the meaning of a parameter. A key is a string of bytes, not a path: nothing is normalised.
Invariant: `parse_request` raises S3Error or returns, whatever the bytes are; every text that it returns can be
encoded as UTF-8, and there is no NUL in a key or a query.
RFC 9112 section 3.2 (request targets); Amazon S3 User Guide, "Virtual hosting of buckets", "Bucket naming rules".
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from holdfast.errors import S3Error
from holdfast.limits import KEY_BYTES, PARSED_CHARS, PARSED_MEMORY
from holdfast.s3.names import is_bucket_name

_HEX = {
    (high + low).encode(): bytes.fromhex(high + low)
    for high in "0123456789abcdefABCDEF"
    for low in "0123456789abcdefABCDEF"
}
_ONCE = frozenset({"authorization", "host", "content-length"})
"""Headers that mean something else to different readers when they come twice."""
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
Pairs = list[tuple[str, str]]


class Request:
    """A request without its body.

    `headers` have lower-case names; equal names are joined with ",". `path` is the decoded path of the target, bucket
    included in path style; `raw_path` and `raw_query` are as received. `query_items` are all decoded query
    parameters in order, `query` the first of each name; a parameter without `=` has the value "".
    `bucket` is empty for the service itself, `key` is empty for a bucket.
    """

    __slots__ = (
        "bucket",
        "headers",
        "key",
        "method",
        "path",
        "query",
        "query_items",
        "raw_path",
        "raw_query",
        "target",
        "virtual_host",
        "website",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        raw_path: bytes,
        raw_query: bytes,
        path: str,
        headers: dict[str, str],
        query: dict[str, str],
        query_items: Sequence[tuple[str, str]],
        bucket: str,
        key: str,
        virtual_host: bool,
        website: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.path = path
        self.headers = headers
        self.query = query
        self.query_items = query_items
        self.bucket = bucket
        self.key = key
        self.virtual_host = virtual_host
        self.website = website
        """It is a visit of a static website, not a request to the API."""

    def __repr__(self) -> str:
        return f"Request({self.method} bucket={self.bucket!r} key={self.key!r})"


def parse_request(
    method: bytes | str, target: bytes, headers: Sequence[tuple[bytes, bytes]], *, domain: str = "", website: str = ""
) -> Request:
    """The request that these bytes make.

    A host `<bucket>.<domain>` names the bucket (virtual-host style), `<bucket>.<website>` one as a static website; any other host
    leaves it to the path. Header
    values are UTF-8 where they are that, else Latin-1.
    Raises S3Error: InvalidURI, InvalidBucketName, KeyTooLongError, or BadRequest for a header that must not come twice.
    """
    named: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.lower().decode("latin-1")
        try:
            value = raw_value.decode().strip(" \t")
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1").strip(" \t")
        if name not in named:
            named[name] = value
        elif name in _ONCE:
            raise S3Error("BadRequest", f"The header {name} came more than once.")
        else:
            named[name] += "," + value

    if target[:1] == b"/":
        raw_path, _, raw_query = target.partition(b"?")
    else:
        raw_path, raw_query = _absolute(target, named)

    path = _text(raw_path)
    query: dict[str, str] = {}
    items: Sequence[tuple[str, str]] = ()
    if raw_query:
        items = parse_query(raw_query)
        query = dict(reversed(items))

    hosted = _hosted_bucket(named.get("host", ""), website) if website else None
    visited = hosted is not None
    if domain and not visited:
        hosted = _hosted_bucket(named.get("host", ""), domain)
    if hosted is not None:
        bucket, key = hosted, path[1:]
    else:
        bucket, _, key = path[1:].partition("/")
    if not bucket and path != "/":
        raise S3Error("InvalidBucketName", fields={"BucketName": ""})
    # A character has at most four bytes, so short keys need no encoding to be measured.
    if len(key) > KEY_BYTES // 4 and len(key.encode()) > KEY_BYTES:
        size = {"Size": str(len(key.encode())), "MaxSizeAllowed": str(KEY_BYTES)}
        raise S3Error("KeyTooLongError", fields=size)
    return Request(
        method if isinstance(method, str) else method.decode("latin-1"),
        target,
        raw_path,
        raw_query,
        path,
        named,
        query,
        items,
        bucket,
        key,
        hosted is not None,
        visited,
    )


def parse_query(raw: bytes) -> Pairs:
    """The decoded parameters in order. `+` is a blank here, as in forms; a lone name has the value "". Raises InvalidURI."""
    return [_known_field(field) if len(field) <= PARSED_CHARS else _field(field) for field in raw.split(b"&") if field]


def _field(raw: bytes) -> tuple[str, str]:
    name, _, value = raw.replace(b"+", b" ").partition(b"=")
    return _text(name), _text(value)


_known_field = lru_cache(PARSED_MEMORY)(_field)


def check_bucket_name(name: str) -> None:
    """Raises InvalidBucketName unless a bucket may be created with this name, by S3's rules for general purpose buckets."""
    if not is_bucket_name(name):
        raise S3Error("InvalidBucketName", fields={"BucketName": name})


def _text(raw: bytes) -> str:
    """Percent-decoded once, as UTF-8."""
    if b"%" in raw:
        first, *rest = raw.split(b"%")
        pieces = [first]
        try:
            for piece in rest:
                pieces.append(_HEX[piece[:2]])
                pieces.append(piece[2:])
        except KeyError:
            raise S3Error("InvalidURI", detail="a percent sign without two hexadecimal digits") from None
        raw = b"".join(pieces)
    if b"\0" in raw:
        # No XML reply can name such a key, and not every index can hold it.
        raise S3Error("InvalidURI", detail="a NUL character")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", detail="not UTF-8") from None


def _absolute(target: bytes, headers: dict[str, str]) -> tuple[bytes, bytes]:
    """Path and query of a target in absolute form, whose authority takes the place of the Host header."""
    match = _ABSOLUTE.match(target)
    if match is None or not match[1] or b"@" in match[1]:
        raise S3Error("InvalidURI", detail="neither a path nor an http URL")
    headers["host"] = _text(match[1])
    path, _, query = target[match.end() :].partition(b"?")
    if path[:1] not in (b"", b"/"):
        raise S3Error("InvalidURI", detail="neither a path nor an http URL")
    return path or b"/", query


def _hosted_bucket(host: str, domain: str) -> str | None:
    """The bucket that a host name stands for, or None where the path names it."""
    name, _, port = host.rpartition(":")
    if not name or not port.isdigit():
        name = host
    name = name.lower()
    suffix = "." + domain.lower()
    return name[: -len(suffix)] if name.endswith(suffix) else None
