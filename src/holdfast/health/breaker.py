"""When to stop asking a silent grid, and when to try again: the arithmetic of one breaker.

Pure: the time and the draw for jitter are arguments. It never asks anything itself; what counts as silence is decided by
whoever reports. Invariant: an attempt that was not made is no evidence, so neither a refusal of the
breaker's own nor an attempt that was given up keeps it open.

    closed --BREAKER_ROW silences in a row, no answer for BREAKER_MUTE_S, BREAKER_SHARE of BREAKER_ATTEMPTS,
             or BREAKER_LASTING faults that last--> open
    open   --its pause is over, and somebody asks--> trial: that one attempt is let through
    trial  --answer--> closed, by the ramp;  --silence--> open, for twice as long;  --given up--> open, the next may try
    open   --an answer to somebody who had no other copy--> closed, by the ramp

Silences that are not blamed on the grid (we suspect ourselves) are counted and move nothing.
"""

import enum

from holdfast.health.lately import Lately
from holdfast.health.ramp import ramp_share
from holdfast.limits import (
    BREAKER_ATTEMPTS,
    BREAKER_LASTING,
    BREAKER_MUTE_ATTEMPTS,
    BREAKER_MUTE_S,
    BREAKER_ROW,
    BREAKER_ROW_S,
    BREAKER_SHARE,
    BREAKER_SPREAD,
    BREAKER_TRIAL_MAX_S,
    BREAKER_TRIAL_S,
    BREAKER_WINDOW_S,
)


class State(str, enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


class Pass(enum.Enum):
    """What a breaker says to an attempt."""

    NO = enum.auto()
    FREE = enum.auto()
    TRIAL = enum.auto()
    """Admitted to find out: its outcome must be reported, or that it was given up."""
    LAST = enum.auto()
    """Admitted although it is open, as nobody else can be asked: an answer closes it, a silence is no news."""


class Breaker:
    """The state of one class of operations at one grid. Times are seconds of a monotonic clock."""

    __slots__ = (
        "_answered_s",
        "_closed_s",
        "_due_s",
        "_lasting",
        "_pause_s",
        "_row",
        "_row_began_s",
        "_state",
        "_window",
    )

    def __init__(self) -> None:
        self._state = State.CLOSED
        self._window = Lately(slots=BREAKER_WINDOW_S, slot_s=1.0)
        self._row = 0
        self._row_began_s = 0.0
        self._lasting = 0
        """Silences of the present row that will not pass by themselves."""
        self._answered_s = float("-inf")
        self._closed_s = float("-inf")
        self._pause_s = BREAKER_TRIAL_S
        self._due_s = 0.0

    def state(self, now_s: float) -> State:
        """As a planner sees it: `trial` also when the next attempt would be one."""
        if self._state is State.OPEN and now_s >= self._due_s:
            return State.TRIAL
        return self._state

    def share(self, now_s: float) -> float:
        """The share of requests for which a closed breaker's grid has its ordinary place: less just after a trial."""
        return ramp_share(now_s - self._closed_s)

    def mute(self, now_s: float) -> bool:
        """Whether nothing has been heard for so long that whoever asks all the same should not be many."""
        if self._state is not State.CLOSED:
            return True
        return self._row >= BREAKER_MUTE_ATTEMPTS and now_s - self._row_began_s >= BREAKER_MUTE_S

    def admit(self, now_s: float, *, last: bool = False) -> Pass:
        """Whether an attempt may be made now. `last`: nobody else can be asked."""
        if self._state is State.CLOSED:
            return Pass.FREE
        if self._state is State.OPEN and now_s >= self._due_s:
            self._state = State.TRIAL
            return Pass.TRIAL
        return Pass.LAST if last else Pass.NO

    def answered(self, admitted: Pass, now_s: float) -> bool:
        """An attempt got an answer, of whatever kind. True when this closed the breaker."""
        if self._state is State.CLOSED:
            self._window.note(now_s, silent=False)
            self._row = self._lasting = 0
            self._answered_s = now_s
            return False
        if admitted is Pass.FREE:
            return False  # It was asked before the breaker opened: only what was asked since says what holds now.
        self._state = State.CLOSED
        self._row = self._lasting = 0
        self._window.clear()
        self._answered_s = self._closed_s = now_s
        self._pause_s = BREAKER_TRIAL_S
        return True

    def silent(
        self,
        admitted: Pass,
        began_s: float,
        now_s: float,
        draw: float,
        *,
        lasting: bool = False,
        blamed: bool = True,
    ) -> bool:
        """An attempt that began at `began_s` got no answer. True when this opened the breaker.

        `draw` is from [0, 1). `lasting`: the grid says itself that this will not pass. `blamed`: it is the grid's
        fault, as far as anybody knows.
        """
        if admitted is Pass.TRIAL and self._state is State.TRIAL:
            if blamed:
                self._pause_s = min(BREAKER_TRIAL_MAX_S, self._pause_s * 2)
            self._open(now_s, draw)
            return True
        if self._state is not State.CLOSED:
            return False
        if self._row == 0:
            # The silence is as old as the first attempt that met it, unless there was an answer since.
            self._row_began_s = max(began_s, self._answered_s)
        self._row += 1
        self._lasting += lasting
        self._window.note(now_s, silent=True)
        if not (blamed and self._enough(now_s)):
            return False
        self._pause_s = BREAKER_TRIAL_S
        self._open(now_s, draw)
        return True

    def given_up(self, admitted: Pass, now_s: float) -> None:
        """An attempt ended without evidence: cancelled, or refused by ourselves."""
        if admitted is Pass.TRIAL and self._state is State.TRIAL:
            self._state = State.OPEN
            self._due_s = now_s

    def hint(self, now_s: float) -> None:
        """Something else suggests that the grid is back: the next attempt may be the trial."""
        self._due_s = min(self._due_s, now_s)

    def _enough(self, now_s: float) -> bool:
        """Whether what was seen opens a closed breaker."""
        lasted_s = now_s - self._row_began_s
        if self._row >= BREAKER_ROW and lasted_s >= BREAKER_ROW_S:
            return True
        if self._row >= BREAKER_MUTE_ATTEMPTS and lasted_s >= BREAKER_MUTE_S:
            return True
        if self._lasting >= BREAKER_LASTING:
            return True
        window = self._window
        attempts = window.attempts(now_s)
        return (
            attempts >= BREAKER_ATTEMPTS
            and window.silences(now_s) >= BREAKER_SHARE * attempts
            and window.spread(now_s) >= BREAKER_SPREAD
        )

    def _open(self, now_s: float, draw: float) -> None:
        self._state = State.OPEN
        self._row = self._lasting = 0
        self._window.clear()
        self._due_s = now_s + self._pause_s * (0.5 + draw)
