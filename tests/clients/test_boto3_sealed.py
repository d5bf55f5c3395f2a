"""boto3: objects that are encrypted with a key of the node, of the KMS and of the client, over http and https."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.content import MIB, noise
from tests.clients.server import Server
from tests.clients.test_boto3_presigned import fetch

PART = 5 * MIB
KEY = "a key of mine with 32 characters"
MINE: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
OTHER: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY[::-1]}
AS_SENT: dict[str, Any] = {
    "SSECustomerAlgorithm": "AES256",
    "SSECustomerKey": base64.b64encode(KEY.encode()).decode(),
    "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(KEY.encode()).digest()).decode(),
}
"""For the call whose key the SDK leaves as it is."""
SOURCE: dict[str, Any] = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": KEY}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "SSE-S3": ({"ServerSideEncryption": "AES256"}, {}),
    "SSE-KMS": ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1", "BucketKeyEnabled": True}, {}),
    "SSE-C": (MINE, MINE),
}
"""How an object is written, and what a read of it needs."""


def tells(kind: str, reply: dict[str, Any]) -> None:
    match kind:
        case "SSE-S3":
            assert reply["ServerSideEncryption"] == "AES256" and "SSEKMSKeyId" not in reply
        case "SSE-KMS":
            assert (reply["ServerSideEncryption"], reply["SSEKMSKeyId"]) == ("aws:kms", "key-1")
            assert reply["BucketKeyEnabled"] is True
        case _:
            assert reply["SSECustomerAlgorithm"] == "AES256" and reply["SSECustomerKeyMD5"]
            assert "ServerSideEncryption" not in reply


def code(call: Callable[..., Any], **asked: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**asked)
    reply = caught.value.response
    return str(reply["Error"]["Code"]), int(reply["ResponseMetadata"]["HTTPStatusCode"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 11, 200_000, 3 * MIB + 5])
def test_an_object_comes_back_and_says_how_it_is_encrypted(
    s3: Any, bucket: str, server: Server, kind: str, size: int
) -> None:
    write, read = KINDS[kind]
    data = noise(size, size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm="SHA256", **write)
    tells(kind, put)
    assert (put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"') is (kind == "SSE-S3")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **read)
    assert got["Body"].read() == data
    head = s3.head_object(Bucket=bucket, Key="k", **read)
    for reply in (got, head):
        tells(kind, reply)
        assert (reply["ContentLength"], reply["ETag"]) == (size, put["ETag"])
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == size
    assert s3.list_object_versions(Bucket=bucket)["Versions"][0]["Size"] == size
    as_sent = AS_SENT if read else {}
    told = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"], **as_sent)
    assert told["ObjectSize"] == size
    if size > 100:
        part = s3.get_object(Bucket=bucket, Key="k", Range="bytes=7-70000", **read)
        assert part["Body"].read() == data[7:70001]
        assert part["ContentRange"] == f"bytes 7-70000/{size}"
        for path in (server.folder / "data").rglob("*"):
            assert not path.is_file() or data[100:132] not in path.read_bytes(), path


@pytest.mark.parametrize("kind", KINDS)
def test_a_multipart_object_and_its_copies(s3: Any, bucket: str, kind: str) -> None:
    write, read = KINDS[kind]
    begun = s3.create_multipart_upload(Bucket=bucket, Key="m", **write)
    tells(kind, begun)
    named = {"Bucket": bucket, "Key": "m", "UploadId": begun["UploadId"]}
    datas = [noise(PART, 1), noise(PART + 9, 2)]
    parts = []
    for number, data in enumerate(datas, 1):
        sent = s3.upload_part(**named, PartNumber=number, Body=data, **read)
        tells(kind, sent) if kind != "SSE-KMS" else None
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    source = SOURCE if read else {}
    s3.put_object(Bucket=bucket, Key="s", Body=datas[0], **write)
    copied = s3.upload_part_copy(
        **named, PartNumber=3, CopySource=f"{bucket}/s", CopySourceRange="bytes=5-99", **read, **source
    )
    parts.append({"PartNumber": 3, "ETag": copied["CopyPartResult"]["ETag"]})
    assert [part["Size"] for part in s3.list_parts(**named)["Parts"]] == [PART, PART + 9, 95]
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-3"')
    whole = b"".join(datas) + datas[0][5:100]
    got = s3.get_object(Bucket=bucket, Key="m", **read)
    assert got["Body"].read() == whole
    tells(kind, got)
    got = s3.get_object(Bucket=bucket, Key="m", Range=f"bytes={PART - 5}-{2 * PART + 20}", **read)
    assert got["Body"].read() == whole[PART - 5 : 2 * PART + 21]
    assert s3.get_object(Bucket=bucket, Key="m", PartNumber=2, **read)["Body"].read() == datas[1]
    s3.copy_object(Bucket=bucket, Key="plain", CopySource=f"{bucket}/m", **source)
    plain = s3.get_object(Bucket=bucket, Key="plain")
    assert plain["Body"].read() == whole and "ServerSideEncryption" not in plain
    target = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/plain", **write)
    tells(kind, target)
    assert s3.get_object(Bucket=bucket, Key="c", **read)["Body"].read() == whole


def test_an_upload_with_checksums_is_completed_with_the_client_s_key(s3: Any, bucket: str) -> None:
    begun = s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm="CRC32", **MINE)
    named = {"Bucket": bucket, "Key": "m", "UploadId": begun["UploadId"]}
    part = s3.upload_part(**named, PartNumber=1, Body=b"secret", ChecksumAlgorithm="CRC32", **MINE)
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]
    other = base64.b64encode(hashlib.sha256(b"another").digest()).decode()
    md5 = base64.b64encode(hashlib.md5(base64.b64decode(other)).digest()).decode()
    for wrong in ({}, {**AS_SENT, "SSECustomerKey": other, "SSECustomerKeyMD5": md5}):
        asked = {"MultipartUpload": {"Parts": parts}, **wrong}
        assert code(s3.complete_multipart_upload, **named, **asked) == ("InvalidRequest", 400)
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}, **AS_SENT)
    assert s3.get_object(Bucket=bucket, Key="m", **MINE)["Body"].read() == b"secret"


def test_without_the_client_s_key_there_is_no_answer(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret", **MINE)
    s3.put_object(Bucket=bucket, Key="plain", Body=b"public")
    named = {"Bucket": bucket, "Key": "k"}
    assert code(s3.get_object, **named) == ("InvalidRequest", 400)
    assert code(s3.get_object, **named, **OTHER) == ("AccessDenied", 403)
    assert code(s3.head_object, **named) == ("400", 400)
    assert code(s3.head_object, **named, **OTHER) == ("403", 403)
    assert code(s3.get_object, Bucket=bucket, Key="plain", **MINE) == ("InvalidRequest", 400)
    assert code(s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k") == ("InvalidRequest", 400)
    s3.delete_object(**named)
    assert code(s3.get_object, **named, **MINE)[0] == "NoSuchKey"


def test_a_key_that_the_kms_does_not_know(s3: Any, bucket: str) -> None:
    unknown = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "nobody-s"}
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"x", **unknown) == ("KMS.NotFoundException", 400)
    done = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    assert done["SSEKMSKeyId"] == "aws/s3"


def test_a_bucket_s_default(s3: Any, bucket: str) -> None:
    missing = ("ServerSideEncryptionConfigurationNotFoundError", 404)
    assert code(s3.get_bucket_encryption, Bucket=bucket) == missing
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key-2"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    got = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert got == [{**rule, "BucketKeyEnabled": False}]
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"x")["SSEKMSKeyId"] == "key-2"
    assert s3.head_object(Bucket=bucket, Key="k")["SSEKMSKeyId"] == "key-2"
    s3.delete_bucket_encryption(Bucket=bucket)
    assert code(s3.get_bucket_encryption, Bucket=bucket) == missing
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_a_presigned_upload_is_encrypted(signer: Any, s3: Any, bucket: str, server: Server) -> None:
    asked = {"Bucket": bucket, "Key": "k", "ServerSideEncryption": "AES256"}
    url = signer.generate_presigned_url("put_object", Params=asked)
    status, answer, headers = fetch(server.endpoint, "PUT", url, b"x", {"x-amz-server-side-encryption": "AES256"})
    assert (status, headers["x-amz-server-side-encryption"]) == (200, "AES256"), answer
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"


def test_a_client_s_key_is_in_no_log_and_no_answer(s3: Any, bucket: str, server: Server) -> None:
    sent = {**AS_SENT, "SSECustomerKeyMD5": base64.b64encode(bytes(16)).decode()}
    with pytest.raises(ClientError) as caught:
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag"], **sent)
    assert AS_SENT["SSECustomerKey"] not in str(caught.value.response)
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret", **MINE)
    assert code(s3.get_object, Bucket=bucket, Key="k", **OTHER) == ("AccessDenied", 403)
    log = server.log.read_text()
    for text in (AS_SENT["SSECustomerKey"], AS_SENT["SSECustomerKeyMD5"], KEY, KEY[::-1]):
        assert text not in log
