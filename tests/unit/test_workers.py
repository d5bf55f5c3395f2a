"""Real processes: signals, exit codes, and workers that die."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError
from holdfast.serve.workers import listen, supervise

PROGRAM = textwrap.dedent(
    """
    import asyncio, os, sys
    import uvloop
    from holdfast.clock import SystemClock
    from holdfast.serve.http import S3Server
    from holdfast.serve.workers import listen, supervise, until_stopped

    sockets = listen("127.0.0.1", 0)
    def say(text):
        os.write(1, f"{text}\\n".encode())

    say(sockets[0].getsockname()[1])

    async def handler(exchange):
        if exchange.target == b"/slow":
            say("slow")
            await asyncio.sleep(60 if "hang" in sys.argv else 0.3)
        exchange.reply(200, [("Connection-Of", str(os.getpid()))])

    def child(number):
        async def main():
            server = S3Server(handler, clock=SystemClock())
            await server.start(sockets)
            asyncio.get_running_loop().call_soon(say, "ready")  # Said when signals are listened to.
            await until_stopped(lambda: say("reloaded"))
            await server.drain(60)
            return 0
        return uvloop.run(main())

    def failing(number):
        sys.exit(7)

    workers = int(sys.argv[1])
    child = failing if "fail" in sys.argv else child
    sys.exit(supervise(child, workers=workers, sockets=sockets, clock=SystemClock(), tell=say))
    """
)


class Program:
    """The program above, running."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.port = int(self.line())

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ready(self, workers: int) -> None:
        assert [self.line() for _ in range(workers)] == ["ready"] * workers

    def ask(self, target: str = "/") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        sock.sendall(f"GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        return sock

    def listens(self) -> bool:
        """False when nobody accepts connections any more. (The last one to be queued may be reset.)"""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=20).close()
        except ConnectionResetError:
            return True
        except ConnectionRefusedError:
            return False
        return True

    def answer(self, sock: socket.socket) -> int:
        """Process id of the worker that answered."""
        with sock, sock.makefile("rb") as reply:
            head = reply.read().decode()
        assert head.startswith("HTTP/1.1 200"), head
        return int(head.split("Connection-Of: ")[1].split("\r\n")[0])


@contextmanager
def running(*arguments: str) -> Iterator[Program]:
    program = Program(*arguments)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.communicate()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_progress_finish(workers: int, number: signal.Signals) -> None:
    with running(str(workers)) as program:
        program.ready(workers)
        sock = program.ask("/slow")
        assert program.line() == "slow"
        program.process.send_signal(number)
        program.answer(sock)
        assert program.process.wait(20) == 0
        assert not program.listens()


def test_a_signal_to_the_whole_group_counts_once() -> None:
    with running("2") as program:
        program.ready(2)
        sock = program.ask("/slow")
        assert program.line() == "slow"
        os.killpg(program.process.pid, signal.SIGINT)
        program.answer(sock)
        assert program.process.wait(20) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_everything_at_once(workers: int) -> None:
    with running(str(workers), "hang") as program:
        program.ready(workers)
        sock = program.ask("/slow")
        assert program.line() == "slow"
        program.process.send_signal(signal.SIGTERM)
        while program.listens():
            pass
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(20) != 0
        sock.close()


def test_a_dead_worker_is_replaced() -> None:
    with running("2") as program:
        program.ready(2)
        before = program.answer(program.ask())
        os.kill(before, signal.SIGKILL)
        assert program.line().endswith("ended with -9")
        program.ready(1)
        after = {program.answer(program.ask()) for _ in range(20)}
        assert before not in after
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(20) == 0


def test_workers_that_cannot_start_stop_the_server_with_their_exit_code() -> None:
    with running("2", "fail") as program:
        assert program.process.wait(60) == 7


def test_no_worker_outlives_a_parent_that_was_killed() -> None:
    with running("2") as program:
        program.ready(2)
        worker = program.answer(program.ask())
        program.process.kill()
        program.process.wait()
        assert program.process.stdout is not None
        program.process.stdout.read()  # Ends when the last worker has closed its side.
        assert not Path(f"/proc/{worker}/cmdline").exists() or not Path(f"/proc/{worker}/cmdline").read_bytes()
        assert not program.listens()


def test_a_hangup_reloads_every_worker() -> None:
    with running("2") as program:
        program.ready(2)
        program.process.send_signal(signal.SIGHUP)
        assert [program.line(), program.line()] == ["reloaded", "reloaded"]


def test_a_taken_address_and_an_impossible_number_of_workers_are_the_operators_to_mend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="cannot listen"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigError, match="workers"):
        supervise(lambda _: 0, workers=0, sockets=[], clock=SystemClock())
