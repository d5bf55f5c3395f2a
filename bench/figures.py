"""Numbers about numbers, and the table for people. Pure.

Invariant: a figure of several rounds is the median of the rounds' figures, never a mean of medians or a best of.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

Figures = dict[str, float]


def percentile(values: Sequence[int], share: float) -> int:
    """The smallest value that at least `share` (0 to 1) of `values` do not exceed. `values` are not empty."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def medians(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure over the rounds that have it."""
    names = list(dict.fromkeys(name for figures in rounds for name in figures))
    return {name: statistics.median([figures[name] for figures in rounds if name in figures]) for name in names}


def spread(rounds: Sequence[Figures], name: str) -> float:
    """How far the rounds lie apart in one figure: (largest - smallest) / median. 0 for one round."""
    values = [figures[name] for figures in rounds if name in figures]
    middle = statistics.median(values) if values else 0.0
    return (max(values) - min(values)) / middle if middle else 0.0


def rounded(figures: Mapping[str, float]) -> Figures:
    """Four significant digits: more would claim more than was measured."""
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    text = []
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def short(value: float | None) -> str:
    """A figure for the table."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
