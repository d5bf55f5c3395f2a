"""Whatever a client signs and sends, the gateway answers with a reply that is not a 500, and goes on."""

import asyncio

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.errors import CODES
from holdfast.testing.rawhttp import RawClient
from holdfast.testing.scene import Scene, code_of, play, signed

_NAMES = st.sampled_from(
    [
        "x-amz-checksum-crc32",
        "x-amz-trailer",
        "x-amz-decoded-content-length",
        "x-amz-copy-source",
        "x-amz-meta-a",
        "x-amz-storage-class",
        "x-amz-sdk-checksum-algorithm",
        "content-md5",
        "content-encoding",
        "if-match",
        "if-none-match",
        "range",
        "expires",
        "te",
    ]
)
_VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "*", "bytes=0-", "bytes=5-1", "aws-chunked", "x-amz-checksum-crc32", "AAAAAA==", "/b/k"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=30),
)
_PAYLOADS = st.sampled_from(
    [
        None,
        "UNSIGNED-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "0" * 64,
        "nonsense",
    ]
)
_CHUNKS = st.sampled_from(
    [
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"\r\n",
        b"x-amz-checksum-crc32:AAAAAA==\r\n",
        b"x-amz-checksum-crc32:\xff\r\n",
        b"3;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n",
        b"0;chunk-signature=" + b"0" * 64 + b"\r\n",
        b"fffffffffffffff\r\n",
        b"<Delete><Object><Key>a</Key></Object></Delete>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><Delete>&b;</Delete>',
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
    ]
)
_BODIES = st.lists(st.one_of(_CHUNKS, st.binary(max_size=30)), max_size=6).map(b"".join)
_QUERIES = st.lists(
    st.tuples(
        st.sampled_from(["delete", "uploads", "uploadId", "partNumber", "list-type", "max-keys", "versionId", "x"]),
        st.sampled_from(["", "0", "1", "-1", "99999999999", "a"]),
    ),
    max_size=3,
).map(tuple)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    path=st.one_of(
        st.sampled_from(["/", "/bucket", "/bucket/key", "//"]), st.text(max_size=20).map("/bucket/".__add__)
    ),
    query=_QUERIES,
    headers=st.dictionaries(_NAMES, _VALUES, max_size=4),
    payload=_PAYLOADS,
    body=_BODIES,
)
@example(
    method="PUT",
    path="/bucket/key",
    query=(),
    headers={"x-amz-trailer": "x-amz-checksum-crc32"},
    payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    body=b"0\r\nx-amz-checksum-crc32:\xff\r\n\r\n",
)
def test_no_signed_request_is_an_internal_error(
    method: str,
    path: str,
    query: tuple[tuple[str, str], ...],
    headers: dict[str, str],
    payload: str | None,
    body: bytes,
) -> None:
    async def scene(it: Scene) -> None:
        try:
            request = signed(method, path, body, query=query, headers=headers, payload=payload)
        except UnicodeEncodeError:
            return
        await it.client.send(request)
        it.client.finish()
        answer = await it.client.answer(bodiless=method == "HEAD")
        assert answer.status != 500, it.ended.detail
        assert answer.status in {200, 204, 304, 501} or 400 <= answer.status < 500
        if (method, path) == ("POST", "/"):
            assert answer.status in (400, 403), "it is for temporary credentials, which answer in a form of their own"
            assert answer.headers["content-type"] == "text/xml"
        elif answer.status >= 400 and method != "HEAD":
            assert CODES[code_of(answer)].status == answer.status
        assert len(it.told) == 1
        after = await RawClient.connect(it.port)
        assert (await after.ask(signed("GET", "/"))).status == 200

    play(scene)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 600), wait=st.booleans())
def test_an_upload_cut_anywhere_leaves_nothing_behind(cut: int, wait: bool) -> None:
    async def scene(it: Scene) -> None:
        request = signed("PUT", "/bucket/key", b"x" * 200)
        await it.client.send(request[: min(cut, len(request) - 1)])
        if wait:
            await asyncio.sleep(0)
        it.client.finish()
        await it.client.rest()
        assert not it.store.bodies

    play(scene)
