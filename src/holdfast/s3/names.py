"""Names that a bucket may have."""

import re

from holdfast.limits import BUCKET_NAME_MAX, BUCKET_NAME_MIN

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
"""As in a host name, which a bucket's name is part of."""
_BUCKET_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def is_bucket_name(name: str) -> bool:
    """Whether a bucket may be created with this name. Amazon S3 User Guide, "General purpose bucket naming rules"."""
    return (
        BUCKET_NAME_MIN <= len(name) <= BUCKET_NAME_MAX
        and _BUCKET_NAME.fullmatch(name) is not None
        and not _IPV4.fullmatch(name)
        and not name.startswith(_RESERVED_PREFIXES)
        and not name.endswith(_RESERVED_SUFFIXES)
    )
