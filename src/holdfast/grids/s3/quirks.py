"""What each vendor's S3 does differently, as one table.

Answers for facts only, each row with the pages that it is from; whoever talks to a grid reads its row and decides. What
its pages do not say is taken as in the row "other", which asks for as little as can be. `docs/GRIDS.md` is
printed from these rows. Invariant: a row's name is a value of the setting `provider`.
"""

from typing import Final, Literal

from holdfast.limits import GIB, KEY_BYTES, KIB, MIB, OBJECT_BYTES, PART_BYTES_MIN, PART_NUMBER_MAX, PUT_BYTES, TIB
from holdfast.model import Value


class Quirks(Value, frozen=True, kw_only=True):
    """One vendor."""

    name: str
    title: str
    endpoint: str = ""
    """Its address, with `{region}` in it; empty when each installation has its own."""
    suffix: str = ""
    """Domain that its addresses end in: a redirect is followed only within it."""
    region: str = ""
    """The region to sign for when none is set; empty when there must be one."""
    virtual_style: bool = True
    """The bucket may stand in the host's name."""
    plain_unsigned: bool = False
    """Takes bodies whose SHA-256 is not signed also over http."""
    digest: Literal["md5", "crc32c", "none"] = "md5"
    """What guards a body on its way: `Content-MD5` or `x-amz-checksum-crc32c`."""
    if_match: bool = True
    """GET honours `If-Match`; elsewhere the etag of the answer is compared."""
    names_location: bool = False
    """CreateBucket must say the region."""
    put_if_absent: bool = False
    """PutObject honours `If-None-Match: *`."""
    copy_if_match: bool = True
    """CopyObject honours `x-amz-copy-source-if-match`; elsewhere copies go through this process."""
    copy_bytes: int = PUT_BYTES
    """Largest CopyObject."""
    part_bytes_min: int = PART_BYTES_MIN
    part_bytes_max: int = PUT_BYTES
    parts_max: int = PART_NUMBER_MAX
    equal_parts: bool = False
    """All parts but the last must have one size. (They always do here.)"""
    put_bytes: int = PUT_BYTES
    object_bytes: int = OBJECT_BYTES
    key_bytes: int = KEY_BYTES
    refused_keys: str = ""
    """Pattern of names that it cannot hold; found anywhere in them."""
    metadata_bytes: int = 2 * KIB
    """User metadata: the sum of names and values."""
    byte_order: bool = True
    """Listings are in the byte order of whole keys; elsewhere a bucket is read whole and sorted here."""
    start_after: bool = True
    """ListObjectsV2 honours `start-after`."""
    etag: Literal["md5", "opaque"] = "opaque"
    """What the etag of a single PUT is. Never relied on; for whoever compares."""
    etag_of_upload: bool = True
    """CompleteMultipartUpload answers with the etag that GET has afterwards; elsewhere HEAD is asked for it."""
    keeps_versions: bool = False
    """A delete leaves old versions behind, which cost, unless a lifecycle rule removes them."""
    batch_delete: int | None = 1000
    """Keys of one DeleteObjects; None where objects are deleted one by one."""
    gzip: bool = False
    """Unpacks objects with `Content-Encoding: gzip` unless the request accepts gzip."""
    undocumented: tuple[str, ...] = ()
    """Columns that the vendor's pages do not settle: what stands there is the careful assumption."""
    sources: tuple[str, ...]
    notes: str = ""


def _table(*rows: Quirks) -> dict[str, Quirks]:
    return {row.name: row for row in rows}


_CONDITIONS: Final = ("if_match", "put_if_absent", "copy_if_match")
_RCLONE: Final = "github.com/rclone/rclone backend/s3/provider/{name}.yaml"

PROVIDERS: Final = _table(
    Quirks(
        name="aws",
        title="Amazon S3",
        endpoint="https://s3.{region}.amazonaws.com",
        suffix="amazonaws.com",
        names_location=True,
        put_if_absent=True,
        etag="md5",
        sources=(
            "docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html",
            "docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-reads.html",
            "docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html",
            "docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html",
        ),
        notes="Objects up to 48.8 TiB are possible there; S3's former 5 TiB is the limit here. With SSE-KMS an etag is no MD5. "
        "A bucket with versioning keeps deleted objects.",
    ),
    Quirks(
        name="r2",
        if_match=False,
        title="Cloudflare R2",
        suffix="r2.cloudflarestorage.com",
        region="auto",
        virtual_style=False,
        put_if_absent=True,
        copy_if_match=False,
        equal_parts=True,
        put_bytes=PUT_BYTES - 5 * MIB,
        copy_bytes=PUT_BYTES - 5 * MIB,
        part_bytes_max=PUT_BYTES - 5 * MIB,
        object_bytes=5 * TIB - 5 * GIB,
        metadata_bytes=8 * KIB,
        undocumented=("if_match", "copy_if_match", "etag", "start_after"),
        sources=(
            "developers.cloudflare.com/r2/platform/limits",
            "developers.cloudflare.com/r2/api/s3/api",
            "developers.cloudflare.com/r2/api/s3/conditional-operations",
            "github.com/tus/tusd/issues/1137",
            _RCLONE.format(name="Cloudflare"),
        ),
        notes="One write per second and key. The address has the account in it: https://ACCOUNT.r2.cloudflarestorage.com. Etags of uploads are random.",
    ),
    Quirks(
        name="b2",
        if_match=False,
        title="Backblaze B2",
        endpoint="https://s3.{region}.backblazeb2.com",
        suffix="backblazeb2.com",
        copy_if_match=False,
        keeps_versions=True,
        undocumented=("if_match", "copy_if_match", "etag"),
        sources=(
            "backblaze.com/docs/cloud-storage-s3-compatible-api",
            "backblaze.com/apidocs/s3-delete-object",
            "backblaze.com/docs/cloud-storage-add-file-information-with-the-native-api",
            "github.com/sathinduga/obsidian-s3-sync-and-backup/pull/84",
        ),
        notes="A delete hides the newest version; set the bucket's lifecycle to keep only the last one. Refuses conditional writes, and for long "
        "x-amz-checksum headers. 7,000 bytes of metadata, the name included, 2,048 with encryption.",
    ),
    Quirks(
        name="wasabi",
        if_match=False,
        title="Wasabi",
        endpoint="https://s3.{region}.wasabisys.com",
        suffix="wasabisys.com",
        virtual_style=False,
        copy_if_match=False,
        undocumented=(*_CONDITIONS, "etag", "metadata_bytes"),
        sources=(
            "docs.wasabi.com/docs/rest-api-introduction",
            "docs.wasabi.com/docs/service-urls-for-wasabis-storage-regions-2",
        ),
        notes="Path style is recommended. Deleted and overwritten objects are billed for a minimum time.",
    ),
    Quirks(
        name="google",
        if_match=False,
        title="Google Cloud Storage (S3 interface)",
        endpoint="https://storage.googleapis.com",
        suffix="storage.googleapis.com",
        region="auto",
        copy_if_match=False,
        metadata_bytes=8 * KIB,
        batch_delete=None,
        gzip=True,
        undocumented=("if_match", "copy_if_match", "batch_delete", "etag_of_upload"),
        etag_of_upload=False,
        sources=(
            "docs.cloud.google.com/storage/docs/multipart-uploads",
            "docs.cloud.google.com/storage/quotas",
            "docs.cloud.google.com/storage/docs/metadata",
            _RCLONE.format(name="GCS"),
        ),
        notes="Needs HMAC keys. Preconditions of writes go by generation, not by If-None-Match. Uploads in parts have no MD5. About one write per second and key. "
        "It changes Accept-Encoding on the way, so that header is never signed.",
    ),
    Quirks(
        name="minio",
        title="MinIO, AIStor",
        region="us-east-1",
        virtual_style=False,
        put_if_absent=True,
        refused_keys=r"//|(^|/)\.{1,2}(/|$)|^/|\\|\0|[^/]{85,}",
        undocumented=("metadata_bytes", "etag"),
        sources=(
            "docs.min.io/enterprise/aistor-object-store/developers/s3-api-compatibility",
            "github.com/minio/minio/pull/12564 (docs/minio-limits.md)",
            "github.com/minio/minio/issues/17569",
            "github.com/minio/minio/issues/5161",
        ),
        notes="No empty, `.` or `..` segment, no backslash, and at most 255 bytes between slashes; `a` and `a/b` may exclude each other on file systems.",
    ),
    Quirks(
        name="ceph",
        title="Ceph Object Gateway",
        region="us-east-1",
        virtual_style=False,
        copy_if_match=False,
        undocumented=("put_if_absent", "copy_if_match", "etag", "metadata_bytes"),
        sources=(
            "docs.ceph.com/en/tentacle/radosgw/s3",
            "docs.redhat.com Red Hat Ceph Storage 8, Developer Guide, S3 object operations",
            "ibm.com/docs/en/storage-ceph/6 (S3 limitations)",
            _RCLONE.format(name="Ceph"),
        ),
        notes="User metadata has no limit of its own, a request's headers have 16,000 bytes.",
    ),
    Quirks(
        name="seaweedfs",
        title="SeaweedFS",
        region="us-east-1",
        virtual_style=False,
        if_match=False,
        copy_if_match=False,
        etag_of_upload=False,
        refused_keys=r"//|(^|/)\.{1,2}(/|$)|^/|\0",
        undocumented=("put_if_absent", "copy_if_match", "start_after", "metadata_bytes", "refused_keys", "byte_order"),
        sources=(
            "github.com/seaweedfs/seaweedfs/issues/7274",
            "github.com/seaweedfs/seaweedfs/pull/8802",
            _RCLONE.format(name="SeaweedFS"),
        ),
        notes="3.97 answers 412 to If-Match of the right etag: use another release. Conditional writes are atomic only in releases after March 2026.",
    ),
    Quirks(
        name="garage",
        title="Garage",
        region="garage",
        virtual_style=False,
        if_match=False,
        copy_if_match=False,
        undocumented=(*_CONDITIONS, "metadata_bytes", "etag"),
        sources=("garagehq.deuxfleurs.fr/reference_manual/s3_compatibility.html",),
        notes="No versioning; most x-amz headers are not implemented. Keys may have no right to create buckets: create_buckets = false then.",
    ),
    Quirks(
        name="digitalocean",
        if_match=False,
        title="DigitalOcean Spaces",
        endpoint="https://{region}.digitaloceanspaces.com",
        suffix="digitaloceanspaces.com",
        copy_if_match=False,
        batch_delete=None,
        undocumented=(*_CONDITIONS, "etag", "metadata_bytes", "batch_delete"),
        sources=(
            "docs.digitalocean.com/products/spaces/reference/s3-compatibility",
            "docs.digitalocean.com/reference/api/spaces-api",
            "github.com/nixys/nxs-backup/issues/106",
            _RCLONE.format(name="DigitalOcean"),
        ),
        notes="Copies between clusters of one region fail, and batch deletions did in 2024.",
    ),
    Quirks(
        name="hetzner",
        if_match=False,
        title="Hetzner Object Storage",
        endpoint="https://{region}.your-objectstorage.com",
        suffix="your-objectstorage.com",
        copy_if_match=False,
        undocumented=("if_match", "put_if_absent", "etag", "metadata_bytes"),
        sources=("docs.hetzner.com/storage/object-storage/supported-actions", _RCLONE.format(name="Hetzner")),
        notes="CopyObject may fail even within one location, so copies go through Holdfast.",
    ),
    Quirks(
        name="scaleway",
        if_match=False,
        title="Scaleway Object Storage",
        endpoint="https://s3.{region}.scw.cloud",
        suffix="scw.cloud",
        put_if_absent=True,
        copy_if_match=False,
        parts_max=1000,
        undocumented=("if_match", "copy_if_match", "etag", "metadata_bytes"),
        sources=(
            "scaleway.com/en/docs/object-storage/api-cli/using-conditional-writes",
            "gitlab.com/gitlab-org/gitlab/-/issues/426260",
            _RCLONE.format(name="Scaleway"),
        ),
        notes="An upload has at most 1,000 parts, so parts are larger.",
    ),
    Quirks(
        name="rclone",
        title="rclone serve s3",
        region="us-east-1",
        virtual_style=False,
        plain_unsigned=True,
        if_match=False,
        copy_if_match=False,
        etag_of_upload=False,
        refused_keys=r"(^|/)\.{0,2}(/|$)|\0|[^/]{250}",
        sources=("rclone serve s3 --help, 1.75", "tests/contract/test_s3_grids.py, which runs against it"),
        notes="Over a directory keys are files: `a` excludes `a/b`, and a read breaks off when its object is replaced. Run it with --no-cleanup. "
        "Answers a range with 200. Experimental, says its own help.",
    ),
    Quirks(
        name="holdfast",
        title="Holdfast",
        region="us-east-1",
        virtual_style=False,
        plain_unsigned=True,
        put_if_absent=True,
        etag="md5",
        refused_keys=r"\0",
        sources=("this repository: src/holdfast/wire, src/holdfast/limits.py",),
        notes="A NUL cannot stand in a request's path.",
    ),
    Quirks(
        name="other",
        if_match=False,
        title="any other",
        region="us-east-1",
        virtual_style=False,
        copy_if_match=False,
        etag_of_upload=False,
        batch_delete=None,
        undocumented=(*_CONDITIONS, "etag", "etag_of_upload", "metadata_bytes", "keeps_versions", "batch_delete"),
        sources=("none: asks for as little as can be",),
        notes="Put it to `holdfast certify` before it is trusted with a copy.",
    ),
)
