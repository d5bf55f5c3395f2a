"""The one door to `aiohttp`: connections to one grid, and what goes wrong on them.

Answers for warm connections, names that stop resolving, certificates, proxies, and for the class of every silence. It signs nothing
and reads no meaning into replies. Each grid has a pool of its own. It never repeats a change.
Invariant: only a request that certainly did not reach the server is `Unavailable` when it was a change.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

import aiohttp
from yarl import URL

from holdfast.crew import Crew
from holdfast.errors import ConfigError, Corrupt, GridError, Unavailable, Uncertain
from holdfast.grids.s3.names import LastGood, SystemNames
from holdfast.grids.s3.replies import Asked
from holdfast.limits import BLOCK_BYTES, S3_CONNECT_S, S3_CONNECTIONS, S3_IDLE_S, S3_REPLY_BYTES

_UNASKED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add."""
_PIECE: Final = 256 * 1024
_NAMES_S: Final = 10
_METADATA_S: Final = 2.0


class Pieces:
    """A body that is sent piece by piece."""

    __slots__ = ("size", "stream")

    def __init__(self, size: int, stream: Callable[[], AsyncIterator[bytes]]) -> None:
        self.size = size
        self.stream = stream


Body = bytes | Pieces | None


class Sealed:
    """What of a request's headers nobody may read: its signature and its session token. Some servers and proxies repeat in an
    error what they were sent, and errors are logged and shown."""

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        proof = headers.get("authorization", "").rpartition("Signature=")[2]
        token = headers.get("x-amz-security-token", "")
        written = (proof, token, escape(token), quote(token, safe=""), quote(token, safe="/"))
        self._values = tuple(filter(None, dict.fromkeys(written)))

    def mask(self, text: str) -> str:
        """The text without them."""
        for value in self._values:
            text = text.replace(value, "***")
        return text

    def mask_bytes(self, data: bytes) -> bytes:
        """The same for a body."""
        for value in self._values:
            data = data.replace(value.encode(), b"***")
        return data


class Answer:
    """A reply whose body is still on its way. `close` always. What it repeats of `sealed` is masked, but in a success that is streamed."""

    __slots__ = ("_asked", "_read", "_response", "_sealed", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, asked: Asked, sealed: Sealed) -> None:
        self._response = response
        self._asked = asked
        self._sealed = sealed
        self._read: bytes | None = None
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        if self.status >= 300:
            self.headers = {name: sealed.mask(value) for name, value in self.headers.items()}

    async def body(self) -> bytes:
        """All of it, and the connection given back. Raises GridError."""
        if self._read is not None:
            return self._read
        try:
            pieces: list[bytes] = []
            size = 0
            while piece := await self._response.content.read(BLOCK_BYTES):
                pieces.append(piece)
                size += len(piece)
                if size > S3_REPLY_BYTES:
                    raise Corrupt(
                        self._asked.grid, self._asked.operation, f"a reply of more than {S3_REPLY_BYTES} bytes"
                    )
            self._read = self._sealed.mask_bytes(b"".join(pieces))
            return self._read
        except (aiohttp.ClientError, OSError) as trouble:
            raise silence(self._asked, trouble, self._sealed) from trouble
        finally:
            self.close()

    async def stream(self) -> AsyncIterator[bytes]:
        """Its bytes as they come, in pieces of at most BLOCK_BYTES. Raises GridError when it ends early."""
        try:
            while piece := await self._response.content.read(BLOCK_BYTES):
                yield piece
        except (aiohttp.ClientError, OSError) as trouble:
            raise silence(self._asked, trouble, self._sealed) from trouble

    def close(self) -> None:
        """Keep the connection when the body was read to its end, else cut it."""
        self._response.close() if not self._response.content.at_eof() else self._response.release()


class Pool:
    """Connections to one grid. Made within a running loop at the first request, so that a grid may be built before."""

    def __init__(self, *, tls_ca: Path | None, proxy: str, tell: Callable[[str, str], None]) -> None:
        self._proxy = proxy or None
        self._tell = tell
        self._tls = _tls_context(tls_ca)
        self._crew = Crew("names", size=2, waiting=S3_CONNECTIONS)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, asked: Asked, method: str, url: str, headers: Mapping[str, str], body: Body) -> Answer:
        """Send a request and return when its reply begins. Raises Unavailable, Uncertain or Corrupt."""
        if self._closed:
            raise Unavailable(asked.grid, asked.operation, "the grid was closed", shielded=True)
        sealed = Sealed(headers)
        try:
            response = await self._request(method, url, headers, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as trouble:
            if method not in ("GET", "HEAD") or isinstance(trouble, aiohttp.ClientConnectorError):
                raise silence(asked, trouble, sealed) from trouble
            # The server closed a connection that had been idle just as it was used again. Reading may be repeated.
            try:
                response = await self._request(method, url, headers, body)
            except (aiohttp.ClientError, OSError) as again:
                raise silence(asked, again, sealed) from again
        except (aiohttp.ClientError, OSError) as trouble:
            raise silence(asked, trouble, sealed) from trouble
        return Answer(response, asked, sealed)

    async def _request(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> aiohttp.ClientResponse:
        data: object = body
        sent = dict(headers)
        if isinstance(body, Pieces):
            data, sent["content-length"] = body.stream(), str(body.size)
        elif body is not None and len(body) > _PIECE:
            data, sent["content-length"] = _pieces(body), str(len(body))
        return await self._open().request(
            method, URL(url, encoded=True), headers=sent, data=data, proxy=self._proxy, allow_redirects=False
        )

    async def fetch(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """A request to a metadata service of this machine, never through the proxy. Raises OSError."""
        try:
            async with (
                asyncio.timeout(_METADATA_S),
                self._open().request(
                    method, URL(url, encoded=True), headers=headers, allow_redirects=False
                ) as response,
            ):
                return response.status, await response.content.read(BLOCK_BYTES)
        except (aiohttp.ClientError, TimeoutError) as trouble:
            raise OSError(None, f"{url} does not answer") from trouble

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls,
                limit=S3_CONNECTIONS,
                keepalive_timeout=S3_IDLE_S,
                ttl_dns_cache=_NAMES_S,
                resolver=LastGood(SystemNames(self._crew), tell=self._tell),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=S3_CONNECT_S),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_UNASKED,
                read_bufsize=BLOCK_BYTES,
            )
            # Of itself it would send a PUT or DELETE again whose connection broke: a blind repetition of an uncertain change.
            self._session._retry_connection = False
        return self._session

    async def close(self) -> None:
        self._closed = True
        self._crew.close()
        if self._session is not None:
            await self._session.close()


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


def _tls_context(tls_ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls_ca is not None:
        try:
            context.load_verify_locations(cafile=tls_ca)
        except (OSError, ssl.SSLError) as trouble:
            remedy = "Name a file with certificates in PEM."
            raise ConfigError(f"tls_ca = {tls_ca}", f"it cannot be read: {trouble}.", remedy) from trouble
    return context


def silence(asked: Asked, trouble: Exception, sealed: Sealed) -> GridError:
    """The class of a request that got no reply, or not all of it."""
    if (own := _own(trouble)) is not None:
        return own  # The body's source failed, not the grid.
    match trouble:
        case aiohttp.ClientConnectorDNSError():
            return _unavailable(
                asked, f"there is no address for {trouble.host}: check endpoint and the name service", lasting=True
            )
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(trouble.certificate_error, "verify_message", "") or str(trouble.certificate_error)
            detail = f"the certificate of {trouble.host} is not valid: {reason}; the provider must renew it, or check endpoint and tls_ca"
            return _unavailable(asked, detail, lasting=True)
        case aiohttp.ClientProxyConnectionError():
            return _unavailable(
                asked, f"the proxy {trouble.host} cannot be reached: {trouble.strerror or trouble}: check proxy"
            )
        case aiohttp.ClientHttpProxyError():
            return _unavailable(
                asked, f"the proxy refuses to connect ({trouble.status} {trouble.message}): check proxy", lasting=True
            )
        case aiohttp.ClientConnectorSSLError():
            return _unavailable(asked, f"no TLS with {trouble.host}: {trouble.strerror or trouble}")
        case aiohttp.ClientConnectorError():
            return _unavailable(
                asked, f"no connection with {trouble.host}: {trouble.os_error.strerror or trouble.os_error}"
            )
        case aiohttp.ConnectionTimeoutError():
            return _unavailable(asked, f"no connection within {S3_CONNECT_S:g} s")
        case aiohttp.InvalidURL():
            return _unavailable(asked, f"the address {trouble.url} is not valid: check endpoint", lasting=True)
        case aiohttp.ClientResponseError() if not asked.changes:
            return Corrupt(
                asked.grid,
                asked.operation,
                f"the reply is no HTTP: {sealed.mask(trouble.message)}",
                bucket=asked.place.bucket,
                key=asked.place.key,
            )
        case aiohttp.ClientPayloadError():
            detail = f"the reply was cut off: {sealed.mask(str(trouble))}"
        case _:
            detail = f"the connection broke: {sealed.mask(str(trouble)) or type(trouble).__name__}"
    if asked.changes:
        return Uncertain(asked.grid, asked.operation, detail, bucket=asked.place.bucket, key=asked.place.key)
    return _unavailable(asked, detail)


def _own(trouble: BaseException | None) -> GridError | None:
    while trouble is not None:
        if isinstance(trouble, GridError):
            return trouble
        trouble = trouble.__cause__
    return None


def _unavailable(asked: Asked, detail: str, *, lasting: bool = False) -> Unavailable:
    return Unavailable(
        asked.grid, asked.operation, detail, bucket=asked.place.bucket, key=asked.place.key, lasting=lasting
    )
