"""A gateway as an operator runs it: `holdfast serve` with a configuration of its own, in a directory of its own.

Answers for starting it on free loopback ports, asking it for its status, and ending it by its process id.
It never looks inside. Invariant: `kill` leaves no process behind.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

ACCESS_KEY: Final = "outages-access"
SECRET_KEY: Final = "outages-secret-key"
BUCKET: Final = "witnessed"
GRIDS: Final = ("a", "b")
_PAUSE_S: Final = 0.05
_READY_TRIES: Final = 600
_STOP_S: Final = 30.0
_TAIL_BYTES: Final = 6 * 1024
_TRIES: Final = 1800

Report = dict[str, Any]
"""What `/status` answers."""


def until(holds: Callable[[], bool], otherwise: Callable[[], object], *, tries: int = _TRIES) -> None:
    """Look until something holds; fail with what `otherwise` says when it never does."""
    for _ in range(tries):
        if holds():
            return
        time.sleep(_PAUSE_S)
    raise AssertionError(otherwise())


class Gateway:
    """One gateway with the folder grids `a` and `b`."""

    def __init__(self, folder: Path, *, settings: str = "", workers: int = 1) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = 0
        self._admin = 0
        self._settings = settings
        self._workers = workers
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.places = {name: folder / "disks" / name / "grid" for name in GRIDS}
        """The directories of the grids. Each lies alone in a directory that a test may mount something on."""
        for place in self.places.values():
            place.parent.mkdir(parents=True)

    # --- life ---

    def start(self) -> None:
        """Return when it serves."""
        self.launch()
        until(self._answers, lambda: f"the gateway did not become ready:\n{self.log()}", tries=_READY_TRIES)

    def launch(self) -> None:
        """Start the process and do not wait."""
        self.port, self._admin = _free_ports()
        config = self.folder / "holdfast.toml"
        config.write_text(self._configuration())
        program = Path(sys.executable).with_name("holdfast")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), "serve", "--config", str(config)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self) -> int:
        """Wait for a process that ends by itself; returns its exit code."""
        assert self._process is not None
        return self._process.wait(_STOP_S)

    def stop(self) -> int:
        """End it gracefully; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.end()

    def restart(self) -> None:
        assert self.stop() == 0, self.log()
        self.start()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wrote(self, text: str) -> bool:
        """Whether it ever wrote this."""
        return text in self._log.read_text(errors="replace")

    def log(self) -> str:
        """The end of what it wrote."""
        with self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return log.read().decode(errors="replace")

    # --- what it says ---

    def status(self) -> Report:
        """The status as the admin listener gives it."""
        return cast("Report", json.loads(self._ask("/status")[1]))

    def grid(self, name: str) -> Report:
        """The status of one grid."""
        return next(grid for grid in self.status()["grids"] if grid["name"] == name)

    def status_command(self, *arguments: str) -> str:
        """What `holdfast status` prints."""
        program = Path(sys.executable).with_name("holdfast")
        command = [str(program), "status", *arguments, "--admin", f"127.0.0.1:{self._admin}"]
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, timeout=30, cwd=self.folder, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def until_state(self, name: str, state: str) -> None:
        until(lambda: self.grid(name)["state"] == state, lambda: f"{name} is not {state}: {self.grid(name)}")

    def until_held(self, name: str, copies: int) -> None:
        until(lambda: self.grid(name)["held"] == copies, self.status)

    def until_paid(self) -> None:
        """Return when nothing is owed to any grid and the spool is empty."""

        def paid() -> bool:
            status = self.status()
            return not (status["owed"] or status["tombstones"] or status["spool_bytes"])

        until(paid, lambda: f"still owed: {json.dumps(self.status(), indent=1)}\n{self.log()}")
        for grid in self.status()["grids"]:
            assert (grid["owed"], grid["owed_bytes"], grid["oldest_debt_s"], grid["eta_s"]) == (0, 0, 0, 0)

    def until_trimmed(self) -> None:
        """Make sure that no body is in the index: reads must come from grids. Needs `[cache] inline = "0"`."""
        self.until_paid()
        self.restart()
        until(lambda: self.status()["inline_bytes"] == 0, lambda: self.status())

    def files(self, name: str) -> dict[str, bytes]:
        """What an S3-ignorant program finds in a grid's directory: paths below the bucket's, and contents."""
        root = self.places[name] / BUCKET
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and ".holdfast" not in path.relative_to(root).parts
        }

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the gateway ended:\n{self.log()}"
        try:
            return self._ask("/readyz")[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def _ask(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=10)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def _configuration(self) -> str:
        grids = "".join(f'[[grid]]\nname = "{name}"\nurl = "folder:{place}"\n' for name, place in self.places.items())
        return (
            f'data = "{self.data}"\n'
            f'[server]\nlisten = "127.0.0.1:{self.port}"\nadmin = "127.0.0.1:{self._admin}"\n'
            f"workers = {self._workers}\n{grids}{self._settings}"
        )

    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "COLUMNS": "300",
            "HOLDFAST_ACCESS_KEY": ACCESS_KEY,
            "HOLDFAST_SECRET_KEY": SECRET_KEY,
        }


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
