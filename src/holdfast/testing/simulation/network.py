"""Connections within a simulation: bytes in order, after a while, to whoever still lives.

Answers for what TCP promises and for how it breaks: a process that was killed resets its connections, a machine without
power says nothing for a while. It never loses or reorders bytes on a connection that stays. Invariant: a
protocol is called only in the context of the process that made it.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from holdfast.testing.simulation.life import LIFE, Life

if TYPE_CHECKING:
    from holdfast.testing.simulation.loop import SimLoop

Address = tuple[Any, ...]

_LATENCY_S: Final = 0.0005
_HIGH_BYTES: Final = 64 * 1024
_END: Final = b""


class Door:
    """What `create_server` takes as a bound socket."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def getsockname(self) -> Address:
        return self._address


class Listener:
    """What `create_server` returns."""

    def __init__(self, network: "Network", address: Address, factory: Callable[[], Any]) -> None:
        self._network = network
        self.address = address
        self.factory = factory
        self.context = contextvars.copy_context()
        self.sockets = (Door(*address),)

    def close(self) -> None:
        self._network.listeners[:] = [other for other in self._network.listeners if other is not self]


class Network:
    """All connections and listeners of a simulation."""

    def __init__(self, loop: "SimLoop", draw: Callable[[], float]) -> None:
        self.loop = loop
        self.draw = draw
        self.listeners: list[Listener] = []
        self._ends: list[End] = []

    def listen(self, address: Address, factory: Callable[[], Any]) -> Listener:
        listener = Listener(self, address, factory)
        self.listeners.append(listener)
        return listener

    async def connect(self, address: Address, factory: Callable[[], Any]) -> tuple["End", Any]:
        """Connect to one of those that listen there, as the kernel would choose. Raises ConnectionRefusedError."""
        await asyncio.sleep(self.delay_s())
        there = [listener for listener in self.listeners if listener.address == address]
        if not there:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        listener = there[int(self.draw() * len(there))]
        near, far = End(self, contextvars.copy_context(), address), End(self, listener.context.copy(), ("10.0.0.1", 1))
        near.peer, far.peer = far, near
        self._ends = [end for end in self._ends if not end.lost] + [near, far]
        protocol = factory()
        near.join(protocol)
        far.context.run(lambda: far.join(listener.factory()))
        return near, protocol

    def delay_s(self) -> float:
        return _LATENCY_S * (0.5 + self.draw())

    def forget(self, life: Life, *, silent_s: float = 0.0) -> None:
        """A process is dead: its listeners are gone, and the other ends of its connections are reset at once, or within
        `silent_s` when nobody is there to reset them."""
        self.listeners[:] = [listener for listener in self.listeners if listener.context.get(LIFE) is not life]
        for end in self._ends:
            if end.context.get(LIFE) is life and not end.lost:
                end.lost = True
                end.peer.receive_reset(self.delay_s() + silent_s * self.draw())


class End(asyncio.Transport):
    """One end of a connection."""

    peer: "End"

    def __init__(self, network: Network, context: contextvars.Context, address: Address) -> None:
        super().__init__({"peername": address})
        self._network = network
        self.context = context
        self._protocol: Any = None
        self._inbox: deque[tuple[float, bytes]] = deque()
        self._inbox_bytes = 0
        self._pump: asyncio.TimerHandle | None = None
        self._reading = True
        self._heard_end = False
        self._said_end = False
        self._closing = False
        self._full = False
        self._high = _HIGH_BYTES
        self._last_s = 0.0
        self.lost = False

    def join(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    # --- what protocols call ---

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = _HIGH_BYTES if high is None else high

    def get_write_buffer_size(self) -> int:
        return self.peer._inbox_bytes

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self._closing or self.lost

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._schedule()

    def write(self, data: Any) -> None:
        if not (self.lost or self._closing or self._said_end) and data:
            self._send(bytes(data))
            if self.peer._inbox_bytes > self._high and not self._full:
                self._full = True
                self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if not (self.lost or self._said_end):
            self._said_end = True
            self._send(_END)

    def close(self) -> None:
        if not (self._closing or self.lost):
            self.write_eof()
            self._closing = True
            self._lose(None)

    def abort(self) -> None:
        if not self.lost:
            self.peer.receive_reset(self._network.delay_s())
            self._lose(None)

    # --- what the network does ---

    def _send(self, data: bytes) -> None:
        """On its way: it arrives after all that was sent before."""
        peer = self.peer
        self._last_s = max(self._last_s, self._network.loop.time() + self._network.delay_s())
        peer._inbox.append((self._last_s, data))
        peer._inbox_bytes += len(data)
        peer._schedule()

    def _schedule(self) -> None:
        if self._pump is None and self._inbox and self._reading and not self.lost:
            due_s = self._inbox[0][0]
            self._pump = self._network.loop.call_at(due_s, self._arrive, context=self.context)

    def _arrive(self) -> None:
        self._pump = None
        while self._inbox and self._reading and not self.lost and self._inbox[0][0] <= self._network.loop.time():
            _, data = self._inbox.popleft()
            self._inbox_bytes -= len(data)
            if data:
                self._protocol.data_received(data)
            elif not self._heard_end:
                self._heard_end = True
                if not self._protocol.eof_received():
                    self.close()
        if self.peer._full and self._inbox_bytes <= self.peer._high // 4 and not self.peer.lost:
            self.peer._full = False
            self._network.loop.call_soon(self.peer._protocol.resume_writing, context=self.peer.context)
        self._schedule()

    def receive_reset(self, delay_s: float) -> None:
        """The other end is no more."""
        self._network.loop.call_later(delay_s, self._reset, context=self.context)

    def _reset(self) -> None:
        if not self.lost:
            self._lose(ConnectionResetError("reset by the other end"))

    def _lose(self, trouble: Exception | None) -> None:
        self.lost = True
        self._inbox.clear()
        self._inbox_bytes = 0
        self._network.loop.call_soon(self._protocol.connection_lost, trouble, context=self.context)
