"""What the tests of uploads share."""

from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from zope.interface import implementer

from ipfsreg.flow.streams import ConsumerGone
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.names import Repository
from tests.registry.place import Place

REPOSITORY = Repository("team/app")
CONTENT = Random(1).randbytes(3 * 1024 * 1024 + 17)
SHA256 = digest_of(CONTENT)

Open = Callable[..., Awaitable[Place]]


async def never(consumer: IConsumer) -> None:
    """What a request sends that is refused before any of it is read."""
    raise AssertionError("it was read")


async def stored(place: Place, digest: Digest) -> bytes:
    blob = await place.registry.blobs.open(REPOSITORY, digest)
    assert blob.reader.file is not None
    content = blob.reader.file.read()
    blob.reader.close()
    assert len(content) == blob.size
    return content


@implementer(IPushProducer)
class Sender:
    """A client that sends as fast as it may."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.done: Deferred[None] = Deferred()
        self.sent = 0
        self._pieces = pieces
        self._paused = False
        self._consumer: Any = None

    def send_to(self, consumer: Any) -> "Deferred[None]":
        self._consumer = consumer
        consumer.registerProducer(self, True)
        self.resumeProducing()
        return self.done

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused and not self.done.called:
            piece = next(self._pieces, None)
            if piece is None:
                self._consumer.unregisterProducer()
                self.done.callback(None)
                return
            self.sent += len(piece)
            self._consumer.write(piece)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._consumer.unregisterProducer()
        self.done.errback(ConsumerGone())
