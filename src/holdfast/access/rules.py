"""What belongs to a request that is allowed: whose it makes what it writes, and what its settings must not say.

Answers for ownership, access control lists and public access block at the moment of a write. Invariant: nothing that the bucket's public access
block or ownership forbids reaches the store. Source: Amazon S3 User Guide, "Controlling ownership of objects", "Blocking public access".
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from holdfast import s3
from holdfast.access import acl as lists
from holdfast.access.actions import ACL_HEADERS
from holdfast.access.decide import Denied, decide
from holdfast.access.places import Sharing, shared
from holdfast.access.policy import Policy, Sort, read_policy
from holdfast.access.principal import Principal
from holdfast.access.publicity import is_public
from holdfast.access.question import Question, context_of
from holdfast.errors import S3Error
from holdfast.index.identities import Identities
from holdfast.model import Marks, pack, replace
from holdfast.s3.acl import Acl, AclAsk, PutAcl
from holdfast.s3.identities import Account, Kind
from holdfast.s3.settings import PutSetting
from holdfast.s3.sharing import (
    ENFORCED,
    PREFERRED,
    WRITER,
    BucketPolicy,
    GetPolicyStatus,
    OwnershipControls,
)

_OWNER_FULL: Final = "bucket-owner-full-control"
_HARMLESS: Final = ("", "private", _OWNER_FULL)
"""Canned lists that say what holds of a new bucket anyway."""
_NUMBER: Final = re.compile(r"[0-9]{12}|[0-9a-f]{64}", re.ASCII)


def check_owner_header(headers: Mapping[str, str], name: str, owner: str, account: Account | None) -> None:
    """Raises AccessDenied when the client expects the bucket to be somebody else's, named by number or canonical id."""
    expected = headers.get(name)
    if expected in (None, owner, account.number if account is not None else owner):
        return
    if not _NUMBER.fullmatch(str(expected)):
        raise S3Error("InvalidBucketOwnerAWSAccountID", fields={"ArgumentName": name})
    raise Denied(f"{name} is {expected!r}")


# --- before the body ---


def amended(ask: Any, who: Principal, question: Question, sharing: Sharing | None, identities: Identities) -> Any:
    """The request with what follows from who asks it."""
    match ask:
        case s3.ListBuckets():
            return replace(ask, owner=who.asker.canonical)
        case s3.CreateBucket():
            return _created(ask, who, question, identities)
        case s3.PutObject() | s3.CopyObject() | s3.CreateMultipartUpload():
            assert sharing is not None
            return _written(ask, who, question, sharing, identities)
        case GetPolicyStatus():
            assert sharing is not None
            if sharing.policy is None:
                raise S3Error("NoSuchBucketPolicy", fields={"BucketName": ask.bucket})
            return replace(ask, public=is_public(sharing.policy))
        case _:
            return ask


def _created(ask: s3.CreateBucket, who: Principal, question: Question, identities: Identities) -> s3.CreateBucket:
    """A bucket of its creator's account, with the ownership and the list that the headers say."""
    rule = question.headers.get("x-amz-object-ownership") or question.ownership
    if rule not in (ENFORCED, PREFERRED, WRITER):
        message = f"Invalid x-amz-object-ownership header: {rule}"
        raise S3Error("InvalidArgument", message, fields={"ArgumentName": "x-amz-object-ownership"})
    owner = who.asker.canonical
    settings: dict[str, bytes] = {}
    if rule != ENFORCED:
        settings["ownershipControls"] = pack(OwnershipControls(rule))
    wanted = lists.asked_by(question.headers)
    if wanted is not None:
        if rule == ENFORCED:
            if wanted.canned not in _HARMLESS or wanted.grants:
                raise S3Error("InvalidBucketAclWithObjectOwnership")
        else:
            found = lists.resolve(wanted, owner=owner, bucket_owner=owner, account_of=identities.account)
            if not lists.is_private(found, owner):
                settings["acl"] = pack(found)
    return replace(ask, owner=owner, settings={**ask.settings, **settings})


def _written(ask: Any, who: Principal, question: Question, sharing: Sharing, identities: Identities) -> Any:
    """An object with its owner and its list in its marks."""
    wanted = None
    if not ACL_HEADERS.isdisjoint(question.headers):
        wanted = lists.asked_by(question.headers)
    if sharing.enforced:
        if wanted is not None:
            _check_enforced(wanted, sharing.bucket.owner, identities, writer=who.writer)
        return ask
    owner = who.writer
    if sharing.ownership == PREFERRED and wanted is not None and wanted.canned == _OWNER_FULL:
        owner = sharing.bucket.owner
    grants = ""
    if wanted is not None:
        found = lists.resolve(wanted, owner=owner, bucket_owner=sharing.bucket.owner, account_of=identities.account)
        _check_block(sharing, found)
        grants = "" if lists.is_private(found, owner) else lists.to_text(found)
    mark = "" if owner == sharing.bucket.owner else owner
    return replace(ask, marks=replace(ask.marks, owner=mark, grants=grants))


def _check_enforced(wanted: AclAsk, owner: str, identities: Identities, *, writer: str = "") -> None:
    """Where lists are off, only one that says what holds anyway is accepted: that the bucket's owner has full control.

    `private` says so of what the bucket's owner is the `writer` of.
    """
    if wanted.grants:
        found = lists.resolve(wanted, owner=owner, bucket_owner=owner, account_of=identities.account)
        if lists.is_private(found, owner):
            return
    elif wanted.canned == _OWNER_FULL or (wanted.canned == "private" and writer == owner):
        return
    raise S3Error("AccessControlListNotSupported")


def _check_block(sharing: Sharing, acl: Acl) -> None:
    if sharing.block.block_acls and lists.is_public(acl):
        raise Denied("public access control lists are blocked")


# --- after the body ---


def filled(
    ask: Any, who: Principal, question: Question, sharing: Sharing | None, marks: Marks, identities: Identities
) -> Any:
    """The request with what its body says judged. `marks` are those of the object of a PutObjectAcl."""
    if sharing is None:
        return ask
    match ask:
        case PutSetting(name="policy"):
            _check_policy(ask.value, who, question, sharing, identities)
        case PutSetting(name="ownershipControls"):
            if ask.value.rule == ENFORCED and not lists.is_private(sharing.acl, sharing.bucket.owner):
                raise S3Error("InvalidBucketAclWithObjectOwnership")
        case PutAcl():
            return _listed(ask, sharing, marks, identities)
        case _:
            pass
    return ask


def _listed(ask: PutAcl, sharing: Sharing, marks: Marks, identities: Identities) -> PutAcl:
    bucket_owner = sharing.bucket.owner
    if sharing.enforced:
        _check_enforced(ask.wanted, bucket_owner, identities)
        return ask
    owner = (marks.owner or bucket_owner) if ask.key else bucket_owner
    found = lists.resolve(ask.wanted, owner=owner, bucket_owner=bucket_owner, account_of=identities.account)
    _check_block(sharing, found)
    return replace(ask, acl=found)


def _check_policy(
    value: BucketPolicy, who: Principal, question: Question, sharing: Sharing, identities: Identities
) -> None:
    """Raises MalformedPolicy for what is not of this bucket or of nobody, AccessDenied for what is blocked."""
    policy = read_policy(value.text, Sort.BUCKET, sharing.bucket.name)
    _check_principals(policy, identities)
    if sharing.block.block_policy and is_public(policy):
        raise Denied("public policies are blocked")
    if question.headers.get("x-amz-confirm-remove-self-bucket-access", "").lower() != "true" and not who.asker.owner:
        context = context_of(question, who, identities.account(sharing.bucket.owner))
        after = replace(sharing, policy=policy)
        action, resource = "s3:PutBucketPolicy", f"arn:aws:s3:::{sharing.bucket.name}"
        if not decide(who, action, resource, context, shared(after, who, action)).allowed:
            raise Denied("the policy would keep its own author from changing it")


def _check_principals(policy: Policy, identities: Identities) -> None:
    """Whom a policy names must be there. Raises MalformedPolicy."""
    for statement in policy.statements:
        named = statement.principals
        there = all(map(identities.account, named.canonical | named.accounts)) and all(
            _exists(arn, identities) for arn in named.arns
        )
        if not there:
            raise S3Error("MalformedPolicy", "Invalid principal in policy")


def _exists(arn: str, identities: Identities) -> bool:
    if not arn.startswith("arn:"):
        return True  # A service, or somebody of an identity provider: nobody here to be looked up.
    _, _, _, _, number, rest = arn.split(":", 5)
    kind, _, name = rest.partition("/")
    if kind == "assumed-role":
        kind, name = "role", name.partition("/")[0]
    return identities.by_name(number, Kind(kind), name.rpartition("/")[2]) is not None
