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
from ipfsreg.bucket.spool_format import Appender, SpoolFormat
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


def new_session(identity: UploadIdentity, form: SpoolFormat) -> None:
    """Make a session's directory: the file without content last, for without it there is no session."""
    identity.directory.mkdir()
    note = form.note(identity.identifier, json.dumps({"repository": identity.repository}).encode())
    (identity.directory / NOTE).write_bytes(note)
    draft = identity.directory / f"{DATA}-new"
    with closing(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)) as descriptor:
        form.begin(descriptor)
    draft.rename(identity.directory / f"{DATA}{form.suffix}")


def read_note(directory: Path, form: SpoolFormat) -> Repository:
    """The repository of a session.

    :raises ValueError: where its note says nothing sensible. :raises OSError: where it cannot be read.
    """
    with closing(open_file(directory / NOTE, os.O_RDONLY)) as descriptor:
        note = json.loads(form.read_note(directory.name, os.read(descriptor, _NOTE_MAX)))
    try:
        return parse_repository(note["repository"])
    except (TypeError, KeyError, NameInvalid):
        raise ValueError("not a session's note") from None


def find_sessions(directory: Path, form: SpoolFormat) -> tuple[list[FoundSession], list[OSError]]:
    """The sessions in a directory, which is made, and the errors of those that cannot be read.

    What is not a session is removed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found, unreadable = [], []
    for each in directory.iterdir():
        if not stat.S_ISDIR(each.lstat().st_mode):
            continue  # nobody's; `rmtree` would open it, and wait for ever where it is a FIFO
        try:
            repository = read_note(each, form)
            with closing(open_file(each / f"{DATA}{form.suffix}", os.O_RDWR)) as descriptor:
                modified = os.fstat(descriptor).st_mtime
                received = form.recover(descriptor)
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            # A session that was ended, or not quite begun, when the daemon was killed.
            shutil.rmtree(each, ignore_errors=True)
        except OSError as error:
            error.filename = str(each)  # the name of a file in it would not say which
            unreadable.append(error)
        else:
            identity = UploadIdentity(each.name, repository, each)
            found.append(FoundSession(identity, received, modified))
    return found, unreadable


class OpenFile(NamedTuple):
    """A file that is open at ``descriptor``, and what appends to it; its state before that and after it."""

    descriptor: int
    appender: Appender
    before: FileState
    after: FileState


def open_to_append(path: Path, offset: int, length: int | None, form: SpoolFormat) -> OpenFile:
    """Open a file to append at ``offset``. ``length`` is how many bytes will come, if known.

    :raises Full: where so many do not fit on the disk.
    """
    descriptor = open_file(path, form.append_flags)
    try:
        before = state_of(descriptor)
        # What a request brought whose end failed may lie behind the offset that clients were told.
        if form.content_length(before.size) > offset:
            form.cut(descriptor, offset)
        appender = form.appender(descriptor, offset)
        if length is not None:
            disk = os.fstatvfs(descriptor)
            if length > disk.f_bavail * disk.f_frsize:
                raise Full(f"the spool has no room for {length} bytes")
        return OpenFile(descriptor, appender, before, state_of(descriptor))
    except BaseException:
        os.close(descriptor)
        raise


def cut_file(path: Path, length: int, form: SpoolFormat, *, sync: bool = False) -> tuple[FileState, FileState]:
    """Make a file's first bytes all that it has; answers its state before and after. ``sync`` makes it durable."""
    with closing(open_file(path, os.O_RDWR)) as descriptor:
        before = state_of(descriptor)
        if form.content_length(before.size) > length:
            form.cut(descriptor, length)
        if sync:
            os.fsync(descriptor)
        return before, state_of(descriptor)


def look_at(path: Path) -> FileState:
    """A file's state."""
    with closing(open_file(path, os.O_RDONLY)) as descriptor:
        return state_of(descriptor)


async def hash_file(workers: Workers, path: Path, length: int, hash_: H, form: SpoolFormat) -> H:
    """Hash a file's first bytes, in pieces of a few milliseconds each; answers ``hash_``, which was new.

    Where there are fewer, these. For the reactor.
    """
    offset = 0
    while offset < length and (read := await workers.run(_hash_piece, path, offset, length - offset, hash_, form)):
        offset += read
    return hash_


def _hash_piece(path: Path, offset: int, length: int, hash_: Hash, form: SpoolFormat) -> int:
    with closing(open_file(path, os.O_RDONLY)) as descriptor:
        data = form.read(descriptor, offset, min(length, 4 * 1024 * 1024))
    hash_.update(data)
    return len(data)
