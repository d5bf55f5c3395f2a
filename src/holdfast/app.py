"""The composition root: builds a node from its settings, starts it, and stops it in order.

Answers for what is joined to what, for one `serve` per data directory, and for the order of start and stop. It decides
nothing else. Invariant: while a node serves it has the lock of its data directory; when it has stopped, nothing that
was acknowledged waits in memory.
"""

import asyncio
import contextlib
import fcntl
import gc
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import uvloop

from holdfast import __version__
from holdfast.access.guard import Guard
from holdfast.cache.cache import Cache
from holdfast.clock import Clock
from holdfast.config.afterwards import WebhookSettings
from holdfast.config.credentials import Credentials
from holdfast.config.notation import Unreadable, read_secret
from holdfast.config.places import GridSettings
from holdfast.config.settings import STANDARD, Settings
from holdfast.copies.site import PolicyTerms, Seat, Site
from holdfast.errors import ConfigError
from holdfast.events import Noted, Teller
from holdfast.folders import make_folder
from holdfast.grids.folder import FolderGrid
from holdfast.grids.grid import Grid
from holdfast.grids.memory import MemoryGrid
from holdfast.grids.obstore.grid import ObstoreGrid
from holdfast.grids.obstore.store import Account
from holdfast.grids.obstore.terms import read_terms as obstore_terms
from holdfast.grids.s3.connection import Pool
from holdfast.grids.s3.credentials import KeySource, profile_keys, role_keys, setting_keys
from holdfast.grids.s3.grid import S3Grid
from holdfast.grids.s3.terms import read_terms
from holdfast.health.suspicion import Suspicion
from holdfast.index.sqlite import SqliteIndex
from holdfast.keepers.catchup import LANES, CatchUp
from holdfast.keepers.lifecycle import Lifecycle
from holdfast.keepers.notify import DeadLetters, Notify
from holdfast.keepers.pins import Pins
from holdfast.keepers.probe import attach_all, probes
from holdfast.keepers.reconcile import Reconcile
from holdfast.keepers.scrub import Scrub
from holdfast.keepers.supervisor import Keeper, Supervisor
from holdfast.keepers.sweep import Sweep
from holdfast.limits import GC_OBJECTS
from holdfast.model import to_json
from holdfast.s3.identities import OWNER_ID
from holdfast.sealing.keyring import open_ring
from holdfast.sealing.kms import open_kms
from holdfast.sealing.master import MasterKey
from holdfast.sealing.vault import Vault
from holdfast.serve.admin import AdminServer, Readiness, application
from holdfast.serve.gateway import Gateway
from holdfast.serve.http import Bounds, S3Server
from holdfast.serve.journal.delivery import Journal
from holdfast.serve.log import Log, Outlet, bridge, tell_of_loop_errors
from holdfast.serve.metrics import Gauges, Publisher, Tally
from holdfast.serve.standings import health_gauges, notice_gauges
from holdfast.serve.status import Endpoint, Watch, endpoint_path, node_name
from holdfast.serve.tls import Tls
from holdfast.serve.workers import listen, supervise, until_stopped
from holdfast.spool.spool import Spool
from holdfast.store.store import Store
from holdfast.webhooks.sender import Sender
from holdfast.wrappers.breaker import Breakers
from holdfast.wrappers.coats import put_on

_EX_CONFIG: Final = 2


def serve(settings: Settings, credentials: Credentials, *, clock: Clock, announce: Callable[[Endpoint], None]) -> int:
    """Serve until a signal stops it, and return the exit code.

    `announce` is called once, when the first worker serves. Raises ConfigError when it cannot start.
    """
    os.umask(0o077)  # Index, spool and grids hold customers' data: nobody else's business on this machine.
    with _lock(settings.run_path):
        endpoint_path(settings.run_path).unlink(missing_ok=True)
        tls = Tls(str(settings.server.tls_cert), str(settings.server.tls_key)) if settings.server.tls_cert else None
        doors = _open_doors(settings)
        endpoint = Endpoint(_url(doors.s3, "http" if tls is None else "https"), _url(doors.admin, "http"), os.getpid())

        def child(number: int) -> int:
            def ready() -> None:
                if number == 0 and not endpoint_path(settings.run_path).exists():
                    _write_atomically(endpoint_path(settings.run_path), to_json(endpoint))
                    announce(endpoint)

            try:
                node = Node(settings, credentials, worker=number, clock=clock)
                return uvloop.run(node.run(doors, tls, ready))
            except ConfigError as trouble:
                print(f"error: {trouble}", file=sys.stderr)  # noqa: T201 - the log has not begun, or has ended
                return _EX_CONFIG

        def tell(sentence: str) -> None:
            print(sentence, file=sys.stderr)  # noqa: T201 - the parent of workers has no log of its own

        try:
            return supervise(
                child, workers=settings.server.workers, sockets=[*doors.s3, *doors.admin], clock=clock, tell=tell
            )
        finally:
            endpoint_path(settings.run_path).unlink(missing_ok=True)


class Doors:
    """The listening sockets of a node, shared by its workers."""

    def __init__(self, s3: list[socket.socket], admin: list[socket.socket]) -> None:
        self.s3 = s3
        self.admin = admin


def _open_doors(settings: Settings) -> Doors:
    server = settings.server
    s3 = listen(server.listen.host, server.listen.port)
    try:
        admin = listen(server.admin.host, server.admin.port) if server.admin is not None else []
    except ConfigError as trouble:
        for sock in s3:
            sock.close()
        remedy = "Is another server running? Choose another address with --admin."
        raise ConfigError(f"server.admin = {server.admin}", trouble.what, remedy) from trouble
    return Doors(s3, admin)


def _url(sockets: list[socket.socket], scheme: str) -> str:
    if not sockets:
        return ""
    host, port = sockets[0].getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@contextlib.contextmanager
def _lock(run: Path) -> Iterator[None]:
    """Be the only `serve` on this data directory. Workers inherit the lock, so it lasts as long as any of them."""
    try:
        make_folder(run, 0o700)
        descriptor = os.open(run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as trouble:
        what = f"{trouble.filename or run}: {trouble.strerror}."
        raise ConfigError("data", what, "Choose a directory that this user can write to.") from trouble
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as trouble:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            what = f"{run.parent} is being served by process {holder}."
            raise ConfigError("data", what, "Stop that one first, or use another directory with --data.") from trouble
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _write_atomically(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    os.replace(draft, path)


BuildGrid = Callable[..., Grid]
"""See `build_grid`."""


def build_grid(grid: GridSettings, data: Path, *, clock: Clock, teller: Teller) -> Grid:
    """The place that a grid's settings mean, without its coats. Raises ConfigError."""
    folder = grid.folder(data)
    if folder is not None:
        return FolderGrid(grid.name, folder, clock=clock)
    match grid.scheme:
        case "s3":
            return _s3_grid(grid, clock, teller)
        case "azure" | "gcs":
            return _obstore_grid(grid, clock)
        case _:
            return MemoryGrid(grid.name)


def _s3_grid(grid: GridSettings, clock: Clock, teller: Teller) -> Grid:
    terms = read_terms(grid)

    def tell(host: str, reason: str) -> None:
        teller.tell(
            Noted(
                "a name has no address now: going on with the last one",
                {"grid": grid.name, "host": host, "reason": reason},
            )
        )

    pool = Pool(tls_ca=grid.tls_ca, proxy=grid.proxy, tell=tell)
    keys: KeySource
    if terms.roles:
        keys = role_keys(pool.fetch, os.environ, clock=clock)
    elif grid.profile:
        keys = profile_keys(grid.profile, os.environ, clock=clock)
    else:
        texts = (grid.access_key.reveal(), grid.secret_key.reveal(), grid.session_token.reveal())
        keys = setting_keys(*texts, os.environ, clock=clock)
    return S3Grid(
        grid.name,
        terms.location,
        terms.endpoint,
        keys=keys,
        pool=pool,
        create_buckets=terms.create_buckets,
        clock=clock,
        teller=teller,
    )


def _obstore_grid(grid: GridSettings, clock: Clock) -> Grid:
    terms = obstore_terms(grid)
    account = Account(terms.provider, terms.access, clock=clock, grid=grid.name)
    return ObstoreGrid(grid.name, terms.location, account, clock=clock)


async def release_grid(grid: Grid) -> None:
    """Give a place up that nothing was left in, so that another index may have it."""
    if isinstance(grid, FolderGrid | S3Grid | ObstoreGrid):
        await grid.release()


def _notify(site: Site, webhook: WebhookSettings, settings: Settings) -> Notify:
    try:
        secret = read_secret(webhook.secret.reveal(), os.environ)
    except Unreadable as trouble:
        raise ConfigError(f'[[webhook]] "{webhook.name}" secret', trouble.what, trouble.remedy) from trouble

    def tell(host: str, reason: str) -> None:
        fields: dict[str, str | int | float] = {"webhook": webhook.name, "host": host, "reason": reason}
        site.teller.tell(Noted("a name has no address now: going on with the last one", fields))

    sender = Sender(webhook.url, tls_ca=webhook.tls_ca, tell=tell)
    return Notify(site, webhook.name, sender, secret=secret.reveal(), region=settings.server.region)


def policy_terms(settings: Settings) -> list[PolicyTerms]:
    """All policies with their effective values."""
    return [
        PolicyTerms(name, terms.grids, settings.ack(name), terms.outage == "accept", terms.encrypt)
        for name, terms in settings.policy.items()
    ]


class Node:
    """One serving process. `run` is used once; or `open`, by whoever brings sockets and grids of their own."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        *,
        worker: int,
        clock: Clock,
        build: BuildGrid = build_grid,
        outlet: Outlet | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._worker = worker
        self._build_grid = build
        self.teller = Teller()
        self._outlet = outlet or Outlet()
        self._log = self._begin_log()
        self._tally = Tally()
        self.teller.subscribe(self._tally.listen)
        self.teller.subscribe(self._log.listen)
        self._name = node_name()
        self._post = f"{self._name}:{worker}"
        """What this worker and the one before it in its place have in common."""
        self._index = SqliteIndex(settings.index_path, clock=clock, teller=self.teller, node=self._name)
        self._spool = Spool(settings.spool_path, limit_bytes=settings.spool.limit, clock=clock)
        self._suspicion = Suspicion()
        self.site = self._build_site()
        self._dead_letters = DeadLetters(self.site)
        self.server = self._build_server(credentials)
        self._publisher = Publisher(
            self._tally, settings.run_path, worker=worker, clock=clock, gauges=lambda: self._gauges()
        )
        self.watch = Watch(
            self.site,
            clock=clock,
            publisher=self._publisher,
            policies=policy_terms(settings),
            inline_limit=settings.cache.inline,
            node=self._name,
        )
        self._supervisor = Supervisor(self._keepers(), clock=clock, teller=self.teller)

    def _begin_log(self) -> Log:
        terms = self._settings.log
        fields = {"worker": self._worker} if self._settings.server.workers > 1 else {}
        return Log(
            self._outlet,
            clock=self._clock,
            level=terms.level,
            form=terms.format,
            colors=sys.stderr.isatty(),
            all_requests=terms.requests,
            slow_s=terms.slow,
            **fields,
        )

    def _build_seat(self, grid: GridSettings) -> Seat:
        breakers = Breakers(grid.name, clock=self._clock, teller=self.teller, suspicion=self._suspicion)
        place = self._build_grid(grid, self._settings.data, clock=self._clock, teller=self.teller)
        coated = put_on(place, breakers=breakers, clock=self._clock, teller=self.teller, deadline_s=grid.deadline)
        return Seat(coated, grid.url, breakers=breakers, last=coated.as_last())

    def _build_cache(self, seats: Sequence[Seat]) -> Cache | None:
        """None when it is turned off, and when every grid is on this machine: then there is nothing to be gained."""
        terms = self._settings.cache
        if not terms.size or not (terms.local or any(not seat.grid.capabilities.local for seat in seats)):
            return None
        return Cache(
            self._settings.cache_path,
            size_bytes=terms.size,
            age_s=terms.age,
            local=terms.local,
            clock=self._clock,
            teller=self.teller,
            worker=self._worker,
            workers=self._settings.server.workers,
        )

    def _build_site(self) -> Site:
        seats = [self._build_seat(grid) for grid in self._settings.grid]
        return Site(
            index=self._index,
            spool=self._spool,
            seats=seats,
            cache=self._build_cache(seats),
            webhooks=[webhook.name for webhook in self._settings.webhook],
            policies=policy_terms(self._settings),
            default_policy=STANDARD,
            bucket_policies={bucket.name: bucket.policy for bucket in self._settings.bucket},
            clock=self._clock,
            teller=self.teller,
            keep_inline_bytes=self._settings.cache.inline,
            vault=self._build_vault(),
            holder=f"{self._post}#{os.getpid()}:{self._clock.token(8).hex()}",
        )

    def _build_vault(self) -> Vault:
        """The keys of this node. Raises ConfigError."""
        master = self._build_master()
        return Vault(master, open_kms(master, self._settings.sealing.kms_keys, os.environ, self._clock), self._clock)

    def _build_master(self) -> MasterKey:
        """The ring under which secrets and data keys are sealed. Raises ConfigError."""
        given = self._settings.sealing.master_key
        return open_ring(self._settings.master_key_path, self._clock, given=given, environ=os.environ)

    def _build_server(self, credentials: Credentials) -> S3Server:
        server = self._settings.server
        guard = Guard(
            self._index,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key.reveal(),
            master=self._build_master(),
            clock=self._clock,
        )
        store = Store(self.site, owner=OWNER_ID, region=server.region)
        self._journal = Journal(
            self._index,
            store,
            owner_of=guard.owner_of,
            region=server.region,
            interval_s=self._settings.access_logs.interval,
            clock=self._clock,
            teller=self.teller,
        )
        gateway = Gateway(
            store,
            guard=guard,
            region=server.region,
            domain=server.domain,
            website_domain=server.website_domain,
            clock=self._clock,
            teller=self.teller,
            secure=server.tls_cert is not None,
            customer_keys=self._settings.customer_keys,
            ownership=server.object_ownership,
        )
        bounds = Bounds(connections=server.connections, requests=server.requests)
        s3 = S3Server(gateway.handle, clock=self._clock, bounds=bounds)
        self.site.pressure = lambda: s3.requests
        return s3

    def _keepers(self) -> list[Keeper]:
        """Every worker probes and catches up; what looks at everything is done by the first."""
        site = self.site
        catching_up = [CatchUp(site, seat, lane) for seat in site.seats.values() for lane in range(len(LANES))]
        keepers: list[Keeper] = [self._publisher, self._journal, Pins(site), *probes(site), *catching_up]
        if site.cache is not None:
            keepers.append(site.cache)
        if self._worker == 0:
            keepers += [
                self.watch,
                Reconcile(site),
                Sweep(site),
                Scrub(site, interval_s=self._settings.scrub.interval),
                Lifecycle(site, day_s=self._settings.lifecycle.day),
                self._dead_letters,
                *(_notify(site, webhook, self._settings) for webhook in self._settings.webhook),
            ]
        return keepers

    def _gauges(self) -> Gauges:
        return {
            "holdfast_connections": self.server.connections,
            "holdfast_requests_in_progress": self.server.requests,
            **(self.site.cache.gauges() if self.site.cache is not None else {}),
            "holdfast_suspects_itself": float(self._suspicion.ourselves),
            **health_gauges(self.site, worker=self._worker),
            **notice_gauges(self._dead_letters.sums, now_ms=self._clock.now_ms()),
        }

    async def run(self, doors: Doors, tls: Tls | None, ready: Callable[[], None]) -> int:
        """Start, call `ready`, serve until a signal comes, stop. Raises ConfigError when it cannot start."""
        bridge(self._log)
        tell_of_loop_errors(self._log, asyncio.get_running_loop())
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._outlet.close)
            await self.open(stack, doors.s3, tls)
            self.teller.tell(Noted("serving", {"version": __version__, "pid": os.getpid()}))
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_OBJECTS)
            await self._serve(doors, tls, ready)
        return 0

    async def open(self, stack: contextlib.AsyncExitStack, sockets: Sequence[socket.socket], tls: Tls | None) -> None:
        """Begin to serve on these sockets; `stack` ends all but the listener (see `server`)."""
        await self._start(stack)
        await self.server.start(sockets, tls=tls.context if tls is not None else None)

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        """Index, spool, grids, keepers; their ends in reverse. A grid that is missing does not stop the start."""
        await self._index.open()
        stack.push_async_callback(self._index.close)
        # Whoever had this post before is dead, or it would have the lock; what it had in hand need not wait for a lease to end.
        await self._index.release_leases(self._post)
        try:
            self._spool.open()
        except OSError as trouble:
            what = f"{trouble.filename or self._spool.root}: {trouble.strerror}."
            raise ConfigError("spool.path", what, "Check its owner and permissions.") from trouble
        stack.callback(self._spool.close)
        for seat in self.site.seats.values():
            stack.push_async_callback(seat.grid.close)
        await self.site.obey_pins()
        await attach_all(self.site)
        stack.push_async_callback(self._index.release_leases, self.site.holder)
        self._supervisor.start()
        stack.push_async_callback(self._supervisor.stop)

    async def _serve(self, doors: Doors, tls: Tls | None, ready: Callable[[], None]) -> None:
        """Until a signal comes; then requests in progress are finished while the admin listener says so."""
        readiness = Readiness(self._index, clock=self._clock, draining=lambda: self.watch.draining)
        admin = AdminServer(application(self.watch, readiness))
        async with asyncio.TaskGroup() as group:
            if self._worker == 0 and doors.admin:
                group.create_task(admin.serve(doors.admin))
            stopped = group.create_task(until_stopped(lambda: self._reload(tls)))
            await asyncio.sleep(0)  # Whoever hears that it serves may stop it at once, so it listens for that first.
            ready()
            await stopped
            self.watch.draining = True
            self.teller.tell(Noted("stopping", {"requests": self.server.requests}))
            graceful = await self.server.drain(self._settings.server.drain)
            admin.stop()
        self.teller.tell(Noted("stopped" if graceful else "stopped: some requests were cut off"))

    def _reload(self, tls: Tls | None) -> None:
        """At SIGHUP: take renewed certificates."""
        if tls is None:
            return
        try:
            tls.reload()
            self.teller.tell(Noted("certificates were reloaded"))
        except ConfigError as trouble:
            self._log.line("error", str(trouble))
