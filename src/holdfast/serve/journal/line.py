"""One line of a server access log, in the form of Amazon S3's. Pure.

Source: Amazon S3 User Guide, "Amazon S3 server access log format". All fields are there in its order; what is not known is `-`.
Invariant: whatever a client sent, a record is one line, and its quoted fields end where they seem to; no signature and no
session token is in it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from holdfast.model import Value
from holdfast.s3.logging import DELIVERY_TIME, EVENT_TIME, Logging

_NOTHING: Final = "-"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE: Final = re.compile('[\x00-\x1f"\x7f-\x9f\ud800-\udfff\u2028\u2029]')
_SECRET: Final = re.compile(r"(?i)(X-Amz-Signature|X-Amz-Security-Token|Signature)=[^&\s]*")
_KINDS: Final[Mapping[str, str]] = {
    "ListBuckets": "SERVICE",
    "PreflightBucket": "PREFLIGHT",
    "PreflightObject": "PREFLIGHT",
    "ListObjects": "BUCKET",
    "ListObjectsV2": "BUCKET",
    "ListObjectVersions": "BUCKETVERSIONS",
    "ListMultipartUploads": "UPLOADS",
    "CreateBucket": "BUCKET",
    "HeadBucket": "BUCKET",
    "DeleteBucket": "BUCKET",
    "DeleteObjects": "MULTI_OBJECT_DELETE",
    "CreateMultipartUpload": "UPLOADS",
    "UploadPart": "PART",
    "UploadPartCopy": "PART",
    "CompleteMultipartUpload": "UPLOAD",
    "AbortMultipartUpload": "UPLOAD",
    "ListParts": "UPLOAD",
    "GetObjectAttributes": "OBJECT_ATTRIBUTES",
    "GetBucketNotificationConfiguration": "NOTIFICATION",
    "PutBucketNotificationConfiguration": "NOTIFICATION",
    "GetBucketLogging": "LOGGING_STATUS",
    "PutBucketLogging": "LOGGING_STATUS",
    "GetBucketPolicy": "BUCKETPOLICY",
    "PutBucketPolicy": "BUCKETPOLICY",
    "DeleteBucketPolicy": "BUCKETPOLICY",
    "GetBucketLifecycleConfiguration": "LIFECYCLE",
    "PutBucketLifecycleConfiguration": "LIFECYCLE",
}
"""Where the last word of an operation's name in the log is not the noun of its own name."""
_COPIES: Final = frozenset({"CopyObject", "UploadPartCopy"})
_VERB: Final = re.compile(r"^(?:Get|Put|Delete|Head|Post|Copy|Create|List|Preflight)(?:Bucket|Object(?=.))?")


class Record(Value, frozen=True):
    """What is known of a request when it has ended. What is empty or None is not known."""

    owner: str
    bucket: str
    at_ms: int
    address: str
    requester: str
    request_id: str
    operation: str
    """Its name in the S3 API."""
    method: str
    key: str
    target: bytes
    """As it stood in the request."""
    version: str
    """HTTP/1.1 or HTTP/1.0."""
    status: int
    code: str
    sent_bytes: int
    object_bytes: int | None
    elapsed_s: float
    headers: Mapping[str, str]
    version_id: str
    host_id: str
    tls: tuple[str, str]
    """Version and cipher suite."""


def render(record: Record) -> str:
    """The line, with its end."""
    headers = record.headers
    signed = "authorization" in headers or b"X-Amz-Signature=" in record.target
    fields = (
        _word(record.owner),
        record.bucket,
        _time(record.at_ms),
        _word(record.address),
        _word(record.requester),
        record.request_id,
        operation_of(record.operation, record.method),
        quote(record.key, safe="/", errors="replace") or _NOTHING,
        _quoted(_SECRET.sub(r"\1=-", f"{record.method} {record.target.decode('latin-1')} {record.version}")),
        str(record.status),
        record.code or _NOTHING,
        str(record.sent_bytes or _NOTHING),
        _NOTHING if record.object_bytes is None else str(record.object_bytes),
        str(round(record.elapsed_s * 1000)),
        _NOTHING,  # Turn-around time.
        _quoted(_SECRET.sub(r"\1=-", headers.get("referer", ""))),
        _quoted(headers.get("user-agent", "")),
        record.version_id or _NOTHING,
        record.host_id or _NOTHING,
        "SigV4" if signed else _NOTHING,
        _word(record.tls[1]),
        ("AuthHeader" if "authorization" in headers else "QueryString") if signed else _NOTHING,
        _word(headers.get("host", "")),
        _word(record.tls[0]),
        _NOTHING,  # Access point.
        _NOTHING,  # Whether an access control list was needed.
    )
    return " ".join(fields) + "\n"


def operation_of(operation: str, method: str) -> str:
    """`REST.<method>.<resource>`."""
    if not operation:
        return _NOTHING
    if operation == "VisitWebsite":
        return f"WEBSITE.{method}.OBJECT"
    kind = _KINDS.get(operation) or _VERB.sub("", operation).upper() or "OBJECT"
    return f"REST.{'COPY' if operation in _COPIES else method}.{kind}"


def key_of(logging: Logging, source: "Source", *, event_ms: int, now_ms: int, unique: str) -> str:
    """The key of a log object that holds records from `event_ms` on. User Guide, "Amazon S3 log object key format"."""
    moment = datetime.fromtimestamp((event_ms if logging.key_format == EVENT_TIME else now_ms) // 1000, UTC)
    day = f"{moment:%Y-%m-%d}"
    name = f"{day}-00-00-00-{unique}" if logging.key_format == EVENT_TIME else f"{moment:%Y-%m-%d-%H-%M-%S}-{unique}"
    if logging.key_format not in (EVENT_TIME, DELIVERY_TIME):
        return logging.prefix + name
    return f"{logging.prefix}{source.owner}/{source.region}/{source.bucket}/{day.replace('-', '/')}/{name}"


class Source(Value, frozen=True):
    """A bucket whose requests are logged."""

    bucket: str
    owner: str
    region: str


def _word(text: str) -> str:
    """A field without quotes around it."""
    return _UNSAFE.sub(_escape, text).replace(" ", "%20") or _NOTHING


def _quoted(text: str) -> str:
    return f'"{_UNSAFE.sub(_escape, text) or _NOTHING}"'


def _escape(match: re.Match[str]) -> str:
    return quote(match[0], safe="", errors="replace")


def _time(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"[{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000]"
