"""Whether a request may do what it asks, before the store hears of it.

Answers for fetching what a decision needs (who, the bucket's settings, the object's marks where they count) and for the order of the checks; the
decisions themselves are in `decide`. What a setting or a list must not say is in `rules`. Invariant: the store runs only what every action of
its row in `actions` was allowed for.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from holdfast.access.acl import ON_OBJECT
from holdfast.access.actions import NEEDS, READ_TAGS, WRITE_TAGS, Need
from holdfast.access.decide import Decision, Denied, Shared, decide
from holdfast.access.patterns import Context
from holdfast.access.places import OF_UPLOAD, Sharing, asks_for_object, of_writer, shared, sharing_of
from holdfast.access.principal import ANYBODY, Principal, principal_of
from holdfast.access.question import Question, context_of, with_tags
from holdfast.access.rules import amended, check_owner_header, filled
from holdfast.access.sessions import Session, Sessions
from holdfast.clock import Clock
from holdfast.errors import CODES, S3Error
from holdfast.index.interface import Index
from holdfast.limits import IDENTITIES_KNOWN, JUDGED_SLICE
from holdfast.model import UNMARKED, Bucket, Marks, replace
from holdfast.s3 import CopyObject, CopySource, DeleteAsk, DeleteFailed, DeleteObjects
from holdfast.s3.identities import ROOT, Account, Identity
from holdfast.s3.identities import context_of as sealed_for
from holdfast.s3.payment import REQUESTER, Payment
from holdfast.s3.settings import setting
from holdfast.sealing.master import MasterKey

_ARN: Final = "arn:aws:s3:::"
_TOLD_BY_BODY: Final = frozenset({"DeleteObjects", "PutObjectRetention", "PutObjectLegalHold", "PutObjectTagging"})
"""Operations whose body says what conditions may be on, or what is to be deleted: they are judged once it was read."""


class Judged:
    """A request that is allowed: what to run, by whose right, and what is needed to judge what follows from it."""

    __slots__ = ("ask", "context", "denied", "question", "reason", "sharing", "source", "who")

    def __init__(self, ask: Any, who: Principal, question: Question, sharing: Sharing | None, context: Context) -> None:
        self.ask = ask
        self.who = who
        self.question = question
        self.sharing = sharing
        self.source: Sharing | None = None
        """Of the bucket that is copied from."""
        self.context = context
        self.reason = ""
        self.denied: tuple[DeleteFailed, ...] = ()
        """Keys of a DeleteObjects that were refused."""


class Guard:
    """See the module. `access_key` and `secret_key` are the configured pair, the owner's of the root account."""

    def __init__(self, index: Index, *, access_key: str, secret_key: str, master: MasterKey, clock: Clock) -> None:
        self.index = index
        self.root = principal_of(Identity(ROOT))
        self.sessions = Sessions(master, clock)
        self._root_key = access_key
        self._root_secret = secret_key
        self._master = master
        self._secrets: dict[bytes, str] = {}
        self._principals: dict[str, tuple[Identity, Principal]] = {}

    # --- who ---

    def secret_of(self, access_key: str) -> str | None:
        """The secret of an access key, None when there is no such key or it is disabled."""
        if access_key == self._root_key:
            return self._root_secret
        found = self.index.identities.by_key(access_key)
        if found is None or found.key is None or not found.key.enabled:
            return None
        sealed = found.key.secret
        secret = self._secrets.get(sealed)
        if secret is None:
            secret = self._master.unwrap(sealed, sealed_for(access_key)).decode()
            if len(self._secrets) >= IDENTITIES_KNOWN:
                self._secrets.clear()
            self._secrets[sealed] = secret
        return secret

    def session_secret(self, access_key: str, token: str) -> str:
        """The secret of temporary credentials. Raises InvalidToken, ExpiredToken."""
        return self.sessions.open(access_key, token).secret

    def principal(self, access_key: str, token: str) -> Principal:
        """Who it is that signed; nobody's `access_key` is empty. Raises InvalidAccessKeyId when they are gone meanwhile."""
        if not access_key:
            return ANYBODY
        if token:
            session = self.sessions.open(access_key, token)
            return self._principal(token, self.index.identities.by_id(session.account, session.member), session)
        if access_key == self._root_key:
            return self.root
        return self._principal(access_key, self.index.identities.by_key(access_key), None)

    def _principal(self, name: str, identity: Identity | None, session: Session | None) -> Principal:
        if identity is None:
            raise S3Error("InvalidAccessKeyId")
        known = self._principals.get(name)
        if known is not None and known[0] is identity:
            return known[1]
        if len(self._principals) >= IDENTITIES_KNOWN:
            self._principals.clear()
        made = principal_of(identity, session)
        self._principals[name] = (identity, made)
        return made

    def owner_of(self, access_key: str) -> str:
        """The canonical id of the account of a lasting access key; empty for others."""
        if access_key == self._root_key:
            return self.root.asker.canonical
        found = self.index.identities.by_key(access_key)
        return found.account.id if found is not None else ""

    def account_of(self, canonical: str) -> Account | None:
        """An account by its canonical id."""
        return self.index.identities.account(canonical)

    # --- may they ---

    async def check(self, who: Principal, question: Question) -> Judged:
        """The request, which is allowed; without an `ask` it was not understood, and may be asked. Raises Denied, NoSuchBucket, and
        what `rules` raise of the owner's name."""
        needs = [need for need in NEEDS[question.operation] if _called_for(need, question)]
        if not question.bucket or question.operation == "CreateBucket":
            context = context_of(question, who, None)
            judged = Judged(question.ask, who, question, None, context)
            resource = _ARN + question.bucket if question.bucket else "*"
            for need in needs:
                self._settle(judged, decide(who, need.action, resource, context, Shared("")))
        else:
            sharing = sharing_of(await self.index.bucket(question.bucket))
            account = self.account_of(sharing.bucket.owner)
            check_owner_header(question.headers, "x-amz-expected-bucket-owner", sharing.bucket.owner, account)
            _check_payer(sharing.bucket, who, question)
            judged = Judged(question.ask, who, question, sharing, context_of(question, who, account))
            if question.operation not in _TOLD_BY_BODY:
                await self._check_all(judged, sharing, needs)
        return judged

    def complete(self, judged: Judged) -> None:
        """Put into an allowed request what follows from who asks it. Raises Denied and what `rules` raise."""
        judged.ask = amended(judged.ask, judged.who, judged.question, judged.sharing, self.index.identities)

    async def fill(self, judged: Judged, ask: Any) -> Any:
        """The same request once its body was read: what it says is judged, too. Raises Denied and what `rules` raise."""
        assert judged.sharing is not None or not judged.question.bucket or judged.question.operation == "CreateBucket"
        if isinstance(ask, DeleteObjects) and judged.sharing is not None:
            return await self._permitted(judged, judged.sharing, ask)
        question = judged.question
        question.ask = ask
        if question.operation in _TOLD_BY_BODY and judged.sharing is not None:
            account = self.account_of(judged.sharing.bucket.owner)
            judged.context = context_of(question, judged.who, account)
            needs = [need for need in NEEDS[question.operation] if _called_for(need, question)]
            await self._check_all(judged, judged.sharing, needs)
        marks = UNMARKED
        if judged.sharing is not None and judged.question.operation == "PutObjectAcl":
            marks = await self._marks(ask.bucket, ask.key, ask.version_id)
        return filled(ask, judged.who, judged.question, judged.sharing, marks, self.index.identities)

    def disguise(self, judged: Judged, error: S3Error) -> S3Error:
        """What to answer instead of NoSuchKey: whoever may not list a bucket does not learn what is not in it."""
        sharing = judged.source or judged.sharing
        if error.code != "NoSuchKey" or sharing is None:
            return error
        key = judged.question.key if judged.source is None else judged.ask.source.key
        decision = self._may_list(judged, sharing, key)
        return error if decision.allowed else Denied(f"there is no such key, and {decision.reason}")

    def _may_list(self, judged: Judged, sharing: Sharing, key: str) -> Decision:
        """Whether a listing would tell them of this key."""
        who, action = judged.who, "s3:ListBucket"
        context = {**judged.context, "s3:prefix": (key,)}
        return decide(who, action, _ARN + sharing.bucket.name, context, shared(sharing, who, action))

    async def _check_all(self, judged: Judged, sharing: Sharing, needs: Iterable[Need]) -> None:
        question = judged.question
        for need in needs:
            if need.on == "source":
                if judged.ask is not None:
                    await self._check_source(judged, need)
            else:
                version = question.query.get("versionId", "")
                decision = await self._decide(judged, sharing, need, question.key, version)
                settled = decision.allowed or decision.denied or need.written or need.given
                if not settled and need.action in ON_OBJECT:
                    await self._check_absent(judged, sharing, question.key, version)
                self._settle(judged, decision)

    async def _check_absent(self, judged: Judged, sharing: Sharing, key: str, version_id: str) -> None:
        """Raises NoSuchKey where nothing could allow the action, as the object is not there, and who asks may know that."""
        index, bucket = self.index, sharing.bucket.name
        found = await (index.version(bucket, key, version_id) if version_id else index.get(bucket, key))
        if found is None and self._may_list(judged, sharing, key).allowed:
            raise S3Error("NoSuchKey", fields={"Key": key})

    async def _check_source(self, judged: Judged, need: Need) -> None:
        """Raises Denied and NoSuchBucket for the object that is to be copied."""
        source = judged.ask.source
        judged.source = sharing = sharing_of(await self.index.bucket(source.bucket))
        account = self.account_of(sharing.bucket.owner)
        name = "x-amz-source-expected-bucket-owner"
        check_owner_header(judged.question.headers, name, sharing.bucket.owner, account)
        self._settle(judged, await self._decide(judged, sharing, need, source.key, source.version_id))
        if isinstance(judged.ask, CopyObject) and not judged.ask.replace_tags:
            await self._check_tags(judged, sharing, source)

    async def _check_tags(self, judged: Judged, sharing: Sharing, source: CopySource) -> None:
        """Raises Denied unless who asks may read the tags that go with a copy, and write them."""
        if judged.sharing is None or not (await self._marks(source.bucket, source.key, source.version_id)).tags:
            return
        self._settle(judged, await self._decide(judged, sharing, READ_TAGS, source.key, source.version_id))
        question = judged.question
        self._settle(judged, await self._decide(judged, judged.sharing, WRITE_TAGS, question.key, ""))

    async def _decide(self, judged: Judged, sharing: Sharing, need: Need, key: str, version_id: str) -> Decision:
        who, context = judged.who, judged.context
        action = need.versioned if version_id and need.versioned else need.action
        resource = _ARN + sharing.bucket.name
        marks = UNMARKED
        if need.on != "bucket":
            resource = f"{resource}/{key}"
            if action in OF_UPLOAD and not sharing.enforced:
                marks = await self._marks_of_upload(sharing.bucket.name, key, judged.question.query.get("uploadId", ""))
            elif asks_for_object(sharing, who, action):
                marks = await self._marks(sharing.bucket.name, key, version_id)
                if marks.tags:
                    context = with_tags(dict(context), marks.tags)
        written = need.written and not sharing.enforced
        says = of_writer(sharing, who) if written else shared(sharing, who, action, marks)
        return decide(who, action, resource, context, says)

    async def _marks(self, bucket: str, key: str, version_id: str) -> Marks:
        """Those of the version that is meant; none when it is not there."""
        index = self.index
        version = await (index.version(bucket, key, version_id) if version_id else index.get(bucket, key))
        return UNMARKED if version is None else version.marks

    async def _marks_of_upload(self, bucket: str, key: str, upload_id: str) -> Marks:
        """Those of the upload that is meant; none when it is not there."""
        try:
            return (await self.index.upload(bucket, key, upload_id)).marks
        except S3Error as error:
            if error.code != "NoSuchUpload":
                raise
            return UNMARKED

    async def _permitted(self, judged: Judged, sharing: Sharing, ask: DeleteObjects) -> DeleteObjects:
        """Those of many deletions that are allowed; the others are remembered as refused, each for itself."""
        allowed: list[DeleteAsk] = []
        denied: list[DeleteFailed] = []
        reason = ""
        needs: Iterable[Need] = [need for need in NEEDS["DeleteObjects"] if _called_for(need, judged.question)]
        for number, one in enumerate(ask.asks, start=1):
            if number % JUDGED_SLICE == 0:
                await asyncio.sleep(0)
            decision = None
            for need in needs:
                decision = await self._decide(judged, sharing, need, one.key, one.version_id)
                if not decision.allowed:
                    break
            assert decision is not None
            if decision.allowed:
                judged.reason = judged.reason or decision.reason
                allowed.append(one)
            else:
                reason = decision.reason
                denied.append(DeleteFailed(one.key, one.version_id, "AccessDenied", CODES["AccessDenied"].message))
        if not allowed and not judged.who.asker.arn:
            raise Denied(reason)
        judged.denied, judged.reason = tuple(denied), reason or judged.reason
        return replace(ask, asks=tuple(allowed))

    def _settle(self, judged: Judged, decision: Decision) -> None:
        if not decision.allowed:
            raise Denied(decision.reason)
        judged.reason = judged.reason or decision.reason


def _called_for(need: Need, question: Question) -> bool:
    if not need.given:
        return True
    headers = question.headers
    return any(headers.get(name) and need.told in ("", headers[name].lower()) for name in need.given)


def _check_payer(bucket: Bucket, who: Principal, question: Question) -> None:
    """Raises Denied where requesters pay and this one, from another account or none, does not say that it does. Amazon S3 User
    Guide, "Using Requester Pays buckets": nobody can stay unknown there."""
    payment = setting(bucket, "requestPayment", Payment)
    if payment is None or payment.payer != REQUESTER or bucket.owner == who.asker.canonical:
        return
    if not who.asker.canonical or question.headers.get("x-amz-request-payer") != "requester":
        raise Denied("requesters pay for this bucket, and this one does not say so")
