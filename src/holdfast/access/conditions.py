"""The conditions of a policy's statement: operators, quantifiers, and which keys there are.

Answers for reading one condition and for whether it holds of a request. Pure. Invariant: a condition that was read never fails; a value
of a request that is not what its operator wants does not fit.
Source: IAM User Guide, "IAM JSON policy elements: Condition operators"; Service Authorization Reference, "Condition keys for Amazon S3".
"""

import base64
import binascii
import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from holdfast.access.patterns import Context, matches, substituted
from holdfast.errors import S3Error
from holdfast.model import Value

_S3_KEYS = frozenset(
    {
        "s3:authtype", "s3:signatureversion", "s3:signatureage", "s3:tlsversion", "s3:prefix", "s3:delimiter", "s3:max-keys",
        "s3:versionid", "s3:locationconstraint", "s3:x-amz-acl", "s3:x-amz-content-sha256", "s3:x-amz-copy-source",
        "s3:x-amz-metadata-directive", "s3:x-amz-server-side-encryption", "s3:x-amz-storage-class",
        "s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption-customer-algorithm",
        "s3:x-amz-website-redirect-location", "s3:x-amz-object-ownership", "s3:x-amz-grant-read", "s3:x-amz-grant-write",
        "s3:x-amz-grant-read-acp", "s3:x-amz-grant-write-acp", "s3:x-amz-grant-full-control", "s3:requestobjecttagkeys",
        "s3:object-lock-mode", "s3:object-lock-retain-until-date", "s3:object-lock-remaining-retention-days",
        "s3:object-lock-legal-hold", "s3:resourceaccount", "s3:dataaccesspointarn", "s3:dataaccesspointaccount",
        "s3:accesspointnetworkorigin", "s3:if-match", "s3:if-none-match", "s3:objectcreationoperation",
    }
)  # fmt: skip
_TAG_KEYS = ("s3:existingobjecttag/", "s3:requestobjecttag/", "s3:buckettag/")
EXISTING_TAG = _TAG_KEYS[0]
_SERVICES = frozenset({"aws", "s3", "sts", "iam", "saml", "kms", "cognito-identity.amazonaws.com"})


class Condition(Value, frozen=True):
    """One operator on one key."""

    operator: str
    """Its name in OPERATORS."""
    key: str
    """In lower case."""
    values: tuple[str, ...]
    quantifier: str = ""
    """any, all, or empty: the key has one value."""
    if_exists: bool = False


class _Operator(Value, frozen=True):
    fits: Callable[[str, str, Context], bool]
    """Whether a value of the policy fits one of the request."""
    negated: bool = False
    check: Callable[[str], Any] = str
    """Raises ValueError for a value that a policy cannot have."""


def _number(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if not value.is_finite():
        raise ValueError(text)
    return value


def _moment(text: str) -> float:
    """Seconds since the epoch of ISO 8601 or of a number."""
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return float(text)
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)


def _arn_like(want: str, have: str, context: Context) -> bool:
    """Part by part: a wildcard does not reach across a colon, but in the last part."""
    wanted, given = want.split(":", 5), have.split(":", 5)
    return len(wanted) == len(given) and all(
        matches(one, other, context) for one, other in zip(wanted, given, strict=True)
    )


def _equal(want: str, have: str, context: Context) -> bool:
    return (substituted(want, context) if "${" in want else want) == have


def _equal_folded(want: str, have: str, context: Context) -> bool:
    found = substituted(want, context) if "${" in want else want
    return found is not None and found.casefold() == have.casefold()


def _compared(read: Callable[[str], Any], holds: Callable[[Any, Any], bool]) -> Callable[[str, str, Context], bool]:
    """An operator on values that are read: `holds` of the request's and the policy's."""

    def fits(want: str, have: str, context: Context) -> bool:
        try:
            return holds(read(have), read(want))
        except (ValueError, OverflowError):
            return False

    return fits


def _within(want: str, have: str, context: Context) -> bool:
    try:
        address, network = _address(have), _network(want)
    except ValueError:
        return False
    return address.version == network.version and address in network


def _bytes_equal(want: str, have: str, context: Context) -> bool:
    try:
        return base64.b64decode(want) == base64.b64decode(have)
    except (ValueError, binascii.Error):
        return False


def _ordered(prefix: str, read: Callable[[str], Any]) -> dict[str, _Operator]:
    equal = _compared(read, lambda have, want: bool(have == want))
    ways: Mapping[str, Callable[[Any, Any], bool]] = {
        "LessThan": lambda have, want: bool(have < want),
        "LessThanEquals": lambda have, want: bool(have <= want),
        "GreaterThan": lambda have, want: bool(have > want),
        "GreaterThanEquals": lambda have, want: bool(have >= want),
    }
    return {
        prefix + "Equals": _Operator(equal, check=read),
        prefix + "NotEquals": _Operator(equal, True, read),
        **{prefix + name: _Operator(_compared(read, holds), check=read) for name, holds in ways.items()},
    }


OPERATORS: Mapping[str, _Operator] = {
    "StringEquals": _Operator(_equal),
    "StringNotEquals": _Operator(_equal, True),
    "StringEqualsIgnoreCase": _Operator(_equal_folded),
    "StringNotEqualsIgnoreCase": _Operator(_equal_folded, True),
    "StringLike": _Operator(matches),
    "StringNotLike": _Operator(matches, True),
    **_ordered("Numeric", _number),
    **_ordered("Date", _moment),
    "Bool": _Operator(_compared(_truth, lambda have, want: bool(have == want)), check=_truth),
    "BinaryEquals": _Operator(_bytes_equal),
    "IpAddress": _Operator(_within, check=_network),
    "NotIpAddress": _Operator(_within, True, _network),
    "ArnEquals": _Operator(_arn_like),
    "ArnLike": _Operator(_arn_like),
    "ArnNotEquals": _Operator(_arn_like, True),
    "ArnNotLike": _Operator(_arn_like, True),
    "Null": _Operator(_equal, check=_truth),
}
_BY_NAME = {name.lower(): name for name in OPERATORS}
_QUANTIFIERS = {"foranyvalue": "any", "forallvalues": "all"}


def read_conditions(block: Any) -> tuple[Condition, ...]:
    """The conditions of a `Condition` element. Raises MalformedPolicy."""
    if not isinstance(block, dict):
        raise malformed("Invalid policy syntax.")
    found: list[Condition] = []
    for written, keys in block.items():
        if not isinstance(keys, dict):
            raise malformed("Invalid policy syntax.")
        found += [_read(written, key, values) for key, values in keys.items()]
    return tuple(found)


def _read(written: str, key: str, given: Any) -> Condition:
    head, colon, rest = written.partition(":")
    quantifier = _QUANTIFIERS.get(head.lower(), "") if colon else ""
    name = (rest if quantifier else written).lower()
    if_exists = name.endswith("ifexists")
    operator = _BY_NAME.get(name.removesuffix("ifexists"))
    if operator is None or (colon and not quantifier) or (if_exists and operator == "Null"):
        raise malformed(f"Invalid Condition type : {written}")
    lower = key.lower()
    service = lower.partition(":")[0]
    unknown = service == "s3" and lower not in _S3_KEYS and not lower.startswith(_TAG_KEYS)
    if ":" not in lower or service not in _SERVICES or unknown:
        raise malformed(f"Policy has an invalid condition key - {key}")
    values = tuple(_text(value) for value in (given if isinstance(given, list) else [given]))
    for value in values:
        if "${" not in value:
            try:
                OPERATORS[operator].check(value)
            except (ValueError, OverflowError):
                what = "IP address" if "IpAddress" in operator else "value"
                raise malformed(f"Invalid {what} in Conditions") from None
    return Condition(operator, lower, values, quantifier, if_exists)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise malformed("Invalid policy syntax.")


def malformed(message: str) -> S3Error:
    """The error for a document that is no policy."""
    return S3Error("MalformedPolicy", message)


def holds(condition: Condition, context: Context) -> bool:
    """Whether a condition is met by what is known of a request."""
    have = context.get(condition.key, ())
    operator = OPERATORS[condition.operator]
    if condition.operator == "Null":
        return any(_truth(value) is not bool(have) for value in condition.values)
    if not have:
        # What is not there differs from everything; of no values, all are alike.
        return condition.if_exists or condition.quantifier == "all" or (operator.negated and not condition.quantifier)

    def fits(value: str) -> bool:
        return any(operator.fits(want, value, context) for want in condition.values) is not operator.negated

    return all(map(fits, have)) if condition.quantifier != "any" else any(map(fits, have))
