"""What can go wrong at a provider, as values: a kind, the requests that it meets, and its course in time.

Pure: the moment and the draw are arguments. Nothing here knows a socket. Invariant: outside its course a fault meets nothing.
"""

import enum
import zlib
from typing import Final, Literal

from holdfast.model import Value, replace

Operation = Literal["read", "write", "list", "delete"]
OPERATIONS: Final[tuple[Operation, ...]] = ("read", "write", "list", "delete")
FOREVER_S: Final = float("inf")


class Kind(str, enum.Enum):
    """One way to misbehave."""

    # The door: what whoever connects meets. These take no share.
    REFUSE = "refuse"
    """Nobody listens; open connections are reset."""
    BLACK_HOLE = "black hole"
    """New connections never complete; open ones are never answered."""
    EXPIRED = "expired"
    """New TLS handshakes are shown a certificate that has expired; open connections go on."""
    NO_NAME = "no name"
    """The host's name has no address any more; open connections go on."""
    # Before the provider is asked.
    MUTE = "mute"
    """The request is taken and never answered."""
    ERROR = "error"
    """Answered at once with `status` and `code`; the provider never hears of it."""
    OVERLOAD = "overload"
    """As ERROR, for requests beyond `at_once`."""
    KEY_LIMIT = "key limit"
    """As ERROR, for a change of a key that was changed less than `delay_s` ago."""
    HELD_BACK = "held back"
    """A change is answered with success and reaches the provider only when the fault ends."""
    OLDER = "older"
    """A read is answered with the bytes that were there before the last write, whatever its conditions."""
    # After the provider has answered.
    LOST_ANSWER = "lost answer"
    """The provider acts; the connection is reset instead of the answer."""
    LATE_ERROR = "late error"
    """Status 200 with an error in the body, for what completes an upload or copies."""
    SLOW = "slow"
    """The answer comes `delay_s` late."""
    TRICKLE = "trickle"
    """The body comes in crumbs, each just soon enough for an idle timer."""
    CUT = "cut"
    """The connection ends in the middle of the body."""
    SHORT = "short"
    """Half of the body, with a length as if that were all."""
    GARBLED = "garbled"
    """One bit of the body is another, with status 200."""
    WRONG_ETAG = "wrong etag"
    # The provider itself.
    LOSS = "loss"
    """Its process is killed and its data removed; at the end it comes back empty."""
    KILL = "kill"
    """Its process is killed; at the end it comes back as it was."""


DOOR: Final = frozenset({Kind.REFUSE, Kind.BLACK_HOLE, Kind.EXPIRED, Kind.NO_NAME})
PROCESS: Final = frozenset({Kind.LOSS, Kind.KILL})


class Fault(Value, frozen=True):
    """A kind of misbehaviour with its course. Times are seconds from the beginning of the outage."""

    kind: Kind
    grids: tuple[str, ...] = ("a",)
    operations: tuple[Operation, ...] = OPERATIONS
    share: float = 1.0
    """Of the requests that it could meet, from 0 to 1; reached after `ramp_s`."""
    keys: float = 1.0
    """Share of the keys that it can meet: always the same ones."""
    start_s: float = 0.0
    length_s: float = FOREVER_S
    ramp_s: float = 0.0
    period_s: float = 0.0
    """When not 0: only in the first half of each such period."""
    status: int = 503
    code: str = "ServiceUnavailable"
    retry_after_s: int = 0
    """When not 0: the answer carries Retry-After."""
    delay_s: float = 0.0
    at_once: int = 0

    @property
    def end_s(self) -> float:
        return self.start_s + self.length_s

    def share_at(self, at_s: float) -> float:
        """The share of requests that it meets at this moment."""
        since_s = at_s - self.start_s
        if since_s < 0 or since_s >= self.length_s:
            return 0.0
        if self.period_s and since_s % self.period_s >= self.period_s / 2:
            return 0.0
        return self.share * (min(1.0, since_s / self.ramp_s) if self.ramp_s else 1.0)

    def meets(self, at_s: float, draw: float, operation: Operation, path: str) -> bool:
        """Whether it meets this request; `draw` is from [0, 1)."""
        return operation in self.operations and draw < self.share_at(at_s) and self.has_key(path)

    def has_key(self, path: str) -> bool:
        """Whether a key is among those that it can meet."""
        return self.keys >= 1.0 or zlib.crc32(path.encode()) % 1000 < self.keys * 1000


def compressed(fault: Fault, factor: float) -> Fault:
    """The same fault with its course `factor` times as fast. Delays of single requests stay what they are."""
    return replace(
        fault,
        start_s=fault.start_s / factor,
        length_s=fault.length_s / factor,
        ramp_s=fault.ramp_s / factor,
        period_s=fault.period_s / factor,
    )
