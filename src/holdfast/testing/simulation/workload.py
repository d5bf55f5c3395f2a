"""The clients of a simulated gateway: what they ask, and what they heard.

Answers for requests over HTTP with signatures, as applications send them, and for evidence: every body is recognised by its
bytes. It never tries a request again by itself, and judges nothing. Invariant: every content that is written is new for its key.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final
from xml.sax.saxutils import escape

from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.limits import INLINE_BYTES, KIB, PART_BYTES_MIN
from holdfast.testing.evidence.history import History, Outcome, Page, Verb
from holdfast.testing.lab.network.client import Client, Keys, Silence
from holdfast.testing.lab.network.http import Message
from holdfast.testing.simulation.keeping import Keeping
from holdfast.testing.simulation.plan import Terms
from holdfast.xml import parse_xml

BUCKET: Final = "photos"
PORT: Final = 9000
KEYS: Final = Keys(access="SIMULATION", secret="simulation")
"""Of the simulated gateway, which nobody else can reach."""
_POOL: Final = random.Random(0).randbytes(512 * KIB)
_EXCUSES: Final = frozenset({"RequestTimeTooSkewed", "InvalidRequest"})
"""Codes that a client of this kind may hear: the machine's clock leaps, and a copy onto itself is no change."""
_SHARES: Final = (
    ("put", 22), ("get", 34), ("head", 4), ("range", 6), ("delete", 9), ("list", 7), ("create", 6), ("replace", 6),
    ("copy", 3), ("upload", 3), ("abort", 1), ("race", 4),
)  # fmt: skip


_FORGETS: Final = 0.05
"""The share of requests that delete an older version, where versions are kept."""


class Contents:
    """All contents of a run, by etag."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[bytes, int]] = {}
        self._count = 0

    def make(self, size: int) -> tuple[str, bytes]:
        """A body that is like no other, and its etag."""
        self._count += 1
        stamp = f"{self._count:08d} ".encode()
        body = _body(stamp, max(size, len(stamp)))
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._made[etag] = (stamp, len(body))
        return etag, body

    def name(self, etag: str, body: bytes) -> None:
        """The object with this etag consists of several contents."""
        self._made[etag] = (body, -1)

    def body(self, etag: str) -> bytes | None:
        """The bytes with this etag; None when nobody made them."""
        if etag not in self._made:
            return None
        stamp, size = self._made[etag]
        return stamp if size < 0 else _body(stamp, size)


def _body(stamp: bytes, size: int) -> bytes:
    start = int(stamp) * 61 % (64 * KIB)
    pool = _POOL[start:]
    return (stamp + pool * (-(-size // len(pool))))[:size]


class Crowd:
    """Clients, and the history that they make."""

    def __init__(
        self,
        loop_time: Callable[[], float],
        *,
        dice: random.Random,
        clock: Clock,
        terms: Terms,
        acknowledged: Callable[[str, bytes], str],
    ) -> None:
        """`acknowledged` is asked when a write was, with its key and body, and says what is wrong then."""
        self.history = History()
        self.contents = Contents()
        self.keys = terms.keys
        self.failures: Counter[str] = Counter()
        """Requests that were not served, by what was answered."""
        self.unread: list[tuple[float, str]] = []
        """When a GET, HEAD or LIST was not served, and what was answered."""
        self.served = 0
        self.pieces: dict[str, str] = {}
        """Etags of what must never be an object, with words for it."""
        self.wrong: list[str] = []
        """Answers that no server may give, whatever happened."""
        self._time = loop_time
        self._dice = dice
        self._clock = clock
        self._pace_s = terms.pace_s
        self._hurry = terms.hurry
        self.keeping = Keeping(terms.versions)
        self._large = terms.large
        self._acknowledged = acknowledged
        self._begun: Counter[str] = Counter()
        """Writes of each key."""
        self._open: Counter[str] = Counter()
        """Those that may still happen: nobody knows when a write without an answer does."""
        self._known: dict[str, str] = {}
        """The etag of each key as some client heard it last."""
        self._written: set[tuple[str, str]] = set()

    async def run(self, clients: int, steps: int) -> None:
        """Let so many clients send so many requests in all."""
        left = [steps]

        async def one(number: int) -> None:
            client = Client(PORT, KEYS, clock=self._clock)
            names, weights = zip(*_SHARES, strict=True)
            while left[0] > 0:
                left[0] -= 1
                await self._clock.sleep(self._think_s())
                await self.act(number, client, self._dice.choices(names, weights)[0])
            client.close()

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(one(number))

    async def act(self, number: int, client: Client, action: str) -> None:
        """One request, or the few of an upload."""
        if self.keeping.on and self._dice.random() < _FORGETS:
            await self._forget(client)
            return
        key = self.keys[int(self._dice.random() ** 2 * len(self.keys))]
        match action:
            case "get" | "head" | "range":
                await self.read(number, client, key, action)
            case "list":
                await self.list(number, client)
            case "delete":
                await self._write(number, client, Verb.DELETE, key, "")
            case "copy":
                await self._copy(number, client, key)
            case "upload" | "abort":
                await self._upload(number, client, key, abort=action == "abort")
            case "race":
                await self._race(number, key)
            case _:
                await self._put(number, client, key, {"create": "", "replace": self._known.get(key, "")}.get(action))

    async def _put(self, number: int, client: Client, key: str, only_if: str | None) -> None:
        etag, body = self.contents.make(self._size())
        await self._write(number, client, Verb.PUT, key, etag, body=body, only_if=only_if)

    async def _forget(self, client: Client) -> None:
        """Delete a version that is not current."""
        place = self.keeping.old(self._dice)
        if place is not None:
            self.keeping.forget(place, certain=False)
            reply = await self._ask(client, "DELETE", f"/{BUCKET}/{place[0]}", [("versionId", place[1])])
            self.keeping.forget(place, certain=reply is not None and reply.status == 204)

    async def _race(self, number: int, key: str) -> None:
        """Several write under one condition at the same moment, each through whichever node answers; then they look."""

        async def one() -> None:
            client = Client(PORT, KEYS, clock=self._clock)
            await self._put(number, client, key, only_if)
            await self.read(number, client, key, "get")
            client.close()

        only_if = self._known.get(key, "")
        async with asyncio.TaskGroup() as group:
            for _ in range(self._dice.randint(2, 4)):
                group.create_task(one())

    def _think_s(self) -> float:
        return self._dice.expovariate(1 / self._pace_s) if self._dice.random() > self._hurry else 0.001

    def _size(self) -> int:
        if self._dice.random() > self._large:
            return int(10 + 2000 * self._dice.random())
        draw = self._dice.random()
        if draw < 0.3:
            return INLINE_BYTES + self._dice.randint(-2, 2)
        if draw < 0.8:
            return INLINE_BYTES + int(self._dice.random() * 200 * KIB)
        return int(self._dice.random() * 3000 * KIB)

    # --- requests ---

    async def _ask(
        self,
        client: Client,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Message | None:
        """The reply, or None when there was none."""
        try:
            reply = await client.ask(method, path, query, body, headers)
        except Silence as silence:
            self.failures[f"silence: {silence}"] += 1
            self._note_unread(method, path, str(silence))
            return None
        if reply.status >= 500:
            code = _code(reply)
            self.failures[f"{reply.status} {code}"] += 1
            self._note_unread(method, path, f"{reply.status} {code}")
            if reply.status == 500:
                self.wrong.append(f"{method} {path}: {reply.status} {code}")
        elif reply.status not in (200, 204, 206, 404, 409, 412, 416):
            self.failures[f"{reply.status} {_code(reply)}"] += 1
        else:
            self.served += 1
        return reply

    def _note_unread(self, method: str, path: str, why: str) -> None:
        if method in ("GET", "HEAD"):
            self.unread.append((self._time(), f"{method} {path}: {why}"))

    async def read(self, number: int, client: Client, key: str, how: str) -> str | None:
        """GET or HEAD a key; returns what was seen."""
        verb = Verb.HEAD if how == "head" else Verb.GET
        call = self.history.begin(verb, key, client=number, node=0, at_s=self._time())
        headers, start = None, 0
        if how == "range":
            start = self._dice.choice((0, 1, 1000, 70_000, 1_500_000))
            headers = {"range": f"bytes={start}-{start + self._dice.choice((0, 100, 100_000))}"}
        reply = await self._ask(client, verb.value, f"/{BUCKET}/{key}", headers=headers)
        saw = self._seen(key, reply, how)
        if (
            reply is not None
            and reply.status == 206
            and not reply.headers["content-range"].startswith(f"bytes {start}-")
        ):
            self.wrong.append(f"GET {key}: asked from {start}, got {reply.headers['content-range']}")
        outcome = Outcome.UNKNOWN if saw is None else Outcome.OK
        self.history.end(call, outcome, at_s=self._time(), saw=saw)
        if saw is not None:
            self._known[key] = saw
        return saw

    def _seen(self, key: str, reply: Message | None, how: str) -> str | None:
        """The etag, "" when nothing was there, None when the reply says nothing."""
        if reply is None or reply.status not in (200, 206, 404, 416):
            return None
        if reply.status == 404:
            if _code(reply) == "NoSuchBucket":
                self.wrong.append(f"GET {key}: the bucket is gone")
            return "" if how == "head" or _code(reply) == "NoSuchKey" else None
        if reply.status == 416:
            return None
        etag = reply.headers.get("etag", "").strip('"')
        if how == "head":
            return etag
        body = self.contents.body(etag)
        if reply.status == 206 and body is not None:
            first, last = reply.headers["content-range"].removeprefix("bytes ").split("/")[0].split("-")
            body = body[int(first) : int(last) + 1]
        if body != reply.content:
            self.wrong.append(f"GET {key}: bytes that are not those of {etag} ({how}, {len(reply.content)} bytes)")
            return f"damaged {etag}"
        return etag

    async def list(self, number: int, client: Client) -> dict[str, str] | None:
        """LIST everything in pages; returns key to etag when the whole was answered."""
        found: dict[str, str] = {}
        token, after = "", ""
        size = self._dice.choice((1000, 1000, 3))
        while True:
            call = self.history.begin(Verb.LIST, "", client=number, node=0, at_s=self._time())
            query = [("list-type", "2"), ("max-keys", str(size))]
            if token:
                query.append(("continuation-token", token))
            reply = await self._ask(client, "GET", f"/{BUCKET}", query)
            if reply is None or reply.status != 200:
                self.history.end(call, Outcome.UNKNOWN, at_s=self._time())
                return None
            result = parse_xml(reply.content, "ListBucketResult")
            versions = {row.get("Key") or "": (row.get("ETag") or "").strip('"') for row in result.all("Contents")}
            token = result.get("NextContinuationToken") or ""
            page = Page(after=after, versions=versions, truncated=bool(token))
            self.history.end_list(call, page.saw(self.keys), at_s=self._time())
            found |= versions
            if not token:
                return found
            after = max(versions)

    async def abort_uploads(self, client: Client) -> None:
        """End what interrupted uploads left."""
        reply = await self._ask(client, "GET", f"/{BUCKET}", [("uploads", "")])
        if reply is None or reply.status != 200:
            return
        for row in parse_xml(reply.content, "ListMultipartUploadsResult").all("Upload"):
            query = [("uploadId", row.get("UploadId") or "")]
            await self._ask(client, "DELETE", f"/{BUCKET}/{row.get('Key')}", query)

    async def _write(
        self,
        number: int,
        client: Client,
        verb: Verb,
        key: str,
        wrote: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        only_if: str | None = None,
    ) -> bool:
        """Change a key by one request; True when it was acknowledged."""
        headers = dict(headers or {})
        if only_if is not None:
            headers |= {"if-match": f'"{only_if}"'} if only_if else {"if-none-match": "*"}
        call = self.history.begin(verb, key, client=number, node=0, at_s=self._time(), wrote=wrote, only_if=only_if)
        begun = self._begin(key)
        method = {Verb.DELETE: "DELETE", Verb.COMPLETE: "POST"}.get(verb, "PUT")
        reply = await self._ask(client, method, f"/{BUCKET}/{key}", query, body, headers)
        outcome = self._outcome(verb, reply, wrote, only_if)
        if outcome is None:  # Answered before anything was done.
            self.history.drop(call)
            self._open[key] -= 1
            return False
        self.history.end(call, outcome, at_s=self._time())
        if outcome is Outcome.OK:
            assert reply is not None
            self._known[key] = wrote
            self.keeping.heard(key, reply.headers.get("x-amz-version-id", ""), wrote)
            self._written.add((key, wrote))
            content = self.contents.body(wrote)
            alone = self._open[key] == 1 and self._begun[key] == begun
            if content is not None and alone and (wrong := self._acknowledged(key, content)):
                self.wrong.append(f"{verb.value} {key}: {wrong}")
        if outcome is not Outcome.UNKNOWN:
            self._open[key] -= 1
        return outcome is Outcome.OK

    def _begin(self, key: str) -> int:
        """A write of this key begins: the so-manieth."""
        self._open[key] += 1
        self._begun[key] += 1
        return self._begun[key]

    def _outcome(self, verb: Verb, reply: Message | None, wrote: str, only_if: str | None) -> Outcome | None:
        if reply is None:
            return Outcome.UNKNOWN
        if reply.status in (200, 204):
            if b"<Error>" in reply.content:  # CompleteMultipartUpload and CopyObject may fail within a 200.
                return Outcome.UNKNOWN
            told = reply.headers.get("etag", "").strip('"') if verb is Verb.PUT else wrote
            if told != wrote:
                self.wrong.append(f"{verb.value}: the etag {told} instead of {wrote}")
            return Outcome.OK
        if reply.status == 412 or (reply.status == 404 and only_if):
            if only_if is None:
                self.wrong.append(f"{verb.value} without a condition: 412")
            return Outcome.REFUSED
        if reply.status in (403, 404, 400, 411):
            self._expect_excuse(verb.value, reply)
            return None
        return Outcome.UNKNOWN

    def _expect_excuse(self, what: str, reply: Message) -> None:
        """A refusal needs a reason that lies with the client: what it was told is there must not be gone."""
        code = _code(reply)
        if code not in _EXCUSES:
            self.wrong.append(f"{what}: {reply.status} {code}, although nothing is wrong with the request")

    async def _copy(self, number: int, client: Client, key: str) -> None:
        source = self._dice.choice(self.keys)
        etag = self._known.get(source, "")
        if not etag or "-" in etag or " " in etag or (key, etag) in self._written:
            return
        self._written.add((key, etag))
        headers = {"x-amz-copy-source": f"/{BUCKET}/{source}", "x-amz-copy-source-if-match": f'"{etag}"'}
        call = self.history.begin(Verb.COPY, key, client=number, node=0, at_s=self._time(), wrote=etag)
        self._begin(key)
        reply = await self._ask(client, "PUT", f"/{BUCKET}/{key}", headers=headers)
        if reply is not None and reply.status in (404, 412):
            self.history.drop(call)  # The source is another one by now, or none.
            self._open[key] -= 1
            return
        outcome = self._outcome(Verb.COPY, reply, etag, None)
        if outcome is not Outcome.UNKNOWN:
            self._open[key] -= 1
        if outcome is None:
            self.history.drop(call)
            return
        self.history.end(call, outcome, at_s=self._time())
        if outcome is Outcome.OK:
            assert reply is not None
            self._known[key] = etag
            self.keeping.heard(key, reply.headers.get("x-amz-version-id", ""), etag)

    async def _upload(self, number: int, client: Client, key: str, *, abort: bool) -> None:
        """A multipart upload of one or two parts, completed or aborted."""
        reply = await self._ask(client, "POST", f"/{BUCKET}/{key}", [("uploads", "")])
        if reply is None or reply.status != 200:
            return
        upload = parse_xml(reply.content, "InitiateMultipartUploadResult").get("UploadId") or ""
        sizes = [self._size()] if self._dice.random() < 0.7 else [PART_BYTES_MIN, self._size()]
        parts = [self.contents.make(size) for size in sizes]
        self.pieces |= {etag: f"a part of an upload to {key}" for etag, _ in parts}
        for part, (etag, body) in enumerate(parts, 1):
            query = [("partNumber", str(part)), ("uploadId", upload)]
            reply = await self._ask(client, "PUT", f"/{BUCKET}/{key}", query, body)
            if reply is None or reply.status != 200:
                if reply is not None and reply.status < 500:
                    self._expect_excuse(f"UploadPart {key}", reply)
                abort = True
                break
            if reply.headers.get("etag", "").strip('"') != etag:
                self.wrong.append(f"UploadPart {key}: another etag than that of its bytes")
        if abort:
            await self._ask(client, "DELETE", f"/{BUCKET}/{key}", [("uploadId", upload)])
            return
        digests = b"".join(bytes.fromhex(etag) for etag, _ in parts)
        whole = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
        self.contents.name(whole, b"".join(body for _, body in parts))
        rows = "".join(
            f"<Part><PartNumber>{part}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
            for part, (etag, _) in enumerate(parts, 1)
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        await self._write(number, client, Verb.COMPLETE, key, whole, query=[("uploadId", upload)], body=body)


def _code(reply: Message) -> str:
    try:
        return parse_xml(reply.content, "Error").get("Code") or ""
    except S3Error:
        return repr(reply.content[:80])
