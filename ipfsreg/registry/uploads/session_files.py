"""The files of upload sessions on this disk. Everything here is for threads.

A session is a directory with the bytes that came so far, and a note of its repository.
"""

import errno
import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from ipfsreg.bucket.errors import Full
from ipfsreg.flow.durable import DIRECTORY, closing
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Hash
from ipfsreg.registry.errors import NameInvalid
from ipfsreg.registry.names import Repository, parse_repository

H = TypeVar("H", bound=Hash)

DATA = "data"
NOTE = "session.json"
_NOTE_MAX = 4096


@dataclass(frozen=True, slots=True)
class UploadIdentity:
    """A session's name, the repository that its blob is for, the directory of its files, and its client's address.

    ``owner`` is the user or, where nobody has said who it is, the address, in words; "" is the registry itself.
    """

    identifier: str
    repository: Repository
    directory: Path
    client: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session that an earlier daemon left. ``received`` is in bytes, ``modified`` in seconds since 1970."""

    identity: UploadIdentity
    received: int
    modified: float


class FileState(NamedTuple):
    """What of a file is another when somebody has written to it, or has put another one in its place."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def state_of(descriptor: int) -> FileState:
    """The state of an open file. Times are in nanoseconds, but change only every few milliseconds."""
    found = os.fstat(descriptor)
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def open_file(path: Path, flags: int) -> int:
    """Open a file of a session: no link is followed, neither in its place nor in that of its directory.

    :raises OSError: also where something else than a file is there.
    """
    with closing(os.open(path.parent, DIRECTORY | os.O_NOFOLLOW)) as directory:
        descriptor = os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a file", str(path))
    return descriptor


def new_session(identity: UploadIdentity) -> None:
    """Make a session's directory: the empty file last, for without it there is no session."""
    identity.directory.mkdir()
    (identity.directory / NOTE).write_text(json.dumps({"repository": identity.repository}))
    (identity.directory / DATA).touch()


def read_note(directory: Path) -> Repository:
    """The repository of a session.

    :raises ValueError: where its note says nothing sensible. :raises OSError: where it cannot be read.
    """
    with closing(open_file(directory / NOTE, os.O_RDONLY)) as descriptor:
        note = json.loads(os.read(descriptor, _NOTE_MAX))
    try:
        return parse_repository(note["repository"])
    except (TypeError, KeyError, NameInvalid):
        raise ValueError("not a session's note") from None


def find_sessions(directory: Path) -> tuple[list[FoundSession], list[OSError]]:
    """The sessions in a directory, which is made, and the errors of those that cannot be read.

    What is not a session is removed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found, unreadable = [], []
    for each in directory.iterdir():
        if not stat.S_ISDIR(each.lstat().st_mode):
            continue  # nobody's; `rmtree` would open it, and wait for ever where it is a FIFO
        try:
            repository = read_note(each)
            with closing(open_file(each / DATA, os.O_RDONLY)) as descriptor:
                status = os.fstat(descriptor)
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            # A session that was ended, or not quite begun, when the daemon was killed.
            shutil.rmtree(each, ignore_errors=True)
        except OSError as error:
            error.filename = str(each)  # the name of a file in it would not say which
            unreadable.append(error)
        else:
            identity = UploadIdentity(each.name, repository, each)
            found.append(FoundSession(identity, status.st_size, status.st_mtime))
    return found, unreadable


def open_to_append(path: Path, offset: int, length: int | None) -> tuple[int, FileState, FileState]:
    """Open a file to append at ``offset``; answers the descriptor, and the file's state before this and after it.

    ``length`` is how many bytes will come, if known.

    :raises Full: where so many do not fit on the disk.
    """
    descriptor = open_file(path, os.O_WRONLY | os.O_APPEND)
    try:
        before = state_of(descriptor)
        # What a request brought whose end failed may lie behind the offset that clients were told.
        if before.size > offset:
            os.ftruncate(descriptor, offset)
        if length is not None:
            disk = os.fstatvfs(descriptor)
            if length > disk.f_bavail * disk.f_frsize:
                raise Full(f"the spool has no room for {length} bytes")
        return descriptor, before, state_of(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def cut_file(path: Path, length: int, *, sync: bool = False) -> tuple[FileState, FileState]:
    """Make a file's first bytes all that it has; answers its state before and after. ``sync`` makes it durable."""
    with closing(open_file(path, os.O_RDWR)) as descriptor:
        before = state_of(descriptor)
        if before.size > length:
            os.ftruncate(descriptor, length)
        if sync:
            os.fsync(descriptor)
        return before, state_of(descriptor)


def look_at(path: Path) -> FileState:
    """A file's state."""
    with closing(open_file(path, os.O_RDONLY)) as descriptor:
        return state_of(descriptor)


async def hash_file(workers: Workers, path: Path, length: int, hash_: H) -> H:
    """Hash a file's first bytes, in pieces of a few milliseconds each; answers ``hash_``, which was new.

    Where there are fewer, these. For the reactor.
    """
    offset = 0
    while offset < length and (read := await workers.run(_hash_piece, path, offset, length - offset, hash_)):
        offset += read
    return hash_


def _hash_piece(path: Path, offset: int, length: int, hash_: Hash) -> int:
    with closing(open_file(path, os.O_RDONLY)) as descriptor:
        data = os.pread(descriptor, min(length, 4 * 1024 * 1024), offset)
    hash_.update(data)
    return len(data)
