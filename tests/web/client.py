"""An HTTP client that does what a test says, byte by byte: what well-behaved libraries would never send."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import h11
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ipfsreg.web.http.wire import IWire

PATIENCE = 10.0
"""How many seconds a test waits for anything before it fails."""


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: dict[str, list[str]]
    content: bytes
    informational: tuple[int, ...] = ()
    """The statuses of the 1xx answers that came before."""

    def __getitem__(self, name: str) -> str:
        """The only value of a header."""
        (value,) = self.headers[name.lower()]
        return value

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.headers

    def json(self) -> Any:
        """The content, decoded."""
        return json.loads(self.content)

    @property
    def error(self) -> tuple[int, str]:
        """The status and the code of an OCI error document, which is checked to be one."""
        assert self["content-type"] == "application/json"
        assert int(self["content-length"]) == len(self.content)
        document = self.json()
        assert document.keys() == {"errors"}
        (error,) = document["errors"]
        assert {"code", "message"} <= error.keys() <= {"code", "message", "detail"}
        assert isinstance(error["message"], str)
        assert error["message"]
        return self.status, error["code"]


class Connection(Protocol):
    """One connection. What is sent is up to the test; what comes back is read by h11."""

    def __init__(self) -> None:
        self._methods: list[str] = []
        self._parser: h11.Connection | None = None
        self._received: list[bytes] = []
        self._waiting: Deferred[None] | None = None
        self._end: Failure | None = None

    @property
    def wire(self) -> IWire:
        """The transport."""
        return cast(IWire, self.transport)

    @property
    def is_closed(self) -> bool:
        """Whether the server closed it."""
        return self._end is not None

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self._received.append(data)
        self._wake()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """See `Protocol`."""
        self._end = reason
        self._wake()

    def send(self, data: bytes, method: str | None = None) -> None:
        """Send bytes as they are; ``method`` where they are (the last of) a request that will be answered."""
        if method is not None:
            self._methods.append(method)
        self.wire.write(data)

    def begin(
        self, method: str, target: str, headers: Mapping[str, object] | None = None, version: str = "1.1"
    ) -> None:
        """Send a request's line and headers, and no body."""
        lines = [f"{method} {target} HTTP/{version}"]
        if "Host" not in (headers or {}):
            lines.append("Host: registry.test")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"), method)

    async def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, object] | None = None,
        content: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """Send a request and wait for its answer. Content in pieces goes out with chunked transfer encoding."""
        headers = dict(headers or {})
        if isinstance(content, bytes):
            headers.setdefault("Content-Length", len(content))
            self.begin(method, target, headers)
            self.send(content)
        elif content is not None:
            self.begin(method, target, headers | {"Transfer-Encoding": "chunked"})
            for piece in content:
                self.send(chunk(piece))
            self.send(b"0\r\n\r\n")
        else:
            self.begin(method, target, headers)
        return await self.answer()

    async def answer(self, patience: float = PATIENCE) -> Answer:
        """The next answer.

        :raises ConnectionError: where the connection ends before it is whole.
        """
        parser = self._parser = self._parser or h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        if parser.our_state is h11.IDLE:
            # h11 has to believe that it sent the request, to know how the answer ends.
            method = self._methods.pop(0)
            parser.send(h11.Request(method=method, target="/", headers=[("Host", "registry.test")]))
            parser.send(h11.EndOfMessage())
        informational: list[int] = []
        content: list[bytes] = []
        status, headers = 0, {}
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                raise ConnectionError(str(error)) from None
            if event is h11.NEED_DATA:
                await self._feed(parser, patience)
            elif isinstance(event, h11.InformationalResponse):
                informational.append(event.status_code)
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, _by_name(event.headers)
            elif isinstance(event, h11.Data):
                content.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise ConnectionError("the connection ended before the answer was whole")
        if parser.our_state is h11.DONE and parser.their_state is h11.DONE:
            parser.start_next_cycle()
        return Answer(status, headers, b"".join(content), tuple(informational))

    async def read(self, patience: float = PATIENCE) -> bytes:
        """The bytes that came since the last time, as they are; at least one."""
        while not self._received and self._end is None:
            await self._more(patience)
        data = b"".join(self._received)
        self._received = []
        return data

    async def ended(self, patience: float = PATIENCE) -> float:
        """Wait until the server has closed the connection; answers how many seconds that took."""
        from twisted.internet import reactor

        begin = reactor.seconds()
        while self._end is None:
            self._received = []
            await self._more(patience)
        return float(reactor.seconds() - begin)

    def close(self) -> None:
        """Close it at once."""
        if self._end is None:
            self.wire.abortConnection()

    async def _feed(self, parser: h11.Connection, patience: float) -> None:
        if not self._received and self._end is None:
            await self._more(patience)
        if self._received:
            parser.receive_data(b"".join(self._received))
            self._received = []
        elif self._end is not None:
            parser.receive_data(b"")

    async def _more(self, patience: float) -> None:
        from twisted.internet import reactor

        self._waiting = Deferred()
        try:
            await self._waiting.addTimeout(patience, reactor)
        except TimeoutError:
            raise AssertionError(f"nothing came for {patience} s") from None

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


async def connect(endpoint: IStreamClientEndpoint) -> Connection:
    """Open a connection."""
    return cast(Connection, await endpoint.connect(Factory.forProtocol(Connection)))


def chunk(data: bytes) -> bytes:
    """A chunk of the chunked transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def query(target: str, **parameters: object) -> str:
    """A target with a query."""
    return f"{target}?{urlencode(parameters, doseq=True)}"


async def pause(seconds: float) -> None:
    """Let the server do something else meanwhile."""
    from twisted.internet import reactor

    await deferLater(reactor, seconds, lambda: None)


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"it did not become so within {patience} s"
        await pause(0.01)


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("ascii").lower(), []).append(value.decode("latin-1"))
    return found
