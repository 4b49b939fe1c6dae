"""gRPC-Web over a websocket, as the improbable wrapper does it on the server.

See docs/protocols/grpc-web.md, "Websocket".
"""

from typing import TYPE_CHECKING, Any

import h11
from twisted.internet.defer import Deferred
from wsproto.connection import Connection as WebsocketConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from .call import UNAVAILABLE, Call, RpcError
from .wire import TRAILERS, header_lines, prefix, status_fields

if TYPE_CHECKING:
    from .connection import Connection

FINISH = b"\x01"
CLOSE_WAIT = 5.0
"""Seconds that the new wrapper's library waits for the client's close frame."""


class WebsocketExchange:
    """One websocket, which is one call."""

    def __init__(self, connection: "Connection", request: h11.Request) -> None:
        self._connection = connection
        self._link = connection.link
        self._old = connection.front.wrapper.old_websocket
        self._path = request.target.decode("latin-1").partition("?")[0]
        self._handshake = H11Handshake(ConnectionType.SERVER)
        self._handshake.initiate_upgrade_connection(list(request.headers), request.target)
        self._websocket: WebsocketConnection
        self._message = bytearray()
        self._is_text = False
        self._reply_type = ""
        self._headers_sent = False
        self._deaf = False
        self._closing: Any = None
        self.call: Call | None = None

    def accept(self, trailing: bytes) -> None:
        """Agree to the upgrade, and read what came behind it."""
        extensions: list[Extension] = []
        if self._connection.front.wrapper.compresses:
            deflate = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
            extensions.append(deflate)
        accept = AcceptConnection(subprotocol="grpc-websockets", extensions=extensions)
        self._link.write(self._handshake.send(accept))
        assert self._handshake.connection is not None
        self._websocket = self._handshake.connection
        if trailing:
            self.data_received(trailing)

    # From the client.

    def data_received(self, data: bytes) -> None:
        """Take bytes off the wire."""
        if self._deaf or self._websocket.state is ConnectionState.CLOSED:
            return
        self._websocket.receive_data(data)
        try:
            for event in self._websocket.events():
                if isinstance(event, BytesMessage | TextMessage):
                    self._piece(event)
                elif isinstance(event, Ping):
                    self._link.write(self._websocket.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self._closed_by_client(event)
                if self._deaf:
                    return
        except RemoteProtocolError:
            self._link.close()
            self._cancel()

    def _piece(self, event: "BytesMessage | TextMessage") -> None:
        if self._websocket.state is not ConnectionState.OPEN:
            return
        data = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
        self._message += data
        self._is_text = isinstance(event, TextMessage)
        limit = None if self._old else self._connection.front.limits.websocket_message
        if limit is not None and len(self._message) > limit:
            # Closed first: the call, once cancelled, has nobody to send its status to.
            self._close(1009, f"read limited at {limit + 1} bytes")
            self._cancel()
        elif event.message_finished:
            message, self._message = bytes(self._message), bytearray()
            self._whole_message(message)

    def _whole_message(self, message: bytes) -> None:
        if not self._reply_type:
            self._metadata_received(message)
        elif self.call is None:
            return
        elif self._is_text:
            self.call.fail(RpcError(UNAVAILABLE, "websocket frame was not a binary frame"))
        elif message == FINISH:
            self.call.ended()
            if self._old:
                self._stop_reading()
        elif not message:
            self.call.fail(RpcError(UNAVAILABLE, "invalid websocket frame"))
        else:
            # The wrapper does not look at the first byte of a longer message.
            self.call.data_received(message[1:])

    def _metadata_received(self, message: bytes) -> None:
        metadata = None if self._is_text else parse_metadata(message)
        if metadata is None:
            self._abandon()
            return
        content_type = metadata.get("content-type", "")
        if not content_type.startswith("application/grpc-web"):
            self._block({"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"})
            self._send(b"invalid gRPC request content-type\n")
            self._abandon()
            return
        self._reply_type = content_type.replace("application/grpc-web", "application/grpc")
        dispatcher = self._connection.front.dispatcher
        self.call = dispatcher.begin(self._path, metadata, "websocket", self)
        self._link.watch(self.call.plan)
        dispatcher.run(self.call)

    def _abandon(self) -> None:
        """Neither answer nor close, as the wrapper does where it cannot make sense of the first message."""
        self._stop_reading()

    def _stop_reading(self) -> None:
        self._deaf = True
        if not self._link.closing:
            self._link.stop_reading()

    def _closed_by_client(self, event: CloseConnection) -> None:
        if self._websocket.state is ConnectionState.REMOTE_CLOSING:
            self._link.write(self._websocket.send(event.response()))
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._cancel()
        self._link.close()

    def _cancel(self) -> None:
        if self.call is not None:
            self.call.cancel()

    # To the client: the responder of the call.

    def message(self, payload: bytes) -> None:
        """Send one message, its prefix and its payload as two websocket messages, even an empty payload."""
        if not self._headers_sent:
            self._headers_sent = True
            trailers = ("Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin")
            head = header_lines({"Content-Type": self._reply_type})
            self._raw_block(head + b"".join(header_lines({"Trailer": name}) for name in trailers))
        self._send(prefix(len(payload)))
        self._send(payload)

    def finish(self, code: int, text: str) -> None:
        """Send the status, and close in the generation's way."""
        if self._headers_sent:
            self._block(status_fields(code, text))
        else:
            self._block({"content-type": self._reply_type, **status_fields(code, text)})
        self._end()

    def end_without_status(self) -> None:
        """Close with no status sent."""
        self._end()

    def writable(self) -> "Deferred[None] | None":
        """None, or what to wait for."""
        return self._link.writable()

    def _block(self, fields: dict[str, str]) -> None:
        self._raw_block(header_lines(fields))

    def _raw_block(self, block: bytes) -> None:
        self._send(prefix(len(block), TRAILERS))
        self._send(block)

    def _send(self, data: bytes) -> None:
        if self._websocket.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._link.write(self._websocket.send(BytesMessage(data)))

    def _end(self) -> None:
        if self._old:
            # The real one closes at once, but takes longer to answer: what the client still sends (a finish, more
            # content) would reset the connection here far more often than there, and take the answer with it.
            self._link.close_gently()
        else:
            self._close(1000, "request body closed")

    def _close(self, code: int, reason: str) -> None:
        if self._websocket.state is ConnectionState.OPEN:
            self._link.write(self._websocket.send(CloseConnection(code, reason)))
            self._closing = self._connection.front.clock.callLater(CLOSE_WAIT, self._link.close)

    def connection_lost(self) -> None:
        """The connection is gone."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()


def parse_metadata(message: bytes) -> dict[str, str] | None:
    """Read the first message as header lines, or give None where the wrapper's parser fails."""
    metadata: dict[str, str] = {}
    for line in message.decode("latin-1").split("\n"):
        line = line.removesuffix("\r")
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        name = name.lower()
        value = value.strip()
        metadata[name] = value if name not in metadata else f"{metadata[name]}, {value}"
    return metadata
