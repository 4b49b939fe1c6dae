"""The few, typed failures of a bucket. An outage must never look like an absence."""

import errno
from pathlib import Path


class BucketError(Exception):
    """Any failure of a bucket. The text is for an operator's log; it never holds a secret."""


class NotFound(BucketError):
    """The path is certainly not there: the storage answered, and said so."""


class Unavailable(BucketError):
    """The storage cannot be asked now. `retry_after` says when to try again, in seconds."""

    def __init__(self, message: str, retry_after: int = 10) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(Unavailable):
    """No answer came: the server is away, or the way to it is broken. It may still do what it was asked to, later."""


class Refused(BucketError):
    """The storage answered and will not: credentials, permission, quota. Trying again will not help."""


class Forbidden(Refused):
    """This machine does not allow it: permissions, or a file system that is read-only."""


class KeyMissing(Forbidden):
    """A file is encrypted, or says that it is, with a key that this daemon's member has not."""


class Unchangeable(Refused):
    """The bucket is one to read only; the text says why."""


class Full(BucketError):
    """There is no room left on the storage (or in the spool on its way there)."""


class Corrupt(BucketError):
    """What the storage holds cannot be what was put there."""


class InTheWay(Corrupt):
    """Something is where a directory on the way belongs: nobody knows what would be below it."""


class Altered(Corrupt):
    """An encrypted file is not as a member of its team wrote it."""


class TooLarge(BucketError):
    """A file is larger than the caller wants in memory, or than the storage takes."""


class PathTooLong(BucketError):
    """A name, or all names of a path together, is longer than the storage can keep; the text says which."""


class SetupError(Exception):
    """A bucket cannot be opened because of something its user has to change; one line that says what."""


MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
"""What a system call says that found no file at a path. It is for a reader to tell whether that is an absence."""

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
"""What it says where the disk, or a user's share of it, is full."""

_IN_THE_WAY = {
    errno.EISDIR: "a directory is where a file belongs",
    errno.ENOTDIR: "a file is where a directory belongs",
}


_SQLITE_FULL = 13  # its own number, so that nobody loads it for this


def bucket_error(error: OSError, path: str | None = None) -> BucketError:
    """The bucket's error for one of the operating system's; never `NotFound`. ``path`` is what it is about."""
    where = path or error.filename or "this disk"
    if error.errno in NO_ROOM:
        return Full(f"no space left for {where}: {error.strerror}")
    if error.errno == errno.EROFS:
        return Forbidden(f"{where} is on a file system that is read-only now: is the disk in order?")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Forbidden(f"{where}: {error.strerror}; the daemon's user has to own what is in its directory")
    if error.errno in _IN_THE_WAY:
        return Corrupt(f"{where}: {_IN_THE_WAY[error.errno]}: remove it")
    if error.errno == errno.EIO:
        return Unavailable(f"the disk failed at {where}: {error.strerror}")
    return Unavailable(f"the disk does not answer as it should at {where}: {error.strerror}")


def database_error(error: Exception, where: Path) -> BucketError:
    """As `bucket_error`, for one of SQLite's about a file of this disk."""
    number = errno.ENOSPC if getattr(error, "sqlite_errorcode", None) == _SQLITE_FULL else errno.EIO
    return bucket_error(OSError(number, str(error)), str(where))
