"""All that a repository holds, read at once: for background work that looks at everything."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

from ..bucket.errors import Corrupt, NotFound, TooLarge
from ..bucket.interface import IBucket
from . import layout
from .digest import Digest, digest_of
from .errors import ManifestInvalid
from .manifest import Manifest, parse_manifest
from .names import Repository, Tag
from .pace import Pace
from .record import Record, read_record
from .tags import Tags

T = TypeVar("T")

_AT_ONCE = 8  # enough not to wait for each small file in turn, and few enough to leave threads to the clients


@dataclass
class Inventory:
    """The manifests and tags of a repository."""

    listed: set[Digest] = field(default_factory=set)
    """Every manifest that the repository has, whole or not."""
    records: dict[Digest, Record] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    """Those whose content is there and whole."""
    tags: dict[Tag, Digest] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    """The paths of tags and records that say nothing sensible."""

    @property
    def damaged(self) -> bool:
        """Whether there is anything of which nobody knows what it refers to."""
        return bool(self.unreadable) or len(self.manifests) != len(self.listed)


async def take_inventory(bucket: IBucket, repository: Repository, pace: Pace) -> Inventory:
    """Read the records, manifests and tags of a repository.

    Tags come last: one that is moved while the manifests are read then counts where it is now.
    """
    found = Inventory()

    async def read_manifest(digest: Digest) -> None:
        await pace.step()
        try:
            record = await read_record(bucket, repository, digest)
        except (Corrupt, TooLarge):
            found.unreadable.append(layout.manifest_record(repository, digest))
            return
        if record is None:  # deleted since it was listed
            found.listed.discard(digest)
            return
        found.records[digest] = record
        manifest = await _whole_manifest(bucket, digest, record)
        if manifest is not None:
            found.manifests[digest] = manifest

    tags = Tags(bucket)

    async def read_tag(tag: Tag) -> None:
        await pace.step()
        try:
            digest = await tags.get(repository, tag)
        except (Corrupt, TooLarge):
            found.unreadable.append(layout.tag(repository, tag))
            return
        if digest is not None:
            found.tags[tag] = digest

    found.listed = {digest async for digest in layout.manifest_records(bucket, repository)}
    await _for_each(sorted(found.listed), read_manifest)
    await _for_each(await layout.tags(bucket, repository), read_tag)
    return found


async def _whole_manifest(bucket: IBucket, digest: Digest, record: Record) -> Manifest | None:
    try:
        content = await bucket.get(layout.blob(digest), max(record.size, 1))
        # A damaged manifest that can still be read would say the wrong things.
        whole = digest_of(content, digest.algorithm) == digest
        return parse_manifest(content, record.mediaType) if whole else None
    except (NotFound, ManifestInvalid, TooLarge):
        return None


async def _for_each(things: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    async def do(thing: T) -> None:
        await work(thing)

    left = iter(things)
    while some := [Deferred.fromCoroutine(do(each)) for each in islice(left, _AT_ONCE)]:
        try:
            await gatherResults(some, consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()
