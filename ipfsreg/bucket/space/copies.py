"""The plaintext copies that the Space Daemon hands out: read, and never touched otherwise.

The daemon watches each copy for ever. It ends itself when one is deleted or moved, and puts one that was written to
into the bucket (docs/protocols/space.md, "Opening files"). So the one thing done here with a location is to open it for
reading.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import IO

from ipfsreg.bucket.content_path import content_at
from ipfsreg.bucket.errors import BucketError, Refused, TooLarge, Unavailable, bucket_error

from .sizes import digest_of_link, is_length


def open_copy(location: str) -> IO[bytes]:
    """Open a copy. In a worker thread.

    :raises Unavailable: where it is not there: that says nothing of what is in the bucket.
    :raises Refused: where this process may not read it.
    """
    if not os.path.isabs(location):
        raise Unavailable(f"the Space Daemon's copy {location!r} is no path")
    try:
        # Not to wait for a writer, should it be a pipe.
        descriptor = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise _cannot_open(location, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unavailable(f"the Space Daemon's copy {location} is no file")
    return open(descriptor, "rb", buffering=0)


def read_copy(location: str, limit: int) -> bytes:
    """The content of a copy. In a worker thread.

    :raises TooLarge: where it is longer than ``limit`` bytes. :raises BucketError: as for `open_copy`.
    """
    with open_copy(location) as file:
        try:
            content = b""
            while len(content) <= limit and (piece := os.read(file.fileno(), limit + 1 - len(content))):
                content += piece
        except OSError as error:
            raise bucket_error(error) from error
    if len(content) > limit:
        raise TooLarge(f"{location} is larger than {limit} bytes")
    return content


def is_wrong(path: str, content: bytes) -> bool:
    """Whether content cannot be that of a path, as far as the path tells. It hashes: in a worker thread."""
    named = content_at(path)
    if named is not None:
        return hashlib.new(named.algorithm, content).hexdigest() != named.hex
    return digest_of_link(path) is not None and not is_length(content)


def save_copy(location: str, destination: Path) -> int:
    """Copy a copy to a new file of our own; answers its length in bytes. In a worker thread.

    :raises BucketError: as for `open_copy`, and for the disk of the destination.
    """
    with open_copy(location) as file:
        try:
            with destination.open("xb") as target:
                while piece := os.read(file.fileno(), 1024 * 1024):
                    target.write(piece)
                return target.tell()
        except OSError as error:
            raise bucket_error(error) from error


def _cannot_open(location: str, error: OSError) -> BucketError:
    if isinstance(error, PermissionError):
        return Refused(f"cannot read the Space Daemon's copy {location}: ipfsreg has to run as the daemon's user")
    if isinstance(error, FileNotFoundError):
        return Unavailable(
            f"the Space Daemon's copy {location} is not there: ipfsreg has to run on the daemon's machine and see the "
            "same temporary directory, from which nothing may be removed while the daemon runs"
        )
    return bucket_error(error)
