"""Who sent a request: against Amazon's published examples, botocore's and minio's signers, and tampering."""

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from minio.credentials.credentials import Credentials as MinioCredentials
from minio.signer import presign_v4, sign_v4_s3

from holdfast.errors import S3Error
from holdfast.signing import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    amz_date,
    canonical_headers,
    canonical_query,
    encode_path,
    presign,
    sign_headers,
    signature,
    signing_key,
    string_to_sign,
)
from holdfast.wire.request import Request, parse_request
from holdfast.wire.sigv4 import Keys, Payload, Signed, authenticate

ACCESS = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "us-east-1"
NOW_MS = 1_369_353_600_000
"""2013-05-24T00:00:00Z, the date of Amazon's examples."""
HOST = "examplebucket.s3.amazonaws.com"
SECOND = 1000
DAY = 86_400 * SECOND

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=80)
OTHERS = KEYS.filter(lambda name: not name.lower().startswith("x-amz-"))
"""Parameters that the signature itself does not use."""
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


def secret_of(access_key: str) -> str | None:
    return SECRET if access_key == ACCESS else None


def verify(request: Request, *, now_ms: int = NOW_MS, region: str = REGION) -> Signed:
    return authenticate(request, Keys(secret_of, region=region), now_ms)


def made(method: str, target: str, headers: dict[str, str]) -> Request:
    return parse_request(method, target.encode(), [(name.encode(), value.encode()) for name, value in headers.items()])


def refusal(request: Request, *, now_ms: int = NOW_MS, region: str = REGION) -> S3Error:
    with pytest.raises(S3Error) as caught:
        verify(request, now_ms=now_ms, region=region)
    assert SECRET not in f"{caught.value.message} {caught.value.fields} {caught.value.detail}"
    return caught.value


def signed_request(
    method: str = "GET",
    path: str = "/b/key",
    query: tuple[tuple[str, str], ...] = (),
    headers: dict[str, str] | None = None,
    *,
    payload: str = EMPTY_SHA256,
    at_ms: int = NOW_MS,
    access_key: str = ACCESS,
    secret_key: str = SECRET,
    region: str = REGION,
    change: Callable[[dict[str, str]], None] | None = None,
) -> Request:
    sent = sign_headers(
        method,
        path,
        query,
        {"host": HOST, **(headers or {})},
        payload=payload,
        access_key=access_key,
        secret_key=secret_key,
        region=region,
        now_ms=at_ms,
    )
    if change is not None:
        change(sent)
    text = canonical_query(query)
    return made(method, encode_path(path) + ("?" + text if text else ""), sent)


def presigned_request(
    method: str = "GET",
    path: str = "/b/key",
    query: tuple[tuple[str, str], ...] = (),
    headers: dict[str, str] | None = None,
    *,
    sent: dict[str, str] | None = None,
    expires_s: int = 3600,
    at_ms: int = NOW_MS,
    region: str = REGION,
    change: Callable[[str], str] = lambda text: text,
) -> Request:
    signed = {"host": HOST, **(headers or {})}
    text = presign(
        method,
        path,
        query,
        signed,
        expires_s=expires_s,
        access_key=ACCESS,
        secret_key=SECRET,
        region=region,
        now_ms=at_ms,
    )
    return made(method, f"{encode_path(path)}?{change(text)}", {**signed, **(sent or {})})


# --- Amazon's examples: "Examples: signature calculations in AWS Signature Version 4" ---

WELCOME_SHA256 = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
EXAMPLES = [
    (
        "GET",
        "/test.txt",
        {"range": "bytes=0-9"},
        EMPTY_SHA256,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    (
        "PUT",
        "/test$file.text",
        {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        WELCOME_SHA256,
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    ("GET", "/?lifecycle", {}, EMPTY_SHA256, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    (
        "GET",
        "/?max-keys=2&prefix=J",
        {},
        EMPTY_SHA256,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
]


@pytest.mark.parametrize(("method", "target", "headers", "payload", "proof"), EXAMPLES)
def test_amazons_examples_are_verified_and_signed_alike(
    method: str, target: str, headers: dict[str, str], payload: str, proof: str
) -> None:
    sent = {"host": HOST, "x-amz-content-sha256": payload, "x-amz-date": "20130524T000000Z", **headers}
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={';'.join(sorted(sent))},Signature={proof}"
    )
    signed = verify(made(method, target, sent))
    assert (signed.access_key, signed.payload, signed.sha256) == (ACCESS, Payload.DIGEST, payload)
    assert (signed.signature, signed.scope, signed.amz_date) == (
        proof,
        "20130524/us-east-1/s3/aws4_request",
        "20130524T000000Z",
    )

    path, _, query = target.partition("?")
    ours = sign_headers(
        method,
        path,
        parse_qsl(query, keep_blank_values=True),
        {"host": HOST, **headers},
        payload=payload,
        access_key=ACCESS,
        secret_key=SECRET,
        region=REGION,
        now_ms=NOW_MS,
    )
    assert ours["authorization"].endswith("Signature=" + proof)


def test_amazons_presigned_example_is_verified_and_signed_alike() -> None:
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    signed = verify(made("GET", f"/test.txt?{query}", {"host": HOST}))
    assert (signed.presigned, signed.payload, signed.sha256) == (True, Payload.UNSIGNED, "")
    ours = presign(
        "GET",
        "/test.txt",
        (),
        {"host": HOST},
        expires_s=86400,
        access_key=ACCESS,
        secret_key=SECRET,
        region=REGION,
        now_ms=NOW_MS,
    )
    assert ours == query


# --- other signers ---


def received(request: AWSRequest, host: str) -> Request:
    """What a server sees of a request that botocore signed."""
    url = urlsplit(request.url)
    target = url.path + ("?" + url.query if url.query else "")
    headers = [(name.encode(), str(value).encode()) for name, value in request.headers.items()]
    return parse_request(request.method, target.encode(), [(b"Host", host.encode()), *headers])


def date_of(text: str) -> int:
    return int(datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) * 1000


@settings(deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "POST"]),
    key=KEYS,
    metadata=st.dictionaries(st.from_regex(r"[A-Za-z0-9-]{1,10}", fullmatch=True), VALUES, max_size=3),
    blanks=st.sampled_from(["", "a  b", "a   b c"]),
    query=st.dictionaries(OTHERS, KEYS, max_size=3),
    body=st.binary(max_size=20),
)
def test_what_botocore_signs_is_verified(
    method: str, key: str, metadata: dict[str, str], blanks: str, query: dict[str, str], body: bytes
) -> None:
    url = f"http://127.0.0.1:9000/bucket/{quote(key, safe='/~')}"
    if query:
        url += "?" + "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items()
        )
    headers = {f"X-Amz-Meta-{name}": value for name, value in metadata.items()}
    headers |= {"x-amz-meta-blanks": blanks, "Content-Type": "text/plain", "User-Agent": "a  b"}
    request = AWSRequest(method, url, headers=headers, data=body)
    request.context["payload_signing_enabled"] = True
    S3SigV4Auth(Credentials(ACCESS, SECRET), "s3", REGION).add_auth(request)
    seen = received(request, "127.0.0.1:9000")
    signed = verify(seen, now_ms=date_of(request.headers["X-Amz-Date"]))
    assert (seen.bucket, seen.key, seen.query) == ("bucket", key, query)
    assert signed.payload is Payload.DIGEST


@settings(deadline=None)
@given(key=KEYS, query=st.dictionaries(OTHERS, KEYS, max_size=2), method=st.sampled_from(["GET", "PUT"]))
def test_what_botocore_presigns_is_verified(key: str, query: dict[str, str], method: str) -> None:
    url = f"https://s3.test/bucket/{quote(key, safe='/~')}"
    if query:
        url += "?" + "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items()
        )
    request = AWSRequest(method, url)
    S3SigV4QueryAuth(Credentials(ACCESS, SECRET), "s3", REGION, expires=60).add_auth(request)
    seen = received(request, "s3.test")
    signed = verify(seen, now_ms=date_of(seen.query["X-Amz-Date"]))
    assert (seen.key, signed.payload, signed.presigned) == (key, Payload.UNSIGNED, True)


@settings(deadline=None)
@given(key=KEYS)
def test_what_minio_signs_and_presigns_is_verified(key: str) -> None:
    when = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    path = "/bucket/" + quote(key, safe="/~")
    url = urlsplit(f"http://{HOST}{path}?a=b%20c&uploads=")
    credentials = MinioCredentials(ACCESS, SECRET)
    sent = sign_v4_s3(
        method="PUT",
        url=url,
        region=REGION,
        headers={"Host": HOST, "x-amz-date": "20130524T000000Z", "x-amz-content-sha256": UNSIGNED_PAYLOAD},
        credentials=credentials,
        content_sha256=UNSIGNED_PAYLOAD,
        date=when,
    )
    headers = {name: str(value) for name, value in sent.items()}
    assert verify(made("PUT", f"{path}?{url.query}", headers)).payload is Payload.UNSIGNED
    link = presign_v4(method="GET", url=url, region=REGION, credentials=credentials, date=when, expires=60)
    assert verify(made("GET", f"{path}?{link.query}", {"host": HOST})).presigned


@settings(deadline=None)
@given(key=KEYS, query=st.lists(st.tuples(KEYS, KEYS), max_size=3), value=VALUES)
def test_what_we_sign_we_verify(key: str, query: list[tuple[str, str]], value: str) -> None:
    path = "/b/" + key
    headers = {"x-amz-meta-v": value, "x-amz-meta-w": "ü"}
    assert not verify(signed_request("PUT", path, tuple(query), headers)).presigned
    assert verify(presigned_request("PUT", path, tuple(query), headers)).presigned


# --- what a client may do differently ---


def test_a_path_may_be_escaped_more_or_less_than_canonically() -> None:
    sent = sign_headers(
        "GET",
        "/b/(a)!*'é+/x",
        (),
        {"host": HOST},
        payload=EMPTY_SHA256,
        access_key=ACCESS,
        secret_key=SECRET,
        region=REGION,
        now_ms=NOW_MS,
    )
    for target in ("/b/(a)!*'é+/x", "/b/%28a%29%21%2a%27%c3%a9%2b/%78", "/b/(a)!*'%C3%A9+/x"):
        assert verify(made("GET", target, sent)).access_key == ACCESS


def test_query_parameters_may_come_in_any_order_and_twice() -> None:
    request = signed_request(query=(("b", "2"), ("a", "2"), ("a", "1"), ("a-b", "")))
    assert verify(made("GET", "/b/key?a-b&a=1&b=2&a=2", request.headers)).access_key == ACCESS


def test_the_parts_of_the_authorization_may_come_in_any_order_and_spacing() -> None:
    def shuffle(headers: dict[str, str]) -> None:
        scheme, _, rest = headers["authorization"].partition(" ")
        one, two, three = rest.split(", ")
        headers["authorization"] = f"{scheme}  {three} ,{two},   {one}"

    assert verify(signed_request(change=shuffle)).access_key == ACCESS


def test_the_date_header_stands_in_for_x_amz_date() -> None:
    headers = {"date": "Fri, 24 May 2013 00:00:00 GMT", "host": HOST, "x-amz-content-sha256": EMPTY_SHA256}
    names = ";".join(headers)
    scope = "20130524/us-east-1/s3/aws4_request"
    canonical = f"GET\n/b/key\n\n{canonical_headers(headers, headers)}\n{names}\n{EMPTY_SHA256}"
    text = string_to_sign("20130524T000000Z", scope, canonical)
    proof = signature(signing_key(SECRET, "20130524", REGION), text)
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={names}, Signature={proof}"
    assert verify(made("GET", "/b/key", headers)).amz_date == "20130524T000000Z"
    assert refusal(made("GET", "/b/key", {**headers, "date": "today"})).code == "AccessDenied"


def test_an_access_key_may_contain_slashes() -> None:
    request = signed_request(access_key="team/a/key")
    signed = authenticate(request, Keys({"team/a/key": SECRET}.get, region=REGION), NOW_MS)
    assert signed.access_key == "team/a/key"


@pytest.mark.parametrize(
    ("text", "payload", "sha256"),
    [
        ("UNSIGNED-PAYLOAD", Payload.UNSIGNED, ""),
        (EMPTY_SHA256, Payload.DIGEST, EMPTY_SHA256),
        (EMPTY_SHA256.upper(), Payload.DIGEST, EMPTY_SHA256),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Payload.STREAM_SIGNED, ""),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Payload.STREAM_SIGNED_TRAILER, ""),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Payload.STREAM_UNSIGNED_TRAILER, ""),
    ],
)
def test_the_protection_of_the_body_is_told(text: str, payload: Payload, sha256: str) -> None:
    signed = verify(signed_request("PUT", payload=text))
    assert (signed.payload, signed.sha256) == (payload, sha256)
    assert signed.key.hex() not in repr(signed)


@pytest.mark.parametrize(
    "text", ["", "STREAMING", EMPTY_SHA256[:-1], EMPTY_SHA256 + "0", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"]
)
def test_an_unknown_protection_of_the_body_is_refused(text: str) -> None:
    assert refusal(signed_request("PUT", payload=text)).code == "InvalidArgument"


# --- tampering ---


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("DELETE", "/b/key?a=1", {}),
        ("GET", "/b/kez?a=1", {}),
        ("GET", "/b/key?a=2", {}),
        ("GET", "/b/key", {}),
        ("GET", "/b/key?a=1&b=1", {}),
        ("GET", "/b/key?a=1&a=1", {}),
        ("GET", "/b//key?a=1", {}),
        ("GET", "/b/./key?a=1", {}),
        ("GET", "/b/key?a=1", {"host": "other.test"}),
        ("GET", "/b/key?a=1", {"x-amz-meta-a": "other"}),
        ("GET", "/b/key?a=1", {"x-amz-content-sha256": UNSIGNED_PAYLOAD}),
        ("GET", "/b/key?a=1", {"x-amz-date": "20130524T000001Z"}),
    ],
)
def test_any_change_of_a_signed_request_is_noticed(method: str, target: str, headers: dict[str, str]) -> None:
    good = signed_request("GET", "/b/key", (("a", "1"),), {"x-amz-meta-a": "value"})
    assert verify(made("GET", "/b/key?a=1", good.headers)).access_key == ACCESS
    error = refusal(made(method, target, {**good.headers, **headers}))
    assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
    assert error.fields["AWSAccessKeyId"] == ACCESS
    assert error.fields["CanonicalRequest"].startswith(method + "\n")
    assert error.fields["StringToSign"].startswith("AWS4-HMAC-SHA256\n2013")


@pytest.mark.parametrize("proof", ["", "0" * 64, "zz", "é" * 64, "0" * 5000])
def test_a_wrong_signature_is_refused_whatever_it_looks_like(proof: str) -> None:
    def forge(headers: dict[str, str]) -> None:
        headers["authorization"] = headers["authorization"].rpartition("=")[0] + "=" + proof

    assert refusal(signed_request(change=forge)).code == "SignatureDoesNotMatch"
    if proof:
        forged = presigned_request(change=lambda text: text.rpartition("=")[0] + "=" + quote(proof))
        assert refusal(forged).code == "SignatureDoesNotMatch"


def test_a_wrong_secret_and_an_unknown_key_are_told_apart() -> None:
    assert refusal(signed_request(secret_key="other")).code == "SignatureDoesNotMatch"
    error = refusal(signed_request(access_key="NOBODY"))
    assert (error.code, error.fields) == ("InvalidAccessKeyId", {"AWSAccessKeyId": "NOBODY"})


@pytest.mark.parametrize("name", ["x-amz-acl", "x-amz-copy-source", "x-amz-meta-a", "x-amz-tagging", "x-amz-trailer"])
def test_an_x_amz_header_that_is_not_signed_is_refused(name: str) -> None:
    for request in (
        signed_request("PUT", change=lambda headers: headers.update({name: "x"})),
        presigned_request("PUT", sent={name: "x"}),
    ):
        error = refusal(request)
        assert (error.code, error.fields) == ("AccessDenied", {"HeadersNotSigned": name})
    verify(presigned_request("PUT", headers={name: "x"}))


def test_other_headers_need_not_be_signed() -> None:
    extra = {
        "content-type": "text/plain",
        "content-md5": "x",
        "user-agent": "y",
        "amz-sdk-request": "z",
        "x-amzn-trace-id": "t",
    }
    verify(signed_request("PUT", change=lambda headers: headers.update(extra)))
    verify(presigned_request("PUT", sent=extra))


def test_the_host_must_be_signed() -> None:
    sent = sign_headers(
        "GET",
        "/b/key",
        (),
        {},
        payload=EMPTY_SHA256,
        access_key=ACCESS,
        secret_key=SECRET,
        region=REGION,
        now_ms=NOW_MS,
    )
    error = refusal(made("GET", "/b/key", {**sent, "host": HOST}))
    assert (error.code, error.fields) == ("AccessDenied", {"HeadersNotSigned": "host"})


def test_a_presigned_put_may_bring_a_digest_of_its_body_but_no_other_framing() -> None:
    def put(text: str, **headers: str) -> Request:
        return presigned_request("PUT", headers=headers, sent={"x-amz-content-sha256": text})

    signed = verify(put(WELCOME_SHA256))
    assert (signed.payload, signed.sha256) == (Payload.DIGEST, WELCOME_SHA256)
    assert verify(put(UNSIGNED_PAYLOAD)).payload is Payload.UNSIGNED
    error = refusal(put("STREAMING-UNSIGNED-PAYLOAD-TRAILER"))
    assert (error.code, error.fields) == ("AccessDenied", {"HeadersNotSigned": "x-amz-content-sha256"})
    assert refusal(put("nonsense")).code == "InvalidArgument"


def test_a_presigned_query_may_fix_the_digest_of_the_body() -> None:
    request = AWSRequest("PUT", "https://s3.test/bucket/key", headers={"X-Amz-Content-SHA256": WELCOME_SHA256})
    S3SigV4QueryAuth(Credentials(ACCESS, SECRET), "s3", REGION, expires=60).add_auth(request)
    seen = received(request, "s3.test")
    signed = verify(seen, now_ms=date_of(seen.query["X-Amz-Date"]))
    assert (signed.payload, signed.sha256) == (Payload.DIGEST, WELCOME_SHA256)


# --- region and time ---


def test_a_request_for_another_region_is_told_the_right_one() -> None:
    error = refusal(signed_request(region="eu-west-1"))
    assert (error.code, error.fields["Region"]) == ("AuthorizationHeaderMalformed", REGION)
    assert (
        error.message == "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-1'"
    )
    error = refusal(presigned_request(region="eu-west-1"))
    assert (error.code, error.fields["Region"]) == ("AuthorizationQueryParametersError", REGION)
    assert verify(signed_request(region="eu-west-1"), region="eu-west-1").scope.split("/")[1] == "eu-west-1"


@pytest.mark.parametrize("skew_s", [-900, 0, 900])
def test_a_clock_may_differ_by_a_quarter_of_an_hour(skew_s: int) -> None:
    verify(signed_request(at_ms=NOW_MS + skew_s * SECOND))


@pytest.mark.parametrize("skew_s", [-901, 901, -(10**9), 10**9])
def test_a_clock_that_differs_more_is_refused(skew_s: int) -> None:
    at_ms = NOW_MS + skew_s * SECOND
    error = refusal(signed_request(at_ms=at_ms))
    assert error.code == "RequestTimeTooSkewed"
    assert error.fields == {
        "RequestTime": amz_date(at_ms),
        "ServerTime": "2013-05-24T00:00:00Z",
        "MaxAllowedSkewMilliseconds": "900000",
    }


def test_a_credential_is_of_the_day_of_the_request() -> None:
    def yesterday(headers: dict[str, str]) -> None:
        headers["authorization"] = headers["authorization"].replace("/20130524/", "/20130523/")

    assert refusal(signed_request(change=yesterday)).code == "AuthorizationHeaderMalformed"
    request = presigned_request(change=lambda text: text.replace("%2F20130524%2F", "%2F20130523%2F"))
    assert refusal(request).code == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(
    "text", ["", "now", "20130524", "20130524T000000", "20131324T000000Z", "2013०524T000000Z", "00000524T000000Z"]
)
def test_a_request_without_a_valid_date_is_refused(text: str) -> None:
    assert refusal(signed_request(change=lambda headers: headers.update({"x-amz-date": text}))).code == "AccessDenied"


def test_a_presigned_request_is_valid_until_it_expires() -> None:
    verify(presigned_request(expires_s=604_800), now_ms=NOW_MS + 7 * DAY)
    verify(presigned_request(expires_s=1), now_ms=NOW_MS + SECOND)
    error = refusal(presigned_request(expires_s=1), now_ms=NOW_MS + SECOND + 1)
    assert (error.code, error.status, error.message) == ("AccessDenied", 403, "Request has expired")
    assert refusal(presigned_request(expires_s=0), now_ms=NOW_MS).message == "Request has expired"
    assert error.fields == {
        "X-Amz-Expires": "1",
        "Expires": "2013-05-24T00:00:01Z",
        "ServerTime": "2013-05-24T00:00:01Z",
    }


def test_a_presigned_request_from_the_future_is_not_valid_yet() -> None:
    verify(presigned_request(at_ms=NOW_MS + 900 * SECOND))
    assert refusal(presigned_request(at_ms=NOW_MS + 901 * SECOND)).message == "Request is not valid yet"
    last_ms = 253_402_300_799_000
    assert refusal(presigned_request(at_ms=last_ms, expires_s=604_800)).fields["Expires"] == "9999-12-31T23:59:59Z"


@pytest.mark.parametrize("text", ["-1", "604801", "1.5", "abc", "1e3", "٣", "9" * 5000, "+5", " 5"])
def test_an_expiry_out_of_bounds_is_refused(text: str) -> None:
    request = presigned_request(change=lambda query: query.replace("Expires=3600", "Expires=" + quote(text)))
    assert refusal(request).code == "AuthorizationQueryParametersError"


# --- what is no signature of version 4 ---


def test_a_request_without_a_signature_is_nobodys() -> None:
    for target in ("/b/key", "/b/key?list-type=2"):
        signed = verify(made("GET", target, {"host": HOST}))
        assert (signed.access_key, signed.payload, signed.token) == ("", Payload.UNSIGNED, "")


@pytest.mark.parametrize(
    ("digest", "payload"),
    [
        ("a" * 64, Payload.DIGEST),
        (UNSIGNED_PAYLOAD, Payload.UNSIGNED),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Payload.STREAM_UNSIGNED_TRAILER),
    ],
)
def test_nobodys_body_is_what_its_header_says(digest: str, payload: Payload) -> None:
    signed = verify(made("PUT", "/b/key", {"host": HOST, "x-amz-content-sha256": digest}))
    assert (signed.access_key, signed.payload) == ("", payload)


def test_chunks_that_claim_signatures_need_one_to_go_on_from() -> None:
    for stream in ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"):
        assert refusal(made("PUT", "/b/k", {"host": HOST, "x-amz-content-sha256": stream})).code == "AccessDenied"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("AWS AKID:c2lnbmF0dXJl", "InvalidRequest"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=b, Signature=c", "InvalidRequest"),
        ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential=a", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Signature=c", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=c", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 nonsense, Signature=c", "AuthorizationHeaderMalformed"),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws4_request, Signature=c",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=c",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws5, SignedHeaders=host, Signature=c",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/today/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=c",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=c",
            "AuthorizationHeaderMalformed",
        ),
        ("Bearer token", "InvalidArgument"),
        ("AWS HAHAHA", "InvalidArgument"),
    ],
)
def test_another_authorization_is_refused_with_its_reason(authorization: str, code: str) -> None:
    error = refusal(made("GET", "/b/key", {"host": HOST, "authorization": authorization}))
    assert error.code == code
    if authorization.startswith("AWS ") and code == "InvalidRequest":
        assert error.message.endswith("Please use AWS4-HMAC-SHA256.")
    assert "token" not in str(error.fields)


def test_a_query_signed_by_version_2_is_refused_with_its_reason() -> None:
    error = refusal(made("GET", "/b/key?AWSAccessKeyId=a&Signature=b&Expires=1", {"host": HOST}))
    assert (error.code, error.message.endswith("Please use AWS4-HMAC-SHA256.")) == ("InvalidRequest", True)


def test_two_ways_of_signing_at_once_are_refused() -> None:
    request = presigned_request(sent={"authorization": "AWS4-HMAC-SHA256 x"})
    assert refusal(request).code == "InvalidArgument"


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"])
def test_a_presigned_request_without_one_of_its_parameters_is_refused(name: str) -> None:
    request = presigned_request(change=lambda text: "&".join(p for p in text.split("&") if f"X-Amz-{name}=" not in p))
    assert refusal(request).code == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        lambda text: text.replace("aws4_request", "aws5_request"),
        lambda text: text.replace("%2Fs3%2F", "%2Fec2%2F"),
        lambda text: text.replace("%2F20130524%2F", "%2F2013%2F"),
        lambda text: text.replace("20130524T", "20130524"),
        lambda text: text.replace("AKIA", "%2F%2FAKIA", 1).replace("%2Fus-east-1", ""),
    ],
)
def test_malformed_parameters_of_a_presigned_request_are_refused(change: Callable[[str], str]) -> None:
    assert refusal(presigned_request(change=change)).code == "AuthorizationQueryParametersError"


def test_a_session_token_is_refused_because_there_are_no_sessions() -> None:
    assert refusal(signed_request(headers={"x-amz-security-token": "t"})).code == "InvalidToken"
    assert refusal(presigned_request(query=(("X-Amz-Security-Token", "t"),))).code == "InvalidToken"


def test_a_header_signed_request_says_how_its_body_is_protected() -> None:
    error = refusal(signed_request(change=lambda headers: headers.__delitem__("x-amz-content-sha256")))
    assert (error.code, "x-amz-content-sha256" in error.message) == ("InvalidRequest", True)


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "AWS4-HMAC-SHA256 ",
            "Credential=",
            f"{ACCESS}/20130524/us-east-1/s3/aws4_request",
            "SignedHeaders=",
            "host",
            ";",
            ",",
            " ",
            "=",
            "/",
            "Signature=",
            "0" * 64,
            "é",
            "20130524T000000Z",
            UNSIGNED_PAYLOAD,
        ]
    )
    | st.text(max_size=5),
    max_size=10,
).map("".join)


@settings(deadline=None)
@given(
    authorization=FRAGMENTS.filter(str.strip),
    date=FRAGMENTS,
    payload=st.sampled_from([UNSIGNED_PAYLOAD, ""]) | FRAGMENTS,
)
def test_a_garbled_authorization_is_an_s3_error(authorization: str, date: str, payload: str) -> None:
    headers = {"host": HOST, "authorization": authorization, "x-amz-date": date, "x-amz-content-sha256": payload}
    assert 400 <= refusal(made("GET", "/b/key", headers)).status < 500


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Content-Sha256"]),
        FRAGMENTS
        | st.sampled_from(
            ["AWS4-HMAC-SHA256", "60", "20130524T000000Z", f"{ACCESS}/20130524/us-east-1/s3/aws4_request"]
        ),
    )
)
def test_a_garbled_presigned_query_is_an_s3_error(fields: dict[str, str]) -> None:
    fields.setdefault("Expires", "60")
    query = canonical_query((f"X-Amz-{name}", value.replace("\0", "")) for name, value in fields.items())
    assert 400 <= refusal(made("GET", "/b/key?" + query, {"host": HOST})).status < 500
