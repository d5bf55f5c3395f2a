"""What every index engine promises about debts, leases, copies, grids and the sums over them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.index.interface import SEVERAL, Delay, Payment, Pick
from holdfast.limits import BLOCK_BYTES, STUCK_ATTEMPTS
from tests.contract.index_bench import BUCKET, ENGINES, LEASE_MS, Maker, Workbench, payment_of

Run = Callable[[Callable[[Workbench], Awaitable[None]]], None]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Maker:
    return ENGINES[request.param]


@pytest.fixture
def run(engine: Maker, tmp_path: Path) -> Run:
    """Runs a scenario on the index of this test's folder; twice means: close and open it again in between."""

    def runner(scenario: Callable[[Workbench], Awaitable[None]]) -> None:
        async def main() -> None:
            async with engine(tmp_path) as bench:
                await scenario(bench)

        asyncio.run(main())

    return runner


# --- order and trouble ---


def test_small_debts_come_newest_or_oldest_first_and_large_ones_apart(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        for number in range(4):
            await bench.put(f"small {number}")
            bench.pass_ms(10)
            await bench.put_large(f"large {number}", f"s{number}", size=BLOCK_BYTES + 1)
            bench.pass_ms(10)
        await bench.delete("small 0")

        async def claimed(pick: Pick, limit: int = 2) -> list[str]:
            debts = await bench.index.claim(
                grid, holder="me", now_ms=bench.now_ms, lease_until_ms=bench.now_ms + LEASE_MS, limit=limit, pick=pick
            )
            await bench.index.postpone([Delay(debt, debt.since_ms, "again", False) for debt in debts])
            return [debt.key for debt in debts]

        assert await claimed(Pick.NEWEST) == ["small 0", "small 3"], "a deletion is small, and as new as it is"
        assert await claimed(Pick.OLDEST) == ["small 0", "small 1"]
        assert await claimed(Pick.LARGE) == ["large 0", "large 1"]
        assert await claimed(Pick.ANY, 3) == ["small 0", "large 0", "small 1"]
        assert len(await claimed(Pick.ANY, 100)) == 8

    run(scenario)


def test_debts_that_are_tried_in_vain_are_counted_and_named_as_stuck(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        await bench.put("k")
        await bench.put("other")
        for attempt in range(STUCK_ATTEMPTS):
            assert (await bench.sums(grid)).stuck == 0, attempt
            debt = await bench.claim_key(grid, "k")
            assert debt is not None
            await bench.index.postpone([Delay(debt, bench.now_ms + 1000, f"silent {attempt}")])
            other = await bench.claim_key(grid, "other")
            assert other is not None
            await bench.index.postpone([Delay(other, bench.now_ms, "its turn comes", counts=False)])
        assert (await bench.sums(grid)).stuck == 1
        [stuck] = await bench.index.stuck(grid, limit=10)
        assert (stuck.bucket, stuck.key, stuck.attempts) == (BUCKET, "k", STUCK_ATTEMPTS)
        assert stuck.reason == f"silent {STUCK_ATTEMPTS - 1}"
        assert await bench.index.stuck(bench.grids[1], limit=10) == ()
        await bench.put("k", b"12345")
        debt = await bench.claim_key(grid, "k")
        assert debt is not None
        await bench.pay(debt)
        sums = await bench.sums(grid)
        assert (sums.stuck, sums.paid, sums.paid_bytes) == (0, 1, 5)

    run(scenario)


# --- changes in doubt ---


def test_a_debt_remembers_that_a_change_may_have_happened_until_it_is_paid(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        first = await bench.put("k")
        [debt] = await bench.claim(grid)
        assert (debt.doubt_ms, debt.doubt_seq) == (0, 0)
        await bench.index.postpone([Delay(debt, bench.now_ms, "silent")])
        [debt] = await bench.claim(grid)
        assert debt.doubt_ms == 0, "a grid that certainly did not act leaves no doubt"
        await bench.index.postpone([Delay(debt, bench.now_ms, "its answer was lost", doubt=True)])
        since_ms = bench.now_ms
        bench.pass_ms(10)
        [debt] = await bench.claim(grid)
        assert (debt.doubt_ms, debt.doubt_seq) == (since_ms, first.seq)
        await bench.index.postpone([Delay(debt, bench.now_ms, "it is silent now")])
        second = await bench.put("k", b"new")
        [debt] = await bench.claim(grid)
        assert (debt.doubt_ms, debt.doubt_seq, debt.seq) == (since_ms, first.seq, second.seq)
        await bench.index.postpone([Delay(debt, bench.now_ms, "lost again", doubt=True)])
        [debt] = await bench.claim(grid)
        assert (debt.doubt_ms, debt.doubt_seq) == (bench.now_ms, SEVERAL)
        await bench.index.settle([payment_of(debt)])
        await bench.put("k", b"newer")
        [debt] = await bench.claim(grid)
        assert (debt.doubt_ms, debt.doubt_seq) == (0, 0)

    run(scenario)


@pytest.mark.parametrize("by", ["claim", "claim_key", "put", "release"])
def test_a_holder_that_died_leaves_a_doubt(run: Run, by: str) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        first = await bench.put("k")
        assert await bench.claim_key(grid, "k", "dead#1") is not None
        if by == "release":
            assert await bench.index.release_leases("dead") == 1
        else:
            bench.pass_ms(LEASE_MS + 5)
        found_ms = (
            bench.now_ms
        )  # Not when its lease ended: the clock may have leapt over that while it is still at work.
        if by == "put":
            until_ms = bench.now_ms + LEASE_MS
            written = await bench.put("k", b"new", holder="me#1", claims=bench.grids, lease_until_ms=until_ms)
            assert written.doubts == {grid: found_ms}, "whoever claims by writing hears of it too"
            bench.pass_ms(LEASE_MS)
            [debt] = await bench.claim(grid)
            assert debt.doubt_seq == SEVERAL, "the second holder died as well"
            return
        found = await bench.claim_key(grid, "k") if by == "claim_key" else (await bench.claim(grid))[0]
        assert found is not None
        assert (found.doubt_ms, found.doubt_seq) == (found_ms, first.seq)

    run(scenario)


def test_a_holder_that_died_after_the_key_had_changed_worked_at_an_older_version(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        await bench.put("k")
        assert await bench.claim_key(grid, "k", "dead") is not None
        await bench.put("k", b"new")
        bench.pass_ms(LEASE_MS)
        [debt] = await bench.claim(grid)
        assert debt.doubt_seq == SEVERAL

    run(scenario)


# --- leases ---


def test_a_put_claims_the_debts_it_asks_for_in_the_same_commit(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first, second = bench.grids
        until_ms = bench.now_ms + LEASE_MS
        written = await bench.put("k", holder="me#1", claims=(first,), lease_until_ms=until_ms)
        assert written.claimed == (first,)
        assert await bench.claim(first) == ()
        assert [debt.key for debt in await bench.claim(second)] == ["k"]
        again = await bench.put("k", b"new", holder="me#2", claims=bench.grids, lease_until_ms=until_ms)
        assert again.claimed == ()
        bench.pass_ms(LEASE_MS)
        late = await bench.put("k", b"newer", holder="me#3", claims=(first,), lease_until_ms=bench.now_ms + LEASE_MS)
        assert late.claimed == (first,), "a lease that ended is free for the next to claim"

    run(scenario)


def test_a_running_lease_is_never_given_again_not_even_to_its_own_holder(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        await bench.put("k")
        assert await bench.claim_key(grid, "k") is not None
        assert await bench.claim_key(grid, "k") is None
        assert await bench.claim(grid) == ()
        assert await bench.claim_key(grid, "absent") is None
        bench.pass_ms(LEASE_MS)
        assert await bench.claim_key(grid, "k", "other") is not None

    run(scenario)


def test_claims_come_soonest_due_first_with_what_is_needed_to_pay_them(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        for key in ("c", "a", "b"):
            await bench.put(key, key.encode())
            bench.pass_ms(10)
        claimed = await bench.claim(grid, "me", limit=2)
        assert [debt.key for debt in claimed] == ["c", "a"]
        debt = claimed[0]
        assert (debt.grid, debt.bucket, debt.holder, debt.policy, debt.attempts) == (grid, BUCKET, "me", "vital", 0)
        assert debt.version is not None
        assert (debt.version.inline, debt.version.seq) == (b"c", debt.seq)
        assert debt.since_ms == bench.now_ms - 30
        assert [debt.key for debt in await bench.claim(grid)] == ["b"]

    run(scenario)


def test_a_renewed_lease_runs_longer_and_a_lost_one_cannot_be_renewed(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        await bench.put("k")
        (debt,) = await bench.claim(grid, "me")
        assert await bench.index.renew(debt, lease_until_ms=bench.now_ms + 3 * LEASE_MS)
        bench.pass_ms(2 * LEASE_MS)
        assert await bench.claim(grid, "thief") == ()
        await bench.put("k", b"changed meanwhile")
        assert await bench.index.renew(debt, lease_until_ms=bench.now_ms + LEASE_MS)
        bench.pass_ms(LEASE_MS)
        (stolen,) = await bench.claim(grid, "thief")
        assert not await bench.index.renew(debt, lease_until_ms=bench.now_ms + LEASE_MS)
        assert (await bench.index.settle([payment_of(debt)])).paid == 0
        await bench.index.postpone([Delay(debt, bench.now_ms, "late")])
        assert await bench.index.renew(stolen, lease_until_ms=bench.now_ms + LEASE_MS)
        assert await bench.copies("k") == set()

    run(scenario)


def test_an_orderly_stop_frees_the_leases_of_a_holder_and_its_requests_only(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        for key in ("a", "b", "c"):
            await bench.put(key)
        for key, holder in (("a", "me"), ("b", "me#7"), ("c", "me-too")):
            assert await bench.claim_key(grid, key, holder) is not None
        assert await bench.index.release_leases("me") == 2
        assert sorted(debt.key for debt in await bench.claim(grid)) == ["a", "b"]

    run(scenario)


def test_a_postponed_debt_is_due_again_when_it_was_said_and_counts_its_attempts(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        await bench.put("k")
        (debt,) = await bench.claim(grid)
        await bench.index.postpone([Delay(debt, bench.now_ms + 500, "silent")])
        assert await bench.claim(grid) == ()
        bench.pass_ms(500)
        (debt,) = await bench.claim(grid)
        assert debt.attempts == 1
        await bench.index.postpone([Delay(debt, bench.now_ms, "busy", counts=False)])
        (debt,) = await bench.claim(grid)
        assert debt.attempts == 1
        await bench.put("k", b"changed during the attempt")
        await bench.index.postpone([Delay(debt, bench.now_ms + 500, "silent")])
        assert len(await bench.claim(grid)) == 1

    run(scenario)


# --- payment ---


def test_a_debt_put_off_by_a_clock_that_was_put_back_since_is_due(run: Run) -> None:
    """Found by the simulator (seed 1, 150 steps): a clock that was a day ahead for a while left debts that nobody could pay for a day."""

    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        day_ms = 86_400_000
        await bench.put("put off")
        await bench.put("leased")
        bench.pass_ms(day_ms)
        debt = await bench.claim_key(grid, "put off")
        assert debt is not None
        await bench.index.postpone([Delay(debt, bench.now_ms + LEASE_MS, "it may still arrive", doubt=True)])
        assert await bench.claim_key(grid, "leased") is not None
        bench.pass_ms(-day_ms)
        debts = await bench.index.claim(
            grid, holder="me", now_ms=bench.now_ms, lease_until_ms=bench.now_ms + LEASE_MS, limit=10
        )
        assert {debt.key for debt in debts} == {"put off", "leased"}
        assert all(0 < debt.doubt_ms <= bench.now_ms for debt in debts), (
            "and what is in doubt is not in doubt for a day"
        )

    run(scenario)


def test_a_paid_debt_is_a_copy_and_the_last_one_releases_the_spool(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first, second = bench.grids
        await bench.put_large("k", "s1", "s2")
        assert await bench.pay(*await bench.claim(first)) == ()
        assert await bench.copies("k") == {first}
        assert sorted(await bench.pay(*await bench.claim(second))) == ["s1", "s2"]
        version = await bench.index.get(BUCKET, "k")
        assert version is not None
        assert {copy.grid: copy.etag for copy in version.copies} == dict.fromkeys(bench.grids, f"held-{version.seq}")
        assert not version.spooled
        assert await bench.index.layout(version.seq) is not None
        assert await bench.index.debt_of(BUCKET, "k") == ()
        sums = await bench.sums(first)
        assert (sums.held, sums.held_bytes, sums.debts, sums.debt_bytes, sums.oldest_ms, sums.paid) == (
            1,
            200,
            0,
            0,
            0,
            1,
        )

    run(scenario)


def test_a_payment_of_a_replaced_version_frees_the_lease_and_keeps_the_debt(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        await bench.put("k", b"old")
        (debt,) = await bench.claim(grid)
        bench.pass_ms(10)
        changed_ms = bench.now_ms
        await bench.put("k", b"newer")
        bench.pass_ms(10)
        await bench.put("k", b"newest")
        assert (await bench.sums(grid)).oldest_ms == changed_ms - 10
        settled = await bench.index.settle([payment_of(debt)])
        assert settled.paid == 0
        assert await bench.copies("k") == set()
        assert (await bench.sums(grid)).oldest_ms == changed_ms, "the first change is paid, the second is not"
        (debt,) = await bench.claim(grid)
        assert debt.version is not None
        assert debt.version.inline == b"newest"
        await bench.pay(debt)
        assert await bench.copies("k") == {grid}

    run(scenario)


def test_overwrites_leave_one_debt_of_the_oldest_age_and_the_latest_size(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        began_ms = bench.now_ms
        for size in (5, 50, 20):
            await bench.put("k", b"x" * size)
            bench.pass_ms(10)
        sums = await bench.sums(grid)
        assert (sums.debts, sums.debt_bytes, sums.oldest_ms) == (1, 20, began_ms)

    run(scenario)


def test_an_overwrite_makes_a_postponed_debt_due_at_once(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        await bench.put("k")
        (debt,) = await bench.claim(grid)
        await bench.index.postpone([Delay(debt, bench.now_ms + LEASE_MS, "silent")])
        await bench.put("k", b"new")
        assert len(await bench.claim(grid)) == 1

    run(scenario)


def test_the_last_confirmed_deletion_takes_the_tombstone_away(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first, second = bench.grids
        await bench.put("k")
        await bench.pay_all()
        await bench.delete("k")
        assert (await bench.sums(first)).held == 0
        (debt,) = await bench.claim(first)
        assert debt.version is None
        await bench.pay(debt)
        assert await bench.index.tombstone(BUCKET, "k") is not None
        await bench.pay(*await bench.claim(second))
        assert await bench.index.tombstone(BUCKET, "k") is None
        assert (await bench.index.usage()).tombstones == 0

    run(scenario)


def test_the_last_bytes_are_not_released_when_no_grid_holds_a_copy(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put_large("k", "s1")
        for grid in bench.grids:
            (debt,) = await bench.claim(grid)
            settled = await bench.index.settle([Payment(debt, None)])
            assert settled.released == ()
        assert await bench.index.spooled(["s1"]) == {"s1"}

    run(scenario)


def test_a_deletion_during_a_payment_wins(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        grid = bench.grids[0]
        await bench.put_large("k", "s1")
        (debt,) = await bench.claim(grid)
        assert await bench.delete("k") == ("s1",)
        assert (await bench.index.settle([payment_of(debt)])).paid == 0
        assert await bench.index.tombstone(BUCKET, "k") is not None
        (debt,) = await bench.claim(grid)
        assert debt.version is None

    run(scenario)


def test_a_suspected_copy_is_no_longer_held_and_owed_again(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first, second = bench.grids
        seq = (await bench.put("k")).seq
        assert not await bench.index.suspect(BUCKET, "k", seq, first, now_ms=bench.now_ms)
        await bench.pay_all()
        assert await bench.index.suspect(BUCKET, "k", seq, first, now_ms=bench.now_ms)
        assert not await bench.index.suspect(BUCKET, "k", seq, first, now_ms=bench.now_ms)
        assert not await bench.index.suspect(BUCKET, "k", seq - 1, second, now_ms=bench.now_ms)
        assert await bench.copies("k") == {second}
        assert await bench.index.debt_of(BUCKET, "k") == (first,)
        sums = await bench.sums(first)
        assert (sums.held, sums.debts) == (0, 1)
        await bench.pay_all()
        assert await bench.copies("k") == {first, second}

    run(scenario)


def test_a_debt_for_a_wrong_copy_says_so_until_somebody_tried_to_pay_it(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first = bench.grids[0]
        seq = (await bench.put("k")).seq
        [debt] = await bench.claim(first)
        assert not debt.suspect, "it was never there"
        await bench.index.settle([payment_of(debt)])
        await bench.index.suspect(BUCKET, "k", seq, first, now_ms=bench.now_ms)
        [debt] = await bench.claim(first)
        assert debt.suspect
        await bench.index.postpone([Delay(debt, bench.now_ms, "not asked", counts=False)])
        again = await bench.claim_key(first, "k")
        assert again is not None
        assert again.suspect, "nobody tried"
        await bench.index.postpone([Delay(again, bench.now_ms, "silent")])
        [debt] = await bench.claim(first)
        assert (debt.suspect, debt.attempts) == (False, 1)

    run(scenario)


# --- grids and policies ---


def test_a_grid_keeps_its_number_and_its_debts_when_it_shows_its_identity(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        unseen = await index.register_grid("c", "", "folder:c")
        await bench.put("k", owes=(unseen.id,))
        seen = await index.register_grid("c", "identity of c", "folder:elsewhere")
        assert (seen.id, seen.identity, seen.url) == (unseen.id, "identity of c", "folder:elsewhere")
        assert await index.register_grid("c", "", "folder:elsewhere") == seen
        assert [debt.key for debt in await bench.claim(seen.id)] == ["k"]
        assert await index.register_grid("c", "identity of c", "folder:elsewhere") == seen
        assert [row.id for row in await index.grids() if row.name == "c"] == [seen.id]

    run(scenario)


def test_a_replaced_grid_holds_nothing_and_owes_what_the_lost_one_did(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        index = bench.index
        first, second = bench.grids
        await bench.put("paid")
        await bench.pay_all()
        await bench.put("gone")
        await bench.pay_all()
        await bench.put_large("owed", "s1")
        await bench.delete("gone")
        replaced = await index.register_grid("a", "another disk", "folder:a")
        assert replaced.id not in bench.grids
        assert await bench.copies("paid") == {second}
        assert {row.id: row.retired for row in await index.grids()} == {first: True, second: False, replaced.id: False}
        sums = await bench.sums(replaced.id)
        assert (sums.held, sums.debts, sums.debt_bytes) == (0, 1, 100)
        assert [row.grid for row in await index.sums()] == [second, replaced.id]
        assert await index.debt_of(BUCKET, "gone") == (second,)
        # A policy that was read before the replacement still names the lost grid.
        await bench.put("late")
        assert await index.debt_of(BUCKET, "late") == (second, replaced.id)
        walked = await index.reconcile(BUCKET, wanted=(replaced.id, second), after="", limit=10, now_ms=bench.now_ms)
        assert walked.last in ("", "paid")
        assert walked.released == ()
        bench.grids = (replaced.id, second)
        assert await bench.pay_all() == ("s1",)
        assert await bench.copies("paid") == {second, replaced.id}
        assert (await index.usage()).debts == 0
        assert (await index.usage()).tombstones == 0

    run(scenario)


def test_late_news_of_a_lost_grid_does_not_replace_its_successor(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        replaced = await bench.index.register_grid("a", "another disk", "folder:a")
        assert await bench.index.register_grid("a", "identity of a", "folder:a") == replaced

    run(scenario)


def test_deletions_owed_only_to_a_lost_grid_are_done(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("k")
        await bench.delete("k")
        await bench.pay(*await bench.claim(bench.grids[1]))
        await bench.index.register_grid("a", "another disk", "folder:a")
        assert await bench.index.tombstone(BUCKET, "k") is None
        assert (await bench.index.usage()).debts == 0

    run(scenario)


def test_reconciling_records_what_a_new_policy_asks_for_a_page_at_a_time(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        first, second = bench.grids
        keys = [f"k{number:03}" for number in range(40)]
        for key in keys:
            await bench.put(key, owes=(first,))
        while claimed := await bench.claim(first):
            await bench.pay(*claimed)
        after, pages = "", 0
        while True:
            wanted = (second,)
            walked = await bench.index.reconcile(BUCKET, wanted=wanted, after=after, limit=25, now_ms=bench.now_ms)
            after = walked.last
            pages += 1
            if not after:
                break
        assert pages == 2 or pages == 3
        assert (await bench.sums(first)).debts == (await bench.sums(second)).debts == 40
        for debt in await bench.claim(first):
            await bench.index.settle([Payment(debt, None)])
        while claimed := await bench.claim(second):
            await bench.pay(*claimed)
        assert {grid for key in keys for grid in await bench.copies(key)} == {second}
        assert (await bench.sums(first)).held == 0

    run(scenario)


def test_scrubbing_walks_all_versions_in_pages(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        for key in ("a", "b", "c"):
            await bench.put(key)
        first = await bench.index.copies(BUCKET, after="", limit=2)
        rest = await bench.index.copies(BUCKET, after=first[-1][0], limit=2)
        assert [key for key, _ in first + rest] == ["a", "b", "c"]
        assert all(version.inline is None for _, version in first + rest)

    run(scenario)


# --- inline bodies ---


def test_old_inline_bodies_are_dropped_only_where_copies_stand_for_them(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        await bench.put("owed", b"x" * 100)
        for grid in bench.grids:
            (debt,) = await bench.claim(grid)
            await bench.index.postpone([Delay(debt, bench.now_ms + LEASE_MS, "silent")])
        await bench.put("lonely", b"x" * 100, owes=())
        for key in ("old", "mid", "new"):
            await bench.put(key, b"x" * 100)
            await bench.pay_all()
        assert await bench.index.trim_inline(500, limit=100) == 0
        assert await bench.index.trim_inline(350, limit=100) == 200
        assert (await bench.index.usage()).inline_bytes == 300
        assert [key for key in ("owed", "lonely", "old", "mid", "new") if await _inline(bench, key)] == [
            "owed",
            "lonely",
            "new",
        ]
        assert await bench.index.trim_inline(0, limit=100) == 100
        assert await bench.index.trim_inline(0, limit=100) == 0
        assert await _inline(bench, "owed")

    run(scenario)


async def _inline(bench: Workbench, key: str) -> bool:
    version = await bench.index.get(BUCKET, key)
    assert version is not None
    return version.inline is not None


def test_bodies_that_must_stay_do_not_hide_those_behind_them(run: Run) -> None:
    async def scenario(bench: Workbench) -> None:
        for number in range(10):
            await bench.put(f"lonely{number}", b"x", owes=())
        await bench.put("paid", b"x")
        await bench.pay_all()
        freed = [await bench.index.trim_inline(0, limit=4) for _ in range(3)]
        assert sum(freed) == 1

    run(scenario)
