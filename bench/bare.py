"""The floor under every HTTP server here: uvloop and httptools answering constant bytes, with nothing behind them.

Run by the bench as a process of its own: `python -m bench.bare PORT`.
"""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from bench.scenarios import SMALL

REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: binary/octet-stream\r\nContent-Length: %d\r\n\r\n" % SMALL + bytes(SMALL)


class _Bare(asyncio.Protocol):
    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Headers are looked at by whoever serves S3, so they count."""

    def on_message_complete(self) -> None:
        self._transport.write(REPLY)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Bare, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
