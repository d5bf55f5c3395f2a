"""What the clients carry: bytes that do not compress or repeat, a large file, a real tree.

Invariant: the same seed gives the same bytes, so a failure can be looked at again.
"""

import hashlib
import os
import random
import shutil
import sysconfig
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

SIZES: Final = (0, 1, 4 * KIB, 64 * KIB, 64 * KIB + 1, MIB, 3 * MIB + 12_345)
"""Around every limit at which a gateway may treat a body differently: none, inline, one block, several."""
LARGE: Final = 24 * MIB + 4321
"""More than every client sends in one piece when told to use parts of 5 or 8 MiB."""


def noise(size_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def noise_file(path: Path, size_bytes: int, seed: int = 1) -> Path:
    """A file that is never held in memory: no two of its blocks are the same."""
    block = bytearray(noise(MIB, seed))
    with path.open("wb") as file:
        for number in range(-(-size_bytes // MIB)):
            block[:8] = number.to_bytes(8, "big")
            file.write(block[: min(MIB, size_bytes - number * MIB)])
    return path


def same_file(one: Path, other: Path) -> bool:
    """Both have the same bytes. `filecmp` keeps verdicts; this looks."""
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            left = first.read(MIB)
            if left != second.read(MIB):
                return False
            if not left:
                return True


def plant(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Write a small file for each name (a relative path), and return what they hold.

    They are an hour old: S3 tells times in whole seconds, and a client sends a file again that is newer than its object.
    """
    earlier = time.time() - 3600
    held = {name: noise(100 + number, number) for number, name in enumerate(names)}
    for name, data in held.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (earlier, earlier))
    return held


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder: its relative path with slashes, and the digest of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def standard_library(target: Path, leave_out: Iterable[str] = ()) -> Path:
    """A copy of the running interpreter's standard library, without what was installed or compiled into it."""
    skipped = shutil.ignore_patterns(
        "__pycache__", "site-packages", "dist-packages", "lib-dynload", "config-*", *leave_out
    )
    shutil.copytree(sysconfig.get_path("stdlib"), target, ignore=skipped, ignore_dangling_symlinks=True)
    return target


def listed(s3: Any, bucket: str, prefix: str = "") -> dict[str, int]:
    """Every key of a bucket with its size, in the order of the listing."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ())}


def stored(s3: Any, bucket: str) -> dict[str, bytes]:
    """Every key of a bucket with its bytes."""
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in listed(s3, bucket)}


def stored_digests(s3: Any, bucket: str) -> dict[str, str]:
    """Every key of a bucket with the digest of its bytes."""
    return {key: hashlib.sha256(data).hexdigest() for key, data in stored(s3, bucket).items()}


def put_all(s3: Any, bucket: str, objects: Mapping[str, bytes]) -> None:
    for key, data in objects.items():
        s3.put_object(Bucket=bucket, Key=key, Body=data)
