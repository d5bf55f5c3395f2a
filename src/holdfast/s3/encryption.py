"""Encryption at rest as S3 asks for it and tells of it: per request, and as a bucket's default.

Nothing here seals: that is `sealing`. Invariant: a customer's key is never shown, whoever prints a request.
Source: Amazon S3 User Guide, "Protecting data with encryption"; API Reference, PutObject, PutBucketEncryption.
"""

import base64
import hashlib

from holdfast.model import Seal, SealKind, Value


class CustomerKey(Value, frozen=True):
    """The key of SSE-C: 32 bytes that the client brings."""

    key: bytes

    @property
    def md5(self) -> str:
        """Base64, as the client says it and hears it again."""
        return base64.b64encode(hashlib.md5(self.key, usedforsecurity=False).digest()).decode()

    def __repr__(self) -> str:
        return "CustomerKey(***)"


class SealAsk(Value, frozen=True):
    """How a new object is to be sealed."""

    kind: SealKind
    key_id: str = ""
    """SSE-KMS; empty for the default key."""
    context: str = ""
    """SSE-KMS: a map of texts to texts, as JSON; empty for none."""
    bucket_key: bool | None = None
    """SSE-KMS; None: nothing was said."""
    customer: CustomerKey | None = None
    """SSE-C."""


class Sealed(Value, frozen=True):
    """What a reply says of how an object is sealed."""

    kind: SealKind
    key_id: str = ""
    context: str = ""
    bucket_key: bool = False
    customer_md5: str = ""


def sealed(seal: Seal | None, customer: CustomerKey | None = None) -> Sealed | None:
    """What to say of a seal; `customer` is the key that came with the request."""
    if seal is None:
        return None
    return Sealed(seal.kind, seal.key_id, seal.context, seal.bucket_key, customer.md5 if customer is not None else "")


class BucketEncryption(Value, frozen=True):
    """A bucket's setting `encryption`."""

    kind: SealKind | None = None
    """What seals objects of which nothing is said; None: nothing does, by this setting."""
    key_id: str = ""
    bucket_key: bool | None = None
    blocked: tuple[str, ...] = ()
    """Kinds that clients may not ask for: `SSE-C`, or `NONE` for none of them."""


BY_POLICY = BucketEncryption(SealKind.S3)
"""What the setting is where the operator's policy seals everything and the bucket has none of its own."""
