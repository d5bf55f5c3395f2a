"""Whether it is us: every grid fell silent at the same moment.

Pure: time is an argument. Independent places do not fail together; a cut cable, a full table of connections or a wrong clock
on this side looks exactly so. Invariant: one grid that answers clears us, and then each grid's own
silence counts again. It clears nobody else: a grid that was silent long before the others is not part of it.
"""

from holdfast.limits import SUSPECT_MAX_S, SUSPECT_TOGETHER_S


class Suspicion:
    """What this process thinks of itself. Grids make themselves known by name."""

    __slots__ = ("_ourselves", "_silent_since_s")

    def __init__(self) -> None:
        self._silent_since_s: dict[str, float | None] = {}
        """When each grid's present row of silences began; None while it answers."""
        self._ourselves = False

    def know(self, grid: str) -> None:
        """There is such a grid."""
        self._silent_since_s.setdefault(grid, None)

    @property
    def ourselves(self) -> bool:
        """True while we are the first suspect."""
        return self._ourselves

    def answered(self, grid: str) -> bool:
        """A grid answered. True when this cleared us."""
        self._silent_since_s[grid] = None
        cleared, self._ourselves = self._ourselves, False
        return cleared

    def silent(self, grid: str, began_s: float, now_s: float) -> bool:
        """A grid gave no answer to what began at `began_s`. True when this made us the suspect."""
        if self._silent_since_s.get(grid) is None:
            self._silent_since_s[grid] = began_s
        before, self._ourselves = self._ourselves, self._all_at_once(now_s)
        return self._ourselves and not before

    def _all_at_once(self, now_s: float) -> bool:
        since = list(self._silent_since_s.values())
        if len(since) < 2:
            return False  # With a single grid nothing tells it from us.
        known = [began_s for began_s in since if began_s is not None]
        if len(known) < len(since):
            return False
        return max(known) - min(known) <= SUSPECT_TOGETHER_S and now_s - max(known) <= SUSPECT_MAX_S
