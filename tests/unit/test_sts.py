"""Temporary credentials: the forms that ask for them, and tokens that nobody can bend."""

import base64

import pytest

from holdfast.access.sessions import Sessions
from holdfast.errors import S3Error
from holdfast.s3.sts import AssumeRole, Caller, GetCallerIdentity, GetSessionToken
from holdfast.sealing.master import KEY_BYTES, MasterKey
from holdfast.testing.rawhttp import StillClock
from holdfast.wire import sts
from holdfast.xml import parse_xml

ARN = "arn:aws:iam::111122223333:role/reader"


def refused(code: str) -> "pytest.RaisesExc[S3Error]":
    return pytest.raises(S3Error, match=rf"^{code}: ")


def test_forms_are_read() -> None:
    body = f"Action=AssumeRole&Version=2011-06-15&RoleArn={ARN}&RoleSessionName=me&DurationSeconds=900&ExternalId=x+y"
    assert sts.parse(body.encode()) == AssumeRole(ARN, "me", 900, "", "x y")
    assert sts.parse(b"Action=GetSessionToken") == GetSessionToken()
    assert sts.parse(b"Version=2011-06-15&Action=GetCallerIdentity") == GetCallerIdentity()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "InvalidAction"),
        (b"Action=GetFederationToken", "InvalidAction"),
        (b"Action=%zz", "ValidationError"),
        (b"Action=AssumeRole&RoleSessionName=x", "ValidationError"),
        (b"Action=AssumeRole&RoleArn=x", "ValidationError"),
        (b"Action=AssumeRole&RoleArn=x&RoleSessionName=y&Tags.member.1.Key=z", "ValidationError"),
        (b"Action=AssumeRole&RoleArn=x&RoleSessionName=y&Policy=" + b"x" * 2049, "PackedPolicyTooLarge"),
        (b"Action=GetSessionToken&DurationSeconds=soon", "ValidationError"),
        (b"Action=GetSessionToken&TokenCode=123456", "ValidationError"),
    ],
)
def test_a_wrong_form_is_told_why(body: bytes, code: str) -> None:
    with refused(code):
        sts.parse(body)


def test_replies_are_in_the_services_own_form() -> None:
    reply = sts.render(Caller(ARN, "AIDA", "111122223333"), request_id="r")
    root = parse_xml(reply.body, "GetCallerIdentityResponse")
    result = root.find("GetCallerIdentityResult")
    assert result is not None
    assert (result.get("Arn"), result.get("UserId"), result.get("Account")) == (ARN, "AIDA", "111122223333")
    error = sts.render_error(S3Error("InvalidAccessKeyId"), request_id="r")
    found = parse_xml(error.body, "ErrorResponse").find("Error")
    assert found is not None and error.status == 403
    assert (found.get("Type"), found.get("Code")) == ("Sender", "InvalidClientTokenId")


class _Later(StillClock):
    """A clock that can be put forward."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


def test_a_token_opens_with_its_key_until_its_end() -> None:
    clock = _Later()
    sessions = Sessions(MasterKey([bytes(KEY_BYTES)], clock), clock)
    session, token = sessions.begin("a" * 64, "AIDA", "name", 900, "{}")
    assert session.access_key.startswith("ASIA") and session.secret not in token
    for opened_by in (sessions, Sessions(MasterKey([bytes(KEY_BYTES)], clock), clock)):
        assert opened_by.open(session.access_key, token) == session
        with refused("InvalidToken"):
            opened_by.open("ASIAANOTHER", token)
    with refused("InvalidToken"):
        Sessions(MasterKey([b"\1" * KEY_BYTES], clock), clock).open(session.access_key, token)
    clock.ahead_ms = 899_000
    assert sessions.open(session.access_key, token) == session
    clock.ahead_ms = 900_000
    with refused("ExpiredToken"):
        sessions.open(session.access_key, token)


def test_no_bit_of_a_token_can_be_changed() -> None:
    clock = StillClock()
    sessions = Sessions(MasterKey([bytes(KEY_BYTES)], clock), clock)
    session, token = sessions.begin("a" * 64, "", "", 900)
    data = base64.b64decode(token)
    for at in range(len(data)):
        bent = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with refused("InvalidToken"):
            sessions.open(session.access_key, base64.b64encode(bent).decode())
    for text in ("", "x", token[:-4], token + "AAAA", "\u00e9"):
        with refused("InvalidToken"):
            sessions.open(session.access_key, text)
