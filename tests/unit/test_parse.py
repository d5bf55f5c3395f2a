"""Requests become typed values with everything that S3 validates; whatever else comes is refused with a 4xx or 501."""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import s3
from holdfast.digests import SIZES, checksum_text
from holdfast.errors import S3Error
from holdfast.limits import LIST_PAGE, USER_METADATA_BYTES
from holdfast.model import (
    Algorithm,
    Checksum,
    ChecksumType,
    Facts,
    Marks,
    Presence,
    Retention,
    Span,
    WriteCondition,
    replace,
)
from holdfast.s3.settings import GetSetting
from holdfast.wire.operations import BodyKind, route
from holdfast.wire.parse import decode_token, encode_token
from tests.unit.loopback import Loopback, ask, make, understand

CRC = Checksum(Algorithm.CRC32, "AAAAAA==")
SIGNED = "X-Amz-Signature=0"


def sent(operation: str, /, config: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """The typed value of what boto3 sends for a call."""
    loop = Loopback(**(config or {}))
    with pytest.raises(loop.client.exceptions.ClientError):
        getattr(loop.client, operation)(**arguments)
    return loop.value


def refusal(method: str, target: str, headers: dict[str, Any] | None = None, body: bytes = b"") -> S3Error:
    with pytest.raises(S3Error) as caught:
        ask(method, target, headers, body)
    return caught.value


# --- what an SDK sends ---


def test_boto3_put_object_is_understood() -> None:
    value = sent(
        "put_object",
        Bucket="photos",
        Key="a b+c%/é//..",
        Body=b"hello",
        CacheControl="no-cache",
        ContentType="text/plain; charset=utf-8",
        ContentDisposition='attachment; filename="ü.txt"',
        ContentEncoding="gzip",
        ContentLanguage="de",
        Expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        Metadata={"Colour": "Red", "note": "a  b"},
        StorageClass="STANDARD_IA",
        WebsiteRedirectLocation="/other",
        IfNoneMatch="*",
    )
    assert isinstance(value, s3.PutObject)
    assert (value.bucket, value.key) == ("photos", "a b+c%/é//..")
    assert value.facts == Facts(
        system={
            "cache-control": "no-cache",
            "content-type": "text/plain; charset=utf-8",
            "content-disposition": 'attachment; filename="ü.txt"',
            "content-encoding": "gzip",
            "content-language": "de",
            "expires": "Wed, 02 Jan 2030 03:04:05 GMT",
            "x-amz-website-redirect-location": "/other",
        },
        user={"colour": "Red", "note": "a  b"},
        storage_class="STANDARD_IA",
    )
    assert value.condition == WriteCondition(Presence.ABSENT)
    assert value.expected.algorithm is Algorithm.CRC32
    assert value.expected.checksum == Checksum(Algorithm.CRC32, checksum_text(Algorithm.CRC32, b"hello"))


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_boto3_checksums_are_understood(algorithm: Algorithm) -> None:
    value = sent("put_object", Bucket="photos", Key="a", Body=b"x", ChecksumAlgorithm=algorithm.value)
    assert value.expected.checksum == Checksum(algorithm, checksum_text(algorithm, b"x"))


def test_boto3_get_object_is_understood() -> None:
    value = sent(
        "get_object",
        Bucket="photos",
        Key="a",
        Range="bytes=5-9",
        VersionId="null",
        IfMatch='"abc"',
        IfUnmodifiedSince=datetime(2030, 1, 1, tzinfo=UTC),
        ResponseContentType="text/x",
        ResponseCacheControl="no-store",
    )
    assert value == s3.GetObject(
        "photos",
        "a",
        range=s3.RangeAsk(5, 9),
        conditions=s3.ReadConditions(if_match=("abc",), if_unmodified_since_ms=1893456000000),
        version_id="null",
        checksum_mode=True,
        overrides={"content-type": "text/x", "cache-control": "no-store"},
    )
    assert sent("head_object", Bucket="photos", Key="a", PartNumber=3) == s3.GetObject(
        "photos", "a", head=True, part_number=3
    )


def test_boto3_deletes_are_understood() -> None:
    assert sent("delete_object", Bucket="photos", Key="a", IfMatch='"e"') == s3.DeleteObject(
        "photos", "a", condition=WriteCondition(Presence.MATCH, "e")
    )
    value = sent(
        "delete_objects",
        Bucket="photos",
        Delete={
            "Quiet": True,
            "Objects": [{"Key": 'a<&>"\r\n é'}, {"Key": "b", "VersionId": "null", "ETag": '"e"'}],
        },
    )
    assert value.quiet
    assert value.asks == (
        s3.DeleteAsk('a<&>"\r\n é'),
        s3.DeleteAsk("b", "null", WriteCondition(Presence.MATCH, "e")),
    )
    assert value.expected.checksum is not None


def test_boto3_copies_are_understood() -> None:
    value = sent(
        "copy_object",
        Bucket="photos",
        Key="b",
        CopySource={"Bucket": "old", "Key": "a b+c%41/é?versionId=x", "VersionId": "null"},
        CopySourceIfNoneMatch='"e", "f"',
        MetadataDirective="REPLACE",
        Metadata={"x": "y"},
        ChecksumAlgorithm="SHA256",
    )
    assert value == s3.CopyObject(
        "photos",
        "b",
        s3.CopySource("old", "a b+c%41/é?versionId=x", "null", s3.ReadConditions(if_none_match=("e", "f"))),
        True,
        Facts(user={"x": "y"}),
        Algorithm.SHA256,
    )
    part = sent(
        "upload_part_copy",
        Bucket="photos",
        Key="b",
        UploadId="u",
        PartNumber=7,
        CopySource="old/a",
        CopySourceRange="bytes=5-9",
    )
    assert part == s3.UploadPartCopy("photos", "b", "u", 7, s3.CopySource("old", "a"), Span(5, 10))


def test_boto3_listings_are_understood() -> None:
    assert sent("list_objects", Bucket="photos", Prefix="a/", Delimiter="/", Marker="a/b+ é", MaxKeys=7) == (
        s3.ListObjects(
            "photos", False, prefix="a/", delimiter="/", after="a/b+ é", limit=7, encode=True, marker="a/b+ é"
        )
    )
    token = encode_token("k\x01é")
    assert sent("list_objects_v2", Bucket="photos", StartAfter="z", ContinuationToken=token, FetchOwner=True) == (
        s3.ListObjects("photos", True, after="k\x01é", encode=True, fetch_owner=True, start_after="z", token=token)
    )
    assert sent("list_object_versions", Bucket="photos", KeyMarker="a", VersionIdMarker="null") == s3.ListVersions(
        "photos", key_marker="a", version_marker="null", encode=True
    )
    uploads = sent("list_multipart_uploads", Bucket="photos", KeyMarker="a", UploadIdMarker="u", MaxUploads=2)
    assert uploads == s3.ListMultipartUploads("photos", key_marker="a", upload_marker="u", limit=2)
    assert sent("list_parts", Bucket="photos", Key="a", UploadId="u", PartNumberMarker=4, MaxParts=5) == s3.ListParts(
        "photos", "a", "u", after=4, limit=5
    )
    assert sent("list_buckets", MaxBuckets=3, Prefix="p", ContinuationToken=encode_token("b")) == s3.ListBuckets(
        "p", "b", 3
    )


def test_boto3_multipart_uploads_are_understood() -> None:
    created = sent(
        "create_multipart_upload",
        Bucket="photos",
        Key="a",
        ContentType="text/x",
        ChecksumAlgorithm="CRC32C",
        ChecksumType="FULL_OBJECT",
    )
    assert created == s3.CreateMultipartUpload(
        "photos", "a", Facts(system={"content-type": "text/x"}), Algorithm.CRC32C, ChecksumType.FULL_OBJECT
    )
    part = sent(
        "upload_part", Bucket="photos", Key="a", UploadId="u", PartNumber=2, Body=b"x", ContentMD5="0" * 22 + "=="
    )
    assert (part.upload_id, part.number, part.expected.md5) == ("u", 2, base64.b64decode("0" * 22 + "=="))
    completed = sent(
        "complete_multipart_upload",
        Bucket="photos",
        Key="a",
        UploadId="u",
        IfMatch='"e"',
        ChecksumCRC32="AAAAAA==-2",
        ChecksumType="COMPOSITE",
        MpuObjectSize=0,
        MultipartUpload={
            "Parts": [
                {"PartNumber": 1, "ETag": '"x"', "ChecksumCRC32": "AAAAAA=="},
                {"PartNumber": 5, "ETag": "y"},
            ]
        },
    )
    assert completed.parts == (s3.PartAsk(1, "x", CRC), s3.PartAsk(5, "y"))
    assert completed.checksum == Checksum(Algorithm.CRC32, "AAAAAA==-2", ChecksumType.COMPOSITE)
    assert (completed.kind, completed.object_size) == (ChecksumType.COMPOSITE, 0)
    assert completed.condition == WriteCondition(Presence.MATCH, "e")
    assert sent("abort_multipart_upload", Bucket="photos", Key="a", UploadId="u") == s3.AbortMultipartUpload(
        "photos", "a", "u"
    )


def test_boto3_bucket_calls_are_understood() -> None:
    created = sent(
        "create_bucket",
        Bucket="photos",
        ACL="private",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
    )
    assert (created.bucket, created.region) == ("photos", "eu-central-1")
    assert sent("create_bucket", Bucket="photos").region == ""
    assert sent("head_bucket", Bucket="photos") == s3.HeadBucket("photos")
    assert sent("delete_bucket", Bucket="photos") == s3.DeleteBucket("photos")
    assert sent("get_bucket_location", Bucket="photos") == s3.GetBucketLocation("photos")
    assert sent("get_bucket_versioning", Bucket="photos") == GetSetting("photos", "versioning")
    assert sent(
        "get_object_attributes", Bucket="photos", Key="a", ObjectAttributes=["ETag", "ObjectParts"], MaxParts=5
    ) == s3.GetObjectAttributes("photos", "a", ("ETag", "ObjectParts"), max_parts=5)


# --- presigned requests ---


def test_a_checksum_in_a_presigned_query_says_nothing_about_the_body() -> None:
    value = ask(
        "PUT",
        f"/photos/a?{SIGNED}&x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32",
    )
    assert value.expected == s3.Expected()


def test_other_headers_in_a_presigned_query_count_as_headers() -> None:
    value = ask("PUT", f"/photos/a?{SIGNED}&X-Amz-Meta-Colour=red&x-amz-storage-class=GLACIER")
    assert value.facts == Facts(user={"colour": "red"}, storage_class="GLACIER")
    assert ask("PUT", f"/photos/a?{SIGNED}&x-amz-tagging=a%3Db").marks == Marks(tags={"a": "b"})
    error = refusal("PUT", f"/photos/a?{SIGNED}&x-amz-write-offset-bytes=1")
    assert (error.code, error.fields) == ("NotImplemented", {"Header": "x-amz-write-offset-bytes"})
    assert ask("GET", f"/photos/a?{SIGNED}&x-amz-checksum-mode=ENABLED").checksum_mode


def test_headers_in_an_unsigned_query_are_ignored() -> None:
    assert ask("PUT", "/photos/a?x-amz-meta-colour=red").facts == Facts()


def test_a_header_outweighs_its_presigned_twin() -> None:
    value = ask("PUT", f"/photos/a?{SIGNED}&x-amz-meta-a=query", {"x-amz-meta-a": "header"})
    assert value.facts.user == {"a": "header"}


@pytest.mark.parametrize("field", ["x-amz-meta-a=b%0D%0AX:%20y", "x-amz-meta-a%0D%0A=b", "x-amz-meta-a%3A=b"])
def test_a_presigned_query_cannot_smuggle_header_lines(field: str) -> None:
    assert refusal("PUT", f"/photos/a?{SIGNED}&{field}").code == "InvalidArgument"


@pytest.mark.parametrize(
    "name",
    [
        "content-type",
        "content-language",
        "expires",
        "cache-control",
        "content-disposition",
        "content-encoding",
    ],
)
@pytest.mark.parametrize("poison", ["%0d%0aSet-Cookie: x", "%0a", "%7f", "%1f"])
def test_overrides_with_control_characters_are_refused(name: str, poison: str) -> None:
    assert ask("GET", f"/photos/a?response-{name}=ü%09x").overrides == {name: "ü\tx"}
    assert refusal("GET", f"/photos/a?response-{name}=x{poison}".replace(" ", "%20")).code == "InvalidArgument"


# --- metadata ---


def test_metadata_is_kept_exactly_and_not_decoded() -> None:
    headers: dict[str, str | bytes] = {
        "X-Amz-Meta-Encoded": "=?UTF-8?B?w7w=?=",
        "x-amz-meta-utf8": "grün",
        "x-amz-meta-latin": b"gr\xfcn",
        "x-amz-meta-": "empty name",
    }
    assert ask("PUT", "/photos/a", headers).facts.user == {
        "encoded": "=?UTF-8?B?w7w=?=",
        "utf8": "grün",
        "latin": "grün",
        "": "empty name",
    }


def test_metadata_may_have_two_kilobytes_of_names_and_values() -> None:
    name = "x-amz-meta-" + "n" * 48
    assert ask("PUT", "/photos/a", {name: "é" * (USER_METADATA_BYTES // 2 - 24)}).facts.user
    assert refusal("PUT", "/photos/a", {name: "é" * (USER_METADATA_BYTES // 2 - 23)}).code == "MetadataTooLarge"


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        ("aws-chunked", None),
        ("AWS-Chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, aws-chunked", "gzip"),
        ("gzip, br", "gzip, br"),
        ("aws-chunked, gzip, br", "gzip, br"),
    ],
)
def test_the_framing_is_not_an_encoding_of_the_object(came: str, kept: str | None) -> None:
    assert ask("PUT", "/photos/a", {"content-encoding": came}).facts.system.get("content-encoding") == kept


def test_storage_classes_are_kept_and_unknown_ones_refused() -> None:
    assert ask("PUT", "/photos/a", {"x-amz-storage-class": "DEEP_ARCHIVE"}).facts.storage_class == "DEEP_ARCHIVE"
    assert refusal("PUT", "/photos/a", {"x-amz-storage-class": "CHEAP"}).code == "InvalidStorageClass"


@pytest.mark.parametrize(
    "header",
    [
        "x-amz-server-side-encryption-of-the-future",
        "x-amz-write-offset-bytes",
        "x-amz-checksum-sha512",
        "x-amz-checksum-xxhash64",
        "if-modified-since",
        "if-unmodified-since",
    ],
)
def test_headers_that_ask_for_the_unsupported_are_refused_by_name(header: str) -> None:
    error = refusal("PUT", "/photos/a", {header: "x"})
    assert (error.code, error.fields) == ("NotImplemented", {"Header": header})


def test_canned_acls_have_names() -> None:
    for acl in ("private", "bucket-owner-full-control", "public-read"):
        assert ask("PUT", "/photos/a", {"x-amz-acl": acl}).facts == Facts()
    assert refusal("PUT", "/photos/a", {"x-amz-acl": "mine"}).code == "InvalidArgument"


def test_locks_come_whole_and_well_formed() -> None:
    mode, until, hold = (f"x-amz-object-lock-{name}" for name in ("mode", "retain-until-date", "legal-hold"))
    locked: dict[str, str | bytes] = {mode: "GOVERNANCE", until: "2030-01-02T03:04:05.6Z", hold: "ON"}
    assert ask("PUT", "/photos/a", locked).marks == Marks(retention=Retention("GOVERNANCE", 1893553445600), hold=True)
    assert ask("PUT", "/photos/a", {hold: "OFF"}).marks == Marks()
    wrongs: list[dict[str, str]] = [{mode: "GOVERNANCE"}, {until: "2030-01-02"}, {mode: "x", until: "2030-01-02"}]
    for wrong in [*wrongs, {hold: "on"}]:
        assert refusal("PUT", "/photos/a", wrong).code == "InvalidArgument"
    assert refusal("PUT", "/photos/a", {mode: "GOVERNANCE", until: "tomorrow"}).code == "InvalidArgument"
    assert ask("DELETE", "/photos/a", {"x-amz-bypass-governance-retention": "true"}).bypass
    assert not ask("DELETE", "/photos/a").bypass


def test_buckets_with_bad_names_are_refused() -> None:
    assert not ask("PUT", "/photos", {"x-amz-bucket-object-lock-enabled": "false"}).object_lock
    assert ask("PUT", "/photos", {"x-amz-bucket-object-lock-enabled": "true"}).object_lock
    assert refusal("PUT", "/Photos").code == "InvalidBucketName"


# --- digests and checksums ---


def test_content_md5_must_be_sixteen_bytes() -> None:
    md5 = hashlib.md5(b"x", usedforsecurity=False).digest()
    assert ask("PUT", "/photos/a", {"content-md5": base64.b64encode(md5).decode()}).expected.md5 == md5
    for text in ("", "x", "AAAA", base64.b64encode(md5 + b"x").decode(), md5.hex()):
        assert refusal("PUT", "/photos/a", {"content-md5": text}).code == "InvalidDigest"


def test_the_payload_digest_is_expected_in_lower_case() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    for text in (digest, digest.upper()):
        assert ask("PUT", "/photos/a", {"x-amz-content-sha256": text}).expected.sha256 == digest
    assert ask("PUT", "/photos/a", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}).expected.sha256 == ""


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_checksums_have_the_length_of_their_algorithm(algorithm: Algorithm) -> None:
    right = base64.b64encode(bytes(SIZES[algorithm])).decode()
    value = ask("PUT", "/photos/a", {algorithm.header: right})
    assert value.expected.checksum == Checksum(algorithm, right)
    for wrong in ("", "AAAA", "x" + right, right.rstrip("=") or "x", right + "-1", "é"):
        if wrong != right:
            assert refusal("PUT", "/photos/a", {algorithm.header: wrong}).code == "InvalidRequest"
    assert ask("PUT", "/photos/a", {"x-amz-trailer": algorithm.header}).expected.trailer is algorithm


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="},
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "SHA1"},
        {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm": "SHA1"},
        {"x-amz-trailer": "x-amz-meta-a"},
        {"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"},
        {"x-amz-sdk-checksum-algorithm": "CRC16"},
    ],
)
def test_contradicting_checksums_are_refused(headers: dict[str, str]) -> None:
    assert refusal("PUT", "/photos/a", dict(headers)).code == "InvalidRequest"
    assert refusal("PUT", "/photos/a?uploadId=u&partNumber=1", dict(headers)).code == "InvalidRequest"


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("kind", [None, *ChecksumType])
def test_checksum_types_of_uploads_follow_their_algorithm(algorithm: Algorithm, kind: ChecksumType | None) -> None:
    allowed = {
        Algorithm.CRC32: [ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT],
        Algorithm.CRC32C: [ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT],
        Algorithm.CRC64NVME: [ChecksumType.FULL_OBJECT],
        Algorithm.SHA1: [ChecksumType.COMPOSITE],
        Algorithm.SHA256: [ChecksumType.COMPOSITE],
    }[algorithm]
    headers: dict[str, str | bytes] = {"x-amz-checksum-algorithm": algorithm.value}
    if kind is not None:
        headers["x-amz-checksum-type"] = kind.value
    if kind in [None, *allowed]:
        value = ask("POST", "/photos/a?uploads", headers)
        assert (value.algorithm, value.kind) == (algorithm, kind or allowed[0])
    else:
        assert refusal("POST", "/photos/a?uploads", headers).code == "InvalidRequest"


def test_a_checksum_type_needs_an_algorithm() -> None:
    assert refusal("POST", "/photos/a?uploads", {"x-amz-checksum-type": "COMPOSITE"}).code == "InvalidRequest"
    value = ask("POST", "/photos/a?uploads")
    assert (value.algorithm, value.kind) == (None, None)


# --- conditions ---


def test_write_conditions_are_honoured_or_refused() -> None:
    for target in ("/photos/a", "/photos/a?uploadId=u"):
        method, body = ("PUT", b"") if "?" not in target else ("POST", COMPLETE)
        assert ask(method, target, {"if-none-match": "*"}, body).condition == WriteCondition(Presence.ABSENT)
        assert ask(method, target, {"if-match": "*"}, body).condition == WriteCondition(Presence.MATCH, "*")
        assert ask(method, target, {"if-match": '"e-2"'}, body).condition == WriteCondition(Presence.MATCH, "e-2")
        assert ask(method, target, {"if-match": "e"}, body).condition == WriteCondition(Presence.MATCH, "e")
        assert refusal(method, target, {"if-none-match": '"e"'}, body).fields == {"Header": "if-none-match"}
        assert refusal(method, target, {"if-none-match": "*", "if-match": "e"}, body).code == "NotImplemented"
        assert refusal(method, target, {"if-match": '"a", "b"'}, body).code == "InvalidArgument"
        assert refusal(method, target, {"if-match": ""}, body).code == "InvalidArgument"


@pytest.mark.parametrize("target", ["PUT /photos/a?uploadId=u&partNumber=1", "POST /photos/a?uploads"])
def test_conditions_where_there_are_none_are_refused(target: str) -> None:
    method, _, path = target.partition(" ")
    assert refusal(method, path, {"if-none-match": "*"}).code == "NotImplemented"


def test_delete_conditions_that_s3_keeps_for_other_buckets_are_refused() -> None:
    for name in ("x-amz-if-match-size", "x-amz-if-match-last-modified-time", "if-none-match"):
        assert refusal("DELETE", "/photos/a", {name: "1"}).fields == {"Header": name}


# --- ranges, parts, versions, numbers ---


def test_if_range_asks_for_the_whole() -> None:
    assert ask("GET", "/photos/a", {"range": "bytes=0-1"}).range == s3.RangeAsk(0, 1)
    assert ask("GET", "/photos/a", {"range": "bytes=0-1", "if-range": '"e"'}).range is None
    assert ask("GET", "/photos/a", {"range": "lines=0-1"}).range is None


def test_range_and_part_exclude_each_other() -> None:
    assert refusal("GET", "/photos/a?partNumber=1", {"range": "bytes=0-1"}).code == "InvalidRequest"


@pytest.mark.parametrize("text", ["0", "10001", "-1", "x", "", "1.0", "٣", "9" * 5000])
def test_part_numbers_are_1_to_10000(text: str) -> None:
    assert refusal("PUT", f"/photos/a?uploadId=u&partNumber={text}").code == "InvalidArgument"
    assert refusal("GET", f"/photos/a?partNumber={text}").code == "InvalidArgument"


def test_a_part_needs_both_its_number_and_its_upload() -> None:
    assert refusal("PUT", "/photos/a?uploadId=u").code == "InvalidArgument"
    assert refusal("PUT", "/photos/a?partNumber=1").code == "InvalidArgument"


@pytest.mark.parametrize("target", ["/photos?max-keys=", "/photos?versions&max-keys=", "/photos?uploads&max-uploads="])
def test_page_sizes_are_capped_and_must_be_numbers(target: str) -> None:
    assert ask("GET", target).limit == LIST_PAGE
    assert ask("GET", target + "0").limit == 0
    assert ask("GET", target + "2147483647").limit == LIST_PAGE
    for text in ("-1", "x", "1.5", "2147483648", "%2B1", "9" * 5000):
        error = refusal("GET", target + text)
        assert error.code == "InvalidArgument"
        assert error.fields["ArgumentName"].startswith("max-")


def test_version_ids_pass_and_must_not_be_empty() -> None:
    assert ask("GET", "/photos/a?versionId=xyz").version_id == "xyz"
    assert ask("DELETE", "/photos/a?versionId=null").version_id == "null"
    assert refusal("GET", "/photos/a?versionId=").code == "InvalidArgument"


def test_listing_arguments_are_checked() -> None:
    assert refusal("GET", "/photos?encoding-type=utf").code == "InvalidArgument"
    assert refusal("GET", "/photos?list-type=3").code == "InvalidArgument"
    assert refusal("GET", "/photos?list-type=2&continuation-token=!").code == "InvalidArgument"
    assert refusal("GET", "/photos?versions&version-id-marker=null").code == "InvalidArgument"
    assert refusal("GET", "/?max-buckets=0").code == "InvalidArgument"
    assert ask("GET", "/?bucket-region=eu-west-1").region == "eu-west-1"
    assert ask("GET", "/photos?uploads&upload-id-marker=u").upload_marker == ""
    value = ask("GET", "/photos?list-type=2&continuation-token=&delimiter=")
    assert (value.after, value.token, value.delimiter) == ("", "", "")


def test_attributes_must_be_named_and_known() -> None:
    assert refusal("GET", "/photos/a?attributes").code == "InvalidRequest"
    assert refusal("GET", "/photos/a?attributes", {"x-amz-object-attributes": "ETag,Colour"}).code == "InvalidArgument"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=256))
def test_tokens_come_back(key: str) -> None:
    assert decode_token(encode_token(key)) == key


@given(st.text())
def test_a_foreign_token_is_refused_or_a_key(token: str) -> None:
    try:
        key = decode_token(token)
    except S3Error as error:
        assert error.code == "InvalidArgument"
    else:
        assert token in ("", encode_token(key))


# --- copy sources ---


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("old/a", s3.CopySource("old", "a")),
        ("/old/a", s3.CopySource("old", "a")),
        ("old%2Fa%2Fb", s3.CopySource("old", "a/b")),
        ("%2Fold%2Fa", s3.CopySource("old", "a")),
        ("/old//a", s3.CopySource("old", "/a")),
        ("/old/a%2Bb+c%20d", s3.CopySource("old", "a+b+c d")),
        ("/old/a%252F", s3.CopySource("old", "a%2F")),
        ("/old/a?versionId=null", s3.CopySource("old", "a", "null")),
        ("/old/a%3FversionId%3Dx", s3.CopySource("old", "a?versionId=x")),
        ("/old/é", s3.CopySource("old", "é")),
    ],
)
def test_copy_sources_are_decoded_once(text: str, source: s3.CopySource) -> None:
    assert ask("PUT", "/photos/b", {"x-amz-copy-source": text}).source == source


@pytest.mark.parametrize("text", ["", "/", "old", "/old/", "old/%ff", "/old/a?versionId="])
def test_copy_sources_without_bucket_or_key_are_refused(text: str) -> None:
    assert refusal("PUT", "/photos/b", {"x-amz-copy-source": text}).code == "InvalidArgument"


def test_copy_directives_are_checked() -> None:
    copy: dict[str, str] = {"x-amz-copy-source": "old/a"}
    assert not ask("PUT", "/photos/b", {**copy}).replace
    for name in ("x-amz-metadata-directive", "x-amz-tagging-directive"):
        assert refusal("PUT", "/photos/b", {**copy, name: "MERGE"}).code == "InvalidArgument"
    for text in ("bytes=1-", "bytes=-5", "bytes=5-1", "0-1"):
        headers = {**copy, "x-amz-copy-source-range": text}
        assert refusal("PUT", "/photos/b?uploadId=u&partNumber=1", {**headers}).code == "InvalidArgument"


# --- bodies ---

COMPLETE = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>"


def parts(*rows: str) -> bytes:
    inner = "".join(f"<Part>{row}</Part>" for row in rows)
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MalformedXML"),
        (parts(), "MalformedXML"),
        (parts("<PartNumber>1</PartNumber>"), "MalformedXML"),
        (parts("<ETag>e</ETag>"), "MalformedXML"),
        (b"<Delete/>", "MalformedXML"),
        (parts("<PartNumber>0</PartNumber><ETag>e</ETag>"), "InvalidArgument"),
        (
            parts(
                "<PartNumber>2</PartNumber><ETag>e</ETag>",
                "<PartNumber>1</PartNumber><ETag>e</ETag>",
            ),
            "InvalidPartOrder",
        ),
        (parts(*["<PartNumber>1</PartNumber><ETag>e</ETag>"] * 2), "InvalidPartOrder"),
        (
            parts("<PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>x</ChecksumCRC32>"),
            "InvalidRequest",
        ),
        (
            parts(
                "<PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>"
                "<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>"
            ),
            "InvalidRequest",
        ),
    ],
)
def test_bad_part_lists_are_refused(body: bytes, code: str) -> None:
    assert refusal("POST", "/photos/a?uploadId=u", {}, body).code == code


def test_ten_thousand_parts_fit() -> None:
    rows = [
        f"<PartNumber>{n}</PartNumber><ETag>&quot;{'e' * 32}&quot;</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>"
        for n in range(1, 10_001)
    ]
    assert len(ask("POST", "/photos/a?uploadId=u", {}, parts(*rows)).parts) == 10_000


def deletes(count: int) -> bytes:
    return b"<Delete>" + b"".join(b"<Object><Key>%d</Key></Object>" % n for n in range(count)) + b"</Delete>"


def test_up_to_a_thousand_keys_are_deleted_at_once() -> None:
    assert len(ask("POST", "/photos?delete", {}, deletes(1000)).asks) == 1000
    for body in (
        deletes(1001),
        deletes(0),
        b"",
        b"<Delete><Object/></Delete>",
        b"<Delete><Object><Key/></Object></Delete>",
    ):
        assert refusal("POST", "/photos?delete", {}, body).code == "MalformedXML"
    sized = b"<Delete><Object><Key>a</Key><Size>1</Size></Object></Delete>"
    assert refusal("POST", "/photos?delete", {}, sized).fields == {"Element": "Size"}


def test_create_bucket_refuses_what_it_does_not_know() -> None:
    for inner, code in (
        ("<Bucket><Type>Directory</Type></Bucket>", "NotImplemented"),
        ("<Tags><Tag><Key>a</Key></Tag></Tags>", "MalformedXML"),
        ("<Colour/>", "MalformedXML"),
    ):
        body = f"<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>".encode()
        assert refusal("PUT", "/photos", {}, body).code == code


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/photos?delete", deletes(1)),
        ("POST", "/photos/a?uploadId=u", COMPLETE),
        ("PUT", "/photos", b"<CreateBucketConfiguration/>"),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_is_refused(method: str, target: str, body: bytes) -> None:
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    sha256 = hashlib.sha256(body).hexdigest()
    assert ask(method, target, {"content-md5": md5, "x-amz-content-sha256": sha256}, body)
    assert refusal(method, target, {"content-md5": md5}, body + b" ").code == "BadDigest"
    digest: dict[str, Any] = {"x-amz-content-sha256": sha256}
    assert refusal(method, target, digest, body + b" ").code == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize("target", ["PUT /photos", "POST /photos?delete", "POST /photos/a?uploadId=u"])
def test_an_announced_trailer_must_have_come_and_be_right(target: str) -> None:
    method, _, path = target.partition(" ")
    body = {"/photos": b"", "/photos?delete": deletes(1)}.get(path, COMPLETE)
    request = make(method, path, {"x-amz-trailer": "x-amz-checksum-crc32"})
    operation = route(request)
    assert operation.parse is not None
    assert operation.fill is not None
    value = operation.parse(request)

    def came(checksum: Checksum | None) -> Any:
        return replace(value, expected=replace(value.expected, checksum=checksum))

    assert operation.fill(came(Checksum(Algorithm.CRC32, checksum_text(Algorithm.CRC32, body))), body)
    for wrong, code in (
        (None, "InvalidRequest"),
        (Checksum(Algorithm.SHA1, checksum_text(Algorithm.SHA1, body)), "InvalidRequest"),
        (Checksum(Algorithm.CRC32, checksum_text(Algorithm.CRC32, body + b"x")), "BadDigest"),
    ):
        with pytest.raises(S3Error) as caught:
            operation.fill(came(wrong), body)
        assert caught.value.code == code


def test_a_checksum_is_of_the_body_except_where_it_is_of_the_object() -> None:
    body = deletes(1)
    right = {"x-amz-checksum-crc32": checksum_text(Algorithm.CRC32, body)}
    assert ask("POST", "/photos?delete", {**right}, body)
    assert refusal("POST", "/photos?delete", {**right}, deletes(2)).code == "BadDigest"
    assert ask("POST", "/photos/a?uploadId=u", {"x-amz-checksum-crc32": "AAAAAA=="}, COMPLETE).checksum == CRC


# --- whatever comes ---

NAMES = [
    "content-md5",
    "content-encoding",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-checksum-crc32",
    "x-amz-trailer",
    "x-amz-checksum-type",
    "x-amz-checksum-algorithm",
    "x-amz-meta-a",
    "x-amz-acl",
    "x-amz-storage-class",
    "x-amz-object-attributes",
    "x-amz-max-parts",
    "x-amz-mp-object-size",
]
FIELDS = [
    "uploadId",
    "partNumber",
    "uploads",
    "delete",
    "list-type",
    "versions",
    "max-keys",
    "encoding-type",
    "continuation-token",
    "versionId",
    "attributes",
    "response-expires",
    "X-Amz-Signature",
    "x-amz-meta-b",
]
VALUES = st.one_of(
    st.text(max_size=12), st.sampled_from(["*", "1", "2", "url", '"e"', "AAAAAA==", "/b/k", "COMPOSITE"])
)


@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    st.sampled_from(["/", "/photos", "/photos/a"]),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
    st.one_of(st.binary(max_size=40), st.just(COMPLETE), st.just(deletes(2))),
)
def test_every_request_is_understood_or_refused(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    text = "&".join(
        f"{name}=" + "".join(f"%{byte:02X}" for byte in value.encode("utf-8", "replace"))
        for name, value in query.items()
    )
    raw: dict[str, str | bytes] = {name: value.encode("utf-8", "replace") for name, value in headers.items()}
    try:
        operation, value = understand(make(method, f"{path}?{text}", raw), body)
    except S3Error as error:
        assert 400 <= error.status < 500 or error.code == "NotImplemented"
    else:
        assert isinstance(operation.body, BodyKind)
        facts = getattr(value, "facts", Facts())
        for kept in (*facts.user.values(), *facts.system.values(), *getattr(value, "overrides", {}).values()):
            assert "\r" not in kept
            assert "\n" not in kept
