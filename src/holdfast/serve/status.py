"""How the node is doing, as one value for `holdfast status`, the console and the scrape.

Answers for gathering what the index, the site and the workers know, and for the ETA of what is owed. It changes
nothing but what an operator tells it to. Invariant: everything in it is read at the same moment, or is said to be older.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast import __version__
from holdfast.cache.cache import State
from holdfast.clock import Clock
from holdfast.copies.site import PolicyTerms, Seat, Site
from holdfast.events import CatchUpTold
from holdfast.health.pace import Pace
from holdfast.health.progress import Phase, Progress
from holdfast.health.standing import Use
from holdfast.index.interface import GridSums
from holdfast.limits import METRICS_S, STUCK_TOLD
from holdfast.model import GridState, Value
from holdfast.serve.metrics import Family, Publisher, Reading, Snapshot, alive
from holdfast.serve.standings import FirstBlock, breakers, counted, first_block, labels_of, shut, values_of


class StuckStatus(Value, frozen=True):
    """A debt that nobody could pay so far."""

    bucket: str
    key: str
    size: int
    age_s: float
    attempts: int
    reason: str
    """Why the last attempt failed."""


class GridStatus(Value, frozen=True):
    """One configured grid. `eta_s` is None when nothing that is owed is being paid, or some of it cannot be."""

    name: str
    url: str
    state: str
    reason: str
    since_ms: int
    held: int
    held_bytes: int
    owed: int
    owed_bytes: int
    oldest_debt_s: float
    eta_s: float | None
    paid_per_s: float
    breakers: dict[str, str]
    """Per class of operation, the worst state among the workers."""
    use: str = "auto"
    """What an operator decided: `in` and `out` are kept until it is `auto` again."""
    demoted: dict[str, str] = {}
    """Classes of operations for which it is asked after the others, and why."""
    read_share: float = 1.0
    """Of the reads in which it has its ordinary place, the least among the workers."""
    first_block: dict[str, FirstBlock] = {}
    """Per size of a first block, how long it takes lately, for the worker that waits longest."""
    hedges: int = 0
    """Reads that did not wait for it and asked another grid, too."""
    failovers: int = 0
    """Reads that left it and went on to the next copy."""
    shut: dict[str, str] = {}
    """Why a breaker is not closed, per class of operation, as far as this worker knows."""
    payable_eta_s: float | None = 0.0
    """As `eta_s`, without what is stuck."""
    stuck: int = 0
    """Debts that were tried again and again in vain: no ETA covers them."""
    stuck_debts: tuple[StuckStatus, ...] = ()
    """Some of them."""


class CacheStatus(Value, frozen=True):
    """The read cache of all workers. What was counted goes on across restarts."""

    state: str = "off"
    """on, opening, or off in at least one worker."""
    reason: str = ""
    """Why it is off."""
    size_bytes: int = 0
    limit_bytes: int = 0
    """What it may take now: less than the setting when the disk is full."""
    blocks: int = 0
    hits: int = 0
    misses: int = 0
    hit_bytes: int = 0
    offers: dict[str, int] = {}
    """Blocks from grids, by what became of them: admitted, rejected, dropped."""
    evictions: dict[str, int] = {}
    """Blocks that left, by why: room, age, damaged."""


class PolicyStatus(Value, frozen=True):
    """One policy, with its effective values."""

    name: str
    grids: tuple[str, ...]
    ack: int
    outage: str


class WorkerStatus(Value, frozen=True):
    """One process, as of its last word."""

    worker: int
    pid: int
    connections: int
    requests: int
    heard_s: float
    """Age of that word in seconds."""


class Status(Value, frozen=True):
    """The node. All sizes are bytes."""

    version: str
    node: str
    at_ms: int
    uptime_s: float
    draining: bool
    objects: int
    object_bytes: int
    tombstones: int
    uploads: int
    owed: int
    inline_bytes: int
    inline_limit: int
    spool_bytes: int
    spool_limit: int
    grids: tuple[GridStatus, ...]
    policies: tuple[PolicyStatus, ...]
    workers: tuple[WorkerStatus, ...]
    cache: CacheStatus = CacheStatus()
    suspects_itself: bool = False
    """All grids are silent to some worker, so it may be this node."""
    unready: tuple[str, ...] = ()
    """Why this node takes no requests now, as /readyz says."""


class Endpoint(Value, frozen=True):
    """Where a node can be reached, as its data directory says while it serves."""

    url: str
    admin: str
    pid: int


def endpoint_path(run: Path) -> Path:
    """The file among a node's run files that tells its `Endpoint`."""
    return run / "endpoint.json"


class Watch:
    """A keeper: looks how catch-up gets on, and tells how the node is doing."""

    name = "watch"

    def __init__(
        self,
        site: Site,
        *,
        clock: Clock,
        publisher: Publisher,
        policies: Sequence[PolicyTerms],
        inline_limit: int,
        node: str,
    ) -> None:
        self.wake = asyncio.Event()
        self.draining = False
        self._site = site
        self._clock = clock
        self._publisher = publisher
        self._policies = policies
        self._inline_limit = inline_limit
        self._node = node
        self._began_s = clock.monotonic_s()
        self._paces: dict[int, Pace] = {}
        self._progress: dict[int, Progress] = {}

    async def step(self) -> float:
        """Look once."""
        sums = await self._site.index.sums()
        self._observe(sums)
        for row in sums:
            await self._tell(row)
        return METRICS_S

    async def close(self) -> None:
        """Nothing outlives a step."""

    def _observe(self, sums: Sequence[GridSums]) -> None:
        now_s = self._clock.monotonic_s()
        self._paces = {row.grid: self._paces.get(row.grid) or Pace() for row in sums}
        for row in sums:
            self._paces[row.grid].observe(now_s, row.paid, row.paid_bytes)

    async def _tell(self, row: GridSums) -> None:
        """Tell how a grid's catch-up gets on, when that is worth a line."""
        site, seat = self._site, self._site.seat(row.grid)
        if seat is None:
            return
        now_s = self._clock.monotonic_s()
        progress = self._progress.setdefault(row.grid, Progress())
        phase = progress.observe(now_s, oldest_s=_age_s(row, self._clock.now_ms()), paid=row.paid)
        if phase is None:
            return
        elapsed_s, paid = progress.sums(now_s, row.paid)
        if phase is Phase.DONE:
            del self._progress[row.grid]
        pace = self._paces[row.grid]
        stuck = await site.index.stuck(row.grid, limit=1) if phase is Phase.IDLE else ()
        reason = seat.reason or "".join(debt.reason for debt in stuck)
        eta_s = pace.eta_s(row.debts - row.stuck, row.debt_bytes) if seat.state is GridState.UP else None
        site.teller.tell(
            CatchUpTold(
                seat.name, phase.value, row.debts, row.debt_bytes, paid, elapsed_s, pace.per_s, eta_s, row.stuck, reason
            )
        )

    async def status(self) -> tuple[Status, list[Snapshot]]:
        """How the node is doing, and what its workers counted."""
        index = self._site.index
        sums, usage = await index.sums(), await index.usage()
        self._observe(sums)
        now_ms = self._clock.now_ms()
        snapshots = self._publisher.collect()
        living = alive(snapshots, now_ms)
        by_grid = {row.grid: row for row in sums}
        told = Status(
            version=__version__,
            node=self._node,
            at_ms=now_ms,
            uptime_s=self._clock.monotonic_s() - self._began_s,
            draining=self.draining,
            objects=usage.objects,
            object_bytes=usage.object_bytes,
            tombstones=usage.tombstones,
            uploads=usage.uploads,
            owed=usage.debts,
            inline_bytes=usage.inline_bytes,
            inline_limit=self._inline_limit,
            spool_bytes=usage.spool_bytes,
            spool_limit=self._site.spool.limit_bytes,
            cache=_cache(self._site, snapshots, living),
            grids=tuple(
                [
                    await self._grid(seat, by_grid.get(seat.number), snapshots, now_ms)
                    for seat in self._site.seats.values()
                ]
            ),
            policies=tuple(
                PolicyStatus(terms.name, terms.grids, terms.ack, "accept" if terms.accept_outage else "refuse")
                for terms in self._policies
            ),
            workers=tuple(_worker(snapshot, now_ms) for snapshot in living),
            suspects_itself=any(_gauge(snapshot, "holdfast_suspects_itself") for snapshot in living),
        )
        return told, snapshots

    async def pin(self, grid: str, use: Use) -> None:
        """Take a grid in or out of use, or leave it to its health. Raises KeyError when there is no such grid."""
        await self._site.pin(grid, use)

    async def _grid(self, seat: Seat, sums: GridSums | None, snapshots: Sequence[Snapshot], now_ms: int) -> GridStatus:
        living = alive(snapshots, now_ms)
        row = sums or GridSums(seat.number, 0, 0, 0, 0, 0, 0)
        pace = self._paces.get(row.grid) or Pace()
        up = seat.state is GridState.UP
        payable = row.debts - row.stuck
        eta_s = pace.eta_s(payable, row.debt_bytes) if up or not payable else None
        stuck = await self._site.index.stuck(row.grid, limit=STUCK_TOLD) if row.stuck else ()
        return GridStatus(
            name=seat.name,
            url=seat.url,
            state=seat.state.value,
            reason=seat.reason,
            since_ms=seat.since_ms,
            held=row.held,
            held_bytes=row.held_bytes,
            owed=row.debts,
            owed_bytes=row.debt_bytes,
            oldest_debt_s=_age_s(row, now_ms),
            eta_s=None if row.stuck else eta_s,
            paid_per_s=pace.per_s,
            breakers=breakers(seat.name, living),
            shut=shut(seat),
            use=seat.use.value,
            demoted=dict(labels_of(seat.name, living, "holdfast_demoted")),
            read_share=min(values_of(seat.name, living, "holdfast_read_share"), default=1.0),
            first_block=first_block(seat.name, living),
            hedges=counted(seat.name, snapshots, "holdfast_hedges"),
            failovers=counted(seat.name, snapshots, "holdfast_failovers"),
            payable_eta_s=eta_s,
            stuck=row.stuck,
            stuck_debts=tuple(
                StuckStatus(
                    debt.bucket,
                    debt.key,
                    debt.size,
                    max(0.0, (now_ms - debt.since_ms) / 1000),
                    debt.attempts,
                    debt.reason,
                )
                for debt in stuck
            ),
        )


def _cache(site: Site, snapshots: Sequence[Snapshot], living: Sequence[Snapshot]) -> CacheStatus:
    def gauge(name: str) -> int:
        return int(sum(value for snapshot in living for _, value in snapshot.gauges.get(f"holdfast_cache_{name}", ())))

    def counted(name: str) -> dict[str, int]:
        sums: dict[str, int] = {}
        for snapshot in snapshots:
            for labels, amount in snapshot.counters.get(f"holdfast_cache_{name}", ()):
                sums["".join(labels)] = sums.get("".join(labels), 0) + int(amount)
        return sums

    if site.cache is None:
        state, reason = "off", "it is turned off, or every grid is on this machine"
    elif site.cache.state is State.ON and gauge("on") < len(living):
        state, reason = "off", "in some of the workers; the log says why"
    else:
        state, reason = site.cache.state.value, site.cache.reason
    return CacheStatus(
        state=state,
        reason=reason,
        size_bytes=gauge("bytes"),
        limit_bytes=gauge("limit_bytes"),
        blocks=gauge("blocks"),
        hits=sum(counted("hits").values()),
        misses=sum(counted("misses").values()),
        hit_bytes=sum(counted("hit_bytes").values()),
        offers=counted("offers"),
        evictions=counted("evictions"),
    )


def _age_s(row: GridSums, now_ms: int) -> float:
    """How long the oldest debt has been owed; 0 when there is none."""
    return max(0.0, (now_ms - row.oldest_ms) / 1000) if row.oldest_ms else 0.0


def _gauge(snapshot: Snapshot, name: str) -> int:
    return int(sum(value for _, value in snapshot.gauges.get(name, ())))


def _worker(snapshot: Snapshot, now_ms: int) -> WorkerStatus:
    return WorkerStatus(
        snapshot.worker,
        snapshot.pid,
        _gauge(snapshot, "holdfast_connections"),
        _gauge(snapshot, "holdfast_requests_in_progress"),
        max(0.0, (now_ms - snapshot.at_ms) / 1000),
    )


def readings(status: Status) -> list[Reading]:
    """The gauges of a scrape that are read from the status rather than counted."""

    def one(name: str, doc: str, value: float) -> Reading:
        return Reading(Family(name, doc), (((), value),))

    def per_grid(name: str, doc: str, values: Sequence[float]) -> Reading:
        told = tuple(((grid.name,), value) for grid, value in zip(status.grids, values, strict=True))
        return Reading(Family(name, doc, ("grid",)), told)

    grids = status.grids
    python = ".".join(map(str, sys.version_info[:3]))
    return [
        Reading(
            Family("holdfast_build_info", "What runs; always 1.", ("version", "python")),
            (((status.version, python), 1.0),),
        ),
        one("holdfast_uptime_seconds", "Since this process began to serve.", status.uptime_s),
        one("holdfast_objects", "Current versions of objects.", status.objects),
        one("holdfast_object_bytes", "Bytes of current versions.", status.object_bytes),
        one("holdfast_tombstones", "Deletions that not every grid has confirmed.", status.tombstones),
        one("holdfast_uploads", "Multipart uploads in progress.", status.uploads),
        one("holdfast_inline_bytes", "Bytes of small bodies in the index.", status.inline_bytes),
        one("holdfast_inline_limit_bytes", "Above this, bodies that all grids hold are dropped.", status.inline_limit),
        one("holdfast_spool_bytes", "Bytes in the spool.", status.spool_bytes),
        one("holdfast_spool_limit_bytes", "Above this, writes get 503 SlowDown.", status.spool_limit),
        per_grid(
            "holdfast_grid_up", "1 while the grid's probe finds it.", [float(grid.state == "up") for grid in grids]
        ),
        Reading(
            Family("holdfast_grid_use", "What an operator decided about the grid; always 1.", ("grid", "use")),
            tuple(((grid.name, grid.use), 1.0) for grid in grids),
        ),
        per_grid("holdfast_held", "Copies of current versions that the grid holds.", [grid.held for grid in grids]),
        per_grid("holdfast_held_bytes", "Bytes of these copies.", [grid.held_bytes for grid in grids]),
        per_grid("holdfast_debts", "Keys that are owed to the grid.", [grid.owed for grid in grids]),
        per_grid("holdfast_debt_bytes", "Bytes that are owed to the grid.", [grid.owed_bytes for grid in grids]),
        per_grid(
            "holdfast_debts_stuck",
            "Debts that were tried again and again in vain: no ETA covers them.",
            [grid.stuck for grid in grids],
        ),
        per_grid("holdfast_debts_per_second", "Debts that are being paid.", [grid.paid_per_s for grid in grids]),
        per_grid(
            "holdfast_oldest_debt_seconds",
            "Age of the oldest debt: the grid's lag.",
            [grid.oldest_debt_s for grid in grids],
        ),
        per_grid(
            "holdfast_debt_eta_seconds",
            "When what is owed will be paid at the present speed; NaN when nothing is being paid, or some of it is stuck.",
            [float("nan") if grid.eta_s is None else grid.eta_s for grid in grids],
        ),
    ]


def node_name() -> str:
    """How this machine calls itself."""
    return os.uname().nodename
