"""What the clients of a run did and saw: the only evidence that the checkers accept.

Pure: whoever runs the clients says when (in seconds of the run's own clock). One invariant: `number` and `ended`
come from one count of all beginnings and ends, in the order in which they happened, so "ended before it began"
is exact even when many things happen at the same instant of a virtual clock.
"""

import enum
import math
from collections.abc import Iterable, Mapping

from holdfast.model import Value, replace

NEVER = (1 << 63) - 1
"""The place of an end that did not come."""


class Verb(str, enum.Enum):
    """What was asked for. A retry is a call of its own."""

    PUT = "PUT"
    COPY = "COPY"
    """A write to the key it goes to; the source is pinned by its etag, else nobody knows what an unanswered copy writes."""
    COMPLETE = "COMPLETE"
    """A multipart upload becomes an object: one write of the whole."""
    DELETE = "DELETE"
    GET = "GET"
    HEAD = "HEAD"
    LIST = "LIST"

    @property
    def writes(self) -> bool:
        return self not in (Verb.GET, Verb.HEAD, Verb.LIST)


class Outcome(str, enum.Enum):
    """How a call ended for the client."""

    OK = "ok"
    REFUSED = "refused"
    """The answer was that the call's condition did not hold; nothing was done."""
    UNKNOWN = "unknown"
    """An error, a broken connection, a client or a node that died: it may have happened, or may yet, at most once."""


class Call(Value, frozen=True):
    """One call and one key. What an unanswered read would have seen says nothing, so it is not a call."""

    number: int
    """Its beginning's place among all beginnings and ends of the run; names the call."""
    ended: int
    """Its end's place among them, or NEVER."""
    client: int
    node: int
    verb: Verb
    key: str
    """With the bucket where there are several."""
    began_s: float
    ended_s: float
    """math.inf when it never ended."""
    outcome: Outcome
    wrote: str = ""
    """For writes: the etag of what it leaves, "" when it leaves nothing."""
    saw: str | None = None
    """For reads that were answered: the etag of what was seen (of a body: of the bytes that came), "" for absent."""
    only_if: str | None = None
    """If-Match: that etag. If-None-Match: *: "". None is unconditional."""


class History:
    """Grows while a run goes on: `begin` a call, then `end` it, or leave it open when nobody heard the answer."""

    def __init__(self) -> None:
        self._events = 0
        self._open: dict[int, Call] = {}
        self._ended: list[Call] = []

    def begin(
        self,
        verb: Verb,
        key: str,
        *,
        client: int,
        node: int,
        at_s: float,
        wrote: str = "",
        only_if: str | None = None,
    ) -> Call:
        """A call leaves its client. The key of a LIST is ignored."""
        call = Call(
            number=self._next(),
            ended=NEVER,
            client=client,
            node=node,
            verb=verb,
            key=key,
            began_s=at_s,
            ended_s=math.inf,
            outcome=Outcome.UNKNOWN,
            wrote=wrote,
            only_if=only_if,
        )
        self._open[call.number] = call
        return call

    def end(self, call: Call, outcome: Outcome, *, at_s: float, saw: str | None = None) -> None:
        """The client has its answer, or knows that there will be none. Raises KeyError when it ended already."""
        self._end(self._open.pop(call.number), outcome, at_s, saw)

    def drop(self, call: Call) -> None:
        """The answer was that nothing was done, and not because of its condition: as if it had never been asked."""
        del self._open[call.number]

    def end_list(self, call: Call, saw: Mapping[str, str], *, at_s: float) -> None:
        """A LIST was answered: `saw` is what it says of each key it says anything of ("" is absent; see `Page`)."""
        asked = self._open.pop(call.number)
        ended = self._next()
        for key, etag in sorted(saw.items()):
            self._ended.append(replace(asked, key=key, outcome=Outcome.OK, ended=ended, ended_s=at_s, saw=etag))

    def calls(self) -> list[Call]:
        """All evidence so far, in the order of beginnings; writes without an answer are UNKNOWN."""
        waiting = (call for call in self._open.values() if call.verb.writes)
        return sorted([*self._ended, *waiting], key=lambda call: (call.number, call.key))

    def _end(self, call: Call, outcome: Outcome, at_s: float, saw: str | None) -> None:
        ended = self._next()
        if call.verb.writes or outcome is not Outcome.UNKNOWN:
            self._ended.append(replace(call, outcome=outcome, ended=ended, ended_s=at_s, saw=saw))

    def _next(self) -> int:
        self._events += 1
        return self._events


class Page(Value, frozen=True):
    """One answer to a LIST: which keys it speaks of, and what it says of each."""

    prefix: str = ""
    after: str = ""
    """Only keys above this; a common prefix when the page before ended with one."""
    delimiter: str = ""
    versions: dict[str, str] = {}
    """Listed keys with their etags."""
    prefixes: tuple[str, ...] = ()
    """Listed common prefixes."""
    truncated: bool = False
    """Whether nothing is said about what comes after the last entry."""

    def saw(self, keys: Iterable[str]) -> dict[str, str]:
        """What the page says of those of `keys` that it speaks of: etag, or "" for absent. Listed strangers are told, too."""
        last = max([*self.versions, *self.prefixes], default="")
        said = {key: "" for key in keys if self._speaks_of(key, last)}
        return {**said, **self.versions}

    def _speaks_of(self, key: str, last: str) -> bool:
        """Not of keys beyond its range, nor of one key among those that share a listed common prefix."""
        if not key.startswith(self.prefix) or key <= self.after or (self.truncated and key > last):
            return False
        cut = key.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        if cut < 0:
            return True
        rolled = key[: cut + len(self.delimiter)]
        return rolled not in self.prefixes and not self.after.startswith(rolled)


def by_key(calls: Iterable[Call]) -> dict[str, list[Call]]:
    """The calls of each key, in their order."""
    found: dict[str, list[Call]] = {}
    for call in calls:
        found.setdefault(call.key, []).append(call)
    return found
