"""A remote bucket in memory, with switches for what can go wrong on the way."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import NotFound, TooLarge, Unavailable
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat
from ipfsreg.flow.streams import ConsumerGone, Pieces

PIECE = 64 * 1024


@dataclass
class Body:
    """A content of any size: a block over and over."""

    block: bytes
    size: int

    def piece(self, offset: int, length: int) -> bytes:
        begin = offset % len(self.block) if self.block else 0
        return self.block[begin : begin + min(length, self.size - offset)]


@implementer(IBucket)
class FakeRemote:
    """``bodies`` is what it holds; the other attributes are the switches and the counters."""

    shared = True

    def __init__(self) -> None:
        self.name = "fake"
        self.bodies: dict[str, Body] = {}
        self.knows_size = True
        self.fails_at_read = False
        self.hold_at: int | None = None
        self.error_at: tuple[int, Exception] | None = None
        self.open_waits: Deferred[None] | None = None
        self.put_waits: Deferred[None] | None = None
        self.put_error: Exception | None = None
        self.stop_error: Exception | None = None
        self.opens = 0
        self.delivered = 0
        self.asked: list[int] = []
        self.unclosed = 0
        self.calls: list[str] = []
        self.producers: list[FakeProducer] = []

    def set(self, path: str, content: bytes) -> None:
        self.bodies[path] = Body(content, len(content))

    def go_on(self) -> None:
        """Let what was held at ``hold_at`` continue."""
        self.hold_at = None
        for producer in list(self.producers):
            producer.later()

    def start(self) -> "Deferred[None]":
        self.calls.append("start")
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        self.calls.append("stop")
        if self.open_waits is not None:
            self.open_waits.errback(Unavailable("stopped"))
        return succeed(None) if self.stop_error is None else fail(self.stop_error)

    def _at(self, path: str) -> Body:
        if path not in self.bodies:
            raise NotFound(path)
        return self.bodies[path]

    def stat(self, path: str) -> "Deferred[Stat]":
        def found() -> Stat:
            size = self._at(path).size
            return Stat(size if self.knows_size else None, "cid")

        return maybeDeferred(found)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        def read() -> bytes:
            body = self._at(path)
            if body.size > limit:
                raise TooLarge(path)
            return body.piece(0, body.size)

        return maybeDeferred(read)

    def open(self, path: str) -> "Deferred[IReader]":
        self.opens += 1

        def opened(_: None) -> IReader:
            if self.fails_at_read and path not in self.bodies:
                return FakeReader(self, NotFound(path))
            return FakeReader(self, self._at(path))

        waits = self.open_waits if self.open_waits is not None else succeed(None)
        return waits.addCallback(opened)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        self.set(path, content)
        return succeed(None)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        def stored(_: None) -> None:
            if self.put_error is not None:
                raise self.put_error
            self.set(path, source.read_bytes())
            source.unlink()

        return (self.put_waits if self.put_waits is not None else succeed(None)).addCallback(stored)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        def moved() -> None:
            self.bodies[destination] = self._at(source)
            del self.bodies[source]

        return maybeDeferred(moved)

    def remove(self, path: str) -> "Deferred[None]":
        def removed() -> None:
            self._at(path)
            del self.bodies[path]

        return maybeDeferred(removed)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        names = sorted(path.removeprefix(f"{directory}/") for path in self.bodies if path.startswith(f"{directory}/"))
        return succeed([Entry(name, False) for name in names if "/" not in name])

    async def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        yield [Listing(directory, await self.list(directory))]


@implementer(IReader)
class FakeReader:
    file: IO[bytes] | None = None

    def __init__(self, remote: FakeRemote, body: Body | NotFound) -> None:
        self._remote = remote
        self._body = body
        self._closed = False
        self.size = body.size if isinstance(body, Body) and remote.knows_size else None
        remote.unclosed += 1

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        assert not self._closed
        self._remote.asked.append(length)
        if isinstance(self._body, NotFound):
            raise self._body
        pieces = Pieces()
        producer = FakeProducer(self._remote, self._body, pieces, offset, length)
        self._remote.producers.append(producer)
        pieces.registerProducer(producer, True)
        producer.done.addBoth(pieces.end)
        producer.resumeProducing()
        try:
            async for piece in pieces:
                yield piece
        finally:
            producer.stopProducing()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._remote.unclosed -= 1


@implementer(IPushProducer)
class FakeProducer:
    """Delivers a piece at each turn of the reactor, and ends at the content's end whatever was asked for."""

    def __init__(self, remote: FakeRemote, body: Body, consumer: IConsumer, offset: int, length: int) -> None:
        self.done: Deferred[None] = Deferred()
        self.paused = True
        self._remote = remote
        self._body = body
        self._consumer = consumer
        self._offset = offset
        self._end = min(offset + length, body.size)
        self._waiting = False

    def resumeProducing(self) -> None:
        self.paused = False
        self.later()

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self._finish(Failure(ConsumerGone()))

    def later(self) -> None:
        if not self._waiting and not self.paused and not self.done.called:
            self._waiting = True
            reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._waiting = False
        if self.paused or self.done.called:
            return
        until = min(self._offset + PIECE, self._end)
        error = self._remote.error_at
        if self._remote.hold_at is not None:
            until = min(until, self._remote.hold_at)
        if error is not None:
            until = min(until, error[0])
        piece = self._body.piece(self._offset, until - self._offset)
        self._offset += len(piece)
        self._remote.delivered += len(piece)
        if piece:
            self._consumer.write(piece)
        if error is not None and self._offset >= error[0]:
            self._finish(Failure(error[1]))
        elif self._offset == self._end:
            self._finish(None)
        elif self._remote.hold_at is None or self._offset < self._remote.hold_at:
            self.later()

    def _finish(self, result: None | Failure) -> None:
        if self.done.called:
            return
        self._consumer.unregisterProducer()
        self._remote.producers.remove(self)
        if result is None:
            self.done.callback(None)
        else:
            self.done.errback(result)
