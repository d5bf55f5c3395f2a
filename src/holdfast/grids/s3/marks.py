"""Where the identity of a place at an S3 server is kept.

Answers for reading and writing the object `.holdfast/identity`, and for making buckets; what it means is decided in
`grids/identity.py`. It never touches objects. Invariant: a bucket that is missing raises, it is never an empty place.
"""

from typing import Final
from urllib.parse import unquote_plus

from holdfast.clock import Clock
from holdfast.errors import Reason, Refused, Unavailable
from holdfast.grids.s3.labels import label_of
from holdfast.grids.s3.location import PRIVATE, Location, Spot
from holdfast.grids.s3.replies import Asked, date_ms, reply_tree
from holdfast.grids.s3.requests import Request, Requester
from holdfast.model import Place
from holdfast.xml import document, element

_OWN: Final = 10
"""More than we have of our own in a place."""


class S3Marks:
    """The identity's object."""

    def __init__(
        self, grid: str, location: Location, requester: Requester, *, clock: Clock, create: bool, region: str
    ) -> None:
        self._grid = grid
        self._location = location
        self._requester = requester
        self._clock = clock
        self._create = create
        self._region = region

    @property
    def kind(self) -> str:
        return "bucket"

    @property
    def home(self) -> str:
        return self._location.home

    @property
    def where(self) -> str:
        return f"s3://{self._location.home}/{self._location.base}"

    @property
    def name(self) -> str:
        return f"s3://{self._location.home}/{self._location.identity.key}"

    async def make_place(self) -> bool:
        if self._create:
            await self.create_bucket(self._location.home)
        return self._create

    async def create_bucket(self, bucket: str) -> None:
        """Make a bucket at the provider. Raises GridError."""
        body = b""
        if self._requester.quirks.names_location and self._region != "us-east-1":
            body = document("CreateBucketConfiguration", element("LocationConstraint", self._region))
        asked = Asked(self._grid, "create bucket", Place("", ""), bucket, True)
        fine = frozenset({"BucketAlreadyOwnedByYou"})
        await self._requester.ask(asked, Request("PUT", Spot(bucket, "")), body, fine=fine)

    async def read(self) -> bytes | None:
        try:
            _, body = await self._requester.ask(self._asked(), Request("GET", self._location.identity))
        except Refused as refused:
            if refused.reason is Reason.ABSENT:
                return None
            raise
        return body

    async def write(self, data: bytes, *, fresh: bool) -> None:
        headers = {"content-type": "text/plain; charset=utf-8"}
        fine = frozenset[str]()
        if fresh and self._requester.quirks.put_if_absent:
            headers["if-none-match"] = "*"
            fine = frozenset({"PreconditionFailed"})
        request = Request("PUT", self._location.identity, headers=headers)
        await self._requester.ask(self._asked(), request, data, fine=fine)

    async def remove(self) -> None:
        await self._requester.ask(self._asked(changes=True), Request("DELETE", self._location.identity))

    async def has_objects(self) -> bool:
        query = (("list-type", "2"), ("prefix", self._location.base), ("max-keys", str(_OWN)))
        asked = self._asked()
        headers, body = await self._requester.ask(asked, Request("GET", Spot(self._location.home, ""), query))
        tree = reply_tree(asked, body, headers, "ListBucketResult", now_ms=self._clock.now_ms())
        names = [item.get("Key") or "" for item in tree.all("Contents")]
        return any(not name.startswith(self._location.base + PRIVATE) for name in names)

    async def names(self, *, limit: int) -> tuple[str, ...]:
        base = self._location.base
        query = (("list-type", "2"), ("prefix", base), ("encoding-type", "url"), ("max-keys", str(limit + _OWN)))
        asked = self._asked()
        headers, body = await self._requester.ask(asked, Request("GET", Spot(self._location.home, ""), query))
        tree = reply_tree(asked, body, headers, "ListBucketResult", now_ms=self._clock.now_ms())
        names = [item.get("Key") or "" for item in tree.all("Contents")]
        if tree.get("EncodingType") == "url":
            names = [unquote_plus(name) for name in names]
        names = [name for name in names if not name.startswith(base + PRIVATE)]
        if len(names) < limit and tree.get("IsTruncated") == "true":
            detail = "the listing ends before it has given what was asked for"
            raise Unavailable(self._grid, "attach", f"{self.where}: {detail}", lasting=True)
        return tuple(names[:limit])

    async def is_fresh(self, name: str, since_ms: int) -> bool:
        try:
            headers, _ = await self._requester.ask(self._asked(), Request("HEAD", Spot(self._location.home, name)))
        except Refused as refused:
            if refused.reason is Reason.ABSENT:
                return True
            raise
        modified_ms = date_ms(headers.get("last-modified", ""))
        return modified_ms is not None and modified_ms >= since_ms and label_of(headers) is not None

    def _asked(self, *, changes: bool = False) -> Asked:
        return Asked(self._grid, "attach", Place("", ""), self._location.home, changes)
