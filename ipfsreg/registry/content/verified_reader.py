"""Content from elsewhere, compared with its digest while it is read."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.registry.digest import Digest, Hash, new_hash

WITHHELD = 16 * 1024
"""How many bytes at the end are passed on only once the digest is known to be right."""


@implementer(IReader)
class VerifiedReader:
    """Open content that should have a digest and ``size`` bytes.

    Read whole, it is compared with the digest, and the last bytes are not passed on where it is another: whoever
    reads it never has all of something wrong. A part is as right as what is below this reader makes it.
    """

    file = None

    def __init__(self, reader: IReader, digest: Digest, size: int) -> None:
        self.size = size
        self._reader = reader
        self._digest = digest

    def read(self, consumer: IConsumer, offset: int, length: int) -> "Deferred[None]":
        """See `IReader.read`; `Corrupt` where the content is not what its digest says."""
        if (offset, length) != (0, self.size):
            return self._reader.read(consumer, offset, length)
        hashing = _Hashing(consumer, new_hash(self._digest.algorithm), length)
        return self._reader.read(hashing, offset, length).addCallbacks(self._compare, hashing.failed, (hashing,))

    def close(self) -> None:
        """See `IReader.close`."""
        self._reader.close()

    def _compare(self, _: None, hashing: "_Hashing") -> None:
        if hashing.left or hashing.hash.hexdigest() != self._digest.hex:
            hashing.consumer.unregisterProducer()
            raise Corrupt(f"what was fetched for {self._digest} is not that content")
        hashing.release()


@implementer(IConsumer)
class _Hashing:
    """Passes on what it is given, but for the last bytes."""

    def __init__(self, consumer: IConsumer, hash_: Hash, length: int) -> None:
        self.consumer = consumer
        self.hash = hash_
        self.left = length
        self._withheld = b""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self.consumer.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Not yet: the last bytes are still to be written."""

    def write(self, data: bytes) -> None:
        self.hash.update(data)
        self.left -= len(data)
        ready = self._withheld + data if self._withheld else data
        passed = len(ready) - max(WITHHELD - max(self.left, 0), 0)
        if passed > 0:
            self.consumer.write(ready[:passed])
            ready = ready[passed:]
        self._withheld = ready

    def release(self) -> None:
        """The digest is right: here is the rest."""
        self.consumer.write(self._withheld)
        self.consumer.unregisterProducer()

    def failed(self, failure: Failure) -> Failure:
        """There is no more to come."""
        self.consumer.unregisterProducer()
        return failure
