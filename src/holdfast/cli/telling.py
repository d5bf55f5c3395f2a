"""What commands share: the options that lead to the settings, and how sizes, times and mistakes are told.

Answers for one way of saying things in all commands. It reads settings and changes nothing.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from holdfast.config.load import Reading, read
from holdfast.errors import ConfigError
from holdfast.grids.obstore.terms import problems as obstore_problems
from holdfast.grids.s3.terms import problems as s3_problems
from holdfast.model import replace

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", envvar="HOLDFAST_CONFIG", help="Configuration in TOML. Without it: defaults."
    ),
]
DataOption = Annotated[
    str | None, typer.Option("--data", "-d", metavar="DIR", help="Data directory. Overrides the configuration.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines: one JSON value.")]


def prose(text: str) -> str:
    """A help text whose lines were broken for the source: paragraphs are put together again."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def read_settings(config: Path | None, flags: Mapping[str, str | None]) -> Reading:
    """Settings from flags, environment and file, with their problems."""
    reading = read(config, os.environ, {name: text for name, text in flags.items() if text is not None})
    if reading.problems:
        return reading
    found = [
        ConfigError(
            f"{config.name if config is not None else 'configuration'} {problem.where}", problem.what, problem.remedy
        )
        for problems in (s3_problems, obstore_problems)
        for problem in problems(reading.settings.grid, os.environ)
    ]
    return replace(reading, problems=tuple(found))


def settings_or_exit(config: Path | None, flags: Mapping[str, str | None]) -> Reading:
    """As `read_settings`; tells all problems and leaves with 2 when there are any."""
    reading = read_settings(config, flags)
    if reading.problems:
        for problem in reading.problems:
            tell_problem(problem)
        raise typer.Exit(2)
    return reading


def tell_problem(problem: ConfigError) -> None:
    """`error: where: what`, and the remedy on its own line."""
    print(f"error: {problem.where}: {problem.what}", file=sys.stderr)
    if problem.remedy:
        print(f"       {problem.remedy}", file=sys.stderr)


def bytes_text(size_bytes: float) -> str:
    """Three digits and a unit: `512 B`, `1.50 GiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000 or unit == "TiB":
            break
        size /= 1024
    if unit == "B":
        return f"{size:.0f} B"
    return f"{size:.{2 if size < 10 else 1 if size < 100 else 0}f} {unit}"


def time_text(delay_s: float) -> str:
    """The two largest units: `3.2 s`, `5 min 10 s`, `2 d 3 h`."""
    if delay_s < 10:
        return f"{delay_s:.1f} s"
    rest = round(delay_s)
    parts: list[str] = []
    for unit, seconds in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, rest = divmod(rest, seconds)
        if amount or (parts and unit == "s"):
            parts.append(f"{amount} {unit}")
    return " ".join([part for part in parts if not part.startswith("0 ")][:2])


def count_text(number: int) -> str:
    """With thin groups: `12,345`."""
    return f"{number:,}"
