"""By which of the two transports files are pushed."""

from twisted.logger import Logger

from ...grpcweb.channel import Transport

STRIKES = 3
"""So often may a push by POST fail that then succeeds by websocket, before POST is not tried any more."""

PROOF = 1024**2
"""A push by POST of so many bytes that worked takes the strikes back: a proxy that breaks some breaks those."""


class Way:
    """POST is a round trip shorter, and its messages may be longer; but it needs a direct connection.

    A proxy that keeps its connections to the server breaks a POST whose answer begins before its body ends (fact
    sheet 1.4). The server itself speaks no TLS, so behind ``https`` there is a proxy: there it is the websocket.
    Elsewhere a push that failed by POST is tried by websocket next, and where that helps again and again it stays.

    :param host: the server's URL.
    """

    _log = Logger()

    def __init__(self, host: str) -> None:
        self._direct = not host.lower().startswith("https:")
        self._doubted = False
        self._strikes = 0

    @property
    def transport(self) -> Transport:
        """For the push that begins now."""
        return Transport.POST if self._direct and not self._doubted else Transport.WEBSOCKET

    def failed(self, transport: Transport) -> None:
        """A push broke."""
        self._doubted = transport is Transport.POST

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
            self._direct = False
            self._log.info("Files go to the server by websocket from now on: something on the way breaks POSTs.")
