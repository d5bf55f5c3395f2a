"""Configurations that cannot be set here: they are answered as by a bucket of Amazon's that has none.

Source: Amazon S3 API Reference: GetBucketReplication, GetBucketAccelerateConfiguration, and the Get and List actions of
analytics, intelligent-tiering, inventory and metrics configurations. To set one is NotImplemented, by the name of its action.
"""

from holdfast.s3.absent import Absent
from holdfast.xml import Element, malformed


def read(root: Element) -> Absent:
    raise malformed(root.name)


def nothing(value: Absent) -> str:
    """An empty configuration."""
    return ""


def no_more(value: Absent) -> str:
    """A list of configurations, of which there are none."""
    return "<IsTruncated>false</IsTruncated>"
