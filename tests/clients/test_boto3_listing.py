"""boto3: listings are complete, in order, and paged."""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.names import in_order
from tests.clients.server import Endpoint

FOLDERS = ["", "a/", "a b/", "a-/", "a/x/", "a/x/y/", "a0/", "é/", "\U0001f980/", "z/"]
KEYS = [f"{folder}{number:03}" for folder in FOLDERS for number in range(250)]
"""2,500 keys whose order differs between bytes, folders and UTF-16."""

_filled: dict[Endpoint, str] = {}


@pytest.fixture
def filled(s3: Any, endpoint: Endpoint, new_bucket: Callable[[], str]) -> str:
    """A bucket with all keys, the same for all tests of this module, which only read it."""
    if endpoint not in _filled:
        bucket = new_bucket()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), KEYS))
        _filled[endpoint] = bucket
    return _filled[endpoint]


def _walk(s3: Any, operation: str, **asked: Any) -> tuple[list[str], list[str], list[int]]:
    """All keys, all prefixes, and the size of each page."""
    keys: list[str] = []
    prefixes: list[str] = []
    sizes: list[int] = []
    for page in s3.get_paginator(operation).paginate(**asked):
        contents, folded = page.get("Contents", ()), page.get("CommonPrefixes", ())
        keys += [item["Key"] for item in contents]
        prefixes += [item["Prefix"] for item in folded]
        sizes.append(len(contents) + len(folded))
        assert page.get("KeyCount", sizes[-1]) == sizes[-1]
    return keys, prefixes, sizes


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
@pytest.mark.parametrize("page", [1000, 333])
def test_every_key_is_listed_once_in_byte_order(s3: Any, filled: str, operation: str, page: int) -> None:
    keys, _, sizes = _walk(s3, operation, Bucket=filled, PaginationConfig={"PageSize": page})
    assert keys == in_order(KEYS)
    assert sizes == [page] * (len(KEYS) // page) + [len(KEYS) % page]


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
@pytest.mark.parametrize("page", [1000, 7])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/x", "a/x/", "é/"])
def test_a_delimiter_folds_what_lies_below(s3: Any, filled: str, operation: str, page: int, prefix: str) -> None:
    below = [key for key in in_order(KEYS) if key.startswith(prefix)]
    rests = {key: key[len(prefix) :] for key in below}
    keys, prefixes, sizes = _walk(
        s3, operation, Bucket=filled, Prefix=prefix, Delimiter="/", PaginationConfig={"PageSize": page}
    )
    assert keys == [key for key, rest in rests.items() if "/" not in rest]
    assert prefixes == list(dict.fromkeys(prefix + rest.split("/")[0] + "/" for rest in rests.values() if "/" in rest))
    assert max(sizes) <= page


def test_a_delimiter_may_be_any_text(s3: Any, filled: str) -> None:
    keys, prefixes, _ = _walk(s3, "list_objects_v2", Bucket=filled, Prefix="z/", Delimiter="10")
    ours = [f"z/{number:03}" for number in range(250)]
    folded = list(dict.fromkeys(key[: key.index("10", 2) + 2] for key in ours if "10" in key[2:]))
    assert prefixes == folded
    assert keys == [key for key in ours if "10" not in key[2:]]


def test_a_listing_starts_after_a_key_that_need_not_exist(s3: Any, filled: str) -> None:
    ordered = in_order(KEYS)
    for after in ("a/x/", "a/x/249", "a/x/2490", "\U0001f980", "zz"):
        rest = [key for key in ordered if key.encode() > after.encode()]
        keys, _, _ = _walk(s3, "list_objects_v2", Bucket=filled, StartAfter=after, PaginationConfig={"PageSize": 400})
        assert keys == rest
        marked = s3.list_objects(Bucket=filled, Marker=after, MaxKeys=10)
        assert [item["Key"] for item in marked.get("Contents", ())] == rest[:10]


def test_nothing_is_listed_where_nothing_was_asked_for(s3: Any, filled: str) -> None:
    empty = s3.list_objects_v2(Bucket=filled, MaxKeys=0)
    assert (empty["KeyCount"], empty["IsTruncated"]) == (0, False)
    assert s3.list_objects_v2(Bucket=filled, Prefix="nothing/")["KeyCount"] == 0


def test_a_listing_tells_size_etag_time_and_on_demand_the_owner(s3: Any, filled: str) -> None:
    plain = s3.list_objects_v2(Bucket=filled, Prefix="a/x/y/", MaxKeys=3)["Contents"]
    owned = s3.list_objects_v2(Bucket=filled, Prefix="a/x/y/", MaxKeys=3, FetchOwner=True)["Contents"]
    for item, with_owner in zip(plain, owned, strict=True):
        head = s3.head_object(Bucket=filled, Key=item["Key"])
        assert (item["Size"], item["ETag"]) == (head["ContentLength"], head["ETag"])
        assert item["LastModified"].replace(microsecond=0) == head["LastModified"]
        assert item["StorageClass"] == "STANDARD"
        assert "Owner" not in item
        assert with_owner["Owner"]["ID"]


def test_an_unversioned_bucket_lists_one_null_version_of_each_key(s3: Any, filled: str) -> None:
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=filled, Prefix="a/"))
    versions = [version for page in pages for version in page["Versions"]]
    assert [version["Key"] for version in versions] == [key for key in in_order(KEYS) if key.startswith("a/")]
    assert {(version["VersionId"], version["IsLatest"]) for version in versions} == {("null", True)}


def test_buckets_are_listed_and_told_apart(s3: Any, new_bucket: Callable[[], str]) -> None:
    ours = sorted(new_bucket() for _ in range(3))
    listed = [item["Name"] for item in s3.list_buckets()["Buckets"]]
    assert listed == sorted(listed)
    assert set(ours) <= set(listed)
    assert s3.head_bucket(Bucket=ours[0])["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_bucket_location(Bucket=ours[0])["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket=ours[0])
    s3.delete_bucket(Bucket=ours[0])
    assert ours[0] not in {item["Name"] for item in s3.list_buckets()["Buckets"]}
