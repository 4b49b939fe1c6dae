"""Servers that play the golden vectors: the bytes of the real Go wrapper, over a real socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request

from .server import until

CAPTURES = Path(__file__).parent / "captures"
VERSIONS = ("v0.13.0", "v0.14.1")


def vectors(version: str, transport: str) -> dict[str, dict[str, Any]]:
    document = json.loads((CAPTURES / f"server-go-grpcweb-{version}.json").read_text())
    return {name: vector for name, vector in document["vectors"].items() if vector["transport"] == transport}


class PostPlayer(Protocol):
    """Waits for a whole request, then writes the captured response.

    :param piece: write the body in chunks of so many bytes, each in a write of its own.
    """

    transport: Any

    def __init__(self, response: dict[str, Any], piece: int) -> None:
        self._response = response
        self._piece = piece
        self._received = b""
        self.head = b""
        self.body: bytes | None = None

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank or self.body is not None:
            return
        if b"transfer-encoding: chunked" in head.lower():
            if not rest.endswith(b"0\r\n\r\n"):
                return
            body, left = b"", rest
            while left:
                size, _, left = left.partition(b"\r\n")
                body, left = body + left[: int(size, 16)], left[int(size, 16) + 2 :]
        else:
            lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if len(rest) < int(lengths[0]):
                return
            body = rest
        self.head, self.body = head, body
        self._answer()

    def _answer(self) -> None:
        response = self._response
        lines = [response["statusLine"], *response["headers"], "", ""]
        self.transport.write("\r\n".join(lines).encode("latin-1"))
        if any(line.lower() == "transfer-encoding: chunked" for line in lines):
            body = bytes.fromhex(response["bodyHex"])
            for start in range(0, len(body), self._piece):
                part = body[start : start + self._piece]
                self.transport.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.transport.write(b"0\r\n\r\n")
        self.transport.loseConnection()


class WebSocketPlayer(Protocol):
    """Waits for the messages that the captured client sent, then sends what the wrapper sent.

    It ends as the wrapper did: with the captured close code, or for 1006 with nothing but the end of TCP. A
    vector of which it is known that the wrapper hangs is left hanging.
    """

    transport: Any

    def __init__(self, vector: dict[str, Any], hangs: bool) -> None:
        self._vector = vector
        self._hangs = hangs
        self._websocket = WSConnection(ConnectionType.SERVER)
        self._played = False
        self._partial = bytearray()
        self.path = ""
        self.messages: list[bytes] = []
        self.closed_by_client = False

    def dataReceived(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        for event in self._websocket.events():
            if isinstance(event, Request):
                assert event.subprotocols == ["grpc-websockets"]
                assert event.extensions == [], "compression was offered"
                self.path = event.target
                self.transport.write(self._websocket.send(AcceptConnection(subprotocol="grpc-websockets")))
            elif isinstance(event, BytesMessage):
                self._partial += event.data
                if event.message_finished:
                    self.messages.append(bytes(self._partial))
                    self._partial.clear()
            elif isinstance(event, CloseConnection):
                self.closed_by_client = True
        # A message of the vectors may come as two of the client's; so the end decides, where there is one.
        wanted = self._vector["clientFramesHex"]
        complete = b"\x01" in self.messages if wanted[-1] == "01" else len(self.messages) >= len(wanted)
        if complete and not self._played:
            self._played = True
            self._answer()

    def _answer(self) -> None:
        for frame in self._vector["serverFrames"]:
            message = BytesMessage(data=bytes.fromhex(frame["hex"]))
            self.transport.write(self._websocket.send(message))
        code, reason = self._vector["closeCodeSeenByClient"], self._vector["closeReason"]
        if self._hangs:
            return
        if code != 1006:
            self.transport.write(self._websocket.send(CloseConnection(code=code, reason=reason)))
        self.transport.loseConnection()


@asynccontextmanager
async def playing(player: Protocol) -> AsyncIterator[str]:
    """Listen with one protocol for one connection; gives the URL."""
    factory = Factory.forProtocol(lambda: player)
    factory.noisy = False
    reactor: Any = installed_reactor
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    try:
        yield f"http://127.0.0.1:{port.getHost().port}"
    finally:
        await port.stopListening()
        transport: Any = player.transport
        if transport is not None and transport.connected:
            transport.abortConnection()
            await until(lambda: not transport.connected)
