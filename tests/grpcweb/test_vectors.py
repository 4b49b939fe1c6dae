"""Replay of every golden vector of the real Go wrapper, both versions, through real sockets."""

from typing import Any

import pytest
import pytest_twisted

from ipfsreg.grpcweb.channel import Transport
from ipfsreg.grpcweb.errors import CallError, ConnectionBroken, GrpcError, UnexpectedAnswer
from ipfsreg.grpcweb.status import GrpcStatus

from .conftest import Connect
from .playback import VERSIONS, PostPlayer, WebSocketPlayer, playing, vectors
from .raw import Raw

ECHOED = Raw(bytes.fromhex("0a0141"))
UNKNOWN = (GrpcStatus.UNKNOWN, 'no link named "blobs" under bafy… 100% \r\n x')
STALE = (GrpcStatus.FAILED_PRECONDITION, "update is non-fast-forward")
BROKE = (GrpcStatus.UNKNOWN, "broke midway")
NOPE = (GrpcStatus.UNIMPLEMENTED, "unknown method /x.Svc/Nope")
TOO_LARGE = (
    GrpcStatus.RESOURCE_EXHAUSTED,
    "grpc: received message larger than max (4194305 vs. 4194304)",
)

# What each call comes to: the messages, then None for status OK, or code and text, or the class of failure.
POST_OUTCOMES: dict[str, tuple[list[Raw], Any]] = {
    "unary-ok": ([ECHOED], None),
    "error-trailers-only-unknown": ([], UNKNOWN),
    "error-trailers-only-failed-precondition": ([], STALE),
    "error-after-one-message": ([ECHOED], BROKE),
    "stream-with-no-messages-ok": ([], None),
    "unimplemented": ([], NOPE),
    "http-message-over-4MiB": ([], TOO_LARGE),
    "http-wrong-content-type": ([], ConnectionBroken),
}
WEBSOCKET_OUTCOMES: dict[str, tuple[list[Raw], Any]] = {
    "ws-unary-ok": ([ECHOED], None),
    "ws-error-trailers-only-unknown": ([], UNKNOWN),
    "ws-error-trailers-only-failed-precondition": ([], STALE),
    "ws-error-after-one-message": ([ECHOED], BROKE),
    "ws-stream-with-no-messages-ok": ([], None),
    "ws-error-before-client-finished": ([], STALE),
    "ws-push-two-chunks": ([Raw(b"done frames=2 bytes=12 sha=a948904f2f0f479b")], None),
    "ws-message-32768-ok": ([Raw(b"done frames=1 bytes=32762 sha=d4e0d00867ae3ba4")], None),
    "ws-headers-without-content-type-hangs": ([], UnexpectedAnswer),
}
REJECTED: dict[str, tuple[list[Raw], Any]] = {
    "v0.13.0": ([Raw(b"done frames=1 bytes=32763 sha=a3cb2e3a3518802e")], None),
    "v0.14.1": ([], ConnectionBroken),
}


def cases(transport: str) -> list[Any]:
    return [
        pytest.param(version, name, vector, id=f"{version}-{name}")
        for version in VERSIONS
        for name, vector in vectors(version, transport).items()
    ]


async def outcome_of(stream: Any) -> tuple[list[Raw], Any]:
    messages: list[Raw] = []
    try:
        async for message in stream.responses:
            messages.append(message)
    except GrpcError as error:
        return messages, (error.code, error.message)
    except CallError as error:
        return messages, type(error)
    return messages, None


@pytest.mark.parametrize("piece", [1, 7, 4096])
@pytest.mark.parametrize("streaming", [False, True], ids=["pooled", "duplex"])
@pytest.mark.parametrize(("version", "name", "vector"), cases("http"))
@pytest_twisted.ensureDeferred
async def test_post(
    version: str, name: str, vector: dict[str, Any], streaming: bool, piece: int, connect: Connect
) -> None:
    request, response = vector["request"], vector["response"]
    text = request["contentType"].endswith("text")
    known_body = not (text or request["bodyHex"].startswith("("))
    payload = bytes.fromhex(request["bodyHex"])[5:] if known_body else ECHOED.data
    player = PostPlayer(response, piece)
    async with playing(player) as url:
        channel = connect(url)
        if streaming:
            stream = channel.stream(request["path"], Raw, deadline=5)
            stream.requests.send(Raw(payload))
            stream.requests.finish()
        else:
            stream = channel.server_stream(request["path"], Raw(payload), Raw, deadline=5)
        outcome = await outcome_of(stream)

    key = name.removeprefix("http-binary-").removeprefix("http-text-")
    assert outcome == POST_OUTCOMES[key]
    head = player.head.decode().lower()
    assert head.startswith(f"post {request['path'].lower()} http/1.1\r\n")
    assert "\r\ncontent-type: application/grpc-web+proto" in head
    assert "\r\nx-grpc-web: 1" in head
    assert ("\r\nconnection: close" in head) == streaming
    if known_body:
        assert player.body is not None
        assert player.body.hex() == request["bodyHex"]


@pytest.mark.parametrize(("version", "name", "vector"), cases("websocket"))
@pytest_twisted.ensureDeferred
async def test_websocket(version: str, name: str, vector: dict[str, Any], connect: Connect) -> None:
    hangs = name == "ws-headers-without-content-type-hangs"
    player = WebSocketPlayer(vector, hangs)
    async with playing(player) as url:
        channel = connect(url, transport=Transport.WEBSOCKET)
        stream = channel.stream(vector["path"], Raw, deadline=5)
        frames = vector["clientFramesHex"]
        # The byte that says what follows, and gRPC's prefix, are the client's business; the payload is ours.
        for frame in frames[1:]:
            if frame == "01":
                stream.requests.finish()
            elif frame.startswith("("):
                size = int(frame.strip("()").split()[0])
                stream.requests.send(Raw(bytes(size - 6)))
            else:
                stream.requests.send(Raw(bytes.fromhex(frame)[6:]))
        outcome = await outcome_of(stream)

    expected = WEBSOCKET_OUTCOMES.get(name) or REJECTED[version]
    assert outcome == expected
    assert player.path == vector["path"]
    sent = [line for line in player.messages[0].decode("ascii").split("\r\n") if "grpc-timeout" not in line]
    if not hangs:
        assert "\r\n".join(sent) == vector["headersFrame"]
    if name == "ws-message-32769-rejected":  # which our client cannot be brought to: it sends two
        assert [len(message) for message in player.messages[1:]] == [9, 32768, 2, 1]
    else:
        sent_frames = [message.hex() for message in player.messages[1:]]
        large = [f"({len(message)} bytes)" for message in player.messages[1:]]
        assert len(sent_frames) == len(frames) - 1
        for frame, as_hex, as_size in zip(frames[1:], sent_frames, large, strict=True):
            assert frame in (as_hex, as_size)
