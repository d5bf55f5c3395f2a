"""The master key, under which data keys and kept secrets are wrapped.

Answers for: whoever has the index and not this key learns no secret. A wrapped secret names the key that opens it, so keys can be
rotated: the first of a ring wraps, all of them unwrap. Never writes what it unwraps anywhere. Invariant: what `wrap` was given with a
context is unwrapped with that context alone.

AES-256-GCM, NIST SP 800-38D, with a random nonce of 96 bits: one key wraps fewer than 2^32 secrets.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.clock import Clock

KEY_BYTES: Final = 32
_NAME_BYTES: Final = 8
_NONCE_BYTES: Final = 12


class CannotUnwrap(Exception):
    """The secret was wrapped under another key or for another purpose, or it is damaged."""


class MasterKey:
    """A ring of keys of KEY_BYTES each; the first one wraps."""

    def __init__(self, keys: Sequence[bytes], clock: Clock) -> None:
        assert keys and all(len(key) == KEY_BYTES for key in keys)
        self._keys = {name_of(key): AESGCM(key) for key in keys}
        self._first = name_of(keys[0])
        self._clock = clock

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """`secret` sealed, to be opened with the same `context` only: what it is and whose."""
        nonce = self._clock.token(_NONCE_BYTES)
        return self._first + nonce + self._keys[self._first].encrypt(nonce, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What was wrapped. Raises CannotUnwrap."""
        name, nonce = wrapped[:_NAME_BYTES], wrapped[_NAME_BYTES : _NAME_BYTES + _NONCE_BYTES]
        key = self._keys.get(name)
        if key is None or len(nonce) < _NONCE_BYTES:
            raise CannotUnwrap(f"it was sealed under the master key {name.hex()}, which is not at hand")
        try:
            return key.decrypt(nonce, wrapped[_NAME_BYTES + _NONCE_BYTES :], context)
        except InvalidTag as trouble:
            raise CannotUnwrap("it is damaged, or was sealed for another purpose") from trouble


def name_of(key: bytes) -> bytes:
    """By which a wrapped secret names its key: says nothing about it."""
    return hashlib.sha256(b"holdfast master key" + key).digest()[:_NAME_BYTES]
