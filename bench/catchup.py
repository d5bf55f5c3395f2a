"""How fast debts are paid: N objects that are owed to a grid, and the real index, spool, coats and keepers until none is.

The `s3` grid is at a Holdfast with a single folder, in a process of its own on loopback. The objects are written first, while
nobody pays. Prints one JSON line per kind of grid: objects and bytes per second, and processor
time of this process per object.

    python -m bench.catchup [--objects 100000] [--size 4096] [--deletes] [--grids memory folder s3] [--data DIR] [--profile]
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvloop

from bench import machine
from bench.figures import rounded
from bench.servers import provider
from holdfast.app import build_grid
from holdfast.clock import SystemClock
from holdfast.config.notation import Secret
from holdfast.config.places import GridSettings
from holdfast.copies.site import PolicyTerms, Seat, Site
from holdfast.events import Teller
from holdfast.grids.grid import Grid
from holdfast.index.sqlite import SqliteIndex
from holdfast.keepers.catchup import LANES, CatchUp
from holdfast.keepers.probe import attach_all
from holdfast.keepers.supervisor import Supervisor
from holdfast.model import Checksum, Facts
from holdfast.s3 import CreateBucket, DeleteAsk, DeleteObjects, PutObject
from holdfast.spool.spool import Spool
from holdfast.store.store import Store
from holdfast.wrappers.breaker import Breakers
from holdfast.wrappers.coats import put_on

BUCKET = "bench"
WRITERS = 64
PAGE = 1000


class Held:
    """A body in memory."""

    trailer: Checksum | None = None

    def __init__(self, data: bytes) -> None:
        self.size: int | None = len(data)
        self._rest = data

    async def read(self) -> bytes:
        piece, self._rest = self._rest[: 1024 * 1024], self._rest[1024 * 1024 :]
        return piece


@asynccontextmanager
async def site_on(data: Path, place: Grid, ack: int = 0) -> AsyncIterator[tuple[Site, Store, Teller]]:
    """A node's engine on one grid."""
    clock, teller = SystemClock(), Teller()
    index = SqliteIndex(data / "index.db", clock=clock, teller=teller, node="bench")
    await index.open()
    spool = Spool(data / "spool", limit_bytes=1 << 40, clock=clock)
    spool.open()
    breakers = Breakers(place.name, clock=clock, teller=teller)
    seat = Seat(put_on(place, breakers=breakers, clock=clock, teller=teller), place.name)
    site = Site(
        index=index,
        spool=spool,
        seats=[seat],
        policies=[PolicyTerms("standard", (place.name,), ack, True)],
        default_policy="standard",
        bucket_policies={},
        clock=clock,
        teller=teller,
        keep_inline_bytes=1 << 40,
        holder="bench",
    )
    await attach_all(site)
    store = Store(site, owner="owner", region="us-east-1")
    await store.create_bucket(CreateBucket(BUCKET))
    try:
        yield site, store, teller
    finally:
        await seat.grid.close()
        await index.close()
        spool.close()


async def write(store: Store, objects: int, size: int) -> None:
    """Put the objects, none of which is paid for."""
    body = bytes(size)
    numbers = iter(range(objects))

    async def some() -> None:
        for number in numbers:
            await store.put_object(PutObject(BUCKET, f"{number % 100:02}/object-{number:07}", Facts()), Held(body))

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(some())


async def delete(store: Store, objects: int) -> None:
    """Delete them, which nobody hears of."""
    keys = [f"{number % 100:02}/object-{number:07}" for number in range(objects)]
    for start in range(0, objects, PAGE):
        asks = tuple(DeleteAsk(key) for key in keys[start : start + PAGE])
        await store.delete_objects(DeleteObjects(BUCKET, asks, True))


async def paid_off(site: Site, teller: Teller, profile: bool) -> tuple[float, float]:
    """Let the keepers work until nothing is owed: seconds of wall time, and of this process's processors."""
    keepers = [CatchUp(site, seat, lane) for seat in site.seats.values() for lane in range(len(LANES))]
    supervisor = Supervisor(keepers, clock=site.clock, teller=teller)
    profiler = cProfile.Profile()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    if profile:
        profiler.enable()
    supervisor.start()
    while (await site.index.usage()).debts:  # noqa: ASYNC110 - a measurement looks from outside
        await asyncio.sleep(0.02)
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    profiler.disable()
    await supervisor.stop()
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
    return wall_s, cpu_s


async def measure(grid: GridSettings, data: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """One kind of grid."""
    place = build_grid(grid, data, clock=SystemClock(), teller=Teller())
    async with site_on(data, place) as (site, store, teller):
        began_s = time.perf_counter()
        await write(store, arguments.objects, arguments.size)
        written_s = time.perf_counter() - began_s
        wall_s, cpu_s = await paid_off(site, teller, arguments.profile)
        figures = {
            "objects_per_s": arguments.objects / wall_s,
            "mb_per_s": arguments.objects * arguments.size / wall_s / 1e6,
            "cpu_us": cpu_s / arguments.objects * 1e6,
            "written_per_s": arguments.objects / written_s,
            "window": site.seats[place.name].window.size,
        }
        if arguments.deletes:
            await delete(store, arguments.objects)
            wall_s, cpu_s = await paid_off(site, teller, arguments.profile)
            figures["deletes_per_s"] = arguments.objects / wall_s
            figures["delete_cpu_us"] = cpu_s / arguments.objects * 1e6
    return {"grid": place.name, "objects": arguments.objects, "size": arguments.size, **rounded(figures)}


@contextmanager
def built(kind: str, data: Path) -> Iterator[GridSettings]:
    """The settings of a grid of this kind; for `s3`, with a server that runs meanwhile."""
    if kind != "s3":
        yield GridSettings(name=kind, url="memory:" if kind == "memory" else "folder:grid")
        return
    with provider(data / "provider") as server:
        host, port = server.account.address
        yield GridSettings(
            name=kind,
            url="s3://bench-grid",
            endpoint=f"http://{host}:{port}",
            provider="holdfast",
            access_key=Secret(server.account.access_key),
            secret_key=Secret(server.account.secret_key),
            create_buckets=True,
        )


def main() -> None:
    """Measure each kind of grid and print its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument(
        "--deletes", action="store_true", help="delete everything afterwards, and let that be paid, too"
    )
    parser.add_argument("--grids", nargs="+", default=["memory", "folder", "s3"])
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps({"machine": machine.describe(arguments.data.absolute()), "commit": machine.commit()}))
    for kind in arguments.grids:
        data = arguments.data / f"catchup-{kind}"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        try:
            with built(kind, data) as grid:
                print(json.dumps(uvloop.run(measure(grid, data, arguments))), flush=True)
        finally:
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
