"""ListObjects, ListObjectsV2, ListObjectVersions and ListMultipartUploads: answered by the index alone.

Order is the UTF-8 byte order of the whole key. Source: Amazon S3 API Reference, ListObjectsV2, ListObjectVersions.
"""

from holdfast.copies.site import Site
from holdfast.s3 import (
    ListMultipartUploads,
    ListObjects,
    ListVersions,
    ObjectsListed,
    Page,
    UploadsListed,
    UploadsPage,
)
from holdfast.s3.versioning import VersionsListed, VersionsPage


async def list_objects(site: Site, ask: ListObjects, owner: str) -> ObjectsListed:
    """A page of keys and common prefixes."""
    if not ask.limit:
        await site.index.bucket(ask.bucket)
        return ObjectsListed(ask, Page((), (), ""), owner)
    page = await site.index.scan(
        ask.bucket, prefix=ask.prefix, delimiter=ask.delimiter, after=ask.after, limit=ask.limit
    )
    return ObjectsListed(ask, page, owner)


async def list_versions(site: Site, ask: ListVersions, owner: str) -> VersionsListed:
    """A page of versions: in a bucket that never kept any each object is its only version, `null`."""
    if not ask.limit:
        await site.index.bucket(ask.bucket)
        return VersionsListed(ask, VersionsPage((), (), "", ""), owner)
    page = await site.index.scan_versions(
        ask.bucket,
        prefix=ask.prefix,
        delimiter=ask.delimiter,
        key_marker=ask.key_marker,
        version_marker=ask.version_marker,
        limit=ask.limit,
    )
    return VersionsListed(ask, page, owner)


async def list_uploads(site: Site, ask: ListMultipartUploads, owner: str) -> UploadsListed:
    """A page of multipart uploads in progress."""
    if not ask.limit:
        await site.index.bucket(ask.bucket)
        return UploadsListed(ask, UploadsPage((), (), "", ""), owner)
    page = await site.index.uploads(
        ask.bucket,
        prefix=ask.prefix,
        delimiter=ask.delimiter,
        key_marker=ask.key_marker,
        upload_marker=ask.upload_marker,
        limit=ask.limit,
    )
    return UploadsListed(ask, page, owner)
