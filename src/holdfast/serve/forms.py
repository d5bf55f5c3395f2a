"""The body of an upload form as it arrives: first its fields, then its file as a body for the store.

Answers for reading no more of a form than what is in front of its file before it is clear who sends it, and for holding the file to
the length that the form's policy allows. The format is `wire.browser.multipart`'s.
Invariant: the empty piece that ends the file is returned only when the form was whole and the file neither too short nor too long.
"""

from collections.abc import Mapping

from holdfast.errors import S3Error
from holdfast.limits import PUT_BYTES
from holdfast.model import Checksum
from holdfast.serve.exchange import Exchange
from holdfast.wire.browser.multipart import FormParser, boundary_of
from holdfast.wire.request import Request


class FormBody:
    """The file of a form."""

    size: int | None = None
    trailer: Checksum | None = None

    def __init__(self, exchange: Exchange, parser: FormParser, first: bytes) -> None:
        self._exchange = exchange
        self._parser = parser
        self._piece = first
        self._read = 0
        self._least, self._most = 0, PUT_BYTES

    @property
    def fields(self) -> Mapping[str, str]:
        return self._parser.fields

    @property
    def filename(self) -> str:
        return self._parser.filename

    def hold_to(self, least_bytes: int, most_bytes: int) -> None:
        """The file must have from `least_bytes` to `most_bytes`."""
        self._least, self._most = least_bytes, most_bytes

    async def read(self) -> bytes:
        """The next piece of the file. Raises EntityTooLarge, EntityTooSmall, and what the form and its body raise."""
        while not self._piece:
            data = await self._exchange.read()
            if not data:
                self._end()
                return b""
            self._piece = self._parser.feed(data)
        piece, self._piece = self._piece, b""
        self._read += len(piece)
        if self._read > self._most:
            sizes = {"ProposedSize": str(self._read), "MaxSizeAllowed": str(self._most)}
            raise S3Error("EntityTooLarge", fields=sizes)
        return piece

    def _end(self) -> None:
        self._parser.end()
        if self._read < self._least:
            sizes = {"ProposedSize": str(self._read), "MinSizeAllowed": str(self._least)}
            raise S3Error("EntityTooSmall", fields=sizes)


async def read_form(exchange: Exchange, request: Request) -> FormBody:
    """The form up to its file. Raises MissingContentLength, MalformedPOSTRequest and the like."""
    parser = FormParser(boundary_of(request.headers.get("content-type", "")))
    if not exchange.framed:
        raise S3Error("MissingContentLength")
    first = b""
    while not parser.at_file:
        data = await exchange.read()
        if not data:
            parser.end()
        first = parser.feed(data)
    return FormBody(exchange, parser, first)
