"""Mistakes planted in the product while a simulation runs, each of which breaks a promise: the simulator must find every one.

Answers for a table of them: what each breaks, what a checker says then, and a seed that finds it. Each tells whenever it acts, and what it
replaces must exist, so a product that moved on is noticed. Invariant: outside `Mutant.plant` the product is as it was.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any, Final, NamedTuple

from holdfast.cache import files as cache_files
from holdfast.copies import paying, searching
from holdfast.errors import S3Error
from holdfast.grids.folder import flush
from holdfast.grids.grid import Label
from holdfast.grids.sources import BytesSource
from holdfast.index import (
    sqlite,
    sqlite_debts,
    sqlite_deletes,
    sqlite_grids,
    sqlite_objects,
    sqlite_open,
    sqlite_owe,
    sqlite_scan,
    sqlite_uploads,
    sqlite_versions,
)
from holdfast.index.interface import Delay, NewVersion, Payment, SpoolFile
from holdfast.index.sqlite_commit import Committer, _settle
from holdfast.keepers import catchup
from holdfast.model import Place, replace
from holdfast.spool import incoming
from holdfast.store import acknowledge, delete, read, write

Act = Callable[[], None]
"""Called whenever a mutant does something else than the product."""

UNSERVED: Final = r"requests fail in peace"
GRID: Final = r"lacks |holds other bytes|not converged|still has "
"""A grid has not what is listed, or nobody can give it what it is owed."""
LOST: Final = r": (lost|stale|unmet|wrongly refused): |" + UNSERVED + "|" + GRID
"""What was acknowledged is not there."""
STALE: Final = r": (lost|stale|returned): "
"""A client saw what was there before."""
BYTES: Final = r"bytes that are not|: torn: "
RETURNED: Final = r"still has |: returned: "


class Mutant(NamedTuple):
    """One mistake."""

    promise: str
    """What it breaks."""
    told: str
    """What a checker says then (a regular expression)."""
    plant: Callable[[Act], AbstractContextManager[None]]
    seed: str
    """One that finds it; 0: none is known."""
    steps: int = 80


MUTANTS: Final[dict[str, Mutant]] = {}


def _mutant(promise: str, told: str, seed: str = "", steps: int = 80) -> Callable[[Any], Any]:
    def add(plant: Callable[[Act], Iterator[None]]) -> Callable[[Act], Iterator[None]]:
        name = plant.__name__.removeprefix("_").replace("_", " ")
        MUTANTS[name] = Mutant(promise, told, contextmanager(plant), seed, steps)
        return plant

    return add


@contextmanager
def _instead(place: Any, name: str, other: Any) -> Iterator[None]:
    """`place.name`, which must be there, is `other` meanwhile."""
    before = getattr(place, name)
    setattr(place, name, other)
    try:
        yield
    finally:
        setattr(place, name, before)


class _Os(ModuleType):
    """The `os` module as one module of the product sees it, which believes that it flushes."""

    def __init__(self, act: Act) -> None:
        super().__init__("os")
        self._act = act

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        self._act()

    fdatasync = fsync


class _Always:
    """A checksum that is always right."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


def _never_wrong(act: Act) -> Callable[[Any], Any]:
    def checksum(data: Any) -> Any:
        act()
        return _Always()

    return checksum


# --- writes ---


@_mutant("No grid sees a version before the index has it.", LOST, "85")
def _publish_before_commit(act: Act) -> Iterator[None]:
    put = write._put

    async def early(site: Any, change: NewVersion) -> Any:
        if change.inline is not None:
            act()
            label = Label(0, change.etag, change.modified_ms, change.facts.system, change.facts.user)
            for number in site.redundancy(change.bucket).grids:
                seat = site.seat(number)
                with contextlib.suppress(Exception):
                    place = Place(change.bucket, change.key)
                    await seat.grid.publish(await seat.grid.stage(place, BytesSource(change.inline), label))
        return await put(site, change)

    with _instead(write, "_put", early):
        yield


@_mutant("Nothing is acknowledged before it is committed.", LOST, "85")
def _acknowledge_before_commit(act: Act) -> Iterator[None]:
    apply = Committer._apply

    async def early(self: Committer, batch: Any, transaction: Any) -> None:
        await apply(self, batch, transaction)
        act()
        _settle(batch)

    with _instead(Committer, "_apply", early):
        yield


@_mutant("A condition is checked in the transaction that depends on it.", r": (two winners|unmet|lost|stale): ", "100")
def _condition_checked_before_the_commit(act: Act) -> Iterator[None]:
    put, check = write._put, sqlite_objects.check_write

    async def checked(site: Any, change: NewVersion) -> Any:
        version = await site.index.get(change.bucket, change.key)
        check(change.condition, version, change.key)
        return await put(site, change)

    def unchecked(condition: Any, prior: Any, key: str) -> None:
        act()

    with _instead(write, "_put", checked), _instead(sqlite_objects, "check_write", unchecked):
        yield


@_mutant("Parts of an upload stay until every grid holds the object.", LOST, "lies-10")
def _parts_released_when_completed(act: Act) -> Iterator[None]:
    complete = sqlite_uploads.complete

    def released(batch: Any, upload_id: str, change: NewVersion, blobs: Any) -> Any:
        written = complete(batch, upload_id, change, blobs)
        act()
        return replace(written, released=(*written.released, *(file.id for file in change.spool)))

    with _instead(sqlite_uploads, "complete", released):
        yield


@_mutant("An upload becomes an object of the parts that its client listed, in their order.", BYTES, "98")
def _parts_in_the_order_of_their_size(act: Act) -> Iterator[None]:
    complete = sqlite_uploads.complete

    def sorted_(batch: Any, upload_id: str, change: NewVersion, blobs: Any) -> Any:
        assert change.layout is not None
        parts = tuple(sorted(change.layout.parts, key=lambda part: part.size))
        if parts != change.layout.parts:
            act()
        layout = replace(change.layout, parts=parts)
        change = replace(change, layout=layout, spool=tuple(SpoolFile(part.spool, part.size) for part in parts))
        return complete(batch, upload_id, change, sqlite_objects.blobs_of(change))

    with _instead(sqlite_uploads, "complete", sorted_):
        yield


# --- durability on this machine ---


@_mutant("A spool file is flushed before the commit that names it.", LOST, "power-6")
def _spool_file_not_flushed(act: Act) -> Iterator[None]:
    with _instead(incoming, "os", _Os(act)):
        yield


@_mutant("A spool file's name is flushed before the commit that names it.", LOST, "power-6")
def _spool_directory_not_flushed(act: Act) -> Iterator[None]:
    with _instead(incoming, "flush_folder", lambda path: act()):
        yield


@_mutant("A commit is flushed before it is acknowledged.", LOST, "98")
def _index_not_flushed(act: Act) -> Iterator[None]:
    opened = sqlite_open.open_writer

    def open_writer(path: Any) -> Any:
        connection = opened(path)
        connection.execute("PRAGMA synchronous = OFF").fetchall()
        act()
        return connection

    with _instead(sqlite, "open_writer", open_writer):
        yield


@_mutant("What a grid on this machine holds survives power loss.", LOST, "folder-21", 150)
def _folder_not_flushed(act: Act) -> Iterator[None]:
    def unflushed(self: Any, whole: Any) -> None:
        act()

    with _instead(flush.Dirty, "flush", unflushed):
        yield


@_mutant("Spooled bytes stay until the grids of the policy hold them.", LOST, "")
def _spool_file_released_when_one_grid_holds_it(act: Act) -> Iterator[None]:
    confirm = sqlite_debts._confirm

    def early(batch: Any, lease: Any, debt: Any, etag: str | None, wanted: Any) -> Any:
        released = confirm(batch, lease, debt, etag, wanted)
        key = debt.key.encode()
        owner = batch.execute("SELECT spool FROM object WHERE bucket = ? AND key = ?", (lease.bucket, key)).get
        if owner:
            act()
            released += sqlite_objects.release(batch, owner)
            batch.execute("UPDATE object SET spool = 0 WHERE bucket = ? AND key = ?", (lease.bucket, key))
        return released

    with _instead(sqlite_debts, "_confirm", early):
        yield


@_mutant("A body in the index stays while a grid is owed it.", LOST, "93")
def _inline_body_trimmed_while_owed(act: Act) -> Iterator[None]:
    def trim(batch: Any, keep_bytes: int, after: int, limit: int, wanted: Any) -> Any:
        freed = 0
        rows = batch.execute("SELECT seq, bucket, key FROM body ORDER BY seq LIMIT ?", (limit,)).fetchall()
        for seq, bucket, key in rows:
            if batch.inline_bytes <= keep_bytes:
                break
            act()
            batch.execute("UPDATE object SET inline = 0 WHERE bucket = ? AND key = ?", (bucket, key))
            freed += sqlite_objects.drop_body(batch, seq)
        yield
        return freed, 0

    with _instead(sqlite_grids, "trim", trim):
        yield


# --- debts ---


@_mutant("A tombstone stays until every grid has confirmed the deletion.", RETURNED, "86")
def _tombstone_dropped_early(act: Act) -> Iterator[None]:
    confirm = sqlite_debts._confirm

    def early(batch: Any, lease: Any, debt: Any, etag: str | None, wanted: Any) -> Any:
        released = confirm(batch, lease, debt, etag, wanted)
        if debt.version is None:
            for other in sqlite_owe.owed(batch, lease.seq):
                act()
                sqlite_owe.drop_debt(batch, lease.seq, other.grid, other.size)
            sqlite_versions.end_tombstone(batch, lease.bucket, debt.key.encode())
        return released

    with _instead(sqlite_debts, "_confirm", early):
        yield


@_mutant("A debt is settled when it was paid, not when paying failed.", GRID, "90")
def _failed_payment_settled(act: Act) -> Iterator[None]:
    pay = paying.pay

    async def settled(site: Any, debt: Any, *staged: Any) -> Any:
        outcome = await pay(site, debt, *staged)
        if isinstance(outcome, Delay) and outcome.counts:
            act()
            etag = debt.version.etag if debt.version is not None else None
            return Payment(debt, etag, site.redundancy(debt.bucket).grids)
        return outcome

    with _instead(catchup, "pay", settled):
        yield


@_mutant("A change whose answer was lost is read back before its debt is settled.", GRID, "late-1")
def _uncertain_change_forgotten(act: Act) -> Iterator[None]:
    may_have = paying._may_have_acted

    def never(trouble: Exception, grid: str) -> bool:
        if may_have(trouble, grid):
            act()
        return False

    with _instead(paying, "_may_have_acted", never):
        yield


@_mutant("Every grid of the policy is owed a write.", GRID, "85")
def _debt_of_one_grid_not_recorded(act: Act) -> Iterator[None]:
    owe = sqlite_owe.owe_anew

    def fewer(batch: Any, bucket: int, key: bytes, seq: int, size: int, grids: Any, *rest: Any, **named: Any) -> Any:
        grids = sorted(grids)
        if len(grids) > 1 and grids[-1] not in named.get("ours", ()):
            act()
            grids = grids[:-1]
        return owe(batch, bucket, key, seq, size, grids, *rest, **named)

    with _instead(sqlite_objects, "owe_anew", fewer):
        yield


@_mutant("A deletion is owed to every grid, also to one that is down.", RETURNED, "")
def _deletion_not_owed_to_grids_that_are_down(act: Act) -> Iterator[None]:
    one, asked = sqlite_deletes._delete_one, delete._delete

    up: list[set[int]] = [set()]

    async def noted(site: Any, bucket: str, asks: Any) -> Any:
        up[0] = {number for number in site.redundancy(bucket).grids if site.is_up(number)}
        return await asked(site, bucket, asks)

    def fewer(batch: Any, bucket: int, ask: Any, *rest: Any) -> Any:
        outcome = one(batch, bucket, ask, *rest)
        seq = sqlite_objects._last(batch, bucket, ask.key.encode(), None)
        for debt in sqlite_owe.owed(batch, seq) if seq else ():
            if debt.grid not in up[0]:
                act()
                sqlite_owe.drop_debt(batch, seq, debt.grid, debt.size)
        return outcome

    with _instead(delete, "_delete", noted), _instead(sqlite_deletes, "_delete_one", fewer):
        yield


@_mutant("While a lease runs nobody else pays the debt.", GRID, "deaths-1")
def _lease_not_looked_at(act: Act) -> Iterator[None]:
    queries = {
        pick: query.replace("due_ms <= ?2", "due_ms <= ?2 + 1000000000") for pick, query in sqlite_debts.DUE.items()
    }
    assert all(query != sqlite_debts.DUE[pick] for pick, query in queries.items())
    take = sqlite_debts._take

    def taken(batch: Any, grid: int, row: Sequence[Any], *rest: Any) -> Any:
        if row[5] and row[6] > batch.now_ms:
            act()
        return take(batch, grid, (*row[:5], "", *row[6:]), *rest)

    with _instead(sqlite_debts, "DUE", queries), _instead(sqlite_debts, "_take", taken):
        yield


@_mutant("What was paid is the version of the claim, and a later one is still owed.", LOST, "late-8")
def _payment_of_an_older_version_settles(act: Act) -> Iterator[None]:
    settle = sqlite_debts.settle

    def settled(batch: Any, payments: Sequence[Payment]) -> Any:
        now = []
        for payment in payments:
            lease = sqlite_debts._lease(batch, payment.debt)
            if lease is not None and lease.seq != payment.debt.seq:
                act()
                payment = replace(payment, debt=replace(payment.debt, seq=lease.seq))
            now.append(payment)
        return settle(batch, now)

    with _instead(sqlite_debts, "settle", settled):
        yield


@_mutant("A copy that was found to be wrong is owed.", GRID, "")
def _wrong_copy_not_owed(act: Act) -> Iterator[None]:
    def forgotten(*_: Any) -> bool:
        act()
        return False

    with _instead(sqlite_debts, "suspect", forgotten):
        yield


# --- reads ---


@_mutant("Every block is checked before it is sent.", BYTES, "lies-87")
def _blocks_not_verified(act: Act) -> Iterator[None]:
    with _instead(searching, "crc32c", _never_wrong(act)):
        yield


@_mutant("Blocks from the cache are checked before they are sent.", BYTES, "")
def _cached_blocks_not_verified(act: Act) -> Iterator[None]:
    with _instead(cache_files, "crc32c", _never_wrong(act)):
        yield


@_mutant("A read that begins after a write was acknowledged sees it.", STALE, "81")
def _rows_of_the_index_remembered(act: Act) -> Iterator[None]:
    get = sqlite.SqliteIndex.get
    memory: dict[tuple[int, str, str], tuple[float, Any]] = {}

    async def remembered(self: Any, bucket: str, key: str) -> Any:
        now_s = self._clock.monotonic_s()
        place = id(self), bucket, key
        since_s, version = memory.get(place, (float("-inf"), None))
        if now_s - since_s < 2.0:
            act()
            return version
        version = await get(self, bucket, key)
        memory[place] = now_s, version
        return version

    with _instead(sqlite.SqliteIndex, "get", remembered):
        yield


@_mutant("A LIST that begins after a write was acknowledged sees it.", STALE, "81")
def _pages_of_lists_remembered(act: Act) -> Iterator[None]:
    scan = sqlite.SqliteIndex.scan
    memory: dict[Any, tuple[float, Any]] = {}

    async def remembered(self: Any, bucket: str, **asked: Any) -> Any:
        now_s = self._clock.monotonic_s()
        place = id(self), bucket, tuple(asked.values())
        since_s, page = memory.get(place, (float("-inf"), None))
        if now_s - since_s < 30.0:
            act()
            return page
        page = await scan(self, bucket, **asked)
        memory[place] = now_s, page
        return page

    with _instead(sqlite.SqliteIndex, "scan", remembered):
        yield


@_mutant("A LIST hides nothing that was acknowledged.", STALE, "100")
def _pages_of_lists_begin_one_key_too_late(act: Act) -> Iterator[None]:
    scan = sqlite_scan.scan

    async def skipping(*asked: Any, limit: int, **named: Any) -> Any:
        page = await scan(*asked, limit=limit, **named)
        more = await scan(*asked, limit=limit + 1, **named) if page.next else page
        if more.next:
            act()
            return replace(page, next=more.next)
        return page

    with _instead(sqlite_scan, "scan", skipping):
        yield


@_mutant("Unknown is not absent: when no copy answers that is 503.", r": lost: ", "93")
def _absent_when_no_copy_answers(act: Act) -> Iterator[None]:
    def absent(detail: str) -> S3Error:
        act()
        return S3Error("NoSuchKey")

    with _instead(read, "_try_again", absent):
        yield


@_mutant("An older version is moved before its key is changed at a grid.", r"lacks \.holdfast-versions", "versions-1")
def _older_version_overwritten(act: Act) -> Iterator[None]:
    async def nobody(site: Any, debt: Any) -> None:
        act()

    with _instead(paying, "make_way", nobody):
        yield


@_mutant("As many grids as the policy says hold a write before it is acknowledged.", r"acknowledged with", "81")
def _acknowledged_without_enough_grids(act: Act) -> Iterator[None]:
    def enough(ack: int, outcomes: Any) -> bool:
        act()
        return True

    with _instead(acknowledge, "enough", enough):
        yield
