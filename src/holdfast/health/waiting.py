"""What a grid was asked and has not answered yet.

Pure: time is an argument. A grid that has just vanished gives no evidence until the first deadlines pass; that nobody got an
answer since a certain moment can be known at once. It is a reason to ask others first, never to refuse. Invariant: any
answer ends it, and so does the end of the last attempt, unless that was left for another grid's sake.
"""

from holdfast.limits import QUIET_KEPT_S


class Waiting:
    """Attempts of one class at one grid that are on their way."""

    __slots__ = ("_count", "_kept_until_s", "_since_s")

    def __init__(self) -> None:
        self._count = 0
        self._since_s = 0.0
        """When the oldest attempt began that came after the last answer."""
        self._kept_until_s = float("-inf")

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

    def quiet_s(self, now_s: float) -> float:
        """For how long the grid has been asked without saying anything; 0 when nobody waits."""
        return now_s - self._since_s if self._count or now_s < self._kept_until_s else 0.0
