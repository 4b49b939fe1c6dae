"""How many requests one client may make a second."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from cachetools import LRUCache

from .errors import refuse
from .http.forwarded import TrustedProxies
from .http.request import Request
from .http.server import Handler

BURST_SECONDS = 10
"""A client that was silent may make the requests of so many seconds at once: a pull begins with many."""

CLIENTS_REMEMBERED = 10_000
"""Who is pushed out of the table begins anew."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class RequestRate:
    """A token bucket for each client. ``rate`` is in requests a second; ``seconds`` is a clock that nobody can set."""

    def __init__(self, rate: float, seconds: Callable[[], float]) -> None:
        self._rate = rate
        self._most = max(1.0, rate * BURST_SECONDS)
        self._seconds = seconds
        self._buckets: LRUCache[str, _Bucket] = LRUCache(CLIENTS_REMEMBERED)

    def wait(self, client: str) -> float:
        """Count a request: 0 where it may be made, else after how many seconds one may, and it is not counted."""
        now = self._seconds()
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(self._most, now)
        bucket.tokens = min(self._most, bucket.tokens + (now - bucket.filled) * self._rate)
        bucket.filled = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate
        bucket.tokens -= 1
        return 0.0


def rate_limited(handler: Handler, rate: RequestRate, clients: TrustedProxies) -> Handler:
    """A handler that answers 429 to a client that asks too often."""

    def handle(request: Request) -> None:
        wait = rate.wait(clients.network_of(request))
        if not wait:
            handler(request)
            return
        request.set_header("Retry-After", ceil(wait))
        message = "more requests a second than are answered here; try again later"
        refuse(request, 429, "TOOMANYREQUESTS", message)

    return handle
