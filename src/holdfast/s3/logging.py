"""Server access logging of a bucket. Source: Amazon S3 API Reference, PutBucketLogging; User Guide, "Logging requests with server access logging"."""

from typing import Final

from holdfast.model import Value

SIMPLE: Final = "simple"
EVENT_TIME: Final = "EventTime"
DELIVERY_TIME: Final = "DeliveryTime"


class Logging(Value, frozen=True):
    """Where the log of a bucket goes; with an empty `target` there is none."""

    target: str = ""
    """The bucket that gets it."""
    prefix: str = ""
    """What the keys of its objects begin with."""
    key_format: str = SIMPLE
    """SIMPLE: `<prefix>YYYY-MM-DD-hh-mm-ss-<unique>`. EVENT_TIME, DELIVERY_TIME:
    `<prefix><account>/<region>/<bucket>/YYYY/MM/DD/YYYY-MM-DD-hh-mm-ss-<unique>` by the time of that name."""
    key_format_given: bool = False
    """The client named the format, so it gets it back."""
