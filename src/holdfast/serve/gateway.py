"""One S3 request from parse to reply.

Answers for the order of things (parse, route, authenticate, judge, read the body where it is XML, run, render), for turning
every failure into S3's answer, and for telling one event per request. It decides nothing about objects and knows
nothing of sockets. Invariant: each request gets exactly one reply or a broken connection, never a short body that
looks whole, and exactly one `RequestEnded`.
"""

import asyncio
import base64
import errno
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from holdfast import s3
from holdfast.access.decide import Denied
from holdfast.access.guard import Guard, Judged
from holdfast.clock import Clock
from holdfast.crew import CrewFull
from holdfast.errors import NO_ROOM, GridError, QuorumMissed, S3Error
from holdfast.events import RequestEnded, Teller
from holdfast.index.interface import CommitUnknown
from holdfast.limits import PATIENCE_S, XML_BYTES
from holdfast.model import replace
from holdfast.s3.cors import Preflight
from holdfast.s3.notices import CALLER
from holdfast.s3.settings import GetSetting, value_of
from holdfast.s3.sharing import ENFORCED
from holdfast.s3.website import Website
from holdfast.serve.bodies import body_of, close, read_whole
from holdfast.serve.exchange import ClientGone, Exchange
from holdfast.serve.forms import read_form
from holdfast.serve.judging import Judge, settled
from holdfast.serve.methods import METHODS
from holdfast.serve.tokens import answer, is_for_tokens
from holdfast.serve.website import Shown, visit
from holdfast.wire.browser.cors import actual, sharing_headers
from holdfast.wire.browser.form import form_key, posted, put_request, wish_of
from holdfast.wire.browser.multipart import is_form
from holdfast.wire.browser.policy import check_form, read_policy
from holdfast.wire.browser.signed import authenticate_upload
from holdfast.wire.browser.website import error_page
from holdfast.wire.operations import BodyKind, Operation, route
from holdfast.wire.parse_sealing import brings_key, insecure
from holdfast.wire.render import XML_TYPE, Reply, render, render_error, render_object
from holdfast.wire.request import Request, parse_request
from holdfast.wire.sigv4 import ANYBODY, Keys, Payload, Signed, authenticate
from holdfast.xml import DECLARATION

Method = Callable[..., Coroutine[Any, Any, Any]]


_CLIENT_LEFT: Final = 499
_READS: Final = frozenset({"GetObject", "HeadObject"})
_READING: Final = frozenset({"GET", "HEAD"})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class _Call:
    """What becomes known of a request while it is served; the event at its end says it."""

    __slots__ = (
        "access_key",
        "code",
        "decision",
        "detail",
        "exchange",
        "host_id",
        "id",
        "operation",
        "principal",
        "reason",
        "request",
        "result",
        "status",
        "told",
    )

    def __init__(self, identifier: str, host_id: str, exchange: Exchange) -> None:
        self.id = identifier
        self.host_id = host_id
        self.exchange = exchange
        self.request: Request | None = None
        self.operation = ""
        self.access_key = ""
        self.principal = ""
        self.decision = ""
        self.reason = ""
        self.code = ""
        self.detail = ""
        self.result: object = None
        self.status = 0
        """When it differs from that of the reply."""
        self.told: Sequence[tuple[str, str]] = ()
        """Headers for the browser that every reply to it has."""

    @property
    def client(self) -> str:
        return self.exchange.client


class Gateway:
    """Serves exchanges from a store.

    `store` has the methods of METHODS. `guard` knows who there is and decides what they may do. `domain` is that of
    virtual-host style, `website_domain` that of static websites, or empty. `secure` says that clients come by TLS,
    `customer_keys` that they may bring keys of SSE-C. `ownership` is that of buckets that are made without saying it.
    """

    def __init__(
        self,
        store: object,
        *,
        guard: Guard,
        region: str,
        ownership: str = ENFORCED,
        domain: str,
        clock: Clock,
        teller: Teller,
        secure: bool = False,
        customer_keys: bool = True,
        patience_s: float = PATIENCE_S,
        website_domain: str = "",
    ) -> None:
        self._website_domain = website_domain
        self._patience_s = patience_s
        self._secure = secure
        self._customer_keys = customer_keys
        self._methods: dict[type, Method] = {kind: getattr(store, name) for kind, name in METHODS.items()}
        self._guard = guard
        self._keys = Keys(guard.secret_of, region=region, session_secret=guard.session_secret)
        self._judge = Judge(guard, region=region, secure=secure, clock=clock, ownership=ownership)
        self._region = region
        self._domain = domain
        self._clock = clock
        self._teller = teller
        self._id_prefix = clock.token(4).hex().upper()
        self._id_count = int.from_bytes(clock.token(4), "big")
        self._host_id = base64.b64encode(clock.token(48)).decode()

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request. Raises nothing but CancelledError."""
        began_s = self._clock.monotonic_s()
        self._id_count = (self._id_count + 1) & 0xFFFFFFFF
        call = _Call(f"{self._id_prefix}{self._id_count:08X}", self._host_id, exchange)
        if exchange.method not in _READING:
            CALLER.set(call)  # What a change of the index tells of it.
        try:
            await self._serve(exchange, call)
        except ClientGone:
            call.status = _CLIENT_LEFT
        except asyncio.CancelledError:
            call.status, call.code, call.detail = 503, "ServiceUnavailable", "the server stopped"
            raise
        except Exception as trouble:  # noqa: BLE001 - the outer frame of every request
            self._fail(exchange, call, _answer_for(trouble))
        finally:
            self._tell(exchange, call, began_s)

    async def _serve(self, exchange: Exchange, call: _Call) -> None:
        if exchange.fault is not None:
            raise exchange.fault
        call.request = request = parse_request(
            exchange.method, exchange.target, exchange.headers, domain=self._domain, website=self._website_domain
        )
        if request.method == "POST" and is_for_tokens(request) and not request.website:
            self._send(exchange, call, await answer(self._guard, exchange, request, call, now_ms=self._clock.now_ms()))
            return
        if "origin" in request.headers:
            call.told = await self._shared(request)
        if request.website and request.method != "OPTIONS":
            await self._visit(exchange, call, request)
            return
        try:
            operation = route(request)
            call.operation = operation.name
        except S3Error as unknown:
            # Whoever may not ask hears that and nothing else: its error goes before one of the route.
            if not self._authenticate(call, request).access_key:
                raise Denied("nobody signed it") from unknown
            raise
        signed = ANYBODY if operation.unsigned else self._authenticate(call, request)
        self._check_key(request)
        if operation.body is BodyKind.FORM:
            await self._post(exchange, call, request, operation)
            return
        if operation.lengthy and not exchange.legacy:
            result, ask = await self._run_patiently(exchange, call, operation, signed)
        else:
            result, ask = await self._run(exchange, call, request, operation, signed)
        call.result = result
        if isinstance(result, s3.ObjectGot):
            await self._send_object(exchange, call, ask, result)
        else:
            self._send(exchange, call, render(request, result, secure=self._secure))

    def _authenticate(self, call: _Call, request: Request) -> Signed:
        signed = authenticate(request, self._keys, self._clock.now_ms())
        call.access_key = signed.access_key
        return signed

    def _check_key(self, request: Request) -> None:
        """Raises InvalidRequest when the client brings a key of its own where others could read it."""
        if not self._customer_keys and brings_key(request):
            raise insecure()

    async def _shared(self, request: Request) -> list[tuple[str, str]]:
        """The headers that tell a browser whether its page may see the reply, whatever that will be."""
        ask = actual(request)
        if ask is None:
            return []
        try:
            return sharing_headers(await self._methods[Preflight](ask))
        except S3Error:
            return []  # There is no such bucket: the request itself will hear that.

    async def _post(self, exchange: Exchange, call: _Call, request: Request, operation: Operation) -> None:
        """PostObject: who sends it, and what it asks for, is in the form."""
        assert operation.parse is not None
        if not is_form(request.headers.get("content-type", "")):
            condition = {"Condition": "Bucket POST must be of the enclosure-type multipart/form-data"}
            raise S3Error("PreconditionFailed", fields=condition)
        form = await read_form(exchange, request)
        fields, now_ms = form.fields, self._clock.now_ms()
        guard = self._guard
        signed = authenticate_upload(
            fields,
            secret_of=guard.secret_of,
            session_secret=guard.session_secret,
            region=self._region,
            now_ms=now_ms,
        )
        call.access_key = signed.access_key
        request.key = key = form_key(fields, form.filename)
        if "policy" in fields:
            policy = read_policy(fields["policy"])
            check_form(policy, {**fields, "key": key}, bucket=request.bucket, now_ms=now_ms)
            form.hold_to(policy.least_bytes, policy.most_bytes)
        meant = put_request(request, fields, key)
        self._check_key(meant)
        ask, _ = await self._allowed(exchange, call, meant, operation, signed)
        put = await self._methods[type(ask)](replace(ask, form=True), form)
        call.result = put
        self._send(exchange, call, posted(wish_of(fields), put, key, request, secure=self._secure))

    async def _visit(self, exchange: Exchange, call: _Call, request: Request) -> None:
        """A visit of a static website, which anybody may try."""
        call.operation = "VisitWebsite"
        site = value_of(await self._methods[GetSetting](GetSetting(request.bucket, "website")), Website)
        if site is None:
            raise S3Error("NoSuchWebsiteConfiguration", fields={"BucketName": request.bucket})

        async def read(wanted: Request) -> tuple[s3.ObjectGot, s3.GetObject]:
            return await self._run(exchange, call, wanted, route(wanted), self._authenticate(call, wanted))

        seen = await visit(site, request, read, secure=self._secure)
        if isinstance(seen, Shown):
            call.result = seen.got
            await self._send_object(exchange, call, seen.ask, seen.got, seen.status)
        else:
            self._send(exchange, call, seen)

    async def _run_patiently(
        self, exchange: Exchange, call: _Call, operation: Operation, signed: Signed
    ) -> tuple[object, Any]:
        """As `_run`, while the client is kept waiting by blanks. Amazon S3 API Reference, CompleteMultipartUpload."""
        assert call.request is not None
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._run(exchange, call, call.request, operation, signed))
            while not (await asyncio.wait((running,), timeout=self._patience_s))[0]:
                if exchange.open:
                    exchange.extend(b" ")
                else:
                    exchange.begin(200, self._headers(call, Reply(200, [XML_TYPE])), DECLARATION)
        return running.result()

    def _send(self, exchange: Exchange, call: _Call, reply: Reply) -> None:
        """Send a whole reply, or what is left of it when its client was kept waiting."""
        if exchange.open:
            exchange.extend(reply.body.removeprefix(DECLARATION))
            exchange.end()
        else:
            exchange.reply(reply.status, self._headers(call, reply), reply.body)

    async def _run(
        self, exchange: Exchange, call: _Call, request: Request, operation: Operation, signed: Signed
    ) -> tuple[Any, Any]:
        """The result of the operation and the request that it answers."""
        if operation.name in _READS:
            read = await self._read(call, request, operation, signed)
            if read is not None:
                return read
        ask, judged = await self._allowed(exchange, call, request, operation, signed)
        if judged is None:
            return await self._do(exchange, request, operation, signed, ask, None)
        try:
            result, ask = await self._do(exchange, request, operation, signed, ask, judged)
        except S3Error as trouble:
            raise self._guard.disguise(judged, trouble) from trouble
        call.decision, call.reason = "deny" if judged.denied else "allow", judged.reason
        return settled(judged, result), ask

    async def _read(
        self, call: _Call, request: Request, operation: Operation, signed: Signed
    ) -> tuple[s3.ObjectGot, s3.GetObject] | None:
        """A read by the owner of a bucket that is shared with nobody, so far as is remembered; None when it is not, or was not any more
        when the object was looked up: then nothing of it is said."""
        found = self._judge.home(request, signed)
        if found is None or operation.parse is None:
            return None
        home, who = found
        ask = operation.parse(request)
        call.principal, call.decision, call.reason = who.text, "allow", "account owner"
        remembered = self._guard.index.remembered
        try:
            got = await self._methods[s3.GetObject](ask)
        except S3Error:
            if remembered(request.bucket) is not home:
                return None
            raise
        if remembered(request.bucket) is not home:
            await close(got.stream)
            return None
        return got, ask

    async def _allowed(
        self, exchange: Exchange, call: _Call, request: Request, operation: Operation, signed: Signed
    ) -> tuple[Any, Judged | None]:
        """The request that its sender may make, and what was judged, if it had to be. Raises S3Error."""
        assert operation.parse is not None, "route gives only operations that are implemented"
        who = self._guard.principal(signed.access_key, signed.token)
        call.principal = who.text
        try:
            ask = operation.parse(request)
        except S3Error:
            # Whoever may not ask hears that, and not what was wrong with the question.
            await self._judge.judge(exchange, request, operation, signed, who, None)
            raise
        judged = await self._judge.judge(exchange, request, operation, signed, who, ask)
        call.decision = "allow"
        if judged is None:
            call.reason = "account owner"
            return ask, None
        call.reason = judged.reason
        self._guard.complete(judged)
        return judged.ask, judged

    async def _do(
        self,
        exchange: Exchange,
        request: Request,
        operation: Operation,
        signed: Signed,
        ask: Any,
        judged: Judged | None,
    ) -> tuple[Any, Any]:
        method = self._methods[type(ask)]
        if operation.body is BodyKind.NONE:
            return await method(ask), ask
        if operation.body is BodyKind.STREAM and not exchange.framed:
            raise S3Error("MissingContentLength")
        body = body_of(exchange, request, signed)
        if signed.payload is Payload.DIGEST and ask.expected.sha256 != signed.sha256:
            # A presigned request may have its digest in the query; what was signed counts.
            ask = replace(ask, expected=replace(ask.expected, sha256=signed.sha256))
        if operation.body is BodyKind.STREAM:
            return await method(ask, body), ask
        data = await read_whole(body, XML_BYTES)
        if body.trailer is not None:
            ask = replace(ask, expected=replace(ask.expected, checksum=body.trailer))
        if operation.fill is not None:
            ask = operation.fill(ask, data)
        if judged is not None:
            ask = await self._guard.fill(judged, ask)
            if judged.denied and not ask.asks:
                return s3.ObjectsDeleted((), (), ask.quiet), ask
        return await method(ask), ask

    async def _send_object(
        self, exchange: Exchange, call: _Call, ask: s3.GetObject, got: s3.ObjectGot, status: int = 0
    ) -> None:
        """Send an object, or its head, with its own status or another. What fails after the first byte breaks the connection."""
        stream = got.stream
        try:
            reply = render_object(ask, got)
            reply.status = status or reply.status
            headers = self._headers(call, reply)
            if ask.head or stream is None:
                if ask.head:
                    exchange.start(reply.status, headers, reply.length)
                else:
                    exchange.reply(reply.status, headers, reply.body)
                return
            first = await anext(stream, b"")  # Until here a failure is an ordinary answer.
            exchange.start(reply.status, headers, reply.length)
            if first:
                await exchange.send(first)
            async for piece in stream:
                await exchange.send(piece)
            if not exchange.finished:
                raise S3Error("InternalError", detail=f"{exchange.sent} of {reply.length} bytes came from the store")
        finally:
            if stream is not None:
                await close(stream)

    def _headers(self, call: _Call, reply: Reply) -> list[tuple[str, str]]:
        headers = reply.headers
        headers.append(("x-amz-request-id", call.id))
        headers.append(("x-amz-id-2", self._host_id))
        if call.told:
            headers += call.told
        return headers

    def _fail(self, exchange: Exchange, call: _Call, error: S3Error) -> None:
        """Answer with an error: in the body when the client was kept waiting, by breaking the connection when a body has begun."""
        call.code, call.detail = error.code, error.detail
        if isinstance(error, Denied):
            call.decision, call.reason = "deny", error.detail
        if exchange.status:
            call.status = error.status
        if exchange.status and not exchange.open:
            exchange.break_off()
            return
        path = _path(exchange, call.request)
        head = exchange.method == "HEAD"
        if call.request is not None and call.request.website:
            reply = error_page(error, request_id=call.id, host_id=self._host_id, head=head)
        else:
            reply = render_error(error, request_id=call.id, host_id=self._host_id, resource=path, head=head)
        self._send(exchange, call, reply)

    def _tell(self, exchange: Exchange, call: _Call, began_s: float) -> None:
        request = call.request
        self._teller.tell(
            # In the order of its fields: names would cost as much again as the rest of it.
            RequestEnded(
                call.id,
                call.operation,
                exchange.method,
                _path(exchange, request),
                "" if request is None else request.bucket,
                "" if request is None else request.key,
                call.status or (_CLIENT_LEFT if exchange.gone else exchange.status),
                call.code,
                self._clock.monotonic_s() - began_s,
                exchange.received,
                exchange.sent,
                call.access_key,
                exchange.client,
                call.detail,
                call.principal,
                call.decision,
                call.reason,
                call,
            )
        )


def _path(exchange: Exchange, request: Request | None) -> str:
    """The path that was asked for; of a target that is none nothing, as it may have a password in front of its host."""
    if request is not None:
        return request.path
    return exchange.target.partition(b"?")[0].decode("latin-1") if exchange.target[:1] == b"/" else ""


def _answer_for(trouble: Exception) -> S3Error:
    """The answer to a failure: what could not be asked is 503, what nobody foresaw is 500 with its trace in the log."""
    while isinstance(trouble, ExceptionGroup):
        trouble = trouble.exceptions[0]
    match trouble:
        case S3Error():
            return trouble
        case GridError() | QuorumMissed() | CommitUnknown():
            return S3Error("ServiceUnavailable", detail=str(trouble))
        case CrewFull():
            return S3Error("SlowDown", detail=str(trouble))
        case OSError() if trouble.errno in _FULL:
            return S3Error("SlowDown", NO_ROOM, detail=str(trouble))
        case _:
            return S3Error("InternalError", detail="".join(traceback.format_exception(trouble)))
