"""A proxy in front of one provider that behaves as badly as its faults say.

Answers for the door (who may connect, and what they are shown) and for each request on its way there and back. Without faults it
adds LATENCY_S, so that "ten times slower" means something on loopback, and changes nothing. Invariant: after `close`
its port is free and no connection is left.
"""

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import unquote

from holdfast.clock import Clock
from holdfast.testing.lab.network import certificates
from holdfast.testing.lab.network.faults import DOOR, PROCESS, Fault, Kind, Operation
from holdfast.testing.lab.network.http import HEAD_BYTES, Malformed, Message, read_message, reply_bytes, with_header
from holdfast.testing.lab.network.messages import (
    LATE,
    completes,
    object_reply,
    operation_of,
    plain_body,
    refusal,
    without_expect,
)

LATENCY_S: Final = 0.01
"""What each request takes on its way, as if the provider were somewhere else."""
_TICK_S: Final = 0.02
_CRUMBS: Final = 40
_CRUMB_S: Final = 0.5
_OLD_BYTES: Final = 64 * 1024 * 1024
"""Bodies of before that are remembered, for answers that are out of date."""
_GONE: Final = (OSError, RuntimeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, Malformed, ssl.SSLError)
"""What a connection ends with. RuntimeError is what uvloop says of a transport that was closed a moment ago."""


class _Old:
    """What a key held before its last write, and what it holds."""

    __slots__ = ("before", "now")

    def __init__(self) -> None:
        self.before: bytes | None = None
        self.now: bytes | None = None


class Proxy:
    """One provider's address as the gateway knows it."""

    def __init__(
        self, grid: str, upstream: int, *, clock: Clock, tls: bool = False, name: Callable[[bool], None] | None = None
    ) -> None:
        self.grid = grid
        self.upstream = upstream
        """The provider's own port."""
        self.port = 0
        self.met = 0
        """Requests and connections that a fault met."""
        self._clock = clock
        self._tls = (
            (certificates.context(certificates.VALID), certificates.context(certificates.EXPIRED)) if tls else ()
        )
        self._name = name
        self._named = True
        self._faults: tuple[Fault, ...] = ()
        self._began_s = 0.0
        self._door: Kind | None = None
        self._server: asyncio.Server | None = None
        self._wall: list[socket.socket] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._healed = asyncio.Event()
        self._busy = 0
        self._changed_s: dict[str, float] = {}
        self._old: dict[str, _Old] = {}
        self._old_bytes = 0
        self._held_back: list[Message] = []
        self._letting_go = asyncio.Lock()

    # --- its course ---

    def begin(self, faults: Sequence[Fault]) -> None:
        """From now on these faults take their course."""
        self._faults = tuple(fault for fault in faults if self.grid in fault.grids)
        self._began_s = self._clock.monotonic_s()

    def heal(self) -> None:
        """From now on nothing is wrong."""
        self._faults = ()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        """Serve on a free port while the context lasts."""
        async with asyncio.TaskGroup() as group:
            await self._listen()
            attending = group.create_task(self._attend())
            try:
                yield self
            finally:
                attending.cancel()
                self.heal()
                self._shut()
                self._reset()

    async def _attend(self) -> None:
        """Keep the door as the faults want it, and let go what they held once they are over."""
        while True:
            self._call(not self._has(Kind.NO_NAME))
            await self._turn(self._wanted_door())
            if not any(fault.share_at(self._at_s()) for fault in self._faults):
                self._healed.set()
                self._healed = asyncio.Event()
                await self._let_go()
            await self._clock.sleep(_TICK_S)

    def _at_s(self) -> float:
        return self._clock.monotonic_s() - self._began_s

    def _has(self, kind: Kind) -> bool:
        at_s = self._at_s()
        return any(fault.kind is kind and fault.share_at(at_s) for fault in self._faults)

    def _wanted_door(self) -> Kind | None:
        if any(self._has(kind) for kind in (Kind.REFUSE, *PROCESS)):
            return Kind.REFUSE
        return next((kind for kind in (Kind.BLACK_HOLE, Kind.EXPIRED) if self._has(kind)), None)

    def _call(self, there: bool) -> None:
        """Let the host's name have an address, or none."""
        if there is not self._named and self._name is not None:
            self._named = there
            self._name(there)
            self.met += not there

    async def _turn(self, wanted: Kind | None) -> None:
        """Open, shut or wall up the door."""
        if wanted is self._door:
            return
        before, self._door = self._door, wanted
        if wanted is not None:
            self.met += 1
        if before is Kind.BLACK_HOLE:
            self._reset()
        self._shut()
        if wanted is Kind.REFUSE:
            self._reset()
        elif wanted is Kind.BLACK_HOLE:
            self._wall_up()
        else:
            await self._listen()

    async def _listen(self) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self.port))
        self.port = sock.getsockname()[1]
        shown = self._tls[self._door is Kind.EXPIRED] if self._tls else None
        self._server = await asyncio.start_server(self._serve, sock=sock, ssl=shown, limit=HEAD_BYTES, backlog=512)

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for sock in self._wall:
            sock.close()
        self._wall.clear()

    def _wall_up(self) -> None:
        """Listen with a queue that is full and never looked at: the kernel drops whoever else knocks."""
        wall = socket.socket()
        wall.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wall.bind(("127.0.0.1", self.port))
        wall.listen(0)
        self._wall.append(wall)
        for _ in range(4):
            knock = socket.socket()
            knock.setblocking(False)
            knock.connect_ex(("127.0.0.1", self.port))
            self._wall.append(knock)

    def _reset(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    # --- a connection ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        upstream: _Upstream | None = None
        try:
            while (request := await read_message(reader, writer)) is not None and request.whole:
                upstream = upstream or _Upstream(self.upstream)
                self._busy += 1
                try:
                    if not await self._one(request, upstream, writer):
                        return
                finally:
                    self._busy -= 1
        except _GONE:
            return
        except asyncio.CancelledError:
            return  # The laboratory closes.
        finally:
            self._open.discard(writer)
            if upstream is not None:
                upstream.close()
            writer.close()

    async def _one(self, request: Message, upstream: "_Upstream", writer: asyncio.StreamWriter) -> bool:
        """One request; False when the connection is over."""
        method, target, _ = request.first.split(" ", 2)
        operation, path = operation_of(method, target), unquote(target.partition("?")[0])
        if self._door is Kind.BLACK_HOLE:
            return await self._never(writer)
        await self._clock.sleep(LATENCY_S)
        fault = self._fault(operation, path)
        if fault is not None:
            self.met += 1
            match fault.kind:
                case Kind.MUTE:
                    return await self._never(writer)
                case Kind.ERROR | Kind.OVERLOAD | Kind.KEY_LIMIT:
                    writer.write(refusal(fault, bodiless=method == "HEAD"))
                    await writer.drain()
                    return True
                case Kind.HELD_BACK if method in ("PUT", "DELETE") and "?" not in target:
                    return await self._hold_back(request, method, writer)
                case Kind.OLDER if method == "GET" and (old := self._old.get(path)) and old.before is not None:
                    writer.write(object_reply(old.before, request))
                    await writer.drain()
                    return True
        if operation in ("write", "delete"):
            await self._let_go()  # What was acknowledged before comes first: late is not out of order.
        reply = await upstream.ask(request, method)
        if reply.status < 300:
            self._remember(method, target, path, request)
        return await self._answer(fault, request, reply, method, target, writer)

    def _fault(self, operation: Operation, path: str) -> Fault | None:
        at_s = self._at_s()
        for fault in self._faults:
            if fault.kind in DOOR | PROCESS or not fault.meets(at_s, self._clock.random(), operation, path):
                continue
            if fault.kind is Kind.OVERLOAD and self._busy <= fault.at_once:
                continue
            if fault.kind is Kind.KEY_LIMIT and not self._too_soon(path, fault.delay_s):
                continue
            return fault
        return None

    def _too_soon(self, path: str, pause_s: float) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s - self._changed_s.get(path, float("-inf")) < pause_s:
            return True
        self._changed_s[path] = now_s
        return False

    async def _never(self, writer: asyncio.StreamWriter) -> bool:
        await self._healed.wait()
        _reset(writer)
        return False

    async def _hold_back(self, request: Message, method: str, writer: asyncio.StreamWriter) -> bool:
        self._held_back.append(request)
        etag = f'"{hashlib.md5(plain_body(request)).hexdigest()}"'
        writer.write(reply_bytes(204, {}) if method == "DELETE" else reply_bytes(200, {"ETag": etag}))
        await writer.drain()
        return True

    async def _let_go(self) -> None:
        """What was held back reaches the provider now, in order."""
        if not self._held_back:
            return
        async with self._letting_go:
            upstream = _Upstream(self.upstream)
            try:
                while self._held_back:
                    request = self._held_back[0]
                    await upstream.ask(request, request.first.split(" ", 1)[0])
                    self._held_back.pop(0)
            except _GONE:
                return  # The next tick tries again.
            finally:
                upstream.close()

    def _remember(self, method: str, target: str, path: str, request: Message) -> None:
        if method == "PUT" and "?" not in target and self._old_bytes < _OLD_BYTES:
            old = self._old.setdefault(path, _Old())
            self._old_bytes -= len(old.before or b"")
            old.before, old.now = old.now, plain_body(request)
            self._old_bytes += len(old.now)

    async def _answer(
        self,
        fault: Fault | None,
        request: Message,
        reply: Message,
        method: str,
        target: str,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Send the provider's reply as the fault changes it; False when the connection is over."""
        head, body = reply.head, reply.body
        if fault is not None:
            match fault.kind:
                case Kind.LOST_ANSWER:
                    _reset(writer)
                    return False
                case Kind.LATE_ERROR if reply.status == 200 and completes(request, method, target):
                    head = with_header(head, "content-length", str(len(LATE)))
                    body = LATE
                case Kind.SLOW:
                    await self._clock.sleep(fault.delay_s)
                case Kind.TRICKLE if body:
                    return await self._trickle(head, body, writer)
                case Kind.CUT if body:
                    writer.write(head + body[: len(body) // 2])
                    await writer.drain()
                    writer.close()
                    return False
                case Kind.SHORT if body and not reply.chunked:
                    body = body[: len(body) // 2]
                    head = with_header(head, "content-length", str(len(body)))
                case Kind.GARBLED if body:
                    middle = len(body) // 2
                    body = body[:middle] + bytes((body[middle] ^ 1,)) + body[middle + 1 :]
                case Kind.WRONG_ETAG if "etag" in reply.headers:
                    head = with_header(head, "ETag", '"00000000000000000000000000000000"')
        writer.write(head + body)
        await writer.drain()
        return not (reply.closes or request.closes or not reply.whole)

    async def _trickle(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(head)
        step = max(1, len(body) // _CRUMBS)
        for start in range(0, len(body), step):
            writer.write(body[start : start + step])
            await writer.drain()
            await self._clock.sleep(_CRUMB_S)
        return True


class _Upstream:
    """One connection to the provider, made when it is needed."""

    __slots__ = ("_port", "_reader", "_writer")

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: Message, method: str) -> Message:
        """Send a request on and read its reply. Raises OSError when the provider is gone."""
        for fresh in (False, True):
            if self._writer is None or fresh:
                self.close()
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=HEAD_BYTES)
            assert self._reader is not None
            with contextlib.suppress(ConnectionError):
                self._writer.write(without_expect(request) + request.body)
                await self._writer.drain()
                reply = await read_message(self._reader, asked=method)
                if reply is not None:
                    if reply.closes:
                        self.close()
                    return reply
        raise ConnectionResetError("the provider closed the connection")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection so that the peer is told of a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        with contextlib.suppress(OSError, ValueError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
