"""One visit of a static website: which object, page or redirect answers a path.

Answers for the order in which S3 decides that. It reads through the function that it is given, which is an anonymous GetObject with all
its checks: a site shows nothing that the bucket's policy does not show to anybody.
Source: Amazon S3 User Guide, "Hosting a static website using Amazon S3".
"""

from collections.abc import Awaitable, Callable

from holdfast import s3
from holdfast.errors import S3Error
from holdfast.model import Value
from holdfast.s3.website import Website, document_key, rule_for
from holdfast.serve.bodies import close
from holdfast.signing import encode_path
from holdfast.wire.browser.website import OBJECT_REDIRECT, moved, object_request, redirected
from holdfast.wire.render import Reply
from holdfast.wire.request import Request

Read = Callable[[Request], Awaitable[tuple[s3.ObjectGot, s3.GetObject]]]


class Shown(Value, frozen=True):
    """An object is the answer, with the status of what it stands for (0: its own)."""

    ask: s3.GetObject
    got: s3.ObjectGot
    status: int = 0


async def visit(site: Website, request: Request, read: Read, *, secure: bool) -> Shown | Reply:
    """What a visitor gets. Raises S3Error, which is to be shown as a page."""
    if site.elsewhere is not None:
        return redirected(request, site.elsewhere, secure=secure)
    if request.method not in ("GET", "HEAD"):
        raise S3Error("MethodNotAllowed", fields={"Method": request.method}, headers={"Allow": "GET, HEAD"})
    rule = rule_for(site, request.key)
    if rule is not None:
        return redirected(request, rule.redirect, rule.prefix, secure=secure)
    try:
        got, ask = await read(object_request(request, document_key(site, request.key)))
    except S3Error as trouble:
        return await _instead(site, request, read, trouble, secure=secure)
    target = got.version.facts.system.get(OBJECT_REDIRECT)
    if target:
        await close(got.stream)
        return moved(target, 301)
    return Shown(ask, got)


async def _instead(site: Website, request: Request, read: Read, trouble: S3Error, *, secure: bool) -> Shown | Reply:
    """What is shown when the object is not. Raises the trouble again when it is nothing else."""
    key = request.key
    if (
        trouble.status == 404
        and key
        and not key.endswith("/")
        and await _is_there(read, request, f"{key}/{site.index}")
    ):
        return moved(encode_path(f"/{key}/"), 302)
    rule = rule_for(site, key, trouble.status)
    if rule is not None:
        return redirected(request, rule.redirect, rule.prefix, secure=secure)
    if site.error and 400 <= trouble.status < 500:
        try:
            got, ask = await read(object_request(request, site.error, plain=True))
        except S3Error:
            raise trouble from None
        return Shown(ask, got, trouble.status)
    raise trouble


async def _is_there(read: Read, request: Request, key: str) -> bool:
    try:
        await read(object_request(request, key, plain=True, head=True))
    except S3Error:
        return False
    return True
