"""NotificationConfiguration. Source: Amazon S3 API Reference, PutBucketNotificationConfiguration.

Whether a destination exists is not decided here: that is a rule of the store.
"""

import hashlib
import itertools
from collections.abc import Iterator
from typing import Final

from holdfast.errors import S3Error
from holdfast.limits import KEY_BYTES, NOTIFICATION_ROUTES, RULE_ID_CHARS
from holdfast.s3.notification import EVENTS, Notification, Route, covers
from holdfast.xml import Element, element, malformed

_KINDS: Final = ("Topic", "Queue", "CloudFunction")


def read(root: Element) -> Notification:
    if root.find("EventBridgeConfiguration") is not None:
        message = "Events cannot be sent to EventBridge."
        raise S3Error("NotImplemented", message, fields={"Element": "EventBridgeConfiguration"})
    routes = tuple(_route(kind, child) for kind in _KINDS for child in root.all(f"{kind}Configuration"))
    if len(routes) > NOTIFICATION_ROUTES:
        raise _refused("NotificationConfiguration", str(len(routes)), "There are too many configurations.")
    if len({route.id for route in routes}) < len(routes):
        raise _refused("Id", "", "Same ID used for multiple configurations. IDs must be unique")
    for one, other in itertools.combinations(routes, 2):
        if _overlap(one, other):
            message = "Configurations overlap. Configurations on the same bucket cannot share a common event type."
            raise _refused("Event", one.id, message)
    return Notification(routes)


def _route(kind: str, item: Element) -> Route:
    destination = (item.get(kind) or "").strip()
    if not destination.startswith("arn:") or len(destination.split(":")) < 6:
        raise _refused(kind, destination, "The ARN is not well formed")
    events = tuple(dict.fromkeys(child.text.strip() for child in item.all("Event")))
    if not events:
        raise malformed(f"a {kind}Configuration without an Event")
    for event in events:
        if event not in EVENTS:
            raise _refused("Event", event, f"The event '{event}' is not supported for notifications")
    prefix, suffix = _filter(item)
    given = item.get("Id") or ""
    if len(given) > RULE_ID_CHARS:
        raise _refused("Id", given, f"The ID is longer than {RULE_ID_CHARS} characters.")
    made = hashlib.sha256(repr((kind, destination, events, prefix, suffix)).encode()).hexdigest()[:36]
    return Route(given or made, kind, destination, events, prefix, suffix)


def _filter(item: Element) -> tuple[str, str]:
    named: dict[str, str] = {}
    for name, value in _rules(item):
        if name not in ("prefix", "suffix"):
            raise _refused("FilterRule.Name", name, "filter rule name must be either prefix or suffix")
        if name in named:
            raise _refused("FilterRule.Name", name, f"Cannot specify more than one {name} rule in a filter.")
        if len(value.encode()) > KEY_BYTES:
            raise _refused("FilterRule.Value", value, f"Size of filter rule value cannot exceed {KEY_BYTES} bytes")
        named[name] = value
    return named.get("prefix", ""), named.get("suffix", "")


def _rules(item: Element) -> Iterator[tuple[str, str]]:
    for outer in item.all("Filter"):
        for names in outer.all("S3Key"):
            for rule in names.all("FilterRule"):
                yield (rule.get("Name") or "").strip().lower(), rule.get("Value") or ""


def _overlap(one: Route, other: Route) -> bool:
    """Whether an event of some key would match both."""
    return (
        (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix))
        and (one.suffix.endswith(other.suffix) or other.suffix.endswith(one.suffix))
        and any(covers(a, b) or covers(b, a) for a in one.events for b in other.events)
    )


def _refused(name: str, value: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, fields={"ArgumentName": name, "ArgumentValue": value})


def write(value: Notification) -> str:
    return "".join(_written(route) for kind in _KINDS for route in value.routes if route.kind == kind)


def _written(route: Route) -> str:
    content = element("Id", route.id) + element(route.kind, route.destination)
    content += "".join(element("Event", event) for event in route.events)
    rules = "".join(
        f"<FilterRule>{element('Name', name)}{element('Value', text)}</FilterRule>"
        for name, text in (("Prefix", route.prefix), ("Suffix", route.suffix))
        if text
    )
    if rules:
        content += f"<Filter><S3Key>{rules}</S3Key></Filter>"
    return f"<{route.kind}Configuration>{content}</{route.kind}Configuration>"
