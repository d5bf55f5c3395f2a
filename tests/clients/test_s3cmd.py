"""s3cmd: its own signing code, its own XML, names decoded by itself."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients.content import (
    LARGE,
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
from tests.clients.server import ACCESS_KEY, REGION, SECRET_KEY, Endpoint
from tests.clients.test_boto3_presigned import fetch

SINGLY = (*ALONE, *EXCLUDED["s3cmd trees"])
"""Labels of names that do not go in a tree."""


@pytest.fixture
def s3cmd(endpoint: Endpoint, env: dict[str, str], home: Path) -> Program:
    (home / "s3cfg").write_text(
        f"[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\nbucket_location = {REGION}\n"
        f"host_base = {endpoint.address}\nhost_bucket = {endpoint.address}\nuse_https = {endpoint.secure}\n"
        f"ca_certs_file = {endpoint.ca}\nmax_retries = 1\nmultipart_chunk_size_mb = 5\nprogress_meter = False\n"
    )
    return Program([find("s3cmd"), "--config", str(home / "s3cfg")], env, home)


def _keys(listing: str, bucket: str) -> list[str]:
    return [line.partition(f"s3://{bucket}/")[2] for line in listing.splitlines()]


def test_files_come_back_as_they_went(s3cmd: Program, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for size_bytes in (*SIZES, LARGE):
        noise_file(tmp_path / "source" / str(size_bytes), size_bytes)
    s3cmd("put", "--recursive", f"{tmp_path}/source/", f"s3://{bucket}/files/")
    (tmp_path / "target").mkdir()
    s3cmd("get", "--recursive", f"s3://{bucket}/files/", f"{tmp_path}/target/")
    assert digests(tmp_path / "target") == digests(tmp_path / "source")


def test_a_large_file_goes_and_is_copied_in_parts(s3cmd: Program, s3: Any, bucket: str, tmp_path: Path) -> None:
    source = noise_file(tmp_path / "source", LARGE)
    facts = ["--add-header", "Cache-Control: no-store", "--add-header", "x-amz-meta-of: parts", "--mime-type", "x/y"]
    s3cmd("put", *facts, source, f"s3://{bucket}/large")
    s3cmd("cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ETag"].endswith('-5"')
    assert (head["ContentType"], head["CacheControl"], head["Metadata"]["of"]) == ("x/y", "no-store", "parts")
    s3cmd("get", f"s3://{bucket}/copy", tmp_path / "target")
    assert same_file(source, tmp_path / "target")


def test_an_interrupted_download_goes_on_where_it_stopped(s3cmd: Program, bucket: str, tmp_path: Path) -> None:
    source, target = noise_file(tmp_path / "source", LARGE), tmp_path / "target"
    s3cmd("put", source, f"s3://{bucket}/large")
    target.write_bytes(source.read_bytes()[:7_654_321])
    s3cmd("get", "--continue", f"s3://{bucket}/large", target)
    assert same_file(source, target)


def test_buckets_and_objects_are_made_listed_moved_and_removed(
    s3cmd: Program, s3: Any, bucket: str, tmp_path: Path
) -> None:
    other = f"{bucket}-other"
    s3cmd("mb", f"s3://{other}")
    assert f"s3://{other}\n" in s3cmd("ls").out
    held = {"b/2": b"two", "a b": b"blank", "a/x": b"slash", "a": b"a"}
    put_all(s3, other, held)
    assert _keys(s3cmd("ls", "--recursive", f"s3://{other}").out, other) == in_order(held)
    assert _keys(s3cmd("ls", f"s3://{other}").out, other) == ["a/", "b/", "a", "a b"]
    assert f"Location:  {REGION}" in s3cmd("info", f"s3://{other}").out
    s3cmd("mv", f"s3://{other}/b/2", f"s3://{other}/c/3")
    s3cmd("del", f"s3://{other}/a b")
    assert stored(s3, other) == {"a": b"a", "a/x": b"slash", "c/3": b"two"}
    assert "BucketNotEmpty" in s3cmd("rb", f"s3://{other}", fails=True).err
    s3cmd("del", "--recursive", "--force", f"s3://{other}")
    s3cmd("rb", f"s3://{other}")
    assert "NoSuchBucket" in s3cmd("ls", f"s3://{other}", fails=True).err
    assert "does not exist" in s3cmd("get", f"s3://{bucket}/absent", tmp_path / "x", fails=True).err


def test_a_signed_url_of_the_old_kind_is_refused(s3cmd: Program, s3: Any, bucket: str, endpoint: Endpoint) -> None:
    s3.put_object(Bucket=bucket, Key="x", Body=b"signed")
    url = s3cmd("signurl", f"s3://{bucket}/x", "+3600").out.strip()
    url = re.sub(r"^https?://", f"{endpoint.scheme}://", url)
    status, answer, _ = fetch(endpoint, "GET", url)
    assert status in (400, 403)
    assert b"AWS4-HMAC-SHA256" in answer or b"Signature Version 4" in answer


def test_uploads_are_listed_and_aborted(s3cmd: Program, s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a b")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="a b", UploadId=upload, PartNumber=1, Body=b"x")
    assert upload in s3cmd("multipart", f"s3://{bucket}").out
    assert "1" in s3cmd("listmp", f"s3://{bucket}/a b", upload).out
    s3cmd("abortmp", f"s3://{bucket}/a b", upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_tree_with_hard_names_comes_back_as_it_went(s3cmd: Program, s3: Any, bucket: str, tmp_path: Path) -> None:
    held = plant(tmp_path / "source", sayable("s3cmd trees", IN_TREES))
    s3cmd("sync", f"{tmp_path}/source/", f"s3://{bucket}/")
    assert stored(s3, bucket) == held
    (tmp_path / "target").mkdir()
    s3cmd("sync", f"s3://{bucket}/", f"{tmp_path}/target/")
    assert files(tmp_path / "target") == held
    again = s3cmd("sync", "--delete-removed", f"{tmp_path}/source/", f"s3://{bucket}/").out
    assert "upload:" not in again
    assert "delete:" not in again
    assert stored(s3, bucket) == held


@pytest.mark.parametrize("key", cases("s3cmd", SINGLY))
def test_a_hard_name_is_one_object(s3cmd: Program, s3: Any, bucket: str, tmp_path: Path, key: str) -> None:
    (tmp_path / "body").write_bytes(key.encode())
    s3cmd("put", "--verbatim", tmp_path / "body", f"s3://{bucket}/{key}")
    assert stored(s3, bucket) == {key: key.encode()}
    s3cmd("get", "--verbatim", f"s3://{bucket}/{key}", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == key.encode()
    s3cmd("del", "--verbatim", f"s3://{bucket}/{key}")
    assert stored(s3, bucket) == {}


def test_all_hard_names_are_listed_in_order(s3cmd: Program, s3: Any, bucket: str) -> None:
    keys = [key for key in HARD.values() if in_xml(key) and len(f"{key}.".splitlines()) == 1]  # One line for each.
    put_all(s3, bucket, dict.fromkeys(keys, b""))
    assert _keys(s3cmd("ls", "--recursive", f"s3://{bucket}").out, bucket) == in_order(keys)


def test_a_real_tree_is_synchronised_once(
    s3cmd: Program, s3: Any, bucket: str, small_library: Path, tmp_path: Path
) -> None:
    there = digests(small_library)
    s3cmd("sync", f"{small_library}/", f"s3://{bucket}/tree/")
    assert stored_digests(s3, bucket) == {f"tree/{name}": digest for name, digest in there.items()}
    again = s3cmd("sync", "--delete-removed", f"{small_library}/", f"s3://{bucket}/tree/").out
    assert "upload:" not in again
    assert "delete:" not in again
    (tmp_path / "target").mkdir()
    s3cmd("get", "--recursive", f"s3://{bucket}/tree/", f"{tmp_path}/target/")
    assert digests(tmp_path / "target") == there
