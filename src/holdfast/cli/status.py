"""`holdfast status`: what a running node says of itself."""

import asyncio
import http.client
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Annotated, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from holdfast.cli.telling import (
    ConfigOption,
    DataOption,
    JsonOption,
    bytes_text,
    count_text,
    prose,
    settings_or_exit,
    tell_problem,
    time_text,
)
from holdfast.clock import SystemClock
from holdfast.config.settings import Settings
from holdfast.errors import ConfigError
from holdfast.model import DecodeError, from_json
from holdfast.serve.status import CacheStatus, Endpoint, GridStatus, Status, endpoint_path

_DEADLINE_S: Final = 10.0
_WATCH_S: Final = 2.0
_COLORS: Final = {"up": "green", "down": "red"}

HELP: Final = prose("""
Show how a running node is doing.

For each grid: whether it is there, what it [b]holds[/b], what it is [b]owed[/b] (versions it must still get, deletions it must
still hear of), how old the oldest debt is, and when all will be paid at the present speed. Debts that were tried again and
again in vain are [b]stuck[/b]; some of them are named with their reason. Below: how full the spool is. Writes get 503 SlowDown when it is full.

It asks the admin listener. The address is that of [cyan]--admin[/cyan], or what the node that serves the data directory
wrote there. Exit code 0: it answered; 1: nobody can be reached.

[b]Examples[/b]

[cyan]holdfast status --data ./data[/cyan]

[cyan]holdfast status --watch[/cyan]   again every two seconds

[cyan]holdfast status --json | jq '.grids[] | {name, owed}'[/cyan]
""")


def command(
    config: ConfigOption = None,
    data: DataOption = None,
    admin: Annotated[
        str | None, typer.Option("--admin", metavar="HOST:PORT", help="The node's admin listener.")
    ] = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Ask again every two seconds, until Ctrl-C.")] = False,
) -> None:
    """Show how a running node is doing."""
    settings = settings_or_exit(config, {"data": data, "server.admin": admin}).settings
    try:
        url = admin_url(settings, given=admin is not None)
        if watch:
            _watch(url, as_json)
            return
        body = ask(url)
        if as_json:
            print(body.decode())
        else:
            Console(highlight=False).print(render(_status(body, url)))
    except ConfigError as trouble:
        tell_problem(trouble)
        raise typer.Exit(1) from trouble
    except KeyboardInterrupt:
        return


def _watch(url: str, as_json: bool) -> None:
    clock = SystemClock()
    if as_json:
        while True:
            print(ask(url).decode(), flush=True)
            asyncio.run(clock.sleep(_WATCH_S))
    with Live(console=Console(highlight=False), auto_refresh=False, screen=sys.stdout.isatty()) as live:
        while True:
            live.update(render(_status(ask(url), url)), refresh=True)
            asyncio.run(clock.sleep(_WATCH_S))


def admin_url(settings: Settings, *, given: bool) -> str:
    if not given:
        try:
            told = from_json(endpoint_path(settings.run_path).read_bytes(), Endpoint)
        except (OSError, DecodeError):
            told = None
        if told is not None:
            if told.admin:
                return told.admin
            raise ConfigError("status", "the node has no admin listener.", "Start it with --admin HOST:PORT.")
    if settings.server.admin is None:
        raise ConfigError("server.admin", "is empty, so there is nobody to ask.", "Give --admin HOST:PORT.")
    return f"http://{settings.server.admin.reachable}"


def ask(url: str, page: str = "/status", *, method: str = "GET") -> bytes:
    """What the admin listener answers. Raises ConfigError when it does not, or says no."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url + page, method=method), timeout=_DEADLINE_S) as reply:
            return bytes(reply.read())
    except urllib.error.HTTPError as trouble:
        what = _said(trouble.read()) or f"answered {trouble.code}."
        raise ConfigError(url, what, "Is this the admin listener? Look at the node's log.") from trouble
    except (OSError, http.client.HTTPException) as trouble:
        if isinstance(trouble, TimeoutError) or isinstance(getattr(trouble, "reason", None), TimeoutError):
            what = f"something accepts connections there and does not answer within {_DEADLINE_S:g} s."
            remedy = "S3 requests may still be served by other workers. Look at the log and the load of this machine."
            raise ConfigError(url, what, remedy) from trouble
        reason = getattr(trouble, "reason", trouble)
        reason = getattr(reason, "strerror", None) or reason
        remedy = "Is it running? Start it with: holdfast serve. Give its --data, --config or --admin."
        raise ConfigError(url, f"no node answers: {reason}.", remedy) from trouble


def _said(body: bytes) -> str:
    """What the admin listener says why not; empty when it is something else that answers."""
    try:
        return from_json(body, dict[str, str]).get("error", "")
    except DecodeError:
        return ""


def _status(body: bytes, url: str) -> Status:
    try:
        return from_json(body, Status)
    except DecodeError as trouble:
        raise ConfigError(
            url, "answered something else than a status.", "Is it a node of the same release?"
        ) from trouble


def render(status: Status) -> Group:
    """The status for people."""
    head = (
        f"[b]{escape(status.node)}[/b]  Holdfast {escape(status.version)}, up {time_text(status.uptime_s)}"
        + ("  [yellow]stopping[/yellow]" if status.draining else "")
        + f"\n{count_text(status.objects)} objects, {bytes_text(status.object_bytes)}"
        + (f", {count_text(status.uploads)} uploads in progress" if status.uploads else "")
        + (f", {count_text(status.tombstones)} deletions not confirmed everywhere" if status.tombstones else "")
        + "\n"
    )
    fill = Table("Store", "Used", "Limit", "", box=None, pad_edge=False, header_style="bold")
    fill.add_row("spool", *_fill(status.spool_bytes, status.spool_limit))
    fill.add_row("inline", *_fill(status.inline_bytes, status.inline_limit))
    fill.add_row("cache", *_cache_fill(status.cache))
    workers = Table("Worker", "Process", "Connections", "Requests", box=None, pad_edge=False, header_style="bold")
    for worker in status.workers:
        workers.add_row(str(worker.worker), str(worker.pid), str(worker.connections), str(worker.requests))
    remarks = [Text(f"{grid.name}: {remark}") for grid in status.grids if (remark := _remarks(grid))]
    remarks += [Text(f"not ready: {reason}") for reason in status.unready]
    if status.suspects_itself:
        remarks.append(Text("All grids fell silent at once: is it this node, or its network?"))
    stuck = [line for grid in status.grids for line in _stuck(grid)]
    reads = _reads(status)
    between: list[Text | Table] = [Text(), reads] if reads is not None else []
    return Group(Text.from_markup(head), _grids(status), *remarks, *stuck, *between, Text(), fill, Text(), workers)


def _fill(used: int, limit: int) -> tuple[str, str, str]:
    share = used / limit if limit else 1.0
    color = "red" if share >= 0.9 else "yellow" if share >= 0.5 else "green"
    return bytes_text(used), bytes_text(limit), f"[{color}]{share:.0%}[/{color}]"


def _cache_fill(cache: CacheStatus) -> tuple[str, str, str]:
    if cache.state != "on":
        reason = f": {escape(cache.reason)}" if cache.reason else ""
        return bytes_text(cache.size_bytes), "-", f"[yellow]{escape(cache.state)}[/yellow]{reason}"
    asked = cache.hits + cache.misses
    hits = f", {cache.hits / asked:.0%} of {count_text(asked)} blocks were hits" if asked else ""
    # A full cache is a good one: no color.
    share = cache.size_bytes / cache.limit_bytes if cache.limit_bytes else 1.0
    return bytes_text(cache.size_bytes), bytes_text(cache.limit_bytes), f"{share:.0%}{hits}"


def _grids(status: Status) -> Table:
    table = Table("Grid", "State", "Held", "Owed", "Oldest", "ETA", box=None, pad_edge=False, header_style="bold")
    for grid in status.grids:
        told = "out" if grid.use == "out" else grid.state
        state = f"[{_COLORS.get(told, 'yellow')}]{escape(told)}[/]"
        held = f"{count_text(grid.held)}  {bytes_text(grid.held_bytes)}"
        owed = f"[yellow]{count_text(grid.owed)}  {bytes_text(grid.owed_bytes)}[/yellow]" if grid.owed else "0"
        oldest = time_text(grid.oldest_debt_s) if grid.owed else "-"
        table.add_row(escape(grid.name), state, held, owed, oldest, _eta(grid))
    return table


def _eta(grid: GridStatus) -> str:
    if not grid.owed:
        return "-"
    stuck = f"{count_text(grid.stuck)} stuck" if grid.stuck else ""
    if grid.stuck >= grid.owed:
        return stuck
    eta_s = grid.payable_eta_s if grid.stuck else grid.eta_s
    told = time_text(eta_s) if eta_s is not None else "unknown" if grid.state == "up" else "after its return"
    return f"{told}, then {stuck}" if stuck else told


def _stuck(grid: GridStatus) -> list[Text]:
    """Some of the debts that nobody could pay, each with its reason."""
    return [
        Text(
            f"{grid.name}: stuck for {time_text(debt.age_s)} after {debt.attempts} attempts: {debt.bucket}/{debt.key}: {debt.reason}"
        )
        for debt in grid.stuck_debts
    ]


def _remarks(grid: GridStatus) -> str:
    shut = [f"{group} {state}" for group, state in sorted(grid.breakers.items()) if state != "closed"]
    demoted = [f"{group} ({reason})" for group, reason in sorted(grid.demoted.items())]
    remarks = [grid.reason] if grid.state != "up" and grid.reason else []
    if grid.use == "out":
        remarks = ["an operator took it out of use"]
    if grid.use == "in":
        remarks.append("an operator keeps it in use")
    if shut:
        reasons = dict.fromkeys(grid.shut.values())
        remarks.append(f"breaker: {', '.join(shut)}" + (f" ({'; '.join(reasons)})" if reasons else ""))
    if demoted:
        remarks.append(f"asked after the others: {', '.join(demoted)}")
    if grid.read_share < 1 and not shut and not demoted and grid.use == "auto":
        remarks.append(f"comes back: first in {grid.read_share:.0%} of the reads")
    return "; ".join(remarks)


def _reads(status: Status) -> Table | None:
    """How reads of the grids fare; None while nobody has read any."""
    table = Table(
        "Reads", "First block", "p50", "p95", "Hedged", "Failed over", box=None, pad_edge=False, header_style="bold"
    )
    for grid in status.grids:
        counts = (count_text(grid.hedges), count_text(grid.failovers))
        rows = list(grid.first_block.items())
        if rows or grid.hedges or grid.failovers:
            size, first = rows[0] if rows else ("", None)
            times = (_ms(first.p50_s), _ms(first.p95_s)) if first is not None else ("-", "-")
            table.add_row(escape(grid.name), f"≤ {size}" if size else "-", *times, *counts)
        for size, first in rows[1:]:
            table.add_row("", f"≤ {size}", _ms(first.p50_s), _ms(first.p95_s))
    return table if table.row_count else None


def _ms(delay_s: float) -> str:
    return f"{delay_s * 1000:.{0 if delay_s >= 0.1 else 1}f} ms"
