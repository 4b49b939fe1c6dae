"""Calls to a Textile server: signed, translated into the bucket's errors, each with a deadline."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.breaker import Breaker
from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.bucket.textile.proto import threads_pb2
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Channel, Transport
from ipfsreg.grpcweb.errors import GrpcError

from .errors import TokenRefused, translate
from .identity import Identity
from .signing import CallMetadata

M = TypeVar("M")

BUCKETS = "api.bucketsd.pb.APIService"
THREADS = "threads.pb.API"
USERS = "api.usersd.pb.APIService"

SLOW = 5
"""By which a call's time is multiplied where the server makes an RSA key."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: for a call with one ``answer``, and for the ``silence`` of a stream, on which nothing moves.

    The server is silent while a stream waits for a bucket's lock.
    """

    answer: float
    silence: float


class TextileClient:
    """The calls of one server.

    With an ``identity``, a token is fetched before the first call. No call is made while the ``breaker`` says that the
    server is away.
    """

    def __init__(
        self,
        channel: Channel,
        metadata: CallMetadata,
        identity: Identity | None,
        breaker: Breaker,
        clock: IReactorTime,
        timeouts: Timeouts,
    ) -> None:
        self.is_hub = metadata.has_key
        self.timeouts = timeouts
        self._channel = channel
        self._metadata = metadata
        self._identity = identity
        self._breaker = breaker
        self._clock = clock
        self._token = SingleFlight(self._fetch_token)

    async def stop(self) -> None:
        """End all calls and make no more: they fail with `Unavailable`."""
        self._breaker.stop()
        await self._channel.close()

    def owns(self, owner: str) -> bool:
        """Whether a bucket's ``owner`` (its public key; empty for none, when all are alike) is who makes the calls.

        With a hub's key and no identity it is: a hub lets nobody else at the thread.
        """
        if self._identity is None:
            return not owner or self.is_hub
        return owner in ("", self._identity.public_key)

    async def authorize(self) -> None:
        """Fetch the token, if calls need one that is not there yet."""
        if self._identity is not None and not self._metadata.has_token:
            await self._token.outcome()

    async def _fetch_token(self) -> None:
        assert self._identity is not None
        with self.calling("GetToken"):
            stream: Stream[threads_pb2.GetTokenReply] = self._channel.stream(
                f"/{THREADS}/GetToken",
                threads_pb2.GetTokenReply,
                deadline=self.timeouts.answer,
                metadata=self._metadata(),
                transport=Transport.WEBSOCKET,
            )
            try:
                token = await get_token(stream, self._identity)
            finally:
                stream.cancel()
        self._metadata.set_token(token)

    def calling(self, method: str) -> AbstractContextManager[None]:
        """Make a call, from its beginning to its outcome, in the block: see `Breaker.guard`."""

        def meaning(error: GrpcError) -> BucketError:
            found = translate(error, method)
            if isinstance(found, TokenRefused):
                self._metadata.set_token(None)  # the next call fetches another one: the server's key may be new
            return found

        return self._breaker.guard(method, meaning)

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
                    deadline=self.timeouts.answer * (SLOW if slow else 1),
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

    async def answers(
        self,
        method: str,
        request: Any,
        response_type: type[M],
        *,
        thread: str,
        deadline: float,
        idle: float | None = None,
    ) -> AsyncGenerator[M, None]:
        """A call of many answers about a bucket, at the pace of whoever iterates. Close it to end the call early.

        ``idle`` is how many seconds the server may be silent, ``silence`` if None.

        :raises BucketError: as `errors.translate` has it.
        """
        begun = False
        for again in (self._identity is not None, False):
            await self.authorize()
            try:
                answers = self._stream_answers(method, request, response_type, thread, deadline, idle)
                async with aclosing(answers):
                    async for message in answers:
                        begun = True
                        yield message
                return
            except TokenRefused:
                if begun or not again:
                    raise

    async def _stream_answers(
        self,
        method: str,
        request: Any,
        response_type: type[M],
        thread: str,
        deadline: float,
        idle: float | None,
    ) -> AsyncGenerator[M, None]:
        with self.calling(method):
            stream: Stream[M] = self._channel.server_stream(
                f"/{BUCKETS}/{method}",
                request,
                response_type,  # type: ignore[arg-type]
                deadline=deadline,
                idle=self.timeouts.silence if idle is None else idle,
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
        self, method: str, response_type: type[M], *, thread: str, deadline: float, transport: Transport
    ) -> Stream[M]:
        """A call in both directions about a bucket, within a `calling` block of an `authorized` call."""
        return self._channel.stream(
            f"/{BUCKETS}/{method}",
            response_type,  # type: ignore[arg-type]
            deadline=deadline,
            idle=self.timeouts.silence,
            metadata=self._metadata(thread, ""),
            transport=transport,
        )


async def get_token(stream: "Stream[threads_pb2.GetTokenReply]", identity: Identity) -> str:
    """Get the token that says which identity calls, by signing the server's challenge. It does not expire.

    See docs/protocols/textile.md, "Identities and tokens".

    :raises CallError: where the server does not give one. :raises Unavailable: where what it sends makes no sense.
    """
    stream.requests.send(threads_pb2.GetTokenRequest(key=identity.public_key))
    reply = await stream.responses.receive()
    if reply is None or not reply.challenge:
        raise Unavailable("GetToken: the server sent no challenge")
    stream.requests.send(threads_pb2.GetTokenRequest(signature=identity.sign(reply.challenge)))
    stream.requests.finish()
    return (await stream.responses.only()).token
