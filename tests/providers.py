"""S3 servers that stand for a provider: processes on loopback, started and ended by tests.

Two kinds, so that no test believes what only our own server does: Holdfast with a single folder, and rclone's. They keep
what they were given when they are killed and started again at the same address. Invariant: no process outlives `close`.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from holdfast.clock import Clock, SystemClock
from holdfast.config.notation import Secret
from holdfast.events import Teller
from holdfast.grids.s3.connection import Pool
from holdfast.grids.s3.credentials import Keys, KeySource
from holdfast.grids.s3.grid import S3Grid
from holdfast.grids.s3.location import read_location
from holdfast.grids.s3.quirks import PROVIDERS
from holdfast.grids.s3.terms import Endpoint

ACCESS_KEY: Final = "provider-access"
SECRET_KEY: Final = "provider-secret-key"
_TRIES: Final = 600
_PAUSE_S: Final = 0.05
_END_S: Final = 60.0
_BINARIES: Final = Path(sys.executable).parent


class NotReady(AssertionError):
    """A provider ended or never became ready; the text has the end of its log."""


class Provider(Protocol):
    """A running S3 server."""

    row: str
    """Its row of quirks."""

    @property
    def url(self) -> str: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


class Process:
    """One server at one address; `start` after `kill` brings it back there."""

    row = "other"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(_TRIES):
            if self._process.poll() is not None:
                raise NotReady(f"it ended with {self._process.returncode}:\n{self._tail()}")
            if self._answers():
                return
            time.sleep(_PAUSE_S)
        raise NotReady(f"it never answered:\n{self._tail()}")

    def kill(self) -> None:
        """End it at once, as a provider that vanishes."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_END_S)

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {}

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def _tail(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]


class HoldfastProvider(Process):
    """Holdfast's own endpoint over a single folder."""

    row = "holdfast"

    def _command(self) -> list[str]:
        config = self.folder / "holdfast.toml"
        config.write_text(
            f'data = "{self.folder / "data"}"\n[server]\nlisten = "127.0.0.1:{self.port}"\nadmin = ""\n'
            '[log]\nlevel = "error"\n[[grid]]\nname = "disk"\nurl = "folder:disk"\n'
        )
        return [str(_BINARIES / "holdfast"), "serve", "--config", str(config)]

    def _environment(self) -> dict[str, str]:
        return {"HOLDFAST_ACCESS_KEY": ACCESS_KEY, "HOLDFAST_SECRET_KEY": SECRET_KEY}

    def _answers(self) -> bool:
        try:
            told = json.loads((self.folder / "data" / "run" / "endpoint.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return False
        assert self._process is not None
        return bool(told["pid"] == self._process.pid) and super()._answers()


class RcloneProvider(Process):
    """`rclone serve s3` over a directory."""

    row = "rclone"

    def _command(self) -> list[str]:
        store = self.folder / "store"
        store.mkdir(exist_ok=True)
        return [
            str(_BINARIES / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{self.port}",
            "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--no-cleanup", "--config", "/dev/null", str(store),
        ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FixedKeys:
    """Keys that never change."""

    def __init__(self, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> None:
        self._keys = Keys(access_key, Secret(secret_key))

    async def keys(self) -> Keys:
        return self._keys

    def refused(self) -> None:
        return


def s3_grid(
    url: str,
    origin: str,
    *,
    row: str = "other",
    name: str = "grid",
    create_buckets: bool = True,
    teller: Teller | None = None,
    keys: KeySource | None = None,
    tls_ca: Path | None = None,
    proxy: str = "",
    virtual_style: bool = False,
    clock: Clock | None = None,
) -> S3Grid:
    """A grid at a server on this machine."""
    clock = clock or SystemClock()
    teller = teller or Teller()
    endpoint = Endpoint(origin, "us-east-1", virtual_style, PROVIDERS[row])
    pool = Pool(tls_ca=tls_ca, proxy=proxy, tell=lambda host, reason: None)
    return S3Grid(
        name,
        read_location(url),
        endpoint,
        keys=keys or FixedKeys(),
        pool=pool,
        create_buckets=create_buckets,
        clock=clock,
        teller=teller,
    )
