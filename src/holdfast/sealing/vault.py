"""Data keys: made for a new object, and found again for one that is sealed.

Answers for whose key wraps a data key (the node's, a named one of a KMS, the client's), and that a wrapped one opens for its own
bucket and key alone. It touches no body. Invariant: a client's key is kept nowhere, in no form; whether a key is the right one is
said by the tag of the data key that it wraps.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.model import Place, Seal, SealKind, from_json
from holdfast.s3.encryption import CustomerKey, SealAsk
from holdfast.sealing.frames import SALT_BYTES, derive
from holdfast.sealing.kms import DEFAULT_KEY, Kms, KmsSilent, UnknownKey
from holdfast.sealing.master import KEY_BYTES, CannotUnwrap, MasterKey

_ONCE: Final = bytes(12)
"""The nonce of a key that wraps one data key and nothing else."""


class Vault:
    """The keys of a node. Only `store` asks it."""

    def __init__(self, master: MasterKey, kms: Kms, clock: Clock) -> None:
        self._master = master
        self._kms = kms
        self._clock = clock

    def salt(self) -> bytes:
        """A fresh salt for one stretch."""
        return self._clock.token(SALT_BYTES)

    async def begin(self, ask: SealAsk, place: Place) -> tuple[Seal, bytes]:
        """A seal for a new object, and its data key. Raises S3Error: KMS.NotFoundException, ServiceUnavailable."""
        match ask.kind:
            case SealKind.S3:
                key = self._clock.token(KEY_BYTES)
                return Seal(ask.kind, self._master.wrap(key, _named(place))), key
            case SealKind.KMS:
                key_id = ask.key_id or DEFAULT_KEY
                try:
                    data_key = await self._kms.generate(key_id, _context(ask.context, place))
                except (UnknownKey, KmsSilent) as trouble:
                    raise _refusal(key_id, trouble) from trouble
                bucket_key = bool(ask.bucket_key)
                seal = Seal(ask.kind, data_key.wrapped, key_id=key_id, context=ask.context, bucket_key=bucket_key)
                return seal, data_key.plain
            case SealKind.CUSTOMER:
                assert ask.customer is not None
                key, salt = self._clock.token(KEY_BYTES), self.salt()
                wrapped = AESGCM(_wrapping(ask.customer, salt, place)).encrypt(_ONCE, key, None)
                return Seal(ask.kind, salt + wrapped), key

    async def key_of(self, seal: Seal, place: Place, customer: CustomerKey | None) -> bytes:
        """The data key of a sealed object. Raises S3Error: AccessDenied when it is not the client's key that sealed it,
        InvalidRequest when there should be one or should be none, and InternalError when a key of ours is missing."""
        if (seal.kind is SealKind.CUSTOMER) != (customer is not None):
            raise not_applicable() if customer is not None else key_missing()
        try:
            match seal.kind:
                case SealKind.S3:
                    return self._master.unwrap(seal.wrapped, _named(place))
                case SealKind.KMS:
                    return await self._kms.decrypt(seal.key_id, seal.wrapped, _context(seal.context, place))
                case SealKind.CUSTOMER:
                    assert customer is not None
                    return open_customer(seal, place, customer)
        except CannotUnwrap as trouble:
            raise S3Error("InternalError", detail=f"{place.bucket}/{place.key}: its data key: {trouble}") from trouble
        except (UnknownKey, KmsSilent) as trouble:
            raise _refusal(seal.key_id, trouble) from trouble


def open_customer(seal: Seal, place: Place, customer: CustomerKey) -> bytes:
    """The data key that a client's key wraps. Raises AccessDenied when it is another key."""
    salt, wrapped = seal.wrapped[:SALT_BYTES], seal.wrapped[SALT_BYTES:]
    try:
        return AESGCM(_wrapping(customer, salt, place)).decrypt(_ONCE, wrapped, None)
    except InvalidTag as trouble:
        message = "Access Denied: the provided encryption key is not the one with which the object was encrypted."
        raise S3Error("AccessDenied", message) from trouble


def not_applicable() -> S3Error:
    return S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")


def key_missing() -> S3Error:
    return S3Error(
        "InvalidRequest",
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve "
        "the object.",
    )


def _named(place: Place) -> bytes:
    return b"object data key\0" + place.bucket.encode() + b"\0" + place.key.encode("utf-8", "surrogatepass")


def _context(client: str, place: Place) -> dict[str, str]:
    """The client's context and the object's name, as AWS has it: Amazon S3 User Guide, "Encryption context"."""
    given = from_json(client.encode(), dict[str, str]) if client else {}
    return {**given, "aws:s3:arn": f"arn:aws:s3:::{place.bucket}/{place.key}"}


def _wrapping(customer: CustomerKey, salt: bytes, place: Place) -> bytes:
    return derive(customer.key, salt, b"customer key\0" + _named(place))


def _refusal(key_id: str, trouble: Exception) -> S3Error:
    if isinstance(trouble, UnknownKey):
        return S3Error("KMS.NotFoundException", f"Invalid keyId '{key_id}'")
    return S3Error("ServiceUnavailable", "The key management service can't be reached. Try again.", detail=str(trouble))
