"""What was promised and did not come true: from a run's calls, from what is there in the end, from its gauges.

Pure, from plain data; every function returns all that it finds, and an empty list is a promise kept. Contents are
told apart by their etags, so a torn object, a part and a foreign one are all etags that no write of that key left.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import pairwise

from holdfast.model import Value
from holdfast.testing.simulation.counterexample import Broken, Violation, check
from holdfast.testing.simulation.history import NEVER, Call, Outcome, Verb, by_key

NOBODY = -1
"""The client and the node of the look that ends a history."""


class Sample(Value, frozen=True):
    """Gauges at one moment."""

    at_s: float
    gauges: dict[str, float]


def during(calls: Sequence[Call], pieces: Mapping[str, str] | None = None) -> list[Violation]:
    """What no order of the calls explains, one for each key. `pieces` has words for etags of what is no object: parts,
    uploads that were aborted. Raises Undecided."""
    known = _known(calls, pieces or {})
    return [found for _, own in sorted(by_key(calls).items()) if (found := check(own, known)) is not None]


def final(
    calls: Sequence[Call],
    listing: Mapping[str, str],
    grids: Mapping[str, Mapping[str, str]],
    holds: Callable[[str], Set[str]],
    *,
    at_s: float,
    pieces: Mapping[str, str] | None = None,
) -> list[Violation]:
    """What is wrong once nothing is owed: with the calls and a whole listing after them (so `during` is part of it),
    and with the grids, each of which has what the listing has for those keys that `holds` gives it, and nothing else."""
    looks = _last_look(calls, listing, at_s)
    found = during([*calls, *looks], pieces)
    for grid, there in sorted(grids.items()):
        wanted = {key: etag for key, etag in listing.items() if grid in holds(key)}
        found += _compare(grid, there, wanted)
    return found


def winners(calls: Iterable[Call]) -> list[Violation]:
    """Conditional writes that won on the same condition with nobody between them who could have made it true again.
    Every one of them is a case for `during`, too; this says it directly."""
    found = []
    for key, own in sorted(by_key(calls).items()):
        won: dict[str, list[Call]] = {}
        for call in own:
            if call.outcome is Outcome.OK and call.verb.writes and call.only_if not in (None, call.wrote):
                won.setdefault(call.only_if or "", []).append(call)
        for condition, succeeded in sorted(won.items()):
            found += [_two(key, condition, pair) for pair in pairwise(succeeded) if not _restored(own, condition, pair)]
    return found


def bounds(samples: Iterable[Sample], limits: Mapping[str, float]) -> list[Violation]:
    """Gauges that were above their limit: when first, and the worst."""
    above: dict[str, list[Sample]] = {}
    for sample in samples:
        for name, limit in limits.items():
            if sample.gauges.get(name, 0) > limit:
                above.setdefault(name, []).append(sample)
    return [_exceeded(name, limits[name], there) for name, there in sorted(above.items())]


def _known(calls: Iterable[Call], pieces: Mapping[str, str]) -> dict[str, str]:
    writes = {call.wrote: f"what a {call.verb.value} of {call.key} wrote" for call in calls if call.wrote}
    return {**writes, **pieces}


def _last_look(calls: Sequence[Call], listing: Mapping[str, str], at_s: float) -> list[Call]:
    place = max([0, *(call.number for call in calls), *(call.ended for call in calls if call.ended != NEVER)])
    return [
        Call(
            number=place + 1,
            ended=place + 2,
            client=NOBODY,
            node=NOBODY,
            verb=Verb.LIST,
            key=key,
            began_s=at_s,
            ended_s=at_s,
            outcome=Outcome.OK,
            saw=listing.get(key, ""),
        )
        for key in sorted({*listing, *(call.key for call in calls)})
    ]


def _compare(grid: str, there: Mapping[str, str], wanted: Mapping[str, str]) -> list[Violation]:
    found = []
    for key in sorted({*there, *wanted}):
        has, needs = there.get(key), wanted.get(key)
        if needs is None:
            found.append(Violation(key, Broken.EXTRA, f"{grid} has {has}, and should not have this key"))
        elif has is None:
            found.append(Violation(key, Broken.MISSING, f"{grid} does not have it, and should have {needs}"))
        elif has != needs:
            found.append(Violation(key, Broken.DIFFERENT, f"{grid} has {has}, and should have {needs}"))
    return found


def _restored(calls: Iterable[Call], condition: str, pair: tuple[Call, Call]) -> bool:
    """Whether a write may have made the condition true again between the two."""
    began, ended = min(call.number for call in pair), max(call.ended for call in pair)
    return any(
        call.verb.writes
        and call.wrote == condition
        and call.outcome is not Outcome.REFUSED
        and call.number < ended
        and (call.outcome is Outcome.UNKNOWN or call.ended > began)
        for call in calls
    )


def _two(key: str, condition: str, pair: tuple[Call, Call]) -> Violation:
    what = f"the key is {condition}" if condition else "the key is absent"
    return Violation(key, Broken.TWO_WINNERS, f"two writes won on the condition that {what}", pair)


def _exceeded(name: str, limit: float, above: Sequence[Sample]) -> Violation:
    worst = max(above, key=lambda sample: sample.gauges[name])
    told = f"above its limit of {limit:g} from {above[0].at_s:.6f} s, at worst {worst.gauges[name]:g} at {worst.at_s:.6f} s"
    return Violation(name, Broken.EXCEEDED, told)
