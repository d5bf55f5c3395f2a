"""Where the identity of a place at Azure or Google is kept.

Answers for reading and writing the object `.holdfast/identity`; what it means is decided in `grids/identity.py`.
Invariant: a container that is missing raises, it is never an empty place.
"""

from holdfast.errors import Reason, Refused
from holdfast.grids.obstore.attributes import label_of
from holdfast.grids.obstore.store import Account
from holdfast.grids.s3.location import Location, Spot
from holdfast.grids.s3.replies import Asked
from holdfast.model import Place


class ObstoreMarks:
    """The identity's object."""

    def __init__(self, grid: str, location: Location, account: Account) -> None:
        self._grid = grid
        self._location = location
        self._account = account

    @property
    def kind(self) -> str:
        return self._account.provider.place

    @property
    def home(self) -> str:
        return self._location.home

    @property
    def where(self) -> str:
        return f"{self._account.provider.scheme}://{self._location.home}/{self._location.base}"

    @property
    def name(self) -> str:
        return f"{self._account.provider.scheme}://{self._location.home}/{self._location.identity.key}"

    async def make_place(self) -> bool:
        """The library cannot."""
        return False

    async def read(self) -> bytes | None:
        try:
            found = await self._account.get(self._asked("attach"), self._location.identity)
        except Refused as refused:
            if refused.reason is Reason.ABSENT:
                return None
            raise
        return b"".join([piece async for piece in found.stream()])

    async def write(self, data: bytes, *, fresh: bool) -> None:
        attributes = {"Content-Type": "text/plain; charset=utf-8"}
        await self._account.put(self._asked("attach"), self._location.identity, data, attributes, fresh=fresh)

    async def remove(self) -> None:
        try:
            await self._account.delete(self._asked("delete", changes=True), self._location.identity)
        except Refused as refused:
            if refused.reason is not Reason.ABSENT:
                raise

    async def has_objects(self) -> bool:
        own, base = self._location.identity.key, self._location.base.rstrip("/")
        async for facts in self._account.list(self._asked("attach"), self._location.home, base, None):
            if facts.name != own:
                return True
        return False

    async def names(self, *, limit: int) -> tuple[str, ...]:
        own, base = self._location.identity.key, self._location.base.rstrip("/")
        names: list[str] = []
        async for facts in self._account.list(self._asked("attach"), self._location.home, base, None):
            if facts.name != own:
                names.append(facts.name)
            if len(names) == limit:
                break
        return tuple(names)

    async def is_fresh(self, name: str, since_ms: int) -> bool:
        try:
            found = await self._account.head(self._asked("attach"), Spot(self._location.home, name))
        except Refused as refused:
            if refused.reason is Reason.ABSENT:
                return True
            raise
        return found.facts.modified_ms >= since_ms and label_of(found.attributes, self._account.provider) is not None

    def _asked(self, operation: str, *, changes: bool = False) -> Asked:
        return Asked(self._grid, operation, Place("", ""), self._location.home, changes)
