"""An S3 server that does what a test tells it to, down to the bytes and the way it hangs up.

It has an identity like any place, so that grids can be attached to it; every other request meets the next of the
`reactions`, or an error when there is none. It never waits. Invariant: `seen` has every request in order.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

from holdfast.grids.s3.grid import S3Grid
from tests.providers import s3_grid


class Seen(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Reaction(NamedTuple):
    """What the server does with a request."""

    data: bytes = b""
    end: str = "keep"
    """`keep` the connection, `close` it, or `reset` it."""
    reads: bool = True
    """Whether it reads the body first."""


def reply(
    status: int,
    body: bytes = b"",
    *,
    end: str = "keep",
    length: int | None = None,
    headers: Mapping[str, str] | None = None,
    **more: str,
) -> Reaction:
    """A whole reply. Header names may have `_` for `-`."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in {**(headers or {}), **more}.items()]
    return Reaction("\r\n".join(lines).encode() + b"\r\n\r\n" + body, end)


def error(status: int, code: str, message: str = "told by the script", **headers: str) -> Reaction:
    """An S3 error."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return reply(status, body, headers={"content-type": "application/xml", **headers})


_LOOKS = ("list-type=2&max-keys=10&prefix=", "max-uploads=")
"""Queries that are part of being attached."""


class Scripted:
    """The server. Use within `serving`."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.reactions: list[Reaction | Callable[[Seen], Reaction]] = []
        self.identity = b""
        self.bucket_missing = False
        self.uploads = b""
        """What the listing of multipart uploads has in it."""
        self.origin = ""
        self.connections = 0

    def then(self, *reactions: Reaction | Callable[[Seen], Reaction]) -> None:
        """Do these with the next requests."""
        self.reactions += reactions

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        reaction, body = None, b""
        if not self._about_identity(target):
            following = self.reactions.pop(0) if self.reactions else error(500, "InternalError", "no script")
            if isinstance(following, Reaction):
                reaction = following
        if reaction is None or reaction.reads:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Seen(method, target, headers, body)
        self.seen.append(request)
        if self._about_identity(target):
            reaction = self._identify(request)
        elif reaction is None:
            assert not isinstance(following, Reaction)
            reaction = following(request)
        begin, blank, _ = reaction.data.partition(b"\r\n\r\n")
        writer.write(begin + blank if method == "HEAD" else reaction.data)
        await writer.drain()
        if reaction.end == "reset":
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return reaction.end == "keep"

    def _about_identity(self, target: str) -> bool:
        return ".holdfast/identity" in target or any(query in target for query in _LOOKS)

    def _identify(self, request: Seen) -> Reaction:
        if self.bucket_missing:
            return error(404, "NoSuchBucket")
        if "max-uploads" in request.target:
            return reply(200, b"<ListMultipartUploadsResult>" + self.uploads + b"</ListMultipartUploadsResult>")
        if "list-type" in request.target:
            return reply(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        if request.method == "PUT":
            self.identity = request.body
            return reply(200, etag='"i"')
        return reply(200, self.identity, etag='"i"') if self.identity else error(404, "NoSuchKey")

    @property
    def asked(self) -> list[str]:
        """Methods and targets of all requests that were not about the identity."""
        return [f"{seen.method} {seen.target}" for seen in self.seen if not self._about_identity(seen.target)]


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """A scripted server on a free port."""
    script = Scripted()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    script.origin = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()


@contextlib.asynccontextmanager
async def attached(script: Scripted, url: str = "s3://bucket", row: str = "other") -> AsyncIterator[S3Grid]:
    """A grid at the server, attached and claimed, so that every further request is the test's."""
    grid = s3_grid(url, script.origin, row=row)
    try:
        await grid.attach(await grid.attach(""))
        yield grid
    finally:
        await grid.close()
