"""The only door for time and chance.

Everything that needs to know when it is, wait, or draw a random value is given a `Clock`.
No other module imports `time`, `random`, `secrets` or `uuid`, so a test can own all of them.
Invariant: `monotonic_s` never goes backwards; `now_ms` may (it is the wall clock).
"""

import asyncio
import random
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Time and chance, as one argument."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, by the wall clock."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start; differences are durations."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds."""
        ...

    def random(self) -> float:
        """A uniform draw from [0, 1), for jitter and sampling; never for secrets."""
        ...

    def token(self, size_bytes: int) -> bytes:
        """Unpredictable bytes, for identifiers and secrets."""
        ...


class SystemClock:
    """The real time and the operating system's randomness."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def random(self) -> float:
        return random.random()

    def token(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)
