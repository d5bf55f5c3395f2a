"""The spool: received, digested, durable, bounded."""

import asyncio
import hashlib
import os
import zlib
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.digests import block_crcs, checksum_text, crc32c
from holdfast.errors import S3Error
from holdfast.limits import BLOCK_BYTES
from holdfast.model import Algorithm
from holdfast.spool.spool import Spool


def _spool(tmp_path: Path, limit_bytes: int = 1 << 40) -> Spool:
    spool = Spool(tmp_path / "spool", limit_bytes=limit_bytes, clock=SystemClock())
    spool.open()
    return spool


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("piece_bytes", [1000, 64 * 1024, BLOCK_BYTES, 3 * BLOCK_BYTES])
def test_a_body_is_stored_and_digested_whatever_its_pieces(tmp_path: Path, piece_bytes: int) -> None:
    data = os.urandom(2 * BLOCK_BYTES + 12345)

    async def scene() -> None:
        spool = _spool(tmp_path)
        incoming = spool.begin(len(data), used_bytes=0)
        incoming.expect([Algorithm.CRC32, Algorithm.SHA1], payload_sha256=True)
        for piece in _pieces(data, piece_bytes):
            await incoming.add([piece], len(piece))
        await incoming.finish()
        assert incoming.md5 == hashlib.md5(data).digest()
        assert incoming.sha256 == hashlib.sha256(data).hexdigest()
        assert incoming.checksum(Algorithm.CRC32) == checksum_text(Algorithm.CRC32, data)
        assert zlib.crc32(data) != 0
        assert incoming.blocks == block_crcs(data)
        assert incoming.size == len(data)
        assert spool.path(incoming.identifier).read_bytes() == data
        reader = await spool.reader([incoming.identifier])
        assert await reader.begin_block(incoming.identifier, 7, 100) == (data[7:107], crc32c(data[7:107]))
        await reader.close()
        spool.close()

    asyncio.run(scene())


def test_an_empty_body_leaves_an_empty_file(tmp_path: Path) -> None:
    async def scene() -> None:
        spool = _spool(tmp_path)
        incoming = spool.begin(None, used_bytes=0)
        incoming.expect([], payload_sha256=False)
        await incoming.finish()
        assert spool.path(incoming.identifier).read_bytes() == b""
        assert incoming.blocks == b""

    asyncio.run(scene())


def test_an_abandoned_body_leaves_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        spool = _spool(tmp_path)
        incoming = spool.begin(10, used_bytes=0)
        await incoming.add([b"half"], 4)
        await incoming.abandon()
        assert not spool.path(incoming.identifier).exists()
        assert await spool.idle_files(age_s=-60) == ()

    asyncio.run(scene())


def test_a_full_spool_says_slow_down_with_retry_after_and_counts_what_arrives(tmp_path: Path) -> None:
    async def scene() -> None:
        spool = _spool(tmp_path, limit_bytes=1000)
        with pytest.raises(S3Error) as refusal:
            spool.begin(600, used_bytes=500)
        assert (refusal.value.code, refusal.value.status) == ("SlowDown", 503)
        assert int(refusal.value.headers["Retry-After"]) > 0
        arriving = spool.begin(600, used_bytes=0)
        await arriving.add([b"x" * 600], 600)
        with pytest.raises(S3Error):
            spool.begin(600, used_bytes=0)
        await arriving.abandon()
        await spool.begin(600, used_bytes=0).abandon()

    asyncio.run(scene())


def test_a_body_can_be_read_to_its_end_after_its_file_was_released(tmp_path: Path) -> None:
    async def scene() -> None:
        spool = _spool(tmp_path)
        incoming = spool.begin(3, used_bytes=0)
        await incoming.add([b"abc"], 3)
        await incoming.finish()
        reader = await spool.reader([incoming.identifier])
        await spool.release([incoming.identifier])
        assert not spool.path(incoming.identifier).exists()
        assert await reader.begin_block(incoming.identifier, 0, 3) == (b"abc", crc32c(b"abc"))
        await reader.close()
        with pytest.raises(FileNotFoundError):
            await spool.reader([incoming.identifier])
        await spool.release([incoming.identifier, "00" * 16])

    asyncio.run(scene())


def test_only_files_that_nobody_writes_to_are_called_idle(tmp_path: Path) -> None:
    async def scene() -> None:
        spool = _spool(tmp_path)
        old, new = spool.begin(1, used_bytes=0), spool.begin(1, used_bytes=0)
        for incoming in (old, new):
            await incoming.add([b"x"], 1)
            await incoming.finish()
        os.utime(spool.path(old.identifier), (1, 1))
        assert await spool.idle_files(age_s=60) == (old.identifier,)

    asyncio.run(scene())
