"""Who pays for requests. Source: Amazon S3 API Reference, PutBucketRequestPayment; User Guide, "Requester Pays buckets"."""

from typing import Final

from holdfast.model import Value

OWNER: Final = "BucketOwner"
REQUESTER: Final = "Requester"


class Payment(Value, frozen=True):
    payer: str = OWNER
