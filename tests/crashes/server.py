"""A gateway that is meant to die: one data directory, and the processes that serve it one after the other.

Answers for starting it on free ports, for killing all of it or one of its processes by their ids, and for
reaching it afterwards. It never looks into the index. Invariant: no process outlives `close`.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.config

from tests.crashes.tally import TALLY

ACCESS_KEY: Final = "crashes-access"
SECRET_KEY: Final = "crashes-secret-key"
REGION: Final = "us-east-1"
TRIES: Final = 600
"""Looks at something that must come true; with PAUSE_S between them half of the longest lease."""
PAUSE_S: Final = 0.05
_TAIL_BYTES: Final = 8 * 1024
_END_S: Final = 60


class NeverCame(AssertionError):
    """What had to come true did not."""


def until(what: str, true: Callable[[], bool], *, tail: Callable[[], str] = lambda: "") -> None:
    """Return once it is true, or fail after TRIES looks."""
    for _ in range(TRIES):
        if true():
            return
        time.sleep(PAUSE_S)
    raise NeverCame(f"never came true: {what}\n{tail()}")


class Server:
    """`holdfast serve` on one data directory. `settings` are TOML tables beside the defaults."""

    def __init__(self, folder: Path, *, workers: int = 1, settings: str = "") -> None:
        self.data = folder / "data"
        self.grids = (self.data / "grids" / "a", self.data / "grids" / "b")
        self.log = folder / "log"
        self._config = folder / "holdfast.toml"
        self._config.write_text(
            f'data = "{self.data}"\n[server]\nlisten = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\nworkers = {workers}\n{settings}'
        )
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self._admin = ""

    # --- life ---

    def begin(self) -> "subprocess.Popen[bytes]":
        """A process that serves this directory, or tries to."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(Path(sys.executable).with_name("holdfast")), "serve", "--config", str(self._config)],
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # The same sources as these tests.
                    "HOLDFAST_ACCESS_KEY": ACCESS_KEY,
                    "HOLDFAST_SECRET_KEY": SECRET_KEY,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> None:
        """Return when it is ready, with all its workers."""
        self._process = self.begin()
        until("the gateway is ready", self._is_ready, tail=self.tail)

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise NeverCame(f"the gateway ended with {self._process.returncode}:\n{self.tail()}")
        try:
            told = json.loads((self.data / "run" / "endpoint.json").read_bytes())
        except FileNotFoundError:
            return False
        if told["pid"] != self._process.pid:
            return False  # That of the one that was killed.
        self.url, self._admin = told["url"], told["admin"]
        try:
            self._ask("/readyz")
        except OSError:
            return False
        return self._workers == 1 or len(self.workers()) == self._workers

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """The processes below it."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def kill(self) -> None:
        """End all of its processes with SIGKILL."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        TALLY.kills += 1
        self._process.wait(_END_S)

    def kill_one(self, pid: int) -> None:
        """End one of its processes with SIGKILL."""
        os.kill(pid, signal.SIGKILL)
        TALLY.kills += 1

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it ended."""
        assert self._process is not None
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired as late:
            raise NeverCame(f"the gateway does not end:\n{self.tail()}") from late

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def close(self) -> None:
        """Leave nothing behind that runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_END_S)

    def tail(self) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return log.read().decode(errors="replace")

    # --- what it says ---

    def _ask(self, page: str) -> Any:
        with urllib.request.urlopen(self._admin + page, timeout=20) as answer:
            return json.load(answer)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("/status")
        return found

    def until_paid(self) -> None:
        """Wait until nothing is owed to any grid. What a killed process had in hand is no reason to wait for long."""
        until("nothing is owed", lambda: self.status()["owed"] == 0, tail=lambda: f"{self.status()}\n{self.tail()}")

    def client(self) -> Any:
        """boto3's client, which never tries twice: each answer, or its loss, is seen."""
        settings = botocore.config.Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            max_pool_connections=16,
            connect_timeout=20,
            read_timeout=60,
            signature_version="s3v4",
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=settings,
        )

    def spool_files(self) -> dict[Path, os.stat_result]:
        """What lies in the spool, named by the index or not."""
        found = {}
        for path in (self.data / "spool").glob("??/*"):
            try:
                found[path] = path.stat()
            except FileNotFoundError:
                continue  # Released meanwhile.
        return found


@contextmanager
def serving(folder: Path, *, workers: int = 1, settings: str = "") -> Iterator[Server]:
    """A gateway that is ready, and gone at the end."""
    server = Server(folder, workers=workers, settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.close()
