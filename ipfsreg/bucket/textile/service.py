"""Calls about one bucket of the server, for what is not part of being a registry's storage."""

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from .client import BUCKETS, TextileClient
from .shard import Shard

M = TypeVar("M", bound=Message)


class BucketsService(Protocol):
    """The buckets service, as far as it is about one bucket. Each call fails with a `BucketError`."""

    @property
    def key(self) -> str:
        """The bucket's key, which goes into requests."""

    async def call(self, method: str, request: Message, response_type: type[M]) -> M:
        """A call with one answer; ``method`` without its service. It may take the server long."""

    def server_stream(
        self, method: str, request: Message, response_type: type[M], *, deadline: float
    ) -> AsyncIterator[M]:
        """A call with many answers, of at most ``deadline`` seconds, ended by leaving the loop."""


class ShardService:
    """`BucketsService` of a shard, which must exist (`Shard.exists`)."""

    def __init__(self, client: TextileClient, shard: Shard) -> None:
        self._client = client
        self._shard = shard

    @property
    def key(self) -> str:
        """See `BucketsService`."""
        return self._shard.key

    async def call(self, method: str, request: Message, response_type: type[M]) -> M:
        """See `BucketsService`."""
        return await self._client.unary(BUCKETS, method, request, response_type, thread=self._shard.thread, slow=True)

    def server_stream(
        self, method: str, request: Message, response_type: type[M], *, deadline: float
    ) -> AsyncIterator[M]:
        """See `BucketsService`."""
        return self._client.server_stream(
            BUCKETS, method, request, response_type, thread=self._shard.thread, deadline=deadline
        )
