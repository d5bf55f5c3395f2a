"""Server access logs: lines are collected as requests end, and delivered as objects.

Answers for: requests of buckets without logging cost one look into a dictionary; those of others a line in memory. Lines are put
into the target bucket by the store itself, like any PUT, every `interval_s`, when they are many, and at an orderly stop. A
process that dies loses what it had not delivered: the last `interval_s` at most, as with Amazon S3 logs are no promise.
Invariant: at most JOURNAL_BYTES of lines wait in a process; those beyond are dropped, counted and told.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.events import AccessLogged, Event, RequestEnded, Teller
from holdfast.index.interface import CommitUnknown, Index
from holdfast.limits import (
    GATHER_BYTES,
    JOURNAL_BYTES,
    JOURNAL_CLOSE_S,
    JOURNAL_LOOK_S,
    JOURNAL_OBJECT_BYTES,
    KEY_BYTES,
)
from holdfast.model import Checksum, Facts
from holdfast.s3 import Body, ObjectDeleted, ObjectGot, ObjectPut, PutObject
from holdfast.s3.logging import EVENT_TIME, Logging
from holdfast.s3.settings import setting
from holdfast.serve.journal.line import Record, Source, key_of, render

_DAY_MS: Final = 24 * 3600 * 1000
_FACTS: Final = Facts({"content-type": "text/plain"})


class Puts(Protocol):
    """Whoever keeps the objects."""

    async def put_object(self, ask: PutObject, body: Body) -> ObjectPut: ...


class Lines:
    """A log object's body."""

    def __init__(self, data: bytes) -> None:
        self._pieces = iter([data[at : at + GATHER_BYTES] for at in range(0, len(data), GATHER_BYTES)])
        self._size = len(data)

    @property
    def size(self) -> int | None:
        return self._size

    async def read(self) -> bytes:
        return next(self._pieces, b"")

    @property
    def trailer(self) -> Checksum | None:
        return None


class _Batch:
    """Lines that go into one object."""

    __slots__ = ("event_ms", "lines", "logging", "size_bytes", "source")

    def __init__(self, source: Source, logging: Logging, event_ms: int) -> None:
        self.source = source
        self.logging = logging
        self.event_ms = event_ms
        self.lines: list[str] = []
        self.size_bytes = 0


class Journal:
    """The access logs of one process: a listener of events, and a keeper. `owner_of` gives the canonical id of
    the account of an access key, or nothing."""

    name = "access logs"

    def __init__(
        self,
        index: Index,
        store: Puts,
        *,
        owner_of: Callable[[str], str],
        region: str,
        interval_s: float,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self.wake = asyncio.Event()
        self._index = index
        self._store = store
        self._owner_of = owner_of
        self._region = region
        self._interval_s = interval_s
        self._clock = clock
        self._teller = teller
        self._logged: dict[str, tuple[Source, Logging]] = {}
        self._listening = False
        """From the first bucket that has a log on: until then requests pay nothing."""
        self._batches: dict[tuple[str, Logging, int], _Batch] = {}
        self._size_bytes = 0
        self._dropped: dict[str, int] = {}
        self._due_s = clock.monotonic_s() + interval_s

    # --- collecting ---

    def listen(self, event: Event) -> None:
        """Take a line of a request that ended, if its bucket has a log."""
        if type(event) is RequestEnded:
            found = self._logged.get(event.bucket)
            if found is not None:
                self._add(event, *found)

    def _add(self, event: RequestEnded, source: Source, logging: Logging) -> None:
        line = render(_record(event, source, self._owner_of, self._clock.now_ms()))
        if self._size_bytes + len(line) > JOURNAL_BYTES:
            self._dropped[source.bucket] = self._dropped.get(source.bucket, 0) + 1
            return
        at_ms = self._clock.now_ms() - int(event.elapsed_s * 1000)
        day = at_ms // _DAY_MS if logging.key_format == EVENT_TIME else 0
        place = (source.bucket, logging, day)
        batch = self._batches.get(place)
        if batch is None:
            batch = self._batches[place] = _Batch(source, logging, at_ms)
        batch.lines.append(line)
        batch.size_bytes += len(line)
        self._size_bytes += len(line)
        if batch.size_bytes > JOURNAL_OBJECT_BYTES:
            self._due_s = float("-inf")
            self.wake.set()

    # --- delivering ---

    async def step(self) -> float:
        """See which buckets have a log, and deliver what is due."""
        await self._look()
        if self._clock.monotonic_s() >= self._due_s:
            self._due_s = self._clock.monotonic_s() + self._interval_s
            await self.deliver()
        return JOURNAL_LOOK_S

    async def close(self) -> None:
        """Deliver what is left; what cannot be delivered in time is lost, and told."""
        try:
            async with asyncio.timeout(JOURNAL_CLOSE_S):
                await self.deliver()
        except (TimeoutError, S3Error, CommitUnknown, OSError):
            pass  # Told below.
        for batch in self._batches.values():
            self._tell(batch, "lost", "the server stopped")
        self._batches.clear()

    async def _look(self) -> None:
        found: dict[str, tuple[Source, Logging]] = {}
        for name in await self._index.configured("logging"):
            try:
                bucket = await self._index.bucket(name)
            except S3Error:
                continue  # Deleted just now.
            logging = setting(bucket, "logging", Logging)
            if logging is not None and logging.target:
                found[name] = (Source(name, bucket.owner, bucket.region or self._region), logging)
        self._logged = found
        if found and not self._listening:
            self._listening = True
            self._teller.subscribe(self.listen)

    async def deliver(self) -> None:
        """Put every batch into its target. What a target cannot take now waits; what it will never take is dropped."""
        for name, count in list(self._dropped.items()):
            self._teller.tell(AccessLogged(name, "", "dropped", count, "too many lines wait"))
            del self._dropped[name]
        for place, batch in list(self._batches.items()):
            # Lines that come meanwhile begin another batch.
            del self._batches[place]
            try:
                await self._put(batch)
            except S3Error as trouble:
                if trouble.status >= 500:
                    self._keep(place, batch)
                    self._tell(batch, "failed", str(trouble))
                    continue
                self._tell(batch, "lost", str(trouble))
            except BaseException:
                self._keep(place, batch)
                raise
            else:
                self._tell(batch, "delivered", "")
            self._size_bytes -= batch.size_bytes

    def _keep(self, place: tuple[str, Logging, int], batch: _Batch) -> None:
        later = self._batches.get(place)
        if later is not None:
            batch.lines += later.lines
            batch.size_bytes += later.size_bytes
        self._batches[place] = batch

    async def _put(self, batch: _Batch) -> None:
        unique = self._clock.token(8).hex().upper()
        key = key_of(batch.logging, batch.source, event_ms=batch.event_ms, now_ms=self._clock.now_ms(), unique=unique)
        if len(key.encode()) > KEY_BYTES:
            raise S3Error("KeyTooLongError", detail=f"access log of {batch.source.bucket}: {key}")
        target = await self._index.bucket(batch.logging.target)
        if target.owner != batch.source.owner:  # It was deleted, and somebody else has the name now.
            raise S3Error("InvalidTargetBucketForLogging", fields={"TargetBucket": target.name})
        data = "".join(batch.lines).encode("utf-8", "replace")
        await self._store.put_object(PutObject(batch.logging.target, key, _FACTS), Lines(data))

    def _tell(self, batch: _Batch, outcome: str, reason: str) -> None:
        event = AccessLogged(batch.source.bucket, batch.logging.target, outcome, len(batch.lines), reason)
        self._teller.tell(event)


def _requester(event: RequestEnded, owner_of: Callable[[str], str]) -> str:
    """The canonical id of an account's owner, the ARN of a user or of a role's session, empty for nobody."""
    if not event.access_key:
        return ""
    is_owner = event.principal.endswith(":root") or not event.principal
    return (owner_of(event.access_key) if is_owner else "") or event.principal


def _record(event: RequestEnded, source: Source, owner_of: Callable[[str], str], now_ms: int) -> Record:
    call: Any = event.call
    size, version_id = _of_result(call.result)
    return Record(
        owner=source.owner,
        bucket=source.bucket,
        at_ms=now_ms - int(event.elapsed_s * 1000),
        address=event.client,
        requester=_requester(event, owner_of),
        request_id=event.request_id,
        operation=event.operation,
        method=event.method,
        key=event.key,
        target=call.exchange.target,
        version="HTTP/1.0" if call.exchange.legacy else "HTTP/1.1",
        status=event.status,
        code=event.code,
        sent_bytes=event.sent_bytes,
        object_bytes=size,
        elapsed_s=event.elapsed_s,
        headers=call.request.headers,
        version_id=version_id,
        host_id=call.host_id,
        tls=call.exchange.tls,
    )


def _of_result(result: object) -> tuple[int | None, str]:
    """Size and version of the object that a request was about, as far as its answer says."""
    match result:
        case ObjectGot():
            version_id = result.version.version_id
            return result.version.plain_size, "" if version_id == "null" else version_id
        case ObjectPut():
            return result.size, result.version_id
        case ObjectDeleted():
            return None, result.version_id
        case _:
            return None, ""
