"""Open content: parts of it in memory, and all of it hashed."""

import os
from contextlib import aclosing

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.system_errors import bucket_error
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Hash

_PIECE = 1024 * 1024
_TO_THE_END = 1 << 62  # where a reader does not know the size


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
        part = b"".join([piece async for piece in reader.pieces(offset, length)])
    if len(part) != length:
        raise Corrupt("content became shorter while it was read")
    return part


async def hash_content(workers: Workers, reader: IReader, hash_: Hash, throttle: Throttle | None = None) -> int:
    """Put all of open content into a hash, a MiB at a time; answers its length in bytes.

    :raises Corrupt: where the disk cannot read it, or it ends before its size.
    """
    done, waiting = 0, []
    # A reader that still fetches may come to know the size while it is read, or only by the end.
    async with aclosing(reader.pieces(0, _TO_THE_END if reader.size is None else reader.size)) as pieces:
        try:
            async for piece in pieces:
                waiting.append(piece)
                done += len(piece)
                if sum(map(len, waiting)) >= _PIECE:
                    await workers.run(_update, hash_, waiting)
                    if throttle is not None:
                        await throttle.moved(sum(map(len, waiting)))
                    waiting = []
        except Corrupt:
            if reader.size is not None and done < reader.size:
                raise
            # That was the end: the digest tells whether it was the right one.
    await workers.run(_update, hash_, waiting)
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
