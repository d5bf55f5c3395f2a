"""Buckets: rows of `bucket`.

Answers for: making, deleting and finding them. Functions over a `Batch` or a reading connection. Invariant: a row is
never removed; the number of a name stays its number after deletion and re-creation.
"""

from collections.abc import Sequence
from typing import Any

import apsw

from holdfast.errors import S3Error
from holdfast.index import sqlite_notices as notices
from holdfast.index import sqlite_uploads as uploads
from holdfast.index.sqlite_batch import Batch
from holdfast.model import Bucket, replace, unpack
from holdfast.s3.notification import Notice
from holdfast.s3.versioning import Versioning

_COLUMNS = "name, created_ms, policy, owner, region"


def create(batch: Batch, bucket: Bucket) -> None:
    """Raises BucketAlreadyOwnedByYou, BucketAlreadyExists (it is another account's)."""
    row: tuple[int, int | None, str] | None = batch.execute(
        "SELECT id, deleted_ms, owner FROM bucket WHERE name = ?", (bucket.name,)
    ).get
    values = (bucket.created_ms, bucket.policy, bucket.owner, bucket.region, bucket.name)
    if row is None:
        batch.execute("INSERT INTO bucket (created_ms, policy, owner, region, name) VALUES (?, ?, ?, ?, ?)", values)
    elif row[1] is None:
        code = "BucketAlreadyOwnedByYou" if row[2] == bucket.owner else "BucketAlreadyExists"
        raise S3Error(code, fields={"BucketName": bucket.name})
    else:
        batch.execute(
            "UPDATE bucket SET created_ms = ?, policy = ?, owner = ?, region = ?, deleted_ms = NULL WHERE name = ?",
            values,
        )
    batch.buckets_changed()
    number = batch.bucket(bucket.name)
    for setting, value in bucket.settings.items():
        _set(batch, number, setting, value)


def delete(batch: Batch, name: str) -> tuple[str, ...]:
    """Uploads in progress end with it, and their spool files are released. Raises NoSuchBucket, BucketNotEmpty."""
    number = batch.bucket(name)
    if any(
        batch.execute(f"SELECT 1 FROM {table} WHERE bucket = ? LIMIT 1", (number,)).get
        for table in ("object", "history")
    ):
        raise S3Error("BucketNotEmpty", fields={"BucketName": name})
    released = uploads.abort_all(batch, number)
    batch.execute("UPDATE bucket SET deleted_ms = ? WHERE id = ?", (batch.now_ms, number))
    batch.execute("DELETE FROM setting WHERE bucket = ?", (number,))
    batch.buckets_changed()
    return released


def configure(batch: Batch, name: str, setting: str, value: bytes | None, told: Sequence[Notice] = ()) -> None:
    """Set or remove one of a bucket's settings. Raises NoSuchBucket, InvalidBucketState."""
    bucket = batch.bucket(name)
    _check_lock(batch, bucket, setting, value)
    _set(batch, bucket, setting, value)
    batch.buckets_changed()
    if told:
        notices.record(batch, bucket, b"", batch.next_seq(), "", told)


def _check_lock(batch: Batch, bucket: int, setting: str, value: bytes | None) -> None:
    """A bucket whose versions can be locked keeps them: elsewhere a deletion asks no lock. The store says the same with better words, but
    not in the transaction, where of two requests at once the second finds what the first has set. Raises InvalidBucketState."""
    kept = True
    if setting == "object-lock" and value is not None:
        kept = batch.versioning(bucket) == "Enabled"
    elif setting == "versioning" and _has(batch, bucket, "object-lock"):
        kept = value is not None and unpack(value, Versioning).status == "Enabled"
    if not kept:
        raise S3Error("InvalidBucketState")


def _has(batch: Batch, bucket: int, setting: str) -> bool:
    row = batch.execute("SELECT 1 FROM setting WHERE bucket = ? AND name = ?", (bucket, setting)).get
    return row is not None


def _set(batch: Batch, bucket: int, setting: str, value: bytes | None) -> None:
    if value is None:
        batch.execute("DELETE FROM setting WHERE bucket = ? AND name = ?", (bucket, setting))
    else:
        batch.execute("INSERT OR REPLACE INTO setting (bucket, name, value) VALUES (?, ?, ?)", (bucket, setting, value))


def number(connection: apsw.Connection, name: str) -> int:
    """The number of a bucket. Raises NoSuchBucket."""
    found: int | None = connection.execute("SELECT id FROM bucket WHERE name = ? AND deleted_ms IS NULL", (name,)).get
    if found is None:
        raise S3Error("NoSuchBucket", fields={"BucketName": name})
    return found


def read(connection: apsw.Connection, name: str) -> Bucket:
    """A bucket with its settings. Raises NoSuchBucket."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM bucket WHERE name = ? AND deleted_ms IS NULL", (name,)).get
    if row is None:
        raise S3Error("NoSuchBucket", fields={"BucketName": name})
    settings: list[tuple[Any, ...]] = connection.execute(
        "SELECT setting.name, value FROM setting JOIN bucket ON bucket.id = setting.bucket WHERE bucket.name = ?",
        (name,),
    ).fetchall()
    return replace(Bucket(*row), settings=dict(settings))


def read_configured(connection: apsw.Connection, setting: str) -> tuple[str, ...]:
    """Names of the buckets that have a setting."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT bucket.name FROM setting JOIN bucket ON bucket.id = setting.bucket"
        " WHERE setting.name = ? AND deleted_ms IS NULL ORDER BY bucket.name",
        (setting,),
    ).fetchall()
    return tuple([name for (name,) in rows])


def read_all(
    connection: apsw.Connection, prefix: str, after: str, limit: int | None, owner: str = ""
) -> tuple[Bucket, ...]:
    """In byte order of their names; of one owner, when it is named."""
    rows: list[tuple[Any, ...]] = connection.execute(
        f"SELECT {_COLUMNS} FROM bucket WHERE deleted_ms IS NULL AND name > ? AND substr(name, 1, ?) = ?"
        " AND (?4 = '' OR owner = ?4) ORDER BY name LIMIT ?5",
        (after, len(prefix), prefix, owner, -1 if limit is None else limit),
    ).fetchall()
    return tuple([Bucket(*row) for row in rows])
