"""`make bench`: what Holdfast costs on this machine, beside what the machine can do at most.

Runs servers as processes of their own, loads them from this one, prints a table and appends JSON lines to
`bench/results/`. Exits with 1 when a server answered anything wrongly.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import machine
from bench.figures import Figures, medians, percentile, rounded, short, spread, table
from bench.load import WrongReply, drive
from bench.process import cpu_s, forget_high_water, high_water_mib
from bench.scenarios import FLOOR, LARGE, SCENARIOS, Scenario, Size, Stage
from bench.servers import PEERS, ROOT, NotReady, Running, bare, holdfast, settle

Line = dict[str, object]
_BIG = 1024 * 1024
"""A scenario that moves more than this per request is told in MB/s."""


class Measured(NamedTuple):
    """The medians of one scenario at one server."""

    server: str
    scenario: str
    connections: int
    figures: Figures
    spread: float


def measure(server: Running, stage: Stage, scenario: Scenario, connections: int) -> Figures:
    """One round of one scenario. Raises WrongReply and NotReady."""
    sources = scenario.sources(stage, connections)
    forget_high_water(server.pid)
    before_s = cpu_s(server.pid)
    load = drive(stage.account.address, sources, seconds=stage.size.seconds if scenario.endless else float("inf"))
    acknowledged_s = cpu_s(server.pid) - before_s
    figures = {
        "ops_per_s": load.replies / load.elapsed_s,
        "p50_us": percentile(load.latencies_ns, 0.5) / 1e3,
        "p99_us": percentile(load.latencies_ns, 0.99) / 1e3,
        "cpu_us": acknowledged_s / load.replies * 1e6,
        "client_cpu_us": load.client_cpu_s / load.replies * 1e6,
        "ops": load.replies,
    }
    if scenario.writes:
        figures["settle_s"] = settle(server)
        figures["settled_cpu_us"] = (cpu_s(server.pid) - before_s) / load.replies * 1e6
    figures["resident_mib"] = high_water_mib(server.pid)
    size = load.received / load.replies
    if scenario.name.startswith("PUT 64 MiB"):
        size = LARGE
    if size > _BIG:
        figures["mb_per_s"] = figures["ops_per_s"] * size / 1e6
    return figures


def run_server(
    serve: Callable[[], AbstractContextManager[Running]], size: Size, rounds: int, only: Sequence[str]
) -> tuple[list[Measured], str]:
    """All scenarios at one server, the rounds one after the other, and the durability that it promises.

    A scenario that a server of others gets wrong is said and left out; a wrong reply of ours raises WrongReply.
    """
    kept: defaultdict[tuple[Scenario, int], list[Figures]] = defaultdict(list)
    chosen = [row for row in SCENARIOS if not only or any(word in row.name for word in only)]
    names = {row.after for row in chosen}
    chosen = [row for row in SCENARIOS if row in chosen or row.name in names]
    with serve() as server:
        stage = Stage(server.account, size)
        stage.prepare()
        settle(server)
        rows = [(scenario, connections) for scenario in chosen for connections in scenario.connections]
        for stage.turn in range(rounds):
            for scenario, connections in rows:
                _progress(f"{server.name}: round {stage.turn + 1}, {scenario.name}, {connections} connections")
                try:
                    kept[scenario, connections].append(measure(server, stage, scenario, connections))
                except WrongReply as trouble:
                    if server.ours:
                        raise
                    print(f"\n{server.name}, {scenario.name}: {str(trouble)[:300]}", file=sys.stderr)
        _progress("")
        found = [
            Measured(server.name, scenario.name, connections, medians(figures), spread(figures, "ops_per_s"))
            for (scenario, connections), figures in kept.items()
            if figures
        ]
        return found, server.durability


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def run_limits(data: Path, size: Size, rounds: int) -> Figures:
    """The limits of the machine, the price of a bare HTTP reply among them."""
    found = []
    with bare(data / "bare") as server:
        stage = Stage(server.account, size)
        for _ in range(rounds):
            floor = measure(server, stage, FLOOR, FLOOR.connections[0])
            limits = machine.limits(data)
            found.append({**limits, "bare_http_us": floor["cpu_us"], "bare_http_per_s": floor["ops_per_s"]})
    return medians(found)


def report(limits: Figures, measured: Sequence[Measured]) -> str:
    """The table for people."""
    heads = [
        "",
        "conns",
        "ops/s",
        "±",
        "p50 µs",
        "p99 µs",
        "CPU µs/op",
        "settled",
        "MB/s",
        "of MD5",
        "MiB",
        "client µs",
    ]
    lines = ["limits of this machine: " + ", ".join(f"{name} {short(value)}" for name, value in limits.items())]
    for server in dict.fromkeys(row.server for row in measured):
        rows = [_cells(row, limits) for row in measured if row.server == server]
        lines += ["", server, table(heads, rows)]
    ours = {(row.scenario, row.connections): row.figures for row in measured if row.server == "holdfast"}
    for peer in dict.fromkeys(row.server for row in measured if not row.server.startswith("holdfast")):
        rows = []
        for row in measured:
            figures = ours.get((row.scenario, row.connections))
            if row.server == peer and figures:
                cpu = figures["cpu_us"] / row.figures["cpu_us"] if row.figures["cpu_us"] else None
                rate = figures["ops_per_s"] / row.figures["ops_per_s"]
                rows.append([row.scenario, str(row.connections), short(rate), short(cpu)])
        lines += ["", f"holdfast over {peer}", table(["", "conns", "ops/s", "CPU/op"], rows)]
    return "\n".join(lines)


def _cells(row: Measured, limits: Figures) -> list[str]:
    get = row.figures.get
    speed = get("mb_per_s")
    share = f"{speed / limits['md5_mb_per_s']:.0%}" if speed and row.scenario.startswith("PUT") else ""
    return [
        row.scenario,
        str(row.connections),
        short(get("ops_per_s")),
        f"{row.spread:.0%}",
        *(short(get(name)) for name in ("p50_us", "p99_us", "cpu_us", "settled_cpu_us", "mb_per_s")),
        share,
        short(get("resident_mib")),
        short(get("client_cpu_us")),
    ]


def main() -> int:
    """Run, print, keep."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: about a minute")
    parser.add_argument("--rounds", type=int, help="rounds of each scenario (3; quick: 1)")
    parser.add_argument("--seconds", type=float, help="length of each reading scenario (2; quick: 0.7)")
    parser.add_argument("--writes", type=int, help="requests of each writing scenario (8000; quick: 2400)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="worker processes; several: one run each")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="scenarios whose name has these words")
    parser.add_argument("--peers", action="store_true", help="compare with rclone and seaweedfs, installing them first")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "build" / "bench", help="where servers keep their data: a real disk"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results", help="where results are appended")
    parser.add_argument("--dry", action="store_true", help="do not keep the results")
    args = parser.parse_args()
    size = Size(args.seconds or (0.7 if args.quick else 2.0), args.writes or (2400 if args.quick else 8000), 2**30)
    rounds = args.rounds or (1 if args.quick else 3)
    data: Path = args.data.resolve()
    data.mkdir(parents=True, exist_ok=True)

    began = datetime.now(UTC)
    run = began.strftime("%Y%m%dT%H%M%SZ")
    header: Line = {"run": run, "date": began.isoformat(timespec="seconds"), "commit": machine.commit()}
    header["machine"] = machine.describe(data)
    header |= {"rounds": rounds, "seconds": size.seconds, "writes": size.writes, "quick": args.quick}
    measured: list[Measured] = []
    durability: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="run-", dir=data) as name:
        place = Path(name)
        serves: list[Callable[[], AbstractContextManager[Running]]] = [
            partial(holdfast, place / "holdfast", workers) for workers in args.workers
        ]
        serves += [partial(peer, place / "peer") for peer in PEERS if args.peers]
        try:
            limits = run_limits(place, size, rounds)
            for serve in serves:
                found, promised = run_server(serve, size, rounds, args.only)
                measured += found
                durability |= {row.server: promised for row in found}
        except (WrongReply, NotReady) as trouble:
            print(f"\nbench: {trouble}", file=sys.stderr)
            return 1
    print(json.dumps(header["machine"]))
    print(report(limits, measured))
    if not args.dry:
        header |= {"limits": rounded(limits), "durability": durability}
        keep(args.results / f"{began:%Y-%m}.jsonl", header, measured)
    return 0


def keep(path: Path, header: Line, measured: Sequence[Measured]) -> None:
    """Append a line for the run and one for each scenario."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header]
    for row in measured:
        place: Line = {"run": header["run"], "commit": header["commit"], "server": row.server}
        place |= {"scenario": row.scenario, "connections": row.connections, "spread": round(row.spread, 3)}
        lines.append(place | rounded(row.figures))
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
