"""When a grid that mostly answers is asked after the others, and when it gets its place back.

Pure: time is an argument. A demoted grid is not given up: it is asked when others fail, in a few requests by way of trial, and
by its probe. Invariant: a demotion ends only after a stretch of time in which it was asked and nothing went wrong, and then
the grid comes back by the ramp; one that falls again on the ramp has to be well for twice as long.

    well    --more than BROWNOUT_SHARE of BROWNOUT_ATTEMPTS silent, or SLOW_RATIO times its usual latency--> demoted
    demoted --CLEAR_S with CLEAR_ATTEMPTS answers and nothing wrong--> well, by the ramp
"""

from holdfast.health.lately import Lately
from holdfast.health.ramp import RAMP_S, ramp_share
from holdfast.limits import (
    BROWNOUT_ATTEMPTS,
    BROWNOUT_SHARE,
    BROWNOUT_SLOT_S,
    BROWNOUT_SLOTS,
    CLEAR_ATTEMPTS,
    CLEAR_MAX_S,
    CLEAR_S,
    DEMOTED_SHARE,
    SLOW_OVER,
    SLOW_RATIO,
)


class Brownout:
    """Whether one grid is demoted for one class of operations."""

    __slots__ = ("_answers", "_clear_s", "_reason", "_rose_s", "_troubled_s", "_window")

    def __init__(self) -> None:
        self._window = Lately(slots=BROWNOUT_SLOTS, slot_s=BROWNOUT_SLOT_S)
        self._reason = ""
        self._troubled_s = 0.0
        """While demoted: since when nothing has gone wrong."""
        self._answers = 0
        self._clear_s = CLEAR_S
        self._rose_s = float("-inf")

    @property
    def reason(self) -> str:
        """Why it is demoted: `errors` or `slow`; empty when it is not."""
        return self._reason

    def share(self, now_s: float) -> float:
        """The share of requests for which it has its ordinary place."""
        return DEMOTED_SHARE if self._reason else ramp_share(now_s - self._rose_s)

    def note(self, now_s: float, *, silent: bool) -> None:
        """One attempt ended."""
        self._window.note(now_s, silent=silent)
        if silent:
            self._troubled_s = now_s
            self._answers = 0
        else:
            self._answers += 1

    def judge(self, now_s: float, slowness: float) -> bool:
        """True when it was demoted or re-admitted just now. `slowness` is how many times its usual latency it takes."""
        if self._reason:
            return self._rise(now_s, slowness)
        attempts = self._window.attempts(now_s)
        if attempts >= BROWNOUT_ATTEMPTS and self._window.silences(now_s) > BROWNOUT_SHARE * attempts:
            self._fall(now_s, "errors")
        elif slowness > SLOW_RATIO:
            self._fall(now_s, "slow")
        return bool(self._reason)

    def _fall(self, now_s: float, reason: str) -> None:
        relapse = now_s - self._rose_s < RAMP_S + CLEAR_S
        self._clear_s = min(CLEAR_MAX_S, self._clear_s * 2) if relapse else CLEAR_S
        self._reason = reason
        self._troubled_s = now_s
        self._answers = 0

    def _rise(self, now_s: float, slowness: float) -> bool:
        if slowness > SLOW_OVER:
            self._troubled_s = now_s
            self._answers = 0
        if self._answers < CLEAR_ATTEMPTS or now_s - self._troubled_s < self._clear_s:
            return False
        self._reason = ""
        self._rose_s = now_s
        self._window.clear()
        return True
