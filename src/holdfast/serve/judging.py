"""Where a request meets the guard: once its operation is known, and once more when its body was read.

Answers for making a question out of HTTP and for what costs nothing: the owner of an account at home. It decides nothing; that is `access`.
Invariant: a method of the store runs with a request that `judge` returned, or that `settled` made of it.
"""

from typing import Any, Final, Protocol

from holdfast import s3
from holdfast.access.actions import ACL_HEADERS
from holdfast.access.guard import Guard, Judged
from holdfast.access.places import SHARING
from holdfast.access.principal import Principal
from holdfast.access.question import Question
from holdfast.clock import Clock
from holdfast.model import Bucket, replace
from holdfast.s3.sharing import ENFORCED
from holdfast.serve.exchange import Exchange
from holdfast.wire.operations import Operation
from holdfast.wire.parse import OF_SIGNATURE, headers_of
from holdfast.wire.request import Request
from holdfast.wire.sigv4 import Signed

_TELLING: Final = ACL_HEADERS | {
    "x-amz-copy-source",
    "x-amz-expected-bucket-owner",
    "x-amz-source-expected-bucket-owner",
}
"""Headers that a decision depends on even at home."""
_ALWAYS: Final = frozenset(
    {
        "ListBuckets",
        "CreateBucket",
        "GetBucketPolicyStatus",
        "PutBucketPolicy",
        "PutBucketOwnershipControls",
        "PutBucketAcl",
        "PutObjectAcl",
    }
)
"""Operations that are judged, and completed, whoever asks."""


class Account(Protocol):
    """What becomes known of a request while it is served."""

    id: str
    operation: str
    access_key: str
    principal: str
    decision: str
    reason: str
    code: str
    detail: str


class Judge:
    """The guard as the gateway sees it."""

    def __init__(self, guard: Guard, *, region: str, secure: bool, clock: Clock, ownership: str = ENFORCED) -> None:
        self.guard = guard
        self._region = region
        self._ownership = ownership
        self._secure = secure
        self._remembered = guard.index.remembered
        self._home: tuple[Bucket, Principal] | None = None
        """What `home` found for the root account's owner last."""
        self._root_key = ""
        self._clock = clock

    def home(self, request: Request, signed: Signed) -> tuple[Bucket, Principal] | None:
        """For a read: the bucket as it is remembered and who asks, when these say that they may do anything there. Nothing else needs to be
        judged while the bucket is still so."""
        bucket = self._remembered(request.bucket)
        query = request.query
        if (
            bucket is None
            or signed.token
            or not _TELLING.isdisjoint(request.headers)
            or (query and "X-Amz-Signature" in query and not OF_SIGNATURE.issuperset(query))
        ):
            return None
        known = self._home
        if known is not None and known[0] is bucket and signed.access_key == self._root_key:
            return known  # The root account's owner, as the time before.
        who = self.guard.principal(signed.access_key, signed.token)
        if not who.asker.owner or not _is_home(bucket, who):
            return None
        found = (bucket, who)
        if who is self.guard.root:
            self._home, self._root_key = found, signed.access_key
        return found

    def _plain(self, request: Request, operation: Operation, who: Principal) -> bool:
        query = request.query
        return (
            who.asker.owner
            and not who.session
            and operation.name not in _ALWAYS
            and _TELLING.isdisjoint(request.headers)
            and ("X-Amz-Signature" not in query or OF_SIGNATURE.issuperset(query))
        )

    async def judge(
        self, exchange: Exchange, request: Request, operation: Operation, signed: Signed, who: Principal, ask: Any
    ) -> Judged | None:
        """What is allowed, or None: the owner of a bucket that is shared with nobody does as they like in it. Raises S3Error."""
        guard = self.guard
        if self._plain(request, operation, who) and _is_home(await guard.index.bucket(request.bucket), who):
            return None
        question = Question(
            operation.name,
            ask,
            request.bucket,
            request.key,
            headers=headers_of(request),
            query=request.query,
            client=exchange.client,
            tls=(exchange.tls[0].removeprefix("TLSv") or "1.2") if self._secure else "",
            presigned=signed.presigned,
            signed_ms=signed.at_ms,
            now_ms=self._clock.now_ms(),
            region=self._region,
            ownership=self._ownership,
        )
        return await guard.check(who, question)


def _is_home(bucket: Bucket, who: Principal) -> bool:
    """Whether it is the asker's own and shared with nobody."""
    return bucket.owner == who.asker.canonical and SHARING.isdisjoint(bucket.settings)


def settled(judged: Judged, result: Any) -> Any:
    """The result with what was refused before the store ran."""
    if judged.denied and isinstance(result, s3.ObjectsDeleted):
        return replace(result, failed=(*result.failed, *judged.denied))
    return result
