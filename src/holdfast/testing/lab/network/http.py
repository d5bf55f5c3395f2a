"""Just enough HTTP/1.1 for a proxy and a client of our own, over asyncio's streams.

Answers for heads, and bodies by Content-Length or chunked, held whole: a laboratory's bodies are small, and BODY_BYTES is
the limit. It repairs nothing. Invariant: what is sent on is byte for byte what was received.
"""

import asyncio
from typing import Final

HEAD_BYTES: Final = 64 * 1024
BODY_BYTES: Final = 64 * 1024 * 1024
NO_BODY: Final = frozenset({204, 304})


class Malformed(Exception):
    """The peer speaks something else."""


class Message:
    """One request or reply: its first line, headers with lower-case names, and the body as it was framed."""

    __slots__ = ("body", "first", "head", "headers", "whole")

    def __init__(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        self.first = first
        self.headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        self.head = head
        self.body = b""
        self.whole = True
        """False when the peer left in the middle of the body."""

    @property
    def status(self) -> int:
        return int(self.first.split(" ", 2)[1])

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def content(self) -> bytes:
        """The body without its framing."""
        return unchunk(self.body) if self.chunked else self.body

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


async def read_message(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None = None, *, asked: str = ""
) -> Message | None:
    """The next message, None when the peer left before its beginning.

    `asked` is the method that a reply answers; empty for requests, which get their `100 Continue` through `writer`.
    Raises Malformed and what streams raise.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return None
        raise
    message = Message(head)
    if asked and message.status < 200:
        return await read_message(reader, asked=asked)
    if writer is not None and message.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        message.body = await _read_body(reader, message, asked)
    except asyncio.IncompleteReadError as end:
        message.body, message.whole = end.partial, False
    return message


async def _read_body(reader: asyncio.StreamReader, message: Message, asked: str) -> bytes:
    if asked == "HEAD" or (asked and message.status in NO_BODY):
        return b""
    if message.chunked:
        return await _read_chunks(reader)
    size = message.headers.get("content-length")
    if size is not None:
        if int(size) > BODY_BYTES:
            raise Malformed(f"a body of {size} bytes")
        return await reader.readexactly(int(size))
    return await reader.read(BODY_BYTES) if asked else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while True:
        line = await reader.readuntil(b"\r\n")
        parts.append(line)
        size = int(line.partition(b";")[0], 16)
        if not size:
            break
        if size + sum(map(len, parts)) > BODY_BYTES:
            raise Malformed("a chunked body beyond the limit")
        parts.append(await reader.readexactly(size + 2))
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        parts.append(line)
    return b"".join((*parts, b"\r\n"))


def unchunk(data: bytes) -> bytes:
    """The content of a chunked body."""
    content, at = bytearray(), 0
    while (stop := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:stop].partition(b";")[0], 16)
        if not size:
            break
        content += data[stop + 2 : stop + 2 + size]
        at = stop + 4 + size
    return bytes(content)


def reply_bytes(status: int, headers: dict[str, str], body: bytes = b"", *, bodiless: bool = False) -> bytes:
    """A reply of our own; `bodiless` for HEAD."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} -\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + (b"" if bodiless else body)


def with_header(head: bytes, name: str, value: str) -> bytes:
    """A head with one header replaced (added, when it was not there)."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    kept = [line for line in lines if line.partition(":")[0].strip().lower() != name.lower()]
    return ("\r\n".join((first, *kept, f"{name}: {value}")) + "\r\n\r\n").encode("latin-1")
