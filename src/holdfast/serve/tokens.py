"""Requests for temporary credentials: another protocol on the same address.

Answers for reading the form, for who signed it, and for the reply in that protocol's own XML. What is given to whom is `access.assume`.
Invariant: nobody gets credentials who has not signed for them.
"""

from holdfast.access.assume import assume
from holdfast.access.decide import Denied
from holdfast.access.guard import Guard
from holdfast.errors import S3Error
from holdfast.limits import STS_FORM_BYTES
from holdfast.serve.bodies import PlainBody, read_whole
from holdfast.serve.exchange import Exchange
from holdfast.serve.judging import Account
from holdfast.wire import sts
from holdfast.wire.render import Reply
from holdfast.wire.request import Request
from holdfast.wire.sigv4 import authenticate_form


def is_for_tokens(request: Request) -> bool:
    """Whether it is a request of that protocol: S3 has none with this method and path."""
    return request.method == "POST" and request.path == "/" and not request.bucket


async def answer(guard: Guard, exchange: Exchange, request: Request, call: Account, *, now_ms: int) -> Reply:
    """The reply, also to what goes wrong; `call` learns what was decided."""
    try:
        body = await read_whole(PlainBody(exchange), STS_FORM_BYTES)
        signed = authenticate_form(
            request,
            body,
            service=sts.SERVICE,
            secret_of=guard.secret_of,
            session_secret=guard.session_secret,
            now_ms=now_ms,
        )
        call.access_key = signed.access_key
        who = guard.principal(signed.access_key, signed.token)
        call.principal = who.text
        ask = sts.parse(body)
        call.operation = type(ask).__name__
        result = assume(guard, who, ask, temporary=bool(signed.token))
        call.decision, call.reason = "allow", "trusted"
        return sts.render(result, request_id=call.id)
    except S3Error as trouble:
        call.code, call.detail = trouble.code, trouble.detail
        if isinstance(trouble, Denied):
            call.decision, call.reason = "deny", trouble.detail
        return sts.render_error(trouble, request_id=call.id)
