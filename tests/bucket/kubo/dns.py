"""A double of a DNS resolver: DNS over HTTPS (RFC 8484), without TLS, with the DNSLinks that a test gives it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from twisted.names import dns

MESSAGE_TYPE = "application/dns-message"


class Resolver:
    """Answers from ``links``, paths by domain, and says of every other name that there is none.

    ``broken`` makes it answer 500. ``asked`` counts the questions.
    """

    def __init__(self) -> None:
        self.links: dict[str, str] = {}
        self.broken = False
        self.asked = 0
        resolver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                resolver.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = b"" if resolver.broken else resolver._answer(body)
                self.send_response(500 if resolver.broken else 200)
                self.send_header("Content-Type", MESSAGE_TYPE)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def settings(self) -> dict[str, Any]:
        """What a node's configuration needs to ask this resolver about everything."""
        return {"DNS.Resolvers": {".": f"http://127.0.0.1:{self._server.server_address[1]}/dns-query"}}

    @contextmanager
    def running(self) -> Iterator["Resolver"]:
        """Listen for a block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _answer(self, question: bytes) -> bytes:
        asked = dns.Message()
        asked.fromStr(question)
        (query,) = asked.queries
        link = self.links.get(query.name.name.decode().removeprefix("_dnslink."))
        answer = dns.Message(asked.id, answer=1, recDes=1, recAv=1, rCode=dns.OK if link else dns.ENAME)
        answer.queries = asked.queries
        if link and query.type == dns.TXT and query.name.name.startswith(b"_dnslink."):
            record = dns.Record_TXT(f"dnslink={link}".encode(), ttl=0)
            answer.answers = [dns.RRHeader(query.name.name, dns.TXT, payload=record, ttl=0)]
        encoded: bytes = answer.toStr()
        return encoded
