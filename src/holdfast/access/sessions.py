"""Temporary credentials that need no row: everything about them is in their token, sealed under the master key.

Answers for whose a session is and until when. Invariant: a token opens only with the access key that it came with, and says nothing to anybody
else. Source: IAM User Guide, "Temporary security credentials in IAM".
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.limits import IDENTITIES_KNOWN
from holdfast.model import DecodeError, Value, pack, unpack
from holdfast.sealing.master import CannotUnwrap, MasterKey

_KEY_BYTES: Final = 10
_SECRET_BYTES: Final = 30


class Session(Value, frozen=True):
    access_key: str
    secret: str
    account: str
    """Canonical id."""
    member: str
    """Id of the user or role; empty for the account's owner."""
    name: str
    """Of a role's session, what its maker called it; else empty."""
    until_ms: int
    policy: str = ""
    """A document that narrows what the identity may do."""


def key_text(clock: Clock, prefix: str) -> str:
    """A new access key: the prefix that says what it is, and 16 letters and digits."""
    return prefix + base64.b32encode(clock.token(_KEY_BYTES)).decode()


def secret_text(clock: Clock) -> str:
    """A new secret key of 40 characters that need no quoting anywhere."""
    return base64.urlsafe_b64encode(clock.token(_SECRET_BYTES)).decode()


class Sessions:
    """Makes and opens tokens."""

    def __init__(self, master: MasterKey, clock: Clock) -> None:
        self._master = master
        self._clock = clock
        self._known: dict[str, Session] = {}

    def begin(self, account: str, member: str, name: str, seconds: int, policy: str = "") -> tuple[Session, str]:
        """A new session and its token."""
        until_ms = self._clock.now_ms() + seconds * 1000
        key, secret = key_text(self._clock, "ASIA"), secret_text(self._clock)
        session = Session(key, secret, account, member, name, until_ms, policy)
        sealed = self._master.wrap(pack(session), _context(session.access_key))
        return session, base64.b64encode(sealed).decode()

    def open(self, access_key: str, token: str) -> Session:
        """The session of a token. Raises InvalidToken, ExpiredToken."""
        session = self._known.get(token)
        if session is None:
            session = self._opened(access_key, token)
            if len(self._known) >= IDENTITIES_KNOWN:
                self._known.clear()
            self._known[token] = session
        if session.access_key != access_key:
            raise _invalid("it belongs to another access key")
        if session.until_ms <= self._clock.now_ms():
            raise S3Error("ExpiredToken")
        return session

    def _opened(self, access_key: str, token: str) -> Session:
        try:
            return unpack(self._master.unwrap(base64.b64decode(token, validate=True), _context(access_key)), Session)
        except (CannotUnwrap, DecodeError, binascii.Error, ValueError) as trouble:
            raise _invalid(str(trouble)) from trouble


def _context(access_key: str) -> bytes:
    return b"session of access key " + access_key.encode()


def _invalid(why: str) -> S3Error:
    return S3Error("InvalidToken", detail=why)


def token_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The token that a request brings, or empty."""
    return headers.get("x-amz-security-token") or query.get("X-Amz-Security-Token", "")
