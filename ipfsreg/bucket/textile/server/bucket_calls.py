"""Calls about one bucket of the server."""

from collections.abc import AsyncGenerator
from typing import TypeVar

from google.protobuf.message import Message

from .client import BUCKETS, TextileClient

M = TypeVar("M", bound=Message)


class BucketCalls:
    """A bucket by its key, which goes into requests, and the thread that it is in.

    Methods are named without their service, which is always `BUCKETS`. Each call fails with a `BucketError`.
    """

    folded = False
    """Whether paths are folded there; see `paths`."""

    def __init__(self, client: TextileClient, thread: str = "", key: str = "") -> None:
        self.client = client
        self.thread = thread
        self.key = key

    async def call(self, method: str, request: Message, response_type: type[M], *, slow: bool = False) -> M:
        """A call with one answer; ``slow`` where that may take the server long."""
        return await self.client.unary(BUCKETS, method, request, response_type, thread=self.thread, slow=slow)

    def answers(
        self, method: str, request: Message, response_type: type[M], *, deadline: float, idle: float | None = None
    ) -> AsyncGenerator[M, None]:
        """A call with many answers: see `TextileClient.answers`."""
        return self.client.answers(method, request, response_type, thread=self.thread, deadline=deadline, idle=idle)
