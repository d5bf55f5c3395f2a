"""The part of the index that keeps events until webhooks were told of them.

Answers for what waits, in which order it may be told, and what is forgotten. Events get in with the changes that they tell of, by
`Index` itself. Invariant: what was recorded waits until it is settled, whatever ends this process.
"""

from collections.abc import Sequence
from typing import Protocol

from holdfast.model import Value
from holdfast.s3.notification import Notice


class WaitingNotice(Value, frozen=True):
    """An event that is to be told to a webhook."""

    number: int
    notice: Notice
    seq: int
    """Of the change that it tells of: later changes of a key have higher ones."""
    version_id: str
    since_ms: int
    attempts: int


class PutOff(Value, frozen=True):
    """A notice that its webhook refused: to be told again from `due_ms` on."""

    number: int
    due_ms: int


class NoticeSums(Value, frozen=True):
    """What waits for one webhook."""

    webhook: str
    waiting: int
    dropped: int
    oldest_ms: int
    """When the oldest was recorded; 0 when none waits."""


class Notices(Protocol):
    """See the module. All times are milliseconds of the wall clock."""

    async def due_notices(self, webhook: str, *, now_ms: int, limit: int) -> tuple[WaitingNotice, ...]:
        """Events that may be told to a webhook now; of each key only the oldest, so that a key's events are told in their order."""
        ...

    async def old_notices(self, *, before_ms: int, limit: int) -> tuple[WaitingNotice, ...]:
        """Of the `limit` oldest events of all webhooks those that were recorded before then."""
        ...

    async def settle_notices(self, told: Sequence[int], put_off: Sequence[PutOff]) -> None:
        """Forget events that were told or given up, and put others off."""
        ...

    async def notice_sums(self) -> tuple[NoticeSums, ...]:
        """One row for each webhook that was ever told anything."""
        ...

    async def take_dropped(self, webhook: str) -> int:
        """How many events of a webhook were dropped, because NOTICES_WAITING waited already, since this was asked last."""
        ...
