"""Results and errors as HTTP replies: statuses, headers and, by `render_xml`, bodies.

Answers for what a client sees of a result; decides nothing about objects, opens no sockets, reads no clock.
Headers that every reply has (date, request id, connection, content length) are added by whoever sends it.
Invariant: every result type of `s3` has a row in the table, and every S3Error renders.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from holdfast import s3
from holdfast.errors import S3Error
from holdfast.model import UNMARKED, Checksum, ChecksumType, Marks
from holdfast.s3.acl import AclGot, AclPut
from holdfast.s3.cors import Shared
from holdfast.s3.encryption import sealed
from holdfast.s3.lifecycle import Due
from holdfast.s3.locks import LegalHoldGot, LockPut, RetentionGot
from holdfast.s3.settings import SettingGot, SettingPut
from holdfast.s3.sharing import PolicyStatus
from holdfast.s3.tagging import ObjectTags, TagsDeleted, TagsPut
from holdfast.s3.versioning import NULL, VersionsListed
from holdfast.wire import render_xml
from holdfast.wire.browser.cors import check_shared, sharing_headers
from holdfast.wire.conditions import http_date, iso_date
from holdfast.wire.documents import DOCUMENTS
from holdfast.wire.documents.lock import write_hold, write_retention
from holdfast.wire.documents.tagging import write_tags
from holdfast.wire.parse_sealing import sealed_headers
from holdfast.wire.parse_settings import body_of
from holdfast.wire.request import Request
from holdfast.xml import document, element, legible

Headers = list[tuple[str, str]]

XML_TYPE = ("Content-Type", "application/xml")
_VERSION_ID = "x-amz-version-id"
_DEFAULT_TYPE = "binary/octet-stream"
_SYSTEM_NAMES: Mapping[str, str] = {
    "content-type": "Content-Type",
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
    "x-amz-website-redirect-location": "x-amz-website-redirect-location",
}


class Reply:
    """A reply but for the headers that all replies share. Values may hold any text; they leave as UTF-8.

    `length` is what Content-Length says: the size of `body`, or of the body that the caller streams or
    (for HEAD) keeps to itself.
    """

    __slots__ = ("body", "headers", "length", "status")

    def __init__(self, status: int, headers: Headers, body: bytes = b"", length: int | None = None) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.length = len(body) if length is None else length


def render_object(ask: s3.GetObject, got: s3.ObjectGot) -> Reply:
    """The reply to GetObject and HeadObject. `body` is the whole body when it is at hand, else the caller
    streams `length` bytes.

    A checksum goes out only when it covers exactly the bytes of this reply; clients verify it against them.
    """
    version = got.version
    facts = version.facts
    span = got.span
    headers: Headers = [
        ("Last-Modified", http_date(version.modified_ms)),
        ("ETag", f'"{version.etag}"'),
        ("Accept-Ranges", "bytes"),
    ]
    system = facts.system
    if ask.overrides:
        system = {**system, **ask.overrides}
    if "content-type" not in system:
        headers.append(("Content-Type", _DEFAULT_TYPE))
    for name, value in system.items():
        headers.append((_SYSTEM_NAMES.get(name, name), value))
    for name, value in facts.user.items():
        headers.append(("x-amz-meta-" + name, value))
    if facts.storage_class != "STANDARD":
        headers.append(("x-amz-storage-class", facts.storage_class))
    if facts.seal is not None:
        headers += sealed_headers(sealed(facts.seal, ask.customer), context=False)
    if version.version_id != NULL or ask.version_id or got.versioned:
        headers.append((_VERSION_ID, version.version_id))
    if version.marks is not UNMARKED:
        headers += _mark_headers(version.marks)
    status = 200
    checksum = facts.checksum
    if ask.part_number is not None or ask.range is not None:
        checksum = got.part_checksum
        if span.end > span.start:
            status = 206
            headers.append(("Content-Range", f"bytes {span.start}-{span.end - 1}/{version.plain_size}"))
        if got.parts:
            headers.append(("x-amz-mp-parts-count", str(got.parts)))
    if got.expiry is not None:
        headers += _expiry(got.expiry)
    if ask.checksum_mode and checksum is not None:
        headers.append((checksum.algorithm.header, checksum.value))
        # Also beside the checksum of a part, it says how those of the parts make that of the object.
        headers.append(("x-amz-checksum-type", (facts.checksum or checksum).kind.value))
    body = b"" if ask.head or got.data is None else got.data
    return Reply(status, headers, body, span.end - span.start)


def _mark_headers(marks: Marks) -> Headers:
    headers: Headers = []
    if marks.tags:
        headers.append(("x-amz-tagging-count", str(len(marks.tags))))
    if marks.retention is not None:
        headers.append(("x-amz-object-lock-mode", marks.retention.mode))
        headers.append(("x-amz-object-lock-retain-until-date", iso_date(marks.retention.until_ms)))
    if marks.hold:
        headers.append(("x-amz-object-lock-legal-hold", "ON"))
    return headers


def render(request: Request, result: object, *, secure: bool = False) -> Reply:
    """The reply to every operation whose result is not an object's bytes. `secure` says that the client came by TLS."""
    if isinstance(result, s3.UploadCompleted):
        return _upload_completed(request, result, secure)
    if isinstance(result, Shared):
        check_shared(request, result)
        return Reply(200, sharing_headers(result))
    return _RENDERERS[type(result)](result)


def render_error(error: S3Error, *, request_id: str, host_id: str, resource: str, head: bool) -> Reply:
    """An S3Error as reply. `resource` is the path that was asked for; `head` says that no body may follow.

    304 has no body and keeps the validators that came in `error.headers`.
    S3 page: "REST error responses".
    """
    headers: Headers = list(error.headers.items())
    present = {name.lower() for name in error.headers}
    size = error.fields.get("ActualObjectSize")
    if error.status == 416 and size is not None and "content-range" not in present:
        headers.append(("Content-Range", f"bytes */{size}"))
    if error.status == 304:
        return Reply(304, headers)
    headers.append(XML_TYPE)
    if head:
        return Reply(error.status, headers)
    content = element("Code", error.code) + element("Message", legible(error.message))
    for name, value in error.fields.items():
        content += element(name, legible(value))
    content += element("Resource", legible(resource)) + element("RequestId", request_id) + element("HostId", host_id)
    return Reply(error.status, headers, document("Error", content, namespace=False))


def checksum_headers(checksum: Checksum | None) -> Headers:
    """The checksum of what was received."""
    if checksum is None:
        return []
    return [(checksum.algorithm.header, checksum.value), ("x-amz-checksum-type", checksum.kind.value)]


def _expiry(due: Due | None) -> Headers:
    if due is None:
        return []
    return [("x-amz-expiration", f'expiry-date="{http_date(due.at_ms)}", rule-id="{quote(due.rule, safe="")}"')]


def _abort(due: Due | None) -> Headers:
    if due is None:
        return []
    return [("x-amz-abort-date", http_date(due.at_ms)), ("x-amz-abort-rule-id", quote(due.rule, safe=""))]


def _xml(root: str, content: Callable[[Any], str]) -> Callable[[Any], Reply]:
    def reply(result: Any) -> Reply:
        return Reply(200, [XML_TYPE], document(root, content(result)))

    return reply


def _part_copied(result: s3.PartCopied) -> Reply:
    headers = [XML_TYPE, *sealed_headers(result.sealed, context=False)]
    return Reply(200, headers, document("CopyPartResult", render_xml.part_copied(result)))


def _done(result: object) -> Reply:
    return Reply(204, [])


def _setting_got(result: SettingGot) -> Reply:
    """A document that is no XML is JSON."""
    kind = XML_TYPE if DOCUMENTS[result.name].root else ("Content-Type", "application/json")
    body, headers = body_of(result)
    return Reply(200, [kind, *headers], body)


def _setting_put(result: SettingPut) -> Reply:
    return Reply(DOCUMENTS[result.name].put_status, [])


def version_header(version_id: str) -> Headers:
    """The version that was meant or written. The null version has no name to tell: neither in a bucket without versions, nor where
    versioning is suspended (S3 API Reference, PutObject, the sample responses)."""
    return [] if version_id in ("", NULL) else [(_VERSION_ID, version_id)]


def _object_tags(result: ObjectTags) -> Reply:
    headers = [XML_TYPE, *version_header(result.version_id)]
    return Reply(200, headers, document("Tagging", write_tags(dict(sorted(result.tags.items())))))


def _tags_put(result: TagsPut) -> Reply:
    return Reply(200, version_header(result.version_id))


def _tags_deleted(result: TagsDeleted) -> Reply:
    return Reply(204, version_header(result.version_id))


def _acl_put(result: AclPut) -> Reply:
    return Reply(200, [])


def _bucket_created(result: s3.BucketCreated) -> Reply:
    return Reply(200, [("Location", "/" + result.bucket)])


def _bucket_head(result: s3.BucketHead) -> Reply:
    return Reply(200, [("x-amz-bucket-region", result.region), XML_TYPE])


def _object_put(result: s3.ObjectPut) -> Reply:
    headers = [("ETag", f'"{result.etag}"'), *checksum_headers(result.checksum)]
    headers += _expiry(result.expiry) + sealed_headers(result.sealed) + version_header(result.version_id)
    return Reply(200, headers)


def _object_deleted(result: s3.ObjectDeleted) -> Reply:
    headers: Headers = []
    if result.version_id:
        headers.append((_VERSION_ID, result.version_id))
    if result.marker:
        headers.append(("x-amz-delete-marker", "true"))
    return Reply(204, headers)


def _object_copied(result: s3.ObjectCopied) -> Reply:
    headers: Headers = [XML_TYPE, *_expiry(result.expiry), *sealed_headers(result.sealed)]
    headers += version_header(result.version_id)
    if result.source_version_id:
        headers.append(("x-amz-copy-source-version-id", result.source_version_id))
    return Reply(200, headers, document("CopyObjectResult", render_xml.object_copied(result)))


def _part_uploaded(result: s3.PartUploaded) -> Reply:
    headers: Headers = [("ETag", f'"{result.etag}"')]
    if result.checksum is not None:
        headers.append((result.checksum.algorithm.header, result.checksum.value))
    return Reply(200, headers + sealed_headers(result.sealed, context=False))


def _upload_created(result: s3.UploadCreated) -> Reply:
    headers: Headers = [XML_TYPE, *_abort(result.abort), *sealed_headers(result.sealed)]
    if result.algorithm is not None:
        kind = result.kind or ChecksumType.COMPOSITE
        headers.append(("x-amz-checksum-algorithm", result.algorithm.value))
        headers.append(("x-amz-checksum-type", kind.value))
    return Reply(200, headers, document("InitiateMultipartUploadResult", render_xml.upload_created(result)))


def _upload_completed(request: Request, result: s3.UploadCompleted, secure: bool) -> Reply:
    scheme = "https" if secure else "http"
    url = f"{scheme}://{request.headers.get('host', '')}{request.raw_path.decode('latin-1')}"
    content = render_xml.upload_completed(result, url)
    headers: Headers = [XML_TYPE, *_expiry(result.expiry), *sealed_headers(result.sealed, context=False)]
    headers += version_header(result.version_id)
    return Reply(200, headers, document("CompleteMultipartUploadResult", content))


def _parts_listed(result: s3.PartsListed) -> Reply:
    body = document("ListPartsResult", render_xml.parts_listed(result))
    return Reply(200, [XML_TYPE, *_abort(result.abort)], body)


def _attributes(result: s3.ObjectAttributes) -> Reply:
    headers: Headers = [XML_TYPE, ("Last-Modified", http_date(result.version.modified_ms))]
    return Reply(200, headers, document("GetObjectAttributesResponse", render_xml.attributes(result)))


def _objects_listed(result: s3.ObjectsListed) -> Reply:
    return Reply(200, [XML_TYPE], document("ListBucketResult", render_xml.objects_listed(result.ask, result)))


_RENDERERS: Mapping[type, Callable[[Any], Reply]] = {
    s3.BucketsListed: _xml("ListAllMyBucketsResult", render_xml.buckets_listed),
    s3.BucketCreated: _bucket_created,
    s3.BucketHead: _bucket_head,
    s3.Location: _xml("LocationConstraint", render_xml.location),
    SettingGot: _setting_got,
    SettingPut: _setting_put,
    AclGot: _xml("AccessControlPolicy", render_xml.acl_got),
    AclPut: _acl_put,
    PolicyStatus: _xml("PolicyStatus", render_xml.policy_status),
    ObjectTags: _object_tags,
    TagsPut: _tags_put,
    TagsDeleted: _tags_deleted,
    s3.Done: _done,
    s3.ObjectDeleted: _object_deleted,
    VersionsListed: _xml("ListVersionsResult", render_xml.versions_listed),
    RetentionGot: _xml("Retention", lambda result: write_retention(result.retention)),
    LockPut: lambda result: Reply(200, []),
    LegalHoldGot: _xml("LegalHold", lambda result: write_hold(result.on)),
    s3.ObjectPut: _object_put,
    s3.ObjectsDeleted: _xml("DeleteResult", render_xml.objects_deleted),
    s3.ObjectCopied: _object_copied,
    s3.ObjectAttributes: _attributes,
    s3.ObjectsListed: _objects_listed,
    s3.UploadCreated: _upload_created,
    s3.PartUploaded: _part_uploaded,
    s3.PartsListed: _parts_listed,
    s3.PartCopied: _part_copied,
    s3.UploadsListed: _xml("ListMultipartUploadsResult", render_xml.uploads_listed),
}
