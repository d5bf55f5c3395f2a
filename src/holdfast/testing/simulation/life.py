"""The processes of a simulation, as far as they can die.

Answers for one thing: in whose name code runs. Invariant: a process that is dead stays dead; who comes after it is another.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any


class Life:
    """One process: what was scheduled in its name is dropped from the moment when it is dead."""

    __slots__ = ("dead", "name", "tasks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.tasks: list[asyncio.Task[Any]] = []
        """Once it is dead: what it was doing."""


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)
"""The process in whose name code runs; None for the simulation itself."""


@contextlib.contextmanager
def living(life: Life | None) -> Iterator[None]:
    """What is begun within is done in the name of this process."""
    token = LIFE.set(life)
    try:
        yield
    finally:
        LIFE.reset(token)
