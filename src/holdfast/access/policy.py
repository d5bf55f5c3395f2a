"""Policy documents: read, checked, and asked about one action.

Answers for what a bucket's policy, an identity's policy and a role's trust policy may say, with S3's messages for what they may not, and for
which of their statements speak of a request. Pure. Invariant: an explicit deny outweighs every allow, and silence allows nothing.
Source: IAM User Guide, "IAM JSON policy reference", "Policy evaluation logic"; Amazon S3 User Guide, "Bucket policies".
"""

import enum
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from holdfast.access.actions import BUCKET_ACTIONS, OBJECT_ACTIONS
from holdfast.access.conditions import EXISTING_TAG, Condition, holds, malformed, read_conditions
from holdfast.access.patterns import Context, matches
from holdfast.limits import POLICY_BYTES
from holdfast.model import Value

NEW = "2012-10-17"
_VERSIONS = (NEW, "2008-10-17")
_NUMBER = re.compile(r"[0-9]{12}", re.ASCII)
_PERSON = re.compile(
    r"arn:aws:(?:iam::[0-9]{12}:(?:root|(?:user|role)/[\w+=,.@/-]+)|sts::[0-9]{12}:assumed-role/[\w+=,.@/-]+)", re.ASCII
)
_CANONICAL = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_FIELDS = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)
_S3_ARN = "arn:aws:s3:::"


class Sort(enum.Enum):
    """What a document is attached to."""

    BUCKET = "bucket"
    IDENTITY = "identity"
    TRUST = "trust"


class Asker(Value, frozen=True):
    """Who asks, as policies name them."""

    arn: str = ""
    """Empty for anybody, who did not sign."""
    also: str = ""
    """Of a session, the ARN of its role."""
    account: str = ""
    """The account's number."""
    canonical: str = ""
    """Its canonical id."""
    owner: bool = False
    """The account's owner."""


class Principals(Value, frozen=True):
    everyone: bool = False
    arns: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    """Numbers."""
    canonical: frozenset[str] = frozenset()


class Statement(Value, frozen=True):
    name: str
    """Its Sid, or its place: `#1`."""
    allow: bool
    principals: Principals
    actions: tuple[str, ...]
    """In lower case."""
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]
    other_principals: bool = False
    """It is said who is not meant; likewise below."""
    other_actions: bool = False
    other_resources: bool = False


class Policy(Value, frozen=True):
    version: str
    statements: tuple[Statement, ...]
    tagged: bool
    """Some condition is on the tags of the object that is there."""


class Effect(enum.Enum):
    """What a policy says of an action, the stronger the later."""

    SILENT = 0
    DELEGATES = 1
    """It allows an account to let its own users do it."""
    ALLOWS = 2
    DENIES = 3


class Word(Value, frozen=True):
    """What a policy says, and which statement."""

    effect: Effect
    statement: str = ""


SILENCE = Word(Effect.SILENT)


# --- reading ---


def read_policy(text: str, sort: Sort, bucket: str = "") -> Policy:
    """The policy that a document is. With a `bucket`, its resources must be that bucket's. Raises MalformedPolicy."""
    if len(text.encode("utf-8", "surrogatepass")) > POLICY_BYTES:
        raise malformed(f"The policy exceeds the maximum allowed document size of {POLICY_BYTES} bytes.")
    root = _json(text)
    unknown = root.keys() - {"Version", "Id", "Statement"}
    if unknown:
        raise malformed(f"Unknown field {min(unknown)}")
    version = root.get("Version", _VERSIONS[1])
    if version not in _VERSIONS:
        raise malformed("The policy must contain a valid version string")
    if not isinstance(root.get("Id", ""), str):
        raise malformed("Invalid policy syntax.")
    if "Statement" not in root:
        raise malformed("Missing required field Statement")
    written = root["Statement"]
    listed = written if isinstance(written, list) else [written]
    if not listed:
        raise malformed("Could not parse the policy: Statement is empty!")
    statements = tuple(_statement(item, number, sort, bucket) for number, item in enumerate(listed, 1))
    sids = [statement.name for statement in statements]
    if len(set(sids)) < len(sids):
        raise malformed("Statement IDs (SID) in a single policy must be unique.")
    tagged = any(one.key.startswith(EXISTING_TAG) for each in statements for one in each.conditions)
    return Policy(version, statements, tagged)


@lru_cache(1024)
def accepted(text: str, sort: Sort) -> Policy:
    """The same for a document that was accepted before."""
    return read_policy(text, sort)


def _json(text: str) -> dict[str, Any]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            raise malformed("Invalid policy syntax.")
        return found

    trouble = malformed("Policies must be valid JSON and the first byte must be '{'")
    if text[:1] != "{":
        raise trouble
    try:
        root: dict[str, Any] = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        raise trouble from None
    return root


def _statement(item: Any, number: int, sort: Sort, bucket: str) -> Statement:
    if not isinstance(item, dict):
        raise malformed("Invalid policy syntax.")
    unknown = item.keys() - _FIELDS
    if unknown:
        raise malformed(f"Unknown field {min(unknown)}")
    sid = item.get("Sid", "")
    if not isinstance(sid, str):
        raise malformed("Invalid policy syntax.")
    if "Effect" not in item:
        raise malformed("Missing required field Effect")
    if item["Effect"] not in ("Allow", "Deny"):
        raise malformed(f"Invalid effect: {item['Effect']}")
    principals = Principals()
    if sort is Sort.IDENTITY:
        if "Principal" in item or "NotPrincipal" in item:
            raise malformed("Policy document should not specify a principal.")
    else:
        principals = _principals(_one_of(item, "Principal"))
        if "NotPrincipal" in item and item["Effect"] == "Allow":
            raise malformed("NotPrincipal is not supported with the effect Allow.")
    actions = tuple(map(_action, _texts(_one_of(item, "Action"), "Policy has invalid action")))
    resources: tuple[str, ...] = ("*",)
    if sort is Sort.TRUST:
        if "Resource" in item or "NotResource" in item:
            raise malformed("Has prohibited field Resource")
    else:
        resources = _texts(_one_of(item, "Resource"), "Policy has invalid resource")
    statement = Statement(
        sid or f"#{number}",
        item["Effect"] == "Allow",
        principals,
        actions,
        resources,
        read_conditions(item["Condition"]) if "Condition" in item else (),
        "NotPrincipal" in item,
        "NotAction" in item,
        "NotResource" in item,
    )
    if sort is Sort.BUCKET:
        _check_bucket(statement, bucket)
    return statement


def _one_of(item: dict[str, Any], name: str) -> Any:
    """The element `name`, or the one that negates it."""
    if name in item and "Not" + name in item:
        raise malformed("Invalid policy syntax.")
    if name not in item and "Not" + name not in item:
        raise malformed(f"Missing required field {name}")
    return item[name] if name in item else item["Not" + name]


def _texts(given: Any, trouble: str) -> tuple[str, ...]:
    listed = given if isinstance(given, list) else [given]
    if not listed or not all(isinstance(text, str) and text for text in listed):
        raise malformed(trouble)
    return tuple(listed)


def _action(text: str) -> str:
    service, colon, name = text.partition(":")
    if text != "*" and (not colon or not service or not name):
        raise malformed("Policy has invalid action")
    return text.lower()


def _principals(given: Any) -> Principals:
    trouble = malformed("Invalid principal in policy")
    if given == "*":
        return Principals(everyone=True)
    if not isinstance(given, dict) or not given:
        raise trouble
    everyone, arns, accounts, canonical = False, set(), set(), set()
    for kind, listed in given.items():
        for text in _texts(listed, trouble.message):
            if kind in ("Service", "Federated"):
                arns.add(f"{kind}:{text}")  # Nobody who comes here is one.
            elif kind == "AWS" and text == "*":
                everyone = True
            elif kind == "AWS" and _NUMBER.fullmatch(text):
                accounts.add(text)
            elif kind == "AWS" and _PERSON.fullmatch(text):
                if text.endswith(":root"):
                    accounts.add(text.split(":")[4])
                else:
                    arns.add(text)
            elif kind == "CanonicalUser" and _CANONICAL.fullmatch(text):
                canonical.add(text)
            else:
                raise trouble
    return Principals(everyone, frozenset(arns), frozenset(accounts), frozenset(canonical))


def _check_bucket(statement: Statement, bucket: str) -> None:
    """The rules for a bucket's policy: S3's actions, on this bucket or what is in it, each on something it can act on."""
    known = BUCKET_ACTIONS | OBJECT_ACTIONS
    for action in statement.actions:
        if action != "*" and not any(matches(action, one) for one in known):
            raise malformed("Policy has invalid action")
    on_bucket = on_object = False
    for resource in statement.resources:
        name, slash, _ = resource.removeprefix(_S3_ARN).partition("/")
        if not resource.startswith(_S3_ARN) and resource != "*":
            raise malformed("Policy has invalid resource")
        if bucket and resource != "*" and not matches(name, bucket, {}):
            raise malformed("Policy has invalid resource")
        on_object |= bool(slash) or name.endswith("*")
        on_bucket |= not slash
    if statement.other_actions or statement.other_resources:
        return
    for action in statement.actions:
        fitting = (on_bucket and any(matches(action, one) for one in BUCKET_ACTIONS)) or (
            on_object and any(matches(action, one) for one in OBJECT_ACTIONS)
        )
        if not fitting:
            raise malformed("Action does not apply to any resource(s) in statement")


# --- asking ---


def ask(policies: Iterable[tuple[str, Policy]], who: Asker, action: str, resource: str, context: Context) -> Word:
    """What these policies, each with its name, say together. Principals are looked at where a statement names any."""
    found = SILENCE
    lower = action.lower()
    for name, policy in policies:
        for statement in policy.statements:
            if statement.allow and found.effect is Effect.ALLOWS:
                continue
            effect = _effect(statement, who)
            if effect.value > found.effect.value and _speaks(policy, statement, lower, resource, context):
                found = Word(effect, f"{name}, statement {statement.name}")
                if effect is Effect.DENIES:
                    return found
    return found


def _effect(statement: Statement, who: Asker) -> Effect:
    """What a statement would say to somebody, if it speaks of the rest."""
    named = statement.principals
    if named == _UNNAMED:
        return Effect.ALLOWS if statement.allow else Effect.DENIES
    direct = named.everyone or (bool(who.arn) and (who.arn in named.arns or who.also in named.arns))
    by_account = bool(who.arn) and (who.account in named.accounts or who.canonical in named.canonical)
    if statement.other_principals:
        meant = not (direct or by_account)
        return Effect.SILENT if not meant else Effect.ALLOWS if statement.allow else Effect.DENIES
    if not statement.allow:
        return Effect.DENIES if direct or by_account else Effect.SILENT
    if direct or (by_account and who.owner):
        return Effect.ALLOWS
    return Effect.DELEGATES if by_account else Effect.SILENT


_UNNAMED = Principals()


def _speaks(policy: Policy, statement: Statement, action: str, resource: str, context: Context) -> bool:
    if any(matches(one, action) for one in statement.actions) is statement.other_actions:
        return False
    known = context if policy.version == NEW else None
    if any(matches(one, resource, known) for one in statement.resources) is statement.other_resources:
        return False
    return all(holds(condition, context) for condition in statement.conditions)
