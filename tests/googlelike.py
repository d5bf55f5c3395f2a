"""A stand-in for Google Cloud Storage's XML API, for want of an emulator that speaks it.

The XML API is S3's with other names of headers, so this renames them and passes each request on, signed, to a Holdfast endpoint with
a single folder. It says nothing about Google's own behaviour; it shows that what the library sends and reads is
understood, and that the grid keeps the contract over it. Invariant: whatever is not a header's name goes through unchanged.
"""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from holdfast.signing import UNSIGNED_PAYLOAD, encode_path, sign_headers
from tests.providers import ACCESS_KEY, SECRET_KEY, Provider

TOKEN: Final = "a-token"
_NEVER: Final = frozenset(
    {"host", "connection", "authorization", "accept-encoding", "user-agent", "accept", "content-length"}
)
_DROPPED: Final = frozenset({"connection", "date", "server", "transfer-encoding"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    port: ClassVar[int] = 0

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _pass_on(self) -> None:
        target = urlsplit(self.path)
        path, query = unquote(target.path), parse_qsl(target.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        signed = {"host": f"127.0.0.1:{self.port}"}
        for name, value in self.headers.items():
            name = name.lower()
            if name == "x-goog-if-generation-match":
                signed["if-none-match"] = "*"
            elif name not in _NEVER:
                signed[name.replace("x-goog-", "x-amz-")] = value
        now_ms = round(time.time() * 1000)
        headers = sign_headers(
            self.command, path, query, signed, payload=UNSIGNED_PAYLOAD, access_key=ACCESS_KEY, secret_key=SECRET_KEY,
            region="us-east-1", now_ms=now_ms,
        )  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            where = encode_path(path) + (f"?{target.query}" if target.query else "")
            connection.request(self.command, where, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _DROPPED and not (name.lower() == "content-length" and self.command != "HEAD"):
                self.send_header(name.lower().replace("x-amz-meta-", "x-goog-meta-"), value)
        if self.command != "HEAD":
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - the names that the base class calls


class GoogleLike:
    """The stand-in before a running provider."""

    def __init__(self, provider: Provider) -> None:
        handler = type("Handler", (_Handler,), {"port": urlsplit(provider.url).port})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def make_bucket(provider: Provider, bucket: str) -> None:
    """Make a bucket at the provider itself."""
    host = f"127.0.0.1:{urlsplit(provider.url).port}"
    headers = sign_headers(
        "PUT", f"/{bucket}", [], {"host": host}, payload=UNSIGNED_PAYLOAD, access_key=ACCESS_KEY, secret_key=SECRET_KEY,
        region="us-east-1", now_ms=round(time.time() * 1000),
    )  # fmt: skip
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request("PUT", f"/{bucket}", headers=headers)
        assert connection.getresponse().status == 200
    finally:
        connection.close()
