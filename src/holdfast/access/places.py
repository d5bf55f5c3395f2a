"""What a bucket says of who may reach it, and what its objects add.

Answers for policy, access control lists, ownership and public access block as one value, and for which of them speak of an action. Pure.
Invariant: where the bucket's owner owns every object, no list grants anything.
"""

from typing import Final

from holdfast.access import acl as lists
from holdfast.access.acl import ON_BUCKET, ON_OBJECT
from holdfast.access.decide import Shared
from holdfast.access.policy import Policy, Sort, accepted
from holdfast.access.principal import Principal
from holdfast.access.publicity import is_public
from holdfast.model import UNMARKED, Bucket, Marks, Value
from holdfast.s3.acl import Acl
from holdfast.s3.settings import setting
from holdfast.s3.sharing import ENFORCED, BucketPolicy, PublicAccessBlock, ownership_of

SHARING: Final = frozenset({"policy", "acl", "ownershipControls", "publicAccessBlock"})
"""The settings that this is made of."""
_OF_CONTENT: Final = frozenset({*ON_OBJECT, "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"})
"""What is up to the object's owner; all else is up to the bucket's, tags among it."""
OF_UPLOAD: Final = frozenset({"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"})
"""What is up to whoever began an upload, too."""
_OPEN: Final = PublicAccessBlock()


class Sharing(Value, frozen=True):
    """A bucket, as far as it says who may reach it."""

    bucket: Bucket
    ownership: str
    acl: Acl
    policy: Policy | None
    block: PublicAccessBlock

    @property
    def enforced(self) -> bool:
        return self.ownership == ENFORCED


def sharing_of(bucket: Bucket) -> Sharing:
    """What the settings of a bucket say."""
    policy = setting(bucket, "policy", BucketPolicy)
    return Sharing(
        bucket,
        ownership_of(bucket),
        setting(bucket, "acl", Acl) or lists.private(bucket.owner),
        None if policy is None else accepted(policy.text, Sort.BUCKET),
        setting(bucket, "publicAccessBlock", PublicAccessBlock) or _OPEN,
    )


def asks_for_object(sharing: Sharing, who: Principal, action: str) -> bool:
    """Whether the decision depends on the object that is there."""
    if not sharing.enforced and action in _OF_CONTENT:
        return True
    named = (*who.policies, *who.session)
    return any(policy.tagged for policy in ([sharing.policy] if sharing.policy else [])) or any(
        policy.tagged for _, policy in named
    )


def of_writer(sharing: Sharing, who: Principal) -> Shared:
    """What an object says that `who` may write, and is about to, where lists are on: that it is theirs."""
    owner, told = who.writer, "whoever writes an object owns it"
    return Shared(owner, sharing.policy, told, foreign=owner != sharing.bucket.owner)


def shared(sharing: Sharing, who: Principal, action: str, marks: Marks = UNMARKED) -> Shared:
    """What the resource of an action says; `marks` are those of the object, or of the upload, when it is there and counts."""
    bucket, canonical = sharing.bucket, who.asker.canonical
    owner = bucket.owner
    policy = sharing.policy
    restricted = sharing.block.restrict_buckets and policy is not None and is_public(policy)
    if sharing.enforced:
        return Shared(owner, policy, restricted=restricted)
    if action in _OF_CONTENT and marks.owner:
        owner = marks.owner
    if action in ON_OBJECT:
        acl, permission = lists.from_text(marks.grants, owner), ON_OBJECT[action]
    else:
        acl, permission = sharing.acl, ON_BUCKET.get(action, "")
    public = not sharing.block.ignore_acls
    granted = bool(permission) and lists.grants(acl, permission, canonical, public=public)
    everybody = granted and public and lists.grants(acl, permission, canonical, own=False)
    told = f"the access control list grants {permission}" if granted else ""
    if action in OF_UPLOAD and canonical and marks.owner == canonical:
        told = "the upload is theirs"
    return Shared(owner, policy, told, everybody, restricted, foreign=owner != bucket.owner)
