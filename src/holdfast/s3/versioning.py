"""Whether a bucket keeps versions. Source: Amazon S3 User Guide, "Retaining multiple versions of objects with S3 Versioning"."""

from holdfast.model import Bucket, Value
from holdfast.s3.settings import setting


class Versioning(Value, frozen=True):
    """The setting `versioning`. A bucket that never had it is unversioned."""

    status: str = ""
    """Enabled, Suspended, or empty: it was never on."""


def versioning_of(bucket: Bucket) -> str:
    """Enabled, Suspended or empty."""
    found = setting(bucket, "versioning", Versioning)
    return "" if found is None else found.status
