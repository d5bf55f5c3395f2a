"""Cross-origin resource sharing of a bucket: the rules, and which of them a request is allowed by.

Source: Amazon S3 API Reference, PutBucketCors; User Guide, "Using cross-origin resource sharing (CORS)"; Fetch Standard,
"CORS protocol". Pure.
"""

import re
from collections.abc import Iterable
from typing import Final

from holdfast.model import Value

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
"""What a rule may allow."""


class CorsRule(Value, frozen=True):
    """Patterns have one `*` at most, which stands for any characters. `headers` are in lower case."""

    id: str
    origins: tuple[str, ...]
    methods: tuple[str, ...]
    """Of METHODS."""
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    """Header names that pages may read."""
    max_age_s: int | None = None


class Cors(Value, frozen=True):
    rules: tuple[CorsRule, ...]


class Preflight(Value, frozen=True):
    """What a browser asks before a request: may a page of this origin send it."""

    bucket: str
    key: str
    origin: str
    method: str
    headers: tuple[str, ...] = ()
    """In lower case."""


class Sharing(Value, frozen=True):
    """What a browser is told: the rule that matched, for whom, and for which headers."""

    rule: CorsRule
    origin: str
    """`*` where the rule is for all origins."""
    headers: tuple[str, ...] = ()

    @property
    def anybody(self) -> bool:
        """Whether it says the same to all origins: then no credentials may come along."""
        return self.origin == "*"


class Shared(Value, frozen=True):
    """What became of it."""

    configured: bool
    """The bucket has rules."""
    sharing: Sharing | None = None


def is_token(name: str) -> bool:
    """Whether it can be the name of a header. RFC 9110 section 5.6.2."""
    return _TOKEN.fullmatch(name) is not None


def share(cors: Cors, origin: str, method: str, headers: Iterable[str] = ()) -> Sharing | None:
    """By the first rule that allows it; None when none does."""
    asked = tuple(headers)
    for rule in cors.rules:
        if method not in rule.methods or not all(_any(rule.headers, name) for name in asked):
            continue
        if "*" in rule.origins:
            return Sharing(rule, "*", asked)
        if _any(rule.origins, origin):
            return Sharing(rule, origin, asked)
    return None


def _any(patterns: tuple[str, ...], text: str) -> bool:
    return any(_matches(pattern, text) for pattern in patterns)


def _matches(pattern: str, text: str) -> bool:
    start, star, end = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(start) + len(end) and text.startswith(start) and text.endswith(end)
