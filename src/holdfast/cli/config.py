"""`holdfast config`: what is set, whether it can work, and what can be set."""

import json
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from holdfast.cli.providers import providers
from holdfast.cli.reference import reference
from holdfast.cli.telling import ConfigOption, DataOption, JsonOption, prose, read_settings, tell_problem
from holdfast.config.check import meaning, warnings
from holdfast.config.load import Reading
from holdfast.config.settings import TABLES, Settings, rows
from holdfast.wire.support import markdown

app = typer.Typer(no_args_is_help=True, help="Look at the configuration: check it, or read what can be set.")

_CHECK_HELP: Final = prose("""
Check the configuration and print what is in effect.

Tells every mistake with the file, the table and the setting, and what to write instead; and each policy's effective
values with what they mean for a write. Nothing is created or changed. Exit code 0: it can be served; 1: it cannot.

[b]Examples[/b]

[cyan]holdfast config check --config /etc/holdfast.toml[/cyan]

[cyan]holdfast config check --json | jq .policies[/cyan]
""")


@app.command("check", help=_CHECK_HELP)
def check(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration and print what is in effect."""
    reading = read_settings(config, {"data": data})
    if as_json:
        print(json.dumps(_facts(reading), indent=2))
    elif reading.problems:
        for problem in reading.problems:
            tell_problem(problem)
    else:
        _print(reading)
    raise typer.Exit(1 if reading.problems else 0)


@app.command("reference")
def print_reference() -> None:
    """Print every setting with its default, as Markdown (docs/CONFIGURATION.md)."""
    print(reference(), end="")


@app.command("providers")
def print_providers() -> None:
    """Print what is known of each provider's S3, as Markdown (docs/GRIDS.md)."""
    print(providers(), end="")


@app.command("s3")
def print_s3() -> None:
    """Print what of the S3 API there is, as Markdown (docs/S3.md)."""
    print(markdown(), end="")


def _values(settings: Settings) -> dict[str, str]:
    """Every scalar setting as it would be written."""
    shown = {"data": str(settings.data)}
    for table, kind in TABLES.items():
        for name, row in rows(kind).items():
            shown[f"{table}.{name}"] = row.kind.show(getattr(getattr(settings, table), name))
    return shown


def _facts(reading: Reading) -> dict[str, Any]:
    problems = [
        {"where": problem.where, "what": problem.what, "remedy": problem.remedy} for problem in reading.problems
    ]
    if problems:
        return {"valid": False, "problems": problems}
    settings = reading.settings
    return {
        "valid": True,
        "problems": [],
        "warnings": warnings(settings),
        "settings": _values(settings),
        "origins": reading.origins,
        "grids": [
            {"name": grid.name, "url": grid.url, "deadline_s": grid.deadline, "domain": list(grid.domain)}
            for grid in settings.grid
        ],
        "policies": [
            {
                "name": name,
                "grids": list(terms.grids),
                "ack": settings.ack(name),
                "outage": terms.outage,
                "meaning": meaning(settings, name),
            }
            for name, terms in settings.policy.items()
        ],
        "buckets": [{"name": bucket.name, "policy": bucket.policy} for bucket in settings.bucket],
        "webhooks": [
            {"name": hook.name, "url": hook.shown_url, "signed": bool(hook.secret.reveal())}
            for hook in settings.webhook
        ],
    }


def _print(reading: Reading) -> None:
    settings, console = reading.settings, Console(highlight=False)
    told = Table("Setting", "Value", "From", box=None, pad_edge=False, header_style="bold")
    for name, value in _values(settings).items():
        told.add_row(name, escape(value) or "-", escape(reading.origins.get(name, "default")))
    grids = Table("Grid", "Where", "Deadline", "Domain", box=None, pad_edge=False, header_style="bold")
    for grid in settings.grid:
        where = grid.folder(settings.data) or grid.url
        grids.add_row(grid.name, escape(str(where)), f"{grid.deadline:g} s", ", ".join(grid.domain) or "-")
    policies = Table("Policy", "Grids", "Ack", "Outage", "Meaning", box=None, pad_edge=False, header_style="bold")
    for name, terms in settings.policy.items():
        ack = str(settings.ack(name)) + (" (default)" if terms.ack is None else "")
        policies.add_row(name, ", ".join(terms.grids), ack, terms.outage, meaning(settings, name))
    tables = [told, grids, policies]
    if settings.bucket:
        buckets = Table("Bucket", "Policy", box=None, pad_edge=False, header_style="bold")
        for bucket in settings.bucket:
            buckets.add_row(escape(bucket.name), bucket.policy)
        tables.append(buckets)
    if settings.webhook:
        webhooks = Table("Webhook", "Where", "Signed", box=None, pad_edge=False, header_style="bold")
        for hook in settings.webhook:
            webhooks.add_row(hook.name, escape(hook.shown_url), "yes" if hook.secret.reveal() else "no")
        tables.append(webhooks)
    for table in tables:
        console.print(table)
        console.print()
    for warning in warnings(settings):
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")
    console.print("[green]The configuration can be served.[/green]")
