"""Counts of what happened, for Prometheus.

Answers for one scrape that covers all workers: each counts its own events in plain dictionaries, writes them down every
METRICS_S, and the one that is scraped adds them up. It decides nothing. Invariant: a count never goes backwards while
the data directory lives: a worker goes on from what its predecessor in the same place wrote down.
"""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from holdfast import events
from holdfast.clock import Clock
from holdfast.limits import METRICS_S, METRICS_STALE_S
from holdfast.model import DecodeError, Value, pack, unpack

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Of what `render` returns."""
Labels = tuple[str, ...]
Gauges = Mapping[str, float | list[tuple[Labels, float]]]
"""Values of one worker, by the names of their families; a bare one has no labels."""


class Family(Value, frozen=True):
    """A row of the table of metrics. With `bounds` it is a histogram."""

    name: str
    doc: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()


_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW: Final = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
_SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)

_COUNTERS: Final = (
    Family("holdfast_requests", "S3 requests answered; status 499: the client left.", ("operation", "status")),
    Family("holdfast_received_bytes", "Bytes of request bodies.", ("operation",)),
    Family("holdfast_sent_bytes", "Bytes of response bodies.", ("operation",)),
    Family("holdfast_grid_attempts", "Operations at grids, by how they ended.", ("grid", "operation", "outcome")),
    Family("holdfast_grid_bytes", "Bytes moved to and from grids.", ("grid", "operation")),
    Family("holdfast_breaker_moves", "Changes of a breaker's state.", ("grid", "class", "state")),
    Family("holdfast_demotions", "Grids demoted or (reason: over) no longer.", ("grid", "class", "reason")),
    Family(
        "holdfast_hedges",
        "Reads that did not wait for a slow grid; denied: the budget allowed no second read.",
        ("grid", "outcome"),
    ),
    Family("holdfast_failovers", "Reads that left this grid and went on to the next copy.", ("grid",)),
    Family("holdfast_commit_changes", "Changes that the index made durable."),
    Family("holdfast_debts_paid", "Debts paid, by how.", ("grid", "how")),
    Family("holdfast_debts_paid_bytes", "Bytes of the versions whose debts were paid.", ("grid",)),
    Family("holdfast_debts_postponed", "Payments that failed and will be tried again.", ("grid",)),
    Family("holdfast_copies_suspected", "Copies that were missing, changed or damaged.", ("grid",)),
    Family("holdfast_cache_hits", "Blocks that were read from the cache."),
    Family("holdfast_cache_misses", "Blocks that were looked for in the cache and came from a grid."),
    Family("holdfast_cache_hit_bytes", "Bytes of the blocks that were read from the cache."),
    Family(
        "holdfast_cache_offers",
        "Blocks from grids: admitted to the cache, rejected as not worth it (yet), dropped because too many waited.",
        ("outcome",),
    ),
    Family("holdfast_cache_evictions", "Blocks that left the cache: for want of room, for age, damaged.", ("reason",)),
    Family(
        "holdfast_lifecycle_expired", "What lifecycle rules removed: objects, versions, markers, uploads.", ("what",)
    ),
    Family(
        "holdfast_notices",
        "S3 events for webhooks: told; silent and refused will be tried again; dead and dropped are lost.",
        ("webhook", "outcome"),
    ),
    Family(
        "holdfast_access_log_lines",
        "Lines of server access logs: delivered; failed will be tried again; lost and dropped are gone.",
        ("outcome",),
    ),
    Family("holdfast_keeper_failures", "Unexpected failures of keepers.", ("keeper",)),
)
_HISTOGRAMS: Final = (
    Family("holdfast_request_seconds", "From the request's head to the reply's end.", ("operation",), _FAST),
    Family("holdfast_grid_seconds", "Time of operations at grids for clients.", ("grid", "operation"), _FAST),
    Family("holdfast_grid_errand_seconds", "The same for keepers: nobody waits.", ("grid", "operation"), _FAST),
    Family("holdfast_commit_seconds", "Time of a commit of the index, waiting for its turn included.", (), _FAST),
    Family("holdfast_commit_batch", "Changes that shared a commit.", (), _SIZES),
    Family("holdfast_debt_lag_seconds", "Age of debts when they were paid.", ("grid",), _SLOW),
)
_GAUGES: Final = (
    Family("holdfast_connections", "Open client connections."),
    Family("holdfast_requests_in_progress", "S3 requests in progress."),
    Family("holdfast_workers", "Workers that are alive."),
    Family("holdfast_cache_on", "Workers whose share of the cache is in use."),
    Family("holdfast_cache_bytes", "Bytes that cached blocks take on the disk."),
    Family("holdfast_cache_limit_bytes", "What they may take now: `cache.size`, or less when the disk is full."),
    Family("holdfast_cache_blocks", "Blocks in the cache."),
    Family("holdfast_suspects_itself", "Workers to which all grids are silent, so that they suspect themselves."),
    Family("holdfast_demoted", "Workers that ask the grid after the others.", ("grid", "class", "reason")),
    Family(
        "holdfast_read_share",
        "Share of the reads in which the grid has its ordinary place: below 1 while it is demoted or comes back.",
        ("grid", "worker"),
    ),
    Family(
        "holdfast_first_block_seconds",
        "Time to the first block of a read lately, by its size.",
        ("grid", "size", "quantile", "worker"),
    ),
    Family("holdfast_notices_waiting", "S3 events that wait to be told.", ("webhook",)),
    Family("holdfast_notices_oldest_seconds", "Age of the oldest of them.", ("webhook",)),
    Family("holdfast_breakers", "Workers that have the breaker in this state.", ("grid", "class", "state")),
)
_BOUNDS: Final = {family.name: family.bounds for family in _HISTOGRAMS}

Sums = dict[Labels, list[float]]
"""Per labels: a count for each bound and one above, then the sum of all values."""


class Snapshot(Value, frozen=True):
    """What one worker had counted at `at_ms`."""

    worker: int
    pid: int
    at_ms: int
    counters: dict[str, list[tuple[Labels, float]]]
    histograms: dict[str, list[tuple[Labels, list[float]]]]
    gauges: dict[str, list[tuple[Labels, float]]]


class Tally:
    """Counts of one process; `listen` is a listener of events."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[Any, float]] = {family.name: {} for family in _COUNTERS}
        self._histograms: dict[str, Sums] = {family.name: {} for family in _HISTOGRAMS}
        self._breakers: dict[tuple[str, str], str] = {}
        self._requests = self._counters["holdfast_requests"]
        self._received = self._counters["holdfast_received_bytes"]
        self._sent = self._counters["holdfast_sent_bytes"]
        self._request_seconds = self._histograms["holdfast_request_seconds"]
        self._on: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestEnded: self._request_ended,
            events.GridAttempt: self._grid_attempt,
            events.BreakerMoved: self._breaker_moved,
            events.GridDemoted: self._grid_demoted,
            events.Hedged: lambda event: self._count("holdfast_hedges", (event.grid, event.outcome)),
            events.FailedOver: lambda event: self._count("holdfast_failovers", (event.grid,)),
            events.Committed: self._committed,
            events.DebtPaid: self._debt_paid,
            events.DebtPostponed: lambda event: self._count("holdfast_debts_postponed", (event.grid,)),
            events.CopySuspected: lambda event: self._count("holdfast_copies_suspected", (event.grid,)),
            events.CacheAsked: self._cache_asked,
            events.CacheOffered: lambda event: self._count("holdfast_cache_offers", (event.outcome,)),
            events.CacheEvicted: lambda event: self._count("holdfast_cache_evictions", (event.reason,), event.blocks),
            events.Expired: lambda event: self._count("holdfast_lifecycle_expired", (event.what,), event.count),
            events.NoticeEnded: lambda event: self._count("holdfast_notices", (event.webhook, event.outcome)),
            events.NoticesDropped: lambda event: self._count(
                "holdfast_notices", (event.webhook, "dropped"), event.count
            ),
            events.AccessLogged: lambda event: self._count("holdfast_access_log_lines", (event.outcome,), event.lines),
            events.KeeperFailed: lambda event: self._count("holdfast_keeper_failures", (event.keeper,)),
        }

    def listen(self, event: events.Event) -> None:
        """Count an event."""
        handler = self._on.get(type(event))
        if handler is not None:
            handler(event)

    def _request_ended(self, event: events.RequestEnded) -> None:
        # The hot path: one per request. Numbers stay numbers until somebody reads them.
        operation = event.operation
        key = (operation, event.status)
        self._requests[key] = self._requests.get(key, 0) + 1
        if event.received_bytes:
            self._received[operation] = self._received.get(operation, 0) + event.received_bytes
        if event.sent_bytes:
            self._sent[operation] = self._sent.get(operation, 0) + event.sent_bytes
        sums = self._request_seconds.get((operation,))
        if sums is None:
            sums = self._request_seconds[(operation,)] = [0.0] * (len(_FAST) + 2)
        sums[bisect_left(_FAST, event.elapsed_s)] += 1
        sums[-1] += event.elapsed_s

    def _grid_attempt(self, event: events.GridAttempt) -> None:
        self._count("holdfast_grid_attempts", (event.grid, event.operation, event.outcome))
        name = "holdfast_grid_errand_seconds" if event.errand else "holdfast_grid_seconds"
        self._observe(name, (event.grid, event.operation), event.elapsed_s)
        if event.size_bytes:
            self._count("holdfast_grid_bytes", (event.grid, event.operation), event.size_bytes)

    def _breaker_moved(self, event: events.BreakerMoved) -> None:
        self._breakers[event.grid, event.group] = event.state
        self._count("holdfast_breaker_moves", (event.grid, event.group, event.state))

    def _grid_demoted(self, event: events.GridDemoted) -> None:
        self._count("holdfast_demotions", (event.grid, event.group, event.reason or "over"))

    def _committed(self, event: events.Committed) -> None:
        self._count("holdfast_commit_changes", (), event.changes)
        self._observe("holdfast_commit_batch", (), event.changes)
        self._observe("holdfast_commit_seconds", (), event.elapsed_s)

    def _debt_paid(self, event: events.DebtPaid) -> None:
        self._count("holdfast_debts_paid", (event.grid, event.how))
        self._count("holdfast_debts_paid_bytes", (event.grid,), event.size_bytes)
        self._observe("holdfast_debt_lag_seconds", (event.grid,), event.lag_s)

    def _cache_asked(self, event: events.CacheAsked) -> None:
        if event.hits:
            self._count("holdfast_cache_hits", (), event.hits)
            self._count("holdfast_cache_hit_bytes", (), event.hit_bytes)
        if event.misses:
            self._count("holdfast_cache_misses", (), event.misses)

    def _count(self, name: str, labels: Labels, amount: float = 1) -> None:
        counts = self._counters[name]
        counts[labels] = counts.get(labels, 0) + amount

    def _observe(self, name: str, labels: Labels, value: float) -> None:
        bounds = _BOUNDS[name]
        sums = self._histograms[name].setdefault(labels, [0.0] * (len(bounds) + 2))
        sums[bisect_left(bounds, value)] += 1
        sums[-1] += value

    def go_on_from(self, past: Snapshot) -> None:
        """Add what a predecessor had counted."""
        for name, counts in past.counters.items():
            if name in self._counters:
                for labels, amount in counts:
                    key = _key(name, labels)
                    self._counters[name][key] = self._counters[name].get(key, 0) + amount
        for name, histogram in past.histograms.items():
            for labels, sums in histogram:
                if name in _BOUNDS and len(sums) == len(_BOUNDS[name]) + 2:
                    mine = self._histograms[name].get(labels, [0.0] * len(sums))
                    self._histograms[name][labels] = [one + other for one, other in zip(mine, sums, strict=True)]

    def snapshot(self, *, worker: int, at_ms: int, gauges: Gauges) -> Snapshot:
        """What was counted until now."""
        told: dict[str, list[tuple[Labels, float]]] = {
            name: value if isinstance(value, list) else [((), value)] for name, value in gauges.items()
        }
        told["holdfast_breakers"] = [((*place, state), 1.0) for place, state in self._breakers.items()]
        return Snapshot(
            worker,
            os.getpid(),
            at_ms,
            {
                name: [(_labels(key), amount) for key, amount in counts.items()]
                for name, counts in self._counters.items()
            },
            {name: [(key, list(sums)) for key, sums in found.items()] for name, found in self._histograms.items()},
            told,
        )


def _labels(key: Any) -> Labels:
    return tuple(map(str, key)) if isinstance(key, tuple) else (str(key),)


def _key(name: str, labels: Labels) -> Any:
    """The hot counters' own form of labels."""
    match name:
        case "holdfast_requests":
            return labels[0], int(labels[1])
        case "holdfast_received_bytes" | "holdfast_sent_bytes":
            return labels[0]
        case _:
            return labels


class Publisher:
    """A keeper: writes this worker's counts down, so that one scrape covers all workers."""

    name = "metrics"

    def __init__(
        self, tally: Tally, directory: Path, *, worker: int, clock: Clock, gauges: Callable[[], Gauges]
    ) -> None:
        self.wake = asyncio.Event()
        self._tally = tally
        self._directory = directory
        self._worker = worker
        self._clock = clock
        self._gauges = gauges
        past = read_snapshot(self._path)
        if past is not None:
            tally.go_on_from(past)

    async def step(self) -> float:
        """Write the counts down."""
        self.publish()
        return METRICS_S

    async def close(self) -> None:
        """Write the counts down for the last time, without what ends with this process."""
        self._write(self._tally.snapshot(worker=self._worker, at_ms=0, gauges={}))

    def publish(self) -> None:
        """Write the counts down now. Counts are no promise: they are not synced, and a full disk is not an error."""
        gauges = self._gauges()
        self._write(self._tally.snapshot(worker=self._worker, at_ms=self._clock.now_ms(), gauges=gauges))

    def collect(self) -> list[Snapshot]:
        """The counts of all workers, this one's fresh."""
        self.publish()
        found = (read_snapshot(path) for path in sorted(self._directory.glob("metrics-*")))
        return [snapshot for snapshot in found if snapshot is not None]

    @property
    def _path(self) -> Path:
        return self._directory / f"metrics-{self._worker}"

    def _write(self, snapshot: Snapshot) -> None:
        draft = self._directory / f".metrics-{self._worker}.{os.getpid()}"
        try:
            draft.write_bytes(pack(snapshot))
            os.replace(draft, self._path)
        except OSError:
            return


def read_snapshot(path: Path) -> Snapshot | None:
    """What a worker wrote; None when there is nothing that can be read."""
    try:
        return unpack(path.read_bytes(), Snapshot)
    except (OSError, DecodeError):
        return None


def alive(snapshots: Iterable[Snapshot], now_ms: int) -> list[Snapshot]:
    """Those whose workers wrote lately."""
    return [snapshot for snapshot in snapshots if now_ms - snapshot.at_ms <= METRICS_STALE_S * 1000]


class Reading(Value, frozen=True):
    """A gauge that is read when somebody asks, rather than counted."""

    family: Family
    values: tuple[tuple[Labels, float], ...]


def render(snapshots: Sequence[Snapshot], readings: Sequence[Reading], now_ms: int) -> bytes:
    """The text of a scrape: the sum of all workers' counts, gauges of those that are alive, and `readings`."""
    return generate_latest(_Sum(snapshots, readings, now_ms))


class _Sum(Collector):
    def __init__(self, snapshots: Sequence[Snapshot], readings: Sequence[Reading], now_ms: int) -> None:
        self._snapshots = snapshots
        self._readings = readings
        self._alive = alive(snapshots, now_ms)

    def collect(self) -> Iterator[Metric]:
        for family in _COUNTERS:
            counter = CounterMetricFamily(family.name, family.doc, labels=family.labels)
            for labels, amount in _added(family, (snapshot.counters for snapshot in self._snapshots)):
                counter.add_metric(labels, amount)
            yield counter
        for family in _HISTOGRAMS:
            yield self._histogram(family)
        for family in _GAUGES:
            values = _added(family, (snapshot.gauges for snapshot in self._alive))
            if family.name == "holdfast_workers":
                values = [((), float(len(self._alive)))]
            yield _gauge(family, values)
        for reading in self._readings:
            yield _gauge(reading.family, reading.values)

    def _histogram(self, family: Family) -> Metric:
        metric = HistogramMetricFamily(family.name, family.doc, labels=family.labels)
        totals: Sums = {}
        for snapshot in self._snapshots:
            for labels, sums in snapshot.histograms.get(family.name, ()):
                if len(sums) == len(family.bounds) + 2:
                    total = totals.get(labels, [0.0] * len(sums))
                    totals[labels] = [one + other for one, other in zip(total, sums, strict=True)]
        for labels, sums in totals.items():
            below, buckets = 0.0, []
            for bound, amount in zip((*map(str, family.bounds), "+Inf"), sums[:-1], strict=True):
                below += amount
                buckets.append((bound, below))
            metric.add_metric(labels, buckets, sums[-1])
        return metric


def _gauge(family: Family, values: Iterable[tuple[Labels, float]]) -> Metric:
    gauge = GaugeMetricFamily(family.name, family.doc, labels=family.labels)
    for labels, value in values:
        gauge.add_metric(labels, value)
    return gauge


def _added(family: Family, found: Iterable[dict[str, list[tuple[Labels, float]]]]) -> list[tuple[Labels, float]]:
    totals: dict[Labels, float] = {}
    for counts in found:
        for labels, amount in counts.get(family.name, ()):
            if len(labels) == len(family.labels):
                totals[labels] = totals.get(labels, 0.0) + amount
    return list(totals.items())
