"""How many debts of one grid are paid at once: as many as make it faster, and fewer as soon as it shows strain.

Pure: additive increase while payments are quick and answered, multiplicative decrease when they are refused for being too many, go
unanswered, or take longer than they did when there were fewer. It never asks or waits for anything. Invariant: at least one,
at most CATCHUP_WINDOW.
"""

from holdfast.limits import (
    CATCHUP_BACKOFF_S,
    CATCHUP_BEGIN,
    CATCHUP_DUTY,
    CATCHUP_STRAIN,
    CATCHUP_STRAIN_S,
    CATCHUP_WINDOW,
)

_DRIFT = 0.02
"""How fast the usual latency follows a higher one: what is slower for good is the new usual after some fifty looks."""


class Window:
    """The window of one grid in one process. Times are seconds of a monotonic clock."""

    __slots__ = ("_cut_s", "_size", "_usual_s")

    def __init__(self) -> None:
        self._size = float(CATCHUP_BEGIN)
        self._usual_s = 0.0
        self._cut_s = float("-inf")

    @property
    def size(self) -> int:
        """Debts that may be paid at once: what was measured to be the grid's headroom."""
        return int(self._size)

    def share(self, busy: bool) -> int:
        """Of these, as many as catch-up may use while clients are `busy` here, or are not."""
        return max(1, int(self._size * CATCHUP_DUTY)) if busy else self.size

    def observe(self, *, answered: int, silent: int, mean_s: float | None, full: bool, now_s: float) -> None:
        """What came of some payments: how many were answered and how many met silence, how long the small ones among the
        answered took on average, and whether as many as the window allows were under way (`full`)."""
        if silent:
            if now_s - self._cut_s >= CATCHUP_BACKOFF_S:
                # A grid that is silent one time in twenty is slowed down a little, one that always is by half.
                self._cut(1 - silent / (answered + silent) / 2, now_s)
            return
        if not answered:
            return
        if mean_s is not None:
            if self._strained(mean_s):
                if now_s - self._cut_s >= CATCHUP_BACKOFF_S:
                    self._cut(0.75, now_s)
                return
            if not self._usual_s or mean_s < self._usual_s:
                self._usual_s = mean_s
        if full:
            self._size = min(float(CATCHUP_WINDOW), self._size + 1)

    def throttled(self, now_s: float) -> None:
        """The grid said that it is asked too much."""
        if now_s - self._cut_s >= CATCHUP_BACKOFF_S:
            self._cut(0.5, now_s)

    def _strained(self, mean_s: float) -> bool:
        usual_s = self._usual_s
        if not usual_s or mean_s <= usual_s * CATCHUP_STRAIN + CATCHUP_STRAIN_S:
            return False
        self._usual_s += (mean_s - usual_s) * _DRIFT
        return True

    def _cut(self, factor: float, now_s: float) -> None:
        self._size = max(1.0, self._size * factor)
        self._cut_s = now_s
