"""Which objects are sealed and how, and with which keys.

Answers for the order in which it is decided (the request, the bucket's default, the operator's policy) and for one data key per object.
The bytes are sealed where they are received, and opened where they are read. Invariant: who may not have an object opened gets neither
its bytes nor what is known of it.
Source: Amazon S3 User Guide, "Setting default server-side encryption behavior", "Using server-side encryption with customer-provided
keys (SSE-C)".
"""

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.model import Bucket, Layout, Place, Redundancy, Seal, SealKind, Span, Version, replace
from holdfast.s3 import Upload
from holdfast.s3.encryption import BucketEncryption, CustomerKey, SealAsk
from holdfast.s3.settings import setting
from holdfast.sealing.frames import Opener, Sealer, Stretch, header_of, stored_size
from holdfast.sealing.vault import Vault

ENCRYPTION = "encryption"
"""Name of the bucket's setting."""
_SSE_S3 = SealAsk(SealKind.S3)


class Sealing:
    """One body that is about to be sealed."""

    __slots__ = ("header", "key", "salt", "seal")

    def __init__(self, seal: Seal, key: bytes, number: int, salt: bytes) -> None:
        self.seal = seal
        self.key = key
        self.salt = salt
        self.header = header_of(seal, number, salt)

    def sealer(self) -> Sealer:
        """To be used once: its key seals one stretch."""
        return Sealer(self.key, self.header)

    def stored_size(self, plain_bytes: int | None) -> int | None:
        """What a body of this size takes; None when it is not known."""
        return None if plain_bytes is None else stored_size(plain_bytes, len(self.header))


def wanted(bucket: Bucket, policy: Redundancy, ask: SealAsk | None) -> SealAsk | None:
    """How a new object is sealed; None: not at all. Raises AccessDenied for a kind that the bucket blocks."""
    if ENCRYPTION not in bucket.settings:
        return _SSE_S3 if ask is None and policy.encrypt else ask
    default = setting(bucket, ENCRYPTION, BucketEncryption)
    assert default is not None
    if ask is None:
        if default.kind is None:
            return _SSE_S3 if policy.encrypt else None
        return SealAsk(default.kind, default.key_id, bucket_key=default.bucket_key)
    if ask.kind is SealKind.CUSTOMER and "SSE-C" in default.blocked:
        raise S3Error("AccessDenied", "This bucket does not allow objects that are encrypted with SSE-C.")
    if ask.kind is SealKind.KMS and ask.bucket_key is None:
        return replace(ask, bucket_key=default.bucket_key)
    return ask


async def begin_seal(site: Site, place: Place, ask: SealAsk) -> tuple[Seal, bytes]:
    """The seal of a new object, and its data key."""
    return await _vault(site).begin(ask, place)


async def begin_sealing(site: Site, place: Place, ask: SealAsk) -> Sealing:
    """The sealing of a new object that is received as one."""
    vault = _vault(site)
    return Sealing(*await vault.begin(ask, place), 1, vault.salt())


async def part_sealing(
    site: Site, place: Place, seal: Seal | None, customer: CustomerKey | None, number: int
) -> Sealing | None:
    """The sealing of one part of an upload, under the upload's data key. Raises InvalidRequest when the client's key is missing,
    is not the upload's, or should not be there."""
    if seal is None and customer is None:
        return None
    if seal is None or (customer is not None and seal.kind is not SealKind.CUSTOMER):
        raise S3Error(
            "InvalidRequest",
            "The multipart upload initiate did not request encryption. Subsequent part requests cannot include encryption "
            "parameters.",
        )
    if customer is None and seal.kind is SealKind.CUSTOMER:
        raise S3Error(
            "InvalidRequest",
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate "
            "encryption parameters.",
        )
    try:
        key = await _vault(site).key_of(seal, place, customer)
    except S3Error as refusal:
        if refusal.code != "AccessDenied":
            raise
        message = "The provided encryption parameters did not match the ones used originally."
        raise S3Error("InvalidRequest", message) from refusal
    return Sealing(seal, key, number, _vault(site).salt())


async def check_upload_key(site: Site, upload: Upload, customer: CustomerKey | None) -> None:
    """Whether an upload may be completed with this key of the client's, which it must bring when the upload has checksums.

    Raises what `part_sealing` raises. Source: S3 API Reference, CompleteMultipartUpload.
    """
    seal = upload.facts.seal
    needed = seal is not None and seal.kind is SealKind.CUSTOMER and upload.algorithm is not None
    if needed or customer is not None:
        await part_sealing(site, Place(upload.bucket, upload.key), seal, customer, 1)


async def key_of(site: Site, place: Place, version: Version, customer: CustomerKey | None) -> bytes | None:
    """The data key of a version, None when it is not sealed. Raises S3Error when the client may not have it opened: see `Vault`."""
    seal = version.facts.seal
    if seal is None:
        if customer is not None:
            raise S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")
        return None
    return await _vault(site).key_of(seal, place, customer)


def _vault(site: Site) -> Vault:
    assert site.vault is not None, "a node that serves has a vault"
    return site.vault


def opener_of(version: Version, layout: Layout | None, key: bytes, span: Span) -> Opener:
    """What opens a span of a sealed version, which is not empty."""
    seal = version.facts.seal
    assert seal is not None
    if layout is None:
        return Opener(key, [Stretch(header_of(seal, 1, seal.salt), seal.size, 0, 0)], span)
    stretches: list[Stretch] = []
    plain_start = start = 0
    for part in layout.parts:
        stretches.append(Stretch(header_of(seal, part.number, part.salt), part.plain, plain_start, start))
        plain_start += part.plain
        start += part.size
    return Opener(key, stretches, span)
