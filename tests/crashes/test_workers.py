"""Several processes on one data directory: they see each other's commits at once, and a stranger is refused."""

import http.client
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.crashes.load import BUCKET
from tests.crashes.server import Server, serving

_LANES = 4
"""Connections to each worker."""
_DIALS = 400
"""Connections that are tried until each worker has its share: the kernel hands them out as it likes."""
_CONTESTS = 25


class Line:
    """A kept connection to one worker. Which one: a worker's request ids begin alike."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        url = urlsplit(s3.meta.endpoint_url)
        self._connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        self.worker = ""
        self.ask("list_buckets")

    def ask(
        self, operation: str, body: bytes | None = None, headers: dict[str, str] | None = None, **params: str
    ) -> tuple[int, bytes]:
        """Status and body of the answer."""
        url = self._s3.generate_presigned_url(operation, Params=params)
        target = url.removeprefix(self._s3.meta.endpoint_url)
        self._connection.request(_METHODS[operation], target, body, headers or {})
        answer = self._connection.getresponse()
        worker = (answer.getheader("x-amz-request-id") or "")[:8]
        assert self.worker in ("", worker), "a connection stays with its worker"
        self.worker = worker
        return answer.status, answer.read()

    def put(self, key: str, body: bytes, **headers: str) -> int:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("put_object", body, names, Bucket=BUCKET, Key=key)[0]

    def get(self, key: str) -> tuple[int, bytes]:
        return self.ask("get_object", Bucket=BUCKET, Key=key)

    def close(self) -> None:
        self._connection.close()


_METHODS = {
    "list_buckets": "GET",
    "list_objects_v2": "GET",
    "get_object": "GET",
    "put_object": "PUT",
    "delete_object": "DELETE",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("workers"), workers=2) as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture(scope="module")
def lines(server: Server) -> Iterator[tuple[list[Line], list[Line]]]:
    """As many connections to one worker as to the other."""
    s3 = server.client()
    dialled: list[Line] = []
    shares: dict[str, list[Line]] = {}
    try:
        for _ in range(_DIALS):
            line = Line(s3)
            dialled.append(line)
            shares.setdefault(line.worker, []).append(line)
            if len(shares) == 2 and all(len(share) >= _LANES for share in shares.values()):
                break
        one, other = shares.values()
        yield one[:_LANES], other[:_LANES]
    finally:
        for line in dialled:
            line.close()


Lines = tuple[list[Line], list[Line]]


@pytest.mark.parametrize("size_bytes", [100, 100_000])
def test_of_writes_that_want_to_be_first_exactly_one_wins(lines: Lines, size_bytes: int) -> None:
    everyone = [*lines[0], *lines[1]]
    winners: set[str] = set()
    with ThreadPoolExecutor(len(everyone)) as pool:
        for contest in range(_CONTESTS):
            key = f"first-{size_bytes}-{contest}"
            bodies = [random.Random(f"{key}-{number}").randbytes(size_bytes) for number in range(len(everyone))]
            start = Barrier(len(everyone))

            def put(line: Line, body: bytes, key: str = key, start: Barrier = start) -> int:
                start.wait(60)
                return line.put(key, body, If_None_Match="*")

            told = list(pool.map(put, everyone, bodies))
            assert sorted(told) == [200] + [412] * (len(everyone) - 1)
            first = told.index(200)
            winners.add(everyone[first].worker)
            for line in (lines[0][0], lines[1][0]):
                assert line.get(key) == (200, bodies[first])
    assert winners


@pytest.mark.parametrize("turn", [0, 1])
def test_what_one_worker_acknowledged_the_other_sees_at_once(lines: Lines, turn: int) -> None:
    writer, reader = lines[turn][0], lines[1 - turn][0]
    assert writer.worker != reader.worker
    for number in range(30):
        key, body = f"seen-{turn}-{number}", b"%d" % number
        assert writer.put(key, body) == 200
        status, listing = reader.ask("list_objects_v2", Bucket=BUCKET, Prefix=key)
        assert (status, f"<Key>{key}</Key>".encode() in listing) == (200, True)
        assert reader.get(key) == (200, body)
        assert writer.put(key, body * 2) == 200
        assert reader.get(key) == (200, body * 2)
        assert writer.ask("delete_object", Bucket=BUCKET, Key=key)[0] == 204
        assert reader.get(key)[0] == 404
        assert f"<Key>{key}</Key>".encode() not in reader.ask("list_objects_v2", Bucket=BUCKET, Prefix=key)[1]


def test_of_replacements_of_one_version_exactly_one_wins(lines: Lines) -> None:
    everyone = [*lines[0], *lines[1]]
    s3 = lines[0][0]
    assert s3.put("replaced", b"begin") == 200
    etag = '"8d777f385d3dfec8815d20f7496026dc"'  # The MD5 of what was just put is not this: nobody wins.
    assert {line.put("replaced", b"x", If_Match=etag) for line in everyone} == {412}


def test_a_second_server_on_the_same_directory_is_refused_and_the_first_goes_on(server: Server) -> None:
    before = server.log.stat().st_size
    second = server.begin()
    try:
        assert second.wait(60) == 2
    finally:
        second.kill()
    told = server.log.read_bytes()[before:].decode()
    assert f"is being served by process {server.pid}." in told
    assert "Traceback" not in told
    server.client().put_object(Bucket=BUCKET, Key="after", Body=b"still here")
    assert server.client().get_object(Bucket=BUCKET, Key="after")["Body"].read() == b"still here"
    assert len(server.workers()) == 2
