"""The documents of a bucket's sub-resources: how each setting is read from XML (or JSON) and written again.

Answers for one row per setting. Pure; it knows neither HTTP nor the index. Invariant: what `read` accepts, `write`
gives back with the same meaning.
"""

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.model import Value
from holdfast.s3.locks import ObjectLock
from holdfast.s3.sharing import BucketPolicy, OwnershipControls, PublicAccessBlock
from holdfast.s3.versioning import Versioning
from holdfast.wire.documents import lock, ownership, policy, public_access, versioning
from holdfast.xml import Element


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
    put_status: int = 200
    """Of the reply to who set it."""


def _xml(
    name: str,
    kind: type[Any],
    root: str,
    read: Callable[[Element], Any],
    write: Callable[[Any], str],
    missing: str = "",
    default: Any = None,
) -> Document:
    return Document(name, kind, root, read, write, missing, default)


_ROWS = (
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

DOCUMENTS: Mapping[str, Document] = {row.name: row for row in _ROWS}
