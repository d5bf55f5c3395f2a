"""The engine under test: a real index, a real spool, and whatever grids the test brings, in one process."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.cache.cache import Cache
from holdfast.clock import Clock, SystemClock
from holdfast.copies.site import PolicyTerms, Seat, Site
from holdfast.errors import S3Error
from holdfast.events import Event, Teller
from holdfast.grids.grid import Grid
from holdfast.index.sqlite import SqliteIndex
from holdfast.keepers.catchup import LANES, CatchUp
from holdfast.keepers.probe import attach_all
from holdfast.keepers.reconcile import Reconcile
from holdfast.model import Algorithm, Checksum, Facts
from holdfast.s3 import (
    CompleteMultipartUpload,
    CreateBucket,
    CreateMultipartUpload,
    DeleteObject,
    Expected,
    GetObject,
    ListObjects,
    ObjectGot,
    ObjectPut,
    PartAsk,
    PutObject,
    UploadPart,
)
from holdfast.s3.identities import OWNER_ID
from holdfast.sealing.kms import LocalKms
from holdfast.sealing.master import KEY_BYTES, MasterKey
from holdfast.sealing.vault import Vault
from holdfast.spool.spool import Spool
from holdfast.store.store import Store
from holdfast.wrappers.breaker import BreakerGrid

BUCKET = "photos"
MASTER = bytes(range(KEY_BYTES))
NAMED = bytes(range(1, KEY_BYTES + 1))


class Bytes:
    """A body that is at hand, given in pieces."""

    def __init__(self, data: bytes, *, declared: bool = True, trailer: Checksum | None = None) -> None:
        self._pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
        self._size = len(data) if declared else None
        self._trailer = trailer

    @property
    def size(self) -> int | None:
        return self._size

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    @property
    def trailer(self) -> Checksum | None:
        return self._trailer


class Engine:
    """Store, site and keepers, with short names for what tests do most."""

    def __init__(self, site: Site, store: Store, events: list[Event]) -> None:
        self.site = site
        self.store = store
        self.events = events
        self.catchups = [CatchUp(site, seat, lane) for seat in site.seats.values() for lane in range(len(LANES))]
        self.reconciler = Reconcile(site)

    async def put(self, key: str, data: bytes, *, facts: Facts | None = None) -> ObjectPut:
        return await self.store.put_object(PutObject(BUCKET, key, facts or Facts()), Bytes(data))

    async def got(self, ask: GetObject) -> tuple[ObjectGot, bytes]:
        got = await self.store.get_object(ask)
        if got.stream is None:
            return got, got.data or b""
        return got, b"".join([piece async for piece in got.stream])

    async def read(self, key: str) -> bytes:
        return (await self.got(GetObject(BUCKET, key)))[1]

    async def code(self, key: str) -> str:
        """What a GET of this key answers: "ok" or the S3 error code."""
        try:
            await self.read(key)
        except S3Error as refusal:
            return refusal.code
        return "ok"

    async def delete(self, key: str) -> None:
        await self.store.delete_object(DeleteObject(BUCKET, key))

    async def keys(self) -> list[str]:
        page = (await self.store.list_objects(ListObjects(BUCKET, v2=True))).page
        return [key for key, _ in page.versions]

    async def upload(
        self, key: str, parts: Sequence[bytes], *, algorithm: Algorithm | None = None, facts: Facts | None = None
    ) -> str:
        """A whole multipart upload; returns its etag."""
        begun = await self.store.create_multipart_upload(
            CreateMultipartUpload(BUCKET, key, facts or Facts(), algorithm)
        )
        asks: list[PartAsk] = []
        for number, data in enumerate(parts, 1):
            part = await self.store.upload_part(
                UploadPart(BUCKET, key, begun.upload_id, number, Expected()), Bytes(data)
            )
            asks.append(PartAsk(number, part.etag))
        done = await self.store.complete_multipart_upload(
            CompleteMultipartUpload(BUCKET, key, begun.upload_id, tuple(asks))
        )
        return done.etag

    async def probe(self) -> None:
        for seat in self.site.seats.values():
            await self.site.attach(seat)

    async def settle(self, *, rounds: int = 50) -> int:
        """Let catch-up take its turns until nothing is due; returns the debts that are left."""
        for _ in range(rounds):
            delays = [await keeper.step() for keeper in self.catchups]
            if all(delays):
                break
        return (await self.site.index.usage()).debts

    async def converge(self) -> None:
        """Settle, also what was postponed; fails when debts are left after many tries."""
        for _ in range(400):
            if not await self.settle():
                return
            await self.site.clock.sleep(0.02)
        raise AssertionError(f"debts are left: {await self.site.index.sums()}")

    async def reconcile(self) -> None:
        while not await self.reconciler.step():
            pass

    async def copies(self, key: str) -> set[str]:
        """Names of the grids that the index says hold this key."""
        version = await self.site.index.get(BUCKET, key)
        assert version is not None
        seats = [self.site.seat(copy.grid) for copy in version.copies]
        return {seat.name for seat in seats if seat is not None}


@asynccontextmanager
async def engine(
    folder: Path,
    grids: Sequence[Grid],
    *,
    ack: int = 0,
    accept: bool = True,
    spool_bytes: int = 1 << 40,
    bucket: bool = True,
    keep_inline_bytes: int = 1 << 30,
    clock: Clock | None = None,
    cache_bytes: int = 0,
    cache_age_s: float = 86_400.0,
    cache_local: bool = False,
    masters: Sequence[bytes] = (MASTER,),
    encrypt: bool = False,
) -> AsyncIterator[Engine]:
    """A running engine on `folder`; opened again on the same folder it goes on where it stopped."""
    clock, teller = clock or SystemClock(), Teller()
    events: list[Event] = []
    teller.subscribe(events.append)
    index = SqliteIndex(folder / "index.db", clock=clock, teller=teller, node="test")
    await index.open()
    spool = Spool(folder / "spool", limit_bytes=spool_bytes, clock=clock)
    spool.open()
    cache = None
    if cache_bytes:
        cache = Cache(
            folder / "cache", size_bytes=cache_bytes, age_s=cache_age_s, local=cache_local, clock=clock, teller=teller
        )
        await cache.step()
    names = tuple(grid.name for grid in grids)
    master = MasterKey(masters, clock)
    site = Site(
        index=index,
        spool=spool,
        seats=[_seat(grid) for grid in grids],
        policies=[PolicyTerms("standard", names, ack, accept, encrypt)],
        default_policy="standard",
        bucket_policies={},
        clock=clock,
        teller=teller,
        keep_inline_bytes=keep_inline_bytes,
        holder=f"test/{clock.token(4).hex()}",
        cache=cache,
        vault=Vault(master, LocalKms(master, {"key-1": MasterKey([NAMED], clock)}, clock), clock),
    )
    await site.obey_pins()
    await attach_all(site)
    made = Engine(site, Store(site, owner=OWNER_ID, region="us-east-1"), events)
    if bucket and not await index.buckets():
        await made.store.create_bucket(CreateBucket(BUCKET))
    try:
        yield made
    finally:
        for grid in grids:
            await grid.close()
        if cache is not None:
            await cache.close()
        await index.close()
        spool.close()


def _seat(grid: Grid) -> Seat:
    """As the composition root makes it: a grid in its coats comes with what is known of its health."""
    if isinstance(grid, BreakerGrid):
        return Seat(grid, f"test:{grid.name}", breakers=grid.breakers, last=grid.as_last())
    return Seat(grid, f"test:{grid.name}")


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()
