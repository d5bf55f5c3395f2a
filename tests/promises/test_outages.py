"""One of two grids misbehaves in every way that real places were seen to: clients notice nothing that the policy rules out.

The engine is the real one, the grids are in memory behind their coats. Each test stages one class of failure.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.errors import S3Error
from holdfast.events import DebtPaid
from holdfast.keepers.catchup import CatchUp
from holdfast.limits import BLOCK_BYTES, CLAIM_BATCH, INLINE_BYTES
from holdfast.model import GridState, Place
from holdfast.testing.faults import Fault, Kind
from tests.engine import BUCKET, Engine
from tests.promises.troubled import DEADLINE_S, Troubled

SIZES = {"small": 1024, "spooled": INLINE_BYTES + 1, "blocks": BLOCK_BYTES + 7}
WRITES = ("stage", "publish", "delete")
READS = ("get", "head")

Stage = Callable[[Troubled], None]


def fault(kind: Kind, *operations: str, share: float = 1.0, delay_s: float = 0.0) -> Stage:
    return lambda troubled: troubled.faults["a"].inject(Fault(kind, share, delay_s), *operations)


def not_visible(troubled: Troubled) -> None:
    troubled.lagging["a"].lag()


OUTAGES: dict[str, Stage] = {
    "refused": fault(Kind.REFUSE),
    "black hole": fault(Kind.HANG),
    "writes fail": fault(Kind.REFUSE, *WRITES),
    "writes hang": fault(Kind.HANG, *WRITES),
    "reads fail": fault(Kind.REFUSE, *READS),
    "reads hang": fault(Kind.HANG, *READS),
    "full": fault(Kind.FULL),
    "credentials refused": fault(Kind.DENY, *WRITES, *READS),
    "a third fails": fault(Kind.REFUSE, share=0.3),
    "a third of the answers is lost": fault(Kind.LOST_ANSWER, share=0.3),
    "slow": fault(Kind.SLOW, delay_s=DEADLINE_S / 10),
    "slower than the deadline": fault(Kind.SLOW, delay_s=DEADLINE_S * 3),
    "wrong bytes": fault(Kind.CORRUPT),
    "some wrong bytes": fault(Kind.CORRUPT, share=0.5),
    "truncated": fault(Kind.TRUNCATED, "get", "head"),
    "wrong etag": fault(Kind.WRONG_ETAG),
    "wrong etag of writes": fault(Kind.WRONG_ETAG, "publish"),
    "says that nothing is there": fault(Kind.ABSENT),
    "ambiguous writes": fault(Kind.LOST_ANSWER, "publish"),
    "ambiguous deletions": fault(Kind.LOST_ANSWER, "delete"),
    "every answer is lost": fault(Kind.LOST_ANSWER),
    "not visible": not_visible,
}


class Client:
    """Requests, what they must show, and how many failed."""

    def __init__(self, made: Engine) -> None:
        self._made = made
        self.content: dict[str, bytes] = {}
        self.refused: list[str] = []

    async def put(self, key: str, size: int) -> None:
        data = os.urandom(size)
        try:
            await self._made.put(key, data)
            self.content[key] = data
        except S3Error as refusal:
            self.refused.append(f"put {key}: {refusal.code}")
            # It may have been committed before its grid failed. The index knows.
            if await self._read(key) == data:
                self.content[key] = data

    async def delete(self, key: str) -> None:
        try:
            await self._made.delete(key)
            del self.content[key]
        except S3Error as refusal:
            self.refused.append(f"delete {key}: {refusal.code}")

    async def check(self) -> None:
        for key, data in self.content.items():
            assert await self._read(key) == data, key
        assert await self._made.keys() == sorted(self.content)

    async def _read(self, key: str) -> bytes | None:
        try:
            return await self._made.read(key)
        except S3Error as refusal:
            if refusal.code != "NoSuchKey":
                raise
            return None


async def trim(made: Engine) -> None:
    """From now on reads come from grids."""
    while await made.site.index.trim_inline(0, limit=1000):
        pass


async def assert_everywhere(troubled: Troubled, made: Engine, content: dict[str, bytes]) -> None:
    """Both grids hold exactly this, and nothing is left to do."""
    for name in ("a", "b"):
        assert await troubled.content(name) == content, name
    usage = await made.site.index.usage()
    assert (usage.debts, usage.tombstones, usage.spool_bytes) == (0, 0, 0)
    assert {row.held for row in await made.site.index.sums()} == {len(content)}


STRICTEST = [(0, True), (2, False)]
"""What is needed of grids: nothing, and everything."""
BETWEEN = [(1, True), (2, True), (1, False)]
CASES = [(outage, *terms) for outage in OUTAGES for terms in STRICTEST] + [
    (outage, *terms) for outage in ("refused", "black hole", "ambiguous writes", "a third fails") for terms in BETWEEN
]


@pytest.mark.parametrize(("outage", "ack", "accept"), CASES)
def test_one_grid_misbehaves(tmp_path: Path, outage: str, ack: int, accept: bool) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path, ack=ack, accept=accept) as made:
            client = Client(made)
            for kind, size in SIZES.items():
                for name in ("kept", "changed", "gone", "read"):
                    await client.put(f"{name}/{kind}", size)
            await troubled.converge(made)
            await trim(made)
            OUTAGES[outage](troubled)
            for turn in range(2):
                await client.check()
                for kind, size in SIZES.items():
                    await client.put(f"changed/{kind}", size)
                    await client.put(f"new {turn}/{kind}", size)
                    if not turn:
                        await client.delete(f"gone/{kind}")
                await made.settle(rounds=3)
                await made.probe()
                await client.check()
                troubled.clock.leap(20)
            if accept or ack < 2:
                assert client.refused == []
            troubled.heal()
            await troubled.converge(made)
            # What looked held while a grid lied shows itself when it is read.
            await trim(made)
            await client.check()
            await troubled.converge(made)
            await client.check()
            await assert_everywhere(troubled, made, client.content)

    asyncio.run(main())


@pytest.mark.parametrize("kind", [Kind.REFUSE, Kind.HANG])
def test_a_grid_that_flaps_at_every_step(tmp_path: Path, kind: Kind) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            client = Client(made)
            for step in range(16):
                grid = troubled.faults["ab"[step // 4 % 2]]
                grid.inject(Fault(kind)) if step % 2 else grid.heal()
                key = f"k{step % 5}"
                if key in client.content and step % 3 == 0:
                    await client.delete(key)
                else:
                    await client.put(key, list(SIZES.values())[step % 3])
                await made.settle(rounds=1)
                await made.probe()
                await client.check()
            assert client.refused == []
            troubled.heal()
            await troubled.converge(made)
            await assert_everywhere(troubled, made, client.content)

    asyncio.run(main())


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
def test_both_grids_are_silent_and_what_is_here_is_served(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            client = Client(made)
            await client.put("only in grids", size)
            await troubled.converge(made)
            await trim(made)
            for grid in troubled.faults.values():
                grid.inject(Fault(Kind.REFUSE))
            await made.probe()
            assert await made.code("only in grids") == "ServiceUnavailable"
            await client.put("new", size)
            await client.put("changed", size)
            await client.put("changed", size)
            assert await made.read("new") == client.content["new"]
            assert await made.read("changed") == client.content["changed"]
            assert await made.keys() == sorted(client.content)
            assert await made.code("never") == "NoSuchKey"
            await made.delete("new")
            del client.content["new"]
            assert await made.code("new") == "NoSuchKey"
            assert client.refused == []
            troubled.heal()
            await troubled.converge(made)
            await client.check()
            await assert_everywhere(troubled, made, client.content)

    asyncio.run(main())


@pytest.mark.parametrize("operation", ["publish", "delete"])
def test_an_uncertain_change_and_a_crash_leave_no_old_bytes(tmp_path: Path, operation: str) -> None:
    """The change happened, its answer was lost, and the process died before it could note anything."""

    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            client = Client(made)
            await client.put("k", SIZES["spooled"])
            await troubled.converge(made)
            troubled.faults["a"].inject(Fault(Kind.LOST_ANSWER), operation)
            if operation == "publish":
                await client.put("k", SIZES["small"])
            else:
                await client.delete("k")
            await made.settle(rounds=1)
        async with troubled.engine(tmp_path) as made:
            client = Client(made)
            troubled.heal()
            if operation == "publish":
                await made.delete("k")
            else:
                await client.put("k", SIZES["blocks"])
            await troubled.converge(made)
            await client.check()
            await assert_everywhere(troubled, made, client.content)

    asyncio.run(main())


def test_what_an_uncertain_write_left_is_confirmed_instead_of_being_written_again(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            troubled.faults["a"].inject(Fault(Kind.LOST_ANSWER), "publish")
            await made.put("k", os.urandom(SIZES["blocks"]))
            await made.settle(rounds=1)
            assert await made.copies("k") == {"b"}
            troubled.heal()
            published = troubled.faults["a"].calls["publish"]
            await troubled.converge(made)
            assert await made.copies("k") == {"a", "b"}
            assert troubled.faults["a"].calls["publish"] == published
            paid = [event.how for event in made.events if isinstance(event, DebtPaid) and event.grid == "a"]
            assert paid == ["confirmed"]

    asyncio.run(main())


def test_a_grid_that_lied_about_every_copy_does_not_cost_the_last_good_bytes(tmp_path: Path) -> None:
    """Both grids answer wrongly for a while: all copies are suspect, and yet nothing that they hold is lost."""

    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            client = Client(made)
            for kind, size in SIZES.items():
                await client.put(kind, size)
            await troubled.converge(made)
            await trim(made)
            for grid in troubled.faults.values():
                grid.inject(Fault(Kind.ABSENT))
            for kind in SIZES:
                assert await made.code(kind) == "ServiceUnavailable"
                assert await made.copies(kind) == set()
            await made.settle(rounds=3)
            troubled.heal()
            await client.check()
            await troubled.converge(made)
            await client.check()
            await assert_everywhere(troubled, made, client.content)

    asyncio.run(main())


def test_rot_is_never_served_and_is_repaired(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            client = Client(made)
            for kind, size in SIZES.items():
                await client.put(kind, size)
            await troubled.converge(made)
            await trim(made)
            for kind, size in SIZES.items():
                assert troubled.inner["a"].rot(Place(BUCKET, kind), size - 1)
            await client.check()
            await troubled.converge(made)
            await assert_everywhere(troubled, made, client.content)

    asyncio.run(main())


def test_catch_up_rests_while_a_grid_is_not_asked(tmp_path: Path) -> None:
    """With its breaker open, a long queue of debts must not be taken and put back over and over."""

    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            troubled.faults["a"].inject(Fault(Kind.FULL))
            for number in range(2 * CLAIM_BATCH):
                await made.put(f"k{number:03}", b"x")
            seat = made.site.seats["a"]
            keeper = CatchUp(made.site, seat, 9)
            rested = False
            for _ in range(12):
                rested = bool(await keeper.step())
                assert seat.state is GridState.UP
                if rested:
                    break
                troubled.clock.leap(2)
            assert rested
            assert (await made.site.index.sums())[0].debts == 2 * CLAIM_BATCH

    asyncio.run(main())
