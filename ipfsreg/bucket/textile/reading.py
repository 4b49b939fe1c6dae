"""An open file of the server: it can only be read from its beginning to its end."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import IO

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ipfsreg.bucket.interface import IReader

from .client import BUCKETS, TextileClient
from .proto import bucketsd_pb2
from .shard import Shard

SECONDS = 24 * 3600.0
"""The longest that reading one file may take; a stream on which nothing moves ends much earlier."""

CHECK_SECONDS_PER_MEBIBYTE = 1.0
"""How much longer the first bytes of a private file may take: the server reads and checks all of it before."""

GET_SECONDS_PER_MEBIBYTE = 8.0
"""What reading a small file may take beside ``timeout``: a slow line brings 128 KiB a second."""

Pieces = AsyncGenerator[bytes, None]


async def pull(
    client: TextileClient, shard: Shard, path: str, *, deadline: float = SECONDS, patience: float | None = None
) -> Pieces:
    """The pieces of a file, at the pace of whoever iterates. `NotFound` where this bucket does not have it.

    All of them within ``deadline`` seconds. The server may be silent for ``patience`` seconds, ``timeout`` if None:
    reads wait for no lock.
    """
    request = bucketsd_pb2.PullPathRequest(key=shard.key, path=path)
    answers = client.server_stream(
        BUCKETS,
        "PullPath",
        request,
        bucketsd_pb2.PullPathResponse,
        thread=shard.thread,
        deadline=deadline,
        idle=client.timeout if patience is None else patience,
    )
    try:
        async for answer in answers:
            yield answer.chunk
    finally:
        await answers.aclose()


@implementer(IReader)
class RemoteReader:
    """A file of one bucket of the server. The server has no ranged read: what is not wanted is pulled and dropped.

    The first read gets the file as it was when it was opened. A read after that pulls the path anew: only what
    never changes, as content at a content-addressed path, should be read more than once.
    """

    size: int | None = None
    file: IO[bytes] | None = None

    def __init__(
        self, client: TextileClient, shard: Shard, path: str, patience: float, first: bytes, rest: Pieces
    ) -> None:
        self._client = client
        self._shard = shard
        self._path = path
        self._patience = patience
        self._opened: tuple[bytes, Pieces] | None = (first, rest)

    @classmethod
    async def open(cls, client: TextileClient, shard: Shard, path: str, patience: float) -> "RemoteReader":
        """Begin to pull; ``patience`` as in `pull`.

        :raises BucketError: where the server does not begin to send.
        """
        rest = pull(client, shard, path, patience=patience)
        return cls(client, shard, path, patience, await anext(rest, b""), rest)

    async def pieces(self, offset: int, length: int) -> Pieces:
        """See `IReader.pieces`. Fewer than ``length`` bytes come where the file ends before."""
        data, rest = self._opened or (b"", pull(self._client, self._shard, self._path, patience=self._patience))
        self._opened = None
        async with aclosing(rest):
            position, end = 0, offset + length
            while position < end:
                wanted = data[max(offset - position, 0) : end - position]
                position += len(data)
                if wanted:
                    yield wanted
                if position < end:
                    try:
                        data = await anext(rest)
                    except StopAsyncIteration:
                        return

    def close(self) -> None:
        """See `IReader.close`."""
        opened, self._opened = self._opened, None
        if opened is not None:
            Deferred.fromCoroutine(opened[1].aclose())
