"""Blocks of bodies on this machine's disk, so that what is read often needs no grid. Evictable: nothing here is ever the only copy.

Answers for bringing verified blocks here, giving them back verified, and staying within a limit. It never decides which
version is current, never delays a request for its own sake, and never fails one: whatever goes wrong, the block comes from a
grid. Trouble with the directory turns it off, which is told once; it is tried again every CACHE_RETRY_S.

Several workers have a directory each and an equal share of the limit, and read each other's blocks. Invariant: the blocks of a
share never take more than its limit. All changes of a share are made by one thread in the order in which they were
decided, and what must go goes before what comes.
"""

import asyncio
import contextlib
import enum
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from holdfast.cache.files import Lost, Share
from holdfast.cache.shelf import Shelf
from holdfast.clock import Clock
from holdfast.crew import Crew, CrewFull
from holdfast.events import CacheAsked, CacheEvicted, CacheMoved, CacheOffered, Teller
from holdfast.limits import (
    CACHE_AGE_LOOK_S,
    CACHE_DEADLINE_S,
    CACHE_FILES,
    CACHE_LOOK_S,
    CACHE_QUEUE_BYTES,
    CACHE_RETRY_S,
    CACHE_SLICE,
    CACHE_THREADS,
    CACHE_WAITING,
)

P = ParamSpec("P")
R = TypeVar("R")


class State(enum.Enum):
    """Whether blocks are to be had."""

    OPENING = "opening"
    """What is here is not known yet: it is looked for in the directory, and nothing is brought in."""
    ON = "on"
    OFF = "off"


class Cache:
    """One worker's share of the cache, and a view of the others'. It has the shape of a keeper, whose step tends it."""

    name = "cache"

    def __init__(
        self,
        root: Path,
        *,
        size_bytes: int,
        age_s: float,
        local: bool,
        clock: Clock,
        teller: Teller,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        self.wake = asyncio.Event()
        self.local = local
        """True when bytes that a grid on this machine has are kept, too."""
        self.state = State.OPENING
        self.reason = ""
        """Why it is off."""
        self._age_s = age_s
        self._clock = clock
        self._teller = teller
        self._worker = worker
        self._workers = workers
        self._most_bytes = size_bytes // workers
        self._share = Share(root, worker=worker, workers=workers)
        self._shelf = Shelf(limit_bytes=0, most=0)
        self._readers = Crew("cache", size=CACHE_THREADS, waiting=CACHE_WAITING)
        self._writer = Crew("cache fill", size=1, waiting=CACHE_WAITING)
        self._coming: dict[str, bytes] = {}
        """Blocks that were taken in and are not on the disk yet."""
        self._coming_bytes = 0
        self._answered_s = float("-inf")
        self._retry_s = float("-inf")
        self._aged_s = float("-inf")

    # --- for requests ---

    @property
    def on(self) -> bool:
        """False when nothing is to be had here."""
        return self.state is not State.OFF

    async def locate(self, names: Sequence[str], *, count: bool = True) -> list[int | None]:
        """The share in which each block lies; None for those that are not here.

        With `count`, those that are here are worth more from now on.
        """
        shelf = self._shelf
        here: list[int | None] = [
            self._worker if (shelf.ask(name) if count else name in shelf) else None for name in names
        ]
        others = [share for share in range(self._workers) if share != self._worker or self.state is State.OPENING]
        if others and None in here:
            missing = [at for at, share in enumerate(here) if share is None]
            looking = self._begin(self._share.find, [names[at] for at in missing], others)
            for at, share in zip(missing, await self._answer(looking) or (), strict=False):
                here[at] = share
        return here

    def begin(self, name: str, share: int) -> "asyncio.Future[bytes | Lost] | None":
        """Begin to read a block that was located; `finish` has its bytes."""
        if name not in self._coming:
            return self._begin(self._share.read, name, share)
        there: asyncio.Future[bytes | Lost] = asyncio.get_running_loop().create_future()
        there.set_result(self._coming[name])
        return there

    async def finish(self, name: str, share: int, reading: "asyncio.Future[bytes | Lost] | None") -> bytes | None:
        """The bytes of a block, verified; None when they are not to be had after all."""
        data = await self._answer(reading)
        if not isinstance(data, Lost):
            return data
        if data is Lost.DAMAGED:
            self._teller.tell(CacheEvicted("damaged", 1))
        if share == self._worker:
            self._shelf.remove(name)
        if share == self._worker or data is not Lost.GONE:
            # Of ours also what is gone, since it may have come back meanwhile: what is not on the shelf must not be on the disk.
            # Another worker believes to have it still, until it finds out as well.
            self._change("", b"", [name], share)
        return None

    def offer(self, name: str, data: bytes) -> None:
        """Here is a verified block that a grid gave: keep it if it is worth it. Returns at once."""
        if self.state is not State.ON or name in self._shelf:
            return
        if self._coming_bytes + len(data) > CACHE_QUEUE_BYTES or len(self._coming) >= CACHE_WAITING // 2:
            self._teller.tell(CacheOffered("dropped"))
            return
        gone = self._shelf.admit(name, len(data), born_s=self._now_s())
        if gone is None:
            self._teller.tell(CacheOffered("rejected"))
            return
        self._teller.tell(CacheOffered("admitted"))
        self._coming[name] = data
        self._coming_bytes += len(data)
        self._evicted("room", gone)
        self._change(name, data, gone, self._worker)

    def asked(self, *, hits: int, misses: int, hit_bytes: int) -> None:
        """A read ended, for which so many blocks came from here and so many did not."""
        self._teller.tell(CacheAsked(hits, misses, hit_bytes))

    def gauges(self) -> dict[str, float]:
        """How full it is, for the metrics."""
        return {
            "holdfast_cache_on": float(self.state is State.ON),
            "holdfast_cache_bytes": self._shelf.used_bytes,
            "holdfast_cache_limit_bytes": self._shelf.limit_bytes,
            "holdfast_cache_blocks": len(self._shelf),
        }

    # --- for the supervisor ---

    async def step(self) -> float:
        """Open it, or look whether it is still what it should be; return the pause until the next look."""
        if self.state is State.ON:
            await self._tend()
        elif self._clock.monotonic_s() >= self._retry_s:
            await self._open()
        return CACHE_LOOK_S

    async def close(self) -> None:
        """Write what was taken in, unless the disk is silent, and let another server have the share."""
        with contextlib.suppress(OSError, CrewFull, TimeoutError):
            async with asyncio.timeout(CACHE_DEADLINE_S):
                await self._writer.do(self._share.close)
        self._readers.close()
        self._writer.close()

    async def _open(self) -> None:
        """Take note of what is here. Its size is in its name, so nothing is read."""
        try:
            found = await self._writer.do(self._share.open)
            free_bytes = await self._writer.do(self._share.free_bytes)
        except (OSError, CrewFull) as trouble:
            self._turn_off(trouble)
            return
        shelf = Shelf(limit_bytes=self._most_bytes, most=CACHE_FILES)
        for start in range(0, len(found), CACHE_SLICE):
            for name, size_bytes, written_s in found[start : start + CACHE_SLICE]:
                shelf.restore(name, size_bytes, born_s=written_s)
            await asyncio.sleep(0)
        self._shelf = shelf
        self._resize(free_bytes)
        self.state, self.reason = State.ON, ""
        self._teller.tell(CacheMoved(True, "", blocks=len(shelf), size_bytes=shelf.used_bytes))

    async def _tend(self) -> None:
        try:
            self._resize(await self._writer.do(self._share.free_bytes))
        except (OSError, CrewFull) as trouble:
            self._turn_off(trouble)
            return
        now_s = self._clock.monotonic_s()
        if now_s - self._aged_s >= CACHE_AGE_LOOK_S:
            self._aged_s = now_s
            await self._forget_old()

    def _resize(self, free_bytes: int) -> None:
        """The cache never takes more than it leaves free on its file system, so it makes way for the spool and the index.

        With every worker at the same: used + change = (free - workers * change) / workers.
        """
        fair_bytes = (self._shelf.used_bytes + free_bytes // self._workers) // 2
        gone = self._shelf.shrink(min(self._most_bytes, fair_bytes))
        self._evicted("room", gone)
        if gone:
            self._change("", b"", gone, self._worker)

    async def _forget_old(self) -> None:
        shelf, before_s = self._shelf, self._now_s() - int(self._age_s)
        names = shelf.names()
        for start in range(0, len(names), CACHE_SLICE):
            old = [name for name in names[start : start + CACHE_SLICE] if shelf.is_older(name, before_s)]
            for name in old:
                shelf.remove(name)
            self._evicted("age", old)
            if old:
                self._change("", b"", old, self._worker)
            await asyncio.sleep(0)

    def _turn_off(self, trouble: Exception) -> None:
        reason = str(trouble)
        if isinstance(trouble, OSError) and trouble.strerror:
            reason = f"{trouble.filename}: {trouble.strerror}" if trouble.filename else trouble.strerror
        if self.state is not State.OFF:
            self._teller.tell(CacheMoved(False, reason))
        self.state, self.reason = State.OFF, reason
        self._shelf = Shelf(limit_bytes=0, most=0)
        self._retry_s = self._clock.monotonic_s() + CACHE_RETRY_S

    # --- threads ---

    def _begin(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[R] | None":
        """Have a thread read; None when too much waits for that."""
        try:
            return self._readers.submit(work, *args, **kwargs)
        except CrewFull:
            return None

    async def _answer(self, reading: "asyncio.Future[R] | None") -> R | None:
        """What a thread read; None when that takes too long."""
        if reading is None:
            return None
        try:
            async with asyncio.timeout(CACHE_DEADLINE_S):
                answer = await reading
        except TimeoutError:
            if self._clock.monotonic_s() - self._answered_s >= CACHE_DEADLINE_S and self.on:
                self._turn_off(TimeoutError("its disk does not answer"))
            return None
        self._answered_s = self._clock.monotonic_s()
        return answer

    def _change(self, name: str, data: bytes, gone: Sequence[str], share: int) -> None:
        """Have the writer remove blocks of a share, and write one if it has a name."""
        try:
            if name:
                changing = self._writer.submit(self._share.put, name, data, gone)
            else:
                changing = self._writer.submit(self._share.drop, gone, share)
        except CrewFull as trouble:
            self._turn_off(trouble)
            return
        changing.add_done_callback(partial(self._changed, name, data))

    def _changed(self, name: str, data: bytes, changing: "asyncio.Future[None]") -> None:
        self._coming_bytes -= len(data)
        if self._coming.get(name) is data:
            del self._coming[name]
        if not changing.cancelled() and (trouble := changing.exception()) is not None:
            # What is there now is found out when it is opened again.
            self._turn_off(trouble if isinstance(trouble, Exception) else RuntimeError(repr(trouble)))

    def _evicted(self, reason: str, names: Sequence[str]) -> None:
        if names:
            self._teller.tell(CacheEvicted(reason, len(names)))

    def _now_s(self) -> int:
        return self._clock.now_ms() // 1000
