"""A connection of the HTTP listener without a socket: bytes in, and what its handler was given.

Answers for feeding pieces in order, as a transport would. Invariant: when `converse` returns, no task is left.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from holdfast.errors import CODES, S3Error
from holdfast.serve.connection import Connection
from holdfast.serve.exchange import Exchange
from holdfast.serve.http import Bounds, S3Server
from holdfast.testing.rawhttp import StillClock

_PATIENCE = 5


class Heard(NamedTuple):
    """One request as the handler saw it. `code` is that of its fault or of the end of its body; then there is no body."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    code: str


class _Wire(asyncio.Transport):
    """The other end of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.paused = False
        self.sent = b""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Nobody reads."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.sent += b"".join(list_of_data)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


def converse(pieces: Sequence[bytes]) -> list[Heard]:
    """What a connection made of these bytes and the end behind them."""
    return _loop().run_until_complete(_converse(pieces))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


async def _converse(pieces: Sequence[bytes]) -> list[Heard]:
    heard: list[Heard] = []
    server = S3Server(_listener(heard), clock=StillClock(), bounds=Bounds(pipeline=10_000))
    server.loop = asyncio.get_running_loop()
    wire = _Wire()
    connection = Connection(server)
    connection.connection_made(wire)
    for piece in pieces:
        await _settle(server, heard)
        if wire.closed:
            break
        assert not wire.paused, "nothing is left to do, and it does not read on"
        connection.data_received(piece)
    await _settle(server, heard)
    if not wire.closed:
        connection.eof_received()
        await _settle(server, heard)
    connection.connection_lost(None)
    await _settle(server, heard)
    assert server.requests == 0 and server.connections == 0
    for line in wire.sent.split(b"\r\n"):
        if line.startswith(b"HTTP/1.1 "):
            assert line[9:10] in b"124" or line[9:12] == b"501", line
    return heard


async def _settle(server: S3Server, heard: list[Heard]) -> None:
    """Let handlers go on until all of them wait for the client."""
    idle, known = 0, len(heard)
    while server.requests and idle < _PATIENCE:
        await asyncio.sleep(0)
        idle = idle + 1 if len(heard) == known else 0
        known = len(heard)


def _listener(heard: list[Heard]) -> Callable[[Exchange], Any]:
    async def listen(exchange: Exchange) -> None:
        body, code = b"", ""
        if exchange.fault is not None:
            assert exchange.fault.code in CODES
            heard.append(Heard("", b"", (), b"", exchange.fault.code))
            exchange.reply(exchange.fault.status, [])
            return
        try:
            while piece := await exchange.read():
                body += piece
        except S3Error as error:
            body, code = b"", error.code
        heard.append(Heard(exchange.method, exchange.target, tuple(exchange.headers), body, code))
        exchange.reply(CODES[code].status if code else 200, [])

    return listen
