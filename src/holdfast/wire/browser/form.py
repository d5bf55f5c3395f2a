"""PostObject: the fields of an upload form as the PUT that they stand for, and the reply that the form asks for.

Source: Amazon S3 API Reference, "POST Object", "Browser-based uploads using POST".
"""

from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from holdfast.errors import S3Error
from holdfast.limits import KEY_BYTES
from holdfast.model import Value
from holdfast.s3 import ObjectPut
from holdfast.signing import encode_path
from holdfast.wire.documents.tagging import read_object
from holdfast.wire.parse import invalid
from holdfast.wire.parse_sealing import sealed_headers
from holdfast.wire.render import XML_TYPE, Reply, checksum_headers, version_header
from holdfast.wire.request import Request
from holdfast.xml import document, element, legible, parse_xml

_FILENAME = "${filename}"
_OF_SIGNATURE = frozenset(
    {"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token"}
)
_HEADERS = frozenset(
    {"cache-control", "content-type", "content-disposition", "content-encoding", "content-language", "expires"}
)
_STATUSES = {"200": 200, "201": 201, "204": 204}


class Wish(Value, frozen=True):
    """What the form wants to be answered."""

    status: int = 204
    redirect: str = ""


def form_key(fields: Mapping[str, str], filename: str) -> str:
    """The key, with the file's name in it where the form says so. Raises InvalidArgument, KeyTooLongError."""
    if "key" not in fields:
        message = (
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields."
        )
        raise invalid("key", "", message)
    base = filename.replace("\\", "/").rpartition("/")[2]
    key = fields["key"].replace(_FILENAME, base)
    if not key:
        raise invalid("key", "", "User key must have a length greater than 0.")
    if "\0" in key:
        raise invalid("key", "", "A key cannot have a NUL character.")
    size = len(key.encode())
    if size > KEY_BYTES:
        raise S3Error("KeyTooLongError", fields={"Size": str(size), "MaxSizeAllowed": str(KEY_BYTES)})
    return key


def put_request(request: Request, fields: Mapping[str, str], key: str) -> Request:
    """The PUT that a form stands for: the fields that are headers there, its tags, which come as XML, and nothing of the form's own
    headers. Raises MalformedXML, InvalidTag."""
    headers = {
        name: value
        for name, value in fields.items()
        if name in _HEADERS or (name.startswith("x-amz-") and name not in _OF_SIGNATURE)
    }
    if "acl" in fields:
        headers["x-amz-acl"] = fields["acl"]
    if (tagging := fields.get("tagging", "")).strip():
        headers["x-amz-tagging"] = urlencode(read_object(parse_xml(tagging.encode(), "Tagging")))
    path = f"/{request.bucket}/{key}"
    target = encode_path(path).encode()
    return Request("PUT", target, target, b"", path, headers, {}, (), request.bucket, key, False)


def wish_of(fields: Mapping[str, str]) -> Wish:
    """A status that is none of the three, and a redirect to what is no URL, are ignored, as by S3."""
    target = fields.get("success_action_redirect", fields.get("redirect", ""))
    return Wish(_STATUSES.get(fields.get("success_action_status", ""), 204), target if _is_url(target) else "")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and text.isprintable()


def posted(wish: Wish, put: ObjectPut, key: str, request: Request, *, secure: bool) -> Reply:
    """The reply. `secure` says that the client came by TLS."""
    version = version_header(put.version_id)
    etag, bucket = f'"{put.etag}"', request.bucket
    place = "" if request.virtual_host else f"/{bucket}"
    scheme = "https" if secure else "http"
    url = f"{scheme}://{request.headers.get('host', '')}{place}/{encode_path(key)}"
    if wish.redirect:
        mark = "&" if urlsplit(wish.redirect).query else "?"
        told = f"bucket={quote(bucket)}&key={quote(key, safe='')}&etag={quote(etag)}"
        return Reply(303, [("ETag", etag), ("Location", f"{wish.redirect}{mark}{told}"), *version])
    headers = [
        ("ETag", etag),
        ("Location", url),
        *version,
        *checksum_headers(put.checksum),
        *sealed_headers(put.sealed),
    ]
    if wish.status != 201:
        return Reply(wish.status, headers)
    content = (
        element("Location", url) + element("Bucket", bucket) + element("Key", legible(key)) + element("ETag", etag)
    )
    return Reply(201, [*headers, XML_TYPE], document("PostResponse", content, namespace=False))
