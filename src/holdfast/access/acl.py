"""Access control lists: what a client asks for, what it comes to, and what it lets whom do.

Answers for headers, canned lists and the meaning of grants. Pure: who has which e-mail address is asked of its caller. Invariant: every list that
comes out of here names grantees that exist, the owner with FULL_CONTROL where the client did not leave it out in a document of its own.
Source: Amazon S3 User Guide, "Access control list (ACL) overview".
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from holdfast.errors import S3Error
from holdfast.limits import ACL_GRANTS
from holdfast.model import from_json, to_json
from holdfast.s3.acl import (
    ALL_USERS,
    AUTHENTICATED,
    GROUPS,
    LOG_DELIVERY,
    PERMISSIONS,
    Acl,
    AclAsk,
    Grant,
    GrantAsk,
)
from holdfast.s3.identities import Account

AccountOf = Callable[[str], Account | None]
"""By canonical id or e-mail address."""

_FULL: Final = "FULL_CONTROL"
_HEADERS: Final = {
    "x-amz-grant-read": "READ",
    "x-amz-grant-write": "WRITE",
    "x-amz-grant-read-acp": "READ_ACP",
    "x-amz-grant-write-acp": "WRITE_ACP",
    "x-amz-grant-full-control": _FULL,
}
_CANNED: Final[Mapping[str, tuple[Grant, ...]]] = {
    "private": (),
    "public-read": (Grant(ALL_USERS, "READ"),),
    "public-read-write": (Grant(ALL_USERS, "READ"), Grant(ALL_USERS, "WRITE")),
    "authenticated-read": (Grant(AUTHENTICATED, "READ"),),
    "aws-exec-read": (),
    "log-delivery-write": (Grant(LOG_DELIVERY, "WRITE"), Grant(LOG_DELIVERY, "READ_ACP")),
}
_OF_BUCKET_OWNER: Final = {"bucket-owner-read": "READ", "bucket-owner-full-control": _FULL}
CANNED: Final = frozenset({*_CANNED, *_OF_BUCKET_OWNER})
_GRANTEE: Final = re.compile(r"\s*(id|uri|emailAddress)\s*=\s*(?:\"([^\"]*)\"|([^\",\s]+))\s*(?:,|$)", re.IGNORECASE)
_KINDS: Final = {"id": "id", "uri": "uri", "emailaddress": "emailAddress"}

ON_BUCKET: Final[Mapping[str, str]] = {
    "s3:ListBucket": "READ",
    "s3:ListBucketVersions": "READ",
    "s3:ListBucketMultipartUploads": "READ",
    "s3:PutObject": "WRITE",
    "s3:DeleteObject": "WRITE",
    "s3:GetBucketAcl": "READ_ACP",
    "s3:PutBucketAcl": "WRITE_ACP",
}
"""Which permission in a bucket's list an action needs."""
ON_OBJECT: Final[Mapping[str, str]] = {
    "s3:GetObject": "READ",
    "s3:GetObjectVersion": "READ",
    "s3:GetObjectAcl": "READ_ACP",
    "s3:GetObjectVersionAcl": "READ_ACP",
    "s3:PutObjectAcl": "WRITE_ACP",
    "s3:PutObjectVersionAcl": "WRITE_ACP",
}
"""The same of an object's."""


def asked_by(headers: Mapping[str, str]) -> AclAsk | None:
    """The list that headers ask for; None when they say nothing. Raises InvalidArgument, InvalidRequest."""
    canned = headers.get("x-amz-acl", "")
    grants = tuple(
        grant
        for name, permission in _HEADERS.items()
        if name in headers
        for grant in _grants(headers[name], permission, name)
    )
    if canned and canned not in CANNED:
        raise _invalid("x-amz-acl", canned, "The canned ACL is not known.")
    if canned and grants:
        raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    return AclAsk(canned, grants) if canned or grants else None


def _grants(text: str, permission: str, header: str) -> list[GrantAsk]:
    found: list[GrantAsk] = []
    at = 0
    while at < len(text):
        match = _GRANTEE.match(text, at)
        if match is None:
            raise _invalid(header, text, "Argument format not recognized")
        found.append(GrantAsk(_KINDS[match[1].lower()], match[2] if match[2] is not None else match[3], permission))
        at = match.end()
    return found


def resolve(wanted: AclAsk, *, owner: str, bucket_owner: str, account_of: AccountOf) -> Acl:
    """The list that a client means, for something of `owner` (both are canonical ids). Their order says nothing; what an owner has
    themselves stands behind what they give, as clients of other servers expect it.

    Raises InvalidArgument (unknown id or group), UnresolvableGrantByEmailAddress, MalformedACLError, AccessDenied (another owner).
    """
    if wanted.owner and wanted.owner != owner:
        raise S3Error("AccessDenied", detail="the document names another owner")
    if wanted.canned:
        to_owner = _OF_BUCKET_OWNER.get(wanted.canned)
        beside = (Grant(bucket_owner, to_owner),) if to_owner and bucket_owner != owner else ()
        return Acl((*_CANNED.get(wanted.canned, ()), Grant(owner, _FULL), *beside))
    if len(wanted.grants) > ACL_GRANTS:
        raise S3Error("MalformedACLError", detail=f"more than {ACL_GRANTS} grants")
    found = [Grant(_grantee(grant, account_of), grant.permission) for grant in wanted.grants]
    return Acl(tuple(sorted(found, key=lambda grant: grant.grantee == owner)))


def _grantee(grant: GrantAsk, account_of: AccountOf) -> str:
    if grant.permission not in PERMISSIONS:
        raise S3Error("MalformedACLError", detail=f"the permission {grant.permission!r}")
    if grant.kind == "uri":
        if grant.grantee not in GROUPS:
            raise _invalid("uri", grant.grantee, "Invalid group uri")
        return grant.grantee
    account = account_of(grant.grantee)
    if grant.kind == "emailAddress":
        if account is None or account.email != grant.grantee:
            raise S3Error("UnresolvableGrantByEmailAddress", fields={"Email": grant.grantee})
        return account.id
    if account is None or account.id != grant.grantee:
        raise _invalid("id", grant.grantee, "Invalid id")
    return account.id


def _invalid(name: str, value: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, fields={"ArgumentName": name, "ArgumentValue": value})


def private(owner: str) -> Acl:
    """The list of what nobody shared."""
    return Acl((Grant(owner, _FULL),))


def is_private(acl: Acl, owner: str) -> bool:
    """Whether it gives its owner everything and nobody anything."""
    return set(acl.grants) == {Grant(owner, _FULL)}


def is_public(acl: Acl) -> bool:
    """Whether it gives anything to everybody, or to everybody who has any account."""
    return any(grant.grantee in (ALL_USERS, AUTHENTICATED) for grant in acl.grants)


def grants(acl: Acl, permission: str, canonical: str, *, public: bool = True, own: bool = True) -> bool:
    """Whether it lets an account do what the permission covers; nobody's `canonical` id is empty.

    Without `public`, grants to everybody do not count; without `own`, only those do.
    """
    meant = {canonical} if canonical and own else set()
    if public:
        meant.add(ALL_USERS)
        if canonical:
            meant.add(AUTHENTICATED)
    return any(grant.grantee in meant and grant.permission in (permission, _FULL) for grant in acl.grants)


def to_text(acl: Acl) -> str:
    """As `Marks.grants` has it."""
    return to_json(acl).decode()


def from_text(text: str, owner: str) -> Acl:
    """What `to_text` wrote; of nothing, a private one."""
    return from_json(text.encode(), Acl) if text else private(owner)
