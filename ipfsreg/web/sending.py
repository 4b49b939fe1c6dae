"""A stored file as the content of an answer.

Where it is a whole file on this disk the kernel copies it to the socket (`sendfile`); else it is read through the
bucket's interface, with back-pressure.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.sendfile import FileEnds, SocketGone
from ipfsreg.flow.streams import ConsumerGone, write_pieces
from ipfsreg.flow.workers import Workers

from .http.body import ClientGone
from .http.request import Request
from .ranges import Part


async def send(request: Request, workers: Workers, reader: IReader, parts: Sequence[Part]) -> None:
    """Send parts of an open file; the answer, with its Content-Length, must have been prepared.

    ``workers`` wait for the disk.
    Where the file is read here, the headers go out with its first byte: where none comes, another answer can still be
    given. The kernel is given the headers before it is known whether the disk can read the file.

    :raises ClientGone: where the client went away or was dropped.
    """
    if len(parts) > 1:
        await send_pieces(request, _pieces(reader, parts))
        return
    ((_, offset, end),) = parts
    length = end - offset
    if not length:
        return
    if reader.file is None or request.is_secure:
        await send_pieces(request, reader.pieces(offset, length))
        return
    try:
        await request.send_file(workers, reader.file.fileno(), offset, length)
    except SocketGone:
        raise ClientGone from None
    except FileEnds:
        raise Corrupt("a file became shorter while it was sent") from None
    except OSError as error:
        raise Unavailable(f"a stored file cannot be read: {error}") from error


async def send_pieces(request: Request, pieces: AsyncGenerator[bytes, None]) -> None:
    """Send what an iterator gives, asked for a piece only when the client has taken what came before.

    :raises ClientGone: where the client went away or was dropped.
    """
    try:
        await write_pieces(request, pieces)
    except ConsumerGone:
        raise ClientGone from None


async def _pieces(reader: IReader, parts: Sequence[Part]) -> AsyncGenerator[bytes, None]:
    for head, first, end in parts:
        before = head
        if first < end:
            async with aclosing(reader.pieces(first, end - first)) as pieces:
                async for piece in pieces:
                    yield before + piece if before else piece
                    before = b""
        if before:
            yield before
