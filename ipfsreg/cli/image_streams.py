"""The command's side of `streams`."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import IO, Any

from treq.client import HTTPClient
from treq.content import collect
from twisted.internet.threads import deferToThread
from twisted.web.client import ResponseFailed

from ipfsreg.app.control.streams import MISSING_HEADER, ROOT_HEADER
from ipfsreg.flow.streams import PiecesBody

from .daemon_client import ControlError, check, result_of, talk, url_of

PIECE = 256 * 1024


async def export_through(
    reactor: Any,
    socket: Path,
    name: str,
    began: Callable[[int], None],
    write: Callable[[bytes], None],
) -> tuple[str, int]:
    """Have the daemon export an image; answers the CID of the root, and how many manifests are missing.

    ``began`` is told how many bytes there will be, and ``write`` given all of them.

    :raises ControlError: where that fails.
    """

    async def asking(client: HTTPClient) -> tuple[str, int]:
        response: Any = await client.post(url_of("export"), params={"name": name}, unbuffered=True)
        await check(response)
        began(response.length)
        try:
            await collect(response, write)
        except ResponseFailed:
            raise ControlError("the daemon could not read all of the image, or was stopped; its log says why") from None
        (root,) = response.headers.getRawHeaders(ROOT_HEADER)
        (missing,) = response.headers.getRawHeaders(MISSING_HEADER)
        return root, int(missing)

    return await talk(reactor, socket, asking)


async def import_through(
    reactor: Any,
    socket: Path,
    name: str | None,
    file: IO[bytes],
    length: int | None,
    moved: Callable[[int], None],
) -> dict[str, Any]:
    """Have the daemon import an image from an open file of ``length`` bytes, if that is known.

    ``moved`` is told of each piece's length.

    :raises ControlError: where that fails.
    """
    body = PiecesBody(_pieces(file, moved), length)

    async def asking(client: HTTPClient) -> dict[str, Any]:
        try:
            params = {} if name is None else {"name": name}
            return await result_of(await client.post(url_of("import"), params=params, data=body))
        finally:
            body.stopProducing()  # an answer that came early leaves it waiting

    return await talk(reactor, socket, asking)


async def _pieces(file: IO[bytes], moved: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    """A file, read in a thread."""
    while piece := await deferToThread(file.read, PIECE):
        yield piece
        moved(len(piece))
