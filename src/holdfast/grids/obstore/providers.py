"""What Azure Blob Storage and Google Cloud Storage can hold, as two rows.

Answers for their limits and for names that they, or the library between us, do not keep as they are. Pure; decides nothing.
Invariant: every row has its sources.
"""

import re
from collections.abc import Mapping
from typing import Final

from holdfast.limits import KIB, MIB, OBJECT_BYTES, OBSTORE_PART_MAX_BYTES, S3_PART_BYTES
from holdfast.model import Value

_PATH: Final = r"(?:\A|/)\.{0,2}(?:/|\Z)|[\x00-\x1f\x7f]"
"""What `object_store::path::Path` refuses or drops: empty, `.` and `..` segments, control characters."""


class Provider(Value, frozen=True):
    """A row."""

    scheme: str
    title: str
    place: str
    """What it calls a bucket."""
    container: str
    """Names of buckets, as a regular expression."""
    name_limit: int
    """Longest name of an object, in the unit that `utf16` says."""
    utf16: bool
    """Names are measured in UTF-16 code units; otherwise in bytes of UTF-8."""
    segments: int
    """Most segments of a name between slashes."""
    unsafe: str
    """Names that are not kept as they are, as a regular expression: their objects get an escaped name."""
    identifiers: bool
    """Names of metadata must be identifiers: no hyphen, no digit first."""
    metadata_bytes: int
    object_bytes: int
    parts_max: int
    sources: tuple[str, ...]

    def length(self, name: str) -> int:
        """How long an object's name is as this provider counts. Raises UnicodeEncodeError."""
        return len(name.encode("utf-16-le")) // 2 if self.utf16 else len(name.encode())

    def keeps(self, name: str) -> bool:
        """Whether an object can have this name just so, its length aside."""
        return re.search(self.unsafe, name) is None and name.count("/") < self.segments


AZURE: Final = Provider(
    scheme="azure",
    title="Azure Blob Storage",
    place="container",
    container=r"[a-z0-9](?:-?[a-z0-9]){2,62}",
    name_limit=1024,
    utf16=True,
    segments=254,
    unsafe=_PATH + r"|[\x80-\x9f\\\ue000\ufffe\uffff]|\.(?:/|\Z)",
    identifiers=True,
    metadata_bytes=8 * KIB,
    object_bytes=50_000 * OBSTORE_PART_MAX_BYTES,
    parts_max=50_000,
    sources=(
        "Azure Storage REST: Naming and Referencing Containers, Blobs, and Metadata",
        "Azure Storage REST: Setting and retrieving properties and metadata for Blob service resources",
        "Azure Storage: Scalability and performance targets for Blob storage",
        "rclone: azureblob, restricted filename characters (backslash, dot at the end of a segment)",
    ),
)
GCS: Final = Provider(
    scheme="gcs",
    title="Google Cloud Storage",
    place="bucket",
    container=r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]",
    name_limit=1024,
    utf16=False,
    segments=1024,
    unsafe=_PATH + r"|[\x80-\x9f\ufffe\uffff]|\A\.well-known/acme-challenge/",
    identifiers=False,
    metadata_bytes=8 * KIB,
    object_bytes=min(10_000 * OBSTORE_PART_MAX_BYTES, OBJECT_BYTES),
    parts_max=10_000,
    sources=(
        "Google Cloud Storage: About Cloud Storage objects, Object naming requirements",
        "Google Cloud Storage: Quotas and limits (custom metadata, multipart parts)",
        "Google Cloud Storage: XML API multipart uploads",
    ),
)
PROVIDERS: Final[Mapping[str, Provider]] = {provider.scheme: provider for provider in (AZURE, GCS)}


def part_bytes(size_bytes: int, provider: Provider) -> int:
    """Size of all parts but the last of an object."""
    least = -(-size_bytes // provider.parts_max)
    return max(S3_PART_BYTES, -(-least // MIB) * MIB)
