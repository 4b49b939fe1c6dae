"""What a backend brings to be held to the contract, and consumers to read with."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from zope.interface import implementer

from ipfsreg.bucket.errors import BucketError, NotFound
from ipfsreg.bucket.interface import IBucket, IReader
from ipfsreg.flow.streams import write_pieces


def read_into(reader: IReader, consumer: IConsumer, offset: int, length: int) -> "Deferred[None]":
    """Write a range of an open file to a consumer; fires when it has it all."""
    return Deferred.fromCoroutine(write_pieces(consumer, reader.pieces(offset, length)))


class Storage(ABC):
    """One storage, empty at first, and a bucket on it that was started."""

    bucket: IBucket

    no_file: type[BucketError] = NotFound
    """What a directory in the place of a file is called."""

    file_limit: int | None = None
    """The longest file that the storage takes, in bytes, where it has a limit that a test can reach."""

    @abstractmethod
    def spooled(self, content: bytes) -> Path:
        """A file for `put_file`, fsynced, where the daemon's spool would be."""

    @abstractmethod
    async def reopened(self) -> IBucket:
        """Another bucket on the same storage, started, as after a daemon that was killed."""

    @abstractmethod
    def outage(self) -> AbstractAsyncContextManager[None]:
        """Within the block the storage is out of reach; what it holds is there again after it."""

    @abstractmethod
    async def close(self) -> None:
        """End what was started."""


@implementer(IConsumer)
class Collecting:
    """A consumer that keeps what it gets and does with its producer what a test wants.

    ``on_write`` is called after each write with the producer.
    """

    def __init__(self, on_write: Callable[[IPushProducer], None] | None = None) -> None:
        self.pieces: list[bytes] = []
        self.producer: IPushProducer | None = None
        self.registered = 0
        self._on_write = on_write

    @property
    def content(self) -> bytes:
        """All that came so far."""
        return b"".join(self.pieces)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        assert streaming, "only push producers"
        assert self.producer is None, "two producers at once"
        assert IPushProducer.providedBy(producer)
        self.registered += 1
        self.producer = producer

    def unregisterProducer(self) -> None:
        assert self.producer is not None
        self.producer = None

    def write(self, data: bytes) -> None:
        assert self.producer is not None, "a write from nobody"
        self.pieces.append(data)
        if self._on_write is not None:
            self._on_write(self.producer)
