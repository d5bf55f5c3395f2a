"""What is asked of a server, as a table.

Answers for which requests make up a scenario and on which keys. It measures nothing. Invariant: scenarios that write use
keys that no other scenario reads, so that their order does not matter but where a row says `after`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import NamedTuple

from bench.asks import Account, Ask
from bench.load import once

SMALL = 4 * 1024
LARGE = 64 * 1024 * 1024
KEYS = 2000
BUCKET = "bench"
_FIRST = 1_000_003
"""Where the range of the huge object begins: not at the beginning of a block."""


class Size(NamedTuple):
    """How much is done."""

    seconds: float
    """Of each scenario that goes on as long as it may."""
    writes: int
    """Requests of each scenario on fresh keys, at many connections; an eighth of them at one."""
    huge: int
    """Bytes of the object that ranges are read from."""


class Stage:
    """The objects that the scenarios work on, at one server."""

    def __init__(self, account: Account, size: Size) -> None:
        self.account = account
        self.size = size
        self.turn = 0
        """Number of the round: part of the name of fresh keys."""
        seed = os.urandom(SMALL + KEYS)
        self.bodies = [seed[number : number + SMALL] for number in range(KEYS)]
        self.digests = [hashlib.sha256(body).hexdigest() for body in self.bodies]
        self.large = memoryview(os.urandom(LARGE))
        self.large_sha256 = hashlib.sha256(self.large).hexdigest()

    def prepare(self) -> None:
        """Put what the reading scenarios read. Raises WrongReply."""
        account, address = self.account, self.account.address
        once(address, account.create_bucket(BUCKET))
        for number, body in enumerate(self.bodies):
            once(address, account.put(self.key(number), body, self.digests[number]))
        once(address, account.put_large(f"/{BUCKET}/large", self.large, self.large_sha256))
        huge = memoryview(bytes(self.large) * (self.size.huge // LARGE))
        once(address, account.put_large(f"/{BUCKET}/huge", huge))

    def key(self, number: int) -> str:
        """The path of a small object that is read."""
        return f"/{BUCKET}/small/{number % 10}/object-{number:05}"

    def fresh(self, connections: int) -> list[list[tuple[str, int]]]:
        """Per connection, the paths that this round writes, and the number of the body of each."""
        count = self.writes(connections) // connections
        return [
            [
                (f"/{BUCKET}/fresh/{connections}/{self.turn}/{lane:03}/{number:06}", (lane * count + number) % KEYS)
                for number in range(count)
            ]
            for lane in range(connections)
        ]

    def writes(self, connections: int) -> int:
        """How many fresh keys a round writes over that many connections."""
        return self.size.writes if connections > 1 else self.size.writes // 8


Sources = list[Iterator[Ask]]


class Scenario(NamedTuple):
    """A row: `sources` builds one stream of requests per connection."""

    name: str
    connections: tuple[int, ...]
    sources: Callable[[Stage, int], Sources]
    writes: bool = False
    """Leaves debts: what paying them costs is measured too."""
    endless: bool = True
    """Goes on until the time is over; otherwise until the requests are used up."""
    after: str = ""
    """The scenario that must have run before, in the same round and with as many connections."""


def _over_keys(ask: Callable[[Stage, int], Ask]) -> Callable[[Stage, int], Sources]:
    """Every connection walks over all small objects, each beginning elsewhere."""

    def sources(stage: Stage, connections: int) -> Sources:
        asks = [ask(stage, number) for number in range(KEYS)]
        step = KEYS // connections
        return [islice(cycle(asks), lane * step, None) for lane in range(connections)]

    return sources


def _one_each(ask: Callable[[Stage, int], Ask]) -> Callable[[Stage, int], Sources]:
    """Every connection repeats one request of its own."""

    def sources(stage: Stage, connections: int) -> Sources:
        return [cycle([ask(stage, lane)]) for lane in range(connections)]

    return sources


def _on_fresh(ask: Callable[[Stage, str, int], Ask]) -> Callable[[Stage, int], Sources]:
    def sources(stage: Stage, connections: int) -> Sources:
        return [iter([ask(stage, path, body) for path, body in lane]) for lane in stage.fresh(connections)]

    return sources


def _put(stage: Stage, path: str, body: int) -> Ask:
    return stage.account.put(path, stage.bodies[body], stage.digests[body])


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("GET 4 KiB", (1, 16, 64), _over_keys(lambda stage, n: stage.account.get(stage.key(n), stage.bodies[n]))),
    Scenario(
        "GET 4 KiB presigned",
        (16,),
        _over_keys(lambda stage, n: stage.account.get_presigned(stage.key(n), stage.bodies[n])),
    ),
    Scenario("HEAD", (16,), _over_keys(lambda stage, n: stage.account.head(stage.key(n), SMALL))),
    Scenario("LIST 1000 keys", (1, 16), _one_each(lambda stage, _: stage.account.list_objects(BUCKET, "small/", 1000))),
    Scenario("PUT 4 KiB", (1, 16, 64), _on_fresh(_put), writes=True, endless=False),
    Scenario(
        "DELETE",
        (16,),
        _on_fresh(lambda stage, path, _: stage.account.delete(path)),
        writes=True,
        endless=False,
        after="PUT 4 KiB",
    ),
    Scenario("GET 64 MiB", (1, 4), _one_each(lambda stage, _: stage.account.get_large(f"/{BUCKET}/large", LARGE))),
    Scenario(
        "GET range of 1 GiB",
        (1,),
        _one_each(lambda stage, _: stage.account.get_range(f"/{BUCKET}/huge", _FIRST, stage.size.huge - 2)),
    ),
    Scenario(
        "PUT 64 MiB",
        (1, 2),
        _one_each(lambda stage, lane: stage.account.put_large(f"/{BUCKET}/put-{lane}", stage.large)),
        writes=True,
    ),
    Scenario(
        "PUT 64 MiB sha256",
        (1, 2),
        _one_each(
            lambda stage, lane: stage.account.put_large(f"/{BUCKET}/put-{lane}", stage.large, stage.large_sha256)
        ),
        writes=True,
    ),
)

FLOOR = Scenario(
    "bare reply of 4 KiB",
    (16,),
    _over_keys(lambda stage, n: Ask(stage.account.signed("GET", stage.key(n)), 200, size=SMALL)),
)
