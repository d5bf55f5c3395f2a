"""No bytes on a connection have two readings: what one reader might take for a second request is refused with the first.

Every case is a request that some proxy or server in front might frame in another way, followed by one that would be smuggled in. It is
answered with an error and nothing behind it is served; or it is a body that every reader frames alike, and then all of it is a body.
"""

import asyncio
from typing import Final

import pytest

from holdfast.testing.rawhttp import RawClient, run, serving, talk
from holdfast.testing.rawhttp import echo as answer_what_was_asked
from holdfast.testing.scene import Scene, play

SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked"


def _put(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((b"PUT /k HTTP/1.1", b"Host: x", *lines, b"", body))


LENGTHS: Final = {
    name: _put(b"Content-Length: " + value, body=b"abcde")
    for name, value in {
        "two in one": b"5 5",
        "two with a semicolon": b"5;5",
        "list": b"5,5",
        "differing list": b"5, 6",
        "plus": b"+5",
        "minus zero": b"-0",
        "decimal": b"5.0",
        "exponent": b"5e0",
        "underscore": b"0_5",
        "quotes": b'"5"',
        "octal": b"0o5",
        "blank inside": b"0 5",
        "letters": b"five",
        "vertical tab": b"5\x0b",
        "form feed": b"\x0c5",
        "NUL": b"5\0",
        "no-break space": b"5\xa0",
        "full-width digit": "５".encode(),
        "arabic digit": "٥".encode(),
        "superscript": "⁵".encode(),
        "beyond 64 bits": b"18446744073709551621",
        "folded": b"\r\n 5",
        "bare carriage return": b"5\r",
    }.items()
}
CODINGS: Final = {
    name: _put(line, b"Content-Length: 3", body=b"0\r\n\r\n")
    for name, line in {
        "chunked": CHUNKED,
        "in capitals": b"TRANSFER-ENCODING: CHUNKED",
        "tab in front": b"Transfer-Encoding:\tchunked",
        "tab behind": b"Transfer-Encoding: chunked\t",
        "vertical tab": b"Transfer-Encoding:\x0bchunked",
        "vertical tab behind": b"Transfer-Encoding: chunked\x0b",
        "form feed behind": b"Transfer-Encoding: chunked\x0c",
        "NUL behind": b"Transfer-Encoding: chunked\0",
        "no-break space": b"Transfer-Encoding: \xa0chunked",
        "blank before the colon": b"Transfer-Encoding : chunked",
        "tab before the colon": b"Transfer-Encoding\t: chunked",
        "blank before the name": b" Transfer-Encoding: chunked",
        "line feed in front": b"X: y\nTransfer-Encoding: chunked",
        "carriage return in front": b"X: y\rTransfer-Encoding: chunked",
        "line feed in the name": b"Transfer-Encoding\n: chunked",
        "folded": b"Transfer-Encoding:\r\n chunked",
        "quoted": b'Transfer-Encoding: "chunked"',
        "identity": b"Transfer-Encoding: identity",
        "then identity": b"Transfer-Encoding: chunked, identity",
        "identity first": b"Transfer-Encoding: identity, chunked",
        "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "twice, one hidden": b"Transfer-Encoding: chunked\r\nTransfer-encoding: x",
        "hidden first": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "empty": b"Transfer-Encoding:",
        "comma": b"Transfer-Encoding: ,chunked",
        "parameter": b"Transfer-Encoding: chunked;q=1",
        "cow": b"Transfer-Encoding: cow",
        "prefix": b"Transfer-Encoding: xchunked",
        "suffix": b"Transfer-Encoding: chunkedx",
    }.items()
}
TWICE: Final = {
    "alike": _put(b"Content-Length: 5", b"Content-Length: 5", body=b"abcde"),
    "shorter first": _put(b"Content-Length: 0", b"Content-Length: 5", body=b"abcde"),
    "longer first": _put(b"Content-Length: 5", b"Content-Length: 0", body=b"abcde"),
    "other case": _put(b"Content-Length: 5", b"content-length: 6", body=b"abcde"),
    "one in a trailer": _put(CHUNKED, body=b"0\r\nContent-Length: 5\r\n\r\nabcde"),
}
CHUNKS: Final = {
    name: _put(CHUNKED, body=framing)
    for name, framing in {
        "sign": b"+3\r\nabc\r\n0\r\n\r\n",
        "minus": b"-3\r\nabc\r\n0\r\n\r\n",
        "prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
        "blank in front": b" 3\r\nabc\r\n0\r\n\r\n",
        "blank behind": b"3 \r\nabc\r\n0\r\n\r\n",
        "tab behind": b"3\t\r\nabc\r\n0\r\n\r\n",
        "underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
        "no size": b"\r\nabc\r\n0\r\n\r\n",
        "extension without a size": b";a\r\nabc\r\n0\r\n\r\n",
        "beyond 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        "far beyond": b"f" * 40 + b"\r\nabc\r\n0\r\n\r\n",
        "line feed after the size": b"3\nabc\r\n0\r\n\r\n",
        "carriage return after the size": b"3\rabc\r\n0\r\n\r\n",
        "line feed after the data": b"3\r\nabc\n0\r\n\r\n",
        "nothing after the data": b"3\r\nabc0\r\n\r\n",
        "two more after the data": b"3\r\nabcXX0\r\n\r\n",
        "line feed in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        "carriage return in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        "NUL in an extension": b"3;a\0b\r\nabc\r\n0\r\n\r\n",
        "line feed at the end": b"3\r\nabc\r\n0\n\n",
        "line feed in a trailer": b"0\r\nA: b\nC: d\r\n\r\n",
        "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
        "coding in a trailer, no colon": b"0\r\nTransfer-Encoding\r\n\r\n",
        "NUL in a trailer": b"0\r\nA: \0\r\n\r\n",
    }.items()
}
HEADS: Final = {
    "bare line feeds": b"GET /a HTTP/1.1\nHost: x\n\n",
    "line feed, then CR LF": b"GET /a HTTP/1.1\r\nHost: x\n\r\n",
    "bare carriage returns": b"GET /a HTTP/1.1\rHost: x\r\r",
    "blank line of blanks": b"GET /a HTTP/1.1\r\nHost: x\r\n \r\n",
    "folded first header": b"GET /a HTTP/1.1\r\n Host: x\r\n\r\n",
    "folded header": b"GET /a HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n",
    "no colon": b"GET /a HTTP/1.1\r\nHost x\r\n\r\n",
    "no name": b"GET /a HTTP/1.1\r\n: x\r\n\r\n",
    "NUL in a name": b"GET /a HTTP/1.1\r\nHo\0st: x\r\n\r\n",
    "NUL in a value": b"GET /a HTTP/1.1\r\nHost: x\0\r\n\r\n",
    "NUL in the target": b"GET /a\0b HTTP/1.1\r\n\r\n",
    "NUL in the method": b"G\0ET /a HTTP/1.1\r\n\r\n",
    "quoted name": b'GET /a HTTP/1.1\r\n"Host": x\r\n\r\n',
    "name in brackets": b"GET /a HTTP/1.1\r\n(Host): x\r\n\r\n",
    "carriage return in the target": b"GET /a\rb HTTP/1.1\r\n\r\n",
    "two targets": b"GET /a /b HTTP/1.1\r\n\r\n",
    "no version": b"GET /a\r\n\r\n",
    "version 0.9": b"GET /a HTTP/0.9\r\n\r\n",
    "version 1.10": b"GET /a HTTP/1.10\r\n\r\n",
    "version 01.1": b"GET /a HTTP/01.1\r\n\r\n",
    "version 2": b"GET /a HTTP/2.0\r\n\r\n",
    "version in lower case": b"GET /a http/1.1\r\n\r\n",
    "other protocol": b"GET /a ICY/1.1\r\n\r\n",
    "upgrade with a body": b"PUT /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    "chunks in HTTP/1.0": b"PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
GROUPS: Final = {"length": LENGTHS, "coding": CODINGS, "twice": TWICE, "chunk": CHUNKS, "head": HEADS}
REFUSED: Final = {f"{group}: {name}": data for group, cases in GROUPS.items() for name, data in cases.items()}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("size", [0, 1], ids=["at once", "byte by byte"])
def test_what_has_two_readings_is_refused_and_nothing_behind_it_is_served(data: bytes, size: int) -> None:
    async def conversation(client: RawClient) -> None:
        sent = data + SMUGGLED
        for at in range(0, len(sent), size or len(sent)):
            client.writer.write(sent[at : at + (size or len(sent))])
            await asyncio.sleep(0)
        client.finish()
        said = await client.rest()
        assert said.count(b"HTTP/1.1 ") == 1, said
        assert said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), said
        assert b"connection: close" in said.lower()
        assert b"/smuggled" not in said

    talk(conversation)


BODIES: Final = {
    "a length": (_put(b"Content-Length: 35", body=SMUGGLED), SMUGGLED),
    "zeros in front of a length": (_put(b"Content-Length: 0000000035", body=SMUGGLED), SMUGGLED),
    "blanks around a length": (_put(b"Content-Length: \t 35 \t", body=SMUGGLED), SMUGGLED),
    "chunks": (_put(CHUNKED, body=b"23\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"), SMUGGLED),
    "zeros in front of a size": (_put(CHUNKED, body=b"00000023\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"), SMUGGLED),
    "an extension that looks like a chunk": (_put(CHUNKED, body=b'3;a="0"\r\nabc\r\n0;b\r\n\r\n'), b"abc"),
    "a trailer that looks like a header": (_put(CHUNKED, body=b"3\r\nabc\r\n0\r\nX-Length: 99\r\n\r\n"), b"abc"),
    "a name that is nearly one": (
        _put(b"Content_Length: 99", b"Transfer_Encoding: chunked", b"Content-Length: 3", body=b"abc"),
        b"abc",
    ),
    "a body where none belongs": (b"GET /k HTTP/1.1\r\nContent-Length: 35\r\n\r\n" + SMUGGLED, SMUGGLED),
}


@pytest.mark.parametrize(("data", "body"), BODIES.values(), ids=BODIES.keys())
def test_what_looks_like_a_request_in_a_body_is_a_body(data: bytes, body: bytes) -> None:
    async def conversation(client: RawClient) -> None:
        await client.send(data + b"GET /next HTTP/1.1\r\n\r\n")
        assert (await client.answer()).body == body
        assert (await client.answer()).headers["x-said"] == "GET /next"

    talk(conversation)


def test_a_tunnel_is_not_opened() -> None:
    async def scene(it: Scene) -> None:
        await it.client.send(b"CONNECT inside.example:22 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED)
        it.client.finish()
        said = await it.client.rest()
        assert said.startswith(b"HTTP/1.1 400") and said.count(b"HTTP/1.1 ") == 1
        assert not it.store.asked

    play(scene)


@pytest.mark.parametrize("announced", [4, 6, 1 << 40])
def test_a_body_of_another_length_is_never_taken_for_a_whole(announced: int) -> None:
    """Shorter than announced: an error. Longer: what is over is no request, so it is refused as one."""

    async def main() -> None:
        async with serving(answer_what_was_asked) as (_, port):
            client = await RawClient.connect(port)
            client.writer.write(_put(b"Content-Length: %d" % announced, body=b"abcde"))
            client.finish()
            said = await client.rest()
            if announced < 5:
                assert said.startswith(b"HTTP/1.1 200") and said.count(b"HTTP/1.1 ") == 2 and b"HTTP/1.1 400" in said
            else:
                assert said.startswith(b"HTTP/1.1 400") and b"IncompleteBody" in said

    run(main())
