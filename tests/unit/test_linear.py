"""What the simulator's checkers call right and wrong, promise by promise, in histories that a reader can follow."""

import pytest

from holdfast.testing.simulation.counterexample import Broken, Violation, check
from holdfast.testing.simulation.history import Call, History, Outcome, Page, Verb, by_key
from holdfast.testing.simulation.judge import Sample, bounds, during, final, winners
from holdfast.testing.simulation.linear import linearizable

OK, REFUSED, UNKNOWN = Outcome


class Clients:
    """Calls one after the other, or at the same time with `begin` and `end`; one second between any two events."""

    def __init__(self) -> None:
        self.history = History()
        self._now_s = 0.0

    def begin(self, verb: Verb, key: str = "k", *, wrote: str = "", only_if: str | None = None) -> Call:
        return self.history.begin(verb, key, client=1, node=0, at_s=self._later(), wrote=wrote, only_if=only_if)

    def end(self, call: Call, outcome: Outcome = OK, saw: str | None = None) -> None:
        self.history.end(call, outcome, at_s=self._later(), saw=saw)

    def put(self, wrote: str, outcome: Outcome = OK, *, key: str = "k", only_if: str | None = None) -> None:
        self.end(self.begin(Verb.PUT, key, wrote=wrote, only_if=only_if), outcome)

    def delete(self, outcome: Outcome = OK, *, only_if: str | None = None) -> None:
        self.end(self.begin(Verb.DELETE, only_if=only_if), outcome)

    def get(self, saw: str, *, key: str = "k") -> None:
        self.end(self.begin(Verb.GET, key), OK, saw)

    def list_page(self, page: Page, keys: list[str]) -> None:
        call = self.begin(Verb.LIST)
        self.history.end_list(call, page.saw(keys), at_s=self._later())

    def calls(self) -> list[Call]:
        return self.history.calls()

    def found(self) -> Violation:
        violation = check(self.calls())
        assert violation is not None
        return violation

    def _later(self) -> float:
        self._now_s += 1
        return self._now_s


@pytest.fixture
def clients() -> Clients:
    return Clients()


def told(violation: Violation) -> list[str]:
    """The calls of a counterexample, short."""
    return [f"{call.verb.value} {call.saw if call.saw is not None else call.wrote}" for call in violation.calls]


# --- right ---


def test_what_was_written_is_seen(clients: Clients) -> None:
    clients.get("")
    clients.put("a")
    clients.get("a")
    clients.put("b", only_if="a")
    clients.put("c", REFUSED, only_if="a")
    clients.put("c", REFUSED, only_if="")
    clients.delete()
    clients.get("")
    clients.put("d", only_if="")
    clients.get("d")
    assert check(clients.calls()) is None


def test_reads_during_a_write_may_see_either_but_not_the_old_after_the_new(clients: Clients) -> None:
    clients.put("a")
    write = clients.begin(Verb.PUT, wrote="b")
    clients.get("a")
    clients.get("b")
    assert linearizable(clients.calls())
    clients.get("a")
    clients.end(write)
    assert clients.found().broken is Broken.STALE


def test_an_unknown_write_may_come_late_once_or_never(clients: Clients) -> None:
    clients.put("a")
    clients.put("b", UNKNOWN)
    clients.get("a")
    assert linearizable(clients.calls())
    clients.get("b")
    assert linearizable(clients.calls())
    clients.put("c")
    clients.get("c")
    assert linearizable(clients.calls())
    clients.get("b")
    assert (clients.found().broken, told(clients.found())) == (
        Broken.STALE,
        ["PUT b", "GET b", "PUT c", "GET b"],
    )


def test_an_unknown_deletion_explains_one_absence(clients: Clients) -> None:
    clients.put("a")
    clients.delete(UNKNOWN)
    clients.get("a")
    clients.get("")
    assert linearizable(clients.calls())
    clients.put("b")
    clients.get("")
    assert clients.found().broken is Broken.LOST


def test_an_unknown_write_explains_a_refusal_though_nobody_sees_it(clients: Clients) -> None:
    clients.put("a", UNKNOWN)
    clients.put("b", REFUSED, only_if="")
    assert linearizable(clients.calls())


def test_unknown_conditional_writes_explain_each_other(clients: Clients) -> None:
    clients.put("a", UNKNOWN, only_if="")
    clients.put("b", UNKNOWN, only_if="a")
    clients.put("c", UNKNOWN, only_if="b")
    clients.get("c")
    assert linearizable(clients.calls())


def test_a_read_without_an_answer_says_nothing(clients: Clients) -> None:
    clients.end(clients.begin(Verb.GET), UNKNOWN)
    clients.begin(Verb.GET)
    assert clients.calls() == []


def test_a_write_that_nobody_heard_of_again_is_unknown(clients: Clients) -> None:
    clients.begin(Verb.PUT, wrote="a")
    clients.get("a")
    assert [call.outcome for call in clients.calls()] == [UNKNOWN, OK]
    assert linearizable(clients.calls())


# --- wrong ---


def test_lost(clients: Clients) -> None:
    clients.put("a")
    clients.put("b")
    clients.get("")
    assert (clients.found().broken, told(clients.found())) == (Broken.LOST, ["PUT b", "GET "])


def test_stale(clients: Clients) -> None:
    for content in "abc":
        clients.put(content)
        clients.get(content)
    clients.get("b")
    assert clients.found().broken is Broken.STALE
    assert told(clients.found())[-1] == "GET b" and len(clients.found().calls) == 3


def test_returned(clients: Clients) -> None:
    clients.put("a")
    clients.get("a")
    clients.delete()
    clients.get("")
    clients.get("a")
    assert clients.found().broken is Broken.RETURNED
    assert len(clients.found().calls) == 3


def test_torn_and_foreign(clients: Clients) -> None:
    clients.put("a")
    clients.put("x", key="other")
    clients.get("x")
    clients.get("half of a", key="third")
    clients.get("p1", key="fourth")
    found = during(clients.calls(), {"p1": "part 1 of an aborted upload of fourth"})
    assert [(violation.about, violation.broken) for violation in found] == [
        ("fourth", Broken.FOREIGN),
        ("k", Broken.FOREIGN),
        ("third", Broken.TORN),
    ]
    assert "part 1 of an aborted upload" in found[0].told()
    assert "PUT of other" in found[1].told()


def test_seen_before_it_was_written(clients: Clients) -> None:
    clients.get("a")
    clients.put("a")
    assert clients.found().broken is Broken.FOREIGN


def test_two_winners(clients: Clients) -> None:
    clients.put("a")
    clients.get("a")
    first = clients.begin(Verb.PUT, wrote="b", only_if="a")
    second = clients.begin(Verb.PUT, wrote="c", only_if="a")
    clients.end(first)
    clients.end(second)
    assert clients.found().broken is Broken.TWO_WINNERS
    assert told(clients.found()) == ["PUT a", "PUT b", "PUT c"]
    assert [told(violation) for violation in winners(clients.calls())] == [["PUT b", "PUT c"]]


def test_two_that_both_created(clients: Clients) -> None:
    clients.put("a", only_if="")
    clients.put("b", only_if="")
    assert clients.found().broken is Broken.TWO_WINNERS
    assert len(winners(clients.calls())) == 1


@pytest.mark.parametrize("outcome", [OK, UNKNOWN])
def test_one_winner_after_another_is_right_when_the_key_may_have_been_deleted_between(
    clients: Clients, outcome: Outcome
) -> None:
    clients.put("a", only_if="")
    clients.delete(outcome)
    clients.put("b", only_if="")
    assert winners(clients.calls()) == []
    assert linearizable(clients.calls())


def test_a_condition_on_what_was_overwritten_does_not_hold(clients: Clients) -> None:
    clients.put("a")
    clients.put("b")
    clients.put("c", only_if="a")
    assert clients.found().broken is Broken.UNMET


def test_refused_although_it_held(clients: Clients) -> None:
    for content in "abcd":
        clients.put(content)
    clients.delete()
    clients.put("e", REFUSED, only_if="")
    assert (clients.found().broken, told(clients.found())) == (Broken.REFUSED, ["PUT e"])


def test_a_counterexample_says_who_did_what_and_when(clients: Clients) -> None:
    clients.put("a")
    clients.put("b", only_if="a")
    clients.get("a")
    assert (
        clients.found().told().splitlines()[0] == "k: stale: the GET of client 1 at 5.000000 s saw a, but b was newer"
    )
    assert clients.found().told().splitlines()[2] == (
        "  3.000000 s to 4.000000 s: client 1 at node 0: PUT leaves b if it is a: ok"
    )


# --- listings ---


def test_a_page_speaks_of_its_range_only() -> None:
    page = Page(prefix="p/", after="p/b", versions={"p/c": "c", "p/e": "e"}, truncated=True)
    assert page.saw(["a", "p/a", "p/b", "p/d", "p/f"]) == {"p/c": "c", "p/d": "", "p/e": "e"}


def test_a_page_that_is_not_truncated_speaks_of_everything_after_its_last_key() -> None:
    assert Page(prefix="p/", versions={"p/c": "c"}).saw(["p/d", "q"]) == {"p/c": "c", "p/d": ""}


def test_a_page_says_of_a_common_prefix_that_is_not_there_that_its_keys_are_absent() -> None:
    page = Page(delimiter="/", versions={"d": "d"}, prefixes=("b/",))
    assert page.saw(["a/1", "b/1", "c", "d"]) == {"a/1": "", "c": "", "d": "d"}


def test_a_page_says_nothing_of_the_common_prefix_at_which_the_page_before_stopped() -> None:
    assert Page(delimiter="/", after="b/").saw(["b/1", "c/1"]) == {"c/1": ""}
    assert Page(delimiter="/", after="b/1").saw(["b/2", "c/1"]) == {"c/1": ""}


def test_a_page_tells_of_keys_that_nobody_knows() -> None:
    assert Page(versions={"stranger": "x"}).saw([]) == {"stranger": "x"}


def test_a_listing_that_hides_or_shows_wrongly_is_a_violation_of_that_key(clients: Clients) -> None:
    clients.put("a", key="a")
    clients.put("b", key="b")
    clients.delete()
    clients.put("d", key="d")
    clients.list_page(Page(versions={"a": "a", "k": "old"}, truncated=True), ["a", "b", "d", "k"])
    assert [violation.about for violation in during(clients.calls())] == ["b", "d", "k"]


# --- the end ---


def test_the_end_is_right_when_listing_and_grids_agree_with_what_happened(clients: Clients) -> None:
    clients.put("a", key="a")
    clients.put("b", UNKNOWN, key="b")
    clients.begin(Verb.PUT, key="c", wrote="c")
    listing = {"a": "a", "c": "c"}
    grids = {"one": {"a": "a", "c": "c"}, "two": {"a": "a"}}
    assert final(clients.calls(), listing, grids, lambda key: {"one", "two"} if key == "a" else {"one"}, at_s=9) == []


def test_the_end_tells_what_each_grid_has_wrong(clients: Clients) -> None:
    for key in "abc":
        clients.put(key, key=key)
    grids = {"one": {"a": "a", "b": "old", "d": "d"}}
    found = final(clients.calls(), {"a": "a", "b": "b", "c": "c"}, grids, lambda key: {"one"}, at_s=9)
    assert [(violation.about, violation.broken) for violation in found] == [
        ("b", Broken.DIFFERENT),
        ("c", Broken.MISSING),
        ("d", Broken.EXTRA),
    ]


def test_the_end_tells_what_the_listing_lost_kept_or_made_up(clients: Clients) -> None:
    clients.put("a", key="a")
    clients.put("b")
    clients.delete()
    found = final(clients.calls(), {"k": "b", "new": "n"}, {}, lambda key: set(), at_s=9)
    assert [(violation.about, violation.broken) for violation in found] == [
        ("a", Broken.LOST),
        ("k", Broken.RETURNED),
        ("new", Broken.TORN),
    ]


def test_a_gauge_above_its_limit_is_told_once_with_its_worst_moment() -> None:
    samples = [Sample(1, {"spool": 5}), Sample(2, {"spool": 11}), Sample(3, {"spool": 15, "queue": 1}), Sample(4, {})]
    found = bounds(samples, {"spool": 10, "queue": 1})
    assert [(violation.about, violation.why) for violation in found] == [
        ("spool", "above its limit of 10 from 2.000000 s, at worst 15 at 3.000000 s")
    ]


def test_the_calls_of_each_key_are_apart(clients: Clients) -> None:
    clients.put("a", key="a")
    clients.put("b", key="b")
    assert {key: [call.wrote for call in own] for key, own in by_key(clients.calls()).items()} == {
        "a": ["a"],
        "b": ["b"],
    }
