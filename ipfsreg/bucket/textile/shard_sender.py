"""A batch of files to the server, in one stream or one by one (docs/protocols/textile.md, "Pushing")."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from ipfsreg.bucket.errors import Corrupt, Unavailable, Unreachable
from ipfsreg.bucket.sources import MemorySource
from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Transport

from .paths import FOLDED, FORMAT_FILE
from .proto import bucketsd_pb2
from .push_queue import PendingFile
from .server.errors import Gone
from .server.transport import TransportChoice
from .shard import Shard

CHUNK = {Transport.WEBSOCKET: 32_000 - 512, Transport.POST: 256 * 1024}
"""Bytes of content in a message.

Servers since 2.6.10 take no websocket message above 32,768 bytes in all, and a path of at most some 480 bytes may be in
each. By POST there is only the limit of 4 MiB for a message.
"""

SECONDS_PER_MEBIBYTE = 8.0
"""What a stream's deadline allows beside the time for silence: a slow server takes in 128 KiB a second."""


class ShardSender:
    """Sends files to one bucket of the server."""

    def __init__(self, shard: Shard, transport: TransportChoice) -> None:
        self._shard = shard
        self._transport = transport

    async def push_paths(self, files: Sequence[PendingFile]) -> None:
        """All files in one stream. Acknowledged only by status 0: the server saves the bucket at the end."""
        # Without a root there is no conflict with other writers: the server reads the bucket under its lock.
        await self._ready()
        paths = [self._shard.at(file.path) for file in files]
        header = bucketsd_pb2.PushPathsRequest.Header(key=self._shard.key, paths=paths)

        async def chunks(size: int) -> AsyncIterator[bucketsd_pb2.PushPathsRequest]:
            for file, path in zip(files, paths, strict=True):
                async for data in _pieces(file, size):
                    yield _chunk(path, data)
                # An empty chunk ends a file. Without it the server would wait for ever, with the bucket locked.
                yield _chunk(path, b"")

        await self._push("PushPaths", files, bucketsd_pb2.PushPathsRequest(header=header), chunks)

    async def push_path(self, file: PendingFile) -> None:
        """One file. Acknowledged by the final event and status 0."""
        await self._ready()
        await self._push_path(file, self._shard.at(file.path))

    async def _ready(self) -> None:
        """Find or make the bucket. Before the first file, it has to say how paths are written there."""
        await self._shard.ensure()
        if not self._shard.marked:
            await self._push_path(PendingFile(FORMAT_FILE, MemorySource(FOLDED), Deferred()), FORMAT_FILE)
            self._shard.note_marked()

    async def _push_path(self, file: PendingFile, path: str) -> None:
        header = bucketsd_pb2.PushPathRequest.Header(key=self._shard.key, path=path)

        async def chunks(size: int) -> AsyncIterator[bucketsd_pb2.PushPathRequest]:
            async for data in _pieces(file, size):
                yield bucketsd_pb2.PushPathRequest(chunk=data)

        await self._push("PushPath", [file], bucketsd_pb2.PushPathRequest(header=header), chunks)

    async def _push(
        self, method: str, files: Sequence[PendingFile], header: Any, chunks: Callable[[int], AsyncIterator[Any]]
    ) -> None:
        length = sum(file.source.size for file in files)
        client = self._shard.client
        deadline = client.timeouts.silence + SECONDS_PER_MEBIBYTE * length / 1024**2
        transport = self._transport.transport
        answers = _Answers()

        async def send(stream: Stream[Any]) -> None:
            stream.requests.send(header)
            async for chunk in chunks(CHUNK[transport]):
                if not await stream.requests.ready():
                    return  # the call has ended, and its outcome says why
                stream.requests.send(chunk)
            stream.requests.finish()

        async def call() -> None:
            with client.calling(method):
                stream = client.stream(
                    method, _RESPONSES[method], thread=self._shard.thread, deadline=deadline, transport=transport
                )
                acknowledged = Deferred.fromCoroutine(answers.take(stream))
                try:
                    await send(stream)
                    await acknowledged
                finally:
                    # Whatever went wrong on this side, the server must not go on holding the bucket's lock.
                    stream.cancel()
                    acknowledged.addErrback(lambda _: None)

        try:
            await client.authorized(call)
            if answers.files < len(files):
                ended = f"the final event of {answers.files} of {len(files)} files"
                raise Unavailable(f"{method}: the server ended the stream after {ended}")
        except Gone:
            raise
        except Unavailable as error:
            # What a broken request makes the server answer is an answer, too.
            self._transport.failed(transport, answering=answers.begun or not isinstance(error, Unreachable))
            raise
        self._shard.learn(answers.root)
        self._transport.worked(transport, length)


_RESPONSES: dict[str, type[Any]] = {
    "PushPath": bucketsd_pb2.PushPathResponse,
    "PushPaths": bucketsd_pb2.PushPathsResponse,
}


class _Answers:
    """What has come: whether anything has, for how many files, and the last one's root."""

    def __init__(self) -> None:
        self.begun = False
        self.files = 0
        self.root = bucketsd_pb2.Root()  # each is longer than the one before, and to learn from it takes time

    async def take(self, stream: Stream[Any]) -> None:
        async for message in stream.responses:
            self.begun = True
            event = message.event if isinstance(message, bucketsd_pb2.PushPathResponse) else message
            if event is message or event.path:  # the others tell of progress
                self.files += 1
                self.root = event.root


async def _pieces(file: PendingFile, size: int) -> AsyncIterator[bytes]:
    """A file's content in pieces of at most ``size`` bytes.

    :raises Corrupt: where there is less or more of it than there was: that must not be acknowledged.
    """
    offset = 0
    while data := await file.source.read(offset):
        for start in range(0, len(data), size):
            yield data[start : start + size]
        offset += len(data)
    if offset != file.source.size:
        raise Corrupt(f"{file.path} was {file.source.size} bytes long and is {offset} now; it is not stored")


def _chunk(path: str, data: bytes) -> bucketsd_pb2.PushPathsRequest:
    return bucketsd_pb2.PushPathsRequest(chunk=bucketsd_pb2.PushPathsRequest.Chunk(path=path, data=data))
