"""The files of upload sessions on this disk. Everything here is for threads.

A session is a directory with the bytes that came so far, and a note of its repository.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ipfsreg.bucket.errors import Full
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
    """A session's name, the repository that its blob is for, the directory of its files, and its client's address."""

    identifier: str
    repository: Repository
    directory: Path
    client: str = ""


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session that an earlier daemon left. ``received`` is in bytes, ``modified`` in seconds since 1970."""

    identity: UploadIdentity
    received: int
    modified: float


def new_session(identity: UploadIdentity) -> None:
    """Make a session's directory: the empty file last, for without it there is no session."""
    identity.directory.mkdir()
    (identity.directory / NOTE).write_text(json.dumps({"repository": identity.repository}))
    (identity.directory / DATA).touch()


def read_note(directory: Path) -> Repository:
    """The repository of a session.

    :raises ValueError: where its note says nothing sensible. :raises OSError: where it cannot be read.
    """
    with (directory / NOTE).open("rb") as file:
        note = json.loads(file.read(_NOTE_MAX))
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
        try:
            repository = read_note(each)
            status = (each / DATA).stat()
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            # A session that was ended, or not quite begun, when the daemon was killed.
            shutil.rmtree(each, ignore_errors=True)
        except OSError as error:
            error.filename = error.filename or str(each)
            unreadable.append(error)
        else:
            identity = UploadIdentity(each.name, repository, each)
            found.append(FoundSession(identity, status.st_size, status.st_mtime))
    return found, unreadable


def open_to_append(path: Path, offset: int, length: int | None) -> int:
    """Open a file to append at ``offset``; answers the descriptor. ``length`` is how many bytes will come, if known.

    :raises Full: where so many do not fit on the disk.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        # What a request brought whose end failed may lie behind the offset that clients were told.
        if os.fstat(descriptor).st_size > offset:
            os.truncate(descriptor, offset)
        if length is not None:
            disk = os.fstatvfs(descriptor)
            if length > disk.f_bavail * disk.f_frsize:
                raise Full(f"the spool has no room for {length} bytes")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def settle_file(path: Path, length: int, *, sync: bool) -> None:
    """Make a file's first bytes all that it has: what a broken write left behind them is dropped.

    ``sync`` makes it durable.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        if os.fstat(descriptor).st_size > length:
            os.ftruncate(descriptor, length)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def hash_file(workers: Workers, path: Path, hash_: H) -> H:
    """Hash a whole file, in pieces of a few milliseconds each; answers ``hash_``, which was new. For the reactor."""
    offset = 0
    while length := await workers.run(_hash_piece, path, offset, hash_):
        offset += length
    return hash_


def _hash_piece(path: Path, offset: int, hash_: Hash) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(4 * 1024 * 1024)
    hash_.update(data)
    return len(data)
