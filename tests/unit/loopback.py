"""A real SDK against the wire room, without a socket.

`Loopback` is a boto3 client whose requests are parsed by `holdfast.wire` and answered by rendering the result that
the test supplies, so both directions are judged by the SDK's own service model.
"""

import io
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import boto3
import urllib3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from holdfast import s3
from holdfast.errors import S3Error
from holdfast.wire.operations import BodyKind, Operation, route
from holdfast.wire.render import Reply, render, render_error, render_object
from holdfast.wire.request import Request, parse_request

Answer = Callable[[Any], object]


def make(method: str, target: str | bytes, headers: dict[str, str | bytes] | None = None) -> Request:
    """A request as `serve` would hand it over."""
    pairs = [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in {"host": "localhost", **(headers or {})}.items()
    ]
    return parse_request(method, target.encode() if isinstance(target, str) else target, pairs)


def understand(request: Request, body: bytes = b"") -> tuple[Operation, Any]:
    """The operation and the complete value of a request."""
    operation = route(request)
    assert operation.parse is not None
    value = operation.parse(request)
    if operation.fill is not None:
        value = operation.fill(value, body)
    return operation, value


def ask(method: str, target: str | bytes, headers: dict[str, str | bytes] | None = None, body: bytes = b"") -> Any:
    """The typed value of a request."""
    return understand(make(method, target, headers), body)[1]


class Loopback:
    """`client` is a boto3 client; `operation` and `value` are what its last request was understood as."""

    def __init__(self, **config: Any) -> None:
        self.answer: object = S3Error("InternalError")
        self.operation: Operation
        self.value: Any
        self.request: Request
        self.reply: Reply
        self.client: Any = boto3.client(
            "s3",
            endpoint_url="http://127.0.0.1:9",
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, **config),
        )
        self.client.meta.events.register("before-send.s3", self._serve)

    def _serve(self, request: Any, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        target = url.path + (f"?{url.query}" if url.query else "")
        headers = {
            name.lower(): value if isinstance(value, bytes) else str(value).encode()
            for name, value in request.headers.items()
        }
        self.request = make(request.method, target, {"host": "127.0.0.1:9", **headers})
        try:
            body = request.body if isinstance(request.body, bytes) else b""
            self.operation, self.value = understand(self.request, body)
            assert self.operation.body is not BodyKind.NONE or not body
            if isinstance(self.answer, S3Error):
                raise self.answer
            if isinstance(self.answer, s3.ObjectGot):
                self.reply = render_object(self.value, self.answer)
            else:
                self.reply = render(self.request, self.answer)
        except S3Error as error:
            self.reply = render_error(
                error, request_id="1", host_id="h", resource=self.request.path, head=request.method == "HEAD"
            )
        head = {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in self.reply.headers}
        if self.reply.status not in (204, 304):
            head["Content-Length"] = str(self.reply.length)
        raw = urllib3.HTTPResponse(
            io.BytesIO(b"" if request.method == "HEAD" else self.reply.body),
            headers=head,
            status=self.reply.status,
            preload_content=False,
            request_method=request.method,
        )
        return AWSResponse(request.url, self.reply.status, urllib3.HTTPHeaderDict(head), raw)
