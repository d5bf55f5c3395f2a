"""Requests on the tags of a version, and the tags that come in a header of other requests."""

from collections.abc import Mapping

from holdfast.model import UNMARKED, Marks, replace
from holdfast.s3.tagging import DeleteObjectTagging, GetObjectTagging, PutObjectTagging
from holdfast.wire.documents.tagging import read_header, read_object
from holdfast.wire.parse import check_headers, expected_of_xml, headers_of, verify, version_id
from holdfast.wire.request import Request
from holdfast.xml import parse_xml


def tagged(headers: Mapping[str, str], marks: Marks = UNMARKED) -> Marks:
    """The marks of a new version, with the tags of `x-amz-tagging`. Raises InvalidTag, InvalidArgument."""
    text = headers.get("x-amz-tagging")
    return replace(marks, tags=read_header(text)) if text else marks


def get_object_tagging(request: Request) -> GetObjectTagging:
    return GetObjectTagging(request.bucket, request.key, version_id(request.query))


def put_object_tagging(request: Request) -> PutObjectTagging:
    """The body is for `fill_tags`."""
    headers = headers_of(request)
    check_headers(headers)
    version = version_id(request.query)
    return PutObjectTagging(request.bucket, request.key, version, expected=expected_of_xml(headers))


def fill_tags(ask: PutObjectTagging, body: bytes) -> PutObjectTagging:
    verify(ask.expected, body)
    return replace(ask, tags=read_object(parse_xml(body, "Tagging")))


def delete_object_tagging(request: Request) -> DeleteObjectTagging:
    return DeleteObjectTagging(request.bucket, request.key, version_id(request.query))
