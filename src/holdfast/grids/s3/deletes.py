"""Deletions of one grid, many in a request where the vendor takes that.

Answers for each caller's own outcome. A deletion that comes while no other is under way is a DELETE at once. While one is, those that come within
S3_GATHER_S of the first become one DeleteObjects; a request that hangs holds up nobody else. What a caller that left had
asked for is dropped until its request is sent, and a request is cut off when its last caller left. It repeats nothing
that may have been done. Invariant: a deletion succeeds only when an answer says so of exactly its key.
Amazon S3 API Reference, DeleteObjects.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from holdfast.clock import Clock
from holdfast.errors import GridError, Refused, Unavailable, Uncertain
from holdfast.events import Noted, Teller
from holdfast.grids.identity import Identity
from holdfast.grids.s3.location import Spot
from holdfast.grids.s3.replies import Asked, error_of, late, reply_tree
from holdfast.grids.s3.requests import Request, Requester
from holdfast.limits import S3_GATHER_S
from holdfast.model import Place
from holdfast.xml import Element, document, element

_AMBIGUOUS: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\ud800-\udfff\ufffe\uffff]|^\\s|\\s$|\\s\\s")
"""Names that XML 1.0 cannot hold, or whose blanks a careless parser changes: it would delete another object."""
_UNABLE: Final = frozenset({"NotImplemented", "MethodNotAllowed", "MalformedXML"})
"""Codes by which a server says that it does not take the request at all."""


class _Singly:
    """The outcome of a deletion that was not made: do it alone."""


_SINGLY: Final = _Singly()
_Outcome = GridError | _Singly | None


class _Batch:
    """Deletions for one request."""

    __slots__ = ("callers", "task")

    def __init__(self) -> None:
        self.callers: dict[str, list[tuple[Place, asyncio.Future[_Outcome]]]] = {}
        """By name. Empties when everybody leaves."""
        self.task: asyncio.Task[None] | None = None

    @property
    def told(self) -> bool:
        """Everybody who still waits has an outcome."""
        return all(future.done() for callers in self.callers.values() for _, future in callers)

    def tell(self, name: str, judge: Callable[[Place], _Outcome]) -> None:
        """Give those who wait for this name their outcome, unless they have one."""
        for place, future in self.callers.get(name, ()):
            if not future.done():
                future.set_result(judge(place))

    def tell_all(self, judge: Callable[[Place], _Outcome]) -> None:
        for name in self.callers:
            self.tell(name, judge)

    def leave(self, name: str, place: Place, future: asyncio.Future[_Outcome]) -> None:
        """A caller does not wait any more. The last one ends the request."""
        left = [one for one in self.callers[name] if one[1] is not future]
        if left:
            self.callers[name] = left
        else:
            del self.callers[name]
        if not self.callers and self.task is not None:
            self.task.cancel()


class Deletes:
    """Deletions at one grid. Before each request its identity is asked whether it is the right place and ours."""

    def __init__(self, grid: str, requester: Requester, identity: Identity, *, clock: Clock, teller: Teller) -> None:
        self._grid = grid
        self._requester = requester
        self._identity = identity
        self._clock = clock
        self._teller = teller
        self._under_way: Counter[str] = Counter()
        """Requests by bucket."""
        self._gathering: dict[str, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        quirks = requester.quirks
        self._most = quirks.batch_delete or 0 if quirks.digest != "none" else 0
        """Keys of one request. S3 wants a digest of its body."""

    async def delete(self, asked: Asked, spot: Spot) -> None:
        """Make sure that nothing is there. Raises GridError."""
        if self._most > 1 and self._under_way[spot.bucket] and not _AMBIGUOUS.search(spot.key):
            outcome = await self._together(asked.place, spot)
            if isinstance(outcome, GridError):
                raise outcome
            if outcome is None:
                return
        with self._one_more(spot.bucket):
            await self._ready()
            await self._requester.ask(asked, Request("DELETE", spot))

    def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()

    # --- together ---

    async def _together(self, place: Place, spot: Spot) -> _Outcome:
        batch = self._gathering.get(spot.bucket)
        if batch is None or len(batch.callers) >= self._most:
            batch = self._gathering[spot.bucket] = _Batch()
            batch.task = asyncio.create_task(self._carry_out(batch, spot.bucket))
            self._tasks.add(batch.task)
            # A task that is cancelled before its first step never runs, so its callers are told from outside.
            batch.task.add_done_callback(partial(self._ended, batch, spot.bucket))
        future: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        batch.callers.setdefault(spot.key, []).append((place, future))
        try:
            return await future
        except asyncio.CancelledError:
            batch.leave(spot.key, place, future)
            if not batch.callers:
                self._forget(batch, spot.bucket)
            raise

    async def _carry_out(self, batch: _Batch, bucket: str) -> None:
        with self._one_more(bucket):
            await self._clock.sleep(S3_GATHER_S)
            self._forget(batch, bucket)
            if len(batch.callers) == 1:
                batch.tell_all(lambda _: _SINGLY)
            else:
                await self._send(batch, bucket)

    def _ended(self, batch: _Batch, bucket: str, task: asyncio.Task[None]) -> None:
        """Nobody is left waiting, however it ended."""
        self._tasks.discard(task)
        self._forget(batch, bucket)
        batch.tell_all(lambda place: self._uncertain(place, "the request was given up"))

    async def _send(self, batch: _Batch, bucket: str) -> None:
        asked = Asked(self._grid, "delete", Place("", ""), bucket, True)
        request = Request("POST", Spot(bucket, ""), (("delete", ""),), {"content-type": "application/xml"})
        try:
            await self._ready()
            objects = "".join(f"<Object>{element('Key', name)}</Object>" for name in batch.callers)
            content = document("Delete", objects + element("Quiet", "false"))
            headers, body = await self._requester.ask(asked, request, content, fine=_UNABLE)
            code = error_of(body)[0]
            if code in _UNABLE:
                self._alone(batch, code)
            else:
                self._judge(
                    batch, bucket, reply_tree(asked, body, headers, "DeleteResult", now_ms=self._clock.now_ms())
                )
        except Refused as refused:
            # An answer that names no key says nothing of any, least of all that it is not there.
            self._alone(batch, refused.detail)
        except GridError as trouble:
            whole = trouble
            batch.tell_all(lambda place: _for(place, whole))

    def _judge(self, batch: _Batch, bucket: str, tree: Element) -> None:
        """Give each caller what the reply says of its key, errors first."""
        for failed in tree.all("Error"):
            batch.tell(failed.get("Key") or "", partial(self._late, failed, bucket))
        for deleted in tree.all("Deleted"):
            batch.tell(deleted.get("Key") or "", lambda _: None)
        if not batch.told:
            detail = "the reply to a batch does not name it"
            self._stop_gathering(detail)
            batch.tell_all(lambda place: self._uncertain(place, detail))

    def _alone(self, batch: _Batch, reason: str) -> None:
        """The server did nothing, and would not the next time either."""
        self._stop_gathering(reason)
        batch.tell_all(lambda _: _SINGLY)

    def _stop_gathering(self, reason: str) -> None:
        if self._most:
            self._most = 0
            told = "the provider does not do DeleteObjects as it should: deleting one by one until the next start"
            self._teller.tell(Noted(told, {"grid": self._grid, "reason": reason}))

    # --- within ---

    async def _ready(self) -> None:
        await self._identity.claim()
        await self._identity.confirm()

    def _forget(self, batch: _Batch, bucket: str) -> None:
        """Nobody joins it any more."""
        if self._gathering.get(bucket) is batch:
            del self._gathering[bucket]

    @contextmanager
    def _one_more(self, bucket: str) -> Iterator[None]:
        self._under_way[bucket] += 1
        try:
            yield
        finally:
            self._under_way[bucket] -= 1
            if not self._under_way[bucket]:
                del self._under_way[bucket]

    def _late(self, failed: Element, bucket: str, place: Place) -> GridError:
        """The error of one key."""
        return late(Asked(self._grid, "delete", place, bucket, True), failed, {}, now_ms=self._clock.now_ms())

    def _uncertain(self, place: Place, detail: str) -> Uncertain:
        return Uncertain(self._grid, "delete", detail, bucket=place.bucket, key=place.key)


def _for(place: Place, trouble: GridError) -> GridError:
    """The error of a whole request, as one of its callers is told it."""
    where = (trouble.grid, trouble.operation, trouble.detail)
    if isinstance(trouble, Unavailable):
        told: GridError = type(trouble)(
            *where, bucket=place.bucket, key=place.key,
            retry_after_s=trouble.retry_after_s, shielded=trouble.shielded, lasting=trouble.lasting,
        )  # fmt: skip
    else:
        told = type(trouble)(*where, bucket=place.bucket, key=place.key)
    told.__cause__ = trouble
    return told
