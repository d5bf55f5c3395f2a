"""An S3 client of our own that never tries twice, so that every failure counts.

Answers for signing, for connections that are kept, and for a deadline per request. It hides nothing: what is not answered is
Silence, whatever was answered is a Reply. Invariant: a connection on which anything went wrong is not used again.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from holdfast.clock import Clock
from holdfast.model import Value
from holdfast.signing import EMPTY_SHA256, canonical_query, encode_path, sign_headers
from holdfast.testing.lab.network.http import HEAD_BYTES, Malformed, Message, read_message

PATIENCE_S: Final = 20.0
"""What common SDKs wait for an answer, rather less."""
_PIECE: Final = 256 * 1024


class Silence(Exception):
    """No answer: refused, reset, cut off, or too late."""


class Keys(Value, frozen=True):
    """A key pair."""

    access: str
    secret: str


class Client:
    """Asks one endpoint on this machine."""

    def __init__(self, port: int, keys: Keys, *, clock: Clock, region: str = "us-east-1") -> None:
        self.port = port
        self._keys = keys
        self._clock = clock
        self._region = region
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """Send one request and return the whole reply. `headers` are signed, too. Raises Silence."""
        digest = hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256
        signed = sign_headers(
            method, path, query, {"host": f"127.0.0.1:{self.port}", **(headers or {})}, payload=digest, access_key=self._keys.access,
            secret_key=self._keys.secret, region=self._region, now_ms=self._clock.now_ms(),
        )  # fmt: skip
        target = encode_path(path) + (f"?{canonical_query(query)}" if query else "")
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        head = f"{method} {target} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode("latin-1")
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._exchange(method, head, body)
        except (OSError, RuntimeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, Malformed) as trouble:
            # RuntimeError is what uvloop says of a transport that was closed a moment ago.
            told = "no answer in time" if isinstance(trouble, TimeoutError) else f"{type(trouble).__name__}: {trouble}"
            raise Silence(told) from trouble

    async def _exchange(self, method: str, head: bytes, body: bytes) -> Message:
        reader, writer = await self._connection()
        kept = False
        try:
            writer.write(head)
            for start in range(0, len(body), _PIECE):
                writer.write(body[start : start + _PIECE])
                await writer.drain()
            reply = await read_message(reader, asked=method)
            if reply is None or not reply.whole:
                raise ConnectionResetError("the connection ended within the reply")
            kept = not reply.closes
            return reply
        finally:
            if kept:
                self._idle.append((reader, writer))
            else:
                writer.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that is kept and was not closed meanwhile, else a new one."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not (writer.is_closing() or reader.at_eof()):
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port, limit=HEAD_BYTES)

    def close(self) -> None:
        """Close the connections that are kept."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
