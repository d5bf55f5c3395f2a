"""How long one grid takes to the first block of a body, by size: lately, and as it is used to.

Pure and cheap, as each read of a grid is noted: durations are counted in logarithmic bins, and what was counted weighs half
as much after each half-life. Quantiles are looked up again only now and then. Invariant: a quantile lies within a
bin (a fifth) of the true one of the weighted observations, and what is too little or too long ago is unknown.
"""

import math
from typing import Final

from holdfast.limits import (
    BASELINE_AGE_S,
    BASELINE_FEW,
    BASELINE_HALF_LIFE_S,
    LATENCY_FEW,
    LATENCY_HALF_LIFE_S,
    LATENCY_SIZES,
    SLOW_FLOOR_S,
)

_PER_OCTAVE: Final = 4
_LEAST_S: Final = 2.0**-14
"""The first bin: 61 µs and less."""
_BINS: Final = 20 * _PER_OCTAVE + 1
"""Up to 64 s, and more."""
_RENEW: Final = 16
"""Quantiles are this many observations old at most, and fewer while there are few."""
_HEAVY: Final = 1e9
"""Weights grow with time instead of old ones being made smaller; beyond this they are brought down together."""


class Spread:
    """How durations are distributed, recent ones weighing more."""

    __slots__ = ("_began_s", "_bins", "_half_life_s", "_looked", "_p50", "_p95", "_seen", "_total", "_unit_s")

    def __init__(self, half_life_s: float) -> None:
        self._half_life_s = half_life_s
        self._bins = [0.0] * _BINS
        self._total = 0.0
        self._unit_s = 0.0
        """An observation at this moment weighs 1."""
        self._began_s = 0.0
        self._seen = self._looked = 0
        self._p50 = 0.0
        self._p95 = 0.0

    def note(self, elapsed_s: float, now_s: float) -> None:
        """One more duration."""
        if not self._seen:
            self._unit_s = self._began_s = now_s
        weight = math.exp2((now_s - self._unit_s) / self._half_life_s)
        if weight > _HEAVY:
            self._bins = [count / weight for count in self._bins]
            self._total /= weight
            self._unit_s = now_s
            weight = 1.0
        self._bins[_bin(elapsed_s)] += weight
        self._total += weight
        self._seen += 1

    def weight(self, now_s: float) -> float:
        """As how many observations of this moment all of them count."""
        passed = (now_s - self._unit_s) / self._half_life_s
        return self._total * math.exp2(-passed) if passed < 1000 else 0.0

    def age_s(self, now_s: float) -> float:
        """Since the first observation."""
        return now_s - self._began_s if self._seen else 0.0

    @property
    def p50(self) -> float:
        self._look()
        return self._p50

    @property
    def p95(self) -> float:
        self._look()
        return self._p95

    def _look(self) -> None:
        """Find the quantiles anew, unless that was done a few observations ago."""
        if self._seen - self._looked >= min(_RENEW, 1 + self._looked // _RENEW):
            self._looked = self._seen
            self._p50, self._p95 = self.quantile(0.5), self.quantile(0.95)

    def quantile(self, share: float) -> float:
        """The duration that this share of the observations does not exceed; 0 without any."""
        wanted, below = share * self._total, 0.0
        for number, count in enumerate(self._bins):
            below += count
            if count and below >= wanted:
                return _LEAST_S * math.exp2((number - 0.5) / _PER_OCTAVE)
        return 0.0


def _bin(elapsed_s: float) -> int:
    if elapsed_s <= _LEAST_S:
        return 0
    return min(_BINS - 1, math.ceil(math.log2(elapsed_s / _LEAST_S) * _PER_OCTAVE))


class Latency:
    """One grid's time to the first block, per class of size."""

    __slots__ = ("_day", "_lately")

    def __init__(self) -> None:
        self._lately = [Spread(LATENCY_HALF_LIFE_S) for _ in LATENCY_SIZES]
        self._day = [Spread(BASELINE_HALF_LIFE_S) for _ in LATENCY_SIZES]

    def note(self, size_bytes: int, elapsed_s: float, now_s: float) -> None:
        """A first block of this size came after `elapsed_s`, or had not come by then."""
        number = _size_class(size_bytes)
        self._lately[number].note(elapsed_s, now_s)
        self._day[number].note(elapsed_s, now_s)

    def p50(self, size_bytes: int, now_s: float) -> float | None:
        """Half of the blocks of this size came in this time; None when it is not known."""
        lately = self._lately[_size_class(size_bytes)]
        return lately.p50 if lately.weight(now_s) >= LATENCY_FEW else None

    def p95(self, size_bytes: int, now_s: float) -> float | None:
        """Nearly all of them came in this time; None when it is not known."""
        lately = self._lately[_size_class(size_bytes)]
        return lately.p95 if lately.weight(now_s) >= LATENCY_FEW else None

    def known(self, now_s: float) -> list[tuple[int, float, float]]:
        """For each class of size that is known: its largest size, the median, and the 95th percentile."""
        return [
            (limit, lately.p50, lately.p95)
            for limit, lately in zip(LATENCY_SIZES, self._lately, strict=True)
            if lately.weight(now_s) >= LATENCY_FEW
        ]

    def slowness(self, now_s: float) -> float:
        """How many times its usual the grid takes now, for the size where it is worst; 0 while that is not known."""
        worst = 0.0
        for lately, day in zip(self._lately, self._day, strict=True):
            known = day.weight(now_s) >= BASELINE_FEW and day.age_s(now_s) >= BASELINE_AGE_S
            if known and lately.weight(now_s) >= LATENCY_FEW and lately.p50 - day.p50 > SLOW_FLOOR_S:
                worst = max(worst, lately.p50 / day.p50)
        return worst


def _size_class(size_bytes: int) -> int:
    for number, limit in enumerate(LATENCY_SIZES):
        if size_bytes <= limit:
            return number
    return len(LATENCY_SIZES) - 1
