"""What the workers told of the health of their grids, put together for the status.

Answers for gauges that a worker writes down, and for reading those of all workers back. It decides nothing. Invariant: of several
workers that see a grid differently, the worst view is told.
"""

from collections.abc import Sequence

from holdfast.copies.site import Seat, Site
from holdfast.index.notices import NoticeSums
from holdfast.limits import KIB
from holdfast.model import Value
from holdfast.serve.metrics import Labels, Snapshot
from holdfast.wrappers.breaker import GROUPS

_URGENCY = ("closed", "trial", "open")


class FirstBlock(Value, frozen=True):
    """Time to the first block of a read."""

    p50_s: float
    p95_s: float


def breakers(grid: str, living: Sequence[Snapshot]) -> dict[str, str]:
    """The state of each class of operations."""
    worst: dict[str, str] = {}
    for snapshot in living:
        for labels, _ in snapshot.gauges.get("holdfast_breakers", ()):
            if len(labels) == 3 and labels[0] == grid and labels[2] in _URGENCY:
                group, state = labels[1], labels[2]
                worst[group] = max(state, worst.get(group, "closed"), key=_URGENCY.index)
    return worst


def shut(seat: Seat) -> dict[str, str]:
    """Why a breaker is not closed, as far as this worker knows."""
    known = seat.breakers
    return {group: reason for group in GROUPS if known is not None and (reason := known.shut(group))}


def labels_of(grid: str, living: Sequence[Snapshot], name: str) -> list[tuple[str, str]]:
    """The second and third label of what is set for this grid."""
    found = (labels for snapshot in living for labels, value in snapshot.gauges.get(name, ()) if value)
    return [(labels[1], labels[2]) for labels in found if len(labels) == 3 and labels[0] == grid]


def values_of(grid: str, living: Sequence[Snapshot], name: str) -> list[float]:
    """What each worker says of this grid."""
    return [
        value for snapshot in living for labels, value in snapshot.gauges.get(name, ()) if labels and labels[0] == grid
    ]


def first_block(grid: str, living: Sequence[Snapshot]) -> dict[str, FirstBlock]:
    """Times to the first block, by size; the slowest of all workers."""
    slowest: dict[tuple[str, str], float] = {}
    for snapshot in living:
        for labels, value in snapshot.gauges.get("holdfast_first_block_seconds", ()):
            if len(labels) == 4 and labels[0] == grid:
                place = (labels[1], labels[2])
                slowest[place] = max(value, slowest.get(place, 0.0))
    sizes = dict.fromkeys(size for size, _ in slowest)
    return {size: FirstBlock(slowest.get((size, "0.5"), 0.0), slowest.get((size, "0.95"), 0.0)) for size in sizes}


def counted(grid: str, snapshots: Sequence[Snapshot], name: str) -> int:
    """How often, by all workers; what the budget denied was not done."""
    return int(
        sum(
            amount
            for snapshot in snapshots
            for labels, amount in snapshot.counters.get(name, ())
            if labels and labels[0] == grid and labels[-1] != "denied"
        )
    )


def health_gauges(site: Site, *, worker: int) -> dict[str, list[tuple[Labels, float]]]:
    """What one worker knows of the health of its grids."""
    demoted: list[tuple[Labels, float]] = []
    shares: list[tuple[Labels, float]] = []
    latencies: list[tuple[Labels, float]] = []
    now_s = site.clock.monotonic_s()
    for seat in site.seats.values():
        if seat.breakers is None:
            continue
        demoted += [((seat.name, group, reason), 1.0) for group in GROUPS if (reason := seat.breakers.demoted(group))]
        shares.append(((seat.name, str(worker)), seat.breakers.share("read")))
        for limit, p50_s, p95_s in seat.breakers.latency.known(now_s):
            size = f"{limit // KIB}KiB"
            latencies.append(((seat.name, size, "0.5", str(worker)), p50_s))
            latencies.append(((seat.name, size, "0.95", str(worker)), p95_s))
    return {
        "holdfast_demoted": demoted,
        "holdfast_read_share": shares,
        "holdfast_first_block_seconds": latencies,
    }


def notice_gauges(sums: Sequence[NoticeSums], *, now_ms: int) -> dict[str, list[tuple[Labels, float]]]:
    """What waits to be told to webhooks, as it was counted last."""
    return {
        "holdfast_notices_waiting": [((one.webhook,), float(one.waiting)) for one in sums],
        "holdfast_notices_oldest_seconds": [
            ((one.webhook,), max(0.0, (now_ms - one.oldest_ms) / 1000) if one.oldest_ms else 0.0) for one in sums
        ],
    }
