"""The headers of server-side encryption, read and written.

Answers for which of them belong together and for the code with which S3 refuses those that do not. It seals nothing. Invariant: a
customer's key that leaves here has 32 bytes and is the one whose MD5 the client gave.
Source: Amazon S3 API Reference, PutObject, GetObject, CopyObject; User Guide, "Using server-side encryption with customer-provided
keys (SSE-C)", "Specifying server-side encryption with AWS KMS (SSE-KMS)".
"""

import base64
import hmac
from collections.abc import Mapping
from typing import Final

from holdfast.errors import S3Error
from holdfast.limits import ENCRYPTION_CONTEXT_BYTES, KMS_KEY_ID_BYTES
from holdfast.model import DecodeError, SealKind, from_json
from holdfast.s3.encryption import CustomerKey, SealAsk, Sealed
from holdfast.wire.parse import SEALING_HEADERS, headers_of, invalid, refused_header, safe
from holdfast.wire.request import Request

_SSE: Final = "x-amz-server-side-encryption"
_KEY_ID: Final = "x-amz-server-side-encryption-aws-kms-key-id"
_CONTEXT: Final = "x-amz-server-side-encryption-context"
_BUCKET_KEY: Final = "x-amz-server-side-encryption-bucket-key-enabled"
_CUSTOMER: Final = "x-amz-server-side-encryption-customer-"
_SOURCE: Final = "x-amz-copy-source-server-side-encryption-customer-"
_PARTS: Final = ("algorithm", "key", "key-md5")
_CUSTOMERS: Final = frozenset({start + part for start in (_CUSTOMER, _SOURCE) for part in _PARTS})
_OURS: Final = (_SSE, _KEY_ID, _CONTEXT, _BUCKET_KEY)
_KEY_BYTES: Final = 32


def seal_ask(headers: Mapping[str, str]) -> SealAsk | None:
    """How a new object is to be sealed; None when nothing is said of it. Raises InvalidArgument, InvalidEncryptionAlgorithmError,
    NotImplemented."""
    if headers.keys().isdisjoint(SEALING_HEADERS):
        return None
    customer = customer_key(headers)
    given = {name: headers[name] for name in _OURS if name in headers}
    if customer is not None:
        for name, value in given.items():
            message = (
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
            )
            raise invalid(name, value, message)
        return SealAsk(SealKind.CUSTOMER, customer=customer)
    kind = given.pop(_SSE, None)
    if kind is None and not given:
        return None  # Only the source of a copy is spoken of.
    if kind == SealKind.KMS.value:
        return _kms(given)
    if kind not in (None, SealKind.S3.value):
        if kind == "aws:kms:dsse":
            raise refused_header(_SSE)
        message = "The encryption method specified is not supported"
        raise S3Error("InvalidArgument", message, fields={"ArgumentName": _SSE, "ArgumentValue": kind})
    for name, value in given.items():
        if name != _BUCKET_KEY:
            raise invalid(name, value, f"The header {name} needs {_SSE}: {SealKind.KMS.value}.")
    return None if kind is None else SealAsk(SealKind.S3)


def _kms(given: Mapping[str, str]) -> SealAsk:
    key_id = safe(_KEY_ID, given.get(_KEY_ID, ""))
    if len(key_id.encode()) > KMS_KEY_ID_BYTES:
        raise invalid(_KEY_ID, key_id[:64], "The key id is too long.")
    flag = given.get(_BUCKET_KEY)
    if flag is not None and flag.lower() not in ("true", "false"):
        raise invalid(_BUCKET_KEY, flag, "It is true or false.")
    context = _context(given[_CONTEXT]) if _CONTEXT in given else ""
    return SealAsk(SealKind.KMS, key_id, context, None if flag is None else flag.lower() == "true")


def _context(text: str) -> str:
    """The encryption context, as the JSON that it is."""
    try:
        data = base64.b64decode(text, validate=True)
        from_json(data, dict[str, str])
        if len(data) <= ENCRYPTION_CONTEXT_BYTES:
            return data.decode()
    except (ValueError, DecodeError):
        pass
    message = "The header must be base64 of JSON that maps texts to texts."
    raise invalid(_CONTEXT, text[:64], message)


def customer_key(headers: Mapping[str, str], *, source: bool = False) -> CustomerKey | None:
    """The client's key, or with `source` that of the source of a copy; None when there is none. Raises InvalidArgument,
    InvalidEncryptionAlgorithmError."""
    if headers.keys().isdisjoint(_CUSTOMERS):
        return None
    start = _SOURCE if source else _CUSTOMER
    algorithm, key, md5 = (headers.get(start + part) for part in _PARTS)
    if algorithm is None and key is None and md5 is None:
        return None
    told = "Requests specifying Server Side Encryption with Customer provided keys must provide"
    if algorithm is None:
        raise invalid(start + "algorithm", "", f"{told} a valid encryption algorithm.")
    if algorithm != "AES256":
        message = "The encryption request that you specified is not valid. The valid value is AES256."
        fields = {"ArgumentName": start + "algorithm", "ArgumentValue": algorithm}
        raise S3Error("InvalidEncryptionAlgorithmError", message, fields=fields)
    if key is None:
        raise invalid(start + "key", "", f"{told} an appropriate secret key.")
    if md5 is None:
        raise invalid(start + "key-MD5", "", f"{told} the client calculated MD5 of the secret key.")
    try:
        data = base64.b64decode(key, validate=True)
    except ValueError:
        data = b""
    if len(data) != _KEY_BYTES:
        raise invalid(start + "key", "", "The secret key was invalid for the specified algorithm.")
    found = CustomerKey(data)
    if not hmac.compare_digest(found.md5.encode(), md5.encode()):
        message = "The calculated MD5 hash of the key did not match the hash that was provided."
        raise invalid(start + "key-MD5", md5, message)
    return found


def reading_key(headers: Mapping[str, str]) -> CustomerKey | None:
    """The client's key with a read. Raises InvalidArgument when the client says how the object is sealed, which only writes do."""
    if headers.keys().isdisjoint(SEALING_HEADERS):
        return None
    if _SSE in headers:
        raise invalid(_SSE, headers[_SSE], f"{_SSE} header is not supported for this operation.")
    return customer_key(headers)


def brings_key(request: Request) -> bool:
    """Whether a key of the client's is in this request."""
    return not headers_of(request).keys().isdisjoint(_CUSTOMERS)


def insecure() -> S3Error:
    return S3Error(
        "InvalidRequest",
        "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
    )


def sealed_headers(sealed: Sealed | None, *, context: bool = True) -> list[tuple[str, str]]:
    """What a reply says of how an object is sealed. Reads do not repeat the context."""
    if sealed is None:
        return []
    if sealed.kind is SealKind.CUSTOMER:
        if not sealed.customer_md5:
            return []
        return [(_CUSTOMER + "algorithm", "AES256"), (_CUSTOMER + "key-MD5", sealed.customer_md5)]
    found = [(_SSE, sealed.kind.value)]
    if sealed.kind is SealKind.KMS:
        found.append((_KEY_ID, sealed.key_id))
        if sealed.context and context:
            found.append((_CONTEXT, base64.b64encode(sealed.context.encode()).decode()))
        if sealed.bucket_key:
            found.append((_BUCKET_KEY, "true"))
    return found
