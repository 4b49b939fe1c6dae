"""All that a repository holds, for background work that looks at everything.

A repository may have a hundred thousand manifests, and one of them may list as many others. So each is parsed in a
thread, and what is kept of it are the numbers of the things it refers to that are in the repository.
"""

from array import array
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from ipfsreg.bucket.errors import Corrupt, Forbidden, NotFound, TooLarge
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.gather import gather
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import ManifestInvalid
from ipfsreg.registry.manifest import Manifest, parse_manifest
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.record import Record, read_record
from ipfsreg.registry.repository import tags

T = TypeVar("T")

_AT_ONCE = 8
"""Enough not to wait for each small file in turn, and few enough to leave threads to the clients."""

_BYTES_AT_ONCE = 1024 * 1024
"""How much is read at once and parsed in one call of a thread, unless one manifest is longer."""


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A manifest that the repository has. ``record`` is None for one that says nothing sensible.

    ``found`` is None where the content is not there, not whole, not as long as the record says, or no such manifest.
    """

    digest: Digest
    record: Record | None
    found: T | None


@dataclass(frozen=True, slots=True)
class Known:
    """What matters of a whole manifest. ``manifests`` and ``links`` are numbers within the `Inventory`."""

    released: float
    discarded: bool
    subject: Digest | None
    manifests: "array[int]"
    """The manifests that it lists, as far as the repository has them."""
    links: "array[int]"
    """The blobs that it refers to, as far as the repository has them."""


@dataclass
class Inventory:
    """The manifests and tags of a repository.

    Each manifest and each link has a number, which is its place in ``listed`` or ``links``.
    """

    listed: Mapping[Digest, int] = field(default_factory=dict)
    """Every manifest that the repository had when it was listed, whole or not."""
    links: Mapping[Digest, int] = field(default_factory=dict)
    """Every blob that the repository had when it was listed."""
    gone: set[int] = field(default_factory=set)
    """The manifests that were removed since."""
    known: dict[int, Known] = field(default_factory=dict)
    """The manifests that are there and whole."""
    tags: dict[Tag, Digest] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    """The paths of tags and records that say nothing sensible."""

    @property
    def damaged(self) -> bool:
        """Whether something is damaged, so that its references are not known."""
        return bool(self.unreadable) or len(self.known) + len(self.gone) != len(self.listed)

    def has(self, digest: Digest) -> bool:
        """Whether the repository has a manifest."""
        number = self.listed.get(digest)
        return number is not None and number not in self.gone

    def weight(self, number: int) -> int:
        """How many steps of a `Throttle` it is to look at all that a manifest refers to."""
        known = self.known[number]
        return 1 + (len(known.manifests) + len(known.links)) // 200


async def take_inventory(bucket: IBucket, workers: Workers, repository: Repository, throttle: Throttle) -> Inventory:
    """Read the records, manifests and tags of a repository.

    What is listed comes first: nothing else is looked at. Tags come last: one that is moved while the manifests are
    read then counts where it is now.
    """
    links = await numbered(layout.blob_links(bucket, repository))
    contents = Inventory(await numbered(layout.manifest_records(bucket, repository)), links)

    def examine(digest: Digest, record: Record, manifest: Manifest) -> Known:
        references = (*(blob for blob, _ in manifest.blobs), *manifest.foreign, *manifest.manifests)
        return Known(
            released=record.released,
            discarded=record.discarded,
            subject=manifest.subject,
            manifests=_numbers(manifest.manifests, contents.listed),
            links=_numbers(references, links),
        )

    contents.gone.update(contents.listed.values())
    async for each in read_manifests(bucket, workers, repository, contents.listed, throttle, examine):
        number = contents.listed[each.digest]
        contents.gone.discard(number)
        if each.record is None:
            contents.unreadable.append(layout.manifest_record(repository, each.digest))
        elif each.found is not None:
            contents.known[number] = each.found
    contents.tags, unreadable = await read_tags(bucket, repository, throttle)
    contents.unreadable += unreadable
    return contents


async def numbered(digests: AsyncIterator[Digest]) -> dict[Digest, int]:
    """Digests with their numbers, in the order in which they come."""
    found: dict[Digest, int] = {}
    async for digest in digests:
        found.setdefault(digest, len(found))
    return found


async def read_manifests(
    bucket: IBucket,
    workers: Workers,
    repository: Repository,
    digests: Iterable[Digest],
    throttle: Throttle,
    examine: Callable[[Digest, Record, Manifest], T],
) -> AsyncIterator[Read[T]]:
    """Some manifests of a repository, without those that it does not have (any more).

    ``examine`` is called in a thread for each that is whole, and its answer is all that is kept of the manifest.
    """

    async def record_of(digest: Digest) -> tuple[Digest, Record | None] | None:
        try:
            record = await read_record(bucket, repository, digest)
        except (Corrupt, Forbidden):
            return digest, None
        return None if record is None else (digest, record)

    async def content_of(each: tuple[Digest, Record]) -> tuple[Digest, Record, bytes | None]:
        try:
            return *each, await bucket.get(layout.blob(each[0]), max(each[1].size, 1))
        except (NotFound, TooLarge, Corrupt, Forbidden):
            return *each, None

    for some in _batches(digests):
        await throttle.step(len(some))
        there = [each for each in await gather(record_of, some) if each is not None]
        for digest in [digest for digest, record in there if record is None]:
            yield Read(digest, None, None)
        for group in _groups([(digest, record) for digest, record in there if record is not None]):
            for found in await workers.run(_examine_all, await gather(content_of, group), examine):
                yield found


async def read_tags(bucket: IBucket, repository: Repository, throttle: Throttle) -> tuple[dict[Tag, Digest], list[str]]:
    """The tags of a repository with where they point, and the paths of those that say nothing sensible."""
    found: dict[Tag, Digest] = {}
    unreadable: list[str] = []
    async for some in tags.read_tags(bucket, repository):
        await throttle.step(len(some))
        for tag, target in some:
            if isinstance(target, Digest):
                found[tag] = target
            elif isinstance(target, Forbidden):
                unreadable.append(str(target))
            elif not isinstance(target, NotFound):
                unreadable.append(layout.tag(repository, tag))
    return found, unreadable


async def for_each(things: Iterable[T], work: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """Do some work for each thing, several at a time."""
    for some in _batches(things):
        await gather(work, some)


def _batches(things: Iterable[T]) -> Iterator[list[T]]:
    # There may be a million of them, and `gather` keeps a list of all that it is given.
    left = iter(things)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _groups(there: Sequence[tuple[Digest, Record]]) -> Iterable[Sequence[tuple[Digest, Record]]]:
    group: list[tuple[Digest, Record]] = []
    length = 0
    for each in there:
        if group and length + each[1].size > _BYTES_AT_ONCE:
            yield group
            group, length = [], 0
        group.append(each)
        length += each[1].size
    if group:
        yield group


def _examine_all(
    contents: Sequence[tuple[Digest, Record, bytes | None]], examine: Callable[[Digest, Record, Manifest], T]
) -> list[Read[T]]:
    return [Read(digest, record, _examine(digest, record, content, examine)) for digest, record, content in contents]


def _examine(
    digest: Digest, record: Record, content: bytes | None, examine: Callable[[Digest, Record, Manifest], T]
) -> T | None:
    # A damaged manifest may still parse, and would give wrong references.
    if content is None or len(content) != record.size or digest_of(content, digest.algorithm) != digest:
        return None
    try:
        return examine(digest, record, parse_manifest(content, record.mediaType))
    except ManifestInvalid:
        return None


def _numbers(digests: Iterable[Digest], numbers: Mapping[Digest, int]) -> "array[int]":
    return array("I", [number for digest in digests if (number := numbers.get(digest)) is not None])
