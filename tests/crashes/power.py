"""The engine on a disk that remembers, and what must be true of whatever a power loss leaves of it.

Answers for: one run in which each change of a key is marked in the disk's log when it is sent and when it was acknowledged; and the
checks after a cut at any point of that log. Invariant: each key is changed by one hand at a time, so what it may be is
always known.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.clock import SystemClock
from holdfast.errors import GridError, S3Error
from holdfast.grids.folder import FolderGrid
from holdfast.keepers.sweep import Sweep
from holdfast.limits import PART_BYTES_MIN
from holdfast.model import Place
from holdfast.testing.simulation.disk import Disk
from holdfast.testing.simulation.volume import Draw, Op
from tests.crashes.load import files_of, paths_of
from tests.engine import BUCKET, Engine, engine

KIB: Final = 1024
_KEEP_INLINE_BYTES: Final = 20 * KIB
"""Inline bodies above this are let go of once all grids hold them, so that a copy in a grid is the only one."""
_FLUSHES: Final = frozenset({"fsync", "fdatasync", "syncfs"})

Fates = dict[str, set[bytes | None]]
"""What each key may be: bodies, None is absence."""


class Change(NamedTuple):
    key: str
    data: bytes | None


class Lost(AssertionError):
    """What power loss left breaks a promise."""


class Recording:
    """One run of the engine with a policy that asks `ack` grids for each write."""

    def __init__(self, folder: Path, *, ack: int, seed: str) -> None:
        self.disk = Disk(folder / "disk")
        self.ack = ack
        self.holders: list[str] = []
        """Who may have claimed debts, and is dead."""
        self._seen: Mapping[str, bytes | None] = {}
        self._changes: list[Change] = []
        self._dice = random.Random(seed)

    def run(self, work: "Callable[[Recording, Engine], Awaitable[None]]") -> None:
        """Play `work` on a new engine, and record what it does to the disk."""

        async def play() -> None:
            async with engine(
                self.disk.root, grids(self.disk.root), ack=self.ack, keep_inline_bytes=_KEEP_INLINE_BYTES
            ) as made:
                self.holders.append(made.site.holder)
                self.disk.mark("ready")
                await work(self, made)

        with self.disk.installed():
            asyncio.run(play())

    def body(self, size_bytes: int) -> bytes:
        return self._dice.randbytes(size_bytes)

    async def put(self, made: Engine, key: str, size_bytes: int) -> None:
        data = self.body(size_bytes)
        number = self._send(key, data)
        await made.put(key, data)
        self.disk.mark(f"done {number}")

    async def delete(self, made: Engine, key: str) -> None:
        number = self._send(key, None)
        await made.delete(key)
        self.disk.mark(f"done {number}")

    async def upload(self, made: Engine, key: str, *sizes: int) -> None:
        parts = [self.body(size) for size in sizes]
        number = self._send(key, b"".join(parts))
        await made.upload(key, parts)
        self.disk.mark(f"done {number}")

    def _send(self, key: str, data: bytes | None) -> int:
        self._changes.append(Change(key, data))
        self.disk.mark(f"sent {len(self._changes) - 1}")
        return len(self._changes) - 1

    # --- cuts ---

    def boundaries(self) -> list[int]:
        """Points of the log just before and just after each flush, and its end."""
        flushes = [at for at, op in enumerate(self.disk.log) if op.kind in _FLUSHES]
        return sorted({*flushes, *(at + 1 for at in flushes), len(self.disk.log)})

    def fates(self, upto: int) -> Fates:
        """What each key may be after so many operations."""
        fates: Fates = {change.key: {None} for change in self._changes}
        for op in self.disk.log[:upto]:
            what, _, number = op.name.partition(" ")
            if op.kind == "mark" and number:
                key, data = self._changes[int(number)]
                fates[key] = {data} if what == "done" else fates[key] | {data}
        return fates

    def acknowledged(self, upto: int) -> int:
        return sum(op.kind == "mark" and op.name.startswith("done") for op in self.disk.log[:upto])

    def check(self, upto: int, draw: Draw, folder: Path, *, again: Draw | None = None) -> None:
        """Cut there, and see that what is left keeps every promise; with `again`, cut a second time while it recovers. `folder` is
        made. Raises Lost."""
        left = Disk(folder)
        folder.mkdir()
        self.disk.image(draw, upto).write(folder)
        fates = self.fates(upto)
        try:
            self._recover(left, fates)
            if again is not None and left.log:
                # What clients saw after the first cut is as good as acknowledged; before they saw anything, nothing is.
                point = int(again() * (len(left.log) + 1))
                seen = next((at for at, op in enumerate(left.log) if op.name == "seen"), len(left.log))
                decided = {key: {data} for key, data in self._seen.items()} if point > seen else fates
                second = folder.with_name(folder.name + "-again")
                second.mkdir()
                left.image(again, point).write(second)
                self._recover(Disk(second), decided)
        except (AssertionError, S3Error, GridError, OSError) as broken:
            raise Lost(f"{type(broken).__name__}: {broken}\n{self.around(upto)}") from broken
        finally:
            del self.holders[1:]

    def _recover(self, disk: Disk, fates: Fates) -> None:
        with disk.installed():
            self._seen = asyncio.run(self._promises(disk, fates))
        for root in (disk.root / "grids" / name for name in ("a", "b")):
            files = files_of(root, BUCKET)
            assert files.keys() == self._seen.keys() - {key for key, data in self._seen.items() if data is None}, (
                f"{root.name} has {sorted(files)}"
            )
            assert len(files) == sum(1 for _ in paths_of(root, BUCKET)), f"{root.name}: a key is there in both forms"
            for key, path in files.items():
                assert path.read_bytes() == self._seen[key], f"{root.name} has wrong bytes of {key}"

    async def _promises(self, disk: Disk, fates: Fates) -> Mapping[str, bytes | None]:
        async with engine(
            disk.root,
            grids(disk.root),
            ack=self.ack,
            keep_inline_bytes=_KEEP_INLINE_BYTES,
        ) as made:
            for holder in self.holders:
                await made.site.index.release_leases(holder)
            self.holders.append(made.site.holder)
            seen = {key: await self._look(made, key) for key in fates}
            for key, data in seen.items():
                assert data in fates[key], f"{key} is {_told(data)} and may be {[_told(one) for one in fates[key]]}"
            disk.mark("seen")
            assert await made.keys() == sorted(key for key, data in seen.items() if data is not None)
            for key, data in seen.items():
                await _check_copies(made, key, data)
            await made.converge()
            for key, data in seen.items():
                assert await self._look(made, key) == data, f"{key} changed while it recovered"
                if data is not None:
                    assert await made.copies(key) == {"a", "b"}, f"{key} is not in both grids"
            usage = await made.site.index.usage()
            assert (usage.debts, usage.tombstones) == (0, 0)
        return seen

    @staticmethod
    async def _look(made: Engine, key: str) -> bytes | None:
        try:
            return await made.read(key)
        except S3Error as refusal:
            assert refusal.code == "NoSuchKey", f"{key}: {refusal.code}, {refusal.detail}"
            return None

    def around(self, upto: int) -> str:
        """The log where it was cut."""
        log = self.disk.log
        lines = [f"{'cut -> ' if at == upto else ''}{at} {_line(log[at])}" for at in range(max(0, upto - 12), upto)]
        return "\n".join([*lines, f"cut at {upto} of {len(log)}, ack = {self.ack}"])


def grids(folder: Path) -> list[FolderGrid]:
    return [FolderGrid(name, folder / "grids" / name, clock=SystemClock()) for name in ("a", "b")]


async def _check_copies(made: Engine, key: str, data: bytes | None) -> None:
    """What the index says that a grid holds is there, byte by byte, under the etag that it says."""
    version = await made.site.index.get(BUCKET, key)
    for copy in version.copies if version is not None else ():
        seat = made.site.seat(copy.grid)
        assert seat is not None
        download = await seat.grid.get(Place(BUCKET, key), if_match=copy.etag)
        held = b"".join([piece async for piece in download.stream()])
        await download.close()
        assert held == data, f"{seat.name} has wrong bytes of {key}"


def _told(data: bytes | None) -> str:
    return "absent" if data is None else f"{len(data)} bytes {data[:4].hex()}"


def _line(op: Op) -> str:
    extra = f" {op.source}" if op.kind == "rename" else f" {op.offset}+{len(op.data or b'')}" if op.data else ""
    return f"{op.kind} {op.path}{op.name if op.kind == 'mark' else ''}{extra}"


# --- what is done in one run ---


async def everything_once(record: Recording, made: Engine) -> None:
    """Small and large writes, alone and together, overwrites, deletions, uploads, hard keys, catch-up, sweep."""
    put, delete = record.put, record.delete
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(put(made, f"small/{number}", 100 * number))
    await put(made, "large", 300 * KIB)
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(put(made, f"medium/{number}", 70 * KIB + number))
        group.create_task(put(made, "inline", 60 * KIB))
        group.create_task(made.settle())
    await put(made, "small/1", 150 * KIB)
    await put(made, "medium/1", 10)
    await delete(made, "small/2")
    await delete(made, "medium/2")
    await put(made, "medium/2", 80 * KIB)
    async with asyncio.TaskGroup() as group:
        group.create_task(made.settle())
        for key in ("x", "x/y", "x//z", "../up"):
            group.create_task(put(made, key, 500))
    await record.upload(made, "uploaded", 90 * KIB)
    if record.ack == 1:
        await record.upload(made, "uploaded in parts", PART_BYTES_MIN, 50 * KIB)
    await made.settle()
    await Sweep(made.site).step()
    async with asyncio.TaskGroup() as group:
        group.create_task(delete(made, "x"))
        group.create_task(delete(made, "large"))
        group.create_task(put(made, "inline", 66 * KIB))
        group.create_task(made.settle())
    await put(made, "large", 50)
    await delete(made, "x/y")
    await delete(made, "x//z")
    await made.settle()
    await put(made, "last", 2 * KIB)
