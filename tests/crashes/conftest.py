"""What every test here needs: clients that find nothing of this user, and a seed that is told when a test fails."""

import os
import random
import secrets
from collections.abc import Iterator

import pytest

from tests.crashes.tally import TALLY

SEED = os.environ.get("HOLDFAST_CRASH_SEED") or secrets.token_hex(4)
"""Decides what clients do and when processes die. How these fall together is the machine's affair."""


@pytest.fixture(autouse=True)
def _nothing_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Nothing where xdist runs the tests: then what was done is known in other processes."""
    if TALLY.kills or TALLY.cuts:
        terminalreporter.write_line(TALLY.line())


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> Iterator[random.Random]:
    """Chance that HOLDFAST_CRASH_SEED repeats."""
    print(f"HOLDFAST_CRASH_SEED={SEED}")
    yield random.Random(f"{SEED}/{request.node.name}")
