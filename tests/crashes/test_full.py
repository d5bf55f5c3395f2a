"""No room: the spool is full because both grids are gone, or the index cannot grow. What is here is served."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.crashes.load import BUCKET, State, body_of, check_grids, md5_of
from tests.crashes.server import Server, serving, until

_LIMIT_BYTES = 5 * 1024 * 1024
_BODY_BYTES = 700_000
_WRITES = 400
"""More than any room that these tests leave."""


def state_of(token: str, size_bytes: int) -> State:
    return State(token, size_bytes, md5_of(body_of(token, size_bytes)))


def write_until_refused(s3: Any, held: dict[str, State], prefix: str, size_bytes: int) -> ClientError:
    """Write objects until one is refused; `held` gets those that were acknowledged."""
    for number in range(_WRITES):
        key = f"{prefix}{number}"
        state = state_of(key, size_bytes)
        try:
            s3.put_object(Bucket=BUCKET, Key=key, Body=state.data())
        except ClientError as refusal:
            return refusal
        held[key] = state
    raise AssertionError(f"{_WRITES} writes were all accepted")


def check_served(s3: Any, held: dict[str, State]) -> None:
    for key, state in held.items():
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == state.data()
        assert s3.head_object(Bucket=BUCKET, Key=key)["ETag"] == f'"{state.etag}"'
    listed = [row["Key"] for row in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]
    assert listed == sorted(held)


def accepts(put: Callable[[], Any]) -> bool:
    try:
        put()
    except ClientError as refusal:
        assert refusal.response["ResponseMetadata"]["HTTPStatusCode"] == 503, refusal
        return False
    return True


def take_away(server: Server) -> Callable[[], None]:
    """Both grids' directories are gone; returns what brings them back."""
    pairs = [(root, root.with_name(root.name + "-away")) for root in server.grids]
    for root, aside in pairs:
        root.rename(aside)

    def bring_back() -> None:
        for root, aside in pairs:
            aside.rename(root)

    return bring_back


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_spool_says_slow_down_serves_what_it_has_and_takes_writes_again(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers=workers, settings='[spool]\nlimit = "5MiB"\n') as server:
        s3 = server.client()
        s3.create_bucket(Bucket=BUCKET)
        bring_back = take_away(server)
        held: dict[str, State] = {}
        refusal = write_until_refused(s3, held, "large", _BODY_BYTES)
        assert refusal.response["Error"]["Code"] == "SlowDown"
        answer = refusal.response["ResponseMetadata"]
        assert answer["HTTPStatusCode"] == 503
        assert int(answer["HTTPHeaders"]["retry-after"]) > 0
        assert len(held) == _LIMIT_BYTES // _BODY_BYTES
        assert server.status()["spool_bytes"] == len(held) * _BODY_BYTES <= _LIMIT_BYTES
        check_served(s3, held)
        s3.delete_object(Bucket=BUCKET, Key="large0")
        del held["large0"]
        held["large1"] = state_of("another", _BODY_BYTES)  # What was freed can be used.
        s3.put_object(Bucket=BUCKET, Key="large1", Body=held["large1"].data())
        check_served(s3, held)
        bring_back()
        more = state_of("more", 3 * _BODY_BYTES)
        until(
            "writes are taken again",
            lambda: accepts(lambda: s3.put_object(Bucket=BUCKET, Key="more", Body=more.data())),
        )
        held["more"] = more
        server.until_paid()
        assert server.status()["spool_bytes"] == 0
        check_served(s3, held)
        check_grids(server.grids, held)


def test_a_full_spool_stays_honest_across_kill_9(tmp_path: Path) -> None:
    with serving(tmp_path, settings='[spool]\nlimit = "5MiB"\n') as server:
        server.client().create_bucket(Bucket=BUCKET)
        bring_back = take_away(server)
        held: dict[str, State] = {}
        write_until_refused(server.client(), held, "large", _BODY_BYTES)
        server.kill()
        server.start()
        check_served(server.client(), held)
        assert write_until_refused(server.client(), held, "x", _BODY_BYTES).response["Error"]["Code"] == "SlowDown"
        bring_back()
        server.until_paid()
        check_served(server.client(), held)
        check_grids(server.grids, held)


def test_an_index_that_cannot_grow_refuses_writes_serves_reads_and_recovers(tmp_path: Path) -> None:
    """The file-size limit of the process stands in for a full disk: the write-ahead log cannot grow."""
    with serving(tmp_path) as server:
        s3 = server.client()
        s3.create_bucket(Bucket=BUCKET)
        held: dict[str, State] = {}
        for number in range(5):
            held[f"before{number}"] = state_of(f"before{number}", 1000)
            s3.put_object(Bucket=BUCKET, Key=f"before{number}", Body=held[f"before{number}"].data())
        server.until_paid()
        log_bytes = (server.data / "index.db-wal").stat().st_size
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (log_bytes + 100_000, hard))
        refusal = write_until_refused(s3, held, "small", 10_000)
        answer = refusal.response["ResponseMetadata"]
        assert answer["HTTPStatusCode"] == 503, refusal
        assert int(answer["HTTPHeaders"]["retry-after"]) > 0
        refused = f"small{len(held) - 5}"
        assert not accepts(lambda: s3.put_object(Bucket=BUCKET, Key=refused, Body=b"still too much"))
        check_served(s3, held)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (soft, hard))
        held[refused] = state_of(refused, 10_000)
        until(
            "writes are taken again",
            lambda: accepts(lambda: s3.put_object(Bucket=BUCKET, Key=refused, Body=held[refused].data())),
        )
        check_served(s3, held)
        server.kill()
        server.start()
        check_served(server.client(), held)
        server.until_paid()
        check_grids(server.grids, held)


def test_small_bodies_are_bounded_like_large_ones_while_no_grid_takes_them(tmp_path: Path) -> None:
    """They lie in the index, beside those that are kept there for reading."""
    with serving(tmp_path, settings='[spool]\nlimit = "1MiB"\n[cache]\ninline = "1MiB"\n') as server:
        s3 = server.client()
        s3.create_bucket(Bucket=BUCKET)
        bring_back = take_away(server)
        held: dict[str, State] = {}
        refusal = write_until_refused(s3, held, "small", 60_000)
        assert refusal.response["Error"]["Code"] == "SlowDown"
        assert int(refusal.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) > 0
        assert server.status()["inline_bytes"] <= 2 * 1024 * 1024 + 60_000  # The body that reached the limit was taken.
        check_served(s3, held)
        bring_back()
        server.until_paid()
        check_served(s3, held)
        check_grids(server.grids, held)
