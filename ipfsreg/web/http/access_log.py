"""One line for each request that was answered."""

from twisted.logger import Logger

from .request import Request

_log = Logger()


def log_request(request: Request) -> None:
    """Client, method, target, status, and the length of the content that was sent, in bytes."""
    _log.info(
        "{peer} {method} {uri} {status} {length}",
        peer=getattr(request.getClientAddress(), "host", "-"),
        method=request.method.decode("ascii"),
        uri=request.uri.decode("ascii", "backslashreplace"),
        status=request.code,
        length=request.sentLength,
    )
