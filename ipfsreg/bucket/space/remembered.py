"""What this process wrote into small files, so that the daemon need not open them for it to be read.

To read a file the daemon makes a plaintext copy, which it looks at ten times a second for ever. Of what was written
here the content is known: only the CID has to be asked for, to see that nobody has written something else since.
"""

from contextlib import suppress

from cachetools import LRUCache
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from ...uninterrupted import uninterrupted
from ..errors import BucketError
from .listings import QUICK_SECONDS, Listings

MEMORY = 16 * 1024**2
LENGTH_MAX = 256 * 1024

_OVERHEAD = 500


class Remembered:
    """The content of small files by path, each with the CID that the daemon listed after it was written.

    A directory that the daemon lists slowly is not listed for this: then it rather opens the file. Whoever writes a
    path does so alone, and calls `forget` before and `learn` after.
    """

    def __init__(self, listings: Listings, clock: IReactorTime) -> None:
        self._listings = listings
        self._clock = clock
        self._files: LRUCache[str, tuple[str, bytes]] = LRUCache(
            MEMORY, getsizeof=lambda file: len(file[1]) + _OVERHEAD
        )
        self._learning: dict[str, object] = {}

    def forget(self, path: str) -> None:
        """The path is about to be written or removed."""
        self._files.pop(path, None)
        self._learning.pop(path, None)

    async def learn(self, path: str, content: bytes) -> None:
        """The content was just written to the path. Waits a moment until it is learned, and no longer."""
        if len(content) > LENGTH_MAX or not self._is_quick(path):
            return
        with suppress(DeferredTimeout):
            await uninterrupted(self._learn(path, content)).addTimeout(QUICK_SECONDS, self._clock)

    async def _learn(self, path: str, content: bytes) -> None:
        token = self._learning[path] = object()
        try:
            cid = (await self._listings.entry(path)).ipfsHash
        except BucketError:
            cid = ""
        # Unless it is written again meanwhile, when the CID may be of either content.
        if self._learning.get(path) is token:
            del self._learning[path]
            if cid:
                self._files[path] = (cid, content)

    async def get(self, path: str) -> bytes | None:
        """The content, if the file that is there now is the one that was written here.

        :raises NotFound: where there is no file any more.
        :raises BucketError: where the daemon does not say.
        """
        file = self._files.get(path)
        if file is None or not self._is_quick(path):
            return None
        cid, content = file
        if (await self._listings.entry(path)).ipfsHash == cid:
            return content
        self._files.pop(path, None)
        return None

    def _is_quick(self, path: str) -> bool:
        return self._listings.is_quick(path.rpartition("/")[0])
