"""The decision on one action: what identity, session, bucket policy and access control list say together.

Pure. Invariant: denied unless something allows it, and denied whenever a policy denies it. Within an account one side is enough; across accounts
both must agree. Source: IAM User Guide, "Policy evaluation logic", "Cross-account policy evaluation logic".
"""

from typing import Final

from holdfast.access.patterns import Context
from holdfast.access.policy import SILENCE, Effect, Policy, ask
from holdfast.access.principal import Principal
from holdfast.errors import S3Error
from holdfast.model import Value

_OF_POLICY: Final = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
"""What a bucket's policy cannot take from the owner of its account."""


class Decision(Value, frozen=True):
    allowed: bool
    reason: str
    denied: bool = False
    """A policy denies it; otherwise what is not allowed is so because nothing allows it."""


class Denied(S3Error):
    """AccessDenied, by a decision; `detail` is its reason."""

    def __init__(self, reason: str) -> None:
        super().__init__("AccessDenied", detail=reason)


class Shared(Value, frozen=True):
    """What a resource has to say for itself."""

    owner: str
    """Canonical id of the account it belongs to; empty: it belongs to nobody yet."""
    policy: Policy | None = None
    """Of its bucket."""
    acl: str = ""
    """Which list grants the action, if one does."""
    acl_public: bool = False
    """It grants it to everybody."""
    restricted: bool = False
    """RestrictPublicBuckets holds: only the bucket's own account is let in."""
    foreign: bool = False
    """An object of another account than the bucket's: its bucket's policy can only deny."""


def decide(who: Principal, action: str, resource: str, context: Context, shared: Shared) -> Decision:
    """Whether `who` may do `action` to `resource` (an ARN), and why."""
    asker = who.asker
    own = ask(who.policies, asker, action, resource, context)
    narrow = ask(who.session, asker, action, resource, context) if who.session else None
    theirs = SILENCE
    if shared.policy is not None:
        theirs = ask((("bucket policy", shared.policy),), asker, action, resource, context)
        if asker.owner and asker.canonical == shared.owner and action in _OF_POLICY and theirs.effect is Effect.DENIES:
            theirs = SILENCE
    for word in (own, narrow, theirs):
        if word is not None and word.effect is Effect.DENIES:
            return Decision(False, f"denied by {word.statement}", denied=True)
    if narrow is not None and narrow.effect is not Effect.ALLOWS:
        return Decision(False, f"the session policy does not allow {action}")
    by_identity = "account owner" if asker.owner else own.statement if own.effect is Effect.ALLOWS else ""
    if not shared.owner or (asker.canonical and asker.canonical == shared.owner):
        return _within(by_identity, theirs.statement if theirs.effect is Effect.ALLOWS else "", action, shared)
    if shared.restricted:
        return Decision(False, "public access to the bucket is restricted")
    by_resource = shared.acl
    if theirs.effect in (Effect.ALLOWS, Effect.DELEGATES) and not shared.foreign:
        by_resource = theirs.statement if theirs.effect is Effect.ALLOWS or asker.arn else by_resource
    if not by_resource:
        return Decision(False, f"nothing of the bucket allows {action}")
    if not asker.arn:
        return Decision(True, by_resource)
    if not by_identity:
        return Decision(False, f"no policy of {who.text} allows {action}")
    return Decision(True, f"{by_identity} and {by_resource}")


def _within(by_identity: str, by_policy: str, action: str, shared: Shared) -> Decision:
    """The same account: one of them is enough."""
    reason = by_identity or by_policy or (shared.acl if shared.acl_public else "")
    return Decision(True, reason) if reason else Decision(False, f"nothing allows {action}")
