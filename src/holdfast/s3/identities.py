"""Who there is: accounts that own buckets, and the users, groups and roles in them.

An account has a canonical id (64 hex digits, in grants and owners) and a number (12 digits, in ARNs); its owner has every right in it.
Users, groups and roles have the rights that their policies give. Source: IAM User Guide, "IAM identifiers"; Amazon S3 User Guide,
"Identifying the owner of a bucket".
"""

import enum

from holdfast.model import Value

OWNER_ID = "5d8f6c1e0b7a49d3a2f4c68e91b03d7754e6a8c2f019bd3e7c5a60f48d12e9b7"
"""The canonical id of the root account: that of the configured key pair."""
OWNER_NAME = "holdfast"
OWNER_NUMBER = "000000000000"


class Account(Value, frozen=True):
    id: str
    """Canonical id."""
    number: str
    name: str
    """Display name; no two accounts have the same."""
    email: str = ""
    created_ms: int = 0

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.number}:root"


ROOT = Account(OWNER_ID, OWNER_NUMBER, OWNER_NAME)


class Kind(str, enum.Enum):
    USER = "user"
    GROUP = "group"
    ROLE = "role"


class Member(Value, frozen=True):
    """A user, a group or a role of an account."""

    id: str
    """Unique for ever, also when another one gets the name: AIDA, AGPA or AROA and letters."""
    account: str
    """Canonical id."""
    kind: Kind
    name: str
    created_ms: int = 0
    trust: str = ""
    """Of a role: the policy that says who may assume it."""


class AccessKey(Value, frozen=True):
    id: str
    account: str
    member: str
    """Id of the user whose key it is; empty for the account's owner."""
    secret: bytes
    """Sealed under the master key, with `context_of` its id."""
    enabled: bool = True
    created_ms: int = 0


class Identity(Value, frozen=True):
    """Somebody with all that their rights follow from: what a request is judged by."""

    account: Account
    member: Member | None = None
    """None: the account's owner."""
    policies: tuple[tuple[str, str], ...] = ()
    """Name and document of each that is attached to them or to a group of theirs; the name of a group's is `group/name`."""
    key: AccessKey | None = None


class Who(Value, frozen=True):
    """A member with what belongs to it, for lists."""

    member: Member
    groups: tuple[str, ...] = ()
    """Of a user: names of groups; of a group: names of users."""
    policies: tuple[str, ...] = ()
    """Names of the policies attached to it."""
    keys: tuple[AccessKey, ...] = ()


def context_of(access_key: str) -> bytes:
    """What a sealed secret is bound to."""
    return b"secret of access key " + access_key.encode()
