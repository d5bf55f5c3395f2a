"""`Store`: one method per S3 operation, over the rooms of this folder.

It only joins: each method hands a typed request to the module that answers for it. What a request means is in
`plan`, `read`, `write`, `delete`, `listing`, `multipart`, `copying` and `buckets`, each readable alone.
"""

from holdfast import s3
from holdfast.copies.site import Site
from holdfast.s3.acl import AclGot, AclPut, GetAcl, PutAcl
from holdfast.s3.cors import Preflight, Shared
from holdfast.s3.locks import (
    GetLegalHold,
    GetRetention,
    LegalHoldGot,
    LockPut,
    PutLegalHold,
    PutRetention,
    RetentionGot,
)
from holdfast.s3.settings import DeleteSetting, GetSetting, PutSetting, SettingGot, SettingPut
from holdfast.s3.sharing import GetPolicyStatus, PolicyStatus
from holdfast.s3.tagging import (
    DeleteObjectTagging,
    GetObjectTagging,
    ObjectTags,
    PutObjectTagging,
    TagsDeleted,
    TagsPut,
)
from holdfast.s3.versioning import VersionsListed
from holdfast.store import buckets, copying, delete, listing, locks, multipart, read, settings, sharing, tagging, write


class Store:
    """S3's operations over index, spool and grids. All raise S3Error."""

    def __init__(self, site: Site, *, owner: str, region: str) -> None:
        self._site = site
        self._owner = owner
        self._region = region

    async def list_buckets(self, ask: s3.ListBuckets) -> s3.BucketsListed:
        return await buckets.list_buckets(self._site, ask, self._owner, self._region)

    async def create_bucket(self, ask: s3.CreateBucket) -> s3.BucketCreated:
        return await buckets.create_bucket(self._site, ask, self._owner, self._region)

    async def head_bucket(self, ask: s3.HeadBucket) -> s3.BucketHead:
        return await buckets.head_bucket(self._site, ask, self._region)

    async def delete_bucket(self, ask: s3.DeleteBucket) -> s3.Done:
        return await buckets.delete_bucket(self._site, ask)

    async def get_bucket_location(self, ask: s3.GetBucketLocation) -> s3.Location:
        return await buckets.get_bucket_location(self._site, ask, self._region)

    async def get_setting(self, ask: GetSetting) -> SettingGot:
        return await settings.get_setting(self._site, ask)

    async def put_setting(self, ask: PutSetting) -> SettingPut:
        return await settings.put_setting(self._site, ask)

    async def delete_setting(self, ask: DeleteSetting) -> s3.Done:
        return await settings.delete_setting(self._site, ask)

    async def get_acl(self, ask: GetAcl) -> AclGot:
        return await sharing.get_acl(self._site, ask)

    async def put_acl(self, ask: PutAcl) -> AclPut:
        return await sharing.put_acl(self._site, ask)

    async def get_policy_status(self, ask: GetPolicyStatus) -> PolicyStatus:
        return await sharing.get_policy_status(self._site, ask)

    async def preflight(self, ask: Preflight) -> Shared:
        return await settings.preflight(self._site, ask)

    async def put_object(self, ask: s3.PutObject, body: s3.Body) -> s3.ObjectPut:
        return await write.put_object(self._site, ask, body)

    async def get_object(self, ask: s3.GetObject) -> s3.ObjectGot:
        return await read.get_object(self._site, ask)

    async def get_object_attributes(self, ask: s3.GetObjectAttributes) -> s3.ObjectAttributes:
        return await read.get_object_attributes(self._site, ask)

    async def get_object_tagging(self, ask: GetObjectTagging) -> ObjectTags:
        return await tagging.get_tags(self._site, ask)

    async def put_object_tagging(self, ask: PutObjectTagging) -> TagsPut:
        return await tagging.put_tags(self._site, ask)

    async def delete_object_tagging(self, ask: DeleteObjectTagging) -> TagsDeleted:
        return await tagging.delete_tags(self._site, ask)

    async def copy_object(self, ask: s3.CopyObject) -> s3.ObjectCopied:
        return await copying.copy_object(self._site, ask)

    async def delete_object(self, ask: s3.DeleteObject) -> s3.ObjectDeleted:
        return await delete.delete_object(self._site, ask)

    async def delete_objects(self, ask: s3.DeleteObjects) -> s3.ObjectsDeleted:
        return await delete.delete_objects(self._site, ask)

    async def list_objects(self, ask: s3.ListObjects) -> s3.ObjectsListed:
        return await listing.list_objects(self._site, ask)

    async def get_retention(self, ask: GetRetention) -> RetentionGot:
        return await locks.get_retention(self._site, ask)

    async def put_retention(self, ask: PutRetention) -> LockPut:
        return await locks.put_retention(self._site, ask)

    async def get_legal_hold(self, ask: GetLegalHold) -> LegalHoldGot:
        return await locks.get_legal_hold(self._site, ask)

    async def put_legal_hold(self, ask: PutLegalHold) -> LockPut:
        return await locks.put_legal_hold(self._site, ask)

    async def list_versions(self, ask: s3.ListVersions) -> VersionsListed:
        return await listing.list_versions(self._site, ask)

    async def create_multipart_upload(self, ask: s3.CreateMultipartUpload) -> s3.UploadCreated:
        return await multipart.create_upload(self._site, ask)

    async def upload_part(self, ask: s3.UploadPart, body: s3.Body) -> s3.PartUploaded:
        return await multipart.upload_part(self._site, ask, body)

    async def upload_part_copy(self, ask: s3.UploadPartCopy) -> s3.PartCopied:
        return await multipart.upload_part_copy(self._site, ask)

    async def complete_multipart_upload(self, ask: s3.CompleteMultipartUpload) -> s3.UploadCompleted:
        return await multipart.complete_upload(self._site, ask)

    async def abort_multipart_upload(self, ask: s3.AbortMultipartUpload) -> s3.Done:
        return await multipart.abort_upload(self._site, ask)

    async def list_parts(self, ask: s3.ListParts) -> s3.PartsListed:
        return await multipart.list_parts(self._site, ask)

    async def list_multipart_uploads(self, ask: s3.ListMultipartUploads) -> s3.UploadsListed:
        return await listing.list_uploads(self._site, ask)
