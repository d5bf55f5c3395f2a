"""Sealed frames: any span comes back as it was, and whatever was changed, cut, moved or swapped is noticed."""

import io
import random
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.limits import FRAME_BYTES
from holdfast.model import Seal, SealKind, Span
from holdfast.sealing import frames
from holdfast.sealing.frames import (
    OVERHEAD_BYTES,
    Damaged,
    Opener,
    Sealer,
    Stretch,
    header_of,
    open_copy,
    seal_whole,
    sealed_so_far,
    stored_size,
)

SEAL = Seal(SealKind.KMS, b"w" * 68, key_id="key-1", context='{"a":"b"}')
KEY = bytes(range(32))
SIZES = (0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES, 3 * FRAME_BYTES + 17)


def salt(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Sealed:
    """An object of parts with these sizes, and its sealed copy."""

    def __init__(self, sizes: Sequence[int], seed: int = 1) -> None:
        dice = random.Random(seed)
        self.parts = [dice.randbytes(size) for size in sizes]
        self.plain = b"".join(self.parts)
        self.stretches: list[Stretch] = []
        self.pieces: list[bytes] = []
        plain_start = start = 0
        for number, part in enumerate(self.parts, 1):
            header = header_of(SEAL, number, salt(seed * 100 + number))
            self.pieces.append(seal_whole(KEY, header, part))
            self.stretches.append(Stretch(header, len(part), plain_start, start))
            plain_start += len(part)
            start += len(self.pieces[-1])
        self.copy = b"".join(self.pieces)

    def open(self, span: Span, copy: bytes | None = None, step: int = 1 << 20) -> bytes:
        opener = Opener(KEY, self.stretches, span)
        kept = (self.copy if copy is None else copy)[opener.stored.start : opener.stored.end]
        plain = b"".join(opener.add(kept[at : at + step]) for at in range(0, len(kept), step))
        opener.finish()
        return plain


def whole(copy: bytes) -> bytes:
    return b"".join(open_copy(io.BytesIO(copy).read, lambda seal: KEY))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1000, FRAME_BYTES, 1 << 20])
def test_a_body_is_sealed_as_it_comes_in_and_its_size_is_known_before(size: int, piece: int) -> None:
    data = random.Random(size).randbytes(size)
    header = header_of(SEAL, 1, salt(1))
    sealer = Sealer(KEY, header)
    stored = b""
    for at in range(0, size, piece):
        stored += sealer.add([data[at : at + piece]])
        assert len(stored) == sealed_so_far(min(at + piece, size), len(header))
    stored += sealer.finish()
    assert len(stored) == stored_size(size, len(header))
    assert stored == seal_whole(KEY, header, data)
    assert whole(stored) == data


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([1, 17, *SIZES[2:]]), min_size=1, max_size=4),
    st.data(),
    st.integers(min_value=1, max_value=200_000),
)
def test_any_span_is_opened_from_its_frames_alone(sizes: list[int], data: st.DataObject, step: int) -> None:
    sealed = Sealed(sizes)
    start = data.draw(st.integers(0, len(sealed.plain) - 1))
    end = data.draw(st.integers(start + 1, len(sealed.plain)))
    assert sealed.open(Span(start, end), step=step) == sealed.plain[start:end]
    stored = Opener(KEY, sealed.stretches, Span(start, end)).stored
    headers = sum(len(stretch.header) for stretch in sealed.stretches)
    frames_touched = (end - 1) // FRAME_BYTES - start // FRAME_BYTES + 1 + 2 * len(sizes)
    assert stored.size <= frames_touched * (FRAME_BYTES + OVERHEAD_BYTES) + headers


def test_every_flipped_bit_is_noticed_also_without_the_index() -> None:
    sealed = Sealed([100, 50])
    for bit in range(8 * len(sealed.copy)):
        copy = bytearray(sealed.copy)
        copy[bit // 8] ^= 1 << bit % 8
        # What names the key is no part of the key: whoever unwraps it notices that (see `Vault`), not the frames.
        with pytest.raises(Damaged):
            whole(bytes(copy))
            raise AssertionError(f"bit {bit} was flipped")


def test_a_copy_that_is_cut_anywhere_is_noticed_unless_a_whole_part_is_missing() -> None:
    sealed = Sealed([FRAME_BYTES + 9, 30])
    border = len(sealed.pieces[0])
    for size in [*range(300), *range(border - 60, border), *range(border + 1, len(sealed.copy))]:
        with pytest.raises(Damaged):
            whole(sealed.copy[:size])
            raise AssertionError(f"it was cut to {size}")
    # The index knows how many parts there are, and does not take one for the whole.
    assert whole(sealed.copy[:border]) == sealed.parts[0]
    with pytest.raises(Damaged, match="wrong place"):
        sealed.open(Span(0, len(sealed.plain)), sealed.copy[:border])


def _frame(stretch: Stretch, number: int) -> slice:
    return slice(stretch.frame_at(number), stretch.frame_at(number + 1))


def test_frames_that_are_swapped_doubled_or_left_out_are_noticed() -> None:
    sealed = Sealed([3 * FRAME_BYTES])
    one = sealed.stretches[0]
    first, second, third = (sealed.copy[_frame(one, number)] for number in range(3))
    head = sealed.copy[: len(one.header)]
    for body in (second + first + third, first + first + third, first + third, third, first + second, second + third):
        with pytest.raises(Damaged):
            whole(head + body)
    everything = Span(0, len(sealed.plain))
    with pytest.raises(Damaged):
        sealed.open(everything, head + second + first + third)
    with pytest.raises(Damaged):
        sealed.open(Span(FRAME_BYTES, FRAME_BYTES + 1), head + second + first + third)


def test_parts_and_objects_that_are_swapped_are_noticed() -> None:
    sealed, other = Sealed([FRAME_BYTES + 5, FRAME_BYTES + 5]), Sealed([FRAME_BYTES + 5, FRAME_BYTES + 5], seed=2)
    everything = Span(0, len(sealed.plain))
    one, two = sealed.pieces
    for copy in (two + one, one + one, two + two, other.pieces[0] + two, one + other.pieces[1]):
        with pytest.raises(Damaged):
            sealed.open(everything, copy)
    for copy in (two + one, one + one):
        with pytest.raises(Damaged, match="does not belong"):
            whole(copy)
    spliced = one[: len(sealed.stretches[0].header)] + other.pieces[0][len(other.stretches[0].header) :] + two
    with pytest.raises(Damaged):
        sealed.open(everything, spliced)


def test_what_is_no_sealed_copy_is_not_opened() -> None:
    for copy in (b"", b"a plain object of some length " * 9, b"HFSEAL1\n"):
        with pytest.raises(Damaged):
            whole(copy)
    sealed = Sealed([5])
    with pytest.raises(Damaged):
        whole(sealed.copy + b"more")


class Watched:
    """Counts which nonces a key has sealed with."""

    def __init__(self, key: bytes, seen: set[tuple[bytes, bytes]]) -> None:
        self._key, self._seen, self._inner = key, seen, AESGCM(key)

    def encrypt(self, nonce: bytes, data: bytes, additional: bytes) -> bytes:
        assert (self._key, nonce) not in self._seen
        self._seen.add((self._key, nonce))
        return self._inner.encrypt(nonce, data, additional)


def test_no_key_meets_a_nonce_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of one upload under one data key, one of them sent twice."""
    seen: set[tuple[bytes, bytes]] = set()
    monkeypatch.setattr(frames, "AESGCM", lambda key: Watched(key, seen))
    for number, fresh in ((1, 1), (2, 2), (2, 3)):
        seal_whole(KEY, header_of(SEAL, number, salt(fresh)), bytes(3 * FRAME_BYTES + 1))
    assert len(seen) == 3 * 4
    assert len({key for key, _ in seen}) == 3


def test_the_format_is_what_it_was() -> None:
    """Copies that lie in grids are opened by every later release: this one was made when the format was new."""
    header = b"HFSEAL1\n" + bytes.fromhex(
        "0007" + "0000000000000000000000000000000000000000000000000000000000000009" + "0059" + "020044"
    )
    header += b"w" * 68 + b"\x00\x05key-1" + b"\x00\x09" + b'{"a":"b"}'
    frame = bytes.fromhex(
        "8000002e820b7585c6f24f6152bc11fc43925acd6ed4929c06d18a97842931dee127655ae55529302441aaee4cd8"
    )
    assert header == header_of(SEAL, 7, salt(9))
    assert whole(header + frame) == b"The format is what it was."
