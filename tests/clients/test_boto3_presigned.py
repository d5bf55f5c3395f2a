"""boto3: presigned URLs, used by a client that knows nothing of S3."""

import base64
import http.client
import ssl
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.clients.content import KIB, MIB, noise
from tests.clients.names import cases
from tests.clients.server import ACCESS_KEY, SECRET_KEY, Endpoint


def fetch(
    endpoint: Endpoint, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes, Mapping[str, str]]:
    """Send a request just as the URL says, with nothing added but what `http.client` must."""
    parsed = urllib.parse.urlsplit(url)
    assert parsed.netloc == endpoint.address
    connection: http.client.HTTPConnection
    if endpoint.secure:
        context = ssl.create_default_context(cafile=endpoint.ca)
        connection = http.client.HTTPSConnection(parsed.netloc, timeout=60, context=context)
    else:
        connection = http.client.HTTPConnection(parsed.netloc, timeout=60)
    try:
        connection.request(method, f"{parsed.path}?{parsed.query}", body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


@pytest.mark.parametrize("size_bytes", [0, 100 * KIB, 6 * MIB])
def test_a_presigned_put_and_get_carry_a_body(
    s3: Any, signer: Any, bucket: str, endpoint: Endpoint, size_bytes: int
) -> None:
    data, named = noise(size_bytes), {"Bucket": bucket, "Key": "signed"}
    put = signer.generate_presigned_url("put_object", Params=named, ExpiresIn=300)
    status, answer, _ = fetch(endpoint, "PUT", put, data)
    assert (status, answer) == (200, b"")
    get = signer.generate_presigned_url("get_object", Params=named, ExpiresIn=300)
    assert fetch(endpoint, "GET", get)[:2] == (200, data)
    assert s3.get_object(**named)["Body"].read() == data


@pytest.mark.parametrize("key", cases("boto3"))
def test_a_presigned_url_holds_a_hard_name(s3: Any, signer: Any, bucket: str, endpoint: Endpoint, key: str) -> None:
    named = {"Bucket": bucket, "Key": key}
    assert fetch(endpoint, "PUT", signer.generate_presigned_url("put_object", Params=named), key.encode())[0] == 200
    assert fetch(endpoint, "GET", signer.generate_presigned_url("get_object", Params=named))[:2] == (200, key.encode())
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]


def test_signed_headers_must_be_sent_and_are_kept(s3: Any, signer: Any, bucket: str, endpoint: Endpoint) -> None:
    asked = {"Bucket": bucket, "Key": "signed", "ContentType": "text/x", "Metadata": {"who": "me"}}
    put = signer.generate_presigned_url("put_object", Params=asked)
    assert fetch(endpoint, "PUT", put, b"x")[0] == 403
    assert fetch(endpoint, "PUT", put, b"x", {"Content-Type": "text/y", "x-amz-meta-who": "me"})[0] == 403
    assert fetch(endpoint, "PUT", put, b"x", {"Content-Type": "text/x", "x-amz-meta-who": "me"})[0] == 200
    head = s3.head_object(Bucket=bucket, Key="signed")
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"who": "me"})


def test_a_presigned_url_means_only_what_was_signed(s3: Any, signer: Any, bucket: str, endpoint: Endpoint) -> None:
    s3.put_object(Bucket=bucket, Key="mine", Body=b"mine")
    s3.put_object(Bucket=bucket, Key="other", Body=b"other")
    get = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "mine"})
    put = signer.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "mine"})
    refused: list[tuple[str, str, bytes | None, dict[str, str]]] = [
        ("GET", get.replace("/mine?", "/other?"), None, {}),
        ("PUT", get, b"changed", {}),
        ("DELETE", get, None, {}),
        ("GET", get + "&response-content-type=text/html", None, {}),
        ("GET", get.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"), None, {}),
        ("PUT", put, None, {"x-amz-copy-source": f"/{bucket}/other"}),
        ("PUT", put, b"changed", {"x-amz-meta-added": "1"}),
        ("PUT", put, b"changed", {"x-amz-storage-class": "GLACIER"}),
    ]
    for method, url, body, headers in refused:
        status, answer, _ = fetch(endpoint, method, url, body, headers)
        assert status == 403, (method, url, headers, answer)
    assert s3.get_object(Bucket=bucket, Key="mine")["Body"].read() == b"mine"


def test_a_presigned_url_expires_and_names_its_refusal(
    s3: Any, signer: Any, bucket: str, endpoint: Endpoint, signed_by: Callable[..., Any]
) -> None:
    named = {"Bucket": bucket, "Key": "mine"}
    s3.put_object(**named, Body=b"mine")
    long = signer.generate_presigned_url("get_object", Params=named, ExpiresIn=8 * 24 * 3600)
    assert b"<Code>AuthorizationQueryParametersError</Code>" in fetch(endpoint, "GET", long)[1]
    for keys, code in (
        ((ACCESS_KEY, "wrong secret"), b"SignatureDoesNotMatch"),
        (("nobody", SECRET_KEY), b"InvalidAccessKeyId"),
    ):
        url = signed_by(*keys, "s3v4").generate_presigned_url("get_object", Params=named)
        status, answer, _ = fetch(endpoint, "GET", url)
        assert status == 403
        assert b"<Code>" + code + b"</Code>" in answer


def test_a_presigned_get_serves_ranges_conditions_and_overrides(
    s3: Any, signer: Any, bucket: str, endpoint: Endpoint
) -> None:
    named = {"Bucket": bucket, "Key": "mine"}
    etag = s3.put_object(**named, Body=b"0123456789")["ETag"]
    get = signer.generate_presigned_url("get_object", Params={**named, "ResponseContentType": "text/html; charset=x"})
    status, answer, headers = fetch(endpoint, "GET", get, headers={"Range": "bytes=2-4"})
    assert (status, answer, headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert headers["content-type"] == "text/html; charset=x"
    assert fetch(endpoint, "GET", get, headers={"If-None-Match": etag})[:2] == (304, b"")
    assert fetch(endpoint, "GET", get, headers={"If-Match": '"other"'})[0] == 412


def test_a_signed_checksum_is_verified(s3: Any, signer: Any, bucket: str, endpoint: Endpoint) -> None:
    value = base64.b64encode(zlib.crc32(b"right").to_bytes(4, "big")).decode()
    asked = {"Bucket": bucket, "Key": "mine", "ChecksumCRC32": value}
    put = signer.generate_presigned_url("put_object", Params=asked)
    headers = {"x-amz-checksum-crc32": value} if "x-amz-checksum-crc32=" not in put.lower() else {}
    assert fetch(endpoint, "PUT", put, b"wrong", headers)[0] == 400
    assert fetch(endpoint, "PUT", put, b"right", headers)[0] == 200
    assert s3.get_object(Bucket=bucket, Key="mine")["Body"].read() == b"right"


def test_the_old_signature_is_refused_with_a_clear_error(s3: Any, endpoint: Endpoint, bucket: str) -> None:
    old = s3.generate_presigned_url("list_objects", Params={"Bucket": bucket})
    assert "AWSAccessKeyId=" in old
    status, answer, _ = fetch(endpoint, "GET", old)
    assert status in (400, 403)
    assert b"Signature Version 4" in answer or b"AWS4-HMAC-SHA256" in answer
