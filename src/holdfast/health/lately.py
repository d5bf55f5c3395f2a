"""How many attempts were made lately, and how many of them went wrong.

Pure: time is an argument. A ring of slots, so that what is remembered does not grow with what happens. Invariant: nothing
older than the window is counted; up to one slot of it may be missing at its far end.
"""


class Lately:
    """Counts over the last `slots` times `slot_s` seconds."""

    __slots__ = ("_at", "_attempts", "_silences", "_slot_s", "_slots")

    def __init__(self, *, slots: int, slot_s: float) -> None:
        self._slots = slots
        self._slot_s = slot_s
        self._attempts = [0] * slots
        self._silences = [0] * slots
        self._at = 0

    def note(self, now_s: float, *, silent: bool) -> None:
        """One attempt ended."""
        slot = self._turn(now_s)
        self._attempts[slot] += 1
        if silent:
            self._silences[slot] += 1

    def attempts(self, now_s: float) -> int:
        """Attempts within the window."""
        self._turn(now_s)
        return sum(self._attempts)

    def silences(self, now_s: float) -> int:
        """Those of them that got no answer."""
        self._turn(now_s)
        return sum(self._silences)

    def spread(self, now_s: float) -> int:
        """In how many slots there were silences: what went wrong in one moment is one fact."""
        self._turn(now_s)
        return sum(1 for count in self._silences if count)

    def clear(self) -> None:
        """Forget everything."""
        self._attempts = [0] * self._slots
        self._silences = [0] * self._slots

    def _turn(self, now_s: float) -> int:
        """Empty the slots that time has passed, and return the present one."""
        at = int(now_s // self._slot_s)
        if at > self._at:
            for passed in range(max(self._at + 1, at - self._slots + 1), at + 1):
                self._attempts[passed % self._slots] = 0
                self._silences[passed % self._slots] = 0
            self._at = at
        return self._at % self._slots
