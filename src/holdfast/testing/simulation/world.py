"""A whole installation in one process: nodes on one index, providers, clients, and what goes wrong with them.

Answers for building everything from a seed, for the course of a run (trouble, then peace, then a last look), and for
the trace. What it sees itself it reports: errors that no server may have, bounds, and whether everything converges.
Invariant: all time and chance come from the seed, so a run can be repeated exactly.
"""

import asyncio
import contextlib
import errno
import hashlib
import random
from collections import Counter, deque
from pathlib import Path
from typing import Any, Final

from holdfast.app import Node, build_grid
from holdfast.clock import Clock
from holdfast.config.credentials import Credentials
from holdfast.config.load import load
from holdfast.config.notation import Secret
from holdfast.config.places import GridSettings
from holdfast.config.settings import Settings
from holdfast.copies.site import Site
from holdfast.errors import ConfigError, S3Error
from holdfast.events import BreakerMoved, Event, GridAttempt, GridDemoted, GridMoved, KeeperFailed, RequestEnded, Teller
from holdfast.grids.grid import Grid
from holdfast.limits import CONNECTIONS, MIB, REQUESTS
from holdfast.model import Place, replace
from holdfast.testing.disk.disk import Disk
from holdfast.testing.evidence.judge import Sample
from holdfast.testing.lab.network.client import Client
from holdfast.testing.simulation.episodes import endure
from holdfast.testing.simulation.keeping import keep_versions, list_versions
from holdfast.testing.simulation.life import LIFE, Life, living
from holdfast.testing.simulation.loop import SimLoop
from holdfast.testing.simulation.machine import Lines, Machine, SimClock, simulated
from holdfast.testing.simulation.network import Door
from holdfast.testing.simulation.places import Provider, content_of
from holdfast.testing.simulation.plan import (
    DEATHS,
    LATE_S,
    Episode,
    Mishap,
    Plan,
    Terms,
    draw_plan,
    draw_terms,
    focus_of,
)
from holdfast.testing.simulation.workload import BUCKET, KEYS, PORT, Crowd

_PATIENCE_S: Final = 1200.0
"""So long after the last trouble everything must be paid: four times the longest pause of anything."""
_LOOK_S: Final = 10.0
_RESTART_S: Final = 2.0
_LARGEST_BYTES: Final = 9 * MIB
"""No body of the workload is larger."""
_DRAIN_S: Final = 10.0
_LINES: Final = 400
"""Newest log lines and trace lines that are kept for whoever looks for the reason."""
_WRITES: Final = frozenset(
    {"write", "writev", "pwrite", "copy_file_range", "open", "mkdir", "link", "rename", "replace"}
)
"""What a full disk refuses; `open` only of what is not there yet."""


class World:
    """One run. `run` is used once."""

    def __init__(self, seed: str, *, steps: int, folder: Path, keep: bool = False) -> None:
        self.seed = seed
        self.steps = steps
        self.terms: Terms = draw_terms(random.Random(f"{seed}/terms"), steps, focus_of(seed))
        terms = self.terms
        self.plan: Plan = draw_plan(
            random.Random(f"{seed}/plan"), grids=terms.providers, nodes=terms.nodes, horizon_s=terms.horizon_s,
            correlated=terms.correlated, focus=focus_of(seed),
        )  # fmt: skip
        self.loop = SimLoop(draw=random.Random(f"{seed}/network").random)
        self.machine = Machine(self.loop, random.Random(f"{seed}/machine"))
        self.providers = {name: Provider(name, random.Random(f"{seed}/{name}"), self.trace) for name in terms.providers}
        self.disk = Disk(folder / "disk", history=False)
        self.nodes: dict[str, Node] = {}
        """Those that serve."""
        self.wrong: list[str] = []
        self.samples: list[Sample] = []
        self.troubles: Counter[str] = Counter()
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.all_lines: list[str] | None = [] if keep else None
        self._sha256 = hashlib.sha256()
        self._settings = self._load(folder)
        self._lives: dict[str, Life] = {}
        self._deaths = {name: asyncio.Event() for name in terms.nodes}
        self._stops = {name: asyncio.Event() for name in terms.nodes}
        self._held_down: set[str] = set()
        """Mishaps for whose end nodes wait before they start again."""
        self._births = 0
        self._fuse: tuple[int, Mishap] | None = None
        self._gone = asyncio.Event()
        self._struck: list[tuple[Mishap, list[str]]] = []
        self._struck_now = asyncio.Event()
        self._disk_trouble = ""
        self._dice = random.Random(f"{seed}/world")
        self._disk_dice = random.Random(f"{seed}/disk")
        clock = SimClock(Machine(self.loop, random.Random(0)), f"{seed}/clients")
        self.crowd = Crowd(
            self.loop.time, dice=random.Random(f"{seed}/clients"), clock=clock, terms=terms, acknowledged=self._acknowledged
        )  # fmt: skip

    def trace(self, line: str) -> None:
        """Something happened; part of what must be the same in every run of this seed."""
        told = f"{self.loop.time():.6f} {line}"
        self._sha256.update(told.encode() + b"\n")
        self.lines.append(told)
        if self.all_lines is not None:
            self.all_lines.append(told)

    @property
    def sha256(self) -> str:
        """Of the trace so far."""
        return self._sha256.hexdigest()

    def run(self) -> None:
        """Play it to its end."""
        self.disk.owner = LIFE.get
        self.disk.now_ns = lambda: self.machine.now_ms() * 1_000_000
        self.disk.hook = self._touched
        self.loop.set_exception_handler(self._unheard)
        asyncio.set_event_loop(self.loop)
        try:
            with self.disk.installed(), simulated(self.machine):
                self.loop.run_until_complete(self._play())
                for name in list(self._lives):
                    self._bury(name)
        finally:
            asyncio.set_event_loop(None)
        self.wrong += self.crowd.wrong

    # --- the course of a run ---

    async def _play(self) -> None:
        over = asyncio.Event()
        async with asyncio.TaskGroup() as nodes:
            for name in self.terms.nodes:
                nodes.create_task(self._keep(name, over))
            mortal = nodes.create_task(self._undertake(over))
            await self._all_up(60.0)
            await self._create_bucket()
            watch = nodes.create_task(self._watch(over))
            async with asyncio.TaskGroup() as group:
                for episode in self.plan.episodes:
                    group.create_task(self._episode(episode))
                group.create_task(self._mishaps())
                group.create_task(self.crowd.run(self.terms.clients, self.steps))
            self._check_available()
            await self._peace()
            over.set()
            self._gone.set()
            for stop in self._stops.values():
                stop.set()
            await watch
            await mortal

    def _check_available(self) -> None:
        """While one provider has trouble, and nothing else has or lately had, every read is served."""
        for at_s, what in self.crowd.unread:
            if self.plan.spares_reads(at_s):
                self.wrong.append(f"{what} at {at_s:.0f} s, when one provider at most was in trouble")

    async def _peace(self) -> None:
        """Nothing goes wrong any more: everything converges, and all is there."""
        self.trace("peace")
        self._fuse, self._disk_trouble = None, ""
        self.machine.skew_ms, self.machine.slowness = 0, 1.0
        for provider in self.providers.values():
            await provider.heal(LATE_S)
        await self._all_up(120.0)
        client = Client(PORT, KEYS, clock=SimClock(self.machine, f"{self.seed}/last"))
        await self._settle(client)
        if self.plan.lies:
            # What was damaged in silence is found within one round of scrub.
            await asyncio.sleep(2.5 * self.terms.scrub_s)
            await self._settle(client)
        before = self.crowd.failures.total()
        listed = await self.crowd.list(0, client) or {}
        for key in self.terms.keys:
            await self.crowd.read(0, client, key, "get")
        if self.crowd.failures.total() > before:
            self.wrong.append(f"requests fail in peace: {dict(self.crowd.failures)}")
        await self._compare(listed, await self._check_versions(client))
        client.close()

    async def _settle(self, client: Client) -> None:
        until_s = self.loop.time() + _PATIENCE_S
        while await self._unsettled(client):
            if self.loop.time() > until_s:
                self.wrong.append(f"not converged in {_PATIENCE_S / 60:.0f} min: {await self._unsettled(client)}")
                return
            await asyncio.sleep(_LOOK_S)

    async def _unsettled(self, client: Client) -> str:
        """What is still owed or wrong; empty when all is well."""
        await self.crowd.abort_uploads(client)
        node = self.nodes[self.terms.nodes[0]]
        status, _ = await node.watch.status()
        down = [f"{grid.name} is {grid.state}: {grid.reason}" for grid in status.grids if grid.state != "up"]
        held = [
            f"{grid.name} holds {grid.held} of {status.objects}" for grid in status.grids if grid.held != status.objects
        ]
        rest = {
            "owed": status.owed,
            "tombstones": status.tombstones,
            "spool": status.spool_bytes,
            "uploads": status.uploads,
        }
        return "; ".join([*down, *held, *(f"{name} {value}" for name, value in rest.items() if value)])

    async def _check_versions(self, client: Client) -> dict[str, str]:
        """All that was acknowledged is listed; returns where older versions lie."""
        listed, homes = await list_versions(client, BUCKET) if self.terms.versions else ({}, {})
        self.wrong += self.crowd.keeping.wrong(listed)
        return homes

    async def _compare(self, listed: dict[str, str], homes: dict[str, str]) -> None:
        """Each grid holds exactly what is listed, and older versions where they belong."""
        wanted = {(BUCKET, key): self.crowd.contents.body(etag) for key, etag in {**listed, **homes}.items()}
        for name, provider in self.providers.items():
            self._differences(name, await provider.content(), wanted)
        node = self.nodes[self.terms.nodes[0]]
        for grid in self._settings.grid:
            if grid.name not in self.providers:
                self._differences(grid.name, await content_of(node.site.seats[grid.name].grid, BUCKET), wanted)

    def _differences(self, name: str, found: dict[tuple[str, str], bytes], wanted: dict[tuple[str, str], Any]) -> None:
        for bucket, key in sorted(found.keys() | wanted.keys()):
            place = bucket, key
            if key.startswith(".holdfast/"):
                continue
            if place not in found:
                self.wrong.append(f"{name} lacks {key}")
            elif place not in wanted:
                self.wrong.append(f"{name} still has {key}")
            elif found[place] != wanted[place]:
                self.wrong.append(f"{name} holds other bytes of {key}")

    async def _create_bucket(self) -> None:
        client = Client(PORT, KEYS, clock=SimClock(self.machine, f"{self.seed}/first"))
        reply = await client.ask("PUT", f"/{BUCKET}")
        assert reply.status == 200, reply.head
        if self.terms.versions:
            await keep_versions(client, BUCKET)
        client.close()

    # --- nodes ---

    async def _keep(self, name: str, over: asyncio.Event) -> None:
        """Start a node as often as it ends, as a service manager does."""
        while not over.is_set():
            life = self._lives[name] = Life(f"{name}.{self._births}")
            self._births += 1
            self._deaths[name].clear()
            self._stops[name].clear()
            with living(life):
                running = asyncio.create_task(self._live(name, life))
            died = asyncio.create_task(self._deaths[name].wait())
            await asyncio.wait({running, died}, return_when=asyncio.FIRST_COMPLETED)
            died.cancel()
            self.nodes.pop(name, None)
            if not life.dead:
                trouble = running.exception()
                self.trace(f"{life.name} ended: {type(trouble).__name__}")
                if trouble is not None and not isinstance(trouble, ConfigError):
                    self.wrong.append(f"{life.name} ended with {trouble!r}")
                self._kill(name)
            self._bury(name)
            if over.is_set():
                return
            while True:
                await asyncio.sleep(_RESTART_S * (0.5 + self._dice.random()))
                if not self._held_down:
                    break

    async def _live(self, name: str, life: Life) -> None:
        number = self.terms.nodes.index(name)
        credentials = Credentials(KEYS.access, Secret(KEYS.secret), "simulation")
        clock = SimClock(self.machine, f"{self.seed}/{life.name}")
        node = Node(
            self._settings, credentials, worker=number, clock=clock, build=self._builder(name), outlet=Lines(self._log)
        )
        node.teller.subscribe(lambda event: self._heard(life, event))
        async with contextlib.AsyncExitStack() as stack:
            await node.open(stack, [Door("127.0.0.1", PORT)], None)  # type: ignore[list-item]
            self.trace(f"{life.name} serves")
            self.nodes[name] = node
            await self._stops[name].wait()
            await node.server.drain(_DRAIN_S)

    def _builder(self, node: str) -> Any:
        def build(grid: GridSettings, data: Path, *, clock: Clock, teller: Teller) -> Grid:
            if grid.name in self.providers:
                return self.providers[grid.name].way(node, clock)
            return build_grid(grid, data, clock=clock, teller=teller)

        return build

    def _kill(self, name: str) -> None:
        """`kill -9`, from this very moment."""
        life = self._lives[name]
        if not life.dead:
            self.loop.kill(life)
            self.nodes.pop(name, None)
            self.trace(f"{life.name} dies")

    def _bury(self, name: str, silent_s: float = 0.0) -> None:
        """What the kernel does for a dead process."""
        life = self._lives[name]
        self._kill(name)
        self.disk.close_all(life)
        self.machine.bury(life)
        self.loop.network.forget(life, silent_s=silent_s)

    async def _all_up(self, patience_s: float) -> None:
        until_s = self.loop.time() + patience_s
        while len(self.nodes) < len(self.terms.nodes):
            if self.loop.time() > until_s:
                raise AssertionError(f"not all nodes came up: {sorted(self.nodes)}")
            await asyncio.sleep(0.5)

    def _heard(self, life: Life, event: Event) -> None:
        match event:
            case BreakerMoved() | GridMoved() | GridDemoted():
                self.trace(f"{life.name} {event}")
            case GridAttempt(outcome=outcome) if outcome not in ("ok", "refused"):
                self.trace(f"{life.name} {event.grid} {event.operation} {outcome}")
            case RequestEnded():
                self.trace(f"{life.name} {event.method} {event.path} {event.status} {event.code}")
                if event.code == "InternalError":  # A client does not hear of it when the body had begun.
                    self.wrong.append(f"{life.name} {event.method} {event.path}: {event.detail}")
            case KeeperFailed(reason=reason) if "Traceback" in reason:
                self.wrong.append(f"{life.name} {event.keeper}: {reason}")
            case _:
                pass

    def _unheard(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that the event loop could not give to anybody."""
        self.wrong.append(f"{context['message']}: {context.get('exception')!r}")

    def _log(self, line: str) -> None:
        self.lines.append(f"{self.loop.time():.6f} log: {line}")

    # --- troubles ---

    async def _episode(self, episode: Episode) -> None:
        await asyncio.sleep(episode.start_s)
        self.troubles[episode.trouble.name] += 1
        self.trace(f"{episode.grid} begins: {episode.trouble.name} {episode.node}")
        await endure(episode, self.providers[episode.grid], dice=self._dice)
        self.trace(f"{episode.grid} is well again")

    async def _mishaps(self) -> None:
        for mishap in self.plan.mishaps:
            await asyncio.sleep(max(0.0, mishap.start_s - self.loop.time()))
            if mishap.name not in DEATHS:
                self.troubles[mishap.name] += 1
            self.trace(f"mishap: {mishap.name} {mishap.node}")
            match mishap.name:
                case "kill" | "kill all" | "power" if mishap.at_operation:
                    self._gone.clear()
                    self._fuse = mishap.at_operation, mishap
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(60.0):
                            await self._gone.wait()
                    self._fuse = None
                case "kill" | "kill all" | "power":
                    self._strike(mishap)
                case "restart":
                    self._stops[mishap.node].set()
                    await asyncio.sleep(mishap.length_s)
                case "slow disk":
                    self.machine.slowness = 5 + 100 * self._dice.random() ** 3
                    await asyncio.sleep(mishap.length_s)
                    self.machine.slowness = 1.0
                case "full disk" | "disk errors":
                    self._disk_trouble = mishap.name
                    await asyncio.sleep(mishap.length_s)
                    self._disk_trouble = ""
                case "clock forward":
                    self.machine.skew_ms = int(1000 * self._dice.choice((1, 60, 600, 86_400)))
                    await asyncio.sleep(mishap.length_s)
                    self.machine.skew_ms = 0
                case "clock back":
                    self.machine.skew_ms = -int(1000 * self._dice.choice((1, 60, 600)))
                    await asyncio.sleep(mishap.length_s)
                    self.machine.skew_ms = 0
            if mishap.name in DEATHS:
                await asyncio.sleep(min(60.0, mishap.length_s))
                self._held_down.discard(mishap.name)

    def _strike(self, mishap: Mishap) -> None:
        """Processes die at this very moment; what the kernel does afterwards is done a little later."""
        self.troubles[mishap.name] += 1
        names = [mishap.node] if mishap.name == "kill" else list(self.terms.nodes)
        for name in names:
            self._kill(name)
        self._held_down.add(mishap.name)
        self._struck.append((mishap, names))
        self._gone.set()
        self._struck_now.set()

    async def _undertake(self, over: asyncio.Event) -> None:
        """Clear up after deaths, in the name of no process."""
        while not over.is_set():
            self._struck_now.clear()
            while self._struck:
                mishap, names = self._struck.pop(0)
                for name in names:
                    self._bury(name, silent_s=20.0 if mishap.name == "power" else 0.0)
                if mishap.name == "power":
                    self.disk.cut(self._disk_dice.random)
                for name in names:
                    self._deaths[name].set()
            waiting = asyncio.create_task(self._struck_now.wait())
            ending = asyncio.create_task(over.wait())
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            ending.cancel()

    def _touched(self, operation: str, path: str) -> None:
        """Before each operation on the disk."""
        life = LIFE.get()
        if life is None:
            return
        if life.dead:
            raise OSError(errno.EIO, "simulated: this process is dead", path)
        if self._fuse is not None:
            left, mishap = self._fuse
            self._fuse = (left - 1, mishap) if left > 1 else None
            if left <= 1:
                self._strike(mishap)
                if life.dead:
                    raise OSError(errno.EIO, "simulated: this process is dead", path)
        is_there = operation == "open" and self.disk.find(path) is not None
        if self._disk_trouble == "full disk" and operation in _WRITES and not is_there:
            raise OSError(errno.ENOSPC, "simulated: no space left", path)
        if self._disk_trouble == "disk errors" and self._disk_dice.random() < 0.01:
            raise OSError(errno.EIO, "simulated: input/output error", path)

    # --- bounds ---

    def _acknowledged(self, key: str, body: bytes) -> str:
        """What is wrong when this write was acknowledged just now: under a policy that refuses outages its grids hold it."""
        holding = len(self.terms.folders) + sum(provider.holds(key, body) for provider in self.providers.values())
        is_enough = holding >= self.terms.ack or self.terms.accept or self.plan.lies
        return "" if is_enough else f"acknowledged with {holding} grids of {self.terms.ack}"

    async def _watch(self, over: asyncio.Event) -> None:
        """Look at what has limits."""
        while not over.is_set():
            gauges: dict[str, float] = {}
            for name, node in list(self.nodes.items()):
                gauges[f"requests at {name}"] = node.server.requests
                gauges[f"connections of {name}"] = node.server.connections
                with contextlib.suppress(S3Error, ConfigError):  # Its disk may fail just now.
                    gauges["spool"] = (await node.site.index.usage()).spool_bytes
                    await self._check_held(node.site)
            self.samples.append(Sample(self.loop.time(), gauges))
            await asyncio.sleep(_LOOK_S)

    async def _check_held(self, site: Site) -> None:
        """At any moment a grid holds each copy that the index counts on: what it is not owed."""
        for key, version in await site.index.copies(BUCKET, after="", limit=1000):
            owed = await site.index.debt_of(BUCKET, key)
            for copy in version.copies:
                seat = site.seat(copy.grid)
                provider = self.providers.get(seat.name) if seat is not None else None
                if provider is None or copy.grid in owed or (self.plan.lies and provider.name == self.plan.victim):
                    continue
                there = provider.etag(Place(BUCKET, key))
                if there != copy.etag:
                    self.wrong.append(f"{provider.name} holds other bytes of {key} than the index counts on: {there!r}")

    @property
    def limits(self) -> dict[str, float]:
        """Of what `samples` show."""
        names = self.terms.nodes
        # Clients whose bodies were let in when there was still room may bring it above.
        spool = self.terms.spool_bytes + self.terms.clients * _LARGEST_BYTES
        requests = {f"requests at {name}": float(REQUESTS) for name in names}
        return {"spool": spool, **requests, **{f"connections of {name}": float(CONNECTIONS) for name in names}}

    def _load(self, folder: Path) -> Settings:
        file = folder / "holdfast.toml"
        file.write_text(self.terms.settings(folder / "disk"))
        settings = load(file, {})
        return replace(settings, server=replace(settings.server, workers=len(self.terms.nodes)))
