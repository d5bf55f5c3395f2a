"""What a hit of the read cache costs against the same read from a folder grid, in one run and one process.

Both read the same objects through the store, without HTTP: once with the cache, once without, in turns, so that both meet
the same machine. Files are in the page cache of the kernel. Prints one JSON line per body size: time per read in the least
disturbed round, and the ratio cache / folder grid (below 1: the cache is faster).

    python -m bench.cache_hit [--rounds 7] [--data DIR]
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import uvloop
from tests.engine import Engine, engine

from holdfast.clock import SystemClock
from holdfast.grids.folder import FolderGrid
from holdfast.limits import KIB, MIB
from holdfast.model import Value


class Row(Value, frozen=True):
    """What is read: `keys` objects of `size` bytes, `reads` times in each round, by so many readers at once."""

    size: int
    keys: int
    reads: int
    readers: int


ROWS = (
    Row(4 * KIB, 500, 4000, 1),
    Row(4 * KIB, 500, 4000, 16),
    Row(1 * MIB, 20, 400, 1),
    Row(64 * MIB, 2, 8, 1),
    Row(64 * MIB, 2, 16, 4),
)


async def read_all(made: Engine, row: Row) -> tuple[float, float]:
    """Seconds of wall time and of processor time per read."""

    async def reader(number: int) -> None:
        for turn in range(row.reads // row.readers):
            data = await made.read(f"{row.size}/{(turn * 7 + number) % row.keys}")
            assert len(data) == row.size

    began_s, spent_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(reader(number) for number in range(row.readers)))
    return (time.perf_counter() - began_s) / row.reads, (time.process_time() - spent_s) / row.reads


async def compare(folder: Path, rounds: int) -> None:
    grids = [FolderGrid(name, folder / name, clock=SystemClock()) for name in ("a", "b")]
    async with engine(folder, grids, cache_bytes=1 << 34, cache_local=True) as made:
        cache = made.site.cache
        assert cache is not None
        for size, keys in {row.size: row.keys for row in ROWS}.items():
            for number in range(keys):
                await made.put(f"{size}/{number}", os.urandom(size))
        await made.converge()
        while await made.site.index.trim_inline(0, limit=1000):
            pass
        for row in ROWS:
            times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
            for _ in range(rounds + 1):
                for cached in times:
                    made.site.cache = cache if cached else None
                    times[cached].append(await read_all(made, row))
            wall = {cached: min(one[0] for one in found[1:]) for cached, found in times.items()}
            cpu = {cached: min(one[1] for one in found[1:]) for cached, found in times.items()}
            line: dict[str, float] = {"size": row.size, "readers": row.readers}
            line |= {"cache_us": round(wall[True] * 1e6, 1), "folder_us": round(wall[False] * 1e6, 1)}
            line |= {"wall_ratio": round(wall[True] / wall[False], 3), "cpu_ratio": round(cpu[True] / cpu[False], 3)}
            print(json.dumps(line), flush=True)


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", type=Path, default=Path("build") / "bench")
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cache-", dir=args.data) as name:
        uvloop.run(compare(Path(name), args.rounds))


if __name__ == "__main__":
    main()
