"""A client that can say anything, for tests of the HTTP listener.

Answers for bytes on a socket and for reading replies back by the rules of RFC 9112; it never repairs what a
test sends. Every wait has a deadline, so that a server that says nothing fails the test.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

import uvloop

from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.serve.exchange import Exchange
from holdfast.serve.http import Bounds, Handler, S3Server

T = TypeVar("T")

_PATIENCE_S: Final = 10.0


class StillClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.at_s = 1_700_000_000.0
        self._drawn = 0

    def now_ms(self) -> int:
        return int(self.at_s * 1000)

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)

    def random(self) -> float:
        return 0.5

    def token(self, size_bytes: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(size_bytes, "big")


class Answer:
    """A reply as it came: status, headers with lower-case names, body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, tls: ssl.SSLContext | None = None, *, buffer_bytes: int = 0) -> "RawClient":
        """Connect to a port of this machine. `buffer_bytes` limits what the kernel takes for a client that does not
        read."""
        sock = socket.socket()
        if buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        name = "localhost" if tls else None
        limit = buffer_bytes or 2**16
        return cls(*await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name, limit=limit))

    async def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self.writer.write(data)
        async with asyncio.timeout(_PATIENCE_S):
            await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next reply (an interim one too)."""
        async with asyncio.timeout(_PATIENCE_S):
            text = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = text.decode("utf-8", "surrogateescape").removesuffix("\r\n\r\n").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines:
            name, value = line.split(": ", 1)
            assert name.lower() not in headers
            headers[name.lower()] = value
        return int(status), headers

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """The next reply with its whole body."""
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            assert "content-length" not in headers
            return Answer(status, headers, b"".join([piece async for piece in self.chunks()]))
        size = 0 if bodiless or status in (204, 304) or status < 200 else int(headers["content-length"])
        async with asyncio.timeout(_PATIENCE_S):
            return Answer(status, headers, await self.reader.readexactly(size))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of a chunked body to its end."""
        size = 1
        while size:
            async with asyncio.timeout(_PATIENCE_S):
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                piece = await self.reader.readexactly(size + 2)
            assert piece[-2:] == b"\r\n"
            if size:
                yield piece[:-2]

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as the end."""
        received = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(_PATIENCE_S):
                while piece := await self.reader.read(2**16):
                    received += piece
        return received

    async def ask(self, data: bytes) -> Answer:
        """Send and read the reply."""
        await self.send(data)
        return await self.answer(bodiless=data.startswith(b"HEAD "))

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self.writer.write_eof()

    def leave(self) -> None:
        """Reset the connection."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, *, clock: Clock | None = None, bounds: Bounds | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[S3Server, int]]:
    """A server on a free port of the loopback interface, and that port."""
    server = S3Server(handler, clock=clock or StillClock(), bounds=bounds or Bounds(sweep_s=0.005))
    await server.start([socket.create_server(("127.0.0.1", 0))], tls=tls)
    try:
        yield server, server.addresses[0][1]
    finally:
        await server.drain(0)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on the event loop that the product uses."""
    return uvloop.run(main)


async def until(condition: Callable[[], bool]) -> None:
    """Return when `condition()` is true; fail when it never is."""
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.001)


async def echo(exchange: Exchange) -> None:
    """Answer with what was asked: method, target and body, or the fault."""
    if exchange.fault is not None:
        exchange.reply(exchange.fault.status, [("x-code", exchange.fault.code)])
        return
    body = b""
    try:
        while piece := await exchange.read():
            body += piece
    except S3Error as error:
        exchange.reply(error.status, [("x-code", error.code)])
        return
    exchange.reply(200, [("x-said", f"{exchange.method} {exchange.target.decode()}")], body)


def talk(
    conversation: Callable[[RawClient], Coroutine[Any, Any, None]],
    handler: Callable[[Exchange], Coroutine[Any, Any, None]] = echo,
    bounds: Bounds | None = None,
) -> None:
    async def main() -> None:
        async with serving(handler, bounds=bounds) as (_, port):
            await conversation(await RawClient.connect(port))

    run(main())
