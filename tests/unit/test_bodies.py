"""Bodies through the gateway: plain, in signed or unsigned chunks, and XML."""

import hashlib

import pytest

from holdfast.limits import XML_BYTES
from holdfast.model import Algorithm, Checksum
from holdfast.testing.rawhttp import RawClient
from holdfast.testing.scene import KIB, Scene, code_of, play, signed, signed_stream


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "transfer-encoding"])
def test_an_unsigned_stream_with_a_trailer_is_decoded(chunked: bool) -> None:
    async def scene(it: Scene) -> None:
        body = bytes(range(256)) * 1000
        framed = b"%x\r\n" % len(body) + body + b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
        headers = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(body)),
            "x-amz-trailer": "x-amz-checksum-crc32",
        }
        request = signed(
            "PUT", "/bucket/key", headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", length=False
        )
        if chunked:
            request = request[:-2] + b"transfer-encoding: chunked\r\n\r\n"
            for at in range(0, len(framed), 10_000):
                piece = framed[at : at + 10_000]
                request += b"%x\r\n" % len(piece) + piece + b"\r\n"
            request += b"0\r\n\r\n"
        else:
            request = request[:-2] + b"content-length: %d\r\n\r\n" % len(framed) + framed
        assert (await it.client.ask(request)).status == 200
        assert it.store.bodies["key"] == body
        assert it.store.trailers == [Checksum(Algorithm.CRC32, "AAAAAA==")]
        assert it.store.asked[0].facts.system == {}

    play(scene)


def test_a_signed_stream_is_verified_chunk_by_chunk() -> None:
    async def scene(it: Scene) -> None:
        body = bytes(range(250)) * 1000
        assert (await it.client.ask(signed_stream(body, 64 * KIB))).status == 200
        assert it.store.bodies.pop("key") == body
        answer = await it.client.ask(signed_stream(body, 64 * KIB, spoil=True))
        assert (answer.status, code_of(answer)) == (403, "SignatureDoesNotMatch")
        assert not it.store.bodies

    play(scene)


def test_a_digest_in_capitals_is_a_digest_too() -> None:
    async def scene(it: Scene) -> None:
        digest = hashlib.sha256(b"abc").hexdigest()
        assert (await it.client.ask(signed("PUT", "/bucket/key", b"abc", payload=digest.upper()))).status == 200
        assert it.store.asked[0].expected.sha256 == digest

    play(scene)


def test_a_stream_that_ends_early_leaves_nothing() -> None:
    async def scene(it: Scene) -> None:
        request = signed(
            "PUT",
            "/bucket/key",
            b"3\r\nabc\r\n",
            headers={"x-amz-decoded-content-length": "10"},
            payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        )
        answer = await it.client.ask(request)
        assert (answer.status, code_of(answer)) == (400, "IncompleteBody")
        await it.client.send(signed("PUT", "/bucket/key", b"abcdef")[:-3])
        it.client.finish()
        answer = await it.client.answer()
        assert (answer.status, code_of(answer)) == (400, "IncompleteBody")
        assert not it.store.bodies

    play(scene)


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "\u0663"])
def test_a_decoded_length_that_is_no_number_is_refused(length: str) -> None:
    async def scene(it: Scene) -> None:
        request = signed(
            "PUT",
            "/bucket/key",
            b"0\r\n\r\n",
            headers={"x-amz-decoded-content-length": length},
            payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        )
        answer = await it.client.ask(request)
        assert (answer.status, code_of(answer)) == (400, "InvalidArgument")

    play(scene)


DELETE = b"<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>"


def test_an_xml_body_is_read_verified_and_bounded() -> None:
    async def scene(it: Scene) -> None:
        answer = await it.client.ask(signed("POST", "/bucket", DELETE, query=(("delete", ""),)))
        assert answer.status == 200
        assert [ask.key for ask in it.store.asked[0].asks] == ["a", "b"]
        for body, payload, headers, code in (
            (DELETE, "0" * 64, {}, "XAmzContentSHA256Mismatch"),
            (DELETE, None, {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}, "BadDigest"),
            (DELETE, None, {"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
            (b"<Delete>", None, {}, "MalformedXML"),
            (b" " * (XML_BYTES + 1), None, {}, "MaxMessageLengthExceeded"),
        ):
            client = await RawClient.connect(it.port)
            answer = await client.ask(
                signed("POST", "/bucket", body, query=(("delete", ""),), headers=headers, payload=payload)
            )
            assert (answer.status, code_of(answer)) == (400, code)
        assert len(it.store.asked) == 1

    play(scene)


def test_an_xml_body_of_unknown_length_is_bounded_too() -> None:
    async def scene(it: Scene) -> None:
        head = signed("POST", "/bucket", query=(("delete", ""),), payload="UNSIGNED-PAYLOAD", length=False)
        body = b"%x\r\n" % (XML_BYTES + 1) + b" " * (XML_BYTES + 1) + b"\r\n0\r\n\r\n"
        answer = await it.client.ask(head[:-2] + b"transfer-encoding: chunked\r\n\r\n" + body)
        assert code_of(answer) == "MaxMessageLengthExceeded"

    play(scene)
