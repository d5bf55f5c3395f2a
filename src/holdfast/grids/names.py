"""How a key becomes a path below a bucket's directory, and back.

Almost every key is *plain*: the path is the key. A key that no file system can hold so (an empty, `.` or `..` segment,
NUL, a segment of more than 255 bytes) has a *hard* path instead, in a tree of its own below
`.holdfast/`. Every key has a hard path, so one whose plain path is taken by a directory, or
runs through a file, finds room there too: both `a` and `a/b` may be objects.

In the hard tree a directory's name ends in `%` (the segment ends there) or `%-` (the segment goes on in the name
below), and a file's name in neither, so no two keys can be in each other's way. Bytes that some file system refuses are written
`%XX`; an empty last segment is `%_`; from a certain depth on slashes are `%2F`. Everything else is readable as it is.

Pure. Invariant: `key_of(hard(key)) == key` for every key, different keys have different paths, and no path leaves
the directory it begins in. File systems that ignore case or normalise Unicode are out of scope.
"""

import re

PRIVATE = ".holdfast"
"""Directory of hard paths below a bucket; the same name below the root has the grid's own things."""
NAME_BYTES = 255
"""Longest name on common file systems."""

_HARD = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|\0|\A\.holdfast(?:/|\Z)")
_UNSAFE = re.compile(r'[\x00-\x1f"%*:<>?\\|\x7f]')
_ESCAPED = re.compile(r"%([0-9A-F]{2})")
_CHUNK_BYTES = 240
_GOES_ON = "%-"
_ENDS = "%"
_EMPTY = "%_"
_SLASH = "%2F"
_DEPTH = 32
"""Directories of a hard path, the pieces of long names aside: a key of 1,024 slashes shall not make as many of them."""
_DOTS = {"": _EMPTY, ".": "%2E", "..": "%2E%2E"}
"""What a file may not be named."""


def plain(key: str) -> bytes | None:
    """The key as a path, or None when no file system could hold it so."""
    if _HARD.search(key) is not None:
        return None
    path = key.encode()
    if len(path) > NAME_BYTES and max(map(len, path.split(b"/"))) > NAME_BYTES:
        return None
    return path


def hard(key: str) -> bytes:
    """The key's path in the hard tree, `.holdfast/` included. At most about three times as long as the key."""
    segments = [_escape(segment) for segment in key.split("/")]
    depth = min(len(segments) - 1, _DEPTH)
    folders, last = segments[:depth], _SLASH.join(segments[depth:])
    names = [PRIVATE]
    for folder in folders:
        *chunks, tail = _chunks(folder)
        names += [chunk + _GOES_ON for chunk in chunks]
        names.append(tail + _ENDS)
    *chunks, tail = _chunks(last)
    names += [chunk + _GOES_ON for chunk in chunks]
    names.append(_DOTS.get(tail, tail))
    return "/".join(names).encode()


def key_of(path: bytes) -> str:
    """The key whose hard path this is. Raises ValueError when it is no key's."""
    first, *folders, last = path.decode().split("/")
    key = "".join(map(folder_text, folders)) + file_text(last)
    if first != PRIVATE or hard(key) != path:
        raise ValueError(f"{path!r} is no key's path")
    return key


def folder_text(name: str) -> str:
    """What a directory's name in the hard tree adds to the keys below it. Raises ValueError for a foreign name."""
    if name.endswith(_GOES_ON):
        return _unescape(name[: -len(_GOES_ON)])
    if name.endswith(_ENDS):
        return _unescape(name[: -len(_ENDS)]) + "/"
    raise ValueError(f"{name!r} is no directory of a hard path")


def file_text(name: str) -> str:
    """What a file's name in the hard tree adds to the key. Raises ValueError for a foreign name."""
    return "" if name == _EMPTY else _unescape(name)


def _escape(segment: str) -> str:
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", segment)


def _unescape(text: str) -> str:
    plain_text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    if "%" in _ESCAPED.sub("", text):
        raise ValueError(f"{text!r} is not escaped as hard paths are")
    return plain_text


def _chunks(text: str) -> list[str]:
    """Stretches of at most _CHUNK_BYTES that cut neither a character nor an escape; at least one."""
    if len(text) * 4 <= _CHUNK_BYTES:
        return [text]
    chunks = []
    start = size = at = 0
    while at < len(text):
        step = 3 if text[at] == "%" else 1
        wide = len(text[at : at + step].encode())
        if size + wide > _CHUNK_BYTES:
            chunks.append(text[start:at])
            start, size = at, 0
        size += wide
        at += step
    return [*chunks, text[start:]]
