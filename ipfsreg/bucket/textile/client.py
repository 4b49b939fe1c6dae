"""Calls to a Textile server: signed, translated into the bucket's errors, each with a deadline."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.breaker import Breaker, Unreachable
from ipfsreg.bucket.errors import Unavailable
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Channel, Transport
from ipfsreg.grpcweb.errors import CallError, GrpcError

from .errors import TokenRefused, translate
from .identity import Identity
from .signing import CallMetadata
from .token import get_token

M = TypeVar("M")

BUCKETS = "api.bucketsd.pb.APIService"
THREADS = "threads.pb.API"
USERS = "api.usersd.pb.APIService"

SLOW = 5
"""By which a call's time is multiplied where the server makes an RSA key."""


class TextileClient:
    """The calls of one server.

    ``timeout`` is for a call with one answer, ``silence`` for a stream on which nothing moves, both in seconds: the
    server is silent while a stream waits for a bucket's lock. With an ``identity``, a token is fetched before the
    first call. No call is made while the ``breaker`` says that the server is away.
    """

    def __init__(
        self,
        channel: Channel,
        metadata: CallMetadata,
        identity: Identity | None,
        breaker: Breaker,
        clock: IReactorTime,
        timeout: float,
        silence: float,
    ) -> None:
        self.is_hub = metadata.has_key
        self._channel = channel
        self._metadata = metadata
        self._identity = identity
        self._breaker = breaker
        self._clock = clock
        self.timeout = timeout
        self._silence = silence
        self._token = SingleFlight(self._fetch_token)
        self._stopped = False

    async def stop(self) -> None:
        """End all calls and make no more: they fail with `Unavailable`."""
        self._stopped = True
        await self._channel.close()

    def owns(self, owner: str) -> bool:
        """Whether a bucket's ``owner`` (its public key; empty for none) is who makes the calls.

        Without an identity it is: a hub lets nobody else at the thread, and where there is no owner all are alike.
        """
        return not owner or self._identity is None or owner == self._identity.public_key

    async def authorize(self) -> None:
        """Fetch the token, if calls need one that is not there yet."""
        if self._identity is not None and not self._metadata.has_token:
            await self._token.outcome()

    async def _fetch_token(self) -> None:
        assert self._identity is not None
        with self.calling("GetToken"):
            token = await get_token(self._channel, self._identity, self._metadata, self.timeout)
        self._metadata.set_token(token)

    @contextmanager
    def calling(self, method: str) -> Iterator[None]:
        """Make a call, from its beginning to its outcome, in the block, which raises the call's `CallError`.

        :raises Unreachable: where no answer came, or no call can be made now.
        :raises BucketError: as `errors.translate` has it, for a refusal.
        """
        if self._stopped:
            raise Unavailable("the daemon is stopping")
        self._breaker.check()
        try:
            yield
        except GrpcError as error:
            self._breaker.answered()
            meaning = translate(error, method)
            if isinstance(meaning, TokenRefused):
                self._metadata.set_token(None)  # the next call fetches another one: the server's key may be new
            raise meaning from None
        except CallError as error:
            self._breaker.failed(error)
            raise Unreachable(f"{method}: {error}") from None
        except BaseException:
            self._breaker.undecided()
            raise
        self._breaker.answered()

    async def unary(
        self,
        service: str,
        method: str,
        request: Any,
        response_type: type[M],
        *,
        thread: str = "",
        thread_name: str = "",
        slow: bool = False,
    ) -> M:
        """A call of one answer.

        :raises BucketError: as `errors.translate` has it.
        """

        async def call() -> M:
            with self.calling(method):
                return await self._channel.unary(
                    f"/{service}/{method}",
                    request,
                    response_type,  # type: ignore[arg-type]
                    deadline=self.timeout * (SLOW if slow else 1),
                    metadata=self._metadata(thread, thread_name),
                )

        return await self.authorized(call)

    async def authorized(self, call: Callable[[], Awaitable[M]]) -> M:
        """Make a call with a token where calls need one, and once more where the server wants another one."""
        await self.authorize()
        try:
            return await call()
        except TokenRefused:
            if self._identity is None:
                raise
        await self.authorize()
        return await call()

    async def server_stream(
        self,
        service: str,
        method: str,
        request: Any,
        response_type: type[M],
        *,
        thread: str,
        deadline: float,
        idle: float | None = None,
    ) -> AsyncGenerator[M, None]:
        """A call of many answers, at the pace of whoever iterates. Close it to end the call early.

        ``idle`` is how many seconds the server may be silent, ``silence`` if None.

        :raises BucketError: as `errors.translate` has it.
        """
        begun = False
        for again in (self._identity is not None, False):
            await self.authorize()
            try:
                answers = self._answers(service, method, request, response_type, thread, deadline, idle)
                async with aclosing(answers):
                    async for message in answers:
                        begun = True
                        yield message
                return
            except TokenRefused:
                if begun or not again:
                    raise

    async def _answers(
        self,
        service: str,
        method: str,
        request: Any,
        response_type: type[M],
        thread: str,
        deadline: float,
        idle: float | None,
    ) -> AsyncGenerator[M, None]:
        with self.calling(method):
            stream: Stream[M] = self._channel.server_stream(
                f"/{service}/{method}",
                request,
                response_type,  # type: ignore[arg-type]
                deadline=deadline,
                idle=self._silence if idle is None else idle,
                metadata=self._metadata(thread, ""),
            )
            try:
                async for message in stream.responses:
                    yield message
            finally:
                # A turn later: what has arrived may be the rest of the answer, and then the connection, which a
                # cancelled call would close, is already used by another one.
                self._clock.callLater(0, stream.cancel)

    def stream(
        self, service: str, method: str, response_type: type[M], *, thread: str, deadline: float, transport: Transport
    ) -> Stream[M]:
        """A call in both directions, within a `calling` block of an `authorized` call."""
        return self._channel.stream(
            f"/{service}/{method}",
            response_type,  # type: ignore[arg-type]
            deadline=deadline,
            idle=self._silence,
            metadata=self._metadata(thread, ""),
            transport=transport,
        )
