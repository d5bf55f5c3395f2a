"""The master key opens what it sealed, for the purpose it was sealed for, and nothing else."""

import os

import pytest

from holdfast.clock import SystemClock
from holdfast.sealing.master import KEY_BYTES, CannotUnwrap, MasterKey

OLD, NEW = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)


def test_a_wrapped_secret_opens_with_its_key_and_its_context_only() -> None:
    ring = MasterKey([OLD], SystemClock())
    wrapped = ring.wrap(b"secret", b"access key of alice")
    assert b"secret" not in wrapped
    assert ring.unwrap(wrapped, b"access key of alice") == b"secret"
    assert ring.wrap(b"secret", b"access key of alice") != wrapped
    with pytest.raises(CannotUnwrap, match="another purpose"):
        ring.unwrap(wrapped, b"access key of bob")
    with pytest.raises(CannotUnwrap, match="not at hand"):
        MasterKey([NEW], SystemClock()).unwrap(wrapped, b"access key of alice")


def test_every_flipped_bit_of_a_wrapped_secret_is_noticed() -> None:
    ring = MasterKey([OLD], SystemClock())
    wrapped = ring.wrap(b"secret", b"")
    for bit in range(8 * len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CannotUnwrap):
            ring.unwrap(bytes(damaged), b"")
    for size in range(len(wrapped)):
        with pytest.raises(CannotUnwrap):
            ring.unwrap(wrapped[:size], b"")


def test_after_a_rotation_the_new_key_wraps_and_the_old_one_still_opens() -> None:
    wrapped = MasterKey([OLD], SystemClock()).wrap(b"secret", b"x")
    ring = MasterKey([NEW, OLD], SystemClock())
    assert ring.unwrap(wrapped, b"x") == b"secret"
    assert MasterKey([NEW], SystemClock()).unwrap(ring.wrap(b"secret", b"x"), b"x") == b"secret"
