"""AWS Signature Version 4 as arithmetic: canonical texts, keys, signatures.

Answers for everything that signer and verifier have in common, and for signing requests of our own. It judges
nothing, knows no clock and looks at nothing above it, so that whoever talks to an S3 grid signs with the code that
verifies clients. Secrets enter as arguments and leave only as derived keys.
Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)".
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from holdfast.limits import PARSED_CHARS, PARSED_MEMORY, SIGNING_KEYS

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"
TERMINAL = "aws4_request"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PLAIN_PATH = _UNRESERVED + b"/"
_ESCAPED = re.compile(rb"[^A-Za-z0-9\-._~]+")
_ESCAPED_IN_PATH = re.compile(rb"[^A-Za-z0-9\-._~/]+")
_BLANKS = re.compile(r"[ \t]+")


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%" + match[0].hex("%").upper().encode()


def encode(text: str) -> str:
    """Percent-encoded as S3 does it: everything but letters, digits and `-._~`."""
    return _ESCAPED.sub(_escape, text.encode()).decode("ascii")


def encode_path(path: str) -> str:
    """The same, with `/` kept."""
    return _ESCAPED_IN_PATH.sub(_escape, path.encode()).decode("ascii")


def canonical_path(raw: bytes, decoded: str) -> str:
    """The canonical URI of a path as received and as decoded: encoded once, never normalised."""
    if not raw.translate(None, _PLAIN_PATH):
        return raw.decode("ascii")
    return encode_path(decoded)


def canonical_query(items: Iterable[tuple[str, str]]) -> str:
    """Decoded parameters as a query string: encoded, sorted by encoded name and value, duplicates kept."""
    pairs = [
        (_known_pair if len(name) + len(value) <= PARSED_CHARS else _encode_pair)(name, value) for name, value in items
    ]
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def _encode_pair(name: str, value: str) -> tuple[str, str]:
    return encode(name), encode(value)


_known_pair = lru_cache(PARSED_MEMORY)(_encode_pair)


def canonical_headers(names: Iterable[str], headers: Mapping[str, str]) -> str:
    """One `name:value` line for each of `names`; runs of blanks become one, an absent header is empty."""
    lines = []
    for name in names:
        value = headers.get(name, "")
        if "  " in value or "\t" in value:
            value = _BLANKS.sub(" ", value)
        lines.append(f"{name}:{value}\n")
    return "".join(lines)


@lru_cache(SIGNING_KEYS)
def signing_key(secret: str, day: str, region: str, service: str = SERVICE) -> bytes:
    """The key of one day (`20260102`), region and service."""
    key = hmac.digest(b"AWS4" + secret.encode(), day.encode(), "sha256")
    for text in (region, service, TERMINAL):
        key = hmac.digest(key, text.encode(), "sha256")
    return key


def string_to_sign(amz_date: str, scope: str, canonical_request: str) -> str:
    """What the signature of a request covers."""
    return f"{ALGORITHM}\n{amz_date}\n{scope}\n{hashlib.sha256(canonical_request.encode()).hexdigest()}"


def signature(key: bytes, text: str) -> str:
    """The signature of a string to sign, as lower-case hex."""
    return hmac.digest(key, text.encode(), "sha256").hex()


def form_signature_v2(secret: str, policy: str) -> str:
    """What proved the policy of an upload form before version 4: HMAC-SHA1, in base64. Amazon S3 User Guide, "Signing and
    authenticating REST requests (AWS signature version 2)"."""
    return base64.b64encode(hmac.digest(secret.encode(), policy.encode(), "sha1")).decode()


def chunk_signature(key: bytes, amz_date: str, scope: str, previous: str, data_sha256: str) -> str:
    """The signature of one chunk of a signed stream; `previous` is that of the chunk before, or of the request."""
    return signature(key, f"{ALGORITHM}-PAYLOAD\n{amz_date}\n{scope}\n{previous}\n{EMPTY_SHA256}\n{data_sha256}")


def trailer_signature(key: bytes, amz_date: str, scope: str, previous: str, trailers: Iterable[tuple[str, str]]) -> str:
    """The signature of the trailers of a signed stream; `previous` is that of its last, empty chunk."""
    lines = "".join([f"{name}:{value}\n" for name, value in sorted(trailers)])
    digest = hashlib.sha256(lines.encode()).hexdigest()
    return signature(key, f"{ALGORITHM}-TRAILER\n{amz_date}\n{scope}\n{previous}\n{digest}")


def amz_date(at_ms: int) -> str:
    """`20260102T030405Z`."""
    t = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{t.year:04}{t.month:02}{t.day:02}T{t.hour:02}{t.minute:02}{t.second:02}Z"


def sign_headers(
    method: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    *,
    payload: str,
    access_key: str,
    secret_key: str,
    region: str,
    now_ms: int,
) -> dict[str, str]:
    """The headers to send: those given, `x-amz-date`, `x-amz-content-sha256` and `authorization`.

    `path` is decoded and must be sent as `encode_path(path)`, `query` as `canonical_query(query)` or any equivalent.
    `headers` have lower-case names and include `host`; all of them are signed. `payload` is the SHA-256 of the body
    as hex, UNSIGNED_PAYLOAD or the name of a streaming form.
    """
    date = amz_date(now_ms)
    scope = f"{date[:8]}/{region}/{SERVICE}/{TERMINAL}"
    sent = {**headers, "x-amz-date": date, "x-amz-content-sha256": payload}
    names = sorted(sent)
    signed = ";".join(names)
    canonical = f"{method}\n{encode_path(path)}\n{canonical_query(query)}\n{canonical_headers(names, sent)}\n{signed}\n{payload}"
    proof = signature(signing_key(secret_key, date[:8], region), string_to_sign(date, scope, canonical))
    sent["authorization"] = f"{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={proof}"
    return sent


def presign(
    method: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    *,
    expires_s: int,
    access_key: str,
    secret_key: str,
    region: str,
    now_ms: int,
) -> str:
    """The query string that lets anybody send this request for `expires_s` seconds.

    `path` is decoded and must be sent as `encode_path(path)`. Whoever uses it has to send exactly `headers` (lower-case names,
    `host` included); the body is free.
    """
    date = amz_date(now_ms)
    scope = f"{date[:8]}/{region}/{SERVICE}/{TERMINAL}"
    names = sorted(headers)
    signed = ";".join(names)
    text = canonical_query(
        [
            *query,
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", f"{access_key}/{scope}"),
            ("X-Amz-Date", date),
            ("X-Amz-Expires", str(expires_s)),
            ("X-Amz-SignedHeaders", signed),
        ]
    )
    canonical = (
        f"{method}\n{encode_path(path)}\n{text}\n{canonical_headers(names, headers)}\n{signed}\n{UNSIGNED_PAYLOAD}"
    )
    proof = signature(signing_key(secret_key, date[:8], region), string_to_sign(date, scope, canonical))
    return f"{text}&X-Amz-Signature={proof}"
