"""Requests on multipart uploads as typed values.

Follows the Amazon S3 User Guide, "Checking object integrity": which checksum algorithms go with which checksum type.
"""

import itertools

from holdfast import s3
from holdfast.errors import S3Error
from holdfast.limits import OBJECT_BYTES, PART_NUMBER_MAX
from holdfast.model import Algorithm, ChecksumType, replace
from holdfast.wire.conditions import parse_copy_range
from holdfast.wire.parse import (
    algorithm,
    check_headers,
    checksum_type,
    expected,
    expected_of_xml,
    header_checksum,
    headers_of,
    number,
    one_checksum,
    page_limit,
    part_number,
    refuse_conditions,
    verify,
    write_condition,
)
from holdfast.wire.parse_locks import with_locks
from holdfast.wire.parse_objects import copy_source, facts_of
from holdfast.wire.parse_sealing import customer_key, seal_ask
from holdfast.wire.parse_tags import tagged
from holdfast.wire.request import Request
from holdfast.xml import Element, malformed, parse_xml

_ONLY = {
    Algorithm.CRC64NVME: ChecksumType.FULL_OBJECT,
    Algorithm.SHA1: ChecksumType.COMPOSITE,
    Algorithm.SHA256: ChecksumType.COMPOSITE,
}
"""Algorithms that go with one type; the others go with both and are COMPOSITE when nothing is said."""


def create_upload(request: Request) -> s3.CreateMultipartUpload:
    headers = headers_of(request)
    refuse_conditions(headers)
    facts, seal = facts_of(headers), seal_ask(headers)
    marks = with_locks(tagged(headers), headers)
    name = headers.get("x-amz-checksum-algorithm") or headers.get("x-amz-sdk-checksum-algorithm")
    kind = checksum_type(headers)
    if not name:
        if kind is not None:
            raise S3Error(
                "InvalidRequest",
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )
        return s3.CreateMultipartUpload(request.bucket, request.key, facts, marks=marks, seal=seal)
    chosen = algorithm("x-amz-checksum-algorithm", name)
    fitting = _ONLY.get(chosen)
    if kind is not None and fitting not in (None, kind):
        raise S3Error(
            "InvalidRequest",
            f"The {kind.value} checksum type cannot be used with the {chosen.value.lower()} checksum algorithm.",
        )
    return s3.CreateMultipartUpload(
        request.bucket, request.key, facts, chosen, kind or fitting or ChecksumType.COMPOSITE, marks, seal
    )


def upload_part(request: Request) -> s3.UploadPart:
    query, headers = request.query, headers_of(request)
    check_headers(headers)
    refuse_conditions(headers)
    part = part_number(query.get("partNumber", ""))
    customer = customer_key(headers)
    return s3.UploadPart(request.bucket, request.key, query["uploadId"], part, expected(headers), customer)


def upload_part_copy(request: Request) -> s3.UploadPartCopy:
    query, headers = request.query, headers_of(request)
    check_headers(headers)
    refuse_conditions(headers)
    part = part_number(query.get("partNumber", ""))
    text = headers.get("x-amz-copy-source-range")
    span = None if text is None else parse_copy_range(text)
    source, customer = copy_source(headers), customer_key(headers)
    return s3.UploadPartCopy(request.bucket, request.key, query["uploadId"], part, source, span, customer)


def complete_upload(request: Request) -> s3.CompleteMultipartUpload:
    """The parts are in the body, for `fill_complete`. Checksums in headers are those of the object."""
    headers = headers_of(request)
    check_headers(headers)
    return s3.CompleteMultipartUpload(
        request.bucket,
        request.key,
        request.query["uploadId"],
        checksum=header_checksum(headers, composite=True),
        kind=checksum_type(headers),
        object_size=number(headers, "x-amz-mp-object-size", 0, most=OBJECT_BYTES)
        if headers.get("x-amz-mp-object-size")
        else None,
        condition=write_condition(headers),
        expected=expected_of_xml(headers, checksums=False),
        customer=customer_key(headers),
    )


def fill_complete(ask: s3.CompleteMultipartUpload, body: bytes) -> s3.CompleteMultipartUpload:
    """The request with the parts of its body. Raises MalformedXML, InvalidPartOrder, InvalidRequest."""
    verify(ask.expected, body)
    root = parse_xml(body, "CompleteMultipartUpload")
    parts = tuple(_part(child) for child in root.all("Part"))
    if not 1 <= len(parts) <= PART_NUMBER_MAX:
        raise malformed(f"{len(parts)} parts")
    if any(one.number >= after.number for one, after in itertools.pairwise(parts)):
        raise S3Error("InvalidPartOrder", fields={"UploadId": ask.upload_id})
    return replace(ask, parts=parts)


def _part(item: Element) -> s3.PartAsk:
    text, etag = (item.get("PartNumber") or "").strip(), (item.get("ETag") or "").strip().strip('"')
    if not etag or not text:
        raise malformed("a Part without its PartNumber or ETag")
    given = (
        (kind, value.strip()) for kind in Algorithm if (value := item.get("Checksum" + kind.value)) and value.strip()
    )
    return s3.PartAsk(part_number(text), etag, one_checksum(given))


def abort_upload(request: Request) -> s3.AbortMultipartUpload:
    return s3.AbortMultipartUpload(request.bucket, request.key, request.query["uploadId"])


def list_parts(request: Request) -> s3.ListParts:
    query = request.query
    return s3.ListParts(
        request.bucket,
        request.key,
        query["uploadId"],
        after=number(query, "part-number-marker", 0),
        limit=page_limit(query, "max-parts"),
    )
