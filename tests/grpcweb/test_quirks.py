"""The servers' habits that docs/protocols/grpc-web.md warns of, each with the client against it."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed_reactor
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from ipfsreg.grpcweb.channel import Transport
from ipfsreg.grpcweb.errors import ConnectionBroken, GrpcError, UnexpectedAnswer
from ipfsreg.grpcweb.status import GrpcStatus

from . import handlers
from .conftest import Connect, Serve
from .playback import PostPlayer, playing
from .raw import Endless, Raw
from .server import ServerCall, until

reactor: Any = installed_reactor


@pytest.mark.parametrize("old", [False, True], ids=["v0.14", "v0.13"])
@pytest_twisted.ensureDeferred
async def test_the_server_answers_before_the_client_has_finished(
    old: bool, serve: Serve, connect: Connect, transport: Transport
) -> None:
    server = await serve({"/x.Svc/Refuse": handlers.refuse}, old=old)
    stream = connect(server, transport=transport).stream("/x.Svc/Refuse", Raw, deadline=10)
    producer = Endless(stream.requests)
    with pytest.raises(GrpcError, match="non-fast-forward") as caught:
        await stream.responses.only()
    assert caught.value.code is GrpcStatus.FAILED_PRECONDITION
    assert producer.stopped
    sent = producer.sent
    await until(lambda: not server.peers)
    assert producer.sent == sent
    stream.requests.send(Raw())  # is dropped, without a word
    stream.requests.finish()


@pytest.mark.parametrize("old", [False, True], ids=["closes with 1000", "drops the connection: 1006"])
@pytest_twisted.ensureDeferred
async def test_the_close_code_says_nothing(old: bool, serve: Serve, connect: Connect) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo, "/x.Svc/Deny": handlers.deny}, old=old)
    channel = connect(server, transport=Transport.WEBSOCKET)
    assert await channel.unary("/x.Svc/Echo", Raw(b"good"), Raw, deadline=5) == Raw(b"good")
    with pytest.raises(GrpcError, match="PERMISSION_DENIED"):
        await channel.unary("/x.Svc/Deny", Raw(), Raw, deadline=5)


@pytest_twisted.ensureDeferred
async def test_a_good_close_without_a_status_is_a_failure(serve: Serve, connect: Connect) -> None:
    async def leave(call: ServerCall) -> None:
        await call.receive()
        call.peer.answer(b"all of it, one would think")
        call.peer.close(1000, "bye")

    stream = connect(await serve({"/x.Svc/Leave": leave}), transport=Transport.WEBSOCKET).server_stream(
        "/x.Svc/Leave", Raw(), Raw, deadline=5
    )
    assert await stream.responses.receive() is not None
    with pytest.raises(ConnectionBroken, match=r"closed the websocket, code 1000 \(bye\)"):
        await stream.responses.receive()


@pytest_twisted.ensureDeferred
async def test_a_websocket_message_that_is_too_long_is_named(serve: Serve, connect: Connect) -> None:
    async def refuse_size(call: ServerCall) -> None:
        call.peer.close(1009, "read limited at 32769 bytes")

    channel = connect(await serve({"/x.Svc/Push": refuse_size}), transport=Transport.WEBSOCKET)
    with pytest.raises(ConnectionBroken, match=r"code 1009 \(read limited at 32769 bytes\)"):
        await channel.unary("/x.Svc/Push", Raw(), Raw, deadline=5)


@pytest.mark.parametrize("old", [False, True], ids=["pongs", "no pongs after finish"])
@pytest_twisted.ensureDeferred
async def test_pings_in_silence_and_no_pong_is_missed(old: bool, serve: Serve, connect: Connect) -> None:
    server = await serve({"/x.Svc/Slow": handlers.slow}, old=old)
    channel = connect(server, transport=Transport.WEBSOCKET, ping_interval=0.05)
    # The old server leaves the pings unread, so its end of the connection is a reset right after the status.
    assert await channel.unary("/x.Svc/Slow", Raw(b"0.5"), Raw, deadline=5) == Raw(b"at last")
    pings = server.calls[0].peer.pings
    assert pings == 0 if old else 5 <= pings <= 10


@pytest_twisted.ensureDeferred
async def test_no_pings_while_something_moves(serve: Serve, connect: Connect) -> None:
    server = await serve({"/x.Svc/Progress": handlers.progress})
    channel = connect(server, transport=Transport.WEBSOCKET, ping_interval=0.2)
    stream = channel.stream("/x.Svc/Progress", Raw, deadline=5)
    for _ in range(12):
        stream.requests.send(Raw(b"1"))
        await deferLater(reactor, 0.05, lambda: None)
    stream.requests.finish()
    assert len([message async for message in stream.responses]) == 12
    assert server.calls[0].peer.pings == 0


@pytest_twisted.ensureDeferred
async def test_pings_of_the_server_are_answered(serve: Serve, connect: Connect) -> None:
    async def ask(call: ServerCall) -> None:
        await call.receive()
        pong = call.peer.ping(b"there?")
        await call.send(await pong)
        call.status(0)

    channel = connect(await serve({"/x.Svc/Ask": ask}), transport=Transport.WEBSOCKET)
    assert await channel.unary("/x.Svc/Ask", Raw(), Raw, deadline=5) == Raw(b"there?")


@pytest.mark.parametrize("streaming", [False, True], ids=["known request", "streamed request"])
@pytest_twisted.ensureDeferred
async def test_the_server_never_closes(streaming: bool, serve: Serve, connect: Connect, transport: Transport) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo}, never_closes=True)
    channel = connect(server, transport=transport)
    stream = channel.stream("/x.Svc/Echo", Raw, deadline=5)
    if streaming:
        stream.requests.send(Raw(b"1"))
        stream.requests.finish()
    else:
        stream = channel.server_stream("/x.Svc/Echo", Raw(b"1"), Raw, deadline=5)
    began = reactor.seconds()
    assert await stream.responses.only() == Raw(b"1")
    assert reactor.seconds() - began < 1  # the answer does not wait for the end of the connection,
    if streaming:
        await until(lambda: not server.peers)  # and the connection not for the server


@pytest_twisted.ensureDeferred
async def test_a_pooled_connection_whose_body_never_ends_is_given_up(serve: Serve, connect: Connect) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo}, never_closes=True)
    channel = connect(server)
    assert await channel.unary("/x.Svc/Echo", Raw(b"1"), Raw, deadline=5) == Raw(b"1")
    assert channel.connections == 1
    await until(lambda: channel.connections == 0)
    await until(lambda: not server.peers)


@pytest_twisted.ensureDeferred
async def test_trap_3_a_streamed_post_asks_for_the_connection_to_be_closed(serve: Serve, connect: Connect) -> None:
    """Else Go throws away what it has not read of the body when the handler writes first."""
    server = await serve({"/x.Svc/Progress": handlers.progress})
    channel = connect(server)
    for _ in range(2):
        stream = channel.stream("/x.Svc/Progress", Raw, deadline=5)
        stream.requests.send(Raw(b"12345"))
        # The answer is read while the request is still open.
        assert await stream.responses.receive() == Raw(b"5")
        stream.requests.send(Raw(b"678"))
        assert await stream.responses.receive() == Raw(b"8")
        stream.requests.finish()
        assert await stream.responses.receive() is None
    heads = [dict(call.peer.requests[0].headers) for call in server.calls]
    assert [head[b"connection"] for head in heads] == [b"close", b"close"]
    assert [head[b"transfer-encoding"] for head in heads] == [b"chunked", b"chunked"]
    assert server.accepted == 2


@pytest_twisted.ensureDeferred
async def test_trap_3_metadata_goes_into_the_first_websocket_message_only(serve: Serve, connect: Connect) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo})
    channel = connect(server, transport=Transport.WEBSOCKET)
    await channel.unary("/x.Svc/Echo", Raw(), Raw, deadline=5, metadata={"x-key": "secret"})
    call = server.calls[0]
    assert call.metadata["x-key"] == "secret"
    assert b"secret" not in call.peer.handshake


@pytest.mark.parametrize(
    ("status_line", "headers", "body", "match", "http_status"),
    [
        ("HTTP/1.1 502 Bad Gateway", ["Content-Type: text/html"], b"<html>no", "HTTP status 502", 502),
        ("HTTP/1.1 404 Not Found", [], b"", "HTTP status 404", 404),
        ("HTTP/1.1 302 Found", ["Location: http://127.0.0.1:1/"], b"", "HTTP status 302", 302),
        ("HTTP/1.1 200 OK", ["Content-Type: text/html"], b"<html>hello", "content type", None),
        ("HTTP/1.1 200 OK", ["Content-Type: application/grpc-web+proto"], b"<html>", "framing", None),
        ("HTTP/1.1 200 OK", ["Content-Type: application/grpc-web-text"], b"<html>..", "base64", None),
    ],
)
@pytest.mark.parametrize("streaming", [False, True], ids=["pooled", "duplex"])
@pytest_twisted.ensureDeferred
async def test_trap_1_what_is_no_grpc_web_is_no_answer(
    status_line: str,
    headers: list[str],
    body: bytes,
    match: str,
    http_status: int | None,
    streaming: bool,
    connect: Connect,
) -> None:
    response = {
        "statusLine": status_line,
        "headers": [*headers, "Transfer-Encoding: chunked"],
        "bodyHex": body.hex(),
    }
    async with playing(PostPlayer(response, 4096)) as url:
        stream = _call(connect(url), streaming)
        with pytest.raises(UnexpectedAnswer, match=match) as caught:
            await stream.responses.receive()
    assert caught.value.http_status == http_status


@pytest.mark.parametrize("streaming", [False, True], ids=["pooled", "duplex"])
@pytest_twisted.ensureDeferred
async def test_trap_1_http_200_with_an_empty_body_is_no_answer(streaming: bool, connect: Connect) -> None:
    response = {"statusLine": "HTTP/1.1 200 OK", "headers": ["Transfer-Encoding: chunked"], "bodyHex": ""}
    async with playing(PostPlayer(response, 4096)) as url:
        with pytest.raises(ConnectionBroken, match="without a gRPC status"):
            await _call(connect(url), streaming).responses.receive()


@pytest.mark.parametrize("streaming", [False, True], ids=["pooled", "duplex"])
@pytest_twisted.ensureDeferred
async def test_trap_1_a_body_cut_off_inside_a_message(streaming: bool, connect: Connect) -> None:
    class Cut(Protocol):
        def dataReceived(self, data: bytes) -> None:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: 99\r\n\r\n"
            transport: Any = self.transport
            transport.write(head + bytes.fromhex("00000000030a0141 0000000003 0a"))
            transport.loseConnection()

    async with playing(Cut()) as url:
        stream = _call(connect(url), streaming)
        assert await stream.responses.receive() == Raw(bytes.fromhex("0a0141"))
        with pytest.raises(ConnectionBroken):
            await stream.responses.receive()


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"no http at all\r\n\r\n", b""])
@pytest_twisted.ensureDeferred
async def test_a_server_without_websockets(reply: bytes, connect: Connect) -> None:
    class Other(Protocol):
        def dataReceived(self, data: bytes) -> None:
            transport: Any = self.transport
            transport.write(reply)
            transport.loseConnection()

    async with playing(Other()) as url:
        channel = connect(url, transport=Transport.WEBSOCKET)
        with pytest.raises(ConnectionBroken) as caught:
            await channel.unary("/x.Svc/Echo", Raw(), Raw, deadline=5)
    if reply:
        assert isinstance(caught.value, UnexpectedAnswer)


@pytest_twisted.ensureDeferred
async def test_the_answer_is_not_lost_when_nobody_takes_it_before_the_end(
    serve: Serve, connect: Connect, transport: Transport
) -> None:
    server = await serve({"/x.Svc/Numbers": handlers.numbers}, old=True)
    stream = connect(server, transport=transport).server_stream("/x.Svc/Numbers", Raw(b"3000"), Raw, deadline=5)
    await until(lambda: server.calls and server.calls[0].finished)
    await deferLater(reactor, 0.2, lambda: None)
    assert [int(message.data) async for message in stream.responses] == list(range(3000))


def _call(channel: Any, streaming: bool) -> Any:
    if not streaming:
        return channel.server_stream("/x.Svc/Echo", Raw(b"1"), Raw, deadline=5)
    stream = channel.stream("/x.Svc/Echo", Raw, deadline=5)
    stream.requests.send(Raw(b"1"))
    stream.requests.finish()
    return stream
