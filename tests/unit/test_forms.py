"""Upload forms, however their bytes are cut, and what their policies allow."""

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import S3Error
from holdfast.limits import FORM_BYTES
from holdfast.wire.browser.form import form_key, wish_of
from holdfast.wire.browser.multipart import FormParser, boundary_of, is_form
from holdfast.wire.browser.policy import Policy, check_form, read_policy

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="Key"\r\n\r\na/${filename}\r\n'
    b'--b\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=acl; filename="acl"\r\n\r\nprivate\r\n'
    b'--b\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n'
    b'--b \r\nContent-Disposition: form-data; name="file"; filename="C:\\dir\\f\xc3\xbc.txt"\r\n\r\n'
    b"line\r\n--c\r\n--\r\nend\r\n--"
    b'\r\n--b\r\nContent-Disposition: form-data; name="late"\r\n\r\nx\r\n--b--\r\n'
)
CONTENT = b"line\r\n--c\r\n--\r\nend\r\n--"


def parse(pieces: list[bytes]) -> tuple[FormParser, bytes]:
    parser = FormParser(b"b")
    content = b"".join([parser.feed(piece) for piece in pieces])
    parser.end()
    return parser, content


def code(parts: list[bytes]) -> str:
    with pytest.raises(S3Error) as refused:
        parse(parts)
    return refused.value.code


@given(st.lists(st.integers(0, len(FORM))))
def test_a_form_means_the_same_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(FORM)]
    parser, content = parse([FORM[start:end] for start, end in itertools.pairwise(edges)])
    assert content == CONTENT
    assert parser.fields == {"key": "a/${filename}", "acl": "private", "empty": ""}
    assert form_key(parser.fields, parser.filename) == "a/fü.txt"


def test_a_form_comes_byte_by_byte() -> None:
    assert parse([bytes([byte]) for byte in FORM])[1] == CONTENT


@pytest.mark.parametrize("end", range(0, len(FORM) - 70, 7))
def test_a_form_that_breaks_off_is_no_form(end: int) -> None:
    assert code([FORM[:end]]) in ("MalformedPOSTRequest", "InvalidArgument")


def test_what_no_browser_sends_is_refused() -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    assert code([b"--c\r\n"]) == "MalformedPOSTRequest"
    assert code([b"--b\r\nContent-Type: x\r\n\r\n1\r\n--b--\r\n"]) == "MalformedPOSTRequest"
    assert code([head + b"1\r\n" + head + b"2\r\n--b--\r\n"]) == "MalformedPOSTRequest"
    assert code([head + b"1\r\n--b--\r\n"]) == "InvalidArgument"
    assert code([head + b"1\r\n--b--"]) == "InvalidArgument"
    assert code([FORM, b"x" * (FORM_BYTES + 1)]) == "MalformedPOSTRequest"


def test_the_fields_of_a_form_are_bounded_and_its_file_is_not_held() -> None:
    assert code([FORM[:30]] + [b"x" * 1000] * 30) == "MaxPostPreDataLengthExceeded"
    parser = FormParser(b"b")
    parser.feed(FORM[: FORM.index(CONTENT)])
    for _ in range(100):
        assert len(parser.feed(b"\r\n--" * 1000)) > 0
    assert len(parser._buffer) < len(b"\r\n--b")


@pytest.mark.parametrize(
    ("text", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data ; charset=utf-8; boundary="a b"', b"a b"),
        ("multipart/form-data;boundary=abc; charset=x", b"abc"),
    ],
)
def test_the_boundary_is_in_the_content_type(text: str, boundary: bytes) -> None:
    assert is_form(text)
    assert boundary_of(text) == boundary


@pytest.mark.parametrize(
    "text", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=ü"]
)
def test_a_form_without_a_boundary_is_malformed(text: str) -> None:
    assert is_form(text)
    with pytest.raises(S3Error, match="MalformedPOSTRequest"):
        boundary_of(text)


def test_other_types_are_no_forms() -> None:
    assert not any(is_form(text) for text in ("", "text/plain", "multipart/form-data2", "multipart/mixed; boundary=a"))


# --- policies ---


def policy(*conditions: Any, expiration: str = "2026-01-02T03:04:05.678Z") -> Policy:
    return read_policy(
        base64.b64encode(json.dumps({"expiration": expiration, "conditions": conditions}).encode()).decode()
    )


def allows(fields: dict[str, str], *conditions: Any, now_ms: int = 0) -> bool:
    try:
        check_form(policy({"bucket": "b"}, *conditions), fields, bucket="b", now_ms=now_ms)
    except S3Error as refusal:
        assert refusal.code == "AccessDenied"
        return False
    return True


def test_a_policy_is_valid_until_its_expiration() -> None:
    until_ms = 1767323045000
    assert policy().expires_ms == until_ms
    assert allows({}, now_ms=until_ms)
    assert not allows({}, now_ms=until_ms + 1)


def test_each_field_needs_a_condition_that_holds() -> None:
    assert allows({"key": "a/b"}, ["starts-with", "$key", "a/"])
    assert not allows({"key": "b"}, ["starts-with", "$key", "a/"])
    assert allows({"key": "b"}, ["starts-with", "$key", ""])
    assert allows({"key": "b"}, {"key": "b"}, ["eq", "$key", "b"])
    assert not allows({"key": "b"}, {"key": "b"}, ["eq", "$key", "c"])
    assert not allows({"key": "b"})
    assert not allows({}, {"acl": "private"})
    assert allows({"x-ignore-this": "1", "policy": "", "x-amz-signature": "", "signature": "", "awsaccesskeyid": ""})
    assert not allows({"x-amz-credential": "c"})
    assert not allows({"acl": ""}, ["starts-with", "acl", ""], {"acl": ""})
    assert allows({"content-type": "image/png, image/gif"}, ["starts-with", "$Content-Type", "image/"])
    assert not allows({"content-type": "image/png, text/html"}, ["starts-with", "$Content-Type", "image/"])


def test_length_ranges_meet() -> None:
    found = policy(["content-length-range", 1, 10], ["Content-Length-Range", "5", "20"])
    assert (found.least_bytes, found.most_bytes) == (5, 10)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "e30",
        "e30=",
        "bnVsbA==",
        "\u00fc",
        base64.b64encode(b"[" * 12_000).decode(),
        base64.b64encode(b"{").decode(),
    ],
    ids=["empty", "no padding", "{}", "null", "not base64", "deep", "half"],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(S3Error, match="InvalidPolicyDocument"):
        read_policy(text)


@pytest.mark.parametrize(
    "condition",
    [{}, {"a": "1", "b": "2"}, {"a": 1}, ["eq", "$a"], ["is", "$a", "1"], ["eq", "$a", 1], "x", None, [],
     ["content-length-range", 5, 1], ["content-length-range", True, 1], ["content-length-range", "x", 1]],
)  # fmt: skip
def test_a_condition_that_is_none_is_refused(condition: Any) -> None:
    with pytest.raises(S3Error, match="InvalidPolicyDocument"):
        policy(condition)


@pytest.mark.parametrize(
    "expiration", ["2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01", "", "٢٠٢٦-01-01T00:00:00Z"]
)
def test_an_expiration_that_is_none_is_refused(expiration: str) -> None:
    with pytest.raises(S3Error, match="InvalidPolicyDocument"):
        policy(expiration=expiration)


def test_what_a_form_wants_to_be_answered() -> None:
    assert wish_of({}).status == 204
    assert wish_of({"success_action_status": "404"}).status == 204
    assert wish_of({"success_action_redirect": "https://x/y"}).redirect == "https://x/y"
    for text in ("ftp://x", "//x", "javascript:alert(1)", "http://", "http://[", "http://x/\r\nSet-Cookie: a"):
        assert wish_of({"success_action_redirect": text}).redirect == ""
