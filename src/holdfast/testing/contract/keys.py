"""The contract for many objects: keys, deletes, listings, labels, copies, and whose place it is.

Invariant: as in `check.py`.
"""

import asyncio

from holdfast.errors import Reason, Unavailable
from holdfast.grids.grid import Grid
from holdfast.grids.sources import BytesSource
from holdfast.limits import BLOCK_BYTES, KEY_BYTES
from holdfast.model import Place
from holdfast.testing.contract.check import (
    Broken,
    NotApplicable,
    Streamed,
    delete_all,
    expect,
    expect_absent,
    expect_all,
    holdable,
    label,
    listed,
    pattern,
    put,
    put_all,
    read,
    refusal,
    sweep,
)
from holdfast.testing.hard_keys import HARD_KEYS

# --- deleting ---


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


async def delete_spares_the_neighbours(grid: Grid, bucket: str) -> None:
    """Deleting a key touches no other, however alike they look."""
    keys = ["a", "a/", "a/b", "a/b/", "a/b/c", "a//b", "ab", "A", "a ", "a%2Fb", "./a"]
    await put_all(grid, bucket, keys)
    while keys:
        await grid.delete(Place(bucket, keys.pop(len(keys) // 2)))
        await expect_all(grid, bucket, keys)


async def deletes_at_once_take_exactly_their_keys(grid: Grid, bucket: str) -> None:
    """Deletes of many keys at the same moment, some of them twice or of nothing, remove these and nothing else."""
    names = (f"at once/{number:03}{mark}" for number in range(20) for mark in ("", "<&amp;>", "]]>", "é+%20"))
    keys = await holdable(grid, bucket, names)
    await put_all(grid, bucket, keys)
    gone = [*keys[::2], *keys[:10:2], "never/was"]
    async with asyncio.TaskGroup() as group:
        for key in gone:
            group.create_task(grid.delete(Place(bucket, key)))
    await expect_all(grid, bucket, keys[1::2])


# --- keys ---


async def hard_keys_are_kept(grid: Grid, bucket: str) -> None:
    """Keys are any UTF-8 text: each is its own object, is listed exactly so, and can be deleted. What the grid declares that it
    cannot hold is Refused(INVALID) when it is staged."""
    keys = await holdable(grid, bucket, HARD_KEYS)
    await put_all(grid, bucket, keys)
    await expect_all(grid, bucket, keys)
    await delete_all(grid, bucket, keys[::2])
    await expect_all(grid, bucket, keys[1::2])


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


async def keys_of_1024_bytes_are_kept(grid: Grid, bucket: str) -> None:
    """Keys of 1,024 bytes, or as long as the grid declares, work in every shape; a longer one is Refused(INVALID) when it is
    staged."""
    capabilities = grid.capabilities
    longest = min(KEY_BYTES, capabilities.key_bytes - (len(bucket) if capabilities.bucket_in_key else 0))
    shapes = ["x", "é", "€", "😀", "/", "a/", "%", "\x01", "../", "ab/" * 80 + "c" * 300 + "/"]
    keys = []
    for shape in shapes:
        key = shape * (longest // len(shape.encode()))
        keys.append(key + "k" * (longest - len(key.encode())))
    keys = await holdable(grid, bucket, keys)
    await put_all(grid, bucket, keys)
    await expect_all(grid, bucket, keys)
    await delete_all(grid, bucket, keys)
    stage = grid.stage(Place(bucket, "x" * (longest + 1)), BytesSource(b""), label())
    expect(await refusal(stage, "a longer key") is Reason.INVALID, "refused for another reason")


# --- listing ---


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


async def lists_say_what_head_says(grid: Grid, bucket: str) -> None:
    """Size and etag of a listed object are those of `head` and `publish`."""
    keys = await holdable(grid, bucket, ("a", "b//c", "d/e"))
    etags = {key: await put(grid, bucket, key, key.encode() * 9) for key in keys}
    for held in await listed(grid, bucket):
        there = await grid.head(Place(bucket, held.key))
        expect(held.etag == there.etag == etags[held.key], f"the etags of {held.key!r} differ")
        expect(held.size == there.size == len(held.key) * 9, f"the sizes of {held.key!r} differ")
        expect(held.modified_ms == there.modified_ms, f"the times of {held.key!r} differ")


async def an_unknown_bucket_is_empty(grid: Grid, bucket: str) -> None:
    """A bucket that the grid does not know has no objects."""
    expect(await grid.list("never-was-a-bucket") == (), "a bucket that never was has objects")


# --- labels and copies ---


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


async def copies_are_whole_and_exact(grid: Grid, bucket: str) -> None:
    """`copy` makes an object of the matching copy's bytes with its own label, over whatever was there."""
    data = pattern(BLOCK_BYTES + 99)
    etag = await put(grid, bucket, "from", data)
    await put(grid, bucket, "to", b"old")
    for target in await holdable(grid, bucket, ("to", "new//key", "from")):
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
