"""What a cached block's file is called: everything that must agree before its bytes may be used.

The name says which version, which bytes of it, their CRC-32C, and a digest of the version's etag. So a block of an older version
is never found under a newer one's name, and one that another index left here (restored, or made anew, with sequence
numbers that began again) is not found at all. It says nothing of buckets and keys. Pure.
"""

import re
from hashlib import blake2b
from typing import Final

_NAME: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{1,16}-[0-9a-f]{1,16}-([0-9a-f]{1,6})-[0-9a-f]{16}")


def tag_of(etag: str) -> str:
    """A version's share of the names of its blocks."""
    return blake2b(etag.encode(), digest_size=8).hexdigest()


def name_of(*, seq: int, tag: str, offset: int, size: int, crc: int) -> str:
    """The name of the block of `size` bytes at `offset` of version `seq`, whose CRC-32C is `crc`."""
    return f"{crc:08x}-{seq:x}-{offset:x}-{size:x}-{tag}"


def size_in(name: str) -> int | None:
    """The size of the block that is called so; None for what is no name of a block."""
    found = _NAME.fullmatch(name)
    return int(found[1], 16) if found is not None else None


def crc_in(name: str) -> int:
    """The CRC-32C that its bytes must have."""
    return int(name[:8], 16)
