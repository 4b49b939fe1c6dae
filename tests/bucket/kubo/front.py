"""A front before a real node, in threads: it passes calls on, notes them, and misbehaves as a test wants.

What old nodes do not know is left out of what it passes on (docs/protocols/kubo.md, "Versions"), and as an IPFS
Cluster's proxy it answers some commands itself (docs/protocols/kubo.md, "IPFS Cluster").
"""

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from .node import KuboNode

PIECE = 64 * 1024


@dataclass
class Call:
    """A call that came. ``body`` is what came of the request's body, where it was kept."""

    command: str
    arguments: list[str]
    options: dict[str, str]
    headers: Mapping[str, str]


@dataclass
class Answer:
    """An answer of the front's own. ``cut`` closes the connection after the body, before its promised end."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


Hook = Callable[[Call], Answer | None]


def failure(message: str, status: int = 500) -> Answer:
    """What a node says of an error."""
    document = {"Message": message, "Code": 0, "Type": "error"}
    return Answer(status, json.dumps(document).encode() + b"\n", {"Content-Type": "application/json"})


class Front:
    """``hooks`` are asked for each command, or for all as ``*``; what they answer goes out instead of the node's."""

    def __init__(self, node: KuboNode) -> None:
        self.node = node
        self.calls: list[Call] = []
        self.hooks: dict[str, Hook] = {}
        self.unknown_options: set[str] = set()
        """Options that the node does not know: it takes no notice of them."""
        self.after: Callable[[Call, bytes], bytes] | None = None
        """Changes what the node answered to a short call."""
        self.truncate_stream: int | None = None
        """After so many bytes of a ``cat`` the stream ends, as if that were all."""
        self.body_read: int = 0
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                front._serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def commands(self) -> list[str]:
        """The commands that came, in order."""
        return [call.command for call in self.calls]

    def of(self, command: str) -> list[Call]:
        """The calls of one command."""
        return [call for call in self.calls if call.command == command]

    @contextmanager
    def running(self) -> Iterator["Front"]:
        """Listen for a block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = parse_qsl(parts.query, keep_blank_values=True)
        command = parts.path.removeprefix("/api/v0/")
        call = Call(
            command,
            [value for name, value in query if name == "arg"],
            {name: value for name, value in query if name != "arg"},
            dict(handler.headers.items()),
        )
        self.calls.append(call)
        for name in (command, "*"):
            hook = self.hooks.get(name)
            answer = None if hook is None else hook(call)
            if answer is not None:
                self._answer(handler, answer)
                return
        self._pass_on(handler, call)

    def _answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        handler.close_connection = True  # the request's body may not have been read
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Connection", "close")
        handler.send_header("Content-Length", str(len(answer.body) + answer.cut))
        handler.end_headers()
        handler.wfile.write(answer.body)
        handler.wfile.flush()

    def _pass_on(self, handler: BaseHTTPRequestHandler, call: Call) -> None:
        options = [(name, value) for name, value in call.options.items() if name not in self.unknown_options]
        query = urlencode([("arg", each) for each in call.arguments] + options)
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        headers = {
            name: value
            for name, value in call.headers.items()
            if name in {"Content-Type", "Authorization", "User-Agent"}
        }
        try:
            has_body = "Content-Type" in headers
            connection.request(
                "POST",
                f"/api/v0/{call.command}?{query}",
                self._body(handler) if has_body else b"",
                headers,
                encode_chunked=has_body,
            )
            self._relay(handler, call, connection.getresponse())
        except OSError:
            handler.close_connection = True
        finally:
            connection.close()

    def _body(self, handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
        if "chunked" in handler.headers.get("Transfer-Encoding", ""):
            while length := int(handler.rfile.readline().split(b";")[0], 16):
                self.body_read += length
                yield handler.rfile.read(length)
                handler.rfile.readline()
            handler.rfile.readline()
            return
        left = int(handler.headers.get("Content-Length", "0"))
        while left and (data := handler.rfile.read(min(PIECE, left))):
            left -= len(data)
            self.body_read += len(data)
            yield data

    def _relay(self, handler: BaseHTTPRequestHandler, call: Call, answer: http.client.HTTPResponse) -> None:
        kept = {"content-type", "x-content-length", "x-stream-output", "server"}
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() in kept:
                handler.send_header(name, value)
        if call.command == "cat":
            handler.close_connection = True
            handler.send_header("Connection", "close")
            handler.end_headers()
            left = self.truncate_stream if self.truncate_stream is not None else 1 << 62
            while left and (data := answer.read(min(PIECE, left))):
                left -= len(data)
                handler.wfile.write(data)
            return
        body = answer.read()
        if self.after is not None:
            body = self.after(call, body)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
