"""The cache on a disk: what it gives back, what it survives, and that trouble only ever turns it off."""

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cache import cache as module
from holdfast.cache.cache import Cache, State
from holdfast.cache.names import crc_in, name_of, size_in, tag_of
from holdfast.cache.shelf import PAGE_BYTES
from holdfast.digests import crc32c
from holdfast.events import CacheAsked, CacheEvicted, CacheMoved, CacheOffered, Event, Teller
from holdfast.limits import CACHE_AGE_LOOK_S, CACHE_QUEUE_BYTES, CACHE_RETRY_S, MIB
from holdfast.testing.rawhttp import StillClock

AGE_S = 1000.0


class Bench:
    """A cache, its clock, and what it told."""

    def __init__(self, root: Path, size_bytes: int, worker: int = 0, workers: int = 1) -> None:
        self.root = root
        self.clock = StillClock()
        self.events: list[Event] = []
        teller = Teller()
        teller.subscribe(self.events.append)
        self.cache = Cache(
            root,
            size_bytes=size_bytes,
            age_s=AGE_S,
            local=False,
            clock=self.clock,
            teller=teller,
            worker=worker,
            workers=workers,
        )

    async def get(self, name: str) -> bytes | None:
        share = (await self.cache.locate([name]))[0]
        if share is None:
            return None
        return await self.cache.finish(name, share, self.cache.begin(name, share))

    async def keep(self, name: str, data: bytes) -> None:
        """Offer it until it is in, and on the disk."""
        self.cache.offer(name, data)
        self.cache.offer(name, data)
        await self.written()

    async def written(self) -> None:
        """All changes that were decided are made."""
        await self.cache._writer.do(lambda: None)

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def file(self, name: str, share: int = 0) -> Path:
        return self.root / str(share) / name[:2] / name

    def disk_bytes(self) -> int:
        """What all blocks take on the disk."""
        sizes = [path.stat().st_size for path in self.root.glob("*/??/*")]
        return sum(-(-size // PAGE_BYTES) * PAGE_BYTES for size in sizes)


def block(number: int, size: int = PAGE_BYTES, seq: int = 1) -> tuple[str, bytes]:
    data = number.to_bytes(4, "big") * (size // 4) + bytes(size % 4)
    return name_of(seq=seq, tag=tag_of("etag"), offset=number * MIB, size=size, crc=crc32c(data)), data


def run(
    root: Path,
    visit: Callable[[Bench], Awaitable[None]],
    *,
    size_bytes: int = 100 * MIB,
    worker: int = 0,
    workers: int = 1,
) -> Bench:
    """Open a cache on `root`, use it, close it."""
    bench: list[Bench] = []

    async def main() -> None:
        bench.append(Bench(root, size_bytes, worker, workers))
        await bench[0].cache.step()
        await visit(bench[0])
        await bench[0].cache.close()

    asyncio.run(main())
    return bench[0]


# --- names ---


@given(
    st.integers(1, 2**63 - 1),
    st.text(max_size=50),
    st.integers(0, 5 << 40),
    st.integers(0, MIB),
    st.integers(0, 2**32 - 1),
)
def test_a_name_says_size_and_checksum_and_is_a_plain_file_name(
    seq: int, etag: str, at: int, size: int, crc: int
) -> None:
    name = name_of(seq=seq, tag=tag_of(etag), offset=at, size=size, crc=crc)
    assert (size_in(name), crc_in(name)) == (size, crc)
    assert "/" not in name and not name.startswith(".") and len(name) < 100


def test_blocks_that_differ_in_anything_have_different_names() -> None:
    known: dict[str, Any] = {"seq": 1, "tag": tag_of("a"), "offset": 0, "size": 5, "crc": 7}
    others: list[dict[str, Any]] = [{"seq": 2}, {"tag": tag_of("b")}, {"offset": MIB}, {"size": 6}, {"crc": 8}]
    names = {name_of(**(known | other)) for other in [{}, *others]}
    assert len(names) == 6


@pytest.mark.parametrize("name", ["", "lock", ".draft", "a", "0" * 8, "00000000-1-0-5-short", "../../etc/passwd"])
def test_what_is_no_block_is_known_by_its_name(name: str) -> None:
    assert size_in(name) is None


# --- giving back ---


def test_a_block_is_given_back_also_before_it_is_on_the_disk(tmp_path: Path) -> None:
    async def visit(bench: Bench) -> None:
        name, data = block(1)
        assert await bench.get(name) is None
        bench.cache.offer(name, data)
        assert await bench.get(name) == data
        await bench.written()
        assert await bench.get(name) == data
        assert bench.file(name).read_bytes() == data

    run(tmp_path, visit)


def test_a_restart_keeps_it_and_reads_no_bytes_for_that(tmp_path: Path) -> None:
    name, data = block(1)
    run(tmp_path, lambda bench: bench.keep(name, data))

    async def visit(bench: Bench) -> None:
        assert bench.cache.gauges()["holdfast_cache_blocks"] == 1
        assert bench.cache.gauges()["holdfast_cache_bytes"] == PAGE_BYTES
        assert await bench.get(name) == data

    told = run(tmp_path, visit).told(CacheMoved)
    assert told == [CacheMoved(True, "", 1, PAGE_BYTES)]


def test_blocks_are_found_while_it_is_still_being_opened(tmp_path: Path) -> None:
    name, data = block(1)
    run(tmp_path, lambda bench: bench.keep(name, data))

    async def main() -> None:
        bench = Bench(tmp_path, MIB)
        assert bench.cache.state is State.OPENING
        assert await bench.get(name) == data
        assert await bench.get(block(2)[0]) is None
        await bench.cache.close()

    asyncio.run(main())


def damaged(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


@pytest.mark.parametrize("damage", [damaged, lambda data: data[:-1], lambda _: b""], ids=["rot", "short", "empty"])
def test_a_damaged_file_is_dropped_and_not_given(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    async def visit(bench: Bench) -> None:
        name, data = block(1)
        await bench.keep(name, data)
        bench.file(name).write_bytes(damage(data))
        assert await bench.get(name) is None
        await bench.written()
        assert not bench.file(name).exists()
        assert bench.cache.gauges()["holdfast_cache_bytes"] == 0
        assert bench.told(CacheEvicted) == [CacheEvicted("damaged", 1)]
        await bench.keep(name, data)
        assert await bench.get(name) == data

    run(tmp_path, visit)


def test_what_a_crash_left_half_written_is_not_there_after_a_restart(tmp_path: Path) -> None:
    (short, data), (whole, other) = block(1), block(2)

    async def fill(bench: Bench) -> None:
        await bench.keep(short, data)
        await bench.keep(whole, other)
        os.truncate(bench.file(short), 100)
        (tmp_path / "0" / ".draft").write_bytes(b"half")

    run(tmp_path, fill)

    async def visit(bench: Bench) -> None:
        assert bench.cache.gauges()["holdfast_cache_blocks"] == 1
        assert await bench.get(short) is None
        assert await bench.get(whole) == other
        assert not (tmp_path / "0" / ".draft").exists() or not (tmp_path / "0" / ".draft").stat().st_size
        assert bench.disk_bytes() == PAGE_BYTES

    run(tmp_path, visit)


def test_a_file_that_somebody_removed_is_a_miss(tmp_path: Path) -> None:
    async def visit(bench: Bench) -> None:
        name, data = block(1)
        await bench.keep(name, data)
        bench.file(name).unlink()
        assert await bench.get(name) is None
        assert bench.cache.gauges()["holdfast_cache_blocks"] == 0
        assert bench.cache.state is State.ON

    run(tmp_path, visit)


def test_a_read_that_came_too_late_does_not_lose_track_of_a_block_that_came_back(tmp_path: Path) -> None:
    async def visit(bench: Bench) -> None:
        (one, data), (two, other) = block(1), block(2)
        await bench.keep(one, data)
        bench.file(one).unlink()
        reading = bench.cache.begin(one, 0)
        assert reading is not None
        await asyncio.wait([reading])
        await bench.keep(two, other)
        await bench.keep(one, data)
        assert bench.file(one).exists()
        assert await bench.cache.finish(one, 0, reading) is None
        await bench.written()
        assert bench.disk_bytes() == bench.cache.gauges()["holdfast_cache_bytes"]

    run(tmp_path, visit, size_bytes=PAGE_BYTES)


def test_a_block_that_goes_and_comes_back_before_it_was_written_is_counted_once(tmp_path: Path) -> None:
    async def visit(bench: Bench) -> None:
        troubles: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        free = threading.Event()
        bench.cache._writer.submit(free.wait)
        one, two = block(1), block(2)
        for name, data in (one, two, two, one, one):
            bench.cache.offer(name, data)
        assert await bench.get(one[0]) == one[1]
        free.set()
        await bench.written()
        assert await bench.get(one[0]) == one[1]
        assert await bench.get(two[0]) is None
        assert bench.disk_bytes() == bench.cache.gauges()["holdfast_cache_bytes"] == PAGE_BYTES
        assert not troubles
        assert bench.cache._coming_bytes == 0

    run(tmp_path, visit, size_bytes=PAGE_BYTES)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    strangers = [tmp_path / "0" / "00" / "notes.txt", tmp_path / "photo.jpg", tmp_path / "9" / "00" / "more.txt"]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    run(tmp_path, lambda bench: bench.keep(*block(1)), size_bytes=PAGE_BYTES)
    assert all(path.read_bytes() == b"mine" for path in strangers)


# --- limits ---


def test_the_limit_holds_on_the_disk_after_every_single_change(tmp_path: Path) -> None:
    limit = 10 * PAGE_BYTES

    async def visit(bench: Bench) -> None:
        put, most = bench.cache._share.put, 0

        def watched(name: str, data: bytes, gone: list[str]) -> None:
            nonlocal most
            put(name, data, gone)
            most = max(most, bench.disk_bytes())

        bench.cache._share.put = watched  # type: ignore[method-assign, assignment]
        for number in range(200):
            name, data = block(number % 40, size=(number * 997) % (3 * PAGE_BYTES) + 1)
            bench.cache.offer(name, data)
            bench.cache.offer(name, data)
            if number % 7 == 0:
                await bench.get(name)
        await bench.written()
        assert limit // 2 < most <= limit
        assert bench.disk_bytes() == bench.cache.gauges()["holdfast_cache_bytes"] <= limit

    run(tmp_path, visit, size_bytes=limit)


def test_a_smaller_limit_after_a_restart_is_kept_at_once(tmp_path: Path) -> None:
    async def fill(bench: Bench) -> None:
        for number in range(20):
            await bench.keep(*block(number))

    run(tmp_path, fill)

    async def visit(bench: Bench) -> None:
        await bench.written()
        assert bench.disk_bytes() == 5 * PAGE_BYTES

    run(tmp_path, visit, size_bytes=5 * PAGE_BYTES)


def test_it_never_takes_more_than_it_leaves_free_and_makes_way_when_the_disk_fills(tmp_path: Path) -> None:
    async def visit(bench: Bench) -> None:
        for number in range(20):
            await bench.keep(*block(number))
        bench.cache._share.free_bytes = lambda: 4 * PAGE_BYTES  # type: ignore[method-assign]
        for _ in range(10):
            await bench.cache.step()
            used = bench.cache.gauges()["holdfast_cache_bytes"]
            bench.cache._share.free_bytes = lambda used=used: 24 * PAGE_BYTES - int(used)  # type: ignore[method-assign, misc]
        await bench.written()
        assert bench.disk_bytes() == 12 * PAGE_BYTES

    run(tmp_path, visit)


def test_a_filling_that_cannot_keep_up_drops_instead_of_waiting(tmp_path: Path) -> None:
    async def visit(bench: Bench) -> None:
        many = CACHE_QUEUE_BYTES // MIB + 3
        blocks = [block(number, size=MIB) for number in range(many)]
        for name, data in blocks:
            bench.cache.offer(name, data)
        outcomes = [event.outcome for event in bench.told(CacheOffered) if isinstance(event, CacheOffered)]
        assert outcomes == ["admitted"] * (many - 3) + ["dropped"] * 3
        await bench.written()
        bench.cache.offer(*blocks[-1])
        await bench.written()
        assert await bench.get(blocks[-1][0]) == blocks[-1][1]

    run(tmp_path, visit)


def test_no_block_stays_longer_than_its_age_also_across_a_restart(tmp_path: Path) -> None:
    name, data = block(1)

    async def fill(bench: Bench) -> None:
        await bench.keep(name, data)
        os.utime(bench.file(name), (0, bench.clock.at_s))

    run(tmp_path, fill)

    async def visit(bench: Bench) -> None:
        await bench.cache.step()
        assert await bench.get(name) == data
        bench.clock.at_s += max(AGE_S, CACHE_AGE_LOOK_S) + 1
        await bench.cache.step()
        await bench.written()
        assert await bench.get(name) is None
        assert bench.disk_bytes() == 0
        assert bench.told(CacheEvicted) == [CacheEvicted("age", 1)]

    run(tmp_path, visit)


# --- several workers ---


def test_workers_share_the_limit_and_read_each_others_blocks(tmp_path: Path) -> None:
    async def main() -> None:
        one, two = (Bench(tmp_path, 20 * PAGE_BYTES, worker, 2) for worker in range(2))
        await one.cache.step()
        await two.cache.step()
        for number in range(30):
            await one.keep(*block(number, seq=1))
            await two.keep(*block(number, seq=2))
        assert one.disk_bytes() == 20 * PAGE_BYTES
        name, data = block(29, seq=1)
        assert await two.get(name) == data
        one.file(name, 0).write_bytes(b"rot")
        assert await two.get(name) is None
        await two.written()
        assert await one.get(name) is None
        await one.cache.close()
        await two.cache.close()

    asyncio.run(main())


@pytest.mark.parametrize(("before", "after"), [(4, 1), (4, 3), (1, 2), (3, 2)])
def test_another_number_of_workers_keeps_the_blocks_and_the_limit(tmp_path: Path, before: int, after: int) -> None:
    async def opened(workers: int) -> list[Bench]:
        benches = [Bench(tmp_path, 24 * PAGE_BYTES, worker, workers) for worker in range(workers)]
        for bench in benches:
            await bench.cache.step()
            await bench.written()
        return benches

    async def main() -> None:
        benches = await opened(before)
        for number in range(12):
            await benches[number % before].keep(*block(number))
        for bench in benches:
            await bench.cache.close()
        benches = await opened(after)
        for number in range(12):
            name, data = block(number)
            assert [await bench.get(name) for bench in benches] == [data] * after
        assert sum(bench.cache.gauges()["holdfast_cache_blocks"] for bench in benches) == 12
        for bench in benches:
            await bench.cache.close()

    asyncio.run(main())


def test_a_directory_that_another_server_uses_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        one, two = Bench(tmp_path, MIB), Bench(tmp_path, MIB)
        await one.cache.step()
        await two.cache.step()
        assert (one.cache.state, two.cache.state) == (State.ON, State.OFF)
        assert "another server uses it" in two.cache.reason
        await one.cache.close()
        two.clock.at_s += CACHE_RETRY_S
        await two.cache.step()
        assert two.cache.state is State.ON
        await two.cache.close()

    asyncio.run(main())


# --- trouble ---


def vanish(root: Path) -> None:
    shutil.rmtree(root)
    root.write_bytes(b"not a directory")


def come_back(root: Path) -> None:
    root.unlink()


def test_a_vanished_directory_turns_it_off_which_is_told_once_and_it_comes_back_by_itself(tmp_path: Path) -> None:
    root = tmp_path / "cache"

    async def visit(bench: Bench) -> None:
        (first, data), (second, other) = block(1), block(2)
        await bench.keep(first, data)
        vanish(root)
        assert await bench.get(first) is None
        await bench.keep(second, other)
        assert bench.cache.state is State.OFF
        assert not bench.cache.on
        assert await bench.get(second) is None
        for _ in range(5):
            bench.clock.at_s += CACHE_RETRY_S
            await bench.cache.step()
        assert len([event for event in bench.told(CacheMoved) if isinstance(event, CacheMoved) and not event.on]) == 1
        come_back(root)
        bench.clock.at_s += CACHE_RETRY_S
        await bench.cache.step()
        await bench.keep(second, other)
        assert await bench.get(second) == other

    run(root, visit)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_nothing_turns_it_off_and_is_not_asked_again_at_once(tmp_path: Path, code: int) -> None:
    async def visit(bench: Bench) -> None:
        put = bench.cache._share.put
        asked = 0

        def refusing(name: str, data: bytes, gone: list[str]) -> None:
            nonlocal asked
            asked += 1
            raise OSError(code, os.strerror(code))

        bench.cache._share.put = refusing  # type: ignore[method-assign, assignment]
        name, data = block(1)
        await bench.keep(name, data)
        assert (bench.cache.state, bench.cache.reason) == (State.OFF, os.strerror(code))
        for number in range(2, 9):
            bench.cache.offer(*block(number))
            await bench.cache.step()
        assert asked == 1
        bench.clock.at_s += CACHE_RETRY_S
        await bench.cache.step()
        assert asked == 2  # It is tried whether it can be written to before it counts as on.
        assert [event for event in bench.told(CacheMoved) if isinstance(event, CacheMoved) and not event.on] == [
            CacheMoved(False, os.strerror(code))
        ]
        bench.cache._share.put = put  # type: ignore[method-assign]
        bench.clock.at_s += CACHE_RETRY_S
        await bench.cache.step()
        await bench.keep(name, data)
        assert await bench.get(name) == data

    run(tmp_path, visit)


def test_a_directory_that_cannot_be_made_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    async def visit(bench: Bench) -> None:
        assert bench.cache.state is State.OFF
        assert "file" in bench.cache.reason
        bench.cache.offer(*block(1))

    run(tmp_path / "file" / "cache", visit)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "CACHE_DEADLINE_S", 0.05)
    yield


@pytest.mark.usefixtures("_impatient")
def test_a_disk_that_hangs_costs_one_deadline_and_then_nothing(tmp_path: Path) -> None:
    """A pipe in a block's place: opening it hangs until somebody writes."""

    async def visit(bench: Bench) -> None:
        name, data = block(1)
        await bench.keep(name, data)
        bench.file(name).unlink()
        os.mkfifo(bench.file(name))
        try:
            bench.clock.at_s += 60
            assert await bench.get(name) is None
            assert (bench.cache.state, bench.cache.reason) == (State.OFF, "its disk does not answer")
        finally:
            os.close(os.open(bench.file(name), os.O_WRONLY))  # Lets the thread go.

    run(tmp_path, visit)


def test_what_is_told_of_a_read_is_told_once(tmp_path: Path) -> None:
    async def visit(bench: Bench) -> None:
        bench.cache.asked(hits=2, misses=1, hit_bytes=10)
        assert bench.told(CacheAsked) == [CacheAsked(2, 1, 10)]

    run(tmp_path, visit)
