"""boto3: tags of objects and buckets."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.content import MIB, noise

ELEVEN = "&".join(f"k{number}=v" for number in range(11))


def _set(tags: dict[str, str]) -> dict[str, Any]:
    return {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}


def _tags(s3: Any, bucket: str, key: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}


def _code(refused: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = refused.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_tags_come_and_go_without_touching_the_object(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    before = s3.head_object(Bucket=bucket, Key="k")
    assert _tags(s3, bucket, "k") == {}
    tags = {"colour": "dark red", "ünï": "+-=._:/@", "empty": ""}
    put = s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=_set(tags))
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert _tags(s3, bucket, "k") == tags
    for got in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert (got["ETag"], got["LastModified"], got.get("TagCount")) == (etag, before["LastModified"], 3)
    assert s3.delete_object_tagging(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert _tags(s3, bucket, "k") == {}
    assert "TagCount" not in s3.head_object(Bucket=bucket, Key="k")


def test_tags_come_with_each_way_of_writing(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="put", Body=b"x", Tagging="c&b=two+words&a=1")
    assert list(_tags(s3, bucket, "put").items()) == [
        ("a", "1"),
        ("b", "two words"),
        ("c", ""),
    ]  # As Amazon orders them.
    source = {"Bucket": bucket, "Key": "put"}
    s3.copy_object(Bucket=bucket, Key="copied", CopySource=source)
    assert _tags(s3, bucket, "copied") == {"a": "1", "b": "two words", "c": ""}
    s3.copy_object(Bucket=bucket, Key="replaced", CopySource=source, TaggingDirective="REPLACE", Tagging="d=4")
    assert _tags(s3, bucket, "replaced") == {"d": "4"}
    s3.copy_object(Bucket=bucket, Key="bare", CopySource=source, TaggingDirective="REPLACE")
    assert _tags(s3, bucket, "bare") == {}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", Tagging="e=5")["UploadId"]
    where = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    part = s3.upload_part(**where, PartNumber=1, Body=noise(MIB))
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert _tags(s3, bucket, "parts") == {"e": "5"}
    s3.put_object(Bucket=bucket, Key="put", Body=b"y")
    assert _tags(s3, bucket, "put") == {}


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({str(number): "" for number in range(11)}, "BadRequest"),
        ({"k" * 129: ""}, "InvalidTag"),
        ({"k": "v" * 257}, "InvalidTag"),
        ({"aws:k": "v"}, "InvalidTag"),
        ({"k?": "v"}, "InvalidTag"),
    ],
    ids=["eleven", "long key", "long value", "reserved", "character"],
)
def test_tags_beyond_the_limits_are_refused(s3: Any, bucket: str, tags: dict[str, str], code: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="old=1")
    with pytest.raises(ClientError) as refused:
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=_set(tags))
    assert _code(refused) == (code, 400)
    assert _tags(s3, bucket, "k") == {"old": "1"}
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=_set({"k" * 128: "v" * 256}))


def test_a_wrong_tagging_header_stores_nothing(s3: Any, bucket: str) -> None:
    for text, code in ((ELEVEN, "BadRequest"), ("a=1&a=2", "InvalidArgument"), ("k%3F=v", "InvalidTag")):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=text)
        assert _code(refused) == (code, 400)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_tags_of_what_is_not_there(s3: Any, bucket: str) -> None:
    works: tuple[Callable[[], Any], ...] = (
        lambda: s3.get_object_tagging(Bucket=bucket, Key="absent"),
        lambda: s3.put_object_tagging(Bucket=bucket, Key="absent", Tagging=_set({"a": "b"})),
        lambda: s3.delete_object_tagging(Bucket=bucket, Key="absent"),
    )
    for work in works:
        with pytest.raises(ClientError) as refused:
            work()
        assert _code(refused) == ("NoSuchKey", 404)


def test_a_bucket_has_tags_of_its_own(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError) as refused:
        s3.get_bucket_tagging(Bucket=bucket)
    assert _code(refused) == ("NoSuchTagSet", 404)
    tags = {f"tag {number}": str(number) for number in range(50)}
    assert s3.put_bucket_tagging(Bucket=bucket, Tagging=_set(tags))["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == _set(tags)["TagSet"]
    with pytest.raises(ClientError) as refused:
        s3.put_bucket_tagging(Bucket=bucket, Tagging=_set({**tags, "one more": ""}))
    assert _code(refused) == ("BadRequest", 400)
    assert s3.delete_bucket_tagging(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(ClientError):
        s3.get_bucket_tagging(Bucket=bucket)


def test_a_bucket_is_created_with_tags(s3: Any) -> None:
    name = f"clients-{secrets.token_hex(8)}"
    tags = [{"Key": "team", "Value": "a b"}]
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": tags})
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == tags
    listed = [bucket["Name"] for bucket in s3.list_buckets(BucketRegion="us-east-1", Prefix=name)["Buckets"]]
    assert listed == [name]
    assert s3.list_buckets(BucketRegion="eu-west-1", Prefix=name)["Buckets"] == []
