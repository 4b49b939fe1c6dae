"""Open content: parts of it in memory, all of it hashed, and compared with its digest."""

import os
from contextlib import aclosing, closing
from dataclasses import dataclass

from ipfsreg.bucket.errors import Corrupt, NotFound, bucket_error
from ipfsreg.bucket.interface import IBucket, IReader
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, Hash, new_hash

_PIECE = 1024 * 1024
_TO_THE_END = 1 << 62  # where a reader does not know the size


@dataclass(frozen=True, slots=True)
class Checked:
    """Content that was read and hashed. ``length`` is in bytes."""

    whole: bool
    length: int


async def check_content(
    bucket: IBucket, workers: Workers, digest: Digest, throttle: Throttle | None = None
) -> Checked | None:
    """Read content and compare it with its digest. None where there is no such content."""
    try:
        reader = await bucket.open(layout.blob(digest))
    except NotFound:
        return None
    except Corrupt:
        if bucket.shared:
            raise  # it may have been the way
        return Checked(False, 0)  # no file is in the content's place
    hash_ = new_hash(digest.algorithm)
    with closing(reader):
        try:
            length = await hash_content(workers, reader, hash_, throttle)
        except Corrupt:
            return Checked(False, 0)  # the disk cannot read it, or it became shorter
    return Checked(hash_.hexdigest() == digest.hex, length)


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
    # A reader that still fetches may learn the size while it is read, or only at the end.
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
            # The reader did not know the size, so this is the end. The digest tells whether it came too early.
    await workers.run(_update, hash_, waiting)
    if throttle is not None:
        await (throttle.read([done]) if done < _PIECE else throttle.moved(done % _PIECE))
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
