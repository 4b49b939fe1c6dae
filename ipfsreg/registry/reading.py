"""Parts of open content, in memory."""

import os

from twisted.internet.interfaces import IConsumer, IProducer
from zope.interface import implementer

from ..bucket.errors import Corrupt
from ..bucket.interface import IReader
from ..bucket.system_errors import bucket_error
from ..workers import Workers


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
