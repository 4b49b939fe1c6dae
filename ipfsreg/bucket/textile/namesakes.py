"""Threads that have the name of the first one, and a bucket of its name.

Names of threads are not unique on a buckd, and the program that this one replaces makes several of them when it is
asked several things at once for the first time: its files are spread over them. Writes go to the thread with the lowest
id; the others are read as well, and removed from.
"""

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ipfsreg.bucket.errors import Refused

from .placement import BucketName, Place
from .server.client import TextileClient
from .server.encoding import to_base32
from .server.threads import Threads
from .shard import Shard


class _OneThread:
    """For a `Shard`: a thread by its id in place of its name."""

    def __init__(self, threads: Threads, identifier: bytes) -> None:
        self._threads = threads
        self._identifier = identifier
        self.forget = threads.forget

    async def find(self, name: str) -> bytes | None:
        """See `Threads.find`."""
        return self._identifier if self._identifier in await self._threads.find_all(name) else None

    async def find_or_create(self, name: str) -> tuple[bytes, bool]:
        """See `Threads.find_or_create`; it is never made."""
        return self._identifier, False


class Namesakes:
    """The buckets in them that belong to the same owner as the first one: whoever reaches a buckd may make others."""

    _log = Logger()

    def __init__(
        self, client: TextileClient, threads: Threads, clock: IReactorTime, first: Callable[[], Shard]
    ) -> None:
        self._client = client
        self._threads = threads
        self._clock = clock
        self._first = first
        self._shards: dict[bytes, Shard | None] = {}
        """By the thread's id; None where it has no such bucket."""

    async def all(self, name: BucketName) -> Sequence[Shard]:
        """Those that there are, when the first one was found."""
        if self._client.is_hub:
            return []
        others = [each for each in await self._threads.find_all(name.thread) if to_base32(each) != self._first().thread]
        found = [shard for each in others if (shard := await self._shard(each, name)) is not None]
        return [shard for shard in found if await shard.exists()]

    async def _shard(self, thread: bytes, name: BucketName) -> Shard | None:
        if thread not in self._shards:
            first = self._first()
            only = _OneThread(self._threads, thread)
            shard = Shard(self._client, only, self._clock, Place(0, 0), name, lambda: first.form)
            try:
                ours = await shard.exists() and (shard.owner, shard.private) == (first.owner, first.private)
            except Refused:  # hidden, so somebody else's
                ours = False
            self._shards[thread] = shard if ours else None
            if ours:
                self._log.warn(
                    "The server has several threads named {name.thread} with a bucket {name.bucket}: {first} is "
                    "written to, and {other} is read as well.",
                    name=name,
                    first=first.thread,
                    other=shard.thread,
                )
        return self._shards[thread]
