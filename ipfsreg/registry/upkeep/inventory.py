"""All that a repository holds, for background work that looks at everything.

A repository may have a million manifests, and one of them may list a hundred thousand others. So they are read and
parsed many at a time in threads, and what is kept of each are some numbers in arrays.
"""

from array import array
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ipfsreg.bucket.bulk import get_each
from ipfsreg.bucket.errors import BucketError, Corrupt, Forbidden, NotFound
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.gather import batches, gather
from ipfsreg.flow.progress import Progress
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import ManifestInvalid
from ipfsreg.registry.manifest import Manifest, parse_manifest
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.record import RECORD_MAX, Record, parse_record
from ipfsreg.registry.repository.tags import read_tags

from .compact import Beginnings, Digests, sealed, zeros

T = TypeVar("T")

AT_ONCE = 16
"""How many small files are read together: enough for a call of a thread to cost less than they do, and few enough for a
thread that parses them to leave the reactor its turns."""

_SEVERAL = 8
"""Enough not to wait for each in turn, and few enough to leave threads to the clients."""

_BYTES_AT_ONCE = 1024 * 1024
"""How much is read at once and parsed in one call of a thread, unless one manifest is longer."""

LONG = 1000
"""Of a repository with so many manifests it is told how many of them were read."""

LOOKING = "Looking through repositories"
"""What is told of work that looks at one repository after the other."""

_WHOLE, _DAMAGED, _DISCARDED, _TAGGED = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A manifest that the repository has. ``record`` is None for one that says nothing sensible.

    ``found`` is None where the content is not there, not whole, not as long as the record says, or no such manifest.
    """

    digest: Digest
    record: Record | None
    found: T | None


class Inventory:
    """The manifests of a repository, and what each of them refers to, as far as the repository has that.

    Each manifest has a number, which is its place in ``listed``, and each link one in ``links``.
    """

    def __init__(self, listed: Digests, links: Beginnings) -> None:
        self.listed = listed
        """Every manifest that the repository had when it was listed, whole or not."""
        self.links = links
        """Every blob that the repository had when it was listed."""
        self.released = array("d", bytes(8 * len(listed)))
        """When each manifest was pushed, or last lost a tag: seconds since 1970."""
        self.unreadable: list[str] = []
        """The paths of tags and records that say nothing sensible."""
        self._damaged = 0
        self._state = bytearray(len(listed))
        self._at = zeros(len(listed))
        self._references = array("I")  # of each: how many manifests and links it refers to, and these
        self._subject_at: array[int] | None = None
        self._subjects = bytearray(1)  # of each: how long its algorithm's name is, that, and the digest

    @property
    def damaged(self) -> bool:
        """Whether something is damaged, so that its references are not known."""
        return bool(self.unreadable) or self._damaged > 0

    def is_whole(self, number: int) -> bool:
        """Whether a manifest is there and whole, and was not removed."""
        return bool(self._state[number] & _WHOLE)

    def is_tagged(self, number: int) -> bool:
        """Whether a tag points to a manifest."""
        return bool(self._state[number] & _TAGGED)

    def is_discarded(self, number: int) -> bool:
        """Whether a manifest need not be kept though it is new."""
        return bool(self._state[number] & _DISCARDED)

    def has(self, digest: Digest) -> bool:
        """Whether the repository has a manifest, whole or not."""
        number = self.listed.number(digest)
        return number is not None and self._state[number] & (_WHOLE | _DAMAGED) != 0

    def manifests(self, number: int) -> "array[int]":
        """The manifests that one lists."""
        at = self._at[number]
        return self._references[at + 2 : at + 2 + self._references[at]]

    def linked(self, number: int) -> "array[int]":
        """The links that a manifest needs."""
        at = self._at[number] + 2 + self._references[self._at[number]]
        return self._references[at : at + self._references[self._at[number] + 1]]

    def subject(self, number: int) -> Digest | None:
        """The subject of a manifest."""
        at = 0 if self._subject_at is None else self._subject_at[number]
        if not at:
            return None
        begin = at + 1 + self._subjects[at]
        algorithm = self._subjects[at + 1 : begin].decode()
        return Digest(algorithm, self._subjects[begin + 1 : begin + 1 + self._subjects[begin]].hex())

    @property
    def has_subjects(self) -> bool:
        """Whether any manifest refers to a subject."""
        return self._subject_at is not None

    def weight(self, number: int) -> int:
        """How many steps of a `Throttle` it is to look at all that a manifest refers to."""
        at = self._at[number]
        return 1 + (self._references[at] + self._references[at + 1]) // 200

    def found(self, each: Read["Parts"], path: str) -> None:
        """A manifest that was listed is there; ``path`` is that of its record."""
        number = self.listed.number(each.digest)
        assert number is not None
        if each.record is None or each.found is None:
            self._state[number] |= _DAMAGED
            self._damaged += 1
            if each.record is None:
                self.unreadable.append(path)
            return
        self._state[number] |= _WHOLE | (_DISCARDED if each.record.discarded else 0)
        self.released[number] = each.record.released
        self._at[number] = len(self._references)
        self._references.extend((len(each.found.manifests), len(each.found.links)))
        self._references.extend(each.found.manifests)
        self._references.extend(each.found.links)
        if each.found.subject is not None:
            self._note_subject(number, each.found.subject)

    def _note_subject(self, number: int, subject: Digest) -> None:
        if self._subject_at is None:
            self._subject_at = zeros(len(self.listed))
        self._subject_at[number] = len(self._subjects)
        for part in (subject.algorithm.encode(), bytes.fromhex(subject.hex)):
            self._subjects.append(len(part))
            self._subjects += part

    def tagged(self, digest: Digest) -> None:
        """A tag points to that."""
        number = self.listed.number(digest)
        if number is not None:
            self._state[number] |= _TAGGED

    def discard(self, number: int) -> None:
        """A manifest need not be kept."""
        self._state[number] |= _DISCARDED

    def removed(self, number: int) -> None:
        """A manifest is there no more."""
        self._state[number] = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """What matters of a whole manifest: what it refers to, by its numbers in an `Inventory`, and its subject."""

    subject: Digest | None
    manifests: "array[int]"
    links: "array[int]"


async def take_inventory(
    bucket: IBucket, workers: Workers, repository: Repository, throttle: Throttle, progress: Progress
) -> Inventory:
    """Read the records, manifests and tags of a repository.

    What is listed comes first: nothing else is looked at. Tags come last: one that is moved while the manifests are
    read then counts where it is now.
    """
    links, count = Beginnings(), 0
    async for digest in layout.blob_links(bucket, repository):
        links.add(digest)
        count += 1
        await throttle.step()
    await sealed(links, count, workers)
    listed = await Digests.of(layout.manifest_records(bucket, repository), workers, throttle)
    contents = Inventory(listed, links)

    def examine(digest: Digest, record: Record, manifest: Manifest) -> Parts:
        references = {*(blob for blob, _ in manifest.blobs), *manifest.foreign, *manifest.manifests}
        return Parts(manifest.subject, _numbers(manifest.manifests, listed), _numbers(references, links))

    repositories, is_long = progress.done, len(listed) >= LONG
    if is_long:
        progress.begin(f"Reading manifests of {repository}", len(listed))
    async for each in read_manifests(bucket, workers, repository, listed, throttle, examine):
        if is_long:
            progress.done += 1
        contents.found(each, layout.manifest_record(repository, each.digest))
    if is_long:
        progress.begin(f"Reading tags of {repository}")
    async for some in read_tags(bucket, repository):
        if is_long:
            progress.done += len(some)
        for tag, target in some:
            if isinstance(target, Digest):
                contents.tagged(target)
            elif (path := unreadable_tag(repository, tag, target)) is not None:
                contents.unreadable.append(path)
        await throttle.step(1 + len(some) // 4)
    if is_long:
        progress.begin(LOOKING)
        progress.done = repositories
    return contents


def unreadable_tag(repository: Repository, tag: Tag, error: BucketError) -> str | None:
    """What to call a tag that says nothing sensible; None where it was deleted meanwhile."""
    if isinstance(error, NotFound):
        return None
    return str(error) if isinstance(error, Forbidden) else layout.tag(repository, tag)


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
    for some in batches(digests, AT_ONCE):
        paths = [layout.manifest_record(repository, digest) for digest in some]
        contents = await get_each(bucket, [(path, RECORD_MAX) for path in paths])
        there: list[tuple[Digest, Record]] = []
        for digest, path, content in zip(some, paths, contents, strict=True):
            if isinstance(content, NotFound):
                continue
            record = None if isinstance(content, BucketError) else _record(path, content)
            if record is None:
                yield Read(digest, None, None)
            else:
                there.append((digest, record))
        for group in _groups(there):
            wanted = [(layout.blob(digest), max(record.size, 1)) for digest, record in group]
            for found in await workers.run(_examine_all, group, await get_each(bucket, wanted), examine):
                yield found
        await throttle.step(len(some))


def _record(path: str, content: bytes) -> Record | None:
    try:
        return parse_record(path, content)
    except Corrupt:
        return None


async def for_each(things: Iterable[T], work: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """Do some work for each thing, several at a time."""
    for some in batches(things, AT_ONCE):
        await gather(work, some, _SEVERAL)


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
    group: Sequence[tuple[Digest, Record]],
    contents: Sequence[bytes | BucketError],
    examine: Callable[[Digest, Record, Manifest], T],
) -> list[Read[T]]:
    return [
        Read(digest, record, _examine(digest, record, content, examine) if isinstance(content, bytes) else None)
        for (digest, record), content in zip(group, contents, strict=True)
    ]


def _examine(
    digest: Digest, record: Record, content: bytes, examine: Callable[[Digest, Record, Manifest], T]
) -> T | None:
    # A damaged manifest may still parse, and would give wrong references.
    if len(content) != record.size or digest_of(content, digest.algorithm) != digest:
        return None
    try:
        return examine(digest, record, parse_manifest(content, record.mediaType))
    except ManifestInvalid:
        return None


def _numbers(digests: Iterable[Digest], numbers: Beginnings | Digests) -> "array[int]":
    return array("I", [number for digest in digests if (number := numbers.number(digest)) is not None])
