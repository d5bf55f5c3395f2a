"""What an error of `obstore` means, decided once.

The library has few kinds of error and much text: the status and the provider's code stand in its first lines, how a connection
failed in the dump of its causes. Answers for the class of every error, and for messages without addresses, which may
carry signatures. Pure. Invariant: a change is `Unavailable` only when it certainly was not made.
"""

import re
from collections.abc import Mapping
from typing import Final

from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.grids.identity import NoPlace
from holdfast.grids.s3.replies import Asked

_STATUS = re.compile(r"status code: (\d{3})|\(code: (\d{3})\)", re.ASCII)
_CODE = re.compile(r"<Code>\s*(\w{1,80})\s*</Code>", re.ASCII)
_MESSAGE = re.compile(r"<Message>\s*([^<\n]{1,300})")
_CAUSE = re.compile(r'(?:message|error): "([^"\n]{1,200})"')
_OPAQUE = re.compile(r"(?i:sig(?:nature)?=)[^\s&]+|[A-Za-z0-9+/=_.%-]{40,}", re.ASCII)
"""What may be a signature or a token that the other side repeats: no word is that long."""
_CERTIFICATE = re.compile(r"invalid peer certificate: (\w+)|InvalidCertificate\(\s*(\w+)")
_PART = re.compile(r"Error performing PUT \S*[?&](?:comp=block&|partNumber=)")
_CAUSES: Final = "\n\nDebug source:"

_ABSENT: Final = frozenset({"BlobNotFound", "ResourceNotFound", "NoSuchKey"})
_NO_PLACE: Final = frozenset({"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled", "NoSuchBucket"})
_NEVER: Final = frozenset(
    {
        "EntityTooLarge", "InvalidMetadata", "InvalidObjectName", "InvalidResourceName", "KeyTooLongError", "MetadataTooLarge",
        "EmptyMetadataKey", "OutOfRangeInput", "RequestBodyTooLarge", "RequestUrlTooLong", "MalformedHeader", "InvalidURI",
    }
)  # fmt: skip
_STAGED_GONE: Final = frozenset({"InvalidBlockList", "InvalidBlobOrBlock", "NoSuchUpload", "InvalidPart"})
_HELD: Final = frozenset(
    {"BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold", "LeaseIdMissing", "SnapshotsPresent", "BlobArchived"}
)
_REMEDIES: Final[Mapping[str, str]] = {
    "AuthenticationFailed": "it does not accept the key or its date: check account, account_key or sas_token, and this machine's clock",
    "AuthorizationFailure": "access is denied: check account and account_key, and the account's network rules",
    "AuthorizationPermissionMismatch": "access is denied: the token or role needs to read, write, delete and list blobs",
    "AuthorizationSourceIPMismatch": "access is denied from this address: check the account's network rules",
    "AccountIsDisabled": "the account is disabled: ask the provider",
    "InsufficientAccountPermissions": "access is denied: the token or role needs to read, write, delete and list blobs",
    "KeyBasedAuthenticationNotPermitted": "the account takes no account keys: use sas_token, or an identity of the environment",
    "AccessDenied": "access is denied: the account needs to list the bucket and to get, create and delete its objects",
    "SignatureDoesNotMatch": "it does not accept the key: check service_account",
    "UserProjectAccountProblem": "there is a problem with the billing account: ask the provider",
}


def classify(asked: Asked, trouble: Exception, *, place: str) -> GridError:
    """The error that an exception of the library is. `place`: what the provider calls a bucket."""
    told, _, causes = str(trouble).partition(_CAUSES)
    if "performing token request" in told or "credential" in told[:120].lower():
        return _no_credentials(asked, told)
    found = _STATUS.search(told)
    if found is not None:
        code = _CODE.search(told)
        message = _MESSAGE.search(told)
        name = code[1] if code is not None else ""
        sent = asked.changes and _PART.search(told) is None
        words = _OPAQUE.sub("***", message[1]) if message is not None else ""
        return _judge(asked, int(found[1] or found[2]), name, words, place, sent)
    if isinstance(trouble, ValueError) or "Error parsing Path" in told or "empty path segment" in told:
        detail = "there is an object whose name cannot be listed, which Holdfast never wrote: remove it, or correct url"
        return _unavailable(asked, detail, lasting=True)
    return _silence(asked, told, causes)


def _judge(asked: Asked, status: int, code: str, message: str, place: str, changes: bool) -> GridError:
    told = f"{status} {code}".strip() + (f": {message.strip()}" if message else "")
    if code in _NO_PLACE:
        detail = f'the {place} "{asked.target}" does not exist there: create it, or correct url'
        where = asked.place
        return NoPlace(asked.grid, asked.operation, detail, bucket=where.bucket, key=where.key, lasting=True)
    if status == 404 and (code in _ABSENT or (not code and asked.operation in ("head", "delete"))):
        return Refused(asked.grid, asked.operation, "not there", reason=Reason.ABSENT, **_where(asked))
    if code in _HELD:
        return _unavailable(asked, f"a lease or a rule there protects the object ({told})", lasting=True)
    if status == 412 and not asked.changes:
        return Refused(asked.grid, asked.operation, told, reason=Reason.MISMATCH, **_where(asked))
    if status == 416:
        return Corrupt(asked.grid, asked.operation, f"it is shorter than it should be ({told})", **_where(asked))
    if code in _STAGED_GONE:
        return _unavailable(asked, f"the staged bytes are gone ({told})")
    if code in _NEVER or status == 413:
        return Refused(asked.grid, asked.operation, told, reason=Reason.INVALID, **_where(asked))
    if status in (408, 429, 503):
        return _unavailable(asked, f"it is too busy ({told})")
    if status >= 500 and status != 501:
        return _uncertain(asked, told) if changes else _unavailable(asked, told)
    if status in (401, 403):
        remedy = _REMEDIES.get(code, "it refuses our credentials: check the account and its key")
        return _unavailable(asked, f"{remedy} ({told})", lasting=True)
    if status == 409:
        return _unavailable(asked, told)
    detail = told if code else f"{told}, and not as it should be said: check endpoint"
    return _unavailable(asked, detail, lasting=True)


def _no_credentials(asked: Asked, told: str) -> GridError:
    found = _STATUS.search(told)
    status = f" ({found[1] or found[2]})" if found is not None else ""
    detail = (
        f"no credentials can be had{status}: check account_key, sas_token or service_account, or the machine's identity"
    )
    return _unavailable(asked, detail, lasting=found is None or int(found[1] or found[2]) < 500)


def _silence(asked: Asked, told: str, causes: str) -> GridError:
    """No answer, or not all of it."""
    cause = _CAUSE.search(causes)
    reason = _OPAQUE.sub("***", cause[1]) if cause is not None else ""
    certificate = _CERTIFICATE.search(causes)
    if certificate is not None:
        which = certificate[1] or certificate[2]
        detail = f"its certificate is not valid ({which}): the provider must renew it, or check endpoint and tls_ca"
        return _unavailable(asked, detail, lasting=True)
    if '"dns error"' in causes or "failed to lookup address" in causes:
        return _unavailable(
            asked, "there is no address for its name: check endpoint, account and the name service", lasting=True
        )
    if "kind: Connect" in causes:
        return _unavailable(asked, f"no connection{f': {reason}' if reason else ''}")
    detail = f"the connection broke{f': {reason}' if reason else ''}"
    if asked.changes and _PART.search(told) is None:
        return _uncertain(asked, detail)
    return _unavailable(asked, detail)


def _where(asked: Asked) -> dict[str, str]:
    return {"bucket": asked.place.bucket, "key": asked.place.key}


def _unavailable(asked: Asked, detail: str, *, lasting: bool = False) -> Unavailable:
    place = asked.place
    return Unavailable(asked.grid, asked.operation, detail, bucket=place.bucket, key=place.key, lasting=lasting)


def _uncertain(asked: Asked, detail: str) -> Uncertain:
    return Uncertain(asked.grid, asked.operation, detail, **_where(asked))
