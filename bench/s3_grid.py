"""What an `s3` grid adds to the requests that it makes: PUT and GET of 4 KiB and 64 MiB through it, beside the bare client.

The bare client is the same HTTP library with addresses that were signed before the clock ran: no keys, no digests, no
classes of errors, no metadata. Both talk to one Holdfast endpoint with a single folder, a process of its own, in
alternating rounds. One JSON line per operation: wall and processor time of this process per operation, and the ratios.

    python -m bench.s3_grid [--rounds 5] [--data DIR]
"""

import argparse
import asyncio
import io
import json
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import aiohttp
import uvloop
from tests.providers import ACCESS_KEY, SECRET_KEY, HoldfastProvider, s3_grid
from yarl import URL

from bench import machine
from bench.figures import rounded
from holdfast.grids.grid import Label
from holdfast.grids.s3.grid import S3Grid
from holdfast.grids.sources import BytesSource
from holdfast.model import Place, Span
from holdfast.signing import encode_path, presign

KIB, MIB = 1024, 1024 * 1024
SMALL, LARGE = 4 * KIB, 64 * MIB
BUCKET = "bench"
LABEL = Label(1, "etag", 1_700_000_000_000, {"content-type": "image/jpeg"}, {"colour": "blue"})

Act = Callable[[int], Awaitable[None]]


class Bare:
    """Requests that were signed before."""

    def __init__(self, session: aiohttp.ClientSession, origin: str, count: int) -> None:
        self._session = session
        host = origin.partition("://")[2]
        self._urls = {
            method: [self._url(origin, host, method, number) for number in range(count)] for method in ("PUT", "GET")
        }

    @staticmethod
    def _url(origin: str, host: str, method: str, number: int) -> URL:
        path = f"/{BUCKET}/objects/key-{number}"
        query = presign(
            method, path, (), {"host": host}, expires_s=3600, access_key=ACCESS_KEY, secret_key=SECRET_KEY, region="us-east-1",
            now_ms=time.time_ns() // 1_000_000,
        )  # fmt: skip
        return URL(f"{origin}{encode_path(path)}?{query}", encoded=True)

    async def put(self, number: int, data: bytes) -> None:
        async with self._session.put(self._urls["PUT"][number], data=_sliced(data)) as response:
            assert response.status == 200, await response.text()

    async def get(self, number: int, size: int) -> None:
        async with self._session.get(self._urls["GET"][number]) as response:
            assert response.status == 200
            moved = 0
            while piece := await response.content.read(MIB):
                moved += len(piece)
            assert moved == size


def _sliced(data: bytes) -> bytes | aiohttp.payload.Payload:
    return data if len(data) < MIB else aiohttp.payload.BytesIOPayload(io.BytesIO(data))


class Through:
    """The same through a grid."""

    def __init__(self, grid: S3Grid) -> None:
        self._grid = grid

    async def put(self, number: int, data: bytes) -> None:
        place = Place("objects", f"key-{number}")
        await self._grid.publish(await self._grid.stage(place, BytesSource(data), LABEL))

    async def get(self, number: int, size: int) -> None:
        download = await self._grid.get(Place("objects", f"key-{number}"), span=Span(0, size))
        moved = 0
        async for piece in download.stream():
            moved += len(piece)
        await download.close()
        assert moved == size


async def _times(act: Act, count: int, at_once: int) -> tuple[float, float]:
    """Wall and processor seconds per operation."""
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await act(number)

    began_s, cpu_s = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(lane())
    return (time.perf_counter() - began_s) / count, (time.process_time() - cpu_s) / count


async def measure(provider: HoldfastProvider, rounds: int) -> None:
    grid = s3_grid(f"s3://{BUCKET}", provider.url, row="holdfast")
    await grid.attach(await grid.attach(""))
    async with aiohttp.ClientSession(auto_decompress=False, read_bufsize=MIB) as session:
        for size, count, at_once in ((SMALL, 600, 16), (LARGE, 3, 1)):
            data = os.urandom(size)
            bare, through = Bare(session, provider.url, count), Through(grid)
            for name in ("put", "get"):
                found: dict[str, list[tuple[float, float]]] = {"bare": [], "grid": []}
                for _ in range(rounds):
                    for who, client in (("bare", bare), ("grid", through)):
                        given = data if name == "put" else size

                        async def act(
                            number: int, client: object = client, name: str = name, given: object = given
                        ) -> None:
                            await getattr(client, name)(number, given)

                        found[who].append(await _times(act, count, at_once))
                print(json.dumps(_line(name, size, at_once, found)), flush=True)
    await grid.close()


def _line(name: str, size: int, at_once: int, found: dict[str, list[tuple[float, float]]]) -> dict[str, object]:
    wall = {who: median(wall for wall, _ in pairs) for who, pairs in found.items()}
    cpu = {who: median(cpu for _, cpu in pairs) for who, pairs in found.items()}
    figures = {f"{who}_ms": wall[who] * 1000 for who in wall} | {f"{who}_cpu_ms": cpu[who] * 1000 for who in cpu}
    ratios = {"wall_ratio": wall["grid"] / wall["bare"], "cpu_ratio": cpu["grid"] / cpu["bare"]}
    return {"operation": name, "size": size, "at_once": at_once, **rounded(figures | ratios)}


def main() -> None:
    """Start an endpoint, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    folder = arguments.data.absolute() / "s3_grid"
    shutil.rmtree(folder, ignore_errors=True)
    provider = HoldfastProvider(folder)
    print(json.dumps({"machine": machine.describe(arguments.data.absolute()), "commit": machine.commit()}))
    try:
        provider.start()
        uvloop.run(measure(provider, arguments.rounds))
    finally:
        provider.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
