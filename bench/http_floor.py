"""What HTTP alone costs: our listener against uvicorn with a bare ASGI application, in one run.

Both answer the same signed-looking GET with the same bytes and do nothing else. The load generator runs in this
process, each server in one of its own; rounds alternate, so that both meet the same machine. Prints one JSON line per
server and body size (medians), and one with the ratios.

    python bench/http_floor.py [--rounds 5] [--seconds 2] [--connections 16]
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from holdfast.clock import SystemClock
from holdfast.serve.exchange import Exchange
from holdfast.serve.http import S3Server

SMALL = 4 * 1024
LARGE = 64 * 1024 * 1024
PIECE = bytes(1024 * 1024)
REPLY = {
    "x-amz-request-id": "4442587FB7D0A2F9",
    "x-amz-id-2": "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYB",
    "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT",
    "ETag": '"d41d8cd98f00b204e9800998ecf8427e"',
    "Accept-Ranges": "bytes",
    "Content-Type": "binary/octet-stream",
}
REQUEST = (
    "GET /bucket/{size} HTTP/1.1\r\n"
    "Host: 127.0.0.1:9000\r\n"
    "Accept-Encoding: identity\r\n"
    "User-Agent: Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.11.7\r\n"
    "x-amz-checksum-mode: ENABLED\r\n"
    "X-Amz-Date: 20231114T221320Z\r\n"
    "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n"
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-east-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date, "
    "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\n"
    "amz-sdk-invocation-id: 0f2d1c1e-6b0e-4a52-9a0e-8a4f6f2c9a11\r\n"
    "amz-sdk-request: attempt=1\r\n\r\n"
)


async def own_handler(exchange: Exchange) -> None:
    """Our side of the comparison."""
    if exchange.target.endswith(b"/%d" % SMALL):
        exchange.reply(200, REPLY.items(), PIECE[:SMALL])
        return
    exchange.start(200, REPLY.items(), LARGE)
    for _ in range(LARGE // len(PIECE)):
        await exchange.send(PIECE)


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """The other side: an ASGI application without a framework."""
    if scope["type"] != "http":
        return
    size = SMALL if scope["path"].endswith(f"/{SMALL}") else LARGE
    headers = [(name.lower().encode(), value.encode()) for name, value in REPLY.items()]
    headers.append((b"content-length", b"%d" % size))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if size == SMALL:
        await send({"type": "http.response.body", "body": PIECE[:SMALL]})
        return
    for left in range(LARGE - len(PIECE), -1, -len(PIECE)):
        await send({"type": "http.response.body", "body": PIECE, "more_body": left > 0})


def serve(kind: str, descriptor: int) -> None:
    """Be the server of that kind on an inherited socket, until killed."""
    sock = socket.socket(fileno=descriptor)
    if kind == "uvicorn":
        import uvicorn

        config = uvicorn.Config(asgi, http="httptools", loop="uvloop", ws="none", lifespan="off", access_log=False)
        uvicorn.Server(config).run(sockets=[sock])
        return

    async def main() -> None:
        await S3Server(own_handler, clock=SystemClock()).start([sock])
        await asyncio.Event().wait()

    uvloop.run(main())


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it has the whole reply."""

    def __init__(self, request: bytes, size: int, replies: list[int]) -> None:
        self.request = request
        self.size = size
        self.replies = replies
        self.whole = 0
        self.received = 0
        self.stopped = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.whole:
            assert data.startswith(b"HTTP/1.1 200 OK\r\n"), data[:100]
            self.whole = data.index(b"\r\n\r\n") + 4 + self.size
        self.received += len(data)
        if self.received == self.whole:
            self.received = 0
            self.replies[0] += 1
            if not self.stopped:
                self.transport.write(self.request)


async def load(port: int, size: int, connections: int, seconds: float) -> tuple[int, float]:
    """Replies received and seconds they took."""
    loop = asyncio.get_running_loop()
    replies = [0]
    request = REQUEST.format(size=size).encode()
    began = loop.time()
    clients = [
        (await loop.create_connection(lambda: Client(request, size, replies), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    counted, elapsed = replies[0], loop.time() - began
    for client in clients:
        client.stopped = True
        client.transport.abort()
    return counted, elapsed


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", nargs=2, metavar=("KIND", "FD"))
    args = parser.parse_args()
    if args.serve:
        serve(args.serve[0], int(args.serve[1]))
        return
    servers: dict[str, tuple[int, int]] = {}
    children = []
    for kind in ("own", "uvicorn"):
        sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        command = [sys.executable, __file__, "--serve", kind, str(sock.fileno())]
        child = subprocess.Popen(command, pass_fds=[sock.fileno()], stderr=subprocess.DEVNULL)
        servers[kind] = (child.pid, sock.getsockname()[1])
        children.append(child)
    rates: dict[tuple[str, int], list[float]] = {}
    costs: dict[tuple[str, int], list[float]] = {}
    try:
        for turn in range(args.rounds + 1):
            for size, connections in ((SMALL, args.connections), (LARGE, 2)):
                for kind, (pid, port) in servers.items():
                    before = cpu_s(pid)
                    count, elapsed = uvloop.run(load(port, size, connections, args.seconds))
                    spent = cpu_s(pid) - before
                    if turn and count:  # The first turn warms up.
                        rates.setdefault((kind, size), []).append(count / elapsed)
                        costs.setdefault((kind, size), []).append(spent / count * 1e6)
    finally:
        for child in children:
            child.kill()
            child.wait()
    median = {key: (statistics.median(rates[key]), statistics.median(costs[key])) for key in rates}
    for (kind, size), (rate, cost) in median.items():
        line = {"bench": "http_floor", "server": kind, "body_bytes": size, "requests_per_s": round(rate)}
        line |= {"server_cpu_us": round(cost, 1), "mb_per_s": round(rate * size / 1e6)}
        print(json.dumps(line))
    ratios = {str(size): round(median["uvicorn", size][1] / median["own", size][1], 2) for size in (SMALL, LARGE)}
    print(json.dumps({"bench": "http_floor", "uvicorn_cpu_over_own": ratios}))


if __name__ == "__main__":
    main()
