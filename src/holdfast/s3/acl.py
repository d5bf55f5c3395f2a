"""Access control lists as values: grants, and the requests that read and write them.

Amazon S3 User Guide, "Access control list (ACL) overview"; API Reference, GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl.
"""

from holdfast.model import Value
from holdfast.s3 import Expected

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS = frozenset({ALL_USERS, AUTHENTICATED, LOG_DELIVERY})
PERMISSIONS = ("FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP")


class Grant(Value, frozen=True, array_like=True):
    grantee: str
    """A canonical id, or the URI of a group."""
    permission: str


class Acl(Value, frozen=True):
    """Resolved: every grantee is known. The setting `acl` of a bucket, and (as JSON) `Marks.grants` of a version."""

    grants: tuple[Grant, ...] = ()


class GrantAsk(Value, frozen=True):
    """As a client writes it."""

    kind: str
    """id, emailAddress or uri."""
    grantee: str
    permission: str


class AclAsk(Value, frozen=True):
    """Which list a client wants: a canned one, grants, or (both empty) none of its own."""

    canned: str = ""
    grants: tuple[GrantAsk, ...] = ()
    owner: str = ""
    """Whom the document names as owner."""


class GetAcl(Value, frozen=True):
    """Of a bucket, or with `key` of an object."""

    bucket: str
    key: str = ""
    version_id: str = ""


class PutAcl(Value, frozen=True):
    bucket: str
    key: str = ""
    version_id: str = ""
    wanted: AclAsk = AclAsk()
    acl: Acl | None = None
    """What `wanted` comes to; set by whoever judges the request. None: it stays as it is."""
    expected: Expected = Expected()
    """Of the body."""


class AclGot(Value, frozen=True):
    owner: str
    """Canonical id."""
    acl: Acl
    names: dict[str, str]
    """Display names by canonical id."""


class AclPut(Value, frozen=True):
    pass
