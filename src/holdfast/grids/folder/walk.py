"""Listing a bucket's directory in the order of its keys.

Best first: whatever has the smallest key that it can hold is looked at next; a directory is read only when the page
reaches it. So both forms of keys, and names that sort otherwise with a slash behind them, come out in UTF-8
byte order of the keys. Of each directory at most as many names are remembered as the page still needs: the rest
of it is read again should they not be enough. Invariant: a directory that cannot be read raises; it is
never taken for an empty one.
"""

import heapq
import os
from collections.abc import Iterator

from holdfast.grids import names

_FOLDER, _PLAIN, _HARD = 0, 1, 2
"""Kinds, in the order in which they come when their keys are equal: an object's plain form comes first."""

_Cut = tuple[bytes, int, bytes]
_Entry = tuple[bytes, int, bytes, bool, _Cut]
"""Smallest key below it (or the key), kind, path, whether it is in the hard tree, and after which entry of it to go on."""

_START: _Cut = (b"", -1, b"")


def walk(folder: bytes, *, prefix: bytes, after: bytes, page: int) -> Iterator[tuple[str, os.stat_result]]:
    """Objects below a bucket's directory (a slash behind it) whose keys are above `after`, in order, without end.
    Raises OSError."""
    prune = _Prune(prefix, after)
    heap: list[_Entry] = [
        (b"", _FOLDER, folder[:-1], False, _START),
        (b"", _FOLDER, folder + names.PRIVATE.encode(), True, _START),
    ]
    heap = [] if os.path.islink(folder[:-1]) else [entry for entry in heap if not os.path.islink(entry[2])]
    last: bytes | None = None
    while heap:
        key, kind, path, hard, cut = heapq.heappop(heap)
        if kind == _FOLDER:
            for entry in _read(folder, key, path, hard, cut, prune, page):
                heapq.heappush(heap, entry)
            continue
        if key == last:
            continue
        try:
            status = os.stat(path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            continue
        last = key
        yield key.decode(), status


class _Prune:
    """Which entries a listing needs."""

    __slots__ = ("_after", "_prefix")

    def __init__(self, prefix: bytes, after: bytes) -> None:
        self._prefix = prefix
        self._after = after

    def wants_file(self, key: bytes) -> bool:
        return key > self._after and key.startswith(self._prefix)

    def wants_folder(self, bound: bytes) -> bool:
        """Whether keys that begin with `bound` may be wanted."""
        if not (bound.startswith(self._prefix) or self._prefix.startswith(bound)):
            return False
        return bound > self._after or self._after.startswith(bound)


def _read(folder: bytes, bound: bytes, path: bytes, hard: bool, cut: _Cut, prune: _Prune, page: int) -> list[_Entry]:
    """The next entries of one directory, and the directory itself again when it has more than `page` of them."""
    prefix = _bound_of(folder, path, hard) if cut != _START else bound
    found = heapq.nsmallest(page + 1, _entries(folder, prefix, path, hard, cut, prune))
    if len(found) > page:
        cut = found[page - 1][:3]
        # The extra one is read again with the rest; its key is the smallest that the rest can hold.
        found[page] = (found[page][0], _FOLDER, path, hard, cut)
    return found


def _bound_of(folder: bytes, path: bytes, hard: bool) -> bytes:
    """What all keys below a directory begin with."""
    if not hard:
        return path[len(folder) :] + b"/" if len(path) > len(folder) else b""
    inner = path[len(folder) + len(names.PRIVATE) + 1 :].decode()
    return "".join(map(names.folder_text, inner.split("/"))).encode() if inner else b""


def _entries(folder: bytes, prefix: bytes, path: bytes, hard: bool, cut: _Cut, prune: _Prune) -> Iterator[_Entry]:
    try:
        scan = os.scandir(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    with scan:
        for item in scan:
            entry = _hard(folder, prefix, item) if hard else _plain(folder, prefix, item)
            if entry is None or entry[:3] <= cut:
                continue
            if prune.wants_folder(entry[0]) if entry[1] == _FOLDER else prune.wants_file(entry[0]):
                yield entry


def _plain(folder: bytes, prefix: bytes, item: os.DirEntry[bytes]) -> _Entry | None:
    key = prefix + item.name
    try:
        key.decode()
    except UnicodeDecodeError:
        return None  # Not a key's: somebody else put it there.
    if item.is_file(follow_symlinks=False):
        return key, _PLAIN, item.path, False, _START
    if not item.is_dir(follow_symlinks=False) or (not prefix and item.name == names.PRIVATE.encode()):
        return None
    return key + b"/", _FOLDER, item.path, False, _START


def _hard(folder: bytes, prefix: bytes, item: os.DirEntry[bytes]) -> _Entry | None:
    try:
        if item.is_dir(follow_symlinks=False):
            return prefix + names.folder_text(item.name.decode()).encode(), _FOLDER, item.path, True, _START
        key = names.key_of(item.path[len(folder) :])
    except ValueError:
        return None  # Not a key's: somebody else put it there.
    return (key.encode(), _HARD, item.path, True, _START) if item.is_file(follow_symlinks=False) else None
