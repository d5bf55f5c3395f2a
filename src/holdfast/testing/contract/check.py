"""What a check of the contract is, and what checks are written with.

A check is given an attached grid and an empty bucket, and leaves the bucket empty. Invariant: it passes only when what it names
was seen to hold; it raises `Broken` when it was not, and `NotApplicable` when the grid declares that it
does not offer that.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import Reason, Refused, Unavailable
from holdfast.grids.grid import Grid, Held, Label, Origin
from holdfast.grids.sources import BytesSource
from holdfast.limits import BLOCK_BYTES
from holdfast.model import Place, Span

Make = Callable[[], Awaitable[Grid]]
"""Opens the grid: the same place each time, attached."""
Body = Callable[[Grid, str], Awaitable[None]]

_AT_ONCE = 32


class Broken(Exception):
    """The grid does not keep this promise."""


class NotApplicable(Exception):
    """The grid declares that it does not offer this."""


class Check:
    """One guarantee."""

    def __init__(self, body: Body) -> None:
        self.name = body.__name__
        self.promise = " ".join((body.__doc__ or "").split())
        self._body = body

    def __repr__(self) -> str:
        return self.name

    async def run(self, make: Make, *, bucket: str = "contract") -> None:
        """Raises Broken, NotApplicable, or a GridError that the promise does not allow."""
        grid = await make()
        try:
            await sweep(grid, bucket)
            try:
                await self._body(grid, bucket)
            finally:
                await sweep(grid, bucket)
        finally:
            await grid.close()


# --- tools ---


class Streamed:
    """A body that comes piece by piece and may break off."""

    data: bytes | None = None
    files: tuple[Path, ...] = ()
    handover = False
    origins: tuple[Origin, ...] = ()

    def __init__(self, data: bytes, *, piece: int = BLOCK_BYTES, breaks: bool = False, size: int = -1) -> None:
        self._data = data
        self._piece = piece
        self._breaks = breaks
        self.size = len(data) if size < 0 else size

    async def stream(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), self._piece):
            await asyncio.sleep(0)
            yield self._data[start : start + self._piece]
        if self._breaks:
            raise Unavailable("another grid", "get", "the source of this body breaks off")


_seq = 0


def label(**user: str) -> Label:
    """A label of a version that never was before."""
    global _seq
    _seq += 1
    return Label(
        seq=_seq,
        etag=f"client-etag-{_seq}",
        modified_ms=1_700_000_000_000,
        system={"content-type": "text/plain"},
        user=user,
    )


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


async def put(grid: Grid, bucket: str, key: str, data: bytes, tag: Label | None = None) -> str:
    """Stage and publish."""
    return await grid.publish(await grid.stage(Place(bucket, key), BytesSource(data), tag or label()))


async def read(grid: Grid, bucket: str, key: str, *, span: Span | None = None, if_match: str = "") -> bytes:
    """All bytes of the span; checks on the way what a download must keep."""
    download = await grid.get(Place(bucket, key), span=span, if_match=if_match)
    try:
        if if_match:
            expect(download.etag == if_match, f"get of {if_match!r} gave {download.etag!r}")
        pieces = [piece async for piece in download.stream()]
    finally:
        await download.close()
    expect(all(0 < len(piece) <= BLOCK_BYTES for piece in pieces), "a piece is empty or larger than BLOCK_BYTES")
    return b"".join(pieces)


async def listed(grid: Grid, bucket: str, *, prefix: str = "") -> list[Held]:
    """Everything, page by page."""
    rows: list[Held] = []
    while page := await grid.list(bucket, prefix=prefix, after=rows[-1].key if rows else "", limit=100):
        expect(not rows or page[0].key.encode() > rows[-1].key.encode(), "a page begins before the end of the last")
        rows += page
    return rows


async def sweep(grid: Grid, bucket: str) -> None:
    """Delete everything in a bucket."""
    while page := await grid.list(bucket):
        await together(grid.delete(Place(bucket, held.key)) for held in page)


async def together(work: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Do all of it, a few at once: a grid that is far away, or flushes each change, is then checked in bearable time."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(step: Coroutine[Any, Any, object]) -> None:
        async with turns:
            await step

    async with asyncio.TaskGroup() as group:
        for step in work:
            group.create_task(one(step))


async def holdable(grid: Grid, bucket: str, keys: Iterable[str]) -> list[str]:
    """Those keys that the grid takes; Broken when it refuses one without declaring that it might, or for another reason."""
    taken = []
    for key in keys:
        try:
            await grid.discard(await grid.stage(Place(bucket, key), BytesSource(b""), label()))
            taken.append(key)
        except Refused as refused:
            expect(refused.reason is Reason.INVALID, f"{key!r} was refused for another reason")
            expect(grid.capabilities.refused_keys != "", f"{key!r} was refused, although any key is said to be taken")
    return taken


async def put_all(grid: Grid, bucket: str, keys: Iterable[str]) -> None:
    """Make an object of each key, whose body is the key."""
    await together(put(grid, bucket, key, key.encode()) for key in keys)


async def expect_all(grid: Grid, bucket: str, keys: Sequence[str]) -> None:
    """Each key is there with its own body, and the listing is exactly these."""

    async def one(key: str) -> None:
        expect(await read(grid, bucket, key) == key.encode(), f"{key[:40]!r} is missing or has another object's body")

    await together(one(key) for key in keys)
    expect(
        [held.key for held in await listed(grid, bucket)] == sorted(keys, key=str.encode),
        "the listing differs from what is there",
    )


async def delete_all(grid: Grid, bucket: str, keys: Iterable[str]) -> None:
    async def one(key: str) -> None:
        await grid.delete(Place(bucket, key))
        await expect_absent(grid, bucket, key)

    await together(one(key) for key in keys)


async def refusal(operation: Awaitable[object], what: str) -> Reason:
    """The reason why an operation was refused; Broken when it was not."""
    try:
        await operation
    except Refused as refused:
        return refused.reason
    raise Broken(f"{what} was not refused")


async def expect_absent(grid: Grid, bucket: str, key: str) -> None:
    place = Place(bucket, key)
    expect(await refusal(grid.head(place), f"head of {key!r}") is Reason.ABSENT, "head refused for another reason")
    expect(await refusal(grid.get(place), f"get of {key!r}") is Reason.ABSENT, "get refused for another reason")


def pattern(size_bytes: int, seed: int = 0) -> bytes:
    """Bytes of which no two blocks are alike."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size_bytes)
