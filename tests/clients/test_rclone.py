"""rclone: copy, check and sync of trees; single objects by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.content import (
    LARGE,
    SIZES,
    digests,
    files,
    noise,
    noise_file,
    plant,
    put_all,
    same_file,
    stored,
    stored_digests,
)
from tests.clients.names import ALONE, CONTROLS, HARD, IN_TREES, cases, in_order, sayable
from tests.clients.programs import Program, Ran, find
from tests.clients.server import ACCESS_KEY, REGION, SECRET_KEY, Endpoint
from tests.clients.test_boto3_presigned import fetch


@pytest.fixture
def rclone(endpoint: Endpoint, env: dict[str, str], home: Path) -> Program:
    (home / "rclone.conf").write_text(
        "[h]\ntype = s3\nprovider = Other\nforce_path_style = true\n"
        f"endpoint = {endpoint.url}\nregion = {REGION}\naccess_key_id = {ACCESS_KEY}\nsecret_access_key = {SECRET_KEY}\n"
    )
    always = ["--ca-cert", endpoint.ca, "--retries", "1", "--low-level-retries", "1", "--no-unicode-normalization"]
    return Program([find("rclone"), *always, "--s3-chunk-size", "5Mi", "--s3-upload-cutoff", "8Mi"], env, home)


def _transfers(ran: Ran) -> int:
    """How many files were moved, from the statistics at the end of a JSON log."""
    stats = [line["stats"] for line in map(json.loads, ran.err.splitlines()) if "stats" in line]
    return int(stats[-1]["transfers"])


STATS = ("--use-json-log", "--log-level", "INFO", "--stats", "1h")


def test_files_come_back_as_they_went(rclone: Program, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for size_bytes in (*SIZES, LARGE):
        noise_file(tmp_path / "source" / str(size_bytes), size_bytes)
    rclone("copy", tmp_path / "source", f"h:{bucket}/files")
    rclone("check", "--download", tmp_path / "source", f"h:{bucket}/files")
    rclone("copy", f"h:{bucket}/files", tmp_path / "target")
    assert digests(tmp_path / "target") == digests(tmp_path / "source")


def test_a_large_file_goes_and_is_copied_in_parts(rclone: Program, s3: Any, bucket: str, tmp_path: Path) -> None:
    source = noise_file(tmp_path / "source", LARGE)
    upload = ["--header-upload", "Content-Language: de", "--header-upload", "Cache-Control: no-store"]
    rclone("copyto", *upload, source, f"h:{bucket}/large")
    large = s3.head_object(Bucket=bucket, Key="large")
    assert (large["ContentLanguage"], large["CacheControl"]) == ("de", "no-store")
    rclone("copyto", "--s3-copy-cutoff", "6Mi", f"h:{bucket}/large", f"h:{bucket}/copy")
    for key in ("large", "copy"):
        head = s3.head_object(Bucket=bucket, Key=key)
        assert head["ETag"].endswith('-5"')
        assert float(head["Metadata"]["mtime"]) == pytest.approx(source.stat().st_mtime)
    rclone("copyto", "--multi-thread-cutoff", "5Mi", f"h:{bucket}/copy", tmp_path / "target")
    assert same_file(source, tmp_path / "target")
    part = rclone("cat", "--offset", "6000000", "--count", "1000", f"h:{bucket}/copy").stdout
    assert part == source.read_bytes()[6_000_000:6_001_000]


def test_a_stream_of_unknown_length_comes_back_as_it_went(rclone: Program, bucket: str) -> None:
    data = noise(LARGE)
    rclone("rcat", f"h:{bucket}/stream", data=data)
    assert rclone("cat", f"h:{bucket}/stream").stdout == data


def test_buckets_and_objects_are_made_listed_moved_and_removed(rclone: Program, s3: Any, bucket: str) -> None:
    other = f"{bucket}-other"
    rclone("mkdir", f"h:{other}")
    assert f"{other}/" in rclone("lsf", "h:").out.splitlines()
    held = {"b/2": b"two", "a b": b"blank", "a/x": b"slash", "a-": b"a"}
    put_all(s3, other, held)
    assert sorted(rclone("lsf", "--recursive", "--files-only", f"h:{other}").out.splitlines()) == sorted(held)
    rclone("moveto", f"h:{other}/b/2", f"h:{other}/c/3")
    rclone("deletefile", f"h:{other}/a b")
    assert stored(s3, other) == {"a-": b"a", "a/x": b"slash", "c/3": b"two"}
    assert "BucketNotEmpty" in rclone("rmdir", f"h:{other}", fails=True).err
    rclone("purge", f"h:{other}")
    assert "directory not found" in rclone("lsf", f"h:{other}", fails=True).err
    assert "not found" in rclone("deletefile", f"h:{bucket}/absent", fails=True).err


def test_a_public_link_is_served(rclone: Program, s3: Any, bucket: str, endpoint: Endpoint) -> None:
    s3.put_object(Bucket=bucket, Key="a b+c", Body=b"signed")
    url = rclone("link", "--expire", "1h", f"h:{bucket}/a b+c").out.strip()
    assert fetch(endpoint, "GET", url)[:2] == (200, b"signed")


def test_a_tree_with_hard_names_comes_back_as_it_went(rclone: Program, s3: Any, bucket: str, tmp_path: Path) -> None:
    held = plant(tmp_path / "source", sayable("rclone", IN_TREES))
    rclone("sync", tmp_path / "source", f"h:{bucket}")
    assert stored(s3, bucket) == held
    rclone("sync", f"h:{bucket}", tmp_path / "target")
    assert files(tmp_path / "target") == held
    assert _transfers(rclone("sync", *STATS, tmp_path / "source", f"h:{bucket}")) == 0
    assert stored(s3, bucket) == held


@pytest.mark.parametrize("key", cases("rclone", ALONE))
def test_a_hard_name_is_one_object(rclone: Program, s3: Any, bucket: str, key: str) -> None:
    rclone("rcat", f"h:{bucket}/{key}", data=key.encode())
    assert stored(s3, bucket) == {key: key.encode()}
    assert rclone("cat", f"h:{bucket}/{key}").stdout == key.encode()
    rclone("deletefile", f"h:{bucket}/{key}")
    assert stored(s3, bucket) == {}


def test_all_hard_names_are_listed(rclone: Program, s3: Any, bucket: str) -> None:
    shown_as_symbols = {HARD[label] for label in CONTROLS}
    keys = [key for key in sayable("rclone") if key not in shown_as_symbols]
    put_all(s3, bucket, {key: key.encode() for key in keys})
    listed = json.loads(rclone("lsjson", "--recursive", "--files-only", f"h:{bucket}").stdout)
    assert in_order(item["Path"] for item in listed) == in_order(keys)


def test_a_real_tree_is_synchronised_once(rclone: Program, s3: Any, bucket: str, library: Path, tmp_path: Path) -> None:
    there = digests(library)
    more = ("--transfers", "8", "--checkers", "8", *STATS)
    assert _transfers(rclone("sync", *more, library, f"h:{bucket}/tree")) == len(there)
    assert stored_digests(s3, bucket) == {f"tree/{name}": digest for name, digest in there.items()}
    for compare in ("--checksum", "--size-only", "--fast-list"):
        assert _transfers(rclone("sync", *more, compare, library, f"h:{bucket}/tree")) == 0
    rclone("sync", *more, f"h:{bucket}/tree", tmp_path / "target")
    assert digests(tmp_path / "target") == there
    assert len(stored_digests(s3, bucket)) == len(there)
