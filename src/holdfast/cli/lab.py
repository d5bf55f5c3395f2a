"""`holdfast lab`: plays outages against a gateway of its own, and reports what clients noticed."""

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from holdfast import __version__
from holdfast.cli.picture import svg
from holdfast.cli.telling import JsonOption, prose, time_text
from holdfast.clock import SystemClock
from holdfast.errors import ConfigError
from holdfast.model import to_json
from holdfast.testing.lab.play import Tempo, length_of, perform, run
from holdfast.testing.lab.providers import MAKES, Make, find_rclone
from holdfast.testing.lab.report import COLUMNS, Result, markdown, misses, row
from holdfast.testing.lab.scenarios import Scenario, matching

HELP: Final = prose("""
Play outages, and show what clients notice of them.

For each scenario it starts two [b]providers[/b] (S3 servers in processes of their own), a [b]proxy[/b] in front of each, a [b]gateway[/b]
that keeps everything on both, and [b]clients[/b] that send a steady mixed load, never try twice, and hold every answer against what was
acknowledged. After a calm the proxy of one provider begins to misbehave; then it stops, and what was missed is caught up. All of it is on this
machine and gone afterwards.

[b]SCENARIO[/b] is a part of a name, or [cyan]classes[/cyan] (every way in which providers fail) or [cyan]history[/cyan] (outages that happened, hours
played in seconds). Without any, all are played, which takes about three quarters of an hour. The third-party provider is [cyan]rclone serve s3[/cyan]; without
rclone both are Holdfast's own endpoints.

The [b]bar[/b]: no request fails, nothing is lost or stale, the p99 of GET stays below 3 s in the first five seconds and within twice the calm
figure after that. Exit code 0: every scenario clears it; 1: one misses it, the last column says how.

[b]Examples[/b]

[cyan]holdfast lab --list[/cyan]

[cyan]holdfast lab refused slow[/cyan]

[cyan]holdfast lab history --json[/cyan]

[cyan]holdfast lab --write docs[/cyan]   also writes docs/outages.md and docs/outages.svg
""")


def command(
    scenario: Annotated[list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="What to play.")] = None,
    show: Annotated[bool, typer.Option("--list", "-l", help="Show the scenarios and leave.")] = False,
    as_json: JsonOption = False,
    write: Annotated[
        Path | None, typer.Option("--write", "-w", metavar="DIR", help="Write outages.md and outages.svg there.")
    ] = None,
    providers: Annotated[
        str, typer.Option("--providers", metavar="A,B", help="What stands behind grid a, which fails, and grid b.")
    ] = "holdfast,rclone",
    rate: Annotated[float, typer.Option("--rate", metavar="N", help="Requests per second.", min=1.0)] = 30.0,
    calm: Annotated[float, typer.Option("--calm", metavar="S", help="Seconds before each outage.", min=1.0)] = 5.0,
) -> None:
    """Play outages, and show what clients notice of them."""
    chosen = matching(scenario or [])
    if not chosen:
        raise ConfigError("lab", f"no scenario is called {' or '.join(scenario or [])}.", "See: holdfast lab --list")
    tempo = Tempo(calm_s=calm, rate_per_s=rate)
    console = Console(highlight=False, stderr=as_json)
    if show:
        _list(chosen, tempo, as_json)
        return
    makes = _makes(providers, console)
    try:
        results = _play_all(chosen, tempo, makes, console)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps({"results": [_facts(result) for result in results]}, indent=2))
    if write is not None:
        _write(write, results, makes, tempo)
        console.print(f"written: {escape(str(write / 'outages.md'))}, {escape(str(write / 'outages.svg'))}")
    raise typer.Exit(1 if any(misses(result) for result in results) else 0)


def _makes(text: str, console: Console) -> tuple[Make, ...]:
    known: dict[str, Make] = {make: make for make in MAKES}
    names = text.split(",")
    if len(names) != 2 or not set(names) <= set(known):
        raise ConfigError("--providers", f"{text!r} is not understood.", f"Two of: {', '.join(MAKES)}, with a comma.")
    if "rclone" in names and not find_rclone():
        console.print("[yellow]rclone is not here: both providers are Holdfast's own single-folder endpoint.[/yellow]")
        names = ["holdfast", "holdfast"]
    return tuple(known[name] for name in names)


def _play_all(chosen: Sequence[Scenario], tempo: Tempo, makes: Sequence[Make], console: Console) -> list[Result]:
    """Play them one after another, with a display of how far it is."""
    clock = SystemClock()
    results: list[Result] = []
    left_s = sum(_costs(scenario, tempo) for scenario in chosen)
    console.print(f"{len(chosen)} scenarios, about {time_text(left_s)}; grid a is {makes[0]}, grid b is {makes[1]}")

    async def every(tell: Callable[[int, str], None]) -> None:
        for number, scenario in enumerate(chosen):
            now = partial(tell, number)
            with tempfile.TemporaryDirectory(prefix="holdfast-lab-") as folder:
                results.append(await perform(scenario, Path(folder), clock=clock, tempo=tempo, makes=makes, tell=now))
            now("done")

    if not console.is_terminal:

        def plainly(number: int, word: str) -> None:
            if word == "done":
                told = results[-1]
                cells = zip(COLUMNS[1:], row(told)[1:], strict=True)
                console.print(
                    f"[{number + 1}/{len(chosen)}] {told.name}: " + ", ".join(f"{a} {b}" for a, b in cells),
                    markup=False,
                )

        run(every(plainly))
        return results
    with Live(console=console, refresh_per_second=8, vertical_overflow="visible") as live:
        spinner = Spinner("dots")

        def lively(number: int, word: str) -> None:
            scenario = chosen[min(number + (word == "done"), len(chosen) - 1)]
            text = Text.from_markup(
                f"[b]{number + 1}/{len(chosen)} {scenario.name}[/b]  {escape(scenario.about)}  [cyan]{word}[/cyan]"
            )
            spinner.update(text=text)
            last = word == "done" and number + 1 == len(chosen)
            live.update(table(results) if last else Group(table(results), spinner))

        run(every(lively))
    return results


def _costs(scenario: Scenario, tempo: Tempo) -> float:
    return 0.0 if scenario.not_staged else 30.0 + tempo.calm_s + tempo.after_s + length_of(scenario, tempo)


def table(results: Sequence[Result]) -> Table:
    """The report for people."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(COLUMNS):
        made.add_column(column, justify="left" if position in (0, len(COLUMNS) - 1) else "right")
    for result in results:
        cells = [escape(cell) for cell in row(result)]
        color = "yellow" if result.not_staged else "red" if misses(result) else "green"
        cells[-1] = f"[{color}]{cells[-1]}[/{color}]"
        made.add_row(*cells)
    return made


def _list(chosen: Sequence[Scenario], tempo: Tempo, as_json: bool) -> None:
    if as_json:
        print(
            to_json([{"name": each.name, "about": each.about, "historic": each.historic} for each in chosen]).decode()
        )
        return
    made = Table("Scenario", "What happens", "Played in", box=None, pad_edge=False, header_style="bold")
    for each in chosen:
        length = f"not staged: {each.not_staged}" if each.not_staged else time_text(length_of(each, tempo))
        made.add_row(each.name, escape(each.about), escape(length))
    Console(highlight=False).print(made)


def _facts(result: Result) -> dict[str, object]:
    fields = {name: getattr(result, name) for name in result.__struct_fields__}
    return {**fields, "misses": misses(result)}


def _write(folder: Path, results: Sequence[Result], makes: Sequence[Make], tempo: Tempo) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    remark = (
        f"Holdfast {__version__}; {cores} cores shared by everything; grid `a` (which fails, and which is read first) is {_called(makes[0])}, "
        f"grid `b` is {_called(makes[1])}; {tempo.rate_per_s:g} requests per second."
    )
    (folder / "outages.md").write_text(markdown(results, [remark]))
    (folder / "outages.svg").write_text(
        svg(table([result for result in results if not result.not_staged]), "holdfast lab")
    )


def _called(make: Make) -> str:
    return "`rclone serve s3`" if make == "rclone" else "Holdfast's own single-folder endpoint"
