"""Multipart uploads and their parts, until they become a version or are forgotten.

Answers for: rows of `upload` and `part` and the spool files that they own. Functions over a `Batch` or a reading
connection. Invariant: the spool files of an upload are owned by its number; a completed upload's
version takes the number over, so that ten thousand parts change hands without a write.
"""

from collections.abc import Callable
from typing import Any

import apsw

from holdfast.errors import S3Error
from holdfast.index.interface import NewVersion, SpoolFile, Written
from holdfast.index.sqlite_batch import Batch
from holdfast.index.sqlite_objects import Blobs, add_spool, check_write, find, release, write
from holdfast.model import Part, pack, replace, unpacker
from holdfast.s3 import Upload

Execute = Callable[[str, tuple[Any, ...]], Any]

read_upload = unpacker(Upload)
read_part = unpacker(Part)


def no_such_upload(upload_id: str) -> S3Error:
    return S3Error("NoSuchUpload", fields={"UploadId": upload_id})


def number_of(execute: Execute, bucket: int, key: bytes, upload_id: str) -> int:
    """The number of an upload of this key. Raises NoSuchUpload."""
    number: int | None = execute(
        "SELECT number FROM upload WHERE id = ? AND bucket = ? AND key = ?", (upload_id, bucket, key)
    ).get
    if number is None:
        raise no_such_upload(upload_id)
    return number


def read(connection: apsw.Connection, bucket: int, key: bytes, upload_id: str) -> Upload:
    """Raises NoSuchUpload."""
    data: bytes | None = connection.execute(
        "SELECT data FROM upload WHERE id = ? AND bucket = ? AND key = ?", (upload_id, bucket, key)
    ).get
    if data is None:
        raise no_such_upload(upload_id)
    return read_upload(data)


def read_parts(
    connection: apsw.Connection, bucket: int, key: bytes, upload_id: str, after: int, limit: int
) -> tuple[Part, ...]:
    """Parts in order of number. Raises NoSuchUpload."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT data FROM part WHERE upload = ? AND number > ? ORDER BY number LIMIT ?",
        (number_of(connection.execute, bucket, key, upload_id), after, limit),
    ).fetchall()
    return tuple([read_part(data) for (data,) in rows])


def read_stale(connection: apsw.Connection, before_ms: int, limit: int) -> tuple[Upload, ...]:
    """Uploads without a new part since then, the longest idle first."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT data FROM upload WHERE touched_ms < ? ORDER BY touched_ms LIMIT ?", (before_ms, limit)
    ).fetchall()
    return tuple([read_upload(data) for (data,) in rows])


def create(batch: Batch, upload: Upload) -> None:
    """Record a new upload. Raises NoSuchBucket."""
    bucket = batch.bucket(upload.bucket)
    batch.execute(
        "INSERT INTO upload (number, id, bucket, key, initiated_ms, touched_ms, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            batch.next_seq(),
            upload.upload_id,
            bucket,
            upload.key.encode(),
            upload.initiated_ms,
            upload.initiated_ms,
            pack(upload),
        ),
    )
    batch.uploads += 1


def put_part(
    batch: Batch, bucket: str, key: bytes, upload_id: str, part: Part, packed: bytes, node: str
) -> tuple[str, ...]:
    """Record a part; the file of one that it replaces is released. Raises NoSuchBucket, NoSuchUpload."""
    upload = number_of(batch.execute, batch.bucket(bucket), key, upload_id)
    replaced: str | None = batch.execute(
        "SELECT spool FROM part WHERE upload = ? AND number = ?", (upload, part.number)
    ).get
    released = () if replaced is None else _release_files(batch, [replaced])
    add_spool(batch, SpoolFile(part.spool, part.size), upload, node)
    batch.execute(
        "INSERT OR REPLACE INTO part (upload, number, spool, data) VALUES (?, ?, ?, ?)",
        (upload, part.number, part.spool, packed),
    )
    batch.execute("UPDATE upload SET touched_ms = ? WHERE number = ?", (batch.now_ms, upload))
    return released


def complete(batch: Batch, upload_id: str, change: NewVersion, blobs: Blobs) -> Written:
    """The composed version becomes current and the upload ends. Raises NoSuchBucket, NoSuchUpload, InvalidPart, and what a put raises."""
    bucket = batch.bucket(change.bucket)
    upload = number_of(batch.execute, bucket, blobs.key, upload_id)
    recorded: dict[int, str] = dict(
        batch.execute("SELECT number, spool FROM part WHERE upload = ?", (upload,)).fetchall()
    )
    used = change.layout.parts if change.layout is not None else ()
    for part in used:
        if recorded.get(part.number) != part.spool:
            raise S3Error("InvalidPart", fields={"UploadId": upload_id, "PartNumber": str(part.number)})
    prior = find(batch, bucket, blobs.key)
    check_write(change.condition, prior, change.key)
    for part in used:
        del recorded[part.number]
    unused = _release_files(batch, list(recorded.values()))
    _forget(batch, upload)
    seq = batch.next_seq()
    written = write(batch, change, blobs, bucket, prior, seq, owner=upload if used else 0)
    return replace(written, released=(*written.released, *unused))


def abort(batch: Batch, bucket: str, key: bytes, upload_id: str) -> tuple[str, ...]:
    """Forget an upload and its parts. Raises NoSuchBucket, NoSuchUpload."""
    upload = number_of(batch.execute, batch.bucket(bucket), key, upload_id)
    _forget(batch, upload)
    return release(batch, upload)


def abort_all(batch: Batch, bucket: int) -> tuple[str, ...]:
    """Forget all uploads of a bucket, by its number."""
    released: list[str] = []
    for (upload,) in batch.execute("SELECT number FROM upload WHERE bucket = ?", (bucket,)).fetchall():
        _forget(batch, upload)
        released += release(batch, upload)
    return tuple(released)


def _forget(batch: Batch, upload: int) -> None:
    batch.execute("DELETE FROM part WHERE upload = ?", (upload,))
    batch.execute("DELETE FROM upload WHERE number = ?", (upload,))
    batch.uploads -= 1


def _release_files(batch: Batch, files: list[str]) -> tuple[str, ...]:
    for file in files:
        size: int = batch.execute("DELETE FROM spool WHERE id = ? RETURNING size", (file,)).get
        batch.spool_bytes -= size
    return tuple(files)
