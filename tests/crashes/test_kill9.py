"""`kill -9` under load, again and again on one data directory: what was acknowledged is there, whole, and nothing else.

What this cannot show: that bytes survive power loss. The kernel keeps what a killed process had written; see `test_power`.
"""

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.load import BUCKET, Crowd, check_grids
from tests.crashes.server import Server, serving, until

pytestmark = pytest.mark.slow

_HASTE_S = 0.05
_IN_HAND = 64
"""Files that clients and catch-up of a few hands can have had in the works when a process died."""


def rounds(usual: int) -> int:
    return int(os.environ.get("HOLDFAST_CRASH_ROUNDS") or usual)


def policy(ack: int) -> str:
    """All folders acknowledge at the commit unless told otherwise; `refuse`, so that an answer means `ack` copies."""
    return f'[policy.standard]\ngrids = ["a", "b"]\nack = {ack}\noutage = "refuse"\n' if ack else ""


def end_uploads(s3: Any) -> None:
    """What killed clients left unfinished is listed, and can be aborted."""
    for upload in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()):
        s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])


@pytest.mark.parametrize(
    ("workers", "ack", "usual"),
    [(1, 0, 3), (2, 0, 2), (1, 1, 2), (2, 2, 2)],
    ids=["one-process", "two-workers", "one-process-ack-1", "two-workers-ack-2"],
)
def test_what_was_acknowledged_survives_kill_9(
    tmp_path: Path, dice: random.Random, workers: int, ack: int, usual: int
) -> None:
    crowd = Crowd(dice)
    promised = 0
    with serving(tmp_path, workers=workers, settings=policy(ack)) as server:
        server.client().create_bucket(Bucket=BUCKET)
        for number in range(rounds(usual)):
            with crowd.working(server.client):
                crowd.wait_acknowledged(dice.randrange(10, 150))
                crowd.check_whole(server.grids)
                time.sleep(dice.random() * _HASTE_S)  # To die at any moment, not only at the end of a request.
                server.kill()
            crowd.check_whole(server.grids)
            promised += crowd.check_held(server.grids, ack)
            server.start()
            objects = crowd.check(server.client())
            if number % 2 and number + 1 < rounds(usual):  # In the other rounds it dies again while it catches up.
                check_converged(server, crowd, objects)
        objects = crowd.check(server.client())
        check_converged(server, crowd, objects)
        assert promised and objects and crowd.lost, "the load was too light to prove anything"


def check_converged(server: Server, crowd: Crowd, objects: dict[str, Any]) -> None:
    """Once nothing is owed, both grids are exactly what clients see, and nothing waits in the spool."""
    end_uploads(server.client())
    server.until_paid()
    check_grids(server.grids, objects)
    status = server.status()
    assert status["objects"] == len(objects)
    assert (status["tombstones"], status["uploads"], status["spool_bytes"]) == (0, 0, 0)
    assert [(grid["held"], grid["owed"]) for grid in status["grids"]] == [(len(objects), 0)] * 2


def test_what_dead_processes_left_in_the_spool_is_little_and_goes_and_what_is_needed_stays(
    tmp_path: Path, dice: random.Random
) -> None:
    crowd = Crowd(dice)
    left = 0
    with serving(tmp_path) as server:
        server.client().create_bucket(Bucket=BUCKET)
        for _ in range(rounds(2)):
            with crowd.working(server.client):
                crowd.wait_acknowledged(dice.randrange(20, 60))
                server.kill()
            assert len(server.spool_files()) <= left + _IN_HAND
            for path in _lonely(server):
                os.utime(path, (0, 0))  # Older than any file that a living process still writes to.
            server.start()
            objects = crowd.check(server.client())
            check_converged(server, crowd, objects)
            until("no orphan is left", lambda: not _lonely(server), tail=lambda: f"{_lonely(server)}")
            left = len(server.spool_files())


def _lonely(server: Server) -> list[Path]:
    """Spool files that are not a grid's file, too: of those the time is that copy's etag."""
    return [path for path, status in server.spool_files().items() if status.st_nlink == 1]


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(tmp_path: Path, dice: random.Random) -> None:
    crowd = Crowd(dice)
    with serving(tmp_path, workers=2) as server:
        server.client().create_bucket(Bucket=BUCKET)
        with crowd.working(server.client):
            for _ in range(rounds(3)):
                crowd.wait_acknowledged(dice.randrange(20, 100))
                before = server.workers()
                # By chance all clients may be at one worker. Killing the older one next time surely meets them.
                server.kill_one(dice.choice(before) if crowd.lost else before[0])
                crowd.wait_acknowledged(20)  # The other one goes on.
                until(
                    "two workers again",
                    lambda before=before: len(server.workers()) == 2 and server.workers() != before,  # type: ignore[misc]
                )
            crowd.wait_acknowledged(50)
        assert not server.ended
        objects = crowd.check(server.client())
        check_converged(server, crowd, objects)
        assert objects and crowd.lost


def test_workers_end_with_their_parent_and_free_the_directory(tmp_path: Path, dice: random.Random) -> None:
    crowd = Crowd(dice)
    with serving(tmp_path, workers=2) as server:
        server.client().create_bucket(Bucket=BUCKET)
        for _ in range(rounds(1)):
            with crowd.working(server.client):
                crowd.wait_acknowledged(dice.randrange(20, 100))
                workers = server.workers()
                server.kill_one(server.pid)
                server.wait()
                until(
                    "the workers ended",
                    lambda workers=workers: not any(Path(f"/proc/{pid}").exists() for pid in workers),  # type: ignore[misc]
                )
            server.start()
            objects = crowd.check(server.client())
            check_converged(server, crowd, objects)
