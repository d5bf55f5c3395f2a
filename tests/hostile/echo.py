"""A storage provider that repeats in its replies whatever it was sent: headers, target, signatures, tokens.

Answers for one way of doing so per bucket, so that a grid of each kind can be pointed at it. It keeps nothing but what it heard.
Invariant: every reply carries the whole head of its request in some form.
"""

import base64
import socket
import threading
from urllib.parse import quote
from xml.sax.saxutils import escape

WAYS = ("denied", "code", "server", "late", "page", "elsewhere", "region", "nohttp", "cut", "busy", "quoted", "missing")


def reply_to(head: bytes, way: str) -> bytes:
    """The bytes of the reply to a request with this head."""
    text = head.decode("latin-1")
    flat = " ".join(text.split())
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in text.split("\r\n"))}
    match way:
        case "denied":
            return _xml(403, "AccessDenied", flat)
        case "code":
            return _xml(400, flat, flat)
        case "server":
            return _xml(500, "InternalError", flat)
        case "late":
            return _reply(200, f"<Error><Code>InternalError</Code><Message>{escape(flat)}</Message></Error>")
        case "page":
            return _reply(502, f"<html><pre>{escape(text)}</pre></html>", "Content-Type: text/html")
        case "elsewhere":
            return _reply(307, "", f"Location: http://elsewhere.example/?{quote(flat)}")
        case "region":
            said = headers.get("x-amz-security-token", "") + flat
            return _reply(
                400, "<Error><Code>AuthorizationHeaderMalformed</Code></Error>", f"x-amz-bucket-region: {said}"
            )
        case "nohttp":
            return f"{flat} is no HTTP\r\n\r\n".encode()
        case "cut":
            return f"HTTP/1.1 200 {flat[:2000]}\r\nContent-Length: 999999\r\n\r\n{flat}".encode()
        case "busy":
            return _reply(503, _document("SlowDown", flat), f"Retry-After: {flat[:3000]}")
        case "quoted":
            return _xml(403, "SignatureDoesNotMatch", quote(flat) + " " + base64.b64encode(b"nothing").decode())
        case _:
            return _xml(404, "NoSuchBucket", flat)


def _document(code: str, message: str) -> str:
    return f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"


def _xml(status: int, code: str, message: str) -> bytes:
    return _reply(status, _document(code, message), "Content-Type: application/xml")


def _reply(status: int, body: str, *headers: str) -> bytes:
    data = body.encode()
    lines = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(data)}"))
    return f"HTTP/1.1 {status} Told\r\n{lines}\r\n".encode() + data


class Echo:
    """The provider, on a loopback port, with a thread for each connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(20)
            head = b""
            try:
                while b"\r\n\r\n" not in head:
                    piece = client.recv(65536)
                    if not piece:
                        return
                    head += piece
                head = head.partition(b"\r\n\r\n")[0]
                self.heard += head + b"\r\n\r\n"
                target = head.split(b" ")[1].decode("latin-1")
                way = next((way for way in WAYS if f"/{way}" in target), "denied")
                client.sendall(reply_to(head, way))
            except OSError:
                return
