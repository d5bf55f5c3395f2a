"""Who sent this request: verification of AWS Signature Version 4.

Answers for the header form and the presigned form, and for telling how the body is protected; the chunks of a signed
stream are verified by `chunked`, a digest of the whole body by whoever reads it. It knows no account, only what
`secret_of` says, and never tells a secret or a signature of its own making.
Invariant: `authenticate` names somebody only when they have signed the request's method, path, query, host and `x-amz-*`
headers; a signature that is wrong is never taken for none.
Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)" and "Error responses".
"""

import enum
import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from holdfast.errors import S3Error
from holdfast.limits import CLOCK_SKEW_S, PARSED_CHARS, PARSED_MEMORY, PRESIGN_EXPIRY_S
from holdfast.signing import (
    ALGORITHM,
    SERVICE,
    TERMINAL,
    UNSIGNED_PAYLOAD,
    amz_date,
    canonical_headers,
    canonical_path,
    canonical_query,
    signature,
    signing_key,
    string_to_sign,
)
from holdfast.wire.conditions import parse_http_date
from holdfast.wire.request import Request

_HEX64 = re.compile(r"[0-9a-fA-F]{64}")
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_LAST_MS = 253_402_300_799_000
"""The end of the year 9999; a presigned request may claim to be valid beyond it."""
_SECONDS = re.compile(r"[0-9]{1,9}")

_PRESIGNED = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)
_OF_PRESIGNING = frozenset(_PRESIGNED)
_UNSUPPORTED = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
_COMPONENTS = "the authorization header requires three components: Credential, SignedHeaders, and Signature."
_ONE_MECHANISM = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or "
    "the Authorization header should be specified"
)


class Payload(enum.Enum):
    """How the body is protected."""

    UNSIGNED = "unsigned"
    DIGEST = "digest"
    """The whole body has the SHA-256 in `Signed.sha256`."""
    STREAM_SIGNED = "stream-signed"
    """aws-chunked, each chunk signed."""
    STREAM_SIGNED_TRAILER = "stream-signed-trailer"
    """aws-chunked, each chunk and the trailers signed."""
    STREAM_UNSIGNED_TRAILER = "stream-unsigned-trailer"
    """aws-chunked without signatures, with trailers."""


_STREAMS = {
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": Payload.STREAM_SIGNED,
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": Payload.STREAM_SIGNED_TRAILER,
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": Payload.STREAM_UNSIGNED_TRAILER,
}


class Signed:
    """A verified signature: whose it is (nobody's `access_key` is empty), how the body is protected, and what the chunks' signatures go on
    from. `sha256` is lower-case hex for DIGEST, else empty. `signature` is that of the request, `key` the derived signing key of the
    day: never to be shown. `token` came with temporary credentials; `at_ms` is the time that was signed."""

    __slots__ = (
        "access_key", "amz_date", "at_ms", "key", "payload", "presigned", "scope", "sha256", "signature", "token",
    )  # fmt: skip

    def __init__(
        self,
        access_key: str,
        payload: Payload,
        sha256: str,
        signature: str,
        key: bytes,
        scope: str,
        amz_date: str,
        presigned: bool,
        token: str = "",
        at_ms: int = 0,
    ) -> None:
        self.access_key = access_key
        self.payload = payload
        self.sha256 = sha256
        self.signature = signature
        self.key = key
        self.scope = scope
        self.amz_date = amz_date
        self.presigned = presigned
        self.token = token
        self.at_ms = at_ms

    def __repr__(self) -> str:
        return f"Signed({self.access_key} {self.payload.value} {self.scope})"


ANYBODY = Signed("", Payload.UNSIGNED, "", "", b"", "", "", False)
"""Of a request that needs no signature."""


class _Claim:
    """What a request says of its signature, apart from the signature."""

    __slots__ = ("access_key", "day", "names", "region", "scope", "service", "signed")

    def __init__(self, access_key: str, day: str, region: str, service: str, scope: str, signed: str) -> None:
        self.access_key = access_key
        self.day = day
        self.region = region
        self.service = service
        self.scope = scope
        self.signed = signed
        self.names = tuple(signed.lower().split(";"))


SecretOf = Callable[[str], str | None]
"""The secret of an access key, or None."""
SessionSecret = Callable[[str, str], str]
"""The secret of temporary credentials, by access key and token. Raises InvalidToken, ExpiredToken."""


def _no_sessions(access_key: str, token: str) -> str:
    raise S3Error("InvalidToken")


class Keys:
    """Whose signatures hold, and where: made once, for many requests. `region` is the one this endpoint stands for, empty for any."""

    __slots__ = ("region", "secret_of", "service", "session_secret")

    def __init__(
        self, secret_of: SecretOf, *, region: str, session_secret: SessionSecret = _no_sessions, service: str = SERVICE
    ) -> None:
        self.secret_of = secret_of
        self.session_secret = session_secret
        self.region = region
        self.service = service

    def secret(self, access_key: str, token: str) -> str:
        """Raises InvalidAccessKeyId, and what `session_secret` raises."""
        return self.session_secret(access_key, token) if token else secret_for(access_key, self.secret_of)


def authenticate(request: Request, keys: Keys, now_ms: int) -> Signed:
    """Verify the signature of `request`. One that has none at all is nobody's.

    A request signed for another region is told so. Raises S3Error: AccessDenied (expired, or `x-amz-*` headers that
    are not signed), SignatureDoesNotMatch, InvalidAccessKeyId, RequestTimeTooSkewed, AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError, InvalidToken, ExpiredToken, InvalidArgument, InvalidRequest.
    """
    authorization = request.headers.get("authorization") or None  # An empty one is none.
    query = request.query
    if not query:
        if authorization is None:
            return _anonymous(request)
        return _by_header(request, authorization, keys, now_ms)
    presigned = not _OF_PRESIGNING.isdisjoint(query)
    legacy = "Signature" in query and "AWSAccessKeyId" in query
    if (authorization is not None) + presigned + legacy > 1:
        raise S3Error("InvalidArgument", _ONE_MECHANISM, fields={"ArgumentName": "Authorization"})
    if authorization is not None:
        return _by_header(request, authorization, keys, now_ms)
    if presigned:
        return _by_query(request, keys, now_ms)
    if legacy:
        raise S3Error("InvalidRequest", _UNSUPPORTED)
    return _anonymous(request)


def authenticate_form(
    request: Request, body: bytes, *, service: str, secret_of: SecretOf, session_secret: SessionSecret, now_ms: int
) -> Signed:
    """The same for a request with a form as its body, to another service than S3, in whatever region: its digest is part of what is signed
    and in no header. Raises AccessDenied without a signature."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        raise S3Error("AccessDenied", detail="anonymous")
    digest = hashlib.sha256(body).hexdigest()
    keys = Keys(secret_of, region="", session_secret=session_secret, service=service)
    return _by_header(request, authorization, keys, now_ms, digest)


def _anonymous(request: Request) -> Signed:
    """A request without a signature; its body may come in chunks that are not signed either."""
    payload, sha256 = _payload(request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD))
    if payload in (Payload.STREAM_SIGNED, Payload.STREAM_SIGNED_TRAILER):
        raise S3Error("AccessDenied", detail="signed chunks without a signature")
    return Signed("", payload, sha256, "", b"", "", "", False)


# --- the header form ---


def _by_header(request: Request, authorization: str, keys: Keys, now_ms: int, digest: str = "") -> Signed:
    """`digest` is that of the body, where no header has to say it."""
    at = authorization.rfind("Signature=")
    proof = authorization[at + 10 :]
    head = authorization[:at]
    if at < 0 or not authorization.startswith(ALGORITHM + " "):
        raise _refused_scheme(authorization)
    if "," in proof:
        proof, _, rest = proof.partition(",")
        head = f"{head},{rest}"
    proof = proof.strip()
    claim = (_claim if len(head) <= PARSED_CHARS else _parse_claim)(head, keys.service)
    if claim.region != keys.region and keys.region:
        raise _wrong_region(_malformed, claim.region, keys.region)

    headers = request.headers
    payload_text = digest or headers.get("x-amz-content-sha256")
    if payload_text is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    payload, sha256 = _payload(payload_text)

    date = headers.get("x-amz-date")
    if date is None:
        date = _from_date_header(headers.get("date", ""))
    at_ms = parse_date(date)
    if at_ms is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    if not -CLOCK_SKEW_S * 1000 <= at_ms - now_ms <= CLOCK_SKEW_S * 1000:
        raise S3Error(
            "RequestTimeTooSkewed",
            fields={
                "RequestTime": date,
                "ServerTime": _iso(now_ms),
                "MaxAllowedSkewMilliseconds": str(CLOCK_SKEW_S * 1000),
            },
        )
    if not date.startswith(claim.day):
        raise _malformed(
            f'Invalid credential date "{claim.day}". This date is not the same as X-Amz-Date: "{date[:8]}".'
        )

    # The values of these two are part of what is signed, whether or not they are listed.
    _check_signed(headers, claim.names, ("x-amz-content-sha256", "x-amz-date"))
    query = canonical_query(request.query_items) if request.query_items else ""
    token = headers.get("x-amz-security-token", "")
    key = _verify(request, claim, date, query, payload_text, proof, keys.secret(claim.access_key, token))
    return Signed(claim.access_key, payload, sha256, proof, key, claim.scope, date, False, token, at_ms)


def _parse_claim(head: str, service: str) -> _Claim:
    """The claim of an Authorization header without its signature. Raises AuthorizationHeaderMalformed."""
    fields: dict[str, str] = {}
    for field in head[len(ALGORITHM) :].split(","):
        field = field.strip()
        if field:
            name, mark, value = field.partition("=")
            if not mark or name in fields:
                raise _malformed(f'the authorization component "{name}" is malformed.')
            fields[name] = value
    for name in ("Credential", "SignedHeaders"):
        if not fields.get(name):
            raise _malformed(_COMPONENTS)
    return scoped(fields["Credential"], fields["SignedHeaders"], _malformed, service)


_claim = lru_cache(PARSED_MEMORY)(_parse_claim)


def _malformed(what: str) -> S3Error:
    return S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {what}")


def _refused_scheme(authorization: str) -> S3Error:
    scheme = authorization.partition(" ")[0]
    if scheme == ALGORITHM:
        return _malformed(_COMPONENTS)
    if scheme.startswith("AWS") and (scheme != "AWS" or ":" in authorization):
        return S3Error("InvalidRequest", _UNSUPPORTED)
    # The value is not repeated: it may be a password of another scheme.
    return S3Error("InvalidArgument", "Unsupported Authorization Type", fields={"ArgumentName": "Authorization"})


def _from_date_header(text: str) -> str:
    at_ms = parse_http_date(text)
    return text if at_ms is None else amz_date(at_ms)


# --- the presigned form ---


def _by_query(request: Request, keys: Keys, now_ms: int) -> Signed:
    query, headers = request.query, request.headers
    if not all(query.get(name) for name in _PRESIGNED):
        raise _bad_query(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise _bad_query(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    credential, signed = query["X-Amz-Credential"], query["X-Amz-SignedHeaders"]
    known = len(credential) + len(signed) <= PARSED_CHARS
    claim = (_query_claim if known else scoped)(credential, signed, _bad_credential)
    if claim.region != keys.region:
        raise _wrong_region(_bad_credential, claim.region, keys.region)

    date = query["X-Amz-Date"]
    at_ms = parse_date(date)
    if at_ms is None:
        raise _bad_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if not date.startswith(claim.day):
        raise _bad_credential(f'incorrect date "{claim.day}". This date is not the same as X-Amz-Date: "{date[:8]}".')
    expires = query["X-Amz-Expires"]
    if not _SECONDS.fullmatch(expires):
        raise _bad_query("X-Amz-Expires should be a number, and not a negative one")
    if int(expires) > PRESIGN_EXPIRY_S:
        raise _bad_query(f"X-Amz-Expires must be at most a week: {PRESIGN_EXPIRY_S} seconds")
    until_ms = at_ms + int(expires) * 1000
    expired = now_ms > until_ms or until_ms == at_ms
    if expired or at_ms - now_ms > CLOCK_SKEW_S * 1000:
        what = "Request has expired" if expired else "Request is not valid yet"
        times = {"X-Amz-Expires": expires, "Expires": _iso(until_ms), "ServerTime": _iso(now_ms)}
        raise S3Error("AccessDenied", what, fields=times)

    # The sender of the body is often not the signer and may add its digest, which can only make us stricter; a framing
    # of the body is another matter.
    given = headers.get("x-amz-content-sha256")
    free: tuple[str, ...] = ()
    payload_text = query.get("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD)
    if given is not None and "x-amz-content-sha256" in claim.names:
        payload_text = given
    payload, sha256 = _payload(payload_text)
    if given is not None and "x-amz-content-sha256" not in claim.names and given not in _STREAMS:
        free = ("x-amz-content-sha256",)
        if payload is Payload.UNSIGNED:
            payload, sha256 = _payload(given)
    _check_signed(headers, claim.names, free)

    items = canonical_query(item for item in request.query_items if item[0] != "X-Amz-Signature")
    proof = query["X-Amz-Signature"]
    token = query.get("X-Amz-Security-Token") or headers.get("x-amz-security-token", "")
    key = _verify(request, claim, date, items, payload_text, proof, keys.secret(claim.access_key, token))
    return Signed(claim.access_key, payload, sha256, proof, key, claim.scope, date, True, token, at_ms)


def _bad_query(message: str) -> S3Error:
    return S3Error("AuthorizationQueryParametersError", message)


def _bad_credential(what: str) -> S3Error:
    return _bad_query(f"Error parsing the X-Amz-Credential parameter; {what}")


# --- what all have in common ---


def secret_for(access_key: str, secret_of: Callable[[str], str | None]) -> str:
    """Raises InvalidAccessKeyId."""
    secret = secret_of(access_key)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", fields={"AWSAccessKeyId": access_key})
    return secret


def scoped(credential: str, signed: str, error: Callable[[str], S3Error], of_service: str = SERVICE) -> _Claim:
    """The claim of a credential `<access key>/<day>/<region>/s3/aws4_request` and a list of header names."""
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not parts[0]:
        raise error('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    access_key, day, region, service, terminal = parts
    if len(day) != 8 or not (day.isascii() and day.isdigit()):
        raise error(f'incorrect date format "{day}". This date in the credential must be in the format "yyyyMMdd".')
    if service != of_service:
        raise error(f'incorrect service "{service}". This endpoint belongs to "{of_service}".')
    if terminal != TERMINAL:
        raise error(f'incorrect terminal "{terminal}". This endpoint uses "{TERMINAL}".')
    return _Claim(access_key, day, region, service, f"{day}/{region}/{service}/{terminal}", signed)


_query_claim = lru_cache(PARSED_MEMORY)(scoped)


def _wrong_region(error: Callable[[str], S3Error], given: str, region: str) -> S3Error:
    trouble = error(f"the region '{given}' is wrong; expecting '{region}'")
    trouble.fields["Region"] = region
    return trouble


@lru_cache(PARSED_MEMORY)
def _instant(text: str) -> int | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


def parse_date(text: str) -> int | None:
    """Milliseconds of `20260102T030405Z`, or None."""
    return _instant(text) if len(text) == 16 else None


def _iso(at_ms: int) -> str:
    date = amz_date(min(at_ms, _LAST_MS))
    return f"{date[:4]}-{date[4:6]}-{date[6:11]}:{date[11:13]}:{date[13:]}"


def _payload(text: str) -> tuple[Payload, str]:
    """How the body is protected, and its digest if that is how."""
    if text == UNSIGNED_PAYLOAD:
        return Payload.UNSIGNED, ""
    if _HEX64.fullmatch(text):
        return Payload.DIGEST, text.lower()
    stream = _STREAMS.get(text)
    if stream is not None:
        return stream, ""
    raise S3Error(
        "InvalidArgument",
        f"x-amz-content-sha256 must be {UNSIGNED_PAYLOAD}, {', '.join(_STREAMS)} or a valid sha256 value.",
        fields={"ArgumentName": "x-amz-content-sha256", "ArgumentValue": text},
    )


def _check_signed(headers: dict[str, str], names: tuple[str, ...], free: tuple[str, ...]) -> None:
    """Raises AccessDenied unless `host` and all `x-amz-*` headers but those in `free` are signed.

    Otherwise whoever has a presigned URL could give it a new meaning.
    """
    missing = [name for name in headers if name.startswith("x-amz-") and name not in names and name not in free]
    if "host" not in names:
        missing.append("host")
    if missing:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            fields={"HeadersNotSigned": ", ".join(missing)},
        )


def _verify(
    request: Request,
    claim: _Claim,
    date: str,
    query: str,
    payload: str,
    proof: str,
    secret: str,
) -> bytes:
    """The signing key with which `proof` is the signature of the request. Raises S3Error when it is not."""
    path = canonical_path(request.raw_path, request.path)
    lines = canonical_headers(claim.names, request.headers)
    canonical = f"{request.method}\n{path}\n{query}\n{lines}\n{claim.signed}\n{payload}"
    text = string_to_sign(date, claim.scope, canonical)
    key = signing_key(secret, claim.day, claim.region, claim.service)
    if not (proof.isascii() and hmac.compare_digest(signature(key, text), proof)):
        raise S3Error(
            "SignatureDoesNotMatch",
            fields={
                "AWSAccessKeyId": claim.access_key,
                "StringToSign": text,
                "SignatureProvided": proof,
                "CanonicalRequest": canonical,
            },
        )
    return key
