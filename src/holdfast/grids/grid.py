"""`Grid`: the only storage interface, and it stays narrow.

Guarantees that every grid and every wrapper keeps (the contract suite in `testing/contract.py`
tests them):

- `publish` is atomic: a reader sees the old object or the new one, whole, never a mixture, and
  before `publish` nobody sees anything of what was staged.
- When `publish` or `delete` returns, the change is durable: it survives power loss at the grid.
- A failed `stage` leaves nothing visible. A `publish` or `delete` that failed without an answer raises
  `Uncertain`; `Unavailable` means that it certainly did not act.
- `get` with `if_match` gives the bytes of exactly that copy or raises `Refused(MISMATCH)`.
- A missing object is `Refused(ABSENT)`, said only by a grid that is certain of being the right place.
- Keys are any UTF-8 text of up to 1,024 bytes; what a grid cannot hold it refuses with
  `Refused(INVALID)` at `stage`, never later.

Errors are those of `holdfast.errors`; nothing else leaves a grid.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from holdfast.limits import KEY_BYTES, USER_METADATA_BYTES
from holdfast.model import Place, Span, Value


class Capabilities(Value, frozen=True):
    """What a grid can and cannot do, declared."""

    metadata: bool
    """Labels are kept with the object, so that the index can be rebuilt."""
    server_copy: bool
    """`copy` does not move bytes through this process."""
    local: bool
    """Bytes lie on this machine: holding is as durable as a commit of the index here."""
    object_bytes: int
    """Largest object."""
    key_bytes: int = KEY_BYTES
    """Longest key, or, with `bucket_in_key`, longest bucket's name and key together."""
    bucket_in_key: bool = False
    refused_keys: str = ""
    """Pattern of keys (with `bucket_in_key` of `bucket/key`) that cannot be held, found anywhere in them: what file systems or
    proxies at the other end stumble over."""
    metadata_bytes: int = USER_METADATA_BYTES * 2
    """User metadata, as `metadata.size_bytes` measures it. The default takes whatever S3 allows, encoded."""
    address: object = None
    """Where its objects lie, for other grids of its kind, and nobody else looks into it; None when no grid could copy from there."""


class Label(Value, frozen=True):
    """What a copy carries with it beside its bytes. The index is canonical; this serves rebuilding it."""

    seq: int
    etag: str
    modified_ms: int
    system: dict[str, str]
    user: dict[str, str]


class Origin(Value, frozen=True):
    """A copy of the same bytes at another grid: that grid's `capabilities.address`, the place there, and its etag of the copy."""

    address: object
    place: Place
    etag: str


class Source(Protocol):
    """A body that can be read again from its start as often as needed."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    @property
    def data(self) -> bytes | None:
        """The whole body, when it is small and in memory."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Local files whose concatenation is the body; empty when there are none."""
        ...

    @property
    def handover(self) -> bool:
        """True when `files` is one file that nobody will write again or needs to be independent
        of the copy: it may be linked into the grid instead of being copied."""
        ...

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Other grids that hold these very bytes, the best first. A grid at the same provider may have them brought from there
        when it publishes. If they cannot be, that is `Refused(MISMATCH)` and nothing was changed: stage again without origins."""
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """The body from its first byte, in pieces of at most BLOCK_BYTES. May raise GridError
        (when it is itself read from another grid)."""
        ...


class Staged(Protocol):
    """Bytes at a grid that nobody can see yet. Belongs to the grid that made it."""

    @property
    def place(self) -> Place: ...

    @property
    def pending_bytes(self) -> int:
        """Bytes that `publish` still has to move, or that the grid has to put together then: what it may take longer for."""
        ...


class Download(Protocol):
    """An object being read. Use once; `close` always."""

    @property
    def etag(self) -> str:
        """This grid's etag of the copy that is being read."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the whole object, not of the span."""
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """The asked bytes, in pieces of at most BLOCK_BYTES. Raises GridError when they end early."""
        ...

    async def close(self) -> None: ...


class Held(Value, frozen=True):
    """What a grid says of one object."""

    key: str
    size: int
    etag: str
    modified_ms: int
    label: Label | None = None
    """Only from `head`, and only where capabilities say metadata."""


class Grid(Protocol):
    """One configured place that keeps objects."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def attach(self, known: str) -> str:
        """Make sure that this is the place it should be, and return its identity.

        `known` is the identity under which the index registered it, or empty at first sight: then
        an empty place is made ready and given a new identity, and a place that belongs to another index
        is `Refused(DENIED)`. Later, a place that was emptied (lost and replaced) gets a new identity, so that the
        caller sees that it holds nothing; a place that is missing, or certainly not the same, is
        `Unavailable`. Cheap enough to be called every few seconds.
        """
        ...

    async def stage(self, place: Place, source: Source, label: Label) -> Staged:
        """Bring the bytes to the grid, durably, where nobody can see them."""
        ...

    async def publish(self, staged: Staged) -> str:
        """Make staged bytes the object at their place, and return the grid's etag of it."""
        ...

    async def discard(self, staged: Staged) -> None:
        """Forget staged bytes. Never fails for bytes that are gone already."""
        ...

    async def get(self, place: Place, *, span: Span | None = None, if_match: str = "") -> Download:
        """Begin reading. `span` must lie within the object."""
        ...

    async def head(self, place: Place) -> Held:
        """What is there. Raises Refused(ABSENT)."""
        ...

    async def delete(self, place: Place) -> None:
        """Make sure that nothing is there. Succeeds when nothing was."""
        ...

    async def list(self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> tuple[Held, ...]:
        """Objects with keys above `after`, in UTF-8 byte order of their keys, at most `limit`.
        A bucket that the grid does not know is empty."""
        ...

    async def copy(self, source: Place, target: Place, *, if_match: str, label: Label) -> str:
        """Copy inside the grid, atomically, and return the new etag."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections. Never waits for a hung operation."""
        ...
