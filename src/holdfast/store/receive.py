"""Receiving a body: into memory while it is small, else into the spool, digested and sealed as it comes.

Answers for: what the client said of its body (length, MD5, SHA-256, checksum) is true, or nothing remains of it; and of a body that
is to be sealed nothing is kept but ciphertext. It commits nothing.
Invariant: at most two blocks of a body are in memory, and of one that is sealed the ciphertext of a third.
"""

import hashlib
import hmac
from collections.abc import Sequence

from holdfast.copies.site import Site
from holdfast.digests import block_crcs, checksum_text, crc32c
from holdfast.errors import NO_ROOM, S3Error
from holdfast.index.interface import SpoolFile
from holdfast.limits import BLOCK_BYTES, INLINE_BYTES, PUT_BYTES
from holdfast.model import Algorithm, Checksum, Part, Seal, SealKind, Value, replace
from holdfast.s3 import Body, Expected
from holdfast.sealing.frames import seal_whole
from holdfast.spool.incoming import Incoming
from holdfast.store.ahead import Ahead
from holdfast.store.seals import Sealing


class Received(Value, frozen=True):
    """A body that is here, verified, and not yet committed. Either `inline` with its `crc`, or a spool file."""

    size: int
    """Bytes that are kept."""
    etag: str
    checksum: Checksum | None
    inline: bytes | None = None
    crc: int = 0
    blocks: bytes = b""
    file: SpoolFile | None = None
    seal: Seal | None = None

    @property
    def plain_size(self) -> int:
        """Bytes that came."""
        return self.size if self.seal is None else self.seal.size

    def part(self, number: int, modified_ms: int) -> Part:
        """This body, spooled, as part `number`."""
        assert self.file is not None
        part = Part(number, self.size, self.etag, self.blocks, self.file.id, self.checksum, modified_ms)
        return part if self.seal is None else replace(part, plain=self.seal.size, salt=self.seal.salt)


async def receive(
    site: Site,
    body: Body,
    expected: Expected,
    *,
    inline: bool = True,
    ahead: Ahead | None = None,
    sealing: Sealing | None = None,
) -> Received:
    """Take in a whole body and verify it. Small bodies stay in memory if `inline`; a spooled one goes `ahead` while it arrives.
    With `sealing` only ciphertext is kept.

    Raises S3Error: EntityTooLarge, BadDigest, XAmzContentSHA256Mismatch, SlowDown (the spool is full), and what the body raises.
    """
    declared = body.size
    if declared is not None and declared > PUT_BYTES:
        raise _too_large(declared)
    pieces: list[bytes] = []
    size = 0
    if inline and (declared is None or declared <= INLINE_BYTES):
        room = INLINE_BYTES if declared is None else declared
        site.spool.check_room(declared or 0, used_bytes=await site.waiting_with_bytes(room))
        while size <= INLINE_BYTES:
            piece = await body.read()
            if not piece:
                received = _verify_small(body, expected, pieces[0] if len(pieces) == 1 else b"".join(pieces))
                return received if sealing is None else _seal_small(received, sealing)
            pieces.append(piece)
            size += len(piece)
    return await _receive_spooled(site, body, expected, pieces, size, ahead, sealing)


def _verify_small(body: Body, expected: Expected, data: bytes) -> Received:
    md5 = hashlib.md5(data, usedforsecurity=False)
    if expected.md5:
        _check_md5(expected, md5.digest())
    if expected.sha256 and hashlib.sha256(data).hexdigest() != expected.sha256:
        raise S3Error("XAmzContentSHA256Mismatch")
    algorithms = _algorithms(expected)
    checksum = None
    if algorithms:
        checksum = _check_checksums(
            body, expected, {algorithm: checksum_text(algorithm, data) for algorithm in algorithms}
        )
    return Received(len(data), md5.hexdigest(), checksum, inline=data, crc=crc32c(data), blocks=b"")


def _seal_small(received: Received, sealing: Sealing) -> Received:
    assert received.inline is not None
    data = seal_whole(sealing.key, sealing.header, received.inline)
    return replace(
        received,
        size=len(data),
        etag=_etag(received.etag, sealing),
        inline=data,
        crc=crc32c(data),
        seal=replace(sealing.seal, size=received.size, salt=sealing.salt),
    )


def _etag(md5: str, sealing: Sealing | None) -> str:
    """Amazon S3 API Reference, "Common response headers": what is sealed with SSE-C or SSE-KMS has an etag that is no MD5 of its data.
    It is one under the data key, so that a part that is sent again gets the same."""
    if sealing is None or sealing.seal.kind is SealKind.S3:
        return md5
    return hmac.digest(sealing.key, b"etag" + bytes.fromhex(md5), "sha256")[:16].hex()


async def _receive_spooled(
    site: Site,
    body: Body,
    expected: Expected,
    pieces: list[bytes],
    size: int,
    ahead: Ahead | None,
    sealing: Sealing | None,
) -> Received:
    used_bytes = await site.waiting_bytes()
    incoming = site.spool.begin(body.size if sealing is None else sealing.stored_size(body.size), used_bytes=used_bytes)
    if sealing is not None:
        incoming.seal(sealing.sealer(), len(sealing.header))
    algorithms = _algorithms(expected)
    incoming.expect(algorithms, payload_sha256=bool(expected.sha256))
    if ahead is not None:
        ahead.begin(incoming)
    try:
        while True:
            piece = await body.read()
            if piece:
                pieces.append(piece)
                size += len(piece)
            if size >= BLOCK_BYTES or (size and not piece):
                await incoming.add(pieces, size)
                pieces, size = [], 0
                if body.size is None:
                    site.spool.check_room(0, used_bytes=used_bytes)
            if incoming.plain > PUT_BYTES:
                raise _too_large(incoming.plain)
            if not piece:
                break
        await incoming.finish()
        return _verify_spooled(body, expected, incoming, algorithms, sealing)
    except OSError as trouble:
        await _abandon(incoming)
        raise S3Error("SlowDown", NO_ROOM, detail=f"spool: {trouble}") from trouble
    except BaseException:
        await _abandon(incoming)
        raise


async def _abandon(incoming: Incoming) -> None:
    try:
        await incoming.abandon()
    except OSError:
        return  # The sweep removes what no row names.


def _verify_spooled(
    body: Body, expected: Expected, incoming: Incoming, algorithms: Sequence[Algorithm], sealing: Sealing | None
) -> Received:
    md5 = incoming.md5
    if expected.md5:
        _check_md5(expected, md5)
    if expected.sha256 and incoming.sha256 != expected.sha256:
        raise S3Error("XAmzContentSHA256Mismatch")
    checksum = _check_checksums(body, expected, {algorithm: incoming.checksum(algorithm) for algorithm in algorithms})
    file = SpoolFile(incoming.identifier, incoming.size)
    seal = None if sealing is None else replace(sealing.seal, size=incoming.plain, salt=sealing.salt)
    return Received(incoming.size, _etag(md5.hex(), sealing), checksum, blocks=incoming.blocks, file=file, seal=seal)


def spooled_form(received: Received) -> bytes:
    """The block checksums of a body, in the form that a part keeps."""
    return received.blocks if received.inline is None else block_crcs(received.inline)


def _algorithms(expected: Expected) -> list[Algorithm]:
    """What to compute; the first is what is stored and returned."""
    wanted = [
        expected.checksum.algorithm if expected.checksum is not None else None,
        expected.trailer,
        expected.algorithm,
    ]
    return list(dict.fromkeys(algorithm for algorithm in wanted if algorithm is not None))


def _check_md5(expected: Expected, md5: bytes) -> None:
    if md5 != expected.md5:
        raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")


def _check_checksums(body: Body, expected: Expected, computed: dict[Algorithm, str]) -> Checksum | None:
    given = [expected.checksum] if expected.checksum is not None else []
    if expected.trailer is not None:
        trailer = body.trailer
        if trailer is None or trailer.algorithm is not expected.trailer:
            raise S3Error("InvalidRequest", f"The trailer {expected.trailer.header} was announced and did not come.")
        given.append(trailer)
    for checksum in given:
        if checksum.value != computed[checksum.algorithm]:
            name = checksum.algorithm.value
            raise S3Error("BadDigest", f"The {name} you specified did not match the calculated checksum.")
    for algorithm, value in computed.items():
        return Checksum(algorithm, value)
    return None


def _too_large(size_bytes: int) -> S3Error:
    return S3Error("EntityTooLarge", fields={"ProposedSize": str(size_bytes), "MaxSizeAllowed": str(PUT_BYTES)})
