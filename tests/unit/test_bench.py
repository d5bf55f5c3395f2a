"""The harness of the bench: what it parses, how it computes, and that a wrong reply never becomes a figure."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.asks import Account, Ask
from bench.figures import medians, percentile, rounded, short, spread, table
from bench.load import WrongReply, drive, once, parse_head, unchunk
from bench.machine import filesystem
from bench.process import cpu_s, parse_high_water_mib, parse_stat, tree


def serve(replies: Callable[[bytes], bytes]) -> tuple[str, int]:
    """A server that answers each request, which must come in one piece, with the bytes that `replies` gives; no bytes: it closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(sock: socket.socket) -> None:
        with sock:
            while request := sock.recv(65536):
                reply = replies(request)
                if not reply:
                    return
                for at in range(0, len(reply), 7):
                    sock.sendall(reply[at : at + 7])

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    host, port = listener.getsockname()
    return host, port


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_a_percentile_is_a_value_that_occurred() -> None:
    values = list(range(100, 0, -1))
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7], 0.01) == 7


def test_medians_are_taken_figure_by_figure() -> None:
    rounds = [{"a": 1.0, "b": 10.0}, {"a": 3.0}, {"a": 2.0, "b": 30.0}]
    assert medians(rounds) == {"a": 2.0, "b": 20.0}
    assert spread(rounds, "a") == 1.0
    assert spread(rounds[:1], "a") == 0.0


def test_figures_claim_no_more_than_four_digits() -> None:
    assert rounded({"a": 123456.7, "b": 0.0123456}) == {"a": 123500.0, "b": 0.01235}
    assert (short(None), short(12345.6), short(0.1234)) == ("", "12,346", "0.123")


def test_a_table_is_aligned() -> None:
    assert table(["x", "n"], [["long", "1"], ["y", "100"]]).split("\n") == [
        "x       n",
        "----  ---",
        "long    1",
        "y     100",
    ]


def test_processor_time_is_read_behind_any_process_name() -> None:
    line = "42 (a) b (c) S 7 1 1 0 -1 4194304 9 0 0 0 250 150 99 99 20 0 1 0 5 0 0"
    assert parse_stat(line) == (7, 400 / os.sysconf("SC_CLK_TCK"))


def test_a_tree_has_the_process_and_its_children() -> None:
    assert os.getpid() in tree(os.getpid())
    assert os.getpid() in tree(os.getppid())
    assert cpu_s(os.getpid()) > 0


def test_high_water_is_in_mib() -> None:
    assert parse_high_water_mib("Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\n") == 2.0
    assert parse_high_water_mib("Name:\tkthread\n") == 0.0


def test_the_file_system_is_that_of_the_innermost_mount() -> None:
    mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/real xfs rw 0 0\n"
    assert filesystem(Path("/tmp/real/data"), mounts) == "xfs"
    assert filesystem(Path("/tmp/other"), mounts) == "tmpfs"
    assert filesystem(Path("/tmpfoo"), mounts) == "ext4"


def test_a_head_is_parsed_once_it_is_complete() -> None:
    whole = b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 5\r\n\r\n"
    assert all(parse_head(whole[:count]) is None for count in range(len(whole)))
    assert parse_head(whole + b"abcde") == (200, len(whole), 5)
    assert parse_head(b"HTTP/1.1 204 No Content\r\n\r\n") == (204, 27, 0)
    assert parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") == (200, 47, None)
    for wrong in (b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"):
        with pytest.raises(WrongReply):
            parse_head(wrong)


def test_a_chunked_body_is_complete_only_at_its_end() -> None:
    whole = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"
    assert unchunk(whole) == b"abc0123456789"
    assert all(unchunk(whole[:count]) is None for count in range(len(whole)))


def test_every_request_is_sent_and_every_reply_counted() -> None:
    address = serve(lambda request: ok(request[:5]))
    sources = [iter([Ask(b"%05d" % (100 * lane + number), 200, size=5, content=b"%05d" % (100 * lane + number)) for number in range(20)]) for lane in range(4)]  # fmt: skip
    load = drive(address, sources)
    assert (load.replies, len(load.latencies_ns), load.received) == (80, 80, 400)


def test_a_large_body_is_sent_whole_and_a_large_reply_counted() -> None:
    size = 1024 * 1024
    waiting = bytearray()
    got = threading.Event()

    def replies(request: bytes) -> bytes:
        waiting.extend(request)
        if len(waiting) < 4 + size:
            return b""
        got.set()
        return ok(bytes(size))

    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        sock, _ = listener.accept()
        with sock:
            while not (reply := replies(sock.recv(65536))):
                pass
            sock.sendall(reply)

    threading.Thread(target=talk, daemon=True).start()
    load = drive(listener.getsockname(), [iter([Ask(b"head", 200, body=memoryview(bytes(size)), size=size)])])
    assert got.is_set()
    assert load.received == size


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
        ok(b"four"),
        ok(b"other"),
        ok(b"right") + b"more",
        b"",
    ],
)
def test_a_wrong_reply_ends_the_run(reply: bytes) -> None:
    with pytest.raises((WrongReply, ConnectionResetError)):
        once(serve(lambda request: reply), Ask(b"x", 200, size=5, content=b"right"))


def test_a_reply_to_head_has_a_length_and_no_body() -> None:
    address = serve(lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n")
    assert once(address, Ask(b"HEAD", 200, size=4096, silent=True)) == b""


def test_requests_are_signed_like_those_of_an_sdk() -> None:
    account = Account(("127.0.0.1", 9000), "AK", "secret")
    lines = account.put("/bucket/a b", b"body", "0" * 64).head.split(b"\r\n")
    assert lines[0] == b"PUT /bucket/a%20b HTTP/1.1"
    assert b"content-length: 4" in lines
    assert lines[-2:] == [b"", b"body"]
    (authorization,) = (line for line in lines if line.startswith(b"authorization: "))
    assert b"SignedHeaders=host;x-amz-content-sha256;x-amz-date," in authorization
    assert b"X-Amz-Signature=" in account.get_presigned("/bucket/key", b"").head.split(b"\r\n")[0]
