"""What an error of the operating system means for a bucket that keeps files on this disk."""

import errno

from .errors import BucketError, Full, Refused, Unavailable

MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
"""What a system call says that found no file at a path. It is for a reader to tell whether that is an absence."""

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
"""What it says where the disk, or a user's share of it, is full."""

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR}


def bucket_error(error: OSError) -> BucketError:
    """The bucket's error for one of the operating system's; never `NotFound`."""
    if error.errno in NO_ROOM:
        return Full(f"no space left: {error}")
    if error.errno in _REFUSED:
        return Refused(f"the disk does not allow it: {error}")
    return Unavailable(f"the disk does not answer as it should: {error}")
