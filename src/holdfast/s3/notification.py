"""Event notifications of a bucket: which events go where.

Source: Amazon S3 API Reference, PutBucketNotificationConfiguration; User Guide, "Supported event types and destinations".
Invariant of a Notification that was accepted: no event of no key matches two of its rules.
"""

from typing import Final

from holdfast.model import Value, replace

EVENTS: Final = frozenset(
    {
        "s3:ReducedRedundancyLostObject",
        "s3:ObjectCreated:*",
        "s3:ObjectCreated:Put",
        "s3:ObjectCreated:Post",
        "s3:ObjectCreated:Copy",
        "s3:ObjectCreated:CompleteMultipartUpload",
        "s3:ObjectRemoved:*",
        "s3:ObjectRemoved:Delete",
        "s3:ObjectRemoved:DeleteMarkerCreated",
        "s3:ObjectRestore:*",
        "s3:ObjectRestore:Post",
        "s3:ObjectRestore:Completed",
        "s3:ObjectRestore:Delete",
        "s3:Replication:*",
        "s3:Replication:OperationFailedReplication",
        "s3:Replication:OperationMissedThreshold",
        "s3:Replication:OperationNotTracked",
        "s3:Replication:OperationReplicatedAfterThreshold",
        "s3:LifecycleExpiration:*",
        "s3:LifecycleExpiration:Delete",
        "s3:LifecycleExpiration:DeleteMarkerCreated",
        "s3:LifecycleTransition",
        "s3:IntelligentTiering",
        "s3:ObjectTagging:*",
        "s3:ObjectTagging:Put",
        "s3:ObjectTagging:Delete",
        "s3:ObjectAcl:Put",
    }
)
"""What may be asked for; those of what does not happen here never come."""


class Route(Value, frozen=True):
    """One rule: these events of keys with this prefix and suffix go to this destination."""

    id: str
    kind: str
    """Topic, Queue or CloudFunction: the element that the client named the destination by."""
    destination: str
    """Its ARN."""
    events: tuple[str, ...]
    """Of EVENTS."""
    prefix: str = ""
    suffix: str = ""

    def matches(self, event: str, key: str) -> bool:
        """Whether an event, such as `s3:ObjectCreated:Put`, of this key goes there."""
        return (
            key.startswith(self.prefix)
            and key.endswith(self.suffix)
            and any(covers(asked, event) for asked in self.events)
        )


class Notification(Value, frozen=True):
    """All rules of a bucket; none when nothing is told."""

    routes: tuple[Route, ...] = ()


def covers(asked: str, event: str) -> bool:
    """Whether an event type that was asked for is, or includes, another one."""
    return asked == event or (asked.endswith(":*") and event.startswith(asked[:-1]))


class Notice(Value, frozen=True, omit_defaults=True):
    """One event for one webhook, with what is known of it before its change is committed."""

    webhook: str
    event: str
    """Without `s3:`, as in `ObjectCreated:Put`; but `s3:TestEvent`."""
    bucket: str
    key: str
    at_ms: int
    route: str = ""
    """Id of the rule that asked for it."""
    owner: str = ""
    """The bucket's."""
    region: str = ""
    size: int | None = None
    etag: str = ""
    principal: str = ""
    """Who caused it; empty for the server itself."""
    address: str = ""
    request_id: str = ""
    host_id: str = ""

    @property
    def marks(self) -> bool:
        """Whether it tells of a delete marker that was made."""
        return self.event.endswith(":DeleteMarkerCreated")

    def caused(self, principal: str, address: str, request_id: str, host_id: str) -> "Notice":
        """The notice with who caused it."""
        return replace(
            self, principal=principal or "Anonymous", address=address, request_id=request_id, host_id=host_id
        )
