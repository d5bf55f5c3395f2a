"""The machine: what it is, and what it can do at most. Every figure of a server is read beside these.

Invariant: a limit is measured in the same run as the figures that stand beside it.
"""

import hashlib
import os
import platform
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figures

_PIECE = 1024 * 1024
_MEASURE_S = 0.4


def describe(data: Path) -> dict[str, object]:
    """What a reader needs to judge the figures."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "filesystem": filesystem(data, Path("/proc/mounts").read_text()),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def filesystem(path: Path, mounts: str) -> str:
    """The type of the file system that a path is on, by the text of /proc/mounts."""
    kind, longest = "unknown", -1
    for line in mounts.splitlines():
        fields = line.split()
        mount = Path(fields[1])
        if (path == mount or mount in path.parents) and len(fields[1]) >= longest:
            kind, longest = fields[2], len(fields[1])
    return kind


def commit() -> str:
    """The commit that runs, with a `+` when the checkout differs from it; empty outside a checkout."""
    root = Path(__file__).parent
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=False)
    return told.stdout.strip() + ("+" if changed.stdout.strip() else "")


def limits(data: Path) -> Figures:
    """What one core, the disk and the loopback interface can do, each alone."""
    return {
        "md5_mb_per_s": _hash_speed("md5"),
        "sha256_mb_per_s": _hash_speed("sha256"),
        "memcpy_gb_per_s": _memcpy_speed(),
        "loopback_gb_per_s": _loopback_speed(),
        "fdatasync_per_s": _sync_rate(data),
    }


def _hash_speed(name: str) -> float:
    piece, digest = bytes(_PIECE), hashlib.new(name, usedforsecurity=False)
    return _repeat(lambda: digest.update(piece)) * _PIECE / 1e6


def _memcpy_speed() -> float:
    source, target = bytes(64 * _PIECE), memoryview(bytearray(64 * _PIECE))

    def copy() -> None:
        target[:] = source

    return _repeat(copy) * len(source) / 1e9


def _sync_rate(data: Path) -> float:
    """How often per second 4 KiB are appended and made durable, one after the other."""
    path = data / "sync"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:

        def append() -> None:
            os.write(descriptor, bytes(4096))
            os.fdatasync(descriptor)

        return _repeat(append)
    finally:
        os.close(descriptor)
        path.unlink()


def _repeat(work: Callable[[], object]) -> float:
    """How often per second."""
    work()
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < _MEASURE_S:
        work()
        count += 1
    return count / elapsed


def _loopback_speed() -> float:
    """GB/s from one thread to another over a TCP socket; the copies release the interpreter."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    piece, target, stop = bytes(_PIECE), bytearray(_PIECE), threading.Event()

    def pump() -> None:
        while not stop.is_set():
            sender.sendall(piece)
        sender.close()

    pumping = threading.Thread(target=pump)
    pumping.start()
    received, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < _MEASURE_S:
        received += receiver.recv_into(target)
    stop.set()
    while receiver.recv_into(target):
        pass
    pumping.join()
    receiver.close()
    return received / elapsed / 1e9
