"""The documents of a bucket's sub-resources: how each setting is read from XML (or JSON) and written again.

Answers for one row per setting. Pure; it knows neither HTTP nor the index. Invariant: what `read` accepts, `write`
gives back with the same meaning.
"""

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.limits import WEBSITE_BYTES, XML_BYTES
from holdfast.model import Value, replace
from holdfast.s3.absent import Absent
from holdfast.s3.cors import Cors
from holdfast.s3.encryption import BucketEncryption
from holdfast.s3.lifecycle import SIZES, Lifecycle
from holdfast.s3.locks import ObjectLock
from holdfast.s3.logging import Logging
from holdfast.s3.notification import Notification
from holdfast.s3.payment import Payment
from holdfast.s3.sharing import BucketPolicy, OwnershipControls, PublicAccessBlock
from holdfast.s3.tagging import Tags
from holdfast.s3.versioning import Versioning
from holdfast.s3.website import Website
from holdfast.wire.documents import (
    absent,
    cors,
    encryption,
    lifecycle,
    lock,
    logging,
    notification,
    ownership,
    payment,
    policy,
    public_access,
    tagging,
    versioning,
    website,
)
from holdfast.xml import Element


class Beside(Value, frozen=True):
    """A header that is a part of a setting although it stands beside the document."""

    header: str
    values: tuple[str, ...]
    """What it may say; the first is meant where it is missing."""
    field: str
    """Of the value."""


class Document(Value, frozen=True):
    """A setting of a bucket."""

    name: str
    """The marker in the query, and the setting's name in the index."""
    kind: type[Any]
    """The value in `s3` that it is read into."""
    root: str
    """The name of the root element; empty for a document that is no XML, which `read` gets as bytes."""
    read: Callable[[Any], Any]
    """From the root element to the value. Raises MalformedXML and what the API Reference names for it."""
    write: Callable[[Any], str]
    """From the value to what stands inside the root element (or the whole text)."""
    missing: str = ""
    """The error code when it is not set; empty when `default` is the answer then."""
    default: Any = None
    fixed: bool = False
    """It cannot be set: its PUT is not implemented, and `default` or `missing` is the answer of every bucket."""
    most_bytes: int = XML_BYTES
    """Of the document as it came."""
    put_status: int = 200
    """Of the reply to its PUT."""
    beside: Beside | None = None


def _xml(
    name: str,
    kind: type[Any],
    root: str,
    read: Callable[[Element], Any],
    write: Callable[[Any], str],
    missing: str = "",
    default: Any = None,
    beside: Beside | None = None,
) -> Document:
    return Document(name, kind, root, read, write, missing, default, beside=beside)


_ROWS = (
    _xml("cors", Cors, "CORSConfiguration", cors.read, cors.write, missing="NoSuchCORSConfiguration"),
    replace(
        _xml(
            "website",
            Website,
            "WebsiteConfiguration",
            website.read,
            website.write,
            missing="NoSuchWebsiteConfiguration",
        ),
        most_bytes=WEBSITE_BYTES,
    ),
    _xml("requestPayment", Payment, "RequestPaymentConfiguration", payment.read, payment.write, default=Payment()),
    replace(_xml("tagging", Tags, "Tagging", tagging.read, tagging.write, missing="NoSuchTagSet"), put_status=204),
    _xml("logging", Logging, "BucketLoggingStatus", logging.read, logging.write, default=Logging()),
    _xml(
        "notification",
        Notification,
        "NotificationConfiguration",
        notification.read,
        notification.write,
        default=Notification(),
    ),
    _xml(
        "lifecycle",
        Lifecycle,
        "LifecycleConfiguration",
        lifecycle.read,
        lifecycle.write,
        missing="NoSuchLifecycleConfiguration",
        beside=Beside("x-amz-transition-default-minimum-object-size", SIZES, "minimum"),
    ),
    _xml(
        "encryption",
        BucketEncryption,
        "ServerSideEncryptionConfiguration",
        encryption.read,
        encryption.write,
        missing="ServerSideEncryptionConfigurationNotFoundError",
    ),
    _xml(
        "versioning",
        Versioning,
        "VersioningConfiguration",
        versioning.read,
        versioning.write,
        default=Versioning(),
    ),
    Document("policy", BucketPolicy, "", policy.read, policy.write, "NoSuchBucketPolicy", put_status=204),
    _xml(
        "publicAccessBlock",
        PublicAccessBlock,
        "PublicAccessBlockConfiguration",
        public_access.read,
        public_access.write,
        "NoSuchPublicAccessBlockConfiguration",
    ),
    _xml(
        "ownershipControls",
        OwnershipControls,
        "OwnershipControls",
        ownership.read,
        ownership.write,
        default=OwnershipControls(),
    ),
    _xml(
        "object-lock",
        ObjectLock,
        "ObjectLockConfiguration",
        lock.read,
        lock.write,
        missing="ObjectLockConfigurationNotFoundError",
    ),
)


def _fixed(name: str, root: str, *, missing: str = "") -> Document:
    write = absent.no_more if root.startswith("List") else absent.nothing
    return Document(name, Absent, root, absent.read, write, missing, Absent(), fixed=True)


_FIXED = (
    _fixed("accelerate", "AccelerateConfiguration"),
    _fixed("replication", "ReplicationConfiguration", missing="ReplicationConfigurationNotFoundError"),
    _fixed("analytics", "ListBucketAnalyticsConfigurationResult"),
    _fixed("intelligent-tiering", "ListBucketIntelligentTieringConfigurationsOutput"),
    _fixed("inventory", "ListInventoryConfigurationsResult"),
    _fixed("metrics", "ListMetricsConfigurationsResult"),
    _fixed("analytics id", "AnalyticsConfiguration", missing="NoSuchConfiguration"),
    _fixed("intelligent-tiering id", "IntelligentTieringConfiguration", missing="NoSuchConfiguration"),
    _fixed("inventory id", "InventoryConfiguration", missing="NoSuchConfiguration"),
    _fixed("metrics id", "MetricsConfiguration", missing="NoSuchConfiguration"),
)
"""A name with `id` is that of one of several configurations."""

DOCUMENTS: Mapping[str, Document] = {row.name: row for row in (*_ROWS, *_FIXED)}
