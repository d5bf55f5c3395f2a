"""`kill -9` while the read cache fills: whatever it left behind, no wrong byte is served and no limit is passed."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.crashes.load import BUCKET, body_of
from tests.crashes.server import Server, serving, until
from tests.crashes.test_full import take_away
from tests.crashes.test_kill9 import rounds

pytestmark = pytest.mark.slow

_MIB = 1024 * 1024
_LIMIT = 8 * _MIB
_SETTINGS = '[cache]\nlocal = true\nsize = "8MiB"\ninline = "0B"\n'
_SIZES = (10_000, 100_000, 700_000, 3 * _MIB + 5)
_KEYS = {f"k{number}": _SIZES[number % 4] for number in range(24)}
"""Twice what the cache may hold."""
_HASTE_S = 0.4


def read(s3: Any, key: str, dice: random.Random) -> None:
    """A whole object or a range of it, which must be right."""
    data = body_of(key, _KEYS[key])
    first = dice.randrange(len(data)) if dice.random() < 0.5 else 0
    answer = s3.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={first}-")
    assert answer["Body"].read() == data[first:], key


def load(s3: Any, dice: random.Random, stop: threading.Event) -> int:
    """Read until the server dies; the number of right answers."""
    done = 0
    while not stop.is_set():
        try:
            read(s3, f"k{min(23, int(dice.expovariate(0.2)))}", dice)
        except (BotoCoreError, ClientError, OSError):
            break
        done += 1
    return done


def cache_bytes(server: Server) -> int:
    files = [path.stat().st_size for path in (server.data / "cache").glob("*/*") if path.is_file()]
    files += [path.stat().st_size for path in (server.data / "cache").glob("*/??/*")]
    return sum(files)


def on(server: Server) -> bool:
    return bool(server.status()["cache"]["state"] == "on")


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_while_the_cache_fills_costs_nothing_but_the_cache(
    tmp_path: Path, dice: random.Random, workers: int
) -> None:
    done = 0
    with serving(tmp_path, workers=workers, settings=_SETTINGS) as server:
        s3 = server.client()
        s3.create_bucket(Bucket=BUCKET)
        for key, size in _KEYS.items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=body_of(key, size))
        server.until_paid()
        until("nothing is served from the index", lambda: server.status()["inline_bytes"] == 0)
        for _ in range(rounds(3)):
            until("the cache is on", lambda: on(server), tail=server.tail)
            stop = threading.Event()
            with ThreadPoolExecutor(4) as pool:
                hands = [pool.submit(load, server.client(), random.Random(dice.random()), stop) for _ in range(4)]
                time.sleep(dice.random() * _HASTE_S + 0.2)  # To die in the middle of it.
                server.kill()
                stop.set()
            done += sum(hand.result() for hand in hands)
            assert cache_bytes(server) <= _LIMIT
            _damage_one(server, dice)
            server.start()
        until("the cache is on", lambda: on(server), tail=server.tail)
        s3 = server.client()
        for key in _KEYS:
            read(s3, key, dice)
        assert cache_bytes(server) <= _LIMIT
        status = server.status()["cache"]
        assert done and status["hits"] and status["size_bytes"], status
        bring_back = take_away(server)
        served = 0
        for key in _KEYS:
            try:
                read(s3, key, dice)
                served += 1
            except ClientError as refusal:
                assert refusal.response["Error"]["Code"] == "ServiceUnavailable", refusal
        assert served, "nothing was served from the cache alone"
        bring_back()


def _damage_one(server: Server, dice: random.Random) -> None:
    """As if the power had been lost: a file has the right length and the wrong bytes."""
    files = sorted((server.data / "cache").glob("*/??/*"))
    if files:
        path = dice.choice(files)
        size = path.stat().st_size
        path.write_bytes(bytes(size))
        assert os.path.getsize(path) == size
