"""The content that all repositories share: each blob and manifest once, by digest."""

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from pathlib import Path

from cachetools import LRUCache
from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from ipfsreg.bucket.bulk import File, put_in_order
from ipfsreg.bucket.errors import Altered, Corrupt, KeyMissing, NotFound, TooLarge, Unchangeable
from ipfsreg.bucket.interface import IBucket, IReader, Stat
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, digest_of

from .checked_reads import CheckedReads, TellingReader
from .open_content import check_content

_NO_FILE = -1  # the length of what is no file: none that content can have, so it is looked at and put out of the way

_SHORT = 1 << 13  # of such contents the digests of some are remembered: at most 8 MiB
_REMEMBERED = 1 << 10

_INLINE = 1 << 16  # what is shorter is hashed faster than a thread is woken
_LONG_AT_ONCE = 8
"""So many longer contents are read and hashed at once: else all that are asked for at a time would wait in memory."""


def content_key(digest: Digest) -> tuple[str, Digest]:
    """The guard's key of a content."""
    return ("content", digest)


class ContentStore:
    """Content by digest in a bucket. Callers hold `content_key` in the guard until they have linked it.

    ``small`` is how long content may be, in bytes, that is read into memory though nobody said its size. With
    ``verify_reads`` whatever is opened is compared with its digest: see `CheckedReads`.
    """

    _log = Logger()

    def __init__(self, bucket: IBucket, workers: Workers, small: int, *, verify_reads: bool = False) -> None:
        self._bucket = bucket
        self._workers = workers
        self._small = small
        self._changing = KeyedLock()
        self._long: DeferredSemaphore = DeferredSemaphore(_LONG_AT_ONCE)
        self._checked = CheckedReads(workers, self._put_away) if verify_reads else None
        self._stored: LRUCache[Digest, object] = LRUCache(_REMEMBERED)
        """What was stored lately: a mark that each time is another one."""
        self._doubted: LRUCache[Digest, None] = LRUCache(_REMEMBERED)
        """What a shared bucket gave damaged. It may have been the way; a push of it is stored all the same."""

    async def whole_size(self, digest: Digest, expected: int | None) -> int | None:
        """The content's length in bytes, or None where it is not there whole.

        ``expected`` is what a link says, or None for one that says nothing. Where the content has another length, one
        of the two is damaged: the content is read, and put into quarantine if it is not what its digest says. If it
        is, then its length is the answer, and the link is wrong.
        """
        found = await self._stat(digest)
        if found is None:
            return None
        if found.size is None or found.size == expected:
            return expected
        async with self._changing.of(digest):
            checked = await check_content(self._bucket, self._workers, digest)
            if checked is not None and not checked.whole:
                await self._quarantine(digest)
            return checked.length if checked is not None and checked.whole else None

    async def has(self, digest: Digest, size: int) -> bool:
        """Whether content of that length is there, as far as the storage knows lengths."""
        found = await self._stat(digest)
        return found is not None and found.size in {None, size}

    async def size(self, digest: Digest) -> int | None:
        """The content's length in bytes, or None where it is not there or the storage does not know it."""
        found = await self._stat(digest)
        return None if found is None else found.size

    async def open(self, digest: Digest, size: int) -> IReader | None:
        """Open the content, or None where it is not there or has another length.

        :raises Altered: where it is encrypted and does not hold. On this disk it is out of the way then.
        """
        try:
            reader = await self._bucket.open(layout.blob(digest))
        except NotFound:
            return None
        except Corrupt as error:
            if not isinstance(error, Altered) and not self._bucket.shared:
                return None
            await self._found_damaged(digest)
            raise
        if reader.size is not None and reader.size != size:
            reader.close()
            return None
        if self._checked is not None:
            return self._checked.reader(reader, digest, size)
        # What the kernel sends nobody looks at.
        return reader if reader.file is not None else TellingReader(reader, lambda: self._found_damaged(digest))

    async def get(self, digest: Digest, size: int) -> bytes | None:
        """Small content, verified, or None where it is not there whole. ``size`` is what its record says.

        :raises Corrupt: where what came is not the content, but may be so because of the way and not of the storage.
        """
        if size <= _INLINE:
            return await self._get(digest, size)
        async with self._long:
            return await self._get(digest, size)

    async def _get(self, digest: Digest, size: int) -> bytes | None:
        try:
            content = await self._bucket.get(layout.blob(digest), max(size, self._small))
        except NotFound:
            return None
        except (TooLarge, Corrupt):
            content = b""  # longer than it should be, or no file, so not the content
        if not await self.matches(content, digest):
            if self._bucket.shared:
                raise Corrupt(f"{layout.blob(digest)}: what came is not the content; push it again, or run `verify`")
            await self.quarantine_if(digest, lambda: self._is_damaged(digest))
            return None
        return content

    async def put(self, digest: Digest, content: bytes, then: Sequence[File] = ()) -> None:
        """Store small content durably, unless it is there and right, and ``then`` what tells of it."""
        async with self._changing.of(digest):
            if await self._is_stored(digest, content):
                await put_in_order(self._bucket, then)
            else:
                await put_in_order(self._bucket, [(layout.blob(digest), content), *then])

    async def _is_stored(self, digest: Digest, content: bytes) -> bool:
        try:
            if await self._bucket.get(layout.blob(digest), len(content)) == content:
                return True
        except (NotFound, KeyMissing):
            return False
        except (TooLarge, Corrupt):
            pass
        if not self._bucket.shared:
            await self._quarantine(digest)  # what a remote bucket gave may only be a bad transfer: it is replaced
        return False

    async def put_file(self, digest: Digest, source: Path, size: int, then: Sequence[File] = ()) -> None:
        """Store a verified, fsynced file of the spool durably, unless it is there as far as a look at it tells.

        ``then`` is what tells of it. Several callers with the same content at once end with one transfer and one stored
        copy.
        """
        before = self._stored.get(digest)
        async with self._changing.of(digest):
            if await self._needs_putting(digest, size, was_stored=self._stored.get(digest) is not before):
                await put_in_order(self._bucket, [(layout.blob(digest), source), *then])
                self._doubted.pop(digest, None)
                self._stored[digest] = object()
            else:
                await put_in_order(self._bucket, then)

    async def was_quarantined(self, digest: Digest) -> bool:
        """Whether content with that digest was found damaged and taken out of the way, lately or long ago."""
        try:
            await self._bucket.stat(layout.quarantined(digest))
        except NotFound:
            return False
        except (Corrupt, KeyMissing):
            pass
        return True

    async def quarantine_if(self, digest: Digest, damaged: Callable[[], Awaitable[bool]]) -> bool:
        """Take content out of the way if it is (still) damaged, so that it is missing and can be pushed again.

        ``damaged`` is asked when nobody is storing the content, since a push may have healed it meanwhile.
        """
        async with self._changing.of(digest):
            if not await damaged():
                return False
            await self._quarantine(digest)
            return True

    async def _needs_putting(self, digest: Digest, size: int, *, was_stored: bool) -> bool:
        try:
            found = await self._stat(digest)
        except (Corrupt, KeyMissing):
            return True
        if found is not None and found.size not in {None, size}:
            await self._quarantine(digest)
            return True
        if found is None or was_stored:
            return found is None
        if not self._bucket.shared:
            return True  # to replace it costs less than to read whether it is whole
        return digest in self._doubted or not await self._can_be_opened(digest)

    async def _can_be_opened(self, digest: Digest) -> bool:
        try:
            (await self._bucket.open(layout.blob(digest))).close()
        except (NotFound, Corrupt, KeyMissing):
            return False
        return True

    async def _stat(self, digest: Digest) -> Stat | None:
        try:
            return await self._bucket.stat(layout.blob(digest))
        except NotFound:
            return None
        except Corrupt:
            if self._bucket.shared:
                raise
            return Stat(_NO_FILE)

    async def matches(self, content: bytes, digest: Digest) -> bool:
        """Whether content in memory is what a digest says; long content is hashed in a thread."""
        if len(content) <= _SHORT:
            return _digest_of_short(content, digest.algorithm) == digest
        if len(content) <= _INLINE:
            return digest_of(content, digest.algorithm) == digest
        return await self._workers.run(digest_of, content, digest.algorithm) == digest

    async def _found_damaged(self, digest: Digest) -> None:
        if self._bucket.shared:
            self._doubted[digest] = None
        else:
            await self._put_away(digest)

    async def _put_away(self, digest: Digest) -> None:
        await shield(self.quarantine_if(digest, lambda: self._is_damaged(digest)))

    async def _is_damaged(self, digest: Digest) -> bool:
        checked = await check_content(self._bucket, self._workers, digest)
        return checked is not None and not checked.whole

    async def _quarantine(self, digest: Digest) -> None:
        try:
            await self._bucket.move(layout.blob(digest), layout.quarantined(digest))
        except Unchangeable:
            raise Corrupt(f"{layout.blob(digest)} of {self._bucket.name} is damaged, where it was published") from None
        self._log.error(
            "Damaged content {digest} was moved to {path}. `ipfsreg verify` names the images that use it; "
            "pushing one of them again heals it.",
            digest=str(digest),
            path=layout.quarantined(digest),
        )


@lru_cache(maxsize=_REMEMBERED)
def _digest_of_short(content: bytes, algorithm: str) -> Digest:
    """What is served from memory again and again is one object, whose digest need not be computed each time."""
    return digest_of(content, algorithm)
