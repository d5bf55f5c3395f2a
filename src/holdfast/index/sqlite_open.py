"""Connections to the SQLite file: how they are opened, set up, and brought to the current schema.

Answers for: a file that is not ours, damaged, unreadable or of a newer release is refused with a remedy
before anything is served, and what SQLite's troubles mean to a client later on. It never changes rows.
Invariant: the schema moves by whole steps, each in one transaction, under the lock that all processes respect.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from holdfast.errors import ConfigError, S3Error
from holdfast.folders import flush_folder
from holdfast.index.schema import APPLICATION_ID, STEPS
from holdfast.limits import (
    INDEX_BUSY_MS,
    INDEX_CHECKPOINT_BYTES,
    INDEX_PAGE_BYTES,
    INDEX_READ_CACHE_BYTES,
    INDEX_WRITE_CACHE_BYTES,
    KIB,
)


def lock_path(path: Path) -> Path:
    """The file whose lock admits one writing process at a time."""
    return path.with_name(path.name + ".lock")


def open_lock(path: Path) -> int:
    """A descriptor to lock with `fcntl.flock`. Raises ConfigError."""
    try:
        return os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as trouble:
        raise ConfigError(
            f"index {path}",
            f"its lock file cannot be opened ({trouble.strerror}).",
            "Give the user that runs the server read and write access to the directory.",
        ) from trouble


def open_writer(path: Path) -> apsw.Connection:
    """The one writing connection of a process. Raises ConfigError."""
    with _refusals(path):
        connection = _open(path, apsw.SQLITE_OPEN_READWRITE, cache_bytes=INDEX_WRITE_CACHE_BYTES)
        # Checkpoints are made by the committer, after the changes that filled the log were acknowledged.
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connection.execute(f"PRAGMA journal_size_limit = {INDEX_CHECKPOINT_BYTES}").fetchall()
        connection.execute("PRAGMA synchronous = FULL").fetchall()
        return connection


def open_reader(path: Path) -> apsw.Connection:
    """A connection that cannot write. Raises ConfigError."""
    with _refusals(path):
        # A reader of a WAL file writes to the shared memory beside it, so the file itself is opened for writing.
        connection = _open(path, apsw.SQLITE_OPEN_READWRITE, cache_bytes=INDEX_READ_CACHE_BYTES)
        connection.execute("PRAGMA query_only = ON").fetchall()
        return connection


def prepare(path: Path, lock: int) -> None:
    """Create the file or bring it to the current schema; many processes may do so at once. May wait for the
    lock, so it is for a thread. Raises ConfigError."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with _refusals(path):
            connection = _open(
                path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, cache_bytes=INDEX_WRITE_CACHE_BYTES
            )
            try:
                _check_ours(path, connection)
                _migrate(path, connection)
            finally:
                connection.close()
        flush_folder(path.parent)
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def unavailable(trouble: apsw.Error) -> S3Error:
    """What a client is told when the index cannot read or commit."""
    return S3Error("ServiceUnavailable", detail=f"index: {type(trouble).__name__}: {trouble}")


def _open(path: Path, flags: int, *, cache_bytes: int) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(INDEX_BUSY_MS)
    connection.execute(f"PRAGMA cache_size = -{cache_bytes // KIB}").fetchall()
    # No mmap: an I/O error behind a mapped page would kill the process instead of failing one request.
    connection.execute("PRAGMA mmap_size = 0").fetchall()
    connection.execute("PRAGMA temp_store = MEMORY").fetchall()
    return connection


def _check_ours(path: Path, connection: apsw.Connection) -> None:
    identity = connection.pragma("application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if identity != APPLICATION_ID and (identity or tables):
        raise ConfigError(
            f"index {path}", "this SQLite file belongs to another program.", "Set index.url to a file of its own."
        )


def _migrate(path: Path, connection: apsw.Connection) -> None:
    done = connection.pragma("user_version")
    if done > len(STEPS):
        raise ConfigError(
            f"index {path}",
            f"its schema is number {done}, and this release knows up to {len(STEPS)}.",
            "It was written by a newer release: run that one, or restore the index from before the upgrade.",
        )
    if done == 0:
        connection.execute(f"PRAGMA page_size = {INDEX_PAGE_BYTES}").fetchall()
    if connection.pragma("journal_mode", "wal") != "wal":
        raise ConfigError(
            f"index {path}",
            "its file system cannot hold an SQLite write-ahead log.",
            "Put the data directory on a local file system.",
        )
    connection.execute("PRAGMA synchronous = FULL").fetchall()
    for number, step in enumerate(STEPS[done:], start=done + 1):
        with connection:
            connection.execute(step.statements).fetchall()
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", number)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    where = f"index {path}"
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as trouble:
        raise ConfigError(
            where,
            f"the file is damaged or not an index ({trouble}).",
            "Delete nothing: the grids hold what was not owed to them as plain files under their own names. Put a backup of the index back "
            "together with its -wal file, or recover the file with `sqlite3 index.db .recover`. To go on without it, move the data "
            "directory aside, start with new and empty grids, and copy the objects in from the old ones with any S3 client.",
        ) from trouble
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError) as trouble:
        raise ConfigError(
            where,
            f"the file cannot be opened for writing ({trouble}).",
            "Check that the directory exists and belongs to the user that runs the server.",
        ) from trouble
    except (apsw.FullError, apsw.IOError) as trouble:
        raise ConfigError(
            where, f"the disk refused ({trouble}).", "Free some space or check the disk, then start again."
        ) from trouble
    except apsw.BusyError as trouble:
        raise ConfigError(
            where,
            f"another program keeps it locked ({trouble}).",
            "Close SQLite shells and backup tools that have it open.",
        ) from trouble
