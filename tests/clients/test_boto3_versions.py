"""boto3: buckets that keep versions, and object lock."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.content import MIB, noise

SOON = datetime.timedelta(hours=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def code(refused: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = refused.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def versioning(s3: Any, bucket: str, status: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def listed(s3: Any, bucket: str, **arguments: Any) -> list[tuple[str, str, bool]]:
    """Key, version id and whether it is the latest: versions, and then markers."""
    found = s3.list_object_versions(Bucket=bucket, **arguments)
    both = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
    return [(entry["Key"], entry["VersionId"], entry["IsLatest"]) for entry in both]


@pytest.fixture
def kept(s3: Any, bucket: str) -> str:
    """A bucket that keeps versions."""
    versioning(s3, bucket, "Enabled")
    return bucket


@pytest.fixture
def locking(s3: Any, bucket: str) -> str:
    """A bucket whose versions can be locked."""
    versioning(s3, bucket, "Enabled")
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    return bucket


def test_versioning_is_switched_on_and_suspended(s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        versioning(s3, bucket, status)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    with pytest.raises(ClientError) as refused:
        versioning(s3, bucket, "On")
    assert code(refused) == ("MalformedXML", 400)


def test_each_version_is_read_by_its_id_and_the_newest_without(s3: Any, kept: str) -> None:
    bodies = [b"first", noise(2 * MIB), b"third"]
    ids = [s3.put_object(Bucket=kept, Key="k", Body=body)["VersionId"] for body in bodies]
    assert len(set(ids)) == 3
    assert s3.get_object(Bucket=kept, Key="k")["Body"].read() == bodies[-1]
    for version_id, body in zip(ids, bodies, strict=True):
        got = s3.get_object(Bucket=kept, Key="k", VersionId=version_id)
        assert (got["VersionId"], got["Body"].read()) == (version_id, body)
        assert s3.head_object(Bucket=kept, Key="k", VersionId=version_id)["ContentLength"] == len(body)
    part = s3.get_object(Bucket=kept, Key="k", VersionId=ids[1], Range="bytes=1048570-1048590")
    assert part["Body"].read() == bodies[1][1048570:1048591]
    assert listed(s3, kept) == [("k", ids[2], True), ("k", ids[1], False), ("k", ids[0], False)]


def test_a_deletion_is_a_marker_and_taking_it_away_brings_the_object_back(s3: Any, kept: str) -> None:
    version_id = s3.put_object(Bucket=kept, Key="k", Body=b"x")["VersionId"]
    gone = s3.delete_object(Bucket=kept, Key="k")
    assert gone["DeleteMarker"]
    for read in (s3.get_object, s3.head_object):
        with pytest.raises(ClientError) as refused:
            read(Bucket=kept, Key="k")
        headers = refused.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["x-amz-delete-marker"] == "true"
        assert headers["x-amz-version-id"] == gone["VersionId"]
        assert code(refused)[1] == 404
        with pytest.raises(ClientError) as refused:
            read(Bucket=kept, Key="k", VersionId=gone["VersionId"])
        assert code(refused)[1] == 405
    assert "Contents" not in s3.list_objects_v2(Bucket=kept)
    assert listed(s3, kept) == [("k", version_id, False), ("k", gone["VersionId"], True)]
    back = s3.delete_object(Bucket=kept, Key="k", VersionId=gone["VersionId"])
    assert back["DeleteMarker"]
    assert back["VersionId"] == gone["VersionId"]
    assert s3.get_object(Bucket=kept, Key="k")["Body"].read() == b"x"


def test_the_null_version_is_replaced_while_versioning_is_suspended(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    versioning(s3, bucket, "Enabled")
    named = s3.put_object(Bucket=bucket, Key="k", Body=b"named")["VersionId"]
    assert listed(s3, bucket) == [("k", named, True), ("k", "null", False)]
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"before"
    versioning(s3, bucket, "Suspended")
    source = {"Bucket": bucket, "Key": "k"}
    assert "VersionId" not in s3.copy_object(Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE")
    where = {"Bucket": bucket, "Key": "k", "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]}
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(**where, PartNumber=1, Body=b"part")["ETag"]}]
    assert "VersionId" not in s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"after")
    assert listed(s3, bucket) == [("k", "null", True), ("k", named, False)]
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"after"
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert (gone["DeleteMarker"], gone["VersionId"]) == (True, "null")
    assert listed(s3, bucket) == [("k", named, False), ("k", "null", True)]


def test_many_versions_are_listed_page_by_page(s3: Any, kept: str) -> None:
    expected = []
    for key in ("a", "b/1", "b/2", "c"):
        ids = [s3.put_object(Bucket=kept, Key=key, Body=b"x")["VersionId"] for _ in range(3)]
        expected += [(key, version_id) for version_id in reversed(ids)]
    for size in (1, 2, 5):
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=kept, PaginationConfig={"PageSize": size})
        found = [(entry["Key"], entry["VersionId"]) for page in pages for entry in page.get("Versions", [])]
        assert found == expected
    rolled = s3.list_object_versions(Bucket=kept, Delimiter="/")
    assert [entry["Prefix"] for entry in rolled["CommonPrefixes"]] == ["b/"]
    assert {entry["Key"] for entry in rolled["Versions"]} == {"a", "c"}
    assert [key for key, _, _ in listed(s3, kept, Prefix="b/2")] == ["b/2"] * 3


def test_many_are_deleted_at_once_by_version_and_by_marker(s3: Any, kept: str) -> None:
    first = s3.put_object(Bucket=kept, Key="a", Body=b"x")["VersionId"]
    s3.put_object(Bucket=kept, Key="b", Body=b"x")
    asks = [{"Key": "a", "VersionId": first}, {"Key": "b"}]
    done = {entry["Key"]: entry for entry in s3.delete_objects(Bucket=kept, Delete={"Objects": asks})["Deleted"]}
    assert done["a"] == {"Key": "a", "VersionId": first}
    assert done["b"]["DeleteMarker"]
    assert [key for key, _, _ in listed(s3, kept)] == ["b", "b"]
    marker = done["b"]["DeleteMarkerVersionId"]
    asks = [{"Key": "b", "VersionId": marker}]
    (gone,) = s3.delete_objects(Bucket=kept, Delete={"Objects": asks})["Deleted"]
    assert (gone["VersionId"], gone["DeleteMarker"], gone["DeleteMarkerVersionId"]) == (marker, True, marker)


def test_a_version_is_copied_by_its_id_and_an_upload_makes_one(s3: Any, kept: str) -> None:
    first = s3.put_object(Bucket=kept, Key="k", Body=b"first")["VersionId"]
    s3.put_object(Bucket=kept, Key="k", Body=b"second")
    source = {"Bucket": kept, "Key": "k", "VersionId": first}
    copied = s3.copy_object(Bucket=kept, Key="k", CopySource=source)
    assert copied["CopySourceVersionId"] == first
    assert s3.get_object(Bucket=kept, Key="k")["Body"].read() == b"first"
    assert len(listed(s3, kept)) == 3
    upload = s3.create_multipart_upload(Bucket=kept, Key="k")["UploadId"]
    where = {"Bucket": kept, "Key": "k", "UploadId": upload}
    part = s3.upload_part(**where, PartNumber=1, Body=noise(MIB))
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert s3.head_object(Bucket=kept, Key="k")["VersionId"] == done["VersionId"]
    assert len(listed(s3, kept)) == 4


def test_ids_that_are_none_and_those_that_are_gone(s3: Any, kept: str) -> None:
    version_id = s3.put_object(Bucket=kept, Key="k", Body=b"x")["VersionId"]
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=kept, Key="k", VersionId="nonsense")
    assert code(refused) == ("InvalidArgument", 400)
    s3.delete_object(Bucket=kept, Key="k", VersionId=version_id)
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=kept, Key="k", VersionId=version_id)
    assert code(refused) == ("NoSuchVersion", 404)
    s3.delete_object(Bucket=kept, Key="k", VersionId=version_id)


def test_a_bucket_is_empty_when_its_versions_and_markers_are_gone(s3: Any, kept: str) -> None:
    s3.put_object(Bucket=kept, Key="k", Body=b"x")
    s3.delete_object(Bucket=kept, Key="k")
    with pytest.raises(ClientError) as refused:
        s3.delete_bucket(Bucket=kept)
    assert code(refused) == ("BucketNotEmpty", 409)
    for key, version_id, _ in listed(s3, kept):
        s3.delete_object(Bucket=kept, Key=key, VersionId=version_id)
    s3.delete_bucket(Bucket=kept)


def test_tags_belong_to_a_version(s3: Any, kept: str) -> None:
    first = s3.put_object(Bucket=kept, Key="k", Body=b"x", Tagging="a=1")["VersionId"]
    s3.put_object(Bucket=kept, Key="k", Body=b"y")
    tags = {"TagSet": [{"Key": "b", "Value": "2"}]}
    assert s3.put_object_tagging(Bucket=kept, Key="k", VersionId=first, Tagging=tags)["VersionId"] == first
    assert s3.get_object_tagging(Bucket=kept, Key="k", VersionId=first)["TagSet"] == tags["TagSet"]
    assert s3.get_object_tagging(Bucket=kept, Key="k")["TagSet"] == []


# --- object lock ---


def test_a_bucket_is_made_for_locks(s3: Any, bucket: str) -> None:
    name = f"{bucket[:50]}-locks"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    found = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}
    with pytest.raises(ClientError) as refused:
        versioning(s3, name, "Suspended")
    assert code(refused) == ("InvalidBucketState", 409)
    s3.delete_bucket(Bucket=name)


def test_defaults_of_locks_come_back_and_wrong_ones_are_refused(s3: Any, locking: str) -> None:
    def put(enabled: str = "Enabled", **default: Any) -> None:
        configuration = {"ObjectLockEnabled": enabled, "Rule": {"DefaultRetention": default}}
        s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=configuration)

    put(Mode="GOVERNANCE", Days=1)
    put(Mode="COMPLIANCE", Years=1)
    found = s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"]
    assert found["Rule"] == {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 1}}
    wrongs: tuple[tuple[dict[str, Any], str], ...] = (
        ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, "MalformedXML"),
        ({"Mode": "GOVERNANCE", "Days": 0}, "InvalidRetentionPeriod"),
        ({"Mode": "GOVERNANCE", "Years": -1}, "InvalidRetentionPeriod"),
        ({"Mode": "abc", "Years": 1}, "MalformedXML"),
        ({"Mode": "governance", "Years": 1}, "MalformedXML"),
        ({"enabled": "Disabled", "Mode": "GOVERNANCE", "Years": 1}, "MalformedXML"),
    )
    for wrong, expected in wrongs:
        with pytest.raises(ClientError) as refused:
            put(**wrong)
        assert code(refused) == (expected, 400), wrong


def test_locks_need_a_bucket_that_was_made_for_them(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": now() + SOON}
    works: tuple[tuple[Callable[[], Any], tuple[str, int]], ...] = (
        (lambda: s3.get_object_lock_configuration(Bucket=bucket), ("ObjectLockConfigurationNotFoundError", 404)),
        (
            lambda: s3.put_object_lock_configuration(
                Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
            ),
            ("InvalidBucketState", 409),
        ),
        (lambda: s3.put_object_retention(Bucket=bucket, Key="k", Retention=retention), ("InvalidRequest", 400)),
        (lambda: s3.get_object_retention(Bucket=bucket, Key="k"), ("InvalidRequest", 400)),
        (lambda: s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "ON"}), ("InvalidRequest", 400)),
        (lambda: s3.get_object_legal_hold(Bucket=bucket, Key="k"), ("InvalidRequest", 400)),
    )
    for work, expected in works:
        with pytest.raises(ClientError) as refused:
            work()
        assert code(refused) == expected


def test_a_retention_keeps_a_version_and_a_bypass_lets_it_go(s3: Any, locking: str) -> None:
    until = (now() + SOON).replace(microsecond=0)
    put = s3.put_object(
        Bucket=locking, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until
    )
    version = {"Bucket": locking, "Key": "k", "VersionId": put["VersionId"]}
    head = s3.head_object(Bucket=locking, Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
    assert s3.get_object_retention(**version)["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    with pytest.raises(ClientError) as refused:
        s3.delete_object(**version)
    assert code(refused) == ("AccessDenied", 403)
    objects = [{"Key": "k", "VersionId": put["VersionId"]}]
    (error,) = s3.delete_objects(Bucket=locking, Delete={"Objects": objects})["Errors"]
    assert error["Code"] == "AccessDenied"
    with pytest.raises(ClientError) as refused:
        s3.put_object_retention(**version, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": now() + SOON / 2})
    assert code(refused) == ("AccessDenied", 403)
    assert s3.delete_object(Bucket=locking, Key="k")["DeleteMarker"]
    assert "Errors" not in s3.delete_objects(
        Bucket=locking, Delete={"Objects": objects}, BypassGovernanceRetention=True
    )


def test_a_legal_hold_keeps_a_version_until_it_is_lifted(s3: Any, locking: str) -> None:
    put = s3.put_object(Bucket=locking, Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON")
    version = {"Bucket": locking, "Key": "k", "VersionId": put["VersionId"]}
    assert s3.get_object_legal_hold(**version)["LegalHold"]["Status"] == "ON"
    assert s3.head_object(**version)["ObjectLockLegalHoldStatus"] == "ON"
    with pytest.raises(ClientError) as refused:
        s3.delete_object(**version, BypassGovernanceRetention=True)
    assert code(refused) == ("AccessDenied", 403)
    with pytest.raises(ClientError) as refused:
        s3.put_object_legal_hold(**version, LegalHold={"Status": "abc"})
    assert code(refused) == ("MalformedXML", 400)
    s3.put_object_legal_hold(**version, LegalHold={"Status": "OFF"})
    s3.delete_object(**version)


def test_retentions_that_are_none(s3: Any, locking: str) -> None:
    s3.put_object(Bucket=locking, Key="k", Body=b"x")
    with pytest.raises(ClientError) as refused:
        s3.get_object_retention(Bucket=locking, Key="k")
    assert code(refused) == ("NoSuchObjectLockConfiguration", 404)
    with pytest.raises(ClientError) as refused:
        retention = {"Mode": "governance", "RetainUntilDate": now() + SOON}
        s3.put_object_retention(Bucket=locking, Key="k", Retention=retention)
    assert code(refused) == ("MalformedXML", 400)
    for arguments in ({"ObjectLockMode": "GOVERNANCE"}, {"ObjectLockRetainUntilDate": now() + SOON}):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=locking, Key="k", Body=b"y", **arguments)
        assert code(refused) == ("InvalidArgument", 400)
