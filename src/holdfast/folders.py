"""Directories whose names survive power loss.

Answers for: a directory is there, and so is the way to it, when these return. Never removes anything. Invariant: a name that was
made here is durable before anything is put behind it.
"""

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
