"""Calls to a Space Daemon: with its token, translated into the bucket's errors, each with a deadline."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from ipfsreg.bucket.breaker import Breaker
from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Channel
from ipfsreg.grpcweb.metadata import Metadata

from .errors import daemon_error

M = TypeVar("M")

SERVICE = "space.SpaceApi"

HUB_SECONDS = 240.0
"""For calls that need the hub, for which the daemon waits up to three minutes, and a minute for itself before."""

CHANGES = {"AddItems", "RemoveDirOrFile"}
"""The methods that wait in the daemon while another program changes the same bucket."""


class SpaceClient:
    """The calls of one daemon.

    ``timeout`` (seconds) is for a call with one answer; the daemon itself waits for up to 60 s before it answers one
    about buckets. ``token`` may be None for the one method that needs none. No call is made while the ``breaker``
    says that the daemon is away.
    """

    def __init__(self, channel: Channel, token: str | None, breaker: Breaker, timeout: float) -> None:
        self.timeout = timeout
        self._channel = channel
        self._metadata = Metadata({} if token is None else {"authorization": f"AppToken {token}"})
        self._breaker = breaker

    async def stop(self) -> None:
        """End all calls and make no more: they fail with `Unavailable`."""
        self._breaker.stop()
        await self._channel.close()

    async def call(self, method: str, request: Any, response_type: type[M], *, deadline: float | None = None) -> M:
        """A call with one answer.

        :param method: without its service.
        :raises BucketError: as `errors.daemon_error` has it, or `Unreachable` where no answer came.
        """
        with self._calling(method):
            return await self._channel.unary(
                f"/{SERVICE}/{method}",
                request,
                response_type,  # type: ignore[arg-type]
                deadline=self.timeout if deadline is None else deadline,
                metadata=self._metadata,
            )

    async def collect(self, method: str, request: Any, response_type: type[M], *, deadline: float) -> Sequence[M]:
        """A call with many answers, of which there must be few: all of them, once the daemon said that it is done.

        :raises BucketError: as for `call`.
        """
        with self._calling(method):
            stream: Stream[M] = self._channel.server_stream(
                f"/{SERVICE}/{method}",
                request,
                response_type,  # type: ignore[arg-type]
                deadline=deadline,
                metadata=self._metadata,
            )
            try:
                return [message async for message in stream.responses]
            finally:
                stream.cancel()

    def _calling(self, method: str) -> AbstractContextManager[None]:
        busy = "the Space Daemon may be busy with another program's files" if method in CHANGES else ""
        return self._breaker.guard(method, lambda error: daemon_error(error, method), busy)
