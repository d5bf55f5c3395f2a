"""What is asked, and the condition keys that follow from it.

Answers for the names and values that conditions and variables of policies see. Pure. Invariant: a key that does not apply to a request is not
there, rather than empty. Source: IAM User Guide, "AWS global condition context keys"; Service Authorization Reference, "Condition keys for
Amazon S3".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from holdfast.access.conditions import EXISTING_TAG
from holdfast.access.principal import Principal
from holdfast.model import Retention
from holdfast.s3.identities import Account
from holdfast.s3.locks import PutLegalHold, PutRetention
from holdfast.s3.sharing import ENFORCED

_HEADERS: Final = {
    name: "s3:" + name
    for name in (
        "x-amz-acl", "x-amz-content-sha256", "x-amz-copy-source", "x-amz-metadata-directive", "x-amz-storage-class",
        "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-customer-algorithm", "x-amz-website-redirect-location", "x-amz-object-ownership",
        "x-amz-grant-read", "x-amz-grant-write", "x-amz-grant-read-acp", "x-amz-grant-write-acp", "x-amz-grant-full-control",
        "if-match", "if-none-match",
    )
} | {
    "user-agent": "aws:useragent",
    "referer": "aws:referer",
    "x-amz-object-lock-mode": "s3:object-lock-mode",
    "x-amz-object-lock-retain-until-date": "s3:object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold": "s3:object-lock-legal-hold",
}  # fmt: skip
_QUERY: Final = {
    "prefix": "s3:prefix",
    "delimiter": "s3:delimiter",
    "max-keys": "s3:max-keys",
    "versionId": "s3:versionid",
}
_DAY_MS: Final = 86_400_000


class Question:
    """One request, parsed. `key` is empty for a bucket, `bucket` for the service. `headers` have what a presigned query brought as well."""

    __slots__ = (
        "ask", "bucket", "client", "headers", "key", "now_ms", "operation", "ownership", "presigned", "query", "region", "signed_ms", "tls",
    )  # fmt: skip

    def __init__(
        self,
        operation: str,
        ask: Any,
        bucket: str,
        key: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        client: str = "",
        tls: str = "",
        presigned: bool = False,
        signed_ms: int = 0,
        now_ms: int = 0,
        region: str = "",
        ownership: str = ENFORCED,
    ) -> None:
        self.operation = operation
        self.ask = ask
        self.bucket = bucket
        self.key = key
        self.headers = headers
        self.query = query
        self.client = client
        """Its address."""
        self.tls = tls
        """Version of TLS, such as `1.3`; empty: none."""
        self.presigned = presigned
        self.signed_ms = signed_ms
        """The time in its signature; 0: it has none."""
        self.now_ms = now_ms
        self.region = region
        self.ownership = ownership
        """Of buckets that are made without saying it."""


def context_of(question: Question, who: Principal, account: Account | None) -> dict[str, tuple[str, ...]]:
    """Values by the lower-case names of condition keys. `account` is the bucket's."""
    now = datetime.fromtimestamp(question.now_ms // 1000, UTC)
    found: dict[str, tuple[str, ...]] = {
        "aws:currenttime": (now.strftime("%Y-%m-%dT%H:%M:%SZ"),),
        "aws:epochtime": (str(question.now_ms // 1000),),
        "aws:securetransport": ("true" if question.tls else "false",),
        "aws:principaltype": (who.kind,),
        "aws:requestedregion": (question.region,),
    }
    texts = {
        "aws:sourceip": question.client,
        "aws:username": who.name,
        "aws:userid": who.unique,
        "aws:principalarn": who.asker.also or who.asker.arn,
        "aws:principalaccount": who.asker.account,
        "s3:tlsversion": question.tls,
        "s3:resourceaccount": account.number if account is not None else "",
        "s3:locationconstraint": getattr(question.ask, "region", ""),
    }
    found.update({key: (text,) for key, text in texts.items() if text})
    if question.signed_ms:
        found["s3:authtype"] = ("REST-QUERY-STRING" if question.presigned else "REST-HEADER",)
        found["s3:signatureversion"] = ("AWS4-HMAC-SHA256",)
        found["s3:signatureage"] = (str(max(0, question.now_ms - question.signed_ms)),)
    found.update({key: (question.headers[name],) for name, key in _HEADERS.items() if name in question.headers})
    found.update({key: (question.query[name],) for name, key in _QUERY.items() if name in question.query})
    found.update({key: (text,) for key, text in _lock_of(question.ask).items()})
    _add_lock(found, question.now_ms)
    tags = _tags_of(question)
    if tags:
        found["s3:requestobjecttagkeys"] = tuple(tags)
        found.update({f"s3:requestobjecttag/{key.lower()}": (value,) for key, value in tags.items()})
    return found


def _lock_of(ask: Any) -> dict[str, str]:
    """What a request that was read would lock a version by."""
    match ask:
        case PutRetention(retention=Retention(mode=mode, until_ms=until_ms)):
            until = datetime.fromtimestamp(until_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return {"s3:object-lock-mode": mode, "s3:object-lock-retain-until-date": until}
        case PutLegalHold(on=on):
            return {"s3:object-lock-legal-hold": "ON" if on else "OFF"}
        case _:
            return {}


def _add_lock(found: dict[str, tuple[str, ...]], now_ms: int) -> None:
    until = found.get("s3:object-lock-retain-until-date")
    if until is not None:
        try:
            at_ms = datetime.fromisoformat(until[0]).timestamp() * 1000
        except ValueError:
            return
        found["s3:object-lock-remaining-retention-days"] = (str(max(0, -int((now_ms - at_ms) // _DAY_MS))),)


def _tags_of(question: Question) -> dict[str, str]:
    """The tags that a request would give to an object: in its header, or in the body that was read."""
    given = getattr(question.ask, "tags", None)
    if isinstance(given, dict):
        return dict(given)
    text = question.headers.get("x-amz-tagging", "")
    return dict(parse_qsl(text, keep_blank_values=True)) if text else {}


def with_tags(context: dict[str, tuple[str, ...]], tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The context with the tags of the object that is there."""
    return {**context, **{EXISTING_TAG + key.lower(): (value,) for key, value in tags.items()}}
