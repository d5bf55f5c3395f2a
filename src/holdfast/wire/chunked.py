"""The `aws-chunked` framing of request bodies: bytes in, pieces of the decoded body out.

Answers for sizes, signatures and trailers of the three streaming forms; computes no checksum that a trailer
claims. It has no socket and no clock: feed it whatever arrived, in pieces of any size.
Pieces are given out before the signature of their chunk is known, so nothing may be committed before `end`
has returned. Invariant: `feed` and `end` raise S3Error or nothing, and how the input was split never matters.
Amazon S3 API Reference, "Signature calculations: transferring payload in multiple chunks", "... including
trailing headers".
"""

import enum
import hashlib
import hmac
import re

from holdfast.errors import S3Error
from holdfast.limits import CHUNK_LINE_BYTES, TRAILER_BYTES
from holdfast.signing import chunk_signature, trailer_signature
from holdfast.wire.sigv4 import Payload, Signed

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;(.*))?", re.DOTALL)
_SIGNATURE = re.compile(rb"[ \t]*chunk-signature[ \t]*=[ \t]*([0-9a-f]{64})[ \t]*")
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~]*)")
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


class _At(enum.Enum):
    """What comes next in the input."""

    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILER = enum.auto()
    END = enum.auto()


class ChunkDecoder:
    """Takes the framing off one body.

    `signed` is the request's signature; with STREAM_SIGNED and STREAM_SIGNED_TRAILER every chunk must bear its own,
    otherwise (None too) chunk signatures are not looked at. `decoded_length` is x-amz-decoded-content-length in bytes,
    None when unknown. `trailer_names` are those that x-amz-trailer announced.
    """

    __slots__ = (
        "_allowed",
        "_announced",
        "_at",
        "_chunk",
        "_left",
        "_length",
        "_line",
        "_previous",
        "_promised",
        "_seals_trailers",
        "_signed",
        "_size",
        "_spent",
        "trailers",
    )

    def __init__(
        self, signed: Signed | None, *, decoded_length: int | None = None, trailer_names: tuple[str, ...] = ()
    ) -> None:
        verified = signed is not None and signed.payload in (Payload.STREAM_SIGNED, Payload.STREAM_SIGNED_TRAILER)
        self._signed = signed if verified else None
        self._seals_trailers = signed is not None and signed.payload is Payload.STREAM_SIGNED_TRAILER
        self._previous = signed.signature if signed is not None else ""
        self._promised = b""
        """The signature that the size line of the present chunk bears, or in the end that of the trailers."""
        self._announced = frozenset(name.strip().lower() for name in trailer_names if name.strip())
        # Trailers behind signed chunks that nobody signed could be exchanged on the way.
        self._allowed = self._announced if self._signed is None or self._seals_trailers else frozenset()
        self._length = decoded_length
        self._size = 0
        """Decoded bytes announced by size lines so far."""
        self._at = _At.SIZE
        self._left = 0
        """Bytes of the present chunk that are still to come."""
        self._chunk = hashlib.sha256()
        self._line = bytearray()
        self._spent = 0
        """Bytes of trailer lines so far."""
        self.trailers: dict[str, str] = {}
        """Lower-case name to value, complete once `finished`; without the signature."""

    @property
    def finished(self) -> bool:
        """True when the body, its signatures and its trailers have come and are right."""
        return self._at is _At.END

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the decoded body that `data` holds, in order.

        Raises S3Error: InvalidRequest (not this framing), IncompleteBody (not the declared length),
        SignatureDoesNotMatch, MalformedTrailerError. The decoder is of no use afterwards.
        """
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size:
            if self._at is _At.DATA:
                piece = data if at == 0 and size <= self._left else data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if self._signed is not None:
                    self._chunk.update(piece)
                if self._left == 0:
                    self._at = _At.DATA_END
                pieces.append(piece)
                continue
            if self._at is _At.END:
                raise _malformed("there is something behind its end")
            stop = data.find(b"\n", at) + 1
            self._line += data[at : stop or size]
            if len(self._line) > CHUNK_LINE_BYTES:
                raise _malformed("a line is too long")
            at = stop or size
            if stop:
                line = bytes(self._line)
                self._line.clear()
                if not line.endswith(b"\r\n"):
                    raise _malformed("a line does not end in CR LF")
                self._take(line[:-2])
        return pieces

    def end(self) -> None:
        """Say that the input has ended. Raises IncompleteBody when the body has not."""
        if not self.finished:
            raise S3Error("IncompleteBody")

    def _take(self, line: bytes) -> None:
        if self._at is _At.SIZE:
            self._begin(line)
        elif self._at is _At.DATA_END:
            if line:
                raise _malformed("a chunk is longer than its size")
            self._verify_chunk()
            self._at = _At.SIZE
        elif line:
            self._trailer(line)
        else:
            self._verify_trailers()
            self._at = _At.END

    def _begin(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise _malformed("a chunk has no valid size")
        if self._signed is not None:
            proof = _SIGNATURE.fullmatch(match[2] or b"")
            if proof is None:
                raise _malformed("a chunk has no valid signature")
            self._promised = proof[1]
        size = int(match[1], 16)
        self._size += size
        if self._length is not None and (self._size > self._length or (not size and self._size < self._length)):
            raise S3Error("IncompleteBody", "The request body is not as long as x-amz-decoded-content-length says.")
        self._left = size
        if size:
            self._at = _At.DATA
        else:
            self._verify_chunk()
            self._at = _At.TRAILER

    def _verify_chunk(self) -> None:
        if self._signed is None:
            return
        right = chunk_signature(
            self._signed.key, self._signed.amz_date, self._signed.scope, self._previous, self._chunk.hexdigest()
        )
        if not hmac.compare_digest(right.encode(), self._promised):
            raise S3Error("SignatureDoesNotMatch", detail="the signature of a chunk")
        self._previous = right
        self._promised = b""
        self._chunk = hashlib.sha256()

    def _trailer(self, line: bytes) -> None:
        self._spent += len(line)
        match = _TRAILER.fullmatch(line)
        if match is None or self._spent > TRAILER_BYTES:
            raise S3Error("MalformedTrailerError")
        name = match[1].decode("ascii").lower()
        value = match[2].strip(b" \t")
        if name == _TRAILER_SIGNATURE and self._seals_trailers and not self._promised:
            self._promised = value
        elif name in self._allowed and name not in self.trailers:
            self.trailers[name] = value.decode("ascii")
        else:
            raise S3Error("MalformedTrailerError", detail=f"{name} was not announced or came twice")

    def _verify_trailers(self) -> None:
        missing = self._announced - self.trailers.keys()
        if missing:
            raise S3Error(
                "MalformedTrailerError", detail=f"{', '.join(sorted(missing))} was announced and did not come"
            )
        if self._signed is None or not self._seals_trailers:
            return
        right = trailer_signature(
            self._signed.key, self._signed.amz_date, self._signed.scope, self._previous, self.trailers.items()
        )
        if not hmac.compare_digest(right.encode(), self._promised):
            raise S3Error("SignatureDoesNotMatch", detail="the signature of the trailers")


def _malformed(what: str) -> S3Error:
    return S3Error("InvalidRequest", f"The aws-chunked framing of the body is not valid: {what}.")
