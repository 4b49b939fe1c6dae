"""A request that is dispatched when its headers have arrived, with its body still to come.

`twisted.web` calls the resource once the whole body is in a temporary file. Here the resource is called from
`gotLength`, the first thing the channel tells a request after its headers; the body follows through
`ipfsreg.web.body`. Three names of the channel that this needs are private; ``tests/web/test_request.py`` pins what
they do.
"""

from io import BytesIO
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.server import Request

from ipfsreg import __version__

from .body import Body
from .channel import RegistryChannel

SERVER = f"ipfsreg/{__version__}".encode()

DRAIN_MAX = 256 * 1024
"""A refused body with no more than this still to come is read to its end, and the connection kept."""

LINGER_SECONDS = 5.0
"""For how long the rest of a longer one is thrown away, so that a client that is still sending sees the answer.

A connection that is closed with bytes unread is reset, and a reset can overtake the answer."""


class StreamingRequest(Request):
    """The request factory of our site."""

    body: Body
    answered: bool
    """Whether the answer is complete, though the request may not be over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.body = Body(self, 0)  # until the headers are there
        self._dispatched_early = False
        self.answered = False
        self._deadline: IDelayedCall | None = None

    @property
    def connection(self) -> RegistryChannel | None:
        """The connection, or None where it is gone or the request is over."""
        return cast(RegistryChannel | None, getattr(self, "channel", None))

    @property
    def gone(self) -> bool:
        """Whether the client went away, so that nobody reads an answer."""
        return bool(self._disconnected)

    def drop(self) -> None:
        """End the connection at once: what has been sent of an answer stays visibly incomplete."""
        if self.connection is not None:
            self.connection.wire.abortConnection()

    def getRequestHostname(self) -> bytes:
        """A constant: no route depends on the Host header, and the router would stumble over a strange one."""
        return b"registry"

    def gotLength(self, length: int | None) -> None:
        """The headers are there: dispatch now if a body follows."""
        self.content = BytesIO()  # Twisted looks into it for form fields, of which there are none
        self.body = Body(self, length)
        if length == 0:
            return
        channel = cast(RegistryChannel, self.channel)
        channel.progressed()
        expect = self.requestHeaders.getRawHeaders(b"expect", [])
        # Taken away, so that the channel does not ask for the body before we know whether we want it.
        self.requestHeaders.removeHeader(b"expect")
        expects_continue = any(value.lower() == b"100-continue" for value in expect)
        self.body.hold(expects_continue=expects_continue and channel._version == b"HTTP/1.1")
        self._dispatched_early = True
        super().requestReceived(channel._command, _origin_form(channel._path), channel._version)

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body came."""
        if self.connection is not None:
            self.connection.received(len(data))
        self.body.dataReceived(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request is there: dispatch now unless that was done."""
        if not self._dispatched_early:
            super().requestReceived(command, _origin_form(path), version)
            return
        self.body.bodyEnded()
        self._finish_if_over()

    def write(self, data: bytes) -> None:
        """Write a part of the answer; its headers first."""
        if not self.startedWriting:
            self.setHeader(b"Server", SERVER)
            if not self.body.can_be_drained(DRAIN_MAX):
                self.setHeader(b"Connection", b"close")
                self.channel.persistent = False
        super().write(data)

    def finish(self) -> None:
        """The answer is complete.

        The request is over when what is left of its body was thrown away, within bounds, and the client has read
        the answer but for some KiB: a client that asks for much and reads nothing is not answered further.
        """
        if self.connection is None:
            super().finish()
            return
        if not self.startedWriting:
            self.write(b"")
        self.answered = True
        self.body.discard()
        if not self.body.can_be_drained(DRAIN_MAX):
            self._deadline = self.connection.callLater(LINGER_SECONDS, self._give_up)
        elif self.connection.congested:
            self._deadline = self.connection.callLater(self.connection.site.stall, self._give_up)
        self._finish_if_over()

    def drained(self) -> None:
        """The connection's side: the client has read everything so far."""
        self._finish_if_over()

    def connectionLost(self, reason: Failure) -> None:
        """The client went away."""
        self._stop_deadline()
        super().connectionLost(reason)
        self.body.connectionLost()

    def send_continue(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110, 10.1.1)."""
        if self.connection is not None:
            self.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _finish_if_over(self) -> None:
        channel = self.connection
        if self.answered and channel is not None and self.body.ended and not channel.congested:
            self._stop_deadline()
            super().finish()

    def _give_up(self) -> None:
        self._deadline = None
        if self.connection is not None and not self.connection.congested:
            self.connection.loseConnection()
        else:
            self.drop()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _origin_form(target: bytes) -> bytes:
    """The path and query of a request target; a server has to take the absolute form too (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in {b"http", b"https"}:
        return target
    return b"/" + rest.partition(b"/")[2]
