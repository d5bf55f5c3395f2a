"""A bucket that keeps versions, in a simulation: what its clients were told of versions, and what must be so in the end.

Answers for: every acknowledged version and delete marker is listed and reads right until it is deleted by its id, and then
never comes back. It only asks the gateway, as clients do. Invariant: only versions that are certainly not current are deleted
here, so that the history of current versions is that of any bucket.
"""

import random

from holdfast.s3.versioning import home_of
from holdfast.testing.lab.network.client import Client
from holdfast.xml import Element, parse_xml

Known = dict[tuple[str, str], str]
"""Key and version id to the etag, empty for a delete marker."""


class Keeping:
    """What clients know of versions. Nothing when the bucket keeps none."""

    def __init__(self, on: bool) -> None:
        self.on = on
        self.told: Known = {}
        """Acknowledged, and not deleted since."""
        self.gone: set[tuple[str, str]] = set()
        """Their deletion was acknowledged."""

    def heard(self, key: str, version_id: str, etag: str) -> None:
        """A write was acknowledged."""
        if version_id:
            self.told[key, version_id] = etag

    def old(self, dice: random.Random) -> tuple[str, str] | None:
        """A version that is not current: ids of a key sort newest first."""
        newest: dict[str, str] = {}
        for key, version_id in self.told:
            newest[key] = min(version_id, newest.get(key, version_id))
        old = sorted((key, version_id) for key, version_id in self.told if version_id > newest[key])
        return dice.choice(old) if old else None

    def forget(self, place: tuple[str, str], *, certain: bool) -> None:
        """A version's deletion was asked for, and perhaps acknowledged."""
        self.told.pop(place, None)
        if certain:
            self.gone.add(place)

    def wrong(self, listed: Known) -> list[str]:
        """What a listing of all versions says that must not be so."""
        found = [
            f"version {version_id} of {key}: {listed.get((key, version_id))!r} is listed and {etag!r} was acknowledged"
            for (key, version_id), etag in self.told.items()
            if listed.get((key, version_id)) != etag
        ]
        return found + [
            f"version {version_id} of {key} came back" for key, version_id in sorted(self.gone & listed.keys())
        ]


async def keep_versions(client: Client, bucket: str) -> None:
    """Switch versioning on."""
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    reply = await client.ask("PUT", f"/{bucket}", [("versioning", "")], body)
    assert reply.status == 200, reply.head


async def list_versions(client: Client, bucket: str) -> tuple[Known, dict[str, str]]:
    """All versions and markers; and where grids keep those that are not current, with their etags."""
    found: Known = {}
    homes: dict[str, str] = {}
    query = [("versions", ""), ("max-keys", "7")]
    while True:
        reply = await client.ask("GET", f"/{bucket}", query)
        assert reply.status == 200, reply.head
        result = parse_xml(reply.content, "ListVersionsResult")
        for row in result.children:
            if row.name in ("Version", "DeleteMarker"):
                _take(row, found, homes)
        marker = result.get("NextKeyMarker")
        if marker is None:
            return found, homes
        query = [("versions", ""), ("max-keys", "7"), ("key-marker", marker)]
        query.append(("version-id-marker", result.get("NextVersionIdMarker") or ""))


def _take(row: Element, found: Known, homes: dict[str, str]) -> None:
    key, version_id, etag = (row.get(name) or "" for name in ("Key", "VersionId", "ETag"))
    found[key, version_id] = etag.strip('"')
    if row.name == "Version" and row.get("IsLatest") == "false":
        homes[home_of(key, version_id)] = etag.strip('"')
