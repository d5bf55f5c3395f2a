"""Key management: named keys that wrap data keys and never leave where they are.

Answers for the interface that a client of any key management service can fill, and for the local one: keys of a file, and the
node's master key under the name DEFAULT_KEY. Invariant: what was wrapped with a context is unwrapped with that context alone.
Source: AWS KMS API Reference, GenerateDataKey, Decrypt; AWS KMS Developer Guide, "Encryption context".
"""

import base64
from collections.abc import Mapping
from typing import Final, Protocol

from holdfast.clock import Clock
from holdfast.config.notation import Secret, Unreadable, read_secret
from holdfast.errors import ConfigError
from holdfast.model import Value, to_json
from holdfast.sealing.master import KEY_BYTES, MasterKey

DEFAULT_KEY: Final = "aws/s3"
"""The key of requests that name none: where AWS has one of its own, this is the node's master key."""
_SETTING: Final = "sealing.kms_keys"


class UnknownKey(Exception):
    """No key has this name."""


class KmsSilent(Exception):
    """The service could not be asked. Not an answer: it says nothing about the key."""


class DataKey(Value, frozen=True):
    """A fresh key of 32 bytes, and itself wrapped."""

    plain: bytes
    wrapped: bytes

    def __repr__(self) -> str:
        return "DataKey(***)"


class Kms(Protocol):
    """A key management service. `context` is bound to what is wrapped, and is no secret."""

    async def generate(self, key_id: str, context: Mapping[str, str]) -> DataKey:
        """A new data key under a named key. Raises UnknownKey, KmsSilent."""
        ...

    async def decrypt(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key. Raises UnknownKey, KmsSilent, and CannotUnwrap of `master`."""
        ...


class LocalKms:
    """Named keys of this node. Each is a ring: of lines with one name the first wraps, all unwrap."""

    def __init__(self, master: MasterKey, keys: Mapping[str, MasterKey], clock: Clock) -> None:
        self._keys = {DEFAULT_KEY: master, **keys}
        self._clock = clock

    async def generate(self, key_id: str, context: Mapping[str, str]) -> DataKey:
        plain = self._clock.token(KEY_BYTES)
        return DataKey(plain, self._key(key_id).wrap(plain, _bound(key_id, context)))

    async def decrypt(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self._key(key_id).unwrap(wrapped, _bound(key_id, context))

    def _key(self, key_id: str) -> MasterKey:
        key = self._keys.get(key_id)
        if key is None:
            raise UnknownKey(key_id)
        return key


def _bound(key_id: str, context: Mapping[str, str]) -> bytes:
    return b"kms data key\0" + key_id.encode() + b"\0" + to_json(dict(sorted(context.items())))


def open_kms(master: MasterKey, given: Secret, environ: Mapping[str, str], clock: Clock) -> LocalKms:
    """The local service with the keys that the setting names: lines `NAME:KEY`, each key KEY_BYTES in base64. Raises ConfigError."""
    rings: dict[str, list[bytes]] = {}
    if given.reveal():
        try:
            text = read_secret(given.reveal(), environ).reveal()
        except Unreadable as trouble:
            raise ConfigError(_SETTING, trouble.what, trouble.remedy) from trouble
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                name, key = _entry(line.strip())
                rings.setdefault(name, []).append(key)
    return LocalKms(master, {name: MasterKey(keys, clock) for name, keys in rings.items()}, clock)


def _entry(line: str) -> tuple[str, bytes]:
    name, colon, text = line.rpartition(":")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if not colon or not name.strip() or len(key) != KEY_BYTES:
        raise ConfigError(
            _SETTING,
            "has a line that is no key.",
            f"Each line is NAME:KEY, the key {KEY_BYTES} random bytes in base64.",
        )
    return name.strip(), key
