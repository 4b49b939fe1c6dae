"""A wire tap between a client and the daemon: forwards every byte and afterwards tells what was said.

It shows what no client prints reliably: that a mount was answered with 201, that a second push sent no layer.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import parse_qs, urlsplit

import h11

# The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
TLS_HANDSHAKE = b"\x16"
Head = TypeVar("Head", h11.Request, h11.Response)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    method: str
    target: str
    status: int
    sent: int
    """Bytes of the request's body."""
    received: int
    """Bytes of the answer's body."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of one given twice, the last."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}


class _Conversation:
    """One connection's bytes both ways."""

    def __init__(self) -> None:
        self.to_server = bytearray()
        self.to_client = bytearray()

    def exchanges(self) -> list[Exchange]:
        """The exchanges, which all have to be complete; none for a TLS hello, with which clients begin.

        :raises h11.RemoteProtocolError: if something was said that is no complete HTTP exchange.
        """
        found: list[Exchange] = []
        requests, answers = bytes(self.to_server), bytes(self.to_client)
        if requests.startswith(TLS_HANDSHAKE):
            return found
        while requests:
            asked, sent, requests = _read(h11.Connection(h11.SERVER), requests, h11.Request)
            client = h11.Connection(h11.CLIENT)
            # The answer's framing depends on the method alone.
            client.send(h11.Request(method=asked.method, target=asked.target, headers=[("host", "recorder")]))
            client.send(h11.EndOfMessage())
            answer, received, answers = _read(client, answers, h11.Response)
            exchange = Exchange(asked.method.decode(), asked.target.decode(), answer.status_code, sent, received)
            found.append(exchange)
        return found


def _read(connection: h11.Connection, data: bytes, kind: type[Head]) -> tuple[Head, int, bytes]:
    """The next message in `data`: its head, the length of its body and the bytes after it.

    :raises h11.RemoteProtocolError: if `data` is no HTTP or ends within the message.
    """
    connection.receive_data(data)
    connection.receive_data(b"")
    head: Head | None = None
    body = 0
    while True:
        event = connection.next_event()
        if isinstance(event, kind):
            head = event
        elif isinstance(event, h11.Data):
            body += len(event.data)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return head, body, connection.trailing_data[0]
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("no complete message")


class Recorder:
    """Listens on a port of 127.0.0.1 and forwards each connection to the daemon's port. A context manager."""

    def __init__(self, port: int) -> None:
        self._daemon = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._conversations: list[_Conversation] = []
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def host(self) -> str:
        """What image names start with to go through the recorder: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def exchanges(self, method: str | None = None, path: str = "") -> list[Exchange]:
        """What was said since the last `clear`, by connection: with this method and `path` in the path."""
        with self._lock:
            conversations = list(self._conversations)
        found = [exchange for conversation in conversations for exchange in conversation.exchanges()]
        return [e for e in found if method in (None, e.method) and path in e.path]

    def clear(self) -> None:
        """Forget what was said, on connections that are still open too."""
        with self._lock:
            self._conversations = []
            for open_socket in self._sockets:
                with contextlib.suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.clear()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                daemon = socket.create_connection(self._daemon, timeout=10)
            except OSError:
                client.close()
                continue
            daemon.settimeout(None)
            conversation = _Conversation()
            with self._lock:
                self._conversations.append(conversation)
                self._sockets |= {client, daemon}
            self._spawn(self._forward, client, daemon, conversation)

    def _forward(self, client: socket.socket, daemon: socket.socket, conversation: _Conversation) -> None:
        back = threading.Thread(target=_pump, args=(daemon, client, conversation.to_client), daemon=True)
        back.start()
        _pump(client, daemon, conversation.to_server)
        back.join()
        with self._lock:
            self._sockets -= {client, daemon}
        client.close()
        daemon.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def _pump(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    """Copy until one side has closed, then tell the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            record += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
