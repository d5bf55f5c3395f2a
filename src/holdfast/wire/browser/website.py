"""Replies of a static website: redirects, and errors as pages.

Source: Amazon S3 User Guide, "Hosting a static website using Amazon S3", "Configuring a webpage redirect", "Website endpoints".
"""

from html import escape
from http import HTTPStatus

from holdfast.errors import S3Error
from holdfast.s3.website import Redirect, location
from holdfast.signing import encode_path
from holdfast.wire.render import Headers, Reply
from holdfast.wire.request import Request
from holdfast.xml import legible

_HTML = ("Content-Type", "text/html; charset=utf-8")
OBJECT_REDIRECT = "x-amz-website-redirect-location"
_OF_READS = frozenset(
    {"host", "range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "origin"}
)


def object_request(request: Request, key: str, *, plain: bool = False, head: bool = False) -> Request:
    """The anonymous request for an object that a visit of a site needs; `plain` for the whole, whatever the visitor has of it."""
    headers = {} if plain else {name: value for name, value in request.headers.items() if name in _OF_READS}
    target = encode_path("/" + key).encode()
    return Request(
        "HEAD" if head else request.method, target, target, b"", "/" + key, headers, {}, (), request.bucket, key, True
    )


def redirected(request: Request, redirect: Redirect, rule_prefix: str = "", *, secure: bool) -> Reply:
    """Sent elsewhere by a rule."""
    protocol = "https" if secure else "http"
    protocol, host, key = location(
        redirect, rule_prefix, request.key, host=request.headers.get("host", ""), protocol=protocol
    )
    return moved(f"{protocol}://{host}/{encode_path(key)}", redirect.code)


def moved(target: str, status: int) -> Reply:
    return Reply(status, [("Location", target)])


def error_page(error: S3Error, *, request_id: str, host_id: str, head: bool) -> Reply:
    """An S3Error as a page. What a visitor sent stands in it only as text."""
    headers: Headers = list(error.headers.items())
    if error.status == HTTPStatus.NOT_MODIFIED:
        return Reply(error.status, headers)
    message = legible(error.message)
    headers += [_HTML, ("x-amz-error-code", error.code), ("x-amz-error-message", message)]
    if head:
        return Reply(error.status, headers)
    facts = {"Code": error.code, "Message": message, **error.fields, "RequestId": request_id, "HostId": host_id}
    rows = "".join(f"<li>{escape(name)}: {escape(legible(value))}</li>\n" for name, value in facts.items())
    title = f"{error.status} {HTTPStatus(error.status).phrase}"
    page = f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{rows}</ul>\n<hr/>\n</body>\n</html>\n"
    return Reply(error.status, headers, page.encode())
