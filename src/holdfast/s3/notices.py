"""Which events of a change are told to whom: pure, from the bucket's notification rules and what the operator configured.

Answers for the events of one change before it is committed; the index records them with it. It never sends anything. Invariant:
only webhooks that the operator named are ever told, whatever a client asks for.
"""

from collections.abc import Collection, Sequence
from contextvars import ContextVar
from typing import Final, Protocol

from holdfast.model import Bucket, replace
from holdfast.s3 import DeleteAsk
from holdfast.s3.notification import Notice, Notification, Route
from holdfast.s3.settings import setting

CREATED_PUT: Final = "ObjectCreated:Put"
CREATED_POST: Final = "ObjectCreated:Post"
CREATED_COPY: Final = "ObjectCreated:Copy"
CREATED_UPLOAD: Final = "ObjectCreated:CompleteMultipartUpload"
REMOVED: Final = ("ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated")
"""What a deletion may turn out to be: the index knows which."""
EXPIRED: Final = ("LifecycleExpiration:Delete", "LifecycleExpiration:DeleteMarkerCreated")
TAGGED: Final = "ObjectTagging:Put"
UNTAGGED: Final = "ObjectTagging:Delete"
GRANTED: Final = "ObjectAcl:Put"
TEST: Final = "s3:TestEvent"


class Caller(Protocol):
    """The request that causes a change."""

    @property
    def id(self) -> str: ...
    @property
    def host_id(self) -> str: ...
    @property
    def access_key(self) -> str: ...
    @property
    def client(self) -> str:
        """Its address."""
        ...


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Of the request that is being served; None in what keepers do."""


def webhook_of(arn: str) -> str:
    """The operator's name of a destination: the last part of its ARN, whatever service that speaks of."""
    return arn.rpartition(":")[2]


def notices_of(
    bucket: Bucket,
    webhooks: Collection[str],
    events: tuple[str, ...],
    key: str,
    *,
    at_ms: int,
    size: int | None = None,
    etag: str = "",
) -> tuple[Notice, ...]:
    """The notices of a change of a key: of each of these events one for each rule that asks for it."""
    rules = setting(bucket, "notification", Notification)
    if rules is None:
        return ()
    return tuple(
        _notice(bucket, route, event, at_ms, key, size, etag)
        for route in rules.routes
        if webhook_of(route.destination) in webhooks
        for event in events
        if route.matches(f"s3:{event}", key)
    )


def telling(
    bucket: Bucket, webhooks: Collection[str], asks: Sequence[DeleteAsk], events: tuple[str, ...], *, at_ms: int
) -> list[DeleteAsk]:
    """The deletions with the notices of what they may turn out to be."""
    if "notification" not in bucket.settings:
        return list(asks)
    return [replace(ask, notices=notices_of(bucket, webhooks, events, ask.key, at_ms=at_ms)) for ask in asks]


def notices_of_test(bucket: Bucket, rules: Notification, *, at_ms: int) -> tuple[Notice, ...]:
    """What each destination is told when it is configured."""
    routes = {webhook_of(route.destination): route for route in rules.routes}
    return tuple(_notice(bucket, route, TEST, at_ms) for route in routes.values())


def _notice(
    bucket: Bucket, route: Route, event: str, at_ms: int, key: str = "", size: int | None = None, etag: str = ""
) -> Notice:
    caller = CALLER.get()
    where = Notice(
        webhook_of(route.destination), event, bucket.name, key, at_ms, route.id, bucket.owner, bucket.region, size, etag
    )
    if caller is None:
        return where
    return where.caused(caller.access_key, caller.client, caller.id, caller.host_id)
