"""The client's front door: a server, and calls to it."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Required, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IPolicyForHTTPS

from ipfsreg.flow.http.pool import BoundedPool

from .call import Call, Stream
from .connections import Connections
from .duplex_post import DuplexPostExchange
from .exchange import CallHead, Exchange
from .framing import MESSAGE_LIMIT
from .metadata import NO_METADATA, Metadata
from .post import PostExchange
from .requests import Message
from .responses import MessageType
from .timers import grpc_timeout
from .websocket import WebSocketExchange

M = TypeVar("M")

CONTENT_TYPE = "application/grpc-web+proto"

_IDLE_CONNECTION_SECONDS = 30
_IDLE_CONNECTIONS = 24


_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")  # urlsplit takes the brackets off an IPv6 address
_MORE = re.compile(r"[?#;\s\x00-\x20\x7f]")


class Transport(Enum):
    """How calls go over the wire.

    ``POST`` is HTTP/1.1: calls with one request share connections, and a `Channel.stream` has one of its own
    with ``Connection: close``, whose answer is read while the request is still being sent. A proxy in between
    that collects bodies, or keeps connections to the server, breaks the latter.

    ``WEBSOCKET`` is one websocket for each call of any kind, and survives proxies that know websockets.
    """

    POST = "post"
    WEBSOCKET = "websocket"


class CallOptions(TypedDict, total=False):
    """What a call may be told beside its method and messages."""

    deadline: Required[float]
    """Seconds; told to the server, and kept here."""

    idle: float | None
    """The longest time, in seconds, in which nothing may move, but for times in which nobody takes what came."""

    metadata: Metadata | Mapping[str, str]
    transport: Transport | None


class Channel:
    """A gRPC-Web server, and calls to it of all four kinds.

    Connections are made as calls need them; `close` ends all of it. Nothing is retried: a failed call says
    whether it may have reached the server (`ConnectionBroken`) or certainly did not (`NotConnected`).

    :param reactor: Twisted's reactor.
    :param url: ``http://…`` or ``https://…``; a path, if any, comes before the method's.
    :param transport: for calls that do not say it themselves.
    :param message_limit: the longest message taken from the server, in bytes.
    :param ping_interval: pings on websockets that were silent so many seconds; None for none.
    :param tls_policy: which certificates to trust; those that the system trusts if None.
    :raises ValueError: for another kind of URL.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        transport: Transport = Transport.POST,
        message_limit: int = MESSAGE_LIMIT,
        ping_interval: float | None = 20.0,
        tls_policy: IPolicyForHTTPS | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._uri = check_url(self._url)
        self._reactor = reactor
        self._transport = transport
        self._message_limit = message_limit
        self._ping_interval = ping_interval
        self._connections = Connections(reactor, tls_policy or BrowserLikePolicyForHTTPS())
        self._pool = BoundedPool(reactor, persistent=True)
        self._pool.retryAutomatically = False
        self._pool.maxPersistentPerHost = _IDLE_CONNECTIONS
        # Shorter than servers and proxies keep theirs: a request must not meet a connection being closed.
        self._pool.cachedConnectionTimeout = _IDLE_CONNECTION_SECONDS
        self._agent = Agent.usingEndpointFactory(reactor, self._connections, self._pool)
        self._calls: set[Call[Any]] = set()
        self._closed = False

    @property
    def connections(self) -> int:
        """How many connections are open now, idle ones included."""
        return len(self._connections)

    def unary(
        self, method: str, request: Message, response_type: MessageType[M], **options: Unpack[CallOptions]
    ) -> "Deferred[M]":
        """Make a call of one request and one response. Fails with a `CallError`.

        Cancelling the Deferred cancels the call.

        :param method: ``/package.Service/Method``.
        :param response_type: the response's class.
        """
        stream = self.server_stream(method, request, response_type, **options)

        async def response() -> M:
            try:
                return await stream.responses.only()
            except CancelledError:
                stream.cancel()
                raise

        return Deferred.fromCoroutine(response())

    def server_stream(
        self, method: str, request: Message, response_type: MessageType[M], **options: Unpack[CallOptions]
    ) -> Stream[M]:
        """Begin a call of one request and any number of responses."""
        call = self._call(method, response_type, options, alone=False)
        call.requests.send(request)
        call.requests.finish()
        return Stream(call)

    def stream(self, method: str, response_type: MessageType[M], **options: Unpack[CallOptions]) -> Stream[M]:
        """Begin a call whose requests are sent while its responses come: client streaming and bidirectional.

        Take the responses, whatever they are, while you send: a server may stop reading until you do.
        """
        return Stream(self._call(method, response_type, options, alone=True))

    def close(self) -> "Deferred[Any]":
        """Cancel every call and close every connection; fires when they are gone. No calls after that."""
        self._closed = True
        for call in list(self._calls):
            call.cancel()
        # The pool comes last: a connection whose answer is being read at this moment goes there yet.
        gone = self._connections.abort_all()
        return gone.addCallback(lambda _: self._pool.closeCachedConnections())

    def _call(self, method: str, response_type: MessageType[M], options: CallOptions, *, alone: bool) -> Call[M]:
        if self._closed:
            raise RuntimeError("the channel is closed")
        metadata, deadline = options.get("metadata", NO_METADATA), options["deadline"]
        fields = list(metadata if isinstance(metadata, Metadata) else Metadata(metadata))
        fields += [("content-type", CONTENT_TYPE), ("x-grpc-web", "1"), ("grpc-timeout", grpc_timeout(deadline))]
        target = self._uri.originForm.decode("ascii").rstrip("/") + method
        head = CallHead(self._uri.netloc.decode("ascii"), target, fields)
        idle, limit = options.get("idle"), self._message_limit
        call = Call(self._reactor, response_type, limit, deadline, idle, self._calls.discard)
        self._calls.add(call)
        exchange: Exchange
        if (options.get("transport") or self._transport) is Transport.WEBSOCKET:
            endpoint = self._connections.endpointForURI(self._uri)
            exchange = WebSocketExchange(endpoint, call, self._reactor, head, self._ping_interval)
        elif alone:
            exchange = DuplexPostExchange(self._connections.endpointForURI(self._uri), call, head)
        else:
            exchange = PostExchange(self._agent, call, self._reactor, self._url + method, fields)
        call.start(exchange, method)
        return call


def check_url(url: str) -> URI:
    """Read the URL of a server, as `Channel` takes it.

    :raises ValueError: for another kind of URL. The text quotes nothing of it: it may have a password in it.
    """
    if not url.isascii():
        raise ValueError("the URL of a server is ASCII; a host name in other letters is written as xn--…")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the host or port of the URL is none") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL of a server has no user or password in it")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.hostname or "") or _MORE.search(url):
        raise ValueError("the URL of a gRPC-Web server is http:// or https://, a host, perhaps a port and a path")
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("the port of the URL is none")
    uri: URI = URI.fromBytes(url.encode("ascii"))
    return uri


def check_server(url: str) -> str:
    """The URL of a server that has no path: as it is, where it can be used.

    :raises ValueError: as `check_url`, and for one with a path.
    """
    if check_url(url).path not in (b"", b"/"):
        raise ValueError("the address of a server has no path")
    return url
