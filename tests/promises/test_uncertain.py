"""Writes that may have happened: read back before they are settled, never blindly repeated, and no newer bytes are risked
while an older change may still arrive."""

import asyncio
import os
from pathlib import Path

import pytest

from holdfast.copies.paying import pay
from holdfast.errors import Corrupt, S3Error
from holdfast.events import DebtPaid
from holdfast.grids.grid import Staged
from holdfast.grids.memory import MemoryGrid
from holdfast.index.interface import SEVERAL, Payment
from holdfast.limits import BLOCK_BYTES, DOUBT_S, INLINE_BYTES, LEASE_S
from holdfast.testing.faults import Fault, Kind
from tests.engine import BUCKET, Engine, engine
from tests.promises.troubled import Troubled

SIZES = [9, INLINE_BYTES + 1, BLOCK_BYTES + 1]


async def everything_is(troubled: Troubled, made: Engine, content: dict[str, bytes]) -> None:
    """What clients see is in every grid, and nothing else is."""
    for key, data in content.items():
        assert await made.read(key) == data
    assert await made.keys() == sorted(content)
    for name in ("a", "b"):
        assert await troubled.content(name) == content
    usage = await made.site.index.usage()
    assert (usage.debts, usage.tombstones, usage.spool_bytes) == (0, 0, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ack", [1, 2])
def test_a_lost_answer_within_a_request_is_read_back_before_the_client_is_refused(
    tmp_path: Path, size: int, ack: int
) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path, ack=ack, accept=False) as made:
            for grid in troubled.faults.values():
                grid.inject(Fault(Kind.LOST_ANSWER), "publish")
            data = os.urandom(size)
            await made.put("k", data)
            assert len(await made.copies("k")) == ack
            assert all(grid.calls["publish"] <= 1 for grid in troubled.faults.values()), "nothing was written twice"
            troubled.heal()
            await troubled.converge(made)
            await everything_is(troubled, made, {"k": data})

    asyncio.run(main())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("then", ["put", "delete"])
def test_an_older_write_that_arrives_late_does_not_cost_the_newer_one(tmp_path: Path, size: int, then: str) -> None:
    """The first write is late at one grid; the key changes, that grid takes the change, and then the first write arrives."""

    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            troubled.faults["a"].inject(Fault(Kind.LATE), "publish")
            await made.put("k", os.urandom(size))
            await made.settle(rounds=2)
            troubled.heal()
            content = {"k": os.urandom(size)} if then == "put" else {}
            if then == "put":
                await made.put("k", content["k"])
            else:
                await made.delete("k")
            await made.settle()
            usage = await made.site.index.usage()
            assert usage.debts == 1, "what came later is not believed yet"
            assert usage.spool_bytes == (size if then == "put" and size > INLINE_BYTES else 0), "its bytes are kept"
            await troubled.faults["a"].land(DOUBT_S)
            for key, data in content.items():
                assert await made.read(key) == data
            await troubled.converge(made)
            await everything_is(troubled, made, content)

    asyncio.run(main())


@pytest.mark.parametrize("size", SIZES)
def test_a_deletion_that_arrives_late_does_not_take_away_what_was_written_after_it(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            await made.put("k", b"first")
            await troubled.converge(made)
            troubled.faults["a"].inject(Fault(Kind.LATE), "delete")
            await made.delete("k")
            await made.settle(rounds=2)
            troubled.heal()
            data = os.urandom(size)
            await made.put("k", data)
            await made.settle()
            assert (await made.site.index.usage()).debts == 1
            await troubled.faults["a"].land(DOUBT_S)
            assert await made.read("k") == data
            await troubled.converge(made)
            await everything_is(troubled, made, {"k": data})

    asyncio.run(main())


def test_a_deletion_whose_answer_was_lost_keeps_its_tombstone_until_it_cannot_arrive_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            await made.put("k", b"first")
            await troubled.converge(made)
            troubled.faults["a"].inject(Fault(Kind.LOST_ANSWER), "delete")
            await made.delete("k")
            await made.settle(rounds=2)
            troubled.heal()
            troubled.clock.leap(DOUBT_S / 2)
            await made.settle()
            assert await made.site.index.tombstone(BUCKET, "k") is not None
            await troubled.converge(made)
            assert await made.site.index.tombstone(BUCKET, "k") is None
            await everything_is(troubled, made, {})

    asyncio.run(main())


@pytest.mark.parametrize("size", SIZES)
def test_what_a_payer_that_died_had_published_is_read_back_instead_of_being_written_again(
    tmp_path: Path, size: int
) -> None:
    async def main() -> None:
        troubled = Troubled()
        data = os.urandom(size)
        async with troubled.engine(tmp_path) as made:
            await made.put("k", data)
            debts = await made.site.index.claim(
                made.site.seats["a"].number,
                holder=made.site.new_holder(),
                now_ms=made.site.clock.now_ms(),
                lease_until_ms=made.site.clock.now_ms() + int(LEASE_S * 1000),
                limit=1,
            )
            assert isinstance(await pay(made.site, debts[0]), Payment), "published, and never settled"
        async with troubled.engine(tmp_path) as made:
            troubled.clock.leap(LEASE_S + 1)
            await troubled.converge(made)
            assert troubled.faults["a"].calls["publish"] == 1
            await everything_is(troubled, made, {"k": data})

    asyncio.run(main())


def test_a_lease_that_is_freed_at_a_restart_leaves_a_doubt(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            site = made.site
            await made.put("k", b"x")
            number = site.seats["a"].number
            for _ in range(2):
                now_ms = site.clock.now_ms()
                debt = await site.index.claim_key(
                    number, BUCKET, "k", holder=site.new_holder(), now_ms=now_ms, lease_until_ms=now_ms + 60_000
                )
                assert debt is not None
                assert await site.index.release_leases(site.holder) == 1
            [debt] = await site.index.claim(
                number, holder="next", now_ms=site.clock.now_ms(), lease_until_ms=site.clock.now_ms() + 60_000, limit=1
            )
            assert debt.doubt_ms > 0
            assert debt.doubt_seq == SEVERAL

    asyncio.run(main())


def test_a_write_that_is_acknowledged_while_an_older_one_is_in_doubt_survives_it(tmp_path: Path) -> None:
    """The overwriting request claims the debt itself, so it must hear of the doubt from its own commit."""

    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path, ack=1) as made:
            troubled.faults["a"].inject(Fault(Kind.LATE), "publish")
            await made.put("k", os.urandom(BLOCK_BYTES + 1))
            troubled.heal()
            data = os.urandom(BLOCK_BYTES + 2)
            await made.put("k", data)
            assert (await made.site.index.usage()).spool_bytes == len(data)
            await made.settle()
            assert (await made.site.index.usage()).debts == 1
            await troubled.faults["a"].land(DOUBT_S)
            await troubled.converge(made)
            await everything_is(troubled, made, {"k": data})

    asyncio.run(main())


class Confused(MemoryGrid):
    """Publishes, and answers something that cannot be believed."""

    async def publish(self, staged: Staged) -> str:
        await super().publish(staged)
        raise Corrupt(self.name, "publish", "its answer names another object", bucket=BUCKET, key="k")


def test_a_change_whose_answer_cannot_be_believed_is_in_doubt_as_well(tmp_path: Path) -> None:
    async def main() -> None:
        grid = Confused("a")
        async with engine(tmp_path, [grid]) as made:
            await made.put("k", b"x")
            await made.converge()
            paid = [event.how for event in made.events if isinstance(event, DebtPaid)]
            assert paid == ["confirmed"], "read back, and never written again"

    asyncio.run(main())


def test_an_outage_that_is_refused_reads_back_only_what_is_in_doubt(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path, ack=2, accept=False) as made:
            troubled.faults["a"].inject(Fault(Kind.FULL), "publish")
            with pytest.raises(S3Error) as refusal:
                await made.put("k", b"x")
            assert refusal.value.code == "ServiceUnavailable"
            assert troubled.faults["a"].calls["head"] == 0

    asyncio.run(main())
