"""A workbench for index engines: how each is made, and short names for what their suites do most."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from holdfast.events import Teller
from holdfast.index.interface import Debt, GridSums, Index, NewVersion, Payment, SpoolFile, Written
from holdfast.index.sqlite import SqliteIndex
from holdfast.model import ALWAYS, Algorithm, Bucket, Checksum, Facts, Layout, Part, WriteCondition, replace
from holdfast.s3 import DeleteAsk, Upload
from holdfast.testing.rawhttp import StillClock

BUCKET = "photos"
LEASE_MS = 60_000


class Workbench:
    """An open index with two grids and one bucket."""

    def __init__(self, index: Index, clock: StillClock, grids: tuple[int, ...]) -> None:
        self.index = index
        self.clock = clock
        self.grids = grids

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    def pass_ms(self, elapsed_ms: int) -> None:
        self.clock.at_s += elapsed_ms / 1000

    async def put(self, key: str, body: bytes = b"body", **changes: Any) -> Written:
        """Commit a small version that every grid is owed."""
        return await self.index.put(replace(self.small(key, body), **changes))

    async def put_large(self, key: str, *spool: str, size: int = 100) -> Written:
        """Commit a version whose parts are these spool files of `size` bytes each."""
        return await self.index.put(self.composed(key, *spool, size=size))

    def small(self, key: str, body: bytes = b"body") -> NewVersion:
        return NewVersion(
            bucket=BUCKET,
            key=key,
            size=len(body),
            etag=f"etag-{body.hex()}",
            modified_ms=self.now_ms,
            facts=Facts({"content-type": "text/plain"}),
            owes=self.grids,
            inline=body,
            crc=7,
        )

    def composed(self, key: str, *spool: str, size: int = 100, condition: WriteCondition = ALWAYS) -> NewVersion:
        """A version whose parts are these spool files."""
        return replace(
            self.small(key),
            inline=None,
            crc=None,
            layout=layout_of(*spool, size=size),
            spool=tuple(SpoolFile(name, size) for name in spool),
            size=size * len(spool),
            condition=condition,
        )

    async def delete(self, *keys: str) -> tuple[str, ...]:
        """Delete keys from all grids; returns released spool files."""
        asks = tuple(DeleteAsk(key) for key in keys)
        _, released = await self.index.delete(BUCKET, asks, now_ms=self.now_ms, owes=self.grids)
        return released

    async def claim(self, grid: int, holder: str = "payer", limit: int = 100) -> tuple[Debt, ...]:
        return await self.index.claim(
            grid, holder=holder, now_ms=self.now_ms, lease_until_ms=self.now_ms + LEASE_MS, limit=limit
        )

    async def claim_key(self, grid: int, key: str, holder: str = "payer") -> Debt | None:
        return await self.index.claim_key(
            grid, BUCKET, key, holder=holder, now_ms=self.now_ms, lease_until_ms=self.now_ms + LEASE_MS
        )

    async def pay(self, *debts: Debt) -> tuple[str, ...]:
        """Settle claimed debts as a grid that did what was asked; returns released spool files."""
        return (await self.index.settle([payment_of(debt) for debt in debts])).released

    async def pay_all(self) -> tuple[str, ...]:
        """Claim and settle everything that is due."""
        released: list[str] = []
        for grid in self.grids:
            while claimed := await self.claim(grid, "everything"):
                released.extend(await self.pay(*claimed))
        return tuple(released)

    async def sums(self, grid: int) -> GridSums:
        return next(row for row in await self.index.sums() if row.grid == grid)

    async def copies(self, key: str) -> set[int]:
        version = await self.index.get(BUCKET, key)
        assert version is not None
        return {copy.grid for copy in version.copies}


def payment_of(debt: Debt) -> Payment:
    return Payment(debt, None if debt.version is None else f"held-{debt.version.seq}")


def part_of(number: int, spool: str, size: int = 100) -> Part:
    checksum = Checksum(Algorithm.CRC32C, "AAAAAA==")
    return Part(number, size, f"etag-{spool}", b"\1\2\3\4", spool, checksum, 1000 + number)


def layout_of(*spool: str, size: int = 100) -> Layout:
    return Layout(tuple(part_of(number, name, size) for number, name in enumerate(spool, start=1)), True)


def upload_of(key: str, upload_id: str, initiated_ms: int = 5) -> Upload:
    return Upload(BUCKET, key, upload_id, initiated_ms, Facts(user={"colour": "blue"}), Algorithm.SHA256)


@asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[Workbench]:
    clock = StillClock()
    index = SqliteIndex(folder / "index.db", clock=clock, teller=Teller(), node="here")
    await index.open()
    try:
        if not await index.grids():
            await index.create_bucket(Bucket(BUCKET, 1, "vital", "me", "us-east-1"))
        grids = [await index.register_grid(name, f"identity of {name}", f"folder:{name}") for name in ("a", "b")]
        yield Workbench(index, clock, tuple(row.id for row in grids))
    finally:
        await index.close()


Maker = Callable[[Path], AbstractAsyncContextManager[Workbench]]
"""Opens the index in a folder, a new one or the one that is there."""

ENGINES: dict[str, Maker] = {"sqlite": _sqlite}
