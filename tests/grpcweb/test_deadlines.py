"""The time a call may take, and what is left behind when it is cut short: nothing."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater

from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Channel, Transport
from ipfsreg.grpcweb.errors import CallCancelled, DeadlineExceeded, GrpcError
from ipfsreg.grpcweb.timers import Timers, grpc_timeout

from . import handlers
from .conftest import Connect, Serve, delayed_calls
from .playback import playing
from .raw import Endless, Raw, take
from .server import Server, ServerCall, until

reactor: Any = installed_reactor

KINDS = ["unary", "server stream", "stream"]


def begin(channel: Channel, kind: str, path: str, deadline: float, idle: float | None = None) -> Any:
    """A call and what to wait for."""
    if kind == "unary":
        return channel.unary(path, Raw(b"1"), Raw, deadline=deadline)
    if kind == "server stream":
        stream: Stream[Raw] = channel.server_stream(path, Raw(b"1"), Raw, deadline=deadline, idle=idle)
    else:
        stream = channel.stream(path, Raw, deadline=deadline, idle=idle)
        stream.requests.send(Raw(b"1"))
    return stream.responses.receive()


async def nothing_left(channel: Channel, server: Server | None, seconds: float = 1) -> None:
    """Neither a connection nor a delayed call, on either side, within a moment."""
    await until(lambda: (channel.connections, delayed_calls()) == (0, []), seconds)
    if server is not None:
        for call in server.calls:
            call.discard()  # who does not read does not see the end of a connection either
        await until(lambda: not server.peers, seconds)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("habit", ["silent", "deaf"])
@pytest_twisted.ensureDeferred
async def test_the_deadline(kind: str, habit: str, serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/M": getattr(handlers, habit)})
    channel = connect(server, transport=transport)
    began = reactor.seconds()
    with pytest.raises(DeadlineExceeded, match=r"did not end within 0\.2 s") as caught:
        await begin(channel, kind, "/x.Svc/M", 0.2)
    assert 0.19 < reactor.seconds() - began < 1
    assert not caught.value.idle
    assert server.calls[0].metadata["grpc-timeout"] == "200m"
    await nothing_left(channel, server)
    assert server.calls[0].broken.called


@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_the_deadline_of_a_server_that_accepts_and_says_nothing(
    kind: str, connect: Connect, transport: Transport
) -> None:
    async with playing(Protocol()) as url:
        channel = connect(url, transport=transport)
        with pytest.raises(DeadlineExceeded):
            await begin(channel, kind, "/x.Svc/M", 0.1)
        await nothing_left(channel, None)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest_twisted.ensureDeferred
async def test_the_idle_limit(kind: str, serve: Serve, connect: Connect, transport: Transport) -> None:
    async def stalls(call: ServerCall) -> None:
        await call.receive()
        for _ in range(3):
            await call.send(b"1")
            await deferLater(reactor, 0.15, lambda: None)
        await call.broken

    server = await serve({"/x.Svc/Stalls": stalls})
    channel = connect(server, transport=transport)
    if kind == "stream":
        stream = channel.stream("/x.Svc/Stalls", Raw, deadline=10, idle=0.3)
        stream.requests.send(Raw())
    else:
        stream = channel.server_stream("/x.Svc/Stalls", Raw(), Raw, deadline=10, idle=0.3)
    began = reactor.seconds()
    with pytest.raises(DeadlineExceeded, match=r"nothing moved within 0\.3 s") as caught:
        await take(stream.responses, lambda _: None)
    assert caught.value.idle
    assert 0.5 < reactor.seconds() - began < 2
    await nothing_left(channel, server)


@pytest_twisted.ensureDeferred
async def test_the_idle_limit_of_a_server_that_stops_reading(
    serve: Serve, connect: Connect, transport: Transport
) -> None:
    server = await serve({"/x.Svc/Deaf": handlers.deaf})
    channel = connect(server, transport=transport)
    stream = channel.stream("/x.Svc/Deaf", Raw, deadline=30, idle=0.3)
    sent = 0
    while await stream.requests.ready():
        stream.requests.send(Raw(bytes(65536)))
        sent += 1
    assert sent > 1
    with pytest.raises(DeadlineExceeded, match="nothing moved"):
        await stream.responses.receive()
    await nothing_left(channel, server)


@pytest_twisted.ensureDeferred
async def test_a_slow_taker_is_not_the_servers_silence(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Flood": handlers.flood})
    channel = connect(server, transport=transport)
    stream = channel.server_stream("/x.Svc/Flood", Raw(b"100 65536"), Raw, deadline=30, idle=0.2)
    assert await stream.responses.receive() is not None
    await deferLater(reactor, 0.6, lambda: None)
    assert len([message async for message in stream.responses]) == 99


@pytest_twisted.ensureDeferred
async def test_a_deadline_that_the_server_keeps(serve: Serve, connect: Connect, transport: Transport) -> None:
    async def late(call: ServerCall) -> None:
        call.status(4, "Challenge deadline exceeded")

    server = await serve({"/x.Svc/Late": late})
    with pytest.raises(GrpcError, match=r"DEADLINE_EXCEEDED \(4\): Challenge"):
        await connect(server, transport=transport).unary("/x.Svc/Late", Raw(), Raw, deadline=5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ["while connecting", "under way"])
@pytest_twisted.ensureDeferred
async def test_cancelling_leaves_nothing(
    kind: str, moment: str, serve: Serve, connect: Connect, transport: Transport
) -> None:
    server = await serve({"/x.Svc/Silent": handlers.silent})
    channel = connect(server, transport=transport, ping_interval=0.01)
    stream: Stream[Raw] | None = None
    if kind == "unary":
        waiting = channel.unary("/x.Svc/Silent", Raw(), Raw, deadline=60)
    elif kind == "stream":
        stream = channel.stream("/x.Svc/Silent", Raw, deadline=60, idle=60)
        stream.requests.send(Raw())
    else:
        stream = channel.server_stream("/x.Svc/Silent", Raw(), Raw, deadline=60, idle=60)
    if moment == "under way":
        await until(lambda: server.calls)
        await deferLater(reactor, 0.05, lambda: None)
    if stream is None:
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting
    else:
        receiving = stream.responses.receive()
        stream.cancel()
        stream.cancel()
        with pytest.raises(CallCancelled):
            await receiving
        with pytest.raises(CallCancelled):
            await stream.responses.receive()
        assert not await stream.requests.ready()
    await nothing_left(channel, server)
    assert all(call.broken.called for call in server.calls)


@pytest_twisted.ensureDeferred
async def test_cancelling_in_the_middle_of_an_answer(serve: Serve, connect: Connect, transport: Transport) -> None:
    async def burst(call: ServerCall) -> None:
        await call.receive()
        call.peer.answer_at_once([b"%d" % number for number in range(1000)])
        await call.broken

    server = await serve({"/x.Svc/Burst": burst})
    channel = connect(server, transport=transport)
    stream = channel.server_stream("/x.Svc/Burst", Raw(), Raw, deadline=30)
    taken = []

    def keep(message: Raw) -> None:
        taken.append(message)
        if len(taken) == 5:
            stream.cancel()

    with pytest.raises(CallCancelled):
        await take(stream.responses, keep)
    assert len(taken) == 5  # what had been read ahead is not handed out any more
    await nothing_left(channel, server)


@pytest_twisted.ensureDeferred
async def test_cancelling_with_a_request_that_the_server_does_not_read(
    serve: Serve, connect: Connect, transport: Transport
) -> None:
    server = await serve({"/x.Svc/Deaf": handlers.deaf})
    channel = connect(server, transport=transport)
    stream = channel.stream("/x.Svc/Deaf", Raw, deadline=30)
    producer = Endless(stream.requests, 65536)
    await until(lambda: producer.sent and producer.pauses > 1)
    stream.cancel()
    assert producer.stopped
    await nothing_left(channel, server)


@pytest_twisted.ensureDeferred
async def test_giving_up_waiting_is_not_cancelling(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Slow": handlers.slow})
    stream = connect(server, transport=transport).server_stream("/x.Svc/Slow", Raw(b"0.1"), Raw, deadline=5)
    waiting = stream.responses.receive()
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting
    assert await stream.responses.receive() == Raw(b"at last")
    ready = stream.requests.ready()
    ready.cancel()


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (0.0001, "1m"),
        (0.25, "250m"),
        (60, "60000m"),
        (99999.999, "99999999m"),
        (100000, "100000S"),
        (1e12, "99999999S"),
    ],
)
def test_grpc_timeout(seconds: float, value: str) -> None:
    assert grpc_timeout(seconds) == value


@pytest.mark.parametrize(("deadline", "idle"), [(0, None), (-1, None), (1, 0), (1, -1)])
def test_a_call_without_time(deadline: float, idle: float | None) -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="needs some time"):
        Timers(clock, deadline, idle, print)
    assert not clock.getDelayedCalls()
