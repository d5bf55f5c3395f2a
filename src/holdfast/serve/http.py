"""The S3 listener: accepts connections, counts them, looks at slow ones, and stops gracefully.

Answers for how many connections and requests there are at once and for their end. It never looks into a request:
`connection` parses it, the handler it was given answers it.
Invariant: when `drain` returns, no connection and no handler is left.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from email.utils import formatdate
from typing import Any, Final

from holdfast import limits
from holdfast.clock import Clock
from holdfast.model import Value
from holdfast.serve.connection import Connection
from holdfast.serve.exchange import Exchange

Handler = Callable[[Exchange], Coroutine[Any, Any, None]]

_SHUTDOWN_S: Final = limits.LINGER_S


class Bounds(Value, frozen=True):
    """The limits of a listener. The defaults are those of `limits`, where the reasons are."""

    target_bytes: int = limits.TARGET_BYTES
    header_bytes: int = limits.HEADER_BYTES
    header_count: int = limits.HEADER_COUNT
    header_timeout_s: float = limits.HEADER_TIMEOUT_S
    idle_timeout_s: float = limits.IDLE_TIMEOUT_S
    floor_bytes: int = limits.BODY_FLOOR_BYTES
    floor_s: float = limits.BODY_FLOOR_S
    body_buffer_bytes: int = limits.BODY_BUFFER_BYTES
    write_buffer_bytes: int = limits.WRITE_BUFFER_BYTES
    pipeline: int = limits.PIPELINE
    discard_bytes: int = limits.DISCARD_BYTES
    linger_bytes: int = limits.LINGER_BYTES
    linger_s: float = limits.LINGER_S
    connections: int = limits.CONNECTIONS
    surplus: int = limits.SURPLUS_CONNECTIONS
    requests: int = limits.REQUESTS
    sweep_s: float = limits.SWEEP_S


class S3Server:
    """An HTTP/1.1 server that gives every request to `handler`, which replies through its exchange.

    A handler raises nothing but CancelledError; when it ends without a whole reply the connection is cut.
    """

    def __init__(self, handler: Handler, *, clock: Clock, bounds: Bounds | None = None) -> None:
        self.handler = handler
        self.bounds = bounds or Bounds()
        self.requests = 0
        """Handlers that are running."""
        self.draining = False
        self._stamp = ""
        self._stamp_s = -1
        self.loop: asyncio.AbstractEventLoop
        self._clock = clock
        self.now_s = clock.monotonic_s()
        """The time as of the last sweep: exact enough for time-outs, and free."""
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._tick: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self, sockets: Sequence[socket.socket], *, tls: ssl.SSLContext | None = None) -> None:
        """Serve on sockets that are bound; they are closed when the server stops."""
        self.loop = asyncio.get_running_loop()
        self._sweep()
        for sock in sockets:
            self._servers.append(
                await self.loop.create_server(
                    lambda: Connection(self),
                    sock=sock,
                    backlog=limits.BACKLOG,
                    ssl=tls,
                    ssl_handshake_timeout=self.bounds.header_timeout_s if tls else None,
                    ssl_shutdown_timeout=_SHUTDOWN_S if tls else None,
                )
            )

    @property
    def stamp(self) -> str:
        """The header lines that every reply has. Of this very second: no reply may tell of a Last-Modified after its Date."""
        now_s = self._clock.now_ms() // 1000
        if now_s != self._stamp_s:
            self._stamp_s = now_s
            self._stamp = f"Server: Holdfast\r\nDate: {formatdate(now_s, usegmt=True)}\r\n"
        return self._stamp

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket."""
        return [sock.getsockname()[:2] for server in self._servers for sock in server.sockets]

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def crowded(self) -> bool:
        """True when more connections are open than are allowed; those are told so."""
        return len(self._connections) > self.bounds.connections

    async def drain(self, timeout_s: float) -> bool:
        """Accept nothing more, close idle connections, and let requests in progress end for up to `timeout_s` seconds;
        then cancel them. True when all of them ended by themselves."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.retire()
        graceful = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            graceful = False
        finally:
            for connection in list(self._connections):
                connection.cancel()
        await self._empty.wait()
        if self._tick is not None:
            self._tick.cancel()
        return graceful

    # --- what connections tell ---

    def opened(self, connection: Connection) -> bool:
        """A client connected. False when there are so many that it must be cut."""
        if self.draining or len(self._connections) >= self.bounds.connections + self.bounds.surplus:
            return False
        self._connections.add(connection)
        self._empty.clear()
        return True

    def closed(self, connection: Connection) -> None:
        """A connection is no more."""
        self._connections.discard(connection)
        self._note_empty()

    def ended(self) -> None:
        """A handler ended."""
        self.requests -= 1
        self._note_empty()

    def _note_empty(self) -> None:
        if not self._connections and not self.requests:
            self._empty.set()

    def _sweep(self) -> None:
        """Look at every connection, refresh the time, and come back."""
        self.now_s = self._clock.monotonic_s()
        for connection in list(self._connections):
            connection.sweep(self.now_s)
        self._tick = self.loop.call_later(self.bounds.sweep_s, self._sweep)
