"""The aws-chunked framing: Amazon's examples, botocore's encoder, any split, damage and garbage."""

import hashlib
import io
import itertools
from collections.abc import Callable, Iterable

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import S3Error
from holdfast.limits import CHUNK_LINE_BYTES, TRAILER_BYTES
from holdfast.signing import chunk_signature, sign_headers, signing_key, trailer_signature
from holdfast.wire.chunked import ChunkDecoder
from holdfast.wire.request import parse_request
from holdfast.wire.sigv4 import Keys, Payload, Signed, authenticate

ACCESS = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
DATE = "20130524T000000Z"
SCOPE = "20130524/us-east-1/s3/aws4_request"
NOW_MS = 1_369_353_600_000
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
CRC = "x-amz-checksum-crc32c"


def signed_as(payload: Payload, seed: str = SEED) -> Signed:
    return Signed(ACCESS, payload, "", seed, signing_key(SECRET, "20130524", "us-east-1"), SCOPE, DATE, False)


SIGNED = signed_as(Payload.STREAM_SIGNED)
SEALED = signed_as(Payload.STREAM_SIGNED_TRAILER)


def plain(chunks: Iterable[bytes], trailers: dict[str, str] | None = None) -> bytes:
    """A body without signatures."""
    lines = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    ends = [f"{name}:{value}\r\n".encode() for name, value in (trailers or {}).items()]
    return b"".join([*lines, b"0\r\n", *ends, b"\r\n"])


def sealed(signed: Signed, chunks: Iterable[bytes], trailers: dict[str, str] | None = None) -> bytes:
    """A body with signed chunks, and signed trailers if there are any."""
    previous = signed.signature
    out = []
    for chunk in [*chunks, b""]:
        digest = hashlib.sha256(chunk).hexdigest()
        previous = chunk_signature(signed.key, signed.amz_date, signed.scope, previous, digest)
        out.append(b"%x;chunk-signature=%b\r\n" % (len(chunk), previous.encode()))
        out.append(chunk + b"\r\n" if chunk else b"")
    if trailers is not None:
        out += [f"{name}:{value}\r\n".encode() for name, value in trailers.items()]
        proof = trailer_signature(signed.key, signed.amz_date, signed.scope, previous, trailers.items())
        out.append(f"x-amz-trailer-signature:{proof}\r\n".encode())
    return b"".join([*out, b"\r\n"])


def decode(decoder: ChunkDecoder, *feeds: bytes) -> bytes:
    pieces = [piece for data in feeds for piece in decoder.feed(data)]
    decoder.end()
    assert decoder.finished
    assert all(pieces)
    return b"".join(pieces)


def code_of(decoder: ChunkDecoder, *feeds: bytes) -> str:
    with pytest.raises(S3Error) as caught:
        decode(decoder, *feeds)
    return caught.value.code


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    marks = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(marks)]


# --- Amazon's examples: "Signature calculations: transferring payload in multiple chunks" and "... trailing headers" ---

LETTERS = [b"a" * 65536, b"a" * 1024]


def example(proofs: list[str], ending: bytes) -> bytes:
    first, second, last = (proof.encode() for proof in proofs)
    return b"10000;chunk-signature=%b\r\n%b\r\n400;chunk-signature=%b\r\n%b\r\n0;chunk-signature=%b\r\n%b" % (
        first,
        LETTERS[0],
        second,
        LETTERS[1],
        last,
        ending,
    )


def test_amazons_example_of_signed_chunks_is_decoded() -> None:
    body = example(
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        b"\r\n",
    )
    assert len(body) == 66824
    headers = {
        "content-encoding": "aws-chunked",
        "content-length": "66824",
        "host": "s3.amazonaws.com",
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-date": DATE,
        "x-amz-decoded-content-length": "66560",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS}/{SCOPE},SignedHeaders={';'.join(headers)},Signature={SEED}"
    )
    request = parse_request(
        b"PUT",
        b"/examplebucket/chunkObject.txt",
        [(name.encode(), value.encode()) for name, value in headers.items()],
    )
    signed = authenticate(request, Keys({ACCESS: SECRET}.get, region="us-east-1"), NOW_MS)
    assert decode(ChunkDecoder(signed, decoded_length=66560), body) == b"a" * 66560


def test_amazons_example_of_signed_trailers_is_decoded() -> None:
    proofs = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ]
    ending = (
        b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
        b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    )
    decoder = ChunkDecoder(
        signed_as(Payload.STREAM_SIGNED_TRAILER, TRAILER_SEED), decoded_length=66560, trailer_names=(CRC,)
    )
    assert decode(decoder, example(proofs, ending)) == b"a" * 66560
    assert decoder.trailers == {CRC: "sOO8/Q=="}


@settings(deadline=None)
@given(body=st.binary(max_size=300), size=st.integers(1, 100))
def test_what_botocore_frames_is_decoded(body: bytes, size: int) -> None:
    wrapped = AwsChunkedWrapper(
        io.BytesIO(body), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32", chunk_size=size
    ).read()
    decoder = ChunkDecoder(
        signed_as(Payload.STREAM_UNSIGNED_TRAILER), decoded_length=len(body), trailer_names=("x-amz-checksum-crc32",)
    )
    assert decode(decoder, wrapped) == body
    crc = Crc32Checksum()
    crc.update(body)
    assert decoder.trailers == {"x-amz-checksum-crc32": crc.b64digest()}


def test_a_stream_goes_on_from_the_signature_of_its_request() -> None:
    sent = sign_headers(
        "PUT",
        "/b/k",
        (),
        {"host": "h"},
        payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        access_key=ACCESS,
        secret_key=SECRET,
        region="us-east-1",
        now_ms=NOW_MS,
    )
    request = parse_request(b"PUT", b"/b/k", [(name.encode(), value.encode()) for name, value in sent.items()])
    signed = authenticate(request, Keys({ACCESS: SECRET}.get, region="us-east-1"), NOW_MS)
    assert decode(ChunkDecoder(signed), sealed(signed, [b"one", b"two"])) == b"onetwo"


# --- any split ---

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
FORMS: list[tuple[Signed | None, bool]] = [
    (None, False),
    (None, True),
    (signed_as(Payload.STREAM_UNSIGNED_TRAILER), True),
    (SIGNED, False),
    (SEALED, True),
]


def framed(signed: Signed | None, chunks: list[bytes], trailed: bool) -> bytes:
    trailers = {CRC: "sOO8/Q=="} if trailed else None
    if signed is SIGNED or signed is SEALED:
        assert signed is not None
        return sealed(signed, chunks, trailers)
    return plain(chunks, trailers)


def decoder_of(signed: Signed | None, chunks: list[bytes], trailed: bool) -> ChunkDecoder:
    return ChunkDecoder(signed, decoded_length=sum(map(len, chunks)), trailer_names=(CRC,) if trailed else ())


@settings(deadline=None)
@given(form=st.sampled_from(FORMS), chunks=CHUNKS, data=st.data())
def test_how_the_input_is_split_never_matters(
    form: tuple[Signed | None, bool], chunks: list[bytes], data: st.DataObject
) -> None:
    signed, trailed = form
    body = framed(signed, chunks, trailed)
    marks = data.draw(st.lists(st.integers(0, len(body)), max_size=10))
    for feeds in ([body], cut(body, marks), [body[at : at + 1] for at in range(len(body))]):
        decoder = decoder_of(signed, chunks, trailed)
        assert decode(decoder, *feeds) == b"".join(chunks)
        assert decoder.trailers == ({CRC: "sOO8/Q=="} if trailed else {})


@settings(deadline=None)
@given(form=st.sampled_from(FORMS), chunks=CHUNKS, data=st.data())
def test_a_body_that_ends_early_is_incomplete(
    form: tuple[Signed | None, bool], chunks: list[bytes], data: st.DataObject
) -> None:
    signed, trailed = form
    body = framed(signed, chunks, trailed)
    short = body[: data.draw(st.integers(0, len(body) - 1))]
    assert code_of(decoder_of(signed, chunks, trailed), short) == "IncompleteBody"


@settings(deadline=None)
@given(form=st.sampled_from([form for form in FORMS if form[0] in (SIGNED, SEALED)]), chunks=CHUNKS, data=st.data())
def test_no_changed_byte_of_a_signed_stream_goes_unnoticed(
    form: tuple[Signed, bool], chunks: list[bytes], data: st.DataObject
) -> None:
    signed, trailed = form
    body = bytearray(framed(signed, chunks, trailed))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    try:
        got = decode(decoder_of(signed, chunks, trailed), bytes(body))
    except S3Error as error:
        assert 400 <= error.status < 500
    else:
        # Only the case of a size or of a trailer's name may change.
        assert got == b"".join(chunks)
        assert bytes(body).lower() == framed(signed, chunks, trailed).lower()


@settings(deadline=None)
@given(
    feeds=st.lists(
        st.binary(max_size=50) | st.sampled_from([b"1", b"0", b"\r\n", b";chunk-signature=", b"a:b", CRC.encode()])
    )
)
def test_garbage_is_an_s3_error(feeds: list[bytes]) -> None:
    for signed in (None, SIGNED, SEALED):
        decoder = ChunkDecoder(signed, decoded_length=7, trailer_names=(CRC,))
        assert code_of(decoder, *feeds) in {
            "InvalidRequest",
            "IncompleteBody",
            "SignatureDoesNotMatch",
            "MalformedTrailerError",
        }


# --- each rule ---


def test_large_chunks_pass_through_without_being_copied() -> None:
    data = b"x" * 100_000
    decoder = ChunkDecoder(None)
    assert decoder.feed(b"%x\r\n" % (2 * len(data))) == []
    pieces = decoder.feed(data)
    assert len(pieces) == 1
    assert pieces[0] is data


def test_pieces_come_before_the_end_of_their_chunk_and_the_error_at_it() -> None:
    body = sealed(SIGNED, [b"good", b"evil"]).replace(b"evil", b"EVIL")
    decoder = ChunkDecoder(SIGNED)
    at = body.index(b"EVIL") + 4
    assert b"".join(decoder.feed(body[:at])) == b"goodEVIL"
    with pytest.raises(S3Error) as caught:
        decoder.feed(b"\r\n")
    assert caught.value.code == "SignatureDoesNotMatch"
    assert not decoder.finished


def test_chunks_cannot_be_left_out_or_exchanged() -> None:
    whole = sealed(SIGNED, [b"aaaa", b"bbbb"])
    start = whole.index(b"4;", 1)
    end = whole.index(b"0;chunk", start)
    first, second, last = whole[:start], whole[start:end], whole[end:]
    for body in (second + first + last, first + last, second + last, last, first + first + second + last):
        assert code_of(ChunkDecoder(SIGNED), body) == "SignatureDoesNotMatch"


def test_an_unsigned_chunk_in_a_signed_stream_is_refused() -> None:
    assert code_of(ChunkDecoder(SIGNED), plain([b"abc"])) == "InvalidRequest"
    assert code_of(ChunkDecoder(SIGNED), b"3;chunk-signature=short\r\nabc\r\n") == "InvalidRequest"


def test_chunk_signatures_in_an_unsigned_stream_are_not_looked_at() -> None:
    body = b"3;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n0;x=y\r\n\r\n"
    assert decode(ChunkDecoder(signed_as(Payload.STREAM_UNSIGNED_TRAILER)), body) == b"abc"


@pytest.mark.parametrize("length", [0, 2, 4, 10**12])
def test_the_decoded_length_must_be_the_declared_one(length: int) -> None:
    assert code_of(ChunkDecoder(None, decoded_length=length), plain([b"abc"])) == "IncompleteBody"
    assert code_of(ChunkDecoder(SIGNED, decoded_length=length), sealed(SIGNED, [b"abc"])) == "IncompleteBody"


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b"+1\r\n",
        b" 1\r\n",
        b"1_0\r\n",
        b"1" * 17 + b"\r\n",
        b"\xd9\xa1\r\n",
        b"1\na",
        b"1\r\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\r\na\r\r\n",
        b"1\r\n\r\n\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
        b"0\r\n\r\n\r\n",
        b"0\r\n\r\nx",
        b"1;" + b"x" * CHUNK_LINE_BYTES,
        b"1" * (CHUNK_LINE_BYTES + 1),
    ],
)
def test_malformed_framing_is_refused(body: bytes) -> None:
    assert code_of(ChunkDecoder(None), body) == "InvalidRequest"
    assert code_of(ChunkDecoder(None), *[body[at : at + 1] for at in range(len(body))]) == "InvalidRequest"


@pytest.mark.parametrize(
    "trailers",
    [
        {},
        {"x-amz-meta-a": "b"},
        {CRC: "a", "x-amz-meta-a": "b"},
        {CRC: "a", CRC.upper(): "a"},
        {"x-amz-trailer-signature": "0" * 64, CRC: "a"},
        {CRC: "é"},
        {CRC: "a\x01"},
        {" " + CRC: "a"},
        {CRC + " ": "a"},
    ],
)
def test_exactly_the_announced_trailers_must_come(trailers: dict[str, str]) -> None:
    decoder = ChunkDecoder(signed_as(Payload.STREAM_UNSIGNED_TRAILER), trailer_names=(CRC,))
    assert code_of(decoder, plain([b"abc"], trailers)) == "MalformedTrailerError"


def test_trailers_that_were_not_announced_are_refused() -> None:
    assert code_of(ChunkDecoder(None), plain([b"abc"], {CRC: "a"})) == "MalformedTrailerError"
    assert code_of(ChunkDecoder(None), b"0\r\nno header\r\n\r\n") == "MalformedTrailerError"


def test_names_of_trailers_have_no_case_and_values_no_padding() -> None:
    decoder = ChunkDecoder(None, trailer_names=(" X-Amz-Checksum-CRC32C",))
    decode(decoder, b"0\r\nX-AMZ-checksum-crc32c: \tsOO8/Q== \r\n\r\n")
    assert decoder.trailers == {CRC: "sOO8/Q=="}


def test_trailers_have_a_limit() -> None:
    names = tuple(f"x-amz-{number}" for number in range(10))
    decoder = ChunkDecoder(None, trailer_names=names)
    body = plain([], dict.fromkeys(names, "a" * (TRAILER_BYTES // 9)))
    assert code_of(decoder, body) == "MalformedTrailerError"
    decode(ChunkDecoder(None, trailer_names=names), plain([], dict.fromkeys(names, "a" * (TRAILER_BYTES // 12))))


def change_value(body: bytes) -> bytes:
    return body.replace(b"sOO8/Q==", b"sOO8/Q=A")


def drop_signature(body: bytes) -> bytes:
    return body[: body.index(b"x-amz-trailer-signature")] + b"\r\n"


def forge_signature(body: bytes) -> bytes:
    return body[: body.index(b"x-amz-trailer-signature")] + b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n\r\n"


@pytest.mark.parametrize("change", [change_value, drop_signature, forge_signature])
def test_trailers_of_a_sealed_stream_are_verified(change: Callable[[bytes], bytes]) -> None:
    body = change(sealed(SEALED, [b"abc"], {CRC: "sOO8/Q=="}))
    assert code_of(ChunkDecoder(SEALED, trailer_names=(CRC,)), body) == "SignatureDoesNotMatch"


def test_a_trailer_signature_comes_once() -> None:
    body = sealed(SEALED, [b"abc"], {})
    line = body[body.index(b"x-amz-trailer") : -2]
    assert decode(ChunkDecoder(SEALED), body) == b"abc"
    assert code_of(ChunkDecoder(SEALED), body[:-2] + line + b"\r\n") == "MalformedTrailerError"


def test_trailers_that_nobody_signed_are_refused_behind_signed_chunks() -> None:
    body = sealed(SIGNED, [b"abc"])[:-2] + f"{CRC}:sOO8/Q==\r\n\r\n".encode()
    assert code_of(ChunkDecoder(SIGNED, trailer_names=(CRC,)), body) == "MalformedTrailerError"
