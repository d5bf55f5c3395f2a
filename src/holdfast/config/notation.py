"""How settings are written: sizes, durations, addresses, choices, secrets.

Answers for reading what an operator wrote and for writing a value back the same way. A kind knows nothing of the setting
it is used for. Invariant: `read(show(value)) == value`, secrets excepted: they are shown masked.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from holdfast.limits import GIB, KIB, MIB, TIB
from holdfast.model import Value

_SIZES: Final = {
    "B": 1,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": TIB,
    "PiB": 1024 * TIB,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "PB": 1000**5,
}
_SIZE_MAX: Final = 4096 * 1024 * TIB
_DURATIONS: Final = {"d": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_DURATION_MAX_S: Final = 36_500 * 86_400
"""A century. Timers end somewhere, and this is before that."""
_MOMENT_S: Final = 0.001
"""Durations are shown to the millisecond, so less than one is none."""
_AMOUNT: Final = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)\s*", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)

_USER: Final = re.compile("//.*@", re.DOTALL)
_URL: Final = re.compile(
    r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?", re.ASCII
)


class Unreadable(ValueError):
    """A value is not written as its kind wants. Says what is wrong, and what to write instead."""

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} {remedy}".strip())


class Kind(Value, frozen=True):
    """A way of writing: `read` takes what TOML gave (or the text of a variable, through `from_text`)."""

    name: str
    read: Callable[[Any], Any]
    """Raises Unreadable."""
    show: Callable[[Any], str] = str
    from_text: Callable[[str], Any] = str


class Setting(Value, frozen=True):
    """A row of the table of settings."""

    kind: Kind
    doc: str


class Address(Value, frozen=True):
    """Where to listen. Port 0 takes any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """True when only this machine can connect."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def reachable(self) -> "Address":
        """The address for a client on this machine."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)


class Secret:
    """A value that is never printed: `reveal` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def read_secret(text: str, environ: Mapping[str, str]) -> Secret:
    """A secret given as itself, as `env:NAME` (a variable) or as `file:PATH` (the file's content without the line's end)."""
    if text.startswith("env:"):
        name = text[4:]
        if name not in environ:
            raise Unreadable(f"the environment has no variable {name}.", f"Set {name}, or use file:PATH.")
        return Secret(environ[name])
    if text.startswith("file:"):
        try:
            return Secret(Path(text[5:]).read_text(encoding="utf-8").rstrip("\r\n"))
        except (OSError, ValueError) as trouble:
            reason = trouble.strerror if isinstance(trouble, OSError) else "it is not text"
            raise Unreadable(f"cannot read {text[5:]}: {reason}.", "The file must be readable text.") from trouble
    return Secret(text)


def _read_text(raw: object) -> str:
    if not isinstance(raw, str):
        raise Unreadable(f"must be text, not {_type_name(raw)}.", 'Write it in quotes: "…".')
    if "\0" in raw or "\n" in raw:
        raise Unreadable("must be one line of text.")
    return raw


def _type_name(raw: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(raw), type(raw).__name__)


def _read_path(raw: object) -> Path:
    text = _read_text(raw)
    if not text:
        raise Unreadable("must not be empty.", "Write a path.")
    try:
        return Path(text).expanduser()
    except RuntimeError as trouble:
        raise Unreadable(
            f'"{text}": there is no such user, or no home directory.', "Write the whole path."
        ) from trouble


def _read_flag(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise Unreadable(f"must be true or false, not {_type_name(raw)}.", "Write true or false, without quotes.")
    return raw


def _flag_from_text(text: str) -> object:
    return {"true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)


def _count_from_text(text: str) -> object:
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) else text


def count(least: int, most: int) -> Kind:
    """A whole number within bounds."""

    def read(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise Unreadable(f"must be a whole number, not {_told(raw)}.", f"Choose {least} to {most}, without quotes.")
        if not least <= raw <= most:
            raise Unreadable(f"{raw} is not possible.", f"Choose {least} to {most}.")
        return raw

    return Kind(f"number, {least} to {most}", read, from_text=_count_from_text)


def _told(raw: object) -> str:
    return f'"{raw}"' if isinstance(raw, str) else _type_name(raw)


def choice(*names: str) -> Kind:
    """One of a few words."""

    def read(raw: object) -> str:
        if raw not in names:
            raise Unreadable(f"{_told(raw)} is not one of them.", f"Choose {_listed(names)}.")
        return str(raw)

    return Kind(" or ".join(f'"{name}"' for name in names), read)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"


def _read_size(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)
    remedy = 'Write a number and a unit: "64MiB", "200GiB", "2TB".'
    found = _AMOUNT.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        raise Unreadable(f"{_told(raw)} is not a size.", remedy)
    number, unit = found.groups()
    known = {name.lower(): factor for name, factor in _SIZES.items()} | {"": 1}
    factor = known.get(unit.lower())
    if factor is None:
        hint = f"Write {unit.upper()}iB (1024) or {unit.upper()}B (1000)." if unit.upper() in tuple("KMGTP") else remedy
        raise Unreadable(f'"{raw}" has no unit of size that is known.', hint)
    size_bytes = round(float(number) * factor) if "." in number else int(number) * factor
    if size_bytes > _SIZE_MAX:
        raise Unreadable(f'"{raw}" is more than there can be.', remedy)
    return size_bytes


def show_size(size_bytes: int) -> str:
    """As short as it is exact: `64MiB`, `1500B`."""
    if size_bytes:
        for unit in ("PiB", "TiB", "GiB", "MiB", "KiB"):
            if size_bytes % _SIZES[unit] == 0:
                return f"{size_bytes // _SIZES[unit]}{unit}"
    return f"{size_bytes}B"


def _read_duration(raw: object) -> float:
    remedy = 'Write a number and a unit: "500ms", "30s", "5m", "12h", "30d".'
    found = _AMOUNT.fullmatch(raw) if isinstance(raw, str) else None
    if found is None or found[2] not in _DURATIONS:
        raise Unreadable(f"{_told(raw)} is not a duration.", remedy)
    delay_s = float(found[1]) * _DURATIONS[found[2]]
    if delay_s > _DURATION_MAX_S:
        raise Unreadable(f'"{raw}" is longer than anybody waits.', remedy)
    return delay_s


def _read_positive(raw: object) -> float:
    delay_s = _read_duration(raw)
    if delay_s < _MOMENT_S:
        raise Unreadable("no time at all is not possible.", 'Write a longer duration, such as "3s".')
    return delay_s


def show_duration(delay_s: float) -> str:
    """As short as it is exact to the millisecond: `30s`, `1500ms`, `30d`."""
    total_ms = round(delay_s * 1000)
    for unit, seconds in _DURATIONS.items():
        unit_ms = round(seconds * 1000)
        if total_ms and total_ms % unit_ms == 0:
            return f"{total_ms // unit_ms}{unit}"
    return "0s"


def read_address(raw: object) -> Address:
    """`host:port`, with IPv6 in brackets. Raises Unreadable."""
    text = _read_text(raw)
    remedy = 'Write host:port, as in "127.0.0.1:9000", "0.0.0.0:9000" (all addresses) or "[::1]:9000".'
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        good = ":" in host and re.fullmatch(r"[0-9A-Fa-f:.]+", host, re.ASCII) is not None
    else:
        good = _HOST.fullmatch(host) is not None
    if not colon or not good or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65_535:
        raise Unreadable(f'"{text}" is not an address to listen on.', remedy)
    return Address(host, int(port))


def _read_optional_address(raw: object) -> Address | None:
    return None if raw == "" else read_address(raw)


def _read_name(raw: object) -> str:
    text = _read_text(raw)
    if not _NAME.fullmatch(text):
        raise Unreadable(f'"{text}" is not a name.', "Use up to 63 of a-z, 0-9, dot, dash and underscore.")
    return text


def _read_domain(raw: object) -> str:
    text = _read_text(raw)
    if text and not _HOST.fullmatch(text):
        raise Unreadable(f'"{text}" is not a domain name.', 'Write it without a scheme and port: "s3.example.net".')
    return text.lower()


def _list_of(kind: Kind) -> Kind:
    def read(raw: object) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise Unreadable(f"must be a list, not {_type_name(raw)}.", 'Write it in brackets: ["a", "b"].')
        return tuple(kind.read(item) for item in raw)

    return Kind(f"list of {kind.name}s", read, lambda values: ", ".join(values))


def _read_secret_text(raw: object) -> Secret:
    return Secret(_read_text(raw))


def _show_secret_text(secret: Secret) -> str:
    text = secret.reveal()
    return text if not text or text.startswith(("env:", "file:")) else "***"


def without_user(text: str) -> str:
    """An address without the name and the password in it, for messages."""
    return _USER.sub("//***@", text)


def _read_url(raw: object) -> str:
    text = _read_text(raw)
    remedy = 'Write a scheme, a host and, if needed, a port: "https://s3.example.net" or "http://127.0.0.1:9000".'
    found = _URL.fullmatch(text)
    if text and (found is None or (found[1] and int(found[1]) > 65_535)):
        raise Unreadable(f'"{without_user(text)}" is not the address of a server.', remedy)
    return text.rstrip("/")


TEXT: Final = Kind("text", _read_text)
SECRET: Final = Kind("text, env:NAME or file:PATH", _read_secret_text, _show_secret_text)
"""A secret as it is written; `read_secret` follows `env:` and `file:`. Shown masked unless it only names its source."""
URL: Final = Kind("URL", _read_url)
PATH: Final = Kind("path", _read_path, lambda path: os.fspath(path) if path is not None else "")
FLAG: Final = Kind("true or false", _read_flag, lambda flag: "true" if flag else "false", _flag_from_text)
SIZE: Final = Kind("size", _read_size, show_size)
DURATION: Final = Kind("duration", _read_duration, show_duration)
SOME_TIME: Final = Kind("duration above 0", _read_positive, show_duration)
ADDRESS: Final = Kind("host:port", read_address)
OPTIONAL_ADDRESS: Final = Kind(
    "host:port, or empty", _read_optional_address, lambda address: "" if address is None else str(address)
)
NAME: Final = Kind("name", _read_name)
DOMAIN: Final = Kind("domain name", _read_domain)
NAMES: Final = _list_of(NAME)


def read_region(raw: object) -> str:
    text = TEXT.read(raw)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise Unreadable(f'"{text}" is not a region.', 'Use letters, digits and hyphens, as in "eu-central-1".')
    return str(text)


REGION: Final = Kind("text", read_region)
