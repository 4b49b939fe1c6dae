"""The simplest message there is, and what sends and takes many of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from twisted.internet.defer import Deferred

from ipfsreg.grpcweb.requests import Requests
from ipfsreg.grpcweb.responses import Responses


@dataclass(frozen=True)
class Raw:
    """A message that is its own bytes."""

    data: bytes = b""

    def SerializeToString(self) -> bytes:
        return self.data

    @classmethod
    def FromString(cls, data: bytes, /) -> Self:
        return cls(data)


class Undecodable:
    """A class whose messages can never be decoded; the exception quotes what it got."""

    @classmethod
    def FromString(cls, data: bytes, /) -> Self:
        raise ValueError(f"cannot decode {data!r}")


class Endless:
    """Sends for as long as the call takes more; `pauses` counts how often it had to wait."""

    def __init__(self, requests: Requests, size: int = 16384, total: int | None = None) -> None:
        self.sent = 0
        self.pauses = 0
        self.stopped = False
        self._requests = requests
        self._size = size
        self._total = total
        self.done = Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        while self._total is None or self.sent < self._total:
            ready = self._requests.ready()
            self.pauses += not ready.called
            if not await ready:
                self.stopped = True
                return
            self.sent += self._size
            self._requests.send(Raw(bytes(self._size)))
        self._requests.finish()


async def take(responses: Responses[Raw], each: Callable[[Raw], object]) -> None:
    """Give every message of a call to a function."""
    async for message in responses:
        each(message)
