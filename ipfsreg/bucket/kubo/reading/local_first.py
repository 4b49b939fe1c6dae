"""Files and directories of the network: what the node has itself is never kept waiting by what it has to look for."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import IO, TypeVar, cast

from cachetools import LRUCache
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.errors import Missing
from ipfsreg.bucket.kubo.node.contents import Child, Contents, Found
from ipfsreg.flow.streams import ConsumerGone

from .reader import CidReader

T = TypeVar("T")

REMEMBERED = 10_000
"""How many names in directories are remembered: some MiB at most."""


class LocalFirst:
    """As `Contents`: asks ``here``, which answers from the node alone, and only for what it lacks ``network``.

    So nobody who asks for what the node has waits behind those who ask for what nobody has.
    """

    def __init__(self, here: Contents, network: Contents) -> None:
        self._here = here
        self._network = network
        self._steps: LRUCache[tuple[str, str], Found] = LRUCache(REMEMBERED)

    async def stat(self, path: str) -> Found:
        """What a path below ``/ipfs/`` leads to. `NotFound`."""
        # Name by name: a node looks for directories in the middle of a path on its network, whatever it is told.
        cid, *names = path.removeprefix("/ipfs/").split("/")
        if not names:
            return await self._first(lambda contents: contents.stat(path))
        for name in names:
            found = await self._step(cid, name)
            cid = found.cid
        return found

    async def _step(self, directory: str, name: str) -> Found:
        known = self._steps.get((directory, name))
        if known is None:
            known = await self._first(partial(_step, directory, name))
            if known.is_directory:  # what a CID leads to never changes; of a file one wants to know that it is there
                self._steps[directory, name] = known
        return known

    async def links(self, cid: str) -> Sequence[Child]:
        """See `Contents.links`."""
        return await self._first(lambda contents: contents.links(cid))

    async def read(self, cid: str, size: int) -> bytes:
        """See `Contents.read`."""
        return await self._first(lambda contents: contents.read(cid, size))

    def reader(self, found: Found) -> "LocalFirstReader":
        """A file, open."""
        return LocalFirstReader(self._here.reader(found), self._network.reader(found))

    async def _first(self, ask: Callable[[Contents], Awaitable[T]]) -> T:
        try:
            return await ask(self._here)
        except (Missing, Corrupt):  # the other where it has the first block of a file, and not all
            return await ask(self._network)


async def _step(directory: str, name: str, contents: Contents) -> Found:
    if contents.local:
        await contents.stat(f"/ipfs/{directory}")  # `Missing`, where the next question would wait for the network
    return await contents.stat(f"/ipfs/{directory}/{name}")


@implementer(IReader)
class LocalFirstReader:
    """A file of which the node may have all, some or nothing: it is read from where that ends through ``network``."""

    file: IO[bytes] | None = None

    def __init__(self, here: CidReader, network: CidReader) -> None:
        self.size = here.size
        self._here = here
        self._network = network

    def begin(self) -> "Deferred[None]":
        """Fetch what it begins with, so that whoever opens it knows that somebody has it."""
        return self.read(_Nowhere(), 0, min(1, self.size or 0))

    def read(self, consumer: IConsumer, offset: int, length: int) -> "Deferred[None]":
        """See `IReader.read`."""
        return Deferred.fromCoroutine(self._read(consumer, offset, length))

    async def _read(self, consumer: IConsumer, offset: int, length: int) -> None:
        joined = _Joined(consumer)
        consumer.registerProducer(joined, True)
        try:
            try:
                await self._here.read(joined, offset, length)
            except (Corrupt, Unavailable):  # the one where its first block is missing, the other where a later one is
                joined.check()
                await self._network.read(joined, offset + joined.came, length - joined.came)
        finally:
            consumer.unregisterProducer()

    def close(self) -> None:
        """See `IReader.close`."""
        self._here.close()
        self._network.close()


@implementer(IConsumer, IPushProducer)
class _Joined:
    """What stands between a consumer and two producers, one after the other, so that it sees a single one."""

    def __init__(self, consumer: IConsumer) -> None:
        self.came = 0
        self._consumer = consumer
        self._producer: IPushProducer | None = None
        self._paused = False
        self._stopped = False

    def check(self) -> None:
        """Whether the consumer wants more at all. :raises ConsumerGone: where it does not."""
        if self._stopped:
            raise ConsumerGone

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self._producer = cast(IPushProducer, producer)
        if self._paused:
            self._producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        self.came += len(data)
        self._consumer.write(data)

    def pauseProducing(self) -> None:
        self._paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        self._stopped = True
        if self._producer is not None:
            self._producer.stopProducing()


@implementer(IConsumer)
class _Nowhere:
    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`."""

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""

    def write(self, data: bytes) -> None:
        """See `IConsumer`."""
