"""The storage systems of a simulation: places in memory that all nodes share, far away, each with faults of its own.

Answers for the way there and back (a node that dies in between has acted, or has not), for replies that show an older state, and
for keys that are out of reach. What else goes wrong is `FaultGrid`. It never decides what is right.
Invariant: without faults each place is the reference model, only slower.
"""

import asyncio
import copy
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

from holdfast.clock import Clock
from holdfast.errors import Unavailable
from holdfast.grids.grid import Download, Grid, Held, Label, Source, Staged
from holdfast.grids.memory import MemoryGrid
from holdfast.model import Place, Span
from holdfast.testing.faults import Fault, FaultGrid
from holdfast.testing.simulation.life import living

T = TypeVar("T")

_BYTES_PER_S: Final = 50e6
_KEYS: Final = 10_000
"""Keys are out of reach by shares of this."""
Tell = Callable[[str], None]


class Provider:
    """One storage system, seen by all nodes alike: what it holds, what it shows, and the faults of each node's way to it."""

    def __init__(self, name: str, dice: random.Random, tell: Tell) -> None:
        self.name = name
        self.memory = MemoryGrid(name)
        self.dice = dice
        self.tell = tell
        self.latency_s = 0.004 + 0.03 * dice.random()
        self.unreachable = 0.0
        """The share of keys that nobody can read or write."""
        self.sent: set[asyncio.Task[Any]] = set()
        """Changes on their way, which happen whatever becomes of whoever asked for them."""
        self._shown: MemoryGrid | None = None
        self._faults: dict[tuple[str, tuple[str, ...]], Fault] = {}
        self._ways: dict[str, FaultGrid] = {}
        self._former: list[FaultGrid] = []
        """Of nodes that are dead: what they asked for may still be on its way."""

    @property
    def shown(self) -> MemoryGrid:
        """What readers see."""
        return self._shown or self.memory

    def lag(self) -> None:
        """From now on readers see what was there now, whatever changes."""
        self._shown = copy.deepcopy(self.memory)

    def way(self, node: str, clock: Clock) -> FaultGrid:
        """How a node that starts now reaches it; what fails for its predecessor fails for it."""
        if node in self._ways:
            self._former.append(self._ways[node])
        way = self._ways[node] = FaultGrid(Remote(self, node), clock=clock)
        for (whose, operations), fault in self._faults.items():
            if whose in ("", node):
                way.inject(fault, *operations)
        return way

    def inject(self, fault: Fault, operations: tuple[str, ...], node: str = "") -> None:
        """Let it fail so, for one node or for all (none named)."""
        self._faults[node, operations] = fault
        for name, way in self._ways.items():
            if node in ("", name):
                way.inject(fault, *operations)

    async def heal(self, late_s: float) -> None:
        """Everything is well, and what was late for less than this happens after all."""
        self._faults.clear()
        self._shown = None
        self.unreachable = 0.0
        for way in self._ways.values():
            way.heal()
        await self.land(late_s)

    def received(self, sent: "asyncio.Task[Any]") -> None:
        """A change has happened, or was refused."""
        self.sent.discard(sent)
        sent.exception()  # Seen, also when nobody waits for it any more.

    async def land(self, late_s: float) -> None:
        """What was late for less than this happens now, whether or not who asked for it still lives."""
        for way in (*self._former, *self._ways.values()):
            await way.land(late_s)
        self._former.clear()

    def places(self) -> list[tuple[Place, int]]:
        """Every object that it holds, with its size."""
        return [
            (Place(bucket, key), len(found.data))
            for bucket, objects in sorted(self.memory._buckets.items())
            for key, found in sorted(objects.items())
        ]

    def holds(self, key: str, body: bytes) -> bool:
        """Whether a key has these bytes there, in any bucket."""
        return any(key in objects and objects[key].data == body for objects in self.memory._buckets.values())

    def etag(self, place: Place) -> str:
        """Of what it holds there, past its faults; "" of nothing."""
        found = self.memory._buckets.get(place.bucket, {}).get(place.key)
        return found.etag if found is not None else ""

    def refuses(self, place: Place) -> bool:
        """Whether this key is out of reach."""
        return zlib.crc32(place.key.encode("utf-8", "surrogatepass")) % _KEYS < self.unreachable * _KEYS

    async def content(self) -> dict[tuple[str, str], bytes]:
        """All that it holds, past its faults."""
        found: dict[tuple[str, str], bytes] = {}
        for bucket in list(self.memory._buckets):
            found |= await content_of(self.memory, bucket)
        return found


async def content_of(grid: Grid, bucket: str) -> dict[tuple[str, str], bytes]:
    """All that a grid holds of a bucket, by bucket and key."""
    found: dict[tuple[str, str], bytes] = {}
    for held in await grid.list(bucket, limit=1_000_000):
        download = await grid.get(Place(bucket, held.key))
        found[bucket, held.key] = b"".join([piece async for piece in download.stream()])
        await download.close()
    return found


class Remote:
    """A provider as one node reaches it."""

    def __init__(self, provider: Provider, node: str) -> None:
        self._provider = provider
        self._node = node
        self.name = provider.name
        self.capabilities = provider.memory.capabilities

    async def _travel(self, size_bytes: int = 0) -> None:
        provider = self._provider
        await asyncio.sleep(provider.latency_s * (0.5 + provider.dice.random() ** 3 * 3) + size_bytes / _BYTES_PER_S)

    async def _go(self, operation: str, place: Place, size_bytes: int = 0) -> MemoryGrid:
        await self._travel(size_bytes)
        if self._provider.refuses(place) and operation not in ("attach", "list"):
            raise Unavailable(
                self.name, operation, "simulated: this key is out of reach", bucket=place.bucket, key=place.key
            )
        self._provider.tell(f"{self._node} {operation} {self.name} {place.bucket}/{place.key}")
        return self._provider.memory

    async def _change(self, operation: str, place: Place, act: Callable[[MemoryGrid], Awaitable[T]]) -> T:
        """A change that may happen although whoever asked for it gave up, or died."""

        async def arrive() -> T:
            return await act(await self._go(operation, place))

        if self._provider.dice.random() < 0.5:
            done = await arrive()
        else:
            with living(None):
                sent = asyncio.create_task(arrive())
            self._provider.sent.add(sent)
            sent.add_done_callback(self._provider.received)
            done = await asyncio.shield(sent)
        await self._travel()
        return done

    async def attach(self, known: str) -> str:
        identity = await (await self._go("attach", Place("", ""))).attach(known)
        await self._travel()
        return identity

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        memory = await self._go("stage", place, source.size)
        staged = await memory.stage(place, source, label)
        await self._travel()
        return staged

    async def publish(self, staged: Staged) -> str:
        return await self._change("publish", staged.place, lambda memory: memory.publish(staged))

    async def discard(self, staged: Staged) -> None:
        await (await self._go("discard", staged.place)).discard(staged)

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        await self._go("get", place)
        download = await self._provider.shown.get(place, span=span, if_match=if_match)
        await self._travel()
        return _Slow(download, self._travel)

    async def head(self, place: Place) -> Held:
        await self._go("head", place)
        held = await self._provider.shown.head(place)
        await self._travel()
        return held

    async def delete(self, place: Place) -> None:
        await self._change("delete", place, lambda memory: memory.delete(place))

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        await self._go("list", Place(bucket, prefix))
        page = await self._provider.shown.list(bucket, prefix=prefix, after=after, limit=limit)
        await self._travel()
        return page

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        return await self._change(
            "copy", target, lambda memory: memory.copy(source, target, if_match=if_match, label=label)
        )

    async def close(self) -> None:
        """Nothing to let go of."""


class _Slow:
    """A body that takes its time."""

    def __init__(self, inner: Download, travel: Callable[..., object]) -> None:
        self._inner = inner
        self._travel = travel
        self.etag = inner.etag
        self.size = inner.size

    async def stream(self) -> AsyncIterator[bytes]:
        async for piece in self._inner.stream():
            await asyncio.sleep(len(piece) / _BYTES_PER_S)
            yield piece

    async def close(self) -> None:
        await self._inner.close()
