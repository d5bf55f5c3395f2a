"""Which actions an operation needs, and on what: a row for every operation of S3.

Answers for the names in policies. It judges nothing. Invariant: an operation without a row is allowed to nobody but by mistake of a test
that walks them all. Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; Amazon S3 User Guide,
"Required permissions for Amazon S3 API operations".
"""

from collections.abc import Mapping

from holdfast.model import Value

ACL_HEADERS = frozenset(
    {
        "x-amz-acl",
        "x-amz-grant-read",
        "x-amz-grant-write",
        "x-amz-grant-read-acp",
        "x-amz-grant-write-acp",
        "x-amz-grant-full-control",
    }
)
_LOCK_HEADERS = frozenset({"x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"})


class Need(Value, frozen=True):
    """One action that must be allowed."""

    action: str
    on: str = "object"
    """object, bucket, service (every resource), or source (the object that is copied)."""
    versioned: str = ""
    """The action when the request names a version."""
    given: frozenset[str] = frozenset()
    """Only when one of these headers is there."""
    told: str = ""
    """And only when they say this."""
    written: bool = False
    """On the object that the request writes, which is its writer's where lists are on, and not on what it replaces."""


def _bucket(*actions: str) -> tuple[Need, ...]:
    return tuple(Need("s3:" + action, "bucket") for action in actions)


def _object(action: str, versioned: str = "") -> Need:
    return Need("s3:" + action, "object", "s3:" + versioned if versioned else "")


_READ = _object("GetObject", "GetObjectVersion")
_SOURCE = Need("s3:GetObject", "source", "s3:GetObjectVersion")
READ_TAGS = Need("s3:GetObjectTagging", "source", "s3:GetObjectVersionTagging")
WRITE_TAGS = Need("s3:PutObjectTagging")
"""What a copy needs beside, when its source has tags that go with it. Amazon S3 API Reference, CopyObject, "Permissions"."""
_BYPASS = Need("s3:BypassGovernanceRetention", given=frozenset({"x-amz-bypass-governance-retention"}), told="true")
_WRITE = (
    _object("PutObject"),
    Need("s3:PutObjectAcl", given=ACL_HEADERS, written=True),
    Need("s3:PutObjectTagging", given=frozenset({"x-amz-tagging"}), written=True),
    Need("s3:PutObjectRetention", given=_LOCK_HEADERS),
    Need("s3:PutObjectLegalHold", given=frozenset({"x-amz-object-lock-legal-hold"})),
)


def _setting(noun: str, actions: str, *, delete: str = "") -> dict[str, tuple[Need, ...]]:
    """Get, Put and Delete of a bucket's sub-resource; whoever may put it may delete it, unless there is an action for that."""
    return {
        f"Get{noun}": _bucket("Get" + actions),
        f"Put{noun}": _bucket("Put" + actions),
        f"Delete{noun}": _bucket(delete or "Put" + actions),
    }


def _named(noun: str, actions: str) -> dict[str, tuple[Need, ...]]:
    return {**_setting(noun, actions), f"List{noun}s": _bucket("Get" + actions)}


NEEDS: Mapping[str, tuple[Need, ...]] = {
    "ListBuckets": (Need("s3:ListAllMyBuckets", "service"),),
    "ListDirectoryBuckets": (Need("s3:ListAllMyBuckets", "service"),),
    "CreateBucket": (
        *_bucket("CreateBucket"),
        Need("s3:PutBucketAcl", "bucket", given=ACL_HEADERS),
        Need("s3:PutBucketOwnershipControls", "bucket", given=frozenset({"x-amz-object-ownership"})),
        Need(
            "s3:PutBucketObjectLockConfiguration",
            "bucket",
            given=frozenset({"x-amz-bucket-object-lock-enabled"}),
            told="true",
        ),
        Need("s3:PutBucketVersioning", "bucket", given=frozenset({"x-amz-bucket-object-lock-enabled"}), told="true"),
    ),
    "HeadBucket": _bucket("ListBucket"),
    "DeleteBucket": _bucket("DeleteBucket"),
    "GetBucketLocation": _bucket("GetBucketLocation"),
    "ListObjects": _bucket("ListBucket"),
    "ListObjectsV2": _bucket("ListBucket"),
    "ListObjectVersions": _bucket("ListBucketVersions"),
    "ListMultipartUploads": _bucket("ListBucketMultipartUploads"),
    "DeleteObjects": (_object("DeleteObject", "DeleteObjectVersion"), _BYPASS),
    "PostObject": _WRITE,
    "CreateSession": _bucket("CreateSession"),
    "WriteGetObjectResponse": (Need("s3:WriteGetObjectResponse", "service"),),
    "PreflightBucket": (),
    "PreflightObject": (),
    **_setting("BucketVersioning", "BucketVersioning"),
    **_setting("BucketAbac", "BucketAbac"),
    **_setting("BucketAccelerateConfiguration", "AccelerateConfiguration"),
    **_setting("BucketAcl", "BucketAcl"),
    **_setting("BucketCors", "BucketCORS"),
    **_setting("BucketEncryption", "EncryptionConfiguration"),
    **_setting("BucketLifecycleConfiguration", "LifecycleConfiguration"),
    "DeleteBucketLifecycle": _bucket("PutLifecycleConfiguration"),
    **_setting("BucketLogging", "BucketLogging"),
    "GetBucketMetadataConfiguration": _bucket("GetBucketMetadataTableConfiguration"),
    "CreateBucketMetadataConfiguration": _bucket("CreateBucketMetadataTableConfiguration"),
    "DeleteBucketMetadataConfiguration": _bucket("DeleteBucketMetadataTableConfiguration"),
    "GetBucketMetadataTableConfiguration": _bucket("GetBucketMetadataTableConfiguration"),
    "CreateBucketMetadataTableConfiguration": _bucket("CreateBucketMetadataTableConfiguration"),
    "DeleteBucketMetadataTableConfiguration": _bucket("DeleteBucketMetadataTableConfiguration"),
    "UpdateBucketMetadataAnnotationTableConfiguration": _bucket("UpdateBucketMetadataAnnotationTableConfiguration"),
    "UpdateBucketMetadataInventoryTableConfiguration": _bucket("UpdateBucketMetadataInventoryTableConfiguration"),
    "UpdateBucketMetadataJournalTableConfiguration": _bucket("UpdateBucketMetadataJournalTableConfiguration"),
    **_setting("BucketNotificationConfiguration", "BucketNotification"),
    **_setting("ObjectLockConfiguration", "BucketObjectLockConfiguration"),
    **_setting("BucketOwnershipControls", "BucketOwnershipControls"),
    **_setting("BucketPolicy", "BucketPolicy", delete="DeleteBucketPolicy"),
    "GetBucketPolicyStatus": _bucket("GetBucketPolicyStatus"),
    **_setting("PublicAccessBlock", "BucketPublicAccessBlock"),
    **_setting("BucketReplication", "ReplicationConfiguration"),
    **_setting("BucketRequestPayment", "BucketRequestPayment"),
    **_setting("BucketTagging", "BucketTagging"),
    **_setting("BucketWebsite", "BucketWebsite", delete="DeleteBucketWebsite"),
    **_named("BucketAnalyticsConfiguration", "AnalyticsConfiguration"),
    **_named("BucketIntelligentTieringConfiguration", "IntelligentTieringConfiguration"),
    **_named("BucketInventoryConfiguration", "InventoryConfiguration"),
    **_named("BucketMetricsConfiguration", "MetricsConfiguration"),
    "GetObject": (_READ,),
    "HeadObject": (_READ,),
    "GetObjectAttributes": (_READ, _object("GetObjectAttributes", "GetObjectVersionAttributes")),
    "PutObject": _WRITE,
    "DeleteObject": (_object("DeleteObject", "DeleteObjectVersion"), _BYPASS),
    "CopyObject": (_SOURCE, *_WRITE),
    "CreateMultipartUpload": _WRITE,
    "UploadPart": (_object("PutObject"),),
    "UploadPartCopy": (_SOURCE, _object("PutObject")),
    "CompleteMultipartUpload": (_object("PutObject"),),
    "AbortMultipartUpload": (_object("AbortMultipartUpload"),),
    "ListParts": (_object("ListMultipartUploadParts"),),
    "GetObjectAcl": (_object("GetObjectAcl", "GetObjectVersionAcl"),),
    "PutObjectAcl": (_object("PutObjectAcl", "PutObjectVersionAcl"),),
    "GetObjectAnnotation": (_object("GetObjectAnnotation", "GetObjectVersionAnnotation"),),
    "PutObjectAnnotation": (_object("PutObjectAnnotation", "PutObjectVersionAnnotation"),),
    "DeleteObjectAnnotation": (_object("DeleteObjectAnnotation", "DeleteObjectVersionAnnotation"),),
    "ListObjectAnnotations": (_object("GetObjectAnnotation", "GetObjectVersionAnnotation"),),
    "UpdateObjectEncryption": (_object("UpdateObjectEncryption"),),
    "GetObjectLegalHold": (_object("GetObjectLegalHold"),),
    "PutObjectLegalHold": (_object("PutObjectLegalHold"),),
    "RenameObject": (Need("s3:GetObject", "source"), _object("PutObject")),
    "RestoreObject": (_object("RestoreObject"),),
    "GetObjectRetention": (_object("GetObjectRetention"),),
    "PutObjectRetention": (_object("PutObjectRetention"), _BYPASS),
    "SelectObjectContent": (_object("GetObject"),),
    "GetObjectTagging": (_object("GetObjectTagging", "GetObjectVersionTagging"),),
    "PutObjectTagging": (_object("PutObjectTagging", "PutObjectVersionTagging"),),
    "DeleteObjectTagging": (_object("DeleteObjectTagging", "DeleteObjectVersionTagging"),),
    "GetObjectTorrent": (_object("GetObjectTorrent", "GetObjectVersionTorrent"),),
}

_ALL = [need for needs in NEEDS.values() for need in needs]
BUCKET_ACTIONS = frozenset(need.action.lower() for need in _ALL if need.on in ("bucket", "service"))
OBJECT_ACTIONS = frozenset(
    name.lower() for need in _ALL if need.on in ("object", "source") for name in (need.action, need.versioned) if name
) | {"s3:replicateobject", "s3:replicatedelete", "s3:replicatetags", "s3:objectowneroverridetobucketowner"}
"""What a bucket's policy may name, in lower case; replication's are for documents that were written elsewhere."""
