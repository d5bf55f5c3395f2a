"""boto3: multipart uploads, step by step."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.content import MIB, noise

PART = 5 * MIB


def _begin(s3: Any, bucket: str, key: str = "parts", **more: Any) -> dict[str, str]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)
    return {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}


def _send(s3: Any, named: dict[str, str], number: int, data: bytes) -> dict[str, Any]:
    sent = s3.upload_part(**named, PartNumber=number, Body=data)
    assert sent["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    return {"PartNumber": number, "ETag": sent["ETag"]}


def _complete(s3: Any, named: dict[str, str], parts: list[dict[str, Any]], **more: Any) -> Any:
    return s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}, **more)


def _code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def test_an_upload_appears_only_when_it_is_complete(s3: Any, bucket: str) -> None:
    named = _begin(s3, bucket, Metadata={"a": "b"}, ContentType="x/y")
    datas = {7: noise(PART, 1), 9: noise(PART + 3, 2), 10_000: noise(5, 3)}
    parts = [_send(s3, named, number, data) for number, data in reversed(datas.items())][::-1]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    done = _complete(s3, named, parts)
    etag = hashlib.md5(b"".join(hashlib.md5(data).digest() for data in datas.values())).hexdigest()
    assert done["ETag"] == f'"{etag}-3"'
    got = s3.get_object(Bucket=bucket, Key="parts")
    assert got["Body"].read() == b"".join(datas.values())
    assert (got["ETag"], got["Metadata"], got["ContentType"]) == (done["ETag"], {"a": "b"}, "x/y")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_ranges_cross_the_borders_of_parts(s3: Any, bucket: str) -> None:
    named = _begin(s3, bucket)
    datas = [noise(PART + 1, 1), noise(PART + 2, 2), noise(77, 3)]
    _complete(s3, named, [_send(s3, named, number, data) for number, data in enumerate(datas, 1)])
    whole = b"".join(datas)
    for first, end in (
        (0, 0),
        (PART, PART + 1),
        (PART - 10, 2 * PART + 20),
        (2 * PART + 2, 2 * PART + 3),
        (1, len(whole) - 2),
    ):
        got = s3.get_object(Bucket=bucket, Key="parts", Range=f"bytes={first}-{end}")
        assert got["Body"].read() == whole[first : end + 1], (first, end)


def test_a_part_that_is_sent_again_replaces_the_first(s3: Any, bucket: str) -> None:
    named = _begin(s3, bucket)
    old = _send(s3, named, 1, noise(PART, 1))
    new = _send(s3, named, 1, noise(100, 2))
    with pytest.raises(ClientError) as refused:
        _complete(s3, named, [old])
    assert _code(refused) == "InvalidPart"
    _complete(s3, named, [new])
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == noise(100, 2)


def test_only_the_named_parts_become_the_object(s3: Any, bucket: str) -> None:
    named = _begin(s3, bucket)
    first, _, third = (_send(s3, named, number, noise(PART, number)) for number in (1, 2, 3))
    _complete(s3, named, [first, third])
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == noise(PART, 1) + noise(PART, 3)


def test_parts_are_refused_by_size_order_and_name(s3: Any, bucket: str) -> None:
    named = _begin(s3, bucket)
    small, large = _send(s3, named, 1, b"small"), _send(s3, named, 2, noise(PART))
    wrong = {"PartNumber": 2, "ETag": '"0123456789abcdef0123456789abcdef"'}
    for parts, code in (
        ([small, large], "EntityTooSmall"),
        ([large, small], "InvalidPartOrder"),
        ([small, wrong], "InvalidPart"),
        ([{"PartNumber": 3, "ETag": small["ETag"]}], "InvalidPart"),
        ([], "MalformedXML"),
    ):
        with pytest.raises(ClientError) as refused:
            _complete(s3, named, parts)
        assert _code(refused) == code
    for number in (0, 10_001):
        with pytest.raises(ClientError) as refused:
            s3.upload_part(**named, PartNumber=number, Body=b"x")
        assert _code(refused) == "InvalidArgument"
    _complete(s3, named, [large])


def test_an_aborted_upload_is_no_more(s3: Any, bucket: str) -> None:
    named = _begin(s3, bucket)
    part = _send(s3, named, 1, b"x")
    s3.abort_multipart_upload(**named)
    asks: tuple[Callable[[], object], ...] = (
        lambda: s3.upload_part(**named, PartNumber=1, Body=b"x"),
        lambda: s3.list_parts(**named),
        lambda: _complete(s3, named, [part]),
        lambda: s3.abort_multipart_upload(**named),
    )
    for ask in asks:
        with pytest.raises(ClientError) as refused:
            ask()
        assert _code(refused) == "NoSuchUpload"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_completing_twice_is_answered_twice(s3: Any, bucket: str) -> None:
    named = _begin(s3, bucket)
    part = _send(s3, named, 1, b"x")
    assert _complete(s3, named, [part])["ETag"] == _complete(s3, named, [part])["ETag"]


def test_completion_is_refused_by_its_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="parts", Body=b"first")["ETag"]
    named = _begin(s3, bucket)
    part = _send(s3, named, 1, b"second")
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"other"'}):
        with pytest.raises(ClientError) as refused:
            _complete(s3, named, [part], **condition)
        assert _code(refused) == "PreconditionFailed"
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == b"first"
    _complete(s3, named, [part], IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == b"second"


def test_a_part_is_copied_from_an_object_or_a_range_of_it(s3: Any, bucket: str) -> None:
    data = noise(2 * PART)
    s3.put_object(Bucket=bucket, Key="from+ %2B", Body=data)
    source = {"Bucket": bucket, "Key": "from+ %2B"}
    named = _begin(s3, bucket)
    ranges = {1: f"bytes=0-{PART - 1}", 2: f"bytes={PART + 7}-{2 * PART - 1}"}
    parts = []
    for number, span in ranges.items():
        answer = s3.upload_part_copy(**named, PartNumber=number, CopySource=source, CopySourceRange=span)
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    whole = s3.upload_part_copy(**named, PartNumber=3, CopySource=source)
    with pytest.raises(ClientError) as refused:
        s3.upload_part_copy(**named, PartNumber=4, CopySource=source, CopySourceRange=f"bytes=0-{2 * PART}")
    assert _code(refused) in ("InvalidRange", "InvalidArgument")
    with pytest.raises(ClientError) as refused:
        _complete(s3, named, [*parts, {"PartNumber": 4, "ETag": '"x"'}])
    assert _code(refused) == "InvalidPart"
    # The second part is 7 bytes too small to stand before another.
    with pytest.raises(ClientError) as refused:
        _complete(s3, named, [*parts, {"PartNumber": 3, "ETag": whole["CopyPartResult"]["ETag"]}])
    assert _code(refused) == "EntityTooSmall"
    _complete(s3, named, parts)
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == data[:PART] + data[PART + 7 :]


def test_parts_are_listed_in_pages(s3: Any, bucket: str) -> None:
    named = _begin(s3, bucket)
    for number in range(1, 8):
        _send(s3, named, number * 10, noise(number, number))
    seen: list[tuple[int, int]] = []
    marker = 0
    for _ in range(10):
        page = s3.list_parts(**named, MaxParts=3, PartNumberMarker=marker)
        seen += [(part["PartNumber"], part["Size"]) for part in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert seen == [(number * 10, number) for number in range(1, 8)]


def test_uploads_are_listed_in_pages_in_key_order(s3: Any, bucket: str) -> None:
    keys = ["a b", "a b", "a/x", "a/y", "b/z", "é"]
    begun = [_begin(s3, bucket, key) for key in keys]
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    seen = [(upload["Key"], upload["UploadId"]) for page in pages for upload in page.get("Uploads", ())]
    assert [key for key, _ in seen] == keys
    assert {upload for _, upload in seen} == {named["UploadId"] for named in begun}
    folded = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [prefix["Prefix"] for prefix in folded["CommonPrefixes"]] == ["a/", "b/"]
    assert [upload["Key"] for upload in folded["Uploads"]] == ["a b", "a b", "é"]
    for named in begun:
        s3.abort_multipart_upload(**named)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
