"""A bucket as a static website: its configuration, and what a path of the site means by it.

Source: Amazon S3 API Reference, PutBucketWebsite; User Guide, "Hosting a static website using Amazon S3". Pure.
"""

from holdfast.model import Value


class Redirect(Value, frozen=True):
    """Where a request goes instead; what is empty stays as it is."""

    host: str = ""
    protocol: str = ""
    code: int = 301
    code_given: bool = False
    prefix: str | None = None
    """In place of the prefix that the rule is about."""
    key: str | None = None
    """In place of the whole key."""


class RoutingRule(Value, frozen=True):
    redirect: Redirect
    prefix: str = ""
    """For keys that begin with it."""
    status: int = 0
    """For answers with this status; 0: before anything is read."""


class Website(Value, frozen=True):
    """`index` is set unless everything is redirected to `elsewhere`."""

    index: str = ""
    error: str = ""
    """Key of the page that is sent instead of an error of the client."""
    rules: tuple[RoutingRule, ...] = ()
    elsewhere: Redirect | None = None


def document_key(site: Website, key: str) -> str:
    """The object that a path of the site means: below a directory, its index."""
    return key + site.index if not key or key.endswith("/") else key


def location(redirect: Redirect, rule_prefix: str, key: str, *, host: str, protocol: str) -> tuple[str, str, str]:
    """Protocol, host and key to go to."""
    if redirect.key is not None:
        key = redirect.key
    elif redirect.prefix is not None:
        key = redirect.prefix + key.removeprefix(rule_prefix)
    return redirect.protocol or protocol, redirect.host or host, key


def rule_for(site: Website, key: str, status: int = 0) -> RoutingRule | None:
    """The first rule for this key, and for this status of an answer (0: before there is one)."""
    return next((rule for rule in site.rules if rule.status == status and key.startswith(rule.prefix)), None)
