"""The door to `aiohttp` for webhooks: one request to one address that the operator configured.

Answers for connections, deadlines and for reading no more of an answer than its status. It never follows a redirection, takes no
proxy from the environment and repeats nothing. Invariant: whatever a webhook does, `send` returns within WEBHOOK_S.
"""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from holdfast.crew import Crew
from holdfast.errors import ConfigError
from holdfast.grids.s3.names import LastGood, SystemNames, Tell
from holdfast.limits import NOTICES_AT_ONCE, WEBHOOK_CONNECT_S, WEBHOOK_IDLE_S, WEBHOOK_REPLY_BYTES, WEBHOOK_S
from holdfast.model import Value


class Answer(Value, frozen=True):
    """What became of a request."""

    status: int
    """0: there was no answer."""
    retry_after_s: float = 0.0
    detail: str = ""


class Sender:
    """Requests to one webhook. Connections are made within a running loop, at the first request."""

    def __init__(self, url: str, *, tls_ca: Path | None = None, tell: Tell = lambda host, reason: None) -> None:
        self._url = url
        self._tls = _tls_context(tls_ca)
        self._tell = tell
        self._crew = Crew("webhook names", size=1, waiting=NOTICES_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST a message."""
        try:
            async with asyncio.timeout(WEBHOOK_S):
                response = await self._open().post(self._url, data=body, headers=headers, allow_redirects=False)
                try:
                    await response.content.read(WEBHOOK_REPLY_BYTES)
                    return Answer(response.status, _seconds(response.headers.get("Retry-After", "")))
                finally:
                    response.release()
        except TimeoutError:
            return Answer(0, detail=f"no answer within {WEBHOOK_S:g} s")
        except (aiohttp.ClientError, OSError) as trouble:
            return Answer(0, detail=f"{type(trouble).__name__}: {trouble}")

    async def close(self) -> None:
        self._crew.close()
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls,
                limit=NOTICES_AT_ONCE,
                keepalive_timeout=WEBHOOK_IDLE_S,
                resolver=LastGood(SystemNames(self._crew), tell=self._tell),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=WEBHOOK_CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "holdfast"},
            )
        return self._session


def _seconds(text: str) -> float:
    """What Retry-After says in seconds; as a date it is not understood, and our own pause applies."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0


def _tls_context(tls_ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls_ca is not None:
        try:
            context.load_verify_locations(cafile=tls_ca)
        except (OSError, ssl.SSLError) as trouble:
            remedy = "Name a file with certificates in PEM."
            raise ConfigError(f"tls_ca = {tls_ca}", f"it cannot be read: {trouble}.", remedy) from trouble
    return context
