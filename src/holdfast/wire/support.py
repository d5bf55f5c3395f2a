"""What of the S3 API there is: operations, request headers and query parameters, as one table that docs/S3.md is printed from.

Answers for the levels. An operation's comes from `operations`: without a parser it is `no`. A header's comes from what `parse` refuses: a
row that says FULL is `no` for as long as the header is refused by name. Whoever implements one adds or takes a line here only when
there is something to say about how. Invariant: what the code reads has a row (tests/unit/test_support.py).
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Final

from holdfast.errors import S3Error
from holdfast.model import Value
from holdfast.wire.operations import OPERATIONS, Operation
from holdfast.wire.parse import SEALING_HEADERS, check_header


class Level(str, enum.Enum):
    FULL = "full"
    """As Amazon documents it."""
    PARTIAL = "partial"
    NO = "no"
    """Refused by name, or it means nothing here; the row says which."""


class Field(Value, frozen=True):
    """A header or a query parameter. A name that ends in `*` stands for all that begin so."""

    name: str
    where: str
    """The operations that it counts for."""
    level: Level = Level.FULL
    how: str = ""


HOW: Final[Mapping[str, str]] = {
    "CreateBucket": "in the region of the endpoint; `Location` and `Bucket` of the configuration are refused",
    "GetBucketAccelerateConfiguration": "no bucket is accelerated: the answer is an empty configuration",
    "GetBucketReplication": "no bucket is replicated by rules: `ReplicationConfigurationNotFoundError`",
    "DeleteBucketReplication": "succeeds, as there is none",
    "PutBucketLogging": "without `TargetGrants`",
    "PutBucketLifecycleConfiguration": "without transitions, which are refused by name",
    "PutBucketNotificationConfiguration": "topics, queues and functions are webhooks of the operator, named by the last part of an ARN; "
    "without EventBridge",
    "PutBucketVersioning": "without MFA delete",
    "PutBucketRequestPayment": "kept and reported; nobody is charged by Holdfast itself",
    "GetBucketAnalyticsConfiguration": "there is none: `NoSuchConfiguration`",
    "DeleteBucketAnalyticsConfiguration": "there is none: `NoSuchConfiguration`",
    "ListBucketAnalyticsConfigurations": "an empty list",
    "GetBucketIntelligentTieringConfiguration": "there is none: `NoSuchConfiguration`",
    "DeleteBucketIntelligentTieringConfiguration": "there is none: `NoSuchConfiguration`",
    "ListBucketIntelligentTieringConfigurations": "an empty list",
    "GetBucketInventoryConfiguration": "there is none: `NoSuchConfiguration`",
    "DeleteBucketInventoryConfiguration": "there is none: `NoSuchConfiguration`",
    "ListBucketInventoryConfigurations": "an empty list",
    "GetBucketMetricsConfiguration": "there is none: `NoSuchConfiguration`",
    "DeleteBucketMetricsConfiguration": "there is none: `NoSuchConfiguration`",
    "ListBucketMetricsConfigurations": "an empty list",
}
"""Operations that are there in part, and in which."""
REMARKS: Final[Mapping[str, str]] = {
    "PostObject": "signed with version 4, or with version 2, whose signature covers the policy only, too",
    "PreflightBucket": "`OPTIONS` of a bucket",
    "PreflightObject": "`OPTIONS` of an object",
    "PutBucketWebsite": "served below `server.website_domain`",
}
"""What else there is to say of operations that are there."""

_WRITES = "PutObject, CopyObject, CreateMultipartUpload, PostObject"
_READS = "GetObject, HeadObject"
_BODIES = "all with a body"
_LISTS = "ListObjects, ListObjectsV2, ListObjectVersions, ListMultipartUploads"
_COPIES = "CopyObject, UploadPartCopy"
_SUMS = "PutObject, PostObject, UploadPart, CompleteMultipartUpload, and XML bodies"
_SEALED = f"{_WRITES}, and all that read or write bytes"
_NEVER = "means nothing here"
_REFUSED = "refused by name"
_LATER = "sums that no SDK computes by itself: refused by name"


def _no(name: str, where: str, how: str = _REFUSED) -> Field:
    return Field(name, where, Level.NO, how)


def _part(name: str, where: str, how: str) -> Field:
    return Field(name, where, Level.PARTIAL, how)


HEADERS: Final = (
    Field("authorization", "all", how="AWS4-HMAC-SHA256"),
    Field("x-amz-date", "all"),
    Field("date", "all", how="where there is no x-amz-date"),
    Field(
        "x-amz-content-sha256", "all", how="digest, UNSIGNED-PAYLOAD, and the streaming forms, with trailers or without"
    ),
    Field("x-amz-decoded-content-length", _BODIES),
    Field("x-amz-trailer", _BODIES),
    Field("x-amz-trailer-signature", _BODIES, how="behind the body"),
    Field("x-amz-security-token", "all"),
    Field("host", "all", how="path style, virtual-host style, websites"),
    Field("content-length", _BODIES),
    Field("content-md5", _BODIES),
    Field("x-amz-expected-bucket-owner", "all"),
    Field("x-amz-source-expected-bucket-owner", _COPIES),
    _part("x-amz-request-payer", "all", "accepted; the owner of a bucket never needs it"),
    Field("content-type", _WRITES),
    Field("cache-control", _WRITES),
    Field("content-disposition", _WRITES),
    Field("content-encoding", _WRITES, how="without `aws-chunked`, which describes the transfer"),
    Field("content-language", _WRITES),
    Field("expires", _WRITES),
    Field("x-amz-meta-*", _WRITES),
    Field("x-amz-storage-class", _WRITES, how="kept and reported; it changes nothing about how an object is kept"),
    Field("x-amz-website-redirect-location", _WRITES),
    Field("x-amz-tagging", "PutObject, CopyObject, CreateMultipartUpload"),
    Field("x-amz-acl", f"{_WRITES}, CreateBucket, PutBucketAcl, PutObjectAcl", how="where ownership turns lists on"),
    Field(
        "x-amz-grant-*", f"{_WRITES}, CreateBucket, PutBucketAcl, PutObjectAcl", how="where ownership turns lists on"
    ),
    Field("x-amz-object-lock-mode", _WRITES),
    Field("x-amz-object-lock-retain-until-date", _WRITES),
    Field("x-amz-object-lock-legal-hold", _WRITES),
    _no("x-amz-object-lock-event-hold*", _WRITES),
    *(
        Field(name, _COPIES if name.startswith("x-amz-copy-source-") else _SEALED if "-customer-" in name else _WRITES)
        for name in sorted(SEALING_HEADERS)
    ),
    Field("x-amz-sdk-checksum-algorithm", _BODIES),
    Field("x-amz-checksum-algorithm", "CopyObject, CreateMultipartUpload"),
    Field("x-amz-checksum-type", "CreateMultipartUpload, CompleteMultipartUpload"),
    Field("x-amz-checksum-mode", _READS),
    *(Field(f"x-amz-checksum-{name}", _SUMS) for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")),
    *(_no(f"x-amz-checksum-{name}", _SUMS, _LATER) for name in ("md5", "sha512", "xxhash3", "xxhash64", "xxhash128")),
    Field("if-match", f"{_READS}, PutObject, CopyObject, CompleteMultipartUpload, DeleteObject"),
    _part(
        "if-none-match", f"{_READS}, PutObject, CopyObject, CompleteMultipartUpload", "on writes only `*`, as at Amazon"
    ),
    _part("if-modified-since", _READS, "refused on writes"),
    _part("if-unmodified-since", _READS, "refused on writes"),
    Field("if-range", "GetObject", how="answered with the whole object"),
    _part("range", _READS, "one range"),
    Field("x-amz-copy-source", _COPIES),
    Field("x-amz-copy-source-range", "UploadPartCopy"),
    *(
        Field(f"x-amz-copy-source-if-{name}", _COPIES)
        for name in ("match", "none-match", "modified-since", "unmodified-since")
    ),
    Field("x-amz-metadata-directive", "CopyObject"),
    Field("x-amz-tagging-directive", "CopyObject"),
    Field("x-amz-mp-object-size", "CompleteMultipartUpload"),
    Field("x-amz-object-attributes", "GetObjectAttributes"),
    Field("x-amz-max-parts", "GetObjectAttributes"),
    Field("x-amz-part-number-marker", "GetObjectAttributes"),
    _part(
        "x-amz-optional-object-attributes",
        "ListObjects, ListObjectsV2, ListObjectVersions",
        "RestoreStatus: no object is being restored",
    ),
    _no("x-amz-if-match-last-modified-time", "DeleteObject"),
    _no("x-amz-if-match-size", "DeleteObject"),
    _no("x-amz-if-match-initiated-time", "AbortMultipartUpload", _NEVER),
    _no("x-amz-write-offset-bytes", "PutObject"),
    Field("x-amz-object-ownership", "CreateBucket"),
    Field("x-amz-bucket-object-lock-enabled", "CreateBucket"),
    _part("x-amz-bucket-namespace", "CreateBucket", "global"),
    _no("x-amz-bucket-object-lock-token", "PutObjectLockConfiguration, PutBucketReplication", _NEVER),
    Field("x-amz-bypass-governance-retention", "DeleteObject, DeleteObjects, PutObjectRetention"),
    _no("x-amz-mfa", "DeleteObject, DeleteObjects, PutBucketVersioning", _NEVER),
    Field("x-amz-confirm-remove-self-bucket-access", "PutBucketPolicy"),
    _no("x-amz-skip-destination-validation", "PutBucketNotificationConfiguration", "destinations are always checked"),
    _part(
        "x-amz-transition-default-minimum-object-size",
        "PutBucketLifecycleConfiguration",
        "kept and reported; there are no transitions",
    ),
    _no("x-amz-object-annotation-directive", "CopyObject", _NEVER),
    _no("x-amz-object-if-match", "PutObjectAnnotation, DeleteObjectAnnotation", _NEVER),
    _no("x-amz-create-session-mode", "CreateSession", _NEVER),
    _no("x-amz-rename-source*", "RenameObject", _NEVER),
    _no("x-amz-client-token", "RenameObject", _NEVER),
    _no("x-amz-request-route", "WriteGetObjectResponse", "its operation is not implemented"),
    _no("x-amz-request-token", "WriteGetObjectResponse", _NEVER),
    _no("x-amz-fwd-*", "WriteGetObjectResponse", _NEVER),
    Field("origin", "all", how="with the bucket's CORS configuration"),
    Field("access-control-request-method", "PreflightBucket, PreflightObject"),
    Field("access-control-request-headers", "PreflightBucket, PreflightObject"),
    Field("expect", _BODIES, how="100-continue"),
)

PARAMETERS: Final = (
    Field("X-Amz-Algorithm", "presigned"),
    Field("X-Amz-Credential", "presigned"),
    Field("X-Amz-Date", "presigned"),
    Field("X-Amz-Expires", "presigned"),
    Field("X-Amz-SignedHeaders", "presigned"),
    Field("X-Amz-Signature", "presigned"),
    Field("X-Amz-Security-Token", "presigned"),
    Field("X-Amz-Content-Sha256", "presigned"),
    _no("AWSAccessKeyId", "presigned with version 2", "refused: version 4 is asked for"),
    _no("Signature", "presigned with version 2", "refused: version 4 is asked for"),
    Field("prefix", f"ListBuckets, {_LISTS}"),
    Field("delimiter", _LISTS),
    Field("encoding-type", _LISTS),
    Field("max-keys", "ListObjects, ListObjectsV2, ListObjectVersions"),
    Field("max-parts", "ListParts"),
    Field("max-uploads", "ListMultipartUploads"),
    Field("max-buckets", "ListBuckets"),
    Field("marker", "ListObjects"),
    Field("list-type", "ListObjectsV2"),
    Field("continuation-token", "ListBuckets, ListObjectsV2"),
    Field("start-after", "ListObjectsV2"),
    Field("fetch-owner", "ListObjectsV2"),
    Field("key-marker", "ListObjectVersions, ListMultipartUploads"),
    Field("version-id-marker", "ListObjectVersions"),
    Field("upload-id-marker", "ListMultipartUploads"),
    Field("part-number-marker", "ListParts"),
    Field("uploadId", "multipart uploads"),
    Field("partNumber", f"UploadPart, UploadPartCopy, {_READS}"),
    Field("versionId", "GetObject, HeadObject, DeleteObject, tagging, GetObjectAttributes, copy sources"),
    Field("response-*", _READS),
    Field("bucket-region", "ListBuckets"),
    _no("max-directory-buckets", "ListDirectoryBuckets", "its operation is not implemented"),
    Field("id", "analytics, intelligent-tiering, inventory and metrics configurations"),
    _no("annotation-prefix", "ListObjectAnnotations", _NEVER),
    _no("annotationName", "GetObjectAnnotation, PutObjectAnnotation, DeleteObjectAnnotation", _NEVER),
    _no("max-annotation-results", "ListObjectAnnotations", _NEVER),
)


def level_of(field: Field) -> Level:
    """What a header really is: one that is refused by name is not there, whatever its row hopes for."""
    if field.level is Level.FULL and field.name.startswith("x-amz-"):
        try:
            check_header(field.name.rstrip("*"), "x")
        except S3Error as refusal:
            if refusal.code == "NotImplemented":
                return Level.NO
    return field.level


def how_of(field: Field) -> str:
    """What is to be said of it."""
    return _REFUSED if level_of(field) is not field.level else field.how


def level_of_operation(row: Operation) -> Level:
    if row.parse is None:
        return Level.NO
    return Level.PARTIAL if row.name in HOW else Level.FULL


def knows(fields: tuple[Field, ...], name: str) -> bool:
    """Whether a header or parameter has a row."""
    return any(
        name == field.name or (field.name.endswith("*") and name.startswith(field.name.removesuffix("*")))
        for field in fields
    )


# --- as a document ---

_HEAD = """\
# The S3 API

Printed by `holdfast config s3` from the tables of operations and of headers; `make docs-config` writes this file anew.

**full**: as Amazon documents it. **partial**: with the difference that stands beside it. **no**: an operation or a header that asks for what
is not there is answered `501 NotImplemented` with its name, and never ignored, unless it says here that it means nothing.

Not part of any bucket here: directory buckets, access points, Object Lambda, S3 Tables, Select and torrents.
"""


def markdown() -> str:
    """The whole table as Markdown."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    for scope in dict.fromkeys(
        row.scope for row in sorted(OPERATIONS, key=lambda row: "sbo".index(row.scope.value[0]))
    ):
        yield f"\n## Operations on {'the service' if scope.value == 'service' else f'{scope.value}s'}\n\n"
        yield "| operation | request | state | how |\n|---|---|---|---|\n"
        for row in sorted(OPERATIONS, key=lambda row: row.name):
            if row.scope is scope:
                yield _operation_line(row)
    for title, fields in (("Request headers", HEADERS), ("Query parameters", PARAMETERS)):
        yield f"\n## {title}\n\n| name | counts for | state | how |\n|---|---|---|---|\n"
        for field in fields:
            yield f"| `{field.name}` | {field.where} | {level_of(field).value} | {how_of(field)} |\n"


def _operation_line(row: Operation) -> str:
    level = level_of_operation(row)
    how = "" if level is Level.NO else HOW.get(row.name, REMARKS.get(row.name, ""))
    markers = "".join(f" `{'&' if place else '?'}{name}`" for place, name in enumerate(row.query))
    header = f" `{row.header}`" if row.header else ""
    return f"| {row.name} | {row.method}{markers}{header} | {level.value} | {how} |\n"
