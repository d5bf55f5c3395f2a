"""What a request line addresses."""

from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.errors import S3Error
from holdfast.wire.request import Request, check_bucket_name, parse_request

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)


def get(target: bytes, *headers: tuple[bytes, bytes], domain: str = "") -> Request:
    return parse_request(b"GET", target, headers, domain=domain)


def code_of(target: bytes, *headers: tuple[bytes, bytes], domain: str = "") -> str:
    with pytest.raises(S3Error) as caught:
        get(target, *headers, domain=domain)
    return caught.value.code


@pytest.mark.parametrize(
    ("target", "bucket", "key"),
    [
        (b"/", "", ""),
        (b"/photos", "photos", ""),
        (b"/photos/", "photos", ""),
        (b"/photos/a", "photos", "a"),
        (b"/photos//a", "photos", "/a"),
        (b"/photos/a//b/", "photos", "a//b/"),
        (b"/photos/./../x", "photos", "./../x"),
        (b"/photos/..", "photos", ".."),
        (b"/photos/a+b", "photos", "a+b"),
        (b"/photos/a%20b", "photos", "a b"),
        (b"/photos/a%2Bb", "photos", "a+b"),
        (b"/photos/a%252Bb", "photos", "a%2Bb"),
        (b"/photos/a%2fb", "photos", "a/b"),
        (b"/photos/%0D%0A%01", "photos", "\r\n\x01"),
        (b"/photos/%C3%A9", "photos", "\u00e9"),
        (b"/photos/e%CC%81", "photos", "e\u0301"),
        ("/photos/é".encode(), "photos", "é"),
        (b"/photos/a\\b'\"<>&", "photos", "a\\b'\"<>&"),
        (b"/photos/a;b=c,d", "photos", "a;b=c,d"),
    ],
)
def test_a_key_is_taken_byte_for_byte(target: bytes, bucket: str, key: str) -> None:
    request = get(target)
    assert (request.bucket, request.key, request.virtual_host) == (bucket, key, False)


@settings(deadline=None)
@given(key=KEYS)
def test_every_key_comes_back_from_its_escaped_path(key: str) -> None:
    for safe in ("/", "", "/~!$&'()*+,;=:@"):
        assert get(f"/b/{quote(key, safe=safe)}".encode()).key == key


def test_a_key_may_have_1024_bytes_and_no_more() -> None:
    assert get(b"/b/" + b"k" * 1024).key == "k" * 1024
    assert get(b"/b/" + b"%E4%B8%AD" * 341 + b"k").key == "中" * 341 + "k"
    assert code_of(b"/b/" + b"k" * 1025) == "KeyTooLongError"
    assert code_of(b"/b/" + b"%E4%B8%AD" * 341 + b"kk") == "KeyTooLongError"
    assert code_of(b"/" + b"%F0%9F%99%82" * 257, (b"host", b"b.s3.test"), domain="s3.test") == "KeyTooLongError"


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"*",
        b"host:443",
        b"photos/a",
        b"ftp://host/a",
        b"http:///a",
        b"http://user@host/a",
        b"http://host#a",
        b"/b/%",
        b"/b/%2",
        b"/b/%zz",
        b"/b/%+1",
        b"/b/% 1",
        b"/b/%FF",
        b"/b/%ED%A0%80",
        b"/b/%C0%80",
        b"/b/\xff",
        b"/b/%00",
        b"/b/\0",
        b"/b?a=%",
        b"/b?a=%FF",
        b"/b?%00",
        b"//a",
    ],
)
def test_a_target_that_is_none_is_refused(target: bytes) -> None:
    assert code_of(target) == ("InvalidBucketName" if target == b"//a" else "InvalidURI")


@pytest.mark.parametrize(
    ("host", "bucket", "key", "hosted"),
    [
        (b"photos.s3.test", "photos", "a/b", True),
        (b"photos.s3.test:9000", "photos", "a/b", True),
        (b"PHOTOS.S3.Test", "photos", "a/b", True),
        (b"my.photos.s3.test", "my.photos", "a/b", True),
        (b"s3.test", "a", "b", False),
        (b"s3.test:9000", "a", "b", False),
        (b"127.0.0.1:9000", "a", "b", False),
        (b"[::1]:9000", "a", "b", False),
        (b"photoss3.test", "a", "b", False),
        (b"elsewhere.example", "a", "b", False),
        (b"", "a", "b", False),
    ],
)
def test_only_a_host_below_the_domain_names_the_bucket(host: bytes, bucket: str, key: str, hosted: bool) -> None:
    request = get(b"/a/b", (b"Host", host), domain="s3.test")
    assert (request.bucket, request.key, request.virtual_host) == (bucket, key, hosted)


def test_a_key_in_virtual_host_style_may_begin_with_a_slash() -> None:
    assert get(b"//a", (b"host", b"photos.s3.test"), domain="s3.test").key == "/a"
    assert get(b"/", (b"host", b"photos.s3.test"), domain="s3.test").key == ""
    assert code_of(b"/a", (b"host", b".s3.test"), domain="s3.test") == "InvalidBucketName"


def test_without_a_domain_every_host_is_path_style() -> None:
    assert get(b"/a/b", (b"host", b"photos.s3.test")).bucket == "a"


def test_a_target_in_absolute_form_brings_its_own_host() -> None:
    request = get(b"HTTP://photos.s3.test:80/a?uploads", (b"host", b"other"), domain="s3.test")
    assert (request.bucket, request.key, request.query) == ("photos", "a", {"uploads": ""})
    assert request.headers["host"] == "photos.s3.test:80"
    assert request.raw_path == b"/a"
    assert get(b"http://h").path == "/"
    assert get(b"http://h?x=1").query == {"x": "1"}


def test_query_parameters_are_decoded_and_the_first_of_a_name_counts() -> None:
    request = get(b"/b?uploads&prefix=a%20b+c%2Bd&x=1&x=2&&empty=&%C3%A9=%3D=")
    assert request.query == {"uploads": "", "prefix": "a b c+d", "x": "1", "empty": "", "é": "=="}
    assert list(request.query_items) == [
        ("uploads", ""),
        ("prefix", "a b c+d"),
        ("x", "1"),
        ("x", "2"),
        ("empty", ""),
        ("é", "=="),
    ]
    assert get(b"/b?").query == {}
    assert get(b"/b?a?b=c?d").query == {"a?b": "c?d"}


def test_headers_have_lower_case_names_and_text_values() -> None:
    request = get(
        b"/",
        (b"X-Amz-Meta-A", b" \tpadded\t "),
        (b"x-amz-meta-utf8", "naïve".encode()),
        (b"x-amz-meta-latin", b"na\xefve"),
        (b"If-None-Match", b'"a"'),
        (b"if-none-match", b'"b"'),
    )
    assert request.headers == {
        "x-amz-meta-a": "padded",
        "x-amz-meta-utf8": "naïve",
        "x-amz-meta-latin": "naïve",
        "if-none-match": '"a","b"',
    }


@pytest.mark.parametrize("name", [b"Host", b"Authorization", b"Content-Length"])
def test_a_header_that_readers_could_read_differently_must_not_come_twice(name: bytes) -> None:
    assert code_of(b"/", (name, b"1"), (name.lower(), b"1")) == "BadRequest"


@pytest.mark.parametrize("name", ["abc", "a-b", "a.b", "1ab", "my-bucket.2026", "a" * 63, "1.2.3", "0-0"])
def test_s3_bucket_names_are_allowed(name: str) -> None:
    check_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 64,
        "Abc",
        "a_b",
        "-ab",
        "ab-",
        ".ab",
        "ab.",
        "a..b",
        "a.-b",
        "a-.b",
        "a b",
        "a/b",
        "192.168.5.4",
        "xn--abc",
        "sthree-abc",
        "amzn-s3-demo-bucket",
        "abc-s3alias",
        "abc--ol-s3",
        "abc.mrap",
        "abc--x-s3",
        "abc--table-s3",
        "bücket",
        "abc\n",
        "..",
        ".holdfast",
    ],
)
def test_other_bucket_names_are_refused(name: str) -> None:
    with pytest.raises(S3Error) as caught:
        check_bucket_name(name)
    assert caught.value.code == "InvalidBucketName"
    assert caught.value.fields == {"BucketName": name}


PRINTED = st.binary(max_size=60) | st.lists(
    st.sampled_from(
        [b"/", b"%", b"%2", b"%2F", b"%00", b"%C3%A9", b"%FF", b"?", b"&", b"=", b"+", b"a", b"http://", b"*", b"\xff"]
    )
).map(b"".join)


@settings(deadline=None)
@given(
    method=st.binary(max_size=8),
    target=PRINTED | PRINTED.map(lambda rest: b"/" + rest),
    headers=st.lists(
        st.tuples(st.sampled_from([b"Host", b"x-amz-date", b"\xff"]) | st.binary(max_size=8), PRINTED), max_size=4
    ),
    domain=st.sampled_from(["", "s3.test"]),
)
@example(method=b"GET", target=b"/", headers=[(b"host", b"\xff.s3.test")], domain="s3.test")
def test_any_bytes_are_a_request_or_an_s3_error(
    method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], domain: str
) -> None:
    try:
        request = parse_request(method, target, headers, domain=domain)
    except S3Error as error:
        assert 400 <= error.status < 500
        return
    assert "\0" not in request.key + "".join(map("".join, request.query_items))
    for text in (request.path, request.bucket, request.key, *map("".join, request.query_items)):
        text.encode()
    for name, value in request.headers.items():
        assert name.encode("latin-1").lower().decode("latin-1") == name
        value.encode()
