"""`holdfast demo` shows what it says, and leaves nothing behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outages.gateway import until


def demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast", "demo", *arguments],
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts its jobs in the background has them ignore the interrupt, and so would we.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines that name a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.slow
def test_the_demo_keeps_its_promise_and_leaves_nothing_behind(tmp_path: Path) -> None:
    running = demo(tmp_path, "--seconds", "2", "--json")
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    told = json.loads(out)
    assert (told["failed"], told["lost"], told["stale"], told["wrong"], told["astray"]) == (0, 0, 0, 0, [])
    assert told["requests"] > 0
    assert told["caught_up_s"] is not None
    assert "was killed (SIGKILL)" in err
    assert "The promise was kept." in err
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    running = demo(tmp_path)
    until(lambda: bool(list(tmp_path.glob("*/gateway/data/index.db"))), lambda: processes_of(tmp_path))
    running.send_signal(number)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []
