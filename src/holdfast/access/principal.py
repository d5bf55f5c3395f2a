"""Who asks, ready to be judged: names as policies have them, and the policies that are attached.

Answers for what follows from an identity and a session. Pure. Invariant: nobody is `ANYBODY` but who did not sign.
"""

from typing import Final

from holdfast.access.policy import Asker, Policy, Sort, accepted
from holdfast.access.sessions import Session
from holdfast.model import Value
from holdfast.s3.identities import Identity, Kind

ANYBODY_ID: Final = "65a011a29cdf8ec533ec3d1ccaae921c"
"""The canonical id of who writes without a signature, as in S3."""

Named = tuple[tuple[str, Policy], ...]


class Principal(Value, frozen=True):
    asker: Asker
    kind: str
    """aws:PrincipalType: Account, User, AssumedRole or Anonymous."""
    name: str = ""
    """aws:username."""
    unique: str = ""
    """aws:userid."""
    policies: Named = ()
    """Those of the identity, each with its name."""
    session: Named = ()
    """Those that narrow the session."""

    @property
    def text(self) -> str:
        """For the log."""
        return self.asker.arn or "anonymous"

    @property
    def writer(self) -> str:
        """The canonical id of who owns what this principal writes."""
        return self.asker.canonical or ANYBODY_ID


ANYBODY: Final = Principal(Asker(), "Anonymous", unique="anonymous")


def principal_of(identity: Identity, session: Session | None = None) -> Principal:
    """An account's owner, a user, or a role that was assumed."""
    account, member = identity.account, identity.member
    narrowed = (("session policy", accepted(session.policy, Sort.IDENTITY)),) if session and session.policy else ()
    if member is None:
        asker = Asker(account.arn, "", account.number, account.id, owner=True)
        return Principal(asker, "Account", "", account.number, (), narrowed)
    policies = tuple((f"policy {name}", accepted(text, Sort.IDENTITY)) for name, text in identity.policies)
    arn = f"arn:aws:iam::{account.number}:{member.kind.value}/{member.name}"
    if member.kind is Kind.ROLE:
        assert session is not None, "a role has no keys of its own"
        taken = f"arn:aws:sts::{account.number}:assumed-role/{member.name}/{session.name}"
        asker = Asker(taken, arn, account.number, account.id)
        return Principal(asker, "AssumedRole", "", f"{member.id}:{session.name}", policies, narrowed)
    asker = Asker(arn, "", account.number, account.id)
    return Principal(asker, "User", member.name, member.id, policies, narrowed)
