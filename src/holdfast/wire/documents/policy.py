"""A bucket's policy: JSON, kept as it came. Source: Amazon S3 API Reference, PutBucketPolicy."""

from holdfast.access.conditions import malformed
from holdfast.access.policy import Sort, read_policy
from holdfast.limits import POLICY_BYTES
from holdfast.s3.sharing import BucketPolicy


def read(body: bytes) -> BucketPolicy:
    """Whether it is this bucket's is judged by `access`. Raises MalformedPolicy."""
    if len(body) > POLICY_BYTES:
        raise malformed(f"The policy exceeds the maximum allowed document size of {POLICY_BYTES} bytes.")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise malformed("Policies must be valid JSON and the first byte must be '{'") from None
    read_policy(text, Sort.BUCKET)
    return BucketPolicy(text)


def write(value: BucketPolicy) -> str:
    return value.text
