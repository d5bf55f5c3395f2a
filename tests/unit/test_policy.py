"""Policies as tables: what may be written, what a statement means, and who wins when several speak."""

import json
import random
import re
from typing import Any

import pytest

from holdfast.access.conditions import OPERATORS
from holdfast.access.decide import Shared, decide
from holdfast.access.patterns import matches
from holdfast.access.policy import Asker, Effect, Policy, Sort, ask, read_policy
from holdfast.access.principal import ANYBODY, Principal
from holdfast.access.publicity import is_public
from holdfast.errors import S3Error
from holdfast.limits import POLICY_BYTES

NUMBER, OTHER, CANONICAL = "111122223333", "444455556666", "c" * 64
ALICE = Asker(f"arn:aws:iam::{NUMBER}:user/alice", "", NUMBER, CANONICAL)
OWNER = Asker(f"arn:aws:iam::{NUMBER}:root", "", NUMBER, CANONICAL, owner=True)
SESSION = Asker(f"arn:aws:sts::{NUMBER}:assumed-role/reader/s", f"arn:aws:iam::{NUMBER}:role/reader", NUMBER, CANONICAL)
STRANGER = Asker(f"arn:aws:iam::{OTHER}:user/eve", "", OTHER, "d" * 64)
NOBODY = Asker()
OBJECT, BUCKET = "arn:aws:s3:::photos/2024/a.jpg", "arn:aws:s3:::photos"


def statement(**more: Any) -> dict[str, Any]:
    usual = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*"}
    return {name: value for name, value in {**usual, **more}.items() if value is not None}


def policy(*statements: dict[str, Any], sort: Sort = Sort.BUCKET, version: str = "2012-10-17") -> Policy:
    return read_policy(json.dumps({"Version": version, "Statement": list(statements)}), sort, "photos")


# --- patterns ---


def test_patterns_mean_what_they_say() -> None:
    draw = random.Random(5)
    for _ in range(20_000):
        pattern = "".join(draw.choice("ab?*") for _ in range(draw.randrange(9)))
        text = "".join(draw.choice("ab\n") for _ in range(draw.randrange(12)))
        plain = "".join({"*": ".*", "?": "."}.get(char, char) for char in pattern)
        assert matches(pattern, text) is (re.fullmatch(plain, text, re.DOTALL) is not None), (pattern, text)


def test_a_pattern_made_to_cost_much_does_not() -> None:
    """Place by place this is 8 * 10^9 comparisons; a policy as large as may be, asked of a long header, stopped a worker for a second."""
    assert not matches("*" + "a?" * 2000 + "b*", "a" * 2_000_000)
    assert not matches("*" + "a?" * 2000 + "b", "a" * 2_000_000)


# --- what may be written ---

WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("", "first byte must be '{'"),
    "no object": ("[]", "first byte must be '{'"),
    "a blank in front": (' {"Statement": []}', "first byte must be '{'"),
    "cut": ('{"Statement": [', "first byte must be '{'"),
    "deep": ('{"Statement": ' + "[" * 9000, "first byte must be '{'"),
    "no statement": ("{}", "Missing required field Statement"),
    "none in it": ('{"Statement": []}', "Statement is empty"),
    "other version": ('{"Version": "2020-01-01", "Statement": [{}]}', "valid version string"),
    "unknown field": ('{"Statements": []}', "Unknown field Statements"),
    "twice": ('{"Statement": [], "Statement": []}', "Invalid policy syntax"),
    "a text": ('{"Statement": ["x"]}', "Invalid policy syntax"),
}
WRONG_STATEMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no effect": ({"Effect": None}, "Missing required field Effect"),
    "other effect": ({"Effect": "allow"}, "Invalid effect: allow"),
    "unknown field": ({"Resources": "x"}, "Unknown field Resources"),
    "no principal": ({"Principal": None}, "Missing required field Principal"),
    "both principals": ({"NotPrincipal": "*"}, "Invalid policy syntax"),
    "all but some allowed": ({"Principal": None, "NotPrincipal": {"AWS": NUMBER}}, "NotPrincipal is not supported"),
    "principal": ({"Principal": "arn:aws:iam::1:root"}, "Invalid principal in policy"),
    "principal without kind": ({"Principal": {}}, "Invalid principal in policy"),
    "principal with a star": ({"Principal": {"AWS": f"arn:aws:iam::{NUMBER}:user/*"}}, "Invalid principal in policy"),
    "principal of no account": ({"Principal": {"AWS": "12"}}, "Invalid principal in policy"),
    "principal of no kind": ({"Principal": {"User": "x"}}, "Invalid principal in policy"),
    "no action": ({"Action": None}, "Missing required field Action"),
    "empty action": ({"Action": []}, "Policy has invalid action"),
    "action": ({"Action": "s3:Fly"}, "Policy has invalid action"),
    "action of another service": ({"Action": "ec2:RunInstances"}, "Policy has invalid action"),
    "action without service": ({"Action": "GetObject"}, "Policy has invalid action"),
    "no resource": ({"Resource": None}, "Missing required field Resource"),
    "resource": ({"Resource": "photos/*"}, "Policy has invalid resource"),
    "another bucket": ({"Resource": "arn:aws:s3:::videos/*"}, "Policy has invalid resource"),
    "object action on a bucket": ({"Resource": BUCKET}, "Action does not apply to any resource"),
    "bucket action on objects": ({"Action": "s3:ListBucket"}, "Action does not apply to any resource"),
    "operator": ({"Condition": {"StringIs": {"aws:username": "x"}}}, "Invalid Condition type : StringIs"),
    "quantifier": ({"Condition": {"ForSome:StringEquals": {"aws:username": "x"}}}, "Invalid Condition type"),
    "null if exists": ({"Condition": {"NullIfExists": {"aws:username": "true"}}}, "Invalid Condition type"),
    "key": ({"Condition": {"StringEquals": {"s3:colour": "red"}}}, "invalid condition key"),
    "key without service": ({"Condition": {"StringEquals": {"username": "x"}}}, "invalid condition key"),
    "address": ({"Condition": {"IpAddress": {"aws:SourceIp": "300.1.1.1"}}}, "Invalid IP address in Conditions"),
    "number": ({"Condition": {"NumericLessThan": {"s3:max-keys": "ten"}}}, "Invalid value in Conditions"),
    "no number": ({"Condition": {"NumericLessThan": {"s3:max-keys": "NaN"}}}, "Invalid value in Conditions"),
    "date": ({"Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}, "Invalid value in Conditions"),
    "truth": ({"Condition": {"Bool": {"aws:SecureTransport": "maybe"}}}, "Invalid value in Conditions"),
    "condition": ({"Condition": []}, "Invalid policy syntax"),
    "value": ({"Condition": {"StringEquals": {"aws:username": {}}}}, "Invalid policy syntax"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_document_that_is_no_policy_is_told_why(name: str) -> None:
    text, message = WRONG[name]
    with pytest.raises(S3Error, match=r"^MalformedPolicy: ") as refused:
        read_policy(text, Sort.BUCKET)
    assert message in refused.value.message


@pytest.mark.parametrize("name", WRONG_STATEMENTS)
def test_a_statement_that_means_nothing_is_told_why(name: str) -> None:
    changes, message = WRONG_STATEMENTS[name]
    with pytest.raises(S3Error, match=r"^MalformedPolicy: ") as refused:
        policy(statement(**changes))
    assert message in refused.value.message


def test_a_policy_has_a_largest_size_and_its_statements_have_names_of_their_own() -> None:
    text = json.dumps({"Statement": [statement()]})
    read_policy(text[:-1] + " " * (POLICY_BYTES - len(text)) + "}", Sort.BUCKET)
    with pytest.raises(S3Error, match="maximum allowed document size"):
        read_policy(text[:-1] + " " * (POLICY_BYTES - len(text) + 1) + "}", Sort.BUCKET)
    with pytest.raises(S3Error, match="must be unique"):
        policy(statement(Sid="a"), statement(Sid="a"))


def test_policies_of_identities_and_of_trust_have_rules_of_their_own() -> None:
    own = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}
    policy(own, sort=Sort.IDENTITY)
    policy({"Effect": "Allow", "Principal": {"AWS": NUMBER}, "Action": "sts:AssumeRole"}, sort=Sort.TRUST)
    with pytest.raises(S3Error, match="should not specify a principal"):
        policy({**own, "Principal": "*"}, sort=Sort.IDENTITY)
    with pytest.raises(S3Error, match="prohibited field Resource"):
        policy(statement(Action="sts:AssumeRole"), sort=Sort.TRUST)


# --- patterns ---


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "", True), ("", "", True), ("", "a", False), ("a*", "a", True), ("a*", "ba", False), ("*a", "ba", True),
        ("a?c", "abc", True), ("a?c", "ac", False), ("?", "/", True), ("a*b*c", "a-b-b-c", True), ("a*b*c", "acb", False),
        ("*.jpg", "x.jpg.png", False), ("a*a", "a", False), ("*ab?", "aabb/ab1", True), ("*?", "", False),
        ("**", "x", True), ("x[ab]*", "xa", False), ("x[ab]*", "x[ab]1", True), ("*a*b*", "b-a", False),
        ("a.c", "abc", False), ("?*?", "a", False), ("?*?", "ab", True), ("*\n", "a\n", True),
    ],
)  # fmt: skip
def test_patterns_fit_whole_texts(pattern: str, text: str, fits: bool) -> None:
    assert matches(pattern, text) is fits


def test_a_hostile_pattern_costs_no_more_than_its_length() -> None:
    assert not matches("*a" * 5000 + "b", "a" * 1024)
    assert not matches("*a?" * 3000 + "b", "a" * 1024)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("home/${aws:username}/*", "home/al*ce/x", True),
        ("home/${aws:username}/*", "home/alice/x", False),
        ("home/${aws:UserName}/*", "home/al*ce/x", True),
        ("${aws:userid}/*", "/x", False),
        ("${aws:userid, 'all'}/*", "all/x", True),
        ("${s3:two}", "a", False),
        ("a${*}b", "a*b", True),
        ("a${*}b", "axb", False),
        ("${?}${$}", "?$", True),
        ("${open", "${open", True),
    ],
)
def test_variables_stand_for_text_and_never_for_wildcards(pattern: str, text: str, fits: bool) -> None:
    context = {"aws:username": ("al*ce",), "s3:two": ("a", "b")}
    assert matches(pattern, text, context) is fits


def test_an_old_policy_has_no_variables() -> None:
    terms = statement(Resource="arn:aws:s3:::photos/${aws:username}/*")
    context = {"aws:username": ("alice",)}
    for version, resource in (("2012-10-17", "alice"), ("2008-10-17", "${aws:username}")):
        made = policy(terms, version=version)
        found = ask([("p", made)], ALICE, "s3:GetObject", f"arn:aws:s3:::photos/{resource}/x", context)
        assert found.effect is Effect.ALLOWS


# --- conditions ---

CONDITIONS: list[tuple[str, str, Any, tuple[str, ...], bool]] = [
    ("StringEquals", "aws:username", "alice", ("alice",), True),
    ("StringEquals", "AWS:UserName", ["bob", "alice"], ("alice",), True),
    ("StringEquals", "aws:username", "al*", ("alice",), False),
    ("StringEquals", "aws:username", "alice", (), False),
    ("StringEqualsIfExists", "aws:username", "alice", (), True),
    ("StringEqualsIfExists", "aws:username", "alice", ("bob",), False),
    ("StringNotEquals", "aws:username", "alice", ("bob",), True),
    ("StringNotEquals", "aws:username", ["alice", "bob"], ("bob",), False),
    ("StringNotEquals", "aws:username", "alice", (), True),
    ("StringEqualsIgnoreCase", "aws:username", "ALICE", ("alice",), True),
    ("StringNotEqualsIgnoreCase", "aws:username", "ALICE", ("alice",), False),
    ("StringLike", "s3:prefix", "home/*", ("home/x",), True),
    ("StringLike", "s3:prefix", "home/?", ("home/xy",), False),
    ("StringNotLike", "s3:prefix", "home/*", ("tmp/x",), True),
    ("NumericEquals", "s3:max-keys", 10, ("10.0",), True),
    ("NumericNotEquals", "s3:max-keys", "10", ("11",), True),
    ("NumericLessThan", "s3:max-keys", "10", ("9",), True),
    ("NumericLessThan", "s3:max-keys", "10", ("10",), False),
    ("NumericLessThanEquals", "s3:max-keys", "10", ("10",), True),
    ("NumericGreaterThan", "s3:signatureAge", "600000", ("600001",), True),
    ("NumericGreaterThanEquals", "s3:max-keys", "10", ("9",), False),
    ("NumericLessThan", "s3:max-keys", "10", ("many",), False),
    ("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z", ("2021-01-01T00:00:00Z",), True),
    ("DateLessThan", "aws:CurrentTime", "2020-01-01", ("2021-01-01T00:00:00Z",), False),
    ("DateEquals", "aws:EpochTime", "1577836800", ("2020-01-01T00:00:00Z",), True),
    ("DateLessThanEquals", "aws:EpochTime", "2020-01-01T01:00:00+01:00", ("1577836800",), True),
    ("DateGreaterThanEquals", "aws:CurrentTime", "2020-01-01T00:00:00Z", ("2020-01-01T00:00:00Z",), True),
    ("DateNotEquals", "aws:CurrentTime", "2020-01-01T00:00:00Z", ("2020-01-01T00:00:00Z",), False),
    ("Bool", "aws:SecureTransport", True, ("true",), True),
    ("Bool", "aws:SecureTransport", "FALSE", ("false",), True),
    ("Bool", "aws:SecureTransport", "true", ("false",), False),
    ("BinaryEquals", "aws:userid", "QUJD", ("QUJD",), True),
    ("IpAddress", "aws:SourceIp", "203.0.113.0/24", ("203.0.113.7",), True),
    ("IpAddress", "aws:SourceIp", ["10.0.0.0/8", "203.0.113.7"], ("203.0.113.7",), True),
    ("IpAddress", "aws:SourceIp", "203.0.113.0/24", ("::ffff:203.0.113.7",), True),
    ("IpAddress", "aws:SourceIp", "2001:db8::/32", ("2001:db8::1",), True),
    ("IpAddress", "aws:SourceIp", "0.0.0.0/0", ("2001:db8::1",), False),
    ("NotIpAddress", "aws:SourceIp", "203.0.113.0/24", ("198.51.100.1",), True),
    ("ArnEquals", "aws:PrincipalArn", f"arn:aws:iam::{NUMBER}:user/*", (ALICE.arn,), True),
    ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/alice", (ALICE.arn,), True),
    ("ArnLike", "aws:PrincipalArn", "arn:*:user/alice", (ALICE.arn,), False),
    ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:user/alice", (ALICE.arn,), False),
    ("ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::*:user/bob", (ALICE.arn,), True),
    ("Null", "s3:VersionId", "true", (), True),
    ("Null", "s3:VersionId", "true", ("v",), False),
    ("Null", "s3:VersionId", False, ("v",), True),
    ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", ["a", "b"], ("b", "c"), True),
    ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", "a", ("b", "c"), False),
    ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", "a", (), False),
    ("ForAnyValue:StringNotEquals", "s3:RequestObjectTagKeys", "a", ("a", "b"), True),
    ("ForAllValues:StringLike", "s3:RequestObjectTagKeys", ["a*", "b"], ("ab", "b"), True),
    ("ForAllValues:StringLike", "s3:RequestObjectTagKeys", "a*", ("ab", "b"), False),
    ("ForAllValues:StringLike", "s3:RequestObjectTagKeys", "a*", (), True),
    ("ForAllValues:StringNotEquals", "s3:RequestObjectTagKeys", "a", ("a", "b"), False),
    ("StringEquals", "s3:ExistingObjectTag/colour", "red", ("red",), True),
    ("StringEquals", "aws:username", "${aws:userid}", ("AIDA",), True),
    ("StringLike", "aws:username", "${aws:userid}*", ("AIDA-x",), True),
]


@pytest.mark.parametrize(("operator", "key", "values", "have", "met"), CONDITIONS)
def test_conditions(operator: str, key: str, values: Any, have: tuple[str, ...], met: bool) -> None:
    made = policy(statement(Condition={operator: {key: values}}))
    context = {"aws:userid": ("AIDA",), key.lower(): have} if have else {"aws:userid": ("AIDA",)}
    if key == "aws:userid" and not have:
        context = {}
    found = ask([("p", made)], ALICE, "s3:GetObject", OBJECT, context)
    assert (found.effect is Effect.ALLOWS) is met


def test_every_operator_is_in_the_table_of_these_tests() -> None:
    used = {operator.rpartition(":")[2].removesuffix("IfExists") for operator, *_ in CONDITIONS}
    assert used == set(OPERATORS)


def test_all_conditions_of_a_statement_must_hold() -> None:
    block = {"StringEquals": {"aws:username": "alice"}, "Bool": {"aws:SecureTransport": "true"}}
    made = policy(statement(Condition=block))
    both = {"aws:username": ("alice",), "aws:securetransport": ("true",)}
    assert ask([("p", made)], ALICE, "s3:GetObject", OBJECT, both).effect is Effect.ALLOWS
    for key in both:
        less = {name: value for name, value in both.items() if name != key}
        assert ask([("p", made)], ALICE, "s3:GetObject", OBJECT, less).effect is Effect.SILENT


# --- statements ---

A, D, S, R = Effect.ALLOWS, Effect.DENIES, Effect.SILENT, Effect.DELEGATES
STATEMENTS: list[tuple[dict[str, Any], Asker, str, str, Effect]] = [
    ({}, NOBODY, "s3:GetObject", OBJECT, A),
    ({}, ALICE, "s3:getobject", OBJECT, A),
    ({}, ALICE, "s3:PutObject", OBJECT, S),
    ({}, ALICE, "s3:GetObject", "arn:aws:s3:::videos/a", S),
    ({}, ALICE, "s3:GetObject", BUCKET, S),
    ({"Action": ["s3:Put*", "s3:Get*"]}, ALICE, "s3:GetObjectAcl", OBJECT, A),
    ({"Action": "*"}, ALICE, "s3:GetObject", OBJECT, A),
    ({"Action": None, "NotAction": "s3:Get*"}, ALICE, "s3:GetObject", OBJECT, S),
    ({"Action": None, "NotAction": "s3:Get*"}, ALICE, "s3:PutObject", OBJECT, A),
    ({"Resource": None, "NotResource": "arn:aws:s3:::photos/2024/*"}, ALICE, "s3:GetObject", OBJECT, S),
    ({"Resource": None, "NotResource": "arn:aws:s3:::photos/2023/*"}, ALICE, "s3:GetObject", OBJECT, A),
    ({"Principal": {"AWS": "*"}}, NOBODY, "s3:GetObject", OBJECT, A),
    ({"Principal": {"AWS": ALICE.arn}}, ALICE, "s3:GetObject", OBJECT, A),
    ({"Principal": {"AWS": ALICE.arn}}, STRANGER, "s3:GetObject", OBJECT, S),
    ({"Principal": {"AWS": ALICE.arn}}, OWNER, "s3:GetObject", OBJECT, S),
    ({"Principal": {"AWS": [STRANGER.arn, ALICE.arn]}}, ALICE, "s3:GetObject", OBJECT, A),
    ({"Principal": {"AWS": SESSION.also}}, SESSION, "s3:GetObject", OBJECT, A),
    ({"Principal": {"AWS": SESSION.arn}}, SESSION, "s3:GetObject", OBJECT, A),
    ({"Principal": {"AWS": NUMBER}}, OWNER, "s3:GetObject", OBJECT, A),
    ({"Principal": {"AWS": NUMBER}}, ALICE, "s3:GetObject", OBJECT, R),
    ({"Principal": {"AWS": OWNER.arn}}, ALICE, "s3:GetObject", OBJECT, R),
    ({"Principal": {"AWS": NUMBER}}, NOBODY, "s3:GetObject", OBJECT, S),
    ({"Principal": {"CanonicalUser": CANONICAL}}, OWNER, "s3:GetObject", OBJECT, A),
    ({"Principal": {"CanonicalUser": CANONICAL}}, STRANGER, "s3:GetObject", OBJECT, S),
    ({"Principal": {"Service": "logging.s3.amazonaws.com"}}, ALICE, "s3:GetObject", OBJECT, S),
    ({"Effect": "Deny", "Principal": {"AWS": NUMBER}}, ALICE, "s3:GetObject", OBJECT, D),
    ({"Effect": "Deny"}, NOBODY, "s3:GetObject", OBJECT, D),
    ({"Effect": "Deny", "Principal": None, "NotPrincipal": {"AWS": ALICE.arn}}, ALICE, "s3:GetObject", OBJECT, S),
    ({"Effect": "Deny", "Principal": None, "NotPrincipal": {"AWS": ALICE.arn}}, STRANGER, "s3:GetObject", OBJECT, D),
    ({"Effect": "Deny", "Principal": None, "NotPrincipal": {"AWS": ALICE.arn}}, NOBODY, "s3:GetObject", OBJECT, D),
]


@pytest.mark.parametrize(("changes", "who", "action", "resource", "effect"), STATEMENTS)
def test_what_a_statement_says_of_a_request(
    changes: dict[str, Any], who: Asker, action: str, resource: str, effect: Effect
) -> None:
    found = ask([("p", policy(statement(**changes)))], who, action, resource, {})
    assert found.effect is effect
    assert found.statement == ("" if effect is S else "p, statement #1")


def test_a_deny_wins_wherever_it_stands_and_is_named() -> None:
    deny, allow = statement(Effect="Deny", Sid="No"), statement(Sid="Yes")
    for statements in ((deny, allow), (allow, deny)):
        assert ask([("p", policy(*statements))], ALICE, "s3:GetObject", OBJECT, {}).statement == "p, statement No"
    assert ask([("p", policy(allow))], ALICE, "s3:GetObject", OBJECT, {}).statement == "p, statement Yes"


# --- decisions ---

READS = policy({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}, sort=Sort.IDENTITY)
FORBIDS = policy({"Effect": "Deny", "Action": "s3:*", "Resource": "*"}, sort=Sort.IDENTITY)
OPEN, SHUT = policy(statement()), policy(statement(Effect="Deny"))
TO_ACCOUNT = policy(statement(Principal={"AWS": OTHER}))
HOME = CANONICAL


def user(asker: Asker, *policies: Policy, session: Policy | None = None) -> Principal:
    named = tuple((f"p{number}", one) for number, one in enumerate(policies))
    return Principal(asker, "User", policies=named, session=(("session", session),) if session else ())


DECISIONS: dict[str, tuple[Principal, Shared, bool]] = {
    "nobody, nothing": (ANYBODY, Shared(HOME), False),
    "nobody, open": (ANYBODY, Shared(HOME, OPEN), True),
    "nobody, open and restricted": (ANYBODY, Shared(HOME, OPEN, restricted=True), False),
    "nobody, a list": (ANYBODY, Shared(HOME, acl="list"), True),
    "nobody, a list and a deny": (ANYBODY, Shared(HOME, SHUT, acl="list"), False),
    "owner at home": (user(OWNER), Shared(HOME), True),
    "owner at home, denied": (user(OWNER), Shared(HOME, SHUT), False),
    "owner, narrowed": (user(OWNER, session=READS), Shared(HOME), True),
    "owner, narrowed to nothing": (user(OWNER, session=FORBIDS), Shared(HOME), False),
    "user at home, nothing": (user(ALICE), Shared(HOME), False),
    "user at home, own policy": (user(ALICE, READS), Shared(HOME), True),
    "user at home, own policies differ": (user(ALICE, READS, FORBIDS), Shared(HOME), False),
    "user at home, the bucket's policy": (user(ALICE), Shared(HOME, OPEN), True),
    "user at home, the bucket denies": (user(ALICE, READS), Shared(HOME, SHUT), False),
    "user at home, open and restricted": (user(ALICE), Shared(HOME, OPEN, restricted=True), True),
    "user at home, a list for everybody": (user(ALICE), Shared(HOME, acl="list", acl_public=True), True),
    "user at home, a list for the account": (user(ALICE), Shared(HOME, acl="list"), False),
    "stranger, own policy": (user(STRANGER, READS), Shared(HOME), False),
    "stranger, the bucket's policy": (user(STRANGER), Shared(HOME, OPEN), False),
    "stranger, both": (user(STRANGER, READS), Shared(HOME, OPEN), True),
    "stranger, by account": (user(STRANGER, READS), Shared(HOME, TO_ACCOUNT), True),
    "stranger, by account alone": (user(STRANGER), Shared(HOME, TO_ACCOUNT), False),
    "stranger, a list": (user(STRANGER, READS), Shared(HOME, acl="list"), True),
    "stranger, restricted": (user(STRANGER, READS), Shared(HOME, OPEN, restricted=True), False),
    "stranger, an object of another": (user(STRANGER, READS), Shared(HOME, OPEN, foreign=True), False),
    "a service, nothing": (user(ALICE), Shared(""), False),
    "a service, own policy": (user(ALICE, READS), Shared(""), True),
    "a service, owner": (user(OWNER), Shared(""), True),
    "a service, nobody": (ANYBODY, Shared(""), False),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions_within_an_account_and_across_accounts(name: str) -> None:
    who, resource, allowed = DECISIONS[name]
    decision = decide(who, "s3:GetObject", OBJECT, {}, resource)
    assert decision.allowed is allowed
    assert decision.reason


def test_a_bucket_policy_cannot_take_itself_from_the_owner() -> None:
    shut = policy(statement(Effect="Deny", Action="s3:*", Resource=[BUCKET, BUCKET + "/*"]))
    for action in ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"):
        assert decide(user(OWNER), action, BUCKET, {}, Shared(HOME, shut)).allowed
        assert not decide(user(ALICE, READS), action, BUCKET, {}, Shared(HOME, shut)).allowed
    assert not decide(user(OWNER), "s3:ListBucket", BUCKET, {}, Shared(HOME, shut)).allowed


# --- what is public ---

PUBLIC: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"Effect": "Deny"}, False),
    ({"Principal": {"AWS": NUMBER}}, False),
    ({"Effect": "Deny", "Principal": None, "NotPrincipal": {"AWS": NUMBER}}, False),
    ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, False),
    ({"Condition": {"StringLike": {"aws:SourceArn": "arn:aws:sns:*"}}}, True),
    ({"Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
    ({"Condition": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}}, True),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, False),
    ({"Condition": {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}}, True),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "::/0"}}}, True),
    ({"Condition": {"StringEquals": {"aws:Referer": "https://example.net/"}}}, True),
]


@pytest.mark.parametrize(("changes", "public"), PUBLIC)
def test_what_makes_a_bucket_public(changes: dict[str, Any], public: bool) -> None:
    assert is_public(policy(statement(**changes))) is public
