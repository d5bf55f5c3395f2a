"""Programs that the laboratory runs: started on free loopback ports, stopped by their process id, with a log each.

Answers for a process's life and for its last words. It knows nothing of S3. Invariant: `end` leaves no process behind, and
signals of the terminal reach only the laboratory, which then ends its own.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from holdfast.clock import Clock

_STOP_S: Final = 15.0
_READY_S: Final = 60.0
_LOOK_S: Final = 0.05
_TAIL_BYTES: Final = 4096

HOLDFAST: Final = (sys.executable, "-m", "holdfast")


class NotStarted(Exception):
    """A program did not come up. Says why, with the end of its log."""


class Process:
    """One program. It may be started again after it ended."""

    def __init__(self, name: str, *, folder: Path, clock: Clock) -> None:
        self.name = name
        self._folder = folder
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def start(self, arguments: Sequence[str], environment: Mapping[str, str], ports: Sequence[int]) -> None:
        """Start it and return when all these ports take connections. Raises NotStarted."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *arguments,
                env={**_inherited(), "HOME": str(self._folder), **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline_s = self._clock.monotonic_s() + _READY_S
        while not all([await _listens(port) for port in ports]):
            if not self.running:
                raise NotStarted(f"{self.name} ended at its start:\n{self.log()}")
            if self._clock.monotonic_s() > deadline_s:
                raise NotStarted(f"{self.name} did not listen within {_READY_S:g} s:\n{self.log()}")
            await self._clock.sleep(_LOOK_S)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def end(self) -> None:
        """SIGTERM, and SIGKILL when that does not help."""
        if self._process is None or self._process.returncode is not None:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        except asyncio.CancelledError:
            await self.kill()
            raise

    def log(self) -> str:
        """The end of what it wrote."""
        try:
            with self._log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def _log_path(self) -> Path:
        return self._folder / f"{self.name}.log"


def _inherited() -> dict[str, str]:
    """What a program needs of our environment: where programs and modules are, and no settings or credentials."""
    found = {name: os.environ[name] for name in ("PYTHONPATH", "LANG", "TMPDIR") if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), **found}


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
