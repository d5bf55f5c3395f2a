"""The tags of a version: marks in the index, changed in place, which no grid needs to serve its bytes.

Invariant: a change of tags makes no new version and no debt.
"""

from holdfast.copies.site import Site
from holdfast.model import MarkChange
from holdfast.s3.notices import TAGGED, UNTAGGED
from holdfast.s3.tagging import (
    DeleteObjectTagging,
    GetObjectTagging,
    ObjectTags,
    PutObjectTagging,
    TagsDeleted,
    TagsPut,
)
from holdfast.store.marking import mark
from holdfast.store.read import current


async def get_tags(site: Site, ask: GetObjectTagging) -> ObjectTags:
    """The tags of a version. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
    version = await current(site, ask.bucket, ask.key, ask.version_id)
    return ObjectTags(version.version_id, version.marks.tags)


async def put_tags(site: Site, ask: PutObjectTagging) -> TagsPut:
    """Give a version these tags and no others. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
    return TagsPut(await _mark(site, ask, ask.tags, TAGGED))


async def delete_tags(site: Site, ask: DeleteObjectTagging) -> TagsDeleted:
    """Take all tags of a version away. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
    return TagsDeleted(await _mark(site, ask, {}, UNTAGGED))


async def _mark(site: Site, ask: PutObjectTagging | DeleteObjectTagging, tags: dict[str, str], event: str) -> str:
    """Change the tags, tell it as this event, and return the version's id."""
    return (await mark(site, ask.bucket, ask.key, ask.version_id, MarkChange(tags=tags), event)).version_id
