"""Requests on single objects, and DeleteObjects, as typed values.

Metadata is kept exactly as it came: system headers and `x-amz-meta-*`, nothing decoded, `aws-chunked` apart, which
describes the transfer and not the object.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from holdfast import s3
from holdfast.errors import S3Error
from holdfast.limits import LIST_PAGE, USER_METADATA_BYTES
from holdfast.model import ALWAYS, Facts, replace
from holdfast.wire.conditions import parse_range
from holdfast.wire.parse import (
    ON_SOURCE,
    algorithm,
    check_header,
    check_headers,
    expected,
    expected_of_xml,
    headers_of,
    invalid,
    match_condition,
    number,
    part_number,
    read_conditions,
    refused_header,
    safe,
    verify,
    version_id,
    write_condition,
)
from holdfast.wire.parse_locks import bypasses, with_locks
from holdfast.wire.parse_sealing import customer_key, reading_key, seal_ask
from holdfast.wire.parse_tags import tagged
from holdfast.wire.request import Request
from holdfast.xml import Element, malformed, parse_xml

STORAGE_CLASSES = frozenset(
    {
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "OUTPOSTS",
        "GLACIER_IR",
        "SNOW",
        "EXPRESS_ONEZONE",
        "FSX_OPENZFS",
        "FSX_ONTAP",
    }
)
"""Accepted, kept and reported; they change nothing about how the object is kept."""

_REDIRECT = "x-amz-website-redirect-location"
_SYSTEM_HEADERS = frozenset(
    {
        "content-type",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "expires",
        _REDIRECT,
    }
)
_META = "x-amz-meta-"
_OVERRIDES = {
    f"response-{name}": name
    for name in (
        "content-type",
        "content-language",
        "expires",
        "cache-control",
        "content-disposition",
        "content-encoding",
    )
}
_ATTRIBUTES = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})
_NOTHING: dict[str, str] = {}


def facts_of(headers: Mapping[str, str]) -> Facts:
    """What the client says about an object that it writes. Refuses what is not implemented.

    Raises MetadataTooLarge, InvalidStorageClass, NotImplemented, InvalidArgument.
    """
    system: dict[str, str] = {}
    user: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith("x-amz-"):
            if name.startswith(_META):
                user[name[len(_META) :]] = safe(name, value)
                continue
            check_header(name, value)
            if name == _REDIRECT and not value.startswith(("/", "http://", "https://")):
                raise S3Error("InvalidRedirectLocation", fields={"RedirectLocation": value})
        if name in _SYSTEM_HEADERS:
            system[name] = safe(name, value)
    if user:
        size_bytes = sum(len(text.encode()) for pair in user.items() for text in pair)
        if size_bytes > USER_METADATA_BYTES:
            limits = {"Size": str(size_bytes), "MaxSizeAllowed": str(USER_METADATA_BYTES)}
            raise S3Error("MetadataTooLarge", fields=limits)
    encoding = system.get("content-encoding")
    if encoding is not None and "aws-chunked" in encoding.lower():
        kept = [token for token in encoding.split(",") if token.strip().lower() != "aws-chunked"]
        system["content-encoding"] = ",".join(kept).strip()
        if not system["content-encoding"]:
            del system["content-encoding"]
    return Facts(system, user, _storage_class(headers))


def _storage_class(headers: Mapping[str, str]) -> str:
    name = headers.get("x-amz-storage-class") or "STANDARD"
    if name not in STORAGE_CLASSES:
        raise S3Error("InvalidStorageClass", fields={"StorageClassRequested": name})
    return name


def put_object(request: Request) -> s3.PutObject:
    query = request.query
    if "partNumber" in query:
        raise invalid("partNumber", query["partNumber"], "This operation does not accept partNumber without uploadId")
    headers = headers_of(request)
    return s3.PutObject(
        request.bucket,
        request.key,
        facts_of(headers),
        expected(headers),
        write_condition(headers),
        with_locks(tagged(headers), headers),
        seal=seal_ask(headers),
    )


def get_object(request: Request) -> s3.GetObject:
    return _read(request, head=False)


def head_object(request: Request) -> s3.GetObject:
    return _read(request, head=True)


def _read(request: Request, *, head: bool) -> s3.GetObject:
    headers, query = headers_of(request), request.query
    customer = reading_key(headers)
    span, part, version, overrides = None, None, "", _NOTHING
    text = headers.get("range")
    if text is not None and "if-range" not in headers:
        # With If-Range a server may always answer with the whole, which is right for every version.
        span = parse_range(text)
    if query:
        version = version_id(query)
        if "partNumber" in query:
            part = part_number(query["partNumber"])
            if text is not None:
                raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        overrides = {_OVERRIDES[name]: safe(name, value) for name, value in query.items() if name in _OVERRIDES}
    return s3.GetObject(
        request.bucket,
        request.key,
        head,
        span,
        part,
        read_conditions(headers),
        version,
        headers.get("x-amz-checksum-mode", "").upper() == "ENABLED",
        overrides,
        customer,
    )


def delete_object(request: Request) -> s3.DeleteObject:
    headers = headers_of(request)
    for name in ("x-amz-if-match-last-modified-time", "x-amz-if-match-size"):
        if name in headers:
            raise refused_header(name)
    if "if-none-match" in headers:
        raise refused_header("if-none-match")
    return s3.DeleteObject(
        request.bucket, request.key, version_id(request.query), write_condition(headers), bypasses(headers)
    )


def get_object_attributes(request: Request) -> s3.GetObjectAttributes:
    headers = headers_of(request)
    customer = reading_key(headers)
    text = headers.get("x-amz-object-attributes", "")
    asked = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not asked:
        message = (
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty"
        )
        raise S3Error("InvalidRequest", message)
    if not _ATTRIBUTES.issuperset(asked):
        raise invalid("x-amz-object-attributes", text, "Invalid attribute name specified.")
    return s3.GetObjectAttributes(
        request.bucket,
        request.key,
        asked,
        min(number(headers, "x-amz-max-parts", LIST_PAGE), LIST_PAGE),
        number(headers, "x-amz-part-number-marker", 0),
        version_id(request.query),
        customer,
    )


# --- copies ---


def copy_source(headers: Mapping[str, str]) -> s3.CopySource:
    """Where a copy comes from. The text is decoded once; a slash in front may be missing."""
    text = headers["x-amz-copy-source"]
    path, mark, version = text.partition("?versionId=")
    try:
        path = unquote(path, errors="strict")
        version = unquote(version, errors="strict")
    except UnicodeDecodeError:
        path = ""
    bucket, _, key = path.removeprefix("/").partition("/")
    if not bucket or not key or (mark and not version):
        raise invalid(
            "x-amz-copy-source",
            text,
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        )
    return s3.CopySource(bucket, key, version, read_conditions(headers, ON_SOURCE), customer_key(headers, source=True))


def copy_object(request: Request) -> s3.CopyObject:
    """With COPY, of `facts` only the storage class and the redirect location mean anything."""
    headers = headers_of(request)
    directive = headers.get("x-amz-metadata-directive") or "COPY"
    if directive not in ("COPY", "REPLACE"):
        raise invalid("x-amz-metadata-directive", directive, "Unknown metadata directive.")
    tagging = headers.get("x-amz-tagging-directive") or "COPY"
    if tagging not in ("COPY", "REPLACE"):
        raise invalid("x-amz-tagging-directive", tagging, "Unknown tagging directive.")
    wanted = headers.get("x-amz-checksum-algorithm")
    return s3.CopyObject(
        request.bucket,
        request.key,
        copy_source(headers),
        directive == "REPLACE",
        facts_of(headers),
        algorithm("x-amz-checksum-algorithm", wanted) if wanted else None,
        write_condition(headers),
        with_locks(tagged(headers), headers),
        tagging == "REPLACE",
        seal_ask(headers),
    )


# --- many at once ---


def delete_objects(request: Request) -> s3.DeleteObjects:
    """The keys are in the body, for `fill_deletes`."""
    headers = headers_of(request)
    check_headers(headers)
    return s3.DeleteObjects(request.bucket, expected=expected_of_xml(headers), bypass=bypasses(headers))


def fill_deletes(ask: s3.DeleteObjects, body: bytes) -> s3.DeleteObjects:
    """The request with the keys of its body, which must be what the headers said of it."""
    verify(ask.expected, body)
    root = parse_xml(body, "Delete")
    asks = tuple(_delete_ask(child, ask.bypass) for child in root.all("Object"))
    if not 1 <= len(asks) <= LIST_PAGE:
        raise malformed(f"{len(asks)} keys to delete")
    quiet = (root.get("Quiet") or "").strip().lower() == "true"
    return replace(ask, asks=asks, quiet=quiet)


def _delete_ask(item: Element, bypass: bool) -> s3.DeleteAsk:
    key = item.get("Key")
    if not key:
        raise malformed("an Object without a Key")
    for name in ("LastModifiedTime", "Size"):
        if item.get(name):
            message = f"The element {name} asks for functionality that is not implemented."
            raise S3Error("NotImplemented", message, fields={"Element": name})
    etag = item.get("ETag")
    return s3.DeleteAsk(key, item.get("VersionId") or "", match_condition(etag) if etag else ALWAYS, bypass)
