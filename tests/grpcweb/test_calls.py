"""The four kinds of call, over both transports."""

from typing import Any

import pytest
import pytest_twisted
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from twisted.internet import reactor as installed_reactor

from ipfsreg.grpcweb.channel import Channel, Transport
from ipfsreg.grpcweb.errors import ConnectionBroken, GrpcError, MessageTooLarge, NotConnected, UnexpectedAnswer
from ipfsreg.grpcweb.status import GrpcStatus

from . import handlers
from .conftest import Connect, Serve
from .raw import Raw, Undecodable
from .server import ServerCall, until

reactor: Any = installed_reactor


@pytest_twisted.ensureDeferred
async def test_unary(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo})
    channel = connect(server, transport=transport)
    answer = await channel.unary(
        "/x.Svc/Echo", Raw(b"hello"), Raw, deadline=5, metadata={"x-key": "secret", "authorization": "bearer t"}
    )
    assert answer == Raw(b"hello")
    metadata = server.calls[0].metadata
    assert metadata["x-key"] == "secret"
    assert metadata["authorization"] == "bearer t"
    assert metadata["grpc-timeout"] == "5000m"
    assert metadata["content-type"] == "application/grpc-web+proto"
    if transport is Transport.WEBSOCKET:
        sent = server.calls[0].peer.websocket_messages
        assert sent[0].startswith(b"x-key: secret\r\nauthorization: bearer t\r\n")
        assert sent[1:] == [b"\x00" + bytes.fromhex("0000000005") + b"hello", b"\x01"]


@pytest_twisted.ensureDeferred
async def test_with_messages_of_protobuf(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo})
    channel = connect(server, transport=transport)
    answer: StringValue = await channel.unary("/x.Svc/Echo", BytesValue(value="é".encode()), StringValue, deadline=5)
    assert answer.value == "é"


@pytest_twisted.ensureDeferred
async def test_an_empty_message(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo})
    assert await connect(server, transport=transport).unary("/x.Svc/Echo", Raw(), Raw, deadline=5) == Raw()


@pytest_twisted.ensureDeferred
async def test_a_url_with_a_path(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/proxied/x.Svc/Echo": handlers.echo})
    channel = connect(server.url + "/proxied/", transport=transport)
    assert await channel.unary("/x.Svc/Echo", Raw(b"1"), Raw, deadline=5) == Raw(b"1")
    stream = channel.stream("/x.Svc/Echo", Raw, deadline=5)
    stream.requests.finish()
    assert [message async for message in stream.responses] == []


@pytest_twisted.ensureDeferred
async def test_unary_calls_share_connections(serve: Serve, connect: Connect) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo, "/x.Svc/Deny": handlers.deny})
    channel = connect(server)
    for number in range(5):
        await channel.unary("/x.Svc/Echo", Raw(b"%d" % number), Raw, deadline=5)
        with pytest.raises(GrpcError):
            await channel.unary("/x.Svc/Deny", Raw(), Raw, deadline=5)
    # Two, for an answer is given away with its status, when the end of its body may be still to come.
    assert server.accepted <= 2
    assert channel.connections == server.accepted


@pytest_twisted.ensureDeferred
async def test_server_streaming(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Numbers": handlers.numbers})
    channel = connect(server, transport=transport)
    stream = channel.server_stream("/x.Svc/Numbers", Raw(b"1000"), Raw, deadline=5)
    assert [message.data async for message in stream.responses] == [b"%d" % number for number in range(1000)]
    empty = channel.server_stream("/x.Svc/Numbers", Raw(b"0"), Raw, deadline=5)
    assert await empty.responses.receive() is None
    assert await empty.responses.receive() is None  # and it stays so


@pytest_twisted.ensureDeferred
async def test_client_streaming_from_a_coroutine(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Count": handlers.count})
    stream = connect(server, transport=transport).stream("/x.Svc/Count", Raw, deadline=10)
    for number in range(100):
        assert await stream.requests.ready()
        stream.requests.send(Raw(bytes([number]) * 20000))
    stream.requests.finish()
    assert (await stream.responses.only()).data.startswith(b"2000000 ")
    assert not await stream.requests.ready()


@pytest_twisted.ensureDeferred
async def test_bidirectional_with_turns(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/GetToken": handlers.challenge})
    channel = connect(server, transport=transport)

    async def token(prove: bytes) -> bytes:
        stream = channel.stream("/x.Svc/GetToken", Raw, deadline=5)
        stream.requests.send(Raw(b"me"))
        task = await stream.responses.receive()
        assert task == Raw(b"sign this, me")
        stream.requests.send(Raw(prove + task.data))
        stream.requests.finish()
        return (await stream.responses.only()).data

    assert await token(b"signed: ") == b"token for me"
    with pytest.raises(GrpcError, match=r"UNKNOWN \(2\): bad signature"):
        await token(b"forged: ")


@pytest_twisted.ensureDeferred
async def test_messages_larger_than_a_websocket_message(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo})
    channel = connect(server, transport=transport)
    for size in (32762, 32763, 32768, 65536, 1_000_000):
        message = Raw(bytes(range(256)) * (size // 256 + 1))
        assert await channel.unary("/x.Svc/Echo", message, Raw, deadline=5) == message


@pytest_twisted.ensureDeferred
async def test_the_limit_of_messages_received(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo})
    strict, wide = (connect(server, transport=transport, message_limit=limit) for limit in (1000, 8 << 20))
    assert await strict.unary("/x.Svc/Echo", Raw(bytes(1000)), Raw, deadline=5) == Raw(bytes(1000))
    with pytest.raises(MessageTooLarge, match="1001 bytes in one frame, 1000 are allowed"):
        await strict.unary("/x.Svc/Echo", Raw(bytes(1001)), Raw, deadline=5)
    large = Raw(bytes(5 << 20))
    assert await wide.unary("/x.Svc/Echo", large, Raw, deadline=10) == large


@pytest.mark.parametrize("path", ["/x.Svc/None", "/x.Svc/Two"])
@pytest_twisted.ensureDeferred
async def test_a_unary_call_has_one_answer(path: str, serve: Serve, connect: Connect, transport: Transport) -> None:
    async def two(call: ServerCall) -> None:
        await call.receive()
        await call.send(b"1")
        await call.send(b"2")
        call.status(0)

    async def none(call: ServerCall) -> None:
        await call.receive()
        call.status(0)

    server = await serve({"/x.Svc/None": none, "/x.Svc/Two": two})
    with pytest.raises(UnexpectedAnswer):
        await connect(server, transport=transport).unary(path, Raw(), Raw, deadline=5)


@pytest_twisted.ensureDeferred
async def test_a_message_that_cannot_be_decoded_is_not_quoted(
    serve: Serve, connect: Connect, transport: Transport
) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo})
    with pytest.raises(UnexpectedAnswer, match="a message of 4 bytes") as caught:
        await connect(server, transport=transport).unary("/x.Svc/Echo", Raw(b"hush"), Undecodable, deadline=5)
    assert "hush" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest_twisted.ensureDeferred
async def test_a_connection_that_breaks_is_no_status(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Broken": handlers.broken_off})
    stream = connect(server, transport=transport).server_stream("/x.Svc/Broken", Raw(), Raw, deadline=5)
    assert await stream.responses.receive() == Raw(b"one")
    with pytest.raises(ConnectionBroken) as caught:
        await stream.responses.receive()
    assert not isinstance(caught.value, (GrpcError, NotConnected))


@pytest.mark.parametrize("streaming", [False, True])
@pytest_twisted.ensureDeferred
async def test_nobody_listens(streaming: bool, serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({})
    channel = connect(server, transport=transport)
    await server.stop()
    if streaming:
        answer = channel.stream("/x.Svc/Echo", Raw, deadline=5).responses.only()
    else:
        answer = channel.server_stream("/x.Svc/Echo", Raw(), Raw, deadline=5).responses.only()
    with pytest.raises(NotConnected, match="refused"):
        await answer


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:80", "http://", "http://x/?y", "ws://x", "http://x/#y"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        Channel(reactor, url)


@pytest_twisted.ensureDeferred
async def test_a_closed_channel(serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Silent": handlers.silent})
    channel = connect(server, transport=transport)
    calls = [channel.unary("/x.Svc/Silent", Raw(), Raw, deadline=60) for _ in range(3)]
    await until(lambda: len(server.calls) == 3)
    await channel.close()
    assert channel.connections == 0
    for call in calls:
        with pytest.raises(Exception, match="the call was cancelled"):
            await call
    with pytest.raises(RuntimeError, match="closed"):
        channel.stream("/x.Svc/Silent", Raw, deadline=1)
    await until(lambda: not server.peers)


def test_codes_have_the_numbers_of_grpc() -> None:
    assert [status.value for status in GrpcStatus] == list(range(17))
