"""Pins: what an operator decided about a grid holds in every worker, and after a restart.

Answers for how soon that is. It decides nothing: the index remembers, `Site` obeys. Invariant: a worker never acts on a
decision that is older than PINS_S, while it can read the index.
"""

import asyncio

from holdfast.copies.site import Site
from holdfast.limits import PINS_S


class Pins:
    """Looks what operators decided."""

    name = "pins"

    def __init__(self, site: Site) -> None:
        self.wake = asyncio.Event()
        self._site = site

    async def step(self) -> float:
        """Look once."""
        await self._site.obey_pins()
        return PINS_S

    async def close(self) -> None:
        """Nothing outlives a step."""
