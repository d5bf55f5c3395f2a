"""Recording debts: what a change of a key leaves owed, and to which grids.

Answers for: one debt per (grid, bucket, key) that always carries the current sequence number, keeps the moment of the oldest
unpaid change, and never takes a lease away from its holder. It pays nothing. Invariant: while a
lease runs nobody else can have the debt, not even under the same holder's name, so copies cannot be reordered.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from holdfast.index.interface import SEVERAL
from holdfast.index.sqlite_batch import Batch


class Owed(NamedTuple):
    """A debt as a change of its key finds it."""

    grid: int
    size: int
    due_ms: int
    holder: str
    next_ms: int
    doubt_ms: int
    doubt_seq: int


def owed(batch: Batch, seq: int) -> list[Owed]:
    """All debts of the key whose current version or tombstone has this number."""
    rows = batch.execute(
        "SELECT grid, size, due_ms, holder, next_ms, doubt_ms, doubt_seq FROM debt WHERE seq = ?", (seq,)
    ).fetchall()
    return [Owed._make(row) for row in rows]


def doubted(doubt_ms: int, seq: int, next_ms: int = 0) -> int:
    """The number of the change that is in doubt now, beside an earlier doubt (`doubt_ms`). Whoever had the debt while it
    changed (`next_ms`) worked at an older one."""
    return SEVERAL if doubt_ms or next_ms else seq


def owe_anew(
    batch: Batch,
    bucket: int,
    key: bytes,
    seq: int,
    size: int,
    grids: Iterable[int],
    now_ms: int,
    *,
    ours: Collection[int] = (),
    holder: str = "",
    until_ms: int = 0,
    reason: str = "",
) -> dict[int, int]:
    """Record debts where none are. Those of `ours` are claimed for `holder`; returns them, as `owe_more` does."""
    claimed: dict[int, int] = {}
    for grid in grids:
        if grid in ours:
            claimed[grid] = 0
            due_ms, keeper = until_ms, holder
        else:
            due_ms, keeper = now_ms, ""
        batch.execute(
            "INSERT INTO debt (seq, grid, bucket, key, size, since_ms, due_ms, attempts, holder, next_ms, reason)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, 0, ?)",
            (seq, grid, bucket, key, size, now_ms, due_ms, keeper, reason),
        )
        batch.debts += 1
        delta = batch.delta(grid)
        delta.debts += 1
        delta.debt_bytes += size
    return claimed


def owe_more(
    batch: Batch,
    bucket: int,
    key: bytes,
    seq: int,
    size: int,
    grids: Iterable[int],
    before: int,
    debts: list[Owed],
    now_ms: int,
    *,
    ours: Collection[int] = (),
    holder: str = "",
    until_ms: int = 0,
    reason: str = "",
) -> dict[int, int]:
    """A key changed that has `debts` under the number `before`: those go over to `seq`, the others of `grids` are
    recorded. A running lease stays; a free debt is due at once, or claimed where `ours` names it. Returns the claimed, each
    with the moment since when an earlier change is in doubt there (0: none is)."""
    claimed: dict[int, int] = {}
    for debt in debts:
        due_ms, keeper, next_ms = now_ms, "", 0
        doubt_ms, doubt_seq = debt.doubt_ms, debt.doubt_seq
        if debt.holder and debt.due_ms > now_ms:
            due_ms, keeper, next_ms = debt.due_ms, debt.holder, debt.next_ms or now_ms
        else:
            if debt.holder:  # Its lease ran out: nobody knows what its holder did at the grid.
                doubt_ms, doubt_seq = now_ms, doubted(doubt_ms, before, debt.next_ms)
            if debt.grid in ours:
                claimed[debt.grid] = doubt_ms
                due_ms, keeper = until_ms, holder
        batch.execute(
            "UPDATE debt SET seq = ?, size = ?, due_ms = ?, holder = ?, next_ms = ?, doubt_ms = ?, doubt_seq = ?"
            " WHERE seq = ? AND grid = ?",
            (seq, size, due_ms, keeper, next_ms, doubt_ms, doubt_seq, before, debt.grid),
        )
        batch.delta(debt.grid).debt_bytes += size - debt.size
    known = {debt.grid for debt in debts}
    fresh = [grid for grid in grids if grid not in known]
    anew = owe_anew(
        batch, bucket, key, seq, size, fresh, now_ms, ours=ours, holder=holder, until_ms=until_ms, reason=reason
    )
    return claimed | anew


def drop_debt(batch: Batch, seq: int, grid: int, size: int) -> None:
    """Take a debt away."""
    batch.execute("DELETE FROM debt WHERE seq = ? AND grid = ?", (seq, grid))
    batch.debts -= 1
    delta = batch.delta(grid)
    delta.debts -= 1
    delta.debt_bytes -= size
