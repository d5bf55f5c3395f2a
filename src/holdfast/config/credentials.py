"""The root key pair: from the environment, or kept in the data directory, or made now.

Answers for one pair per data directory, however many processes start at once, and for nobody else reading it.
Invariant: a pair that was returned is durable, and every later start returns it.
"""

import base64
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from holdfast.clock import Clock
from holdfast.config.notation import Secret, Unreadable, read_secret
from holdfast.errors import ConfigError
from holdfast.folders import keep_private
from holdfast.model import Value

_SECRET_LENGTH_MIN: Final = 8
_ACCESS_KEY: Final = re.compile(r"[A-Za-z0-9._-]{3,128}", re.ASCII)
"""It stands in signatures between slashes, so it can have none."""


class Credentials(Value, frozen=True):
    """A key pair, and where it is from: a path, or the environment."""

    access_key: str
    secret_key: Secret
    origin: str
    generated: bool = False
    """True when it was made by this call."""


def root_credentials(path: Path, environ: Mapping[str, str], clock: Clock) -> Credentials:
    """The root key pair of the node whose file is `path`. Raises ConfigError."""
    return _from_environment(environ) or _kept(path) or _generate(path, clock)


def _from_environment(environ: Mapping[str, str]) -> Credentials | None:
    names = ("HOLDFAST_ACCESS_KEY", "HOLDFAST_SECRET_KEY")
    given = [name for name in names if environ.get(name)]
    if not given:
        return None
    if len(given) == 1:
        missing = next(name for name in names if name not in given)
        raise ConfigError(missing, f"is not set, and {given[0]} is.", "Set both, or none to use the kept pair.")
    values: list[Secret] = []
    for name in names:
        try:
            values.append(read_secret(environ[name], environ))
        except Unreadable as trouble:
            raise ConfigError(name, trouble.what, trouble.remedy) from trouble
    return _checked(names, values[0].reveal(), values[1], "environment")


def check_pair(access_key: str, secret_text: str, environ: Mapping[str, str]) -> str:
    """The secret of a pair that an operator gives, itself or as `env:NAME` or `file:PATH`. Raises ConfigError."""
    try:
        secret = read_secret(secret_text, environ)
    except Unreadable as trouble:
        raise ConfigError("--secret-key", trouble.what, trouble.remedy) from trouble
    return _checked(("--access-key", "--secret-key"), access_key, secret, "given").secret_key.reveal()


def _checked(names: tuple[str, str], access_key: str, secret_key: Secret, origin: str) -> Credentials:
    if not _ACCESS_KEY.fullmatch(access_key):
        raise ConfigError(names[0], "must be 3 to 128 of letters, digits, dot, dash and underscore.")
    if len(secret_key.reveal()) < _SECRET_LENGTH_MIN:
        raise ConfigError(names[1], f"must have at least {_SECRET_LENGTH_MIN} characters.")
    return Credentials(access_key, secret_key, origin)


def _kept(path: Path) -> Credentials | None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as trouble:
        raise ConfigError(
            str(path), f"cannot be read: {trouble.strerror}.", "Check its owner and permissions."
        ) from trouble
    except ValueError as trouble:
        raise _damaged(path) from trouble
    access_key, secret_key = content.get("access_key"), content.get("secret_key")
    if not isinstance(access_key, str) or not isinstance(secret_key, str):
        raise _damaged(path)
    return _checked((f"{path} access_key", f"{path} secret_key"), access_key, Secret(secret_key), str(path))


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        str(path),
        "holds no key pair.",
        "Restore it from a backup; if clients need no old keys, remove it and a new pair is made.",
    )


def _generate(path: Path, clock: Clock) -> Credentials:
    """Make a pair and keep it; when another process was faster, return that one's."""
    access_key = "HF" + base64.b32encode(clock.token(15)).decode()[:18]
    secret_key = base64.b32encode(clock.token(25)).decode()
    text = (
        "# The root key pair of this Holdfast node. Whoever has it can read, write and delete everything.\n"
        f'access_key = "{access_key}"\nsecret_key = "{secret_key}"\n'
    )
    try:
        if not keep_private(path, text.encode(), clock.token(8).hex()):
            kept = _kept(path)
            assert kept is not None
            return kept
    except OSError as trouble:
        what = f"cannot be written: {trouble.strerror}."
        raise ConfigError(str(path), what, "Check the data directory, or set HOLDFAST_ACCESS_KEY.") from trouble
    return Credentials(access_key, Secret(secret_key), str(path), generated=True)
