"""What a bucket does after the answer, through boto3 and a gateway of two processes: lifecycle, notifications, access logs.

The gateway's days are short and its webhook is a real HTTP server. Nothing here waits for a fixed time: each wait ends with what it
waits for, or fails.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.conftest import _boto3
from tests.clients.server import ACCESS_KEY, SECRET_KEY, Server
from tests.receiver import Receiver, receiver

DAY_S = 1
ARN = "arn:aws:sqs:us-east-1:000000000000:hook"


class Afterwards(Server):
    """A gateway whose lifecycle days, access logs and webhook are fit for a test."""

    def __init__(self, folder: Path, hook: Receiver) -> None:
        super().__init__(folder, "http")
        self._hook = hook

    def _command(self, port: int, admin: int) -> list[str]:
        config = self.folder / "holdfast.toml"
        config.write_text(
            f'data = "{self.folder / "data"}"\n'
            f'[server]\nlisten = "127.0.0.1:{port}"\nadmin = "127.0.0.1:{admin}"\nworkers = 2\n'
            f'[lifecycle]\nday = "{DAY_S}s"\n[access_logs]\ninterval = "1s"\n'
            f'[[webhook]]\nname = "hook"\nurl = "{self._hook.url}"\nsecret = "a secret of the test"\n'
        )
        return [*super()._command(port, admin)[:2], "--config", str(config)]


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, hook: Receiver) -> Iterator[Server]:
    started = Afterwards(tmp_path_factory.mktemp("afterwards"), hook)
    started.start()
    try:
        yield started
        assert started.stop() == 0
    finally:
        started.kill()


@pytest.fixture
def s3(gateway: Server) -> Any:
    return _boto3(gateway.endpoint, ACCESS_KEY, SECRET_KEY)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"afterwards-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=name)
    return name


def until(what: Callable[[], Any], *, limit_s: float = 60.0) -> Any:
    """What `what` gives once that is true."""
    end = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


def keys(s3: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def configure(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def test_a_lifecycle_configuration_comes_back_as_it_was_put(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert code(caught) == (404, "NoSuchLifecycleConfiguration")
    tag = {"Key": "k", "Value": "v"}
    rules: list[dict[str, Any]] = [
        {"ID": "1", "Status": "Enabled", "Prefix": "a/", "Expiration": {"Days": 31}},
        {
            "ID": "2",
            "Status": "Disabled",
            "Filter": {"Prefix": "b&<"},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 2},
        },
        {
            "ID": "3",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "c", "Tags": [tag], "ObjectSizeGreaterThan": 5}},
            "Expiration": {"Date": datetime(2099, 1, 2, tzinfo=UTC)},
        },
        {"ID": "4", "Status": "Enabled", "Filter": {"Tag": tag}, "Expiration": {"Days": 1}},
        {
            "ID": "5",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
        },
    ]
    configure(s3, bucket, *rules)
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert sorted(found["Rules"], key=lambda rule: str(rule["ID"])) == rules
    assert found["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    s3.delete_bucket_lifecycle(Bucket=bucket)
    with pytest.raises(ClientError):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([{"ID": "a" * 256, "Expiration": {"Days": 2}, "Prefix": "x", "Status": "Enabled"}], (400, "InvalidArgument")),
        ([{"ID": "a", "Expiration": {"Days": 2}, "Prefix": "x", "Status": "Enabled"}] * 2, (400, "InvalidArgument")),
        ([{"ID": "a", "Expiration": {"Days": 2}, "Prefix": "x", "Status": "enabled"}], (400, "MalformedXML")),
        ([{"ID": "a", "Expiration": {"Days": 0}, "Prefix": "x", "Status": "Enabled"}], (400, "InvalidArgument")),
        (
            [{"ID": "a", "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}], "Prefix": "x", "Status": "Enabled"}],
            (501, "NotImplemented"),
        ),
    ],
)
def test_lifecycle_configurations_are_refused_with_amazons_codes(
    s3: Any, bucket: str, rules: list[dict[str, Any]], told: tuple[int, str]
) -> None:
    with pytest.raises(ClientError) as caught:
        configure(s3, bucket, *rules)
    assert code(caught) == told


def test_objects_versions_and_uploads_go_when_their_rule_says_so(s3: Any, bucket: str, gateway: Server) -> None:
    rules = [
        {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 1}},
        {
            "ID": "past",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
    ]
    configure(s3, bucket, *rules)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="upload")
    assert upload["AbortRuleId"] == "past"
    listed = s3.list_parts(Bucket=bucket, Key="upload", UploadId=upload["UploadId"])
    assert listed["AbortDate"] == upload["AbortDate"]
    put = s3.put_object(Bucket=bucket, Key="old/a", Body=b"x")
    assert 'rule-id="old"' in put["Expiration"]
    s3.put_object(Bucket=bucket, Key="kept", Body=b"first")
    s3.put_object(Bucket=bucket, Key="kept", Body=b"second")
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="kept")

    def done() -> bool:
        found = s3.list_object_versions(Bucket=bucket)
        left = [version["Key"] for version in found.get("Versions", ())]
        uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
        return left == ["kept"] and not found.get("DeleteMarkers") and not uploads

    until(done)
    assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"second"


def test_the_expiration_header_speaks_of_calendar_days(s3: Any, bucket: str) -> None:
    configure(s3, bucket, {"ID": "r 1", "Status": "Enabled", "Filter": {"Prefix": "x"}, "Expiration": {"Days": 300}})
    before = datetime.now(UTC)
    s3.put_object(Bucket=bucket, Key="x", Body=b"")
    header = s3.head_object(Bucket=bucket, Key="x")["Expiration"]
    date, name = header.removeprefix('expiry-date="').removesuffix('"').split('", rule-id="')
    at = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert name == "r%201"
    assert (at.hour, at.minute, at.second) == (0, 0, 0)
    assert timedelta(days=300) <= at - before <= timedelta(days=301)


def test_events_reach_the_webhook_from_every_process(s3: Any, bucket: str, hook: Receiver) -> None:
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": ARN + "-other", "Events": ["s3:ObjectCreated:*"]}]
            },
        )
    assert code(caught) == (400, "InvalidArgument")
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {"Id": "q", "QueueArn": ARN, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
            ]
        },
    )
    names = [f"{bucket}/{number}" for number in range(12)]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"12345")
        s3.delete_object(Bucket=bucket, Key=name)

    def mine() -> list[tuple[str, str]]:
        return [told for told in hook.taken if told[1].startswith(bucket)]

    until(lambda: len(mine()) >= 2 * len(names))
    for name in names:
        assert [event for event, key in mine() if key == name] == ["ObjectCreated:Put", "ObjectRemoved:Delete"]
    record = next(got.message["Records"][0] for got in hook.got if got.told == ("ObjectCreated:Put", names[0]))
    assert record["userIdentity"]["principalId"] == ACCESS_KEY
    assert record["requestParameters"]["sourceIPAddress"] == "127.0.0.1"
    assert (record["s3"]["configurationId"], record["s3"]["object"]["size"]) == ("q", 5)


def test_events_of_acknowledged_writes_outlive_a_kill(tmp_path: Path) -> None:
    with receiver() as hook:
        gateway = Afterwards(tmp_path, hook)
        gateway.start()
        try:
            s3 = _boto3(gateway.endpoint, ACCESS_KEY, SECRET_KEY)
            s3.create_bucket(Bucket="killed")
            rule = {"QueueArn": ARN, "Events": ["s3:ObjectCreated:*"]}
            s3.put_bucket_notification_configuration(
                Bucket="killed", NotificationConfiguration={"QueueConfigurations": [rule]}
            )
            hook.silent = True
            for number in range(8):
                s3.put_object(Bucket="killed", Key=f"k{number}", Body=b"x")
            gateway.kill()
            hook.silent = False
            gateway.start()
            until(lambda: {f"k{number}" for number in range(8)} <= {key for _, key in hook.taken})
        finally:
            gateway.kill()


def test_access_logs_of_every_process_are_delivered(s3: Any, bucket: str) -> None:
    target = bucket + "-logs"
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_logging(
            Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": ""}}
        )
    assert code(caught) == (400, "InvalidTargetBucketForLogging")
    s3.create_bucket(Bucket=target)
    s3.put_bucket_logging(
        Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "p/"}}
    )

    def lines() -> list[str]:
        # Until every process knows that there is a log, what it serves is not in it.
        s3.put_object(Bucket=bucket, Key="the key", Body=b"12345")
        found = [s3.get_object(Bucket=target, Key=key)["Body"].read().decode() for key in keys(s3, target)]
        return [line for text in found for line in text.splitlines() if " REST.PUT.OBJECT the%20key " in line]

    (line, *_) = until(lines)
    assert f" {bucket} [" in line
    assert f'"PUT /{bucket}/the%20key HTTP/1.1" 200 - - 5 ' in line
    assert " SigV4 - AuthHeader 127.0.0.1:" in line
    assert all(key.startswith("p/20") for key in keys(s3, target))
