"""boto3: every hard name, through every operation that says it."""

import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.content import MIB, noise, put_all, stored
from tests.clients.names import HARD, LONGEST, cases, in_order, in_xml
from tests.clients.server import Endpoint

_planted: dict[Endpoint, str] = {}


@pytest.fixture
def planted(s3: Any, endpoint: Endpoint, new_bucket: Callable[[], str]) -> str:
    """A bucket with an object under every hard name; the tests of this module only read it."""
    if endpoint not in _planted:
        bucket = new_bucket()
        put_all(s3, bucket, {key: key.encode() for key in HARD.values()})
        _planted[endpoint] = bucket
    return _planted[endpoint]


@pytest.mark.parametrize("key", cases("boto3"))
def test_a_hard_name_is_one_object(s3: Any, bucket: str, key: str) -> None:
    named, body = {"Bucket": bucket, "Key": key}, noise(200)
    s3.put_object(**named, Body=body)
    assert s3.get_object(**named)["Body"].read() == body
    assert s3.head_object(**named)["ContentLength"] == 200
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]] == [key]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=named)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == body
    if in_xml(key):
        assert s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})["Deleted"] == [{"Key": key}]
    else:
        with pytest.raises(ClientError) as refused:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
        assert refused.value.response["Error"]["Code"] == "MalformedXML"
        s3.delete_object(**named)
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["copy"]
    s3.copy_object(**named, CopySource={"Bucket": bucket, "Key": "copy"})
    assert s3.get_object(**named)["Body"].read() == body
    s3.delete_object(**named)
    with pytest.raises(ClientError) as refused:
        s3.get_object(**named)
    assert refused.value.response["Error"]["Code"] == "NoSuchKey"
    if not in_xml(key):
        return  # The replies of a multipart upload say the key in XML, and no parser takes these characters there.
    upload = s3.create_multipart_upload(**named)["UploadId"]
    uploads = s3.list_multipart_uploads(Bucket=bucket, EncodingType="url")["Uploads"]
    assert [urllib.parse.unquote_plus(item["Key"]) for item in uploads] == [key]
    etag = s3.upload_part(**named, UploadId=upload, PartNumber=1, Body=body)["ETag"]
    done = s3.complete_multipart_upload(
        **named, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )
    echo = "".join(sign if in_xml(sign) else "\ufffd" for sign in key)
    assert (done["Bucket"], done["Key"]) == (bucket, echo)
    assert s3.get_object(**named)["Body"].read() == body


@pytest.mark.parametrize("key", cases("boto3"))
def test_a_hard_name_holds_a_large_body(s3: Any, bucket: str, key: str) -> None:
    body = noise(MIB + 1)
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body


def test_all_hard_names_stand_side_by_side_in_order(s3: Any, planted: str) -> None:
    assert stored(s3, planted) == {key: key.encode() for key in HARD.values()}
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(Bucket=planted, PaginationConfig={"PageSize": 1})
        assert [item["Key"] for page in pages for item in page["Contents"]] == in_order(HARD.values())


def test_folders_of_hard_names_are_folded_in_order(s3: Any, planted: str) -> None:
    ordered = in_order(HARD.values())
    folded = list(dict.fromkeys(key[: key.index("/") + 1] for key in ordered if "/" in key))
    pages = list(
        s3.get_paginator("list_objects_v2").paginate(Bucket=planted, Delimiter="/", PaginationConfig={"PageSize": 2})
    )
    assert [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())] == folded
    plain = [item["Key"] for page in pages for item in page.get("Contents", ())]
    assert plain == [key for key in ordered if "/" not in key]


def test_a_folder_may_have_a_body_or_none(s3: Any, bucket: str) -> None:
    for body in (b"", b"a folder with a body"):
        s3.put_object(Bucket=bucket, Key="folder/", Body=body)
        assert s3.get_object(Bucket=bucket, Key="folder/")["Body"].read() == body
    s3.put_object(Bucket=bucket, Key="folder", Body=b"a file")
    s3.put_object(Bucket=bucket, Key="folder/file", Body=b"below")
    assert stored(s3, bucket) == {"folder": b"a file", "folder/": b"a folder with a body", "folder/file": b"below"}
    s3.delete_object(Bucket=bucket, Key="folder/")
    assert stored(s3, bucket) == {"folder": b"a file", "folder/file": b"below"}


@pytest.mark.parametrize("key", ["x" * (LONGEST + 1), "é" * (LONGEST // 2) + "x", "a/" * (LONGEST // 2) + "b"])
def test_a_name_of_more_than_1024_bytes_is_refused(s3: Any, bucket: str, key: str) -> None:
    asks: list[Callable[[], Any]] = [
        lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"x"),
        lambda: s3.get_object(Bucket=bucket, Key=key),
        lambda: s3.create_multipart_upload(Bucket=bucket, Key=key),
    ]
    for ask in asks:
        with pytest.raises(ClientError) as refused:
            ask()
        assert refused.value.response["Error"]["Code"] == "KeyTooLongError"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
