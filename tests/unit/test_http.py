"""The HTTP listener keeps what RFC 9112 and its own docstrings promise."""

import asyncio

import pytest

from holdfast.errors import S3Error
from holdfast.serve.exchange import ClientGone, Exchange
from holdfast.serve.http import Bounds
from holdfast.testing.rawhttp import RawClient, StillClock, echo, run, serving, talk, until

KIB = 1024
MIB = 1024 * KIB


async def ignore(exchange: Exchange) -> None:
    """Refuse without looking at the body."""
    exchange.reply(403, [("x-code", "AccessDenied")], b"denied")


def test_a_request_is_answered_and_the_connection_kept() -> None:
    async def conversation(client: RawClient) -> None:
        for target in ("/a", "/b%20c?d=e"):
            answer = await client.ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (answer.status, answer.headers["x-said"]) == (200, f"GET {target}")
            assert answer.headers["server"] == "Holdfast"
            assert answer.headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
            assert "connection" not in answer.headers

    talk(conversation)


def test_headers_arrive_in_order_with_lower_case_names_and_without_surrounding_blanks() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handler(exchange: Exchange) -> None:
        seen.extend(exchange.headers)
        exchange.reply(200, [])

    async def conversation(client: RawClient) -> None:
        await client.ask(b"GET / HTTP/1.1\r\nX-B: \t 1  \r\nx-a:\r\nX-B: caf\xc3\xa9 \xe9\r\n\r\n")

    talk(conversation, handler)
    assert seen == [(b"x-b", b"1"), (b"x-a", b""), (b"x-b", b"caf\xc3\xa9 \xe9")]


def test_a_request_that_comes_byte_by_byte_is_understood() -> None:
    async def conversation(client: RawClient) -> None:
        request = b"PUT /key HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;e=f\r\nde\r\n0\r\nT: u\r\n\r\n"
        for at in range(len(request)):
            await client.send(request[at : at + 1])
            await asyncio.sleep(0)
        answer = await client.answer()
        assert (answer.headers["x-said"], answer.body) == ("PUT /key", b"abcde")

    talk(conversation)


def test_a_body_of_any_size_arrives_whole() -> None:
    async def conversation(client: RawClient) -> None:
        for size in (0, 1, 4096, 3 * MIB):
            body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            answer = await client.ask(b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + body)
            assert answer.body == body

    talk(conversation)


def test_a_body_that_is_not_read_stops_the_client() -> None:
    async def main() -> None:
        go_on = asyncio.Event()
        most = 0

        async def handler(exchange: Exchange) -> None:
            nonlocal most
            await go_on.wait()
            most = exchange.buffered
            while await exchange.read():
                pass
            exchange.reply(200, [])

        bounds = Bounds(body_buffer_bytes=64 * KIB)
        async with serving(handler, bounds=bounds) as (_, port):
            client = await RawClient.connect(port)
            client.writer.write(b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (32 * MIB) + bytes(32 * MIB))
            waiting = client.writer.transport.get_write_buffer_size()
            while waiting != (waiting := await _later(client)):
                pass
            assert waiting > 16 * MIB
            go_on.set()
            assert (await client.answer()).status == 200
            assert 64 * KIB < most <= 64 * KIB + 256 * KIB  # one read of the loop may come on top

    async def _later(client: RawClient) -> int:
        await asyncio.sleep(0.02)
        return client.writer.transport.get_write_buffer_size()

    run(main())


def test_100_continue_is_said_for_an_empty_body_too_else_the_connection_ends() -> None:
    head = b"PUT / HTTP/1.1\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n"

    async def conversation(client: RawClient) -> None:
        await client.send(head)
        assert (await client.head())[0] == 100
        assert (await client.answer()).status == 200
        assert (await client.ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200

    async def refused(client: RawClient) -> None:
        answer = await client.ask(head)
        assert (answer.status, answer.headers["connection"]) == (403, "close")

    talk(conversation)
    talk(refused, ignore)


def test_100_continue_is_said_only_when_the_body_is_wanted() -> None:
    async def conversation(client: RawClient) -> None:
        await client.send(b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.head())[0] == 100
        answer = await client.ask(b"abc")
        assert (answer.status, answer.body) == (200, b"abc")
        answer = await client.ask(b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
        assert (answer.status, answer.body) == (200, b"abc")

    async def refused(client: RawClient) -> None:
        answer = await client.ask(b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (answer.status, answer.headers["connection"]) == (403, "close")
        assert await client.rest() == b""

    talk(conversation)
    talk(refused, ignore)


def test_http_1_0_is_answered_and_closed_unless_it_asks_to_be_kept() -> None:
    async def conversation(client: RawClient) -> None:
        answer = await client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert answer.headers["connection"] == "keep-alive"
        await client.send(b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        await asyncio.sleep(0.01)  # Time to say 100, which such a client does not understand.
        answer = await client.ask(b"x")
        assert (answer.headers["connection"], answer.body) == ("close", b"x")
        assert await client.rest() == b""

    talk(conversation)


def test_connection_close_is_obeyed() -> None:
    async def conversation(client: RawClient) -> None:
        answer = await client.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""

    talk(conversation)


def test_head_204_and_304_have_no_body() -> None:
    async def handler(exchange: Exchange) -> None:
        status = int(exchange.target[1:])
        exchange.reply(status, [], b"a body")

    async def conversation(client: RawClient) -> None:
        answer = await client.ask(b"HEAD /200 HTTP/1.1\r\n\r\n")
        assert answer.headers["content-length"] == "6"
        for status in (204, 304):
            answer = await client.ask(b"GET /%d HTTP/1.1\r\n\r\n" % status)
            assert answer.status == status
            assert "content-length" not in answer.headers
        assert (await client.ask(b"GET /200 HTTP/1.1\r\n\r\n")).body == b"a body"

    talk(conversation, handler)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def handler(exchange: Exchange) -> None:
        for _ in range(10 - int(exchange.target[1:])):
            await asyncio.sleep(0)
        exchange.reply(200, [("x-said", exchange.target.decode())])

    async def conversation(client: RawClient) -> None:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(10)))
        for number in range(10):
            assert (await client.answer()).headers["x-said"] == f"/{number}"

    talk(conversation, handler)


def test_a_half_closed_client_gets_all_its_answers() -> None:
    async def conversation(client: RawClient) -> None:
        await client.send(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
        client.finish()
        assert (await client.answer()).headers["x-said"] == "GET /1"
        assert (await client.answer()).headers["x-said"] == "GET /2"
        assert await client.rest() == b""

    talk(conversation)


def test_a_streamed_reply_arrives_whole_and_waits_for_a_slow_client() -> None:
    async def main() -> None:
        piece = bytes(1 * MIB)
        ahead = 0

        async def handler(exchange: Exchange) -> None:
            nonlocal ahead
            exchange.start(200, [], 40 * MIB)
            for _ in range(40):
                await exchange.send(piece)
                ahead = exchange.sent

        async with serving(handler) as (_, port):
            client = await RawClient.connect(port, buffer_bytes=64 * KIB)
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            _, headers = await client.head()
            before = -1
            while ahead != before:
                before = ahead
                await asyncio.sleep(0.02)
            assert ahead < 20 * MIB
            received = 0
            while received < int(headers["content-length"]):
                received += len(await client.reader.read(MIB))
            assert received == 40 * MIB

    run(main())


def test_a_reply_that_stops_short_cuts_the_connection() -> None:
    async def short(exchange: Exchange) -> None:
        exchange.start(200, [], 10)
        await exchange.send(b"12345")

    async def silent(exchange: Exchange) -> None:
        pass

    async def broken(exchange: Exchange) -> None:
        exchange.start(200, [], 10)
        await exchange.send(b"12345")
        exchange.break_off()

    async def conversation(client: RawClient) -> None:
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert len((await client.rest()).partition(b"\r\n\r\n")[2]) < 10

    for handler in (short, silent, broken):
        talk(conversation, handler)


def test_a_client_that_leaves_during_an_upload_is_an_incomplete_body() -> None:
    async def main(abort: bool) -> None:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def handler(exchange: Exchange) -> None:
            try:
                while await exchange.read():
                    pass
            except S3Error as error:
                told.set_result(error.code)
                exchange.reply(error.status, [])

        async with serving(handler) as (server, port):
            client = await RawClient.connect(port)
            await client.send(b"PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
            await until(lambda: bool(server.requests))
            if abort:
                client.leave()
            else:
                client.finish()
                assert (await client.answer()).status == 400
            assert await asyncio.wait_for(told, 5) == "IncompleteBody"

    run(main(abort=True))
    run(main(abort=False))


def test_a_client_that_leaves_during_a_download_is_told_to_the_handler() -> None:
    async def main() -> None:
        gone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def handler(exchange: Exchange) -> None:
            exchange.start(200, [], 100 * MIB)
            try:
                for _ in range(100):
                    await exchange.send(bytes(MIB))
            except ClientGone:
                gone.set_result(exchange.gone)

        async with serving(handler) as (_, port):
            client = await RawClient.connect(port, buffer_bytes=64 * KIB)
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await client.head()
            client.leave()
            assert await asyncio.wait_for(gone, 5)

    run(main())


def test_a_small_unread_body_is_dropped_and_the_connection_kept() -> None:
    async def conversation(client: RawClient) -> None:
        await client.send(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\n12")
        assert (await client.answer()).status == 403
        answer = await client.ask(b"345GET / HTTP/1.1\r\n\r\n")
        assert "connection" not in answer.headers

    talk(conversation, ignore)


@pytest.mark.parametrize("framing", [b"Content-Length: 8388608", b"Transfer-Encoding: chunked"])
def test_a_large_unread_body_does_not_cost_the_client_its_answer(framing: bytes) -> None:
    async def conversation(client: RawClient) -> None:
        body = b"%x\r\n" % (8 * MIB) + bytes(8 * MIB)
        await client.send(b"PUT / HTTP/1.1\r\n" + framing + b"\r\n\r\n" + body)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"], answer.body) == (403, "close", b"denied")
        assert await client.rest() == b""

    talk(conversation, ignore)


def test_a_stop_closes_idle_connections_and_finishes_requests_in_progress() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def handler(exchange: Exchange) -> None:
            await go_on.wait()
            exchange.reply(200, [], b"done")

        async with serving(handler) as (server, port):
            idle, busy = await RawClient.connect(port), await RawClient.connect(port)
            await busy.send(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: server.connections == 2 and server.requests == 1)
            stopping = asyncio.ensure_future(server.drain(10))
            assert await idle.rest() == b""
            with pytest.raises(OSError):
                await RawClient.connect(port)
            go_on.set()
            answer = await busy.answer()
            assert (answer.body, answer.headers["connection"]) == (b"done", "close")
            assert await stopping
            assert server.connections == server.requests == 0

    run(main())


def test_a_stop_cancels_what_does_not_end_in_time() -> None:
    async def main() -> None:
        cancelled = asyncio.Event()

        async def handler(exchange: Exchange) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with serving(handler) as (server, port):
            stays, leaves = await RawClient.connect(port), await RawClient.connect(port)
            await stays.send(b"GET / HTTP/1.1\r\n\r\n")
            await leaves.send(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: server.requests == 2)
            leaves.leave()
            assert not await server.drain(0.01)
            assert cancelled.is_set()
            assert server.connections == server.requests == 0

    run(main())


@pytest.mark.parametrize(
    ("header", "seen"),
    [
        (("x-a", "b\r\nSet-Cookie: c"), ("x-a", "b  Set-Cookie: c")),
        (("x-a", "b\nSet-Cookie: c"), ("x-a", "b Set-Cookie: c")),
        (("x-a", "b\rSet-Cookie: c"), ("x-a", "b Set-Cookie: c")),
        (("x-a", "b\0"), ("x-a", "b ")),
        (("x-\na", "b"), ("x- a", "b")),
    ],
)
def test_a_header_cannot_end_its_line(header: tuple[str, str], seen: tuple[str, str]) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.reply(200, [header, ("x-last", "z")], b"body")

    async def conversation(client: RawClient) -> None:
        answer = await client.ask(b"GET / HTTP/1.1\r\n\r\n")
        assert set(answer.headers) == {"server", "date", "content-length", seen[0], "x-last"}
        assert (answer.headers[seen[0]], answer.headers["x-last"]) == (seen[1], "z")
        assert answer.body == b"body"

    talk(conversation, handler)


def test_the_date_is_that_of_the_reply_and_not_of_the_last_sweep() -> None:
    async def main() -> None:
        clock = StillClock()
        async with serving(echo, clock=clock, bounds=Bounds(sweep_s=60)) as (_, port):
            client = await RawClient.connect(port)
            for second in ("20", "21"):
                answer = await client.ask(b"GET / HTTP/1.1\r\n\r\n")
                assert answer.headers["date"] == f"Tue, 14 Nov 2023 22:13:{second} GMT"
                clock.at_s += 1

    run(main())
