"""Paying debts: claim, renew, settle, postpone, and finding that a copy is not what it should be.

Answers for: who may pay a debt and when, and what a payment frees. Functions over a `Batch`. It never
touches a grid. Invariant: a copy is recorded only for the version that was current when its debt was claimed and still is;
spool files go only when that version has a copy and nothing is owed for its key.

`due_ms` is the moment from which anybody may claim a debt, so one index serves both the pauses between
attempts and the ends of leases. A debt whose lease ended stays with its holder until somebody else claims it.
"""

from collections.abc import Sequence
from typing import Any

import apsw

from holdfast.index.interface import Debt, Delay, Payment, Settled
from holdfast.index.sqlite_batch import Batch
from holdfast.index.sqlite_objects import (
    INLINE_COLUMN,
    VERSION_COLUMNS,
    end_tombstone,
    read_copies,
    release,
    version_of,
)
from holdfast.index.sqlite_owe import owe_more, owed, settle_debt
from holdfast.limits import READ_SLICE
from holdfast.model import Copy, Version, pack

DUE = (
    "SELECT bucket, key, seq, since_ms, attempts FROM debt INDEXED BY debt_due"
    " WHERE grid = ? AND due_ms <= ? ORDER BY due_ms LIMIT ?"
)
"""Debts of a grid that anybody may claim, the soonest due first: one walk along `debt_due`."""


def claim(batch: Batch, grid: int, holder: str, now_ms: int, lease_until_ms: int, limit: int) -> tuple[Debt, ...]:
    """Take debts that are due."""
    rows = batch.execute(DUE, (grid, now_ms, limit)).fetchall()
    return tuple([_take(batch, grid, row, holder, lease_until_ms) for row in rows])


def claim_key(
    batch: Batch, grid: int, bucket: str, key: bytes, holder: str, now_ms: int, lease_until_ms: int
) -> Debt | None:
    """Take one debt unless a lease of it runs."""
    row = batch.execute(
        "SELECT bucket, key, seq, since_ms, attempts FROM debt"
        " WHERE bucket = (SELECT id FROM bucket WHERE name = ?) AND key = ? AND grid = ?"
        " AND (holder = '' OR due_ms <= ?)",
        (bucket, key, grid, now_ms),
    ).get
    return None if row is None else _take(batch, grid, row, holder, lease_until_ms)


def _take(batch: Batch, grid: int, row: Sequence[Any], holder: str, lease_until_ms: int) -> Debt:
    bucket, key, seq, since_ms, attempts = row
    batch.execute(
        "UPDATE debt SET holder = ?, due_ms = ?, next_ms = 0 WHERE bucket = ? AND key = ? AND grid = ?",
        (holder, lease_until_ms, bucket, key, grid),
    )
    name, policy = batch.execute("SELECT name, policy FROM bucket WHERE id = ?", (bucket,)).get
    version = _current(batch, bucket, key)
    assert version is None or version.seq == seq, "a debt always carries the current sequence number"
    return Debt(grid, name, key.decode(), seq, since_ms, attempts, holder, policy, version)


def _current(batch: Batch, bucket: int, key: bytes) -> Version | None:
    row = batch.execute(
        f"SELECT {VERSION_COLUMNS}, {INLINE_COLUMN} FROM object WHERE bucket = ? AND key = ?", (bucket, key)
    ).get
    return None if row is None else version_of(row, row[9], batch.grids)


def renew(batch: Batch, debt: Debt, lease_until_ms: int) -> bool:
    """Extend a lease; False when somebody else has the debt, or nobody."""
    key = debt.key.encode()
    found = _held(batch, debt, key)
    if found is None:
        return False
    batch.execute(
        "UPDATE debt SET due_ms = ? WHERE bucket = ? AND key = ? AND grid = ?",
        (lease_until_ms, found[0], key, debt.grid),
    )
    return True


def _held(batch: Batch, debt: Debt, key: bytes) -> tuple[int, int, int, int, int, int] | None:
    """The row of a debt (bucket, seq, size, since_ms, next_ms, attempts) while its holder still has it."""
    found: tuple[int, int, int, int, int, int] | None = batch.execute(
        "SELECT bucket, seq, size, since_ms, next_ms, attempts FROM debt"
        " WHERE bucket = (SELECT id FROM bucket WHERE name = ?) AND key = ? AND grid = ? AND holder = ?",
        (debt.bucket, key, debt.grid, debt.holder),
    ).get
    return found


def settle(batch: Batch, payments: Sequence[Payment]) -> Settled:
    """Debts were paid: record the copies, and free what nobody needs any more."""
    paid = 0
    released: list[str] = []
    for payment in payments:
        debt = payment.debt
        key = debt.key.encode()
        found = _held(batch, debt, key)
        if found is None:
            continue
        bucket, seq, size, since_ms, next_ms, _ = found
        if seq != debt.seq:
            # What was paid is the change that was current at the claim; the ones after it are still owed.
            batch.execute(
                "UPDATE debt SET holder = '', due_ms = ?, since_ms = ?, next_ms = 0, attempts = 0"
                " WHERE bucket = ? AND key = ? AND grid = ?",
                (batch.now_ms, next_ms or since_ms, bucket, key, debt.grid),
            )
            continue
        settle_debt(batch, bucket, key, debt.grid, size)
        batch.delta(debt.grid).paid += 1
        paid += 1
        etag = payment.etag if debt.grid in batch.grids.live else None
        released.extend(_confirm(batch, bucket, key, debt.grid, etag))
    return Settled(paid, tuple(released))


def _confirm(batch: Batch, bucket: int, key: bytes, grid: int, etag: str | None) -> tuple[str, ...]:
    """A grid matches the index for a key: note its copy, and see what the last debt leaves."""
    row = batch.execute("SELECT size, copies, spool FROM object WHERE bucket = ? AND key = ?", (bucket, key)).get
    owing = batch.execute("SELECT 1 FROM debt WHERE bucket = ? AND key = ? LIMIT 1", (bucket, key)).get
    if row is None:
        if owing is None:
            end_tombstone(batch, bucket, key)
        return ()
    size, packed, owner = row
    copies = move_copy(batch, batch.grids.present(read_copies(packed)), grid, etag, size)
    released: tuple[str, ...] = ()
    if owner and owing is None and copies:
        released = release(batch, owner)
        owner = 0
    batch.execute(
        "UPDATE object SET copies = ?, spool = ? WHERE bucket = ? AND key = ?", (pack(copies), owner, bucket, key)
    )
    return released


def move_copy(batch: Batch, copies: tuple[Copy, ...], grid: int, etag: str | None, size: int) -> tuple[Copy, ...]:
    """The copies with this grid's replaced (etag None: without it), its sums adjusted."""
    others = tuple([copy for copy in copies if copy.grid != grid])
    change = (etag is not None) - (len(others) != len(copies))
    if change:
        delta = batch.delta(grid)
        delta.held += change
        delta.held_bytes += change * size
    return others if etag is None else (*others, Copy(grid, etag))


def postpone(batch: Batch, delays: Sequence[Delay]) -> None:
    """Debts could not be paid: give them back."""
    for delay in delays:
        debt = delay.debt
        key = debt.key.encode()
        found = _held(batch, debt, key)
        if found is None:
            continue
        bucket, seq, _, _, _, attempts = found
        # A change since the claim is due at once, as it is without a lease.
        due_ms = delay.due_ms if seq == debt.seq else min(delay.due_ms, batch.now_ms)
        batch.execute(
            "UPDATE debt SET holder = '', due_ms = ?, next_ms = 0, attempts = ?, reason = ?"
            " WHERE bucket = ? AND key = ? AND grid = ?",
            (due_ms, attempts + delay.counts, delay.reason, bucket, key, debt.grid),
        )


Place = tuple[int, bytes, int]
"""Bucket, key and grid of a debt."""


def leased_by(connection: apsw.Connection, holder: str, after: Place) -> tuple[list[Place], Place, bool]:
    """Debts of a holder among the next rows after a place, the last place looked at, and whether there are more."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT bucket, key, grid, holder FROM debt WHERE (bucket, key, grid) > (?, ?, ?)"
        " ORDER BY bucket, key, grid LIMIT ?",
        (*after, READ_SLICE),
    ).fetchall()
    places: list[Place] = [(row[0], row[1], row[2]) for row in rows if row[3] == holder]
    return places, rows[-1][:3] if rows else after, len(rows) == READ_SLICE


def read_grids(connection: apsw.Connection, bucket: str, key: bytes) -> tuple[int, ...]:
    """Grids that are owed a key."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT grid FROM debt WHERE bucket = (SELECT id FROM bucket WHERE name = ?) AND key = ? ORDER BY grid",
        (bucket, key),
    ).fetchall()
    return tuple([row[0] for row in rows])


def release_leases(batch: Batch, holder: str, places: Sequence[Place]) -> int:
    """Free these debts where the holder has them. Returns how many."""
    before = batch.connection.total_changes()
    for place in places:
        batch.execute(
            "UPDATE debt SET holder = '', due_ms = ?, next_ms = 0"
            " WHERE bucket = ? AND key = ? AND grid = ? AND holder = ?",
            (batch.now_ms, *place, holder),
        )
    return batch.connection.total_changes() - before


def suspect(batch: Batch, bucket: str, key: bytes, seq: int, grid: int, now_ms: int) -> bool:
    """The copy of a version on a grid is not what it should be."""
    number = batch.bucket(bucket)
    row = batch.execute(
        "SELECT size, copies FROM object WHERE bucket = ? AND key = ? AND seq = ?", (number, key, seq)
    ).get
    if row is None:
        return False
    size, packed = row
    copies = batch.grids.present(read_copies(packed))
    if all(copy.grid != grid for copy in copies):
        return False
    batch.execute(
        "UPDATE object SET copies = ? WHERE bucket = ? AND key = ?",
        (pack(move_copy(batch, copies, grid, None, size)), number, key),
    )
    debts = [debt for debt in owed(batch, number, key) if debt.grid == grid]
    owe_more(batch, number, key, seq, size, (grid,), debts, now_ms, reason="suspect")
    return True
