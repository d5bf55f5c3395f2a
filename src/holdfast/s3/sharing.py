"""The settings that say who may reach a bucket: policy, public access block, ownership controls.

Amazon S3 User Guide, "Policies and permissions in Amazon S3", "Blocking public access to your Amazon S3 storage", "Controlling
ownership of objects and disabling ACLs for your bucket".
"""

from holdfast.model import Bucket, Value
from holdfast.s3.settings import setting

ENFORCED = "BucketOwnerEnforced"
PREFERRED = "BucketOwnerPreferred"
WRITER = "ObjectWriter"


class BucketPolicy(Value, frozen=True):
    """The setting `policy`: the document as the client wrote it, which `access.policy` has accepted."""

    text: str


class PublicAccessBlock(Value, frozen=True):
    """The setting `publicAccessBlock`."""

    block_acls: bool = False
    ignore_acls: bool = False
    block_policy: bool = False
    restrict_buckets: bool = False


class OwnershipControls(Value, frozen=True):
    """The setting `ownershipControls`."""

    rule: str = ENFORCED
    """Empty: it was taken away, which leaves objects to their writers."""


class GetPolicyStatus(Value, frozen=True):
    bucket: str
    public: bool = False
    """Set by whoever judges the request."""


class PolicyStatus(Value, frozen=True):
    public: bool


def ownership_of(bucket: Bucket) -> str:
    """Whose the objects of a bucket are: ENFORCED, PREFERRED or WRITER."""
    found = setting(bucket, "ownershipControls", OwnershipControls)
    return ENFORCED if found is None else found.rule or WRITER
