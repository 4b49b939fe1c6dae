"""An open file of the server: it can only be read from its beginning to its end."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import IO

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ipfsreg.bucket.errors import TooLarge
from ipfsreg.bucket.interface import IReader

from .proto import bucketsd_pb2
from .server.bucket_calls import BucketCalls

SECONDS = 24 * 3600.0
"""The longest that reading one file may take; a stream on which nothing moves ends much earlier."""

CHECK_SECONDS_PER_MEBIBYTE = 1.0
"""How much longer the first bytes of a private file may take: the server reads and checks all of it before."""

GET_SECONDS_PER_MEBIBYTE = 8.0
"""What reading a small file may take beside ``timeout``: a slow line brings 128 KiB a second."""

Pieces = AsyncGenerator[bytes, None]


async def pull(bucket: BucketCalls, path: str, *, deadline: float = SECONDS, patience: float | None = None) -> Pieces:
    """The pieces of a file, at the pace of whoever iterates. `NotFound` where this bucket does not have it.

    All of them within ``deadline`` seconds. The server may be silent for ``patience`` seconds; if that is None, for as
    long as it may take for one answer: reads wait for no lock.
    """
    idle = bucket.client.timeouts.answer if patience is None else patience
    request = bucketsd_pb2.PullPathRequest(key=bucket.key, path=path)
    answers = bucket.answers("PullPath", request, bucketsd_pb2.PullPathResponse, deadline=deadline, idle=idle)
    async with aclosing(answers):
        async for answer in answers:
            yield answer.chunk


async def get_small(bucket: BucketCalls, path: str, limit: int, *, patient: bool = True) -> bytes:
    """The content of a small file; ``patient`` as with a private one.

    :raises TooLarge: where it is longer than ``limit`` bytes.
    """
    pieces = []
    length = 0
    seconds = bucket.client.timeouts.answer + GET_SECONDS_PER_MEBIBYTE * limit / 1024**2
    async with aclosing(pull(bucket, path, deadline=seconds, patience=seconds if patient else None)) as content:
        async for data in content:
            pieces.append(data)
            length += len(data)
            if length > limit:
                raise TooLarge(f"{path} is larger than {limit} bytes")
    return b"".join(pieces)


@implementer(IReader)
class RemoteReader:
    """A file of one bucket of the server. The server has no ranged read: what is not wanted is pulled and dropped.

    The first read gets the file as it was when it was opened. A read after that pulls the path anew: only what
    never changes, as content at a content-addressed path, should be read more than once.
    """

    size: int | None = None
    file: IO[bytes] | None = None

    def __init__(self, bucket: BucketCalls, path: str, patience: float, first: bytes, rest: Pieces) -> None:
        self._bucket = bucket
        self._path = path
        self._patience = patience
        self._opened: tuple[bytes, Pieces] | None = (first, rest)

    @classmethod
    async def open(cls, bucket: BucketCalls, path: str, patience: float) -> "RemoteReader":
        """Begin to pull; ``patience`` as in `pull`.

        :raises BucketError: where the server does not begin to send.
        """
        rest = pull(bucket, path, patience=patience)
        return cls(bucket, path, patience, await anext(rest, b""), rest)

    async def pieces(self, offset: int, length: int) -> Pieces:
        """See `IReader.pieces`. Fewer than ``length`` bytes come where the file ends before."""
        data, rest = self._opened or (b"", pull(self._bucket, self._path, patience=self._patience))
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
        opened, self._opened = self._opened, None
        if opened is not None:
            Deferred.fromCoroutine(opened[1].aclose())
