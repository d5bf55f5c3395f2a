"""The load: many connections, each asking again as soon as it has the whole right reply.

One thread, non-blocking sockets and epoll, because client and server share the cores. It signs nothing and
measures nothing of the server. Invariant: every reply is judged (status, length, and content where known); the first wrong
one ends the run, so a figure never comes from a server that failed.
"""

import select
import socket
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.asks import Ask

_PIECE = 1024 * 1024
_SILENCE_S = 60.0
_LARGE = 256 * 1024
"""A reply larger than this is counted and thrown away instead of being gathered."""


class WrongReply(Exception):
    """The server answered something else than it should have."""


class Head(NamedTuple):
    """What of a reply's head matters here."""

    status: int
    start: int
    """Where the body begins."""
    size: int | None
    """Content-Length; None when it is chunked."""


class Load(NamedTuple):
    """What one run did."""

    replies: int
    elapsed_s: float
    latencies_ns: list[int]
    received: int
    """Bytes of reply bodies."""
    client_cpu_s: float
    last: bytes
    """The last reply's body, where it was gathered."""


def parse_head(data: bytes | bytearray) -> Head | None:
    """The head at the beginning of `data`, None when it is not complete. Raises WrongReply."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(data[:end]).lower()
    if not head.startswith(b"http/1.1 "):
        raise WrongReply(f"not HTTP/1.1: {head[:80]!r}")
    status = int(head[9:12])
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        stop = head.find(b"\r\n", at + 2)
        return Head(status, end + 4, int(head[at + 17 : stop if stop >= 0 else end]))
    if status in (204, 304) or status < 200:
        return Head(status, end + 4, 0)
    if b"\r\ntransfer-encoding: chunked" in head:
        return Head(status, end + 4, None)
    raise WrongReply(f"no length: {head!r}")


def unchunk(data: bytes | bytearray) -> bytes | None:
    """The content of a chunked body, None when it is not complete."""
    content, at = b"", 0
    while (stop := data.find(b"\r\n", at)) >= 0:
        size = int(bytes(data[at:stop]).partition(b";")[0], 16)
        if not size:
            return content if data.endswith(b"\r\n\r\n") else None
        content += data[stop + 2 : stop + 2 + size]
        at = stop + 2 + size + 2
    return None


class _Client:
    """One connection."""

    __slots__ = ("ask", "asks", "began_ns", "gathered", "head", "left", "pending", "sock")

    def __init__(self, address: tuple[str, int], asks: Iterator[Ask]) -> None:
        self.asks = asks
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.ask: Ask | None = None
        self.began_ns = 0
        self.pending: list[memoryview] = []
        """What of the request is still to be sent."""
        self.gathered = b""
        self.head: Head | None = None
        self.left = 0
        """Bytes of a large reply that are still to come."""

    def begin(self) -> bool:
        """Send the next request, as much of it as fits. False when there is none."""
        ask = next(self.asks, None)
        self.ask = ask
        if ask is None:
            return False
        self.gathered = b""
        self.head = None
        self.began_ns = time.perf_counter_ns()
        if ask.body is None:
            sent = self.sock.send(ask.head)
            if sent < len(ask.head):
                self.pending.append(memoryview(ask.head)[sent:])
        else:
            self.pending += (memoryview(ask.head), ask.body)
            self.flush()
        return True

    def flush(self) -> None:
        """Send what is pending, as much of it as fits."""
        pending = self.pending
        try:
            while pending:
                sent = self.sock.send(pending[0][: 4 * _PIECE])
                if sent == len(pending[0]):
                    del pending[0]
                else:
                    pending[0] = pending[0][sent:]
        except BlockingIOError:
            pass

    def receive(self, scratch: bytearray) -> int | None:
        """Take what has arrived; the size of the body once the reply is whole and right. Raises WrongReply."""
        ask = self.ask
        assert ask is not None
        if self.left:
            return self._swallow(ask, scratch)
        data = self.sock.recv(_LARGE)
        if not data:
            raise WrongReply(f"connection closed while waiting for the reply to {ask.head[:80]!r}")
        if self.gathered:
            data = self.gathered + data
        head = parse_head(data)
        if head is None:
            self.gathered = data
            return None
        status, start, size = head
        if status != ask.status:
            raise WrongReply(f"{status} instead of {ask.status} to {ask.head[:120]!r}: {data[:1200]!r}")
        if size is None:
            body = unchunk(data[start:])
            if body is None:
                self.gathered = data
                return None
            size = len(body)
        elif ask.silent:
            body = b""
        elif len(data) < start + size:
            if size > _LARGE and ask.content is None:
                self._judge(ask, size, None)
                self.head, self.left = head, start + size - len(data)
            else:
                self.gathered = data
            return None
        else:
            body = data[start:]
            if len(body) > size:
                raise WrongReply(f"{len(body) - size} bytes too many after the reply to {ask.head[:80]!r}")
        self._judge(ask, size, body)
        self.gathered = body
        return len(body)

    def _swallow(self, ask: Ask, scratch: bytearray) -> int | None:
        assert self.head is not None and self.head.size is not None
        try:
            while self.left:
                count = self.sock.recv_into(scratch, min(self.left, _PIECE))
                if not count:
                    raise WrongReply(f"connection closed {self.left} bytes before the end of {ask.head[:80]!r}")
                self.left -= count
        except BlockingIOError:
            return None
        return self.head.size

    def _judge(self, ask: Ask, size: int, body: bytes | None) -> None:
        if ask.size is not None and size != ask.size:
            raise WrongReply(f"{size} bytes instead of {ask.size} to {ask.head[:120]!r}")
        if ask.content is not None and body != ask.content:
            raise WrongReply(f"other content than was put: {ask.head[:120]!r}")


def drive(address: tuple[str, int], sources: Sequence[Iterator[Ask]], *, seconds: float = float("inf")) -> Load:
    """Ask over one connection per source until the sources are exhausted or `seconds` are over; what was begun is finished.

    Raises WrongReply.
    """
    clients = [_Client(address, source) for source in sources]
    by_fd = {client.sock.fileno(): client for client in clients}
    scratch = bytearray(_PIECE)
    latencies: list[int] = []
    received, last = 0, b""
    now = time.perf_counter_ns
    read, both = select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT
    with select.epoll() as epoll:
        cpu_s, began_ns = time.process_time(), now()
        until_ns = began_ns + int(min(seconds, 1e6) * 1e9)
        active = 0
        for fd, client in by_fd.items():
            if client.begin():
                active += 1
                epoll.register(fd, both if client.pending else read)
        while active:
            ready = epoll.poll(_SILENCE_S)
            if not ready:
                raise WrongReply(f"{active} requests without an answer for {_SILENCE_S:g} s")
            for fd, events in ready:
                client = by_fd[fd]
                if client.pending and events & select.EPOLLOUT:
                    client.flush()
                    if not client.pending:
                        epoll.modify(fd, read)
                if not events & ~select.EPOLLOUT:
                    continue
                size = client.receive(scratch)
                if size is None:
                    continue
                at_ns = now()
                latencies.append(at_ns - client.began_ns)
                received += size
                last = client.gathered
                if at_ns < until_ns and client.begin():
                    if client.pending:
                        epoll.modify(fd, both)
                else:
                    active -= 1
                    epoll.unregister(fd)
        elapsed_s, cpu_s = (now() - began_ns) / 1e9, time.process_time() - cpu_s
    for client in clients:
        client.sock.close()
    return Load(len(latencies), elapsed_s, latencies, received, cpu_s, last)


def once(address: tuple[str, int], ask: Ask) -> bytes:
    """The body of the reply to one request. Raises WrongReply."""
    return drive(address, [iter((ask,))]).last
