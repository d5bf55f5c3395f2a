"""`holdfast certify`: the contract suite against a place, before it is trusted with a copy."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from holdfast.cli.telling import JsonOption, prose
from holdfast.clock import Clock, SystemClock
from holdfast.config.notation import Unreadable
from holdfast.config.places import GridSettings
from holdfast.config.settings import rows
from holdfast.errors import ConfigError, GridError
from holdfast.events import Teller
from holdfast.grids.grid import Grid
from holdfast.grids.obstore.terms import problems as obstore_problems
from holdfast.grids.s3.terms import problems as s3_problems
from holdfast.testing.certify import Finding, certify

_COLORS: Final = {"kept": "green", "broken": "red", "skipped": "yellow"}

HELP: Final = prose("""
Check whether a place keeps every promise that Holdfast needs of a grid.

Runs the contract suite: writes are atomic and durable, hard names are kept apart, ranges and conditions are exact, listings are
in order, and so on. The place must be empty; what the suite makes there is removed again. For s3:// the options are those of
a grid in the configuration; a bucket that is missing is created. Without keys they are taken from AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY.

Exit code 0: every promise is kept; 1: one is broken, do not use the place; 2: it cannot be asked.

[b]Examples[/b]

[cyan]holdfast certify folder:/mnt/new-disk/holdfast[/cyan]

[cyan]holdfast certify folder:/mnt/nfs/holdfast --json[/cyan]

[cyan]holdfast certify s3://acme-trial --endpoint https://s3.example.net --provider ceph[/cyan]

[cyan]holdfast certify azure://trial --account acme --account-key env:ACME_KEY[/cyan]
""")


def command(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="The place, as in a grid's url: folder:/path, s3://bucket/directory, azure://container, gcs://bucket.",
        ),
    ],
    endpoint: Annotated[str | None, typer.Option(metavar="URL", help="The server's address.")] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose S3 it is: a row of docs/GRIDS.md.")
    ] = None,
    region: Annotated[str | None, typer.Option(metavar="NAME", help="The region to sign for.")] = None,
    access_key: Annotated[str | None, typer.Option(metavar="KEY", help="Best as env:NAME or file:PATH.")] = None,
    secret_key: Annotated[str | None, typer.Option(metavar="KEY", help="Best as env:NAME or file:PATH.")] = None,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="Keys of the AWS credentials file.")] = None,
    style: Annotated[str | None, typer.Option(metavar="STYLE", help="path, virtual or auto.")] = None,
    tls_ca: Annotated[str | None, typer.Option(metavar="FILE", help="Certificates to trust, in PEM.")] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="The storage account, for azure://.")] = None,
    account_key: Annotated[str | None, typer.Option(metavar="KEY", help="Best as env:NAME or file:PATH.")] = None,
    sas_token: Annotated[str | None, typer.Option(metavar="TOKEN", help="Best as env:NAME or file:PATH.")] = None,
    service_account: Annotated[
        str | None, typer.Option(metavar="JSON", help="The key of a service account, for gcs://: best as file:PATH.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check whether a place keeps every promise that Holdfast needs of a grid."""
    given = {
        "url": url, "endpoint": endpoint, "provider": provider, "region": region, "access_key": access_key,
        "secret_key": secret_key, "profile": profile, "style": style, "tls_ca": tls_ca,
        "account": account, "account_key": account_key, "sas_token": sas_token, "service_account": service_account,
    }  # fmt: skip
    grid = _settings({name: text for name, text in given.items() if text is not None})
    console = Console(highlight=False)
    findings = asyncio.run(_certify(grid, SystemClock(), None if as_json else console))
    if as_json:
        print(json.dumps(_facts(url, findings), indent=2))
    else:
        _print_verdict(console, findings)
    raise typer.Exit(1 if any(finding.outcome == "broken" for finding in findings) else 0)


def _settings(given: dict[str, str]) -> GridSettings:
    if (
        given["url"].startswith("s3:")
        and not {"access_key", "profile"} & set(given)
        and "AWS_ACCESS_KEY_ID" in os.environ
    ):
        given |= {"access_key": "env:AWS_ACCESS_KEY_ID", "secret_key": "env:AWS_SECRET_ACCESS_KEY"}
    values: dict[str, Any] = {"name": "place"}
    if given["url"].startswith("s3:"):
        values["create_buckets"] = True
    for name, text in given.items():
        try:
            values[name] = rows(GridSettings)[name].kind.read(text)
        except Unreadable as trouble:
            where = text if name == "url" else f"--{name.replace('_', '-')}"
            raise ConfigError(where, trouble.what, trouble.remedy) from trouble
    grid = GridSettings(**values)
    for problem in (*s3_problems((grid,), os.environ), *obstore_problems((grid,), os.environ)):
        where = problem.where.removeprefix('[[grid]] "place" ')
        raise ConfigError(
            given["url"] if where == "url" else f"--{where.replace('_', '-')}", problem.what, problem.remedy
        )
    return grid


async def _certify(settings: GridSettings, clock: Clock, console: Console | None) -> list[Finding]:
    from holdfast.app import build_grid, release_grid  # Late: the other commands need not wait for all of it.

    def open_grid() -> Grid:
        return build_grid(settings, Path.cwd(), clock=clock, teller=Teller())

    findings: list[Finding] = []
    try:
        async for finding in certify(open_grid, clock=clock, release=release_grid):
            findings.append(finding)
            if console is not None:
                _print(console, finding)
    except GridError as trouble:
        remedy = "Give it a place that is empty and writable."
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
