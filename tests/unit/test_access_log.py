"""Lines of server access logs: every field in its place, and nothing that a client can break out of."""

import re

import pytest

from holdfast.model import replace
from holdfast.s3.logging import DELIVERY_TIME, EVENT_TIME, SIMPLE, Logging
from holdfast.serve.journal.line import Record, Source, key_of, operation_of, render
from holdfast.wire.operations import OPERATIONS

AT = 1_549_411_238_000  # 2019-02-06T00:00:38Z
RECORD = Record(
    owner="79a59df9",
    bucket="photos",
    at_ms=AT,
    address="192.0.2.3",
    requester="canonical",
    request_id="3E57427F3EXAMPLE",
    operation="GetObject",
    method="GET",
    key="a b/ü",
    target=b"/photos/a%20b/%C3%BC?versionId=v1",
    version="HTTP/1.1",
    status=200,
    code="",
    sent_bytes=113,
    object_bytes=1000,
    elapsed_s=0.0071,
    headers={"authorization": "AWS4-HMAC-SHA256 ...", "user-agent": "S3Console/0.4", "host": "s3.example.net"},
    version_id="v1",
    host_id="s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234=",
    tls=("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
)
_FIELD = re.compile(r'\[[^\]]*\]|"[^"]*"|\S+')
"""As readers of these logs take them apart."""


def fields(line: str) -> list[str]:
    assert line.endswith("\n")
    assert line.count("\n") == 1
    found = _FIELD.findall(line[:-1])
    assert " ".join(found) == line[:-1]
    return found


def test_a_line_has_all_fields_in_amazons_order() -> None:
    assert fields(render(RECORD)) == [
        "79a59df9",
        "photos",
        "[06/Feb/2019:00:00:38 +0000]",
        "192.0.2.3",
        "canonical",
        "3E57427F3EXAMPLE",
        "REST.GET.OBJECT",
        "a%20b/%C3%BC",
        '"GET /photos/a%20b/%C3%BC?versionId=v1 HTTP/1.1"',
        "200",
        "-",
        "113",
        "1000",
        "7",
        "-",
        '"-"',
        '"S3Console/0.4"',
        "v1",
        RECORD.host_id,
        "SigV4",
        "TLS_AES_256_GCM_SHA384",
        "AuthHeader",
        "s3.example.net",
        "TLSv1.3",
        "-",
        "-",
    ]


def test_what_is_not_known_is_a_hyphen() -> None:
    bare = Record(
        owner="", bucket="photos", at_ms=AT, address="", requester="", request_id="R", operation="", method="GET", key="",
        target=b"/photos", version="HTTP/1.0", status=403, code="AccessDenied", sent_bytes=0, object_bytes=None,
        elapsed_s=0, headers={}, version_id="", host_id="", tls=("", ""),
    )  # fmt: skip
    found = fields(render(bare))
    assert len(found) == 26
    assert found[8:12] == ['"GET /photos HTTP/1.0"', "403", "AccessDenied", "-"]
    assert set(found[12:13] + found[14:15] + found[17:]) == {"-"}


@pytest.mark.parametrize("nasty", ['"', "\r\n79a59df9 photos", "a\x00b", "\x7f", "\u2028", "x" * 5000, "\udc80"])
@pytest.mark.parametrize("where", ["user-agent", "referer", "host", "key", "target", "address"])
def test_no_client_can_end_a_field_or_a_line(nasty: str, where: str) -> None:
    if where in ("user-agent", "referer", "host"):
        record = replace(RECORD, headers={**RECORD.headers, where: f"before {nasty} after"})
    elif where == "target":
        record = replace(RECORD, target=b"/photos/" + nasty.encode("utf-8", "surrogateescape"))
    else:
        record = replace(RECORD, **{where: f"before {nasty} after"})
    assert len(fields(render(record))) == 26


def test_no_permission_is_written_down() -> None:
    target = b"/photos/a?X-Amz-Security-Token=TOKEN&X-Amz-Signature=abcdef&x-amz-signature=123&Signature=old&x=1"
    line = render(replace(RECORD, target=target, headers={"referer": "https://h/?X-Amz-Signature=abcdef"}))
    for secret in ("TOKEN", "abcdef", "123&", "old"):
        assert secret not in line
    assert "&x=1" in line
    assert " SigV4 " in line
    assert " QueryString " in line


@pytest.mark.parametrize(
    ("operation", "method", "told"),
    [
        ("PutObject", "PUT", "REST.PUT.OBJECT"),
        ("HeadObject", "HEAD", "REST.HEAD.OBJECT"),
        ("ListObjectsV2", "GET", "REST.GET.BUCKET"),
        ("HeadBucket", "HEAD", "REST.HEAD.BUCKET"),
        ("GetBucketVersioning", "GET", "REST.GET.VERSIONING"),
        ("GetBucketAcl", "GET", "REST.GET.ACL"),
        ("PutObjectTagging", "PUT", "REST.PUT.TAGGING"),
        ("GetBucketLocation", "GET", "REST.GET.LOCATION"),
        ("GetBucketPolicy", "GET", "REST.GET.BUCKETPOLICY"),
        ("CopyObject", "PUT", "REST.COPY.OBJECT"),
        ("UploadPartCopy", "PUT", "REST.COPY.PART"),
        ("CreateMultipartUpload", "POST", "REST.POST.UPLOADS"),
        ("DeleteObjects", "POST", "REST.POST.MULTI_OBJECT_DELETE"),
        ("PostObject", "POST", "REST.POST.OBJECT"),
        ("PreflightObject", "OPTIONS", "REST.OPTIONS.PREFLIGHT"),
        ("PreflightBucket", "OPTIONS", "REST.OPTIONS.PREFLIGHT"),
        ("VisitWebsite", "GET", "WEBSITE.GET.OBJECT"),
    ],
)
def test_operations_are_named_by_method_and_resource(operation: str, method: str, told: str) -> None:
    assert operation_of(operation, method) == told


def test_every_operation_has_a_name() -> None:
    for row in OPERATIONS:
        assert re.fullmatch(r"REST\.[A-Z]+\.[A-Z0-9_]+", operation_of(row.name, row.method)), row.name


SOURCE = Source("photos", "owner", "eu-west-1")
LATER = AT + 86_400_000 + 3_723_000  # 2019-02-07T01:02:41Z


@pytest.mark.parametrize(
    ("form", "key"),
    [
        (SIMPLE, "logs/2019-02-07-01-02-41-U"),
        (DELIVERY_TIME, "logs/owner/eu-west-1/photos/2019/02/07/2019-02-07-01-02-41-U"),
        (EVENT_TIME, "logs/owner/eu-west-1/photos/2019/02/06/2019-02-06-00-00-00-U"),
    ],
)
def test_keys_of_log_objects(form: str, key: str) -> None:
    assert key_of(Logging("logs", "logs/", form), SOURCE, event_ms=AT, now_ms=LATER, unique="U") == key
