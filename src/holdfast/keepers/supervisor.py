"""Background workers of one shape, under one supervisor.

A keeper has a name and does one unit of work per `step`; it says how long it has nothing to do. The supervisor
runs each for as long as the process lives: a step that fails unexpectedly is told and tried
again after a pause, so one keeper's trouble never stops another or a request. Invariant: nothing of a
keeper outlives `stop`.
"""

import asyncio
import contextlib
import traceback
from collections.abc import Sequence
from typing import Protocol

from holdfast.clock import Clock
from holdfast.errors import ConfigError, S3Error
from holdfast.events import ERRAND, KeeperFailed, Teller
from holdfast.index.interface import CommitUnknown
from holdfast.limits import KEEPER_PAUSE_MAX_S, KEEPER_PAUSE_S

_FORESEEN = (ConfigError, S3Error, CommitUnknown)


class Keeper(Protocol):
    """One background worker."""

    @property
    def name(self) -> str: ...

    @property
    def wake(self) -> asyncio.Event:
        """Set to end the pause between steps early."""
        ...

    async def step(self) -> float:
        """Do one unit of work; return the seconds until there may be more (0: at once)."""
        ...

    async def close(self) -> None:
        """End what the steps began."""
        ...


class Supervisor:
    """Runs keepers until it is stopped."""

    def __init__(self, keepers: Sequence[Keeper], *, clock: Clock, teller: Teller) -> None:
        self._keepers = keepers
        self._clock = clock
        self._teller = teller
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run(keeper), name=keeper.name) for keeper in self._keepers]

    async def stop(self) -> None:
        """Cancel all keepers, wait for them, and let them close."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        for keeper in self._keepers:
            await keeper.close()

    async def _run(self, keeper: Keeper) -> None:
        ERRAND.set(True)  # This task's own, and that of all that its steps begin.
        failures = 0
        while True:
            keeper.wake.clear()
            try:
                delay_s = await keeper.step()
                failures = 0
            except Exception as trouble:  # noqa: BLE001 - the supervisor's frame: a keeper's bug must not end keeping
                failures += 1
                delay_s = KEEPER_PAUSE_MAX_S if isinstance(trouble, ConfigError) else _pause(failures)
                self._teller.tell(KeeperFailed(keeper.name, _reason(trouble)))
            # A keeper that always has work, or is always woken, must not keep the event loop to itself.
            await asyncio.sleep(0)
            if delay_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await keeper.wake.wait()


def _reason(trouble: Exception) -> str:
    """A sentence for what is foreseen, such as an index that cannot answer now, also when several parts of a step met it; a
    traceback for what is not."""
    while isinstance(trouble, ExceptionGroup) and trouble.split(_FORESEEN)[1] is None:
        trouble = trouble.exceptions[0]
    if isinstance(trouble, S3Error):
        return f"{trouble} {trouble.detail}".strip()
    if isinstance(trouble, _FORESEEN):
        return str(trouble)
    return "".join(traceback.format_exception(trouble))


def _pause(failures: int) -> float:
    return min(KEEPER_PAUSE_MAX_S, KEEPER_PAUSE_S * float(2 ** min(failures - 1, 8)))
