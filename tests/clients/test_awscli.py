"""aws-cli, version 1: `aws s3` with its transfer manager, and `aws s3api`.

Names are said by `aws s3api` in one process for all of them, since starting the client takes most of a second.
"""

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
from tests.clients.names import ALONE, HARD, IN_TREES, cases, in_order, sayable
from tests.clients.programs import Program, find
from tests.clients.server import Endpoint
from tests.clients.test_boto3_presigned import fetch

_MANY = """
import json, sys
from awscli.clidriver import create_clidriver
driver = create_clidriver()
for line in sys.stdin:
    argv = json.loads(line)
    code = driver.main(argv)
    sys.stdout.flush()
    if code:
        sys.exit(f"{argv} failed with {code}")
"""
"""Runs the client's own entry point for each line of its input."""


@pytest.fixture
def aws(endpoint: Endpoint, env: dict[str, str], home: Path) -> Program:
    return Program([find("aws"), "--endpoint-url", endpoint.url], env, home)


@pytest.fixture
def aws_many(endpoint: Endpoint, env: dict[str, str], home: Path) -> Any:
    program = Program([str(Path(find("aws")).with_name("python")), "-c", _MANY], env, home)

    def run(commands: list[list[str]]) -> None:
        lines = [json.dumps(["--endpoint-url", endpoint.url, *command]) for command in commands]
        program(data="\n".join(lines).encode())

    return run


def test_files_come_back_as_they_went(aws: Program, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for size_bytes in (*SIZES, LARGE):
        noise_file(tmp_path / "source" / str(size_bytes), size_bytes)
    aws("s3", "cp", "--recursive", tmp_path / "source", f"s3://{bucket}/files")
    aws("s3", "cp", "--recursive", f"s3://{bucket}/files", tmp_path / "target")
    assert digests(tmp_path / "target") == digests(tmp_path / "source")


def test_a_large_file_goes_and_is_copied_in_parts(aws: Program, s3: Any, bucket: str, tmp_path: Path) -> None:
    source = noise_file(tmp_path / "source", LARGE)
    aws("s3", "cp", source, f"s3://{bucket}/large", "--metadata", "of=parts", "--cache-control", "no-store")
    aws("s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert (head["Metadata"], head["CacheControl"]) == ({"of": "parts"}, "no-store")
    assert head["ETag"] == s3.head_object(Bucket=bucket, Key="copy")["ETag"]
    assert head["ETag"].endswith('-4"')
    aws("s3", "cp", f"s3://{bucket}/copy", tmp_path / "target")
    assert same_file(source, tmp_path / "target")


def test_a_stream_of_unknown_length_comes_back_as_it_went(aws: Program, bucket: str) -> None:
    data = noise(LARGE)
    aws("s3", "cp", "-", f"s3://{bucket}/stream", data=data)
    assert aws("s3", "cp", f"s3://{bucket}/stream", "-").stdout == data


def test_buckets_and_objects_are_made_listed_moved_and_removed(
    aws: Program, s3: Any, bucket: str, tmp_path: Path
) -> None:
    other = f"{bucket}-other"
    aws("s3", "mb", f"s3://{other}")
    held = {"b/2": b"two", "a b": b"blank", "a/x": b"slash", "a": b"a"}
    put_all(s3, other, held)
    lines = aws("s3", "ls", "--recursive", f"s3://{other}").out.splitlines()
    assert [line[31:] for line in lines] == in_order(held)
    folded = aws("s3", "ls", f"s3://{other}").out.splitlines()
    assert [line.split(maxsplit=1 if "PRE" in line else 3)[-1] for line in folded] == ["a/", "b/", "a", "a b"]
    aws("s3", "mv", f"s3://{other}/b/2", f"s3://{other}/c/3")
    aws("s3", "rm", f"s3://{other}/a b")
    assert stored(s3, other) == {"a": b"a", "a/x": b"slash", "c/3": b"two"}
    assert "BucketNotEmpty" in aws("s3", "rb", f"s3://{other}", fails=True).err
    aws("s3", "rb", "--force", f"s3://{other}")
    assert "NoSuchBucket" in aws("s3", "ls", f"s3://{other}", fails=True).err
    assert (
        "NoSuchKey" in aws("s3api", "get-object", "--bucket", bucket, "--key", "absent", tmp_path / "x", fails=True).err
    )


def test_a_presigned_url_is_served(aws: Program, s3: Any, bucket: str, endpoint: Endpoint) -> None:
    s3.put_object(Bucket=bucket, Key="a b+c", Body=b"signed")
    aws("configure", "set", "default.s3.signature_version", "s3v4")
    url = aws("s3", "presign", f"s3://{bucket}/a b+c").out.strip()
    assert fetch(endpoint, "GET", url)[:2] == (200, b"signed")


def test_the_interface_of_operations_sends_checksums_ranges_and_conditions(
    aws_many: Any, aws: Program, s3: Any, bucket: str, tmp_path: Path
) -> None:
    data = noise(100_000)
    (tmp_path / "body").write_bytes(data)
    named = ["--bucket", bucket, "--key", "k"]
    aws_many(
        [
            ["s3api", "put-object", *named, "--body", str(tmp_path / "body"), "--checksum-algorithm", "SHA256"],
            ["s3api", "get-object", *named, "--checksum-mode", "ENABLED", str(tmp_path / "whole")],
            ["s3api", "get-object", *named, "--range", "bytes=10-19", str(tmp_path / "range")],
        ]
    )
    assert (tmp_path / "whole").read_bytes() == data
    assert (tmp_path / "range").read_bytes() == data[10:20]
    assert "ChecksumSHA256" in s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    refused = aws("s3api", "put-object", *named, "--if-none-match", "*", fails=True)
    assert "PreconditionFailed" in refused.err


def test_a_tree_with_hard_names_comes_back_as_it_went(aws: Program, s3: Any, bucket: str, tmp_path: Path) -> None:
    held = plant(tmp_path / "source", sayable("aws", IN_TREES))
    aws("s3", "sync", tmp_path / "source", f"s3://{bucket}")
    assert stored(s3, bucket) == held
    aws("s3", "sync", f"s3://{bucket}", tmp_path / "target")
    assert files(tmp_path / "target") == held
    for way in ((tmp_path / "source", f"s3://{bucket}"), (f"s3://{bucket}", tmp_path / "target")):
        assert aws("s3", "sync", "--delete", *way).out == ""
    assert stored(s3, bucket) == files(tmp_path / "target") == held


_exchanged: dict[Endpoint, dict[str, tuple[bytes, bytes]]] = {}


@pytest.fixture
def exchanged(
    aws_many: Any, s3: Any, endpoint: Endpoint, new_bucket: Any, tmp_path: Path
) -> dict[str, tuple[bytes, bytes]]:
    """By hard name: what boto3 finds under the name after aws-cli put it, and what aws-cli gets."""
    if endpoint not in _exchanged:
        bucket, commands, paths = new_bucket(), [], {}
        for number, key in enumerate(sayable("aws")):
            body, paths[key] = tmp_path / f"body-{number}", tmp_path / f"got-{number}"
            body.write_bytes(key.encode())
            named = ["--bucket", bucket, f"--key={key}"]
            commands.append(["s3api", "put-object", *named, "--body", str(body)])
            commands.append(["s3api", "get-object", *named, str(paths[key])])
        aws_many(commands)
        found = stored(s3, bucket)
        _exchanged[endpoint] = {key: (found.get(key, b""), path.read_bytes()) for key, path in paths.items()}
    return _exchanged[endpoint]


@pytest.mark.parametrize("key", cases("aws"))
def test_a_hard_name_is_one_object(exchanged: dict[str, tuple[bytes, bytes]], key: str) -> None:
    assert exchanged[key] == (key.encode(), key.encode())


def test_all_hard_names_are_listed_in_order(aws: Program, s3: Any, bucket: str) -> None:
    put_all(s3, bucket, dict.fromkeys(HARD.values(), b""))
    listed = json.loads(
        aws("s3api", "list-objects-v2", "--bucket", bucket, "--output", "json", "--page-size", "20").stdout
    )
    assert [item["Key"] for item in listed["Contents"]] == in_order(HARD.values())


def test_removing_everything_removes_hard_names(aws: Program, s3: Any, bucket: str) -> None:
    put_all(s3, bucket, {HARD[label]: b"" for label in ALONE})
    aws("s3", "rm", "--recursive", f"s3://{bucket}")
    assert stored(s3, bucket) == {}


def test_a_real_tree_is_synchronised_once(
    aws: Program, s3: Any, bucket: str, small_library: Path, tmp_path: Path
) -> None:
    there = digests(small_library)
    aws("s3", "sync", "--quiet", small_library, f"s3://{bucket}/tree")
    assert stored_digests(s3, bucket) == {f"tree/{name}": digest for name, digest in there.items()}
    assert aws("s3", "sync", small_library, f"s3://{bucket}/tree").out == ""
    assert aws("s3", "sync", "--delete", small_library, f"s3://{bucket}/tree").out == ""
    aws("s3", "sync", "--quiet", f"s3://{bucket}/tree", tmp_path / "target")
    assert digests(tmp_path / "target") == there
    gone = sorted(there)[::100]
    for name in gone:
        (tmp_path / "target" / name).unlink()
    deleted = aws(
        "s3", "sync", "--no-progress", "--delete", "--size-only", tmp_path / "target", f"s3://{bucket}/tree"
    ).out.splitlines()
    assert sorted(line.partition(f"s3://{bucket}/tree/")[2] for line in deleted) == gone
    assert set(stored_digests(s3, bucket)) == {f"tree/{name}" for name in set(there) - set(gone)}
