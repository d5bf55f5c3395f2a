"""boto3: objects as they go and come back."""

import datetime
import io
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.clients.content import KIB, LARGE, MIB, SIZES, noise, noise_file, same_file

PARTS = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
SYSTEM = {
    "ContentType": "text/x-test; charset=UTF-8",
    "CacheControl": "max-age=60, public",
    "ContentDisposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''%e2%82%ac.txt",
    "ContentEncoding": "identity",
    "ContentLanguage": "de, en",
}


def _code(refused: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = refused.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("size_bytes", SIZES)
def test_a_body_comes_back_as_it_went(s3: Any, bucket: str, size_bytes: int) -> None:
    data = noise(size_bytes)
    put = s3.put_object(Bucket=bucket, Key="body", Body=data)
    got = s3.get_object(Bucket=bucket, Key="body")
    assert got["Body"].read() == data
    assert got["ContentLength"] == size_bytes
    head = s3.head_object(Bucket=bucket, Key="body")
    assert head["ContentLength"] == size_bytes
    assert head["ETag"] == got["ETag"] == put["ETag"]
    assert head["LastModified"] == got["LastModified"]
    assert abs(datetime.datetime.now(datetime.UTC) - head["LastModified"]) < datetime.timedelta(minutes=10)


def test_a_streamed_body_without_a_known_digest_comes_back_as_it_went(s3: Any, bucket: str, tmp_path: Path) -> None:
    source = noise_file(tmp_path / "source", 9 * MIB + 17)
    with source.open("rb") as body:
        s3.put_object(Bucket=bucket, Key="streamed", Body=body)
    got = s3.get_object(Bucket=bucket, Key="streamed")["Body"]
    assert b"".join(got.iter_chunks(MIB)) == source.read_bytes()


def test_the_transfer_manager_moves_a_large_file_in_parts(s3: Any, bucket: str, tmp_path: Path) -> None:
    source = noise_file(tmp_path / "source", LARGE)
    s3.upload_file(str(source), bucket, "large", Config=PARTS, ExtraArgs={"Metadata": {"of": "parts"}, **SYSTEM})
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ETag"].endswith('-5"')
    assert head["Metadata"] == {"of": "parts"}
    assert {name: head[name] for name in SYSTEM} == SYSTEM
    s3.download_file(bucket, "large", str(tmp_path / "target"), Config=PARTS)
    assert same_file(source, tmp_path / "target")


def test_the_transfer_manager_copies_a_large_object_in_parts(s3: Any, bucket: str) -> None:
    data = noise(LARGE)
    s3.upload_fileobj(io.BytesIO(data), bucket, "from", Config=PARTS)
    s3.copy({"Bucket": bucket, "Key": "from"}, bucket, "to", Config=PARTS)
    assert s3.head_object(Bucket=bucket, Key="to")["ETag"].endswith('-5"')
    target = io.BytesIO()
    s3.download_fileobj(bucket, "to", target, Config=PARTS)
    assert target.getvalue() == data


def test_an_overwrite_is_seen_at_once(s3: Any, bucket: str) -> None:
    for number, size_bytes in enumerate((10, 2 * MIB, 0, 100 * KIB)):
        s3.put_object(Bucket=bucket, Key="same", Body=noise(size_bytes, number))
        assert s3.get_object(Bucket=bucket, Key="same")["Body"].read() == noise(size_bytes, number)
        listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
        assert [(item["Key"], item["Size"]) for item in listed] == [("same", size_bytes)]


def test_a_deleted_object_is_gone(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="gone", Body=b"x")
    for _ in range(2):  # Deleting what is not there succeeds.
        assert s3.delete_object(Bucket=bucket, Key="gone")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=bucket, Key="gone")
    assert _code(refused) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as refused:
        s3.head_object(Bucket=bucket, Key="gone")
    assert _code(refused) == ("404", 404)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("size_bytes", [1000, 3 * MIB], ids=["small", "of several blocks"])
def test_ranges_are_cut_exactly(s3: Any, bucket: str, size_bytes: int) -> None:
    data = noise(size_bytes)
    s3.put_object(Bucket=bucket, Key="ranged", Body=data)
    last = size_bytes - 1
    cuts = {
        "bytes=0-0": (0, 0),
        "bytes=10-99": (10, 99),
        f"bytes={size_bytes // 3}-{2 * size_bytes // 3}": (size_bytes // 3, 2 * size_bytes // 3),
        "bytes=500-": (500, last),
        "bytes=-7": (size_bytes - 7, last),
        f"bytes=-{2 * size_bytes}": (0, last),
        f"bytes=1-{10 * size_bytes}": (1, last),
    }
    for asked, (first, end) in cuts.items():
        got = s3.get_object(Bucket=bucket, Key="ranged", Range=asked, ChecksumMode="ENABLED")
        assert got["Body"].read() == data[first : end + 1], asked
        assert got["ContentRange"] == f"bytes {first}-{end}/{size_bytes}"
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=bucket, Key="ranged", Range=f"bytes={size_bytes}-")
    assert _code(refused) == ("InvalidRange", 416)


def test_metadata_comes_back_exactly(s3: Any, bucket: str) -> None:
    user = {"UPPER": "Value", "lower-case": "  inner   blanks  kept ", "empty": "", "with.dot_and-dash": "a=b; c, d"}
    expires = datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    s3.put_object(Bucket=bucket, Key="facts", Body=b"x", Metadata=user, Expires=expires, **SYSTEM)
    for answer in (s3.head_object(Bucket=bucket, Key="facts"), s3.get_object(Bucket=bucket, Key="facts")):
        assert answer["Metadata"] == {name.lower(): value.strip() for name, value in user.items()}
        assert {name: answer[name] for name in SYSTEM} == SYSTEM
        assert answer["ExpiresString"] == "Mon, 03 Feb 2031 04:05:06 GMT"


def test_a_read_may_override_system_headers(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="facts", Body=b"x", **SYSTEM)
    asked = {f"Response{name}": f"other {name}" for name in SYSTEM}
    got = s3.get_object(Bucket=bucket, Key="facts", **asked)
    assert {name: got[name] for name in SYSTEM} == {name: f"other {name}" for name in SYSTEM}


def test_a_copy_keeps_or_replaces_metadata_as_asked(s3: Any, bucket: str, new_bucket: Any) -> None:
    data = noise(MIB + 5)
    s3.put_object(Bucket=bucket, Key="from", Body=data, Metadata={"kept": "yes"}, **SYSTEM)
    other = new_bucket()
    source = {"Bucket": bucket, "Key": "from"}
    copied = s3.copy_object(Bucket=other, Key="kept", CopySource=source)["CopyObjectResult"]
    kept = s3.get_object(Bucket=other, Key="kept")
    assert kept["Body"].read() == data
    assert kept["ETag"] == copied["ETag"]
    assert kept["Metadata"] == {"kept": "yes"}
    assert {name: kept[name] for name in SYSTEM} == SYSTEM
    s3.copy_object(
        Bucket=other,
        Key="replaced",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"new": "1"},
        ContentType="a/b",
    )
    replaced = s3.head_object(Bucket=other, Key="replaced")
    assert (replaced["Metadata"], replaced["ContentType"]) == ({"new": "1"}, "a/b")
    assert "CacheControl" not in replaced


def test_an_object_is_copied_onto_itself_only_to_change_something(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="self", Body=b"x", Metadata={"old": "1"})
    source = {"Bucket": bucket, "Key": "self"}
    with pytest.raises(ClientError) as refused:
        s3.copy_object(Bucket=bucket, Key="self", CopySource=source)
    assert _code(refused) == ("InvalidRequest", 400)
    s3.copy_object(Bucket=bucket, Key="self", CopySource=source, MetadataDirective="REPLACE", Metadata={"new": "2"})
    got = s3.get_object(Bucket=bucket, Key="self")
    assert (got["Body"].read(), got["Metadata"]) == (b"x", {"new": "2"})


def test_a_read_is_answered_by_its_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="read", Body=b"x")["ETag"]
    at = s3.head_object(Bucket=bucket, Key="read")["LastModified"]
    earlier, later = at - datetime.timedelta(hours=1), at + datetime.timedelta(hours=1)
    served = [{"IfMatch": etag}, {"IfNoneMatch": '"other"'}, {"IfModifiedSince": earlier}, {"IfUnmodifiedSince": later}]
    for condition in served:
        assert s3.get_object(Bucket=bucket, Key="read", **condition)["Body"].read() == b"x"
    refusals: list[tuple[dict[str, Any], int]] = [
        ({"IfMatch": '"other"'}, 412),
        ({"IfNoneMatch": etag}, 304),
        ({"IfModifiedSince": at}, 304),
        ({"IfUnmodifiedSince": earlier}, 412),
    ]
    for condition, status in refusals:
        for ask in (s3.get_object, s3.head_object):
            with pytest.raises(ClientError) as refused:
                ask(Bucket=bucket, Key="read", ChecksumMode="ENABLED", **condition)
            assert _code(refused)[1] == status, condition


def test_a_write_is_refused_by_its_conditions(s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="written", Body=b"first", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"other"'}):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=bucket, Key="written", Body=b"refused", **condition)
        assert _code(refused) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="absent", Body=b"refused", IfMatch=first)
    assert _code(refused) == ("NoSuchKey", 404)
    assert s3.get_object(Bucket=bucket, Key="written")["Body"].read() == b"first"
    s3.put_object(Bucket=bucket, Key="written", Body=b"second", IfMatch=first)
    assert s3.get_object(Bucket=bucket, Key="written")["Body"].read() == b"second"


def test_a_copy_is_refused_by_the_conditions_on_its_source(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="from", Body=b"x")["ETag"]
    source = {"Bucket": bucket, "Key": "from"}
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source, CopySourceIfMatch=etag)
    for condition in ({"CopySourceIfMatch": '"other"'}, {"CopySourceIfNoneMatch": etag}):
        with pytest.raises(ClientError) as refused:
            s3.copy_object(Bucket=bucket, Key="refused", CopySource=source, **condition)
        assert _code(refused) == ("PreconditionFailed", 412)
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["from", "to"]


def test_many_objects_are_deleted_at_once(s3: Any, bucket: str) -> None:
    keys = [f"many/{number:04}" for number in range(1000)]
    for key in keys[::10]:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    s3.put_object(Bucket=bucket, Key="stays", Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(item["Key"] for item in answer["Deleted"]) == keys
    assert "Errors" not in answer
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["stays"]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "stays"}], "Quiet": True})
    assert "Deleted" not in quiet
    with pytest.raises(ClientError) as refused:
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": str(number)} for number in range(1001)]})
    assert _code(refused) == ("MalformedXML", 400)


def test_attributes_tell_what_an_object_is(s3: Any, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="described", Body=b"x" * 100, ChecksumAlgorithm="SHA256")
    told = s3.get_object_attributes(
        Bucket=bucket, Key="described", ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass"]
    )
    assert told["ETag"] == put["ETag"].strip('"')
    assert told["ObjectSize"] == 100
    assert told["StorageClass"] == "STANDARD"
    assert told["Checksum"]["ChecksumSHA256"] == put["ChecksumSHA256"]
