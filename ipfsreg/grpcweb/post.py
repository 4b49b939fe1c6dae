"""gRPC-Web as an HTTP/1.1 POST of a request that is known before it is sent.

Over Twisted's Agent, which keeps connections for the next call. A plain Agent, not treq: what treq adds
(redirects, cookies, decompression) has no place here, and would send metadata to where it does not belong.
"""

from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import FileBodyProducer, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from .connections import CLOSE_SECONDS
from .duplex_post import NO_STATUS
from .errors import ConnectionBroken, NotConnected
from .exchange import ExchangeUser
from .failures import explain, is_not_connected
from .metadata import Metadata


class PostExchange:
    """An `Exchange` as one POST on a connection that may be an old one, and may be used again.

    Nothing is sent before `finish`.
    """

    def __init__(
        self, agent: IAgent, user: ExchangeUser, reactor: IReactorTime, url: str, headers: list[tuple[str, str]]
    ) -> None:
        self._agent = agent
        self._user = user
        self._reactor = reactor
        self._url = url
        self._headers = headers
        self._request: list[bytes] = []
        self._answering: Deferred[IResponse] | None = None
        self._body = _Body(self)
        self._receiving = True
        self._rest: IDelayedCall | None = None
        self.over = False

    def start(self) -> None:
        self._user.opened()

    def write(self, data: bytes) -> None:
        self._request.append(data)

    def finish(self) -> None:
        if self.over:
            return
        headers = Headers()
        for name, value in self._headers:
            headers.addRawHeader(name, value)
        body = FileBodyProducer(BytesIO(b"".join(self._request)))
        self._request = []
        self._answering = self._agent.request(b"POST", self._url.encode("ascii"), headers, body)
        self._answering.addCallbacks(self._answered, self._failed)

    def pause_receiving(self) -> None:
        self._receiving = False
        self._body.pause()

    def resume_receiving(self) -> None:
        self._receiving = True
        self._body.resume()

    def close(self) -> None:
        """See `Exchange`. The end of the body should come now, and frees the connection for other calls."""
        if self.over:
            return
        self.over = True
        if not self._receiving:
            self._body.resume()
        if not self._body.ended:
            self._rest = self._reactor.callLater(CLOSE_SECONDS, self._drop)

    def abort(self) -> None:
        self.over = True
        self._drop()

    def body_ended(self, reason: Failure) -> None:
        """There is no more of the answer."""
        if self._rest is not None and self._rest.active():
            self._rest.cancel()
        if self.over:
            return
        self.over = True
        if reason.check(ResponseDone):
            self._user.lost(ConnectionBroken(NO_STATUS))
        else:
            self._user.lost(ConnectionBroken(f"{NO_STATUS}: {explain(reason)}"))

    def body_received(self, data: bytes) -> None:
        """There is more of the answer."""
        if not self.over:
            self._user.data_received(data)

    def _answered(self, response: IResponse) -> None:
        self._answering = None
        if not self.over:
            fields = [(name, value) for name, values in response.headers.getAllRawHeaders() for value in values]
            self._user.head_received(response.code, Metadata.received(fields))
        response.deliverBody(self._body)
        if not self._receiving and not self.over:
            self._body.pause()  # again: Twisted resumes once the body has a protocol

    def _failed(self, reason: Failure) -> None:
        self._answering = None
        if self.over:
            return
        self.over = True
        kind = NotConnected if is_not_connected(reason) else ConnectionBroken
        self._user.lost(kind(explain(reason)))

    def _drop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
        self._body.drop()


class _Body(Protocol):
    """The answer's body. Its transport is Twisted's stand-in, which is harmless once the body has ended."""

    transport: Any

    def __init__(self, exchange: PostExchange) -> None:
        self._exchange = exchange
        self._dropped = False
        self.ended = False

    def connectionMade(self) -> None:
        if self._dropped:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._exchange.body_received(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.ended = True
        self._exchange.body_ended(reason)

    def pause(self) -> None:
        if self.transport is not None:
            self.transport.pauseProducing()

    def resume(self) -> None:
        if self.transport is not None:
            self.transport.resumeProducing()

    def drop(self) -> None:
        self._dropped = True
        if self.transport is not None:
            self.transport.loseConnection()
