"""Messages to webhooks: S3's form, the signature, and which rules ask for what."""

import base64
import hashlib
import hmac

import pytest

from holdfast.config.afterwards import WebhookSettings
from holdfast.config.notation import Unreadable
from holdfast.config.settings import rows
from holdfast.index.notices import WaitingNotice
from holdfast.model import Bucket, from_json, pack
from holdfast.s3 import DeleteAsk
from holdfast.s3.notices import CALLER, REMOVED, TEST, notices_of, notices_of_test, telling, webhook_of
from holdfast.s3.notification import Notice, Notification, Route
from holdfast.webhooks.message import body_of, headers_of, identify, key_of

NOW = 1_700_000_000_123


def waiting(notice: Notice, *, seq: int = 0x1F, version_id: str = "") -> WaitingNotice:
    return WaitingNotice(7, notice, seq, version_id, NOW, 0)


def test_an_event_has_the_form_of_amazons() -> None:
    notice = Notice("hook", "ObjectCreated:Put", "photos", "a b/ü+&\n", NOW, "rule", "owner", "", 12, "etag").caused(
        "AKIA", "10.0.0.1", "REQ", "HOST"
    )
    assert from_json(body_of(waiting(notice, version_id="v1"), "us-east-1"), dict) == {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "us-east-1",
                "eventTime": "2023-11-14T22:13:20.123Z",
                "eventName": "ObjectCreated:Put",
                "userIdentity": {"principalId": "AKIA"},
                "requestParameters": {"sourceIPAddress": "10.0.0.1"},
                "responseElements": {"x-amz-request-id": "REQ", "x-amz-id-2": "HOST"},
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "rule",
                    "bucket": {
                        "name": "photos",
                        "ownerIdentity": {"principalId": "owner"},
                        "arn": "arn:aws:s3:::photos",
                    },
                    "object": {
                        "key": "a+b/%C3%BC%2B%26%0A",
                        "size": 12,
                        "eTag": "etag",
                        "versionId": "v1",
                        "sequencer": "00000000000000001F",
                    },
                },
            }
        ]
    }


def test_the_server_itself_is_named_as_in_amazons_messages() -> None:
    notice = Notice("hook", "LifecycleExpiration:Delete", "photos", "k", NOW, region="eu-west-1")
    record = from_json(body_of(waiting(notice), "us-east-1"), dict)["Records"][0]
    assert record["eventVersion"] == "2.3"
    assert record["awsRegion"] == "eu-west-1"
    assert record["userIdentity"] == {"principalId": "s3.amazonaws.com"}
    assert set(record["s3"]["object"]) == {"key", "sequencer"}


def test_a_test_event_is_no_record() -> None:
    found = from_json(body_of(waiting(Notice("hook", TEST, "photos", "", NOW)), "us-east-1"), dict)
    assert (found["Service"], found["Event"], found["Bucket"]) == ("Amazon S3", "s3:TestEvent", "photos")


def test_later_changes_of_a_key_have_greater_sequencers() -> None:
    texts = [body_of(waiting(Notice("h", "ObjectCreated:Put", "b", "k", 0), seq=seq), "") for seq in (9, 16, 2**62)]
    found = [from_json(text, dict)["Records"][0]["s3"]["object"]["sequencer"] for text in texts]
    assert found == sorted(found)
    assert len({len(text) for text in found}) == 1


def test_the_signature_is_that_of_standard_webhooks() -> None:
    secret = base64.b64encode(b"24 bytes of good chance!").decode()
    key = key_of(f"whsec_{secret}")
    assert key == b"24 bytes of good chance!"
    headers = headers_of("evt_1", b"{}", key, 1_700_000_000)
    expected = hmac.new(key, b"evt_1.1700000000.{}", hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("evt_1", "1700000000")


@pytest.mark.parametrize(("secret", "key"), [("plain", b"plain"), ("whsec_$", b"whsec_$"), ("", b"")])
def test_a_secret_that_is_no_base64_is_the_key_itself(secret: str, key: bytes) -> None:
    assert key_of(secret) == key
    assert ("webhook-signature" in headers_of("e", b"", key, 0)) == bool(key)


def test_each_event_has_an_id_of_its_own() -> None:
    notice = Notice("h", TEST, "b", "", 0)
    assert len({identify(WaitingNotice(number, notice, 1, "", at, 0)) for number in (1, 2) for at in (1, 2)}) == 4


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:sqs:us-east-1:0:hook", "hook"),
        ("arn:aws:lambda:r:0:function:hook", "hook"),
        ("arn:aws:sns:::a-b", "a-b"),
    ],
)
def test_a_destination_is_named_by_the_last_part_of_its_arn(arn: str, name: str) -> None:
    assert webhook_of(arn) == name


# --- which rules ask for what ---

RULES = Notification(
    (
        Route("made", "Queue", "arn:aws:sqs:r:0:one", ("s3:ObjectCreated:*",), "logs/", ".gz"),
        Route("gone", "Topic", "arn:aws:sns:r:0:two", ("s3:ObjectRemoved:*",)),
        Route("lost", "Queue", "arn:aws:sqs:r:0:unknown", ("s3:ObjectTagging:*",)),
    )
)
BUCKET = Bucket("photos", 1, "", "owner", settings={"notification": pack(RULES)})


@pytest.mark.parametrize(
    ("event", "key", "webhooks"),
    [
        ("ObjectCreated:Put", "logs/a.gz", ["one"]),
        ("ObjectCreated:Copy", "logs/a.gz", ["one"]),
        ("ObjectCreated:Put", "logs/a.txt", []),
        ("ObjectCreated:Put", "a.gz", []),
        ("ObjectRemoved:Delete", "a", ["two"]),
        ("ObjectTagging:Put", "a", []),
        ("LifecycleExpiration:Delete", "a", []),
    ],
)
def test_events_go_where_rules_and_the_operator_let_them(event: str, key: str, webhooks: list[str]) -> None:
    found = notices_of(BUCKET, ("one", "two"), (event,), key, at_ms=NOW)
    assert [notice.webhook for notice in found] == webhooks
    assert notices_of(Bucket("plain", 1, ""), ("one", "two"), (event,), key, at_ms=NOW) == ()


def test_a_deletion_brings_what_it_may_turn_out_to_be() -> None:
    (ask,) = telling(BUCKET, ("two",), [DeleteAsk("k")], REMOVED, at_ms=NOW)
    assert [(notice.event, notice.marks) for notice in ask.notices] == [
        ("ObjectRemoved:Delete", False),
        ("ObjectRemoved:DeleteMarkerCreated", True),
    ]
    assert telling(Bucket("plain", 1, ""), ("two",), [DeleteAsk("k")], REMOVED, at_ms=NOW) == [DeleteAsk("k")]


def test_each_destination_is_tested_once() -> None:
    twice = Notification((*RULES.routes[:2], Route("more", "Queue", "arn:aws:sqs:r:0:one", ("s3:ObjectAcl:Put",))))
    found = notices_of_test(BUCKET, twice, at_ms=NOW)
    assert sorted((notice.webhook, notice.event) for notice in found) == [("one", TEST), ("two", TEST)]


def test_the_caller_of_the_request_is_named() -> None:
    class Call:
        id, host_id, access_key, client = "REQ", "HOST", "", "::1"

    token = CALLER.set(Call())
    try:
        (notice,) = notices_of(BUCKET, ("two",), ("ObjectRemoved:Delete",), "k", at_ms=NOW)
    finally:
        CALLER.reset(token)
    assert (notice.principal, notice.address, notice.request_id) == ("Anonymous", "::1", "REQ")


# --- what the operator may write ---


@pytest.mark.parametrize("url", ["https://events.example.net/a?b=c", "http://127.0.0.1:8080", "http://[::1]:1/x"])
def test_an_address_of_a_webhook_is_taken(url: str) -> None:
    assert rows(WebhookSettings)["url"].kind.read(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "events.example.net",
        "ftp://a/b",
        "http://",
        "https://u:p@host/",
        "http://a:0/",
        "http://a/ b",
        "http://a/#b",
    ],
)
def test_other_texts_are_not(url: str) -> None:
    with pytest.raises(Unreadable):
        rows(WebhookSettings)["url"].kind.read(url)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "ä", "x" * 81])
def test_a_name_must_fit_into_an_arn(name: str) -> None:
    with pytest.raises(Unreadable):
        rows(WebhookSettings)["name"].kind.read(name)
