"""How fast a grid's debts are paid, and so when the present ones will be.

Pure arithmetic over observations that are handed in. Invariant: an ETA is given only when something was paid in the
window that is looked at; a grid that gets nowhere has none, and neither has what cannot be paid.
"""

from collections import deque

from holdfast.limits import PACE_S

_SAMPLES = 64


class Pace:
    """One grid's speed of payment over the last PACE_S seconds."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque(maxlen=_SAMPLES)

    def observe(self, at_s: float, paid: int, paid_bytes: int = 0) -> None:
        """At `at_s` (monotonic seconds) the grid had been paid `paid` debts in all, of `paid_bytes`."""
        seen = self._seen
        if seen and paid < seen[-1][1]:
            seen.clear()  # The place was replaced, and its count began again.
        if len(seen) > 1 and at_s - seen[-2][0] < PACE_S / _SAMPLES:
            seen.pop()
        seen.append((at_s, paid, paid_bytes))
        while len(seen) > 2 and seen[1][0] <= at_s - PACE_S:
            seen.popleft()

    @property
    def per_s(self) -> float:
        """Debts paid per second; 0 while too little was seen."""
        return self._speeds()[0]

    def _speeds(self) -> tuple[float, float]:
        if len(self._seen) < 2:
            return 0.0, 0.0
        (began_s, debts, size), (now_s, more_debts, more_size) = self._seen[0], self._seen[-1]
        passed_s = now_s - began_s
        return ((more_debts - debts) / passed_s, (more_size - size) / passed_s) if passed_s > 0 else (0.0, 0.0)

    def eta_s(self, debts: int, debt_bytes: int = 0) -> float | None:
        """Seconds until `debts` of `debt_bytes` are paid at this speed: 0 without any, None when nothing is being paid.

        Many small debts and few large ones are paid side by side, so what takes longer counts, their number or their bytes.
        """
        if debts <= 0:
            return 0.0
        per_s, bytes_per_s = self._speeds()
        if per_s <= 0 or (debt_bytes > 0 and bytes_per_s <= 0):
            return None
        return max(debts / per_s, debt_bytes / bytes_per_s if debt_bytes > 0 else 0.0)
