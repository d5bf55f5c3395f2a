"""boto3: errors have the codes that SDKs act on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.server import ACCESS_KEY, SECRET_KEY


def _refusal(ask: Callable[[], Any]) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        ask()
    answer = refused.value.response
    assert answer["ResponseMetadata"]["RequestId"]
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_what_is_not_there_is_named(s3: Any, bucket: str) -> None:
    gone = "clients-no-such-bucket"
    asks: dict[tuple[str, int], list[Callable[[], Any]]] = {
        ("NoSuchKey", 404): [
            lambda: s3.get_object(Bucket=bucket, Key="absent"),
            lambda: s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "absent"}),
            lambda: s3.get_object_attributes(Bucket=bucket, Key="absent", ObjectAttributes=["ETag"]),
        ],
        ("NoSuchBucket", 404): [
            lambda: s3.get_object(Bucket=gone, Key="absent"),
            lambda: s3.put_object(Bucket=gone, Key="absent", Body=b"x"),
            lambda: s3.delete_object(Bucket=gone, Key="absent"),
            lambda: s3.list_objects_v2(Bucket=gone),
            lambda: s3.list_objects(Bucket=gone),
            lambda: s3.delete_bucket(Bucket=gone),
            lambda: s3.get_bucket_location(Bucket=gone),
            lambda: s3.create_multipart_upload(Bucket=gone, Key="absent"),
            lambda: s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": gone, "Key": "absent"}),
            lambda: s3.delete_objects(Bucket=gone, Delete={"Objects": [{"Key": "x"}]}),
        ],
        ("404", 404): [
            lambda: s3.head_object(Bucket=bucket, Key="absent"),
            lambda: s3.head_object(Bucket=gone, Key="absent"),
            lambda: s3.head_bucket(Bucket=gone),
        ],
        ("NoSuchUpload", 404): [
            lambda: s3.upload_part(Bucket=bucket, Key="a", UploadId="none", PartNumber=1, Body=b"x"),
            lambda: s3.list_parts(Bucket=bucket, Key="a", UploadId="none"),
            lambda: s3.abort_multipart_upload(Bucket=bucket, Key="a", UploadId="none"),
        ],
    }
    for expected, calls in asks.items():
        assert [_refusal(call) for call in calls] == [expected] * len(calls)


def test_a_bucket_is_refused_when_it_exists_or_has_objects_or_no_proper_name(s3: Any, bucket: str) -> None:
    elsewhere = {"LocationConstraint": "eu-central-1"}
    assert _refusal(lambda: s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=elsewhere))[1] in (400, 409)
    s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    assert _refusal(lambda: s3.delete_bucket(Bucket=bucket)) == ("BucketNotEmpty", 409)
    for name in ("ab", "Upper-Case", "under_score", "a..b", "-dash", "x" * 64):
        assert _refusal(partial(s3.create_bucket, Bucket=name)) == ("InvalidBucketName", 400)


def test_creating_ones_own_bucket_again_says_so(s3: Any, bucket: str) -> None:
    try:
        s3.create_bucket(Bucket=bucket)  # us-east-1 answers 200 where every other region refuses.
    except ClientError as refused:
        assert refused.response["Error"]["Code"] == "BucketAlreadyOwnedByYou"
        assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 409


def test_wrong_credentials_are_told_apart(bucket: str, signed_by: Callable[[str, str], Any]) -> None:
    unknown, wrong = signed_by("nobody", SECRET_KEY), signed_by(ACCESS_KEY, "another secret key")
    for ask in ("list_objects_v2", "list_objects", "get_bucket_location"):
        assert _refusal(partial(getattr(unknown, ask), Bucket=bucket)) == ("InvalidAccessKeyId", 403)
        assert _refusal(partial(getattr(wrong, ask), Bucket=bucket)) == ("SignatureDoesNotMatch", 403)
    for client in (unknown, wrong):
        assert _refusal(partial(client.head_bucket, Bucket=bucket)) == ("403", 403)
        assert _refusal(partial(client.put_object, Bucket=bucket, Key="x", Body=b"x" * 100_000))[1] == 403


def test_metadata_beyond_its_limit_is_refused(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="x", Body=b"x", Metadata={"m": "v" * 2047})
    assert _refusal(lambda: s3.put_object(Bucket=bucket, Key="x", Body=b"x", Metadata={"m": "v" * 2048})) == (
        "MetadataTooLarge",
        400,
    )


def test_what_is_not_supported_says_so(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    target = {
        "Role": "arn:aws:iam::1:role/r",
        "Rules": [{"Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::b"}}],
    }
    inventory = {
        "Id": "i", "IsEnabled": True, "IncludedObjectVersions": "All", "Schedule": {"Frequency": "Daily"},
        "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::b", "Format": "CSV"}},
    }  # fmt: skip
    asks: list[Callable[[], Any]] = [
        lambda: s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"}),
        lambda: s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration=target),
        lambda: s3.put_bucket_inventory_configuration(Bucket=bucket, Id="i", InventoryConfiguration=inventory),
        lambda: s3.put_bucket_metrics_configuration(Bucket=bucket, Id="i", MetricsConfiguration={"Id": "i"}),
        lambda: s3.get_object_torrent(Bucket=bucket, Key="x"),
        lambda: s3.select_object_content(
            Bucket=bucket, Key="x", Expression="SELECT 1", ExpressionType="SQL",
            InputSerialization={"CSV": {}}, OutputSerialization={"CSV": {}},
        ),
        lambda: s3.put_object(Bucket=bucket, Key="x", Body=b"y", ACL="public-read"),
    ]  # fmt: skip
    for ask in asks:
        code, status = _refusal(ask)
        assert (code, status) == ("NotImplemented", 501) or (code, status) == ("AccessControlListNotSupported", 400)
    assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"x"


def test_what_no_bucket_has_is_answered_as_by_one_that_has_none(s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert _refusal(lambda: s3.get_bucket_replication(Bucket=bucket)) == ("ReplicationConfigurationNotFoundError", 404)
    for kind in ("analytics", "inventory", "metrics", "intelligent_tiering"):
        listed = getattr(s3, f"list_bucket_{kind}_configurations")(Bucket=bucket)
        assert (listed["IsTruncated"], [name for name in listed if name.endswith("List")]) == (False, [])
        get = getattr(s3, f"get_bucket_{kind}_configuration")
        assert _refusal(partial(get, Bucket=bucket, Id="i")) == ("NoSuchConfiguration", 404)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
    s3.put_object(Bucket=bucket, Key="paid", Body=b"x")
    assert "RequestCharged" not in s3.get_object(Bucket=bucket, Key="paid", RequestPayer="requester")
