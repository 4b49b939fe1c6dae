"""Requests to servers, each bounded in time, and answers whose bodies are read as far as they are wanted."""

import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from .address import origin_of
from .connection import BadAnswer, Connection, Ended, Incoming, Response, encode_head
from .endpoints import Endpoints
from .errors import Unintelligible, Unreachable, Untrustworthy, printable

CONNECT_SECONDS = 15.0

DOCUMENT_SECONDS = 60.0
"""How long a document may be on its way, from its headers to its end."""

STALL_SECONDS = 60.0
"""A blob that does not bring `STALL_BYTES` in this time, while they are wanted, is given up."""

STALL_BYTES = 16 * 1024

_IDLE_SECONDS = 20  # for which a connection is kept for the next request; servers close theirs after a minute or so
_DRAINED = 64 * 1024  # bytes of an unwanted body that are read so that the connection can be used again

_SAFE = frozenset({"GET", "HEAD"})
_NO_TLS = {"wrong version number", "packet length too long", "http request", "record layer failure"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent with a request: ``length`` bytes, in memory or as they come."""

    content: bytes | AsyncGenerator[bytes, None]
    length: int

    @classmethod
    def of(cls, content: bytes) -> "Body":
        """One that is in memory."""
        return cls(content, len(content))


@dataclass(slots=True)
class _Server:
    """A server at a ``place``, as in ``https://registry.example``, and its connections that wait for a request, each
    with the time since when it does."""

    place: str
    host: str
    endpoint: IStreamClientEndpoint
    idle: list[tuple[Connection, float]] = field(default_factory=list)


class Transport:
    """Connections that are used again: at most ``connections`` to a server wait for that. ``name`` is the registry's,
    for messages.

    ``authorities`` is a PEM file: only what it has is trusted for https then. With a ``socket``, the name of one on
    this machine, every request goes there, whatever its URL says.
    """

    def __init__(
        self, reactor: Any, name: str, connections: int, *, authorities: Path | None = None, socket: str | None = None
    ) -> None:
        self.reactor = reactor
        self.name = name
        self._most = connections
        self._endpoints = Endpoints(reactor, CONNECT_SECONDS, authorities=authorities, socket=socket)
        self._servers: dict[str, _Server] = {}
        self._closed = False
        self._sweeping: Any = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, seconds: float
    ) -> "Answer":
        """Send a request; returns when the headers of the answer are there, within ``seconds`` after the last byte.

        :raises Unreachable: where there is no answer. :raises Untrustworthy: where a URL or header cannot be sent, or
            the server says that all is well before it had the whole body.
        :raises Exception: what the body's iterator fails with.
        """
        try:
            server, target = self._find(url)
            length = {} if body is None else {"Content-Length": str(body.length)}
            head = encode_head(method, target, {"Host": server.host, **headers, **length})
        except ValueError as error:  # a part of it is of a server's making
            raise Untrustworthy(f"{self.name}: {error}") from None
        failures: list[Exception] = []
        watch = _Watch(self.reactor, seconds, lambda: asked.cancel())
        content: bytes | AsyncGenerator[bytes, None] = b""
        if body is not None:
            content = body.content
            if not isinstance(content, bytes):
                content = _watched(content, body.length, watch, failures)
        asked = Deferred.fromCoroutine(self._ask(server, head, content, again=method in _SAFE))
        try:
            response = await asked
        except BaseException as error:
            if failures:
                raise failures[0] from None
            if watch.ended:
                raise Unreachable(f"{self.name} does not answer") from None
            if not isinstance(error, Exception) or isinstance(error, CancelledError):
                raise
            raise self._unreachable(error) from None
        finally:
            watch.stop()
        if 200 <= response.status < 300 and body and not isinstance(content, bytes) and watch.sent < body.length:
            response.body.stop()
            raise Untrustworthy(f"{self.name} says that it took what was sent before it had all of it")
        return Answer(self, response, url)

    async def _ask(
        self, server: _Server, head: bytes, content: bytes | AsyncGenerator[bytes, None], *, again: bool
    ) -> Response:
        while True:
            connection = self._take_idle(server)
            is_new = connection is None
            if connection is None:
                connection = await self._connect(server)
            try:
                return await connection.ask(head, content)
            except Ended as error:  # a server may close what waits at any time
                if is_new or not error.unanswered or not again:
                    raise

    def _find(self, url: str) -> tuple[_Server, str]:
        """The server that a URL leads to, and what to ask it for. :raises ValueError: where it leads nowhere."""
        scheme, _, rest = url.partition("://")
        place, slash, path = rest.partition("/")
        server = self._servers.get(f"{scheme}://{place}")
        if server is not None and slash and "#" not in path:
            return server, f"/{path}"
        parts, origin = urlsplit(url), origin_of(url)
        if origin is None:
            raise ValueError("a URL that is none of http")
        place = f"{parts.scheme}://{parts.netloc}"
        server = self._servers.get(place)
        if server is None:
            server = _Server(place, parts.netloc.rpartition("@")[2], self._endpoints.of(origin))
            self._servers[place] = server
            self._sweep_later()  # one that closes each connection is forgotten too
        return server, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"

    def _take_idle(self, server: _Server) -> Connection | None:
        while server.idle:
            connection, _ = server.idle.pop()
            if not connection.lost.called:
                return connection
        return None

    async def _connect(self, server: _Server) -> Connection:
        def free(connection: Connection) -> None:
            known = self._servers.setdefault(server.place, server)
            if self._closed or len(server.idle) >= self._most or known is not server:
                connection.abort()
                return
            server.idle.append((connection, self.reactor.seconds()))
            self._sweep_later()

        factory = Factory.forProtocol(lambda: Connection(free))
        factory.noisy = False
        return cast(Connection, await server.endpoint.connect(factory))

    def _sweep_later(self) -> None:
        if self._sweeping is None and not self._closed:
            self._sweeping = self.reactor.callLater(_IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what waits for long: a registry may lead to a host of its own for every blob."""
        self._sweeping = None
        latest = self.reactor.seconds() - _IDLE_SECONDS
        for server in self._servers.values():
            for connection, since in server.idle:
                if since <= latest:
                    connection.abort()
            server.idle = [each for each in server.idle if each[1] > latest]
        self._servers = {place: server for place, server in self._servers.items() if server.idle}
        if self._servers:
            self._sweep_later()

    async def within(self, seconds: float, work: Coroutine[Any, Any, T], late: str) -> T:
        """What the work answers, which is cancelled after that many seconds. :raises Unreachable: then."""
        working = Deferred.fromCoroutine(work)
        watch = _Watch(self.reactor, seconds, working.cancel)
        try:
            return await working
        except CancelledError:
            if not watch.ended:
                raise
            raise Unreachable(f"{self.name} {late}") from None
        finally:
            watch.stop()

    async def close(self) -> None:
        """Close the connections that are not in use."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for server in self._servers.values():
            while server.idle:
                connection, _ = server.idle.pop()
                connection.abort()
                await connection.lost

    def _unreachable(self, error: Exception) -> Unreachable:
        reasons = getattr(error, "reasons", None)
        if reasons:
            error = reasons[0].value
        if isinstance(error, DNSLookupError):
            return Unreachable(f"{self.name}: there is no host of that name")
        if isinstance(error, ConnectError) and not isinstance(error, ConnectingCancelledError):
            why = os.strerror(error.osError) if error.osError else printable(str(error))
            return Unreachable(f"{self.name} cannot be reached: {why}")
        if type(error).__name__ == "VerificationError":  # service_identity's: it is trusted, but for other names
            return Unreachable(f"{self.name} shows a certificate that is not for this name")
        if isinstance(error, BadAnswer):
            return Unintelligible(f"{self.name} sends what is no answer of HTTP: {error}")
        text = printable(_reason(error)) or type(error).__name__
        if "certificate" in text:
            return Unreachable(f"{self.name} shows a certificate that is not trusted (--ca FILE says who is): {text}")
        if text in _NO_TLS:
            return Unreachable(f"{self.name} does not speak TLS there; http is meant by http:// before its name")
        return Unreachable(f"{self.name} ended before its answer did: {text}")


def _reason(error: Exception) -> str:
    """What an error says; OpenSSL's have lists of tuples of which the last element is for people."""
    match error.args:
        case ([(*_, reason), *_],):
            return str(reason)
    return str(error)


class Answer:
    """What a registry answered. Its body is to be read, or dropped."""

    def __init__(self, transport: Transport, response: Response, url: str) -> None:
        self.url = url
        self.status = response.status
        self._transport = transport
        self._headers = response.headers
        self._body = response.body

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        values = self._headers.get(name.lower().encode())
        return values[0].decode("latin-1") if values else None

    def headers(self, name: str) -> list[str]:
        """All values of a header."""
        return [each.decode("latin-1") for each in self._headers.get(name.lower().encode(), ())]

    @property
    def length(self) -> int | None:
        """The body's length in bytes as the headers have it; for HEAD, that of what GET would answer."""
        value = self.header("Content-Length")
        return int(value) if value and value.isascii() and value.isdecimal() and len(value) < 20 else None

    async def content(self, limit: int) -> bytes:
        """All of the body.

        :raises Untrustworthy: where it is longer than ``limit`` bytes. :raises Unreachable: where it does not end.
        """
        if self._body.is_whole:
            return await self._collect(limit)
        late = "does not come to the end of its answer"
        return await self._transport.within(DOCUMENT_SECONDS, self._collect(limit), late)

    async def _collect(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        length = 0
        async with aclosing(self.pieces()) as body:
            async for piece in body:
                length += len(piece)
                if length > limit:
                    raise Untrustworthy(f"{self._transport.name} answers more than {limit} bytes where few are meant")
                pieces.append(piece)
        return b"".join(pieces)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. To close the iterator is to want no more.

        :raises Unreachable: where it is cut short, or stalls.
        """
        body, name = self._body, self._transport.name
        stall = None
        if not body.is_whole:
            stall = _Stall(self._transport.reactor, body, Unreachable(f"{name} sends no more"))
        try:
            async for piece in body:
                yield piece
        except (Ended, BadAnswer):
            raise Unreachable(f"{name} ended in the middle of its answer") from None
        finally:
            if stall is not None:
                stall.stop()
            body.stop()

    async def drop(self) -> None:
        """The body is not wanted: read what is short, so that the connection can be used again."""
        if self._body.is_whole:
            return
        try:
            await self.content(_DRAINED)
        except (Unreachable, Untrustworthy):
            return


class _Stall:
    """Fails a body that does not move while somebody wants it to."""

    def __init__(self, reactor: Any, body: Incoming, error: Exception) -> None:
        self._reactor = reactor
        self._body = body
        self._error = error
        self._seen = body.came
        self._look = reactor.callLater(STALL_SECONDS, self._moves)

    def stop(self) -> None:
        """Nobody wants it any more."""
        if self._look.active():
            self._look.cancel()

    def _moves(self) -> None:
        if not self._body.is_full and self._body.came - self._seen < STALL_BYTES:
            self._body.end(Failure(self._error))
            return
        self._seen = self._body.came
        self._look = self._reactor.callLater(STALL_SECONDS, self._moves)


async def _watched(
    pieces: AsyncGenerator[bytes, None], length: int, watch: "_Watch", failures: list[Exception]
) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                watch.moved(len(piece))
                length -= len(piece)
                yield piece
        if length:
            raise Untrustworthy("what is to be sent is not as long as it was said to be")
    except Exception as error:
        failures.append(error)
        raise


class _Watch:
    """Calls ``late`` when nothing moved for so many seconds."""

    def __init__(self, reactor: Any, seconds: float, late: Callable[[], object]) -> None:
        self.ended = False
        self.sent = 0
        self._late = late
        self._seconds = seconds
        self._call = reactor.callLater(seconds, self._end)

    def moved(self, amount: int) -> None:
        """So many bytes did."""
        self.sent += amount
        if self._call.active():
            self._call.reset(self._seconds)

    def stop(self) -> None:
        """It came in time."""
        if self._call.active():
            self._call.cancel()

    def _end(self) -> None:
        self.ended = True
        self._late()
