"""Settings as an operator may write them: any bytes as the file, any text as a value."""

import os
import re
import tempfile
from functools import cache
from pathlib import Path

from holdfast.config import notation as kinds
from holdfast.config.check import meaning, warnings
from holdfast.config.load import read
from holdfast.errors import ConfigError

MASKED = "S3CR3T-"
"""What begins with it in an input is a secret there, and may not be shown."""


@cache
def _file() -> Path:
    return Path(tempfile.mkdtemp(prefix="holdfast-fuzz-")) / "holdfast.toml"


def configuration(data: bytes) -> None:
    """Any file is settings that can be shown, or problems with words; a secret in it is in neither."""
    path = _file()
    path.write_bytes(data)
    reading = read(path, {})
    for problem in reading.problems:
        assert isinstance(problem, ConfigError) and problem.where and problem.what
    told = repr(reading)
    if not reading.problems:
        told += "".join(warnings(reading.settings))
        told += "".join(meaning(reading.settings, name) for name in reading.settings.policy)
    if re.search(
        rb'^\s*(?:secret_key|session_token|account_key|sas_token)\s*=\s*"S3CR3T-[a-z]+"\s*$', data, re.MULTILINE
    ):
        assert data.count(MASKED.encode()) > 1 or MASKED not in told


_KINDS = {
    "size": kinds.SIZE,
    "duration": kinds.DURATION,
    "some time": kinds.SOME_TIME,
    "address": kinds.ADDRESS,
    "optional address": kinds.OPTIONAL_ADDRESS,
    "name": kinds.NAME,
    "domain": kinds.DOMAIN,
    "url": kinds.URL,
    "text": kinds.TEXT,
    "path": kinds.PATH,
    "flag": kinds.FLAG,
    "count": kinds.count(1, 1000),
    "choice": kinds.choice("text", "json"),
    "secret": kinds.SECRET,
}


def notation(data: bytes) -> None:
    """Every kind of value reads any text, and what it shows is read as the same value (times to the millisecond)."""
    text = data.decode("utf-8", "replace")
    for name, kind in _KINDS.items():
        try:
            value = kind.read(kind.from_text(text))
        except kinds.Unreadable as trouble:
            assert trouble.what
            continue
        shown = kind.show(value)
        if name in ("duration", "some time"):
            assert abs(kind.read(shown) - value) <= 0.0005 + value * 1e-12
        elif name == "secret":
            assert shown in ("***", text) and (shown == "***" or not text or text.startswith(("env:", "file:")))
        elif name == "path":
            assert kind.read(shown) == value or shown.startswith("~") or os.fspath(value) == shown
        else:
            assert kind.read(kind.from_text(shown)) == value, name
