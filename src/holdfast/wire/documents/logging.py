"""BucketLoggingStatus. Source: Amazon S3 API Reference, PutBucketLogging."""

from holdfast.errors import S3Error
from holdfast.limits import KEY_BYTES
from holdfast.s3.logging import DELIVERY_TIME, EVENT_TIME, SIMPLE, Logging
from holdfast.xml import Element, element, malformed


def read(root: Element) -> Logging:
    enabled = root.find("LoggingEnabled")
    if enabled is None:
        return Logging()
    grants = enabled.find("TargetGrants")
    if grants is not None and grants.children:
        raise S3Error("NotImplemented", "Grants of a log are not implemented.", fields={"Element": "TargetGrants"})
    target, prefix = enabled.get("TargetBucket"), enabled.get("TargetPrefix")
    if not target or prefix is None:
        raise malformed("LoggingEnabled without its TargetBucket or TargetPrefix")
    if len(prefix.encode()) > KEY_BYTES:
        raise S3Error("KeyTooLongError", fields={"MaxSizeAllowed": str(KEY_BYTES)})
    form = enabled.find("TargetObjectKeyFormat")
    return Logging(target, prefix) if form is None else Logging(target, prefix, _format(form), True)


def _format(form: Element) -> str:
    simple, partitioned = form.find("SimplePrefix"), form.find("PartitionedPrefix")
    if (simple is None) == (partitioned is None):
        raise malformed("TargetObjectKeyFormat needs one of SimplePrefix and PartitionedPrefix")
    if partitioned is None:
        return SIMPLE
    source = partitioned.get("PartitionDateSource") or DELIVERY_TIME
    if source not in (EVENT_TIME, DELIVERY_TIME):
        raise malformed(f"the date source {source!r}")
    return source


def write(value: Logging) -> str:
    if not value.target:
        return ""
    content = element("TargetBucket", value.target) + element("TargetPrefix", value.prefix)
    if value.key_format_given:
        form = "<SimplePrefix/>"
        if value.key_format != SIMPLE:
            form = f"<PartitionedPrefix>{element('PartitionDateSource', value.key_format)}</PartitionedPrefix>"
        content += f"<TargetObjectKeyFormat>{form}</TargetObjectKeyFormat>"
    return f"<LoggingEnabled>{content}</LoggingEnabled>"
