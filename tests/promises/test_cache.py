"""What was read often is served while every grid is down, never stale and never wrong; what was not says 503."""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from holdfast.cache.shelf import PAGE_BYTES
from holdfast.clock import SystemClock
from holdfast.copies.through import gap_end
from holdfast.errors import S3Error
from holdfast.events import CacheAsked, CacheEvicted
from holdfast.grids.folder import FolderGrid
from holdfast.grids.grid import Grid
from holdfast.grids.memory import MemoryGrid
from holdfast.limits import BLOCK_BYTES, CACHE_BRIDGE, INLINE_BYTES, MIB
from holdfast.model import GridState, Place
from holdfast.s3 import GetObject, RangeAsk
from holdfast.testing.faults import Fault, Kind
from tests.engine import BUCKET, Engine, engine
from tests.promises.troubled import Troubled

SIZES = {"small": 1024, "spooled": INLINE_BYTES + 1, "blocks": 3 * BLOCK_BYTES + 7}
ROOM = 64 * MIB


async def trim(made: Engine) -> None:
    """From now on reads come from grids, or from the cache."""
    while await made.site.index.trim_inline(0, limit=1000):
        pass


async def written(made: Engine) -> None:
    assert made.site.cache is not None
    await made.site.cache._writer.do(lambda: None)


async def all_down(troubled: Troubled, made: Engine) -> None:
    for grid in troubled.faults.values():
        grid.inject(Fault(Kind.REFUSE))
    await made.probe()
    assert {seat.state for seat in made.site.seats.values()} == {GridState.DOWN}


async def part(made: Engine, key: str, first: int, last: int) -> bytes:
    return (await made.got(GetObject(BUCKET, key, range=RangeAsk(first, last))))[1]


async def part_code(made: Engine, key: str, first: int, last: int) -> str:
    try:
        await part(made, key, first, last)
    except S3Error as refusal:
        return refusal.code
    return "ok"


def asked(made: Engine) -> tuple[int, int]:
    """Hits and misses so far."""
    told = [event for event in made.events if isinstance(event, CacheAsked)]
    return sum(event.hits for event in told), sum(event.misses for event in told)


def cached_files(folder: Path) -> list[Path]:
    return sorted((folder / "cache").glob("*/??/*"))


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
def test_what_was_read_is_served_with_every_grid_down_also_after_a_restart(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        troubled = Troubled()
        data = os.urandom(size)
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await made.put("read", data)
            await made.put("never read", data)
            await troubled.converge(made)
            await trim(made)
            assert await made.read("read") == data
            await all_down(troubled, made)
            assert await made.read("read") == data
            assert await part(made, "read", size // 3, size // 2) == data[size // 3 : size // 2 + 1]
            assert await made.code("never read") == "ServiceUnavailable"
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await all_down(troubled, made)
            assert await made.read("read") == data
            assert await made.code("never read") == "ServiceUnavailable"

    asyncio.run(main())


def test_a_range_fetches_and_keeps_just_the_blocks_that_it_touches(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        data = os.urandom(10 * BLOCK_BYTES)
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await made.put("large", data)
            await troubled.converge(made)
            first, last = 4 * BLOCK_BYTES + 100, 6 * BLOCK_BYTES + 5
            assert await part(made, "large", first, last) == data[first : last + 1]
            await written(made)
            assert [path.stat().st_size for path in cached_files(tmp_path)] == [BLOCK_BYTES] * 3
            await all_down(troubled, made)
            assert await part(made, "large", 5 * BLOCK_BYTES, last) == data[5 * BLOCK_BYTES : last + 1]
            assert await part_code(made, "large", 0, 10) == "ServiceUnavailable"
            with pytest.raises(S3Error, match="ServiceUnavailable"):  # It is not begun when its middle cannot be had.
                await made.store.get_object(GetObject(BUCKET, "large", range=RangeAsk(first, 9 * BLOCK_BYTES)))

    asyncio.run(main())


def test_an_object_of_several_parts_is_cached_block_by_block(tmp_path: Path) -> None:
    """Blocks do not lie at even places there: each part begins with a new one."""

    async def main() -> None:
        troubled = Troubled()
        parts = [os.urandom(5 * MIB + 3), os.urandom(5 * MIB), os.urandom(7)]
        data = b"".join(parts)
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await made.upload("parts", parts)
            await troubled.converge(made)
            assert await part(made, "parts", 5 * MIB, 6 * MIB) == data[5 * MIB : 6 * MIB + 1]
            await written(made)
            assert sorted(path.stat().st_size for path in cached_files(tmp_path)) == [3, BLOCK_BYTES]
            assert await made.read("parts") == data
            await all_down(troubled, made)
            assert await made.read("parts") == data
            assert await part(made, "parts", 10 * MIB, len(data)) == data[10 * MIB :]

    asyncio.run(main())


def test_only_what_is_missing_is_fetched(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        data = os.urandom(12 * BLOCK_BYTES)
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await made.put("large", data)
            await troubled.converge(made)
            await part(made, "large", 3 * BLOCK_BYTES, 8 * BLOCK_BYTES - 1)
            assert asked(made) == (0, 5)
            assert await made.read("large") == data
            assert asked(made) == (5, 12)
            calls = {name: grid.calls["get"] for name, grid in troubled.faults.items()}
            assert await made.read("large") == data
            assert asked(made) == (17, 12)
            assert calls == {name: grid.calls["get"] for name, grid in troubled.faults.items()}

    asyncio.run(main())


def test_a_body_whose_beginning_is_cached_costs_each_missing_block_once(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        data = os.urandom(8 * BLOCK_BYTES)
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await made.put("large", data)
            await troubled.converge(made)
            await part(made, "large", 0, 3 * BLOCK_BYTES - 1)
            calls = sum(grid.calls["get"] for grid in troubled.faults.values())
            assert await made.read("large") == data
            assert asked(made) == (3, 3 + 5)
            # One for the first of them, before the answer begins, and one for the others.
            assert sum(grid.calls["get"] for grid in troubled.faults.values()) == calls + 2

    asyncio.run(main())


def test_rot_in_the_cache_is_never_served_and_is_repaired_from_a_grid(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        data = os.urandom(3 * BLOCK_BYTES)
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await made.put("k", data)
            await troubled.converge(made)
            await made.read("k")
            await written(made)
            for path, damage in zip(cached_files(tmp_path), (b"", b"rot", None), strict=True):
                path.write_bytes(path.read_bytes()[:-1] + b"?" if damage is None else damage)
            assert await made.read("k") == data
            assert CacheEvicted("damaged", 1) in made.events
            await written(made)
            await all_down(troubled, made)
            assert await made.read("k") == data

    asyncio.run(main())


def test_an_overwritten_or_deleted_object_is_never_served_from_the_cache(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        old, new = os.urandom(2 * BLOCK_BYTES), os.urandom(2 * BLOCK_BYTES)
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            for key in ("changed", "gone"):
                await made.put(key, old)
            await troubled.converge(made)
            for key in ("changed", "gone"):
                assert await made.read(key) == old
            await made.put("changed", new)
            await made.delete("gone")
            await troubled.converge(made)
            assert await made.read("changed") == new
            await all_down(troubled, made)
            assert await made.read("changed") == new
            assert await made.code("gone") == "NoSuchKey"
        # The same bytes once more are another version: nothing of the old one counts for it.
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            troubled.heal()
            await made.put("changed", old)
            await troubled.converge(made)
            await all_down(troubled, made)
            assert await made.code("changed") == "ServiceUnavailable"

    asyncio.run(main())


def test_an_index_that_began_anew_finds_nothing_of_the_one_before(tmp_path: Path) -> None:
    async def main() -> None:
        for turn in range(2):
            troubled = Troubled()
            data = random.Random(turn).randbytes(BLOCK_BYTES)
            async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
                await made.put("k", data)
                await troubled.converge(made)
                assert await made.read("k") == data
                assert asked(made) == (0, 1)
            remove_index(tmp_path)

    asyncio.run(main())


def remove_index(folder: Path) -> None:
    for path in folder.glob("index.db*"):
        path.unlink()


def test_a_damaged_block_with_every_grid_down_ends_in_a_refusal_and_not_in_wrong_bytes(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await made.put("k", os.urandom(BLOCK_BYTES))
            await troubled.converge(made)
            await made.read("k")
            await written(made)
            (file,) = cached_files(tmp_path)
            file.write_bytes(os.urandom(BLOCK_BYTES))
            await all_down(troubled, made)
            assert await made.code("k") == "ServiceUnavailable"

    asyncio.run(main())


@pytest.mark.parametrize("local", [False, True])
def test_what_a_grid_on_this_machine_has_is_kept_only_when_the_setting_says_so(tmp_path: Path, local: bool) -> None:
    async def main() -> None:
        remote = MemoryGrid("remote")
        grids: list[Grid] = [FolderGrid("disk", tmp_path / "disk", clock=SystemClock()), remote]
        async with engine(tmp_path, grids, cache_bytes=ROOM, cache_local=local) as made:
            data = os.urandom(BLOCK_BYTES)
            await made.put("k", data)
            await made.converge()
            assert await made.read("k") == data
            await written(made)
            assert len(cached_files(tmp_path)) == local
            (tmp_path / "disk").rename(tmp_path / "away")
            await made.probe()
            assert await made.read("k") == data
            await written(made)
            assert len(cached_files(tmp_path)) == 1

    asyncio.run(main())


def test_whatever_part_of_it_is_cached_or_was_lost_the_bytes_are_right(tmp_path: Path) -> None:
    """Also when blocks vanish or rot after they were found."""

    async def main() -> None:
        troubled = Troubled()
        dice = random.Random(11)
        blocks = 6
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            cache = made.site.cache
            assert cache is not None
            begin, mood = cache.begin, [0.0]

            def losing(name: str, share: int) -> Any:
                if dice.random() < mood[0]:
                    for path in cached_files(tmp_path):
                        if path.name == name:
                            path.write_bytes(b"rot") if dice.random() < 0.5 else path.unlink()
                return begin(name, share)

            cache.begin = losing  # type: ignore[method-assign]
            for number in range(25):
                key, data = f"k{number}", os.urandom(blocks * BLOCK_BYTES - dice.randrange(BLOCK_BYTES))
                await made.put(key, data)
                await made.converge()
                mood[0] = 0.0
                for at in dice.sample(range(blocks), dice.randrange(blocks)):
                    await part(made, key, at * BLOCK_BYTES, at * BLOCK_BYTES + 1)
                await written(made)
                mood[0] = dice.choice((0.0, 0.3, 1.0))
                first = dice.randrange(len(data))
                assert await part(made, key, first, len(data)) == data[first:]
                assert await made.read(key) == data

    asyncio.run(main())


def test_the_limit_holds_under_parallel_load_and_every_answer_is_right(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        dice = random.Random(5)
        limit, looked = 6 * MIB, 0
        async with troubled.engine(tmp_path, cache_bytes=limit) as made:
            assert made.site.cache is not None
            put = made.site.cache._share.put

            def watched(*change: Any) -> None:
                """In the one thread that changes the directory."""
                nonlocal looked
                put(*change)
                sizes = [path.stat().st_size for path in cached_files(tmp_path)]
                assert sum(-(-size // PAGE_BYTES) * PAGE_BYTES for size in sizes) <= limit
                looked += 1

            made.site.cache._share.put = watched  # type: ignore[method-assign, assignment]
            content = {f"k{number}": os.urandom(dice.randrange(70_000, 2 * MIB)) for number in range(16)}
            for key, data in content.items():
                await made.put(key, data)
            await troubled.converge(made)

            async def client(seed: int) -> None:
                own = random.Random(seed)
                for _ in range(25):
                    key = f"k{int(own.paretovariate(0.8)) % 16}"
                    first = own.randrange(len(content[key]))
                    if own.random() < 0.5:
                        assert await made.read(key) == content[key]
                    else:
                        assert await part(made, key, first, len(content[key])) == content[key][first:]

            async with asyncio.TaskGroup() as group:
                for seed in range(8):
                    group.create_task(client(seed))
            await written(made)
            hits, misses = asked(made)
            assert hits and misses and looked > 10
            assert made.site.cache.on, made.site.cache.reason
            there = sum(-(-path.stat().st_size // PAGE_BYTES) * PAGE_BYTES for path in cached_files(tmp_path))
            assert there == made.site.cache.gauges()["holdfast_cache_bytes"]

    asyncio.run(main())


def test_a_copy_is_repaired_from_the_cache_while_the_other_grid_is_down(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        data = os.urandom(2 * BLOCK_BYTES)
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            await made.put("k", data)
            await troubled.converge(made)
            await made.read("k")
            before = asked(made)
            troubled.faults["b"].inject(Fault(Kind.REFUSE))
            await made.probe()
            assert troubled.inner["a"].rot(Place(BUCKET, "k"), 5)
            seat = made.site.seats["a"]
            version = await made.site.index.get(BUCKET, "k")
            assert version is not None
            now_ms = made.site.clock.now_ms()
            assert await made.site.index.suspect(BUCKET, "k", version.seq, seat.number, now_ms=now_ms)
            await made.settle()
            assert (await troubled.content("a"))["k"] == data
            assert asked(made) == (before[0] + 2, before[1])

    asyncio.run(main())


def test_a_cache_that_is_off_fails_no_request(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "cache").write_bytes(b"not a directory")
        troubled = Troubled()
        async with troubled.engine(tmp_path, cache_bytes=ROOM) as made:
            data = os.urandom(2 * BLOCK_BYTES)
            await made.put("k", data)
            await troubled.converge(made)
            assert await made.read("k") == data

    asyncio.run(main())


N = None


@pytest.mark.parametrize(
    ("where", "start", "end"),
    [
        ([N], 0, 1),
        ([N, N, N], 0, 3),
        ([N, 0, 0, 0], 0, 1),
        ([N, 0, N, 0, 0, 0, N], 0, 3),
        ([0, N, *[0] * CACHE_BRIDGE, N], 1, CACHE_BRIDGE + 3),
        ([0, N, *[0] * (CACHE_BRIDGE + 1), N], 1, 2),
        ([N, *[0] * CACHE_BRIDGE], 0, 1),
        ([N] * 5000, 7, 5000),
    ],
)
def test_a_gap_spans_short_cached_stretches_and_ends_with_a_missing_block(
    where: list[int | None], start: int, end: int
) -> None:
    assert gap_end(where, start) == end
