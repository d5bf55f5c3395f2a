"""Which blocks a cache should keep: ours beside LRU, S3-FIFO and TinyLFU, on five made-up traces.

Nothing is read or written: it counts hits among the requests of clients (not of the scan) and blocks that would be written to the
disk, both as a share of the requests. All have room for ROOM blocks of one size, and the same requests in the same order.

    python -m bench.cache_trace
"""

import bisect
import itertools
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

from holdfast.cache.shelf import PAGE_BYTES, Shelf
from holdfast.digests import crc32c

ROOM = 1000
OBJECTS = 20_000
REQUESTS = 200_000


class Keeping(Protocol):
    """A way to choose. `want` returns whether it was a hit, and whether the block is written now."""

    def want(self, name: str) -> tuple[bool, bool]: ...


class Ours:
    def __init__(self) -> None:
        self._shelf = Shelf(limit_bytes=ROOM * PAGE_BYTES, most=1 << 30)

    def want(self, name: str) -> tuple[bool, bool]:
        if self._shelf.ask(name):
            return True, False
        return False, self._shelf.admit(name, PAGE_BYTES, born_s=0) is not None


class Lru:
    def __init__(self) -> None:
        self._kept: OrderedDict[str, None] = OrderedDict()

    def want(self, name: str) -> tuple[bool, bool]:
        hit = name in self._kept
        self._kept[name] = None
        self._kept.move_to_end(name)
        if len(self._kept) > ROOM:
            self._kept.popitem(last=False)
        return hit, not hit


class S3Fifo:
    """As published: a tenth of the room is the small queue, through which every block passes."""

    def __init__(self) -> None:
        self._small: OrderedDict[str, int] = OrderedDict()
        self._main: OrderedDict[str, int] = OrderedDict()
        self._ghost: OrderedDict[str, None] = OrderedDict()

    def want(self, name: str) -> tuple[bool, bool]:
        for queue in (self._small, self._main):
            if name in queue:
                queue[name] = min(3, queue[name] + 1)
                return True, False
        while len(self._small) + len(self._main) >= ROOM:
            self._evict()
        if name in self._ghost:
            del self._ghost[name]
            self._main[name] = 0
        else:
            self._small[name] = 0
        return False, True

    def _evict(self) -> None:
        while self._small and len(self._small) >= ROOM // 10:
            name, asked = self._small.popitem(last=False)
            if asked <= 1:
                self._ghost[name] = None
                if len(self._ghost) > ROOM:
                    self._ghost.popitem(last=False)
                return
            self._main[name] = 0
        while self._main:
            name, asked = self._main.popitem(last=False)
            if not asked:
                return
            self._main[name] = asked - 1


class TinyLfu:
    """Admission by a count-min sketch that is halved now and then, in front of an LRU; without a window, which would write every miss."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, None] = OrderedDict()
        self._rows = [[0] * (4 * ROOM) for _ in range(4)]
        self._left = 10 * ROOM

    def want(self, name: str) -> tuple[bool, bool]:
        for row, at in self._cells(name):
            row[at] = min(15, row[at] + 1)
        self._left -= 1
        if not self._left:
            self._rows = [[count >> 1 for count in row] for row in self._rows]
            self._left = 10 * ROOM
        if name in self._kept:
            self._kept.move_to_end(name)
            return True, False
        if len(self._kept) >= ROOM:
            victim = next(iter(self._kept))
            if self._count(name) <= self._count(victim):
                return False, False
            del self._kept[victim]
        self._kept[name] = None
        return False, True

    def _count(self, name: str) -> int:
        return min(row[at] for row, at in self._cells(name))

    def _cells(self, name: str) -> list[tuple[list[int], int]]:
        return [(row, crc32c(b"%d%s" % (number, name.encode())) % len(row)) for number, row in enumerate(self._rows)]


Trace = Iterator[tuple[str, bool]]
"""Names, and whether it is a client's request."""


def zipf(dice: random.Random) -> Callable[[], int]:
    weights = list(itertools.accumulate(1 / rank**0.9 for rank in range(1, OBJECTS + 1)))
    return lambda: bisect.bisect(weights, dice.random() * weights[-1])


def steady(dice: random.Random) -> Trace:
    """Some objects are far more popular than others."""
    draw = zipf(dice)
    return ((f"{draw()}", True) for _ in range(REQUESTS))


def scanned(dice: random.Random) -> Trace:
    """The same, and in a third of the time everything else is read through once."""
    draw = zipf(dice)
    return ((f"scan{at}", False) if at // 5000 % 3 == 2 else (f"{draw()}", True) for at in range(REQUESTS))


def shifting(dice: random.Random) -> Trace:
    """The same, and every now and then half of the objects are others."""
    draw = zipf(dice)
    return ((f"{draw() + at // 40_000 * OBJECTS // 2}", True) for at in range(REQUESTS))


def looping(dice: random.Random) -> Trace:
    """Half of the requests go through three times the room again and again."""
    draw = zipf(dice)
    return ((f"loop{at // 2 % (3 * ROOM)}" if at % 2 else f"{draw()}", True) for at in range(REQUESTS))


def fresh(dice: random.Random) -> Trace:
    """What was just made is asked for about five times, and then hardly ever again."""
    return ((f"{max(0, int(at // 5 - dice.expovariate(1 / 300)))}", True) for at in range(REQUESTS))


def main() -> None:
    """Print hits and writes of each."""
    ways: dict[str, Callable[[], Keeping]] = {"ours": Ours, "LRU": Lru, "S3-FIFO": S3Fifo, "TinyLFU": TinyLfu}
    print(f"{'trace':10}" + "".join(f"{name + ' hits':>14}{'writes':>8}" for name in ways))
    for trace in (steady, scanned, shifting, looping, fresh):
        line = f"{trace.__name__:10}"
        for way in ways.values():
            keeping = way()
            hits = asked = writes = 0
            for name, client in trace(random.Random(1)):
                hit, written = keeping.want(name)
                hits += hit and client
                asked += client
                writes += written
            line += f"{hits / asked:14.3f}{writes / REQUESTS:8.1%}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
