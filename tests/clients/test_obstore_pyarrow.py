"""obstore (Rust) and pyarrow (the C++ SDK): what data tools read and write with."""

import datetime
import io
from pathlib import Path
from typing import Any

import obstore
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
from obstore.store import S3Store

from tests.clients.content import LARGE, MIB, SIZES, noise, put_all, stored
from tests.clients.names import HARD, cases, in_order, sayable
from tests.clients.server import ACCESS_KEY, REGION, SECRET_KEY, Endpoint
from tests.clients.test_boto3_presigned import fetch


@pytest.fixture
def store(endpoint: Endpoint, bucket: str) -> Any:
    return S3Store(
        bucket,
        endpoint=endpoint.url,
        region=REGION,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "root_certificate": Path(endpoint.ca).read_text()},
        retry_config={"max_retries": 0},
    )


@pytest.fixture
def arrow(endpoint: Endpoint) -> Any:
    return pyarrow.fs.S3FileSystem(
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        region=REGION,
        scheme=endpoint.scheme,
        endpoint_override=endpoint.address,
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
        tls_ca_file_path=endpoint.ca,
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


@pytest.mark.parametrize("size_bytes", SIZES)
def test_obstore_gets_a_body_as_it_put_it(store: Any, size_bytes: int) -> None:
    data = noise(size_bytes)
    put = obstore.put(
        store, "body", data, attributes={"Content-Type": "x/y", "Cache-Control": "no-store", "of": "obstore"}
    )
    got = obstore.get(store, "body")
    assert got.attributes["Content-Type"] == "x/y"
    assert got.attributes["Cache-Control"] == "no-store"
    assert got.attributes["of"] == "obstore"
    assert bytes(got.bytes()) == data
    assert obstore.head(store, "body")["e_tag"] == put["e_tag"]


def test_obstore_sends_a_large_body_in_parts(store: Any, s3: Any, bucket: str) -> None:
    data = noise(LARGE)
    obstore.put(store, "large", io.BytesIO(data), chunk_size=5 * MIB, use_multipart=True)
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-5"')
    assert b"".join(bytes(piece) for piece in obstore.get(store, "large").stream()) == data
    ranges = obstore.get_ranges(store, "large", starts=[0, 5 * MIB - 3, LARGE - 5], ends=[7, 5 * MIB + 3, LARGE])
    assert [bytes(piece) for piece in ranges] == [data[:7], data[5 * MIB - 3 : 5 * MIB + 3], data[-5:]]


def test_obstore_creates_updates_copies_and_renames(store: Any, s3: Any, bucket: str) -> None:
    made = obstore.put(store, "a", b"one", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "a", b"two", mode="create")
    changed = obstore.put(store, "a", b"two", mode={"e_tag": made["e_tag"]})
    with pytest.raises(obstore.exceptions.PreconditionError):
        obstore.put(store, "a", b"three", mode={"e_tag": made["e_tag"]})
    with pytest.raises(obstore.exceptions.NotModifiedError):
        obstore.get(store, "a", options={"if_none_match": changed["e_tag"]})
    obstore.copy(store, "a", "b c")
    obstore.rename(store, "b c", "d/e")
    assert stored(s3, bucket) == {"a": b"two", "d/e": b"two"}
    obstore.delete(store, ["a", "d/e", "absent"])
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "a")


def test_obstore_lists_in_order(store: Any, s3: Any, bucket: str) -> None:
    keys = [f"{folder}{number:03}" for folder in ("", "a/", "a b/", "a-/") for number in range(275)]
    put_all(s3, bucket, dict.fromkeys(keys, b""))
    listed = [item["path"] for batch in obstore.list(store, chunk_size=100) for item in batch]
    assert listed == in_order(keys)
    folded = obstore.list_with_delimiter(store, "")
    assert in_order(folded["common_prefixes"]) == ["a", "a b", "a-"]
    after = [item["path"] for batch in obstore.list(store, offset="a/100") for item in batch]
    assert after == [key for key in in_order(keys) if key.encode() > b"a/100"]


def test_obstore_signs_urls(store: Any, endpoint: Endpoint) -> None:
    hour, data = datetime.timedelta(hours=1), noise(MIB)
    assert fetch(endpoint, "PUT", obstore.sign(store, "PUT", "a b+c", hour), data)[0] == 200
    assert fetch(endpoint, "GET", obstore.sign(store, "GET", "a b+c", hour))[:2] == (200, data)


@pytest.mark.parametrize("key", cases("obstore"))
def test_a_hard_name_of_obstore_is_one_object(store: Any, s3: Any, bucket: str, key: str) -> None:
    obstore.put(store, key, key.encode())
    assert stored(s3, bucket) == {key: key.encode()}
    assert bytes(obstore.get(store, key).bytes()) == key.encode()
    obstore.copy(store, key, "copy")
    obstore.delete(store, key)
    assert stored(s3, bucket) == {"copy": key.encode()}


def test_all_hard_names_are_listed_by_obstore(store: Any, s3: Any, bucket: str) -> None:
    keys = sayable("obstore")
    put_all(s3, bucket, dict.fromkeys(keys, b""))
    assert [item["path"] for batch in obstore.list(store) for item in batch] == in_order(keys)


@pytest.mark.parametrize("size_bytes", [*SIZES, LARGE])
def test_pyarrow_reads_a_body_as_it_wrote_it(arrow: Any, bucket: str, size_bytes: int) -> None:
    data = noise(size_bytes)
    with arrow.open_output_stream(f"{bucket}/body", metadata={"Content-Type": "x/y"}) as stream:
        stream.write(data)
    with arrow.open_input_stream(f"{bucket}/body") as stream:
        assert stream.metadata()["Content-Type"] == b"x/y"
        assert stream.read() == data
    with arrow.open_input_file(f"{bucket}/body") as file:
        assert file.size() == size_bytes
        file.seek(size_bytes // 2)
        assert file.read() == data[size_bytes // 2 :]


def test_pyarrow_makes_lists_moves_and_removes(arrow: Any, s3: Any, bucket: str) -> None:
    other = f"{bucket}-other"
    arrow.create_dir(other)
    put_all(s3, other, {"a b/x": b"1", "a/y/z": b"22", "c": b"333"})
    found = arrow.get_file_info(pyarrow.fs.FileSelector(other, recursive=True))
    files = {item.path.removeprefix(f"{other}/"): item.size for item in found if item.type == pyarrow.fs.FileType.File}
    assert files == {"a b/x": 1, "a/y/z": 2, "c": 3}
    arrow.copy_file(f"{other}/c", f"{other}/copy+1")
    arrow.move(f"{other}/c", f"{other}/moved")
    arrow.delete_file(f"{other}/a b/x")
    with pytest.raises(FileNotFoundError):
        arrow.open_input_file(f"{other}/c")
    assert {"a/y/z", "copy+1", "moved"} <= set(stored(s3, other))
    arrow.delete_dir_contents(other)
    assert stored(s3, other) == {}
    arrow.delete_dir(other)
    assert other not in {item["Name"] for item in s3.list_buckets()["Buckets"]}


def test_pyarrow_reads_a_dataset_as_it_wrote_it(arrow: Any, bucket: str) -> None:
    rows = 200_000
    table = pyarrow.table({"part": [number % 5 for number in range(rows)], "value": list(range(rows))})
    pyarrow.dataset.write_dataset(
        table, f"{bucket}/set", filesystem=arrow, format="parquet", partitioning=["part"], partitioning_flavor="hive"
    )
    read = pyarrow.dataset.dataset(f"{bucket}/set", filesystem=arrow, partitioning="hive")
    assert read.count_rows() == rows
    some = read.to_table(filter=pyarrow.dataset.field("part") == 3, columns=["value"])
    assert sorted(some["value"].to_pylist()) == list(range(3, rows, 5))
    pyarrow.parquet.write_table(table, f"{bucket}/one.parquet", filesystem=arrow)
    assert pyarrow.parquet.read_table(f"{bucket}/one.parquet", filesystem=arrow).equals(table)


@pytest.mark.parametrize("key", cases("pyarrow"))
def test_a_hard_name_of_pyarrow_is_one_object(arrow: Any, s3: Any, bucket: str, key: str) -> None:
    path = f"{bucket}/{key}"
    with arrow.open_output_stream(path) as stream:
        stream.write(key.encode())
    assert stored(s3, bucket)[key] == key.encode()
    with arrow.open_input_stream(path) as stream:
        assert stream.read() == key.encode()
    arrow.copy_file(path, f"{bucket}/copy")
    arrow.delete_file(path)
    left = stored(s3, bucket)
    assert key not in left
    assert left["copy"] == key.encode()


def test_all_hard_names_are_listed_by_pyarrow(arrow: Any, s3: Any, bucket: str) -> None:
    # A folder hides a file of its name; a blank name is lost in its XML.
    unsaid = {HARD["file"], HARD["blank alone"]}
    keys = [key for key in sayable("pyarrow") if key not in unsaid]
    put_all(s3, bucket, dict.fromkeys(keys, b"x"))
    found = arrow.get_file_info(pyarrow.fs.FileSelector(bucket, recursive=True))
    listed = [item.path.removeprefix(f"{bucket}/") for item in found if item.type == pyarrow.fs.FileType.File]
    assert in_order(listed) == in_order(keys)
