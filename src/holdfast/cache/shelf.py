"""Which blocks are kept, which must go for a new one, and which never come in. Pure arithmetic.

This is S3-FIFO (J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi: "FIFO queues are all you need for cache eviction",
SOSP 2023) for a disk: its small queue, through which every new block passes, has the names only and not the bytes. While there
is room everything is kept. On a full shelf a block is brought in when it is wanted for the second time within as many bytes
as the shelf holds; until then its name is remembered. So what is read once, a scan however long, costs no write
and takes nobody's place. Kept blocks stand in one queue; one that was asked for since its last turn goes
back to the end instead of out, up to MAX_ASKED times.

Invariant: the blocks that are kept take at most `limit_bytes` together, and are at most `most`. A block takes
whole pages of its file system.
"""

from collections import OrderedDict
from typing import Final

from holdfast.limits import KIB

PAGE_BYTES: Final = 4 * KIB
"""What a file's size is rounded up to: the unit in which most file systems hand out space."""
MAX_ASKED: Final = 3
"""More requests than this do not make a block stay longer."""
_TURNS: Final = 64
"""Blocks that are given another turn before the next one must go: bounds the work of one admission."""


class _Block:
    __slots__ = ("asked", "born_s", "taken")

    def __init__(self, taken: int, born_s: int) -> None:
        self.taken = taken
        self.born_s = born_s
        self.asked = 0


class Shelf:
    """Names of blocks, their sizes, and how often they were asked for. It knows nothing of their bytes."""

    def __init__(self, *, limit_bytes: int, most: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._most = most
        self._kept: OrderedDict[str, _Block] = OrderedDict()
        self._known: OrderedDict[str, int] = OrderedDict()
        """Names that were turned away or went, with what they take: the last `limit_bytes` of them."""
        self._known_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def ask(self, name: str) -> bool:
        """True when the block is kept; it is remembered that somebody wanted it."""
        block = self._kept.get(name)
        if block is None:
            return False
        if block.asked < MAX_ASKED:
            block.asked += 1
        return True

    def admit(self, name: str, size_bytes: int, *, born_s: int) -> list[str] | None:
        """Take a block in, and return those that must go for it first; None when it is turned away.

        It must not be kept already.
        """
        taken = pages(size_bytes)
        if taken > self.limit_bytes or not self._most:
            return None
        if self._over(taken, 1) and name not in self._known:
            self._remember(name, taken)
            return None
        self._forget(name)
        gone = self._make_room(taken, 1)
        self._keep(name, taken, born_s)
        return gone

    def restore(self, name: str, size_bytes: int, *, born_s: int) -> None:
        """Take note of a block that is there already, even if it is too much: `shrink` afterwards."""
        if name not in self._kept:
            self._keep(name, pages(size_bytes), born_s)

    def remove(self, name: str) -> None:
        """A block is not there any more."""
        block = self._kept.pop(name, None)
        if block is not None:
            self.used_bytes -= block.taken

    def shrink(self, limit_bytes: int) -> list[str]:
        """Have another limit from now on; returns the blocks that must go because of it."""
        self.limit_bytes = limit_bytes
        gone = self._make_room(0, 0)
        while self._known_bytes > self.limit_bytes:
            self._known_bytes -= self._known.popitem(last=False)[1]
        return gone

    def names(self) -> list[str]:
        """All that are kept."""
        return list(self._kept)

    def is_older(self, name: str, at_s: int) -> bool:
        """True when the block is kept and came in before a time."""
        block = self._kept.get(name)
        return block is not None and block.born_s < at_s

    def _over(self, bytes_more: int, more: int) -> bool:
        return self.used_bytes + bytes_more > self.limit_bytes or len(self._kept) + more > self._most

    def _keep(self, name: str, taken: int, born_s: int) -> None:
        self._kept[name] = _Block(taken, born_s)
        self.used_bytes += taken

    def _make_room(self, bytes_more: int, more: int) -> list[str]:
        gone: list[str] = []
        turns = 0
        while self._kept and self._over(bytes_more, more):
            name, block = self._kept.popitem(last=False)
            if block.asked and turns < _TURNS:
                block.asked -= 1
                turns += 1
                self._kept[name] = block
                continue
            self.used_bytes -= block.taken
            self._remember(name, block.taken)
            gone.append(name)
        return gone

    def _remember(self, name: str, taken: int) -> None:
        self._forget(name)
        self._known[name] = taken
        self._known_bytes += taken
        while self._known_bytes > self.limit_bytes or len(self._known) > self._most:
            self._known_bytes -= self._known.popitem(last=False)[1]

    def _forget(self, name: str) -> None:
        self._known_bytes -= self._known.pop(name, 0)


def pages(size_bytes: int) -> int:
    """What a file of this size takes on its disk."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
