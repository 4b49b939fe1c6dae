"""One line for each request that was answered."""

import time

from twisted.logger import Logger

from .forwarded import TrustedProxies
from .request import Request

_AGENT_MAX = 200


class AccessLog:
    """Writes the lines. ``proxies`` are those that say who the client is."""

    _log = Logger()

    def __init__(self, proxies: TrustedProxies) -> None:
        self._proxies = proxies

    def answered(self, request: Request) -> None:
        """Client, method, target, status, bytes of content sent and received, seconds, and the client's program."""
        self._log.info(
            '{peer} {method} {uri} {status} {length} {received} {seconds:.3f} "{agent}"',
            peer=self._proxies.address_of(request),
            method=request.method.decode("ascii"),
            uri=request.uri.decode("ascii", "backslashreplace"),
            status=request.code,
            length=request.sent_length,
            received=request.body.received,
            seconds=time.monotonic() - request.began,
            agent=_printable(request.header("User-Agent") or "-"),
        )


def _printable(text: str) -> str:
    """Text of a client's as one word between quotes."""
    return "".join(
        each if " " <= each <= "~" and each not in '"\\' else f"\\x{ord(each):02x}" for each in text[:_AGENT_MAX]
    )
