"""What is sent to programs that look on: receivers of webhooks and of traces. Nothing that they answer is trusted."""

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from ipfsreg.flow.http.answer_body import Dropped
from ipfsreg.flow.http.pool import BoundedPool

_CONNECT_SECONDS = 10.0


class NotTaken(Exception):
    """The receiver has not taken it; a few words about why, without its URL. ``status`` is what it answered, or 0."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status


class Poster:
    """POST over http, or https, whose server has to show a certificate for its name. Follows no redirects."""

    def __init__(self, reactor: Any) -> None:
        self._agent = Agent(reactor, connectTimeout=_CONNECT_SECONDS, pool=BoundedPool(reactor, persistent=False))

    async def post(self, url: str, content: bytes, headers: Headers, seconds: float) -> None:
        """Returns where the answer, which may take so many ``seconds``, has a status of 2xx.

        :raises NotTaken: else, and where it is cancelled.
        """
        try:
            # A client of its own for each: what one answers, as cookies, is not remembered.
            response = await HTTPClient(self._agent).post(
                url, data=content, headers=headers, timeout=seconds, allow_redirects=False, unbuffered=True
            )
        except Exception as error:  # whatever treq, Twisted and TLS have
            raise NotTaken(_said(error, seconds)) from None
        response.deliverBody(Dropped())
        if not 200 <= response.code < 300:
            raise NotTaken(f"it answered {response.code}", response.code)


def _said(error: Exception, seconds: float) -> str:
    reasons = getattr(error, "reasons", None)
    if reasons:
        error = reasons[0].value
    if isinstance(error, CancelledError):
        return f"no answer within {seconds:g} s"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
