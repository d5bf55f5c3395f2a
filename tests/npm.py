"""Programs and libraries for tests that come from the npm registry, into folders of the test environment, once.

`python -m tests.npm` installs all of them. Where there is no Node.js the tests that need one are skipped and say so. Versions are
pinned here. Invariant: what was installed whole is not installed again, whoever else wants it at the same time.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

AZURITE: Final = ("azurite@3.35.0",)
AWS_SDK: Final = (
    "@aws-sdk/client-s3@3.1169.0",
    "@aws-sdk/lib-storage@3.1169.0",
    "@aws-sdk/s3-request-presigner@3.1169.0",
    "@aws-sdk/s3-presigned-post@3.1164.0",
)
_INSTALL_S: Final = 600.0


def missing(what: str) -> str:
    """Why a package cannot be had; empty when it can."""
    lacking = [program for program in ("node", "npm") if shutil.which(program) is None]
    return f"{' and '.join(lacking)} not installed: no {what}" if lacking else ""


def node() -> str:
    """The program that runs JavaScript. Only where nothing is `missing`."""
    found = shutil.which("node")
    assert found is not None
    return found


def install(*packages: str) -> Path:
    """The folder `node_modules` with these packages, which are installed if need be. Only where nothing is `missing`."""
    folder = Path(sys.prefix) / "npm" / hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        if not done.exists():
            npm = shutil.which("npm")
            assert npm is not None
            command = [
                npm,
                "install",
                "--prefix",
                str(folder),
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                *packages,
            ]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=_INSTALL_S)
            done.touch()
    return folder / "node_modules"


if __name__ == "__main__":
    for packages in (AZURITE, AWS_SDK):
        began = time.monotonic()
        reason = missing(packages[0])
        if not reason:
            install(*packages)
        print(reason or f"{' '.join(packages)}: there after {time.monotonic() - began:.0f} s")
