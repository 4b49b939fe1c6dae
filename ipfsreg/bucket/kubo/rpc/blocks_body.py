"""The body of ``block/put``: several blocks as the files of a multipart form."""

import secrets
from collections.abc import Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
class BlocksBody:
    """It is in memory as a whole. ``moved`` is when it was given away."""

    def __init__(self, blocks: Iterable[bytes], clock: IReactorTime) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}".encode()
        self.moved = 0.0
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        pieces = [piece for block in blocks for piece in (head, block, b"\r\n")]
        self._content = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
        self.length = len(self._content)
        self._clock = clock

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """See `IBodyProducer`."""
        self.moved = self._clock.seconds()
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """See `IBodyProducer`. It is through by then."""

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""

    def stopProducing(self) -> None:
        """See `IBodyProducer`."""
