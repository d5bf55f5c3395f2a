"""A graceful stop: what is in progress is finished, nothing new is taken, and nothing is left to wait for."""

import http.client
import os
import random
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.crashes.load import BUCKET, Crowd, body_of, check_grids
from tests.crashes.server import Server, serving, until

pytestmark = pytest.mark.slow

_SLOW_BYTES = 600_000
_MANY = 200


class SlowUpload:
    """A PUT whose body comes when the test says so."""

    def __init__(self, s3: Any, key: str) -> None:
        self.data = body_of(key, _SLOW_BYTES)
        url = urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key}))
        assert url.hostname is not None
        self._connection = http.client.HTTPConnection(url.hostname, url.port or 0, timeout=60)
        self._connection.putrequest("PUT", f"{url.path}?{url.query}")
        self._connection.putheader("Content-Length", str(_SLOW_BYTES))
        self._connection.endheaders(self.data[: _SLOW_BYTES // 2])

    def finish(self) -> tuple[int, str | None]:
        """Send the rest; the status of the answer, and what becomes of the connection."""
        self._connection.send(self.data[_SLOW_BYTES // 2 :])
        answer = self._connection.getresponse()
        answer.read()
        self._connection.close()
        return answer.status, answer.getheader("Connection")


def refuses(server: Server) -> bool:
    """Nobody accepts connections any more."""
    url = urlsplit(server.url)
    try:
        socket.create_connection((url.hostname or "", url.port or 0), timeout=20).close()
    except ConnectionResetError:
        return False  # It was in the queue of a socket that was closed at this moment.
    except ConnectionRefusedError:
        return True
    return False


def in_progress(server: Server) -> int:
    return sum(worker["requests"] for worker in server.status()["workers"])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_finishes_an_upload_in_progress_and_takes_nothing_new(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers=workers) as server:
        s3 = server.client()
        s3.create_bucket(Bucket=BUCKET)
        uploads = {f"slow-{number}": SlowUpload(s3, f"slow-{number}") for number in range(4)}
        until("the uploads have begun", lambda: in_progress(server) == len(uploads))
        server.signal(signal.SIGTERM)
        until("new connections are refused", lambda: refuses(server))
        assert not server.ended
        for upload in uploads.values():
            assert upload.finish() == (200, "close")
        assert server.wait() == 0, server.tail()
        server.start()
        for key, upload in uploads.items():
            assert server.client().get_object(Bucket=BUCKET, Key=key)["Body"].read() == upload.data


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_under_load_loses_nothing_that_was_acknowledged(
    tmp_path: Path, dice: random.Random, workers: int
) -> None:
    crowd = Crowd(dice)
    with serving(tmp_path, workers=workers) as server:
        server.client().create_bucket(Bucket=BUCKET)
        for _ in range(2):
            with crowd.working(server.client):
                crowd.wait_acknowledged(dice.randrange(20, 120))
                assert server.stop() == 0, server.tail()
            assert leases_of(server) == 0
            server.start()
            crowd.check(server.client())
        objects = crowd.check(server.client())
        server.until_paid()
        check_grids(server.grids, objects)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_in_the_middle_of_catching_up_leaves_no_lease_behind(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers=workers) as server:
        s3 = server.client()
        s3.create_bucket(Bucket=BUCKET)
        away = [root.with_name(root.name + "-away") for root in server.grids]
        for root, aside in zip(server.grids, away, strict=True):
            root.rename(aside)
        data = body_of("backlog", 100_000)
        for number in range(_MANY):
            s3.put_object(Bucket=BUCKET, Key=f"k{number}", Body=data)
        assert server.status()["owed"] == 2 * _MANY
        for root, aside in zip(server.grids, away, strict=True):
            aside.rename(root)
        until("catch-up has begun", lambda: server.status()["owed"] < 2 * _MANY)
        assert server.stop() == 0, server.tail()
        assert leases_of(server) == 0
        server.start()
        server.until_paid()
        for root in server.grids:
            assert {path.name for path in (root / BUCKET).iterdir()} == {f"k{number}" for number in range(_MANY)}


def leases_of(server: Server) -> int:
    """Debts that somebody still has in hand, though nobody serves this directory."""
    with sqlite3.connect(f"file:{server.data / 'index.db'}?mode=ro", uri=True) as index:
        (count,) = index.execute("SELECT count(*) FROM debt WHERE holder != ''").fetchone()
    index.close()
    return int(count)


def test_a_second_signal_ends_it_at_once_and_what_was_acknowledged_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        s3 = server.client()
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="kept", Body=b"kept")
        never = SlowUpload(s3, "never")
        until("the upload has begun", lambda: in_progress(server) == 1)
        server.signal(signal.SIGTERM)
        until("new connections are refused", lambda: refuses(server))
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait() != 0
        del never  # Until here its connection was open.
        server.start()
        listed = server.client().list_objects_v2(Bucket=BUCKET)["Contents"]
        assert [row["Key"] for row in listed] == ["kept"]
