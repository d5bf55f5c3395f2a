"""Large bodies reach the grids that must acknowledge them while they arrive, and nothing of that can be seen before the commit."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import S3Error, Unavailable
from holdfast.events import Teller
from holdfast.grids.folder import FolderGrid
from holdfast.grids.grid import Capabilities, Download, Grid, Held, Label, Source, Staged
from holdfast.grids.memory import MemoryGrid
from holdfast.health.breaker import State
from holdfast.limits import AHEAD_BODIES, AHEAD_BYTES, BLOCK_BYTES, BREAKER_ROW
from holdfast.model import Checksum, Facts, Place, Presence, Span, WriteCondition
from holdfast.s3 import Expected, PutObject
from holdfast.testing.faults import Fault, FaultGrid, Kind
from holdfast.wrappers import deadline
from holdfast.wrappers.breaker import Breakers
from holdfast.wrappers.coats import put_on
from tests.engine import BUCKET, Bytes, Engine, engine
from tests.promises.troubled import LeapClock

SIZE = AHEAD_BYTES + 3
BODY = os.urandom(SIZE)
_PIECE = 256 * 1024
_PATIENCE_S = 20.0


class MeteredGrid:
    """`inner`, which counts the bytes that came to it, and takes no more than it is allowed to."""

    def __init__(self, name: str) -> None:
        self.inner = MemoryGrid(name)
        self.name = name
        self.came = 0
        self.allowed = 1 << 60
        self.moved = asyncio.Condition()
        self.stagings = 0
        self.open: set[int] = set()
        """Stagings that were neither published nor discarded."""

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    async def has(self, size: int) -> None:
        async with asyncio.timeout(_PATIENCE_S), self.moved:
            await self.moved.wait_for(lambda: self.came >= size)

    async def allow(self, size: int) -> None:
        async with self.moved:
            self.allowed = size
            self.moved.notify_all()

    async def attach(self, known: str) -> str:
        return await self.inner.attach(known)

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        self.stagings += 1
        self.came = 0
        staged = await self.inner.stage(place, _Metered(self, source), label)
        self.open.add(id(staged))
        return staged

    async def publish(self, staged: Staged) -> str:
        self.open.discard(id(staged))
        return await self.inner.publish(staged)

    async def discard(self, staged: Staged) -> None:
        self.open.discard(id(staged))
        await self.inner.discard(staged)

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        return await self.inner.get(place, span=span, if_match=if_match)

    async def head(self, place: Place) -> Held:
        return await self.inner.head(place)

    async def delete(self, place: Place) -> None:
        await self.inner.delete(place)

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        return await self.inner.list(bucket, prefix=prefix, after=after, limit=limit)

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        return await self.inner.copy(source, target, if_match=if_match, label=label)

    async def close(self) -> None:
        await self.inner.close()


class _Metered:
    def __init__(self, grid: MeteredGrid, inner: Source) -> None:
        self._grid = grid
        self._inner = inner
        self.size = inner.size
        self.data = inner.data
        self.files = inner.files
        self.handover = inner.handover
        self.origins = inner.origins

    async def stream(self) -> AsyncIterator[bytes]:
        grid = self._grid
        async for piece in self._inner.stream():
            async with grid.moved:
                await grid.moved.wait_for(lambda: grid.came < grid.allowed)
                grid.came += len(piece)
                grid.moved.notify_all()
            yield piece


class Arrival:
    """A body that arrives piece by piece; `between` is called before each piece with the bytes that were given."""

    trailer: Checksum | None = None

    def __init__(self, data: bytes, between: object = None, *, ends_at: int | None = None) -> None:
        self.size: int | None = len(data)
        self._data = data
        self._between = between
        self._given = 0
        self._ends_at = ends_at

    async def read(self) -> bytes:
        if self._ends_at is not None and self._given >= self._ends_at:
            raise S3Error("IncompleteBody")
        if self._between is not None:
            await self._between(self._given)  # type: ignore[operator]
        piece = self._data[self._given : self._given + _PIECE]
        self._given += len(piece)
        return piece


def ask(key: str = "k", **more: object) -> PutObject:
    return PutObject(BUCKET, key, Facts(user={"n": "1"}), **more)  # type: ignore[arg-type]


async def nothing_is_left(made: Engine, *grids: MeteredGrid) -> None:
    for grid in grids:
        assert grid.open == set(), f"{grid.name} keeps what was staged and never published"
        assert await grid.list(BUCKET) == ()
    assert (await made.site.index.usage()).spool_bytes == 0
    assert all(seat.arriving == 0 for seat in made.site.seats.values())


def test_the_grid_has_all_but_the_last_blocks_when_the_last_byte_arrives_and_shows_nothing(tmp_path: Path) -> None:
    """The client's time is that of the slower of the two transfers, not their sum: here each piece is only given when the
    grid has what was given before, up to two blocks."""

    async def main() -> None:
        a, b = MeteredGrid("a"), MeteredGrid("b")
        async with engine(tmp_path, [a, b], ack=1) as made:

            async def between(given: int) -> None:
                await a.has(given - 3 * BLOCK_BYTES)
                assert await a.list(BUCKET) == ()

            await made.store.put_object(ask(), Arrival(BODY, between))
            assert await made.copies("k") == {"a"}
            assert (a.stagings, b.stagings) == (1, 0)
            version = await made.site.index.get(BUCKET, "k")
            assert version is not None
            label = (await a.head(Place(BUCKET, "k"))).label
            assert label is not None
            assert (label.seq, label.modified_ms, label.user) == (version.seq, version.modified_ms, {"n": "1"})
            await made.converge()
            assert await made.read("k") == BODY
            assert a.stagings == 1

    asyncio.run(main())


@pytest.mark.parametrize("ack", [1, 2])
def test_every_grid_that_must_acknowledge_is_staged_at_once(tmp_path: Path, ack: int) -> None:
    async def main() -> None:
        a, b = MeteredGrid("a"), MeteredGrid("b")
        async with engine(tmp_path, [a, b], ack=ack) as made:
            await made.store.put_object(ask(), Arrival(BODY))
            assert len(await made.copies("k")) == ack
            assert (a.stagings, b.stagings) == (1, ack - 1)

    asyncio.run(main())


def test_a_grid_that_takes_nothing_holds_up_no_client(tmp_path: Path) -> None:
    """The whole body is received while the grid takes one block of it; what it is behind is read from the spool."""

    async def main() -> None:
        a = MeteredGrid("a")
        a.allowed = BLOCK_BYTES
        received = asyncio.Event()

        async def between(given: int) -> None:
            if given == SIZE:
                received.set()

        async with engine(tmp_path, [a], ack=1) as made:
            async with asyncio.TaskGroup() as group:
                putting = group.create_task(made.store.put_object(ask(), Arrival(BODY, between)))
                async with asyncio.timeout(_PATIENCE_S):
                    await received.wait()
                assert a.came <= BLOCK_BYTES
                assert not putting.done()
                await a.allow(1 << 60)
            assert await made.copies("k") == {"a"}
            assert a.stagings == 1, "it goes on where it is, and does not begin anew"
            assert await made.read("k") == BODY

    asyncio.run(main())


@pytest.mark.parametrize("why", ["digest", "condition", "client"])
def test_what_was_staged_for_a_write_that_fails_is_discarded(tmp_path: Path, why: str) -> None:
    async def main() -> None:
        a, b = MeteredGrid("a"), MeteredGrid("b")
        async with engine(tmp_path, [a, b], ack=2) as made:
            request, body = ask(), Arrival(BODY)
            match why:
                case "digest":
                    request = ask(expected=Expected(md5=bytes(16)))
                case "condition":
                    request = ask(condition=WriteCondition(Presence.MATCH, "another"))
                case "client":
                    body = Arrival(BODY, ends_at=SIZE // 2)
            with pytest.raises(S3Error):
                await made.store.put_object(request, body)
            assert a.stagings == 1
            await nothing_is_left(made, a, b)

    asyncio.run(main())


def test_a_client_that_leaves_takes_what_was_staged_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        a = MeteredGrid("a")
        async with engine(tmp_path, [a], ack=1) as made:

            async def between(given: int) -> None:
                if given > SIZE // 2:
                    await a.has(BLOCK_BYTES)
                    await asyncio.get_running_loop().create_future()  # The client says nothing more.

            putting = asyncio.ensure_future(made.store.put_object(ask(), Arrival(BODY, between)))
            await a.has(2 * BLOCK_BYTES)
            putting.cancel()
            await asyncio.wait([putting])
            assert putting.cancelled()
            await nothing_is_left(made, a)

    asyncio.run(main())


def test_a_client_that_leaves_while_its_write_is_published_leaves_nothing_staged(tmp_path: Path) -> None:
    """The body is committed, and the grid still takes it from the spool when the client goes."""

    async def main() -> None:
        a = MeteredGrid("a")
        a.allowed = BLOCK_BYTES
        async with engine(tmp_path, [a], ack=1) as made:
            putting = asyncio.ensure_future(made.store.put_object(ask(), Arrival(BODY)))
            while not await made.keys():  # noqa: ASYNC110 - nobody tells of a commit
                await asyncio.sleep(0)
            putting.cancel()
            await asyncio.wait([putting])
            assert a.open == set()
            await a.allow(1 << 60)
            assert await made.read("k") == BODY, "it was committed"

    asyncio.run(main())


def test_only_as_many_remote_grids_are_staged_as_must_acknowledge(tmp_path: Path) -> None:
    async def main() -> None:
        clock = SystemClock()
        for ack, staged in ((1, 0), (2, 1), (3, 2)):
            folder = tmp_path / str(ack)
            folder.mkdir()
            a, b = MeteredGrid("a"), MeteredGrid("b")
            disk = FaultGrid(FolderGrid("disk", folder / "disk", clock=clock), clock=clock)
            async with engine(folder, [disk, a, b], ack=ack) as made:
                seen: list[int] = []

                async def between(given: int, seen: list[int] = seen, a: MeteredGrid = a, b: MeteredGrid = b) -> None:
                    seen.append(a.stagings + b.stagings)

                await made.store.put_object(ask(), Arrival(BODY, between))
                assert seen[-1] == staged
                assert len(await made.copies("k")) == ack

    asyncio.run(main())


@pytest.mark.parametrize("size", [9, SIZE])
def test_a_grid_that_hangs_keeps_no_client_waiting_while_another_one_answers(tmp_path: Path, size: int) -> None:
    """It neither takes the body nor fails, and would have minutes to do either."""

    async def main() -> None:
        clock = SystemClock()
        hung, b = FaultGrid(MeteredGrid("a"), clock=clock), MeteredGrid("b")
        async with engine(tmp_path, [hung, b], ack=1, accept=False) as made:
            hung.inject(Fault(Kind.HANG), "stage")
            async with asyncio.timeout(_PATIENCE_S):
                await made.store.put_object(ask(), Arrival(BODY[:size]))
            assert await made.copies("k") == {"b"}
            assert all(seat.arriving == 0 for seat in made.site.seats.values())
            hung.heal()
            await asyncio.sleep(0)
            assert await hung.list(BUCKET) == (), "what was given up does not go on behind our back"
            [debt] = await made.site.index.claim(
                made.site.seats["a"].number,
                holder="next",
                now_ms=clock.now_ms(),
                lease_until_ms=clock.now_ms() + 1,
                limit=1,
            )
            assert debt.doubt_ms > 0, "it is owed at once, and read back first"

    asyncio.run(main())


def test_another_grid_is_staged_in_place_of_one_that_fails_while_the_body_arrives(tmp_path: Path) -> None:
    async def main() -> None:
        bad, b = FaultGrid(MeteredGrid("a"), clock=SystemClock()), MeteredGrid("b")
        async with engine(tmp_path, [bad, b], ack=1, accept=False) as made:
            bad.inject(Fault(Kind.REFUSE), "stage")

            async def between(given: int) -> None:
                await b.has(given - 3 * BLOCK_BYTES)

            await made.store.put_object(ask(), Arrival(BODY, between))
            assert await made.copies("k") == {"b"}
            assert bad.calls["stage"] == 1, "it is left to catch-up"
            bad.heal()
            await made.converge()
            assert await made.copies("k") == {"a", "b"}

    asyncio.run(main())


def test_a_body_that_was_overtaken_by_another_write_is_staged_anew_under_its_own_number(tmp_path: Path) -> None:
    """Its number was reserved before the other write, which is the older one of the two all the same."""

    async def main() -> None:
        a = MeteredGrid("a")
        async with engine(tmp_path, [a], ack=1) as made:
            overtaken: list[int] = []

            async def between(given: int) -> None:
                if given >= SIZE // 2 and not overtaken:
                    await made.put("k", b"the other")
                    version = await made.site.index.get(BUCKET, "k")
                    overtaken.append(version.seq if version is not None else 0)

            await made.store.put_object(ask(), Arrival(BODY, between))
            await made.converge()
            assert await made.read("k") == BODY
            version = await made.site.index.get(BUCKET, "k")
            label = (await a.head(Place(BUCKET, "k"))).label
            assert version is not None
            assert label is not None
            assert label.seq == version.seq > overtaken[0]
            assert a.open == set()

    asyncio.run(main())


def test_a_deletion_while_a_body_arrives_is_older_than_the_body(tmp_path: Path) -> None:
    async def main() -> None:
        a, b = MeteredGrid("a"), FaultGrid(MemoryGrid("b"), clock=SystemClock())
        async with engine(tmp_path, [a, b], ack=1) as made:
            await made.put("k", b"before")
            await made.converge()
            b.inject(Fault(Kind.REFUSE), "delete")
            deleted: list[int] = []

            async def between(given: int) -> None:
                if given >= SIZE // 2 and not deleted:
                    await made.delete("k")
                    deleted.append(await made.site.index.tombstone(BUCKET, "k") or 0)

            await made.store.put_object(ask(), Arrival(BODY, between))
            b.heal()
            await made.converge()
            version = await made.site.index.get(BUCKET, "k")
            assert version is not None
            assert version.seq > deleted[0] > 0
            for grid in (a, b):
                held = await grid.head(Place(BUCKET, "k"))
                assert (held.size, held.label and held.label.seq) == (SIZE, version.seq)

    asyncio.run(main())


@pytest.mark.parametrize("size", [9, AHEAD_BYTES])
def test_a_body_that_gains_nothing_by_it_is_staged_after_its_commit(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        a = MeteredGrid("a")
        async with engine(tmp_path, [a], ack=1) as made:

            async def between(given: int) -> None:
                assert a.stagings == 0

            await made.store.put_object(ask(), Arrival(BODY[:size], between))
            assert a.stagings == 1
            await made.store.put_object(ask("unknown"), Bytes(BODY, declared=False))
            assert await made.copies("unknown") == {"a"}

    asyncio.run(main())


def test_bodies_that_arrive_do_not_take_all_turns_of_a_grid(tmp_path: Path) -> None:
    async def main() -> None:
        a = MeteredGrid("a")
        waiting = asyncio.Event()
        more = 3
        async with engine(tmp_path, [a], ack=1) as made:
            begun = asyncio.Semaphore(0)

            async def between(given: int) -> None:
                if given == 0:
                    begun.release()
                    await waiting.wait()

            async with asyncio.TaskGroup() as group:
                for number in range(AHEAD_BODIES + more):
                    group.create_task(made.store.put_object(ask(f"k{number}"), Arrival(BODY, between)))
                for _ in range(AHEAD_BODIES + more):
                    await begun.acquire()
                assert made.site.seats["a"].arriving <= AHEAD_BODIES
                waiting.set()
            assert len(await a.list(BUCKET)) == AHEAD_BODIES + more

    asyncio.run(main())


def test_a_grid_that_does_not_answer_writes_is_not_the_first_to_be_written_to(tmp_path: Path) -> None:
    async def main() -> None:
        clock, teller = LeapClock(), Teller()
        metered = {name: MeteredGrid(name) for name in ("a", "b")}
        breakers = {name: Breakers(name, clock=clock, teller=teller) for name in metered}
        coated = [put_on(grid, breakers=breakers[name], clock=clock, teller=teller) for name, grid in metered.items()]
        async with engine(tmp_path, coated, ack=1, clock=clock) as made:
            for _ in range(BREAKER_ROW):
                attempt = breakers["a"].begin("write", "publish", Place(BUCKET, "k"))
                clock.leap(1.0)
                attempt.failed(Unavailable("a", "publish", "silent"))
            assert breakers["a"].state("write") is not State.CLOSED
            for size in (9, SIZE):
                await made.store.put_object(ask(), Arrival(BODY[:size]))
                assert await made.copies("k") == {"b"}
            assert metered["a"].stagings == 0

    asyncio.run(main())


def test_a_slow_client_is_no_evidence_against_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its coats, with a deadline that is shorter than a pause of the client."""
    deadline_s = 1.0
    monkeypatch.setattr(deadline, "GRID_STAGE_BYTES_S", 1 << 40)  # Nothing is added to it for the body's size.

    async def main() -> None:
        clock, teller = SystemClock(), Teller()
        a = MeteredGrid("a")
        breakers = Breakers("a", clock=clock, teller=teller)
        coated: Grid = put_on(a, breakers=breakers, clock=clock, teller=teller, deadline_s=deadline_s)
        async with engine(tmp_path, [coated], ack=1, accept=False) as made:

            async def between(given: int) -> None:
                if given == SIZE // 2 // _PIECE * _PIECE:
                    await a.has(given - 3 * BLOCK_BYTES)
                    await clock.sleep(1.3 * deadline_s)

            await made.store.put_object(ask(), Arrival(BODY, between))
            assert (a.stagings, await made.copies("k")) == (1, {"a"})

    asyncio.run(main())
