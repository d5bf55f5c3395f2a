"""Versions that are not current, and delete markers: rows of `history`, and `guest` copies that lie where they do not belong.

Answers for: a version leaves its key without a byte being touched, and comes back when what replaced it is deleted. Its row moves to a key of
its own (`home_of`), where it has debts like any other; the copies that grids have of it lie under the old key still, and whoever
pays there makes way for them first. Functions over a `Batch` or a reading connection. Invariant: a copy with another place
than its row's key has a row in `guest`, and nothing is lost with a row of `history` that is not a row of `object`, or a marker.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import apsw

from holdfast.index.sqlite_batch import Batch
from holdfast.index.sqlite_owe import owe_more, owed
from holdfast.model import Copy, pack, unpacker
from holdfast.s3.versioning import NULL, home_of

read_copies = unpacker(tuple[Copy, ...])
_COLUMNS = "place, version_id, marker, home, at_ms, since_ms"


class Past(NamedTuple):
    """A row of `history`."""

    place: int
    version_id: str
    marker: int
    home: bytes
    at_ms: int
    since_ms: int


def keeps(status: str, version_id: str) -> bool:
    """Whether a version stays when it is replaced, in a bucket of this status."""
    return status == "Enabled" or (status == "Suspended" and version_id != NULL)


def newest(batch: Batch, bucket: int, key: bytes) -> Past | None:
    """The newest version or marker of a key that is no current object."""
    row = batch.execute(
        f"SELECT {_COLUMNS} FROM history WHERE bucket = ? AND key = ? ORDER BY place DESC LIMIT 1", (bucket, key)
    ).get
    return None if row is None else Past._make(row)


def find_past(connection: Any, bucket: int, key: bytes, version_id: str) -> Past | None:
    """A version that is not current, or a marker, by its id. `connection` is a Batch or a connection."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM history WHERE bucket = ? AND key = ? AND version_id = ?", (bucket, key, version_id)
    ).get
    return None if row is None else Past._make(row)


def read_past(connection: apsw.Connection, bucket: int, key: bytes, version_id: str) -> Past | None:
    """As `find_past`; without an id the delete marker that is the latest."""
    if version_id:
        return find_past(connection, bucket, key, version_id)
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM history WHERE bucket = ? AND key = ? AND marker AND since_ms = 0", (bucket, key)
    ).get
    return None if row is None else Past._make(row)


def drop_past(batch: Batch, bucket: int, key: bytes, place: int) -> None:
    """Forget a row of `history`."""
    batch.execute("DELETE FROM history WHERE bucket = ? AND key = ? AND place = ?", (bucket, key, place))


def add_marker(batch: Batch, bucket: int, key: bytes, place: int, version_id: str) -> None:
    """A delete marker becomes the latest."""
    batch.execute(
        f"INSERT INTO history (bucket, key, {_COLUMNS}) VALUES (?, ?, ?, ?, 1, x'', ?, 0)",
        (bucket, key, place, version_id, batch.now_ms),
    )


def pass_marker(batch: Batch, bucket: int, key: bytes) -> None:
    """The latest marker of a key, if that is the latest, is not any more."""
    batch.execute(
        "UPDATE history SET since_ms = ? WHERE bucket = ? AND key = ? AND marker AND since_ms = 0",
        (batch.now_ms, bucket, key),
    )


def return_marker(batch: Batch, bucket: int, key: bytes, past: Past) -> None:
    """A marker is the latest again."""
    batch.execute(
        "UPDATE history SET since_ms = 0 WHERE bucket = ? AND key = ? AND place = ?", (bucket, key, past.place)
    )


def set_aside(
    batch: Batch, bucket: int, key: bytes, seq: int, version_id: str, packed: bytes
) -> tuple[bytes, set[int]]:
    """Move the current version's row to its home; its debts are the caller's, see `owe_home`. Returns the home, and the grids that
    have it under `key`."""
    home = home_of(key.decode(), version_id).encode()
    held = {copy.grid for copy in batch.grids.present(read_copies(packed))}
    _move(batch, bucket, key, home, seq, packed)
    batch.execute(
        f"INSERT INTO history (bucket, key, {_COLUMNS}) VALUES (?, ?, ?, ?, 0, ?, 0, ?)",
        (bucket, key, seq, version_id, home, batch.now_ms),
    )
    return home, held


def owe_home(batch: Batch, bucket: int, home: bytes, seq: int, size: int, grids: Iterable[int]) -> None:
    """A version that was set aside is owed to its home at these grids."""
    before = end_tombstone(batch, bucket, home)
    owe_more(batch, bucket, home, seq, size, grids, before, owed(batch, before) if before else [], batch.now_ms)


def bring_back(batch: Batch, bucket: int, key: bytes, past: Past, grids: set[int]) -> None:
    """A version becomes current again, because what replaced it was deleted. There is no row of `key`, but perhaps a tombstone."""
    seq, size, packed = batch.execute(
        "SELECT seq, size, copies FROM object WHERE bucket = ? AND key = ?", (bucket, past.home)
    ).get
    held = {copy.grid for copy in batch.grids.present(read_copies(packed))}
    _move(batch, bucket, past.home, key, seq, packed)
    drop_past(batch, bucket, key, past.place)
    # Its home is to be empty once the key has it again.
    gone = batch.next_seq()
    debts = owed(batch, seq)
    if grids or held or debts:
        add_tombstone(batch, bucket, past.home, gone)
        owe_more(batch, bucket, past.home, gone, 0, grids | held, seq, debts, batch.now_ms)
    before = end_tombstone(batch, bucket, key)
    debts = owed(batch, before) if before else []
    owe_more(batch, bucket, key, seq, size, grids | held, before, debts, batch.now_ms)


def _move(batch: Batch, bucket: int, key: bytes, target: bytes, seq: int, packed: bytes) -> None:
    """Give a row of `object` another key. Its copies stay where they are."""
    copies = tuple([_placed(batch, bucket, copy, key, target) for copy in read_copies(packed)])
    batch.execute(
        "UPDATE object SET key = ?, copies = ? WHERE bucket = ? AND key = ?", (target, pack(copies), bucket, key)
    )
    batch.execute("UPDATE body SET key = ? WHERE seq = ?", (target, seq))


def _placed(batch: Batch, bucket: int, copy: Copy, key: bytes, target: bytes) -> Copy:
    """A copy of a row that moves from `key` to `target`, with its row in `guest`."""
    lies = copy.at.encode() or key
    if copy.at:
        batch.execute("DELETE FROM guest WHERE bucket = ? AND key = ? AND grid = ?", (bucket, lies, copy.grid))
    if lies == target:
        return Copy(copy.grid, copy.etag)
    batch.execute(
        "INSERT OR REPLACE INTO guest (bucket, key, grid, home) VALUES (?, ?, ?, ?)", (bucket, lies, copy.grid, target)
    )
    return Copy(copy.grid, copy.etag, lies.decode())


# --- guests ---


def guest_at(batch: Batch, bucket: int, key: bytes, grid: int) -> str:
    """The key of the version whose copy lies under `key` at a grid and belongs elsewhere; empty when there is none."""
    home: bytes | None = batch.execute(
        "SELECT home FROM guest WHERE bucket = ? AND key = ? AND grid = ?", (bucket, key, grid)
    ).get
    return "" if home is None else home.decode()


def dismiss(batch: Batch, bucket: int, copies: Iterable[Copy]) -> None:
    """These copies are no longer counted: nobody makes way for them."""
    for copy in copies:
        if copy.at:
            batch.execute(
                "DELETE FROM guest WHERE bucket = ? AND key = ? AND grid = ?", (bucket, copy.at.encode(), copy.grid)
            )


def overwritten(batch: Batch, bucket: int, key: bytes, grid: int) -> None:
    """A grid has something else under `key` now: a guest that was there is held no more."""
    home = guest_at(batch, bucket, key, grid)
    if not home:
        return
    row = batch.execute("SELECT size, copies FROM object WHERE bucket = ? AND key = ?", (bucket, home.encode())).get
    batch.execute("DELETE FROM guest WHERE bucket = ? AND key = ? AND grid = ?", (bucket, key, grid))
    if row is None:
        return
    size, packed = row
    lies = key.decode()
    copies = read_copies(packed)
    kept = tuple([copy for copy in copies if copy.grid != grid or copy.at != lies])
    if len(kept) < len(copies):
        delta = batch.delta(grid)
        delta.held -= 1
        delta.held_bytes -= size
        batch.execute("UPDATE object SET copies = ? WHERE bucket = ? AND key = ?", (pack(kept), bucket, home.encode()))


# --- tombstones ---


def add_tombstone(batch: Batch, bucket: int, key: bytes, seq: int) -> None:
    """Remember a deletion until every grid has confirmed it."""
    batch.execute(
        "INSERT INTO tombstone (bucket, key, seq, at_ms) VALUES (?, ?, ?, ?)", (bucket, key, seq, batch.now_ms)
    )
    batch.tombstones += 1


def end_tombstone(batch: Batch, bucket: int, key: bytes) -> int:
    """Forget a deletion. Returns its sequence number, 0 when there was none."""
    seq: int | None = batch.execute(
        "DELETE FROM tombstone WHERE bucket = ? AND key = ? RETURNING seq", (bucket, key)
    ).get
    if seq is None:
        return 0
    batch.tombstones -= 1
    return seq
