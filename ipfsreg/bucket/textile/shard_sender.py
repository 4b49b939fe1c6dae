"""A batch of files to the server, in one stream or one by one (docs/protocols/textile.md, "Pushing")."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.errors import Corrupt, Unavailable, Unreachable
from ipfsreg.bucket.sources import MemorySource
from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Transport

from .paths import FOLDED, FORMAT_FILE
from .proto import bucketsd_pb2
from .push_queue import FileToPush
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

ANSWER_SECONDS = 20.0
"""For how long a stream waits for the answer about one file before it sends the next, which needs it.

None comes while another daemon's push holds the bucket, nor where a proxy collects the stream to its end.
"""

ALONE_SECONDS = 600.0
"""For how long nothing waits in a stream after that: what needs a file goes in a stream after that file's."""


class ShardSender:
    """Sends files to one bucket of the server."""

    def __init__(self, shard: Shard, transport: TransportChoice, clock: IReactorTime) -> None:
        self._shard = shard
        self._transport = transport
        self._clock = clock
        self._waits_from = 0.0

    async def push_paths(self, pushes: Sequence[Sequence[FileToPush]]) -> None:
        """All files in one stream, if answers about single files come in time, else in several.

        Acknowledged only by status 0: the server saves the bucket at the end. But what it had put there when a stream
        is cut it may save, so a file is sent after the answer about the one before it in its push.
        """
        rest = pushes
        while rest:
            sent = await self._push_paths(rest)
            rest = [push[count:] for push, count in zip(rest, sent, strict=True) if count < len(push)]

    async def _push_paths(self, pushes: Sequence[Sequence[FileToPush]]) -> Sequence[int]:
        """A stream; answers how many files of each push were in it."""
        # Without a root there is no conflict with other writers: the server reads the bucket under its lock.
        await self._ready()
        waits = self._clock.seconds() >= self._waits_from
        paths = [[self._shard.at(file.path) for file in push[: None if waits else 1]] for push in pushes]
        all_paths = [path for each in paths for path in each]
        header = bucketsd_pb2.PushPathsRequest.Header(key=self._shard.key, paths=all_paths)
        sent: list[int] = []

        async def chunks(size: int, answers: _Answers) -> AsyncIterator[bucketsd_pb2.PushPathsRequest]:
            sent[:] = [0] * len(pushes)
            for turn in range(max(map(len, paths))):
                for number, push in enumerate(pushes):
                    if turn >= len(paths[number]):
                        continue
                    if turn and not await answers.wait_for(paths[number][turn - 1], ANSWER_SECONDS, self._clock):
                        self._waits_from = self._clock.seconds() + ALONE_SECONDS
                        return
                    sent[number] += 1
                    answers.awaited += 1
                    async for data in _pieces(push[turn], size):
                        yield _chunk(paths[number][turn], data)
                    # An empty chunk ends a file. Without it the server would wait for ever, with the bucket locked.
                    yield _chunk(paths[number][turn], b"")

        length = sum(file.source.size for push in pushes for file in push)
        answers = await self._push("PushPaths", length, bucketsd_pb2.PushPathsRequest(header=header), chunks)
        for number, push in enumerate(pushes):
            for file, path in zip(push[: sent[number]], paths[number], strict=False):
                answer = answers.about.get(path)
                if answer is not None:
                    self._shard.known_files.pushed(answers.root, path, answer.cid, answer.size, file.source.in_memory)
        return sent

    async def push_path(self, file: FileToPush) -> None:
        """One file. Acknowledged by the final event and status 0."""
        await self._ready()
        await self._push_path(file, self._shard.at(file.path))

    async def _ready(self) -> None:
        """Find or make the bucket. Before the first file, it has to say how paths are written there."""
        await self._shard.ensure()
        if not self._shard.marked:
            await self._push_path(FileToPush(FORMAT_FILE, MemorySource(FOLDED)), FORMAT_FILE)
            self._shard.note_marked()

    async def _push_path(self, file: FileToPush, path: str) -> None:
        header = bucketsd_pb2.PushPathRequest.Header(key=self._shard.key, path=path)

        async def chunks(size: int, answers: _Answers) -> AsyncIterator[bucketsd_pb2.PushPathRequest]:
            answers.awaited += 1
            async for data in _pieces(file, size):
                yield bucketsd_pb2.PushPathRequest(chunk=data)

        await self._push("PushPath", file.source.size, bucketsd_pb2.PushPathRequest(header=header), chunks)

    async def _push(
        self, method: str, length: int, header: Any, chunks: "Callable[[int, _Answers], AsyncIterator[Any]]"
    ) -> "_Answers":
        client = self._shard.client
        deadline = client.timeouts.silence + SECONDS_PER_MEBIBYTE * length / 1024**2
        transport = self._transport.transport
        answers = _Answers()

        async def send(stream: Stream[Any]) -> None:
            stream.requests.send(header)
            async for chunk in chunks(CHUNK[transport], answers):
                if not await stream.requests.ready():
                    return  # the call has ended, and its outcome says why
                stream.requests.send(chunk)
            stream.requests.finish()

        async def call() -> None:
            nonlocal answers
            answers = _Answers()
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
            if answers.files < answers.awaited:
                ended = f"the final event of {answers.files} of {answers.awaited} files"
                raise Unavailable(f"{method}: the server ended the stream after {ended}")
        except Gone:
            raise
        except Unavailable as error:
            # What a broken request makes the server answer is an answer, too.
            self._transport.failed(transport, answering=answers.begun or not isinstance(error, Unreachable))
            raise
        self._shard.learn(answers.root)
        self._transport.worked(transport, length)
        return answers


_RESPONSES: dict[str, type[Any]] = {
    "PushPath": bucketsd_pb2.PushPathResponse,
    "PushPaths": bucketsd_pb2.PushPathsResponse,
}


@dataclass(frozen=True, slots=True)
class About:
    """What the server says of a file that was pushed."""

    cid: str
    size: int


class _Answers:
    """What has come: whether anything has, for how many files of those ``awaited``, and the last one's root."""

    def __init__(self) -> None:
        self.begun = False
        self.awaited = 0
        self.files = 0
        self.root = bucketsd_pb2.Root()  # each is longer than the one before, and to learn from it takes time
        self.about: dict[str, About] = {}
        self._ended = False
        self._waiting: tuple[str, Deferred[None]] | None = None

    async def take(self, stream: Stream[Any]) -> None:
        try:
            async for message in stream.responses:
                self.begun = True
                if isinstance(message, bucketsd_pb2.PushPathsResponse):
                    self.files += 1
                    self.root = message.root
                    self.about[message.path] = About(message.cid, message.size)
                    self._wake(message.path)
                elif message.event.path:  # the others tell of progress
                    self.files += 1
                    self.root = message.event.root
        finally:
            self._ended = True
            self._wake(None)

    async def wait_for(self, path: str, seconds: float, clock: IReactorTime) -> bool:
        """Wait for the answer about a file, or the stream's end; False where neither comes within some seconds."""
        if path not in self.about and not self._ended:
            self._waiting = path, Deferred()
            try:
                await self._waiting[1].addTimeout(seconds, clock)
            except DeferredTimeout:
                return False
        return True

    def _wake(self, path: str | None) -> None:
        if self._waiting is not None and path in (None, self._waiting[0]):
            waiting, self._waiting = self._waiting[1], None
            waiting.callback(None)


async def _pieces(file: FileToPush, size: int) -> AsyncIterator[bytes]:
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
