"""One line for each request that was answered, in the combined log format with three words more at its end."""

import time
from collections.abc import Callable, Iterable
from functools import lru_cache

from twisted.logger import Logger

from .forwarded import TrustedProxies
from .request import Request

_TEXT_MAX = 200  # of what a client calls itself, and of where it says that it comes from
_HIDDEN = "***"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class AccessLog:
    """Writes the lines. ``proxies`` are those that say who the client is.

    Tokens and passwords are found in the queries of URLs. So only the values of ``parameters`` are shown, which are
    known to have none, and nothing of a referring page's query. ``write`` takes the lines; None is for the log.
    """

    _log = Logger()

    def __init__(
        self, proxies: TrustedProxies, parameters: Iterable[str] = (), write: Callable[[str], None] | None = None
    ) -> None:
        self._proxies = proxies
        self._parameters = frozenset(parameters)
        self._write = write

    def answered(self, request: Request) -> None:
        """Client, user, time, request line, status, bytes of content sent, referring page, the client's program; then
        bytes of content received, seconds, and the request's name.
        """
        values = {
            "peer": self._proxies.address_of(request),
            "user": _printable(str(getattr(request.user, "label", None) or "-").replace(" ", "_")),
            "at": _at(int(time.time())),
            "method": request.method.decode("ascii"),
            "version": "1.1" if request.is_1_1 else "1.0",
            "uri": self._shown(request.uri),
            "status": request.code,
            "length": request.sent_length,
            "referrer": _printable(_page(request.header("Referer") or "-")),
            "agent": _printable(request.header("User-Agent") or "-"),
            "received": request.body.received,
            "seconds": time.monotonic() - request.began,
            "request_id": request.identifier,
        }
        if self._write is None:
            self._log.info(_LINE, **values)
        else:
            self._write(_LINE.format(**values))

    def _shown(self, target: bytes) -> str:
        path, found, query = target.decode("latin-1").partition("?")
        if not found:
            return _escaped(path)
        return _escaped(path) + "?" + "&".join(self._parameter(each) for each in query.split("&"))

    def _parameter(self, parameter: str) -> str:
        name, is_given, value = parameter.partition("=")
        if name in self._parameters:
            return f"{name}{is_given}{_escaped(value)}"
        return f"{_escaped(name)}={_HIDDEN}" if is_given and len(name) <= 32 else _HIDDEN


_LINE = (
    '{peer} - {user} [{at}] "{method} {uri} HTTP/{version}" {status} {length} "{referrer}" "{agent}" '
    "{received} {seconds:.3f} {request_id}"
)


@lru_cache(maxsize=1)
def _at(second: int) -> str:
    # Not by strftime, whose months are those of the locale.
    t = time.gmtime(second)
    month = _MONTHS[t.tm_mon - 1]
    return f"{t.tm_mday:02}/{month}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"


def _page(url: str) -> str:
    """A URL without what may be a secret: user and password before its host, and its query."""
    scheme, found, rest = url.partition("?")[0].partition("#")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{found}{authority.rpartition('@')[2]}{slash}{path}"


def _printable(text: str) -> str:
    """Text of a client's between quotes."""
    return _escaped(text[:_TEXT_MAX])


def _escaped(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(each if " " <= each <= "~" and each not in '"\\' else f"\\x{ord(each):02x}" for each in text)
