"""Streams much larger than memory should be: what waits is bounded, in both directions."""

import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import deferLater
from zope.interface import implementer

from ipfsreg.flow.streams import write_pieces
from ipfsreg.grpcweb.channel import Transport
from ipfsreg.grpcweb.errors import GrpcError
from ipfsreg.grpcweb.responses import HIGH_WATER, Responses
from tests.full import FULL

from .conftest import Connect, Serve
from .raw import Endless, Raw, take
from .server import ServerCall, until

reactor: Any = installed_reactor

MIB = 1 << 20
TOTAL = (64 if FULL else 32) * MIB
PIECE = 64 * 1024

KERNEL = 16 * MIB
"""More than the buffers of both sockets can hold (Linux's limits for automatic sizes are 4 and 6 MiB)."""

MEMORY = 4 * MIB
"""For the buffers of client and server together."""


@contextmanager
def flat_memory() -> Iterator[None]:
    """What Python allocates at most in between, over what it had allocated before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak / MIB:.1f} MiB"


class StopAndGo:
    """Reads a stream in bursts, and looks at how far the client is while nothing is read."""

    def __init__(self) -> None:
        self.total = 0
        self.held_at: list[tuple[int, int]] = []
        self.sent = lambda: 0

    async def __call__(self, call: ServerCall) -> None:
        while (message := await call.receive()) is not None:
            before, self.total = self.total, self.total + len(message)
            if self.total * 4 // TOTAL > before * 4 // TOTAL and self.total < TOTAL:
                call.hold()
                await deferLater(reactor, 0.1, lambda: None)
                self.held_at.append((self.total, self.sent()))
                call.release()
        call.status(0)

    def check(self) -> None:
        assert self.total == TOTAL
        assert len(self.held_at) == 3
        for received, sent in self.held_at:
            assert received <= sent < received + KERNEL


@pytest_twisted.ensureDeferred
async def test_an_upload_that_stops_and_goes(serve: Serve, connect: Connect, transport: Any) -> None:
    handler = StopAndGo()
    server = await serve({"/x.Svc/Push": handler})
    with flat_memory():
        stream = connect(server, transport=transport).stream("/x.Svc/Push", Raw, deadline=60)
        producer = Endless(stream.requests, PIECE, TOTAL)
        handler.sent = lambda: producer.sent
        assert await stream.responses.receive() is None
    handler.check()
    assert producer.pauses > 100


@pytest_twisted.ensureDeferred
async def test_a_download_into_a_loop_that_stops_and_goes(serve: Serve, connect: Connect, transport: Any) -> None:
    flood = Flood()
    server = await serve({"/x.Svc/Flood": flood})
    with flat_memory():
        channel = connect(server, transport=transport)
        stream = channel.server_stream("/x.Svc/Flood", Raw(), Raw, deadline=60)
        taken = 0
        async for message in stream.responses:
            taken += len(message.data)
            if taken % (TOTAL // 4) == 0:
                await deferLater(reactor, 0.1, lambda: None)
                assert taken <= flood.sent < taken + KERNEL
    assert taken == flood.sent == TOTAL


@pytest_twisted.ensureDeferred
async def test_a_download_into_a_slow_consumer(serve: Serve, connect: Connect, transport: Any) -> None:
    flood = Flood()
    server = await serve({"/x.Svc/Flood": flood})
    with flat_memory():
        channel = connect(server, transport=transport)
        stream = channel.server_stream("/x.Svc/Flood", Raw(), Raw, deadline=60)
        consumer = SlowConsumer()
        await write_pieces(consumer, contents(stream.responses))
    assert consumer.taken == flood.sent == TOTAL
    assert consumer.pauses == 64
    assert consumer.most_while_paused == 0


@pytest_twisted.ensureDeferred
async def test_a_download_that_nobody_takes_is_not_read(serve: Serve, connect: Connect, transport: Any) -> None:
    flood = Flood()
    server = await serve({"/x.Svc/Flood": flood})
    with flat_memory():
        stream = connect(server, transport=transport).server_stream("/x.Svc/Flood", Raw(), Raw, deadline=60)
        await until(lambda: flood.sent)
        await deferLater(reactor, 0.3, lambda: None)
        assert flood.sent < KERNEL
        assert waiting(stream.responses) <= HIGH_WATER + PIECE
        stream.cancel()


@pytest_twisted.ensureDeferred
async def test_tiny_messages_that_nobody_takes(serve: Serve, connect: Connect, transport: Any) -> None:
    flood = Flood(total=300_000, piece=1)
    server = await serve({"/x.Svc/Flood": flood})
    stream = connect(server, transport=transport).server_stream("/x.Svc/Flood", Raw(), Raw, deadline=60)
    await until(lambda: waiting(stream.responses) > 1000)
    await deferLater(reactor, 0.2, lambda: None)
    # Far fewer than HIGH_WATER messages of one byte.
    assert waiting(stream.responses) < HIGH_WATER // 32
    stream.cancel()


@pytest.mark.parametrize("streaming", [True, False])
@pytest_twisted.ensureDeferred
async def test_the_status_among_what_was_read_ahead(
    streaming: bool, serve: Serve, connect: Connect, transport: Any
) -> None:
    """More tiny messages than may wait, the status and the end of it all come in one read."""

    async def burst(call: ServerCall) -> None:
        await call.receive()
        call.peer.answer_at_once([b"1"] * 5000)
        call.status(9, "update is non-fast-forward")

    server = await serve({"/x.Svc/Burst": burst}, old=True)
    channel = connect(server, transport=transport)
    if streaming:
        stream = channel.stream("/x.Svc/Burst", Raw, deadline=5)
        stream.requests.send(Raw())
        stream.requests.finish()
    else:
        stream = channel.server_stream("/x.Svc/Burst", Raw(), Raw, deadline=5)
    await until(lambda: waiting(stream.responses))
    await deferLater(reactor, 0.1, lambda: None)
    assert waiting(stream.responses) < 5000
    taken: list[Raw] = []
    with pytest.raises(GrpcError, match="non-fast-forward"):
        await take(stream.responses, taken.append)
    assert taken == [Raw(b"1")] * 5000


@pytest.mark.parametrize("early", [False, True], ids=["in turn", "before the request is written"])
@pytest_twisted.ensureDeferred
async def test_a_first_read_that_is_more_than_may_wait(
    early: bool, serve: Serve, connect: Connect, transport: Any
) -> None:
    flood = Flood()

    async def burst(call: ServerCall) -> None:
        if not early:
            await call.receive()
        call.peer.answer_at_once([b"1"] * 5000)
        if early:
            await deferLater(reactor, 0.1, lambda: None)
            await call.receive()
        await flood(call)

    server = await serve({"/x.Svc/Burst": burst})
    request = Raw(bytes(8 * MIB if early else 1))
    channel = connect(server, transport=transport)
    stream = channel.server_stream("/x.Svc/Burst", request, Raw, deadline=10)
    await until(lambda: flood.sent)
    await deferLater(reactor, 0.3, lambda: None)
    assert flood.sent < KERNEL
    stream.cancel()


@pytest_twisted.ensureDeferred
async def test_no_pings_while_nothing_is_read(serve: Serve, connect: Connect) -> None:
    """The server may have ended the call: its answer to a ping would be a reset."""
    flood = Flood()
    server = await serve({"/x.Svc/Flood": flood})
    channel = connect(server, transport=Transport.WEBSOCKET, ping_interval=0.02)
    stream = channel.server_stream("/x.Svc/Flood", Raw(), Raw, deadline=5)
    await until(lambda: flood.sent)
    await deferLater(reactor, 0.3, lambda: None)
    assert waiting(stream.responses) >= HIGH_WATER
    assert server.calls[0].peer.pings == 0
    stream.cancel()


async def contents(responses: Responses[Raw]) -> AsyncGenerator[bytes, None]:
    """What is in the messages of a call, as a backend reads it."""
    async for message in responses:
        yield message.data


class Flood:
    """Answers as fast as the connection goes, and counts."""

    def __init__(self, total: int = TOTAL, piece: int = PIECE) -> None:
        self.sent = 0
        self._total = total
        self._piece = piece

    async def __call__(self, call: ServerCall) -> None:
        payload = bytes(self._piece)
        while self.sent < self._total and not call.peer.closed:
            self.sent += len(payload)
            call.peer.answer(payload)
            if self._piece > 1000 or self.sent % 1000 == 0:
                await call.peer.writable()
        call.status(0)


@implementer(IConsumer)
class SlowConsumer:
    """Takes a mebibyte, then pauses its producer for a moment."""

    def __init__(self) -> None:
        self.taken = 0
        self.pauses = 0
        self.most_while_paused = 0
        self._paused = False
        self._producer: Any = None
        self.idle: Deferred[None] = Deferred()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        if self._paused:
            self.most_while_paused += len(data)
        self.taken += len(data)
        if self.taken % MIB == 0:
            self.pauses += 1
            self._paused = True
            self._producer.pauseProducing()
            reactor.callLater(0.002, self._go_on)

    def _go_on(self) -> None:
        self._paused = False
        if self._producer is not None:
            self._producer.resumeProducing()


def waiting(responses: Responses[Any]) -> int:
    """How many bytes (or, of tiny messages, how many messages) were read and not taken."""
    queue = responses._queue
    return sum(len(message.data) for message, _ in queue)
