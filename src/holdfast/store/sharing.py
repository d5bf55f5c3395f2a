"""Access control lists of buckets and objects, and whose things are.

Answers for keeping lists and for showing them. Who may see or change one, and what it may say, was decided before. Invariant: where the bucket's
owner owns every object, the list that is shown gives that owner everything and nobody else anything, whatever is kept.
Source: Amazon S3 API Reference, GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl.
"""

from collections.abc import Iterable

from holdfast.copies.site import Site
from holdfast.model import MarkChange, from_json, pack, to_json
from holdfast.s3.acl import Acl, AclGot, AclPut, GetAcl, Grant, PutAcl
from holdfast.s3.notices import GRANTED
from holdfast.s3.settings import setting
from holdfast.s3.sharing import ENFORCED, GetPolicyStatus, PolicyStatus, ownership_of
from holdfast.store.marking import mark
from holdfast.store.read import current


async def get_acl(site: Site, ask: GetAcl) -> AclGot:
    """The list of a bucket or an object. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
    bucket = await site.index.bucket(ask.bucket)
    owner, acl = bucket.owner, None
    enforced = ownership_of(bucket) == ENFORCED
    if ask.key:
        marks = (await current(site, ask.bucket, ask.key, ask.version_id)).marks
        if not enforced:
            owner = marks.owner or owner
            acl = from_json(marks.grants.encode(), Acl) if marks.grants else None
    elif not enforced:
        acl = setting(bucket, "acl", Acl)
    acl = acl or Acl((Grant(owner, "FULL_CONTROL"),))
    return AclGot(owner, acl, names_of(site, [owner, *(grant.grantee for grant in acl.grants)]))


async def put_acl(site: Site, ask: PutAcl) -> AclPut:
    """Keep the list that was resolved. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
    if ask.key:
        await current(site, ask.bucket, ask.key, ask.version_id)
    if ask.acl is None:
        return AclPut()
    if ask.key:
        grants = to_json(ask.acl).decode()
        await mark(site, ask.bucket, ask.key, ask.version_id, MarkChange(grants=grants), GRANTED)
    else:
        await site.index.configure(ask.bucket, "acl", pack(ask.acl))
    return AclPut()


async def get_policy_status(site: Site, ask: GetPolicyStatus) -> PolicyStatus:
    """Whether the policy makes the bucket public, which was judged before."""
    await site.index.bucket(ask.bucket)
    return PolicyStatus(ask.public)


def names_of(site: Site, canonical: Iterable[str]) -> dict[str, str]:
    """The display names of accounts by their canonical ids; empty for who is not known (any more)."""
    found = {one: site.index.identities.account(one) for one in set(canonical)}
    return {one: account.name if account is not None and account.id == one else "" for one, account in found.items()}
