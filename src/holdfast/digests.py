"""Checksums and digests: the one door to `awscrt`.

Answers for what S3 calls checksum algorithms, how they are written (base64 of the big-endian value) and how
full-object CRCs of parts combine. `crc32c` is also the block checksum of every stored byte.
Source: Amazon S3 User Guide, "Checking object integrity"; RFC 3720 (CRC-32C); NVM Express (CRC-64).
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

from awscrt import checksums as _crt

from holdfast.limits import BLOCK_BYTES
from holdfast.model import Algorithm

_crc32: Callable[[bytes | memoryview, int], int] = _crt.crc32
_crc32c: Callable[[bytes | memoryview, int], int] = _crt.crc32c
_crc64nvme: Callable[[bytes | memoryview, int], int] = _crt.crc64nvme


def crc32c(data: bytes | memoryview, previous: int = 0) -> int:
    """CRC-32C of `data`, going on from `previous`."""
    return _crc32c(data, previous)


class Digest(Protocol):
    """A running checksum."""

    def update(self, data: bytes, /) -> None: ...

    def text(self) -> str:
        """Base64, as S3 writes it."""
        ...


class _Crc:
    __slots__ = ("_fold", "_size", "_value")

    def __init__(self, fold: Callable[[bytes | memoryview, int], int], size_bytes: int) -> None:
        self._fold = fold
        self._size = size_bytes
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._fold(data, self._value)

    def text(self) -> str:
        return base64.b64encode(self._value.to_bytes(self._size, "big")).decode()


class _Sha:
    __slots__ = ("_hash",)

    def __init__(self, name: str) -> None:
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, data: bytes, /) -> None:
        self._hash.update(data)

    def text(self) -> str:
        return base64.b64encode(self._hash.digest()).decode()


SIZES = {
    Algorithm.CRC32: 4,
    Algorithm.CRC32C: 4,
    Algorithm.CRC64NVME: 8,
    Algorithm.SHA1: 20,
    Algorithm.SHA256: 32,
}
"""Bytes of each algorithm's value."""


def digest(algorithm: Algorithm) -> Digest:
    """A new running checksum."""
    match algorithm:
        case Algorithm.CRC32:
            return _Crc(_crc32, 4)
        case Algorithm.CRC32C:
            return _Crc(_crc32c, 4)
        case Algorithm.CRC64NVME:
            return _Crc(_crc64nvme, 8)
        case Algorithm.SHA1 | Algorithm.SHA256:
            return _Sha(algorithm.value)


def checksum_text(algorithm: Algorithm, data: bytes) -> str:
    """The checksum of a whole body, as S3 writes it."""
    running = digest(algorithm)
    running.update(data)
    return running.text()


def combine(algorithm: Algorithm, parts: Iterable[tuple[str, int]]) -> str:
    """The full-object CRC of a body from its parts' CRCs: pairs of (base64, size in bytes), in order.

    Raises ValueError for SHA algorithms, which cannot be combined.
    """
    match algorithm:
        case Algorithm.CRC32:
            fold = _crt.combine_crc32
        case Algorithm.CRC32C:
            fold = _crt.combine_crc32c
        case Algorithm.CRC64NVME:
            fold = _crt.combine_crc64nvme
        case Algorithm.SHA1 | Algorithm.SHA256:
            raise ValueError(f"{algorithm.value} values of parts do not combine to that of the whole")
    total = 0
    for text, size_bytes in parts:
        total = fold(total, int.from_bytes(base64.b64decode(text), "big"), size_bytes)
    return base64.b64encode(total.to_bytes(SIZES[algorithm], "big")).decode()


def composite(algorithm: Algorithm, parts: Iterable[str]) -> str:
    """The composite checksum of a multipart object: the checksum of the parts' values, with `-N`."""
    running = digest(algorithm)
    count = 0
    for text in parts:
        running.update(base64.b64decode(text))
        count += 1
    return f"{running.text()}-{count}"


def block_crcs(data: bytes | memoryview) -> bytes:
    """One little-endian CRC-32C per BLOCK_BYTES of `data`, as `Part.blocks` keeps them."""
    view = memoryview(data)
    return b"".join(
        _crc32c(view[at : at + BLOCK_BYTES], 0).to_bytes(4, "little") for at in range(0, len(view), BLOCK_BYTES)
    )
