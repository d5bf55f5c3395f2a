"""`holdfast simulate`: plays whole installations with everything that goes wrong, hours in seconds, from a seed."""

import contextlib
import json
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from holdfast.cli.telling import JsonOption, prose
from holdfast.clock import SystemClock
from holdfast.errors import ConfigError
from holdfast.model import to_json
from holdfast.testing.simulation.plan import FOCUSES
from holdfast.testing.simulation.run import Verdict, insist_on_hash_seed, play, play_all

HELP: Final = prose("""
Play a whole installation with all that goes wrong, hours in seconds, and check every promise.

A [b]seed[/b] draws an installation (nodes on one index, providers, a policy), clients, and troubles: providers that fail, lie, lose answers or
everything, processes that are killed in the middle of an operation, disks that fill up or lose what was not flushed, clocks that leap. All
of it runs in one process on a virtual clock, and the same seed, number of steps and release give the same run, byte for byte: the SHA-256 of its
trace says so.

Afterwards every answer that any client heard must fit one order of events per key; no byte may be wrong; nothing that was acknowledged may be missing, and
nothing deleted there; every debt must be paid, and each grid hold exactly what is listed. Exit code 0: all promises held; 1: one broke.

[b]Examples[/b]

[cyan]holdfast simulate[/cyan]   plays seeds 1 to 20

[cyan]holdfast simulate --seed 7 --steps 500 --trace trace.txt[/cyan]   plays one, and writes what happened

[cyan]holdfast simulate --seed power-1[/cyan]   plays 20 that are about losing power; others are about late changes, lies and deaths

[cyan]holdfast simulate --seed 1000 --count 0 --jobs 2[/cyan]   plays one after another until Ctrl-C
""")


def command(
    seed: Annotated[
        str, typer.Option("--seed", "-s", metavar="[FOCUS-]N", help=f"The first seed; FOCUS: {', '.join(FOCUSES)}.")
    ] = "1",
    many: Annotated[
        int | None, typer.Option("--count", "-n", metavar="N", help="How many; 0: until Ctrl-C.", min=0)
    ] = None,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Requests of clients in each run.", min=1)] = 300,
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", help="Runs at the same time.", min=1)] = 1,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="Write the trace of the one seed there.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Play seeds and check every promise."""
    insist_on_hash_seed("holdfast")
    number = 1 if many is None and trace is not None else 20 if many is None else many
    if trace is not None and number != 1:
        raise ConfigError("--trace", "it takes the trace of one run.", "Leave --count out.")
    if trace is not None:
        _expect_writable(trace)
    console = Console(highlight=False, stderr=as_json)
    focus, first = _first(seed)
    seeds = (f"{focus}{each}" for each in (count(first) if number == 0 else range(first, first + number)))
    verdicts: list[Verdict] = []
    clock = SystemClock()
    began_s = clock.monotonic_s()
    playing = play_all(seeds, steps, jobs=jobs, play=partial(play, trace=trace))
    with contextlib.closing(playing), Live(console=console, refresh_per_second=4, transient=True) as live:
        try:
            for verdict in playing:
                verdicts.append(verdict)
                _tell(verdict, live.console)
                live.update(Text(_sums(verdicts, clock.monotonic_s() - began_s)))
        except KeyboardInterrupt:
            pass
    if as_json:
        print(json.dumps([json.loads(to_json(verdict)) for verdict in verdicts], indent=2))
    console.print(_sums(verdicts, clock.monotonic_s() - began_s))
    for verdict in verdicts:
        if verdict.broken:
            console.print(
                f"again: holdfast simulate --seed {verdict.seed} --steps {steps} --trace trace-{verdict.seed}.txt"
            )
    raise typer.Exit(1 if any(verdict.broken for verdict in verdicts) or not verdicts else 0)


def _first(seed: str) -> tuple[str, int]:
    """What stands before the number of a seed, and the number."""
    focus, dash, number = seed.rpartition("-")
    if not number.isdecimal() or not number.isascii() or (focus not in FOCUSES and bool(dash or focus)):
        remedy = f"A number, or one of {', '.join(FOCUSES)} and a number: power-7."
        raise ConfigError("--seed", f"{seed!r} is not understood.", remedy)
    return focus + dash, int(number)


def _expect_writable(file: Path) -> None:
    """Before the run and not after it."""
    try:
        file.touch()
    except OSError as trouble:
        raise ConfigError("--trace", f"{file} cannot be written: {trouble.strerror}.", "Name another file.") from None


def _tell(verdict: Verdict, console: Console) -> None:
    troubles = ", ".join(f"{name} {times}x" if times > 1 else name for name, times in sorted(verdict.troubles.items()))
    word = "[red]BROKEN[/red]" if verdict.broken else "[green]held[/green]"
    console.print(
        f"seed {verdict.seed}: {word}  {verdict.seconds / 3600:.1f} h in {verdict.elapsed_s:.1f} s  {verdict.requests} requests, "
        f"{verdict.unserved} not served  [dim]{escape(troubles)}[/dim]",
        soft_wrap=True,
    )
    for line in verdict.broken:
        console.print(f"  [red]{escape(line)}[/red]", soft_wrap=True)
    console.print(f"  [dim]sha256 {verdict.sha256}[/dim]", soft_wrap=True)


def _sums(verdicts: list[Verdict], elapsed_s: float) -> str:
    simulated_s = sum(verdict.seconds for verdict in verdicts)
    played_s = sum(verdict.elapsed_s for verdict in verdicts)
    broken = sum(bool(verdict.broken) for verdict in verdicts)
    ratio = simulated_s / 60 / played_s if played_s else 0.0
    return (
        f"{len(verdicts)} runs in {elapsed_s:.0f} s: {simulated_s / 3600:.1f} simulated hours ({ratio:.1f} h per minute of a core), "
        f"{sum(verdict.requests for verdict in verdicts):,} requests, "
        f"{sum(sum(verdict.troubles.values()) for verdict in verdicts):,} troubles; {broken or 'none'} broken"
    )
