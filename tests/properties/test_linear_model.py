"""The search for a legal order against one that tries them all, and against a real register whose answers get lost."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model import replace
from holdfast.testing.simulation.counterexample import check, shrink
from holdfast.testing.simulation.history import NEVER, Call, History, Outcome, Verb
from holdfast.testing.simulation.linear import linearizable

CONTENTS = ["", "a", "b", "c"]


def some_order_is_legal(calls: Sequence[Call], state: str = "") -> bool:
    """Every order of every choice of the unknown ones, one by one: slow, and plainly right."""
    waiting = [call for call in calls if call.outcome is not Outcome.UNKNOWN]
    if not waiting:
        return True
    by = min(call.ended for call in waiting)
    for call in calls:
        if call.number < by and _agrees(call, state):
            left = call.wrote if call.verb.writes and call.outcome is not Outcome.REFUSED else state
            if some_order_is_legal([other for other in calls if other is not call], left):
                return True
    return False


def _agrees(call: Call, state: str) -> bool:
    if call.outcome is Outcome.REFUSED:
        return state != call.only_if
    if call.verb.writes:
        return call.only_if in (None, state)
    return call.saw == state


@st.composite
def small_histories(draw: st.DrawFn) -> list[Call]:
    """Up to seven calls at random times, with contents that repeat; legal or not."""
    size = draw(st.integers(1, 7))
    places = draw(st.permutations(range(2 * size)))
    calls = []
    for at in range(size):
        number, ended = sorted(places[2 * at : 2 * at + 2])
        verb = draw(st.sampled_from([Verb.PUT, Verb.PUT, Verb.DELETE, Verb.GET, Verb.GET]))
        only_if = draw(st.sampled_from([None, None, *CONTENTS])) if verb.writes else None
        outcomes = [Outcome.OK] if not verb.writes else [Outcome.OK, Outcome.UNKNOWN]
        outcome = draw(st.sampled_from([*outcomes, Outcome.REFUSED] if only_if is not None else outcomes))
        calls.append(
            Call(
                number=number,
                ended=NEVER if outcome is Outcome.UNKNOWN and draw(st.booleans()) else ended,
                client=at,
                node=0,
                verb=verb,
                key="k",
                began_s=float(number),
                ended_s=float(ended),
                outcome=outcome,
                wrote=draw(st.sampled_from(CONTENTS[1:])) if verb is Verb.PUT else "",
                saw=draw(st.sampled_from(CONTENTS)) if verb is Verb.GET else None,
                only_if=only_if,
            )
        )
    return calls


@settings(max_examples=400, deadline=None, derandomize=True)
@given(small_histories())
def test_the_verdict_is_that_of_trying_every_order(calls: list[Call]) -> None:
    assert linearizable(calls) == some_order_is_legal(calls)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(small_histories())
def test_a_counterexample_contradicts_itself(calls: list[Call]) -> None:
    if not linearizable(calls):
        core = shrink(calls)
        given = {call.number: call for call in calls}
        assert all(call in (given[call.number], replace(given[call.number], only_if=None)) for call in core)
        assert not some_order_is_legal(core)


class Register:
    """One key that is really atomic: clients send, it acts at a moment of its own, and the answer may get lost."""

    def __init__(self, seed: int, *, clients: int, lost: float) -> None:
        self._chance = random.Random(seed)
        self._lost = lost
        self._history = History()
        self._state = ""
        self._now_s = 0.0
        self._idle = list(range(clients))
        self._unheard: set[int] = set()
        self._written = 0
        self._contents = ["", "nobody wrote this"]
        self._asked: list[Call] = []
        self._acted: list[tuple[Call, Outcome, str | None]] = []

    def run(self, count: int) -> list[Call]:
        begun = 0
        while begun < count or self._asked or self._acted:
            self._now_s += self._chance.choice([0.0, 0.01])
            match self._chance.randrange(3):
                case 0 if begun < count and self._idle:
                    begun += 1
                    self._ask()
                case 1 if self._asked:
                    self._act(self._asked.pop(self._chance.randrange(len(self._asked))))
                case 2 if self._acted:
                    self._answer(*self._acted.pop(self._chance.randrange(len(self._acted))))
        return self._history.calls()

    def _ask(self) -> None:
        client = self._idle.pop()
        verb = self._chance.choice([Verb.PUT, Verb.PUT, Verb.DELETE, Verb.GET, Verb.GET, Verb.HEAD])
        wrote, only_if = "", None
        if verb is Verb.PUT:
            self._written += 1
            wrote = f"e{self._written}"
        if verb.writes and self._chance.random() < 0.4:
            only_if = self._chance.choice(["", self._state, self._contents[-1]])
        call = self._history.begin(verb, "k", client=client, node=0, at_s=self._now_s, wrote=wrote, only_if=only_if)
        self._contents.append(wrote)
        if verb.writes and self._chance.random() < self._lost:
            self._idle.append(client)
            self._unheard.add(call.number)
            if self._chance.random() < 0.5:
                self._history.end(call, Outcome.UNKNOWN, at_s=self._now_s)
            if self._chance.random() < 0.3:
                return
        self._asked.append(call)

    def _act(self, call: Call) -> None:
        if not call.verb.writes:
            self._acted.append((call, Outcome.OK, self._state))
        elif call.only_if in (None, self._state):
            self._state = call.wrote
            self._acted.append((call, Outcome.OK, None))
        else:
            self._acted.append((call, Outcome.REFUSED, None))

    def _answer(self, call: Call, outcome: Outcome, saw: str | None) -> None:
        if call.number not in self._unheard:
            self._history.end(call, outcome, at_s=self._now_s, saw=saw)
            self._idle.append(call.client)


@pytest.mark.parametrize("seed", range(12))
def test_what_an_atomic_register_did_is_legal_whatever_was_lost(seed: int) -> None:
    calls = Register(seed, clients=8, lost=[0.0, 0.03, 0.1][seed % 3]).run(300)
    assert linearizable(calls)


def test_a_long_history_of_many_clients_is_judged_whole() -> None:
    calls = Register(99, clients=8, lost=0.05).run(8 * 300)
    assert sum(call.outcome is Outcome.UNKNOWN for call in calls) > 36
    assert linearizable(calls)


@pytest.mark.parametrize("seed", range(12))
def test_a_read_that_sees_what_was_overwritten_before_it_began_is_found(seed: int) -> None:
    calls = Register(seed, clients=8, lost=0.05).run(300)
    chance = random.Random(seed)
    place, old = chance.choice(list(_overwritten_before(calls)))
    calls[place] = replace(calls[place], saw=old)
    violation = check(calls)
    assert violation is not None
    assert len(violation.calls) < 10
    assert not some_order_is_legal(violation.calls)


def _overwritten_before(calls: list[Call]) -> list[tuple[int, str]]:
    """Reads, and contents that another acknowledged unconditional write had replaced before they began."""
    done = [call for call in calls if call.wrote and call.outcome is Outcome.OK]
    return [
        (place, old.wrote)
        for place, read in enumerate(calls)
        if read.saw is not None
        for old in done
        if any(old.ended < new.number and new.ended < read.number for new in done)
    ]


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.REFUSED])
def test_a_wrong_answer_to_a_condition_is_found(outcome: Outcome) -> None:
    """Taken from runs in which nothing was lost, at a moment when nothing else was under way."""
    found = 0
    for seed in range(60):
        calls = Register(seed, clients=1, lost=0.0).run(40)
        for place, call in enumerate(calls):
            if call.outcome is outcome and call.verb is Verb.PUT and call.only_if is not None and place:
                wrong = Outcome.REFUSED if outcome is Outcome.OK else Outcome.OK
                assert not linearizable([*calls[:place], replace(call, outcome=wrong)])
                found += 1
    assert found > 60
