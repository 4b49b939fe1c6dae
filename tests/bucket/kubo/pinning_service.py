"""A double of a remote pinning service: the Pinning Service API as an HTTP server that the real node talks to.

It does as the specification says, and fetches nothing: a test says what becomes of a pin. A real service is that of a
cluster (`real_cluster.py`), which differs in that it answers a new pin by 200, calls each request by its CID, so that
there is one of each, and names no delegates.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "a-key-that-only-the-node-knows"


class PinningService:
    """``pins`` are those that were asked for: name, CID and status by request."""

    def __init__(self) -> None:
        self.pins: dict[str, dict[str, Any]] = {}
        self.next_status = "queued"
        self._numbers = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                service._serve(self)

            do_GET = do_DELETE = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def states(self) -> dict[str, str]:
        """The status of each CID."""
        return {each["pin"]["cid"]: each["status"] for each in self.pins.values()}

    def become(self, status: str) -> None:
        """All pins get a status."""
        for each in self.pins.values():
            each["status"] = status

    @contextmanager
    def running(self) -> Iterator["PinningService"]:
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
        length = int(handler.headers.get("Content-Length", "0"))
        body = handler.rfile.read(length)
        if handler.headers.get("Authorization") != f"Bearer {KEY}":
            self._answer(handler, 401, {"error": {"reason": "UNAUTHORIZED"}})
            return
        parts = urlsplit(handler.path)
        identifier = parts.path.removeprefix("/pins").strip("/")
        if handler.command == "POST" and not identifier:
            self._answer(handler, 202, self._add(json.loads(body)))
        elif handler.command == "DELETE" and self.pins.pop(identifier, None) is not None:
            self._answer(handler, 202, None)
        elif handler.command == "GET" and not identifier:
            self._answer(handler, 200, self._list(parse_qs(parts.query)))
        elif handler.command == "GET" and identifier in self.pins:
            self._answer(handler, 200, self.pins[identifier])
        else:
            self._answer(handler, 404, {"error": {"reason": "NOT_FOUND"}})

    def _add(self, pin: dict[str, Any]) -> dict[str, Any]:
        self._numbers += 1
        made: dict[str, Any] = {
            "requestid": str(self._numbers),
            "status": self.next_status,
            "created": f"2026-01-01T00:00:{self._numbers:02}Z",
            "pin": pin,
            "delegates": ["/ip4/127.0.0.1/tcp/1/p2p/12D3KooWK29WAgRgf6rcpvFWRUCMPSEm4yUZ8hnajhCHAGprv5hY"],
        }
        self.pins[made["requestid"]] = made
        return made

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        wanted = query.get("status", ["pinned"])[0].split(",")
        cids = query["cid"][0].split(",") if "cid" in query else None
        name = query.get("name", [None])[0]
        found = [
            each
            for each in self.pins.values()
            if each["status"] in wanted
            and (cids is None or each["pin"]["cid"] in cids)
            and (name is None or each["pin"].get("name") == name)
        ]
        return {"count": len(found), "results": found}

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, document: object) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
