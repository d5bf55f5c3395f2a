"""boto3: checksums are verified, kept and returned."""

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from awscrt import checksums as crt
from botocore.exceptions import ClientError

from tests.clients.content import MIB, noise

VALUE_OF: Mapping[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: crt.crc32c(data).to_bytes(4, "big"),
    "CRC64NVME": lambda data: crt.crc64nvme(data).to_bytes(8, "big"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
PART = 5 * MIB


def checksum(algorithm: str, data: bytes) -> str:
    return base64.b64encode(VALUE_OF[algorithm](data)).decode()


def _upload(s3: Any, bucket: str, algorithm: str, kind: str, parts: list[bytes], **more: str) -> Any:
    """A multipart upload with a checksum for each part."""
    field = f"Checksum{algorithm}"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    named = {"Bucket": bucket, "Key": "parts", "UploadId": upload["UploadId"]}
    done = []
    for number, data in enumerate(parts, 1):
        sent = s3.upload_part(**named, PartNumber=number, Body=data, ChecksumAlgorithm=algorithm)
        assert sent[field] == checksum(algorithm, data)
        done.append({"PartNumber": number, "ETag": sent["ETag"], field: sent[field]})
    return s3.complete_multipart_upload(**named, MultipartUpload={"Parts": done}, ChecksumType=kind, **more)


@pytest.mark.parametrize("algorithm", VALUE_OF)
@pytest.mark.parametrize("size_bytes", [0, 1000, 2 * MIB])
def test_a_checksum_computed_by_the_client_is_kept(s3: Any, bucket: str, algorithm: str, size_bytes: int) -> None:
    data, field = noise(size_bytes), f"Checksum{algorithm}"
    put = s3.put_object(Bucket=bucket, Key="sum", Body=data, ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
    head = s3.head_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
    assert got["Body"].read() == data
    assert put[field] == got[field] == head[field] == checksum(algorithm, data)
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert field not in s3.head_object(Bucket=bucket, Key="sum")


@pytest.mark.parametrize("algorithm", VALUE_OF)
def test_a_wrong_checksum_is_refused_and_changes_nothing(s3: Any, bucket: str, algorithm: str) -> None:
    field = f"Checksum{algorithm}"
    s3.put_object(Bucket=bucket, Key="sum", Body=b"right", **{field: checksum(algorithm, b"right")})
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="sum", Body=b"wrong", **{field: checksum(algorithm, b"right")})
    assert refused.value.response["Error"]["Code"] in ("BadDigest", "XAmzContentChecksumMismatch")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert s3.get_object(Bucket=bucket, Key="sum")["Body"].read() == b"right"


def test_a_wrong_content_md5_is_refused(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError) as refused:
        s3.put_object(
            Bucket=bucket,
            Key="sum",
            Body=b"wrong",
            ContentMD5=base64.b64encode(hashlib.md5(b"right").digest()).decode(),
        )
    assert refused.value.response["Error"]["Code"] == "BadDigest"
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="sum", Body=b"wrong", ContentMD5="no digest")
    assert refused.value.response["Error"]["Code"] == "InvalidDigest"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_a_composite_checksum_is_that_of_the_parts_checksums(s3: Any, bucket: str, algorithm: str) -> None:
    parts = [noise(PART, 1), noise(PART, 2), noise(1000, 3)]
    done = _upload(s3, bucket, algorithm, "COMPOSITE", parts)
    digest = checksum(algorithm, b"".join(VALUE_OF[algorithm](part) for part in parts))
    head = s3.head_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED")
    assert done[f"Checksum{algorithm}"] == head[f"Checksum{algorithm}"] == f"{digest}-3"
    assert head["ChecksumType"] == "COMPOSITE"
    assert s3.get_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED")["Body"].read() == b"".join(parts)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_full_object_checksum_is_that_of_the_whole(s3: Any, bucket: str, algorithm: str) -> None:
    parts = [noise(PART, 1), noise(PART, 2), noise(1000, 3)]
    whole, field = b"".join(parts), f"Checksum{algorithm}"
    done = _upload(s3, bucket, algorithm, "FULL_OBJECT", parts, **{field: checksum(algorithm, whole)})
    head = s3.head_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED")
    assert done[field] == head[field] == checksum(algorithm, whole)
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert s3.get_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED")["Body"].read() == whole
    with pytest.raises(ClientError) as refused:
        _upload(s3, bucket, algorithm, "FULL_OBJECT", parts, **{field: checksum(algorithm, whole + b"x")})
    assert refused.value.response["Error"]["Code"] == "BadDigest"


def test_a_part_is_read_with_its_own_checksum(s3: Any, bucket: str) -> None:
    parts = [noise(PART, 1), noise(1000, 2)]
    _upload(s3, bucket, "SHA256", "COMPOSITE", parts)
    for number, data in enumerate(parts, 1):
        got = s3.get_object(Bucket=bucket, Key="parts", PartNumber=number, ChecksumMode="ENABLED")
        assert got["Body"].read() == data
        assert got["PartsCount"] == 2
        assert (got["ChecksumSHA256"], got["ChecksumType"]) == (checksum("SHA256", data), "COMPOSITE")
    told = s3.get_object_attributes(Bucket=bucket, Key="parts", ObjectAttributes=["ObjectParts", "Checksum"])
    assert told["ObjectParts"]["TotalPartsCount"] == 2
    assert [part["ChecksumSHA256"] for part in told["ObjectParts"]["Parts"]] == [checksum("SHA256", p) for p in parts]


@pytest.mark.parametrize("algorithm", VALUE_OF)
def test_a_copy_may_ask_for_a_checksum(s3: Any, bucket: str, algorithm: str) -> None:
    data = noise(MIB + 1)
    s3.put_object(Bucket=bucket, Key="from", Body=data)
    source = {"Bucket": bucket, "Key": "from"}
    answer = s3.copy_object(Bucket=bucket, Key="to", CopySource=source, ChecksumAlgorithm=algorithm)
    assert answer["CopyObjectResult"][f"Checksum{algorithm}"] == checksum(algorithm, data)
    head = s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == checksum(algorithm, data)
