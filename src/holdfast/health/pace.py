"""How fast a grid's debts are paid, and so when the present ones will be.

Pure arithmetic over observations that are handed in. Invariant: an ETA is given only when something was paid in the
window that is looked at; a grid that gets nowhere has none.
"""

from collections import deque

from holdfast.limits import PACE_S

_SAMPLES = 64


class Pace:
    """One grid's speed of payment over the last PACE_S seconds."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def observe(self, at_s: float, paid: int) -> None:
        """At `at_s` (monotonic seconds) the grid had been paid `paid` debts in all."""
        seen = self._seen
        if seen and paid < seen[-1][1]:
            seen.clear()  # The place was replaced, and its count began again.
        if len(seen) > 1 and at_s - seen[-2][0] < PACE_S / _SAMPLES:
            seen.pop()
        seen.append((at_s, paid))
        while len(seen) > 2 and seen[1][0] <= at_s - PACE_S:
            seen.popleft()

    @property
    def per_s(self) -> float:
        """Debts paid per second; 0 while too little was seen."""
        if len(self._seen) < 2:
            return 0.0
        (began_s, before), (now_s, after) = self._seen[0], self._seen[-1]
        return (after - before) / (now_s - began_s) if now_s > began_s else 0.0

    def eta_s(self, debts: int) -> float | None:
        """Seconds until `debts` are paid at this speed: 0 without any, None when nothing is being paid."""
        if not debts:
            return 0.0
        return debts / self.per_s if self.per_s > 0 else None
