"""Buckets that keep versions, played at random against a model that fits on a page, while grids come and go.

The model knows for each key its versions, newest first. After every step listings and reads agree with it; in the end nothing is owed,
and each grid holds the current versions under their own keys, the others where they belong, and nothing else.
"""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import S3Error
from holdfast.grids.folder import FolderGrid
from holdfast.grids.grid import Grid
from holdfast.grids.memory import MemoryGrid
from holdfast.limits import BLOCK_BYTES, DEBT_RETRY_MAX_S
from holdfast.model import Place
from holdfast.s3 import DeleteAsk, DeleteObject, DeleteObjects, GetObject, ListVersions
from holdfast.s3.settings import PutSetting
from holdfast.s3.versioning import NULL, Versioning, home_of, is_reserved
from holdfast.testing.faults import Fault, FaultGrid, Kind
from tests.engine import BUCKET, Engine, engine
from tests.promises.troubled import LeapClock

KEYS = ("a", "a/b", "ä" * 500)
"""The last one is too long to have its versions under its own name."""
LARGE = os.urandom(BLOCK_BYTES + 9)

Past = tuple[str, bytes | None]
"""A version's id and its bytes; None for a delete marker."""


class Model:
    """What a bucket should look like."""

    def __init__(self) -> None:
        self.status = ""
        self.keys: dict[str, list[Past]] = {key: [] for key in KEYS}

    def put(self, key: str, version_id: str, data: bytes | None) -> None:
        """A version, or a delete marker, becomes the latest."""
        past = self.keys[key]
        if self.status != "Enabled":
            past[:] = [(known, body) for known, body in past if known != NULL]
        past.insert(0, (version_id or NULL, data))

    def delete(self, key: str, version_id: str, marker: str) -> None:
        if version_id:
            self.keys[key] = [(known, data) for known, data in self.keys[key] if known != version_id]
        elif self.status:
            self.put(key, marker, None)
        else:
            self.keys[key] = []

    def current(self, key: str) -> bytes | None:
        return self.keys[key][0][1] if self.keys[key] else None

    def entries(self) -> list[tuple[str, str, bool, bool]]:
        """Key, version id, whether a marker, whether the latest; in the order of a listing."""
        return [
            (key, version_id, data is None, place == 0)
            for key in sorted(KEYS, key=str.encode)
            for place, (version_id, data) in enumerate(self.keys[key])
        ]

    def held(self) -> dict[str, bytes]:
        """What each grid should hold."""
        found: dict[str, bytes] = {}
        for key, past in self.keys.items():
            for place, (version_id, data) in enumerate(past):
                if data is not None:
                    found[key if place == 0 else home_of(key, version_id)] = data
        return found


class Play:
    """One random run."""

    def __init__(self, made: Engine, grids: list[FaultGrid], clock: LeapClock, seed: int) -> None:
        self.made = made
        self.grids = grids
        self.clock = clock
        self.dice = random.Random(seed)
        self.model = Model()
        self.count = 0

    async def step(self) -> None:
        acts: list[tuple[int, Any]] = [
            (8, self.put),
            (2, self.upload),
            (3, self.delete),
            (4, self.delete_version),
            (1, self.delete_many),
            (1, self.configure),
            (4, self.pay),
            (2, self.trim),
            (2, self.trouble),
        ]
        await self.dice.choices([act for _, act in acts], [weight for weight, _ in acts])[0]()

    def body(self) -> bytes:
        self.count += 1
        return b"%d of " % self.count + (LARGE if self.dice.random() < 0.3 else b"small")

    async def put(self) -> None:
        key, data = self.dice.choice(KEYS), self.body()
        done = await self.made.put(key, data)
        assert (done.version_id != "") == (self.model.status != "")
        self.model.put(key, done.version_id, data)

    async def upload(self) -> None:
        key, data = self.dice.choice(KEYS), self.body()
        await self.made.upload(key, [data])
        version = await self.made.site.index.get(BUCKET, key)
        assert version is not None
        self.model.put(key, version.version_id, data)

    async def delete(self) -> None:
        key = self.dice.choice(KEYS)
        done = await self.made.store.delete_object(DeleteObject(BUCKET, key))
        assert done.marker == (self.model.status != "")
        self.model.delete(key, "", done.version_id)

    async def delete_version(self) -> None:
        key = self.dice.choice(KEYS)
        known = [version_id for version_id, _ in self.model.keys[key]]
        if known and self.model.status:
            version_id = self.dice.choice(known)
            done = await self.made.store.delete_object(DeleteObject(BUCKET, key, version_id))
            assert done.version_id == version_id
            self.model.delete(key, version_id, "")

    async def delete_many(self) -> None:
        """Several versions of one key in one commit."""
        key = self.dice.choice(KEYS)
        known = [version_id for version_id, _ in self.model.keys[key]][:3]
        if known and self.model.status:
            asks = tuple(DeleteAsk(key, version_id) for version_id in known)
            done = await self.made.store.delete_objects(DeleteObjects(BUCKET, asks))
            assert not done.failed
            for version_id in known:
                self.model.delete(key, version_id, "")

    async def configure(self) -> None:
        self.model.status = "Suspended" if self.model.status == "Enabled" else "Enabled"
        await self.made.store.put_setting(PutSetting(BUCKET, "versioning", Versioning(self.model.status)))

    async def pay(self) -> None:
        self.clock.leap(self.dice.choice((0, 2, DEBT_RETRY_MAX_S)))
        for keeper in self.dice.sample(self.made.catchups, 2):
            await keeper.step()

    async def trim(self) -> None:
        await self.made.site.index.trim_inline(0, limit=100)

    async def trouble(self) -> None:
        grid = self.dice.choice(self.grids)
        if self.dice.random() < 0.5:
            grid.heal()
        else:
            kind = self.dice.choice((Kind.REFUSE, Kind.LOST_ANSWER, Kind.CORRUPT))
            operations = self.dice.choice((("publish",), ("copy",), ("delete",), ("get",), ("stage", "copy"), ()))
            grid.inject(Fault(kind, share=self.dice.choice((0.3, 1.0))), *operations)

    # --- looking ---

    async def look(self) -> None:
        """Listings agree at any time."""
        model, store = self.model, self.made.store
        listed: list[tuple[str, str, bool, bool]] = []
        key_marker = version_marker = ""
        limit = self.dice.choice((1, 2, 1000))
        while True:
            ask = ListVersions(BUCKET, key_marker=key_marker, version_marker=version_marker, limit=limit)
            page = (await store.list_versions(ask)).page
            for entry in page.entries:
                version = entry.version
                listed.append((entry.key, version.version_id, version.marker, entry.latest))
                assert entry.latest == (entry.since_ms == 0)
            if not page.next_key:
                break
            key_marker, version_marker = page.next_key, page.next_version
        assert listed == model.entries()
        present = sorted((key for key in KEYS if model.current(key) is not None), key=str.encode)
        assert await self.made.keys() == present

    async def read_all(self) -> None:
        """Every version reads right, and a marker is a marker."""
        for key, past in self.model.keys.items():
            for version_id, data in past:
                ask = GetObject(BUCKET, key, version_id=version_id)
                if not self.model.status and version_id != NULL:
                    continue
                if data is None:
                    with pytest.raises(S3Error, match="MethodNotAllowed"):
                        await self.made.got(ask)
                    continue
                got, found = await self.made.got(ask)
                assert (got.version.version_id, found) == (version_id, data)
            current = self.model.current(key)
            if current is None:
                assert await self.made.code(key) == "NoSuchKey"
            else:
                assert await self.made.read(key) == current

    async def end(self) -> None:
        for grid in self.grids:
            grid.heal()
        await self.read_all()
        for _ in range(60):
            self.clock.leap(DEBT_RETRY_MAX_S)
            if not await self.made.settle():
                break
        usage = await self.made.site.index.usage()
        assert (usage.debts, usage.tombstones, usage.spool_bytes) == (0, 0, 0)
        await self.made.site.index.trim_inline(0, limit=1000)
        expected = self.model.held()
        assert usage.objects == len(expected)
        for grid in self.grids:
            held = {item.key: await self.content(grid, item.key) for item in await grid.list(BUCKET, limit=10_000)}
            assert held == expected, grid.name
        for sums in await self.made.site.index.sums():
            assert (sums.held, sums.held_bytes) == (len(expected), sum(map(len, expected.values())))
        index: Any = self.made.site.index
        assert index._reader.execute("SELECT count(*) FROM guest").get == 0, "every copy lies where it belongs"
        await self.read_all()

    async def content(self, grid: Grid, key: str) -> bytes:
        download = await grid.get(Place(BUCKET, key))
        try:
            return b"".join([piece async for piece in download.stream()])
        finally:
            await download.close()


def play(tmp_path: Path, inner: list[Grid], seed: int, *, ack: int, steps: int) -> None:
    async def main() -> None:
        clock = LeapClock()
        grids = [FaultGrid(grid, clock=clock) for grid in inner]
        async with engine(tmp_path, grids, clock=clock, ack=ack) as made:
            run = Play(made, grids, clock, seed)
            for _ in range(steps):
                await run.step()
                await run.look()
            await run.end()

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(12))
def test_versions_agree_with_the_model_whatever_grids_do(tmp_path: Path, seed: int) -> None:
    play(tmp_path, [MemoryGrid("a"), MemoryGrid("b")], seed, ack=0, steps=80)


@pytest.mark.parametrize("seed", range(100, 104))
def test_versions_agree_with_the_model_when_a_grid_must_acknowledge(tmp_path: Path, seed: int) -> None:
    play(tmp_path, [MemoryGrid("a"), MemoryGrid("b")], seed, ack=1, steps=80)


@pytest.mark.parametrize("seed", range(200, 203))
def test_versions_agree_with_the_model_in_directories(tmp_path: Path, seed: int) -> None:
    clock = LeapClock()
    places = [FolderGrid(name, tmp_path / name, clock=clock) for name in "ab"]
    play(tmp_path, list(places), seed, ack=0, steps=60)


def test_no_key_of_a_client_lies_where_versions_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            await made.store.put_setting(PutSetting(BUCKET, "versioning", Versioning("Enabled")))
            first = await made.put("k", b"first")
            await made.put("k", b"second")
            home = home_of("k", first.version_id)
            assert is_reserved(home)
            assert await made.code(home) == "NoSuchKey"
            with pytest.raises(S3Error, match="InvalidArgument"):
                await made.put(home, b"other")
            with pytest.raises(S3Error, match="AccessDenied"):
                await made.delete(home)
            with pytest.raises(S3Error, match="NoSuchKey"):
                await made.got(GetObject(BUCKET, home, version_id=first.version_id))
            assert await made.keys() == ["k"]
            assert (await made.got(GetObject(BUCKET, "k", version_id=first.version_id)))[1] == b"first"

    asyncio.run(main())
