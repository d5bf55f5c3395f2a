"""Current versions: rows of `object`, and the bodies, layouts, spool files and tombstones that go with them.

Answers for: what a put and a delete change, together with the debts that follow. Functions over a
`Batch`; none of them begins or ends a transaction. Invariant: a key has a row in `object` or in `tombstone` or in
neither, never in both, and a debt exists only for a key that has one of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from holdfast.errors import S3Error
from holdfast.index.interface import Deleted, NewVersion, SpoolFile, Written
from holdfast.index.sqlite_batch import Batch, GridBook, Steps
from holdfast.index.sqlite_notices import record
from holdfast.index.sqlite_owe import owe_anew, owe_more, owed
from holdfast.limits import COMMIT_SLICE
from holdfast.model import (
    UNMARKED,
    Copy,
    Facts,
    Layout,
    MarkChange,
    Marks,
    Presence,
    Version,
    WriteCondition,
    pack,
    replace,
    unpacker,
)
from holdfast.s3 import DeleteAsk
from holdfast.s3.notification import Notice

VERSION_COLUMNS = "seq, size, etag, modified_ms, facts, copies, crc, spool, version_id, marks"
"""What `version_of` takes, in its order."""
INLINE_COLUMN = "CASE WHEN inline THEN (SELECT data FROM body WHERE body.seq = object.seq) END"

read_facts = unpacker(Facts)
read_copies = unpacker(tuple[Copy, ...])
read_layout = unpacker(Layout)
read_marks = unpacker(Marks)
NO_COPIES = pack(())


class Prior(NamedTuple):
    """What a change finds in the place that it writes to."""

    seq: int
    size: int
    etag: str
    copies: bytes
    inline: int
    layout: int
    spool: int


class Blobs(NamedTuple):
    """The packed columns of a new version, made before its transaction."""

    key: bytes
    facts: bytes
    layout: bytes | None
    marks: bytes | None


def blobs_of(change: NewVersion) -> Blobs:
    """Pack what a put will write."""
    return Blobs(
        change.key.encode(),
        pack(change.facts),
        None if change.layout is None else pack(change.layout),
        pack_marks(change.marks),
    )


def pack_marks(marks: Marks) -> bytes | None:
    """The column of marks; None for no marks."""
    return None if marks == UNMARKED else pack(marks)


def version_of(row: Sequence[Any], inline: bytes | None, grids: GridBook) -> Version:
    """A version from VERSION_COLUMNS."""
    seq, size, etag, modified_ms, facts, copies, crc, spool, version_id, marks = row[:10]
    return Version(
        seq,
        size,
        etag,
        modified_ms,
        read_facts(facts),
        grids.present(read_copies(copies)),
        crc,
        inline,
        spool != 0,
        version_id,
        UNMARKED if marks is None else read_marks(marks),
    )


def put(batch: Batch, change: NewVersion, blobs: Blobs, node: str) -> Written:
    """Commit a version with its debts. Raises NoSuchBucket, PreconditionFailed, NoSuchKey."""
    bucket = batch.bucket(change.bucket)
    prior = find(batch, bucket, blobs.key)
    check_write(change.condition, prior, change.key)
    seq = change.seq
    if not seq or seq <= _last(batch, bucket, blobs.key, prior):
        seq = batch.next_seq()
    for file in change.spool:
        add_spool(batch, file, seq, node)
    return write(batch, change, blobs, bucket, prior, seq, owner=seq if change.spool else 0)


def _last(batch: Batch, bucket: int, key: bytes, prior: Prior | None) -> int:
    """The number of the last change of a key, as far as it is remembered."""
    if prior is not None:
        return prior.seq
    row: int | None = batch.execute("SELECT seq FROM tombstone WHERE bucket = ? AND key = ?", (bucket, key)).get
    return row or 0


def find(batch: Batch, bucket: int, key: bytes) -> Prior | None:
    """The current version's row."""
    row = batch.execute(
        "SELECT seq, size, etag, copies, inline, layout, spool FROM object WHERE bucket = ? AND key = ?", (bucket, key)
    ).get
    return None if row is None else Prior._make(row)


def check_write(condition: WriteCondition, prior: Prior | None, key: str) -> None:
    """Raise unless a write may happen over what is there: PreconditionFailed, NoSuchKey."""
    match condition.presence:
        case Presence.ANY:
            return
        case Presence.ABSENT:
            if prior is not None:
                raise S3Error("PreconditionFailed", fields={"Condition": "If-None-Match"})
        case Presence.MATCH:
            if prior is None:
                raise S3Error("NoSuchKey", fields={"Key": key})
            if condition.etag not in ("*", prior.etag):
                raise S3Error("PreconditionFailed", fields={"Condition": "If-Match"})


def write(
    batch: Batch, change: NewVersion, blobs: Blobs, bucket: int, prior: Prior | None, seq: int, *, owner: int
) -> Written:
    """Make a version current. `owner` owns its spool files, 0 when it has none."""
    key = blobs.key
    inline = change.inline
    released: tuple[str, ...] = ()
    values = (
        seq,
        "null",
        change.size,
        change.etag,
        change.modified_ms,
        blobs.facts,
        NO_COPIES,
        change.crc,
        0 if inline is None else 1,
        0 if blobs.layout is None else 1,
        owner,
        blobs.marks,
        bucket,
        key,
    )
    wanted = batch.grids.successors(change.owes)
    if prior is None:
        batch.execute(
            "INSERT INTO object (seq, version_id, size, etag, modified_ms, facts, copies, crc, inline, layout, spool,"
            " marks, bucket, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        # Only a tombstone can have left debts behind, and there are few of them.
        before = end_tombstone(batch, bucket, key) if batch.tombstones else 0
        debts = owed(batch, before) if before else []
    else:
        released = leave(batch, bucket, prior)
        batch.execute(
            "UPDATE object SET seq = ?, version_id = ?, size = ?, etag = ?, modified_ms = ?, facts = ?, copies = ?,"
            " crc = ?, inline = ?, layout = ?, spool = ?, marks = ? WHERE bucket = ? AND key = ?",
            values,
        )
        before = prior.seq
        debts = owed(batch, before)
        wanted.update(forget_copies(batch, prior))
    batch.objects += 1
    batch.object_bytes += change.size
    if inline is not None:
        batch.execute("INSERT INTO body (seq, bucket, key, data) VALUES (?, ?, ?, ?)", (seq, bucket, key, inline))
        batch.inline_bytes += len(inline)
    if blobs.layout is not None:
        batch.execute("INSERT INTO layout (seq, data) VALUES (?, ?)", (seq, blobs.layout))
    holder = change.holder
    until_ms = change.lease_until_ms
    ours = change.claims if holder else ()
    if debts:
        claimed = owe_more(
            batch,
            bucket,
            key,
            seq,
            change.size,
            wanted,
            before,
            debts,
            batch.now_ms,
            ours=ours,
            holder=holder,
            until_ms=until_ms,
        )
    else:
        claimed = owe_anew(
            batch, bucket, key, seq, change.size, wanted, batch.now_ms, ours=ours, holder=holder, until_ms=until_ms
        )
    if change.notices:
        record(batch, bucket, key, seq, "", change.notices)
    return Written(seq, tuple(claimed), released, {grid: since_ms for grid, since_ms in claimed.items() if since_ms})


def delete(
    batch: Batch, bucket_name: str, asks: Sequence[DeleteAsk], now_ms: int, owes: tuple[int, ...]
) -> Steps[tuple[tuple[Deleted, ...], tuple[str, ...]]]:
    """Delete keys. Raises NoSuchBucket."""
    bucket = batch.bucket(bucket_name)
    grids = batch.grids.successors(owes)
    outcomes: list[Deleted] = []
    released: list[str] = []
    for number, ask in enumerate(asks, start=1):
        outcomes.append(_delete_one(batch, bucket, ask, now_ms, grids, released))
        if number % COMMIT_SLICE == 0:
            yield
    return tuple(outcomes), tuple(released)


def _delete_one(
    batch: Batch, bucket: int, ask: DeleteAsk, now_ms: int, grids: set[int], released: list[str]
) -> Deleted:
    key = ask.key.encode()
    prior = find(batch, bucket, key)
    code = _refusal(ask, prior)
    if not code and ask.seen is not None and not _unchanged(batch, bucket, key, prior, ask.seen):
        code = "PreconditionFailed"
    if code or prior is None:
        return Deleted(prior is not None, code)
    released.extend(leave(batch, bucket, prior))
    batch.execute("DELETE FROM object WHERE bucket = ? AND key = ?", (bucket, key))
    wanted = grids | forget_copies(batch, prior)
    debts = owed(batch, prior.seq)
    seq = 0
    if wanted or debts:
        seq = batch.next_seq()
        batch.execute("INSERT INTO tombstone (bucket, key, seq, at_ms) VALUES (?, ?, ?, ?)", (bucket, key, seq, now_ms))
        batch.tombstones += 1
        owe_more(batch, bucket, key, seq, 0, wanted, prior.seq, debts, now_ms)
    if ask.notices:
        told = [notice for notice in ask.notices if not notice.marks]
        record(batch, bucket, key, seq or batch.next_seq(), "", told)
    return Deleted(True)


def _unchanged(batch: Batch, bucket: int, key: bytes, prior: Prior | None, seen: Version) -> bool:
    if prior is None or prior.seq != seen.seq:
        return False
    data: bytes | None = batch.execute("SELECT marks FROM object WHERE bucket = ? AND key = ?", (bucket, key)).get
    return (UNMARKED if data is None else read_marks(data)) == seen.marks


def _refusal(ask: DeleteAsk, prior: Prior | None) -> str:
    """The code with which a condition refuses a deletion, or empty. Amazon S3 User Guide, "How to perform
    conditional deletes": `*` asks whether the object exists, an etag whether it is unchanged."""
    if ask.version_id not in ("", "null"):
        return "NoSuchVersion"
    match ask.condition.presence:
        case Presence.ANY:
            return ""
        case Presence.ABSENT:
            return "" if prior is None else "PreconditionFailed"
        case Presence.MATCH:
            if prior is None:
                return "PreconditionFailed" if ask.condition.etag == "*" else "NoSuchKey"
            return "" if ask.condition.etag in ("*", prior.etag) else "PreconditionFailed"


def mark(
    batch: Batch, bucket_name: str, key: bytes, version_id: str, change: MarkChange, notices: Sequence[Notice]
) -> None:
    """Change the marks of a version. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
    bucket = batch.bucket(bucket_name)
    row: tuple[str, bytes | None] | None = batch.execute(
        "SELECT version_id, marks FROM object WHERE bucket = ? AND key = ?", (bucket, key)
    ).get
    if row is None and not version_id:
        raise S3Error("NoSuchKey", fields={"Key": key.decode()})
    if row is None or (version_id and version_id != row[0]):
        raise S3Error("NoSuchVersion", fields={"Key": key.decode(), "VersionId": version_id})
    marks = changed(UNMARKED if row[1] is None else read_marks(row[1]), change)
    batch.execute("UPDATE object SET marks = ? WHERE bucket = ? AND key = ?", (pack_marks(marks), bucket, key))
    if notices:
        record(batch, bucket, key, batch.next_seq(), version_id, notices)


def changed(marks: Marks, change: MarkChange) -> Marks:
    """The marks with a change made to them."""
    if change.tags is not None:
        marks = replace(marks, tags=change.tags)
    if change.grants is not None:
        marks = replace(marks, grants=change.grants)
    return marks


def leave(batch: Batch, bucket: int, prior: Prior) -> tuple[str, ...]:
    """Take away everything that belongs to a version, its row excepted. Returns its spool files."""
    batch.objects -= 1
    batch.object_bytes -= prior.size
    if prior.inline:
        drop_body(batch, prior.seq)
    if prior.layout:
        batch.execute("DELETE FROM layout WHERE seq = ?", (prior.seq,))
    return release(batch, prior.spool) if prior.spool else ()


def drop_body(batch: Batch, seq: int) -> int:
    """Forget an inline body and return its size in bytes."""
    size: int | None = batch.execute("SELECT length(data) FROM body WHERE seq = ?", (seq,)).get
    if size is None:
        return 0
    batch.execute("DELETE FROM body WHERE seq = ?", (seq,))
    batch.inline_bytes -= size
    return size


def forget_copies(batch: Batch, prior: Prior) -> set[int]:
    """A version is no longer current: nobody holds it. Returns the grids that did."""
    if prior.copies == NO_COPIES:
        return set()
    holders = {copy.grid for copy in batch.grids.present(read_copies(prior.copies))}
    for grid in holders:
        delta = batch.delta(grid)
        delta.held -= 1
        delta.held_bytes -= prior.size
    return holders


def end_tombstone(batch: Batch, bucket: int, key: bytes) -> int:
    """Forget a deletion. Returns its sequence number, 0 when there was none."""
    seq: int | None = batch.execute(
        "DELETE FROM tombstone WHERE bucket = ? AND key = ? RETURNING seq", (bucket, key)
    ).get
    if seq is None:
        return 0
    batch.tombstones -= 1
    return seq


def read_tombstone(connection: apsw.Connection, bucket: str, key: bytes) -> int | None:
    """The sequence number of a deletion that is not confirmed everywhere."""
    seq: int | None = connection.execute(
        "SELECT seq FROM tombstone WHERE bucket = (SELECT id FROM bucket WHERE name = ?) AND key = ?", (bucket, key)
    ).get
    return seq


def add_spool(batch: Batch, file: SpoolFile, owner: int, node: str) -> None:
    """A spool file is needed from now on."""
    batch.execute("INSERT INTO spool (id, owner, size, node) VALUES (?, ?, ?, ?)", (file.id, owner, file.size, node))
    batch.spool_bytes += file.size


def release(batch: Batch, owner: int) -> tuple[str, ...]:
    """Nobody needs an owner's spool files any more. Returns them."""
    rows: list[tuple[str, int]] = batch.execute(
        "DELETE FROM spool WHERE owner = ? RETURNING id, size", (owner,)
    ).fetchall()
    batch.spool_bytes -= sum(size for _, size in rows)
    return tuple([identifier for identifier, _ in rows])
