"""Where a node's master key is kept: in a setting, or in a file of its data directory that is made once.

Answers for one ring per data directory, however many processes start at once, and for nobody else reading it. Never prints a key.
Invariant: a key that was returned is durable, and every later start returns it.

A ring is written as lines: each a key of KEY_BYTES in base64; the first one seals, all of them open. To rotate, put a new line on top.
Lines that begin with `#` say nothing.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from holdfast.clock import Clock
from holdfast.config.notation import Secret, Unreadable, read_secret
from holdfast.errors import ConfigError
from holdfast.folders import keep_private
from holdfast.sealing.master import KEY_BYTES, MasterKey

_NONE: Final = Secret("")
_SETTING: Final = "sealing.master_key"


def open_ring(
    path: Path, clock: Clock, *, given: Secret = _NONE, environ: Mapping[str, str] | None = None
) -> MasterKey:
    """The master key: what the setting `given` says (itself, `env:NAME` or `file:PATH`), else what the file `path` keeps, which is
    made now when it is missing. Raises ConfigError."""
    if given != _NONE:
        try:
            text = read_secret(given.reveal(), environ or {}).reveal()
        except Unreadable as trouble:
            raise ConfigError(_SETTING, trouble.what, trouble.remedy) from trouble
        return MasterKey(_keys(text, _SETTING), clock)
    kept = _kept(path)
    if kept is None:
        _make(path, clock)
        kept = _kept(path)
        assert kept is not None
    return MasterKey(_keys(kept, str(path)), clock)


def _keys(text: str, where: str) -> list[bytes]:
    lines = [line.strip() for line in text.splitlines()]
    keys: list[bytes] = []
    for line in lines:
        if line and not line.startswith("#"):
            try:
                keys.append(base64.b64decode(line, validate=True))
            except ValueError:
                keys.append(b"")
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise ConfigError(
            where,
            f"is no master key: each line must be {KEY_BYTES} random bytes in base64.",
            "Restore it from a backup. Without it, nothing that was sealed can be opened.",
        )
    return keys


def _kept(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as trouble:
        reason = trouble.strerror if isinstance(trouble, OSError) else "it is not text"
        raise ConfigError(str(path), f"cannot be read: {reason}.", "Check its owner and permissions.") from trouble


def _make(path: Path, clock: Clock) -> None:
    """Make a key and keep it, unless another process was faster."""
    text = (
        "# The master key of this Holdfast node. Keep a copy elsewhere: without it nothing that is sealed can be opened.\n"
        f"{base64.b64encode(clock.token(KEY_BYTES)).decode()}\n"
    )
    try:
        keep_private(path, text.encode(), clock.token(8).hex())
    except OSError as trouble:
        what = f"cannot be written: {trouble.strerror}."
        raise ConfigError(str(path), what, f"Check the data directory, or set {_SETTING}.") from trouble
