"""`holdfast demo`: one of two providers is killed under a live load, and comes back, before one's eyes."""

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from holdfast.cli.picture import svg
from holdfast.cli.telling import JsonOption, bytes_text, count_text, prose, time_text
from holdfast.clock import Clock, SystemClock
from holdfast.model import to_json
from holdfast.serve.status import Status
from holdfast.testing.lab.network.faults import Fault, Kind
from holdfast.testing.lab.play import TROUBLES, Tempo, play, run, told
from holdfast.testing.lab.report import Result, misses, percentile
from holdfast.testing.lab.scenarios import Scenario
from holdfast.testing.lab.stage import Stage, open_stage
from holdfast.testing.lab.workload import Sample

HELP: Final = prose("""
See what Holdfast is for, in less than a minute.

Starts two [b]providers[/b] (S3 servers in processes of their own), a [b]gateway[/b] that keeps every object on both, and [b]clients[/b] that read,
write, list and delete all the time and compare every answer with what was acknowledged. Then it [b]kills[/b] one provider with SIGKILL, and
starts it again a little later. Nothing may fail, nothing may be lost or out of date, and in the end both providers must hold exactly the same.

Everything runs on this machine, on free ports of the loopback interface, in a temporary directory that is removed at the end, also after
Ctrl-C.

Exit code 0: the promise was kept; 1: it broke, and the report says where; 2: it could not start.
""")

_SHOWN_S: Final = 0.25
_PLAIN_S: Final = 2.0
_RECENT_S: Final = 2.0
_COLUMNS: Final = 50
_WIDTH: Final = 80
_BARS: Final = " ▁▂▃▄▅▆▇█"
_TOP_S: Final = 0.3
"""The latency that fills a bar."""
_RATE: Final = 40.0
_OBJECTS: Final = 120
_PHASES: Final = {
    "starting": "starting two providers and a gateway",
    "filling": "writing the first objects",
    "calm": "both providers work",
    "outage": "provider a was killed (SIGKILL)",
    "after": "provider a is back, and catches up",
    "checking": "reading everything again, at both providers",
}


class _View:
    """What is on the screen: the phase, the requests so far, and what the gateway says of its grids."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.phase = "starting"
        self.stage: Stage | None = None
        self.status: Status | None = None
        self.marks: list[tuple[float, str]] = []
        self.samples: list[Sample] = []
        self.outage: RenderableType = ""
        """What was on the screen when the outage ended."""

    def tell(self, phase: str) -> None:
        self.phase = phase
        self.marks.append((self.clock.monotonic_s(), phase))

    async def look(self) -> None:
        """Take notice of what happened since."""
        if self.stage is None:
            return
        if self.phase != "checking":  # What is asked then is no load.
            self.samples = list(self.stage.workload.samples)
        with contextlib.suppress(OSError):
            self.status = await self.stage.gateway.status()

    @property
    def failed(self) -> int:
        return sum(bool(sample.failure) for sample in self.samples)

    def recent_p99_s(self) -> float:
        since_s = self.clock.monotonic_s() - _RECENT_S
        return percentile(
            [each.elapsed_s for each in self.samples if each.ended_s >= since_s and each.operation == "GET"], 0.99
        )

    def line(self) -> str:
        """Everything in one line, where there is no terminal."""
        grids = self.status.grids if self.status is not None else ()
        told = ", ".join(f"{grid.name} {grid.state} holds {grid.held} owed {grid.owed}" for grid in grids)
        return f"{_PHASES[self.phase]}: {len(self.samples)} requests, {self.failed} failed, p99 {_ms(self.recent_p99_s())}; {told}"

    def render(self) -> RenderableType:
        color = {"outage": "red", "after": "yellow"}.get(self.phase, "green")
        head = Text.from_markup(f"[bold {color}]{_PHASES[self.phase]}[/]\n")
        failed = "red" if self.failed else "green"
        counts = Text.from_markup(
            f"[b]{count_text(len(self.samples))}[/b] requests   [{failed}][b]{self.failed}[/b] failed[/]   "
            f"GET p99 [b]{_ms(self.recent_p99_s())}[/b]\n"
        )
        return Panel(Group(head, counts, *self._timeline(), Text(), self._grids()), title="holdfast demo", width=_WIDTH)

    def _timeline(self) -> Sequence[Text]:
        """One bar per half second: the slowest GET in it, red where a request failed."""
        if not self.samples:
            return [Text()]
        start_s = self.samples[0].began_s
        wide_s = 0.5
        slots: dict[int, list[Sample]] = {}
        for sample in self.samples:
            slots.setdefault(int((sample.ended_s - start_s) / wide_s), []).append(sample)
        last = int((self.clock.monotonic_s() - start_s) / wide_s) if self.phase != "checking" else max(slots)
        first = max(0, last - _COLUMNS + 1)
        bars, below = Text("latency  "), Text("         ")
        killed = self._at("outage", start_s, wide_s)
        back = self._at("after", start_s, wide_s)
        for slot in range(first, last + 1):
            some = slots.get(slot, [])
            worst_s = max([sample.elapsed_s for sample in some if sample.operation == "GET"], default=0.0)
            height = min(len(_BARS) - 1, max(1, round((len(_BARS) - 1) * worst_s / _TOP_S))) if some else 0
            bars.append(_BARS[height], "red" if any(sample.failure for sample in some) else "green")
            dead = killed is not None and killed <= slot and (back is None or slot < back)
            below.append("━" if dead else "─", "red" if dead else "bright_black")
        bars.append(f"  {_ms(_TOP_S)} is a full bar", "bright_black")
        below.append("  red: a is dead", "bright_black")
        return [bars, below]

    def _at(self, phase: str, start_s: float, wide_s: float) -> int | None:
        return next((int((at_s - start_s) / wide_s) for at_s, name in self.marks if name == phase), None)

    def _grids(self) -> Table:
        table = Table("Provider", "Process", "Gateway says", "Holds", "Owed", "Oldest debt", box=None, pad_edge=False)
        if self.stage is None or self.status is None:
            return table
        for grid in self.status.grids:
            provider = self.stage.providers[grid.name]
            alive = f"[green]{provider.pid}[/]" if provider.running else "[red]killed[/]"
            state = f"[{'green' if grid.state == 'up' else 'red'}]{escape(grid.state)}[/]"
            owed = f"[yellow]{count_text(grid.owed)}[/]" if grid.owed else "0"
            oldest = time_text(grid.oldest_debt_s) if grid.owed else "-"
            table.add_row(
                grid.name, alive, state, f"{count_text(grid.held)}  {bytes_text(grid.held_bytes)}", owed, oldest
            )
        return table


def command(
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="How long the provider stays dead.", min=1.0, max=600.0)
    ] = 12.0,
    as_json: JsonOption = False,
    picture: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Also draw what was on the screen, and the report.")
    ] = None,
) -> None:
    """See what Holdfast is for, in less than a minute."""
    console = Console(highlight=False, stderr=as_json)
    view = _View(SystemClock())
    result, problem = None, ""
    try:
        try:
            result = run(_demo(view, console, seconds))
        except* TROUBLES as troubles:
            problem = told(troubles)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    if result is None:
        console.print(f"[red]error:[/red] {escape(problem)}")
        raise typer.Exit(2)
    shown = report(result)
    console.print(shown)
    if as_json:
        print(to_json(result).decode())
    if picture is not None:
        picture.write_text(svg(Group(view.outage, shown), "holdfast demo", width=_WIDTH + 2))
    raise typer.Exit(1 if broken(result) else 0)


async def _demo(view: _View, console: Console, outage_s: float) -> Result:
    scenario = Scenario("demo", "the process of provider a is killed", (Fault(Kind.KILL),), outage_s)
    tempo = Tempo(calm_s=min(5.0, outage_s), rate_per_s=_RATE, objects=_OBJECTS, after_s=3.0)
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as folder, contextlib.ExitStack() as screen:
        live = None
        if console.is_terminal:
            live = screen.enter_context(Live(view.render(), console=console, auto_refresh=False))
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(_show(view, console, live))
            async with open_stage(
                Path(folder), clock=view.clock, makes=("holdfast", "holdfast"), proxied=False
            ) as stage:
                view.stage = stage
                result = await play(stage, scenario, tempo, view.tell)
                showing.cancel()
                await view.look()
                if live is not None:
                    live.update(view.render(), refresh=True)
        return result


async def _show(view: _View, console: Console, live: Live | None) -> None:
    clock = SystemClock()
    told, due_s = "", 0.0
    while True:
        await view.look()
        if view.phase == "outage":
            view.outage = view.render()
        if live is not None:
            live.update(view.render(), refresh=True)
        elif view.phase != told or clock.monotonic_s() >= due_s:
            told, due_s = view.phase, clock.monotonic_s() + _PLAIN_S
            console.print(view.line(), markup=False, soft_wrap=True)
        await clock.sleep(_SHOWN_S)


def broken(result: Result) -> tuple[str, ...]:
    """What of the promise broke. How fast this machine is, is none of it."""
    return tuple(miss for miss in misses(result) if not miss.startswith("slow"))


def report(result: Result) -> RenderableType:
    """What happened, for people."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("dead", f"{time_text(result.outage_s)}: one of two providers, killed in the middle of its work")
    table.add_row("requests", f"{count_text(result.requests)} since then, {_judged(result.failed, 'failed')}")
    table.add_row(
        "GET p99",
        f"{_ms(result.calm_p99_s)} before, {_ms(result.early_p99_s)} in the first seconds, {_ms(result.late_p99_s)} after that",
    )
    table.add_row(
        "answers", f"{_judged(result.lost, 'writes lost')}, {_judged(result.stale + result.wrong, 'stale or wrong')}"
    )
    back = (
        "not caught up"
        if result.caught_up_s is None
        else f"caught up {time_text(result.caught_up_s)} after it came back"
    )
    same = (
        "[red]the providers differ[/]"
        if result.astray
        else "[green]both providers hold exactly what was acknowledged[/]"
    )
    table.add_row("after", f"{back}; {same}")
    details = [*(f"{count} x {told}" for told, count in result.failures.items()), *result.lies, *result.astray]
    verdict = "[bold red]The promise broke.[/]" if broken(result) else "[bold green]The promise was kept.[/]"
    return Group(Text(), table, *(Text(f"  {told}", "red") for told in details), Text(), Text.from_markup(verdict))


def _judged(count: int, what: str) -> str:
    return f"[{'red' if count else 'green'}]{count_text(count)} {what}[/]"


def _ms(value_s: float) -> str:
    return f"{value_s * 1000:.0f} ms" if value_s < 1 else f"{value_s:.1f} s"
