"""A directory that keeps objects as plain files under `<root>/<bucket>/<key>`.

Answers for the guarantees of `Grid` on a local or mounted file system. Blocking work is done by threads of this grid alone,
so that a hung disk stops nothing else. It never creates its root again once it was attached. Invariant: a
missing file is ABSENT only while the marker of the attached place is there.

A copy's etag is its modification time and size. The time is set to that of the version, with the version's sequence
number in the digits below a millisecond, so no two versions share an etag, and tools that keep times keep etags.
"""

import asyncio
import os
import threading
from pathlib import Path

from holdfast.clock import Clock
from holdfast.crew import Crew
from holdfast.errors import GridError, Reason, Refused
from holdfast.grids import names
from holdfast.grids.folder.copying import fill
from holdfast.grids.folder.files import (
    Bytes,
    delete,
    drop,
    etag_of,
    label_of,
    open_object,
    publish,
    read_at,
    stat_object,
)
from holdfast.grids.folder.flush import Dirty, Flusher
from holdfast.grids.folder.place import FolderPlace
from holdfast.grids.folder.reading import Descriptor, FileDownload, ended
from holdfast.grids.folder.staging import Draft, Staging
from holdfast.grids.folder.troubles import TROUBLES, explain
from holdfast.grids.folder.walk import walk
from holdfast.grids.grid import Capabilities, Download, Held, Label, Source, Staged
from holdfast.limits import BLOCK_BYTES, GRID_QUEUE, GRID_THREADS, KEY_BYTES, OBJECT_BYTES
from holdfast.model import DecodeError, Place, Span, unpack

_PATH_BYTES = 4095
"""Longest path that Linux takes."""


class FolderGrid:
    """A directory that keeps objects."""

    def __init__(self, name: str, root: Path, *, clock: Clock) -> None:
        self.name = name
        self._place = FolderPlace(name, root, clock)
        self._crew = Crew(f"grid {name}", size=GRID_THREADS, waiting=GRID_QUEUE)
        self._flusher = Flusher(self._crew)
        self._staging = Staging(self._place, self._crew, self._flusher, token=clock.token(8).hex())

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(metadata=self._place.labels, server_copy=True, local=True, object_bytes=OBJECT_BYTES)

    async def attach(self, known: str) -> str:
        try:
            identity = await self._crew.do(self._place.attach, known)
        except TROUBLES as trouble:
            raise explain(self.name, "attach", None, trouble) from trouble
        self._flusher.whole = self._place.root if self._place.whole_flush else None
        return identity

    # --- writing ---

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        self._folder(place, "stage")
        draft = self._staging.draft(label)
        stop = threading.Event()
        try:
            return _Staged(place, await self._staging.bring(draft, source, stop))
        except TROUBLES as trouble:
            self._staging.forget(draft)
            raise explain(self.name, "stage", place, trouble) from trouble
        except (GridError, asyncio.CancelledError):
            stop.set()
            self._staging.forget(draft)
            raise

    async def publish(self, staged: Staged) -> str:
        assert isinstance(staged, _Staged)
        place, held = staged.place, staged.bytes
        try:
            await self._flusher.submit(publish, self._place.root, place.bucket.encode(), place.key, held.path)
        except TROUBLES as trouble:
            raise explain(self.name, "publish", place, trouble) from trouble
        return etag_of(held.size, held.mtime_ns)

    async def discard(self, staged: Staged) -> None:
        assert isinstance(staged, _Staged)
        try:
            await self._flusher.submit(drop, staged.bytes.path)
        except TROUBLES as trouble:
            raise explain(self.name, "discard", staged.place, trouble) from trouble

    async def delete(self, place: Place) -> None:
        self._folder(place, "delete")
        try:
            await self._flusher.submit(self._delete, place)
        except TROUBLES as trouble:
            raise explain(self.name, "delete", place, trouble) from trouble

    def _delete(self, dirty: Dirty, place: Place) -> None:
        self._place.claim()
        if not delete(dirty, self._place.root, place.bucket.encode(), place.key):
            self._place.check()

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        self._folder(target, "copy")
        draft = self._staging.draft(label)
        stop = threading.Event()
        try:
            copied = await self._crew.do(self._copy, draft, source, if_match, stop)
        except TROUBLES as trouble:
            raise explain(self.name, "copy", source, trouble) from trouble
        except asyncio.CancelledError:
            stop.set()
            self._staging.forget(draft)
            raise
        try:
            return await self.publish(_Staged(target, copied))
        except GridError:
            self._staging.forget(draft)
            raise

    def _copy(self, draft: Draft, source: Place, if_match: str, stop: threading.Event) -> Bytes:
        self._place.claim()
        descriptor, status = self._open(source, "copy", if_match)
        try:
            return fill(draft.path, (descriptor,), status.st_size, draft.mtime_ns, draft.label, stop)
        finally:
            os.close(descriptor)

    # --- reading ---

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        held = Descriptor()
        try:
            return await self._crew.do(self._get, held, place, span, if_match)
        except TROUBLES as trouble:
            raise explain(self.name, "get", place, trouble) from trouble
        except asyncio.CancelledError:
            held.release()
            raise

    def _get(self, held: Descriptor, place: Place, span: Span | None, if_match: str) -> FileDownload:
        descriptor, status = self._open(place, "get", if_match)
        keep = False
        try:
            start, end = (0, status.st_size) if span is None else (span.start, span.end)
            if end > status.st_size:
                raise ended(self.name, place, status.st_size)
            first = read_at(descriptor, start, min(end - start, BLOCK_BYTES))
            if len(first) < min(end - start, BLOCK_BYTES):
                raise ended(self.name, place, start + len(first))
            keep = start + len(first) < end
        finally:
            if not keep:
                os.close(descriptor)
        if keep:
            held.adopt(descriptor)
        return FileDownload(self.name, self._crew, held, place, status, first, start, end)

    async def head(self, place: Place) -> Held:
        try:
            return await self._crew.do(self._head, place)
        except TROUBLES as trouble:
            raise explain(self.name, "head", place, trouble) from trouble

    def _head(self, place: Place) -> Held:
        found = stat_object(self._folder(place, "head"), place.key)
        if found is None:
            raise self._absent(place, "head")
        path, status = found
        return _held(place.key, status, _unpack_label(label_of(path)) if self._place.labels else None)

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        place = Place(bucket, prefix)
        try:
            return await self._crew.do(self._list, place, after, limit)
        except TROUBLES as trouble:
            raise explain(self.name, "list", place, trouble) from trouble

    def _list(self, place: Place, after: str, limit: int) -> tuple[Held, ...]:
        folder = self._bucket(place, "list")
        rows: list[Held] = []
        if limit > 0:
            for key, status in walk(folder, prefix=place.key.encode(), after=after.encode(), page=limit):
                rows.append(_held(key, status, None))
                if len(rows) == limit:
                    break
        self._place.check()  # An unmounted directory looks like an empty bucket, or like the end of one.
        return tuple(rows)

    async def release(self) -> None:
        """Give an empty place up, so that another index may have it. Raises Unavailable when objects are left."""
        try:
            await self._crew.do(self._place.release)
        except TROUBLES as trouble:
            raise explain(self.name, "release", None, trouble) from trouble

    async def close(self) -> None:
        self._crew.close()

    # --- within ---

    def _open(self, place: Place, operation: str, if_match: str) -> tuple[int, os.stat_result]:
        found = open_object(self._folder(place, operation), place.key)
        if found is None:
            raise self._absent(place, operation)
        descriptor, status = found
        etag = etag_of(status.st_size, status.st_mtime_ns)
        if if_match and etag != if_match:
            os.close(descriptor)
            raise self._refuse(place, operation, f"its etag is {etag}", Reason.MISMATCH)
        return found

    def _absent(self, place: Place, operation: str) -> Refused:
        """The answer for a file that is not there; raises NotThere when the place itself is not."""
        self._place.check()
        return self._refuse(place, operation, "not there", Reason.ABSENT)

    def _bucket(self, place: Place, operation: str) -> bytes:
        try:
            bucket = place.bucket.encode()
        except UnicodeEncodeError as trouble:
            raise self._refuse(place, operation, "the bucket's name is not UTF-8", Reason.INVALID) from trouble
        if not bucket or bucket[0] == 46 or b"/" in bucket or b"\0" in bucket:
            raise self._refuse(place, operation, "the bucket's name can be no directory", Reason.INVALID)
        return self._place.root + b"/" + bucket + b"/"

    def _folder(self, place: Place, operation: str) -> bytes:
        """The bucket's directory with a slash behind it. Raises Refused(INVALID) for what can never be held."""
        folder = self._bucket(place, operation)
        key = place.key
        try:
            size_bytes = len(key) if key.isascii() else len(key.encode())
        except UnicodeEncodeError as trouble:
            raise self._refuse(place, operation, "the key is not UTF-8", Reason.INVALID) from trouble
        if not 0 < size_bytes <= KEY_BYTES:
            raise self._refuse(place, operation, "the key is empty or too long", Reason.INVALID)
        if len(folder) + 5 * size_bytes > _PATH_BYTES and len(folder) + len(names.hard(key)) > _PATH_BYTES:
            raise self._refuse(place, operation, "the path would be too long", Reason.INVALID)
        return folder

    def _refuse(self, place: Place, operation: str, detail: str, reason: Reason) -> Refused:
        return Refused(self.name, operation, detail, reason=reason, bucket=place.bucket, key=place.key)


def _held(key: str, status: os.stat_result, label: Label | None) -> Held:
    mtime_ns = status.st_mtime_ns
    return Held(key, status.st_size, etag_of(status.st_size, mtime_ns), mtime_ns // 1_000_000, label)


def _unpack_label(data: bytes | None) -> Label | None:
    """The label, or None when there is none that can be read: it is a help, never a reason to fail."""
    if data is None:
        return None
    try:
        return unpack(data, Label)
    except DecodeError:
        return None


class _Staged:
    __slots__ = ("bytes", "place")
    pending_bytes = 0

    def __init__(self, place: Place, staged: Bytes) -> None:
        self.place = place
        self.bytes = staged
