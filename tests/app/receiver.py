"""A receiver of webhooks."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.daemon_process import free_port


class Receiver:
    """Keeps what it is sent, and answers as it is told: ``status`` for all, 0 for never."""

    def __init__(self, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.status = 200
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refused = 0
        self.asked = 0
        """How many requests there were, answered or not."""
        self._release = threading.Event()
        self._came = threading.Condition()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?key=s3cret"

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has taken, in order."""
        return [event for body in self.bodies for event in json.loads(body)["events"]]

    def start(self) -> "Receiver":
        """Listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._take(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Be gone."""
        self._release.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def wait(self, wanted: Any, seconds: float = 20.0) -> None:
        """Wait until ``wanted(self)`` is true."""
        with self._came:
            assert self._came.wait_for(lambda: wanted(self), seconds), [self.events, self.refused]

    def _take(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._came:
            self.asked += 1
            self._came.notify_all()
        if self.status == 0:
            self._release.wait(30)
            return
        with self._came:
            if self.status == 200:
                self.bodies.append(body)
                self.headers.append(dict(handler.headers))
            else:
                self.refused += 1
            self._came.notify_all()
        handler.send_response(self.status)
        handler.send_header("Content-Length", "2")
        handler.send_header("Set-Cookie", "a=b")
        handler.end_headers()
        handler.wfile.write(b"ok")
