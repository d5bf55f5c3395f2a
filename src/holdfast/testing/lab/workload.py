"""Clients of one endpoint that keep a steady pace and hold every answer against what was acknowledged.

Answers for a mixed load (GET 80 %, PUT 15 %, LIST and DELETE 5 %) that does not slow down because answers do, for one Sample per request,
and for lies: answers that contradict `memory`. It never tries twice. Invariant: at most AT_ONCE
requests are on their way, and no key has two writers.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.model import Value
from holdfast.testing.lab.memory import Content, History, State
from holdfast.testing.lab.network.client import Client, Silence
from holdfast.testing.lab.network.http import Message
from holdfast.xml import Element, parse_xml

KIB: Final = 1024
MIB: Final = 1024 * KIB
SIZES: Final = ((KIB, 0.36), (16 * KIB, 0.25), (100 * KIB, 0.30), (400 * KIB, 0.07), (3 * MIB, 0.02))
"""Sizes of bodies, with the share of writes that have them."""
BUCKET: Final = "photos"
HOT: Final = 0.25
"""Share of the keys that are written and deleted; the others are only read, from where they were put before."""
AT_ONCE: Final = 256
LARGE: Final = ((KIB, 0.5), (100 * KIB, 0.4), (9 * MIB, 0.1))
"""Sizes of which some reach a provider as multipart uploads."""
_POOL_BYTES: Final = 9 * MIB
_TOLD: Final = 200
"""Lies and failures that are remembered word by word."""


class Sample(Value, frozen=True):
    """One request as its client saw it."""

    began_s: float
    elapsed_s: float
    operation: str
    failure: str = ""
    """Empty when it was answered with success."""

    @property
    def ended_s(self) -> float:
        return self.began_s + self.elapsed_s


class Lie(Value, frozen=True):
    """An answer that contradicts what was acknowledged: an older state, bytes that nobody wrote, or in the end a lost write."""

    kind: str
    told: str


class Workload:
    """The clients and their memory."""

    def __init__(self, client: Client, *, clock: Clock, prefix: str = "") -> None:
        self._client = client
        self._clock = clock
        self._prefix = prefix
        """All keys begin with it, and whatever else is in the bucket is none of ours."""
        self.sizes: Sequence[tuple[int, float]] = SIZES
        self._pool = clock.token(_POOL_BYTES + 64 * KIB)
        self._written = 0
        self._in_progress = 0
        self.histories: dict[str, History] = {}
        self.names: list[str] = []
        self.samples: list[Sample] = []
        self.lies: list[Lie] = []

    # --- requests ---

    async def create_bucket(self) -> None:
        """Raises Silence, or S3Error with the endpoint's refusal."""
        reply = await self._client.ask("PUT", f"/{BUCKET}")
        if reply.status not in (200, 409):
            raise S3Error("InternalError", reply.content.decode(errors="replace"))

    async def put(self, key: str, size: int) -> bool:
        """Write a body that was never written before. False when that failed."""
        body = self._body(key, size)
        state = Content(hashlib.md5(body).hexdigest(), size)
        return await self._change("PUT", key, state, body)

    async def delete(self, key: str) -> bool:
        """False when that failed."""
        return await self._change("DELETE", key, None, b"")

    async def get(self, key: str) -> State:
        """Read a key and judge what comes. None also when that failed."""
        history = self.histories.setdefault(key, History())
        since = history.floor
        reply, failure = await self._ask("GET", f"/{BUCKET}/{key}", allowed=(200, 404))
        if reply is None or failure:
            return None
        found: State = None
        if reply.status == 200:
            found = Content(hashlib.md5(reply.content).hexdigest(), len(reply.content))
            if reply.headers.get("etag", "").strip('"') != found.md5:
                self._lie(
                    "wrong", f"GET {key}: the etag is {reply.headers.get('etag')}, of a body with md5 {found.md5}"
                )
        self._judge(f"GET {key}", history, since, found)
        return found

    async def check_list(self) -> None:
        """List everything, page by page, and judge each row."""
        since = {key: history.floor for key, history in self.histories.items()}
        rows: dict[str, State] = {}
        token = ""
        while True:
            query = [("list-type", "2"), ("prefix", self._prefix)] + ([("continuation-token", token)] if token else [])
            reply, failure = await self._ask("LIST", f"/{BUCKET}", query)
            if reply is None or failure:
                return
            try:
                page = parse_xml(reply.content, "ListBucketResult")
            except S3Error as trouble:
                self._lie("wrong", f"LIST is no listing: {trouble.detail}")
                return
            rows |= dict(map(_row, page.all("Contents")))
            token = page.get("NextContinuationToken") or ""
            if not token:
                break
        for key, history in self.histories.items():
            self._judge(f"LIST {key}", history, since.get(key, 0), rows.pop(key, None))
        for key in rows:
            self._lie("wrong", f"LIST shows {key}, which was never written")

    # --- many of them ---

    async def fill(self, count: int) -> None:
        """Write `count` objects of all sizes. Raises Silence when one fails: there is nothing to observe then."""
        self.names = [f"{self._prefix}{number:04}" for number in range(count)]
        turns = asyncio.Semaphore(8)

        async def put(key: str) -> None:
            async with turns:
                if not await self.put(key, self._size()):
                    raise Silence(f"cannot fill the bucket: {self.samples[-1].failure}")

        async with asyncio.TaskGroup() as group:
            for key in self.names:
                group.create_task(put(key))

    async def run(self, rate_per_s: float, over: Callable[[], bool]) -> None:
        """Send requests at this pace until `over()`, and return when the last one has ended."""
        due_s = self._clock.monotonic_s()
        async with asyncio.TaskGroup() as group:
            while not over():
                due_s = max(due_s + 1 / rate_per_s, self._clock.monotonic_s() - 1.0)
                await self._clock.sleep(max(0.0, due_s - self._clock.monotonic_s()))
                if self._in_progress < AT_ONCE:
                    self._in_progress += 1
                    group.create_task(self._one())

    async def check_all(self) -> None:
        """Read every key that was ever written, and list them; an acknowledged write that is missing now is lost."""
        before = len(self.lies)
        turns = asyncio.Semaphore(8)

        async def get(key: str) -> None:
            async with turns:
                await self.get(key)

        async with asyncio.TaskGroup() as group:
            for key in list(self.histories):
                group.create_task(get(key))
        await self.check_list()
        self.lies[before:] = [Lie("lost", lie.told) for lie in self.lies[before:]]

    async def check_place(self, client: Client, bucket: str = BUCKET, below: str = "") -> list[str]:
        """What a provider's own bucket holds below a prefix otherwise than was acknowledged: one line for each such key."""
        found: dict[str, State] = {}
        token = ""
        while True:
            query = [("list-type", "2"), ("prefix", below + self._prefix)] + (
                [("continuation-token", token)] if token else []
            )
            reply = await client.ask("GET", f"/{bucket}", query)
            if reply.status != 200:
                return [f"it cannot be listed: {reply.status}"]
            page = parse_xml(reply.content, "ListBucketResult")
            found |= {name.removeprefix(below): state for name, state in map(_row, page.all("Contents"))}
            token = page.get("NextContinuationToken") or ""
            if not token:
                break
        wrong = []
        for key, history in self.histories.items():
            held = found.pop(key, None)
            if held is not None:
                body = (await client.ask("GET", f"/{bucket}/{below}{key}")).content
                held = Content(hashlib.md5(body).hexdigest(), len(body))
            if history.judge(history.floor, held) != "right":
                wrong.append(f"{key}: {_told(held)} instead of {_told(history.current)}")
        return wrong + [f"{key}: should not be there" for key in found if ".holdfast" not in key]

    async def _one(self) -> None:
        """One request of the mixed load."""
        try:
            draw, hot = self._clock.random(), max(1, int(len(self.names) * HOT))
            key = self.names[int(self._clock.random() * len(self.names))]
            mine = self.names[int(self._clock.random() * hot)]
            busy = (self.histories.get(mine) or History()).writing
            if draw < 0.15 and not busy:
                await self.put(mine, self._size())
            elif draw < 0.175 and not busy:
                await self.delete(mine)
            elif draw < 0.2:
                await self.check_list()
            else:
                await self.get(key)
        finally:
            self._in_progress -= 1

    # --- within ---

    def _size(self) -> int:
        draw = self._clock.random()
        for size, share in self.sizes:
            draw -= share
            if draw < 0:
                return size
        return self.sizes[0][0]

    def _body(self, key: str, size: int) -> bytes:
        """A body that is like no other: its name and number, then bytes of the pool."""
        self._written += 1
        stamp = f"{key} {self._written} ".encode()[:size]
        start = self._written * 61 % (64 * KIB)
        return stamp + self._pool[start : start + size - len(stamp)]

    async def _change(self, method: str, key: str, state: State, body: bytes) -> bool:
        history = self.histories.setdefault(key, History())
        history.writing = True
        position = history.send(state)
        try:
            reply, failure = await self._ask(method, f"/{BUCKET}/{key}", body=body, allowed=(200, 204))
        finally:
            history.writing = False
        if reply is None:
            history.lose(position)
        elif not failure:
            history.acknowledge(position)
        return not failure

    async def _ask(
        self,
        operation: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        allowed: Sequence[int] = (200,),
    ) -> tuple[Message | None, str]:
        """The reply, None when there was none; and what was wrong with it."""
        began_s = self._clock.monotonic_s()
        reply, failure = None, ""
        try:
            reply = await self._client.ask("GET" if operation == "LIST" else operation, path, query, body)
            if reply.status not in allowed:
                failure = f"{reply.status} {_code(reply)}"
        except Silence as silence:
            failure = str(silence)
        elapsed_s = self._clock.monotonic_s() - began_s
        self.samples.append(Sample(began_s, elapsed_s, operation, failure))
        return reply, failure

    def _judge(self, what: str, history: History, since: int, found: State) -> None:
        verdict = history.judge(since, found)
        if verdict != "right":
            self._lie(verdict, f"{what} shows {_told(found)} instead of {_told(history.current)}")

    def _lie(self, kind: str, told: str) -> None:
        self.lies.append(Lie(kind, told if len(self.lies) < _TOLD else ""))


def _row(row: Element) -> tuple[str, State]:
    return row.get("Key") or "", Content((row.get("ETag") or "").strip('"'), int(row.get("Size") or 0))


def _code(reply: Message) -> str:
    try:
        return parse_xml(reply.content, "Error").get("Code") or ""
    except S3Error:
        return ""


def _told(state: State) -> str:
    return "nothing" if state is None else f"{state.size} bytes with md5 {state.md5}"
