"""A call with a long body in either direction, in HTTP/1.0 where that can be: without chunks.

Kubo writes chunks of 4 KiB into its answers, and taking them apart costs both sides more than the bytes. In HTTP/1.0
the end of an answer cannot be told from a broken connection. That is no loss: Kubo ends a chunked answer properly even
where it has failed, and tells so only in a trailer (docs/protocols/kubo.md, "Streams"). So the caller
counts them.
"""

from collections.abc import Callable
from typing import Any

import h11
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from .body import FormBody

RECEIVE = 256 * 1024
"""How much is read from a socket at once, where its transport lets us say so."""

_NOTHING_YET = (h11.NEED_DATA, h11.PAUSED)


@implementer(IPushProducer)
class BulkCall(Protocol):
    """One call on a connection of its own, and a producer of its answer.

    ``answered`` fires when ``status`` and ``headers`` (names in lower case) are there; what follows waits for `take`.
    ``ended`` fires at the end of the answer, or of the connection, whichever comes first; ``whole`` is False where the
    answer said how long it would be, and ended before. ``answered`` fails like a connection does where there was no
    answer.
    """

    def __init__(self, target: bytes, headers: list[tuple[bytes, bytes]], body: FormBody | None) -> None:
        self.answered: Deferred[None] = Deferred(lambda _: self.abort())
        self.ended: Deferred[None] = Deferred(lambda _: self.abort())
        self.status = 0
        self.headers: dict[str, str] = {}
        self.whole = False
        self._unframed = False
        """Whether all that comes until the end of the connection is content."""
        self._target = target
        self._sent = headers
        self._body = body
        self._take: Callable[[bytes], None] | None = None
        self._parser = h11.Connection(h11.CLIENT)
        # The request is written here, since h11 writes none in HTTP/1.0; it has to know that there is one.
        self._parser.send(h11.Request(method="POST", target="/", headers=[("Host", "node")]))
        self._parser.send(h11.EndOfMessage())

    def connectionMade(self) -> None:
        """Send it."""
        transport: Any = self.transport
        if hasattr(transport, "bufferSize"):
            transport.bufferSize = RECEIVE
        version, headers = b"1.0", self._sent
        if self._body is not None:
            version, headers = self._body.version, [*self._sent, *self._body.headers()]
        lines = [b"POST %b HTTP/%b" % (self._target, version), *(b"%b: %b" % header for header in headers)]
        request = b"".join(line + b"\r\n" for line in [*lines, b""])
        if self._body is None:
            transport.write(request)
        else:
            self._body.start(transport, request).addErrback(self._could_not_send)

    def _could_not_send(self, failure: Failure) -> None:
        self._fail(failure)
        self.abort()

    def dataReceived(self, data: bytes) -> None:
        """Some bytes of the answer."""
        if self._unframed:
            if self._take is not None:
                self._take(data)
        elif not self.whole:
            self._parser.receive_data(data)
            self._parse()

    def _parse(self) -> None:
        """Go on up to the end of the headers, and after `take` as far as it goes."""
        try:
            while (event := self._parser.next_event()) not in _NOTHING_YET:
                if isinstance(event, h11.Response):
                    self._begin(event)
                    return
                if isinstance(event, h11.Data) and self._take is not None:
                    self._take(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self.whole = True
                    self._end()
                    return
        except h11.RemoteProtocolError:
            self.abort()

    def _begin(self, response: h11.Response) -> None:
        self.status = response.status_code
        self.headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
        self.whole = self._unframed = not {"transfer-encoding", "content-length"} & self.headers.keys()
        self.pauseProducing()
        if not self.answered.called:
            self.answered.callback(None)

    def take(self, take: Callable[[bytes], None]) -> None:
        """Have the answer's bytes given to a function, from now on, with pauses by `pauseProducing`."""
        self._take = take
        self.resumeProducing()  # first: what came already may make the taker pause it again
        if not self._unframed:
            self._parse()
        elif came := self._parser.trailing_data[0]:
            take(came)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, or what looks like it."""
        if self._body is not None:
            self._body.stopProducing()
        self._fail(reason)
        self._end()

    def _end(self) -> None:
        if not self.ended.called:
            self.ended.callback(None)

    def _fail(self, reason: Failure) -> None:
        if not self.answered.called:
            self.answered.errback(reason)

    def pauseProducing(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        transport: Any = self.transport
        transport.resumeProducing()

    def stopProducing(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()
