"""An open file of the server: it can only be read from its beginning to its end."""

from collections.abc import AsyncGenerator
from typing import IO

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from zope.interface import implementer

from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.streams import ConsumerGone

from .client import BUCKETS, TextileClient
from .proto import bucketsd_pb2
from .shard import Shard

SECONDS = 24 * 3600.0
"""The longest that reading one file may take; a stream on which nothing moves ends much earlier."""

CHECK_SECONDS_PER_MEBIBYTE = 1.0
"""How much longer the first bytes of a private file may take: the server reads and checks all of it before."""

GET_SECONDS_PER_MEBIBYTE = 8.0
"""What reading a small file may take beside ``timeout``: a slow line brings 128 KiB a second."""

Pieces = AsyncGenerator[bytes, None]


async def pull(
    client: TextileClient, shard: Shard, path: str, *, deadline: float = SECONDS, patience: float | None = None
) -> Pieces:
    """The pieces of a file, at the pace of whoever iterates. `NotFound` where this bucket does not have it.

    All of them within ``deadline`` seconds. The server may be silent for ``patience`` seconds, ``timeout`` if None:
    reads wait for no lock.
    """
    request = bucketsd_pb2.PullPathRequest(key=shard.key, path=path)
    answers = client.server_stream(
        BUCKETS,
        "PullPath",
        request,
        bucketsd_pb2.PullPathResponse,
        thread=shard.thread,
        deadline=deadline,
        idle=client.timeout if patience is None else patience,
    )
    try:
        async for answer in answers:
            yield answer.chunk
    finally:
        await answers.aclose()


@implementer(IReader)
class RemoteReader:
    """A file of one bucket of the server. The server has no ranged read: what is not wanted is pulled and dropped.

    The first read gets the file as it was when it was opened. A read after that pulls the path anew: only what
    never changes, as content at a content-addressed path, should be read more than once.
    """

    size: int | None = None
    file: IO[bytes] | None = None

    def __init__(
        self, client: TextileClient, shard: Shard, path: str, patience: float, first: bytes, rest: Pieces
    ) -> None:
        self._client = client
        self._shard = shard
        self._path = path
        self._patience = patience
        self._opened: tuple[bytes, Pieces] | None = (first, rest)

    @classmethod
    async def open(cls, client: TextileClient, shard: Shard, path: str, patience: float) -> "RemoteReader":
        """Begin to pull; ``patience`` as in `pull`.

        :raises BucketError: where the server does not begin to send.
        """
        rest = pull(client, shard, path, patience=patience)
        return cls(client, shard, path, patience, await anext(rest, b""), rest)

    def read(self, consumer: IConsumer, offset: int, length: int) -> "Deferred[None]":
        """See `IReader.read`. Fewer than ``length`` bytes come where the file ends before."""
        first, rest = self._opened or (b"", pull(self._client, self._shard, self._path, patience=self._patience))
        self._opened = None
        return Deferred.fromCoroutine(_Transfer(consumer, first, rest).run(offset, length))

    def close(self) -> None:
        """See `IReader.close`."""
        opened, self._opened = self._opened, None
        if opened is not None:
            Deferred.fromCoroutine(opened[1].aclose())


@implementer(IPushProducer)
class _Transfer:
    """The pieces of a file on their way to a consumer, which sets the pace."""

    def __init__(self, consumer: IConsumer, first: bytes, rest: Pieces) -> None:
        self._consumer = consumer
        self._first = first
        self._rest = rest
        self._stopped = False
        self._paused = False
        self._waiting: Deferred[bytes | None] | None = None
        self._resumed: Deferred[None] | None = None

    async def run(self, offset: int, length: int) -> None:
        """Write ``length`` bytes from ``offset``, or as many as there are."""
        self._consumer.registerProducer(self, True)
        try:
            await self._write(offset, offset + length)
        finally:
            self._consumer.unregisterProducer()
            await self._rest.aclose()

    async def _write(self, begin: int, end: int) -> None:
        position = 0
        data: bytes | None = self._first
        while position < end and data is not None:
            wanted = data[max(begin - position, 0) : max(end - position, 0)]
            position += len(data)
            if wanted:
                await self._turn()
                self._consumer.write(wanted)
            if position < end:
                data = await self._next()

    async def _turn(self) -> None:
        if self._paused and not self._stopped:
            self._resumed = Deferred()
            await self._resumed
        if self._stopped:
            raise ConsumerGone

    async def _next(self) -> bytes | None:
        if self._stopped:
            raise ConsumerGone
        self._waiting = Deferred.fromCoroutine(_step(self._rest))
        try:
            return await self._waiting
        except CancelledError:
            if self._stopped:
                raise ConsumerGone from None
            raise
        finally:
            self._waiting = None

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._go_on()

    def stopProducing(self) -> None:
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
        self._go_on()

    def _go_on(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)


async def _step(pieces: Pieces) -> bytes | None:
    return await anext(pieces, None)
