"""The reference model of a grid: objects in a dictionary.

What it does is what `Grid` means; tests use it as the fake. It forgets everything with its process, so it is
never `local`, and it holds bodies whole. Invariant: an object is replaced in one assignment.
"""

import bisect
import itertools
from collections.abc import AsyncIterator

from holdfast.errors import Reason, Refused, Unavailable
from holdfast.grids.grid import Capabilities, Download, Held, Label, Source, Staged
from holdfast.limits import BLOCK_BYTES, KEY_BYTES, OBJECT_BYTES
from holdfast.model import Place, Span, Value

_serial = itertools.count(1)


class _Object(Value, frozen=True):
    data: bytes
    etag: str
    label: Label


class _Staged:
    __slots__ = ("data", "label", "place")
    pending_bytes = 0

    def __init__(self, place: Place, data: bytes, label: Label) -> None:
        self.place = place
        self.data: bytes | None = data
        self.label = label


class MemoryGrid:
    """A grid that lives as long as this value."""

    capabilities = Capabilities(metadata=True, server_copy=True, local=False, object_bytes=OBJECT_BYTES)

    def __init__(self, name: str) -> None:
        self.name = name
        self._identity = ""
        self._claimed = False
        self._lost = False
        self._buckets: dict[str, dict[str, _Object]] = {}

    def lose(self) -> None:
        """Become empty, as a place that was lost and replaced. Until it is attached anew it is not the known place."""
        self._buckets.clear()
        self._identity = ""
        self._claimed = False
        self._lost = True

    def rot(self, place: Place, at: int) -> bool:
        """Flip a bit of the byte at `at`, and keep its etag; False when there is no such byte."""
        found = self._buckets.get(place.bucket, {}).get(place.key)
        if found is None or at >= len(found.data):
            return False
        data = found.data[:at] + bytes((found.data[at] ^ 1,)) + found.data[at + 1 :]
        self._buckets[place.bucket][place.key] = _Object(data, found.etag, found.label)
        return True

    async def attach(self, known: str) -> str:
        if not self._identity:
            self._identity = f"memory-{self.name}-{next(_serial)}"
        elif not known and self._claimed:
            raise Refused(self.name, "attach", "it belongs to another index", reason=Reason.DENIED)
        elif known and known != self._identity and self._claimed:
            raise Unavailable(self.name, "attach", "it is not the place it should be")
        self._claimed = self._claimed or known == self._identity
        self._lost = False
        return self._identity

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        self._check(place, "stage")
        data = source.data
        if data is None:
            data = b"".join([piece async for piece in source.stream()])
        if len(data) != source.size:
            raise Unavailable(
                self.name, "stage", f"the body has {len(data)} bytes instead of {source.size}", shielded=True
            )
        return _Staged(place, data, label)

    async def publish(self, staged: Staged) -> str:
        assert isinstance(staged, _Staged)
        self._check(staged.place, "publish")
        if staged.data is None:
            raise Unavailable(self.name, "publish", "the staged bytes are gone", bucket=staged.place.bucket)
        self._claimed = True
        etag = f"m{next(_serial)}"
        self._buckets.setdefault(staged.place.bucket, {})[staged.place.key] = _Object(staged.data, etag, staged.label)
        staged.data = None
        return etag

    async def discard(self, staged: Staged) -> None:
        assert isinstance(staged, _Staged)
        staged.data = None

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        found = self._find(place, "get", if_match)
        data = found.data if span is None else found.data[span.start : span.end]
        return _Download(data, found.etag, len(found.data))

    async def head(self, place: Place) -> Held:
        found = self._find(place, "head", "")
        return Held(place.key, len(found.data), found.etag, found.label.modified_ms, found.label)

    async def delete(self, place: Place) -> None:
        self._check(place, "delete")
        self._claimed = True
        objects = self._buckets.get(place.bucket, {})
        objects.pop(place.key, None)
        if not objects:
            self._buckets.pop(place.bucket, None)

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        self._check_known(Place(bucket, prefix), "list")
        objects = self._buckets.get(bucket, {})
        keys = sorted((key for key in objects if key.startswith(prefix)), key=str.encode)
        start = bisect.bisect_right(keys, after.encode(), key=str.encode)
        return tuple(
            Held(key, len(objects[key].data), objects[key].etag, objects[key].label.modified_ms)
            for key in keys[start : start + limit]
        )

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        self._check(target, "copy")
        found = self._find(source, "copy", if_match)
        return await self.publish(_Staged(target, found.data, label))

    async def close(self) -> None:
        """Nothing to let go of."""

    def _find(self, place: Place, operation: str, if_match: str) -> _Object:
        self._check(place, operation)
        found = self._buckets.get(place.bucket, {}).get(place.key)
        if found is None:
            raise self._refuse(place, operation, "not there", Reason.ABSENT)
        if if_match and found.etag != if_match:
            raise self._refuse(place, operation, f"its etag is {found.etag}", Reason.MISMATCH)
        return found

    def _check(self, place: Place, operation: str) -> None:
        if not 0 < len(place.key.encode("utf-8", "surrogatepass")) <= KEY_BYTES:
            raise self._refuse(place, operation, "the key is empty or too long", Reason.INVALID)
        self._check_known(place, operation)

    def _check_known(self, place: Place, operation: str) -> None:
        if self._lost:
            detail = "it is not the place that was attached"
            raise Unavailable(self.name, operation, detail, bucket=place.bucket, key=place.key)

    def _refuse(self, place: Place, operation: str, detail: str, reason: Reason) -> Refused:
        return Refused(self.name, operation, detail, reason=reason, bucket=place.bucket, key=place.key)


class _Download:
    __slots__ = ("_data", "etag", "size")

    def __init__(self, data: bytes, etag: str, size: int) -> None:
        self._data = data
        self.etag = etag
        self.size = size

    async def stream(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), BLOCK_BYTES):
            yield self._data[start : start + BLOCK_BYTES]

    async def close(self) -> None:
        self._data = b""
