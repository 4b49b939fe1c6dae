"""How the spool of uploads keeps what came, until the bucket takes it: as it is, or in a bucket's own form."""

import os
from typing import Protocol

from ipfsreg.flow.durable import write_all


class Appender(Protocol):
    """Appends to a spool file, in order. For threads.

    What ``is_slow`` has something to compute: the content is better hashed beside it than before it.
    """

    is_slow: bool
    lasting: int
    """The stored file's first bytes that will stay as they are, whatever is appended."""

    def write(self, data: bytes | bytearray) -> None:
        """Append some bytes. They may be in memory only until `flush`."""

    def flush(self) -> None:
        """Bring all of them to the file."""


class SpoolFormat(Protocol):
    """The form of the spool's files. All of this blocks, but for `content_length`.

    ``suffix`` is that of the files' names, and ``append_flags`` are what they are opened with to be appended to.
    ``bucket_finishes`` says whether `IBucket.put_file` makes the last changes to them, and syncs them.
    """

    suffix: str
    append_flags: int
    bucket_finishes: bool

    def note(self, session: str, text: bytes) -> bytes:
        """What is kept for a session's note."""

    def read_note(self, session: str, note: bytes) -> bytes:
        """The text of a note, which may have blanks at its end. :raises ValueError: where it says nothing sensible."""

    def begin(self, descriptor: int) -> None:
        """Make an empty file one without content. :raises BucketError: where nothing can be stored at all."""

    def recover(self, descriptor: int) -> int:
        """Cut off what a process that was killed left half-written; answers how many bytes of content there are.

        :raises ValueError: where nothing of it can be used.
        """

    def content_length(self, stored: int) -> int:
        """How many bytes of content a file of ``stored`` bytes has, at most."""

    def cut(self, descriptor: int, length: int) -> None:
        """Make the first ``length`` bytes of content all that a file has."""

    def appender(self, descriptor: int, offset: int) -> Appender:
        """What appends to a file that has ``offset`` bytes of content."""

    def read(self, descriptor: int, offset: int, length: int) -> bytes:
        """Some of a file's content; less where it ends before. :raises Corrupt: where it does not hold."""


class PlainSpool:
    """The `SpoolFormat` of files that hold what came, and nothing else."""

    suffix = ""
    append_flags = os.O_WRONLY | os.O_APPEND
    bucket_finishes = False

    def note(self, session: str, text: bytes) -> bytes:
        return text

    def read_note(self, session: str, note: bytes) -> bytes:
        return note

    def begin(self, descriptor: int) -> None:
        """See `SpoolFormat`."""

    def recover(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def content_length(self, stored: int) -> int:
        return stored

    def cut(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def appender(self, descriptor: int, offset: int) -> Appender:
        return _PlainAppender(descriptor, offset)

    def read(self, descriptor: int, offset: int, length: int) -> bytes:
        return os.pread(descriptor, length, offset)


class _PlainAppender:
    is_slow = False

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self.lasting = offset

    def write(self, data: bytes | bytearray) -> None:
        self.lasting += len(data)
        write_all(self._descriptor, data)

    def flush(self) -> None:
        pass


PLAIN_SPOOL: SpoolFormat = PlainSpool()
"""That of a bucket that takes files as they are."""
