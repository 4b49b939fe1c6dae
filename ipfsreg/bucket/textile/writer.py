"""Writing to a bucket that is one or many buckets of the server: to which of them, and what that brings with it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.content_path import content_at

from .placement import Place
from .proto import bucketsd_pb2
from .push_queue import FileToPush, PushQueue
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

    async def push(self, *files: FileToPush) -> None:
        """Push files; returns when the server has acknowledged all. None is there without those before it.

        :raises Unavailable: or another `BucketError`, where it did not.
        """

        async def write(shard: Shard) -> None:
            await self._queue(shard).push(files)

        shards = {await self._shards.for_writing(file.path, file.source.size) for file in files}
        if len(shards) == 1:
            try:
                await self._write({file.path: file.source.size for file in files}, write)
                return
            except BucketFull:
                if len(files) == 1:
                    raise
        for file in files:  # which of them has to go elsewhere is seen one by one
            await self.push(file)

    async def link(self, path: str, cid: str, size: int) -> bool:
        """Give what is on the server's IPFS node a path, without its content being moved; False in a private bucket."""

        async def write(shard: Shard) -> None:
            if shard.private:
                raise _Private
            self._look([path])
            request = bucketsd_pb2.SetPathRequest(key=shard.key, path=shard.at(path), cid=cid)
            await shard.call("SetPath", request, bucketsd_pb2.SetPathResponse, slow=True)

        try:
            await self._write({path: size}, write)
        except _Private:
            return False
        return True

    async def _write(self, sizes: Mapping[str, int], write: Write) -> None:
        """Write to the bucket of the server that some paths belong to, with so many bytes at each.

        Another daemon may have begun a higher level a moment ago, of which this one does not know yet. What is
        written below it would be hidden by what is there; so the server is asked again meanwhile (`_look`), once for
        all that goes in one stream. Content that its path names is the same everywhere.
        """
        replaced = next((path for path in sizes if content_at(path) is None), None)
        while True:
            since = self._clock.seconds()
            shard = await self._write_once(sizes, write)
            if replaced is None or await self._shards.top(replaced, since) <= shard.place.level:
                return

    def _look(self, paths: Iterable[str]) -> None:
        """Ask the server now for the threads that there are. Whoever needs the answer is told of a failure."""
        if all(map(content_at, paths)):
            return
        looking = Deferred.fromCoroutine(self._shards.listed_since(self._clock.seconds()))
        looking.addErrback(lambda _: None)

    async def _write_once(self, sizes: Mapping[str, int], write: Write) -> Shard:
        """Write to where the paths belong as far as is known, or to the next one that takes them; answers which."""
        path, size = next(iter(sizes.items()))
        while True:
            shard = await self._shards.for_writing(path, size)
            await shard.ensure()
            try:
                with ExitStack() as reserved:
                    for each in sizes:
                        reserved.enter_context(shard.capacity.reserved(shard.at(each)))
                    await shard.ask(write)
                return shard
            except BucketFull as error:
                if shard.is_empty or len(sizes) > 1:  # what an empty bucket does not take, none does
                    raise
                shard.capacity.refused(shard.at(path), size, error)

    def _queue(self, shard: Shard) -> PushQueue:
        if shard.place not in self._queues:
            sender = ShardSender(shard, self._transport, self._clock)
            self._queues[shard.place] = PushQueue(sender, self._clock, self._look)
        return self._queues[shard.place]


class _Private(Exception):
    """The bucket is a private one."""
