"""Sequences that an audit of the durable core found: each lost something, or might have, before it was mended."""

import asyncio
import os
from pathlib import Path

import apsw
import pytest

from holdfast.copies import paying
from holdfast.copies.site import PolicyTerms
from holdfast.errors import S3Error
from holdfast.grids.grid import Label
from holdfast.grids.sources import BytesSource
from holdfast.index.interface import Debt, Payment
from holdfast.keepers import catchup
from holdfast.keepers.catchup import CatchUp
from holdfast.keepers.scrub import Scrub
from holdfast.keepers.sweep import Sweep
from holdfast.limits import BLOCK_BYTES, DOUBT_S, LEASE_S
from holdfast.model import Place
from holdfast.testing.faults import Fault, Kind
from tests.engine import BUCKET
from tests.promises.troubled import Troubled

LARGE = os.urandom(BLOCK_BYTES + 7)
MID = os.urandom(200_000)


def terms(*names: str) -> list[PolicyTerms]:
    return [PolicyTerms("standard", names, 0, True)]


def test_a_damaged_copy_is_not_confirmed_by_its_label_while_the_spool_still_has_the_bytes(tmp_path: Path) -> None:
    async def main() -> None:
        t = Troubled()
        async with t.engine(tmp_path) as made:
            t.faults["b"].inject(Fault(Kind.REFUSE), "stage", "publish")
            await made.put("k", LARGE)
            await made.settle(rounds=3)
            assert await made.copies("k") == {"a"}
            assert t.inner["a"].rot(Place(BUCKET, "k"), 3)
            await Scrub(made.site, interval_s=1).step()
            await Scrub(made.site, interval_s=1).step()
            assert await made.copies("k") == set(), "scrub found it"
            t.faults["a"].inject(Fault(Kind.LATE, times=1), "publish")  # the repair's answer is lost, it never arrives
            await made.settle(rounds=3)
            t.heal()
            await t.converge(made)
            assert await made.copies("k") == {"a", "b"}
            assert (await t.content("a"))["k"] == LARGE

    asyncio.run(main())


def test_spooled_bytes_stay_until_the_grids_of_a_new_policy_hold_them(tmp_path: Path) -> None:
    async def main() -> None:
        t = Troubled(names=("a", "b", "c"))
        async with t.engine(tmp_path) as made:
            made.site.policies_changed(terms("a", "b"))
            for n in "ab":
                t.faults[n].inject(Fault(Kind.REFUSE), "stage", "publish")
            await made.put("k", LARGE)
            await made.settle(rounds=3)
            made.site.policies_changed(terms("a", "c"))  # as after a restart with another configuration
            t.faults["a"].heal()
            t.clock.leap(300)
            await made.probe()
            await made.settle(rounds=5)  # catch-up is quicker than the walk of reconcile
            copies = await made.copies("k")
            spool = (await made.site.index.usage()).spool_bytes
            assert copies == {"a"}
            assert spool, "the only copy is on a, and its spooled bytes are gone"

    asyncio.run(main())


def test_a_policy_leaves_no_grid_while_the_copy_that_is_to_stay_is_found_wrong(tmp_path: Path) -> None:
    async def main() -> None:
        t = Troubled(deadline_s=5)
        async with t.engine(tmp_path) as made:
            keys = [f"k{n:02}" for n in range(12)]
            for k in keys:
                await made.put(k, MID)
            await t.converge(made)
            made.site.policies_changed(terms("b"))
            await made.reconcile()
            t.faults["a"].inject(Fault(Kind.SLOW, delay_s=0.3), "delete")
            lane = next(k for k in made.catchups if k.name == "catch-up a oldest")
            working = asyncio.create_task(lane.step())
            await asyncio.sleep(0.1)
            # meanwhile b loses one that is claimed and not deleted yet; a client finds that out
            left = [k for k in keys if k in await t.content("a")][-1]
            await t.inner["b"].delete(Place(BUCKET, left))
            assert await made.read(left) == MID
            assert await made.copies(left) == {"a"}
            await working
            t.heal()
            assert await made.read(left) == MID

    asyncio.run(main())


@pytest.mark.parametrize("back", [("a", "b"), ("a",)])
def test_a_policy_that_comes_back_waits_for_its_own_late_deletion(tmp_path: Path, back: tuple[str, ...]) -> None:
    async def main() -> None:
        t = Troubled()
        async with t.engine(tmp_path) as made:
            await made.put("k", LARGE)
            await t.converge(made)
            made.site.policies_changed(terms("b"))
            await made.reconcile()
            t.faults["a"].inject(Fault(Kind.LATE), "delete")
            await made.settle(rounds=3)
            t.heal()
            t.clock.leap(2)
            made.site.policies_changed(terms(*back))
            await made.reconcile()
            await made.probe()
            await made.settle()
            debts = (await made.site.index.usage()).debts
            await t.faults["a"].land(DOUBT_S)
            assert await made.read("k") == LARGE
            assert debts or "k" in await t.content("a"), "settled as held while the deletion may still arrive"

    asyncio.run(main())


def test_a_wall_clock_that_leaps_over_a_lease_does_not_leap_over_what_is_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        t = Troubled()
        async with t.engine(tmp_path) as made:
            site = made.site
            await made.put("k", LARGE)
            flying = []
            for n in "ab":  # two payers have it under way
                now = site.clock.now_ms()
                (debt,) = await site.index.claim(
                    site.seats[n].number,
                    holder=site.new_holder(),
                    now_ms=now,
                    lease_until_ms=now + int(LEASE_S * 1000),
                    limit=1,
                )
                flying.append(
                    (n, await t.inner[n].stage(Place(BUCKET, "k"), BytesSource(LARGE), Label(debt.seq, "", 0, {}, {})))
                )
            t.clock.leap(LEASE_S + DOUBT_S + 1)  # NTP steps the wall clock
            new = os.urandom(BLOCK_BYTES + 9)
            await made.put("k", new)
            await made.probe()
            await made.settle()
            for n, staged in flying:
                await t.inner[n].publish(staged)  # what was on the wire arrives, milliseconds later
            assert await made.read("k") == new

    asyncio.run(main())


def test_a_small_body_from_a_slow_source_does_not_outlive_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(paying, "LEASE_S", 0.3)
        monkeypatch.setattr(catchup, "LEASE_S", 0.3)
        monkeypatch.setattr(paying, "DOUBT_S", 0.15)
        t = Troubled(deadline_s=5)
        async with t.engine(tmp_path) as made:
            site = made.site
            await made.put("k", MID)
            await t.converge(made)
            v = await site.index.get(BUCKET, "k")
            assert v is not None
            await site.index.suspect(BUCKET, "k", v.seq, site.seats["a"].number, now_ms=site.clock.now_ms())
            t.faults["b"].inject(Fault(Kind.TRICKLE, delay_s=0.15), "get")
            lane = next(k for k in made.catchups if k.name == "catch-up a oldest")
            working = asyncio.create_task(lane.step())  # 8 x 0.15 s: four leases
            await asyncio.sleep(0.4)
            t.faults["b"].heal()
            new = os.urandom(200_001)
            await made.put("k", new)
            other = CatchUp(site, site.seats["a"], 0)
            for _ in range(3):
                await other.step()
                await asyncio.sleep(0.2)
            await working
            if "a" not in await made.copies("k"):
                await other.step()
            assert "a" in await made.copies("k")
            assert (await t.content("a"))["k"] == new

    asyncio.run(main())


def test_a_client_that_leaves_in_the_commit_leaves_no_lease(tmp_path: Path) -> None:
    async def main() -> None:
        t = Troubled()
        async with t.engine(tmp_path, ack=2, accept=False) as made:
            for n in range(40):
                task = asyncio.create_task(made.put(f"k{n}", b"x"))
                for _ in range(n):
                    await asyncio.sleep(0 if n % 2 else 0.0003)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.3)
            db = apsw.Connection(str(tmp_path / "index.db"))
            leases = db.execute("SELECT key, grid, holder FROM debt WHERE holder != ''").fetchall()
            assert not leases

    asyncio.run(main())


def test_a_grid_is_not_emptied_while_the_one_that_is_to_have_everything_is_down(tmp_path: Path) -> None:
    async def main() -> None:
        t = Troubled()
        async with t.engine(tmp_path) as made:
            await made.put("k", LARGE)
            await t.converge(made)
            t.faults["b"].inject(Fault(Kind.REFUSE))
            made.site.policies_changed(terms("b"))
            await made.probe()
            await made.reconcile()
            await made.settle(rounds=5)
            assert await made.read("k") == LARGE

    asyncio.run(main())


def test_an_index_that_is_busy_at_a_renewal_costs_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(paying, "LEASE_S", 0.3)
        t = Troubled(deadline_s=5)
        async with t.engine(tmp_path) as made:
            for n in range(3):
                await made.put(f"k{n}", LARGE)
            t.faults["a"].inject(Fault(Kind.SLOW, delay_s=0.25), "stage")
            real = made.site.index.renew

            async def busy(debt: Debt, *, lease_until_ms: int) -> bool:
                raise S3Error("SlowDown", detail="index: 4096 changes wait already")

            made.site.index.renew = busy  # type: ignore[method-assign]
            lane = next(k for k in made.catchups if k.name == "catch-up a large")
            await lane.step()
            made.site.index.renew = real  # type: ignore[method-assign]
            db = apsw.Connection(str(tmp_path / "index.db"))
            leases = db.execute("SELECT key, grid, holder FROM debt WHERE holder != ''").fetchall()
            assert not leases, leases

    asyncio.run(main())


def test_small_bodies_stay_in_the_index_until_the_walk_of_a_new_policy_is_done(tmp_path: Path) -> None:
    async def main() -> None:
        t = Troubled(names=("a", "b", "c"))
        async with t.engine(tmp_path) as made:
            made.site.policies_changed(terms("a", "b"))
            for n in "ab":
                t.faults[n].inject(Fault(Kind.REFUSE), "stage", "publish")
            await made.put("k", b"small")
            await made.settle(rounds=3)
            made.site.policies_changed(terms("a", "c"))
            t.faults["a"].heal()
            t.clock.leap(300)
            await made.probe()
            await made.settle(rounds=5)
            made.site.keep_inline_bytes = 0
            await Sweep(made.site).step()
            assert await made.copies("k") == {"a"}
            assert (await made.site.index.usage()).inline_bytes, "one copy is all there is"

    asyncio.run(main())


@pytest.mark.parametrize("second", ["put", "delete"])
def test_what_was_under_way_to_a_replaced_grid_is_put_right_there(tmp_path: Path, second: str) -> None:
    async def main() -> None:
        t = Troubled()
        async with t.engine(tmp_path) as made:
            site = made.site
            await made.put("k", LARGE)
            now = site.clock.now_ms()
            (debt,) = await site.index.claim(
                site.seats["a"].number, holder=site.new_holder(), now_ms=now, lease_until_ms=now + 60_000, limit=1
            )
            t.inner["a"].lose()
            await made.probe()
            await made.reconcile()
            staged = await t.inner["a"].stage(Place(BUCKET, "k"), BytesSource(LARGE), Label(debt.seq, "", 0, {}, {}))
            if second == "put":
                await made.put("k", b"new")
            else:
                await made.delete("k")
            await made.settle(rounds=6)
            etag = await t.inner["a"].publish(staged)
            await site.index.settle([Payment(debt, etag, site.redundancy(BUCKET).grids)])
            await t.converge(made)
            assert (await made.code("k")) == ("ok" if second == "put" else "NoSuchKey")
            assert (await t.content("a")) == ({"k": b"new"} if second == "put" else {})

    asyncio.run(main())
