"""S3 as a proxy sees it: what class a request counts to, where the object is in it, and answers of the proxy's own.

Pure. Invariant: nothing here changes a message; it makes another.
"""

import hashlib
from typing import Final

from holdfast.testing.lab.network.faults import Fault, Operation
from holdfast.testing.lab.network.http import Message, reply_bytes


def operation_of(method: str, target: str) -> Operation:
    """The class that a request counts to."""
    path, _, query = target.partition("?")
    names = {item.partition("=")[0] for item in query.split("&")}
    if method == "DELETE" or (method == "POST" and "delete" in names):
        return "delete"
    if method in ("PUT", "POST"):
        return "write"
    if method == "GET" and "/" not in path.strip("/") and not names & {"location", "versioning"}:
        return "list"
    return "read"


def completes(request: Message, method: str, target: str) -> bool:
    """Whether a request is one that S3 may answer with 200 before it knows how it ends."""
    copies = method == "PUT" and "x-amz-copy-source" in request.headers
    return copies or (method == "POST" and "uploadid=" in target.lower())


def plain_body(request: Message) -> bytes:
    """The object in the body of a PUT, without HTTP's and S3's chunks."""
    content = request.content
    if "aws-chunked" not in request.headers.get("content-encoding", "") and not request.headers.get(
        "x-amz-content-sha256", ""
    ).startswith("STREAMING"):
        return content
    body, at = bytearray(), 0
    while (stop := content.find(b"\r\n", at)) >= 0:
        size = int(content[at:stop].partition(b";")[0] or b"0", 16)
        if not size:
            break
        body += content[stop + 2 : stop + 2 + size]
        at = stop + 4 + size
    return bytes(body)


LATE: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b"<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>"
)


def refusal(fault: Fault, *, bodiless: bool) -> bytes:
    body = f"<Error><Code>{fault.code}</Code><Message>staged by the laboratory</Message></Error>".encode()
    headers = {"Content-Type": "application/xml"}
    if fault.retry_after_s:
        headers["Retry-After"] = str(fault.retry_after_s)
    return reply_bytes(fault.status, headers, body, bodiless=bodiless)


def object_reply(data: bytes, request: Message) -> bytes:
    """A whole object, or the range of it that was asked for, whatever the conditions."""
    headers = {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Content-Type": "binary/octet-stream"}
    first, _, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
    if not first:
        return reply_bytes(200, headers, data)
    start, end = int(first), min(len(data), int(last) + 1) if last else len(data)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return reply_bytes(206, headers, data[start:end])


def without_expect(request: Message) -> bytes:
    """The head, unless the client waited for `100 Continue`: it had that from us."""
    if "expect" not in request.headers:
        return request.head
    first, *lines = request.head.split(b"\r\n")
    return b"\r\n".join([first, *(line for line in lines if not line.lower().startswith(b"expect:"))])
