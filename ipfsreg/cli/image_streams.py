"""The command's side of `streams`."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from treq.client import HTTPClient
from treq.content import collect
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.threads import deferToThread
from twisted.web.client import ResponseFailed
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ipfsreg.app.control.streams import MISSING_HEADER, ROOT_HEADER
from ipfsreg.bucket.interface import ConsumerGone
from ipfsreg.flow.streams import Gate

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
    body = _FileBody(reactor, file, length, moved)

    async def asking(client: HTTPClient) -> dict[str, Any]:
        try:
            params = {} if name is None else {"name": name}
            return await result_of(await client.post(url_of("import"), params=params, data=body))
        finally:
            body.stopProducing()  # an answer that came early leaves it waiting

    return await talk(reactor, socket, asking)


@implementer(IBodyProducer)
class _FileBody(Gate):
    """A file as a request's body, read in a thread, a piece at a time."""

    def __init__(self, reactor: Any, file: IO[bytes], length: int | None, moved: Callable[[int], None]) -> None:
        super().__init__()
        self.length = UNKNOWN_LENGTH if length is None else length
        self._reactor = reactor
        self._file = file
        self._moved = moved

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """See `IBodyProducer`."""
        return Deferred.fromCoroutine(self._produce(consumer))

    async def _produce(self, consumer: IConsumer) -> None:
        try:
            while piece := await deferToThread(self._file.read, PIECE):
                await self.opened()
                consumer.write(piece)
                self._moved(len(piece))
        except ConsumerGone:  # there is an answer already, or the connection is gone: that says why
            await Deferred()
