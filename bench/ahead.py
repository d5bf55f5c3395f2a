"""What a large PUT with `ack = 1` takes when its grid is as far away as its client: the longer of two transfers, or their sum?

Client and grid move bytes at a set pace; everything between them is the real engine. One JSON line per pair of paces: the
seconds of receiving alone, of uploading alone, and of the PUT, and the PUT as a share of the longer one and of the sum.

    python -m bench.ahead [--size 64] [--data DIR]
"""

import argparse
import asyncio
import json
import shutil
import time
from pathlib import Path

import uvloop

from bench import machine
from bench.catchup import BUCKET, site_on
from bench.figures import rounded
from holdfast.grids.grid import Label, Source, Staged
from holdfast.grids.memory import MemoryGrid
from holdfast.grids.sources import BytesSource
from holdfast.model import Checksum, Facts, Place
from holdfast.s3 import PutObject

MIB = 1024 * 1024
PIECE = 256 * 1024


class Pace:
    """So many bytes per second from the first one on, however long each wait really takes."""

    def __init__(self, mib_per_s: float) -> None:
        self._mib_per_s = mib_per_s
        self._began_s = time.perf_counter()
        self._moved = 0

    async def move(self, size_bytes: int) -> None:
        self._moved += size_bytes
        due_s = self._began_s + self._moved / MIB / self._mib_per_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))


class PacedBody:
    """A client that sends at a set pace."""

    trailer: Checksum | None = None

    def __init__(self, data: bytes, mib_per_s: float) -> None:
        self.size: int | None = len(data)
        self._data = memoryview(data)
        self._given = 0
        self._pace = Pace(mib_per_s)

    async def read(self) -> bytes:
        piece = bytes(self._data[self._given : self._given + PIECE])
        self._given += len(piece)
        await self._pace.move(len(piece))
        return piece


class PacedGrid(MemoryGrid):
    """A grid that takes bytes at a set pace."""

    def __init__(self, mib_per_s: float) -> None:
        super().__init__("paced")
        self._mib_per_s = mib_per_s

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        pace = Pace(self._mib_per_s)
        data = bytearray()
        async for piece in source.stream():
            await pace.move(len(piece))
            data += piece
        return await super().stage(place, BytesSource(bytes(data)), label)


async def measure(size: int, client: float, grid: float, data: Path) -> dict[str, object]:
    """One pair of paces, in MiB per second."""
    body = bytes(size)
    took: dict[str, float] = {}
    for name, ack in (("receive_s", 0), ("put_s", 1)):
        folder = data / name
        folder.mkdir(parents=True)
        async with site_on(folder, PacedGrid(grid), ack) as (_, store, _teller):
            began_s = time.perf_counter()
            await store.put_object(PutObject(BUCKET, "large", Facts()), PacedBody(body, client))
            took[name] = time.perf_counter() - began_s
    began_s = time.perf_counter()
    await PacedGrid(grid).stage(Place(BUCKET, "large"), BytesSource(body), Label(1, "", 0, {}, {}))
    took["upload_s"] = time.perf_counter() - began_s
    longer_s, sum_s = max(took["receive_s"], took["upload_s"]), took["receive_s"] + took["upload_s"]
    shares = {"put_over_longer": took["put_s"] / longer_s, "put_over_sum": took["put_s"] / sum_s}
    return {"size_mib": size // MIB, "client_mib_per_s": client, "grid_mib_per_s": grid, **rounded(took | shares)}


def main() -> None:
    """Measure some pairs of paces and print their lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="MiB")
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    print(json.dumps({"machine": machine.describe(arguments.data.absolute()), "commit": machine.commit()}))
    for client, grid in ((32.0, 32.0), (32.0, 16.0), (16.0, 32.0)):
        data = arguments.data / "ahead"
        shutil.rmtree(data, ignore_errors=True)
        try:
            print(json.dumps(uvloop.run(measure(arguments.size * MIB, client, grid, data))), flush=True)
        finally:
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
