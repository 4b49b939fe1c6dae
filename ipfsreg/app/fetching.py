"""Short documents from elsewhere: the public keys of other issuers."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from ipfsreg.flow.http_pool import BoundedPool

_CONNECT_SECONDS = 5.0


class FetchError(Exception):
    """It cannot be had: a few words about why."""


class Fetcher:
    """GET over https, whose server has to show a certificate for its name, or http. Follows no redirects."""

    def __init__(self, reactor: Any) -> None:
        self._agent = Agent(reactor, connectTimeout=_CONNECT_SECONDS, pool=BoundedPool(reactor, persistent=False))

    async def __call__(self, url: str, limit: int) -> bytes:
        """The body of an answer with status 200. To cancel it is to drop the connection; who calls has a deadline.

        :raises FetchError: where the status is another one, or the body is longer than ``limit`` bytes.
        :raises Exception: whatever Twisted's Agent fails with.
        """
        response: Any = await self._agent.request(b"GET", url.encode("ascii"), Headers({"User-Agent": ["ipfsreg"]}))
        body = _Body(limit if response.code == 200 else 0)
        response.deliverBody(body)
        if response.code != 200:
            body.drop("")
            raise FetchError(f"answered {response.code}")
        return await body.done


class _Body(Protocol):
    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._limit = limit
        self._pieces: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        self._pieces.append(data)
        if self._length > self._limit:
            self.drop(f"longer than {self._limit} bytes")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(reason)

    def drop(self, problem: str) -> None:
        """Take no more; ``done`` fails with the problem, if there is one."""
        self._pieces.clear()
        if not self.done.called:
            if problem:
                self.done.errback(FetchError(problem))
            else:
                self.done.callback(b"")
        self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()  # nothing waits to be sent, so that is at once
