"""Metadata appears in no text, however a call fails."""

import traceback
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.logger import LogEvent, LogPublisher, formatEvent, globalLogPublisher

from ipfsreg.grpcweb.channel import Channel, Transport

from . import handlers
from .conftest import Connect, Serve
from .playback import playing
from .raw import Raw, Undecodable
from .server import ServerCall

SECRET = "bearer-hush-hush"
METADATA = {"authorization": SECRET, "x-textile-api-key": SECRET}


class Parrot(Protocol):
    """Answers with what it was sent, which no client expects."""

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)
        transport.loseConnection()


async def failure_of(channel: Channel, path: str, message_type: Any = Raw, streaming: bool = False) -> Exception:
    stream = channel.stream(path, message_type, deadline=0.5, metadata=METADATA)
    if streaming:
        stream.requests.send(Raw())
        stream.requests.finish()
    else:
        stream.cancel()
        stream = channel.server_stream(path, Raw(), message_type, deadline=0.5, metadata=METADATA)
    with pytest.raises(Exception) as caught:
        await stream.responses.only()
    return caught.value


@pytest.mark.parametrize("streaming", [False, True])
@pytest_twisted.ensureDeferred
async def test_however_a_call_fails(streaming: bool, serve: Serve, connect: Connect, transport: Any) -> None:
    async def unframed(call: ServerCall) -> None:
        call.peer.transport.write(SECRET.encode())
        call.peer.transport.unregisterProducer()
        call.peer.transport.loseConnection()

    logged: list[str] = []
    publisher: LogPublisher = globalLogPublisher

    def observe(event: LogEvent) -> None:
        logged.append(formatEvent(event) + repr(event))

    publisher.addObserver(observe)  # type: ignore[arg-type]
    try:
        server = await serve(
            {
                "/x.Svc/Deny": handlers.deny,
                "/x.Svc/Broken": handlers.broken_off,
                "/x.Svc/Silent": handlers.silent,
                "/x.Svc/Echo": handlers.echo,
                "/x.Svc/Unframed": unframed,
            }
        )
        channel = connect(server, transport=transport)
        failures = [
            await failure_of(channel, "/x.Svc/" + name, streaming=streaming)
            for name in ("Deny", "Broken", "Silent", "Unframed")
        ]
        failures.append(await failure_of(channel, "/x.Svc/Echo", Undecodable, streaming=streaming))
        async with playing(Parrot()) as url:
            parrot = connect(url, transport=transport)
            failures.append(await failure_of(parrot, "/x.Svc/Echo", streaming=streaming))
        failures.append(await failure_of(parrot, "/x.Svc/Echo", streaming=streaming))  # nobody listens
    finally:
        publisher.removeObserver(observe)  # type: ignore[arg-type]
    texts = ["".join(traceback.format_exception(failure)) + repr(failure) + str(failure) for failure in failures]
    assert len({type(failure) for failure in failures}) >= 4
    for text in [*texts, *logged, repr(channel), repr(vars(channel))]:
        assert SECRET not in text


@pytest_twisted.ensureDeferred
async def test_a_websocket_that_is_closed_while_metadata_is_sent(serve: Serve, connect: Connect) -> None:
    """wsproto quotes in its exceptions what it was given to send."""

    async def close_at_once(call: ServerCall) -> None:
        call.peer.close(1001, "going away")
        await Deferred()

    server = await serve({"/x.Svc/Away": close_at_once})
    channel = connect(server, transport=Transport.WEBSOCKET)
    failure = await failure_of(channel, "/x.Svc/Away", streaming=True)
    assert "code 1001 (going away)" in str(failure)
    assert SECRET not in "".join(traceback.format_exception(failure))
