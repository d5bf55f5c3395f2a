"""Why the calls of a key have no legal order: few of them that contradict each other, and the promise that they break.

That there is a violation is proved (`linear`), and each step that makes it smaller keeps every legal history legal, so
what is left contradicts itself, too. Only which promise is named is a guess from what is left.
"""

import enum
from collections.abc import Callable, Mapping, Sequence

from holdfast.model import Value, replace
from holdfast.testing.simulation.history import NEVER, Call, Outcome
from holdfast.testing.simulation.linear import Undecided, linearizable

Calls = tuple[Call, ...]


class Broken(str, enum.Enum):
    """The promise, by what an engineer would look for."""

    LOST = "lost"
    STALE = "stale"
    RETURNED = "returned"
    FOREIGN = "foreign"
    TORN = "torn"
    TWO_WINNERS = "two winners"
    UNMET = "unmet"
    """One conditional write succeeded although its condition did not hold."""
    REFUSED = "wrongly refused"
    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"
    EXCEEDED = "exceeded"


class Violation(Value, frozen=True):
    """A broken promise."""

    about: str
    """The key, or the gauge."""
    broken: Broken
    why: str
    calls: Calls = ()
    """What contradicts itself, in the order of beginnings."""

    def told(self) -> str:
        """For people: one line, and one for each call."""
        return "\n".join(
            [f"{self.about}: {self.broken.value}: {self.why}", *(f"  {line(call)}" for call in self.calls)]
        )


def check(calls: Sequence[Call], known: Mapping[str, str] | None = None) -> Violation | None:
    """What is wrong with the calls of one key, which is absent at first. `known` has words for etags that no write of
    this key leaves ("part 2 of an aborted upload"). Raises Undecided."""
    if linearizable(calls):
        return None
    core = shrink(calls)
    own = {call.wrote: f"what {_who(call)} wrote later" for call in calls if call.wrote}
    broken, why = _reason(core, {**(known or {}), **own})
    return Violation(core[0].key, broken, why, core)


def line(call: Call) -> str:
    """A call as an engineer reads it."""
    asked = {None: "", "": " if absent"}.get(call.only_if, f" if it is {call.only_if}")
    left = f" leaves {call.wrote or 'nothing'}" if call.verb.writes else ""
    saw = "" if call.saw is None else f", saw {call.saw or 'nothing'}"
    ended = "never ended" if call.ended == NEVER else f"to {call.ended_s:.6f} s"
    where = f"client {call.client} at node {call.node}"
    return f"{call.began_s:.6f} s {ended}: {where}: {call.verb.value}{left}{asked}: {call.outcome.value}{saw}"


# --- smaller ---


def shrink(calls: Sequence[Call]) -> Calls:
    """Some of `calls`, without conditions on contents that none of these wrote, that have no legal order either. Nothing
    more can be left out without a loss of proof: a write stays when a call that stays may be true because of it."""
    given = {call.number: call for call in calls}
    kept = _cut(tuple(sorted(calls, key=lambda call: call.number)))
    before: Calls = ()
    while kept != before:
        before = kept
        kept = _ease(kept, _is_look, _without)
        kept = _ease(kept, _is_conditional_write, _unconditionally)
        kept = _ease(kept, _is_write, _without)
    there = {"", *(call.wrote for call in kept if _is_write(call))}
    whole = [given[call.number] for call in kept]
    return tuple(
        call if call.only_if in there else replace(call, only_if=eased.only_if)
        for call, eased in zip(whole, kept, strict=True)
    )


def _cut(calls: Calls) -> Calls:
    """The shortest beginning of the history that is wrong already."""
    ends = sorted(call.ended for call in calls if call.outcome is not Outcome.UNKNOWN)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if _is_wrong(_until(calls, ends[middle])):
            high = middle
        else:
            low = middle + 1
    return _until(calls, ends[low])


def _until(calls: Calls, place: int) -> Calls:
    """What was known at that place: of calls that were under way, the writes may have happened or not."""
    found = []
    for call in calls:
        if call.ended <= place:
            found.append(call)
        elif call.number <= place and not _is_look(call):
            found.append(replace(call, outcome=Outcome.UNKNOWN, ended=NEVER))
    return tuple(found)


def _ease(calls: Calls, which: Callable[[Call], bool], eased: Callable[[Calls, set[int]], Calls]) -> Calls:
    """Ask less of as many of these as can be: first of half of them at once, in the end of each alone (Zeller's ddmin)."""
    size = max(1, sum(map(which, calls)) // 2)
    while True:
        chosen = [call.number for call in calls if which(call)]
        for at in range(0, len(chosen), size):
            fewer = eased(calls, set(chosen[at : at + size]))
            if fewer != calls and _is_wrong(fewer):
                calls = fewer
        if size == 1:
            return calls
        size //= 2


def _unconditionally(calls: Calls, numbers: set[int]) -> Calls:
    """What was done on a condition can be done without."""
    return tuple(replace(call, only_if=None) if call.number in numbers else call for call in calls)


def _without(calls: Calls, numbers: set[int]) -> Calls:
    """Without those of them that nobody needs: later ones first, since they are what hides the earlier ones."""
    for call in reversed(calls):
        if call.number in numbers and not _is_needed(call, calls):
            calls = tuple(other for other in calls if other is not call)
    return calls


def _is_needed(write: Call, calls: Calls) -> bool:
    """Whether a legal history could become illegal without it: when a call may be true only because of what it left."""
    if _is_look(write):
        return False
    return any(_may_rest_on(call, write, calls) for call in calls if call is not write)


def _may_rest_on(call: Call, write: Call, calls: Calls) -> bool:
    if call.outcome is not Outcome.REFUSED:
        return write.wrote in (call.saw, call.only_if)
    return call.only_if != write.wrote and call.ended > write.number and not _is_hidden(write, call, calls)


def _is_hidden(write: Call, later: Call, calls: Calls) -> bool:
    """Whether another write came between them for sure."""
    if write.outcome is Outcome.UNKNOWN:
        return False
    writes = (call for call in calls if _is_write(call) and call.outcome is Outcome.OK)
    return any(write.ended < call.number and call.ended < later.number for call in writes)


def _is_look(call: Call) -> bool:
    return not call.verb.writes or call.outcome is Outcome.REFUSED


def _is_write(call: Call) -> bool:
    return not _is_look(call)


def _is_conditional_write(call: Call) -> bool:
    return _is_write(call) and call.only_if is not None


def _is_wrong(calls: Calls) -> bool:
    try:
        return not linearizable(calls)
    except Undecided:
        return False


# --- in words ---


def _reason(core: Calls, known: Mapping[str, str]) -> tuple[Broken, str]:
    by_end = sorted(core, key=lambda call: call.ended)
    reads = [call for call in by_end if call.saw is not None]
    refusals = [call for call in by_end if call.outcome is Outcome.REFUSED]
    if reads:
        return _wrong_read(reads[-1], core, known)
    if refusals:
        return Broken.REFUSED, f"{_who(refusals[-1])} was refused, but its condition held"
    winners = [call for call in by_end if call.only_if is not None and call.outcome is Outcome.OK]
    same = [call for call in winners if call.only_if == winners[-1].only_if]
    if len(same) > 1:
        return Broken.TWO_WINNERS, f"{_who(same[0])} and {_who(same[-1])} both succeeded on the same condition"
    return Broken.UNMET, f"{_who(winners[-1])} succeeded, but its condition did not hold"


def _wrong_read(read: Call, core: Calls, known: Mapping[str, str]) -> tuple[Broken, str]:
    saw = read.saw or ""
    if not saw:
        return Broken.LOST, f"{_who(read)} saw nothing, but {_latest(core, read, saw)} was there"
    writers = [call for call in core if call.verb.writes and call.wrote == saw]
    if not writers and saw in known:
        return Broken.FOREIGN, f"{_who(read)} saw {saw}, which is {known[saw]}"
    if not writers:
        return Broken.TORN, f"{_who(read)} saw {saw}, which nobody wrote"
    if any(_is_gone(call) for call in core if call is not read):
        return Broken.RETURNED, f"{_who(read)} saw {saw} again after it was deleted"
    return Broken.STALE, f"{_who(read)} saw {saw}, but {_latest(core, read, saw)} was newer"


def _is_gone(call: Call) -> bool:
    return call.saw == "" or (call.verb.writes and call.wrote == "")


def _latest(core: Calls, read: Call, saw: str) -> str:
    """What should have been seen, if the core names it."""
    contents = [call.wrote if call.verb.writes else call.saw for call in core if call is not read]
    return next((content for content in reversed(contents) if content and content != saw), "something else")


def _who(call: Call) -> str:
    return f"the {call.verb.value} of client {call.client} at {call.began_s:.6f} s"
