"""Whether every grid of a policy could ever hold an object.

Answers for refusing, before a body is received, what would be owed to some grid for ever. Pure over what grids
declare. Invariant: what passes here no grid refuses for its size, its metadata or its key.
"""

import re

from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.grids.grid import Capabilities
from holdfast.grids.metadata import size_bytes
from holdfast.model import Facts, Redundancy
from holdfast.s3.versioning import RESERVED, is_reserved


def check_holdable(
    site: Site, policy: Redundancy, *, bucket: str, key: str, facts: Facts | None = None, size: int | None = None
) -> None:
    """Raises KeyTooLongError, InvalidArgument, MetadataTooLarge or EntityTooLarge with the reason, for the first grid that cannot."""
    if is_reserved(key):
        message = f"Keys that begin with {RESERVED} are kept for versions that are not current."
        raise S3Error("InvalidArgument", message, fields={"ArgumentName": "Key", "ArgumentValue": key})
    for number in policy.grids:
        seat = site.seat(number)
        if seat is not None:
            _check(seat.name, seat.grid.capabilities, bucket, key, facts, size)


def _check(grid: str, able: Capabilities, bucket: str, key: str, facts: Facts | None, size: int | None) -> None:
    held = f'This bucket\'s objects are also kept in "{grid}", which holds'
    longest = able.key_bytes - (len(bucket) if able.bucket_in_key else 0)
    if len(key) * 4 > longest and len(key.encode("utf-8", "surrogatepass")) > longest:
        raise S3Error(
            "KeyTooLongError",
            f"Your key is too long. {held} keys of up to {longest} bytes.",
            fields={"MaxSizeAllowed": str(longest)},
        )
    name = f"{bucket}/{key}" if able.bucket_in_key else key
    if able.refused_keys and re.search(able.refused_keys, name):
        fields = {"ArgumentName": "Key"}
        raise S3Error(
            "InvalidArgument",
            f'This bucket\'s objects are also kept in "{grid}", which cannot hold this key.',
            fields=fields,
        )
    if facts is not None and facts.user and size_bytes(facts.user) > able.metadata_bytes:
        most = able.metadata_bytes
        message = f"Your metadata headers exceed the maximum allowed metadata size. {held} up to {most} bytes of them, as sent there."
        raise S3Error("MetadataTooLarge", message, fields={"MaxSizeAllowed": str(most)})
    if size is not None and size > able.object_bytes:
        fields = {"ProposedSize": str(size), "MaxSizeAllowed": str(able.object_bytes)}
        raise S3Error(
            "EntityTooLarge",
            f"Your object is too large. {held} objects of up to {able.object_bytes} bytes.",
            fields=fields,
        )
