"""The tags of a repository."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache

from cachetools import LRUCache

from ipfsreg.bucket.errors import Corrupt, NotFound, TooLarge
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import DigestInvalid, NameUnknown
from ipfsreg.registry.names import Repository, Tag

TAGS_REMEMBERED = 200_000
"""How many tags, of all the repositories that were listed last, are kept for the next page of a listing."""

_TAG_MAX = 256


class Tags:
    """Which digest each tag points to. All writes to the bucket's tags must come through one of these."""

    def __init__(self, bucket: IBucket) -> None:
        self._bucket = bucket
        self._lists: LRUCache[Repository, Sequence[Tag]] = LRUCache(TAGS_REMEMBERED, getsizeof=_cost)
        self._changes = 0
        self._changing = KeyedLock()

    def changing(self, repository: Repository, tag: Tag) -> AbstractAsyncContextManager[None]:
        """A lock on a tag, for callers that read it before they change it."""
        return self._changing.of((repository, tag))

    async def get(self, repository: Repository, tag: Tag) -> Digest | None:
        """The digest that a tag points to, or None where there is no such tag.

        :raises Corrupt: where the tag's file is damaged.
        """
        path = layout.tag(repository, tag)
        try:
            return _digest_in(await self._bucket.get(path, _TAG_MAX))
        except NotFound:
            return None
        except (DigestInvalid, TooLarge):
            raise Corrupt(f"{path} has no digest in it") from None

    async def whole(self, repository: Repository, tag: Tag) -> Digest | None:
        """As `get`, but a damaged tag points to nothing."""
        try:
            return await self.get(repository, tag)
        except Corrupt:
            return None

    async def put(self, repository: Repository, tag: Tag, digest: Digest) -> None:
        """Point a tag to a digest, durably."""
        try:
            await self._bucket.put(layout.tag(repository, tag), f"{digest}\n".encode())
        finally:
            self._forget(repository)

    async def delete(self, repository: Repository, tag: Tag) -> None:
        """Remove a tag; nothing happens where there is none."""
        try:
            await self._bucket.remove(layout.tag(repository, tag))
        except NotFound:
            return
        finally:
            self._forget(repository)

    async def in_order(self, repository: Repository) -> Sequence[Tag]:
        """All tags in lexical order.

        :raises NameUnknown: where there is no such repository: it has neither manifests nor blobs.
        """
        known = self._lists.get(repository)
        if known is not None:
            return known
        changes = self._changes
        found = sorted(await layout.tags(self._bucket, repository), key=lexical)
        if not found and not await layout.is_there(self._bucket, repository):
            raise NameUnknown("repository name not known to registry", {"name": repository})
        # A listing that overlaps a change may show either state, and others may change a shared bucket.
        if found and changes == self._changes and not self._bucket.shared and _cost(found) <= TAGS_REMEMBERED:
            self._lists[repository] = found
        return found

    async def pointing_to(self, repository: Repository, digest: Digest, throttle: Throttle) -> Sequence[Tag]:
        """The tags that point to a digest."""
        found = []
        for tag in await layout.tags(self._bucket, repository):
            await throttle.step(10)
            if await self.whole(repository, tag) == digest:
                found.append(tag)
        return found

    def _forget(self, repository: Repository) -> None:
        self._changes += 1
        self._lists.pop(repository, None)


def lexical(tag: str) -> tuple[str, str]:
    """The key of the order in which tags are listed: "i.e. case-insensitive alphanumeric order"."""
    return tag.lower(), tag


def _cost(tags: Sequence[Tag]) -> int:
    return len(tags) + 1


@lru_cache(maxsize=1024)
def _digest_in(content: bytes) -> Digest:
    return parse_digest(content.decode("ascii", "replace").strip())
