"""Upload forms: boto3 signs them, and version 2 is signed by hand; a browser sends them."""

import base64
import datetime
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.browser import Browser
from tests.clients.content import MIB, noise
from tests.clients.server import ACCESS_KEY, SECRET_KEY

Fields = list[tuple[str, str]]


def _expiration(hours: float = 1) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _signed(policy: object, fields: Fields, *, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> Fields:
    """The fields of a form that is signed as version 2 does it, as ceph/s3-tests still do."""
    text = base64.b64encode(json.dumps(policy).encode()).decode()
    proof = base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()
    return [*fields, ("AWSAccessKeyId", key), ("signature", proof), ("policy", text)]


def _policy(bucket: str, *conditions: object, hours: float = 1) -> dict[str, Any]:
    usual = [{"bucket": bucket}, ["starts-with", "$key", "foo"], ["content-length-range", 0, 1024]]
    return {"expiration": _expiration(hours), "conditions": [*usual, *conditions]}


def test_a_form_that_boto3_signs_stores_what_it_says(browser: Browser, signer: Any, bucket: str) -> None:
    extra = {"Content-Type": "text/x-test", "x-amz-meta-colour": "red", "Cache-Control": "no-store", "success_action_status": "201",
             "x-amz-storage-class": "STANDARD_IA", "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>"}  # fmt: skip
    made = signer.generate_presigned_post(
        bucket, "dir/${filename}", Fields=extra, Conditions=[{name: value} for name, value in extra.items()]
    )
    data = noise(3 * MIB + 5)
    seen = browser.post(bucket, list(made["fields"].items()), data, "C:\\Users\\me\\photo ü.jpg")
    assert seen.status == 201, seen.body
    key = "dir/photo ü.jpg"
    assert f"<PostResponse><Location>{seen.headers['location']}</Location>".encode() in seen.body
    assert f"<Key>{key}</Key>".encode() in seen.body
    got = signer.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == data
    assert got["ETag"] == seen.headers["etag"]
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/x-test", "no-store", {"colour": "red"})
    assert (got["StorageClass"], got["TagCount"]) == ("STANDARD_IA", 1)
    assert signer.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == [{"Key": "a", "Value": "b c"}]


@pytest.mark.parametrize(
    ("fields", "status"),
    [([], 204), ([("success_action_status", "200")], 200), ([("success_action_status", "404")], 204)],
)
def test_the_form_chooses_its_status(browser: Browser, bucket: str, fields: Fields, status: int) -> None:
    policy = _policy(bucket, *({name: value} for name, value in fields))
    seen = browser.post(bucket, _signed(policy, [("key", "foo.txt"), *fields]), b"bar")
    assert (seen.status, seen.body) == (status, b"")


def test_the_form_chooses_where_to_go(browser: Browser, bucket: str) -> None:
    fields = [("key", "foo bar.txt"), ("success_action_redirect", "http://127.0.0.1:1/done?x=1")]
    policy = _policy(bucket, ["starts-with", "$success_action_redirect", "http://"])
    seen = browser.post(bucket, _signed(policy, fields), b"bar")
    assert seen.status == 303
    etag = seen.headers["etag"].strip('"')
    assert seen.headers["location"] == (
        f"http://127.0.0.1:1/done?x=1&bucket={bucket}&key=foo%20bar.txt&etag=%22{etag}%22"
    )


def test_names_and_operators_of_a_policy_are_in_any_case(browser: Browser, s3: Any, bucket: str) -> None:
    conditions = [
        {"bUcKeT": bucket},
        ["StArTs-WiTh", "$KeY", "foo"],
        {"AcL": "private"},
        ["StArTs-WiTh", "$CoNtEnT-TyPe", "text/plain"],
    ]
    policy = {"expiration": _expiration(), "conditions": conditions}
    fields = [("kEy", "foo.txt"), ("aCl", "private"), ("Content-Type", "text/plain"), ("x-ignore-me", "1")]
    assert browser.post(bucket, _signed(policy, fields), b"bar").status == 204
    assert s3.get_object(Bucket=bucket, Key="foo.txt")["Body"].read() == b"bar"


Make = Callable[[str], Fields]
KEY = ("key", "foo.txt")
REFUSED: dict[str, tuple[Make, int, str]] = {
    "anonymous": (lambda bucket: [KEY], 403, "AccessDenied"),
    "no signature": (lambda bucket: [f for f in _signed(_policy(bucket), [KEY]) if f[0] != "signature"], 400, "InvalidArgument"),
    "no policy": (lambda bucket: [f for f in _signed(_policy(bucket), [KEY]) if f[0] != "policy"], 400, "InvalidArgument"),
    "no key": (lambda bucket: _signed(_policy(bucket), []), 400, "InvalidArgument"),
    "wrong secret": (lambda bucket: _signed(_policy(bucket), [KEY], secret="x"), 403, "SignatureDoesNotMatch"),
    "unknown access key": (lambda bucket: _signed(_policy(bucket), [KEY], key="foo"), 403, "InvalidAccessKeyId"),
    "expired": (lambda bucket: _signed(_policy(bucket, hours=-1), [KEY]), 403, "AccessDenied"),
    "another bucket": (lambda bucket: _signed(_policy("other"), [KEY, ("bucket", "other")]), 403, "AccessDenied"),
    "another key": (lambda bucket: _signed(_policy(bucket), [("key", "bar")]), 403, "AccessDenied"),
    "field that no condition covers": (
        lambda bucket: _signed(_policy(bucket), [KEY, ("x-amz-meta-foo", "bar")]), 403, "AccessDenied",
    ),
    "condition without its field": (
        lambda bucket: _signed(_policy(bucket, ["starts-with", "$x-amz-meta-foo", "bar"]), [KEY]), 403, "AccessDenied",
    ),
    "other value": (
        lambda bucket: _signed(_policy(bucket, ["eq", "$x-amz-meta-foo", ""]), [KEY, ("x-amz-meta-foo", "bar")]), 403, "AccessDenied",
    ),
    "no bucket": (
        lambda bucket: _signed({"expiration": _expiration(), "conditions": [["starts-with", "$key", ""]]}, [KEY]), 403, "AccessDenied",
    ),
    "no expiration": (lambda bucket: _signed({"conditions": []}, [KEY]), 400, "InvalidPolicyDocument"),
    "EXPIRATION": (
        lambda bucket: _signed({"EXPIRATION": _expiration(), "conditions": []}, [KEY]), 400, "InvalidPolicyDocument",
    ),
    "no conditions": (lambda bucket: _signed({"expiration": _expiration()}, [KEY]), 400, "InvalidPolicyDocument"),
    "empty condition": (lambda bucket: _signed(_policy(bucket, {}), [KEY]), 400, "InvalidPolicyDocument"),
    "other date": (
        lambda bucket: _signed({"expiration": "2030-01-01 00:00", "conditions": []}, [KEY]), 400, "InvalidPolicyDocument",
    ),
    "half a range": (
        lambda bucket: _signed(_policy(bucket, ["content-length-range", 0]), [KEY]), 400, "InvalidPolicyDocument",
    ),
    "negative range": (
        lambda bucket: _signed(_policy(bucket, ["content-length-range", -1, 0]), [KEY]), 400, "InvalidPolicyDocument",
    ),
    "too large": (lambda bucket: _signed(_policy(bucket, ["content-length-range", 0, 2]), [KEY]), 400, "EntityTooLarge"),
    "too small": (lambda bucket: _signed(_policy(bucket, ["content-length-range", 4, 9]), [KEY]), 400, "EntityTooSmall"),
    "fields too long": (lambda bucket: [KEY, ("x-ignore-this", "x" * 30_000)], 400, "MaxPostPreDataLengthExceeded"),
    "wrong checksum": (
        lambda bucket: _signed(
            _policy(bucket, ["starts-with", "$x-amz-checksum-crc32", ""]), [KEY, ("x-amz-checksum-crc32", "AAAAAA==")]
        ), 400, "BadDigest",
    ),
    "not implemented": (
        lambda bucket: _signed(_policy(bucket, {"acl": "authenticated-read"}), [KEY, ("acl", "nonsense")]), 403, "AccessDenied",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_form_stores_nothing(browser: Browser, s3: Any, bucket: str, name: str) -> None:
    make, status, code = REFUSED[name]
    seen = browser.post(bucket, make(bucket), b"bar")
    assert (seen.status, seen.code) == (status, code), seen.body
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_post_that_is_no_form_is_told_so(browser: Browser, bucket: str) -> None:
    assert browser.ask("POST", f"/{bucket}", {"Content-Type": "text/plain"}, b"x").code == "PreconditionFailed"
    assert (
        browser.ask("POST", f"/{bucket}", {"Content-Type": "multipart/form-data"}, b"x").code == "MalformedPOSTRequest"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert browser.ask("POST", f"/{bucket}", headers, b"nonsense").code == "MalformedPOSTRequest"
    nothing = b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nfoo\r\n--b--\r\n'
    assert browser.ask("POST", f"/{bucket}", headers, nothing).code == "InvalidArgument"


def test_a_form_says_how_its_object_is_encrypted(browser: Browser, s3: Any, bucket: str) -> None:
    asked = {"x-amz-server-side-encryption": "AES256"}
    key = b"a key of mine with 32 characters"
    start = "x-amz-server-side-encryption-customer-"
    mine = {
        start + "algorithm": "AES256",
        start + "key": base64.b64encode(key).decode(),
        start + "key-md5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }
    for name, extra in (("foo-1", asked), ("foo-2", mine)):
        policy = _policy(bucket, *({field: value} for field, value in extra.items()))
        seen = browser.post(bucket, _signed(policy, [("key", name), *extra.items()]), b"body")
        assert seen.status == 204, seen.body
    assert s3.head_object(Bucket=bucket, Key="foo-1")["ServerSideEncryption"] == "AES256"
    got = s3.get_object(Bucket=bucket, Key="foo-2", SSECustomerAlgorithm="AES256", SSECustomerKey=key.decode())
    assert got["Body"].read() == b"body"
