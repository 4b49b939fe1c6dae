"""Requests over Twisted's Agent, each bounded in time, and answers whose bodies are read as far as they are wanted.

An Agent without treq's client around it, which would keep cookies, follow redirects with the headers of the first
request, and unpack what a blob's digest is of.
"""

import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ipfsreg.flow.http.pool import BoundedPool
from ipfsreg.flow.streams import Pieces, PiecesBody

from .endpoints import Endpoints
from .errors import Unreachable, Untrustworthy, printable

CONNECT_SECONDS = 15.0

DOCUMENT_SECONDS = 60.0
"""How long a document may be on its way, from its headers to its end."""

STALL_SECONDS = 60.0
"""A blob that does not bring `STALL_BYTES` in this time, while they are wanted, is given up."""

STALL_BYTES = 16 * 1024

_IDLE_SECONDS = 20  # for which a connection is kept for the next request; servers close theirs after a minute or so
_DRAINED = 64 * 1024  # bytes of an unwanted body that are read so that the connection can be used again

_NO_TLS = {"wrong version number", "packet length too long", "http request", "record layer failure"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent with a request: ``length`` bytes."""

    pieces: AsyncGenerator[bytes, None]
    length: int

    @classmethod
    def of(cls, content: bytes) -> "Body":
        """One that is in memory."""

        async def pieces() -> AsyncGenerator[bytes, None]:
            if content:
                yield content

        return cls(pieces(), len(content))


class Transport:
    """Connections that are used again. ``name`` is the registry's, for messages.

    ``authorities`` is a PEM file: only what it has is trusted for https then. With a ``socket``, the name of one on
    this machine, every request goes there, whatever its URL says.
    """

    def __init__(
        self, reactor: Any, name: str, connections: int, *, authorities: Path | None = None, socket: str | None = None
    ) -> None:
        self.reactor = reactor
        self.name = name
        self._pool = BoundedPool(reactor)
        self._pool.maxPersistentPerHost = connections
        self._pool.cachedConnectionTimeout = _IDLE_SECONDS
        endpoints = Endpoints(reactor, CONNECT_SECONDS, authorities=authorities, socket=socket)
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, seconds: float
    ) -> "Answer":
        """Send a request; returns when the headers of the answer are there, within ``seconds`` after the last byte.

        :raises Unreachable: where there is no answer.
        :raises Exception: what the body's iterator fails with.
        """
        fields = Headers({name: [value] for name, value in headers.items()})
        failures: list[Exception] = []
        watch = _Watch(self.reactor, seconds, lambda: asked.cancel())
        sent = None if body is None else PiecesBody(_watched(body.pieces, watch, failures), body.length)
        asked: Deferred[IResponse] = self._agent.request(method.encode(), url.encode("ascii"), fields, sent)
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
            if sent is not None:
                sent.stopProducing()  # an answer that came early leaves it waiting
        return Answer(self, response, url)

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
        await self._pool.closeCachedConnections()

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

    def __init__(self, transport: Transport, response: IResponse, url: str) -> None:
        self.url = url
        self.status: int = response.code
        self._transport = transport
        self._response = response

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        values = self._response.headers.getRawHeaders(name)
        return values[0] if values else None

    def headers(self, name: str) -> list[str]:
        """All values of a header."""
        return list(self._response.headers.getRawHeaders(name) or ())

    @property
    def length(self) -> int | None:
        """The body's length in bytes as the headers have it; for HEAD, that of what GET would answer."""
        length = self._response.length
        value = self.header("Content-Length")
        if value is not None:
            return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else None
        return length if isinstance(length, int) else None

    async def content(self, limit: int) -> bytes:
        """All of the body.

        :raises Untrustworthy: where it is longer than ``limit`` bytes. :raises Unreachable: where it does not end.
        """
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
        receiver = _Receiver(self._transport)
        self._response.deliverBody(receiver)
        try:
            async for piece in receiver.arrived:
                yield piece
        finally:
            receiver.stopProducing()

    async def drop(self) -> None:
        """The body is not wanted: read what is short, so that the connection can be used again."""
        try:
            await self.content(_DRAINED)
        except (Unreachable, Untrustworthy):
            return


@implementer(IPushProducer)
class _Receiver(Protocol):
    """Takes a body in, and sees that it moves while somebody wants it to."""

    def __init__(self, transport: Transport) -> None:
        self.arrived = Pieces()
        self._name = transport.name
        self._paused = False
        self._done = False
        self._length = 0
        self._seen = 0
        self._reactor = transport.reactor
        self._look: Any = None

    def connectionMade(self) -> None:
        self.arrived.registerProducer(self, True)
        self._look = self._reactor.callLater(STALL_SECONDS, self._moves)

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        self.arrived.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        whole = reason.check(ResponseDone, PotentialDataLoss)
        self._end(None if whole else Failure(Unreachable(f"{self._name} ended in the middle of its answer")))

    def pauseProducing(self) -> None:
        self._paused = True
        self._below().pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        self._below().resumeProducing()

    def stopProducing(self) -> None:
        if not self._done:
            self._end(None)
            self._below().stopProducing()

    def _below(self) -> IPushProducer:
        return cast(IPushProducer, self.transport)

    def _moves(self) -> None:
        if not self._paused and self._length - self._seen < STALL_BYTES:
            self._end(Failure(Unreachable(f"{self._name} sends no more")))
            self._below().stopProducing()
            return
        self._seen = self._length
        self._look = self._reactor.callLater(STALL_SECONDS, self._moves)

    def _end(self, result: Failure | None) -> None:
        if self._done:
            return
        self._done = True
        if self._look is not None and self._look.active():
            self._look.cancel()
        self.arrived.unregisterProducer()
        self.arrived.end(result)


async def _watched(
    pieces: AsyncGenerator[bytes, None], watch: "_Watch", failures: list[Exception]
) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                watch.moved()
                yield piece
    except Exception as error:
        failures.append(error)
        raise


class _Watch:
    """Calls ``late`` when nothing moved for so many seconds."""

    def __init__(self, reactor: Any, seconds: float, late: Callable[[], object]) -> None:
        self.ended = False
        self._late = late
        self._seconds = seconds
        self._call = reactor.callLater(seconds, self._end)

    def moved(self) -> None:
        """Something did."""
        if self._call.active():
            self._call.reset(self._seconds)

    def stop(self) -> None:
        """It came in time."""
        if self._call.active():
            self._call.cancel()

    def _end(self) -> None:
        self.ended = True
        self._late()
