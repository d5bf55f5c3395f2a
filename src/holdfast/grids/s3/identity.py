"""Whose place a location is.

Answers for the object `.holdfast/identity` that gives a place its identity (decision 0006). It is first `offered`:
whoever is given that identity may come again with it, or without it after a crash. With the first change, or as soon as the
index names it, it is `claimed`, and from then on it belongs to that index alone. It never touches objects.
Invariant: a bucket that is missing, or somebody else's, is never mistaken for an empty one.
"""

import asyncio

from holdfast.clock import Clock
from holdfast.errors import Reason, Refused, Unavailable
from holdfast.grids.s3.location import IDENTITY, PRIVATE, Location, Spot
from holdfast.grids.s3.replies import Asked, NoBucket, reply_tree
from holdfast.grids.s3.requests import Request, Requester
from holdfast.limits import S3_EMPTY_S, S3_IDENTITY_S
from holdfast.model import Place, Value
from holdfast.xml import document, element

_OFFERED, _CLAIMED = "offered", "claimed"
_TEXT = """{identity} {state} {grid}

This place belongs to one Holdfast installation. Objects are plain objects under their own names. Keep this one with
them: without it Holdfast does not touch the place.
"""


class _Marker(Value, frozen=True):
    identity: str
    state: str
    grid: str


class Identity:
    """Who a grid's place is, and whether it still is."""

    def __init__(
        self, name: str, location: Location, requester: Requester, *, clock: Clock, create: bool, region: str
    ) -> None:
        self._name = name
        self._location = location
        self._requester = requester
        self._clock = clock
        self._create = create
        self._region = region
        self._identity = ""
        self._claimed = False
        self._seen_s = float("-inf")
        self._empty_s: float | None = None
        self._turn = asyncio.Lock()

    async def attach(self, known: str) -> str:
        """See `Grid.attach`."""
        async with self._turn:
            marker = await self._look(known)
            if marker is not None:
                self._empty_s = None
                return await self._meet(marker, known)
            if await self._has_objects():
                detail = "it has objects and no identity"
                if known:
                    raise self._missing(f"{detail}: put {IDENTITY} back, or correct url")
                raise self._deny(
                    f'{detail}. Give this grid an empty bucket, or an empty directory: url = "s3://bucket/directory"'
                )
            if known:
                self._wait_whether_it_stays_empty()
            return self._take(await self._offer())

    async def claim(self) -> None:
        """Before a change: the place belongs to us from now on. Raises Unavailable."""
        if self._claimed:
            return
        async with self._turn:
            if not self._claimed:
                marker = await self._read() if self._identity else None
                if marker is None or marker.identity != self._identity:
                    raise self._missing("it is not attached")
                await self._write(_Marker(self._identity, _CLAIMED, self._name))
                self._claimed = True

    async def confirm(self, *, age_s: float = S3_IDENTITY_S) -> None:
        """Before something is said to be not there: this was the place, at most `age_s` ago. Raises Unavailable when it is not,
        or does not say."""
        if self._clock.monotonic_s() - self._seen_s < age_s:
            return
        marker = await self._read() if self._identity else None
        if marker is None or marker.identity != self._identity:
            raise self._missing(f"its {IDENTITY} is missing or another one")
        self._seen_s = self._clock.monotonic_s()

    async def release(self) -> None:
        """Give an empty place up. Raises Unavailable when objects are left."""
        if await self._has_objects():
            raise self._missing("there are objects left")
        await self._requester.ask(self._asked(changes=True), Request("DELETE", self._location.identity))
        self._identity, self._claimed, self._seen_s = "", False, float("-inf")

    async def create_bucket(self, bucket: str) -> None:
        """Make a bucket at the provider. Raises GridError."""
        body = b""
        if self._requester.quirks.names_location and self._region != "us-east-1":
            body = document("CreateBucketConfiguration", element("LocationConstraint", self._region))
        asked = Asked(self._name, "create bucket", Place("", ""), bucket, True)
        fine = frozenset({"BucketAlreadyOwnedByYou"})
        await self._requester.ask(asked, Request("PUT", Spot(bucket, "")), body, fine=fine)

    # --- within ---

    def _wait_whether_it_stays_empty(self) -> None:
        """A place that was lost is owed everything, which costs: that it looks empty once is not enough."""
        now_s = self._clock.monotonic_s()
        if self._empty_s is None:
            self._empty_s = now_s
        if now_s - self._empty_s < S3_EMPTY_S:
            raise self._missing(
                f"it is empty. If it still is {S3_EMPTY_S:g} s from now, what it held counts as lost and is brought there anew"
            )

    async def _look(self, known: str) -> _Marker | None:
        try:
            return await self._read()
        except NoBucket as missing:
            bucket = self._location.home
            if known:
                raise self._missing(
                    f'the bucket "{bucket}" is missing: bring it back; or, if what it held is lost, create an empty one'
                ) from missing
            if not self._create:
                raise
            await self.create_bucket(bucket)
            return None

    async def _meet(self, marker: _Marker, known: str) -> str:
        if marker.state == _CLAIMED:
            if not known:
                raise self._deny(
                    f'it belongs to another index, as its grid "{marker.grid}", or to another grid of this one. Give this grid a '
                    f"bucket or a directory of its own; or, if that index is gone for good, remove {self._told()} and all objects there"
                )
            if marker.identity != known:
                raise self._missing(
                    f"it is marked as {marker.identity} and should be {known}: does url name the right bucket?"
                )
        elif marker.grid != self._name:
            raise self._deny(
                f'it is the place of grid "{marker.grid}". Give each grid a bucket or a directory of its own'
            )
        elif marker.identity == known:
            await self._write(_Marker(known, _CLAIMED, self._name))
            marker = _Marker(known, _CLAIMED, self._name)
        return self._take(marker)

    def _take(self, marker: _Marker) -> str:
        self._identity = marker.identity
        self._claimed = marker.state == _CLAIMED
        self._seen_s = self._clock.monotonic_s()
        return marker.identity

    async def _offer(self) -> _Marker:
        marker = _Marker(self._clock.token(16).hex(), _OFFERED, self._name)
        await self._write(marker, fresh=True)
        found = await self._read()  # Another process of this node may have been first.
        if found is None:
            raise self._missing(f"its {IDENTITY} was written and is not there")
        if found.grid != self._name:
            raise self._deny(
                f'it is the place of grid "{found.grid}". Give each grid a bucket or a directory of its own'
            )
        return found

    async def _read(self) -> _Marker | None:
        try:
            _, body = await self._requester.ask(self._asked(), Request("GET", self._location.identity))
        except Refused as refused:
            if refused.reason is Reason.ABSENT:
                return None
            raise
        words = body.decode("utf-8", "replace").partition("\n")[0].split()
        if len(words) != 3:
            return _Marker("something unreadable", _CLAIMED, "unknown")
        return _Marker(*words)

    async def _write(self, marker: _Marker, *, fresh: bool = False) -> None:
        text = _TEXT.format(identity=marker.identity, state=marker.state, grid=marker.grid)
        headers = {"content-type": "text/plain; charset=utf-8"}
        fine = frozenset[str]()
        if fresh and self._requester.quirks.put_if_absent:
            headers["if-none-match"] = "*"
            fine = frozenset({"PreconditionFailed"})
        request = Request("PUT", self._location.identity, headers=headers)
        await self._requester.ask(self._asked(), request, text.encode(), fine=fine)

    async def _has_objects(self) -> bool:
        query = (("list-type", "2"), ("prefix", self._location.base), ("max-keys", "10"))
        asked = self._asked()
        headers, body = await self._requester.ask(asked, Request("GET", Spot(self._location.home, ""), query))
        tree = reply_tree(asked, body, headers, "ListBucketResult", now_ms=self._clock.now_ms())
        names = [item.get("Key") or "" for item in tree.all("Contents")]
        return any(not name.startswith(self._location.base + PRIVATE) for name in names)

    def _asked(self, *, changes: bool = False) -> Asked:
        return Asked(self._name, "attach", Place("", ""), self._location.home, changes)

    def _told(self) -> str:
        spot = self._location.identity
        return f"s3://{spot.bucket}/{spot.key}"

    def _where(self) -> str:
        return f"s3://{self._location.home}/{self._location.base}"

    def _deny(self, detail: str) -> Refused:
        return Refused(self._name, "attach", f"{self._where()}: {detail}", reason=Reason.DENIED)

    def _missing(self, detail: str) -> Unavailable:
        return Unavailable(self._name, "attach", f"{self._where()}: {detail}", lasting=True)
