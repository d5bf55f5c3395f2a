"""Whatever is sent to the HTTP listener, it answers with a 4xx or closes, stays bounded, and goes on serving others."""

import asyncio

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.serve.exchange import ClientGone, Exchange
from holdfast.serve.http import Bounds
from holdfast.testing.rawhttp import RawClient, StillClock, echo, run, serving, talk, until

KIB = 1024
MIB = 1024 * KIB

MALFORMED = {
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/0.9": b"GET /\r\n\r\n",
    "unknown version": b"GET / HTTP/1.7\r\n\r\n",
    "unknown method": b"FETCH / HTTP/1.1\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\n\r\n",
    "control character in the target": b"GET /\x01 HTTP/1.1\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "bare line feed in the head": b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
    "bare carriage return": b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "blank before the colon": b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
    "header without a name": b"GET / HTTP/1.1\r\n: b\r\n\r\n",
    "length and chunks": b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "list of lengths": b"PUT / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nabcde",
    "negative length": b"PUT / HTTP/1.1\r\nContent-Length: -5\r\n\r\nabcde",
    "signed length": b"PUT / HTTP/1.1\r\nContent-Length: +5\r\n\r\nabcde",
    "hexadecimal length": b"PUT / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\nabcde",
    "empty length": b"PUT / HTTP/1.1\r\nContent-Length:\r\n\r\nabcde",
    "endless length": b"PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nabcde",
    "unknown coding": b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "chunked twice": b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings": b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "hidden coding": b"PUT / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks in http/1.0": b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "upgrade with a body": b"PUT / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nabcde",
    "chunk size that is no number": b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk size with a blank": b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3 ;a\r\nabc\r\n0\r\n\r\n",
    "endless chunk size": b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "chunk longer than its size": b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "chunk ended by a line feed": b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("step", [0, 1], ids=["at once", "byte by byte"])
def test_a_malformed_request_is_refused_and_ends_the_connection(request_bytes: bytes, step: int) -> None:
    async def conversation(client: RawClient) -> None:
        if step:
            for at in range(len(request_bytes)):
                client.writer.write(request_bytes[at : at + 1])
                await asyncio.sleep(0)
        else:
            await client.send(request_bytes + b"GET /smuggled HTTP/1.1\r\n\r\n")
        answer = await client.answer()
        assert 400 <= answer.status < 500 or answer.headers["x-code"] == "NotImplemented"
        assert answer.headers["connection"] == "close"
        client.finish()
        assert await client.rest() == b""

    talk(conversation)


def test_what_came_before_a_malformed_request_is_answered_first() -> None:
    async def conversation(client: RawClient) -> None:
        await client.send(b"GET /good HTTP/1.1\r\n\r\nBAD\r\n\r\n")
        assert (await client.answer()).headers["x-said"] == "GET /good"
        assert (await client.answer()).status == 400

    talk(conversation)


def test_what_follows_a_request_that_closes_is_never_served() -> None:
    async def conversation(client: RawClient) -> None:
        await client.send(b"GET /1 HTTP/1.1\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
        assert (await client.answer()).headers["connection"] == "close"
        client.finish()
        assert await client.rest() == b""

    talk(conversation)


def test_an_upgrade_is_not_followed() -> None:
    async def conversation(client: RawClient) -> None:
        await client.send(b"GET /1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
        answer = await client.answer()
        assert (answer.headers["x-said"], answer.headers["connection"]) == ("GET /1", "close")
        client.finish()
        assert await client.rest() == b""

    talk(conversation)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 17 * KIB + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"b" * 33 * KIB + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"b" * 33 * KIB + b": a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 201 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 300 + b"\r\n") * 150 + b"\r\n",
    ],
    ids=["target", "value", "name", "count", "sum"],
)
def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async def conversation(client: RawClient) -> None:
        answer = await client.ask(head)
        assert (answer.status, answer.headers["x-code"]) == (400, "RequestHeaderSectionTooLarge")

    talk(conversation)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /", b"a" * KIB),
        (b"GET / HTTP/1.1\r\nA: ", b"b" * KIB),
        (b"GET / HTTP/1.1\r\n", b"A" * KIB),
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 200),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * KIB),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;", b"a" * KIB),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"a" * KIB + b"\r\nx\r\n"),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"b" * KIB),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n" * 200),
    ],
    ids=["target", "value", "name", "headers", "zeros", "extension", "extensions", "trailer", "trailers"],
)
def test_what_never_ends_is_refused_before_it_is_large(start: bytes, more: bytes) -> None:
    async def conversation(client: RawClient) -> None:
        reply = asyncio.ensure_future(client.answer())
        client.writer.write(start)
        sent = 0
        while not reply.done() and sent < MIB:
            await client.send(more)
            sent += len(more)
            await asyncio.sleep(0.0005)
        assert 400 <= (await reply).status < 500

    talk(conversation)


def test_a_body_in_the_smallest_chunks_is_accepted() -> None:
    async def conversation(client: RawClient) -> None:
        answer = await client.ask(
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50000 + b"0\r\n\r\n"
        )
        assert answer.body == b"x" * 50000

    talk(conversation)


def test_bytes_that_precede_no_request_do_not_keep_a_connection_open() -> None:
    async def main() -> None:
        clock = StillClock()
        async with serving(echo, clock=clock) as (_, port):
            client = await RawClient.connect(port)
            await client.send(b"\r\n" * 1000)
            clock.at_s += Bounds().idle_timeout_s + 1
            assert await client.rest() == b""

    run(main())


_pieces = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"PUT /a?b HTTP/1.1\r\n",
        b"HEAD",
        b" ",
        b"\r\n",
        b"\n",
        b"\r",
        b":",
        b"Content-Length: ",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: x\r\n",
        b"Expect: 100-continue\r\n",
        b"0\r\n\r\n",
        b"5\r\nabcde\r\n",
        b"abcde",
        b"HTTP/1.0\r\n",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    garbage=st.lists(st.one_of(_pieces, _pieces, st.binary(max_size=20)), max_size=15).map(b"".join),
    cut=st.integers(0, 200),
    abrupt=st.booleans(),
)
@example(garbage=b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nGET / HTTP/1.1\r\n", cut=0, abrupt=False)
def test_garbage_gets_4xx_or_nothing_and_the_next_client_is_served(garbage: bytes, cut: int, abrupt: bool) -> None:
    troubles: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        async with serving(echo) as (server, port):
            client = await RawClient.connect(port)
            await client.send(garbage[:cut])
            await asyncio.sleep(0)
            if garbage[cut:]:
                client.writer.write(garbage[cut:])
            if abrupt:
                client.leave()
            else:
                client.finish()
                for line in (await client.rest()).split(b"\r\n"):
                    if line.startswith(b"HTTP/1.1 "):
                        assert line[9:10] in b"124" or line.startswith(b"HTTP/1.1 501")
            after = await RawClient.connect(port)
            assert (await after.ask(b"GET /after HTTP/1.1\r\n\r\n")).headers["x-said"] == "GET /after"
            after.leave()
            await until(lambda: server.connections == server.requests == 0)

    run(main())
    assert not troubles


def test_more_pipelined_requests_than_allowed_end_the_connection_after_those_allowed() -> None:
    async def conversation(client: RawClient) -> None:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(50)))
        answers = [await client.answer() for _ in range(5)]
        assert [answer.headers["x-said"] for answer in answers] == [f"GET /{number}" for number in range(5)]
        assert answers[-1].headers["connection"] == "close"
        client.finish()
        assert await client.rest() == b""

    talk(conversation, bounds=Bounds(pipeline=4))


def test_a_client_that_asks_and_never_reads_does_not_pile_up_replies() -> None:
    async def main() -> None:
        served = 0

        async def handler(exchange: Exchange) -> None:
            nonlocal served
            served += 1
            exchange.reply(200, [], bytes(256 * KIB))

        async with serving(handler) as (_, port):
            client = await RawClient.connect(port, buffer_bytes=64 * KIB)
            for _ in range(300):
                client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
                await asyncio.sleep(0.001)
            assert 0 < served < 60

    run(main())


def test_requests_beyond_the_limit_are_faults_and_later_ones_are_served() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def handler(exchange: Exchange) -> None:
            if exchange.fault is None:
                await go_on.wait()
            await echo(exchange)

        async with serving(handler, bounds=Bounds(requests=1)) as (server, port):
            first, second = await RawClient.connect(port), await RawClient.connect(port)
            await first.send(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: bool(server.requests))
            answer = await second.ask(b"GET / HTTP/1.1\r\n\r\n")
            assert (answer.status, answer.headers["x-code"]) == (503, "SlowDown")
            go_on.set()
            assert (await first.answer()).status == 200
            assert (await second.ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200

    run(main())


def test_connections_beyond_the_limit_are_told_so_and_those_far_beyond_are_cut() -> None:
    async def main() -> None:
        async with serving(echo, bounds=Bounds(connections=1, surplus=1)) as (server, port):
            first = await RawClient.connect(port)
            assert (await first.ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200
            second = await RawClient.connect(port)
            answer = await second.ask(b"GET / HTTP/1.1\r\n\r\n")
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            third = await RawClient.connect(port)
            fourth = await RawClient.connect(port)
            assert await fourth.rest() == b""
            for client in (first, second, third):
                client.leave()
            await until(lambda: not server.connections)
            assert (await (await RawClient.connect(port)).ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200

    run(main())


def test_a_slow_head_is_answered_with_a_timeout() -> None:
    async def main() -> None:
        clock = StillClock()
        async with serving(echo, clock=clock) as (_, port):
            client = await RawClient.connect(port)
            assert (await client.ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200
            await client.send(b"GET / HT")
            await asyncio.sleep(0.02)
            clock.at_s += Bounds().header_timeout_s + 1
            answer = await client.answer()
            assert (answer.headers["x-code"], answer.headers["connection"]) == ("RequestTimeout", "close")

    run(main())


def test_an_idle_connection_is_closed() -> None:
    async def main() -> None:
        clock = StillClock()
        async with serving(echo, clock=clock) as (_, port):
            fresh, used = await RawClient.connect(port), await RawClient.connect(port)
            assert (await used.ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200
            clock.at_s += Bounds().idle_timeout_s + 1
            assert await fresh.rest() == await used.rest() == b""

    run(main())


def test_an_upload_below_the_floor_is_a_timeout_and_one_above_is_not() -> None:
    async def main(sent: int, expected: int) -> None:
        clock = StillClock()
        async with serving(echo, clock=clock) as (server, port):
            client = await RawClient.connect(port)
            await client.send(b"PUT / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n")
            await until(lambda: bool(server.requests))
            await _sweeps(server.now_s)
            await client.send(bytes(sent))
            await _sweeps(server.now_s)
            clock.at_s += Bounds().floor_s
            await _sweeps(server.now_s)
            client.writer.write(bytes(200000 - sent))
            assert (await client.answer()).status == expected

    async def _sweeps(_: float) -> None:
        await asyncio.sleep(0.03)

    run(main(100, 400))
    run(main(100_000, 200))


def test_a_download_that_nobody_reads_is_cut() -> None:
    async def main() -> None:
        clock = StillClock()
        gone = asyncio.Event()

        async def handler(exchange: Exchange) -> None:
            exchange.start(200, [], 100 * MIB)
            try:
                for _ in range(100):
                    await exchange.send(bytes(MIB))
            except ClientGone:
                gone.set()

        async with serving(handler, clock=clock) as (_, port):
            client = await RawClient.connect(port, buffer_bytes=64 * KIB)
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await client.head()
            for _ in range(1000):
                clock.at_s += Bounds().floor_s
                await asyncio.sleep(0.01)
                if gone.is_set():
                    return
            pytest.fail("the download was never cut")

    run(main())
