"""The index on SQLite: one file, any number of processes on one machine.

Answers for: putting the pieces together. Changes go to the committer as functions over a transaction; point reads run
inline on a reading connection that never keeps a transaction open, so they always see the last commit of any
process. Invariant: nothing but the committer writes.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw

from holdfast.clock import Clock
from holdfast.crew import Crew
from holdfast.errors import ConfigError, S3Error
from holdfast.events import Teller
from holdfast.index import sqlite_buckets as buckets
from holdfast.index import sqlite_debts as debts
from holdfast.index import sqlite_deletes as deletes
from holdfast.index import sqlite_grids as grids
from holdfast.index import sqlite_notices as notices
from holdfast.index import sqlite_objects as objects
from holdfast.index import sqlite_scan as scans
from holdfast.index import sqlite_uploads as uploads
from holdfast.index import sqlite_versions as versions
from holdfast.index.identities import Identities
from holdfast.index.interface import (
    Debt,
    Delay,
    Deleted,
    GridRow,
    GridSums,
    NewVersion,
    Payment,
    Pick,
    Reconciled,
    Settled,
    Stuck,
    Usage,
    Written,
)
from holdfast.index.notices import NoticeSums, PutOff, WaitingNotice
from holdfast.index.sqlite_access import SqliteIdentities
from holdfast.index.sqlite_batch import Batch, GridBook
from holdfast.index.sqlite_commit import Committer
from holdfast.index.sqlite_open import open_lock, open_reader, open_writer, prepare, unavailable
from holdfast.limits import BUCKETS_KNOWN, CLAIM_BATCH, COMMIT_SLICE, INDEX_LOCK_S, READ_SLICE
from holdfast.model import Bucket, Layout, MarkChange, Part, Version, pack, replace
from holdfast.s3 import DeleteAsk, Page, Upload, UploadsPage
from holdfast.s3.notification import Notice
from holdfast.s3.versioning import VersionsPage

_GET = (
    f"SELECT {objects.VERSION_COLUMNS}, {objects.INLINE_COLUMN}, (SELECT settings FROM total)"
    " FROM object WHERE bucket = ? AND key = ?"
)


class _Reading:
    """Around every query on the reading connection: SQLite's troubles become an answer for the client."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, apsw.Error):
            raise unavailable(error) from error


_READING = _Reading()


class SqliteIndex:
    """See `Index`. `node` names this machine in the rows of its spool files."""

    def __init__(self, path: Path, *, clock: Clock, teller: Teller, node: str) -> None:
        self._path = path
        self._clock = clock
        self._teller = teller
        self._node = node
        self._grids = GridBook()
        self._numbers: dict[str, int] = {}
        self._buckets: dict[str, Bucket] = {}
        self._settings = -1
        """Up to which change of settings `_buckets` was read."""
        self._trimmed = 0
        self._reader: apsw.Connection
        self._point: Callable[..., Any]
        self._committer: Committer
        self.identities: Identities

    # --- life ---

    async def open(self) -> None:
        lock = open_lock(self._path)
        crew = Crew("index open", size=1, waiting=1)
        try:
            async with asyncio.timeout(INDEX_LOCK_S):
                await crew.do(prepare, self._path, lock)
            writer = open_writer(self._path)
            self._reader = open_reader(self._path)
        except TimeoutError as trouble:
            # The thread still waits: it keeps the descriptor until this process ends.
            raise ConfigError(
                f"index {self._path}",
                f"another process kept its lock for {INDEX_LOCK_S:.0f} s.",
                "Look for a hung or suspended process of this server, and end it.",
            ) from trouble
        except ConfigError:
            os.close(lock)
            raise
        finally:
            crew.close()
        self._point = self._reader.cursor().execute
        self._grids.read(self._reader)
        self._committer = Committer(writer, lock, self._grids, clock=self._clock, teller=self._teller)
        self.identities = SqliteIdentities(self._reader, self._committer)

    async def close(self) -> None:
        await self._committer.close()
        self._reader.close()

    async def check(self) -> None:
        with _READING:
            self._reader.execute("SELECT seq FROM total").fetchall()
        await self._committer.submit(_note, "checked", str(self._clock.now_ms()))

    # --- buckets ---

    async def create_bucket(self, bucket: Bucket) -> None:
        await self._committer.submit(buckets.create, bucket)

    async def delete_bucket(self, name: str) -> tuple[str, ...]:
        return await self._committer.submit(buckets.delete, name)

    async def bucket(self, name: str) -> Bucket:
        with _READING:
            self._note_settings(self._point("SELECT settings FROM total").get)
            found = self._buckets.get(name)
            if found is None:
                found = buckets.read(self._reader, name)
                if len(self._buckets) >= BUCKETS_KNOWN:
                    self._buckets.clear()
                self._buckets[name] = found
            return found

    def _note_settings(self, changes: int) -> None:
        """So many changes of settings there are now: what was read before another one is forgotten."""
        if changes != self._settings:
            self._buckets.clear()
            self._settings = changes

    def remembered(self, name: str) -> Bucket | None:
        return self._buckets.get(name)

    async def configure(self, bucket: str, name: str, value: bytes | None, *, notices: Sequence[Notice] = ()) -> None:
        await self._committer.submit(buckets.configure, bucket, name, value, notices)

    async def configured(self, name: str) -> tuple[str, ...]:
        with _READING:
            return buckets.read_configured(self._reader, name)

    async def buckets(
        self, *, prefix: str = "", after: str = "", limit: int | None = None, owner: str = ""
    ) -> tuple[Bucket, ...]:
        with _READING:
            return buckets.read_all(self._reader, prefix, after, limit, owner)

    # --- objects ---

    async def get(self, bucket: str, key: str) -> Version | None:
        with _READING:
            # A number once learnt stays right, so only a miss has to ask whether the bucket is there.
            number = self._numbers.get(bucket)
            if number is None:
                number = self._numbers[bucket] = buckets.number(self._reader, bucket)
            row = self._point(_GET, (number, key.encode())).get
            if row is None:
                await self.bucket(bucket)
                return None
            self._note_settings(row[-1])
            return objects.version_of(row, row[-2], self._grids)

    async def layout(self, seq: int) -> Layout | None:
        with _READING:
            data = self._reader.execute("SELECT data FROM layout WHERE seq = ?", (seq,)).get
        return None if data is None else objects.read_layout(data)

    async def reserve(self) -> int:
        return await self._committer.submit(Batch.next_seq)

    async def put(self, change: NewVersion) -> Written:
        return await self._committer.submit(objects.put, change, objects.blobs_of(change), self._node)

    async def delete(
        self, bucket: str, asks: Sequence[DeleteAsk], *, now_ms: int, owes: tuple[int, ...]
    ) -> tuple[tuple[Deleted, ...], tuple[str, ...]]:
        return await self._committer.submit_long(deletes.delete, bucket, asks, now_ms, owes)

    async def mark(
        self, bucket: str, key: str, version_id: str, change: MarkChange, *, notices: Sequence[Notice] = ()
    ) -> Version:
        home = await self._committer.submit(objects.mark, bucket, key.encode(), version_id, change, notices)
        version = await self.get(bucket, home.decode())
        if version is None:  # Deleted at once.
            raise S3Error("NoSuchKey", fields={"Key": key})
        return version

    async def version(self, bucket: str, key: str, version_id: str) -> Version | None:
        with _READING:
            number = buckets.number(self._reader, bucket)
            found = versions.read_past(self._reader, number, key.encode(), version_id)
        if found is None:
            current = await self.get(bucket, key)
            return current if current is not None and version_id in ("", current.version_id) else None
        if found.marker:
            return scans.marker_of(found.place, found.version_id, found.at_ms)
        version = await self.get(bucket, found.home.decode())
        return None if version is None else replace(version, home=found.home.decode())

    async def scan_versions(
        self, bucket: str, *, prefix: str, delimiter: str, key_marker: str, version_marker: str, limit: int
    ) -> VersionsPage:
        with _READING:
            return await scans.scan_versions(
                self._reader,
                self._grids,
                buckets.number(self._reader, bucket),
                prefix=prefix.encode(),
                delimiter=delimiter.encode(),
                key_marker=key_marker.encode(),
                version_marker=version_marker,
                limit=limit,
            )

    async def scan(self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        with _READING:
            return await scans.scan(
                self._reader,
                self._grids,
                buckets.number(self._reader, bucket),
                prefix=prefix.encode(),
                delimiter=delimiter.encode(),
                after=after.encode(),
                limit=limit,
            )

    # --- multipart uploads ---

    async def create_upload(self, upload: Upload) -> None:
        await self._committer.submit(uploads.create, upload)

    async def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        with _READING:
            return uploads.read(self._reader, buckets.number(self._reader, bucket), key.encode(), upload_id)

    async def put_part(self, bucket: str, key: str, upload_id: str, part: Part) -> tuple[str, ...]:
        return await self._committer.submit(
            uploads.put_part, bucket, key.encode(), upload_id, part, pack(part), self._node
        )

    async def parts(self, bucket: str, key: str, upload_id: str, *, after: int, limit: int) -> tuple[Part, ...]:
        found: list[Part] = []
        while True:
            with _READING:
                number = buckets.number(self._reader, bucket)
                page = uploads.read_parts(
                    self._reader, number, key.encode(), upload_id, after, min(limit - len(found), READ_SLICE)
                )
            found.extend(page)
            if len(page) < READ_SLICE or len(found) >= limit:
                return tuple(found)
            after = page[-1].number
            await asyncio.sleep(0)

    async def uploads(
        self, bucket: str, *, prefix: str, delimiter: str, key_marker: str, upload_marker: str, limit: int
    ) -> UploadsPage:
        with _READING:
            return await scans.list_uploads(
                self._reader,
                buckets.number(self._reader, bucket),
                prefix=prefix.encode(),
                delimiter=delimiter.encode(),
                key_marker=key_marker.encode(),
                upload_marker=upload_marker,
                limit=limit,
            )

    async def complete_upload(self, upload_id: str, change: NewVersion) -> Written:
        return await self._committer.submit(uploads.complete, upload_id, change, objects.blobs_of(change))

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> tuple[str, ...]:
        return await self._committer.submit(uploads.abort, bucket, key.encode(), upload_id)

    async def stale_uploads(self, *, before_ms: int, limit: int) -> tuple[Upload, ...]:
        with _READING:
            return uploads.read_stale(self._reader, before_ms, limit)

    # --- debts ---

    async def claim(
        self, grid: int, *, holder: str, now_ms: int, lease_until_ms: int, limit: int, pick: Pick = Pick.ANY
    ) -> tuple[Debt, ...]:
        with _READING:
            # Looking costs nothing; a transaction is for when there is something to take.
            look = self._reader.execute
            if not (
                look(debts.DUE[pick], (grid, now_ms, 1)).fetchall()
                or look(debts.FAR, (grid, debts.far_ms(now_ms), 1)).fetchall()
            ):
                return ()
        return await self._committer.submit(debts.claim, grid, holder, now_ms, lease_until_ms, limit, pick)

    async def claim_key(
        self, grid: int, bucket: str, key: str, *, holder: str, now_ms: int, lease_until_ms: int
    ) -> Debt | None:
        return await self._committer.submit(debts.claim_key, grid, bucket, key.encode(), holder, now_ms, lease_until_ms)

    async def renew(self, debt: Debt, *, lease_until_ms: int) -> bool:
        return await self._committer.submit(debts.renew, debt, lease_until_ms)

    async def settle(self, payments: Sequence[Payment]) -> Settled:
        return await self._committer.submit(debts.settle, payments)

    async def postpone(self, delays: Sequence[Delay]) -> None:
        await self._committer.submit(debts.postpone, delays)

    async def release_leases(self, holder: str) -> int:
        # Looked for inside the transaction: a claim that nobody waits for any more may still be on its way there.
        freed = 0
        while True:
            some = await self._committer.submit(debts.release_leases, holder, CLAIM_BATCH)
            freed += some
            if some < CLAIM_BATCH:
                return freed

    async def suspect(self, bucket: str, key: str, seq: int, grid: int, *, now_ms: int) -> bool:
        return await self._committer.submit(debts.suspect, bucket, key.encode(), seq, grid, now_ms)

    async def debt_of(self, bucket: str, key: str) -> tuple[int, ...]:
        with _READING:
            return debts.read_grids(self._reader, bucket, key.encode())

    async def sums(self) -> tuple[GridSums, ...]:
        with _READING:
            return grids.read_sums(self._reader)

    async def stuck(self, grid: int, *, limit: int) -> tuple[Stuck, ...]:
        with _READING:
            return debts.read_stuck(self._reader, grid, limit)

    async def tombstone(self, bucket: str, key: str) -> int | None:
        with _READING:
            return objects.read_tombstone(self._reader, bucket, key.encode())

    # --- notices ---

    async def due_notices(self, webhook: str, *, now_ms: int, limit: int) -> tuple[WaitingNotice, ...]:
        with _READING:
            return notices.read_due(self._reader, webhook, now_ms, limit)

    async def old_notices(self, *, before_ms: int, limit: int) -> tuple[WaitingNotice, ...]:
        with _READING:
            return notices.read_before(self._reader, before_ms, limit)

    async def settle_notices(self, told: Sequence[int], put_off: Sequence[PutOff]) -> None:
        await self._committer.submit(notices.settle, told, put_off)

    async def notice_sums(self) -> tuple[NoticeSums, ...]:
        with _READING:
            return notices.read_sums(self._reader)

    async def take_dropped(self, webhook: str) -> int:
        return await self._committer.submit(notices.take_dropped, webhook)

    # --- grids and policies ---

    async def register_grid(self, name: str, identity: str, url: str) -> GridRow:
        row = await self._committer.submit(grids.register, name, identity, url)
        while await self._committer.submit_long(grids.inherit, row.id, CLAIM_BATCH * COMMIT_SLICE):
            pass
        return row

    async def grids(self) -> tuple[GridRow, ...]:
        with _READING:
            return grids.read_rows(self._reader)

    async def reconcile(
        self, bucket: str, *, wanted: tuple[int, ...], after: str, limit: int, now_ms: int
    ) -> Reconciled:
        return await self._committer.submit_long(grids.reconcile, bucket, wanted, after.encode(), limit, now_ms)

    async def copies(self, bucket: str, *, after: str, limit: int) -> tuple[tuple[str, Version], ...]:
        with _READING:
            page = await scans.scan(
                self._reader,
                self._grids,
                buckets.number(self._reader, bucket),
                prefix=b"",
                delimiter=b"",
                after=after.encode(),
                limit=limit,
                all_kept=True,
            )
        return page.versions

    # --- bookkeeping ---

    async def usage(self) -> Usage:
        with _READING:
            row = self._reader.execute(
                "SELECT objects, object_bytes, inline_bytes, spool_bytes, debts, tombstones, uploads FROM total"
            ).get
        return Usage(*row)

    async def spooled(self, ids: Sequence[str]) -> frozenset[str]:
        named: set[str] = set()
        for start in range(0, len(ids), READ_SLICE):
            asked = ids[start : start + READ_SLICE]
            marks = ", ".join("?" * len(asked))
            with _READING:
                rows: list[tuple[Any, ...]] = self._reader.execute(
                    f"SELECT id FROM spool WHERE id IN ({marks})", asked
                ).fetchall()
            named.update([row[0] for row in rows])
            await asyncio.sleep(0)
        return frozenset(named)

    async def trim_inline(self, keep_bytes: int, *, limit: int, wanted: tuple[int, ...] | None = None) -> int:
        if (await self.usage()).inline_bytes <= keep_bytes:
            return 0
        # Goes on where the last call ended, so that bodies that must stay do not hide those behind them.
        freed, self._trimmed = await self._committer.submit_long(grids.trim, keep_bytes, self._trimmed, limit, wanted)
        return freed

    async def note(self, name: str, value: str) -> None:
        await self._committer.submit(_note, name, value)

    async def noted(self, name: str) -> str:
        with _READING:
            value: str | None = self._reader.execute("SELECT value FROM note WHERE name = ?", (name,)).get
        return value or ""


def _note(batch: Batch, name: str, value: str) -> None:
    batch.execute("INSERT OR REPLACE INTO note (name, value) VALUES (?, ?)", (name, value))
