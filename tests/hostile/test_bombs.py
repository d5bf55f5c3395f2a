"""What is small on the wire and large behind it stays small here: XML that grows, bodies that are packed, connections that only wait."""

import contextlib
import gzip
import os
import resource
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import holdfast
from holdfast.limits import XML_BYTES, XML_DEPTH, XML_NODES
from holdfast.testing.scene import MIB, Scene, code_of, play, signed
from tests.hostile import idle

ROOM_BYTES: Final = 96 * MIB
"""More than a body of XML and its tree may ever take, and far less than any bomb."""
CONNECTION_BYTES: Final = 24 * 1024
"""What a connection that only waits may take, at both of its ends and in the event loop."""
OPERATIONS: Final = {
    "Delete": ("POST", "/bucket", (("delete", ""),)),
    "CompleteMultipartUpload": ("POST", "/bucket/key", (("uploadId", "u"),)),
    "CreateBucketConfiguration": ("PUT", "/bucket", ()),
}


def _entities(count: int, fold: int) -> bytes:
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * fold}">' for n in range(1, count))
    return f'<!DOCTYPE ROOT [<!ENTITY e0 "ha">{lines}]><ROOT>&e{count - 1};</ROOT>'.encode()


BOMBS: Final = {
    "billion laughs": _entities(10, 10),
    "quadratic blow-up": b'<!DOCTYPE ROOT [<!ENTITY e "' + b"x" * 50_000 + b'">]><ROOT>' + b"&e;" * 50_000 + b"</ROOT>",
    "entity that is itself": b'<!DOCTYPE ROOT [<!ENTITY a "&b;"><!ENTITY b "&a;">]><ROOT>&a;</ROOT>',
    "parameter entities": b"<!DOCTYPE ROOT [<!ENTITY % a \"<!ENTITY b 'c'>\">%a;]><ROOT>&b;</ROOT>",
    "entity in an attribute": b'<!DOCTYPE ROOT [<!ENTITY e "x">]><ROOT a="&e;"/>',
    "a file": b'<!DOCTYPE ROOT [<!ENTITY e SYSTEM "file:///etc/passwd">]><ROOT>&e;</ROOT>',
    "a document type elsewhere": b'<!DOCTYPE ROOT SYSTEM "http://127.0.0.1:PORT/evil.dtd"><ROOT/>',
    "an entity elsewhere": b'<!DOCTYPE ROOT [<!ENTITY e SYSTEM "http://127.0.0.1:PORT/">]><ROOT>&e;</ROOT>',
    "a parameter entity elsewhere": b'<!DOCTYPE ROOT [<!ENTITY % e SYSTEM "http://127.0.0.1:PORT/">%e;]><ROOT/>',
    "a public document type": b'<!DOCTYPE ROOT PUBLIC "-//X//Y" "http://127.0.0.1:PORT/"><ROOT/>',
    "a document type alone": b"<!DOCTYPE ROOT><ROOT/>",
    "too deep": b"<ROOT>" * (XML_DEPTH + 1) + b"</ROOT>" * (XML_DEPTH + 1),
    "far too deep": b"<ROOT>" * 50_000,
    "too many": b"<ROOT>" + b"<a/>" * (XML_NODES + 1) + b"</ROOT>",
    "too many attributes": b"<ROOT " + b" ".join(b'a%d=""' % n for n in range(XML_NODES + 1)) + b"/>",
    "an endless attribute": b'<ROOT a="' + b"x" * (XML_BYTES - 100),
    "an endless name": b"<" + b"R" * (XML_BYTES - 100),
    "an endless comment": b"<ROOT><!--" + b"x" * (XML_BYTES - 100),
    "an endless instruction": b"<ROOT><?" + b"x" * (XML_BYTES - 100),
    "an endless section": b"<ROOT><![CDATA[" + b"x" * (XML_BYTES - 100),
    "many namespaces": b"<ROOT " + b" ".join(b'xmlns:a%d="b"' % n for n in range(XML_NODES + 1)) + b"/>",
    "no root": b"  ",
    "another root": b"<Other/>",
    "not UTF-8": b"<ROOT>\xff\xfe</ROOT>",
    "overlong UTF-8": b"<ROOT>\xc0\xbc</ROOT>",
    "surrogates": b"<ROOT>\xed\xa0\x80</ROOT>",
    "UTF-7": b'<?xml version="1.0" encoding="utf-7"?>+ADw-ROOT/+AD4-',
    "UTF-16 that is none": b'<?xml version="1.0" encoding="utf-16"?><ROOT/>',
    "half of UTF-16": b"\xff\xfe<\0R\0O",
    "UTF-32": '<?xml version="1.0"?><ROOT/>'.encode("utf-32"),
    "EBCDIC": '<?xml version="1.0" encoding="cp037"?><ROOT/>'.encode("cp037"),
    "an encoding that packs": b'<?xml version="1.0" encoding="zlib"?><ROOT/>',
    "an encoding that nobody knows": b'<?xml version="1.0" encoding="' + b"x" * 5000 + b'"?><ROOT/>',
    "XML 1.1": b'<?xml version="1.1"?><ROOT>&#1;</ROOT>',
    "NUL": b"<ROOT>\0</ROOT>",
    "NUL as a reference": b"<ROOT>&#0;</ROOT>",
    "two roots": b"<ROOT/><ROOT/>",
    "something behind": b"<ROOT/>x",
    "an attribute twice": b'<ROOT a="" a=""/>',
    "a prefix of nothing": b"<x:ROOT/>",
    "packed": gzip.compress(b"<ROOT/>"),
    "nothing but brackets": b"<" * 100_000,
}


@contextlib.contextmanager
def _nobody_comes() -> Iterator[int]:
    """A port at which nobody may connect."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        yield trap.getsockname()[1]
        with pytest.raises(BlockingIOError):
            trap.accept()


@pytest.mark.parametrize("root", OPERATIONS)
def test_xml_that_grows_is_malformed_before_it_does(root: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    method, path, query = OPERATIONS[root]

    async def scene(it: Scene) -> None:
        for name, bomb in BOMBS.items():
            body = bomb.replace(b"ROOT", root.encode()).replace(b"PORT", b"%d" % port)
            if name in ("no root", "many namespaces") and root.startswith("Create"):
                continue  # Nothing, and an empty element, is what clients may send here.
            answer = await it.client.ask(signed(method, path, body, query=query))
            assert (answer.status, code_of(answer)) == (400, "MalformedXML"), name
            assert b"root:" not in answer.body
        answer = await it.client.ask(signed(method, path, b"<" + b"x" * XML_BYTES, query=query))
        assert code_of(answer) == "MaxMessageLengthExceeded"
        assert not it.store.asked

    with _nobody_comes() as port:
        play(scene)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < ROOM_BYTES


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity", "aws-chunked,gzip", "x" * 1000])
def test_what_is_packed_is_left_as_it_is(coding: str) -> None:
    bomb = zlib.compress(bytes(20 * MIB), 9)

    async def scene(it: Scene) -> None:
        answer = await it.client.ask(signed("PUT", "/bucket/key", bomb, headers={"content-encoding": coding}))
        assert answer.status == 200
        assert it.store.bodies["key"] == bomb
        kept = coding.removeprefix("aws-chunked,")
        assert it.store.asked[-1].facts.system["content-encoding"] == kept
        answer = await it.client.ask(signed("GET", "/bucket/key", headers={"accept-encoding": "gzip, br"}))
        assert answer.body == bomb
        assert "content-encoding" not in answer.headers and "transfer-encoding" not in answer.headers

    play(scene)


@pytest.mark.parametrize(
    "framing",
    [
        b"0\r\n" + b"a" * 5000,
        b"0\r\n" + b"x-amz-checksum-crc32:AAAAAA==\r\n" * 2000,
        b"0\r\n\r\nmore",
        b"0;" + b"x" * 5000,
        b"f" * 17,
    ],
    ids=["name", "lines", "behind", "extension", "size"],
)
def test_trailers_and_lines_of_aws_chunked_end(framing: bytes) -> None:
    headers = {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": "0"}

    async def scene(it: Scene) -> None:
        payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        answer = await it.client.ask(signed("PUT", "/bucket/key", framing, headers=headers, payload=payload))
        assert answer.status == 400
        assert not it.store.bodies

    play(scene)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc, which is not here")
def test_thousands_of_idle_connections_cost_little_and_the_next_client_is_served() -> None:
    """In a process of its own, whose memory nothing else has grown before."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < idle.FILES:
        pytest.skip(f"{idle.FILES} open files are needed, and {hard} are allowed")
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(Path(holdfast.__file__).parents[1]), str(root)])
    command = [sys.executable, "-m", "tests.hostile.idle"]
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    print(f"{done.stdout.strip()} bytes for each of {idle.CONNECTIONS} idle connections")
    assert 0 < int(done.stdout) < CONNECTION_BYTES
