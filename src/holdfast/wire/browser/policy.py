"""The policy of an upload form: what its signer allows to be sent, until when.

Answers for S3's policy document: its JSON, its expiration, its conditions over the fields of a form. Who signed it is `sigv4`'s.
Invariant: a form that passes has no field, those of the signature apart, that no condition covers.
Source: Amazon S3 API Reference, "POST Policy".
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from holdfast.errors import S3Error
from holdfast.limits import PUT_BYTES
from holdfast.model import Value

_EXPIRATION: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?Z", re.ASCII)
_UNCHECKED: Final = frozenset({"policy", "file", "signature", "awsaccesskeyid", "x-amz-signature"})
"""Fields that no condition has to cover; so are those that begin with `x-ignore-`."""


class Condition(Value, frozen=True):
    field: str
    """In lower case, without `$`; empty when it names none."""
    text: str
    exact: bool
    """`eq`, else `starts-with`."""
    source: str
    """As it was written, to be repeated when it fails."""


class Policy(Value, frozen=True):
    expires_ms: int
    conditions: tuple[Condition, ...]
    least_bytes: int = 0
    most_bytes: int = PUT_BYTES


def read_policy(text: str) -> Policy:
    """The policy in the field of a form. Raises InvalidPolicyDocument."""
    document = _document(text)
    expiration, rules = document.get("expiration"), document.get("conditions")
    if expiration is None:
        raise _invalid("Policy missing expiration.")
    if not isinstance(expiration, str):
        raise _invalid("Invalid JSON.")
    expires_ms = _expiration(expiration)
    if rules is None:
        raise _invalid("Policy missing conditions.")
    if not isinstance(rules, list):
        raise _invalid("Invalid 'conditions' value: must be a List.")
    for name in document:
        if name not in ("expiration", "conditions"):
            raise _invalid(f"Unexpected: '{name}'.")
    least, most = 0, PUT_BYTES
    conditions = []
    for rule in rules:
        if isinstance(rule, list) and rule and str(rule[0]).lower() == "content-length-range":
            low, high = _length_range(rule)
            least, most = max(least, low), min(most, high)
        else:
            conditions.append(_condition(rule))
    return Policy(expires_ms, tuple(conditions), least, most)


def check_form(policy: Policy, fields: Mapping[str, str], *, bucket: str, now_ms: int) -> None:
    """Raises AccessDenied unless the policy allows these fields (names in lower case) to be sent to this bucket now."""
    if now_ms > policy.expires_ms:
        raise _denied("Policy expired.")
    said = {**fields, "bucket": bucket}
    for condition in policy.conditions:
        if not _holds(condition, said.get(condition.field, "")):
            raise _denied(f"Policy Condition failed: {condition.source}")
    covered = {condition.field for condition in policy.conditions}
    for name in said:
        if name not in covered and name not in _UNCHECKED and not name.startswith("x-ignore-"):
            raise _denied(f"Extra input fields: {name}")


def _holds(condition: Condition, value: str) -> bool:
    if not condition.field:
        return False
    if condition.exact:
        return value == condition.text
    if condition.field == "content-type" and "," in value:
        return all(one.strip().startswith(condition.text) for one in value.split(","))
    return value.startswith(condition.text)


def _document(text: str) -> dict[str, Any]:
    if not text:
        raise _invalid("Expecting '{' but found End-of-Input")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as trouble:
        raise _invalid("invalid Base64 encoding.", str(trouble)) from trouble
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as trouble:
        raise _invalid("Invalid JSON.", str(trouble)) from trouble
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    return document


def _condition(rule: Any) -> Condition:
    if isinstance(rule, dict):
        if len(rule) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
        [(field, text)] = rule.items()
        if not isinstance(text, str):
            raise _invalid("Invalid Simple-Condition: value must be a string.")
        source = json.dumps(["eq", f"${field}", text], ensure_ascii=False)
        return Condition(field.lower(), text, True, source)
    operator, arguments = _test(rule)
    if not all(isinstance(one, str) for one in arguments):
        raise _invalid("Invalid JSON.")
    field, text = arguments
    source = json.dumps([operator, field, text], ensure_ascii=False, separators=(",", ":"))
    # Without the dollar sign it names no field, and what is nowhere has no value.
    return Condition(field[1:].lower() if field.startswith("$") else "", text, operator == "eq", source)


def _test(rule: Any) -> tuple[str, list[Any]]:
    """Operator, in lower case, and its two arguments."""
    if not isinstance(rule, list):
        raise _invalid("Invalid condition test: must be a List or Object.")
    if not rule:
        raise _invalid("Invalid Condition: missing operation identifier.")
    operator = str(rule[0]).lower()
    if operator not in ("eq", "starts-with", "content-length-range"):
        raise _invalid(f"Invalid Condition: unknown operation '{rule[0]}'.")
    if len(rule) != 3:
        raise _invalid(f"Invalid {operator}: wrong number of arguments.")
    return operator, rule[1:]


def _length_range(rule: list[Any]) -> tuple[int, int]:
    low, high = (_size(one) for one in _test(rule)[1])
    if low < 0 or high < 0:
        raise _invalid("Invalid JSON.")
    if low > high:
        raise _invalid("Invalid content-length-range: the least is more than the most.")
    return low, high


def _size(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _expiration(text: str) -> int:
    match = _EXPIRATION.fullmatch(text)
    if match is not None:
        try:
            return int(datetime(*map(int, match.groups()), tzinfo=UTC).timestamp()) * 1000  # type: ignore[arg-type,misc]
        except ValueError:
            pass
    raise _invalid(f"Invalid 'expiration' value: '{text}'")


def _invalid(what: str, detail: str = "") -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {what}", detail=detail)


def _denied(what: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {what}")
