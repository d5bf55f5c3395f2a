"""Which method of the store runs which request.

Invariant: every request that `wire` can make has a row.
"""

from collections.abc import Mapping
from typing import Final

from holdfast import s3
from holdfast.s3.acl import GetAcl, PutAcl
from holdfast.s3.cors import Preflight
from holdfast.s3.locks import GetLegalHold, GetRetention, PutLegalHold, PutRetention
from holdfast.s3.settings import DeleteSetting, GetSetting, PutSetting
from holdfast.s3.sharing import GetPolicyStatus
from holdfast.s3.tagging import DeleteObjectTagging, GetObjectTagging, PutObjectTagging

METHODS: Final[Mapping[type, str]] = {
    s3.ListBuckets: "list_buckets",
    s3.CreateBucket: "create_bucket",
    s3.HeadBucket: "head_bucket",
    s3.DeleteBucket: "delete_bucket",
    s3.GetBucketLocation: "get_bucket_location",
    GetSetting: "get_setting",
    PutSetting: "put_setting",
    DeleteSetting: "delete_setting",
    GetRetention: "get_retention",
    PutRetention: "put_retention",
    GetLegalHold: "get_legal_hold",
    PutLegalHold: "put_legal_hold",
    GetAcl: "get_acl",
    PutAcl: "put_acl",
    GetPolicyStatus: "get_policy_status",
    Preflight: "preflight",
    GetObjectTagging: "get_object_tagging",
    PutObjectTagging: "put_object_tagging",
    DeleteObjectTagging: "delete_object_tagging",
    s3.PutObject: "put_object",
    s3.GetObject: "get_object",
    s3.DeleteObject: "delete_object",
    s3.DeleteObjects: "delete_objects",
    s3.CopyObject: "copy_object",
    s3.GetObjectAttributes: "get_object_attributes",
    s3.ListObjects: "list_objects",
    s3.ListVersions: "list_versions",
    s3.CreateMultipartUpload: "create_multipart_upload",
    s3.UploadPart: "upload_part",
    s3.UploadPartCopy: "upload_part_copy",
    s3.CompleteMultipartUpload: "complete_multipart_upload",
    s3.AbortMultipartUpload: "abort_multipart_upload",
    s3.ListParts: "list_parts",
    s3.ListMultipartUploads: "list_multipart_uploads",
}
"""Which method of the store runs a request."""
