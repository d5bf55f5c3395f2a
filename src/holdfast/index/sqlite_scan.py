"""Listings: walks along the keys of a bucket, on the reading connection.

Answers for: pages in UTF-8 byte order whose cost grows with what they return. A walk reads a slice of rows at
a time and gives the event loop its turn between slices; no cursor stays open meanwhile, so each
slice sees the last commit. Invariant: a key or common prefix appears at most once in a walk from page to page.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

import apsw

from holdfast.index.sqlite_batch import GridBook
from holdfast.index.sqlite_objects import VERSION_COLUMNS, version_of
from holdfast.index.sqlite_uploads import read_upload
from holdfast.limits import READ_SLICE
from holdfast.model import Facts, Version, replace
from holdfast.s3 import Page, Upload, UploadsPage
from holdfast.s3.versioning import RESERVED, VersionEntry, VersionsPage

Row = tuple[Any, ...]
"""The key is its first column."""
HIDDEN = RESERVED.encode()
HIDDEN_END = HIDDEN[:-1] + b"0"
"""Between these are the versions that are not current."""


class Rows(Protocol):
    """Something ordered by key that can be read from any position."""

    def at(self, key: bytes) -> Row:
        """The position of the first row whose key is `key` or above."""
        ...

    def behind(self, row: Row) -> Row:
        """The position after a row."""
        ...

    def read(self, position: Row, bound: bytes | None, limit: int) -> apsw.Cursor:
        """Rows from a position on with keys below `bound`."""
        ...


class _Objects:
    """Current versions of a bucket; a position is the least key."""

    def __init__(self, connection: apsw.Connection, bucket: int) -> None:
        self._execute = connection.execute
        self._bucket = bucket

    def at(self, key: bytes) -> Row:
        return (key,)

    def behind(self, row: Row) -> Row:
        return (row[0] + b"\0",)

    def read(self, position: Row, bound: bytes | None, limit: int) -> apsw.Cursor:
        if bound is None:
            return self._execute(
                f"SELECT key, {VERSION_COLUMNS} FROM object WHERE bucket = ? AND key >= ? ORDER BY key LIMIT ?",
                (self._bucket, *position, limit),
            )
        return self._execute(
            f"SELECT key, {VERSION_COLUMNS} FROM object WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
            (self._bucket, *position, bound, limit),
        )


class _Versions:
    """Versions and delete markers of a bucket, current or not; a position is a key and the number of the version after which to go
    on. The columns behind the key: number, id, marker, home, time of a marker, since when it is not the latest, and the
    version's own."""

    def __init__(self, connection: apsw.Connection, bucket: int) -> None:
        self._execute = connection.execute
        self._bucket = bucket

    def at(self, key: bytes) -> Row:
        return (key, NEWEST)

    def behind(self, row: Row) -> Row:
        return (row[0], row[1])

    def read(self, position: Row, bound: bytes | None, limit: int) -> apsw.Cursor:
        below = "" if bound is None else " AND key < ?4"
        # Each half is a walk along its own key; both are merged in order.
        columns = ", ".join(f"object.{name}" for name in VERSION_COLUMNS.split(", "))
        return self._execute(
            f"SELECT * FROM (SELECT key, seq, version_id, 0, x'', 0, 0, {VERSION_COLUMNS} FROM object"
            f" WHERE bucket = ?1 AND key >= ?2 AND (key, -seq) > (?2, -?3){below} ORDER BY key LIMIT ?5)"
            f" UNION ALL SELECT * FROM (SELECT history.key, place, history.version_id, marker, home, at_ms, since_ms, {columns}"
            " FROM history LEFT JOIN object ON object.bucket = history.bucket AND object.key = history.home"
            " WHERE history.bucket = ?1 AND history.key >= ?2 AND (history.key, -place) > (?2, -?3)"
            f"{below.replace('key', 'history.key')} ORDER BY history.key, place DESC LIMIT ?5)"
            " ORDER BY 1, 2 DESC LIMIT ?5",
            (self._bucket, *position, *((b"",) if bound is None else (bound,)), limit),
        )


class _Uploads:
    """Uploads of a bucket by key, initiation and id; a position is what the row before it has."""

    def __init__(self, connection: apsw.Connection, bucket: int) -> None:
        self._execute = connection.execute
        self._bucket = bucket

    def at(self, key: bytes) -> Row:
        return (key, -1, "")

    def behind(self, row: Row) -> Row:
        return (row[0], row[1], row[2])

    def read(self, position: Row, bound: bytes | None, limit: int) -> apsw.Cursor:
        below = "" if bound is None else " AND key < ?"
        return self._execute(
            "SELECT key, initiated_ms, id, data FROM upload WHERE bucket = ? AND (key, initiated_ms, id) > (?, ?, ?)"
            f"{below} ORDER BY key, initiated_ms, id LIMIT ?",
            (self._bucket, *position, *(() if bound is None else (bound,)), limit),
        )


NEWEST = 1 << 62
"""Above every number of a version."""


def above(prefix: bytes) -> bytes | None:
    """The least bytes that sort after everything that begins with `prefix`; None when there are none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


def common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """What `key` is rolled into: up to and with the first delimiter after the prefix; None when it is listed itself."""
    if not delimiter:
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def first_key(prefix: bytes, delimiter: bytes, after: bytes) -> bytes | None:
    """The least key with `prefix` that may be given after `after`; None when there can be none. A
    common prefix that `after` begins with was given before."""
    if not after or after < prefix:
        return prefix
    if not after.startswith(prefix):
        return None
    rolled = common_prefix(after, prefix, delimiter)
    return after + b"\0" if rolled is None else above(rolled)


def walk(
    rows: Rows, position: Row | None, prefix: bytes, delimiter: bytes, wanted: int, *, hides: bool = True
) -> Iterator[tuple[bytes, Row | None] | None]:
    """At most `wanted` entries in order: a key with its row, or a common prefix with None, each reached by one seek.

    What is kept under the reserved prefix is passed by when the walk `hides` it. None in between says that no cursor is open and the event loop should have its turn.
    """
    bound = above(prefix)
    given = 0
    read = 0
    while position is not None and given < wanted:
        if HIDDEN <= position[0] < HIDDEN_END and hides:
            position = rows.at(HIDDEN_END)
        limit = min(wanted - given, READ_SLICE)
        cursor = rows.read(position, bound, limit)
        position = None
        got = 0
        for row in cursor:
            got += 1
            if hides and row[0].startswith(HIDDEN):
                cursor.close()
                position = rows.at(HIDDEN_END)
                break
            given += 1
            rolled = common_prefix(row[0], prefix, delimiter)
            if rolled is not None:
                cursor.close()
                beyond = above(rolled)
                position = None if beyond is None else rows.at(beyond)
                yield rolled, None
                break
            if got == limit:
                position = rows.behind(row)
            yield row[0], row
        read += got
        if read >= READ_SLICE:
            read = 0
            yield None


async def scan(
    connection: apsw.Connection,
    grids: GridBook,
    bucket: int,
    *,
    prefix: bytes,
    delimiter: bytes,
    after: bytes,
    limit: int,
    all_kept: bool = False,
) -> Page:
    """A page of current versions and common prefixes; with `all_kept` of all versions, each under the key where it is kept."""
    versions: list[tuple[str, Version]] = []
    prefixes: list[str] = []
    start = first_key(prefix, delimiter, after)
    if limit <= 0 or start is None:
        return Page((), (), "")
    last = ""
    rows = _Objects(connection, bucket)
    hides = not all_kept and start < HIDDEN_END
    for entry in walk(rows, rows.at(start), prefix, delimiter, limit + 1, hides=hides):
        if entry is None:
            await asyncio.sleep(0)
            continue
        if len(versions) + len(prefixes) == limit:
            return Page(tuple(versions), tuple(prefixes), last)
        key, row = entry
        last = key.decode()
        if row is None:
            prefixes.append(last)
        else:
            versions.append((last, version_of(row[1:], None, grids)))
    return Page(tuple(versions), tuple(prefixes), "")


async def scan_versions(
    connection: apsw.Connection,
    grids: GridBook,
    bucket: int,
    *,
    prefix: bytes,
    delimiter: bytes,
    key_marker: bytes,
    version_marker: str,
    limit: int,
) -> VersionsPage:
    """A page of versions, delete markers and common prefixes. A version marker that is gone stands for the end of its key."""
    rows = _Versions(connection, bucket)
    start = first_key(prefix, delimiter, key_marker)
    position = None if start is None else rows.at(start)
    if version_marker and key_marker and start == key_marker + b"\0":
        place: int | None = connection.execute(
            "SELECT seq FROM object WHERE bucket = ?1 AND key = ?2 AND version_id = ?3 UNION ALL"
            " SELECT place FROM history WHERE bucket = ?1 AND key = ?2 AND version_id = ?3",
            (bucket, key_marker, version_marker),
        ).get
        position = position if place is None else (key_marker, place)
    entries: list[VersionEntry] = []
    prefixes: list[str] = []
    if limit <= 0 or position is None:
        return VersionsPage((), (), "", "")
    last = ("", "")
    for entry in walk(rows, position, prefix, delimiter, limit + 1):
        if entry is None:
            await asyncio.sleep(0)
            continue
        if len(entries) + len(prefixes) == limit:
            return VersionsPage(tuple(entries), tuple(prefixes), *last)
        key, row = entry
        if row is None:
            prefixes.append(key.decode())
            last = (prefixes[-1], "")
        else:
            entries.append(_entry(row, grids))
            last = (entries[-1].key, entries[-1].version.version_id)
    return VersionsPage(tuple(entries), tuple(prefixes), "", "")


def _entry(row: Row, grids: GridBook) -> VersionEntry:
    key, place, version_id, marker, home, at_ms, since_ms, *columns = row
    if marker:
        version = marker_of(place, version_id, at_ms)
        return VersionEntry(key.decode(), version, since_ms == 0, since_ms)
    version = version_of(columns, None, grids)
    if home:
        version = replace(version, home=home.decode())
    return VersionEntry(key.decode(), version, not home, since_ms)


def marker_of(place: int, version_id: str, at_ms: int) -> Version:
    """A delete marker."""
    return Version(place, 0, "", at_ms, Facts(), (), 0, version_id=version_id, marker=True)


async def list_uploads(
    connection: apsw.Connection,
    bucket: int,
    *,
    prefix: bytes,
    delimiter: bytes,
    key_marker: bytes,
    upload_marker: str,
    limit: int,
) -> UploadsPage:
    """A page of uploads. With `upload_marker`, other uploads of `key_marker` itself that come after that one are
    given too; when it is gone its place is unknown, and all uploads of that key are given rather than none."""
    rows = _Uploads(connection, bucket)
    start = first_key(prefix, delimiter, key_marker)
    position = None if start is None else rows.at(start)
    if upload_marker and key_marker and start == key_marker + b"\0":
        initiated_ms = connection.execute(
            "SELECT initiated_ms FROM upload WHERE id = ? AND bucket = ? AND key = ?",
            (upload_marker, bucket, key_marker),
        ).get
        position = rows.at(key_marker) if initiated_ms is None else (key_marker, initiated_ms, upload_marker)
    if limit <= 0 or position is None:
        return UploadsPage((), (), "", "")
    uploads: list[Upload] = []
    prefixes: list[str] = []
    last = ("", "")
    for entry in walk(rows, position, prefix, delimiter, limit + 1):
        if entry is None:
            await asyncio.sleep(0)
            continue
        if len(uploads) + len(prefixes) == limit:
            return UploadsPage(tuple(uploads), tuple(prefixes), *last)
        key, row = entry
        if row is None:
            prefixes.append(key.decode())
            last = (prefixes[-1], "")
        else:
            uploads.append(read_upload(row[3]))
            last = (uploads[-1].key, uploads[-1].upload_id)
    return UploadsPage(tuple(uploads), tuple(prefixes), "", "")
