"""The S3 API as data: every operation that Amazon S3 has, how a request selects it, and what parses it.

An operation without `parse` is known and not implemented: it is refused by name, never taken for another one.
To implement it, give its row a parser. Source: Amazon S3 API Reference, "Actions".
Invariant: no two rows are selected by the same method, scope, markers and header.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.errors import S3Error
from holdfast.model import Value
from holdfast.wire import (
    parse_access,
    parse_buckets,
    parse_locks,
    parse_multipart,
    parse_objects,
    parse_settings,
    parse_tags,
)
from holdfast.wire.browser.cors import preflight
from holdfast.wire.documents import DOCUMENTS
from holdfast.wire.parse import headers_of
from holdfast.wire.request import Request


class Scope(str, enum.Enum):
    """What the path names."""

    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


class BodyKind(str, enum.Enum):
    """What the request's body is."""

    NONE = "none"
    STREAM = "stream"
    XML = "xml"
    FORM = "form"
    """The upload form of a browser, which says in its fields who sends it and what it asks for."""


class Operation(Value, frozen=True):
    """A row. It is selected by its method, its scope, the presence of all its `query` markers and of its
    `header`; the row with the most of them wins."""

    name: str
    method: str
    scope: Scope
    query: tuple[str, ...] = ()
    header: str = ""
    body: BodyKind = BodyKind.NONE
    parse: Callable[[Request], Any] | None = None
    """From a request to its value in `s3`. None: not implemented."""
    fill: Callable[[Any, bytes], Any] | None = None
    """For an XML body that is read: the value completed by the body, which is verified first."""
    lengthy: bool = False
    """It may take longer than a client waits: then it is answered 200 first, and its outcome comes in the body."""
    unsigned: bool = False
    """Anybody may ask it, and its headers carry no signature."""


def _row(
    name: str,
    method: str,
    scope: Scope,
    *query: str,
    header: str = "",
    body: BodyKind = BodyKind.NONE,
    parse: Callable[[Request], Any] | None = None,
    fill: Callable[[Any, bytes], Any] | None = None,
    lengthy: bool = False,
    unsigned: bool = False,
) -> Operation:
    return Operation(name, method, scope, query, header, body, parse, fill, lengthy, unsigned)


_SERVICE, _BUCKET, _OBJECT = Scope.SERVICE, Scope.BUCKET, Scope.OBJECT
_STREAM, _XML = BodyKind.STREAM, BodyKind.XML


def _setting(marker: str, *, get: str = "", put: str = "", delete: str = "", post: str = "") -> list[Operation]:
    """The rows of a bucket's sub-resource. It is implemented when it has a row in `documents`."""
    if marker in DOCUMENTS:
        write = None if DOCUMENTS[marker].fixed else parse_settings.put(marker)
        rows = [
            _row(get, "GET", _BUCKET, marker, parse=parse_settings.get(marker)),
            _row(put, "PUT", _BUCKET, marker, body=_XML, parse=write, fill=parse_settings.fill),
            _row(delete, "DELETE", _BUCKET, marker, parse=parse_settings.delete(marker)),
        ]
        return [row for row in rows if row.name]
    unknown = [("GET", get, BodyKind.NONE), ("PUT", put, _XML), ("DELETE", delete, BodyKind.NONE), ("POST", post, _XML)]
    return [_row(name, method, _BUCKET, marker, body=body) for method, name, body in unknown if name]


def _named_setting(marker: str, noun: str) -> list[Operation]:
    """The rows of a kind of configuration of which a bucket has several, by `id`, and here none."""
    one = parse_settings.get(f"{marker} id")
    return [
        _row(f"Get{noun}", "GET", _BUCKET, marker, "id", parse=one),
        _row(f"Put{noun}", "PUT", _BUCKET, marker, body=_XML),
        _row(f"Delete{noun}", "DELETE", _BUCKET, marker, parse=one),
        _row(f"List{noun}s", "GET", _BUCKET, marker, parse=parse_settings.get(marker)),
    ]


_BUCKET_ROWS = [
    _row("ListBuckets", "GET", _SERVICE, parse=parse_buckets.list_buckets),
    _row("ListDirectoryBuckets", "GET", _SERVICE, "max-directory-buckets"),
    _row("CreateBucket", "PUT", _BUCKET, body=_XML, parse=parse_buckets.create_bucket, fill=parse_buckets.fill_bucket),
    _row("HeadBucket", "HEAD", _BUCKET, parse=parse_buckets.head_bucket),
    _row("DeleteBucket", "DELETE", _BUCKET, parse=parse_buckets.delete_bucket),
    _row("GetBucketLocation", "GET", _BUCKET, "location", parse=parse_buckets.get_bucket_location),
    _row("ListObjects", "GET", _BUCKET, parse=parse_buckets.list_objects),
    _row("ListObjectsV2", "GET", _BUCKET, "list-type", parse=parse_buckets.list_objects_v2),
    _row("ListObjectVersions", "GET", _BUCKET, "versions", parse=parse_buckets.list_versions),
    _row("ListMultipartUploads", "GET", _BUCKET, "uploads", parse=parse_buckets.list_uploads),
    _row(
        "DeleteObjects",
        "POST",
        _BUCKET,
        "delete",
        body=_XML,
        parse=parse_objects.delete_objects,
        fill=parse_objects.fill_deletes,
    ),
    _row("PostObject", "POST", _BUCKET, body=BodyKind.FORM, parse=parse_objects.put_object, unsigned=True),
    _row("CreateSession", "GET", _BUCKET, "session"),
    _row("WriteGetObjectResponse", "POST", _BUCKET, header="x-amz-request-route", body=_STREAM),
    _row("PreflightBucket", "OPTIONS", _BUCKET, parse=preflight, unsigned=True),
    *_setting("versioning", get="GetBucketVersioning", put="PutBucketVersioning"),
    *_setting("abac", get="GetBucketAbac", put="PutBucketAbac"),
    *_setting("accelerate", get="GetBucketAccelerateConfiguration", put="PutBucketAccelerateConfiguration"),
    _row("GetBucketAcl", "GET", _BUCKET, "acl", parse=parse_access.get_acl),
    _row("PutBucketAcl", "PUT", _BUCKET, "acl", body=_XML, parse=parse_access.put_acl, fill=parse_access.fill_acl),
    *_setting("cors", get="GetBucketCors", put="PutBucketCors", delete="DeleteBucketCors"),
    *_setting("encryption", get="GetBucketEncryption", put="PutBucketEncryption", delete="DeleteBucketEncryption"),
    *_setting(
        "lifecycle",
        get="GetBucketLifecycleConfiguration",
        put="PutBucketLifecycleConfiguration",
        delete="DeleteBucketLifecycle",
    ),
    *_setting("logging", get="GetBucketLogging", put="PutBucketLogging"),
    *_setting(
        "metadataConfiguration",
        get="GetBucketMetadataConfiguration",
        post="CreateBucketMetadataConfiguration",
        delete="DeleteBucketMetadataConfiguration",
    ),
    *_setting(
        "metadataTable",
        get="GetBucketMetadataTableConfiguration",
        post="CreateBucketMetadataTableConfiguration",
        delete="DeleteBucketMetadataTableConfiguration",
    ),
    *_setting("metadataAnnotationTable", put="UpdateBucketMetadataAnnotationTableConfiguration"),
    *_setting("metadataInventoryTable", put="UpdateBucketMetadataInventoryTableConfiguration"),
    *_setting("metadataJournalTable", put="UpdateBucketMetadataJournalTableConfiguration"),
    *_setting("notification", get="GetBucketNotificationConfiguration", put="PutBucketNotificationConfiguration"),
    *_setting("object-lock", get="GetObjectLockConfiguration", put="PutObjectLockConfiguration"),
    *_setting(
        "ownershipControls",
        get="GetBucketOwnershipControls",
        put="PutBucketOwnershipControls",
        delete="DeleteBucketOwnershipControls",
    ),
    *_setting("policy", get="GetBucketPolicy", put="PutBucketPolicy", delete="DeleteBucketPolicy"),
    _row("GetBucketPolicyStatus", "GET", _BUCKET, "policyStatus", parse=parse_access.get_policy_status),
    *_setting(
        "publicAccessBlock",
        get="GetPublicAccessBlock",
        put="PutPublicAccessBlock",
        delete="DeletePublicAccessBlock",
    ),
    *_setting("replication", get="GetBucketReplication", put="PutBucketReplication", delete="DeleteBucketReplication"),
    *_setting("requestPayment", get="GetBucketRequestPayment", put="PutBucketRequestPayment"),
    *_setting("tagging", get="GetBucketTagging", put="PutBucketTagging", delete="DeleteBucketTagging"),
    *_setting("website", get="GetBucketWebsite", put="PutBucketWebsite", delete="DeleteBucketWebsite"),
    *_named_setting("analytics", "BucketAnalyticsConfiguration"),
    *_named_setting("intelligent-tiering", "BucketIntelligentTieringConfiguration"),
    *_named_setting("inventory", "BucketInventoryConfiguration"),
    *_named_setting("metrics", "BucketMetricsConfiguration"),
]

_OBJECT_ROWS = [
    _row("GetObject", "GET", _OBJECT, parse=parse_objects.get_object),
    _row("HeadObject", "HEAD", _OBJECT, parse=parse_objects.head_object),
    _row("PutObject", "PUT", _OBJECT, body=_STREAM, parse=parse_objects.put_object),
    _row("DeleteObject", "DELETE", _OBJECT, parse=parse_objects.delete_object),
    _row("CopyObject", "PUT", _OBJECT, header="x-amz-copy-source", parse=parse_objects.copy_object, lengthy=True),
    _row("GetObjectAttributes", "GET", _OBJECT, "attributes", parse=parse_objects.get_object_attributes),
    _row("CreateMultipartUpload", "POST", _OBJECT, "uploads", parse=parse_multipart.create_upload),
    _row("UploadPart", "PUT", _OBJECT, "uploadId", body=_STREAM, parse=parse_multipart.upload_part),
    _row(
        "UploadPartCopy",
        "PUT",
        _OBJECT,
        "uploadId",
        header="x-amz-copy-source",
        parse=parse_multipart.upload_part_copy,
        lengthy=True,
    ),
    _row(
        "CompleteMultipartUpload",
        "POST",
        _OBJECT,
        "uploadId",
        body=_XML,
        parse=parse_multipart.complete_upload,
        fill=parse_multipart.fill_complete,
        lengthy=True,
    ),
    _row("AbortMultipartUpload", "DELETE", _OBJECT, "uploadId", parse=parse_multipart.abort_upload),
    _row("ListParts", "GET", _OBJECT, "uploadId", parse=parse_multipart.list_parts),
    _row("GetObjectAcl", "GET", _OBJECT, "acl", parse=parse_access.get_acl),
    _row("PutObjectAcl", "PUT", _OBJECT, "acl", body=_XML, parse=parse_access.put_acl, fill=parse_access.fill_acl),
    _row("GetObjectAnnotation", "GET", _OBJECT, "annotation", "annotationName"),
    _row("PutObjectAnnotation", "PUT", _OBJECT, "annotation", body=_STREAM),
    _row("DeleteObjectAnnotation", "DELETE", _OBJECT, "annotation"),
    _row("ListObjectAnnotations", "GET", _OBJECT, "annotation"),
    _row("UpdateObjectEncryption", "PUT", _OBJECT, "encryption", body=_XML),
    _row("GetObjectLegalHold", "GET", _OBJECT, "legal-hold", parse=parse_locks.get_legal_hold),
    _row(
        "PutObjectLegalHold",
        "PUT",
        _OBJECT,
        "legal-hold",
        body=_XML,
        parse=parse_locks.put_legal_hold,
        fill=parse_locks.fill_legal_hold,
    ),
    _row("RenameObject", "PUT", _OBJECT, "renameObject"),
    _row("RestoreObject", "POST", _OBJECT, "restore", body=_XML),
    _row("GetObjectRetention", "GET", _OBJECT, "retention", parse=parse_locks.get_retention),
    _row(
        "PutObjectRetention",
        "PUT",
        _OBJECT,
        "retention",
        body=_XML,
        parse=parse_locks.put_retention,
        fill=parse_locks.fill_retention,
    ),
    _row("SelectObjectContent", "POST", _OBJECT, "select", body=_XML),
    _row("GetObjectTagging", "GET", _OBJECT, "tagging", parse=parse_tags.get_object_tagging),
    _row(
        "PutObjectTagging",
        "PUT",
        _OBJECT,
        "tagging",
        body=_XML,
        parse=parse_tags.put_object_tagging,
        fill=parse_tags.fill_tags,
    ),
    _row("DeleteObjectTagging", "DELETE", _OBJECT, "tagging", parse=parse_tags.delete_object_tagging),
    _row("GetObjectTorrent", "GET", _OBJECT, "torrent"),
    _row("PreflightObject", "OPTIONS", _OBJECT, parse=preflight, unsigned=True),
]

OPERATIONS: tuple[Operation, ...] = (*_BUCKET_ROWS, *_OBJECT_ROWS)

_SELECTORS = frozenset({"id", "list-type", "max-directory-buckets", "annotationName"})
"""Markers that tell two operations of one sub-resource apart, and are none themselves."""
_PLAIN: Mapping[Scope, Mapping[str, Operation]] = {
    scope: {row.method: row for row in OPERATIONS if row.scope is scope and not row.query and not row.header}
    for scope in Scope
}
_PLAIN_SERVICE, _PLAIN_BUCKET, _PLAIN_OBJECT = _PLAIN[_SERVICE], _PLAIN[_BUCKET], _PLAIN[_OBJECT]
_MARKED: Mapping[Scope, tuple[Operation, ...]] = {
    scope: tuple(
        sorted(
            (row for row in OPERATIONS if row.scope is scope and (row.query or row.header)),
            key=lambda row: -2 * len(row.query) - bool(row.header),
        )
    )
    for scope in Scope
}
_SUBRESOURCES: Mapping[Scope, frozenset[str]] = {
    scope: frozenset(marker for row in OPERATIONS if row.scope is scope for marker in row.query) - _SELECTORS
    for scope in Scope
}
_MARKERS: Mapping[Scope, frozenset[str]] = {
    scope: frozenset(marker for row in OPERATIONS if row.scope is scope for marker in row.query) for scope in Scope
}
_MARKING_HEADERS = frozenset(row.header for row in OPERATIONS if row.header)


def route(request: Request) -> Operation:
    """The operation that a request means, which is one that can be parsed.

    Raises S3Error: NotImplemented with the operation's name, and MethodNotAllowed. Unknown query parameters mean nothing.
    """
    plain = _PLAIN_OBJECT if request.key else _PLAIN_BUCKET if request.bucket else _PLAIN_SERVICE
    found = plain.get(request.method)
    if request.query or not request.headers.keys().isdisjoint(_MARKING_HEADERS):
        found = _select(request, headers_of(request))
    if found is None:
        raise _not_allowed(request)
    if found.parse is None:
        message = f"The operation {found.name} is not implemented."
        raise S3Error("NotImplemented", message, fields={"Operation": found.name})
    return found


def _scope(request: Request) -> Scope:
    return _OBJECT if request.key else _BUCKET if request.bucket else _SERVICE


def _select(request: Request, headers: Mapping[str, str]) -> Operation | None:
    """The row with the most markers, all of which are there. None when a sub-resource has no such method."""
    query, method, scope = request.query, request.method, _scope(request)
    if _MARKERS[scope].isdisjoint(query) and _MARKING_HEADERS.isdisjoint(headers):
        return _PLAIN[scope].get(method)
    named = _SUBRESOURCES[scope].intersection(query)
    for row in _MARKED[scope]:
        if (
            row.method == method
            and (not row.header or row.header in headers)
            and all(marker in query for marker in row.query)
            and not (named and named.isdisjoint(row.query))
        ):
            return row
    return None if named else _PLAIN[scope].get(method)


def _not_allowed(request: Request) -> S3Error:
    scope = _scope(request)
    named = _SUBRESOURCES[scope].intersection(request.query)
    methods = {
        row.method
        for row in OPERATIONS
        if row.scope is scope and (not named.isdisjoint(row.query) if named else not row.query)
    }
    return S3Error("MethodNotAllowed", fields={"Method": request.method}, headers={"Allow": ", ".join(sorted(methods))})


def supported() -> list[tuple[str, bool]]:
    """Every operation by name, and whether it is implemented: for documents and tests."""
    return sorted((row.name, row.parse is not None) for row in OPERATIONS)
