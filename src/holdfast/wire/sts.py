"""The Security Token Service's protocol: a form as the body, XML of its own as the reply.

Answers for reading one and writing the other. Pure. Source: AWS STS API Reference, "Making query requests", "Common errors".
"""

from collections.abc import Callable, Mapping
from typing import Final

from holdfast.errors import S3Error
from holdfast.limits import SESSION_POLICY_CHARS
from holdfast.s3.sts import (
    AssumeRole,
    Caller,
    Credentials,
    GetCallerIdentity,
    GetSessionToken,
    RoleAssumed,
    SessionBegun,
)
from holdfast.wire.conditions import iso_date
from holdfast.wire.render import Reply
from holdfast.wire.request import parse_query
from holdfast.xml import DECLARATION, element, legible

SERVICE: Final = "sts"
_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
_CODES: Final = {"InvalidAccessKeyId": "InvalidClientTokenId", "InvalidToken": "InvalidClientTokenId"}
"""What this service calls differently than S3."""

StsAsk = AssumeRole | GetSessionToken | GetCallerIdentity
StsResult = RoleAssumed | SessionBegun | Caller


def parse(body: bytes) -> StsAsk:
    """The request in a form. Raises InvalidAction, ValidationError."""
    try:
        fields = dict(parse_query(body))
    except S3Error as trouble:
        raise S3Error("ValidationError", "The form is not readable.") from trouble
    action = fields.get("Action", "")
    if action not in _ACTIONS:
        raise S3Error("InvalidAction", f"Could not find operation {legible(action[:64])}")
    return _ACTIONS[action](fields)


def _assume_role(fields: Mapping[str, str]) -> AssumeRole:
    for name in ("RoleArn", "RoleSessionName"):
        if not fields.get(name):
            raise S3Error("ValidationError", f"{name} is required.")
    policy = fields.get("Policy", "")
    if len(policy) > SESSION_POLICY_CHARS:
        raise S3Error("PackedPolicyTooLarge")
    if any(name.startswith(("PolicyArns.", "Tags.", "TransitiveTagKeys.")) for name in fields):
        raise S3Error("ValidationError", "Managed policies and tags of sessions are not implemented.")
    return AssumeRole(
        fields["RoleArn"], fields["RoleSessionName"], _seconds(fields), policy, fields.get("ExternalId", "")
    )


def _session_token(fields: Mapping[str, str]) -> GetSessionToken:
    if "SerialNumber" in fields or "TokenCode" in fields:
        raise S3Error("ValidationError", "Multi-factor authentication is not implemented.")
    return GetSessionToken(_seconds(fields))


def _caller(fields: Mapping[str, str]) -> GetCallerIdentity:
    return GetCallerIdentity()


_ACTIONS: Final[Mapping[str, Callable[[Mapping[str, str]], StsAsk]]] = {
    "AssumeRole": _assume_role,
    "GetSessionToken": _session_token,
    "GetCallerIdentity": _caller,
}


def _seconds(fields: Mapping[str, str]) -> int | None:
    text = fields.get("DurationSeconds")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise S3Error("ValidationError", "DurationSeconds must be a number of seconds.")
    return int(text)


def render(result: StsResult, *, request_id: str) -> Reply:
    """The reply to a request that succeeded."""
    match result:
        case RoleAssumed():
            who = f"<AssumedRoleUser>{element('AssumedRoleId', result.unique)}{element('Arn', result.arn)}</AssumedRoleUser>"
            return _reply("AssumeRole", _credentials(result.credentials) + who, request_id)
        case SessionBegun():
            return _reply("GetSessionToken", _credentials(result.credentials), request_id)
        case Caller():
            content = element("Arn", result.arn) + element("UserId", result.unique) + element("Account", result.number)
            return _reply("GetCallerIdentity", content, request_id)


def _credentials(given: Credentials) -> str:
    return (
        "<Credentials>"
        + element("AccessKeyId", given.access_key)
        + element("SecretAccessKey", given.secret_key)
        + element("SessionToken", given.token)
        + element("Expiration", iso_date(given.until_ms))
        + "</Credentials>"
    )


def _reply(action: str, content: str, request_id: str) -> Reply:
    text = (
        f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{content}</{action}Result>'
        f"<ResponseMetadata>{element('RequestId', request_id)}</ResponseMetadata></{action}Response>"
    )
    return Reply(200, [("Content-Type", "text/xml")], DECLARATION + text.encode())


def render_error(error: S3Error, *, request_id: str) -> Reply:
    """The reply to one that did not."""
    kind = "Sender" if error.status < 500 else "Receiver"
    code = _CODES.get(error.code, error.code)
    text = (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error>{element("Type", kind)}{element("Code", code)}'
        f"{element('Message', legible(error.message))}</Error>{element('RequestId', request_id)}</ErrorResponse>"
    )
    return Reply(error.status, [*error.headers.items(), ("Content-Type", "text/xml")], DECLARATION + text.encode())
