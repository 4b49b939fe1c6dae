"""Writing to a bucket that is one or many buckets of the server: to which of them, and what that brings with it."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.content_path import content_at
from ipfsreg.bucket.sources import Source

from .placement import Place
from .proto import bucketsd_pb2
from .push_queue import PushQueue
from .server.errors import BucketFull
from .server.transport import TransportChoice
from .shard import Shard
from .shard_sender import ShardSender
from .shards import Shards

Write = Callable[[Shard], Awaitable[None]]


class Writer:
    """Puts files to where they belong. Each failure is a `BucketError`."""

    def __init__(self, shards: Shards, transport: TransportChoice, clock: IReactorTime) -> None:
        self._shards = shards
        self._transport = transport
        self._clock = clock
        self._queues: dict[Place, PushQueue] = {}

    def stop(self) -> None:
        """Give up what is under way and what waits."""
        for queue in self._queues.values():
            queue.stop()

    async def push(self, path: str, source: Source) -> None:
        """Push a file; returns when the server has acknowledged it.

        :raises Unavailable: or another `BucketError`, where it did not.
        """

        async def write(shard: Shard) -> None:
            await self._queue(shard).push(path, source)

        await self._write(path, source.size, write)

    async def link(self, path: str, cid: str, size: int) -> bool:
        """Give what is on the server's IPFS node a path, without its content being moved; False in a private bucket."""

        async def write(shard: Shard) -> None:
            if shard.private:
                raise _Private
            request = bucketsd_pb2.SetPathRequest(key=shard.key, path=shard.at(path), cid=cid)
            await shard.call("SetPath", request, bucketsd_pb2.SetPathResponse, slow=True)

        try:
            await self._write(path, size, write)
        except _Private:
            return False
        return True

    async def _write(self, path: str, size: int, write: Write) -> None:
        """Write to the bucket of the server that a path belongs to.

        Another daemon may have begun a higher level a moment ago, of which this one does not know yet. What is
        written below it would be hidden by what is there; so the server is asked again meanwhile. Content that its
        path names is the same everywhere.
        """
        while True:
            top = None
            if content_at(path) is None:
                top = Deferred.fromCoroutine(self._shards.top(path, self._clock.seconds()))
            try:
                shard = await self._write_once(path, size, write)
                if top is None or await top <= shard.place.level:
                    return
            finally:
                if top is not None:
                    top.addErrback(lambda _: None)

    async def _write_once(self, path: str, size: int, write: Write) -> Shard:
        """Write to where a path belongs as far as is known, or to the next one that takes it; answers which."""
        while True:
            shard = await self._shards.for_writing(path, size)
            await shard.ensure()
            try:
                with shard.capacity.reserved(shard.at(path)):
                    await shard.ask(write)
                return shard
            except BucketFull as error:
                if shard.is_empty:  # what an empty bucket does not take, none does
                    raise
                shard.capacity.refused(shard.at(path), size, error)

    def _queue(self, shard: Shard) -> PushQueue:
        if shard.place not in self._queues:
            self._queues[shard.place] = PushQueue(ShardSender(shard, self._transport), self._clock)
        return self._queues[shard.place]


class _Private(Exception):
    """The bucket is a private one."""
