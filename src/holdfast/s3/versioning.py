"""Whether a bucket keeps versions, and where those lie that are not current.

Source: Amazon S3 User Guide, "Retaining multiple versions of objects with S3 Versioning".
"""

import hashlib
from typing import Final

from holdfast.limits import KEY_BYTES
from holdfast.model import Bucket, Value, Version
from holdfast.s3 import ListVersions
from holdfast.s3.settings import setting

RESERVED: Final = ".holdfast-versions/"
"""Under this prefix the versions of a bucket lie that are not current. No client's key begins so."""
NULL: Final = "null"
_ID_LENGTH: Final = 32


class Versioning(Value, frozen=True):
    """The setting `versioning`. A bucket that never had it is unversioned."""

    status: str = ""
    """Enabled, Suspended, or empty: it was never on."""


class VersionEntry(Value, frozen=True):
    """One version or delete marker of a listing."""

    key: str
    version: Version
    latest: bool
    since_ms: int
    """Since when it is not the latest; 0 for the latest."""


class VersionsPage(Value, frozen=True):
    """A page of versions: `entries` and `prefixes` together are at most the limit; keys in byte order, the newest version of each
    first. `next_key` and `next_version` name the entry to go on after, empty at the end."""

    entries: tuple[VersionEntry, ...]
    prefixes: tuple[str, ...]
    next_key: str
    next_version: str


class VersionsListed(Value, frozen=True):
    ask: ListVersions
    page: VersionsPage
    owner: str
    names: dict[str, str] = {}
    """Display names by canonical id."""


def versioning_of(bucket: Bucket) -> str:
    """Enabled, Suspended or empty."""
    found = setting(bucket, "versioning", Versioning)
    return "" if found is None else found.status


def new_version_id(seq: int, now_ms: int) -> str:
    """The id of a version, from its number in the index: unlike all others there, and those of a key sort newest first."""
    return f"{(1 << 64) - 1 - seq:016x}{now_ms:016x}"


def is_version_id(text: str) -> bool:
    """Whether it could be one."""
    return text == NULL or (len(text) == _ID_LENGTH and all(digit in "0123456789abcdef" for digit in text))


def home_of(key: str, version_id: str) -> str:
    """Where a version lies once it is not current, in every grid and in the index: readable, unless that would be too long."""
    home = f"{RESERVED}{key}/{version_id}"
    if len(home.encode()) <= KEY_BYTES:
        return home
    return f"{RESERVED}{hashlib.sha256(key.encode()).hexdigest()}/{version_id}"


def is_reserved(key: str) -> bool:
    """Whether a key lies where only versions may."""
    return key.startswith(RESERVED)
