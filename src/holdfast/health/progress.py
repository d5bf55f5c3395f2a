"""What is worth a line about a grid's catch-up: that it begins, how it gets on now and then, and that it is done.

Pure: observations are handed in with their time. It never tells anything itself. Invariant: one beginning, then any number of
interim lines CATCHUP_TOLD_S apart, then one end.
"""

import enum

from holdfast.limits import CATCHUP_LATE_S, CATCHUP_TOLD_S


class Phase(str, enum.Enum):
    BEGUN = "begins"
    ONGOING = "goes on"
    IDLE = "makes no progress"
    DONE = "is done"


class Progress:
    """One grid's catch-up, as a reader of the log sees it."""

    __slots__ = ("_began_paid", "_began_s", "_paid", "_told_s")

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._began_paid = 0
        self._told_s = 0.0
        self._paid = 0

    def observe(self, now_s: float, *, oldest_s: float, paid: int) -> Phase | None:
        """The oldest debt is `oldest_s` old (0: there is none), and `paid` were ever paid. What is to be told now, if anything.

        Debts that are paid within CATCHUP_LATE_S, as in normal operation, are not worth a word.
        """
        if self._began_s is None:
            if oldest_s < CATCHUP_LATE_S:
                return None
            self._began_s = self._told_s = now_s
            self._began_paid = self._paid = paid
            return Phase.BEGUN
        if oldest_s < CATCHUP_LATE_S:
            return Phase.DONE
        if now_s - self._told_s < CATCHUP_TOLD_S:
            return None
        phase = Phase.ONGOING if paid > self._paid else Phase.IDLE
        self._told_s, self._paid = now_s, paid
        return phase

    def sums(self, now_s: float, paid: int) -> tuple[float, int]:
        """Since its beginning: seconds, and debts that were paid."""
        return now_s - (self._began_s if self._began_s is not None else now_s), max(0, paid - self._began_paid)
