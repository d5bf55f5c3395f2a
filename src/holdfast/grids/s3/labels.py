"""A label as headers of an object, and back.

Answers for metadata that another S3 client can read: the client's headers and `x-amz-meta-*` under their own names, and
beside them what only Holdfast needs, as `x-amz-meta-holdfast-*`. What no header can carry goes into one of those as
a whole. Where a vendor's room ends, ours is given up first, the client's never. Pure.
Invariant: `label_of(headers_of(label))` is the label, or None when its own part found no room.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from holdfast.grids.grid import Label
from holdfast.grids.metadata import decode, encode
from holdfast.model import DecodeError, Value, pack, unpack

META: Final = "x-amz-meta-"
_OWN: Final = "holdfast-"
_SEQ, _ETAG, _MODIFIED = "holdfast-seq", "holdfast-etag", "holdfast-modified"
_SYSTEM: Final = "holdfast-system"
"""Names of the system headers that were set: servers add some of their own."""
_MORE: Final = "holdfast-more"
"""What no header can carry, as base64 of MessagePack."""
_NATIVE: Final = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
)
"""System headers that every vendor keeps as they are. `expires` is read as a date by some, and a redirect is acted on."""
_CARRIED = re.compile(r"[!-~]([ -~]*[!-~])?", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
"""User metadata's names that every server takes and gives back."""


class _More(Value, frozen=True, omit_defaults=True):
    system: dict[str, str] = {}
    user: dict[str, str] = {}


def headers_of(label: Label, *, room_bytes: int) -> dict[str, str]:
    """The headers that make an object carry this label. `room_bytes` is what the vendor lets user metadata take."""
    system = {name: value for name, value in label.system.items() if name in _NATIVE and _CARRIED.fullmatch(value)}
    user = {
        name: encode(value) for name, value in label.user.items() if _NAME.fullmatch(name) and not name.startswith(_OWN)
    }
    more = _More(
        {name: value for name, value in label.system.items() if name not in system},
        {name: value for name, value in label.user.items() if name not in user},
    )
    own = {
        _SEQ: str(label.seq),
        _ETAG: encode(label.etag),
        _MODIFIED: str(label.modified_ms),
        _SYSTEM: ",".join(system) or "-",
    }
    if more.system or more.user:
        own[_MORE] = base64.b64encode(pack(more)).decode()
    if _size(user) + _size(own) > room_bytes:
        own = {}
    return {**system, **{META + name: value for name, value in (user | own).items()}}


def label_of(headers: Mapping[str, str]) -> Label | None:
    """The label that an object's headers carry (lower-case names); None when there is none to be read."""
    own = {name: headers.get(META + name, "") for name in (_SEQ, _ETAG, _MODIFIED, _SYSTEM, _MORE)}
    try:
        more = unpack(base64.b64decode(own[_MORE], validate=True), _More) if own[_MORE] else _More()
        seq, modified_ms = int(own[_SEQ]), int(own[_MODIFIED])
    except (ValueError, binascii.Error, DecodeError):
        return None
    system = {name: headers.get(name, "") for name in own[_SYSTEM].split(",") if name in _NATIVE}
    user = {
        name.removeprefix(META): decode(value)
        for name, value in headers.items()
        if name.startswith(META) and not name.startswith(META + _OWN)
    }
    return Label(seq, decode(own[_ETAG]), modified_ms, system | more.system, user | more.user)


def _size(metadata: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in metadata.items())
