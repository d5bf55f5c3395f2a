"""Notices: events that wait to be told to webhooks. Rows of `notice` and of `webhook`, which counts them.

Answers for: a notice is recorded in the transaction of the change that it tells of, at most NOTICES_WAITING wait for a webhook, and
of each key only the oldest is given out. Functions over a `Batch` or a reading connection. Invariant: `webhook.waiting` is the
number of that webhook's rows.
"""

from collections.abc import Sequence
from typing import Any

import apsw

from holdfast.index.notices import NoticeSums, PutOff, WaitingNotice
from holdfast.index.sqlite_batch import Batch
from holdfast.limits import NOTICES_WAITING
from holdfast.model import pack, unpacker
from holdfast.s3.notification import Notice

_COLUMNS = "number, data, seq, version_id, since_ms, attempts"
_DUE = (
    f"SELECT {_COLUMNS} FROM notice WHERE webhook = ? AND due_ms <= ? AND NOT EXISTS (SELECT 1 FROM notice AS before"
    " WHERE before.webhook = notice.webhook AND before.bucket = notice.bucket AND before.key = notice.key"
    " AND before.number < notice.number) ORDER BY due_ms, number LIMIT ?"
)
_read = unpacker(Notice)


def record(batch: Batch, bucket: int, key: bytes, seq: int, version_id: str, notices: Sequence[Notice]) -> None:
    """These are to be told of this change. What is one too many for its webhook is counted and dropped."""
    for notice in notices:
        waiting: int = batch.execute(
            "INSERT INTO webhook (name, waiting, dropped) VALUES (?, 1, 0)"
            " ON CONFLICT (name) DO UPDATE SET waiting = waiting + 1 RETURNING waiting",
            (notice.webhook,),
        ).get
        if waiting > NOTICES_WAITING:
            batch.execute(
                "UPDATE webhook SET waiting = waiting - 1, dropped = dropped + 1 WHERE name = ?", (notice.webhook,)
            )
            continue
        batch.execute(
            "INSERT INTO notice (webhook, bucket, key, seq, version_id, since_ms, due_ms, attempts, data)"
            " VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?)",
            (notice.webhook, bucket, key, seq, version_id, batch.now_ms, pack(notice)),
        )


def settle(batch: Batch, told: Sequence[int], put_off: Sequence[PutOff]) -> None:
    """Forget those that were told, or given up; put the others off, and with each what waits behind it."""
    for number in told:
        row: tuple[str, int, bytes, int] | None = batch.execute(
            "DELETE FROM notice WHERE number = ? RETURNING webhook, bucket, key, attempts", (number,)
        ).get
        if row is not None:
            batch.execute("UPDATE webhook SET waiting = waiting - 1 WHERE name = ?", row[:1])
            if row[3]:
                _defer(batch, row[:3], 0)
    for delay in put_off:
        place: tuple[str, int, bytes] | None = batch.execute(
            "UPDATE notice SET attempts = attempts + 1 WHERE number = ? RETURNING webhook, bucket, key", (delay.number,)
        ).get
        if place is not None:
            _defer(batch, place, delay.due_ms)


def _defer(batch: Batch, place: tuple[str, int, bytes], due_ms: int) -> None:
    batch.execute("UPDATE notice SET due_ms = ? WHERE webhook = ? AND bucket = ? AND key = ?", (due_ms, *place))


def take_dropped(batch: Batch, webhook: str) -> int:
    """How many were dropped since this was asked last."""
    dropped: int | None = batch.execute("SELECT dropped FROM webhook WHERE name = ?", (webhook,)).get
    if dropped:
        batch.execute("UPDATE webhook SET dropped = 0 WHERE name = ?", (webhook,))
    return dropped or 0


def read_due(connection: apsw.Connection, webhook: str, now_ms: int, limit: int) -> tuple[WaitingNotice, ...]:
    """Those that may be told now, the longest due first; of each key the oldest."""
    return _waiting(connection.execute(_DUE, (webhook, now_ms, limit)).fetchall())


def read_before(connection: apsw.Connection, before_ms: int, limit: int) -> tuple[WaitingNotice, ...]:
    """The oldest of all, as far as they were recorded before then."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM (SELECT * FROM notice ORDER BY number LIMIT ?) WHERE since_ms < ?", (limit, before_ms)
    ).fetchall()
    return _waiting(rows)


def read_sums(connection: apsw.Connection) -> tuple[NoticeSums, ...]:
    """One row for each webhook that was ever told anything."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT name, waiting, dropped, CASE WHEN waiting THEN (SELECT since_ms FROM notice WHERE webhook = name"
        " ORDER BY number LIMIT 1) ELSE 0 END FROM webhook ORDER BY name"
    ).fetchall()
    return tuple([NoticeSums(*row) for row in rows])


def _waiting(rows: Sequence[tuple[Any, ...]]) -> tuple[WaitingNotice, ...]:
    return tuple([WaitingNotice(number, _read(data), *rest) for number, data, *rest in rows])
