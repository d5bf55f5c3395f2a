"""One typed event per fact; whoever wants to know subscribes.

Metrics, log, evidence and console read events; nobody calls them directly. Telling never blocks
and never fails the teller: a listener is a plain function that must return at once.
"""

from collections.abc import Callable
from contextvars import ContextVar

from holdfast.model import Value

ERRAND: ContextVar[bool] = ContextVar("errand", default=False)
"""True in what keepers do: nobody waits for it, so its latencies are no client's."""


class Event(Value, frozen=True):
    """Something that happened. Subclasses name the fact and carry its fields."""


class RequestEnded(Event, frozen=True):
    """One S3 request was answered (or its client left: `status` 499)."""

    request_id: str
    operation: str
    method: str
    path: str
    bucket: str
    key: str
    status: int
    code: str
    """S3 error code, empty on success."""
    elapsed_s: float
    received_bytes: int
    sent_bytes: int
    access_key: str
    client: str
    detail: str = ""
    """What went wrong inside, or why it was denied; for the log only, never for the client."""
    principal: str = ""
    """The ARN of who asked, or anonymous; empty when that did not become known."""
    decision: str = ""
    """allow or deny; empty when it did not come to one."""
    reason: str = ""
    """Which statement, list or right decided."""
    call: object = None
    """What `serve` knows of the request, for listeners of that room, while they are told and no longer."""


class GridAttempt(Event, frozen=True):
    """One operation at one grid ended. `outcome` is ok, refused, unavailable, uncertain or corrupt."""

    grid: str
    operation: str
    outcome: str
    elapsed_s: float
    size_bytes: int = 0
    detail: str = ""
    errand: bool = False
    """A keeper asked, not a client."""


class BreakerMoved(Event, frozen=True):
    """A breaker changed its state (closed, open, trial)."""

    grid: str
    group: str
    """read, write, list or delete."""
    state: str
    reason: str


class GridDemoted(Event, frozen=True):
    """A grid is asked after the others for one class of operations, or (without a reason) no longer."""

    grid: str
    group: str
    reason: str
    """errors, slow, or empty: it comes back."""


class GridPinned(Event, frozen=True):
    """An operator took a grid in or out of use, or left it to its health again (`auto`)."""

    grid: str
    use: str


class SelfSuspected(Event, frozen=True):
    """All grids fell silent at once, so this process suspects itself; or (False) no longer."""

    suspected: bool


class Hedged(Event, frozen=True):
    """A read did not wait any longer for `grid` and asked `other`, too. `outcome` is won, lost (the first came after
    all) or failed; `denied` when the budget allowed no second read."""

    grid: str
    other: str
    outcome: str


class FailedOver(Event, frozen=True):
    """A read left a grid that gave trouble, and went on to the next copy."""

    grid: str
    other: str
    reason: str


class GridMoved(Event, frozen=True):
    """A grid's probe changed its mind: up, down or replaced."""

    grid: str
    state: str
    reason: str


class Committed(Event, frozen=True):
    """The index made a batch of changes durable."""

    changes: int
    elapsed_s: float


class DebtPaid(Event, frozen=True):
    """A grid now matches the index for one key. `how` is copied, linked, confirmed or deleted."""

    grid: str
    bucket: str
    key: str
    size_bytes: int
    lag_s: float
    how: str


class DebtPostponed(Event, frozen=True):
    """A payment failed and will be tried again."""

    grid: str
    bucket: str
    key: str
    attempts: int
    delay_s: float
    reason: str


class CatchUpTold(Event, frozen=True):
    """How a grid's catch-up gets on. `phase` is begins, goes on, makes no progress, or is done."""

    grid: str
    phase: str
    owed: int
    owed_bytes: int
    paid: int
    """Since it began, `elapsed_s` ago."""
    elapsed_s: float
    per_s: float
    eta_s: float | None
    """For what can be paid; None when nothing is."""
    stuck: int
    reason: str = ""
    """Why there is no progress, as far as it is known."""


class CopySuspected(Event, frozen=True):
    """A copy was missing, changed or damaged; it is owed again."""

    grid: str
    bucket: str
    key: str
    reason: str


class CacheAsked(Event, frozen=True):
    """A read was looked for in the cache: so many of its blocks came from there, so many did not."""

    hits: int
    misses: int
    hit_bytes: int


class CacheOffered(Event, frozen=True):
    """A block that a grid gave was offered to the cache. `outcome` is admitted, rejected (not worth it) or dropped (too busy)."""

    outcome: str


class CacheEvicted(Event, frozen=True):
    """Blocks left the cache. `reason` is room, age or damaged."""

    reason: str
    blocks: int


class CacheMoved(Event, frozen=True):
    """The cache was turned on or off."""

    on: bool
    reason: str
    blocks: int = 0
    size_bytes: int = 0


class Expired(Event, frozen=True):
    """Lifecycle rules were applied in a bucket. `what` is objects, versions, markers or uploads."""

    bucket: str
    what: str
    count: int


class NoticeEnded(Event, frozen=True):
    """An attempt to tell a webhook an S3 event ended. `outcome` is told, silent, refused, or dead: it was given up."""

    webhook: str
    event: str
    bucket: str
    key: str
    outcome: str
    age_s: float
    """Since it was recorded."""
    detail: str = ""


class NoticesDropped(Event, frozen=True):
    """S3 events were not recorded for a webhook, because too many waited for it already."""

    webhook: str
    count: int


class AccessLogged(Event, frozen=True):
    """Lines of a bucket's access log were delivered to `target`, failed (and will be tried again), were lost, or were dropped because
    too many waited."""

    bucket: str
    target: str
    outcome: str
    lines: int
    reason: str = ""


class KeeperFailed(Event, frozen=True):
    """A keeper's unit of work raised something unexpected; it will be tried again."""

    keeper: str
    reason: str


class Noted(Event, frozen=True):
    """A fact for the log that needs no metric: start, stop, recovery."""

    message: str
    fields: dict[str, str | int | float] = {}


Listener = Callable[[Event], None]


class Teller:
    """Tells every listener each event, in order of subscription."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every event from now on."""
        self._listeners.append(listener)

    def tell(self, event: Event) -> None:
        """Tell all listeners at once."""
        for listener in self._listeners:
            listener(event)
