"""Command-line clients as functions: found beside the interpreter, run in an environment of their own.

Answers for isolation: a client sees no configuration, credential or proxy of whoever runs the tests. Invariant: a
client that does not end fails the test instead of holding it up.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.clients.server import ACCESS_KEY, REGION, SECRET_KEY, Endpoint

PATIENCE_S: Final = 280.0


def environment(endpoint: Endpoint, home: Path) -> dict[str, str]:
    """What every client finds: nothing of this user, and how to reach the gateway."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": str(home / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "aws-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CA_BUNDLE": endpoint.ca,
        "SSL_CERT_FILE": endpoint.ca,
        "SSL_CERT_DIR": str(home / "no-certificates"),
        "RCLONE_CONFIG": str(home / "rclone.conf"),
        "NO_PROXY": "*",
        "no_proxy": "*",
    }


def find(name: str) -> str:
    """The program of that name beside the interpreter, else on the path; the test is skipped, and counted, without it."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Ran(subprocess.CompletedProcess[bytes]):
    """What a client did; `out` and `err` are its texts."""

    @property
    def out(self) -> str:
        return str(self.stdout.decode(errors="replace"))

    @property
    def err(self) -> str:
        return str(self.stderr.decode(errors="replace"))


class Program:
    """A client with the arguments that it always gets."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], home: Path) -> None:
        self.argv = [*argv]
        self.env = dict(env)
        self.home = home

    def __call__(self, *args: str | os.PathLike[str], data: bytes = b"", fails: bool = False) -> Ran:
        """Run it to its end. It must succeed, or with `fails` must not."""
        command = [*self.argv, *(os.fspath(arg) for arg in args)]
        done = subprocess.run(command, input=data, capture_output=True, env=self.env, cwd=self.home, timeout=PATIENCE_S)
        ran = Ran(done.args, done.returncode, done.stdout, done.stderr)
        if (ran.returncode != 0) != fails:
            verdict = "succeeded" if fails else f"failed with {ran.returncode}"
            pytest.fail(f"{command} {verdict}:\n{ran.out[-4000:]}\n{ran.err[-4000:]}")
        return ran
