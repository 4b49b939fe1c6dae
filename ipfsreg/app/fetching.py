"""Short documents from elsewhere: the public keys of other issuers."""

from typing import Any

from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from ipfsreg.flow.http.answer_body import BodyTooLong, Dropped, read_body
from ipfsreg.flow.http.pool import BoundedPool

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
        if response.code != 200:
            response.deliverBody(Dropped())
            raise FetchError(f"answered {response.code}")
        try:
            return await read_body(response, limit)
        except BodyTooLong as error:
            raise FetchError(str(error)) from None
