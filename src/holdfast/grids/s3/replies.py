"""What a reply of an S3 server means, decided once.

Answers for the class of every error. Pure. Only a reply that names the object as missing is `ABSENT`; a missing bucket, a
refused signature or a page of something that is no S3 server never is. A change is `Uncertain` when the server
may have made it, `Unavailable` when it certainly did not.
Amazon S3 API Reference, "Error responses". Invariant: every reply other than success has exactly one class.
"""

import email.utils
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from holdfast.errors import CODES, Corrupt, GridError, Reason, Refused, S3Error, Unavailable, Uncertain
from holdfast.grids.identity import NoPlace
from holdfast.limits import S3_REPLY_BYTES
from holdfast.model import Place, Value
from holdfast.xml import Element, parse_xml

_TOO_MUCH: Final = frozenset(
    {
        "SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "Throttling", "ThrottlingException",
        "TooManyRequests", "RequestLimitExceeded", "BandwidthLimitExceeded", "RequestThrottled", "Busy", "ServerBusy",
    }
)  # fmt: skip
_NEVER: Final = frozenset(
    {"KeyTooLongError", "KeyTooLong", "MetadataTooLarge", "EntityTooLarge", "EntityTooSmall", "InvalidURI", "XMinioInvalidObjectName", "InvalidObjectName"}
)  # fmt: skip
_PATH: Final = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody", "RequestTimeout",
     "OperationAborted", "ConditionalRequestConflict", "RequestAborted", "ClientDisconnected"}
)  # fmt: skip
"""It did not act, and the next attempt may well succeed."""
_REMEDIES: Final[Mapping[str, str]] = {
    "InvalidAccessKeyId": "the provider does not know the access key: check access_key",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: check secret_key",
    "AccessDenied": "access is denied: the key needs permission to list the bucket and to get, put and delete its objects",
    "AllAccessDisabled": "the account is closed to all access: ask the provider",
    "AccountProblem": "there is a problem with the account: ask the provider",
    "NotSignedUp": "the account may not use the service: ask the provider",
    "ExpiredToken": "the session token has expired: renew session_token, or name a source that renews it",
    "InvalidToken": "the session token is not valid: check session_token",
    "RequestTimeTooSkewed": "its clock and ours differ too much: set this machine's clock",
    "AuthorizationHeaderMalformed": "it does not accept this region: check region",
    "InvalidRegion": "it does not accept this region: check region",
    "NotImplemented": "it does not offer this: check provider",
    "InvalidBucketName": "the bucket's name is not valid there: check url",
}
SKEWED: Final = "RequestTimeTooSkewed"


class NoBucket(NoPlace):
    """The provider's bucket does not exist. Never that an object is absent."""


class Asked(Value, frozen=True):
    """What a reply is the reply to."""

    grid: str
    operation: str
    place: Place
    target: str
    """The bucket at the provider, for messages."""
    changes: bool
    """What it asks for can be seen when it is done."""


def error_of(body: bytes) -> tuple[str, str, Element | None]:
    """Code and message of an error document; empty when it is none."""
    try:
        tree = parse_xml(body, "Error", limit_bytes=S3_REPLY_BYTES)
    except S3Error:
        return "", "", None
    return tree.get("Code") or "", tree.get("Message") or "", tree


def classify(asked: Asked, status: int, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> GridError:
    """The error that a reply other than success is."""
    code, message, tree = error_of(body)
    return judge(asked, status, code, message or code, headers, now_ms=now_ms, legible=tree is not None or not body)


def late(asked: Asked, root: Element, headers: Mapping[str, str], *, now_ms: int) -> GridError:
    """The error that came in the body of a 200."""
    code = root.get("Code") or ""
    status = CODES[code].status if code in CODES else 500
    return judge(asked, status, code, root.get("Message") or code, headers, now_ms=now_ms)


def judge(
    asked: Asked, status: int, code: str, message: str, headers: Mapping[str, str], *, now_ms: int, legible: bool = True
) -> GridError:
    """The class of an error by its status and code. `legible`: the reply was one that an S3 server gives."""
    told = f"{status} {code}".strip() + (f": {message}" if message and message != code else "")
    if code == "NoSuchBucket":
        detail = f'the bucket "{asked.target}" does not exist there: create it, correct url, or set create_buckets'
        return NoBucket(*_where(asked), detail, bucket=asked.place.bucket, key=asked.place.key, lasting=True)
    if code == "NoSuchUpload":
        return _unavailable(asked, "the staged bytes are gone (NoSuchUpload)")
    if status == 404 and legible and code in ("NoSuchKey", "NoSuchVersion", "NotFound", ""):
        return _refused(asked, "not there", Reason.ABSENT)
    if status == 412:
        return _refused(asked, told, Reason.MISMATCH)
    if status == 416:
        return Corrupt(
            *_where(asked), f"it is shorter than it should be ({told})", bucket=asked.place.bucket, key=asked.place.key
        )
    if code in _NEVER:
        return _refused(asked, told, Reason.INVALID)
    if status == 503 and asked.changes and not legible:
        # Not the server's own: a proxy says so, too, when it lost the server in the middle of a request that was sent on.
        return _uncertain(asked, told)
    if code in _TOO_MUCH or status in (429, 503):
        return _unavailable(asked, f"it is too busy ({told})", retry_after_s=retry_after_s(headers, now_ms=now_ms))
    if code in _PATH or status == 408:
        return _unavailable(asked, told)
    if status >= 500 and status != 501:
        return _uncertain(asked, told) if asked.changes else _unavailable(asked, told)
    if code in _REMEDIES:
        return _unavailable(asked, f"{_REMEDIES[code]} ({told})", lasting=True)
    if status in (401, 403):
        return _unavailable(
            asked, f"it refuses our credentials ({told}): check access_key and secret_key", lasting=True
        )
    if status in (301, 302, 303, 307, 308):
        elsewhere = headers.get("location", "") or headers.get("x-amz-bucket-region", "")
        hint = f" to {elsewhere}" if elsewhere else ""
        return _unavailable(asked, f"it sends us elsewhere{hint} ({told}): check endpoint and region", lasting=True)
    if legible and code:
        # It understood us, and does not like this request: its name, its headers, its size. Others may fare better.
        return _refused(asked, told, Reason.INVALID)
    detail = told if legible else f"{told}, and not as an S3 server says it: check endpoint"
    return _unavailable(asked, detail, lasting=True)


def reply_tree(asked: Asked, body: bytes, headers: Mapping[str, str], *roots: str, now_ms: int) -> Element:
    """The document of a 200. Raises the error that stands in it instead, or Corrupt when it is nothing of both."""
    try:
        tree = parse_xml(body, *roots, "Error", limit_bytes=S3_REPLY_BYTES)
    except S3Error as garbage:
        detail = f"the reply is no {roots[0]} document: {garbage.detail}"
        if asked.changes:
            raise _uncertain(asked, detail) from garbage
        raise Corrupt(*_where(asked), detail, bucket=asked.place.bucket, key=asked.place.key) from garbage
    if tree.name == "Error":
        raise late(asked, tree, headers, now_ms=now_ms)
    return tree


def retry_after_s(headers: Mapping[str, str], *, now_ms: int) -> float | None:
    """Seconds that `Retry-After` asks for, given as seconds or as a date."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    at_ms = date_ms(text)
    return None if at_ms is None else max(0.0, (at_ms - now_ms) / 1000)


def date_ms(text: str) -> int | None:
    """Milliseconds since the epoch of a date in a header; None when it is none."""
    try:
        return _ms(email.utils.parsedate_to_datetime(text))
    except (TypeError, ValueError, OverflowError):
        return None


def iso_ms(text: str) -> int | None:
    """Milliseconds since the epoch of a date in a document."""
    try:
        return _ms(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _ms(when: datetime) -> int:
    return int(when.timestamp()) * 1000


def _where(asked: Asked) -> tuple[str, str]:
    return asked.grid, asked.operation


def _refused(asked: Asked, detail: str, reason: Reason) -> Refused:
    return Refused(*_where(asked), detail, reason=reason, bucket=asked.place.bucket, key=asked.place.key)


def _unavailable(
    asked: Asked, detail: str, *, lasting: bool = False, retry_after_s: float | None = None
) -> Unavailable:
    place = asked.place
    return Unavailable(
        *_where(asked), detail, bucket=place.bucket, key=place.key, lasting=lasting, retry_after_s=retry_after_s
    )


def _uncertain(asked: Asked, detail: str) -> Uncertain:
    return Uncertain(*_where(asked), detail, bucket=asked.place.bucket, key=asked.place.key)
