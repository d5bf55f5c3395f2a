"""`holdfast certify`: the contract suite against a place, before it is trusted with a copy."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from holdfast.cli.telling import JsonOption, prose
from holdfast.clock import Clock, SystemClock
from holdfast.config.notation import Unreadable
from holdfast.config.settings import GridSettings, rows
from holdfast.errors import ConfigError, GridError
from holdfast.grids.grid import Grid
from holdfast.testing.certify import Finding, certify

_COLORS: Final = {"kept": "green", "broken": "red", "skipped": "yellow"}

HELP: Final = prose("""
Check whether a place keeps every promise that Holdfast needs of a grid.

Runs the contract suite: writes are atomic and durable, hard names are kept apart, ranges and conditions are exact, listings are
in order, and so on. The place must be empty; what the suite makes there is removed again.

Exit code 0: every promise is kept; 1: one is broken, do not use the place; 2: it cannot be asked.

[b]Examples[/b]

[cyan]holdfast certify folder:/mnt/new-disk/holdfast[/cyan]

[cyan]holdfast certify folder:/mnt/nfs/holdfast --json[/cyan]
""")


def command(
    url: Annotated[str, typer.Argument(metavar="URL", help="The place, as in a grid's url: folder:/path.")],
    as_json: JsonOption = False,
) -> None:
    """Check whether a place keeps every promise that Holdfast needs of a grid."""
    grid = _settings(url)
    console = Console(highlight=False)
    findings = asyncio.run(_certify(grid, SystemClock(), None if as_json else console))
    if as_json:
        print(json.dumps(_facts(url, findings), indent=2))
    else:
        _print_verdict(console, findings)
    raise typer.Exit(1 if any(finding.outcome == "broken" for finding in findings) else 0)


def _settings(url: str) -> GridSettings:
    try:
        return GridSettings(name="place", url=rows(GridSettings)["url"].kind.read(url))
    except Unreadable as trouble:
        raise ConfigError(url, trouble.what, trouble.remedy) from trouble


async def _certify(settings: GridSettings, clock: Clock, console: Console | None) -> list[Finding]:
    from holdfast.app import build_grid, release_grid  # Late: the other commands need not wait for all of it.

    def open_grid() -> Grid:
        return build_grid(settings, Path.cwd(), clock)

    findings: list[Finding] = []
    try:
        async for finding in certify(open_grid, clock=clock, release=release_grid):
            findings.append(finding)
            if console is not None:
                _print(console, finding)
    except GridError as trouble:
        remedy = "Give it a directory that is empty and writable."
        raise ConfigError(settings.url, f"{trouble.detail}.", remedy) from trouble
    return findings


def _print(console: Console, finding: Finding) -> None:
    line = Table.grid(padding=(0, 2))
    line.add_column(width=7)
    line.add_column()
    color = _COLORS[finding.outcome]
    detail = f"\n[{color}]{escape(finding.detail)}[/]" if finding.detail else ""
    line.add_row(f"[{color}]{finding.outcome}[/]", f"{escape(finding.promise)}{detail}")
    console.print(line)


def _print_verdict(console: Console, findings: list[Finding]) -> None:
    counts = {outcome: sum(finding.outcome == outcome for finding in findings) for outcome in _COLORS}
    console.print(f"\n{counts['kept']} kept, {counts['broken']} broken, {counts['skipped']} skipped")
    if counts["broken"]:
        console.print("[red]This place must not be trusted with copies.[/red]")
    else:
        console.print("[green]This place may be trusted with copies.[/green]")


def _facts(url: str, findings: list[Finding]) -> dict[str, Any]:
    return {
        "url": url,
        "certified": not any(finding.outcome == "broken" for finding in findings),
        "findings": [
            {
                "name": finding.name,
                "promise": finding.promise,
                "outcome": finding.outcome,
                "detail": finding.detail,
                "elapsed_s": round(finding.elapsed_s, 3),
            }
            for finding in findings
        ],
    }
