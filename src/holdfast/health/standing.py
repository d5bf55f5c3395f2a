"""How a grid stands with whoever wants to ask it: what `plan` orders by.

Values only. Invariant: a standing says in which order to ask, never whether an object can be read.
"""

import enum

from holdfast.health.breaker import State
from holdfast.model import Value


class Use(str, enum.Enum):
    """What an operator decided about a grid."""

    AUTO = "auto"
    """Its health decides."""
    IN = "in"
    """It is asked, whatever its breakers think."""
    OUT = "out"
    """It is not asked at all."""


class Standing(Value, frozen=True):
    """One grid, for one read."""

    state: State = State.CLOSED
    share: float = 1.0
    """Of the requests that it has its ordinary place in: less while it is demoted or comes back, 0 while it is quiet."""
    latency_s: float | None = None
    """Its median for a first block of this size; None when that is not known."""


WELL = Standing()
