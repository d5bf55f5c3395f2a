"""Listings of keys: what is asked, and a page of what there is."""

from holdfast.model import Value, Version


class ListObjects(Value, frozen=True):
    """ListObjects (`v2` false) and ListObjectsV2. `after` is the exclusive lower bound that the request's
    marker, start-after or continuation token means; the raw texts are kept to be echoed."""

    bucket: str
    v2: bool
    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    limit: int = 1000
    encode: bool = False
    """encoding-type=url"""
    fetch_owner: bool = False
    marker: str | None = None
    start_after: str | None = None
    token: str | None = None


class ListVersions(Value, frozen=True):
    bucket: str
    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    version_marker: str = ""
    limit: int = 1000
    encode: bool = False


class Page(Value, frozen=True):
    """A page of keys: `versions` and `prefixes` together are at most the limit and each is in byte order.
    `next` is the key or common prefix to go on after, empty at the end."""

    versions: tuple[tuple[str, Version], ...]
    prefixes: tuple[str, ...]
    next: str


class ObjectsListed(Value, frozen=True):
    ask: ListObjects
    page: Page
    owner: str
    """Of the bucket, and of what has no other owner."""
    names: dict[str, str] = {}
    """Display names by canonical id."""
