"""Open content: parts of it in memory, and all of it hashed."""

import os

from twisted.internet.interfaces import IConsumer, IProducer
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.system_errors import bucket_error
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Hash

_PIECE = 1024 * 1024


async def read_part(workers: Workers, reader: IReader, offset: int, length: int) -> bytes:
    """Some bytes of open content: exactly ``length``, which should be no more than a MiB or two.

    :raises Corrupt: where the content ends before.
    """
    if reader.file is not None:
        try:
            part = await workers.run(_pread, reader.file.fileno(), offset, length)
        except OSError as error:
            raise bucket_error(error) from error
    else:
        collector = _Collector()
        await reader.read(collector, offset, length)
        part = b"".join(collector.pieces)
    if len(part) != length:
        raise Corrupt("content became shorter while it was read")
    return part


async def hash_content(workers: Workers, reader: IReader, hash_: Hash, throttle: Throttle | None = None) -> int:
    """Put all of open content into a hash, a MiB at a time; answers its length in bytes.

    :raises Corrupt: where the disk cannot read it, or it ends before its size.
    """
    done = 0
    # A reader that still fetches may come to know the size while it is read, or only by the end.
    while (size := reader.size) is None or done < size:
        wanted = _PIECE if size is None else min(_PIECE, size - done)
        collector = _Collector()
        try:
            await reader.read(collector, done, wanted)
            ended = False
        except Corrupt:
            if size is not None:
                raise
            ended = True  # that was the end: the digest tells whether it was the right one
        length = sum(map(len, collector.pieces))
        await workers.run(_update, hash_, collector.pieces)
        done += length
        if ended or (size is None and length < wanted):
            break
        if throttle is not None:
            await throttle.moved(length)
    return done


def _update(hash_: Hash, pieces: list[bytes]) -> None:
    for piece in pieces:
        hash_.update(piece)


def _pread(descriptor: int, offset: int, length: int) -> bytes:
    pieces = []
    while length and (piece := os.pread(descriptor, length, offset)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@implementer(IConsumer)
class _Collector:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`: bounded by the length that is asked for."""

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
