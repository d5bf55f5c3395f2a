"""What a folder grid's troubles mean: one place where `OSError` and its like become `GridError`.

Never acts. Invariant: an error says which path, what is wrong with it, and whether the change may have happened.
"""

import errno
import os

from holdfast.crew import CrewFull
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.grids.folder.copying import SourceGone
from holdfast.grids.folder.files import NotAFile
from holdfast.grids.folder.flush import Unfinished
from holdfast.grids.folder.place import NotThere
from holdfast.model import Place

TROUBLES = (OSError, CrewFull, NotThere, NotAFile, Unfinished, SourceGone)
"""What the blocking work and its threads raise."""

_MEANINGS = {
    errno.EACCES: "the process may not do that: check owner and mode",
    errno.EPERM: "the file system does not permit that: is the file immutable?",
    errno.EROFS: "the file system is mounted read-only",
    errno.ENOSPC: "the file system is full",
    errno.EDQUOT: "the quota is used up",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the network file system no longer knows it",
    errno.ENOTCONN: "the mounted file system's server is gone",
    errno.EMFILE: "the process has too many open files",
    errno.ENFILE: "the system has too many open files",
}
_MAYBE = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EINTR})
"""After these a change of a directory may have happened."""


def explain(grid: str, operation: str, place: Place | None, trouble: Exception) -> GridError:
    """The error that one of TROUBLES means."""
    bucket, key = (place.bucket, place.key) if place is not None else ("", "")
    acts = operation in ("publish", "delete")
    match trouble:
        case SourceGone():
            return Unavailable(grid, operation, str(trouble), bucket=bucket, key=key, shielded=True)
        case NotAFile():
            return Corrupt(grid, operation, str(trouble), bucket=bucket, key=key)
        case Unfinished():
            cause = trouble.__cause__
            detail = f"not known to be durable: {_describe(cause) if isinstance(cause, OSError) else cause}"
            kind = Uncertain if acts else Unavailable
            return kind(grid, operation, detail, bucket=bucket, key=key)
        case OSError(errno=errno.ENAMETOOLONG):
            return Refused(grid, operation, _describe(trouble), reason=Reason.INVALID, bucket=bucket, key=key)
        case OSError() if acts and trouble.errno in _MAYBE:
            return Uncertain(grid, operation, _describe(trouble), bucket=bucket, key=key)
        case OSError():
            return Unavailable(grid, operation, _describe(trouble), bucket=bucket, key=key)
        case _:
            return Unavailable(grid, operation, str(trouble), bucket=bucket, key=key)


def _describe(trouble: OSError) -> str:
    path = trouble.filename
    where = os.fsdecode(path) if isinstance(path, (bytes, str)) else ""
    code = errno.errorcode.get(trouble.errno or 0, "unknown error")
    meaning = _MEANINGS.get(trouble.errno or 0, trouble.strerror or str(trouble))
    return f"{where}: {meaning} ({code})" if where else f"{meaning} ({code})"
