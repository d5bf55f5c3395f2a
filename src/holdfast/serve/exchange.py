"""One request and its reply, as a handler sees them.

Answers for back-pressure in both directions and for the framing of the reply: the handler reads the
body in pieces and answers with `reply`, or with `start` and `send`. It never parses a request (that
is `connection`) and knows nothing of S3 but the error that it raises when a body ends early.
Invariant: what a client receives is the whole reply that the head announced, or a connection that broke.
"""

import asyncio
import http
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from holdfast.errors import S3Error
from holdfast.limits import GATHER_BYTES

if TYPE_CHECKING:
    from holdfast.serve.connection import Connection

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})
_CONTROL: Final = dict.fromkeys((0, 10, 13), " ")

Headers = list[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The client left, or read too slowly, before it had the whole reply."""


class Exchange:
    """A request on a connection, and the one reply to it.

    `headers` are pairs with lower-case names, in the order of the wire. `fault` is set when there is nothing to
    handle but an error to be answered: the request was malformed, came too slowly or is one too many.
    """

    __slots__ = (
        "_buffered",
        "_connection",
        "_error",
        "_expects",
        "_head",
        "_length",
        "_open",
        "_pieces",
        "_waiter",
        "chunked",
        "complete",
        "declared",
        "fault",
        "headers",
        "keep_alive",
        "legacy",
        "method",
        "received",
        "sent",
        "status",
        "target",
    )

    def __init__(
        self,
        connection: "Connection",
        method: str,
        target: bytes,
        headers: Headers,
        *,
        fault: S3Error | None = None,
    ) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.fault = fault
        self.declared: int | None = None
        """Content-Length."""
        self.chunked = False
        self.complete = False
        """The body has arrived to its end."""
        self.keep_alive = False
        self.legacy = False
        """HTTP/1.0."""
        self.received = 0
        """Bytes of the body that have arrived."""
        self.sent = 0
        """Bytes of the reply's body that were handed to the transport."""
        self.status = 0
        """Of the reply; 0 until there is one."""
        self._pieces: deque[bytes] | None = None
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: S3Error | None = None
        self._expects = False
        self._head = b""
        self._length = 0
        self._open = False

    # --- the request's body ---

    @property
    def client(self) -> str:
        """Address of the client."""
        return self._connection.client

    @property
    def tls(self) -> tuple[str, str]:
        """Version and cipher suite of TLS, empty without it."""
        return self._connection.tls

    @property
    def framed(self) -> bool:
        """True when the request said how its body is delimited (an empty one included)."""
        return self.declared is not None or self.chunked

    @property
    def gone(self) -> bool:
        """True when the client has left: nothing that is sent arrives."""
        return self._connection.lost

    @property
    def starving(self) -> bool:
        """True while the handler waits for the client to send."""
        return self._waiter is not None

    @property
    def buffered(self) -> int:
        """Bytes of the body that arrived and were not read."""
        return self._buffered

    @property
    def expecting(self) -> bool:
        """True while the client waits for `100 Continue`, or would if there were a body."""
        return self._expects

    def droppable(self, limit_bytes: int) -> bool:
        """True when the rest of the body is known to be on its way and no more than `limit_bytes`."""
        return (
            self.declared is not None
            and not self._expects
            and self._error is None
            and self.declared - self.received <= limit_bytes
        )

    async def read(self) -> bytes:
        """The next piece of the body, of any size above 0; empty at the end.

        Raises S3Error: IncompleteBody when the client stopped before the end, RequestTimeout when it was
        too slow, BadRequest when the chunked framing was broken.
        """
        while True:
            if self._pieces:
                return self._take(self._pieces)
            if self._error is not None:
                raise self._error
            if self._expects:
                # An empty body, too: some clients take a final reply in its place for that of the next request as well.
                self._expects = False
                self._connection.write(_CONTINUE)
            if self.complete:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _take(self, pieces: deque[bytes]) -> bytes:
        if len(pieces) > 1 and self._buffered <= GATHER_BYTES:
            piece = b"".join(pieces)
            pieces.clear()
        else:
            piece = pieces.popleft()
        self._buffered -= len(piece)
        self._connection.regulate()
        return piece

    # --- what the connection tells ---

    def expect(self, continuation: bool) -> None:
        """Whether the client waits for `100 Continue` before it sends the body."""
        self._expects = continuation

    def feed(self, piece: bytes) -> None:
        """A piece of the body arrived."""
        self.received += len(piece)
        self._expects = False
        if self._pieces is None:
            self._pieces = deque()
        self._pieces.append(piece)
        self._buffered += len(piece)
        self._wake()

    def feed_end(self) -> None:
        """The body ended as announced."""
        self.complete = True
        self._wake()

    def fail(self, error: S3Error) -> None:
        """The body will never be complete: readers get `error` after what has arrived."""
        if not self.complete and self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the reply ---

    @property
    def finished(self) -> bool:
        """True when everything that the reply's head announced was handed to the transport."""
        return self.status != 0 and not self._head and not self._open and self._length == self.sent

    @property
    def open(self) -> bool:
        """True between `begin` and `end`."""
        return self._open

    def reply(self, status: int, headers: Iterable[tuple[str, str]], body: bytes = b"") -> None:
        """Send a whole reply at once. HEAD, 204 and 304 get the head only."""
        head = self._render(status, headers, len(body))
        if self._length:
            self.sent = len(body)
            self._connection.write_both(head, body)
        else:
            self._connection.write(head)

    def start(self, status: int, headers: Iterable[tuple[str, str]], size: int) -> None:
        """Announce a reply with a body of `size` bytes, which `send` brings. The head leaves with the first
        piece, or at once when there will be none."""
        head = self._render(status, headers, size)
        if self._length:
            self._head = head
        else:
            self._connection.write(head)

    async def send(self, piece: bytes | memoryview) -> None:
        """Send a piece of the reply's body; returns when the client can take more. Raises ClientGone."""
        connection = self._connection
        if connection.lost:
            raise ClientGone
        self.sent += len(piece)
        assert self.sent <= self._length, "more was sent than announced"
        if self._head:
            connection.write_both(self._head, piece)
            self._head = b""
        else:
            connection.write(piece)
        if not connection.writable:
            await connection.drained()

    def begin(self, status: int, headers: Iterable[tuple[str, str]], piece: bytes) -> None:
        """Begin a reply whose size is not known yet with its first piece: `extend` adds to it, `end` ends it. The
        client must speak HTTP/1.1. For small pieces: nothing waits until the client takes them."""
        head = self._render(status, headers, None)
        self._open = True
        self._connection.write(head)
        self.extend(piece)

    def extend(self, piece: bytes) -> None:
        """Send a piece of a reply that was begun. What a client that left does not get is no failure here: what it
        asked for goes on."""
        self.sent += len(piece)
        self._length += len(piece)
        self._connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def end(self) -> None:
        """The reply that was begun is whole."""
        self._open = False
        self._connection.write(b"0\r\n\r\n")

    def break_off(self) -> None:
        """Cut the connection, so that the client cannot take a part of the reply for the whole."""
        self._connection.abort()

    def _render(self, status: int, headers: Iterable[tuple[str, str]], size: int | None) -> bytes:
        assert self.status == 0, "a request has one reply"
        self.status = status
        self.keep_alive = self._connection.keeps(self)
        lines = [_STATUS_LINES[status], self._connection.stamp]
        lines += [f"{name}: {value}\r\n" for name, value in headers]
        count = len(lines) + 3  # The stamp is two lines; the length and the blank line follow.
        if status in _BODILESS:
            count -= 1
        elif size is None:
            lines.append("Transfer-Encoding: chunked\r\n")
        else:
            lines.append(f"Content-Length: {size}\r\n")
        if not self.keep_alive:
            lines.append("Connection: close\r\n")
            count += 1
        elif self.legacy:
            lines.append("Connection: keep-alive\r\n")
            count += 1
        lines.append("\r\n")
        if size and self.method != "HEAD" and status not in _BODILESS:
            self._length = size
        text = "".join(lines)
        if text.count("\n") != count or text.count("\r") != count or "\0" in text:
            # Whatever a value holds, it never ends a line of the head.
            text = "".join(line[:-2].translate(_CONTROL) + "\r\n" for line in lines[:1] + lines[2:-1])
            text = text.replace("\r\n", "\r\n" + self._connection.stamp, 1) + "\r\n"
        return text.encode("utf-8", "surrogateescape")
