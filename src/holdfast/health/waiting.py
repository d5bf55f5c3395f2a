"""What a grid was asked and has not answered yet.

Pure: time is an argument. A grid that has just vanished gives no evidence until the first deadlines pass; that nobody got an
answer since a certain moment can be known at once. It is a reason to ask others first, never to refuse. Invariant: any
answer ends it, and so does the end of the last attempt, unless that was left for another grid's sake. A grid may also answer, and
bring too little too late: several first blocks in a row that were not here in time are the same reason.
"""

from holdfast.limits import LATE_ROW, QUIET_KEPT_S


class Waiting:
    """Attempts of one class at one grid that are on their way."""

    __slots__ = ("_count", "_kept_until_s", "_late", "_late_s", "_since_s")

    def __init__(self) -> None:
        self._count = 0
        self._since_s = 0.0
        """When the oldest attempt began that came after the last answer."""
        self._kept_until_s = float("-inf")
        self._late = 0
        self._late_s = float("-inf")

    @property
    def count(self) -> int:
        return self._count

    def began(self, now_s: float) -> None:
        """An attempt begins."""
        if not self._count and now_s >= self._kept_until_s:
            self._since_s = now_s
        self._count += 1

    def ended(self) -> None:
        """An attempt is over, however."""
        assert self._count
        self._count -= 1

    def answered(self, now_s: float) -> None:
        """The grid said something: whoever still waits is only slow."""
        self._since_s = now_s
        self._kept_until_s = float("-inf")

    def left(self, now_s: float) -> None:
        """An attempt was cancelled because another grid was faster: remember for a while that it was waited for."""
        self._kept_until_s = now_s + QUIET_KEPT_S

    def late(self, now_s: float) -> None:
        """What was asked is not here, and another grid would have brought it by now."""
        self._late += 1
        self._late_s = now_s

    def in_time(self) -> None:
        """What was asked came before that."""
        self._late = 0

    def is_late(self, now_s: float) -> bool:
        """Whether nothing came in time lately."""
        return self._late >= LATE_ROW and now_s - self._late_s < QUIET_KEPT_S

    def quiet_s(self, now_s: float) -> float:
        """For how long the grid has been asked without saying anything; 0 when nobody waits."""
        return now_s - self._since_s if self._count or now_s < self._kept_until_s else 0.0
