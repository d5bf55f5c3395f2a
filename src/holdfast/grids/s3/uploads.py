"""Large bodies on their way: multipart uploads that nobody can see yet, and the memory that bodies take.

Answers for parts that the vendor accepts, several at once, each again when it fails: a part is invisible, so
repeating it is safe. Invariant: no more than S3_HELD_BYTES of bodies are held by one grid, and what failed to be staged is aborted.
Amazon S3 API Reference, CreateMultipartUpload, UploadPart; vendors' rules in `quirks`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from urllib.parse import unquote_plus

from holdfast.clock import Clock
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable
from holdfast.grids.grid import Source
from holdfast.grids.s3.connection import Body, Pieces
from holdfast.grids.s3.location import Spot
from holdfast.grids.s3.quirks import Quirks
from holdfast.grids.s3.replies import Asked, iso_ms, reply_tree
from holdfast.grids.s3.requests import Request, Requester
from holdfast.grids.sources import gone
from holdfast.limits import (
    FOLDER_LEFTOVER_AGE_S,
    GRID_STAGE_BYTES_S,
    LIST_PAGE,
    MIB,
    S3_ABORT_S,
    S3_PART_BYTES,
    S3_PART_HELD_BYTES,
    S3_PART_RETRY_S,
    S3_PART_S,
    S3_PART_TRIES,
    S3_PARTS,
    S3_SWEEP,
    S3_SWEEP_S,
)
from holdfast.model import Value
from holdfast.xml import document, element

_BEGUN: Final = ("InitiateMultipartUploadResult", "InitiateMultipartUpload")
"""The reply's element, and what rclone's server calls it."""


class Room:
    """Bytes that may be held in memory at once. Who waits gets its turn in order."""

    def __init__(self, size_bytes: int) -> None:
        self._free = size_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size_bytes: int) -> None:
        """Return when there is room for these, which are then taken."""
        if not self._waiting and size_bytes <= self._free:
            self._free -= size_bytes
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size_bytes)
            else:
                self._waiting.remove((size_bytes, turn))
                self._serve()
            raise

    def give(self, size_bytes: int) -> None:
        """These are free again."""
        self._free += size_bytes
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size_bytes, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= size_bytes
                turn.set_result(None)


class Upload(Value, frozen=True):
    """A multipart upload with all its parts at the provider."""

    spot: Spot
    upload_id: str
    etags: tuple[str, ...]

    @property
    def document(self) -> bytes:
        """What CompleteMultipartUpload says."""
        parts = [
            f"<Part>{element('PartNumber', number)}{element('ETag', etag)}</Part>"
            for number, etag in enumerate(self.etags, 1)
        ]
        return document("CompleteMultipartUpload", "".join(parts))


def part_bytes(size_bytes: int, quirks: Quirks) -> int:
    """Size of all parts but the last of an object."""
    least = -(-size_bytes // quirks.parts_max)
    return max(S3_PART_BYTES, quirks.part_bytes_min, -(-least // MIB) * MIB)


class Uploads:
    """Multipart uploads to one grid."""

    def __init__(self, requester: Requester, room: Room, *, clock: Clock) -> None:
        self._requester = requester
        self._room = room
        self._clock = clock
        self._used: dict[tuple[str, str], float] = {}
        """Buckets and beginnings of names that were staged to, and when their leftovers are to be looked for."""

    async def sweep(self, asked: Asked, bucket: str, base: str) -> None:
        """Abort what crashes left behind, in the place's own bucket or in one of those that were staged to; a few at a time, and
        not for long. Never fails: it is looked for again."""
        now_s = self._clock.monotonic_s()
        self._used.setdefault((bucket, base), float("-inf"))
        where = min(self._used, key=lambda one: self._used[one])
        if now_s < self._used[where]:
            return
        self._used[where] = now_s + S3_SWEEP_S
        try:
            async with asyncio.timeout(S3_ABORT_S):
                if await self._sweep(asked, *where):
                    self._used[where] = now_s
        except (GridError, TimeoutError):
            return

    async def _sweep(self, asked: Asked, bucket: str, base: str) -> bool:
        """True when there is more to do at once."""
        query = (("uploads", ""), ("prefix", base), ("encoding-type", "url"), ("max-uploads", str(LIST_PAGE)))
        headers, body = await self._requester.ask(asked, Request("GET", Spot(bucket, ""), query))
        tree = reply_tree(asked, body, headers, "ListMultipartUploadsResult", now_ms=self._clock.now_ms())
        before_ms = self._requester.now_ms() - FOLDER_LEFTOVER_AGE_S * 1000
        old = []
        for item in tree.all("Upload"):
            begun_ms, name = iso_ms(item.get("Initiated") or ""), item.get("Key") or ""
            name = unquote_plus(name) if tree.get("EncodingType") == "url" else name
            if begun_ms is not None and begun_ms < before_ms and name.startswith(base):
                old.append((name, item.get("UploadId") or ""))
        for name, upload_id in old[:S3_SWEEP]:
            await self.abort(asked, Spot(bucket, name), upload_id)
        return len(old) > S3_SWEEP

    async def stage(self, asked: Asked, spot: Spot, source: Source, headers: dict[str, str], base: str) -> Upload:
        """Bring a body to the provider, invisibly. Raises GridError, and then nothing of it is left."""
        size = part_bytes(source.size, self._requester.quirks)
        if size > self._requester.quirks.part_bytes_max:
            raise Refused(
                asked.grid,
                asked.operation,
                "it is too large",
                reason=Reason.INVALID,
                bucket=asked.place.bucket,
                key=asked.place.key,
            )
        upload_id = await self._begin(asked, spot, headers)
        self._used.setdefault((spot.bucket, base), float("-inf"))
        try:
            bring = self._held if size <= S3_PART_HELD_BYTES else self._through
            etags = await bring(asked, spot, upload_id, source, size)
        except BaseExceptionGroup as troubles:
            await self.abort(asked, spot, upload_id)
            raise _first(troubles) from troubles
        except BaseException:
            await self.abort(asked, spot, upload_id)
            raise
        return Upload(spot, upload_id, etags)

    async def _begin(self, asked: Asked, spot: Spot, headers: dict[str, str]) -> str:
        answered, body = await self._requester.ask(asked, Request("POST", spot, (("uploads", ""),), headers))
        tree = reply_tree(asked, body, answered, *_BEGUN, now_ms=self._clock.now_ms())
        upload_id = tree.get("UploadId")
        if not upload_id:
            raise Corrupt(asked.grid, asked.operation, "the reply names no upload")
        return upload_id

    async def abort(self, asked: Asked, spot: Spot, upload_id: str) -> None:
        """Forget an upload. Never fails: what is left is swept."""
        try:
            async with asyncio.timeout(S3_ABORT_S):
                await self._requester.ask(asked, Request("DELETE", spot, (("uploadId", upload_id),)))
        except (GridError, TimeoutError):
            return

    async def _held(self, asked: Asked, spot: Spot, upload_id: str, source: Source, size: int) -> tuple[str, ...]:
        """Parts in memory, S3_PARTS at once."""
        etags: dict[int, str] = {}
        turns = asyncio.Semaphore(S3_PARTS)

        async def send(number: int, data: bytes) -> None:
            etags[number] = await self._again(lambda: self._part(asked, spot, upload_id, number, data))

        def sent(_: object) -> None:
            self._room.give(size)
            turns.release()

        async with asyncio.TaskGroup() as group:
            parts = _parts(source, size)
            for number in range(1, -(-source.size // size) + 1):
                await turns.acquire()
                await self._room.take(size)
                try:
                    data = await anext(parts)
                except BaseException:
                    self._room.give(size)
                    raise
                # A task that is cancelled before its first step never runs, so its turn is given back from outside.
                group.create_task(send(number, data)).add_done_callback(sent)
        return tuple(etags[number] for number in sorted(etags))

    async def _through(self, asked: Asked, spot: Spot, upload_id: str, source: Source, size: int) -> tuple[str, ...]:
        """Parts straight from the source, one after the other."""
        etags: list[str] = []
        pieces = _Cut(source)
        for start in range(0, source.size, size):
            share = min(size, source.size - start)
            body = Pieces(share, lambda share=share: pieces.take(share))  # type: ignore[misc]
            etags.append(await self._part(asked, spot, upload_id, len(etags) + 1, body))
        await pieces.end()
        return tuple(etags)

    async def _part(self, asked: Asked, spot: Spot, upload_id: str, number: int, body: Body) -> str:
        size = body.size if isinstance(body, Pieces) else len(body or b"")
        limit_s = S3_PART_S + size / GRID_STAGE_BYTES_S
        request = Request("PUT", spot, (("partNumber", str(number)), ("uploadId", upload_id)))
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._requester.open(asked, request, body)
                await answer.body()
        except TimeoutError as late:
            raise Unavailable(
                asked.grid, asked.operation, f"no answer for part {number} within {limit_s:g} s"
            ) from late
        etag = answer.headers.get("etag", "")
        if not etag:
            raise Corrupt(asked.grid, asked.operation, f"the reply for part {number} has no etag")
        return etag

    async def _again(self, send: Callable[[], Awaitable[str]]) -> str:
        """Send a part until it is there, at most S3_PART_TRIES times."""
        for attempt in range(S3_PART_TRIES - 1):
            try:
                return await send()
            except Unavailable as trouble:
                if trouble.lasting or trouble.shielded:
                    raise
                pause_s = max(S3_PART_RETRY_S * 2**attempt, min(trouble.retry_after_s or 0.0, S3_PART_S))
                await self._clock.sleep(pause_s * (0.75 + self._clock.random() / 2))
        return await send()


async def read_whole(source: Source) -> bytes:
    """A small body, of exactly the size that it says. Raises GridError."""
    if source.data is not None:
        return source.data
    data = bytearray()
    async for piece in source.stream():
        data += piece
        if len(data) > source.size:
            break
    if len(data) != source.size:
        raise gone(f"the body has {len(data)} bytes or more instead of {source.size}")
    return bytes(data)


async def _parts(source: Source, size: int) -> AsyncIterator[bytes]:
    """The body in parts of this size. Raises GridError when it is not as long as it says."""
    held = bytearray()
    moved = 0
    async for piece in source.stream():
        moved += len(piece)
        if moved > source.size:
            raise gone(f"the body has more than {source.size} bytes")
        held += piece
        while len(held) >= size and moved < source.size:
            yield bytes(held[:size])
            del held[:size]
    if moved != source.size:
        raise gone(f"the body has {moved} bytes instead of {source.size}")
    while held:
        yield bytes(held[:size])
        del held[:size]


class _Cut:
    """A source's stream, taken in stretches."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stream = source.stream()
        self._rest = b""

    async def take(self, size_bytes: int) -> AsyncIterator[bytes]:
        """The next bytes, exactly so many."""
        while size_bytes:
            piece = self._rest or await anext(self._stream, b"")
            if not piece:
                raise gone(f"the body has fewer than {self._source.size} bytes")
            piece, self._rest = piece[:size_bytes], piece[size_bytes:]
            size_bytes -= len(piece)
            yield piece

    async def end(self) -> None:
        """There is nothing behind. Raises GridError."""
        if self._rest or await anext(self._stream, b""):
            raise gone(f"the body has more than {self._source.size} bytes")


def _first(trouble: BaseException) -> BaseException:
    """The error itself, out of the group that tasks wrapped it in."""
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    return trouble
