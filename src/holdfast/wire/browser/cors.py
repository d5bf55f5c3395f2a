"""Preflights as typed values, and what a browser is told about sharing, in headers.

Source: Amazon S3 API Reference, "OPTIONS object"; User Guide, "Using cross-origin resource sharing (CORS)".
"""

from collections.abc import Mapping

from holdfast.errors import S3Error
from holdfast.s3.cors import METHODS, Preflight, Shared, is_token
from holdfast.wire.request import Request

Headers = list[tuple[str, str]]

_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
_NOT_ENABLED = "CORSResponse: CORS is not enabled for this bucket."
_NOT_ALLOWED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)


def preflight(request: Request) -> Preflight:
    """Raises BadRequest for what no browser would ask."""
    headers = request.headers
    origin, method = headers.get("origin"), headers.get("access-control-request-method")
    if not origin:
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    if method not in METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
    asked = headers.get("access-control-request-headers", "")
    names = tuple(name.strip().lower() for name in asked.split(",") if name.strip())
    for name in names:
        if not is_token(name):
            raise S3Error("BadRequest", f"Invalid Access-Control-Request-Headers: {asked}")
    return Preflight(request.bucket, request.key, origin, method, names)


def actual(request: Request) -> Preflight | None:
    """What a request that a page sends asks of the rules; None when no page did, or there is no bucket."""
    headers: Mapping[str, str] = request.headers
    origin = headers.get("origin")
    if not origin or not request.bucket or request.method == "OPTIONS":
        return None
    method = headers.get("access-control-request-method", request.method)
    return Preflight(request.bucket, request.key, origin, method)


def check_shared(request: Request, shared: Shared) -> None:
    """Raises AccessForbidden when a preflight was in vain."""
    if shared.sharing is None:
        method = request.headers.get("access-control-request-method", "")
        fields = {"Method": method, "ResourceType": "OBJECT" if request.key else "BUCKET"}
        raise S3Error("AccessForbidden", _NOT_ALLOWED if shared.configured else _NOT_ENABLED, fields=fields)


def sharing_headers(shared: Shared) -> Headers:
    """The headers of a reply. `Vary` is there whenever another origin could be answered differently."""
    if not shared.configured:
        return []
    sharing = shared.sharing
    if sharing is None:
        return [_VARY]
    rule = sharing.rule
    told: Headers = [
        ("Access-Control-Allow-Origin", sharing.origin),
        ("Access-Control-Allow-Methods", ", ".join(rule.methods)),
    ]
    if sharing.headers:
        told.append(("Access-Control-Allow-Headers", ", ".join(sharing.headers)))
    if rule.exposed:
        told.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed)))
    if rule.max_age_s is not None:
        told.append(("Access-Control-Max-Age", str(rule.max_age_s)))
    if not sharing.anybody:
        told.append(("Access-Control-Allow-Credentials", "true"))
    return [*told, _VARY]
