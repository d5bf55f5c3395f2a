"""ListObjects, ListObjectsV2, ListObjectVersions and ListMultipartUploads: answered by the index alone.

Order is the UTF-8 byte order of the whole key. Source: Amazon S3 API Reference, ListObjectsV2, ListObjectVersions.
"""

from collections.abc import Iterable

from holdfast.copies.site import Site
from holdfast.model import Bucket, Version
from holdfast.s3 import (
    ListMultipartUploads,
    ListObjects,
    ListVersions,
    ObjectsListed,
    Page,
    UploadsListed,
    UploadsPage,
)
from holdfast.s3.sharing import ENFORCED, ownership_of
from holdfast.s3.versioning import VersionsListed, VersionsPage
from holdfast.store.sharing import names_of


async def list_objects(site: Site, ask: ListObjects) -> ObjectsListed:
    """A page of keys and common prefixes."""
    bucket = await site.index.bucket(ask.bucket)
    page = Page((), (), "")
    if ask.limit:
        page = await site.index.scan(
            ask.bucket, prefix=ask.prefix, delimiter=ask.delimiter, after=ask.after, limit=ask.limit
        )
    names = _names(site, bucket, (version for _, version in page.versions)) if ask.fetch_owner or not ask.v2 else {}
    return ObjectsListed(ask, page, bucket.owner, names)


async def list_versions(site: Site, ask: ListVersions) -> VersionsListed:
    """A page of versions: in a bucket that never kept any each object is its only version, `null`."""
    bucket = await site.index.bucket(ask.bucket)
    page = VersionsPage((), (), "", "")
    if ask.limit:
        page = await site.index.scan_versions(
            ask.bucket,
            prefix=ask.prefix,
            delimiter=ask.delimiter,
            key_marker=ask.key_marker,
            version_marker=ask.version_marker,
            limit=ask.limit,
        )
    names = _names(site, bucket, (entry.version for entry in page.entries))
    return VersionsListed(ask, page, bucket.owner, names)


async def list_uploads(site: Site, ask: ListMultipartUploads) -> UploadsListed:
    """A page of multipart uploads in progress."""
    bucket = await site.index.bucket(ask.bucket)
    page = UploadsPage((), (), "", "")
    if ask.limit:
        page = await site.index.uploads(
            ask.bucket,
            prefix=ask.prefix,
            delimiter=ask.delimiter,
            key_marker=ask.key_marker,
            upload_marker=ask.upload_marker,
            limit=ask.limit,
        )
    writers = () if ownership_of(bucket) == ENFORCED else (upload.marks.owner for upload in page.uploads)
    return UploadsListed(ask, page, bucket.owner, names_of(site, {bucket.owner, *writers} - {""}))


def _names(site: Site, bucket: Bucket, versions: Iterable[Version]) -> dict[str, str]:
    """Display names of everybody who owns something on a page: whoever is not in it owns nothing there."""
    writers = () if ownership_of(bucket) == ENFORCED else (version.marks.owner for version in versions)
    return names_of(site, {bucket.owner, *writers} - {""})
