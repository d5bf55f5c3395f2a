"""A webhook on loopback: a real HTTP server that can fail, be slow, be away and come back.

Answers for what it was sent, and for answering as it was told to. It checks nothing. Invariant: every request that it got is in `got`,
in the order of arrival, with the status that it was answered.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Got(NamedTuple):
    """A request."""

    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def told(self) -> tuple[str, str]:
        """Event and key."""
        if "Records" not in self.message:
            return self.message["Event"], ""
        record = self.message["Records"][0]
        return record["eventName"], record["s3"]["object"]["key"]


class Receiver:
    """What a running webhook got, and how it answers."""

    def __init__(self) -> None:
        self.scheme = "http"
        self.port = 0
        self.got: list[Got] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.refused: set[str] = set()
        """Keys whose events are answered 400."""
        self.silent = False
        """Connections are cut without an answer."""
        self.seen = threading.Condition()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/events?from=here"

    @property
    def taken(self) -> list[tuple[str, str]]:
        """Event and key of what it answered with success."""
        return [got.told for got in self.got if got.status < 300]

    def wait(self, count: int, timeout_s: float = 20.0) -> list[tuple[str, str]]:
        """What was taken, once that is so much."""
        with self.seen:
            assert self.seen.wait_for(lambda: len(self.taken) >= count, timeout_s), self.got
            return self.taken

    def answer(self, got: Got) -> int:
        """The status for a request; 0 cuts the connection."""
        if self.silent:
            return 0
        return 400 if got.told[1] in self.refused else self.status


@contextmanager
def receiver(tls: tuple[str, str] | None = None) -> Iterator[Receiver]:
    """A webhook that listens on a port of its own; with the files of a certificate and its key by https."""
    made = Receiver()
    made.scheme = "http" if tls is None else "https"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got = Got({name.lower(): value for name, value in self.headers.items()}, body, 0)
            status = made.answer(got)
            with made.seen:
                made.got.append(got._replace(status=status or 599))
                made.seen.notify_all()
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """The test says what went wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
