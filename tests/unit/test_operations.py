"""The table of operations is complete and unambiguous, and every request finds its row or a clear refusal."""

from collections import Counter

import pytest
from botocore.loaders import Loader

from holdfast.errors import S3Error
from holdfast.wire.operations import OPERATIONS, Scope, route, supported
from tests.unit.loopback import make

MODEL = Loader().load_service_model("s3", "service-2")
RENAMED = {
    "GetBucketLifecycle",
    "PutBucketLifecycle",
    "GetBucketNotification",
    "PutBucketNotification",
}
"""Older names of operations that go by the same method and query."""
UNMODELLED = {"PostObject", "PreflightBucket", "PreflightObject"}
"""Operations of browsers, which no SDK has."""

IMPLEMENTED = {
    "ListBuckets",
    "CreateBucket",
    "HeadBucket",
    "DeleteBucket",
    "GetBucketLocation",
    "GetBucketVersioning",
    "GetBucketEncryption",
    "PutBucketEncryption",
    "DeleteBucketEncryption",
    "PutBucketVersioning",
    "GetBucketLifecycleConfiguration",
    "PutBucketLifecycleConfiguration",
    "DeleteBucketLifecycle",
    "GetBucketLogging",
    "PutBucketLogging",
    "GetBucketNotificationConfiguration",
    "PutBucketNotificationConfiguration",
    "GetObjectLockConfiguration",
    "PutObjectLockConfiguration",
    "GetObjectRetention",
    "PutObjectRetention",
    "GetObjectLegalHold",
    "PutObjectLegalHold",
    "PostObject",
    "PreflightBucket",
    "PreflightObject",
    "GetBucketCors",
    "PutBucketCors",
    "DeleteBucketCors",
    "GetBucketWebsite",
    "PutBucketWebsite",
    "DeleteBucketWebsite",
    "GetBucketRequestPayment",
    "PutBucketRequestPayment",
    "GetBucketAccelerateConfiguration",
    "GetBucketReplication",
    "DeleteBucketReplication",
    "GetBucketAnalyticsConfiguration",
    "DeleteBucketAnalyticsConfiguration",
    "ListBucketAnalyticsConfigurations",
    "GetBucketIntelligentTieringConfiguration",
    "DeleteBucketIntelligentTieringConfiguration",
    "ListBucketIntelligentTieringConfigurations",
    "GetBucketInventoryConfiguration",
    "DeleteBucketInventoryConfiguration",
    "ListBucketInventoryConfigurations",
    "GetBucketMetricsConfiguration",
    "DeleteBucketMetricsConfiguration",
    "ListBucketMetricsConfigurations",
    "GetObjectTagging",
    "PutObjectTagging",
    "DeleteObjectTagging",
    "GetBucketTagging",
    "PutBucketTagging",
    "DeleteBucketTagging",
    "PutObject",
    "GetObject",
    "HeadObject",
    "DeleteObject",
    "DeleteObjects",
    "CopyObject",
    "ListObjects",
    "ListObjectsV2",
    "ListObjectVersions",
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "ListParts",
    "ListMultipartUploads",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "GetObjectAttributes",
    "GetBucketAcl",
    "PutBucketAcl",
    "GetObjectAcl",
    "PutObjectAcl",
    "GetBucketPolicy",
    "PutBucketPolicy",
    "DeleteBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketOwnershipControls",
    "PutBucketOwnershipControls",
    "DeleteBucketOwnershipControls",
    "GetPublicAccessBlock",
    "PutPublicAccessBlock",
    "DeletePublicAccessBlock",
}


def test_every_operation_of_the_service_model_has_one_row() -> None:
    names = Counter(row.name for row in OPERATIONS)
    assert set(names) == (set(MODEL["operations"]) - RENAMED) | UNMODELLED
    assert set(names.values()) == {1}


def test_rows_agree_with_the_service_model_on_method_scope_and_markers() -> None:
    for row in OPERATIONS:
        if row.name in UNMODELLED or row.name == "WriteGetObjectResponse":
            continue
        http = MODEL["operations"][row.name]["http"]
        path, _, query = http["requestUri"].partition("?")
        scope = {"/": Scope.SERVICE, "/{Bucket}": Scope.BUCKET, "/{Bucket}/{Key+}": Scope.OBJECT}[path]
        assert (row.method, row.scope) == (http["method"], scope), row.name
        markers = {field.partition("=")[0] for field in query.split("&") if field} - {"select-type"}
        assert markers <= set(row.query), row.name


def test_no_two_rows_are_selected_alike() -> None:
    ways = Counter((row.method, row.scope, frozenset(row.query), row.header) for row in OPERATIONS)
    assert max(ways.values()) == 1


def test_supported_lists_what_is_implemented() -> None:
    assert {name for name, there in supported() if there} == IMPLEMENTED
    assert len(supported()) == len(OPERATIONS)


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
def test_each_row_is_reached_by_its_markers_or_refused_by_its_name(row: object) -> None:
    assert isinstance(row, type(OPERATIONS[0]))
    path = {Scope.SERVICE: "/", Scope.BUCKET: "/photos", Scope.OBJECT: "/photos/a"}[row.scope]
    target = path + "?" + "&".join(row.query)
    request = make(row.method, target, {row.header: "/x/y"} if row.header else {})
    if row.parse is not None:
        assert route(request) is row
    else:
        with pytest.raises(S3Error) as caught:
            route(request)
        assert caught.value.code == "NotImplemented"
        assert caught.value.fields == {"Operation": row.name}


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("GET", "/", "ListBuckets"),
        ("GET", "/photos", "ListObjects"),
        ("GET", "/photos/", "ListObjects"),
        ("GET", "/photos?list-type=2&prefix=a", "ListObjectsV2"),
        ("GET", "/photos?uploads", "ListMultipartUploads"),
        ("GET", "/photos?uploads=", "ListMultipartUploads"),
        ("GET", "/photos?versions&prefix=uploads", "ListObjectVersions"),
        ("GET", "/photos/a?unknown=1&x-id=GetObject", "GetObject"),
        ("GET", "/photos/a?partNumber=2", "GetObject"),
        ("GET", "/photos/a?uploadId=u", "ListParts"),
        ("HEAD", "/photos/a?versionId=null", "HeadObject"),
        ("HEAD", "/photos?list-type=2", "HeadBucket"),
        ("PUT", "/photos/a?partNumber=1&uploadId=u", "UploadPart"),
        ("PUT", "/photos/uploads", "PutObject"),
        ("POST", "/photos/a?uploads", "CreateMultipartUpload"),
        ("POST", "/photos?delete", "DeleteObjects"),
        ("DELETE", "/photos/a?uploadId=u", "AbortMultipartUpload"),
        # A marker of another scope is an unknown parameter here.
        ("GET", "/photos/a?versioning&session=1", "GetObject"),
        ("GET", "/photos?id=7", "ListObjects"),
    ],
)
def test_requests_find_their_operation(method: str, target: str, name: str) -> None:
    assert route(make(method, target)).name == name


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("PUT", "/photos/a", "CopyObject"),
        ("PUT", "/photos/a?uploadId=u&partNumber=1", "UploadPartCopy"),
        ("GET", "/photos/a", "GetObject"),
    ],
)
def test_a_copy_source_makes_a_put_a_copy(method: str, target: str, name: str) -> None:
    assert route(make(method, target, {"x-amz-copy-source": "/photos/b"})).name == name


def test_a_copy_source_in_a_presigned_query_makes_a_copy_too() -> None:
    target = "/photos/a?X-Amz-Signature=0&X-Amz-Copy-Source=photos/b"
    assert route(make("PUT", target)).name == "CopyObject"
    assert route(make("PUT", "/photos/a?X-Amz-Copy-Source=photos/b")).name == "PutObject"


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("POST", "/", "GET"),
        ("PATCH", "/photos/a", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("POST", "/photos/a", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("PUT", "/photos/a?uploads", "POST"),
        ("DELETE", "/photos/a?attributes", "GET"),
        ("DELETE", "/photos?location", "GET"),
        ("HEAD", "/photos?policy", "DELETE, GET, PUT"),
    ],
)
def test_a_known_resource_with_a_wrong_method_is_refused(method: str, target: str, allow: str) -> None:
    with pytest.raises(S3Error) as caught:
        route(make(method, target))
    assert caught.value.code == "MethodNotAllowed"
    assert caught.value.headers == {"Allow": allow}


def test_a_copy_source_beside_a_foreign_subresource_is_not_taken_for_a_copy() -> None:
    with pytest.raises(S3Error, match="PutObjectAnnotation"):
        route(make("PUT", "/photos/a?annotation", {"x-amz-copy-source": "/photos/b"}))
