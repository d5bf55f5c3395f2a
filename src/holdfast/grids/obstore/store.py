"""The one door to `obstore`: requests to one account, and what comes back.

Answers for connections, credentials that are read again when they change, and for every error leaving as a GridError. The
library repeats nothing here: retries are ours. It knows neither keys nor labels. Invariant: a body is never held whole, and
nothing that the library says is believed to be an answer without its status.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore

from holdfast.clock import Clock
from holdfast.errors import Corrupt, Unavailable
from holdfast.grids.obstore.access import Access, AzureAccess, GcsAccess, NoAccess
from holdfast.grids.obstore.providers import Provider
from holdfast.grids.obstore.replies import classify
from holdfast.grids.s3.location import Spot
from holdfast.grids.s3.replies import Asked
from holdfast.limits import (
    BLOCK_BYTES,
    LIST_PAGE,
    OBSTORE_PIECE_BYTES,
    OBSTORE_PLACES,
    OBSTORE_REQUEST_S,
    OBSTORE_SETTLE_S,
    S3_CONNECT_S,
    S3_IDLE_S,
    S3_RELOAD_S,
)
from holdfast.model import Span, Value

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta, PutMode
    from obstore.store import ClientConfig, RetryConfig

    AnyStore = AzureStore | GCSStore

_T = TypeVar("_T")
_TROUBLES: Final = (BaseError, OSError, ValueError)
"""What the library raises: its own errors, FileNotFoundError, and ValueError for names."""
_RETRY: Final["RetryConfig"] = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


class Facts(Value, frozen=True):
    """What is known of one object."""

    name: str
    size: int
    etag: str
    modified_ms: int


class _Calls:
    """Waits for the library, and turns what it raises into GridErrors."""

    def __init__(self, place: str, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._used_s = float("-inf")

    async def do(self, asked: Asked, call: Awaitable[_T]) -> _T:
        """What `call` gives. Raises GridError, AlreadyExistsError and StopAsyncIteration."""
        try:
            return await call
        except (AlreadyExistsError, StopAsyncIteration):
            raise
        except _TROUBLES as trouble:
            raise classify(asked, trouble, place=self._place) from trouble
        finally:
            self._used_s = self._clock.monotonic_s()

    async def settle(self) -> None:
        """After a call, above all one that was cut off, the library's threads still have to let go of it: a process that ends before
        that crashes at its end."""
        if self._clock.monotonic_s() - self._used_s < OBSTORE_SETTLE_S:
            await self._clock.sleep(OBSTORE_SETTLE_S)


class Found:
    """An object whose reply has begun."""

    __slots__ = ("_asked", "_calls", "_result", "attributes", "end", "facts", "start")

    def __init__(self, result: "GetResult", asked: Asked, calls: _Calls) -> None:
        self._result: GetResult | None = result
        self._asked = asked
        self._calls = calls
        self.facts = _facts(result.meta)
        self.attributes: Mapping[str, str] = dict(result.attributes)
        self.start, self.end = result.range

    async def stream(self) -> AsyncIterator[bytes]:
        """The asked bytes in pieces of at most BLOCK_BYTES. Raises GridError when they end early."""
        result, self._result = self._result, None
        if result is None:
            raise Unavailable(self._asked.grid, "get", "the download was closed", shielded=True)
        left = self.end - self.start
        chunks = result.stream(min_chunk_size=OBSTORE_PIECE_BYTES)
        while left > 0:
            try:
                view = memoryview(await self._calls.do(self._asked, anext(chunks)))
            except StopAsyncIteration:
                break
            left -= len(view)
            for at in range(0, len(view), BLOCK_BYTES):
                yield bytes(view[at : at + BLOCK_BYTES])
        if left:
            place = self._asked.place
            detail = f"the body is {left} bytes short" if left > 0 else "the body is longer than it says"
            raise Corrupt(self._asked.grid, "get", detail, bucket=place.bucket, key=place.key)

    def close(self) -> None:
        """Cut it off."""
        self._result = None


class Writer:
    """An upload in parts that nobody can see before `finish`."""

    def __init__(self, writer: Any, asked: Asked, calls: _Calls) -> None:
        self._writer = writer
        self._asked = asked
        self._calls = calls

    async def write(self, data: bytes) -> None:
        """Take more of the body; returns when there is room for the next. Raises GridError."""
        await self._calls.do(self._asked, self._writer.write(data))

    async def finish(self, asked: Asked) -> None:
        """Send what is left, and make it the object. Raises GridError."""
        await self._calls.do(asked, self._writer.close())


class Account:
    """Requests with one account's credentials."""

    def __init__(self, provider: Provider, access: Access, *, clock: Clock, grid: str) -> None:
        self.provider = provider
        self._access = access
        self._clock = clock
        self._grid = grid
        self._calls = _Calls(provider.place, clock)
        self._secrets: Mapping[str, str] | None = None
        self._looked_s = float("-inf")
        self._stores: dict[str, AnyStore] = {}
        self._closed = False

    async def put(
        self, asked: Asked, spot: Spot, data: bytes, attributes: Mapping[str, str], *, fresh: bool = False
    ) -> str | None:
        """Make `data` the object and return its etag; None when `fresh` and something is there already."""
        store = await self._store(asked, spot.bucket)
        mode: PutMode = "create" if fresh else "overwrite"
        put = obstore.put_async(
            store,
            spot.key,
            data,
            attributes=dict(attributes),
            mode=mode,
            use_multipart=False,
        )
        try:
            return _bare((await self._calls.do(asked, put))["e_tag"])
        except AlreadyExistsError as trouble:
            if fresh:
                return None
            raise classify(asked, trouble, place=self.provider.place) from trouble

    async def begin(self, asked: Asked, spot: Spot, attributes: Mapping[str, str], *, part: int, lanes: int) -> Writer:
        """Begin an upload in parts."""
        store = await self._store(asked, spot.bucket)
        writer = obstore.open_writer_async(
            store, spot.key, attributes=dict(attributes), buffer_size=part, max_concurrency=lanes
        )
        return Writer(writer, asked, self._calls)

    async def get(self, asked: Asked, spot: Spot, *, span: Span | None = None, if_match: str = "") -> Found:
        """Begin reading. Raises GridError."""
        options: GetOptions = {}
        if span is not None:
            options["range"] = (span.start, span.end)
        if if_match:
            options["if_match"] = f'"{if_match}"'
        return await self._get(asked, spot, options)

    async def head(self, asked: Asked, spot: Spot) -> Found:
        """What is there, without its bytes. Raises GridError."""
        return await self._get(asked, spot, {"head": True})

    async def _get(self, asked: Asked, spot: Spot, options: "GetOptions") -> Found:
        store = await self._store(asked, spot.bucket)
        return Found(
            await self._calls.do(asked, obstore.get_async(store, spot.key, options=options)), asked, self._calls
        )

    async def delete(self, asked: Asked, spot: Spot) -> None:
        """Remove an object. Raises GridError, Refused(ABSENT) too."""
        store = await self._store(asked, spot.bucket)
        await self._calls.do(asked, obstore.delete_async(store, spot.key))

    async def list(self, asked: Asked, place: str, directory: str, begin: str | None) -> AsyncIterator[Facts]:
        """Objects below a directory, in the provider's order, from about `begin` on. Raises GridError."""
        store = await self._store(asked, place)
        chunks = obstore.list(store, directory or None, offset=begin, chunk_size=LIST_PAGE)
        while True:
            try:
                chunk = await self._calls.do(asked, anext(chunks))
            except StopAsyncIteration:
                return
            for meta in chunk:
                yield _facts(meta)

    async def close(self) -> None:
        """Let go of all connections; what still runs ends by itself."""
        self._closed = True
        self._stores.clear()
        await self._calls.settle()

    # --- within ---

    async def _store(self, asked: Asked, place: str) -> "AnyStore":
        where = {"bucket": asked.place.bucket, "key": asked.place.key}
        if self._closed:
            raise Unavailable(self._grid, asked.operation, "the grid was closed", **where, shielded=True)  # type: ignore[arg-type]
        if self._clock.monotonic_s() - self._looked_s > S3_RELOAD_S:
            try:
                secrets = await asyncio.to_thread(self._access.secrets)
            except NoAccess as trouble:
                raise Unavailable(self._grid, asked.operation, str(trouble), **where, lasting=True) from trouble  # type: ignore[arg-type]
            self._looked_s = self._clock.monotonic_s()
            if secrets != self._secrets:
                self._secrets = secrets
                self._stores.clear()
        found = self._stores.get(place)
        if found is None:
            if len(self._stores) >= OBSTORE_PLACES:
                self._stores.pop(next(iter(self._stores)))
            try:
                found = self._stores[place] = self._build(place, self._secrets or {})
            except _TROUBLES as trouble:
                detail = "its settings are not accepted: check url, endpoint and the account's key"
                raise Unavailable(self._grid, asked.operation, detail, **where, lasting=True) from trouble  # type: ignore[arg-type]
        return found

    def _build(self, place: str, secrets: Mapping[str, str]) -> "AnyStore":
        options: ClientConfig = {
            "connect_timeout": timedelta(seconds=S3_CONNECT_S),
            "timeout": timedelta(seconds=OBSTORE_REQUEST_S),
            "pool_idle_timeout": timedelta(seconds=S3_IDLE_S),
            "allow_http": self._access.endpoint.startswith("http:"),
        }
        if self._access.proxy:
            options["proxy_url"] = self._access.proxy
        if certificates := secrets.get("tls_ca"):
            options["root_certificate"] = certificates
        match self._access:
            case AzureAccess():
                return AzureStore(
                    place, config=self._access.config(secrets), client_options=options, retry_config=_RETRY
                )
            case GcsAccess():
                # Google unpacks what is stored with Content-Encoding: gzip unless the request accepts it packed.
                options["default_headers"] = {"accept-encoding": "gzip"}
                return GCSStore(place, config=self._access.config(secrets), client_options=options, retry_config=_RETRY)


def _facts(meta: "ObjectMeta") -> Facts:
    modified: datetime = meta["last_modified"]
    at_ms = int(modified.astimezone(UTC).timestamp()) * 1000
    return Facts(meta["path"], meta["size"], _bare(meta["e_tag"]), at_ms)


def _bare(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')
