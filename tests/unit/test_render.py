"""Every result leaves as the SDK's own service model expects it, and every error with its status and code."""

from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from holdfast import s3
from holdfast.digests import checksum_text
from holdfast.errors import CODES, S3Error
from holdfast.limits import RETRY_AFTER_S
from holdfast.model import (
    Algorithm,
    Bucket,
    Checksum,
    ChecksumType,
    Facts,
    Part,
    Span,
    Version,
    pack,
    replace,
)
from holdfast.s3.settings import SettingGot
from holdfast.s3.versioning import VersionEntry, Versioning, VersionsListed, VersionsPage
from holdfast.wire.parse import encode_token
from holdfast.wire.render import Reply, render, render_error, render_object
from holdfast.xml import parse_xml
from tests.unit.loopback import Loopback, make

AT_MS = 1_767_323_045_000
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CRC = Checksum(Algorithm.CRC32, checksum_text(Algorithm.CRC32, b"hello"))
COMPOSITE = Checksum(Algorithm.SHA256, checksum_text(Algorithm.SHA256, b"x") + "-2", ChecksumType.COMPOSITE)
NAMES = {"owner": "holdfast"}
OWNER = {"ID": "owner", "DisplayName": "holdfast"}
HARD = "a b+c%/é//../<&>\"'\r\n\t.~"
ETAG = "5d41402abc4b2a76b9719d911017c592"


def version(**changes: Any) -> Version:
    return replace(Version(1, 5, ETAG, AT_MS, Facts(), (), 0), **changes)


def answer(result: object, operation: str, /, **arguments: Any) -> dict[str, Any]:
    """What boto3 makes of a result that is rendered in reply to a call."""
    loop = Loopback()
    loop.answer = result
    reply = getattr(loop.client, operation)(**arguments)
    reply["HTTP"] = reply.pop("ResponseMetadata")["HTTPStatusCode"]
    return dict(reply)


def head(reply: Reply) -> dict[str, str]:
    names = [name.lower() for name, _ in reply.headers]
    assert len(names) == len(set(names)), "a header twice"
    return {name.lower(): value for name, value in reply.headers}


# --- objects ---


def got(ask: s3.GetObject, shown: Version, **how: Any) -> dict[str, str]:
    span = how.pop("span", Span(0, shown.size))
    return head(render_object(ask, s3.ObjectGot(shown, span, **how)))


def test_an_object_arrives_with_all_its_metadata() -> None:
    facts = Facts(
        system={
            "content-type": "text/plain",
            "cache-control": "no-cache",
            "content-disposition": "attachment",
            "content-encoding": "identity",
            "content-language": "de",
            "expires": "Wed, 02 Jan 2030 03:04:05 GMT",
            "x-amz-website-redirect-location": "/other",
        },
        user={"colour": "red", "": "no name"},
        storage_class="GLACIER",
        checksum=CRC,
    )
    shown = version(facts=facts)
    reply = answer(s3.ObjectGot(shown, Span(0, 5), data=b"hello"), "get_object", Bucket="photos", Key="a")
    assert reply.pop("Body").read() == b"hello"
    assert reply == {
        "HTTP": 200,
        "AcceptRanges": "bytes",
        "LastModified": AT,
        "ContentLength": 5,
        "ETag": f'"{ETAG}"',
        "ChecksumCRC32": CRC.value,
        "ChecksumType": "FULL_OBJECT",
        "CacheControl": "no-cache",
        "ContentDisposition": "attachment",
        "ContentEncoding": "identity",
        "ContentLanguage": "de",
        "ContentType": "text/plain",
        "Expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        "ExpiresString": "Wed, 02 Jan 2030 03:04:05 GMT",
        "WebsiteRedirectLocation": "/other",
        "Metadata": {"colour": "red", "": "no name"},
        "StorageClass": "GLACIER",
    }


def test_head_announces_the_body_that_it_does_not_send() -> None:
    shown = s3.ObjectGot(version(), Span(0, 5), data=b"hello")
    reply = answer(shown, "head_object", Bucket="photos", Key="a")
    assert (reply["ContentLength"], reply["ContentType"]) == (5, "binary/octet-stream")
    assert "StorageClass" not in reply
    assert render_object(s3.GetObject("photos", "a", head=True), shown).body == b""


def test_a_streamed_body_is_announced_by_the_size_of_its_span() -> None:
    reply = render_object(s3.GetObject("photos", "a"), s3.ObjectGot(version(size=10), Span(0, 10)))
    assert (reply.status, reply.body, reply.length) == (200, b"", 10)


def test_a_range_is_206_without_the_checksum_of_the_whole() -> None:
    shown = version(facts=Facts(checksum=CRC))
    loop = Loopback()
    loop.answer = s3.ObjectGot(shown, Span(1, 3), data=b"el")
    reply = loop.client.get_object(Bucket="photos", Key="a", Range="bytes=1-2", ChecksumMode="ENABLED")
    assert reply["Body"].read() == b"el"
    assert (loop.reply.status, reply["ContentRange"], reply["ContentLength"]) == (206, "bytes 1-2/5", 2)
    assert "ChecksumCRC32" not in reply
    whole = s3.GetObject("photos", "a", range=s3.RangeAsk(0), checksum_mode=True)
    assert CRC.algorithm.header not in got(whole, shown, data=b"hello")


def test_checksums_come_only_when_asked_for() -> None:
    shown = version(facts=Facts(checksum=CRC))
    assert CRC.algorithm.header not in got(s3.GetObject("photos", "a"), shown)
    headers = got(s3.GetObject("photos", "a", checksum_mode=True), version(facts=Facts(checksum=COMPOSITE)))
    assert headers["x-amz-checksum-sha256"] == COMPOSITE.value
    assert headers["x-amz-checksum-type"] == "COMPOSITE"


def test_a_part_comes_with_its_own_checksum_and_the_number_of_parts() -> None:
    ask = s3.GetObject("photos", "a", part_number=1, checksum_mode=True)
    shown = version(size=9, facts=Facts(checksum=COMPOSITE))
    headers = got(ask, shown, span=Span(0, 5), parts=2, part_checksum=CRC)
    assert headers["content-range"] == "bytes 0-4/9"
    assert headers["x-amz-mp-parts-count"] == "2"
    assert headers["x-amz-checksum-crc32"] == CRC.value
    assert "x-amz-checksum-sha256" not in headers
    empty = render_object(ask, s3.ObjectGot(version(size=0), Span(0, 0), data=b""))
    assert empty.status == 200
    assert "content-range" not in head(empty)


def test_overrides_take_the_place_of_what_is_stored() -> None:
    ask = s3.GetObject("photos", "a", overrides={"content-type": "text/x", "expires": "never"})
    headers = got(ask, version(facts=Facts(system={"content-type": "text/plain", "content-language": "de"})))
    assert (headers["content-type"], headers["expires"], headers["content-language"]) == ("text/x", "never", "de")
    assert got(s3.GetObject("photos", "a", overrides={"content-type": "t/x"}), version())["content-type"] == "t/x"


# --- writes ---


def test_writes_answer_with_etag_and_checksum() -> None:
    stored = answer(s3.ObjectPut(ETAG, CRC, 5), "put_object", Bucket="photos", Key="a", Body=b"hello")
    assert stored == {
        "HTTP": 200,
        "ETag": f'"{ETAG}"',
        "ChecksumCRC32": CRC.value,
        "ChecksumType": "FULL_OBJECT",
    }
    part = answer(
        s3.PartUploaded(ETAG, CRC), "upload_part", Bucket="photos", Key="a", UploadId="u", PartNumber=1, Body=b"hello"
    )
    assert part == {"HTTP": 200, "ETag": f'"{ETAG}"', "ChecksumCRC32": CRC.value}
    assert answer(s3.ObjectPut(ETAG, None, 5), "put_object", Bucket="photos", Key="a") == {
        "HTTP": 200,
        "ETag": f'"{ETAG}"',
    }


def test_copies_answer_in_their_body() -> None:
    copied = answer(s3.ObjectCopied(ETAG, AT_MS, CRC), "copy_object", Bucket="photos", Key="b", CopySource="photos/a")
    assert copied["CopyObjectResult"] == {
        "ETag": f'"{ETAG}"',
        "LastModified": AT,
        "ChecksumCRC32": CRC.value,
        "ChecksumType": "FULL_OBJECT",
    }
    part = answer(
        s3.PartCopied(ETAG, AT_MS, CRC),
        "upload_part_copy",
        Bucket="photos",
        Key="b",
        CopySource="photos/a",
        UploadId="u",
        PartNumber=1,
    )
    assert part["CopyPartResult"] == {"ETag": f'"{ETAG}"', "LastModified": AT, "ChecksumCRC32": CRC.value}


def test_deletions_answer_without_a_body() -> None:
    assert answer(s3.ObjectDeleted(), "delete_object", Bucket="photos", Key="a") == {"HTTP": 204}
    assert answer(s3.Done(), "delete_bucket", Bucket="photos") == {"HTTP": 204}
    upload = {"Bucket": "photos", "Key": "a", "UploadId": "u"}
    assert answer(s3.Done(), "abort_multipart_upload", **upload) == {"HTTP": 204}


def test_deletions_of_many_name_each_key() -> None:
    failed = s3.DeleteFailed("c", "x", "NoSuchVersion", "It <is> not there.")
    gone = (s3.KeyDeleted(HARD), s3.KeyDeleted("b", "null"), s3.KeyDeleted("d", "", True, "m"))
    arguments = {"Bucket": "photos", "Delete": {"Objects": [{"Key": "a"}]}}
    errors = [{"Key": "c", "VersionId": "x", "Code": "NoSuchVersion", "Message": "It <is> not there."}]
    loud = answer(s3.ObjectsDeleted(gone, (failed,), False), "delete_objects", **arguments)
    assert loud["Deleted"] == [
        {"Key": HARD},
        {"Key": "b", "VersionId": "null"},
        {"Key": "d", "DeleteMarker": True, "DeleteMarkerVersionId": "m"},
    ]
    assert loud["Errors"] == errors
    quiet = answer(s3.ObjectsDeleted(gone, (failed,), True), "delete_objects", **arguments)
    assert "Deleted" not in quiet
    assert quiet["Errors"] == errors


# --- buckets ---


def test_buckets_are_listed_with_their_owner() -> None:
    buckets = (Bucket("photos", AT_MS, "", "owner"), Bucket("videos", AT_MS, "", "owner", "eu-west-1"))
    page = answer(s3.BucketsListed(buckets, "owner", "p", "videos", NAMES), "list_buckets", Prefix="p", MaxBuckets=2)
    assert page == {
        "HTTP": 200,
        "Owner": OWNER,
        "Prefix": "p",
        "ContinuationToken": encode_token("videos"),
        "Buckets": [
            {"Name": "photos", "CreationDate": AT},
            {"Name": "videos", "CreationDate": AT, "BucketRegion": "eu-west-1"},
        ],
    }
    assert answer(s3.BucketsListed((), "owner", names=NAMES), "list_buckets") == {
        "HTTP": 200,
        "Owner": OWNER,
        "Buckets": [],
    }


def test_buckets_answer_for_themselves() -> None:
    assert answer(s3.BucketCreated("photos"), "create_bucket", Bucket="photos")["Location"] == "/photos"
    seen = answer(s3.BucketHead("photos", "eu-west-1"), "head_bucket", Bucket="photos")
    assert (seen["HTTP"], seen["BucketRegion"]) == (200, "eu-west-1")
    there = answer(s3.Location("eu-west-1"), "get_bucket_location", Bucket="photos")
    assert there["LocationConstraint"] == "eu-west-1"
    classic = answer(s3.Location("us-east-1"), "get_bucket_location", Bucket="photos")
    assert classic["LocationConstraint"] is None
    unset = SettingGot("photos", "versioning", None)
    assert answer(unset, "get_bucket_versioning", Bucket="photos") == {"HTTP": 200}
    suspended = SettingGot("photos", "versioning", pack(Versioning("Suspended")))
    assert answer(suspended, "get_bucket_versioning", Bucket="photos")["Status"] == "Suspended"


# --- listings ---

CONTENT = {"LastModified": AT, "ETag": f'"{ETAG}"', "Size": 5, "StorageClass": "STANDARD"}
CHECKED = {**CONTENT, "ChecksumAlgorithm": ["CRC32"], "ChecksumType": "FULL_OBJECT"}


@pytest.mark.parametrize("encode", [{}, {"EncodingType": "url"}])
def test_objects_are_listed_in_version_1(encode: dict[str, str]) -> None:
    ask = s3.ListObjects("photos", False, prefix="a ", delimiter="/", limit=2, encode=True, marker="a +")
    page = s3.Page((("a b+é", version(facts=Facts(checksum=CRC))),), ("a c/",), "a c/")
    reply = answer(
        s3.ObjectsListed(ask, page, "owner", NAMES), "list_objects", Bucket="photos", Prefix="a ", Marker="a +"
    )
    assert reply == {
        "HTTP": 200,
        "Name": "photos",
        "Prefix": "a%20",  # This SDK decodes the prefix of version 2 only.
        "Delimiter": "/",
        "MaxKeys": 2,
        "EncodingType": "url",
        "IsTruncated": True,
        "Marker": "a +",
        "NextMarker": "a c/",
        "Contents": [{"Key": "a b+é", **CHECKED, "Owner": OWNER}],
        "CommonPrefixes": [{"Prefix": "a c/"}],
    }


def test_objects_are_listed_in_version_2() -> None:
    ask = s3.ListObjects(
        "photos", True, prefix="a ", delimiter="/", limit=2, encode=True, start_after="a", token="dG9rZW4"
    )
    page = s3.Page(((HARD, version()),), ("a c/",), "a c/")
    listed = s3.ObjectsListed(ask, page, "owner", NAMES)
    reply = answer(listed, "list_objects_v2", Bucket="photos")
    assert reply == {
        "HTTP": 200,
        "Name": "photos",
        "Prefix": "a ",
        "Delimiter": "/",
        "MaxKeys": 2,
        "KeyCount": 2,
        "EncodingType": "url",
        "IsTruncated": True,
        "ContinuationToken": "dG9rZW4",
        "NextContinuationToken": encode_token("a c/"),
        "StartAfter": "a",
        "Contents": [{"Key": HARD, **CONTENT}],
        "CommonPrefixes": [{"Prefix": "a c/"}],
    }
    owned = replace(listed, ask=replace(ask, fetch_owner=True))
    assert answer(owned, "list_objects_v2", Bucket="photos")["Contents"][0]["Owner"] == OWNER


def test_an_empty_listing_says_so() -> None:
    nothing = s3.Page((), (), "")
    ask = s3.ListObjects("photos", True, encode=True)
    assert answer(s3.ObjectsListed(ask, nothing, "owner", NAMES), "list_objects_v2", Bucket="photos") == {
        "HTTP": 200,
        "Name": "photos",
        "Prefix": "",
        "MaxKeys": 1000,
        "KeyCount": 0,
        "EncodingType": "url",
        "IsTruncated": False,
    }
    first = answer(
        s3.ObjectsListed(s3.ListObjects("photos", False), nothing, "owner", NAMES), "list_objects", Bucket="photos"
    )
    assert (first["Marker"], first["IsTruncated"], "NextMarker" in first) == ("", False, False)


def test_an_unencoded_listing_holds_hard_keys() -> None:
    ask = s3.ListObjects("photos", True)
    listed = s3.ObjectsListed(ask, s3.Page(((HARD, version()),), (), ""), "owner", NAMES)
    assert answer(listed, "list_objects_v2", Bucket="photos", EncodingType="url")["Contents"][0]["Key"] == HARD
    control = s3.ObjectsListed(ask, s3.Page((("a\x01b", version()),), (), ""), "owner", NAMES)
    assert b"<Key>a&#x1;b</Key>" in render(make("GET", "/photos"), control).body


def test_versions_are_listed() -> None:
    ask = s3.ListVersions("photos", delimiter="/", key_marker="0", version_marker="null", limit=1, encode=True)
    marker = Version(2, 0, "", AT_MS, Facts(), (), 0, version_id="m", marker=True)
    entries = (VersionEntry(HARD, marker, True, 0), VersionEntry(HARD, version(), False, AT_MS))
    page = VersionsPage(entries, (), HARD, "null")
    reply = answer(VersionsListed(ask, page, "owner", NAMES), "list_object_versions", Bucket="photos")
    assert reply == {
        "HTTP": 200,
        "Name": "photos",
        "Prefix": "",
        "Delimiter": "/",
        "MaxKeys": 1,
        "EncodingType": "url",
        "IsTruncated": True,
        "KeyMarker": "0",
        "VersionIdMarker": "null",
        "NextKeyMarker": HARD,
        "NextVersionIdMarker": "null",
        "Versions": [{"Key": HARD, "VersionId": "null", "IsLatest": False, **CONTENT, "Owner": OWNER}],
        "DeleteMarkers": [
            {
                "Key": HARD,
                "VersionId": "m",
                "IsLatest": True,
                "LastModified": CONTENT["LastModified"],
                "Owner": OWNER,
            }
        ],
    }
    prefixed = VersionsListed(ask, VersionsPage((), ("a/",), "a/", ""), "owner", NAMES)
    assert "NextVersionIdMarker" not in answer(prefixed, "list_object_versions", Bucket="photos")


# --- multipart ---


def upload(**changes: Any) -> s3.Upload:
    return replace(s3.Upload("photos", "a", "u1", AT_MS, Facts(storage_class="STANDARD_IA")), **changes)


def test_an_upload_is_created_and_completed() -> None:
    created = answer(
        s3.UploadCreated("photos", HARD, "u1", Algorithm.CRC32C, ChecksumType.FULL_OBJECT),
        "create_multipart_upload",
        Bucket="photos",
        Key="a",
    )
    assert created == {
        "HTTP": 200,
        "Bucket": "photos",
        "Key": HARD,
        "UploadId": "u1",
        "ChecksumAlgorithm": "CRC32C",
        "ChecksumType": "FULL_OBJECT",
    }
    completed = answer(
        s3.UploadCompleted("photos", "a b", ETAG + "-2", COMPOSITE),
        "complete_multipart_upload",
        Bucket="photos",
        Key="a b",
        UploadId="u1",
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "e"}]},
    )
    assert completed == {
        "HTTP": 200,
        "Bucket": "photos",
        "Key": "a b",
        "ETag": f'"{ETAG}-2"',
        "Location": "http://127.0.0.1:9/photos/a%20b",
        "ChecksumSHA256": COMPOSITE.value,
        "ChecksumType": "COMPOSITE",
    }
    result = s3.UploadCompleted("photos", "a", ETAG, None)
    secure = render(make("POST", "/photos/a?uploadId=u"), result, secure=True)
    assert b"<Location>https://localhost/photos/a</Location>" in secure.body


def test_uploads_are_listed() -> None:
    ask = s3.ListMultipartUploads("photos", delimiter="/", key_marker="0", upload_marker="u0", limit=2, encode=True)
    page = s3.UploadsPage(
        (upload(), upload(key="é", algorithm=Algorithm.CRC32, kind=ChecksumType.COMPOSITE)), ("x/",), "x/", "u9"
    )
    reply = answer(s3.UploadsListed(ask, page, "owner", NAMES), "list_multipart_uploads", Bucket="photos")
    common = {
        "UploadId": "u1",
        "Initiated": AT,
        "StorageClass": "STANDARD_IA",
        "Owner": OWNER,
        "Initiator": OWNER,
    }
    assert reply == {
        "HTTP": 200,
        "Bucket": "photos",
        "Prefix": "",
        "Delimiter": "/",
        "MaxUploads": 2,
        "EncodingType": "url",
        "IsTruncated": True,
        "KeyMarker": "0",
        "UploadIdMarker": "u0",
        "NextKeyMarker": "x/",
        "NextUploadIdMarker": "u9",
        "Uploads": [
            {"Key": "a", **common},
            {"Key": "%C3%A9", **common, "ChecksumAlgorithm": "CRC32", "ChecksumType": "COMPOSITE"},
        ],
        "CommonPrefixes": [{"Prefix": "x/"}],
    }


PARTS = (
    Part(1, 5, ETAG, b"", "s1", CRC, AT_MS),
    Part(3, 5, ETAG, b"", "s3", CRC, AT_MS),
)


def test_parts_are_listed() -> None:
    ask = s3.ListParts("photos", "a", "u1", after=0, limit=2)
    started = upload(algorithm=Algorithm.CRC32, kind=ChecksumType.FULL_OBJECT)
    listed = s3.PartsListed(ask, started, PARTS, 3, "owner", NAMES)
    reply = answer(listed, "list_parts", Bucket="photos", Key="a", UploadId="u1")
    part = {"LastModified": AT, "ETag": f'"{ETAG}"', "Size": 5, "ChecksumCRC32": CRC.value}
    assert reply == {
        "HTTP": 200,
        "Bucket": "photos",
        "Key": "a",
        "UploadId": "u1",
        "PartNumberMarker": 0,
        "NextPartNumberMarker": 3,
        "MaxParts": 2,
        "IsTruncated": True,
        "Parts": [{"PartNumber": 1, **part}, {"PartNumber": 3, **part}],
        "Initiator": OWNER,
        "Owner": OWNER,
        "StorageClass": "STANDARD_IA",
        "ChecksumAlgorithm": "CRC32",
        "ChecksumType": "FULL_OBJECT",
    }


def attributes(*names: str, multipart: bool = True, parts: tuple[Part, ...] = PARTS) -> dict[str, Any]:
    shown = version(facts=Facts(checksum=COMPOSITE))
    result = s3.ObjectAttributes(shown, names, multipart, parts, 5, 2, 0, True)
    return answer(result, "get_object_attributes", Bucket="photos", Key="a", ObjectAttributes=["ETag"])


def test_attributes_are_those_asked_for() -> None:
    assert attributes("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize") == {
        "HTTP": 200,
        "LastModified": AT,
        "ETag": ETAG,
        "Checksum": {"ChecksumSHA256": COMPOSITE.value, "ChecksumType": "COMPOSITE"},
        "ObjectParts": {
            "TotalPartsCount": 5,
            "PartNumberMarker": 0,
            "NextPartNumberMarker": 3,
            "MaxParts": 2,
            "IsTruncated": True,
            "Parts": [
                {"PartNumber": 1, "Size": 5, "ChecksumCRC32": CRC.value},
                {"PartNumber": 3, "Size": 5, "ChecksumCRC32": CRC.value},
            ],
        },
        "StorageClass": "STANDARD",
        "ObjectSize": 5,
    }
    assert attributes("ObjectSize") == {"HTTP": 200, "LastModified": AT, "ObjectSize": 5}


def test_parts_without_checksums_are_only_counted() -> None:
    plain = (replace(PARTS[0], checksum=None),)
    assert attributes("ObjectParts", parts=plain)["ObjectParts"] == {"TotalPartsCount": 5}
    assert "ObjectParts" not in attributes("ObjectParts", multipart=False, parts=())


# --- errors ---


def failed(error: S3Error, *, is_head: bool = False, resource: str = "/photos/a") -> Reply:
    return render_error(error, request_id="id1", host_id="host1", resource=resource, head=is_head)


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_renders_with_its_status(code: str) -> None:
    reply = failed(S3Error(code))
    assert reply.status == CODES[code].status
    if reply.status == 304:
        assert (reply.headers, reply.body) == ([], b"")
        return
    root = ElementTree.fromstring(reply.body)
    told = {child.tag: child.text for child in root}
    assert root.tag == "Error"
    assert told == {
        "Code": code,
        "Message": CODES[code].message,
        "Resource": "/photos/a",
        "RequestId": "id1",
        "HostId": "host1",
    }
    assert head(reply)["content-type"] == "application/xml"
    assert (head(reply).get("retry-after") == str(RETRY_AFTER_S)) == (reply.status == 503)
    silent = failed(S3Error(code), is_head=True)
    assert (silent.status, silent.body, silent.length) == (reply.status, b"", 0)


def test_errors_carry_their_fields_and_headers() -> None:
    error = S3Error("InvalidRange", fields={"RangeRequested": "bytes=9-", "ActualObjectSize": "5"})
    reply = failed(error)
    assert head(reply)["content-range"] == "bytes */5"
    assert b"<ActualObjectSize>5</ActualObjectSize>" in reply.body
    assert b"<RangeRequested>bytes=9-</RangeRequested>" in reply.body
    assert head(failed(S3Error("SlowDown", headers={"retry-after": "9"})))["retry-after"] == "9"
    unchanged = failed(S3Error("NotModified", headers={"ETag": '"e"'}))
    assert (unchanged.status, unchanged.headers, unchanged.body) == (304, [("ETag", '"e"')], b"")


def test_an_sdk_reads_the_code_of_an_error_about_a_name_that_xml_cannot_hold() -> None:
    loop = Loopback()
    for key in ("a\x01b", "a\ufffeb", "\x1b[31m"):
        loop.answer = S3Error("NoSuchKey", fields={"Key": key})
        with pytest.raises(loop.client.exceptions.NoSuchKey):
            loop.client.get_object(Bucket="photos", Key=key)


def test_an_sdk_reads_errors() -> None:
    loop = Loopback()
    loop.answer = S3Error("NoSuchKey", fields={"Key": HARD})
    with pytest.raises(loop.client.exceptions.NoSuchKey) as caught:
        loop.client.get_object(Bucket="photos", Key=HARD)
    told = caught.value.response["Error"]
    assert (told["Code"], told["Message"], told["Key"]) == ("NoSuchKey", CODES["NoSuchKey"].message, HARD)
    assert told["Resource"] == "/photos/" + HARD
    with pytest.raises(ClientError, match="404"):
        loop.client.head_object(Bucket="photos", Key="a")
    loop.answer = S3Error("NotModified")
    with pytest.raises(ClientError, match="304"):
        loop.client.get_object(Bucket="photos", Key="a", IfNoneMatch='"e"')


@given(st.text(), st.text(), st.sampled_from(sorted(CODES)))
def test_whatever_a_client_sent_its_error_is_one_document(resource: str, field: str, code: str) -> None:
    reply = failed(S3Error(code, field, fields={"Key": field}), resource=resource)
    if reply.status != 304:
        assert reply.body.decode().count("<Error>") == 1
        assert reply.body.endswith(b"</Error>")
        assert parse_xml(reply.body, "Error").get("Code") == code


def test_a_message_that_repeats_a_control_character_can_be_read() -> None:
    body = failed(S3Error("AuthorizationQueryParametersError", 'incorrect date format "\x01\0".')).body
    assert parse_xml(body, "Error").get("Message") == 'incorrect date format "\ufffd\ufffd".'
