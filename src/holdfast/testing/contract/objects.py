"""The contract for one object: staging, publishing, reading, and that no reader sees a mixture.

Invariant: as in `check.py`.
"""

import asyncio

from holdfast.errors import GridError, Reason, Refused
from holdfast.grids.grid import Grid
from holdfast.grids.sources import BytesSource
from holdfast.limits import BLOCK_BYTES
from holdfast.model import Place, Span
from holdfast.testing.contract.check import (
    Broken,
    Streamed,
    expect,
    expect_absent,
    expect_all,
    label,
    listed,
    pattern,
    put,
    read,
    refusal,
    together,
)

# --- one object ---


async def absent_is_said_of_what_is_not_there(grid: Grid, bucket: str) -> None:
    """A missing object is Refused(ABSENT), with the fields of the error filled in."""
    await expect_absent(grid, bucket, "nothing")
    try:
        await grid.head(Place(bucket, "nothing"))
    except Refused as refused:
        expect(
            (refused.grid, refused.bucket, refused.key, refused.operation) == (grid.name, bucket, "nothing", "head"),
            "the error does not say where it comes from",
        )


async def bodies_of_every_size_come_back(grid: Grid, bucket: str) -> None:
    """What was published comes back byte for byte, from empty bodies to several blocks."""
    sizes = (0, 1, 4096, 65_536, 65_537, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 17)
    for size in sizes:
        data = pattern(size, size)
        etag = await put(grid, bucket, f"size {size}", data)
        expect(await read(grid, bucket, f"size {size}", if_match=etag) == data, f"a body of {size} bytes changed")
        held = await grid.head(Place(bucket, f"size {size}"))
        expect((held.size, held.etag) == (size, etag), f"head says {held.size} bytes instead of {size}")


async def streamed_bodies_come_back(grid: Grid, bucket: str) -> None:
    """A body that comes in pieces of any size is kept as it came."""
    for piece in (1000, 65_536, BLOCK_BYTES):
        data = pattern(2 * BLOCK_BYTES + 333, piece)
        staged = await grid.stage(Place(bucket, "stream"), Streamed(data, piece=piece), label())
        await grid.publish(staged)
        expect(await read(grid, bucket, "stream") == data, f"a body in pieces of {piece} bytes changed")
    await grid.publish(await grid.stage(Place(bucket, "empty"), Streamed(b""), label()))
    expect(await read(grid, bucket, "empty") == b"", "an empty stream is not empty")


async def large_bodies_come_back(grid: Grid, bucket: str) -> None:
    """A body of many blocks is invisible until it is published, then comes back as it went; a failed one leaves nothing."""
    data = pattern(17 * BLOCK_BYTES + 1)
    place = Place(bucket, "large")
    staged = await grid.stage(place, Streamed(data), label())
    await expect_absent(grid, bucket, "large")
    expect(await listed(grid, bucket) == [], "a staged large body is listed")
    etag = await grid.publish(staged)
    expect(await read(grid, bucket, "large", if_match=etag) == data, "a large body changed")
    end = Span(len(data) - 2, len(data))
    expect(
        await read(grid, bucket, "large", span=end, if_match=etag) == data[-2:], "the end of a large body is another"
    )
    held = await grid.head(place)
    expect((held.size, held.etag) == (len(data), etag), "head says another size or etag of a large body")
    await grid.discard(await grid.stage(place, Streamed(data[::-1]), label()))
    for source in (Streamed(data, breaks=True), Streamed(data, size=len(data) + 1), Streamed(data, size=len(data) - 1)):
        try:
            await grid.stage(place, source, label())
        except GridError:
            continue
        raise Broken("a large body that is not whole was staged")
    expect(
        await read(grid, bucket, "large", if_match=etag) == data,
        "a large body was replaced by one that was never published",
    )


async def staged_bytes_are_invisible(grid: Grid, bucket: str) -> None:
    """Before publish nobody sees anything of what was staged, whether something was there or not."""
    await put(grid, bucket, "old", b"old")
    fresh = await grid.stage(Place(bucket, "new"), BytesSource(b"new"), label())
    over = await grid.stage(Place(bucket, "old"), BytesSource(b"newer"), label())
    await expect_absent(grid, bucket, "new")
    expect(await read(grid, bucket, "old") == b"old", "staging changed the object")
    expect([held.key for held in await listed(grid, bucket)] == ["old"], "staged bytes are listed")
    await grid.publish(fresh)
    await grid.publish(over)
    expect(await read(grid, bucket, "new") == b"new", "publish did not show the object")
    expect(await read(grid, bucket, "old") == b"newer", "publish did not replace the object")


async def discard_forgets(grid: Grid, bucket: str) -> None:
    """Discarded bytes never appear, and discarding again, or what was published, harms nothing."""
    staged = await grid.stage(Place(bucket, "key"), BytesSource(b"unwanted"), label())
    await grid.discard(staged)
    await grid.discard(staged)
    await expect_absent(grid, bucket, "key")
    staged = await grid.stage(Place(bucket, "key"), BytesSource(b"wanted"), label())
    await grid.publish(staged)
    await grid.discard(staged)
    expect(await read(grid, bucket, "key") == b"wanted", "discarding after publish removed the object")


async def a_failed_stage_leaves_nothing(grid: Grid, bucket: str) -> None:
    """A body that breaks off, or is not as long as it says, is an error, and nothing of it becomes visible."""
    await put(grid, bucket, "old", b"old")
    data = pattern(BLOCK_BYTES + 5)
    for key in ("old", "new"):
        for source in (Streamed(data, breaks=True), Streamed(data, size=len(data) + 1), Streamed(data, size=9)):
            try:
                await grid.stage(Place(bucket, key), source, label())
            except GridError:
                continue
            raise Broken("a body that is not whole was staged")
    await expect_absent(grid, bucket, "new")
    expect(await read(grid, bucket, "old") == b"old", "a failed stage changed the object")


async def publish_replaces(grid: Grid, bucket: str) -> None:
    """A new version takes the old one's place, with another etag even when its size is the same."""
    etags = [await put(grid, bucket, "key", data) for data in (b"one", b"two", b"six", b"longer")]
    expect(len(set(etags)) == len(etags), "two versions share an etag")
    expect(await read(grid, bucket, "key") == b"longer", "the last version is not there")
    expect(len(await listed(grid, bucket)) == 1, "an old version is still listed")


async def if_match_gives_that_copy_or_none(grid: Grid, bucket: str) -> None:
    """`get` with `if_match` gives the bytes of exactly that copy or is Refused(MISMATCH)."""
    old = await put(grid, bucket, "key", b"old bytes")
    expect(await read(grid, bucket, "key", if_match=old) == b"old bytes", "the matching copy is other bytes")
    new = await put(grid, bucket, "key", b"new bytes")
    expect(await read(grid, bucket, "key", if_match=new) == b"new bytes", "the matching copy is other bytes")
    for wrong in (old, "nonsense"):
        reason = await refusal(grid.get(Place(bucket, "key"), if_match=wrong), f"if_match={wrong!r}")
        expect(reason is Reason.MISMATCH, f"if_match={wrong!r} is {reason.value}")


async def spans_are_exact(grid: Grid, bucket: str) -> None:
    """Any span gives exactly its bytes, and the size is that of the whole object."""
    data = pattern(2 * BLOCK_BYTES + 100)
    etag = await put(grid, bucket, "key", data)
    size = len(data)
    for start, end in (
        (0, 1),
        (0, size),
        (size - 1, size),
        (1, size - 1),
        (BLOCK_BYTES - 1, BLOCK_BYTES + 1),
        (BLOCK_BYTES, 2 * BLOCK_BYTES),
        (17, 17 + BLOCK_BYTES),
    ):
        got = await read(grid, bucket, "key", span=Span(start, end), if_match=etag)
        expect(got == data[start:end], f"bytes {start} to {end} are others")
    download = await grid.get(Place(bucket, "key"), span=Span(5, 7))
    await download.close()
    expect(download.size == size, "the size is that of the span")


async def downloads_can_be_left(grid: Grid, bucket: str) -> None:
    """A download may be closed unread, in its middle, and twice."""
    data = pattern(3 * BLOCK_BYTES)
    await put(grid, bucket, "key", data)
    unread = await grid.get(Place(bucket, "key"))
    await unread.close()
    begun = await grid.get(Place(bucket, "key"))
    async for piece in begun.stream():
        expect(data.startswith(piece), "the first piece is not the beginning")
        break
    await begun.close()
    await begun.close()
    expect(await read(grid, bucket, "key") == data, "the object changed")


# --- atomicity ---


async def a_reader_sees_one_version(grid: Grid, bucket: str) -> None:
    """A read that began before a publish gives the old bytes whole, or an error, never a mixture."""
    old, new = pattern(3 * BLOCK_BYTES, 1), pattern(3 * BLOCK_BYTES, 2)
    await put(grid, bucket, "key", old)
    download = await grid.get(Place(bucket, "key"))
    got = b""
    try:
        async for piece in download.stream():
            if not got:
                await put(grid, bucket, "key", new)
            got += piece
        expect(got == old, "a read that was overtaken by a publish gave other bytes than the old ones")
    except GridError:
        expect(old.startswith(got), "a read that was overtaken by a publish began with other bytes")
    finally:
        await download.close()
    expect(await read(grid, bucket, "key") == new, "the new version is not there")


async def readers_and_writers_do_not_mix(grid: Grid, bucket: str) -> None:
    """While an object is overwritten again and again, every read gives one whole version."""
    size = 100_000
    await put(grid, bucket, "key", bytes((0,)) * size)

    async def write() -> None:
        for number in range(1, 12):
            await put(grid, bucket, "key", bytes((number,)) * size)

    async def look() -> None:
        for _ in range(12):
            got = await read(grid, bucket, "key")
            expect(len(got) == size and got == got[:1] * size, "a read mixed two versions")

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        for _ in range(3):
            group.create_task(look())


async def many_at_once_all_arrive(grid: Grid, bucket: str) -> None:
    """Concurrent writes and deletes below shared prefixes neither lose nor hinder each other."""

    async def one(number: int) -> None:
        mine = f"shared/{number % 3}/{number % 7}/{number}"
        await put(grid, bucket, mine, mine.encode())
        if number % 2:
            await grid.delete(Place(bucket, mine))

    await together(one(number) for number in range(60))
    await expect_all(grid, bucket, [f"shared/{number % 3}/{number % 7}/{number}" for number in range(0, 60, 2)])
