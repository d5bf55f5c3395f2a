"""What a scenario showed, as figures; the bar that they are held against; and the table that people read.

Pure: samples and marks in, figures and text out. Invariant: a figure is never rounded before it is judged.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from holdfast.model import Value
from holdfast.testing.lab.scenarios import Scenario
from holdfast.testing.lab.workload import Lie, Sample

EARLY_S: Final = 5.0
"""The first stretch of an outage, in which a gateway may find out."""
EARLY_BAR_S: Final = 3.0
LATE_BAR: Final = 2.0


class Marks(Value, frozen=True):
    """When things happened, in seconds of one monotonic clock."""

    calm_s: float
    began_s: float
    ended_s: float
    over_s: float
    caught_up_s: float | None
    """Seconds from the end of the outage until nothing was owed that is older; None when that did not come."""


class Result(Value, frozen=True):
    """One row of the report. Times are seconds."""

    name: str
    about: str
    historic: bool = False
    both: bool = False
    """Reads of what only the grids hold could not succeed."""
    for_good: bool = False
    not_staged: str = ""
    trouble: str = ""
    """Why it could not be played to its end."""
    unasked: bool = False
    """It does not matter when nothing met a fault: the gateway does not send such requests."""
    requests: int = 0
    """From the beginning of the outage to the end of the load."""
    failed: int = 0
    failures: dict[str, int] = {}
    calm_p99_s: float = 0.0
    early_p99_s: float = 0.0
    late_p99_s: float = 0.0
    lost: int = 0
    stale: int = 0
    wrong: int = 0
    lies: tuple[str, ...] = ()
    first_served_s: float | None = None
    """From the beginning of the outage to the end of the first GET that began in it and succeeded."""
    caught_up_s: float | None = None
    astray: tuple[str, ...] = ()
    """What a grid holds otherwise than was acknowledged, after everything was paid."""
    outage_s: float = 0.0
    compression: float = 1.0
    met: int = 0
    """How often the proxies did something wrong: a scenario in which that is 0 showed nothing."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank); 0 when there is none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def judge(
    scenario: Scenario,
    marks: Marks,
    samples: Sequence[Sample],
    lies: Sequence[Lie],
    astray: Sequence[str],
    *,
    compression: float,
    met: int,
) -> Result:
    """The figures of one run."""

    def p99(from_s: float, to_s: float) -> float:
        some = [sample for sample in samples if sample.operation == "GET" and from_s <= sample.began_s < to_s]
        return percentile([sample.elapsed_s for sample in some], 0.99)

    during = [sample for sample in samples if sample.began_s >= marks.began_s]
    failures = Counter(f"{sample.operation}: {sample.failure}" for sample in during if sample.failure)
    served = [sample.ended_s for sample in during if sample.operation == "GET" and not sample.failure]
    kinds = Counter(lie.kind for lie in lies)
    early_s = min(marks.began_s + EARLY_S, marks.ended_s)
    return Result(
        name=scenario.name,
        about=scenario.about,
        historic=scenario.historic,
        both=scenario.both,
        for_good=scenario.for_good,
        unasked=scenario.unasked,
        requests=len(during),
        failed=sum(failures.values()),
        failures=dict(failures.most_common(5)),
        calm_p99_s=p99(marks.calm_s, marks.began_s),
        early_p99_s=p99(marks.began_s, early_s),
        late_p99_s=p99(early_s, marks.over_s),
        lost=kinds["lost"],
        stale=kinds["stale"],
        wrong=kinds["wrong"],
        lies=tuple(lie.told for lie in lies[:5]),
        first_served_s=min(served) - marks.began_s if served else None,
        caught_up_s=marks.caught_up_s,
        astray=tuple(astray[:5]),
        outage_s=marks.ended_s - marks.began_s,
        compression=compression,
        met=met,
    )


def misses(result: Result) -> tuple[str, ...]:
    """What of the bar a result misses, in words; empty when it clears it."""
    if result.not_staged:
        return ()
    if result.trouble:
        return ("not played",)
    told = []
    if result.failed and not result.both:
        told.append("requests failed")
    if result.lost:
        told.append("writes lost")
    if result.stale or result.wrong:
        told.append("wrong answers")
    if result.astray:
        told.append("grids differ")
    if result.caught_up_s is None and not result.for_good:
        told.append("not caught up")
    if result.early_p99_s >= EARLY_BAR_S and not result.both:
        told.append("slow at first")
    if result.late_p99_s > LATE_BAR * result.calm_p99_s and not result.both:
        told.append("slow after 5 s")
    if not result.met and not result.unasked:
        told.append("nothing was staged")
    return tuple(told)


COLUMNS: Final = (
    "Outage of one of two grids", "Requests", "Failed", "GET p99 calm", "first 5 s", "then", "Lost", "Stale", "Served again",
    "Caught up", "Bar",
)  # fmt: skip


def row(result: Result) -> tuple[str, ...]:
    """The cells of one result."""
    if result.not_staged:
        return (result.name, *["-"] * (len(COLUMNS) - 2), f"not staged: {result.not_staged}")
    if result.trouble:
        return (result.name, *["-"] * (len(COLUMNS) - 2), "not played")
    caught_up = "for good" if result.for_good else "not" if result.caught_up_s is None else _time(result.caught_up_s)
    return (
        result.name,
        f"{result.requests:,}",
        f"{result.failed:,}",
        _time(result.calm_p99_s),
        _time(result.early_p99_s),
        f"{_time(result.late_p99_s)} ({result.late_p99_s / result.calm_p99_s:.1f}x)" if result.calm_p99_s else "-",
        str(result.lost),
        str(result.stale + result.wrong),
        "never" if result.first_served_s is None else _time(result.first_served_s),
        caught_up,
        ", ".join(misses(result)) or ("cleared" if result.met else "cleared: never asked"),
    )


def _time(value_s: float) -> str:
    return f"{value_s * 1000:.0f} ms" if value_s < 1 else f"{value_s:.1f} s"


def markdown(results: Sequence[Result], remarks: Sequence[str]) -> str:
    """The report as a page."""
    lines = [
        "# What outages look like to a client",
        "",
        "Written by `make outages`, as it came out. Two provider processes on loopback, each behind a proxy that adds 10 ms and the",
        "fault; one gateway that keeps every object on both; clients that send a steady mixed load (GET 80 %, PUT 15 %, LIST and DELETE",
        "5 %), never try twice, and hold every answer against what was acknowledged. Nothing is kept in the gateway's own caches: every read comes from a grid.",
        "",
        *remarks,
        "",
    ]
    for title, historic in (("Failure classes", False), ("Historic outages, on a compressed clock", True)):
        some = [result for result in results if result.historic is historic]
        if some:
            lines += [f"## {title}", "", *_table(some), ""]
    explained = [result for result in results if misses(result)]
    if explained:
        lines += ["## What missed the bar", ""]
        lines += [f"- **{result.name}** ({', '.join(misses(result))}){_details(result)}" for result in explained]
        lines += [""]
    return "\n".join([*lines, *_GLOSSARY])


def _table(results: Sequence[Result]) -> list[str]:
    head = f"| {' | '.join(COLUMNS)} |"
    rule = "|" + "---|" * len(COLUMNS)
    cells = [(f"**{name}**: {result.about}", *rest) for result in results for name, *rest in (row(result),)]
    return [head, rule, *(f"| {' | '.join(line)} |" for line in cells)]


def _details(result: Result) -> str:
    parts = [f"{count} x {failure}" for failure, count in result.failures.items()]
    parts += [*result.lies, *result.astray, *filter(None, [result.trouble.partition("\n")[0]])]
    return ": " + "; ".join(parts) if parts else ""


_GLOSSARY: Final = (
    "## How to read it",
    "",
    "- *Failed*: requests of clients that were not answered with success, from the beginning of the outage to the end of the load. "
    "With both grids out, reads of what only they hold cannot succeed.",
    "- *GET p99*: before the outage; in its first five seconds; from then until the end of the load, catch-up included.",
    "- *Lost*: acknowledged writes that are missing at the end. *Stale*: answers that showed an older state than was acknowledged, or "
    "other bytes than were ever written.",
    "- *Served again*: from the beginning of the outage to the first GET that began in it and succeeded.",
    "- *Caught up*: from the end of the outage until no debt was left that is older. Then each grid is read past the gateway and must "
    "hold exactly what was acknowledged. A change whose answer was lost may still arrive at its provider, so its debt is kept for another half "
    "minute: that is the half minute in this column.",
    "- *Bar*: no failed request, nothing lost or stale, p99 of GET below 3 s in the first five seconds and within twice the calm "
    "figure after that.",
    "- *Compressed*: hours are played in seconds, so the length of an outage is not what is tested (the spool and the debts carry that), "
    "but its shape. What the gateway does in real time (deadlines, breakers, probes) is not compressed, and so weighs more here than in life.",
    "",
)
