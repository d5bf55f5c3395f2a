"""boto3 sets the rules; a browser, played with plain requests, asks for them."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.browser import Browser

RULES: list[dict[str, Any]] = [
    {"AllowedOrigins": ["*suffix"], "AllowedMethods": ["GET"]},
    {"AllowedOrigins": ["start*end"], "AllowedMethods": ["GET"]},
    {"AllowedOrigins": ["*.put"], "AllowedMethods": ["PUT", "HEAD"], "AllowedHeaders": ["x-amz-*", "Content-Type"],
     "ExposeHeaders": ["ETag", "x-amz-request-id"], "MaxAgeSeconds": 600, "ID": "puts"},
]  # fmt: skip
ORIGIN, METHOD, HEADERS = "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"


@pytest.fixture
def shared(s3: Any, bucket: str) -> str:
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    return bucket


def test_rules_come_back_as_they_were_set(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        s3.get_bucket_cors(Bucket=bucket)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    got = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert got[:2] == RULES[:2]
    assert got[2] == {**RULES[2], "AllowedHeaders": ["x-amz-*", "content-type"]}
    s3.delete_bucket_cors(Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        s3.get_bucket_cors(Bucket=bucket)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"AllowedOrigins": ["*a*"], "AllowedMethods": ["GET"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*"], "AllowedMethods": ["OPTIONS"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "ExposeHeaders": ["x-*"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "AllowedHeaders": ["*-*"]}, "InvalidRequest"),
        ({"AllowedOrigins": [], "AllowedMethods": ["GET"]}, "MalformedXML"),
    ],
)
def test_rules_that_mean_nothing_are_refused(s3: Any, bucket: str, rule: Any, code: str) -> None:
    with pytest.raises(ClientError, match=code):
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


@pytest.mark.parametrize("key", ["", "/k", "/not there"])
def test_a_preflight_needs_no_signature(browser: Browser, shared: str, key: str) -> None:
    path = f"/{shared}{key.replace(' ', '%20')}"
    seen = browser.ask("OPTIONS", path, {ORIGIN: "https://a.put", METHOD: "PUT", HEADERS: "X-Amz-Date, content-type"})
    assert seen.status == 200
    assert seen.allowed == ("https://a.put", "PUT, HEAD")
    assert seen.headers["access-control-allow-headers"] == "x-amz-date, content-type"
    assert seen.headers["access-control-expose-headers"] == "ETag, x-amz-request-id"
    assert seen.headers["access-control-max-age"] == "600"
    assert seen.headers["access-control-allow-credentials"] == "true"
    assert seen.headers["vary"] == "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, b"BadRequest"),
        ({ORIGIN: "foo.suffix"}, 400, b"BadRequest"),
        ({ORIGIN: "foo.suffix", METHOD: "PATCH"}, 400, b"BadRequest"),
        ({ORIGIN: "foo.suffix", METHOD: "get"}, 400, b"BadRequest"),
        ({ORIGIN: "foo.put", METHOD: "PUT", HEADERS: "x-amz-date, bad header"}, 400, b"BadRequest"),
        ({ORIGIN: "foo.bar", METHOD: "GET"}, 403, b"AccessForbidden"),
        ({ORIGIN: "foo.suffix", METHOD: "PUT"}, 403, b"AccessForbidden"),
        ({ORIGIN: "foo.put", METHOD: "PUT", HEADERS: "authorization"}, 403, b"AccessForbidden"),
        ({ORIGIN: "start1end", METHOD: "GET"}, 200, b""),
        ({ORIGIN: "start1end2", METHOD: "GET"}, 403, b"AccessForbidden"),
    ],
)
def test_preflights_are_judged_by_the_rules(
    browser: Browser, shared: str, headers: dict[str, str], status: int, code: bytes
) -> None:
    seen = browser.ask("OPTIONS", f"/{shared}/k", headers)
    assert seen.status == status
    assert code in seen.body
    assert (seen.allowed[0] is not None) == (status == 200)


def test_a_preflight_of_a_bucket_without_rules_is_refused(browser: Browser, bucket: str) -> None:
    asked = {ORIGIN: "https://a", METHOD: "GET"}
    seen = browser.ask("OPTIONS", f"/{bucket}", asked)
    assert seen.status == 403
    assert b"CORS is not enabled for this bucket" in seen.body
    assert b"<Method>GET</Method><ResourceType>BUCKET</ResourceType>" in seen.body
    seen = browser.ask("OPTIONS", "/no-such-bucket-anywhere", asked)
    assert (seen.status, b"NoSuchBucket" in seen.body) == (404, True)


def test_actual_requests_are_told_too_and_so_are_refused_ones(
    browser: Browser, s3: Any, signer: Any, shared: str
) -> None:
    url = signer.generate_presigned_url("get_object", {"Bucket": shared, "Key": "k"})
    path = "/" + url.split("/", 3)[3]
    seen = browser.ask("GET", path, {ORIGIN: "foo.suffix"})
    assert (seen.status, seen.body, seen.allowed) == (200, b"x", ("foo.suffix", "GET"))
    assert "Origin" in seen.headers["vary"]
    seen = browser.ask("GET", path, {ORIGIN: "foo.bar"})
    assert (seen.status, seen.allowed) == (200, (None, None))
    assert "Origin" in seen.headers["vary"]
    assert "vary" not in browser.ask("GET", path, {}).headers
    seen = browser.ask("PUT", f"/{shared}/k", {ORIGIN: "foo.put"}, b"anonymous")
    assert (seen.status, seen.allowed) == (403, ("foo.put", "PUT, HEAD"))
    assert s3.get_object(Bucket=shared, Key="k")["Body"].read() == b"x"


def test_a_rule_for_all_origins_says_so_and_allows_no_credentials(browser: Browser, s3: Any, bucket: str) -> None:
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    for seen in (
        browser.ask("OPTIONS", f"/{bucket}", {ORIGIN: "https://anywhere", METHOD: "GET"}),
        browser.ask("GET", f"/{bucket}/absent", {ORIGIN: "https://anywhere"}),
    ):
        assert seen.allowed == ("*", "GET")
        assert "access-control-allow-credentials" not in seen.headers
