"""Checksums against published values and against themselves."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.digests import SIZES, block_crcs, checksum_text, combine, composite, crc32c, digest
from holdfast.limits import BLOCK_BYTES
from holdfast.model import Algorithm

CHECK = b"123456789"
"""The input for which the catalogue of parametrised CRC algorithms gives check values."""

KNOWN = {
    Algorithm.CRC32: (0xCBF43926).to_bytes(4, "big"),
    Algorithm.CRC32C: (0xE3069283).to_bytes(4, "big"),
    Algorithm.CRC64NVME: (0xAE8B14860A799888).to_bytes(8, "big"),
    Algorithm.SHA1: hashlib.sha1(CHECK).digest(),
    Algorithm.SHA256: hashlib.sha256(CHECK).digest(),
}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_each_algorithm_gives_its_published_check_value(algorithm: Algorithm) -> None:
    value = base64.b64decode(checksum_text(algorithm, CHECK))
    assert value == KNOWN[algorithm]
    assert len(value) == SIZES[algorithm]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_running_digest_does_not_depend_on_the_pieces(data: bytes, cut: int) -> None:
    for algorithm in Algorithm:
        running = digest(algorithm)
        running.update(data[:cut])
        running.update(data[cut:])
        assert running.text() == checksum_text(algorithm, data)


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_crcs_of_parts_combine_to_that_of_the_whole(parts: list[bytes]) -> None:
    for algorithm in (Algorithm.CRC32, Algorithm.CRC32C, Algorithm.CRC64NVME):
        told = [(checksum_text(algorithm, part), len(part)) for part in parts]
        assert combine(algorithm, told) == checksum_text(algorithm, b"".join(parts))


def test_sha_values_do_not_combine() -> None:
    with pytest.raises(ValueError, match="SHA256"):
        combine(Algorithm.SHA256, [("", 0)])


def test_a_composite_checksum_is_of_the_values_and_names_their_count() -> None:
    texts = [checksum_text(Algorithm.SHA256, part) for part in (b"a", b"b")]
    whole = hashlib.sha256(hashlib.sha256(b"a").digest() + hashlib.sha256(b"b").digest()).digest()
    assert composite(Algorithm.SHA256, texts) == base64.b64encode(whole).decode() + "-2"


def test_block_crcs_are_one_per_block() -> None:
    data = bytes(BLOCK_BYTES + 3)
    crcs = block_crcs(data)
    assert crcs[:4] == crc32c(data[:BLOCK_BYTES]).to_bytes(4, "little")
    assert crcs[4:] == crc32c(data[BLOCK_BYTES:]).to_bytes(4, "little")
