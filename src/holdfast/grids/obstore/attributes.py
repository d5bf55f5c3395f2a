"""A label as attributes of an object at Azure or Google, and back.

Answers for the same label that `s3` grids write, under the names that these two allow: content headers as they are, user
metadata under its own names. At Azure, where a name must be an identifier, a hyphen is written as an underscore. Pure.
Invariant: `label_of(attributes_of(label))` is the label, or None when our part of it found no room.
"""

from collections.abc import Mapping
from typing import Final

from holdfast.grids.grid import Label
from holdfast.grids.obstore.providers import Provider
from holdfast.grids.s3 import labels

_HEADERS: Final = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "content-type": "Content-Type",
}
_TAKEN: Final = frozenset({*_HEADERS, "storage-class"})
"""What the library understands as something else than a name of metadata."""


def attributes_of(label: Label, provider: Provider) -> dict[str, str]:
    """The attributes that make an object carry this label."""
    written = {}
    for name, value in labels.headers_of(label, room_bytes=provider.metadata_bytes).items():
        if name.startswith(labels.META):
            written[_name_there(name.removeprefix(labels.META), provider)] = value
        else:
            written[_HEADERS[name]] = value
    return written


def label_of(attributes: Mapping[str, str], provider: Provider) -> Label | None:
    """The label that an object's attributes carry; None when there is none to be read."""
    headers = {}
    for name, value in attributes.items():
        if name in _HEADERS.values():
            headers[name.lower()] = value
        else:
            headers[labels.META + _name_here(name.lower(), provider)] = value
    return labels.label_of(headers)


def _name_there(name: str, provider: Provider) -> str:
    """Names here are letters, digits and hyphens, and never begin with a hyphen: a first underscore is free to mark one."""
    if provider.identifiers:
        return ("_" if name[0].isdigit() else "") + name.replace("-", "_")
    return f"_{name}" if name in _TAKEN else name


def _name_here(name: str, provider: Provider) -> str:
    name = name.removeprefix("_")
    return name.replace("_", "-") if provider.identifiers else name
