"""Requests for access control lists and the policy's status, as typed values.

Source: Amazon S3 API Reference, PutBucketAcl, PutObjectAcl, GetBucketPolicyStatus.
"""

from holdfast.access.acl import asked_by
from holdfast.errors import S3Error
from holdfast.model import replace
from holdfast.s3.acl import AclAsk, GetAcl, GrantAsk, PutAcl
from holdfast.s3.sharing import GetPolicyStatus
from holdfast.wire.parse import check_headers, expected_of_xml, headers_of, verify, version_id
from holdfast.wire.request import Request
from holdfast.xml import Element, parse_xml

_KINDS = (("ID", "id"), ("EmailAddress", "emailAddress"), ("URI", "uri"))


def get_acl(request: Request) -> GetAcl:
    return GetAcl(request.bucket, request.key, version_id(request.query))


def put_acl(request: Request) -> PutAcl:
    """The list is in the headers, or in the body, for `fill_acl`."""
    headers = headers_of(request)
    check_headers(headers)
    wanted = asked_by(headers) or AclAsk()
    return PutAcl(request.bucket, request.key, version_id(request.query), wanted, expected=expected_of_xml(headers))


def fill_acl(ask: PutAcl, body: bytes) -> PutAcl:
    """The request with the list of its body. Raises MissingSecurityHeader (neither), UnexpectedContent (both), MalformedACLError."""
    verify(ask.expected, body)
    if not body.strip():
        if ask.wanted == AclAsk():
            raise S3Error("MissingSecurityHeader", fields={"MissingHeaderName": "x-amz-acl"})
        return ask
    if ask.wanted != AclAsk():
        raise S3Error("UnexpectedContent")
    try:
        root = parse_xml(body, "AccessControlPolicy")
    except S3Error as trouble:
        raise S3Error("MalformedACLError", detail=trouble.detail) from trouble
    owner, listed = root.find("Owner"), root.find("AccessControlList")
    name = (owner.get("ID") or "").strip() if owner is not None else ""
    if not name or listed is None:
        raise S3Error("MalformedACLError", detail="no Owner or no AccessControlList")
    grants = tuple(_grant(item) for item in listed.all("Grant"))
    return replace(ask, wanted=AclAsk("", grants, name))


def _grant(item: Element) -> GrantAsk:
    grantee, permission = item.find("Grantee"), (item.get("Permission") or "").strip()
    for element, kind in _KINDS:
        text = (grantee.get(element) or "").strip() if grantee is not None else ""
        if text and permission:
            return GrantAsk(kind, text, permission)
    raise S3Error("MalformedACLError", detail="a Grant without its Grantee or Permission")


def get_policy_status(request: Request) -> GetPolicyStatus:
    return GetPolicyStatus(request.bucket)
