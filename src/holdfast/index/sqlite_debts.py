"""Paying debts: claim, renew, settle, postpone, and finding that a copy is not what it should be.

Answers for: who may pay a debt and when, and what a payment frees. Functions over a `Batch`. It never
touches a grid. Invariant: a copy is recorded only for the version that was current when its debt was claimed and still is;
spool files go only when that version has a copy and no grid that needs them is owed its key.

`due_ms` is the moment from which anybody may claim a debt, so one index serves both the pauses between
attempts and the ends of leases. A debt whose lease ended stays with its holder until somebody else claims it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from holdfast.index.interface import SEVERAL, Debt, Delay, Payment, Pick, Settled, Stuck
from holdfast.index.sqlite_batch import Batch
from holdfast.index.sqlite_objects import (
    INLINE_COLUMN,
    VERSION_COLUMNS,
    release,
    version_of,
)
from holdfast.index.sqlite_owe import doubted, drop_debt, owe_more, owed
from holdfast.index.sqlite_versions import dismiss, end_tombstone, guest_at, overwritten, read_copies
from holdfast.limits import BLOCK_BYTES, PUT_OFF_MAX_S, STUCK_ATTEMPTS
from holdfast.model import Copy, Version, pack

_TAKEN = "seq, bucket, key, since_ms, attempts, holder, due_ms, next_ms, doubt_ms, doubt_seq, reason"

_LARGE = f"size > {BLOCK_BYTES}"
"""As the index `debt_order` has it."""


def _due(large: int, order: str) -> str:
    return (
        f"SELECT {_TAKEN} FROM debt INDEXED BY debt_order"
        f" WHERE grid = ?1 AND ({_LARGE}) = {large} AND due_ms <= ?2 ORDER BY due_ms {order} LIMIT ?3"
    )


DUE = {
    Pick.NEWEST: _due(0, "DESC"),
    Pick.OLDEST: _due(0, "ASC"),
    Pick.LARGE: _due(1, "ASC"),
    Pick.ANY: f"SELECT * FROM ({_due(0, 'ASC')}) UNION ALL SELECT * FROM ({_due(1, 'ASC')}) ORDER BY due_ms LIMIT ?3",
}
"""Debts of a grid (1) that anybody may claim now (2), so many (3): a walk along `debt_order`, one for each size."""

FAR = (
    f"SELECT seq, grid FROM debt INDEXED BY debt_order WHERE grid = ?1 AND ({_LARGE}) = 0 AND due_ms > ?2 UNION ALL"
    f" SELECT seq, grid FROM debt INDEXED BY debt_order WHERE grid = ?1 AND ({_LARGE}) = 1 AND due_ms > ?2 LIMIT ?3"
)
"""Debts of a grid (1) that nobody can have put off so far (2): the clock has been put back since. So many (3)."""

_SUSPECT = "suspect"
"""Reason of what is owed because a copy was found to be wrong."""

_STUCK = f"INDEXED BY debt_stuck WHERE grid = ? AND attempts >= {STUCK_ATTEMPTS}"

_CURRENT = (
    "coalesce((SELECT seq FROM object WHERE bucket = ?1 AND key = ?2),"
    " (SELECT seq FROM tombstone WHERE bucket = ?1 AND key = ?2))"
)
"""The number under which the debts of a key are kept."""

_OF_KEY = _CURRENT.replace("?1", "(SELECT id FROM bucket WHERE name = ?1)")


_LEASED = "seq, bucket, size, since_ms, next_ms, attempts, doubt_ms, doubt_seq"


class _Lease(NamedTuple):
    """A debt as its holder finds it again."""

    seq: int
    bucket: int
    size: int
    since_ms: int
    next_ms: int
    attempts: int
    doubt_ms: int
    doubt_seq: int


def claim(
    batch: Batch, grid: int, holder: str, now_ms: int, lease_until_ms: int, limit: int, pick: Pick
) -> tuple[Debt, ...]:
    """Take debts that are due, or put off beyond what a right clock can have meant."""
    for seq, _ in batch.execute(FAR, (grid, far_ms(now_ms), limit)).fetchall():
        batch.execute("UPDATE debt SET due_ms = ? WHERE seq = ? AND grid = ?", (now_ms, seq, grid))
    rows = batch.execute(DUE[pick], (grid, now_ms, limit)).fetchall()
    return tuple([_take(batch, grid, row, holder, lease_until_ms) for row in rows])


def far_ms(now_ms: int) -> int:
    """The latest moment to which a debt can be put off now."""
    return now_ms + int(PUT_OFF_MAX_S * 1000)


def claim_key(
    batch: Batch, grid: int, bucket: str, key: bytes, holder: str, now_ms: int, lease_until_ms: int
) -> Debt | None:
    """Take one debt unless a lease of it runs."""
    row = batch.execute(
        f"SELECT {_TAKEN} FROM debt WHERE seq = {_OF_KEY} AND grid = ?3"
        " AND (holder = '' OR due_ms <= ?4 OR due_ms > ?5)",
        (bucket, key, grid, now_ms, far_ms(now_ms)),
    ).get
    return None if row is None else _take(batch, grid, row, holder, lease_until_ms)


def _take(batch: Batch, grid: int, row: Sequence[Any], holder: str, lease_until_ms: int) -> Debt:
    seq, bucket, key, since_ms, attempts, dead, _, next_ms, doubt_ms, doubt_seq, reason = row
    if dead:
        # Its lease ran out: nobody knows what its holder did at the grid.
        # Not since its end by the clock, which may have leapt over it: its holder may be at work this very moment.
        doubt_ms, doubt_seq = batch.now_ms, doubted(doubt_ms, seq, next_ms)
    doubt_ms = min(doubt_ms, batch.now_ms)  # In doubt since a moment to come: the clock has been put back.
    batch.execute(
        "UPDATE debt SET holder = ?, due_ms = ?, next_ms = 0, doubt_ms = ?, doubt_seq = ? WHERE seq = ? AND grid = ?",
        (holder, lease_until_ms, doubt_ms, doubt_seq, seq, grid),
    )
    name, policy = batch.execute("SELECT name, policy FROM bucket WHERE id = ?", (bucket,)).get
    version = _current(batch, bucket, key)
    assert version is None or version.seq == seq, "a debt always carries the current sequence number"
    guest = guest_at(batch, bucket, key, grid) if batch.versioning(bucket) else ""
    return Debt(
        grid,
        name,
        key.decode(),
        seq,
        since_ms,
        attempts,
        holder,
        policy,
        version,
        doubt_ms,
        doubt_seq,
        guest=guest,
        suspect=reason == _SUSPECT,
    )


def _current(batch: Batch, bucket: int, key: bytes) -> Version | None:
    row = batch.execute(
        f"SELECT {VERSION_COLUMNS}, {INLINE_COLUMN} FROM object WHERE bucket = ? AND key = ?", (bucket, key)
    ).get
    return None if row is None else version_of(row, row[-1], batch.grids)


def _lease(batch: Batch, debt: Debt) -> _Lease | None:
    """A debt while its holder still has it, under whichever number it has now."""
    # The key counts, too: a version that left its key took its number along, and may be owed under another one.
    row = batch.execute(
        f"SELECT {_LEASED} FROM debt WHERE seq = ? AND grid = ? AND holder = ? AND key = ?",
        (debt.seq, debt.grid, debt.holder, debt.key.encode()),
    ).get
    if row is None:
        row = batch.execute(
            f"SELECT {_LEASED} FROM debt WHERE seq = {_OF_KEY} AND grid = ?3 AND holder = ?4",
            (debt.bucket, debt.key.encode(), debt.grid, debt.holder),
        ).get
    return None if row is None else _Lease._make(row)


def renew(batch: Batch, debt: Debt, lease_until_ms: int) -> bool:
    """Extend a lease; False when somebody else has the debt, or nobody."""
    lease = _lease(batch, debt)
    if lease is None:
        return False
    batch.execute("UPDATE debt SET due_ms = ? WHERE seq = ? AND grid = ?", (lease_until_ms, lease.seq, debt.grid))
    return True


def settle(batch: Batch, payments: Sequence[Payment]) -> Settled:
    """Debts were paid: record the copies, and free what nobody needs any more."""
    paid = 0
    released: list[str] = []
    for payment in payments:
        debt = payment.debt
        lease = _lease(batch, debt)
        if lease is None:
            continue
        if lease.seq != debt.seq:
            # What was paid is the change that was current at the claim; the ones after it are still owed.
            batch.execute(
                "UPDATE debt SET holder = '', due_ms = ?, since_ms = ?, next_ms = 0, attempts = 0"
                " WHERE seq = ? AND grid = ?",
                (batch.now_ms, lease.next_ms or lease.since_ms, lease.seq, debt.grid),
            )
            continue
        drop_debt(batch, lease.seq, debt.grid, lease.size)
        delta = batch.delta(debt.grid)
        delta.paid += 1
        delta.paid_bytes += lease.size
        paid += 1
        etag = payment.etag if debt.grid in batch.grids.live else None
        released.extend(_confirm(batch, lease, debt, etag, payment.wanted))
    return Settled(paid, tuple(released))


def _confirm(
    batch: Batch, lease: _Lease, debt: Debt, etag: str | None, wanted: tuple[int, ...] | None
) -> tuple[str, ...]:
    """A grid matches the index for a key: note its copy, and see what the last debt leaves."""
    bucket, key = lease.bucket, debt.key.encode()
    if batch.versioning(bucket):
        overwritten(batch, bucket, key, debt.grid)
    row = batch.execute("SELECT size, copies, spool FROM object WHERE bucket = ? AND key = ?", (bucket, key)).get
    owing = [debt.grid for debt in owed(batch, lease.seq)]
    if row is None:
        if not owing:
            end_tombstone(batch, bucket, key)
        return ()
    size, packed, owner = row
    copies = move_copy(batch, bucket, batch.grids.present(read_copies(packed)), debt.grid, etag, size)
    released: tuple[str, ...] = ()
    needing, holding = batch.grids.needing(wanted), {copy.grid for copy in copies}
    # A grid that a policy has wanted since a moment ago is owed nothing yet: what it is to hold, it must hold.
    missing = batch.grids.successors(wanted) - holding if wanted is not None else frozenset[int]()
    if owner and not missing and needing.isdisjoint(owing) and not needing.isdisjoint(holding):
        released = release(batch, owner)
        owner = 0
    batch.execute(
        "UPDATE object SET copies = ?, spool = ? WHERE bucket = ? AND key = ?", (pack(copies), owner, bucket, key)
    )
    return released


def move_copy(
    batch: Batch, bucket: int, copies: tuple[Copy, ...], grid: int, etag: str | None, size: int
) -> tuple[Copy, ...]:
    """The copies with this grid's replaced (etag None: without it), its sums adjusted."""
    dismiss(batch, bucket, [copy for copy in copies if copy.grid == grid])
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
        lease = _lease(batch, debt)
        if lease is None:
            continue
        # A change since the claim is due at once, as it is without a lease.
        due_ms = delay.due_ms if lease.seq == debt.seq else min(delay.due_ms, batch.now_ms)
        doubt_ms, doubt_seq = lease.doubt_ms, lease.doubt_seq
        if delay.doubt:
            doubt_ms, doubt_seq = batch.now_ms, doubted(doubt_ms, debt.seq)
        batch.execute(
            "UPDATE debt SET holder = '', due_ms = ?, next_ms = 0, attempts = ?, reason = CASE WHEN ? THEN ? ELSE reason END,"
            " doubt_ms = ?, doubt_seq = ? WHERE seq = ? AND grid = ?",
            (
                due_ms,
                lease.attempts + delay.counts,
                delay.counts,
                delay.reason,
                doubt_ms,
                doubt_seq,
                lease.seq,
                debt.grid,
            ),
        )


def read_grids(connection: apsw.Connection, bucket: str, key: bytes) -> tuple[int, ...]:
    """Grids that are owed a key."""
    rows: list[tuple[Any, ...]] = connection.execute(
        f"SELECT grid FROM debt WHERE seq = {_OF_KEY} ORDER BY grid", (bucket, key)
    ).fetchall()
    return tuple([row[0] for row in rows])


def read_stuck(connection: apsw.Connection, grid: int, limit: int) -> tuple[Stuck, ...]:
    """Debts that were tried in vain again and again."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT (SELECT name FROM bucket WHERE id = debt.bucket), key, size, since_ms, attempts, reason"
        f" FROM debt {_STUCK} LIMIT ?",
        (grid, limit),
    ).fetchall()
    return tuple([Stuck(grid, bucket, key.decode(), *rest) for bucket, key, *rest in rows])


def release_leases(batch: Batch, holder: str, limit: int) -> int:
    """Free up to `limit` debts of which this holder, or one of its requests, has a running lease. Returns how many."""
    rows = batch.execute(
        "SELECT seq, grid, next_ms, doubt_ms FROM grid CROSS JOIN (VALUES (0), (1)) AS large"
        f" JOIN debt INDEXED BY debt_order ON debt.grid = grid.id AND ({_LARGE}) = large.column1 AND due_ms > ?1"
        " WHERE holder = ?2 OR substr(holder, 1, length(?2) + 1) = ?2 || '#' LIMIT ?3",
        (batch.now_ms, holder, limit),
    ).fetchall()
    for seq, grid, next_ms, doubt_ms in rows:
        batch.execute(
            "UPDATE debt SET holder = '', due_ms = ?1, next_ms = 0, doubt_ms = ?1, doubt_seq = ?2 WHERE seq = ?3 AND grid = ?4",
            (batch.now_ms, doubted(doubt_ms, seq, next_ms), seq, grid),
        )
    return len(rows)


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
        (pack(move_copy(batch, number, copies, grid, None, size)), number, key),
    )
    debts = [debt for debt in owed(batch, seq) if debt.grid == grid]
    owe_more(batch, number, key, seq, size, (grid,), seq, debts, now_ms, reason=_SUSPECT)
    # What lies there carries this version's number and is not it: whoever reads back must read all of it. As old as can be,
    # so nobody waits for it.
    batch.execute(
        "UPDATE debt SET doubt_ms = max(doubt_ms, 1), doubt_seq = ? WHERE seq = ? AND grid = ?", (SEVERAL, seq, grid)
    )
    return True
