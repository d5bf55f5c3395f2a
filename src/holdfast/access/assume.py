"""Temporary credentials: who gets which, and for how long.

Answers for AssumeRole, GetSessionToken and GetCallerIdentity. Invariant: a session never may more than whom it stands for, nor longer than its
kind allows. Source: AWS STS API Reference.
"""

import re
from typing import Final

from holdfast.access.decide import Denied
from holdfast.access.guard import Guard
from holdfast.access.policy import Effect, Sort, accepted, ask, read_policy
from holdfast.access.principal import Principal
from holdfast.errors import S3Error
from holdfast.limits import ROLE_SESSION_S_MAX, SESSION_S, SESSION_S_MIN, USER_SESSION_S_MAX
from holdfast.s3.identities import Identity, Kind
from holdfast.s3.sts import (
    AssumeRole,
    Caller,
    Credentials,
    GetCallerIdentity,
    GetSessionToken,
    RoleAssumed,
    SessionBegun,
)

_ROLE: Final = re.compile(r"arn:aws:iam::([0-9]{12}):role/(?:[\w+=,.@/-]+/)?([\w+=,.@-]{1,64})", re.ASCII)
_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_ASSUME: Final = "sts:AssumeRole"


def assume(
    guard: Guard, who: Principal, asked: AssumeRole | GetSessionToken | GetCallerIdentity, *, temporary: bool
) -> RoleAssumed | SessionBegun | Caller:
    """Answer one of them; `temporary` says that the credentials of who asks are such already. Raises Denied, ValidationError,
    MalformedPolicyDocument."""
    match asked:
        case AssumeRole():
            return _assume_role(guard, who, asked)
        case GetSessionToken():
            return _session_token(guard, who, asked, temporary)
        case GetCallerIdentity():
            return Caller(who.asker.arn, who.unique, who.asker.account)


def _assume_role(guard: Guard, who: Principal, asked: AssumeRole) -> RoleAssumed:
    found = _ROLE.fullmatch(asked.role)
    if found is None:
        raise S3Error("ValidationError", f"{asked.role[:128]} is invalid")
    if not _NAME.fullmatch(asked.name):
        raise S3Error("ValidationError", "RoleSessionName must be 2 to 64 of letters, digits and +=,.@-_")
    seconds = _within(asked.seconds, SESSION_S, ROLE_SESSION_S_MAX)
    if asked.policy:
        try:
            read_policy(asked.policy, Sort.IDENTITY)
        except S3Error as trouble:
            raise S3Error("MalformedPolicyDocument", trouble.message) from trouble
    role = guard.index.identities.by_name(found[1], Kind.ROLE, found[2])
    if role is None:
        raise Denied(f"there is no role {asked.role}")
    _check_trust(who, role, asked)
    assert role.member is not None
    session, token = guard.sessions.begin(role.account.id, role.member.id, asked.name, seconds, asked.policy)
    arn = f"arn:aws:sts::{role.account.number}:assumed-role/{role.member.name}/{asked.name}"
    credentials = Credentials(session.access_key, session.secret, token, session.until_ms)
    return RoleAssumed(credentials, arn, f"{role.member.id}:{asked.name}")


def _check_trust(who: Principal, role: Identity, asked: AssumeRole) -> None:
    """The role must trust who asks; whom it trusts only by account, or from another account, a policy of their own must allow it, too."""
    assert role.member is not None
    context = {
        "aws:principalarn": (who.asker.also or who.asker.arn,),
        "aws:principalaccount": (who.asker.account,),
        "aws:principaltype": (who.kind,),
        "aws:userid": (who.unique,),
        **({"aws:username": (who.name,)} if who.name else {}),
        **({"sts:externalid": (asked.external_id,)} if asked.external_id else {}),
        "sts:rolesessionname": (asked.name,),
    }
    arn = f"arn:aws:iam::{role.account.number}:role/{role.member.name}"
    trusts = ask((("trust policy", accepted(role.member.trust, Sort.TRUST)),), who.asker, _ASSUME, arn, context)
    own = ask(who.policies, who.asker, _ASSUME, arn, context)
    narrow = ask(who.session, who.asker, _ASSUME, arn, context)
    for word in (trusts, own, narrow):
        if word.effect is Effect.DENIES:
            raise Denied(f"denied by {word.statement}")
    if trusts.effect is Effect.SILENT:
        raise Denied(f"the trust policy of the role does not allow {who.text}")
    if who.session and narrow.effect is not Effect.ALLOWS:
        raise Denied(f"the session policy does not allow {_ASSUME}")
    direct = trusts.effect is Effect.ALLOWS and who.asker.canonical == role.account.id
    if not direct and not who.asker.owner and own.effect is not Effect.ALLOWS:
        raise Denied(f"no policy of {who.text} allows {_ASSUME}")


def _session_token(guard: Guard, who: Principal, asked: GetSessionToken, temporary: bool) -> SessionBegun:
    if temporary:
        raise Denied("temporary credentials make no others by GetSessionToken")
    longest = SESSION_S if who.asker.owner else USER_SESSION_S_MAX
    seconds = min(_within(asked.seconds, USER_SESSION_S_MAX // 3, USER_SESSION_S_MAX), longest)
    member = "" if who.asker.owner else who.unique
    session, token = guard.sessions.begin(who.asker.canonical, member, "", seconds)
    return SessionBegun(Credentials(session.access_key, session.secret, token, session.until_ms))


def _within(asked: int | None, usual: int, longest: int) -> int:
    seconds = usual if asked is None else asked
    if not SESSION_S_MIN <= seconds <= longest:
        raise S3Error("ValidationError", f"DurationSeconds must be between {SESSION_S_MIN} and {longest}")
    return seconds
