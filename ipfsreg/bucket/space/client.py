"""Calls to a Space Daemon: with its token, translated into the bucket's errors, each with a deadline."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ipfsreg.bucket.breaker import Breaker, Unreachable
from ipfsreg.bucket.errors import Unavailable
from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Channel
from ipfsreg.grpcweb.errors import CallError, DeadlineExceeded, GrpcError, NotConnected
from ipfsreg.grpcweb.metadata import Metadata

from .errors import translate

M = TypeVar("M")

SERVICE = "space.SpaceApi"

HUB_SECONDS = 240.0
"""For calls that need the hub, for which the daemon waits up to three minutes, and a minute for itself before."""

ABOUT_A_PATH = {"OpenFile", "ListDirectory", "RemoveDirOrFile"}
"""The methods that may say of a path that there is nothing at it."""

CHANGES = {"AddItems", "RemoveDirOrFile"}
"""The methods that wait in the daemon while another program changes the same bucket."""


class NotAsked(Unreachable):
    """No connection came about: the daemon has done nothing."""


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
        self._stopped = False

    async def stop(self) -> None:
        """End all calls and make no more: they fail with `Unavailable`."""
        self._stopped = True
        await self._channel.close()

    async def call(self, method: str, request: Any, response_type: type[M], *, deadline: float | None = None) -> M:
        """A call with one answer.

        :param method: without its service.
        :raises BucketError: as `errors.translate` has it, or `Unreachable` where no answer came.
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

    @contextmanager
    def _calling(self, method: str) -> Iterator[None]:
        if self._stopped:
            raise Unavailable("the daemon is stopping")
        self._breaker.check()
        try:
            yield
        except GrpcError as error:
            self._breaker.answered()
            raise translate(error, method, absent=method in ABOUT_A_PATH) from None
        except CallError as error:
            if isinstance(error, DeadlineExceeded) and method in CHANGES:
                self._breaker.undecided()
                raise Unavailable(
                    f"{method}: {error}; the Space Daemon may be busy with another program's files"
                ) from None
            self._breaker.failed(error)
            kind = NotAsked if isinstance(error, NotConnected) else Unreachable
            raise kind(f"{method}: {error}") from None
        except BaseException:
            self._breaker.undecided()
            raise
        self._breaker.answered()
