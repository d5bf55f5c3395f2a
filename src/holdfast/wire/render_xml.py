"""What stands inside the XML bodies of replies, result by result, as text that is escaped already.

Element names and their order follow the response syntax of the Amazon S3 API Reference. Nothing here knows HTTP.
"""

from collections.abc import Mapping

from holdfast import s3
from holdfast.model import Algorithm, Checksum, ChecksumType, Marks, Part, Version
from holdfast.s3.acl import GROUPS, AclGot
from holdfast.s3.sharing import PolicyStatus
from holdfast.s3.versioning import VersionEntry, VersionsListed
from holdfast.wire.conditions import iso_date
from holdfast.wire.parse import encode_token
from holdfast.xml import element, encode_key, escape, legible

_DEFAULT_REGION = "us-east-1"
"""The region that GetBucketLocation answers with an empty element, as it always did."""


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _person(role: str, owner: str, names: Mapping[str, str]) -> str:
    name = names.get(owner, "")
    return f"<{role}>{element('ID', owner)}{element('DisplayName', name) if name else ''}</{role}>"


def _owner_of(marks: Marks, owner: str, names: Mapping[str, str]) -> str:
    """Whose something is: its writer's when writers own things there, which `names` tells; else the bucket's `owner`."""
    return marks.owner if marks.owner in names else owner


def _etag(etag: str) -> str:
    return element("ETag", f'"{etag}"')


def _checksum(checksum: Checksum | None) -> str:
    return "" if checksum is None else element("Checksum" + checksum.algorithm.value, checksum.value)


def _checksum_typed(checksum: Checksum | None) -> str:
    return "" if checksum is None else _checksum(checksum) + element("ChecksumType", checksum.kind.value)


def _upload_checksum(algorithm: Algorithm | None, kind: ChecksumType | None) -> str:
    if algorithm is None:
        return ""
    kind = kind or ChecksumType.COMPOSITE
    return element("ChecksumAlgorithm", algorithm.value) + element("ChecksumType", kind.value)


# --- buckets ---


def buckets_listed(result: s3.BucketsListed) -> str:
    rows = "".join(
        "<Bucket>"
        + element("Name", bucket.name)
        + element("CreationDate", iso_date(bucket.created_ms))
        + (element("BucketRegion", bucket.region) if bucket.region else "")
        + "</Bucket>"
        for bucket in result.buckets
    )
    content = _person("Owner", result.owner, result.names) + f"<Buckets>{rows}</Buckets>"
    if result.prefix:
        content += element("Prefix", result.prefix)
    if result.next:
        content += element("ContinuationToken", encode_token(result.next))
    return content


def location(result: s3.Location) -> str:
    return "" if result.region == _DEFAULT_REGION else escape(result.region)


def acl_got(result: AclGot) -> str:
    rows = "".join(
        f"<Grant>{_grantee(grant.grantee, result.names)}{element('Permission', grant.permission)}</Grant>"
        for grant in result.acl.grants
    )
    return _person("Owner", result.owner, result.names) + f"<AccessControlList>{rows}</AccessControlList>"


def _grantee(grantee: str, names: Mapping[str, str]) -> str:
    kind, content = "Group", element("URI", grantee)
    if grantee not in GROUPS:
        name = names.get(grantee, "")
        kind, content = "CanonicalUser", element("ID", grantee) + (element("DisplayName", name) if name else "")
    return f'<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{kind}">{content}</Grantee>'


def policy_status(result: PolicyStatus) -> str:
    return element("IsPublic", _truth(result.public))


# --- listings ---


def _version_body(version: Version) -> str:
    checksum = version.facts.checksum
    text = (
        f"<LastModified>{iso_date(version.modified_ms)}</LastModified>"
        f"<ETag>&quot;{escape(version.etag)}&quot;</ETag>"
        f"<Size>{version.plain_size}</Size>"
    )
    if checksum is not None:
        text += (
            f"<ChecksumAlgorithm>{checksum.algorithm.value}</ChecksumAlgorithm>"
            f"<ChecksumType>{checksum.kind.value}</ChecksumType>"
        )
    return f"{text}<StorageClass>{version.facts.storage_class}</StorageClass>"


def _prefixes(prefixes: tuple[str, ...], encode: bool) -> str:
    return "".join(f"<CommonPrefixes>{_key('Prefix', prefix, encode)}</CommonPrefixes>" for prefix in prefixes)


def _key(name: str, key: str, encode: bool) -> str:
    return f"<{name}>{encode_key(key) if encode else escape(key)}</{name}>"


def _ask(ask: s3.ListObjects | s3.ListVersions | s3.ListMultipartUploads, limit_name: str) -> str:
    """What every listing of keys repeats of its question."""
    content = _key("Prefix", ask.prefix, ask.encode) + element(limit_name, ask.limit)
    if ask.delimiter:
        content += _key("Delimiter", ask.delimiter, ask.encode)
    if ask.encode:
        content += element("EncodingType", "url")
    return content


def objects_listed(ask: s3.ListObjects, result: s3.ObjectsListed) -> str:
    """ListObjects and ListObjectsV2. `NextMarker` is there whenever there is more, with a delimiter or without:
    clients that do not know it take the last key, which is the same."""
    page = result.page
    encode = ask.encode
    content = element("Name", ask.bucket) + _ask(ask, "MaxKeys") + element("IsTruncated", _truth(bool(page.next)))
    if ask.v2:
        content += element("KeyCount", len(page.versions) + len(page.prefixes))
        if ask.token is not None:
            content += element("ContinuationToken", ask.token)
        if page.next:
            content += element("NextContinuationToken", encode_token(page.next))
        if ask.start_after is not None:
            content += _key("StartAfter", ask.start_after, encode)
    else:
        content += _key("Marker", ask.marker or "", encode)
        if page.next:
            content += _key("NextMarker", page.next, encode)
    owned = ask.fetch_owner or not ask.v2
    owner = _person("Owner", result.owner, result.names) if owned else ""
    rows = [
        f"<Contents>{_key('Key', key, encode)}{_version_body(version)}"
        f"{_owner_text(version.marks, result, owner) if owned and version.marks.owner else owner}</Contents>"
        for key, version in page.versions
    ]
    return content + "".join(rows) + _prefixes(page.prefixes, encode)


def _owner_text(marks: Marks, result: s3.ObjectsListed | VersionsListed, usual: str) -> str:
    owner = _owner_of(marks, result.owner, result.names)
    return usual if owner == result.owner else _person("Owner", owner, result.names)


def versions_listed(result: VersionsListed) -> str:
    """ListObjectVersions: versions and delete markers in one order."""
    ask, page = result.ask, result.page
    encode = ask.encode
    content = element("Name", ask.bucket) + _ask(ask, "MaxKeys") + element("IsTruncated", _truth(bool(page.next_key)))
    content += _key("KeyMarker", ask.key_marker, encode) + element("VersionIdMarker", ask.version_marker)
    if page.next_key:
        content += _key("NextKeyMarker", page.next_key, encode)
        if page.next_version:
            content += element("NextVersionIdMarker", page.next_version)
    owner = _person("Owner", result.owner, result.names)
    rows = [_version_entry(entry, _owner_text(entry.version.marks, result, owner), encode) for entry in page.entries]
    return content + "".join(rows) + _prefixes(page.prefixes, encode)


def _version_entry(entry: VersionEntry, owner: str, encode: bool) -> str:
    version = entry.version
    head = _key("Key", entry.key, encode) + element("VersionId", version.version_id)
    head += element("IsLatest", _truth(entry.latest))
    if version.marker:
        modified = element("LastModified", iso_date(version.modified_ms))
        return f"<DeleteMarker>{head}{modified}{owner}</DeleteMarker>"
    return f"<Version>{head}{_version_body(version)}{owner}</Version>"


def uploads_listed(result: s3.UploadsListed) -> str:
    ask, page = result.ask, result.page
    encode = ask.encode
    content = element("Bucket", ask.bucket) + _ask(ask, "MaxUploads")
    content += element("IsTruncated", _truth(bool(page.next_key)))
    content += _key("KeyMarker", ask.key_marker, encode) + element("UploadIdMarker", ask.upload_marker)
    if page.next_key:
        content += _key("NextKeyMarker", page.next_key, encode) + element("NextUploadIdMarker", page.next_upload)

    def people(upload: s3.Upload) -> str:
        owner = _owner_of(upload.marks, result.owner, result.names)
        return _person("Initiator", owner, result.names) + _person("Owner", owner, result.names)

    rows = [
        "<Upload>"
        + _key("Key", upload.key, encode)
        + element("UploadId", upload.upload_id)
        + people(upload)
        + element("StorageClass", upload.facts.storage_class)
        + element("Initiated", iso_date(upload.initiated_ms))
        + _upload_checksum(upload.algorithm, upload.kind)
        + "</Upload>"
        for upload in page.uploads
    ]
    return content + "".join(rows) + _prefixes(page.prefixes, encode)


def parts_listed(result: s3.PartsListed) -> str:
    ask, upload = result.ask, result.upload
    content = element("Bucket", ask.bucket) + element("Key", ask.key) + element("UploadId", ask.upload_id)
    content += _person("Initiator", result.owner, result.names) + _person("Owner", result.owner, result.names)
    content += element("StorageClass", upload.facts.storage_class)
    content += element("PartNumberMarker", ask.after)
    if result.next:
        content += element("NextPartNumberMarker", result.next)
    content += element("MaxParts", ask.limit) + element("IsTruncated", _truth(bool(result.next)))
    content += _upload_checksum(upload.algorithm, upload.kind)
    return content + "".join(
        "<Part>"
        + element("PartNumber", part.number)
        + element("LastModified", iso_date(part.modified_ms))
        + _etag(part.etag)
        + element("Size", part.plain_size)
        + _checksum(part.checksum)
        + "</Part>"
        for part in result.parts
    )


# --- objects ---


def object_copied(result: s3.ObjectCopied) -> str:
    modified = element("LastModified", iso_date(result.modified_ms))
    return modified + _etag(result.etag) + _checksum_typed(result.checksum)


def part_copied(result: s3.PartCopied) -> str:
    return element("LastModified", iso_date(result.modified_ms)) + _etag(result.etag) + _checksum(result.checksum)


def upload_created(result: s3.UploadCreated) -> str:
    key = element("Key", legible(result.key))  # The client knows its key, but not yet the id of the upload.
    return element("Bucket", result.bucket) + key + element("UploadId", result.upload_id)


def upload_completed(result: s3.UploadCompleted, url: str) -> str:
    """`url` is where the client would ask for the object."""
    content = element("Location", url) + element("Bucket", result.bucket) + element("Key", legible(result.key))
    return content + _etag(result.etag) + _checksum_typed(result.checksum)


def objects_deleted(result: s3.ObjectsDeleted) -> str:
    content = ""
    if not result.quiet:
        content = "".join(
            "<Deleted>"
            + element("Key", gone.key)
            + (element("VersionId", gone.version_id) if gone.version_id else "")
            + (
                element("DeleteMarker", "true") + element("DeleteMarkerVersionId", gone.marker_version_id)
                if gone.marker
                else ""
            )
            + "</Deleted>"
            for gone in result.deleted
        )
    return content + "".join(
        "<Error>"
        + element("Key", failed.key)
        + (element("VersionId", failed.version_id) if failed.version_id else "")
        + element("Code", failed.code)
        + element("Message", failed.message)
        + "</Error>"
        for failed in result.failed
    )


def attributes(result: s3.ObjectAttributes) -> str:
    """GetObjectAttributes: what was asked for, and of that what there is. The etag stands without quotes."""
    version = result.version
    asked = result.attributes
    content = ""
    if "ETag" in asked:
        content += element("ETag", version.etag)
    if "Checksum" in asked and version.facts.checksum is not None:
        content += f"<Checksum>{_checksum_typed(version.facts.checksum)}</Checksum>"
    if "ObjectParts" in asked and result.multipart:
        content += f"<ObjectParts>{_object_parts(result)}</ObjectParts>"
    if "StorageClass" in asked:
        content += element("StorageClass", version.facts.storage_class)
    if "ObjectSize" in asked:
        content += element("ObjectSize", version.plain_size)
    return content


def _object_parts(result: s3.ObjectAttributes) -> str:
    def row(part: Part) -> str:
        return (
            "<Part>"
            + element("PartNumber", part.number)
            + element("Size", part.plain_size)
            + _checksum(part.checksum)
            + "</Part>"
        )

    content = element("PartsCount", result.parts_count)
    if not any(part.checksum is not None for part in result.parts):
        return content
    last = result.parts[-1].number
    content += element("PartNumberMarker", result.part_marker)
    if result.truncated:
        content += element("NextPartNumberMarker", last)
    content += element("MaxParts", result.max_parts) + element("IsTruncated", _truth(result.truncated))
    return content + "".join(row(part) for part in result.parts)
