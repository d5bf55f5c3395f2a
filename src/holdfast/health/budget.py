"""How much extra work may be made of real work: a share of it, and a little ahead.

Pure, and without time: what earns is requests, so a budget can never be more than its share of them. Invariant:
what was taken is at most `burst` plus `share` of what was earned.
"""


class Budget:
    """Extra requests allowed for each ordinary one, saved up to `burst`. It begins full."""

    __slots__ = ("_burst", "_saved", "_share")

    def __init__(self, *, share: float, burst: int) -> None:
        self._share = share
        self._burst = float(burst)
        self._saved = float(burst)

    def earn(self) -> None:
        """One ordinary request was made."""
        if self._saved < self._burst:
            self._saved = min(self._burst, self._saved + self._share)

    def take(self) -> bool:
        """Whether one extra request may be made now; if so, it is paid for."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True

    @property
    def left(self) -> int:
        """Extra requests that could be made at once."""
        return int(self._saved)
