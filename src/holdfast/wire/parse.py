"""One header or query value at a time: from what HTTP says to what it means.

Answers for the rules that operations share (numbers, tokens, checksums, conditions, what is refused); the operations
are in `parse_buckets`, `parse_objects` and `parse_multipart`. Everything here raises S3Error and nothing else.
Invariant: text that will leave in a header again holds no control characters.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping

from holdfast.access.acl import CANNED
from holdfast.digests import SIZES, checksum_text
from holdfast.errors import S3Error
from holdfast.limits import KEY_BYTES, LIST_PAGE, PART_NUMBER_MAX
from holdfast.model import ALWAYS, Algorithm, Checksum, ChecksumType, Presence, WriteCondition
from holdfast.s3 import Expected, ReadConditions
from holdfast.wire.conditions import parse_etags, parse_http_date
from holdfast.wire.request import Request

_NUMBER_MAX = 2**31 - 1
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_HEX64 = re.compile(r"[0-9a-f]{64}")

_CHECKSUM_HEADERS: Mapping[str, Algorithm] = {algorithm.header: algorithm for algorithm in Algorithm}
_CHECKSUMS_ELSEWHERE = frozenset(
    f"x-amz-checksum-{name}" for name in ("md5", "sha512", "xxhash3", "xxhash64", "xxhash128")
)
"""Sums that Amazon takes, too."""
_CHECKSUM_SETTINGS = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"})

SEALING_HEADERS = frozenset(
    {
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-context",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-customer-key-md5",
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
        "x-amz-copy-source-server-side-encryption-customer-key",
        "x-amz-copy-source-server-side-encryption-customer-key-md5",
    }
)
"""What `parse_sealing` understands."""
_REFUSED_PREFIXES = (
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-event-hold",
)
_REFUSED = frozenset({"x-amz-write-offset-bytes"})
"""Headers that ask for what is not implemented, unless they are empty."""
OF_SIGNATURE = frozenset(
    {
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
    }
)
"""Query parameters that say how a request was signed, and nothing of what it asks for."""

_TOKEN_MARK = b"1"


def headers_of(request: Request) -> Mapping[str, str]:
    """The request's headers and, when it is presigned, the `x-amz-*` headers that an SDK put into its query.

    Checksums are left out of the latter: at signing time the SDK did not know the body, and what it wrote there is
    that of an empty one.
    """
    query = request.query
    if "X-Amz-Signature" not in query or OF_SIGNATURE.issuperset(query):
        return request.headers
    hoisted: dict[str, str] = {}
    for name, value in query.items():
        lower = name.lower()
        if lower.startswith("x-amz-") and not (
            lower in _CHECKSUM_HEADERS or lower in ("x-amz-sdk-checksum-algorithm", "x-amz-trailer")
        ):
            if not _HEADER_NAME.fullmatch(lower):
                raise invalid(name, value, "The name is not that of a header.")
            hoisted[lower] = value
    return {**hoisted, **request.headers}


def invalid(name: str, value: str, message: str) -> S3Error:
    """InvalidArgument about one header or query parameter."""
    return S3Error("InvalidArgument", message, fields={"ArgumentName": name, "ArgumentValue": value})


def refused_header(name: str) -> S3Error:
    """NotImplemented, naming the header."""
    message = f"The header {name} asks for functionality that is not implemented."
    return S3Error("NotImplemented", message, fields={"Header": name})


def safe(name: str, value: str) -> str:
    """The value, which can stand in a header of a reply. Raises InvalidArgument for control characters."""
    if not value.isprintable() and _UNSAFE.search(value):
        raise invalid(name, value, "The value contains control characters.")
    return value


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises NotImplemented for the first header that asks for what does not exist here."""
    for name, value in headers.items():
        if name.startswith("x-amz-"):
            check_header(name, value)


def check_header(name: str, value: str) -> None:
    """The same for one `x-amz-*` header."""
    if (name.startswith(_REFUSED_PREFIXES) and name not in SEALING_HEADERS) or (name in _REFUSED and value):
        raise refused_header(name)
    if name == "x-amz-acl":
        if value not in CANNED:
            raise invalid(name, value, "The canned ACL is not known.")
    elif name.startswith("x-amz-checksum-") and name not in _CHECKSUM_HEADERS and name not in _CHECKSUM_SETTINGS:
        if name not in _CHECKSUMS_ELSEWHERE:
            raise S3Error("InvalidRequest", "The algorithm type you specified in x-amz-checksum- header is invalid.")
        raise refused_header(name)


# --- numbers and texts of the query ---


def number(fields: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int = _NUMBER_MAX) -> int:
    """A whole number between `least` and `most`; an absent or empty one is `default`."""
    text = fields.get(name, "")
    if not text:
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else -1
    if not least <= value <= most:
        raise invalid(name, text, f"Argument {name} must be an integer between {least} and {most}.")
    return value


def page_limit(fields: Mapping[str, str], name: str) -> int:
    """How many entries a page may have: what was asked for, capped."""
    return min(number(fields, name, LIST_PAGE), LIST_PAGE)


def part_number(text: str) -> int:
    """1 to 10,000."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
    if not 1 <= value <= PART_NUMBER_MAX:
        raise invalid("partNumber", text, f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive")
    return value


def url_encoded(query: Mapping[str, str]) -> bool:
    """Whether keys are to be URL-encoded in the reply."""
    text = query.get("encoding-type", "")
    if text not in ("", "url"):
        raise invalid("encoding-type", text, "Invalid Encoding Method specified in Request")
    return text == "url"


def version_id(query: Mapping[str, str]) -> str:
    """The version asked for, or empty."""
    text = query.get("versionId")
    if text is None:
        return ""
    if not text:
        raise invalid("versionId", "", "Version id cannot be the empty string")
    return text


def encode_token(key: str) -> str:
    """A continuation token: where to go on, opaque to clients."""
    return base64.urlsafe_b64encode(_TOKEN_MARK + key.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def decode_token(token: str) -> str:
    """What `encode_token` was given. Raises InvalidArgument for anything else; an empty token is the beginning."""
    if not token:
        return ""
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if data[:1] == _TOKEN_MARK and len(data) <= len(_TOKEN_MARK) + KEY_BYTES:
            key = data[1:].decode("utf-8")
            if encode_token(key) == token:
                return key
    except ValueError:
        pass
    raise invalid("continuation-token", token, "The continuation token provided is incorrect")


# --- checksums ---


def _base64(text: str, size_bytes: int) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size_bytes else None


def algorithm(name: str, text: str) -> Algorithm:
    """A checksum algorithm by its name. Raises InvalidRequest."""
    try:
        return Algorithm(text.upper())
    except ValueError:
        raise S3Error(
            "InvalidRequest",
            f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            f"[{', '.join(Algorithm)}]",
            detail=f"{name}: {text}",
        ) from None


def checksum_type(headers: Mapping[str, str]) -> ChecksumType | None:
    """x-amz-checksum-type. Raises InvalidRequest."""
    text = headers.get("x-amz-checksum-type")
    if text is None:
        return None
    try:
        return ChecksumType(text.upper())
    except ValueError:
        raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.") from None


def one_checksum(given: Iterable[tuple[Algorithm, str]], *, composite: bool = False) -> Checksum | None:
    """At most one checksum, well-formed. With `composite` it may end in `-N`. Raises InvalidRequest."""
    found: Checksum | None = None
    for kind, value in given:
        if found is not None:
            raise S3Error(
                "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            )
        text, dash, count = value.partition("-")
        if dash and not (composite and count.isascii() and count.isdigit()):
            text = ""
        if _base64(text, SIZES[kind]) is None:
            raise S3Error("InvalidRequest", f"Value for {kind.header} header is invalid.")
        found = Checksum(kind, value, ChecksumType.COMPOSITE if dash else ChecksumType.FULL_OBJECT)
    return found


def header_checksum(headers: Mapping[str, str], *, composite: bool = False) -> Checksum | None:
    """The checksum that came as a header."""
    if headers.keys().isdisjoint(_CHECKSUM_HEADERS):
        return None
    given = ((kind, headers[name]) for name, kind in _CHECKSUM_HEADERS.items() if name in headers)
    return one_checksum(given, composite=composite)


def expected(headers: Mapping[str, str]) -> Expected:
    """What the client says of its body. Raises InvalidDigest and InvalidRequest."""
    md5 = b""
    text = headers.get("content-md5")
    if text is not None:
        found = _base64(text, 16)
        if found is None:
            raise S3Error("InvalidDigest", fields={"Content-MD5": text})
        md5 = found
    sha256 = headers.get("x-amz-content-sha256", "").lower()
    if not _HEX64.fullmatch(sha256):
        sha256 = ""
    checksum = header_checksum(headers)
    trailer = _trailer(headers)
    if checksum is not None and trailer is not None:
        raise S3Error(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    wanted = None
    name = headers.get("x-amz-sdk-checksum-algorithm")
    if name:
        wanted = algorithm("x-amz-sdk-checksum-algorithm", name)
        given = checksum.algorithm if checksum is not None else trailer
        if given is not None and given is not wanted:
            raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
    return Expected(md5=md5, sha256=sha256, checksum=checksum, trailer=trailer, algorithm=wanted)


def _trailer(headers: Mapping[str, str]) -> Algorithm | None:
    text = headers.get("x-amz-trailer")
    if text is None:
        return None
    kind = _CHECKSUM_HEADERS.get(text.strip().lower())
    if kind is None:
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return kind


def expected_of_xml(headers: Mapping[str, str], *, checksums: bool = True) -> Expected:
    """What the client says of an XML body. Without `checksums` those in the headers are of something else."""
    if not checksums:
        headers = {name: value for name, value in headers.items() if name not in _CHECKSUM_HEADERS}
    return expected(headers)


def verify(said: Expected, body: bytes) -> None:
    """Raises BadDigest or XAmzContentSHA256Mismatch when a whole body is not what the client said it is.

    When a trailer was announced, `said.checksum` must be the one that came, else InvalidRequest.
    """
    if said.trailer is not None and (said.checksum is None or said.checksum.algorithm is not said.trailer):
        raise S3Error("InvalidRequest", f"The trailer {said.trailer.header} was announced and did not come.")
    if said.md5 and hashlib.md5(body, usedforsecurity=False).digest() != said.md5:
        raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
    if said.sha256 and hashlib.sha256(body).hexdigest() != said.sha256:
        raise S3Error("XAmzContentSHA256Mismatch")
    checksum = said.checksum
    if checksum is not None and checksum_text(checksum.algorithm, body) != checksum.value:
        name = checksum.algorithm.value
        raise S3Error("BadDigest", f"The {name} you specified did not match the calculated checksum.")


# --- conditions ---

_ON_READ = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
ON_SOURCE = (
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
)
_UNCONDITIONAL = ReadConditions()


def read_conditions(headers: Mapping[str, str], names: tuple[str, str, str, str] = _ON_READ) -> ReadConditions:
    """The conditions of a read, or with ON_SOURCE those on the source of a copy. A date that is none is ignored."""
    if headers.keys().isdisjoint(names):
        return _UNCONDITIONAL
    match, none_match, modified, unmodified = (headers.get(name) for name in names)
    return ReadConditions(
        if_match=() if match is None else parse_etags(match),
        if_none_match=() if none_match is None else parse_etags(none_match),
        if_modified_since_ms=None if modified is None else parse_http_date(modified),
        if_unmodified_since_ms=None if unmodified is None else parse_http_date(unmodified),
    )


def write_condition(headers: Mapping[str, str]) -> WriteCondition:
    """The condition of a write. What S3 does not define on writes is NotImplemented, never ignored."""
    if headers.keys().isdisjoint(_ON_READ):
        return ALWAYS
    for name in ("if-modified-since", "if-unmodified-since"):
        if name in headers:
            raise refused_header(name)
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if none_match is not None:
        if match is not None or none_match != "*":
            raise refused_header("if-none-match")
        return WriteCondition(Presence.ABSENT)
    return match_condition(match or "")


def match_condition(text: str) -> WriteCondition:
    """`If-Match` with one etag or `*`."""
    etags = parse_etags(text)
    if len(etags) != 1 or not etags[0]:
        raise invalid("If-Match", text, "One entity tag is expected.")
    return WriteCondition(Presence.MATCH, etags[0])


def refuse_conditions(headers: Mapping[str, str]) -> None:
    """Raises NotImplemented for conditions on operations that have none."""
    for name in _ON_READ:
        if name in headers:
            raise refused_header(name)
