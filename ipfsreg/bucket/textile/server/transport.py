"""By which of the two transports files are pushed."""

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ipfsreg.grpcweb.channel import Transport

STRIKES = 3
"""After so many pushes that failed by POST and then succeeded by websocket, POST is avoided."""

PROOF = 1024**2
"""A push by POST of so many bytes that succeeds resets the count: a proxy that breaks POSTs would break it."""

AGAIN_SECONDS = 3600.0
"""For how long POST is avoided: the proxy may be gone after that."""


class TransportChoice:
    """POST is a round trip shorter, and its messages may be longer; but it needs a direct connection.

    A proxy that keeps its connections to the server breaks a POST whose answer begins before its body ends
    (docs/protocols/grpc-web.md, "Streams by POST"). The server itself speaks no TLS, so behind ``https`` there is a
    proxy, and pushes go by websocket. Elsewhere a push that such a proxy may have broken is tried by websocket next;
    after `STRIKES` of those all pushes go by websocket for `AGAIN_SECONDS`. A connection that was lost before the
    answer began says nothing about a proxy.

    :param host: the server's URL.
    """

    _log = Logger()

    def __init__(self, host: str, clock: IReactorTime) -> None:
        self._clock = clock
        self._direct = not host.lower().startswith("https:")
        self._avoided_until: float | None = None
        self._doubted = False
        self._strikes = 0

    @property
    def transport(self) -> Transport:
        """For the push that begins now."""
        if self._avoided_until is not None and self._clock.seconds() >= self._avoided_until:
            self._avoided_until = None
            self._strikes = STRIKES - 1  # one more, and it is avoided again
        is_post = self._direct and not self._doubted and self._avoided_until is None
        return Transport.POST if is_post else Transport.WEBSOCKET

    def failed(self, transport: Transport, *, answering: bool) -> None:
        """A push broke; ``answering`` says whether its answer had begun."""
        self._doubted = transport is Transport.POST and answering

    def worked(self, transport: Transport, length: int) -> None:
        """A push of so many bytes was acknowledged."""
        if transport is Transport.POST:
            if length >= PROOF:
                self._strikes = 0
            return
        if not self._doubted:
            return
        self._doubted = False
        self._strikes += 1
        if self._strikes == STRIKES:
            self._avoided_until = self._clock.seconds() + AGAIN_SECONDS
            self._log.info("Files go to the server by websocket for an hour: something on the way breaks POSTs.")
