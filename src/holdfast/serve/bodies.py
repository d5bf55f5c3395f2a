"""The body of a request as the store reads it: framing off, signatures of chunks verified as they pass.

Answers for choosing between a plain and an `aws-chunked` body and for both keeping the contract of `s3.Body`.
HTTP's own framing is `exchange`'s, the format of chunks is `wire.chunked`'s.
Invariant: the empty piece that ends a body is returned only when all of it has come as announced.
"""

from collections.abc import AsyncIterator
from typing import Final

from holdfast.errors import S3Error
from holdfast.limits import GATHER_BYTES
from holdfast.model import Algorithm, Checksum
from holdfast.s3 import Body
from holdfast.serve.exchange import Exchange
from holdfast.wire.chunked import ChunkDecoder
from holdfast.wire.request import Request
from holdfast.wire.sigv4 import Payload, Signed

_STREAMS: Final = frozenset(
    {Payload.STREAM_SIGNED, Payload.STREAM_SIGNED_TRAILER, Payload.STREAM_UNSIGNED_TRAILER},
)
_ALGORITHMS: Final = {algorithm.header: algorithm for algorithm in Algorithm}
_LENGTH: Final = "x-amz-decoded-content-length"
_LENGTH_DIGITS: Final = 19


def body_of(exchange: Exchange, request: Request, signed: Signed) -> Body:
    """The body of a request, in the form that its signature says. Raises InvalidArgument for a decoded length that
    is no number."""
    if signed.payload not in _STREAMS:
        return PlainBody(exchange)
    length = request.headers.get(_LENGTH)
    if length is not None and not (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS):
        raise S3Error("InvalidArgument", fields={"ArgumentName": _LENGTH, "ArgumentValue": length})
    names = tuple(request.headers.get("x-amz-trailer", "").split(",")) if "x-amz-trailer" in request.headers else ()
    size = None if length is None else int(length)
    return ChunkedBody(exchange, ChunkDecoder(signed, decoded_length=size, trailer_names=names), size)


async def read_whole(body: Body, limit_bytes: int) -> bytes:
    """A small body at once. Raises MaxMessageLengthExceeded beyond the limit, before holding more than that."""
    if body.size is not None and body.size > limit_bytes:
        raise S3Error("MaxMessageLengthExceeded")
    pieces = []
    size = 0
    while piece := await body.read():
        size += len(piece)
        if size > limit_bytes:
            raise S3Error("MaxMessageLengthExceeded")
        pieces.append(piece)
    return b"".join(pieces)


async def close(stream: AsyncIterator[bytes] | None) -> None:
    """Let the stream of an outgoing body give back what it holds; nothing more is read of it."""
    release = getattr(stream, "aclose", None)
    if release is not None:
        await release()


class PlainBody:
    """A body without framing of its own."""

    __slots__ = ("_exchange", "read", "size", "trailer")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.size = exchange.declared
        self.read = exchange.read
        self.trailer: Checksum | None = None


class ChunkedBody:
    """An `aws-chunked` body."""

    __slots__ = ("_decoder", "_exchange", "_pieces", "size")

    def __init__(self, exchange: Exchange, decoder: ChunkDecoder, size: int | None) -> None:
        self._exchange = exchange
        self._decoder = decoder
        self._pieces: list[bytes] = []
        """Decoded pieces that were not read yet, last one first."""
        self.size = size

    async def read(self) -> bytes:
        """The next piece; empty at the end, when all signatures were right and the trailers have come."""
        while not self._pieces:
            data = await self._exchange.read()
            if not data:
                self._decoder.end()
                return b""
            pieces = self._decoder.feed(data)
            if len(pieces) > 1 and len(data) <= GATHER_BYTES:
                return b"".join(pieces)
            pieces.reverse()
            self._pieces = pieces
        return self._pieces.pop()

    @property
    def trailer(self) -> Checksum | None:
        """The checksum that came behind the body."""
        for name, value in self._decoder.trailers.items():
            if name in _ALGORITHMS:
                return Checksum(_ALGORITHMS[name], value)
        return None
