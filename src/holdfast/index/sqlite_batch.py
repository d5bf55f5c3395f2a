"""One transaction, as the changes in it see it.

Answers for: the connection, the time, the next sequence number, which buckets and grids there are, and the
sums. Changes count in memory; `finish` writes each sum once for the whole batch. It never begins or ends
the transaction. Invariant: after `finish`, every kept sum equals what the tables add up to.
"""

from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

import apsw

from holdfast.errors import S3Error
from holdfast.model import Copy, unpack
from holdfast.s3.versioning import Versioning

R = TypeVar("R")
Steps = Generator[None, None, R]
"""A long change: at each `yield` the event loop has its turn, inside the transaction."""


class GridBook:
    """The grids as the last transaction of this process found them."""

    __slots__ = ("heirs", "live", "retired", "settings", "version", "versioning")

    def __init__(self) -> None:
        self.live: frozenset[int] = frozenset()
        self.retired: frozenset[int] = frozenset()
        self.heirs: dict[int, int] = {}
        """Retired grid to the grid of the same name that replaced it."""
        self.version = -1
        self.versioning: dict[int, str] = {}
        """Of buckets by their number: whether they keep versions."""
        self.settings = -1
        """Up to which change of settings `versioning` was read."""

    def read(self, connection: apsw.Connection) -> None:
        """Learn the grids from the tables."""
        rows: list[tuple[Any, ...]] = connection.execute("SELECT id, name, retired FROM grid").fetchall()
        names = {name: number for number, name, retired in rows if not retired}
        self.live = frozenset(names.values())
        self.retired = frozenset(number for number, _, retired in rows if retired)
        self.heirs = {number: names[name] for number, name, retired in rows if retired and name in names}

    def forget(self) -> None:
        """Read again before the next transaction."""
        self.version = -1

    def successors(self, grids: Iterable[int]) -> set[int]:
        """These grids, a retired one replaced by the grid that has its name now, if there is one."""
        found = set(grids)
        if self.retired:
            found = {self.heirs.get(grid, grid) for grid in found} - self.retired
        assert found <= self.live, f"grids {found - self.live} were never registered"
        return found

    def needing(self, wanted: tuple[int, ...] | None) -> frozenset[int]:
        """Grids whose debts need bytes: these (None: all) and those that they replaced, whose debts they inherit."""
        if wanted is None:
            return self.live | self.retired
        found = self.successors(wanted)
        return frozenset(found).union(grid for grid, heir in self.heirs.items() if heir in found)

    def present(self, copies: tuple[Copy, ...]) -> tuple[Copy, ...]:
        """The copies that are not on a retired grid."""
        if not self.retired:
            return copies
        return tuple([copy for copy in copies if copy.grid not in self.retired])


class GridDelta:
    """What a batch changed in one grid's sums."""

    __slots__ = ("debt_bytes", "debts", "held", "held_bytes", "paid", "paid_bytes")

    def __init__(self) -> None:
        self.held = self.held_bytes = self.debts = self.debt_bytes = self.paid = self.paid_bytes = 0


class Batch:
    """An open write transaction."""

    __slots__ = (
        "_buckets",
        "_deltas",
        "_found",
        "connection",
        "debts",
        "execute",
        "grids",
        "inline_bytes",
        "now_ms",
        "object_bytes",
        "objects",
        "seq",
        "spool_bytes",
        "tombstones",
        "uploads",
    )

    def __init__(self, connection: apsw.Connection, grids: GridBook, now_ms: int) -> None:
        """`connection` has just begun a write transaction."""
        self.connection = connection
        # One cursor for all statements: each is read to its end before the next begins.
        self.execute: Callable[..., Any] = connection.cursor().execute
        self.now_ms = now_ms
        self.grids = grids
        self._buckets: dict[str, int] = {}
        self._deltas: dict[int, GridDelta] = {}
        # Moves when another connection has committed; what this one did to the grids is known already.
        version: int = self.execute("PRAGMA data_version").get
        if version != grids.version:
            grids.read(connection)
            grids.version = version
        *sums, settings = self.execute(
            "SELECT seq, objects, object_bytes, inline_bytes, spool_bytes, debts, tombstones, uploads, settings FROM total"
        ).get
        if settings != grids.settings:
            grids.versioning.clear()
            grids.settings = settings
        self._found: tuple[int, ...] = tuple(sums)
        (
            self.seq,
            self.objects,
            self.object_bytes,
            self.inline_bytes,
            self.spool_bytes,
            self.debts,
            self.tombstones,
            self.uploads,
        ) = self._found

    def next_seq(self) -> int:
        """A number above all that were given before."""
        seq: int = self.seq + 1
        self.seq = seq
        return seq

    def bucket(self, name: str) -> int:
        """The number of a bucket. Raises NoSuchBucket."""
        number = self._buckets.get(name)
        if number is None:
            found: int | None = self.execute("SELECT id FROM bucket WHERE name = ? AND deleted_ms IS NULL", (name,)).get
            if found is None:
                raise S3Error("NoSuchBucket", fields={"BucketName": name})
            number = self._buckets[name] = found
        return number

    def buckets_changed(self) -> None:
        """A bucket was made, deleted or configured in this transaction."""
        self._buckets.clear()
        self.grids.versioning.clear()
        self.grids.settings = -1
        self.execute("UPDATE total SET settings = settings + 1")

    def versioning(self, bucket: int) -> str:
        """Enabled, Suspended or empty, of a bucket by its number."""
        status = self.grids.versioning.get(bucket)
        if status is None:
            data: bytes | None = self.execute(
                "SELECT value FROM setting WHERE bucket = ? AND name = 'versioning'", (bucket,)
            ).get
            status = self.grids.versioning[bucket] = "" if data is None else unpack(data, Versioning).status
        return status

    def delta(self, grid: int) -> GridDelta:
        """The sums of one grid, to be added to."""
        found = self._deltas.get(grid)
        if found is None:
            found = self._deltas[grid] = GridDelta()
        return found

    def finish(self) -> None:
        """Write the sums."""
        sums = (
            self.seq,
            self.objects,
            self.object_bytes,
            self.inline_bytes,
            self.spool_bytes,
            self.debts,
            self.tombstones,
            self.uploads,
        )
        if sums != self._found:
            self.execute(
                "UPDATE total SET seq = ?, objects = ?, object_bytes = ?, inline_bytes = ?, spool_bytes = ?,"
                " debts = ?, tombstones = ?, uploads = ?",
                sums,
            )
        for grid, delta in self._deltas.items():
            self.execute(
                "UPDATE grid SET held = held + ?, held_bytes = held_bytes + ?, debts = debts + ?,"
                " debt_bytes = debt_bytes + ?, paid = paid + ?, paid_bytes = paid_bytes + ? WHERE id = ?",
                (delta.held, delta.held_bytes, delta.debts, delta.debt_bytes, delta.paid, delta.paid_bytes, grid),
            )
