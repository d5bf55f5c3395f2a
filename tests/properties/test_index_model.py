"""The index against a model of it in plain dictionaries: any sequence of changes, any listing."""

import asyncio
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.index.interface import Debt, Delay
from holdfast.model import replace
from holdfast.s3 import DeleteAsk
from tests.contract.index_bench import BUCKET, ENGINES, LEASE_MS, Workbench, payment_of, upload_of

T = TypeVar("T")
KEYS = st.sampled_from(["a", "a/", "a/b", "b", "é"])
GRIDS = st.sampled_from([0, 1])
HOLDERS = st.sampled_from(["one", "two"])


class Owed:
    """One debt of the model."""

    def __init__(self, since_ms: int, size: int) -> None:
        self.since_ms = since_ms
        self.size = size
        self.due_ms = 0
        self.holder = ""
        self.next_ms = 0

    def leased(self, now_ms: int) -> bool:
        return bool(self.holder) and self.due_ms > now_ms


class IndexMachine(RuleBasedStateMachine):
    """Puts, deletions, claims and payments in any order, next to what they must have led to."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = AsyncExitStack()
        self.bench: Workbench = self.wait(self.stack.enter_async_context(ENGINES["sqlite"](Path(self.folder.name))))
        self.bodies: dict[str, tuple[int, bytes, str]] = {}
        """Key to sequence number, bytes, and spool file where it has one."""
        self.held: dict[str, set[int]] = {}
        self.spool: set[str] = set()
        self.gone: dict[str, int] = {}
        self.debts: dict[tuple[str, int], Owed] = {}
        self.claimed: list[Debt] = []
        self.files = 0

    def wait(self, work: Awaitable[T]) -> T:
        async def waiting() -> T:
            return await work

        return self.loop.run_until_complete(waiting())

    def teardown(self) -> None:
        self.wait(self.stack.aclose())
        self.loop.close()
        self.folder.cleanup()

    def owing(self, key: str) -> set[int]:
        return {grid for owing, grid in self.debts if owing == key}

    def owe(self, key: str, grids: set[int], size: int) -> None:
        now_ms = self.bench.now_ms
        for grid in grids:
            debt = self.debts.setdefault((key, grid), Owed(now_ms, size))
            debt.size = size
            if debt.leased(now_ms):
                debt.next_ms = debt.next_ms or now_ms
            else:
                debt.holder, debt.due_ms, debt.next_ms = "", now_ms, 0

    @rule(key=KEYS, body=st.binary(max_size=4), grids=st.sets(GRIDS), large=st.booleans())
    def put(self, key: str, body: bytes, grids: set[int], large: bool) -> None:
        owes = tuple(self.bench.grids[grid] for grid in sorted(grids))
        spool = ""
        if large:
            self.files += 1
            spool = f"s{self.files}"
            body = b"x" * 100
            change = self.bench.composed(key, spool)
            written = self.wait(self.bench.index.put(replace(change, owes=owes)))
            self.spool.add(spool)
        else:
            written = self.wait(self.bench.put(key, body, owes=owes))
        self.forget(key, set(written.released))
        self.gone.pop(key, None)
        wanted = set(owes) | self.held.pop(key, set()) | self.owing(key)
        self.bodies[key] = (written.seq, body, spool)
        self.owe(key, wanted, len(body))

    def forget(self, key: str, released: set[str]) -> None:
        spool = self.bodies[key][2] if key in self.bodies else ""
        assert released == ({spool} & self.spool if spool else set())
        self.spool -= released

    @rule(key=KEYS, grids=st.sets(GRIDS))
    def delete(self, key: str, grids: set[int]) -> None:
        owes = tuple(self.bench.grids[grid] for grid in sorted(grids))
        outcomes, released = self.wait(
            self.bench.index.delete(BUCKET, (DeleteAsk(key),), now_ms=self.bench.now_ms, owes=owes)
        )
        assert outcomes[0].existed == (key in self.bodies)
        if key in self.bodies:
            self.forget(key, set(released))
            wanted = set(owes) | self.held.pop(key, set()) | self.owing(key)
            del self.bodies[key]
            self.owe(key, wanted, 0)
            if self.owing(key):
                self.gone[key] = self.bench.now_ms

    @rule(grid=GRIDS, holder=HOLDERS, limit=st.integers(1, 3))
    def claim(self, grid: int, holder: str, limit: int) -> None:
        number = self.bench.grids[grid]
        now_ms = self.bench.now_ms
        due = {key: debt for (key, owed_by), debt in self.debts.items() if owed_by == number and debt.due_ms <= now_ms}
        claimed = self.wait(self.bench.claim(number, holder, limit))
        assert len(claimed) == min(limit, len(due))
        assert {debt.key for debt in claimed} <= set(due)
        left = set(due) - {debt.key for debt in claimed}
        assert all(due[debt.key].due_ms <= due[key].due_ms for debt in claimed for key in left)
        for debt in claimed:
            self.take(debt, holder)

    @rule(grid=GRIDS, holder=HOLDERS, key=KEYS)
    def claim_key(self, grid: int, holder: str, key: str) -> None:
        owed = self.debts.get((key, self.bench.grids[grid]))
        debt = self.wait(self.bench.claim_key(self.bench.grids[grid], key, holder))
        assert (debt is not None) == (owed is not None and not owed.leased(self.bench.now_ms))
        if debt is not None:
            self.take(debt, holder)

    def take(self, debt: Debt, holder: str) -> None:
        owed = self.debts[debt.key, debt.grid]
        assert debt.since_ms == owed.since_ms
        owed.holder, owed.due_ms, owed.next_ms = holder, self.bench.now_ms + LEASE_MS, 0
        if debt.key in self.bodies:
            seq, body, spool = self.bodies[debt.key]
            assert debt.version is not None
            assert (debt.version.seq, debt.version.size, debt.version.inline) == (
                seq,
                len(body),
                None if spool else body,
            )
        else:
            assert debt.version is None
        self.claimed.append(debt)

    def current(self, debt: Debt) -> bool:
        if debt.version is not None:
            return debt.key in self.bodies and self.bodies[debt.key][0] == debt.seq
        return self.wait(self.bench.index.tombstone(BUCKET, debt.key)) == debt.seq

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        debt = self.claimed.pop(data.draw(st.integers(0, len(self.claimed) - 1)))
        current = self.current(debt)
        owed = self.debts.get((debt.key, debt.grid))
        settled = self.wait(self.bench.index.settle([payment_of(debt)]))
        if owed is None or owed.holder != debt.holder:
            assert (settled.paid, settled.released) == (0, ())
        elif not current:
            assert (settled.paid, settled.released) == (0, ())
            owed.since_ms = owed.next_ms or owed.since_ms
            owed.holder, owed.due_ms, owed.next_ms = "", self.bench.now_ms, 0
        else:
            assert settled.paid == 1
            self.paid(debt, settled.released)

    def paid(self, debt: Debt, released: tuple[str, ...]) -> None:
        del self.debts[debt.key, debt.grid]
        last = not self.owing(debt.key)
        if debt.key in self.bodies:
            self.held.setdefault(debt.key, set()).add(debt.grid)
            spool = self.bodies[debt.key][2]
            assert set(released) == ({spool} & self.spool if last and spool else set())
            self.spool -= set(released)
        elif last:
            del self.gone[debt.key]

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), delay_ms=st.integers(0, 2 * LEASE_MS))
    def postpone(self, data: st.DataObject, delay_ms: int) -> None:
        debt = self.claimed.pop(data.draw(st.integers(0, len(self.claimed) - 1)))
        current = self.current(debt)
        due_ms = self.bench.now_ms + delay_ms
        self.wait(self.bench.index.postpone([Delay(debt, due_ms, "silent")]))
        owed = self.debts.get((debt.key, debt.grid))
        if owed is not None and owed.holder == debt.holder:
            owed.holder, owed.next_ms = "", 0
            owed.due_ms = due_ms if current else self.bench.now_ms

    @rule(key=KEYS, grid=GRIDS)
    def suspect(self, key: str, grid: int) -> None:
        number = self.bench.grids[grid]
        seq = self.bodies[key][0] if key in self.bodies else 0
        found = self.wait(self.bench.index.suspect(BUCKET, key, seq, number, now_ms=self.bench.now_ms))
        assert found == (number in self.held.get(key, set()))
        if found:
            self.held[key].discard(number)
            self.owe(key, {number}, len(self.bodies[key][1]))

    @rule(elapsed_ms=st.integers(1, 2 * LEASE_MS))
    def time_passes(self, elapsed_ms: int) -> None:
        self.bench.pass_ms(elapsed_ms)

    @invariant()
    def the_index_says_what_the_model_says(self) -> None:
        index = self.bench.index
        for key in ("a", "a/", "a/b", "b", "é"):
            version = self.wait(index.get(BUCKET, key))
            assert (version is not None) == (key in self.bodies)
            if version is not None:
                seq, body, spool = self.bodies[key]
                assert (version.seq, version.size) == (seq, len(body))
                assert version.inline == (None if spool else body)
                assert version.spooled == (spool in self.spool)
                assert {copy.grid for copy in version.copies} == self.held.get(key, set())
            assert (self.wait(index.tombstone(BUCKET, key)) is not None) == (key in self.gone)
            assert set(self.wait(index.debt_of(BUCKET, key))) == self.owing(key)
        page = self.wait(index.scan(BUCKET, prefix="", delimiter="", after="", limit=100))
        assert [key for key, _ in page.versions] == sorted(self.bodies, key=str.encode)

    @invariant()
    def the_sums_are_what_the_rows_add_up_to(self) -> None:
        usage = self.wait(self.bench.index.usage())
        sizes = {key: len(body) for key, (_, body, _) in self.bodies.items()}
        assert (usage.objects, usage.object_bytes) == (len(sizes), sum(sizes.values()))
        assert usage.inline_bytes == sum(len(body) for _, body, spool in self.bodies.values() if not spool)
        assert (usage.spool_bytes, usage.debts) == (100 * len(self.spool), len(self.debts))
        assert (usage.tombstones, usage.uploads) == (len(self.gone), 0)
        for sums in self.wait(self.bench.index.sums()):
            debts = [debt for (_, grid), debt in self.debts.items() if grid == sums.grid]
            held = [sizes[key] for key, grids in self.held.items() if sums.grid in grids]
            assert (sums.held, sums.held_bytes) == (len(held), sum(held))
            assert (sums.debts, sums.debt_bytes) == (len(debts), sum(debt.size for debt in debts))
            assert sums.oldest_ms == min((debt.since_ms for debt in debts), default=0)


IndexMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestIndexMachine: Any = IndexMachine.TestCase


# --- listings ---

_ALPHABET = st.sampled_from(["a", "b", "/", "-", "é", "\U0001f600", "\uffff"])
_KEY = st.text(_ALPHABET, min_size=1, max_size=5)
_KEYS = st.sets(_KEY, max_size=25)


def expected(keys: set[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """All that a listing without a limit gives, keys and common prefixes together, the slow way."""
    found: dict[str, None] = {}
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix) or key.encode() <= after.encode():
            continue
        rest = key[len(prefix) :]
        rolled = prefix + rest[: rest.index(delimiter) + len(delimiter)] if delimiter and delimiter in rest else ""
        if not rolled:
            found[key] = None
        elif not after.startswith(rolled):
            found[rolled] = None
    return list(found)


@settings(max_examples=60, deadline=None)
@given(
    keys=_KEYS,
    asks=st.lists(
        st.tuples(
            st.text(_ALPHABET, max_size=3),
            st.sampled_from(["", "/", "-", "a/", "é"]),
            st.text(_ALPHABET, max_size=5),
            st.integers(1, 6),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_pages_put_together_are_the_listing(keys: set[str], asks: list[tuple[str, str, str, int]]) -> None:
    async def main(folder: Path) -> None:
        async with ENGINES["sqlite"](folder) as bench:
            await asyncio.gather(*[bench.put(key, b"", owes=()) for key in keys])
            for upload_id, key in enumerate(sorted(keys)):
                await bench.index.create_upload(upload_of(key, str(upload_id)))
            for prefix, delimiter, after, limit in asks:
                whole = expected(keys, prefix, delimiter, after)
                assert await _objects(bench, prefix, delimiter, after, limit, len(whole)) == whole
                assert await _uploads(bench, prefix, delimiter, after, limit, len(whole)) == whole

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))


async def _objects(bench: Workbench, prefix: str, delimiter: str, after: str, limit: int, most: int) -> list[str]:
    seen: list[str] = []
    for _ in range(most + 1):
        page = await bench.index.scan(BUCKET, prefix=prefix, delimiter=delimiter, after=after, limit=limit)
        entries = sorted([key for key, _ in page.versions] + list(page.prefixes), key=str.encode)
        assert len(entries) <= limit
        seen += entries
        after = page.next
        if not after:
            return seen
        assert len(entries) == limit
        assert after == entries[-1]
    raise AssertionError("the listing does not end")


async def _uploads(bench: Workbench, prefix: str, delimiter: str, after: str, limit: int, most: int) -> list[str]:
    seen: list[str] = []
    marker = ""
    for _ in range(most + 1):
        page = await bench.index.uploads(
            BUCKET, prefix=prefix, delimiter=delimiter, key_marker=after, upload_marker=marker, limit=limit
        )
        entries = sorted([upload.key for upload in page.uploads] + list(page.prefixes), key=str.encode)
        assert len(entries) <= limit
        seen += entries
        after, marker = page.next_key, page.next_upload
        if not after:
            return seen
    raise AssertionError("the listing does not end")
