"""Whether a bucket policy makes its bucket public.

Pure. Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of public".
"""

import ipaddress
from typing import Final

from holdfast.access.conditions import Condition
from holdfast.access.policy import Policy, Statement

_FIXING: Final = frozenset(
    {
        "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount", "aws:userid", "aws:principalorgid",
        "aws:principalaccount", "aws:principalarn", "s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:dataaccesspointarn",
        "s3:dataaccesspointaccount",
    }
)  # fmt: skip
"""Keys that, held to fixed values, leave nobody unknown."""
_HOLDING: Final = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"})
_BITS_MIN: Final = {4: 8, 6: 32}
"""A network with fewer fixed bits is so wide that it is public."""


def is_public(policy: Policy) -> bool:
    """Whether some statement allows something to anybody."""
    return any(_opens(statement) for statement in policy.statements)


def _opens(statement: Statement) -> bool:
    if not statement.allow or not statement.principals.everyone:
        return False
    return not any(_fixes(condition) for condition in statement.conditions)


def _fixes(condition: Condition) -> bool:
    if condition.if_exists or condition.quantifier == "all":
        return False
    if condition.key == "aws:sourceip" and condition.operator == "IpAddress":
        return all(map(_narrow, condition.values))
    return (
        condition.key in _FIXING
        and condition.operator in _HOLDING
        and not any(mark in value for value in condition.values for mark in ("*", "?", "${"))
    )


def _narrow(text: str) -> bool:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return network.prefixlen >= _BITS_MIN[network.version]
