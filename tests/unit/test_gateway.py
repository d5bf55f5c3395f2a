"""One S3 request from parse to reply, over real sockets, with a store of a few lines behind it."""

import asyncio
import errno
import hashlib
import re
from collections.abc import AsyncIterator, Callable

import pytest

from holdfast.crew import CrewFull
from holdfast.errors import QuorumMissed, Refused, S3Error, Unavailable
from holdfast.errors import Reason as Why
from holdfast.serve.http import Bounds
from holdfast.serve.methods import METHODS
from holdfast.signing import (
    presign,
)
from holdfast.store.store import Store
from holdfast.testing.rawhttp import Answer, RawClient, until
from holdfast.testing.scene import (
    ACCESS,
    KIB,
    MIB,
    NOW_MS,
    REGION,
    SECRET,
    Scene,
    code_of,
    head_of,
    play,
    signed,
)
from holdfast.wire.operations import OPERATIONS


def test_every_operation_that_is_implemented_has_a_method_of_the_store() -> None:
    assert all(callable(getattr(Store, name)) for name in METHODS.values())
    kinds = {row.parse.__annotations__["return"] for row in OPERATIONS if row.parse is not None}
    assert kinds == set(METHODS)


def test_a_signed_request_is_answered_with_ids_date_and_one_event() -> None:
    async def scene(it: Scene) -> None:
        answers = [await it.client.ask(signed("GET", "/")) for _ in range(3)]
        assert all(answer.status == 200 and b"<Name>photos</Name>" in answer.body for answer in answers)
        identifiers = {answer.headers["x-amz-request-id"] for answer in answers}
        assert len(identifiers) == 3
        assert all(re.fullmatch("[0-9A-F]{16}", identifier) for identifier in identifiers)
        assert len({answer.headers["x-amz-id-2"] for answer in answers}) == 1
        assert answers[0].headers["server"] == "Holdfast"
        assert "date" in answers[0].headers
        assert len(it.told) == 3
        event = it.ended
        assert (event.operation, event.method, event.path, event.status) == ("ListBuckets", "GET", "/", 200)
        assert (event.access_key, event.client, event.code) == (ACCESS, "127.0.0.1", "")
        assert event.request_id == answers[2].headers["x-amz-request-id"]
        assert event.sent_bytes == len(answers[2].body)

    play(scene)


@pytest.mark.parametrize("key", ["a", "dir/", "a b+c%d/../ü//", "x" * 1024])
def test_what_is_put_is_got(key: str) -> None:
    async def scene(it: Scene) -> None:
        body = bytes(range(256)) * 300
        answer = await it.client.ask(signed("PUT", f"/bucket/{key}", body))
        assert (answer.status, answer.headers["content-length"]) == (200, "0")
        assert it.store.asked[0].expected.sha256 == hashlib.sha256(body).hexdigest()
        assert (it.ended.bucket, it.ended.key, it.ended.received_bytes) == ("bucket", key, len(body))
        answer = await it.client.ask(signed("GET", f"/bucket/{key}"))
        assert answer.body == body
        answer = await it.client.ask(signed("HEAD", f"/bucket/{key}"))
        assert answer.headers["content-length"] == str(len(body))
        assert (await it.client.ask(signed("GET", "/"))).status == 200

    play(scene)


def test_a_presigned_request_needs_no_header() -> None:
    async def scene(it: Scene) -> None:
        for method, body in (("PUT", b"abc"), ("GET", b"")):
            query = presign(
                method,
                "/bucket/key",
                (),
                {"host": "x"},
                expires_s=60,
                access_key=ACCESS,
                secret_key=SECRET,
                region=REGION,
                now_ms=NOW_MS,
            )
            length = {"content-length": str(len(body))} if body else {}
            answer = await it.client.ask(head_of(method, f"/bucket/key?{query}", {"host": "x", **length}) + body)
            assert answer.status == 200
        assert answer.body == b"abc"

    play(scene)


def test_who_is_not_known_or_signs_wrongly_is_refused_and_nothing_runs() -> None:
    async def scene(it: Scene) -> None:
        answer = await it.client.ask(signed("PUT", "/bucket/key", b"abc", secret="wrong"))
        assert (answer.status, code_of(answer)) == (403, "SignatureDoesNotMatch")
        answer = await it.client.ask(signed("PUT", "/bucket/key", b"abc").replace(ACCESS.encode(), b"SOMEBODY"))
        assert (answer.status, code_of(answer)) == (403, "InvalidAccessKeyId")
        answer = await it.client.ask(b"GET /bucket/key HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, code_of(answer)) == (403, "AccessDenied")
        assert not it.store.asked
        assert (it.ended.status, it.ended.code, it.ended.access_key) == (403, "AccessDenied", "")

    play(scene)


def test_errors_of_the_store_are_answers_and_head_has_no_body() -> None:
    async def scene(it: Scene) -> None:
        answer = await it.client.ask(signed("GET", "/bucket/absent"))
        assert (answer.status, code_of(answer)) == (404, "NoSuchKey")
        assert b"<Key>absent</Key>" in answer.body
        assert b"<Resource>/bucket/absent</Resource>" in answer.body
        answer = await it.client.ask(signed("HEAD", "/bucket/absent"))
        assert answer.status == 404
        assert it.ended.code == "NoSuchKey"
        assert (await it.client.ask(signed("GET", "/"))).status == 200

    play(scene)


def test_what_is_not_implemented_says_so() -> None:
    async def scene(it: Scene) -> None:
        answer = await it.client.ask(signed("GET", "/bucket", query=(("metadataTable", ""),)))
        assert (answer.status, code_of(answer)) == (501, "NotImplemented")

    play(scene)


def test_a_body_without_a_length_is_refused_where_a_body_belongs() -> None:
    async def scene(it: Scene) -> None:
        answer = await it.client.ask(signed("PUT", "/bucket/key", length=False))
        assert (answer.status, code_of(answer)) == (411, "MissingContentLength")
        answer = await it.client.ask(signed("PUT", "/bucket", length=False))
        assert answer.status == 200

    play(scene)


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (Unavailable("a", "get", "connection refused"), "ServiceUnavailable"),
        (Refused("a", "get", "no", reason=Why.DENIED), "ServiceUnavailable"),
        (QuorumMissed(2, {"a": "silent", "b": "held"}), "ServiceUnavailable"),
        (CrewFull("spool: 9 operations wait already"), "SlowDown"),
        (OSError(errno.ENOSPC, "No space left on device"), "SlowDown"),
        (ExceptionGroup("tasks", [Unavailable("a", "get", "connection refused")]), "ServiceUnavailable"),
    ],
)
def test_what_could_not_be_asked_or_kept_is_503_and_the_client_is_told_when_to_come_again(
    trouble: Exception, code: str
) -> None:
    async def scene(it: Scene) -> None:
        async def hook() -> None:
            raise trouble

        it.store.hook = hook
        answer = await it.client.ask(signed("GET", "/bucket/key"))
        assert (answer.status, code_of(answer)) == (503, code)
        assert int(answer.headers["retry-after"]) > 0
        assert (it.ended.status, it.ended.code) == (503, code)
        assert it.ended.detail

    play(scene)


def test_what_nobody_foresaw_is_500_with_its_trace_in_the_event_only() -> None:
    async def scene(it: Scene) -> None:
        async def hook() -> None:
            raise LookupError("a very private matter")

        it.store.hook = hook
        answer = await it.client.ask(signed("GET", "/bucket/key"))
        assert (answer.status, code_of(answer)) == (500, "InternalError")
        assert b"private" not in answer.body
        assert "LookupError: a very private matter" in it.ended.detail
        assert "in hook" in it.ended.detail

    play(scene)


def _pieces(count: int, closed: list[bool], trouble: Exception | None = None) -> Callable[[], AsyncIterator[bytes]]:
    async def stream() -> AsyncIterator[bytes]:
        try:
            for number in range(count):
                yield bytes([number % 256]) * 100 * KIB
            if trouble is not None:
                raise trouble
        finally:
            closed.append(True)

    return stream


def test_a_stream_is_sent_whole_and_closed() -> None:
    async def scene(it: Scene) -> None:
        closed: list[bool] = []
        it.store.pieces, it.store.stream_size = _pieces(300, closed), 300 * 100 * KIB
        answer = await it.client.ask(signed("GET", "/bucket/key"))
        assert answer.body == b"".join(bytes([number % 256]) * 100 * KIB for number in range(300))
        assert closed == [True]
        answer = await it.client.ask(signed("HEAD", "/bucket/key"))
        assert answer.headers["content-length"] == str(300 * 100 * KIB)
        it.store.pieces, it.store.stream_size = _pieces(0, closed), 0
        assert (await it.client.ask(signed("GET", "/bucket/key"))).body == b""

    play(scene)


def test_a_stream_that_fails_at_once_is_an_ordinary_error() -> None:
    async def scene(it: Scene) -> None:
        closed: list[bool] = []
        it.store.pieces, it.store.stream_size = _pieces(0, closed, S3Error("ServiceUnavailable")), MIB
        answer = await it.client.ask(signed("GET", "/bucket/key"))
        assert (answer.status, code_of(answer)) == (503, "ServiceUnavailable")
        assert closed == [True]

    play(scene)


@pytest.mark.parametrize("trouble", [S3Error("ServiceUnavailable"), None], ids=["fails", "stops"])
def test_a_stream_that_breaks_off_breaks_the_connection(trouble: Exception | None) -> None:
    async def scene(it: Scene) -> None:
        closed: list[bool] = []
        it.store.pieces, it.store.stream_size = _pieces(3, closed, trouble), MIB
        await it.client.send(signed("GET", "/bucket/key"))
        assert len((await it.client.rest()).partition(b"\r\n\r\n")[2]) < MIB
        assert closed == [True]
        assert it.ended.code == ("ServiceUnavailable" if trouble else "InternalError")
        assert it.ended.status >= 500

    play(scene)


def test_a_client_that_leaves_is_told_as_499_and_the_stream_is_closed() -> None:
    async def scene(it: Scene) -> None:
        closed: list[bool] = []
        it.store.pieces, it.store.stream_size = _pieces(1000, closed), 1000 * 100 * KIB
        client = await RawClient.connect(it.port, buffer_bytes=64 * KIB)
        await client.send(signed("GET", "/bucket/key"))
        await client.head()
        client.leave()
        await until(lambda: bool(it.told))
        assert (it.ended.status, closed) == (499, [True])
        assert it.ended.sent_bytes < it.store.stream_size

    play(scene)


def test_a_stop_that_does_not_wait_cancels_and_tells() -> None:
    async def scene(it: Scene) -> None:
        it.store.hook = asyncio.Event().wait  # type: ignore[assignment]
        await it.client.send(signed("GET", "/bucket/key"))
        await until(lambda: bool(it.store.asked))
        assert not await it.server.drain(0)
        assert (it.ended.status, it.ended.detail) == (503, "the server stopped")

    play(scene)


def test_a_malformed_request_gets_an_s3_error_and_an_event() -> None:
    async def scene(it: Scene) -> None:
        answer = await it.client.ask(b"GET /a\x01b HTTP/1.1\r\n\r\n")
        assert (answer.status, code_of(answer), answer.headers["connection"]) == (400, "BadRequest", "close")
        assert (it.ended.status, it.ended.code) == (400, "BadRequest")

    play(scene)


@pytest.mark.parametrize("target", ["*", "//", "/%zz", "/%ff", "/b/%00", "http://", "x", "/b/" + "k" * 1025, "/?%"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"])
def test_a_target_or_method_that_makes_no_sense_is_a_client_error(method: str, target: str) -> None:
    async def scene(it: Scene) -> None:
        answer = await it.client.ask(head_of(method, target, {"host": "x", "content-length": "0"}))
        assert 400 <= answer.status < 500 or answer.status == 501
        assert code_of(answer)

    play(scene)


def test_too_many_requests_are_told_to_slow_down() -> None:
    async def scene(it: Scene) -> None:
        answer = await it.client.ask(signed("GET", "/"))
        assert (answer.status, code_of(answer)) == (503, "SlowDown")
        assert int(answer.headers["retry-after"]) > 0

    play(scene, Bounds(requests=0))


def copying(**headers: str) -> bytes:
    return signed("PUT", "/bucket/copy", headers={"x-amz-copy-source": "/bucket/key", **headers})


def test_a_client_that_waits_long_for_a_copy_is_kept_waiting_and_then_told() -> None:
    async def scene(it: Scene) -> None:
        enough = asyncio.Event()
        it.store.bodies["key"] = b"abc"
        it.store.hook = enough.wait  # type: ignore[assignment]
        await it.client.send(copying())
        status, headers = await it.client.head()
        assert (status, headers["content-type"], headers["transfer-encoding"]) == (200, "application/xml", "chunked")
        pieces = it.client.chunks()
        assert (await anext(pieces)).startswith(b"<?xml")
        assert [await anext(pieces) for _ in range(3)] == [b" "] * 3
        enough.set()
        rest = b"".join([piece async for piece in pieces])
        assert rest.lstrip(b" ").startswith(b"<CopyObjectResult") and rest.endswith(b"</CopyObjectResult>")
        assert it.store.bodies["copy"] == b"abc"
        assert (it.ended.status, it.ended.code) == (200, "")
        it.store.hook = None
        assert (await it.client.ask(signed("GET", "/bucket/copy"))).body == b"abc"  # The connection goes on.

    play(scene, patience_s=0.01)


def test_what_fails_after_the_wait_began_is_an_error_in_the_body_and_in_the_log() -> None:
    async def scene(it: Scene) -> None:
        begun = asyncio.Event()

        async def fail() -> None:
            await begun.wait()
            raise S3Error("PreconditionFailed", fields={"Condition": "If-Match"})

        it.store.hook = fail
        await it.client.send(copying())
        status, headers = await it.client.head()
        assert status == 200
        begun.set()
        body = b"".join([piece async for piece in it.client.chunks()])
        assert body.startswith(b"<?xml") and body.count(b"<?xml") == 1
        assert code_of(Answer(status, headers, body)) == "PreconditionFailed"
        assert (it.ended.status, it.ended.code) == (412, "PreconditionFailed")
        it.store.hook = None
        assert (await it.client.ask(signed("GET", "/"))).status == 200

    play(scene, patience_s=0.01)


def test_a_copy_goes_on_when_its_client_leaves_while_it_waits() -> None:
    async def scene(it: Scene) -> None:
        enough = asyncio.Event()
        it.store.bodies["key"] = b"abc"
        it.store.hook = enough.wait  # type: ignore[assignment]
        await it.client.send(copying())
        await it.client.head()
        it.client.leave()
        enough.set()
        await until(lambda: len(it.told) == 1)
        assert it.store.bodies["copy"] == b"abc"
        assert it.ended.operation == "CopyObject"

    play(scene, patience_s=0.01)


def test_an_error_that_comes_soon_keeps_its_status_and_a_client_of_http_1_0_simply_waits() -> None:
    async def scene(it: Scene) -> None:
        it.store.bodies["key"] = b"abc"

        async def fail() -> None:
            raise S3Error("PreconditionFailed")

        it.store.hook = fail
        answer = await it.client.ask(copying())
        assert (answer.status, code_of(answer)) == (412, "PreconditionFailed")

        async def linger() -> None:
            await asyncio.sleep(0.05)

        it.store.hook = linger
        answer = await it.client.ask(copying().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert answer.status == 200 and answer.body.count(b" ") < 10
        assert "transfer-encoding" not in answer.headers

    play(scene, patience_s=0.01)
