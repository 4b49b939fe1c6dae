"""A batch of files to the server, in one stream or one by one (docs/protocols/textile.md, "Pushing")."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from ipfsreg.bucket.breaker import Unreachable
from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Transport

from .errors import Gone
from .proto import bucketsd_pb2
from .pushing import PendingFile
from .shard import Shard
from .transport import TransportChoice

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
        await self._shard.ensure()
        header = bucketsd_pb2.PushPathsRequest.Header(key=self._shard.key, paths=[file.path for file in files])
        taken = 0
        root = bucketsd_pb2.Root()

        def answer(message: bucketsd_pb2.PushPathsResponse) -> None:
            nonlocal taken, root
            taken += 1
            root = message.root  # each is longer than the one before, and to learn from it takes time

        async def send(stream: Stream[Any], size: int) -> None:
            stream.requests.send(bucketsd_pb2.PushPathsRequest(header=header))
            for file in files:
                await _send(file, stream, size, lambda data, file=file: _chunk(file.path, data))  # type: ignore[misc]
                # An empty chunk ends a file. Without it the server would wait for ever, with the bucket locked.
                stream.requests.send(_chunk(file.path, b""))

        def check() -> None:
            if taken < len(files):
                raise Unavailable(f"PushPaths: the server ended the stream after {taken} of {len(files)} files")
            self._shard.learn(root)

        await self._push("PushPaths", bucketsd_pb2.PushPathsResponse, files, send, answer, check)

    async def push_path(self, file: PendingFile) -> None:
        """One file. Acknowledged by the final event and status 0."""
        await self._shard.ensure()
        header = bucketsd_pb2.PushPathRequest.Header(key=self._shard.key, path=file.path)
        final = False

        def answer(message: bucketsd_pb2.PushPathResponse) -> None:
            nonlocal final
            if message.event.path:  # the others tell of progress
                final = True
                self._shard.learn(message.event.root)

        async def send(stream: Stream[Any], size: int) -> None:
            stream.requests.send(bucketsd_pb2.PushPathRequest(header=header))
            await _send(file, stream, size, lambda data: bucketsd_pb2.PushPathRequest(chunk=data))

        def check() -> None:
            if not final:
                raise Unavailable("PushPath: the server ended the stream without its final event")

        await self._push("PushPath", bucketsd_pb2.PushPathResponse, [file], send, answer, check)

    async def _push(
        self,
        method: str,
        response_type: type[Any],
        files: Sequence[PendingFile],
        send: Callable[[Stream[Any], int], Awaitable[None]],
        answer: Callable[[Any], None],
        check: Callable[[], None],
    ) -> None:
        length = sum(file.source.size for file in files)
        client = self._shard.client
        deadline = client.timeouts.silence + SECONDS_PER_MEBIBYTE * length / 1024**2
        transport = self._transport.transport
        answering = False

        async def take(stream: Stream[Any]) -> None:
            nonlocal answering
            async for message in stream.responses:
                answering = True
                answer(message)

        async def call() -> None:
            with client.calling(method):
                stream = client.stream(
                    method, response_type, thread=self._shard.thread, deadline=deadline, transport=transport
                )
                acknowledged = Deferred.fromCoroutine(take(stream))
                try:
                    await send(stream, CHUNK[transport])
                    stream.requests.finish()
                    await acknowledged
                finally:
                    # Whatever went wrong on this side, the server must not go on holding the bucket's lock.
                    stream.cancel()
                    acknowledged.addErrback(lambda _: None)

        try:
            await client.authorized(call)
            check()
        except Gone:
            raise
        except Unavailable as error:
            # What a broken request makes the server answer is an answer, too.
            self._transport.failed(transport, answering=answering or not isinstance(error, Unreachable))
            raise
        self._transport.worked(transport, length)


async def _send(file: PendingFile, stream: Stream[Any], size: int, pack: Callable[[bytes], Any]) -> None:
    """Send a file's content. Where the call ends before, its outcome says why.

    :raises Corrupt: where there is less or more of it than there was: that must not be acknowledged.
    """
    offset = 0
    while data := await file.source.read(offset):
        for start in range(0, len(data), size):
            if not await stream.requests.ready():
                return
            stream.requests.send(pack(data[start : start + size]))
        offset += len(data)
    if offset != file.source.size:
        raise Corrupt(f"{file.path} was {file.source.size} bytes long and is {offset} now; it is not stored")


def _chunk(path: str, data: bytes) -> bucketsd_pb2.PushPathsRequest:
    return bucketsd_pb2.PushPathsRequest(chunk=bucketsd_pb2.PushPathsRequest.Chunk(path=path, data=data))
