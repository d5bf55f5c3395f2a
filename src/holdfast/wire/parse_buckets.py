"""Requests on the service and on buckets, listings included, as typed values."""

from holdfast import s3
from holdfast.errors import S3Error
from holdfast.limits import BUCKETS_PAGE
from holdfast.model import replace
from holdfast.wire.documents.tagging import read_new_bucket
from holdfast.wire.parse import (
    check_headers,
    decode_token,
    expected_of_xml,
    headers_of,
    invalid,
    number,
    page_limit,
    refused_header,
    url_encoded,
    verify,
)
from holdfast.wire.request import Request, check_bucket_name
from holdfast.xml import malformed, parse_xml


def list_buckets(request: Request) -> s3.ListBuckets:
    query = request.query
    limit = number(query, "max-buckets", 0, least=1, most=BUCKETS_PAGE)
    after = decode_token(query.get("continuation-token", ""))
    return s3.ListBuckets(query.get("prefix", ""), after, limit or None, query.get("bucket-region", ""))


def create_bucket(request: Request) -> s3.CreateBucket:
    """The body, when there is one, is for `fill_bucket`."""
    check_bucket_name(request.bucket)
    headers = headers_of(request)
    check_headers(headers)
    if headers.get("x-amz-bucket-namespace", "global") != "global":
        raise refused_header("x-amz-bucket-namespace")
    return s3.CreateBucket(
        request.bucket,
        object_lock=headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true",
        expected=expected_of_xml(headers),
    )


def fill_bucket(ask: s3.CreateBucket, body: bytes) -> s3.CreateBucket:
    """The request with the region and the tags that its body names. No body means the region of the endpoint."""
    verify(ask.expected, body)
    if not body.strip():
        return ask
    root = parse_xml(body, "CreateBucketConfiguration")
    for child in root.children:
        if child.name in ("Location", "Bucket"):
            raise S3Error(
                "NotImplemented",
                f"The element {child.name} asks for functionality that is not implemented.",
                fields={"Element": child.name},
            )
        if child.name not in ("LocationConstraint", "Tags"):
            raise malformed(f"{child.name} in CreateBucketConfiguration")
    region = (root.get("LocationConstraint") or "").strip()
    tags = root.find("Tags")
    return replace(ask, region=region, tags={} if tags is None else read_new_bucket(tags))


def head_bucket(request: Request) -> s3.HeadBucket:
    return s3.HeadBucket(request.bucket)


def delete_bucket(request: Request) -> s3.DeleteBucket:
    return s3.DeleteBucket(request.bucket)


def get_bucket_location(request: Request) -> s3.GetBucketLocation:
    return s3.GetBucketLocation(request.bucket)


_RESTORE = "RestoreStatus"


def _check_optional(request: Request) -> None:
    """RestoreStatus may be asked for: no object here has one, because none has to be restored. Raises InvalidArgument."""
    name = "x-amz-optional-object-attributes"
    text = request.headers.get(name)
    if text is not None and {one.strip() for one in text.split(",")} != {_RESTORE}:
        raise invalid(name, text, "Invalid attribute name specified.")


def list_objects(request: Request) -> s3.ListObjects:
    query = request.query
    _check_optional(request)
    marker = query.get("marker", "")
    return s3.ListObjects(
        request.bucket,
        v2=False,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        after=marker,
        limit=page_limit(query, "max-keys"),
        encode=url_encoded(query),
        marker=marker,
    )


def list_objects_v2(request: Request) -> s3.ListObjects:
    """A continuation token outweighs `start-after`."""
    query = request.query
    _check_optional(request)
    if query["list-type"] != "2":
        raise invalid("list-type", query["list-type"], "Invalid List Type specified in Request")
    token = query.get("continuation-token")
    start_after = query.get("start-after")
    return s3.ListObjects(
        request.bucket,
        v2=True,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        after=decode_token(token) if token else start_after or "",
        limit=page_limit(query, "max-keys"),
        encode=url_encoded(query),
        fetch_owner=query.get("fetch-owner", "").lower() == "true",
        start_after=start_after,
        token=token,
    )


def list_versions(request: Request) -> s3.ListVersions:
    query = request.query
    _check_optional(request)
    key_marker, version_marker = query.get("key-marker", ""), query.get("version-id-marker", "")
    if version_marker and not key_marker:
        raise invalid(
            "version-id-marker", version_marker, "A version-id marker cannot be specified without a key marker."
        )
    return s3.ListVersions(
        request.bucket,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        key_marker=key_marker,
        version_marker=version_marker,
        limit=page_limit(query, "max-keys"),
        encode=url_encoded(query),
    )


def list_uploads(request: Request) -> s3.ListMultipartUploads:
    """An upload marker without a key marker is ignored, as in S3."""
    query = request.query
    key_marker = query.get("key-marker", "")
    return s3.ListMultipartUploads(
        request.bucket,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        key_marker=key_marker,
        upload_marker=query.get("upload-id-marker", "") if key_marker else "",
        limit=page_limit(query, "max-uploads"),
        encode=url_encoded(query),
    )
