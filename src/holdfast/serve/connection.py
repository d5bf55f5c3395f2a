"""One client connection: bytes to exchanges, in order, and their replies back.

Answers for HTTP/1.1 framing, its limits and its clocks: a request that is malformed, too large, too slow or
ambiguous becomes an exchange with a `fault`, is answered after the ones before it, and ends the connection.
It never interprets a header beyond framing. Parsing is `httptools` (llhttp) with its strict rules; what llhttp
does not limit is counted here.
Follows RFC 9112. Invariant: one handler at a time per connection; replies leave in the order of the requests.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

from holdfast.errors import S3Error
from holdfast.limits import FRAMING_BYTES, FRAMING_RATIO
from holdfast.serve.exchange import ClientGone, Exchange, Headers

if TYPE_CHECKING:
    from holdfast.serve.http import S3Server

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")}


class _Enough(Exception):
    """Stops the parser: what follows is not wanted."""


class Connection(asyncio.Protocol):
    """The protocol of one accepted connection."""

    __slots__ = (
        "_closing",
        "_current",
        "_deaf",
        "_drain_waiter",
        "_eof",
        "_floor_at",
        "_floor_mark",
        "_framing",
        "_half_closes",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_lingered",
        "_parser",
        "_paused",
        "_queue",
        "_receiving",
        "_refusal",
        "_server",
        "_since",
        "_surplus",
        "_target",
        "_task",
        "_total",
        "_transport",
        "_written",
        "client",
        "lost",
        "writable",
    )

    _transport: asyncio.Transport

    def __init__(self, server: "S3Server") -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        """Exchanges that wait for the current one."""
        self._current: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._receiving: Exchange | None = None
        """The exchange whose body is arriving."""
        self._target = b""
        self._headers: Headers = []
        self._in_head = False
        self._head_bytes = 0
        """Bytes of an unfinished head that came with earlier reads."""
        self._framing = 0
        """Bytes of a body that were not content."""
        self._total = 0
        """Bytes received."""
        self._written = 0
        """Bytes handed to the transport."""
        self._since = server.now_s
        """When the connection became idle, or the head or the unread body began that it waits for."""
        self._floor_at = -1.0
        self._floor_mark = 0
        self._lingered = 0
        self._refusal: S3Error | None = None
        self._surplus = False
        self._paused = False
        self._deaf = False
        """What still arrives is not parsed."""
        self._eof = False
        self._closing = False
        self._half_closes = False
        self._drain_waiter: asyncio.Future[None] | None = None
        self.client = ""
        self.lost = False
        self.writable = True

    @property
    def tls(self) -> tuple[str, str]:
        """Version and cipher suite, empty without TLS."""
        found = self._transport.get_extra_info("ssl_object")
        cipher = found.cipher() if found is not None else None
        return ("", "") if cipher is None else (found.version() or "", cipher[0])

    # --- the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._server.bounds.write_buffer_bytes)
        self._half_closes = self._transport.can_write_eof()
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else str(peer or "")
        if not self._server.opened(self):
            self.lost = True
            self._transport.abort()
            return
        self._surplus = self._server.crowded

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more, for whatever reason."""
        self.lost = True
        if self._receiving is not None:
            self._receiving.fail(S3Error("IncompleteBody"))
            self._receiving = None
        self._queue.clear()
        self._release_writer()
        if self._task is None:
            self._server.closed(self)
        del self._parser  # It refers back to this protocol.

    def pause_writing(self) -> None:
        """The client is slower than the replies."""
        self.writable = False

    def resume_writing(self) -> None:
        """The client took what was waiting."""
        self.writable = True
        self._release_writer()
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived and begin what is ready."""
        self._total += len(data)
        if self._deaf or self._closing:
            self._drop(len(data))
            return
        was_in_head = self._in_head
        receiving = self._receiving
        content = receiving.received if receiving is not None else 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True  # Nothing but HTTP/1.1 is spoken here: the request is answered and the connection closed.
        except httptools.HttpParserError as error:
            if not self._deaf:
                told = self._refusal or S3Error("BadRequest", "The request is not valid HTTP/1.1.", detail=str(error))
                self._refuse(told)
                return
        if self._in_head:
            self._count_head(len(data) if was_in_head else 0)
        elif receiving is not None and receiving is self._receiving:
            self._framing += len(data) - (receiving.received - content)
            if self._framing > FRAMING_BYTES + FRAMING_RATIO * receiving.received:
                self._refuse(S3Error("BadRequest", "The chunked framing is larger than the body allows."))
                return
            if receiving.buffered > self._server.bounds.body_buffer_bytes:
                self.regulate()
        if self._queue:
            self._advance()

    def eof_received(self) -> bool:
        """The client will send no more; it may still read."""
        if self._closing or self.lost:
            return False
        self._eof = True
        if self._receiving is not None:
            self._receiving.fail(S3Error("IncompleteBody"))
            self._receiving = None
        return self._half_closes and (self._current is not None or bool(self._queue))

    # --- what the parser calls ---

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._target = b""
        self._headers = []
        self._in_head = True
        self._head_bytes = 0
        self._since = self._server.now_s

    def on_url(self, piece: bytes) -> None:
        """A piece of the request target."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer of a chunked body (S3 sends none; they are dropped)."""
        if self._in_head:
            self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """A head is complete: check its size and framing, and queue the exchange."""
        self._in_head = False
        headers = self._headers
        parser = self._parser
        method = parser.get_method()
        exchange = Exchange(self, _METHODS.get(method) or method.decode(), self._target, headers)
        size = 0
        for name, value in headers:
            size += len(name) + len(value) + 4
            if name in _FRAMING:
                self._frame(exchange, name, value)
        bounds = self._server.bounds
        if len(headers) > bounds.header_count or size > bounds.header_bytes or len(self._target) > bounds.target_bytes:
            raise self._refused(S3Error("RequestHeaderSectionTooLarge"))
        exchange.keep_alive = parser.should_keep_alive() and not self._surplus
        match parser.get_http_version():
            case "1.1":
                pass
            case "1.0" if not exchange.chunked:
                exchange.legacy = True
                exchange.expect(False)
            case version:
                raise self._refused(S3Error("BadRequest", f"HTTP/{version} is not served, or not with this framing."))
        if parser.should_upgrade():
            exchange.keep_alive = False
            if exchange.declared or exchange.chunked:
                raise self._refused(S3Error("NotImplemented", "A body cannot come with an upgrade of the protocol."))
        if self._surplus:
            exchange.fault = S3Error("SlowDown", detail="More connections are open than the server allows.")
        if len(self._queue) > bounds.pipeline:
            # The ones before are answered and the connection is closed; a client that pipelines repeats the rest.
            self._queue[-1].keep_alive = False
            self._deaf = True
            raise _Enough
        self._framing = 0
        self._receiving = exchange
        self._queue.append(exchange)

    def on_body(self, piece: bytes) -> None:
        """A piece of the body of the request whose head came last."""
        if self._receiving is not None:
            self._receiving.feed(piece)

    def on_message_complete(self) -> None:
        """The body, if any, has ended."""
        if self._receiving is not None:
            self._receiving.feed_end()
            self._receiving = None

    def _frame(self, exchange: Exchange, name: bytes, value: bytes) -> None:
        """Take notice of a header that delimits the body. llhttp refuses contradictions and repetitions."""
        if name == b"content-length":
            exchange.declared = int(value)
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise self._refused(S3Error("NotImplemented", "Transfer-Encoding may only be chunked."))
            exchange.chunked = True
        elif value.lower() == b"100-continue":
            exchange.expect(True)

    def _refused(self, error: S3Error) -> S3Error:
        """Remember the error across the parser, which tells its caller only that a callback failed."""
        self._refusal = error
        return error

    def _count_head(self, size: int) -> None:
        """An unfinished head waits for more: it may not grow for ever."""
        self._head_bytes += size
        bounds = self._server.bounds
        if self._head_bytes > bounds.header_bytes + bounds.target_bytes:
            self._refuse(S3Error("RequestHeaderSectionTooLarge"))

    # --- one exchange after the other ---

    def _advance(self) -> None:
        """Begin the next exchange, when its turn has come."""
        if self._queue and self._current is None and self.writable and not self._closing:
            self._current = exchange = self._queue.popleft()
            server = self._server
            if server.requests >= server.bounds.requests and exchange.fault is None:
                exchange.fault = S3Error("SlowDown", detail="More requests are in progress than the server allows.")
            server.requests += 1
            self._task = server.loop.create_task(self._run(exchange))
        self.regulate()

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._server.handler(exchange)
        finally:
            self._ended(exchange)

    def _ended(self, exchange: Exchange) -> None:
        """The handler is done with an exchange: go on with the next one, or close."""
        self._current = None
        self._task = None
        self._server.ended()
        if self.lost:
            self._server.closed(self)
            return
        if not exchange.finished:
            self.abort()
            return
        self._since = self._server.now_s
        self._floor_at = -1.0
        if not exchange.keep_alive or (not self._queue and (self._server.draining or self._eof or self._deaf)):
            self._close()
        else:
            self._advance()

    def keeps(self, exchange: Exchange) -> bool:
        """Whether the connection can go on after the reply to `exchange`."""
        if not exchange.keep_alive or exchange.expecting:
            return False
        if not exchange.complete and not exchange.droppable(self._server.bounds.discard_bytes):
            return False
        return bool(self._queue) or not (self._server.draining or self._eof or self._deaf)

    def _refuse(self, error: S3Error) -> None:
        """Nothing that follows can be understood: fail the body that is arriving, or answer `error` in its turn."""
        self._deaf = True
        self._in_head = False
        if self._receiving is not None:
            self._receiving.keep_alive = False
            self._receiving.fail(error)
            self._receiving = None
            if self._current is None and not self._queue:
                self._close()  # It was answered already, and the rest of its body was awaited.
        else:
            method = self._parser.get_method()
            self._queue.append(Exchange(self, method.decode(), self._target, self._headers, fault=error))
        self._advance()

    # --- flow ---

    @property
    def stamp(self) -> str:
        """The header lines that every reply of this server has."""
        return self._server.stamp

    def write(self, data: bytes | memoryview) -> None:
        """Hand bytes to the transport."""
        if not self.lost:
            self._written += len(data)
            self._transport.write(data)

    def write_both(self, head: bytes, body: bytes | memoryview) -> None:
        """Hand a head and the body's first bytes to the transport, without joining them."""
        if not self.lost:
            self._written += len(head) + len(body)
            self._transport.writelines((head, body))

    async def drained(self) -> None:
        """Return when the client took most of what was written. Raises ClientGone."""
        while not self.writable and not self.lost:
            self._drain_waiter = asyncio.get_running_loop().create_future()
            try:
                await self._drain_waiter
            finally:
                self._drain_waiter = None
        if self.lost:
            raise ClientGone

    def regulate(self) -> None:
        """Receive only while there is room for what arrives."""
        if self.lost or self._closing:
            return
        bound = self._server.bounds.body_buffer_bytes
        buffered = sum(exchange.buffered for exchange in self._queue) if self._queue else 0
        if self._current is not None:
            buffered += self._current.buffered
        if self._paused:
            if buffered <= bound // 2 and not self._queue:
                self._paused = False
                self._transport.resume_reading()
        elif buffered > bound or self._queue:
            self._paused = True
            self._transport.pause_reading()

    def _release_writer(self) -> None:
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    # --- the end ---

    def abort(self) -> None:
        """Cut the connection; what was not sent yet is lost."""
        if not self.lost:
            self._closing = True
            self._transport.abort()

    def _close(self) -> None:
        """Close once the replies are out. While the client may still be sending, tell it that we are done and take
        what it sends for a while: an immediate close would reset the connection and destroy the reply."""
        self._queue.clear()
        self._closing = True
        self._since = self._server.now_s
        if self._eof or (self._receiving is None and not self._deaf):
            self._transport.close()
            return
        self._receiving = None
        if self._half_closes:
            self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _drop(self, size: int) -> None:
        """Bytes arrived that nobody wants."""
        self._lingered += size
        if self._lingered > self._server.bounds.linger_bytes:
            self.abort()

    def retire(self) -> None:
        """The server is stopping: close now if nothing is in progress, else after the reply."""
        if self._current is None and not self._queue and not self._in_head and self._receiving is None:
            self._close()

    def cancel(self) -> None:
        """Stop the handler and cut the connection."""
        if self._task is not None:
            self._task.cancel()
        self.abort()

    def sweep(self, now_s: float) -> None:
        """Notice a client that is too slow. Called every now and then."""
        if self.lost:
            return
        bounds = self._server.bounds
        current = self._current
        waits_for_s = now_s - self._since
        if self._closing:
            if self._transport.get_write_buffer_size():
                self._check_floor(now_s, sending=True)
            elif waits_for_s > bounds.linger_s:
                self.abort()
        elif not self.writable:
            self._check_floor(now_s, sending=True)
        elif current is not None:
            if current.starving:
                self._check_floor(now_s, sending=False)
            else:
                self._floor_at = -1.0
        elif self._in_head:
            if waits_for_s > bounds.header_timeout_s:
                self._refuse(S3Error("RequestTimeout"))
        elif self._receiving is not None:
            if waits_for_s > bounds.header_timeout_s:
                self.abort()
        elif waits_for_s > bounds.idle_timeout_s:
            if self._transport.get_write_buffer_size():
                self.abort()
            else:
                self._close()

    def _check_floor(self, now_s: float, *, sending: bool) -> None:
        """Drop a client that moved less than the floor since the floor's time began."""
        bounds = self._server.bounds
        moved = self._written - self._transport.get_write_buffer_size() if sending else self._total
        if self._floor_at < 0:
            self._floor_at, self._floor_mark = now_s, moved
        elif now_s - self._floor_at >= bounds.floor_s:
            if moved - self._floor_mark >= bounds.floor_bytes:
                self._floor_at, self._floor_mark = now_s, moved
            elif sending or self._current is None:
                self.abort()
            else:
                self._deaf = True
                self._current.keep_alive = False
                self._current.fail(S3Error("RequestTimeout"))
                self._receiving = None
