"""How much memory a connection takes that only waits: measured in a process of its own, and printed in bytes.

Half of the connections never say anything, the others half a head. Invariant: clients before and after them are served.
"""

import contextlib
import os
import resource
import socket
from typing import Final

from holdfast.serve.http import Bounds
from holdfast.testing.rawhttp import RawClient, echo, run, serving, until

CONNECTIONS: Final = 2000
FILES: Final = 2 * CONNECTIONS + 200
"""Open files that it takes: both ends are here."""
_STEP: Final = 100


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure() -> int:
    """Bytes per idle connection."""
    async with serving(echo, bounds=Bounds(connections=CONNECTIONS + 10)) as (server, port):
        first = await RawClient.connect(port)
        assert (await first.ask(b"GET /first HTTP/1.1\r\n\r\n")).status == 200
        before = _resident_bytes()
        with contextlib.ExitStack() as stack:
            for count in range(_STEP, CONNECTIONS + 1, _STEP):
                for number in range(_STEP):
                    sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    if number % 2:
                        sock.sendall(b"GET /never HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 500)
                await until(lambda wanted=count: server.connections > wanted)  # type: ignore[misc]
            each = (_resident_bytes() - before) // CONNECTIONS
            last = await RawClient.connect(port)
            assert (await last.ask(b"GET /last HTTP/1.1\r\n\r\n")).headers["x-said"] == "GET /last"
            assert (await first.ask(b"GET /still HTTP/1.1\r\n\r\n")).status == 200
        return each


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    print(run(measure()))
