"""The operations on buckets. All of them are answered by the index alone; a bucket is nothing in a grid."""

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.model import Bucket, pack
from holdfast.s3 import (
    BucketCreated,
    BucketHead,
    BucketsListed,
    CreateBucket,
    DeleteBucket,
    Done,
    GetBucketLocation,
    HeadBucket,
    ListBuckets,
    Location,
)
from holdfast.s3.locks import ObjectLock
from holdfast.s3.tagging import Tags
from holdfast.s3.versioning import Versioning
from holdfast.store.sharing import names_of


async def list_buckets(site: Site, ask: ListBuckets, owner: str, region: str) -> BucketsListed:
    """The buckets of an account in order of their names, or a page of them. All are in the region of the endpoint."""
    owner = ask.owner or owner
    if ask.region not in ("", region):
        return BucketsListed((), owner, ask.prefix, "", names_of(site, [owner]))
    limit = None if ask.limit is None else ask.limit + 1
    found = await site.index.buckets(prefix=ask.prefix, after=ask.after, limit=limit, owner=ask.owner)
    page = found if ask.limit is None else found[: ask.limit]
    more = page[-1].name if page and len(page) < len(found) else ""
    return BucketsListed(page, owner, ask.prefix, more, names_of(site, [owner]))


async def create_bucket(site: Site, ask: CreateBucket, owner: str, region: str) -> BucketCreated:
    """Make a bucket. Raises BucketAlreadyOwnedByYou, BucketAlreadyExists, InvalidLocationConstraint."""
    if ask.region and ask.region not in (region, "EU" if region == "eu-west-1" else region):
        raise S3Error(
            "InvalidLocationConstraint",
            f"This endpoint serves the region {region}; leave out the location constraint or name that one.",
            fields={"LocationConstraint": ask.region},
        )
    policy = site.policy_of(ask.bucket)
    settings = dict(ask.settings)
    if ask.tags:
        settings["tagging"] = pack(Tags(ask.tags))
    if ask.object_lock:
        settings |= {"versioning": pack(Versioning("Enabled")), "object-lock": pack(ObjectLock())}
    bucket = Bucket(ask.bucket, site.clock.now_ms(), policy, ask.owner or owner, ask.region, settings)
    await site.index.create_bucket(bucket)
    return BucketCreated(ask.bucket)


async def head_bucket(site: Site, ask: HeadBucket, region: str) -> BucketHead:
    """Whether the bucket is there."""
    bucket = await site.index.bucket(ask.bucket)
    return BucketHead(bucket.name, bucket.region or region)


async def delete_bucket(site: Site, ask: DeleteBucket) -> Done:
    """Remove an empty bucket; multipart uploads in progress end with it. Raises BucketNotEmpty."""
    await site.spool.release(await site.index.delete_bucket(ask.bucket))
    return Done()


async def get_bucket_location(site: Site, ask: GetBucketLocation, region: str) -> Location:
    """The bucket's region."""
    bucket = await site.index.bucket(ask.bucket)
    return Location(bucket.region or region)
