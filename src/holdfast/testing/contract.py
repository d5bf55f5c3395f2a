"""The contract of `Grid` as checks that any grid can be put to.

Answers for each guarantee that `grids/grid.py` states. A check is given an attached grid and an empty bucket, and leaves the
bucket empty. The tests run all of them on every grid and wrapper; `certify` runs them for an operator.
Invariant: a check passes only when what it names was seen to hold; it raises `Broken` when it was not, and
`NotApplicable` when the grid declares that it does not offer that.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from holdfast.errors import GridError, Reason, Refused, Unavailable
from holdfast.grids.grid import Grid, Held, Label
from holdfast.grids.sources import BytesSource
from holdfast.limits import BLOCK_BYTES, KEY_BYTES
from holdfast.model import Place, Span
from holdfast.testing.hard_keys import HARD_KEYS

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


CHECKS: Final[list[Check]] = []
"""Every guarantee, in the order of their growing demands."""


def _check(body: Body) -> Body:
    CHECKS.append(Check(body))
    return body


# --- tools ---


class Streamed:
    """A body that comes piece by piece and may break off."""

    data: bytes | None = None
    files: tuple[Path, ...] = ()
    handover = False

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


# --- one object ---


@_check
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


@_check
async def bodies_of_every_size_come_back(grid: Grid, bucket: str) -> None:
    """What was published comes back byte for byte, from empty bodies to several blocks."""
    sizes = (0, 1, 4096, 65_536, 65_537, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 17)
    for size in sizes:
        data = pattern(size, size)
        etag = await put(grid, bucket, f"size {size}", data)
        expect(await read(grid, bucket, f"size {size}", if_match=etag) == data, f"a body of {size} bytes changed")
        held = await grid.head(Place(bucket, f"size {size}"))
        expect((held.size, held.etag) == (size, etag), f"head says {held.size} bytes instead of {size}")


@_check
async def streamed_bodies_come_back(grid: Grid, bucket: str) -> None:
    """A body that comes in pieces of any size is kept as it came."""
    for piece in (1000, 65_536, BLOCK_BYTES):
        data = pattern(2 * BLOCK_BYTES + 333, piece)
        staged = await grid.stage(Place(bucket, "stream"), Streamed(data, piece=piece), label())
        await grid.publish(staged)
        expect(await read(grid, bucket, "stream") == data, f"a body in pieces of {piece} bytes changed")
    await grid.publish(await grid.stage(Place(bucket, "empty"), Streamed(b""), label()))
    expect(await read(grid, bucket, "empty") == b"", "an empty stream is not empty")


@_check
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


@_check
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


@_check
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


@_check
async def publish_replaces(grid: Grid, bucket: str) -> None:
    """A new version takes the old one's place, with another etag even when its size is the same."""
    etags = [await put(grid, bucket, "key", data) for data in (b"one", b"two", b"six", b"longer")]
    expect(len(set(etags)) == len(etags), "two versions share an etag")
    expect(await read(grid, bucket, "key") == b"longer", "the last version is not there")
    expect(len(await listed(grid, bucket)) == 1, "an old version is still listed")


@_check
async def if_match_gives_that_copy_or_none(grid: Grid, bucket: str) -> None:
    """`get` with `if_match` gives the bytes of exactly that copy or is Refused(MISMATCH)."""
    old = await put(grid, bucket, "key", b"old bytes")
    expect(await read(grid, bucket, "key", if_match=old) == b"old bytes", "the matching copy is other bytes")
    new = await put(grid, bucket, "key", b"new bytes")
    expect(await read(grid, bucket, "key", if_match=new) == b"new bytes", "the matching copy is other bytes")
    for wrong in (old, "nonsense"):
        reason = await refusal(grid.get(Place(bucket, "key"), if_match=wrong), f"if_match={wrong!r}")
        expect(reason is Reason.MISMATCH, f"if_match={wrong!r} is {reason.value}")


@_check
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


@_check
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


@_check
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


@_check
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


@_check
async def many_at_once_all_arrive(grid: Grid, bucket: str) -> None:
    """Concurrent writes and deletes below shared prefixes neither lose nor hinder each other."""

    async def one(number: int) -> None:
        mine = f"shared/{number % 3}/{number % 7}/{number}"
        await put(grid, bucket, mine, mine.encode())
        if number % 2:
            await grid.delete(Place(bucket, mine))

    await together(one(number) for number in range(60))
    await expect_all(grid, bucket, [f"shared/{number % 3}/{number % 7}/{number}" for number in range(0, 60, 2)])


# --- deleting ---


@_check
async def delete_is_idempotent(grid: Grid, bucket: str) -> None:
    """After a delete nothing is there; deleting what is not there succeeds, also in a bucket that never was."""
    await put(grid, bucket, "a/b/c", b"x")
    await grid.delete(Place(bucket, "a/b/c"))
    await expect_absent(grid, bucket, "a/b/c")
    await grid.delete(Place(bucket, "a/b/c"))
    await grid.delete(Place(bucket, "never/was"))
    await grid.delete(Place("never-was-a-bucket", "key"))
    expect(await listed(grid, bucket) == [], "a deleted object is listed")
    await put(grid, bucket, "a/b/c", b"again")
    expect(await read(grid, bucket, "a/b/c") == b"again", "a deleted key cannot be written again")


@_check
async def delete_spares_the_neighbours(grid: Grid, bucket: str) -> None:
    """Deleting a key touches no other, however alike they look."""
    keys = ["a", "a/", "a/b", "a/b/", "a/b/c", "a//b", "ab", "A", "a ", "a%2Fb", "./a"]
    await put_all(grid, bucket, keys)
    while keys:
        await grid.delete(Place(bucket, keys.pop(len(keys) // 2)))
        await expect_all(grid, bucket, keys)


# --- keys ---


@_check
async def hard_keys_are_kept(grid: Grid, bucket: str) -> None:
    """Keys are any UTF-8 text: each is its own object, is listed exactly so, and can be deleted."""
    await put_all(grid, bucket, HARD_KEYS)
    await expect_all(grid, bucket, HARD_KEYS)
    await delete_all(grid, bucket, HARD_KEYS[::2])
    await expect_all(grid, bucket, HARD_KEYS[1::2])


@_check
async def a_key_may_be_the_beginning_of_another(grid: Grid, bucket: str) -> None:
    """`a` and `a/b` are both objects, whichever came first, also after one of them went and came again."""
    family = ["a", "a/b", "a/b/c", "a/b/c/d"]
    for order in (family, family[::-1]):
        for key in order:
            await put(grid, bucket, key, key.encode())
        for gone in family:
            await delete_all(grid, bucket, [gone])
            await expect_all(grid, bucket, [key for key in family if key != gone])
            await put(grid, bucket, gone, gone.encode())
            await expect_all(grid, bucket, family)
        etags = {key: await put(grid, bucket, key, key.upper().encode()) for key in family}
        for key, etag in etags.items():
            expect(await read(grid, bucket, key, if_match=etag) == key.upper().encode(), f"{key!r} is an old version")
        await sweep(grid, bucket)


@_check
async def keys_of_1024_bytes_are_kept(grid: Grid, bucket: str) -> None:
    """Keys of 1,024 bytes work in every shape; a longer one is Refused(INVALID) when it is staged."""
    shapes = ["x", "é", "€", "😀", "/", "a/", "%", "\x01", "../", "ab/" * 80 + "c" * 300 + "/"]
    keys = []
    for shape in shapes:
        key = shape * (KEY_BYTES // len(shape.encode()))
        keys.append(key + "k" * (KEY_BYTES - len(key.encode())))
    await put_all(grid, bucket, keys)
    await expect_all(grid, bucket, keys)
    await delete_all(grid, bucket, keys)
    stage = grid.stage(Place(bucket, "x" * (KEY_BYTES + 1)), BytesSource(b""), label())
    expect(await refusal(stage, "a key of 1,025 bytes") is Reason.INVALID, "refused for another reason")


# --- listing ---


@_check
async def lists_are_in_byte_order(grid: Grid, bucket: str) -> None:
    """Keys come in UTF-8 byte order of the whole key, not by directory; prefix, after and limit cut exactly."""
    keys = sorted(
        ["a b", "a!", "a", "a/x", "a/x/y", "a/", "a//", "a0", "a-b", "a/x!", "b/1", "b/10", "b/2", "b0", "é", "z", "𝄞"],
        key=str.encode,
    )
    await put_all(grid, bucket, reversed(keys))
    expect([held.key for held in await grid.list(bucket)] == keys, "the order is not that of the bytes")
    for prefix in ("", "a", "a/", "a/x", "b/", "b/1", "é", "nothing"):
        below = [key for key in keys if key.startswith(prefix)]
        for after in ("", *keys, "a/w", "b/1!", "c"):
            for limit in (1, 3, 100):
                page = await grid.list(bucket, prefix=prefix, after=after, limit=limit)
                wanted = [key for key in below if key.encode() > after.encode()][:limit]
                expect([held.key for held in page] == wanted, f"list({prefix=}, {after=}, {limit=}) is wrong")


@_check
async def lists_say_what_head_says(grid: Grid, bucket: str) -> None:
    """Size and etag of a listed object are those of `head` and `publish`."""
    etags = {key: await put(grid, bucket, key, key.encode() * 9) for key in ("a", "b//c", "d/e")}
    for held in await listed(grid, bucket):
        there = await grid.head(Place(bucket, held.key))
        expect(held.etag == there.etag == etags[held.key], f"the etags of {held.key!r} differ")
        expect(held.size == there.size == len(held.key) * 9, f"the sizes of {held.key!r} differ")
        expect(held.modified_ms == there.modified_ms, f"the times of {held.key!r} differ")


@_check
async def an_unknown_bucket_is_empty(grid: Grid, bucket: str) -> None:
    """A bucket that the grid does not know has no objects."""
    expect(await grid.list("never-was-a-bucket") == (), "a bucket that never was has objects")


# --- labels and copies ---


@_check
async def labels_are_kept(grid: Grid, bucket: str) -> None:
    """A label comes back as it was given, and changes with the version."""
    if not grid.capabilities.metadata:
        raise NotApplicable("capabilities: no metadata")
    for number, user in enumerate(({}, {"colour": "blau"}, {"name": "Ünïcödé 😀", "empty": ""})):
        tag = label(**user)
        await put(grid, bucket, "key", bytes(number), tag)
        expect((await grid.head(Place(bucket, "key"))).label == tag, f"the label {user} changed")
    tag = label(streamed="yes")
    await grid.publish(await grid.stage(Place(bucket, "key"), Streamed(pattern(BLOCK_BYTES * 2)), tag))
    expect((await grid.head(Place(bucket, "key"))).label == tag, "the label of a streamed body changed")


@_check
async def copies_are_whole_and_exact(grid: Grid, bucket: str) -> None:
    """`copy` makes an object of the matching copy's bytes with its own label, over whatever was there."""
    data = pattern(BLOCK_BYTES + 99)
    etag = await put(grid, bucket, "from", data)
    await put(grid, bucket, "to", b"old")
    for target in ("to", "new//key", "from"):
        tag = label(copied=target)
        made = await grid.copy(Place(bucket, "from"), Place(bucket, target), if_match=etag, label=tag)
        expect(await read(grid, bucket, target, if_match=made) == data, f"the copy at {target!r} has other bytes")
        if grid.capabilities.metadata:
            expect((await grid.head(Place(bucket, target))).label == tag, "the copy has another label")
    stale = grid.copy(Place(bucket, "to"), Place(bucket, "x"), if_match="nonsense", label=label())
    expect(await refusal(stale, "a copy of another version") is Reason.MISMATCH, "refused for another reason")
    absent = grid.copy(Place(bucket, "nothing"), Place(bucket, "x"), if_match="any", label=label())
    expect(await refusal(absent, "a copy of nothing") is Reason.ABSENT, "refused for another reason")
    await expect_absent(grid, bucket, "x")


# --- identity ---


@_check
async def a_place_in_use_is_not_given_away(grid: Grid, bucket: str) -> None:
    """Once it was written to, a place refuses another index, and is Unavailable as any other place than it is."""
    await put(grid, bucket, "key", b"x")
    expect(
        await refusal(grid.attach(""), "a second index") is Reason.DENIED,
        "a second index was refused for another reason",
    )
    try:
        identity = await grid.attach("some-other-identity")
    except Unavailable:
        return
    raise Broken(f"it let itself be taken for another place, as {identity!r}")
