"""What was acknowledged, and which answers that allows.

Pure. Answers for P1 and P2 as arithmetic: each key has one writer at a time, so its writes have an order; a read that begins
after one was acknowledged, or was seen by a read that ended, must show that one or a later one. A write that was refused may or may
not have happened; one that was never answered may still happen at any later time. Invariant: an
answer that any correct store could give is never called a lie.
"""

from typing import Literal

from holdfast.model import Value

Verdict = Literal["right", "stale", "wrong"]


class Content(Value, frozen=True):
    """What one write made of a key."""

    md5: str
    size: int


State = Content | None
"""None: the key is not there."""


class History:
    """One key's writes, in the order in which they were sent."""

    __slots__ = ("_floats", "_states", "floor", "writing")

    def __init__(self) -> None:
        self._states: list[State] = [None]
        self._floats: set[int] = set()
        self.floor = 0
        """Position of the newest write that is known to have happened."""
        self.writing = False

    @property
    def current(self) -> State:
        """What the newest acknowledged write made of it."""
        return self._states[self.floor]

    def send(self, state: State) -> int:
        """A write is on its way; returns its position."""
        self._states.append(state)
        return len(self._states) - 1

    def acknowledge(self, position: int) -> None:
        """It has happened."""
        self.floor = max(self.floor, position)

    def lose(self, position: int) -> None:
        """It was never answered: it may happen even after later ones."""
        self._floats.add(position)

    def judge(self, since: int, found: State) -> Verdict:
        """Judge what a read found that began when `floor` was `since`; what is right raises the floor."""
        matches = [position for position, state in enumerate(self._states) if state == found]
        if not matches:
            return "wrong"
        allowed = [position for position in matches if position >= since or position in self._floats]
        if not allowed:
            return "stale"
        if not self._floats.intersection(allowed):
            self.floor = max(self.floor, allowed[0])
        return "right"
