"""The coats of a grid, in the one order that is right.

From the outside in:
- breaker: a silent grid costs nothing, not even a wait for a turn; it sees what the deadline makes of silence.
- limit: waiting for a turn is not the grid's time, so it lies outside the deadline and the trace.
- trace: tells what happened at the grid, silences included.
- deadline: next to the grid, so that all others see an outcome for every attempt.
"""

from holdfast.clock import Clock
from holdfast.events import Teller
from holdfast.grids.grid import Grid
from holdfast.limits import GRID_CONCURRENCY, GRID_DEADLINE_S
from holdfast.wrappers.breaker import BreakerGrid, Breakers
from holdfast.wrappers.deadline import DeadlineGrid
from holdfast.wrappers.limit import LimitGrid
from holdfast.wrappers.trace import TraceGrid


def put_on(
    grid: Grid,
    *,
    breakers: Breakers,
    clock: Clock,
    teller: Teller,
    deadline_s: float = GRID_DEADLINE_S,
    concurrency: int = GRID_CONCURRENCY,
) -> BreakerGrid:
    """The grid as the rest of the program sees it."""
    timely = DeadlineGrid(grid, deadline_s=deadline_s)
    traced = TraceGrid(timely, clock=clock, teller=teller)
    limited = LimitGrid(traced, concurrency=concurrency)
    return BreakerGrid(limited, breakers)
