"""Settings of what buckets do after their requests: lifecycle, webhooks for events, access logs.

Clients choose among the operator's webhooks by name and can name no address, so nobody makes this server ask an address of theirs.
"""

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from holdfast import limits
from holdfast.config.notation import (
    PATH,
    SECRET,
    SOME_TIME,
    TEXT,
    Kind,
    Secret,
    Setting,
    Unreadable,
    without_user,
)
from holdfast.model import Value


def _read_name(raw: object) -> str:
    text = str(TEXT.read(raw))
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", text):
        raise Unreadable(
            f'"{text}" cannot be the last part of an ARN.', "Use letters, digits, hyphens and underscores."
        )
    return text


def _read_target(raw: object) -> str:
    text = str(TEXT.read(raw))
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.fragment and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"[\s\x00-\x1f]", text):
        remedy = 'Write a scheme, a host and a path, as in "https://events.example.net/holdfast".'
        raise Unreadable(f'"{without_user(text)}" is not the address of a webhook.', remedy)
    if parts.username is not None:
        raise Unreadable("a user does not belong in the address, which is shown.", "Let it check the signature.")
    return text


_NAME: Final = Kind("name", _read_name)
_TARGET: Final = Kind("URL", _read_target)


class LifecycleSettings(Value, frozen=True):
    """Objects, versions and uploads go when a bucket's lifecycle rules say so."""

    day: Annotated[
        float,
        Setting(
            SOME_TIME,
            "How long a day of a lifecycle rule lasts. Anything but 24h is for tests; the dates that clients are told in "
            "`x-amz-expiration` are always those of the calendar.",
        ),
    ] = float(limits.LIFECYCLE_DAY_S)


class AccessLogSettings(Value, frozen=True):
    """Server access logs of buckets that have logging, delivered as objects."""

    interval: Annotated[
        float,
        Setting(SOME_TIME, "Lines are delivered this often. A crash loses those of this time; an orderly stop none."),
    ] = limits.JOURNAL_S


class WebhookSettings(Value, frozen=True):
    """A receiver of event notifications. Clients name it by the last part of an ARN, as in `arn:aws:sqs:us-east-1:0:NAME`; whether that
    speaks of `sqs`, `sns` or `lambda` makes no difference. Events are sent in S3's form with the headers of standardwebhooks.com."""

    name: Annotated[str, Setting(_NAME, "How notification configurations call it. Required.")] = ""
    url: Annotated[str, Setting(_TARGET, "Where events are sent by POST. Required.")] = ""
    secret: Annotated[
        Secret,
        Setting(
            SECRET,
            "What events are signed with (HMAC-SHA256, header `webhook-signature`): itself, `env:NAME` or `file:PATH`. After `whsec_` "
            "it is base64. Without it they are not signed.",
        ),
    ] = Secret("")
    tls_ca: Annotated[Path | None, Setting(PATH, "Certificates in PEM to trust beside those of the system.")] = None

    @property
    def shown_url(self) -> str:
        """The address without its query, which may hold a token of the receiver's."""
        return self.url.partition("?")[0]
