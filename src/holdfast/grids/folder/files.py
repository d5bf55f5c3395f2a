"""The blocking file work of a folder grid: what its threads do.

Answers for finding an object in either of its forms, replacing and removing it without a moment in which a reader
finds neither the old nor the new one, and staging bytes beside the objects. It never decides what an error means
to a caller, and never makes anything durable: it names to `Dirty` what must be. Invariant: when both
forms of a key exist (a crash can leave that), the plain one is the object.
"""

import errno
import os
from collections.abc import Iterator

from holdfast.grids import names
from holdfast.grids.folder.flush import Dirty, Unfinished
from holdfast.grids.folder.place import XATTR
from holdfast.limits import FOLDER_TRIES

_ELSEWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ, errno.EINVAL})
"""The plain form is not there, or this file system can't have it: look for the hard one."""
_NO_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EMLINK})
_NO_LABEL = frozenset({errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EOPNOTSUPP, errno.EPERM})
_LABEL_BYTES = 2048
"""Labels above this do not fit on every file system: the copy then goes without, since the index has it all."""


class NotAFile(Exception):
    """Something else than a plain file lies where an object should be."""


class Bytes:
    """Staged bytes: where they lie and what they will be known as."""

    __slots__ = ("mtime_ns", "path", "size")

    def __init__(self, path: bytes, status: os.stat_result) -> None:
        self.path = path
        self.size = status.st_size
        self.mtime_ns = status.st_mtime_ns


def etag_of(size_bytes: int, mtime_ns: int) -> str:
    return f"{mtime_ns:x}-{size_bytes:x}"


# --- finding ---


def strays(folder: bytes, path: bytes) -> bool:
    """Whether a symbolic link stands where a directory of `path` should be, from that of the bucket on. It may lead anywhere, so
    it is in the way like a file."""
    at = len(folder) - 1
    while at > 0:
        if os.path.islink(path[:at]):
            return True
        at = path.find(b"/", at + 1)
    return False


def _forms(folder: bytes, key: str) -> Iterator[bytes]:
    """Where the object may be, in the order in which to look. The plain form comes again, as the object may
    have moved there while the hard one was looked at; it never moves back without being deleted between."""
    plain = names.plain(key)
    paths = [folder + names.hard(key)] if plain is None else [folder + plain, folder + names.hard(key), folder + plain]
    return (path for path in paths if not strays(folder, path))


def open_object(folder: bytes, key: str) -> tuple[int, os.stat_result] | None:
    """A descriptor for reading and what it is of; None when nothing is there. Raises OSError and NotAFile.

    `folder` is the bucket's directory with a slash behind it, here and below.
    """
    for path in _forms(folder, key):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as trouble:
            if trouble.errno in _ELSEWHERE:
                continue
            if trouble.errno in _NO_FILE:
                raise NotAFile(f"{os.fsdecode(path)} is not a plain file") from trouble
            raise
        status = os.fstat(descriptor)
        kind = status.st_mode & 0o170000
        if kind == 0o100000:
            return descriptor, status
        os.close(descriptor)
        if kind != 0o040000:
            raise NotAFile(f"{os.fsdecode(path)} is not a plain file")
    return None


def stat_object(folder: bytes, key: str) -> tuple[bytes, os.stat_result] | None:
    """Path and status of the object; None when nothing is there. Raises OSError and NotAFile."""
    for path in _forms(folder, key):
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError as trouble:
            if trouble.errno in _ELSEWHERE:
                continue
            raise
        kind = status.st_mode & 0o170000
        if kind == 0o100000:
            return path, status
        if kind != 0o040000:
            raise NotAFile(f"{os.fsdecode(path)} is not a plain file")
    return None


def label_of(path: bytes) -> bytes | None:
    try:
        return os.getxattr(path, XATTR, follow_symlinks=False)
    except (OSError, AttributeError):
        return None


def read_at(descriptor: int, offset: int, size_bytes: int) -> bytes:
    """Exactly these bytes, or fewer when the file ends before."""
    data = os.pread(descriptor, size_bytes, offset)
    while 0 < len(data) < size_bytes:
        more = os.pread(descriptor, size_bytes - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


# --- staging ---


def begin_file(path: bytes) -> int:
    """A new file for staged bytes. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.mkdir(os.path.dirname(path), 0o700)  # Fails when the place itself is gone.
        return os.open(path, flags, 0o600)


def write_all(descriptor: int, data: bytes) -> None:
    wrote = os.write(descriptor, data)
    while wrote < len(data):
        wrote += os.write(descriptor, memoryview(data)[wrote:])


def finish_file(descriptor: int, path: bytes, mtime_ns: int, label: bytes | None) -> Bytes:
    """Give a staged file the time by which its etag tells it from other versions, and its label."""
    if label is not None:
        try:
            os.setxattr(descriptor, XATTR, label)
        except OSError as trouble:
            if len(label) <= _LABEL_BYTES or trouble.errno not in _NO_LABEL:
                raise
    os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    return Bytes(path, os.fstat(descriptor))


def stage_small(dirty: Dirty, path: bytes, data: bytes, mtime_ns: int, label: bytes | None) -> Bytes:
    """Write a whole staged file; the flush makes it durable."""
    descriptor = begin_file(path)
    dirty.file(descriptor)
    try:
        write_all(descriptor, data)
        return finish_file(descriptor, path, mtime_ns, label)
    except OSError:
        os.unlink(path)
        raise


def stage_link(
    dirty: Dirty, path: bytes, source: bytes, size_bytes: int, mtime_ns: int, label: bytes | None
) -> Bytes | None:
    """Link a file that is handed over; None when it must be copied instead.

    A file that another grid has linked already is copied, so that two copies never share their blocks.
    """
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError:
        return None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        dirty.file(descriptor)
        status = os.fstat(descriptor)
        if status.st_nlink != 2 or status.st_size != size_bytes:
            os.unlink(path)
            return None
        return finish_file(descriptor, path, mtime_ns, label)
    except OSError:
        os.unlink(path)
        raise


def drop(dirty: Dirty, path: bytes) -> None:
    """Forget staged bytes; a crash may bring them back, to be swept later."""
    try:
        os.unlink(path)
    except OSError:
        return


# --- replacing and removing ---


def publish(dirty: Dirty, root: bytes, bucket: bytes, key: str, staged: bytes) -> None:
    """Make a staged file the object. Raises OSError when nothing was done, Unfinished when it was done in part."""
    folder = root + b"/" + bucket + b"/"
    path = names.plain(key)
    if path is None or strays(folder, folder + path) or not _move(dirty, root, staged, folder + path):
        path = names.hard(key)
        if strays(folder, folder + path) or not _move(dirty, root, staged, folder + path):
            raise NotADirectoryError(errno.ENOTDIR, "a file is in the way", os.fsdecode(folder + path))
        return
    if os.path.lexists(folder + names.PRIVATE.encode()):
        try:
            _remove(dirty, folder, folder + names.hard(key))
        except OSError as trouble:
            raise Unfinished from trouble


def delete(dirty: Dirty, root: bytes, bucket: bytes, key: str) -> bool:
    """Remove both forms of an object; False when neither was there. Raises like `publish`.

    The hard form goes first: were the plain one to go first, a crash could bring an older version to light.
    """
    folder = root + b"/" + bucket + b"/"
    path = names.plain(key)
    gone = False
    if path is None or os.path.lexists(folder + names.PRIVATE.encode()):
        gone = _remove(dirty, folder, folder + names.hard(key))
    if path is not None:
        try:
            gone = _remove(dirty, folder, folder + path) or gone
        except OSError as trouble:
            if gone:
                raise Unfinished from trouble
            raise
    return gone


def _move(dirty: Dirty, root: bytes, staged: bytes, target: bytes) -> bool:
    """Rename onto `target` and make the directories above it; False when something is in the way."""
    parent = os.path.dirname(target)
    for _ in range(FOLDER_TRIES):
        try:
            os.rename(staged, target)
        except FileNotFoundError:
            if not os.path.lexists(staged):
                raise
            if not _make_folders(dirty, root, parent):
                return False
        except (IsADirectoryError, NotADirectoryError):
            if not _vacate(target):
                return False
        except OSError as trouble:
            if trouble.errno in _ELSEWHERE:
                return False
            raise
        else:
            dirty.folder(parent)
            return True
    raise OSError(errno.EBUSY, "its directory is removed again and again", os.fsdecode(parent))


def _vacate(path: bytes) -> bool:
    """Remove an empty directory that a crash left where a file shall be."""
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def _make_folders(dirty: Dirty, root: bytes, path: bytes) -> bool:
    """Make a directory and those above it, up to but without the root; False when a file is in the way."""
    missing = [path]
    for _ in range(FOLDER_TRIES + 2 * path.count(b"/")):
        parent = os.path.dirname(missing[-1])
        try:
            os.mkdir(missing[-1], 0o700)
        except FileExistsError:
            if not os.path.isdir(missing[-1]):
                return False
        except FileNotFoundError:
            if parent == root:
                raise
            missing.append(parent)
            continue
        except OSError as trouble:
            if trouble.errno in _ELSEWHERE:
                return False
            raise
        else:
            dirty.folder(parent)
        missing.pop()
        if not missing:
            return True
    return True  # Others remove what is made here: the caller begins anew, so often and no more.


def _remove(dirty: Dirty, folder: bytes, path: bytes) -> bool:
    """Unlink a file of a bucket and the directories that this leaves empty. True when it was there.

    The lowest directory that is left is named for the flush also when nothing was there: an earlier removal may have lost its
    flush.
    """
    if strays(folder, path):
        return False
    root = os.path.dirname(folder[:-1])
    try:
        os.unlink(path)
        gone = True
    except OSError as trouble:
        # EPERM is what some systems say of a directory.
        if trouble.errno not in _ELSEWHERE and not (trouble.errno == errno.EPERM and os.path.isdir(path)):
            raise
        gone = False
    parent = os.path.dirname(path)
    while parent != root:
        try:
            os.rmdir(parent)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            break
        parent = os.path.dirname(parent)
    dirty.folder(parent)
    return gone
