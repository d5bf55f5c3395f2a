"""Directories whose names survive power loss, and files that are made once and are nobody else's business.

Answers for: a directory (or file) is there, and so is the way to it, when these return. Never removes or replaces anything. Invariant: a
name that was made here is durable before anything is put behind it.
"""

import contextlib
import os
from pathlib import Path


def flush_folder(path: Path | bytes) -> None:
    """Make the entries of a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a directory and those above it that are missing, and make their names durable. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent, mode)
    path.mkdir(mode, exist_ok=True)
    flush_folder(path.parent)


def keep_private(path: Path, data: bytes, token: str) -> bool:
    """Make a file that only its owner reads, durable with its directory. False when there was one already, which stays.
    `token` makes the name of the draft that only this call uses. Raises OSError."""
    draft = path.with_name(f".{path.name}.{token}")
    make_folder(path.parent)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # Unlike a rename it never replaces what another process just wrote.
            flush_folder(path.parent)
            return True
        return False
    finally:
        os.unlink(draft)
