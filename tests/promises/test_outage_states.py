"""Any order of writes, faults, crashes and passing time, against a model: what was acknowledged is what is read, always, and what
both grids hold in the end.

The budget of faults, under which nothing may be lost: grid `a` may fail in every way, lie, rot and come back empty; grid `b` may
fail and lie, but keeps what it was given.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.errors import ConfigError, S3Error
from holdfast.health.standing import Use
from holdfast.keepers.scrub import Scrub
from holdfast.limits import BLOCK_BYTES, DOUBT_S, INLINE_BYTES
from holdfast.model import Place
from holdfast.s3 import GetObject, ListObjects
from holdfast.testing.faults import OPERATIONS, Fault, Kind
from tests.engine import BUCKET, Engine, md5
from tests.promises.troubled import DEADLINE_S, Troubled

T = TypeVar("T")

KEYS = st.sampled_from(["k", "k/below", "z//", "ü"])
SIZES = st.sampled_from([0, 9, INLINE_BYTES, INLINE_BYTES + 1, BLOCK_BYTES + 1])
GRIDS = st.sampled_from(["a", "b"])
FAULTS = st.builds(
    Fault,
    st.sampled_from(list(Kind)),
    st.sampled_from([1.0, 0.5]),
    st.just(DEADLINE_S / 10),
)
OPERATION_SETS = st.sampled_from(
    [(), ("stage", "publish", "delete"), ("get", "head"), *[(name,) for name in OPERATIONS]]
)
TERMS = st.sampled_from([(0, True), (1, True), (2, True), (1, False), (2, False)])
_SILENT = {"ServiceUnavailable", "SlowDown"}


class Outages(RuleBasedStateMachine):
    """One gateway, its grids, and what its clients know."""

    def __init__(self) -> None:
        super().__init__()
        shm = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
        self.runner = asyncio.Runner()
        self.troubled = Troubled()
        self.stack = AsyncExitStack()
        self.made: Engine
        self.model: dict[str, bytes] = {}
        self.written = 0
        self.terms = (0, True)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(terms=TERMS)
    def begin(self, terms: tuple[int, bool]) -> None:
        self.terms = terms
        self.run(self._open())

    async def _open(self) -> None:
        ack, accept = self.terms
        self.made = await self.stack.enter_async_context(self.troubled.engine(self.folder, ack=ack, accept=accept))

    # --- clients ---

    @rule(key=KEYS, size=SIZES)
    def put(self, key: str, size: int) -> None:
        self.run(self._put(key, size))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.run(self._delete(key))

    @rule(size=SIZES, gone=KEYS)
    def many_at_once_while_catch_up_works(self, size: int, gone: str) -> None:
        async def work() -> None:
            others = [self._put_twice(key, size) for key in ("k", "k/below", "z//", "ü") if key != gone]
            keepers = [keeper.step() for keeper in self.made.catchups]
            await asyncio.gather(*others, self._delete(gone), *keepers)

        self.run(work())

    @rule(key=KEYS)
    def read(self, key: str) -> None:
        self.run(self._read(key))

    async def _put(self, key: str, size: int) -> None:
        self.written += 1
        data = (b"%d " % self.written + os.urandom(size))[:size]
        try:
            await self.made.put(key, data)
        except S3Error as refusal:
            assert refusal.code in _SILENT
            assert self.terms[0], "without grids to wait for, no write fails"
            if await self._etag(key) != md5(data):
                return  # It was refused before it was committed.
        self.model[key] = data

    async def _put_twice(self, key: str, size: int) -> None:
        await self._put(key, size)
        await self._put(key, size)

    async def _delete(self, key: str) -> None:
        try:
            await self.made.delete(key)
        except S3Error as refusal:
            assert refusal.code in _SILENT
            assert not self.terms[1]
            return
        self.model.pop(key, None)

    async def _read(self, key: str) -> None:
        code, data = "ok", b""
        try:
            data = await self.made.read(key)
        except S3Error as refusal:
            code = refusal.code
        if code not in _SILENT:
            assert (code, data) == (("ok", self.model[key]) if key in self.model else ("NoSuchKey", b""))

    async def _etag(self, key: str) -> str | None:
        try:
            got, _ = await self.made.got(GetObject(BUCKET, key, head=True))
        except S3Error as refusal:
            assert refusal.code == "NoSuchKey"
            return None
        return got.version.etag

    # --- what happens to grids ---

    @rule(name=GRIDS, fault=FAULTS, operations=OPERATION_SETS)
    def fail(self, name: str, fault: Fault, operations: tuple[str, ...]) -> None:
        self.troubled.faults[name].inject(fault, *operations)

    @rule(name=GRIDS)
    def lag(self, name: str) -> None:
        self.troubled.lagging[name].lag()

    @rule(name=GRIDS)
    def recover(self, name: str) -> None:
        self.troubled.faults[name].heal()
        self.troubled.lagging[name].appear()

    @rule(name=GRIDS, use=st.sampled_from(Use))
    def pin(self, name: str, use: Use) -> None:
        self.run(self.made.site.pin(name, use))

    @rule(name=GRIDS)
    def land(self, name: str) -> None:
        """What was late arrives, unless it is so late that it never does."""
        self.run(self.troubled.faults[name].land(DOUBT_S))

    @rule(key=KEYS)
    def rot(self, key: str) -> None:
        self.troubled.inner["a"].rot(Place(BUCKET, key), 0)

    @rule()
    def lose(self) -> None:
        self.troubled.inner["a"].lose()
        self.troubled.lagging["a"].appear()

    # --- what the gateway does by itself ---

    @rule(lane=st.integers(0, 5))
    def catch_up(self, lane: int) -> None:
        self.run(self.made.catchups[lane].step())

    @rule()
    def probe(self) -> None:
        async def work() -> None:
            for seat in self.made.site.seats.values():
                try:
                    await self.made.site.attach(seat)
                except ConfigError:
                    continue  # It denies that it is ours, for now.

        self.run(work())

    @rule()
    def reconcile(self) -> None:
        self.run(self.made.reconciler.step())

    @rule()
    def trim(self) -> None:
        self.run(self.made.site.index.trim_inline(0, limit=100))

    @rule()
    def scrub(self) -> None:
        self.run(self._scrub())

    async def _scrub(self) -> None:
        scrub = Scrub(self.made.site, interval_s=1.0)
        await self.made.site.index.note("scrub/cursor", "")
        await scrub.step()

    @rule(passed_s=st.sampled_from([1, 8, 70, 4000]))
    def leap(self, passed_s: int) -> None:
        self.troubled.clock.leap(passed_s)

    @rule()
    def crash(self) -> None:
        """The process ends without freeing its leases, and starts anew."""

        async def work() -> None:
            await self.stack.aclose()
            self.troubled.heal()
            await self._open()

        self.run(work())

    # --- what holds ---

    @invariant()
    def what_is_listed_is_what_was_acknowledged(self) -> None:
        if not hasattr(self, "made"):
            return

        async def work() -> None:
            page = (await self.made.store.list_objects(ListObjects(BUCKET, v2=True))).page
            assert {key: version.etag for key, version in page.versions} == {
                key: md5(data) for key, data in self.model.items()
            }

        self.run(work())

    def teardown(self) -> None:
        try:
            if hasattr(self, "made"):
                self.run(self._finally())
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    async def _finally(self) -> None:
        """All is well again: everything converges, without anybody's help."""
        self.troubled.heal()
        for name in ("a", "b"):
            await self.made.site.pin(name, Use.AUTO)
        for _ in range(2):
            await self.troubled.converge(self.made)
            await self.made.site.index.trim_inline(0, limit=100)
            await self._scrub()
        for key, data in self.model.items():
            assert await self.made.read(key) == data
        for name in ("a", "b"):
            assert await self.troubled.content(name) == self.model, name
        usage = await self.made.site.index.usage()
        assert (usage.debts, usage.tombstones, usage.spool_bytes) == (0, 0, 0)
        assert {row.held for row in await self.made.site.index.sums()} == {len(self.model)}


Outages.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # To shrink a failure takes minutes: add Phase.shrink for it.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

test_no_order_of_faults_loses_forges_or_revives_anything = Outages.TestCase
