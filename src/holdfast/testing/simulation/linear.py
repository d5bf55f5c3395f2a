"""Whether one key behaved as one register: every call took effect at one point between its beginning and its end.

The answer is exact. It is the search of Wing and Gong (1993) with the memo of Lowe (2017, "Testing for
linearizability"), over configurations (what is done, what the register holds). Three facts keep it small:

- *A look is taken as soon as it fits.* A call that changes nothing (a read, a refusal) can be moved forward to the
  first point where it is allowed and true: nobody else notices. So only writes branch.
- *A write of unknown outcome is taken only where something waits for what it leaves.* Taken anywhere else it is
  overwritten unseen, and the same order without it is as good. Where what waits is true already, it can come later.
- *Contents that no call names are alike*, and so are unknown writes that leave the same under the same condition: the
  one that began first can be used wherever the others can. Of two ways to the same configuration, the one that
  used fewer unknown writes can do all that the other can.

Never asks for a reason: `explain` does that.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from holdfast.testing.simulation.history import NEVER, Call, Outcome

MAX_CONFIGURATIONS = 2_000_000
"""Of one key. Real histories need about one per call; what needs more than this would take minutes and gigabytes."""
_NAMELESS = "\0"
"""Stands for every content that no call names."""


class Undecided(Exception):
    """The search was given up at MAX_CONFIGURATIONS."""


class _Step(NamedTuple):
    """What a call asks of the register and does to it."""

    begins: int
    ends: int
    wants: str | None
    """It must hold this."""
    shuns: str | None
    """It must not hold this."""
    leaves: str | None
    """It holds this afterwards; None leaves it as it is."""

    def fits(self, state: str) -> bool:
        return (self.wants is None or state == self.wants) and (self.shuns is None or state != self.shuns)


class _At(NamedTuple):
    """A configuration: steps before `first` are done, and those whose bits (from `first` on) are in `window`."""

    first: int
    window: int
    state: str
    used: int
    """Bits of the unknown writes that were taken."""


def linearizable(calls: Sequence[Call], start: str = "") -> bool:
    """Whether the calls of one key, of which `start` is there at first, have a legal order. Raises Undecided."""
    return _Search(calls).succeeds(start)


class _Search:
    def __init__(self, calls: Sequence[Call]) -> None:
        named = {"", *(call.saw for call in calls), *(call.only_if for call in calls)}
        ordered = sorted(calls, key=lambda call: call.number)
        self._named = named
        self._musts = [_step(call, named) for call in ordered if call.outcome is not Outcome.UNKNOWN]
        self._maybes = [_step(call, named) for call in ordered if call.outcome is Outcome.UNKNOWN and call.verb.writes]
        self._supply: dict[str, tuple[list[int], int]] = {}
        for number, step in enumerate(self._musts):
            if step.leaves is not None:
                self._supply.setdefault(step.leaves, ([], 0))[0].append(number)
        for number, step in enumerate(self._maybes):
            musts, maybes = self._supply.get(step.leaves or "", ([], 0))
            self._supply[step.leaves or ""] = musts, maybes | 1 << number

    def succeeds(self, start: str) -> bool:
        """All that got equally far is looked at before anything further, and first what used fewer unknown writes, so
        nothing is followed that something better follows, too."""
        ways: dict[tuple[int, int, str], list[int]] = {}
        todo = [(0, 0, 0, _At(0, 0, start if start in self._named else _NAMELESS, 0))]
        count = 0
        while todo:
            at, waiting, by = self._look(heappop(todo)[-1])
            if not waiting:
                return True
            here = ways.setdefault(at[:3], [])
            if any(used & at.used == used for used in here) or self._is_lost(at, waiting):
                continue
            here.append(at.used)
            for after in (*self._known(at, waiting), *self._unknown(at, waiting, by)):
                count += 1
                heappush(todo, (after.first + after.window.bit_count(), after.used.bit_count(), count, after))
            if count > MAX_CONFIGURATIONS:
                raise Undecided(f"more than {MAX_CONFIGURATIONS} configurations")
        return False

    def _look(self, at: _At) -> tuple[_At, list[int], int]:
        """Take every look that fits. Returns also the steps that may come next, and the place by which one of them must."""
        while True:
            waiting, limit = self._next(at)
            fitting = 0
            for number in waiting:
                step = self._musts[number]
                if step.leaves is None and step.fits(at.state):
                    fitting |= 1 << number - at.first
            if not fitting:
                return at, waiting, limit
            at = _done(at, fitting)

    def _next(self, at: _At) -> tuple[list[int], int]:
        """Steps that are not done and began before every other one that is not done has ended; and the first such end."""
        waiting, limit, window = [], NEVER, at.window
        for number in range(at.first, len(self._musts)):
            step = self._musts[number]
            if step.begins > limit:
                break
            if not window & 1:
                waiting.append(number)
                limit = min(limit, step.ends)
            window >>= 1
        return waiting, limit

    def _known(self, at: _At, waiting: list[int]) -> Iterator[_At]:
        """After each acknowledged write that can come next."""
        for number in waiting:
            step = self._musts[number]
            if step.leaves is not None and step.fits(at.state):
                yield _done(at._replace(state=step.leaves), 1 << number - at.first)

    def _unknown(self, at: _At, waiting: list[int], limit: int) -> Iterator[_At]:
        """After each unknown write that something waits for, be it an unknown write that something waits for."""
        free = self._free(at, limit)
        wanting = [step for number in waiting if not (step := self._musts[number]).fits(at.state)]
        while wanting:
            useful = [number for number in free if any(step.fits(self._left(number)) for step in wanting)]
            free = [number for number in free if number not in useful]
            wanting = [step for number in useful if not (step := self._maybes[number]).fits(at.state)]
            for number in useful:
                if self._maybes[number].fits(at.state):
                    yield at._replace(state=self._left(number), used=at.used | 1 << number)

    def _free(self, at: _At, limit: int) -> list[int]:
        """Unknown writes that can come next: of those that are alike, the first."""
        alike = set()
        free = []
        for number, step in enumerate(self._maybes):
            if step.begins > limit:
                break
            kind = (step.wants, step.leaves)
            if not at.used >> number & 1 and kind not in alike:
                alike.add(kind)
                free.append(number)
        return free

    def _left(self, number: int) -> str:
        return self._maybes[number].leaves or ""

    def _is_lost(self, at: _At, waiting: list[int]) -> bool:
        """Whether something waits for a content that is not there and that nobody is left to write."""
        for number in waiting:
            wants = self._musts[number].wants
            if wants is not None and wants != at.state and not self._is_supplied(at, wants):
                return True
        return False

    def _is_supplied(self, at: _At, content: str) -> bool:
        musts, maybes = self._supply.get(content, ([], 0))
        if maybes & ~at.used:
            return True
        left = range(bisect_left(musts, at.first), len(musts))
        return any(not at.window >> musts[place] - at.first & 1 for place in left)


def _step(call: Call, named: set[str | None]) -> _Step:
    leaves = None
    if call.verb.writes and call.outcome is not Outcome.REFUSED:
        leaves = call.wrote if call.wrote in named else _NAMELESS
    refused = call.outcome is Outcome.REFUSED
    wants = None if refused else call.saw if call.saw is not None else call.only_if
    return _Step(call.number, call.ended, wants, call.only_if if refused else None, leaves)


def _done(at: _At, bits: int) -> _At:
    """Those steps are done: the window begins with one that is not."""
    window = at.window | bits
    trailing = (~window & window + 1).bit_length() - 1
    return at._replace(first=at.first + trailing, window=window >> trailing)
