"""Current versions: rows of `object`, and the bodies, layouts, spool files and tombstones that go with them.

Answers for: what a put and a delete change, together with the debts that follow. Functions over a
`Batch`; none of them begins or ends a transaction. Invariant: a key has a row in `object` or in `tombstone` or in
neither, never in both, and a debt exists only for a key that has one of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from holdfast.errors import S3Error
from holdfast.index.interface import NewVersion, SpoolFile, Written
from holdfast.index.sqlite_batch import Batch, GridBook
from holdfast.index.sqlite_notices import record
from holdfast.index.sqlite_owe import owe_anew, owe_more, owed
from holdfast.index.sqlite_versions import (
    add_tombstone,
    dismiss,
    drop_past,
    end_tombstone,
    find_past,
    guest_at,
    keeps,
    owe_home,
    pass_marker,
    read_copies,
    set_aside,
)
from holdfast.model import (
    UNMARKED,
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
from holdfast.s3.notification import Notice
from holdfast.s3.versioning import NULL, is_reserved, new_version_id

VERSION_COLUMNS = "seq, size, etag, modified_ms, facts, copies, crc, spool, version_id, marks"
"""What `version_of` takes, in its order."""
INLINE_COLUMN = "CASE WHEN inline THEN (SELECT data FROM body WHERE body.seq = object.seq) END"

read_facts = unpacker(Facts)
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
    version_id: str


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
        "SELECT seq, size, etag, copies, inline, layout, spool, version_id FROM object WHERE bucket = ? AND key = ?",
        (bucket, key),
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
    status = batch.versioning(bucket)
    version_id = new_version_id(seq, batch.now_ms) if status == "Enabled" else NULL
    aside = set[int]()
    home = b""
    guests: dict[int, str] = {}
    if status:
        if status == "Suspended":
            released = drop_null(batch, bucket, key, change.owes)
        if prior is None:
            pass_marker(batch, bucket, key)
        elif keeps(status, prior.version_id):
            home, aside = set_aside(batch, bucket, key, prior.seq, prior.version_id, prior.copies)
    values = (
        seq,
        version_id,
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
    if prior is None or home:
        batch.execute(
            "INSERT INTO object (seq, version_id, size, etag, modified_ms, facts, copies, crc, inline, layout, spool,"
            " marks, bucket, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        if prior is not None:
            before, debts = prior.seq, owed(batch, prior.seq)
            aside |= wanted
            wanted = aside
        else:
            # Only a tombstone can have left debts behind, and there are few of them.
            before = end_tombstone(batch, bucket, key) if batch.tombstones else 0
            debts = owed(batch, before) if before else []
    else:
        released += leave(batch, bucket, prior)
        batch.execute(
            "UPDATE object SET seq = ?, version_id = ?, size = ?, etag = ?, modified_ms = ?, facts = ?, copies = ?,"
            " crc = ?, inline = ?, layout = ?, spool = ?, marks = ? WHERE bucket = ? AND key = ?",
            values,
        )
        before = prior.seq
        debts = owed(batch, before)
        wanted.update(forget_copies(batch, prior, bucket))
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
    if home and prior is not None:
        owe_home(batch, bucket, home, prior.seq, prior.size, aside)
    if status and claimed:
        guests = {grid: guest for grid in claimed if (guest := guest_at(batch, bucket, key, grid))}
    if change.notices:
        record(batch, bucket, key, seq, version_id if status else "", change.notices)
    doubts = {grid: since_ms for grid, since_ms in claimed.items() if since_ms}
    return Written(seq, tuple(claimed), released, doubts, version_id if status else "", guests)


def drop_null(batch: Batch, bucket: int, key: bytes, owes: tuple[int, ...]) -> tuple[str, ...]:
    """While versioning is suspended a key has at most one version `null`: one that is not current goes for ever."""
    past = find_past(batch, bucket, key, NULL)
    if past is None:
        return ()
    drop_past(batch, bucket, key, past.place)
    found = None if past.marker else find(batch, bucket, past.home)
    released: list[str] = []
    if found is not None:
        erase(batch, bucket, past.home, found, batch.grids.successors(owes), released)
    return tuple(released)


def erase(batch: Batch, bucket: int, key: bytes, prior: Prior, grids: set[int], released: list[str]) -> None:
    """A version is gone for ever: its grids are to lose it."""
    released.extend(leave(batch, bucket, prior))
    batch.execute("DELETE FROM object WHERE bucket = ? AND key = ?", (bucket, key))
    wanted = grids | forget_copies(batch, prior, bucket)
    owe_absence(batch, bucket, key, prior.seq, wanted)


def owe_absence(batch: Batch, bucket: int, key: bytes, before: int, grids: set[int]) -> None:
    """These grids, and those that were owed the key under the number `before`, are to have nothing there."""
    debts = owed(batch, before)
    if grids or debts:
        seq = batch.next_seq()
        add_tombstone(batch, bucket, key, seq)
        owe_more(batch, bucket, key, seq, 0, grids, before, debts, batch.now_ms)


def mark(
    batch: Batch, bucket_name: str, key: bytes, version_id: str, change: MarkChange, notices: Sequence[Notice]
) -> bytes:
    """Change the marks of a version; returns the key of its row. Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (a
    delete marker), AccessDenied (a lock does not allow it)."""
    bucket = batch.bucket(bucket_name)
    home = home_in(batch, bucket, key, version_id)
    packed: bytes | None = batch.execute("SELECT marks FROM object WHERE bucket = ? AND key = ?", (bucket, home)).get
    marks = changed(UNMARKED if packed is None else read_marks(packed), change, batch.now_ms)
    batch.execute("UPDATE object SET marks = ? WHERE bucket = ? AND key = ?", (pack_marks(marks), bucket, home))
    if notices:
        record(batch, bucket, key, batch.next_seq(), told_id(batch, bucket, home), notices)
    return home


def told_id(batch: Batch, bucket: int, home: bytes) -> str:
    """The id under which clients know the version in this row; empty in a bucket that never kept versions."""
    found: str = batch.execute("SELECT version_id FROM object WHERE bucket = ? AND key = ?", (bucket, home)).get
    return found if batch.versioning(bucket) else ""


def home_in(connection: Any, bucket: int, key: bytes, version_id: str) -> bytes:
    """The key of a version's row; the current version's where the id is empty. `connection` is a Batch or a connection. Raises
    NoSuchKey, NoSuchVersion, MethodNotAllowed (a delete marker)."""
    row: str | None = connection.execute(
        "SELECT version_id FROM object WHERE bucket = ? AND key = ?", (bucket, key)
    ).get
    if row is not None and version_id in ("", row) and not is_reserved(key.decode()):
        return key
    fields = {"Key": key.decode()}
    if not version_id:
        raise S3Error("NoSuchKey", fields=fields)
    past = find_past(connection, bucket, key, version_id)
    if past is None:
        raise S3Error("NoSuchVersion", fields=fields | {"VersionId": version_id})
    if past.marker:
        raise S3Error(
            "MethodNotAllowed", fields={"ResourceType": "DeleteMarker"}, headers={"x-amz-delete-marker": "true"}
        )
    return past.home


def changed(marks: Marks, change: MarkChange, now_ms: int) -> Marks:
    """The marks with a change made to them. Raises AccessDenied when a running retention does not allow it: COMPLIANCE can only be
    prolonged, GOVERNANCE needs the bypass for anything else."""
    if change.retention is not None or change.unretained:
        now = marks.retention
        if now is not None and now.until_ms > now_ms and not (change.bypass and now.mode == "GOVERNANCE"):
            then = change.retention
            if then is None or then.until_ms < now.until_ms or then.mode != now.mode:
                raise S3Error("AccessDenied", "Access Denied because object protected by object lock.")
        marks = replace(marks, retention=change.retention)
    if change.hold is not None:
        marks = replace(marks, hold=change.hold)
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


def forget_copies(batch: Batch, prior: Prior, bucket: int) -> set[int]:
    """A version is no longer current: nobody holds it. Returns the grids that did."""
    if prior.copies == NO_COPIES:
        return set()
    copies = batch.grids.present(read_copies(prior.copies))
    dismiss(batch, bucket, copies)
    holders = {copy.grid for copy in copies}
    for grid in holders:
        delta = batch.delta(grid)
        delta.held -= 1
        delta.held_bytes -= prior.size
    return holders


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
