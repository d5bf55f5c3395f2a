"""VersioningConfiguration. Source: Amazon S3 API Reference, PutBucketVersioning."""

from holdfast.errors import S3Error
from holdfast.s3.versioning import Versioning
from holdfast.xml import Element, element, malformed


def read(root: Element) -> Versioning:
    if (root.get("MfaDelete") or "Disabled") != "Disabled":
        raise S3Error("NotImplemented", "MFA delete is not implemented.", fields={"Element": "MfaDelete"})
    status = root.get("Status")
    if status not in ("Enabled", "Suspended"):
        raise malformed(f"the status {status!r}")
    return Versioning(status)


def write(value: Versioning) -> str:
    return element("Status", value.status) if value.status else ""
