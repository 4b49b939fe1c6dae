"""The tags of a repository."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache

from ipfsreg.bucket.bulk import get_each, names_with
from ipfsreg.bucket.errors import BucketError, Corrupt, NotFound, TooLarge
from ipfsreg.bucket.interface import Entry, IBucket
from ipfsreg.flow.gather import batches
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry import layout
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import DigestInvalid, NameUnknown
from ipfsreg.registry.names import Repository, Tag, is_tag

from .immutable import ImmutableTags
from .tag_index import TagIndex
from .to_learn import ToLearn

PAGE = 1000
"""How many tags are read from the index at a time."""

_TAG_MAX = 256
_READ_AT_ONCE = 64


class Tags:
    """Which digest each tag points to. All writes to the bucket's tags must come through one of these.

    ``stored`` is the bucket beneath the cache of small files, where tags are read that no client asked for.
    ``immutable`` are those that stay where they point to, which callers see to.
    """

    def __init__(self, storage: Storage, stored: IBucket, immutable: ImmutableTags) -> None:
        self.immutable = immutable
        self._bucket = storage.bucket
        self._stored = stored
        self._workers = storage.workers
        self._throttle = storage.throttle
        self._index = TagIndex(storage.index)
        self._changing = KeyedLock()
        self._learning = KeyedLock()
        self._hurried: set[Repository] = set()
        self.to_learn = ToLearn()
        """The repositories whose tags the index should have; `learn` has it read them."""

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
        """Point a tag to a digest, durably. The caller holds `changing`, and the manifest in the guard."""
        self._index.pointing(repository, tag, digest)
        try:
            await self._bucket.put(layout.tag(repository, tag), _content(digest))
        except BaseException:
            self._index.may_point(repository, tag, digest)
            raise
        self._index.pointed(repository, tag, digest)
        self.to_learn.added(repository)

    async def delete(self, repository: Repository, tag: Tag) -> None:
        """Remove a tag; nothing happens where there is none. The caller holds `changing`."""
        try:
            await self._bucket.remove(layout.tag(repository, tag))
        except NotFound:
            pass
        except BaseException:
            self._index.doubt(repository)
            raise
        self._index.removed(repository, tag)

    async def count(self, repository: Repository) -> int:
        """How many tags a repository has.

        :raises NameUnknown: as `in_order`.
        """
        known = None if self._bucket.shared else await self._index.count(repository)
        return sum([len(some) async for some in self.pages(repository)]) if known is None else known

    async def in_order(
        self,
        repository: Repository,
        after: str | None = None,
        most: int | None = None,
        part: str = "",
        *,
        backwards: bool = False,
    ) -> list[Tag]:
        """The tags behind ``after`` in lexical order, at most so many; ``backwards``, those before it from there on.

        Only those with ``part`` in them, whatever its case.

        :raises NameUnknown: where there is no such repository: it has neither manifests nor blobs.
        """
        found = None
        if not self._bucket.shared:
            found = await self._index.in_order(repository, after, most, part, backwards=backwards)
        if found is None:
            found = await self._listed(repository, after, most, part, backwards=backwards)
        if not found and after is None:
            await self._check_there(repository)
        return found

    async def pages(self, repository: Repository, after: str | None = None) -> AsyncGenerator[Sequence[Tag], None]:
        """All tags behind ``after`` in lexical order, some at a time, however many there are.

        :raises NameUnknown: before the first ones, as `in_order`.
        """
        is_first = after is None
        known: Sequence[Tag] | None = None
        while not self._bucket.shared:
            known = await self._index.in_order(repository, after, PAGE)
            if not known:
                break
            is_first = False
            yield known
            after = known[-1]
        rest = await self._listed(repository, after) if known is None else ()
        if is_first and not rest:
            await self._check_there(repository)
        for some in batches(rest, PAGE):
            yield some

    async def _listed(
        self,
        repository: Repository,
        after: str | None,
        most: int | None = None,
        part: str = "",
        *,
        backwards: bool = False,
    ) -> list[Tag]:
        entries = await self._bucket.list(layout.tags_of(repository))
        self.to_learn.listed(repository, len(entries))
        return await self._workers.run(_sorted_tags, entries, after, most, part.lower(), backwards=backwards)

    async def _check_there(self, repository: Repository) -> None:
        if not await layout.is_there(self._bucket, repository):
            raise NameUnknown("repository name not known to registry", {"name": repository})

    async def pointing_to(self, repository: Repository, digest: Digest) -> Sequence[Tag]:
        """The tags that may point to a digest, and no others do. The caller keeps others from pointing to it."""
        if not self._bucket.shared:
            known = await self._index.pointing_to(repository, digest)
            if known is None:
                self._hurried.add(repository)
                await self.learn(repository, self._throttle())
                known = await self._index.pointing_to(repository, digest)
            if known is not None:
                return known
        told = await names_with(self._stored, layout.tags_of(repository), _content(digest))
        if told is not None:
            return [Tag(name) for name in (*told.certain, *told.possible) if is_tag(name)]
        found: list[Tag] = []
        async for some in read_tags(self._stored, repository):
            found += [tag for tag, target in some if target == digest]
        return found

    async def learn(self, repository: Repository, throttle: Throttle) -> None:
        """Have the index know the tags of a repository, of a bucket that nobody else writes to."""
        async with self._learning.of(repository):
            try:
                if await self._index.knows(repository):
                    return
                read_all = False
                self._index.begin(repository)
                try:
                    async for some in read_tags(self._stored, repository):
                        there = [(tag, to) for tag, to in some if not isinstance(to, NotFound)]
                        found = [(tag, to if isinstance(to, Digest) else None) for tag, to in there]
                        await self._index.add(repository, found)
                        if repository not in self._hurried:  # a client waits
                            await throttle.step(len(some))
                    read_all = True
                finally:
                    self._index.end(repository, read_all=read_all)
            finally:
                self._hurried.discard(repository)


async def read_tags(
    bucket: IBucket, repository: Repository
) -> AsyncIterator[Sequence[tuple[Tag, Digest | BucketError]]]:
    """All tags of a repository in any order, some at a time, with where they point, or why that is not known."""
    async for tags in layout.tags(bucket, repository):
        for some in batches(tags, _READ_AT_ONCE):
            yield await read_named(bucket, repository, some)


async def read_named(
    bucket: IBucket, repository: Repository, tags: Sequence[Tag]
) -> Sequence[tuple[Tag, Digest | BucketError]]:
    """As `read_tags`, of some tags."""
    contents = await get_each(bucket, [(layout.tag(repository, tag), _TAG_MAX) for tag in tags])
    return [
        (tag, _target(repository, tag, content) if isinstance(content, bytes) else content)
        for tag, content in zip(tags, contents, strict=True)
    ]


def _target(repository: Repository, tag: Tag, content: bytes) -> Digest | BucketError:
    try:
        return parse_digest(content.decode("ascii", "replace").strip())
    except DigestInvalid:
        return Corrupt(f"{layout.tag(repository, tag)} has no digest in it")


def _content(digest: Digest) -> bytes:
    return f"{digest}\n".encode()


def lexical(tag: str) -> tuple[str, str]:
    """The key of the order in which tags are listed: "i.e. case-insensitive alphanumeric order"."""
    return tag.lower(), tag


def _sorted_tags(
    entries: Sequence[Entry], after: str | None, most: int | None, part: str, *, backwards: bool
) -> list[Tag]:
    tags = [Tag(entry.name) for entry in entries if is_tag(entry.name) and part in entry.name.lower()]
    if after is not None:
        begin = lexical(after)
        tags = [tag for tag in tags if (lexical(tag) < begin if backwards else lexical(tag) > begin)]
    return sorted(tags, key=lexical, reverse=backwards)[:most]


@lru_cache(maxsize=1024)
def _digest_in(content: bytes) -> Digest:
    return parse_digest(content.decode("ascii", "replace").strip())
