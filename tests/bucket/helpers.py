"""Small things that the tests of buckets do again and again."""

from collections.abc import Awaitable
from contextlib import suppress

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IBucket

from .storage import Collecting, read_into

LIMIT = 1024 * 1024


def spawn(coroutine: Awaitable[object]) -> "Deferred[object]":
    async def run() -> object:
        return await coroutine

    return Deferred.fromCoroutine(run())


async def together(*coroutines: Awaitable[object]) -> list[object]:
    return list(await gatherResults([spawn(each) for each in coroutines], consumeErrors=True))


async def pause(seconds: float = 0.0) -> None:
    await deferLater(reactor, seconds, lambda: None)


async def names(bucket: IBucket, directory: str) -> list[str]:
    return [entry.name for entry in await bucket.list(directory)]


async def read(bucket: IBucket, path: str) -> bytes:
    """The whole of a file by way of `open`."""
    reader = await bucket.open(path)
    consumer = Collecting()
    try:
        if reader.size is not None:
            await read_into(reader, consumer, 0, reader.size)
        else:
            with suppress(Corrupt):  # some say that it ended before, some just end
                await read_into(reader, consumer, 0, 1 << 62)
    finally:
        reader.close()
    return consumer.content
