"""Grids as the index numbers them, and making debts match a policy.

Answers for: which row stands for a configured place, what happens to the rows of a place that was replaced,
and which debts a policy asks for. Functions over a `Batch`. Invariant: a retired row never comes
back to life, so a copy that was recorded for a lost place is never believed again.
"""

from typing import Any

import apsw

from holdfast.index.interface import SEVERAL, GridRow, GridSums, Reconciled
from holdfast.index.sqlite_batch import Batch, Steps
from holdfast.index.sqlite_objects import drop_body, release
from holdfast.index.sqlite_owe import drop_debt, owe_anew, owed
from holdfast.index.sqlite_versions import end_tombstone, read_copies
from holdfast.limits import COMMIT_SLICE, STUCK_ATTEMPTS


def register(batch: Batch, name: str, identity: str, url: str) -> GridRow:
    """The row of this place; rows of other places with its name are retired."""
    rows: list[tuple[int, str, str, int]] = batch.execute(
        "SELECT id, identity, url, retired FROM grid WHERE name = ?", (name,)
    ).fetchall()
    live = next((row for row in rows if not row[3]), None)
    number = None
    if live is not None:
        # A retired identity is hearsay: the place was replaced since it was asked. Without an identity the place was
        # not seen yet. Either way it is the one that has the name now.
        known = not identity or any(row[1] == identity and row[3] for row in rows)
        if known:
            identity = live[1]
        if identity == live[1] or not live[1]:
            number = live[0]
    if number is None:
        batch.execute("UPDATE grid SET retired = 1 WHERE name = ?", (name,))
        number = batch.execute(
            "INSERT INTO grid (name, identity, url, retired, held, held_bytes, debts, debt_bytes, paid)"
            " VALUES (?, ?, ?, 0, 0, 0, 0, 0, 0) RETURNING id",
            (name, identity, url),
        ).get
        batch.grids.read(batch.connection)
    elif live is not None and live[1:3] != (identity, url):
        batch.execute("UPDATE grid SET identity = ?, url = ? WHERE id = ?", (identity, url, number))
    return GridRow(number, name, identity, url, False)


def inherit(batch: Batch, heir: int, limit: int) -> Steps[int]:
    """Hand up to `limit` debts of retired grids of its name to a grid; returns how many were looked at.

    The new place owes what the lost one did, except deletions: nothing is there to be deleted.
    """
    names = [retired for retired, live in batch.grids.heirs.items() if live == heir]
    looked = 0
    for retired in names:
        rows = batch.execute(
            "SELECT bucket, key, seq, size, since_ms, holder != '' OR doubt_ms FROM debt WHERE grid = ? LIMIT ?",
            (retired, limit - looked),
        ).fetchall()
        for bucket, key, seq, size, since_ms, busy in rows:
            looked += 1
            drop_debt(batch, seq, retired, size)
            current = batch.execute("SELECT 1 FROM object WHERE bucket = ? AND key = ?", (bucket, key)).get
            others = owed(batch, seq)
            if current is None and not busy:
                if not others:
                    end_tombstone(batch, bucket, key)
            elif all(debt.grid != heir for debt in others):
                owe_anew(batch, bucket, key, seq, size, (heir,), since_ms, reason="replaced")
            if busy:  # A change that is under way may still arrive, at the new place.
                batch.execute(
                    "UPDATE debt SET doubt_ms = ?, doubt_seq = ? WHERE seq = ? AND grid = ?",
                    (batch.now_ms, SEVERAL, seq, heir),
                )
            if looked % COMMIT_SLICE == 0:
                yield
    return looked


def reconcile(
    batch: Batch, bucket_name: str, wanted: tuple[int, ...], after: bytes, limit: int, now_ms: int
) -> Steps[Reconciled]:
    """Record the debts that the policy asks for and nobody recorded, and let go of spool files that it keeps for nobody.
    Raises NoSuchBucket."""
    bucket = batch.bucket(bucket_name)
    needed = batch.grids.successors(wanted)
    released: list[str] = []
    looked = 0
    while looked < limit:
        rows = batch.execute(
            "SELECT key, seq, size, copies, spool FROM object WHERE bucket = ? AND key > ? ORDER BY key LIMIT ?",
            (bucket, after, min(COMMIT_SLICE, limit - looked)),
        ).fetchall()
        if not rows:
            return Reconciled("", tuple(released))
        for key, seq, size, packed, owner in rows:
            held = {copy.grid for copy in batch.grids.present(read_copies(packed))}
            missing = needed ^ held
            if missing:
                missing.difference_update([debt.grid for debt in owed(batch, seq)])
                owe_anew(batch, bucket, key, seq, size, missing, now_ms, reason="policy")
            if owner and needed <= held:
                released.extend(release(batch, owner))
                batch.execute("UPDATE object SET spool = 0 WHERE bucket = ? AND key = ?", (bucket, key))
        looked += len(rows)
        after = rows[-1][0]
        yield
    return Reconciled(after.decode(), tuple(released))


def trim(
    batch: Batch, keep_bytes: int, after: int, limit: int, wanted: tuple[int, ...] | None
) -> Steps[tuple[int, int]]:
    """Drop bodies above sequence number `after` that copies stand for and no debt needs, the oldest first. Returns bytes
    freed and the last number looked at, 0 at the end."""
    needing = batch.grids.needing(wanted)
    freed = 0
    looked = 0
    while looked < limit and batch.inline_bytes > keep_bytes:
        rows = batch.execute(
            "SELECT body.seq, body.bucket, body.key, object.copies FROM body"
            " CROSS JOIN object ON object.bucket = body.bucket AND object.key = body.key"
            " WHERE body.seq > ? ORDER BY body.seq LIMIT ?",
            (after, min(COMMIT_SLICE, limit - looked)),
        ).fetchall()
        if not rows:
            return freed, 0
        for seq, bucket, key, packed in rows:
            if batch.inline_bytes <= keep_bytes:
                break
            after = seq
            looked += 1
            holding = [copy.grid for copy in batch.grids.present(read_copies(packed))]
            if needing.isdisjoint(holding) or not needing.isdisjoint([debt.grid for debt in owed(batch, seq)]):
                continue
            batch.execute("UPDATE object SET inline = 0 WHERE bucket = ? AND key = ?", (bucket, key))
            freed += drop_body(batch, seq)
        yield
    return freed, after


def read_sums(connection: apsw.Connection) -> tuple[GridSums, ...]:
    """One row per grid that is not retired."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT id, held, held_bytes, debts, debt_bytes,"
        " coalesce((SELECT min(since_ms) FROM debt WHERE debt.grid = grid.id), 0), paid, paid_bytes,"
        f" (SELECT count(*) FROM debt INDEXED BY debt_stuck WHERE debt.grid = grid.id AND attempts >= {STUCK_ATTEMPTS})"
        " FROM grid WHERE NOT retired ORDER BY id"
    ).fetchall()
    return tuple([GridSums(*row) for row in rows])


def read_rows(connection: apsw.Connection) -> tuple[GridRow, ...]:
    """All grids, retired ones too, in order of number."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT id, name, identity, url, retired FROM grid ORDER BY id"
    ).fetchall()
    return tuple([GridRow(number, name, identity, url, bool(retired)) for number, name, identity, url, retired in rows])
