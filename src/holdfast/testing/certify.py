"""The contract suite for an operator: may this place be trusted with a copy?

Runs every check on a grid, one after the other, and yields what came of it. It cleans up behind itself: its objects lie in one
bucket with a random name, and a place that it was the first to use is given up again. Invariant: it
touches no object that it did not make.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

from holdfast.clock import Clock
from holdfast.errors import GridError
from holdfast.grids.grid import Grid
from holdfast.model import Value
from holdfast.testing.contract import CHECKS, Broken, NotApplicable

CHECK_S = 300.0
"""A check that takes longer has failed: the largest moves a few MiB."""


class Finding(Value, frozen=True):
    """What came of one check."""

    name: str
    promise: str
    outcome: Literal["kept", "broken", "skipped"]
    detail: str
    elapsed_s: float


async def certify(
    open_grid: Callable[[], Grid],
    *,
    clock: Clock,
    known: str = "",
    release: Callable[[Grid], Awaitable[None]] | None = None,
) -> AsyncIterator[Finding]:
    """Check every guarantee.

    `known` is the identity of a place that an index uses already, else it must be empty; then `release` gives it up at the end.
    Raises GridError when the place cannot be attached at all.
    """
    first = open_grid()
    try:
        identity = await first.attach(known)
    finally:
        await first.close()

    async def make() -> Grid:
        grid = open_grid()
        await grid.attach(identity)
        return grid

    bucket = f"certify-{clock.token(6).hex()}"
    try:
        for check in CHECKS:
            began_s = clock.monotonic_s()
            outcome: Literal["kept", "broken", "skipped"] = "kept"
            detail = ""
            try:
                async with asyncio.timeout(CHECK_S):
                    await check.run(make, bucket=bucket)
            except* NotApplicable as reasons:
                outcome, detail = "skipped", "; ".join(_leaves(reasons))
            except* (Broken, GridError) as troubles:
                outcome, detail = "broken", "; ".join(_leaves(troubles))
            except* TimeoutError:
                outcome, detail = "broken", f"not done within {CHECK_S:g} s"
            yield Finding(check.name, check.promise, outcome, detail, clock.monotonic_s() - began_s)
    finally:
        if release is not None and not known:
            grid = await make()
            try:
                await release(grid)
            finally:
                await grid.close()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[str]:
    found: list[str] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return found
