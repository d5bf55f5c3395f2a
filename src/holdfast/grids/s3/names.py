"""Addresses of a grid's server, also while the name service fails.

Answers for threads of its own, so that a name service that hangs stops nothing else, and for the last good answer in place of
none. Invariant: an address that is given was an answer of the name service, if an older one.
"""

import asyncio
import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from holdfast.crew import Crew, CrewFull
from holdfast.limits import S3_NAMES_S

Tell = Callable[[str, str], None]
"""`tell(host, reason)`: a name has no address now, and the last good one stands in."""


class SystemNames(AbstractResolver):
    """The system's name service, asked by the threads of `crew`."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            return await self._crew.do(_look_up, host, port, family)
        except CrewFull as full:
            raise OSError(None, "too many lookups are waiting for the name service") from full

    async def close(self) -> None:
        """The crew belongs to the pool."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    flags = socket.AI_ADDRCONFIG
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=flags)
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return [
        ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=proto, flags=numeric)
        for kind, _, proto, _, address in found
    ]


class LastGood(AbstractResolver):
    """`inner`, whose last good answer stands in when it has none, or none soon: names fail more often than the servers behind them."""

    def __init__(self, inner: AbstractResolver, *, tell: Tell) -> None:
        self._inner = inner
        self._tell = tell
        self._good: dict[tuple[str, int, int], list[ResolveResult]] = {}
        self._failing: set[str] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        where = (host, port, int(family))
        found: list[ResolveResult] = []
        reason = "it has no address"
        try:
            async with asyncio.timeout(S3_NAMES_S):
                found = await self._inner.resolve(host, port, family)
        except TimeoutError:
            reason = f"the name service does not answer within {S3_NAMES_S:g} s"
        except OSError as trouble:
            reason = trouble.strerror or str(trouble)
        if found:
            self._good[where] = found
            self._failing.discard(host)
            return found
        if where not in self._good:
            raise OSError(None, reason)
        if host not in self._failing:
            self._failing.add(host)
            self._tell(host, reason)
        return self._good[where]

    async def close(self) -> None:
        await self._inner.close()
