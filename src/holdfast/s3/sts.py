"""Temporary credentials: the requests of the Security Token Service, and their results. Source: AWS STS API Reference."""

from holdfast.model import Value


class AssumeRole(Value, frozen=True):
    role: str
    """ARN."""
    name: str
    """Of the session."""
    seconds: int | None = None
    policy: str = ""
    """A document that narrows the session."""
    external_id: str = ""


class GetSessionToken(Value, frozen=True):
    seconds: int | None = None


class GetCallerIdentity(Value, frozen=True):
    pass


class Credentials(Value, frozen=True):
    access_key: str
    secret_key: str
    token: str
    until_ms: int


class RoleAssumed(Value, frozen=True):
    credentials: Credentials
    arn: str
    """Of the session."""
    unique: str
    """Id of the role, colon, name of the session."""


class SessionBegun(Value, frozen=True):
    credentials: Credentials


class Caller(Value, frozen=True):
    arn: str
    unique: str
    number: str
    """Of the account."""
