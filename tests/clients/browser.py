"""A browser, as far as S3 can tell: requests without a signature, and upload forms."""

import http.client
import ssl
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.clients.server import Endpoint

BOUNDARY = "----browser7MA4YWxkTrZu0gW"


class Seen(NamedTuple):
    """A reply; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def allowed(self) -> tuple[str | None, str | None]:
        return self.headers.get("access-control-allow-origin"), self.headers.get("access-control-allow-methods")

    @property
    def code(self) -> str:
        """The code of an error, else empty."""
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


class Browser:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Seen:
        port = self._endpoint.port
        if self._endpoint.secure:
            context = ssl.create_default_context(cafile=self._endpoint.ca)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, path, body or None, dict(headers))
            reply = connection.getresponse()
            return Seen(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def post(self, bucket: str, fields: Sequence[tuple[str, str]], file: bytes, filename: str = "foo.txt") -> Seen:
        """Send an upload form."""
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.ask("POST", f"/{bucket}", headers, form(fields, file, filename))


def form(fields: Sequence[tuple[str, str]], file: bytes, filename: str = "foo.txt") -> bytes:
    """A form as a browser writes it."""
    text = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: text/plain\r\n\r\n'
    return (text + head).encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()
