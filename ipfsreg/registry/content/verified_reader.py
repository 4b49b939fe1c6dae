"""Content from elsewhere, compared with its digest while it is read."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.registry.digest import Digest, new_hash

HELD_BACK = 16 * 1024
"""How many bytes at the end are passed on only once the digest is known to be right."""


@implementer(IReader)
class VerifiedReader:
    """Open content that should have a digest and ``size`` bytes.

    Read whole, it is compared with the digest, and the last bytes are not passed on where it has another one: so a
    client never has all of something wrong. A part is as right as what is below this reader makes it.
    """

    file = None

    def __init__(self, reader: IReader, digest: Digest, size: int) -> None:
        self.size = size
        self._reader = reader
        self._digest = digest

    def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`; `Corrupt` where the content is not what its digest says."""
        return self._verified() if (offset, length) == (0, self.size) else self._reader.pieces(offset, length)

    async def _verified(self) -> AsyncGenerator[bytes, None]:
        hash_ = new_hash(self._digest.algorithm)
        left, withheld = self.size, b""
        async with aclosing(self._reader.pieces(0, self.size)) as pieces:
            async for piece in pieces:
                hash_.update(piece)
                left -= len(piece)
                ready = withheld + piece
                passed = max(len(ready) - max(HELD_BACK - max(left, 0), 0), 0)
                withheld = ready[passed:]
                if passed:
                    yield ready[:passed]
        if left or hash_.hexdigest() != self._digest.hex:
            raise Corrupt(f"what was read for {self._digest} is not that content")
        if withheld:
            yield withheld

    def close(self) -> None:
        self._reader.close()
