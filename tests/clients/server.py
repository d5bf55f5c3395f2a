"""A running gateway for one test session: a process, its data directory, its log.

Answers for starting `holdfast serve` on free loopback ports, for waiting until it is ready, and for ending it by its
process id. It never looks inside the gateway. Invariant: whatever a test does, no process outlives the session.
"""

import base64
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.testing import certificates

ACCESS_KEY: Final = "clients-access"
SECRET_KEY: Final = "clients-secret-key/with+signs"
REGION: Final = "us-east-1"
WEBSITES: Final = "site.test"
"""Domain of static websites."""
KMS_KEYS: Final = "\n".join(
    f"{name}:{base64.b64encode(key * 32).decode()}" for name, key in (("key-1", b"1"), ("key-2", b"2"))
)
_READY_TRIES: Final = 600
_READY_PAUSE_S: Final = 0.1
_STOP_S: Final = 45.0
_START_TRIES: Final = 3
_TAIL_BYTES: Final = 8 * 1024


class Endpoint(NamedTuple):
    """Where a client connects, and what it needs for that."""

    scheme: str
    port: int
    ca: str
    """File of the certificate to trust."""

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"


class NotReady(Exception):
    """The gateway ended or did not become ready; the text has the end of its log."""


class Server:
    """One gateway. `http` is configured by the command line alone, with one process; `https` by a file, with two workers."""

    def __init__(self, folder: Path, scheme: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self._scheme = scheme
        self._process: subprocess.Popen[bytes] | None = None
        certificate, self._key = certificates.write(folder)
        self.endpoint = Endpoint(scheme, 0, certificate)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when the gateway is ready. Raises NotReady."""
        for last in (False,) * (_START_TRIES - 1) + (True,):
            port, admin = _free_ports()
            self.endpoint = self.endpoint._replace(port=port)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(port, admin),
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            if self._wait(admin):
                return
            self.kill()
            if last:
                raise NotReady(f"the gateway ({self._scheme}) did not become ready:\n{self.tail()}")

    def stop(self) -> int:
        """End it gracefully, and return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once; its workers end with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def tail(self, start_bytes: int = 0) -> str:
        """The end of its log, of what was written after `start_bytes`."""
        with self.log.open("rb") as log:
            size_bytes = log.seek(0, os.SEEK_END)
            log.seek(max(start_bytes, size_bytes - _TAIL_BYTES))
            return log.read().decode(errors="replace")

    def log_bytes(self) -> int:
        return self.log.stat().st_size

    def processes(self) -> list[int]:
        """Its process and all below it."""
        found = [self.pid]
        children: dict[int, list[int]] = {}
        for pid, parent in _parents():
            children.setdefault(parent, []).append(pid)
        for pid in found:
            found.extend(children.get(pid, ()))
        return found

    def resident_bytes(self) -> dict[int, int]:
        """By process: the most memory that it ever had resident (VmHWM)."""
        peaks = {}
        for pid in self.processes():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks[pid] = int(line.split()[1]) * 1024
        return peaks

    def _command(self, port: int, admin: int) -> list[str]:
        program = [str(Path(sys.executable).with_name("holdfast")), "serve"]
        data = str(self.folder / "data")
        if self._scheme == "http":
            return [*program, "--data", data, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
        config = self.folder / "holdfast.toml"
        config.write_text(
            f'data = "{data}"\n'
            "[server]\n"
            f'listen = "127.0.0.1:{port}"\n'
            f'admin = "127.0.0.1:{admin}"\n'
            f'tls_cert = "{self.endpoint.ca}"\n'
            f'tls_key = "{self._key}"\n'
            "workers = 2\n"
        )
        return [*program, "--config", str(config)]

    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "HOLDFAST_ACCESS_KEY": ACCESS_KEY,
            "HOLDFAST_SECRET_KEY": SECRET_KEY,
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
            "HOLDFAST_SERVER_WEBSITE_DOMAIN": WEBSITES,
            "HOLDFAST_SEALING_KMS_KEYS": "env:KMS_KEYS",
            "KMS_KEYS": KMS_KEYS,
            **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
        }

    def _wait(self, admin: int) -> bool:
        assert self._process is not None
        for _ in range(_READY_TRIES):
            if self._process.poll() is not None:
                return False
            if _ready(admin):
                return True
            time.sleep(_READY_PAUSE_S)
        return False


def _ready(admin: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # It ended meanwhile.
            yield int(entry.name), int(stat.rpartition(")")[2].split()[1])
