"""What a webhook is sent: an event in S3's form, and the signature that proves where it comes from. Pure.

The body is that of Amazon S3's own event messages (User Guide, "Event message structure"), the headers are those of the Standard
Webhooks specification: `webhook-id` is the same for each attempt, so that a receiver can tell a repetition, and `webhook-signature`
is HMAC-SHA256 over id, time and body. Invariant: the same event gives the same body each time it is told.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote_plus

from holdfast.index.notices import WaitingNotice
from holdfast.model import to_json
from holdfast.s3.notices import TEST
from holdfast.s3.notification import Notice

_LATER: Final = ("LifecycleExpiration:", "ObjectTagging:", "ObjectAcl:")
"""Events that Amazon S3 tells in the third form of its messages."""
_SERVER: Final = "s3.amazonaws.com"
"""Who causes what nobody asked for, as in Amazon S3's messages."""


def identify(waiting: WaitingNotice) -> str:
    """The id of an event, which no other one has or gets: numbers may come again, and not at the same time."""
    return f"evt_{waiting.since_ms:x}_{waiting.number:x}"


def body_of(waiting: WaitingNotice, region: str) -> bytes:
    """The message as JSON. `region` is that of buckets that were made without one."""
    notice = waiting.notice
    if notice.event == TEST:
        return to_json(
            {
                "Service": "Amazon S3",
                "Event": TEST,
                "Time": _time(notice.at_ms),
                "Bucket": notice.bucket,
                "RequestId": notice.request_id,
                "HostId": notice.host_id,
            }
        )
    return to_json({"Records": [_record(waiting, notice, region)]})


def _record(waiting: WaitingNotice, notice: Notice, region: str) -> dict[str, Any]:
    return {
        "eventVersion": "2.3" if notice.event.startswith(_LATER) else "2.1",
        "eventSource": "aws:s3",
        "awsRegion": notice.region or region,
        "eventTime": _time(notice.at_ms),
        "eventName": notice.event,
        "userIdentity": {"principalId": notice.principal or _SERVER},
        "requestParameters": {"sourceIPAddress": notice.address or _SERVER},
        "responseElements": {"x-amz-request-id": notice.request_id, "x-amz-id-2": notice.host_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": notice.route,
            "bucket": {
                "name": notice.bucket,
                "ownerIdentity": {"principalId": notice.owner},
                "arn": f"arn:aws:s3:::{notice.bucket}",
            },
            "object": _object(waiting, notice),
        },
    }


def _object(waiting: WaitingNotice, notice: Notice) -> dict[str, Any]:
    """Keys are written as in forms: a blank is `+`, slashes stay."""
    found: dict[str, Any] = {"key": quote_plus(notice.key, safe="/", errors="surrogatepass")}
    if notice.size is not None:
        found["size"] = notice.size
    if notice.etag:
        found["eTag"] = notice.etag
    if waiting.version_id:
        found["versionId"] = waiting.version_id
    found["sequencer"] = f"{waiting.seq:018X}"
    return found


def _time(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


def key_of(secret: str) -> bytes:
    """The key that a secret means: `whsec_` is followed by base64, anything else is the key itself."""
    encoded = secret.removeprefix("whsec_")
    if encoded != secret:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()


def headers_of(identifier: str, body: bytes, key: bytes, now_s: int) -> dict[str, str]:
    """The headers of one attempt."""
    headers = {"content-type": "application/json", "webhook-id": identifier, "webhook-timestamp": str(now_s)}
    if key:
        signed = b"%b.%d.%b" % (identifier.encode(), now_s, body)
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        headers["webhook-signature"] = "v1," + base64.b64encode(digest).decode()
    return headers
