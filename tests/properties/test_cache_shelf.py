"""Which blocks are kept: the limit always holds, and a scan does not take the place of what is read often."""

import bisect
import itertools
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from holdfast.cache.shelf import MAX_ASKED, PAGE_BYTES, Shelf, pages

NAMES = st.sampled_from([f"b{number}" for number in range(12)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), NAMES),
        st.tuples(st.just("admit"), NAMES, st.integers(0, 5 * PAGE_BYTES)),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("shrink"), st.integers(0, 20 * PAGE_BYTES)),
    ),
    max_size=80,
)


@given(st.integers(0, 20 * PAGE_BYTES), st.integers(0, 6), STEPS)
def test_what_is_kept_is_exactly_what_came_in_and_did_not_go_and_never_above_the_limit(
    limit: int, most: int, steps: list[tuple[object, ...]]
) -> None:
    shelf = Shelf(limit_bytes=limit, most=most)
    there: dict[str, int] = {}
    for step in steps:
        match step:
            case ("ask", str(name)):
                assert shelf.ask(name) == (name in there)
            case ("admit", str(name), int(size)) if name not in there:
                gone = shelf.admit(name, size, born_s=0)
                if gone is not None:
                    assert name not in gone
                    for old in gone:
                        del there[old]
                    there[name] = pages(size)
            case ("remove", str(name)):
                shelf.remove(name)
                there.pop(name, None)
            case ("shrink", int(wanted)):
                limit = wanted
                for old in shelf.shrink(wanted):
                    del there[old]
        assert set(shelf.names()) == set(there)
        assert shelf.used_bytes == sum(there.values()) <= limit
        assert len(shelf) == len(there) <= most


@given(st.lists(st.tuples(NAMES, st.integers(1, PAGE_BYTES)), max_size=60))
def test_while_there_is_room_everything_is_kept_and_nothing_goes(offered: list[tuple[str, int]]) -> None:
    shelf = Shelf(limit_bytes=12 * PAGE_BYTES, most=100)
    for name, size in offered:
        if name not in shelf:
            assert shelf.admit(name, size, born_s=0) == []


@given(st.integers(1, 30), st.integers(1, 30))
def test_a_full_shelf_takes_what_is_wanted_twice_in_a_row(kept: int, asked: int) -> None:
    shelf = Shelf(limit_bytes=kept * PAGE_BYTES, most=100)
    for number in range(kept):
        shelf.admit(f"old{number}", 1, born_s=0)
        for _ in range(asked):
            shelf.ask(f"old{number}")
    assert shelf.admit("new", 1, born_s=0) is None
    gone = shelf.admit("new", 1, born_s=0)
    assert gone is not None and len(gone) == 1
    assert "new" in shelf


def test_of_kept_blocks_the_one_that_nobody_asked_for_goes() -> None:
    shelf = Shelf(limit_bytes=3 * PAGE_BYTES, most=100)
    for name in ("a", "b", "c"):
        shelf.admit(name, 1, born_s=0)
    shelf.ask("a")
    shelf.ask("c")
    shelf.admit("d", 1, born_s=0)
    assert shelf.admit("d", 1, born_s=0) == ["b"]


def test_what_was_popular_long_ago_goes_in_the_end() -> None:
    shelf = Shelf(limit_bytes=PAGE_BYTES, most=100)
    shelf.admit("old", 1, born_s=0)
    for _ in range(1000):
        shelf.ask("old")
    for number in range(MAX_ASKED + 2):
        for _ in range(2):
            if f"new{number}" not in shelf:
                shelf.admit(f"new{number}", 1, born_s=0)
    assert "old" not in shelf


def test_a_block_larger_than_the_limit_takes_nobodys_place() -> None:
    shelf = Shelf(limit_bytes=PAGE_BYTES, most=100)
    shelf.admit("small", 1, born_s=0)
    for _ in range(3):
        assert shelf.admit("large", PAGE_BYTES + 1, born_s=0) is None
    assert shelf.names() == ["small"]


def test_age_is_counted_from_when_a_block_came_in() -> None:
    shelf = Shelf(limit_bytes=PAGE_BYTES * 9, most=100)
    shelf.admit("early", 1, born_s=10)
    shelf.restore("late", 1, born_s=20)
    shelf.ask("early")
    assert [name for name in ("early", "late", "never") if shelf.is_older(name, 20)] == ["early"]


# --- a trace: objects asked for by Zipf's law, and a scan ---

KEPT = 500
OBJECTS = 10_000
REQUESTS = 60_000


def requests(*, scan: bool) -> Iterator[tuple[str, bool]]:
    """Names, and whether it is one of the popular kind; with `scan` a third of the time something is read through once."""
    dice = random.Random(7)
    weights = list(itertools.accumulate(1 / rank**0.9 for rank in range(1, OBJECTS + 1)))
    for number in range(REQUESTS):
        if scan and number // 2000 % 3 == 2:
            yield f"scanned{number}", False
        else:
            yield f"object{bisect.bisect(weights, dice.random() * weights[-1])}", True


class Outcome:
    """Hits among the popular kind, and blocks that were written."""

    def __init__(self, want: Callable[[str], tuple[bool, bool]], *, scan: bool) -> None:
        hits = asked = self.writes = 0
        for name, popular in requests(scan=scan):
            hit, written = want(name)
            hits += hit and popular
            asked += popular
            self.writes += written
        self.ratio = hits / asked


def of_shelf(*, scan: bool) -> tuple[Outcome, Shelf]:
    shelf = Shelf(limit_bytes=KEPT * PAGE_BYTES, most=1 << 20)

    def want(name: str) -> tuple[bool, bool]:
        if shelf.ask(name):
            return True, False
        return False, shelf.admit(name, PAGE_BYTES, born_s=0) is not None

    return Outcome(want, scan=scan), shelf


def of_lru(*, scan: bool) -> Outcome:
    kept: OrderedDict[str, None] = OrderedDict()

    def want(name: str) -> tuple[bool, bool]:
        hit = name in kept
        kept[name] = None
        kept.move_to_end(name)
        if len(kept) > KEPT:
            kept.popitem(last=False)
        return hit, not hit

    return Outcome(want, scan=scan)


def test_a_scan_does_not_flush_it() -> None:
    calm, _ = of_shelf(scan=False)
    scanned, shelf = of_shelf(scan=True)
    lru = of_lru(scan=True)
    told = f"calm {calm.ratio:.3f}, with a scan {scanned.ratio:.3f} and {scanned.writes} writes; "
    told += f"LRU {lru.ratio:.3f} and {lru.writes} writes"
    print(told)
    assert scanned.ratio > calm.ratio - 0.03, told
    assert scanned.ratio > lru.ratio + 0.08, told
    assert scanned.writes < lru.writes / 5, told
    assert not any(name.startswith("scanned") for name in shelf.names())


def test_a_new_favourite_gets_in() -> None:
    _, shelf = of_shelf(scan=False)
    hits = 0
    for number in range(3000):
        name = f"favourite{number % (KEPT // 5)}"
        if shelf.ask(name):
            hits += 1
        else:
            shelf.admit(name, PAGE_BYTES, born_s=0)
    assert hits > 2500
