"""Signed requests to one grid, and their replies.

Answers for addresses (path or virtual style), signatures, the clock of the other side, its region, and for the digest
that guards a body on its way. A reply other than success leaves here as the error that `replies` says it is. It repeats only
what was refused before it could act: once with the provider's time, once in the provider's region.
Invariant: every request is signed with keys that were valid when it was sent.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from holdfast.clock import Clock
from holdfast.digests import checksum_text
from holdfast.errors import Unavailable
from holdfast.events import Noted, Teller
from holdfast.grids.s3.connection import Answer, Body, Pieces, Pool
from holdfast.grids.s3.credentials import Keys, KeySource, NoKeys
from holdfast.grids.s3.location import Spot
from holdfast.grids.s3.quirks import Quirks
from holdfast.grids.s3.replies import SKEWED, Asked, classify, date_ms, error_of
from holdfast.grids.s3.terms import Endpoint
from holdfast.limits import INLINE_BYTES
from holdfast.model import Algorithm, Value
from holdfast.signing import EMPTY_SHA256, UNSIGNED_PAYLOAD, canonical_query, encode_path, sign_headers

Query = Sequence[tuple[str, str]]
_ELSEWHERE: Final = frozenset({301, 302, 307, 308, 400})
_REGION_HEADER: Final = "x-amz-bucket-region"
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,40}", re.ASCII)


class Request(Value, frozen=True):
    """A request before it is signed."""

    method: str
    spot: Spot
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}
    """Lower-case names. `x-amz-*` and `content-md5` are signed, others are not: some proxies change them."""


class Requester:
    """Requests to one grid."""

    def __init__(
        self, endpoint: Endpoint, pool: Pool, keys: KeySource, *, clock: Clock, teller: Teller, grid: str
    ) -> None:
        self._endpoint = endpoint
        self._pool = pool
        self._keys = keys
        self._clock = clock
        self._teller = teller
        self._grid = grid
        self._ahead_ms = 0
        """How far the provider's clock is ahead of ours, when that is too much for it."""
        self._regions: dict[str, str] = {}
        self._origins: dict[str, str] = {}

    @property
    def quirks(self) -> Quirks:
        return self._endpoint.quirks

    def now_ms(self) -> int:
        """The time by the provider's clock, as far as it is known."""
        return self._clock.now_ms() + self._ahead_ms

    async def ask(
        self, asked: Asked, request: Request, body: bytes | None = None, *, fine: frozenset[str] = frozenset()
    ) -> tuple[Mapping[str, str], bytes]:
        """Send a request and read its reply whole. Raises GridError unless its status is a success, or its code is `fine`."""
        answer = await self.open(asked, request, body, fine=fine)
        return answer.headers, await answer.body()

    async def open(
        self, asked: Asked, request: Request, body: Body = None, *, fine: frozenset[str] = frozenset()
    ) -> Answer:
        """Send a request; its reply is a success whose body is still to be read. Raises GridError."""
        digest = await self._guard(body)
        answer = await self._send(asked, request, body, digest)
        if 200 <= answer.status < 300:
            return answer
        reply = await answer.body()
        if self._can_learn(request.spot.bucket, answer, reply) and not isinstance(body, Pieces):
            answer = await self._send(asked, request, body, digest)
            if 200 <= answer.status < 300:
                return answer
            reply = await answer.body()
        code = error_of(reply)[0]
        if code in fine:
            return answer
        if answer.status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
            self._keys.refused()
        raise classify(asked, answer.status, answer.headers, reply, now_ms=self._clock.now_ms())

    async def close(self) -> None:
        await self._pool.close()

    # --- sending ---

    async def _send(self, asked: Asked, request: Request, body: Body, digest: "_Digest") -> Answer:
        try:
            keys = await self._keys.keys()
        except NoKeys as trouble:
            detail = f"there are no keys to sign with: {trouble}"
            raise Unavailable(
                asked.grid, asked.operation, detail, bucket=asked.place.bucket, key=asked.place.key, lasting=True
            ) from trouble
        origin, path = self._address(request.spot)
        signed, plain = {"host": urlsplit(origin).netloc}, dict[str, str]()
        for name, value in (request.headers | digest.headers).items():
            (signed if name.startswith("x-amz-") or name == "content-md5" else plain)[name] = value
        headers = self._sign(request, path, signed, digest.payload, keys)
        query = f"?{canonical_query(request.query)}" if request.query else ""
        return await self._pool.send(
            asked, request.method, f"{origin}{encode_path(path)}{query}", headers | plain, body
        )

    def _sign(self, request: Request, path: str, headers: dict[str, str], payload: str, keys: Keys) -> dict[str, str]:
        if token := keys.session_token.reveal():
            headers["x-amz-security-token"] = token
        return sign_headers(
            request.method,
            path,
            request.query,
            headers,
            payload=payload,
            access_key=keys.access_key,
            secret_key=keys.secret_key.reveal(),
            region=self._regions.get(request.spot.bucket, self._endpoint.region),
            now_ms=self.now_ms(),
        )

    def _address(self, spot: Spot) -> tuple[str, str]:
        """Origin and decoded path of an object or a bucket."""
        origin = self._origins.get(spot.bucket, self._endpoint.origin)
        if not self._endpoint.virtual_style or ("." in spot.bucket and origin.startswith("https:")):
            return origin, f"/{spot.bucket}/{spot.key}" if spot.key else f"/{spot.bucket}"
        scheme, _, host = origin.partition("://")
        return f"{scheme}://{spot.bucket}.{host}", f"/{spot.key}"

    async def _guard(self, body: Body) -> "_Digest":
        """What is signed of a body, and what else guards it."""
        if not body:
            return _Digest(EMPTY_SHA256, {})
        if isinstance(body, Pieces):
            return _Digest(UNSIGNED_PAYLOAD, {})
        secure = self._endpoint.origin.startswith("https:")
        sign = not secure and not self.quirks.plain_unsigned
        if len(body) <= INLINE_BYTES:
            return _digest(body, sign, self.quirks)
        return await asyncio.to_thread(_digest, body, sign, self.quirks)

    # --- learning ---

    def _can_learn(self, bucket: str, answer: Answer, reply: bytes) -> bool:
        """Whether the refusal says how the same request would be taken, and we now know it."""
        status, headers = answer.status, answer.headers
        code, _, tree = error_of(reply)
        if code == SKEWED or (status == 403 and not reply and self._skew_ms(headers) > 10 * 60_000):
            return self._learn_time(headers)
        if status not in _ELSEWHERE:
            return False
        region = headers.get(_REGION_HEADER, "") or (tree.get("Region") if tree is not None else "") or ""
        if not _REGION.fullmatch(region):
            region = ""  # It becomes a part of a host's name, which whoever answers may not choose.
        location = headers.get("location", "")
        known = self._regions.get(bucket, self._endpoint.region), self._origins.get(bucket, self._endpoint.origin)
        if region:
            self._regions[bucket] = region
            if not self._endpoint.own and self.quirks.endpoint:
                self._origins[bucket] = self.quirks.endpoint.format(region=region)
        elif (
            location
            and self.quirks.suffix
            and (host := urlsplit(location).hostname or "").endswith("." + self.quirks.suffix)
        ):
            self._origins[bucket] = f"https://{host.removeprefix(bucket + '.')}"
        now_known = self._regions.get(bucket, self._endpoint.region), self._origins.get(bucket, self._endpoint.origin)
        if now_known == known:
            return False
        told = "a bucket is in another region: set region to save a request"
        where = {"grid": self._grid, "bucket": bucket, "region": now_known[0], "endpoint": now_known[1]}
        self._teller.tell(Noted(told, dict(where)))
        return True

    def _learn_time(self, headers: Mapping[str, str]) -> bool:
        their_ms = date_ms(headers.get("date", ""))
        if their_ms is None:
            return False
        self._ahead_ms = their_ms - self._clock.now_ms()
        seconds = round(self._ahead_ms / 1000)
        told = "the provider's clock differs from ours too much: signing with its time; set this machine's clock"
        self._teller.tell(Noted(told, {"grid": self._grid, "ahead_s": seconds}))
        return True

    def _skew_ms(self, headers: Mapping[str, str]) -> int:
        their_ms = date_ms(headers.get("date", ""))
        return 0 if their_ms is None else abs(their_ms - self.now_ms())


class _Digest(Value, frozen=True):
    payload: str
    headers: dict[str, str]


def _digest(body: bytes, sign: bool, quirks: Quirks) -> _Digest:
    payload = hashlib.sha256(body).hexdigest() if sign else UNSIGNED_PAYLOAD
    match quirks.digest:
        case "md5":
            md5 = hashlib.md5(body, usedforsecurity=False).digest()
            return _Digest(payload, {"content-md5": base64.b64encode(md5).decode()})
        case "crc32c":
            return _Digest(payload, {"x-amz-checksum-crc32c": checksum_text(Algorithm.CRC32C, body)})
        case "none":
            return _Digest(payload, {})
