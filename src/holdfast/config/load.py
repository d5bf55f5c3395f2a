"""Reads the settings: flags over environment over file over defaults, and says where each came from.

Answers for telling the operator every mistake at once, with file, table and key, and a hint at what was meant. It looks
at no other file than the configuration. Invariant: a value that is not understood is never replaced silently:
there is a problem for it.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from holdfast.config.afterwards import WebhookSettings
from holdfast.config.check import cross_check
from holdfast.config.notation import PATH, Setting, Unreadable
from holdfast.config.places import GridSettings
from holdfast.config.settings import (
    LISTS,
    NAMED,
    STANDARD,
    TABLES,
    BucketSettings,
    PolicySettings,
    Settings,
    environment_names,
    rows,
)
from holdfast.errors import ConfigError
from holdfast.model import Value

T = TypeVar("T", bound=Value)

CREDENTIAL_NAMES: Final = ("HOLDFAST_ACCESS_KEY", "HOLDFAST_SECRET_KEY")
_OTHER_NAMES: Final = ("HOLDFAST_CONFIG",)
_SERVICE_LINK: Final = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP).*)?)")
"""Variables that container orchestrators set for a service that happens to be called like one of our tables."""


class Reading(Value, frozen=True):
    """What was read. The settings are complete, but to be used only when there are no problems."""

    settings: Settings
    origins: dict[str, str]
    """Where a setting (`server.listen`) was set, if it was."""
    problems: tuple[ConfigError, ...]
    file: Path | None = None


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Settings:
    """The settings, checked. Raises the first problem as ConfigError."""
    reading = read(file, environ, flags)
    if reading.problems:
        raise reading.problems[0]
    return reading.settings


def read(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Reading:
    """Read and check everything. `flags` maps settings (`server.listen`) to the text given on the command line."""
    reader = _Reader(file)
    content = reader.parse()
    base = Path(os.path.abspath(file)).parent if file is not None else Path.cwd()
    reader.names("", content, ["data", *TABLES, *LISTS, *NAMED])
    values: dict[str, Any] = {"data": Path("data")}
    values |= reader.scalars(f"{file}", "", {"data": rows(Settings)["data"]}, content)
    values["data"] = base / values["data"]
    for table, kind in TABLES.items():
        found = reader.table(table, kind, content.get(table, {}))
        for name, value in found.items():
            if rows(kind)[name].kind is PATH:
                found[name] = base / value
        values[table] = found
    reader.environment(environ, values)
    for dotted, text in (flags or {}).items():
        table, _, name = dotted.rpartition(".")
        reader.override(f"--{name}", table, name, text, values)
    tables: dict[str, Any] = {table: kind(**values[table]) for table, kind in TABLES.items()}
    grids = reader.repeated("grid", GridSettings, content, required=("name", "url")) or _default_grids()
    settings = Settings(
        data=Path(os.path.abspath(values["data"])),
        **tables,
        grid=grids,
        policy=_complete(reader.policies(content), grids),
        bucket=reader.repeated("bucket", BucketSettings, content, required=("name", "policy")),
        webhook=reader.repeated("webhook", WebhookSettings, content, required=("name", "url")),
    )
    problems = reader.problems or cross_check(settings, reader.file_name)
    return Reading(settings, reader.origins, tuple(problems), file)


def _default_grids() -> tuple[GridSettings, ...]:
    return tuple(GridSettings(name=name, url=f"folder:grids/{name}") for name in ("a", "b"))


def _complete(policies: dict[str, PolicySettings], grids: tuple[GridSettings, ...]) -> dict[str, PolicySettings]:
    """Policies that say nothing of grids have all of them, and there is always a default policy."""
    everywhere = tuple(dict.fromkeys(grid.name for grid in grids))
    return {
        name: PolicySettings(terms.grids or everywhere, terms.ack, terms.outage)
        for name, terms in ({STANDARD: PolicySettings()} | policies).items()
    }


class _Reader:
    """One reading: collects problems and origins on its way."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.file_name = file.name if file is not None else "configuration"
        self.problems: list[ConfigError] = []
        self.origins: dict[str, str] = {}

    def parse(self) -> dict[str, Any]:
        """The file as TOML gave it; empty when it cannot be read."""
        if self._file is None:
            return {}
        try:
            return tomllib.loads(self._file.read_bytes().decode("utf-8-sig"))
        except OSError as trouble:
            self.problem(str(self._file), f"cannot be read: {trouble.strerror}.", "Check --config and the permissions.")
        except UnicodeDecodeError:
            self.problem(str(self._file), "is not UTF-8 text.", "Save it as UTF-8.")
        except tomllib.TOMLDecodeError as trouble:
            self.problem(
                str(self._file), f"is not TOML: {trouble}.", "Text values stand in quotes; see https://toml.io."
            )
        except (ValueError, RecursionError):  # Python's limits on the digits of a number, and on nesting.
            self.problem(str(self._file), "has a number or a list that is too long.", "No setting needs one like it.")
        return {}

    def problem(self, where: str, what: str, remedy: str = "") -> None:
        self.problems.append(ConfigError(where, what, remedy))

    def where(self, table: str, key: str = "") -> str:
        return " ".join(filter(None, (self.file_name, table, key)))

    def names(self, table: str, content: Mapping[str, Any], known: Iterable[str]) -> None:
        """Refuse names that nobody knows, with a hint."""
        known = list(known)
        for name in content:
            if name not in known:
                what = "there is no such setting." if table else "there is no such table or setting."
                self.problem(self.where(table, name), what, _hint(name, known))

    def scalars(
        self, origin: str, table: str, known: Mapping[str, Setting], content: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The values of one table that are there and understood."""
        found: dict[str, Any] = {}
        for name, setting in known.items():
            if name in content:
                try:
                    found[name] = setting.kind.read(content[name])
                except Unreadable as trouble:
                    self.problem(self.where(table, name), trouble.what, trouble.remedy)
                dotted = f"{table.strip('[]')}.{name}".lstrip(".")
                self.origins[dotted] = origin
        return found

    def table(self, name: str, kind: type[Value], content: object) -> dict[str, Any]:
        """A table that occurs once."""
        label = f"[{name}]"
        if not isinstance(content, dict):
            self.problem(self.where(label), "must be a table.", f"Begin it with a line {label}.")
            return {}
        self.names(label, content, rows(kind))
        return self.scalars(str(self._file), label, rows(kind), content)

    def repeated(
        self, name: str, kind: type[T], content: Mapping[str, Any], *, required: tuple[str, ...]
    ) -> tuple[T, ...]:
        """A table that may be repeated."""
        listed = content.get(name, [])
        label = f"[[{name}]]"
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            self.problem(self.where(label), "must be written with double brackets.", f"Begin each with a line {label}.")
            return ()
        found: list[T] = []
        for number, item in enumerate(listed, 1):
            title = item.get("name")
            told = f'{label} "{title}"' if isinstance(title, str) and title else f"{label} number {number}"
            self.names(told, item, rows(kind))
            for key in required:
                if key not in item:
                    self.problem(self.where(told), f"{key} is missing.", f"Add: {key} = …")
            before = dict(self.origins)
            values = self.scalars(str(self._file), told, rows(kind), item)
            found.append(kind(**{key: self._based(kind, key, value) for key, value in values.items()}))
            self.origins = before
        return tuple(found)

    def _based(self, kind: type[Value], name: str, value: Any) -> Any:
        """A path of the file starts at the file's directory."""
        if rows(kind)[name].kind is not PATH or self._file is None:
            return value
        return Path(os.path.abspath(self._file)).parent / value

    def policies(self, content: Mapping[str, Any]) -> dict[str, PolicySettings]:
        """Tables with a name."""
        named = content.get("policy", {})
        if not isinstance(named, dict) or not all(isinstance(item, dict) for item in named.values()):
            self.problem(self.where("[policy]"), "must have a name.", "Begin each with a line [policy.NAME].")
            return {}
        found: dict[str, PolicySettings] = {}
        for name, item in named.items():
            label = f"[policy.{name}]"
            self.names(label, item, rows(PolicySettings))
            values = self.scalars(str(self._file), label, rows(PolicySettings), item)
            if "grids" in values and not values["grids"]:
                self.problem(
                    self.where(label, "grids"), "is empty.", "Name the grids, or leave it out for all of them."
                )
            found[name] = PolicySettings(**values)
        return found

    def environment(self, environ: Mapping[str, str], values: dict[str, Any]) -> None:
        """Variables that override settings. Unknown ones below a table's prefix are refused."""
        known = environment_names()
        prefixes = tuple(f"HOLDFAST_{table}_".upper() for table in TABLES)
        for variable, text in sorted(environ.items()):
            if variable in known:
                self.override(variable, *known[variable], text, values)
            elif (
                variable.startswith(prefixes)
                and variable not in (*CREDENTIAL_NAMES, *_OTHER_NAMES)
                and not _SERVICE_LINK.fullmatch(variable)
            ):
                self.problem(variable, "no setting is overridden by this variable.", _hint(variable, list(known)))

    def override(self, origin: str, table: str, name: str, text: str, values: dict[str, Any]) -> None:
        """A value from outside the file. Relative paths start at the working directory."""
        setting = rows(TABLES[table] if table else Settings)[name]
        try:
            value = setting.kind.read(setting.kind.from_text(text))
        except Unreadable as trouble:
            self.problem(origin, trouble.what, trouble.remedy)
            return
        if setting.kind is PATH:
            value = Path.cwd() / value
        target = values[table] if table else values
        target[name] = value
        self.origins[f"{table}.{name}".lstrip(".")] = origin


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(sorted(known))}."
