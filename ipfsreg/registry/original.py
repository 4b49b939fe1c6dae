"""Buckets of the program that this one replaces, seen as if they had today's layout.

That program kept ``blobs/<digest>`` and ``manifests/<name>/<tag>`` and nothing else. The wrapper here answers for
today's paths from those files where today's own are not there: tags and manifests of ``manifests/``, links to blobs
from what the manifests say of their sizes. What is pushed goes to today's paths and, where it
has the same name, hides what the original program wrote; a tag that is deleted is deleted in both.

A client that pushes an image that is there sends nothing but its manifest. It is told that all of it is stored, and the
original program, or the deletion of a tag, may take away the one file that says so. So before the record of a manifest
is written, all that it needs and that stands only in `manifests/` is written to today's paths. Nothing else is
converted. The content of blobs is in files of their own, which nobody takes away.
"""

import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ipfsreg.bucket.bulk import (
    File,
    IFindsByContent,
    IPutsInOrder,
    WithContent,
    names_with,
    put_in_order,
    put_one_by_one,
)
from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat, walk_by_listing
from ipfsreg.bucket.wrapper import BucketWrapper
from ipfsreg.flow.gather import gather
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.workers import Workers

from . import layout
from .descriptor import read_text
from .digest import Digest, digest_of
from .documents import read_json
from .errors import ManifestInvalid
from .layout_version import check_layout
from .manifest import DOCKER_IMAGE, parse_manifest
from .names import Repository
from .record import Record

P = ParamSpec("P")
T = TypeVar("T")

MANIFESTS = "manifests"
ORIGINAL_BELIEVED_SECONDS = 30.0
"""For how long what was read of a repository is believed: the original program may still push to it."""

_MANIFEST_MAX = 4 * 1024**2
_PATH = re.compile(r"repositories/(?P<name>[^/]+)(?:/(?P<kind>_tags|_manifests|_blobs)(?:/(?P<rest>.+))?)?")
_BLOB = re.compile(r"blobs/(?P<algorithm>[a-z0-9]+)/[0-9a-f]{2}/(?P<hex>[0-9a-f]+)")
_ORIGINAL_BLOB = re.compile(r"(?P<algorithm>[a-z0-9]+):(?P<hex>[0-9a-f]+)")
_SPREAD = re.compile(r"(?P<algorithm>[a-z0-9]+)/[0-9a-f]{2}/(?P<hex>[0-9a-f]+)")


@dataclass
class _Repository:
    """What the original program wrote for one name."""

    tags: dict[str, Digest] = field(default_factory=dict)
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    media_types: dict[Digest, str] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)
    read_at: float = 0.0

    def add(self, tag: str, content: bytes) -> None:
        try:
            manifest = parse_manifest(content, _media_type(content))
        except ManifestInvalid:
            return  # a file that somebody else put there
        digest = digest_of(content)
        self.media_types[digest] = manifest.media_type
        self.tags[tag] = digest
        self.manifests[digest] = content
        self.blobs.update(dict(manifest.blobs))

    def file(self, kind: str, rest: str) -> bytes | None:
        """The small file that today's layout would have at a path, or None."""
        if kind == "_tags":
            digest = self.tags.get(rest)
            return None if digest is None else f"{digest}\n".encode()
        match = _SPREAD.fullmatch(rest)
        if match is None:
            return None
        digest = Digest(match["algorithm"], match["hex"])
        if kind == "_blobs":
            return self.link(digest)
        return self.record(digest).model_dump_json().encode() if digest in self.manifests else None

    def link(self, digest: Digest) -> bytes | None:
        """Today's link to a blob, or None where no manifest has it."""
        return b"%d\n" % self.blobs[digest] if digest in self.blobs else None

    def record(self, digest: Digest) -> Record:
        """Today's record of a manifest that is there."""
        size = len(self.manifests[digest])
        return Record(mediaType=self.media_types[digest], size=size, released=0.0, original=True)

    def entries(self, kind: str | None, rest: str | None) -> set[Entry]:
        """What today's layout would have in a directory."""
        if kind is None:
            return {Entry("_tags", True), Entry("_manifests", True), Entry("_blobs", True)}
        if kind == "_tags":
            return {Entry(tag, False) for tag in self.tags} if rest is None else set()
        depth = 0 if rest is None else rest.count("/") + 1
        digests = self.manifests if kind == "_manifests" else self.blobs
        paths = [(each.algorithm, each.hex[:2], each.hex) for each in digests]
        return {Entry(path[depth], depth < 2) for path in paths if depth < 3 and "/".join(path[:depth]) == (rest or "")}


def _if_active(
    method: "Callable[Concatenate[OriginalLayout, P], Coroutine[Any, Any, T]]",
) -> "Callable[Concatenate[OriginalLayout, P], Deferred[T]]":
    """Ask the bucket itself where there is nothing of the original program."""

    @wraps(method)
    def either(self: "OriginalLayout", *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        if self._active:
            return ensureDeferred(method(self, *args, **kwargs))
        straight: Deferred[T] = getattr(self._bucket, method.__name__)(*args, **kwargs)
        return straight

    return either


@implementer(IFindsByContent, IPutsInOrder)
class OriginalLayout(BucketWrapper):
    """A bucket with the files of the original program among its own. See the module."""

    def __init__(self, bucket: IBucket, workers: Workers, clock: IReactorTime) -> None:
        super().__init__(bucket)
        self._active = False
        self._workers = workers
        self._clock = clock
        self._repositories: dict[str, _Repository] = {}
        self._reading = KeyedLock()
        self._reading_all = SingleFlight(self._read_all)
        self._all_read = False

    async def check(self, bucket: IBucket) -> None:
        """`check_layout`, and whether there is anything of the original program: else all goes straight to the bucket.

        ``bucket`` is this one, as its user sees it.
        """
        await check_layout(bucket)
        self._active = await _is_original(self._bucket)

    @_if_active
    async def stat(self, path: str) -> Stat:
        try:
            return await self._bucket.stat(path)
        except NotFound:
            original = _original_blob(path)
            if original is None:
                return Stat(len(await self._file(path)))
            content = self._manifest(path)
            return await self._bucket.stat(original) if content is None else Stat(len(content))

    @_if_active
    async def get(self, path: str, limit: int) -> bytes:
        try:
            return await self._bucket.get(path, limit)
        except NotFound:
            original = _original_blob(path)
            if original is None:
                return await self._file(path)
            content = self._manifest(path)
            if content is not None:
                return content
            try:
                return await self._bucket.get(original, limit)
            except NotFound:
                # It may be a manifest of a repository that nobody has asked for yet.
                await self._reading_all.outcome()
                content = self._manifest(path)
                if content is None:
                    raise
                return content

    @_if_active
    async def open(self, path: str) -> IReader:
        original = _original_blob(path)
        if original is not None and not await self._has(path) and await self._has(original):
            return await self._bucket.open(original)
        return await self._bucket.open(path)

    @_if_active
    async def put(self, path: str, content: bytes) -> None:
        match = _PATH.fullmatch(path)
        if match is not None and match["kind"] == "_manifests" and match["rest"]:
            await self._keep(Repository(match["name"]), match["rest"], Record.model_validate_json(content))
        await self._bucket.put(path, content)

    def put_in_order(self, files: Sequence[File]) -> "Deferred[None]":
        return ensureDeferred(self._put_in_order(files))

    async def _put_in_order(self, files: Sequence[File]) -> None:
        if not self._active:
            await put_in_order(self._bucket, files)
        else:
            await put_one_by_one(self, files)

    @_if_active
    async def move(self, source: str, destination: str) -> None:
        try:
            await self._bucket.move(source, destination)
        except NotFound:
            original = _original_blob(source)
            if original is None:
                raise
            await self._bucket.move(original, destination)

    @_if_active
    async def remove(self, path: str) -> None:
        """See `IBucket.remove`. A tag goes from both layouts."""
        found = True
        try:
            await self._bucket.remove(path)
        except NotFound:
            found = False
        match = _PATH.fullmatch(path)
        if match is not None and match["kind"] == "_tags" and match["rest"]:
            try:
                await self._bucket.remove(f"{MANIFESTS}/{match['name']}/{match['rest']}")
                self._repositories.pop(match["name"], None)
                found = True
            except NotFound:
                pass
        if not found:
            raise NotFound(path)

    @_if_active
    async def list(self, directory: str) -> Sequence[Entry]:
        entries = set(await self._bucket.list(directory))
        if directory == "repositories":
            entries.update(each for each in await self._bucket.list(MANIFESTS) if each.is_directory)
        match = _PATH.fullmatch(directory)
        if match is not None:
            entries |= (await self._repository(match["name"])).entries(match["kind"], match["rest"])
        return sorted(entries)

    async def _names_with(self, directory: str, content: bytes) -> WithContent | None:
        return None if self._active else await names_with(self._bucket, directory, content)

    def names_with(self, directory: str, content: bytes) -> "Deferred[WithContent | None]":
        """See `IFindsByContent.names_with`: of what the original program wrote it cannot be told."""
        return ensureDeferred(self._names_with(directory, content))

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        """See `IBucket.walk`. What the original program wrote to ``blobs`` comes behind all else that is there."""
        if not self._active:
            return self._bucket.walk(directory, into)
        return self._walk_blobs(into) if directory == "blobs" else walk_by_listing(self.list, directory, into)

    async def _walk_blobs(self, into: Callable[[str], bool] | None) -> AsyncIterator[Sequence[Listing]]:
        spread: dict[str, list[Entry]] = {}
        for entry in await self._bucket.list("blobs"):
            match = None if entry.is_directory else _ORIGINAL_BLOB.fullmatch(entry.name)
            if match is not None:
                directory = f"blobs/{match['algorithm']}/{match['hex'][:2]}"
                spread.setdefault(directory, []).append(Entry(match["hex"], False))
        async for listings in self._bucket.walk("blobs", into):
            yield listings
        yield [Listing(directory, entries) for directory, entries in sorted(spread.items())]

    async def _file(self, path: str) -> bytes:
        match = _PATH.fullmatch(path)
        if match is not None and match["kind"] and match["rest"]:
            content = (await self._repository(match["name"])).file(match["kind"], match["rest"])
            if content is not None:
                return content
        raise NotFound(path)

    def _manifest(self, path: str) -> bytes | None:
        match = _BLOB.fullmatch(path)
        if match is None:
            return None
        digest = Digest(match["algorithm"], match["hex"])
        known = (each.manifests.get(digest) for each in self._repositories.values())
        return next((content for content in known if content is not None), None)

    async def _keep(self, repository: Repository, spread: str, record: Record) -> None:
        """Write to today's paths what a manifest needs of what the original program wrote; see the module."""
        match = _SPREAD.fullmatch(spread)
        known = await self._repository(repository)
        if match is None:
            return
        digest = Digest(match["algorithm"], match["hex"])
        path = layout.blob(digest)
        content = self._manifest(path)
        if content is not None:
            await self._put_missing((path, content))
        elif known.tags:
            content = await self._bucket.get(path, _MANIFEST_MAX)
        else:
            return
        try:
            manifest = await self._workers.run(parse_manifest, content, record.mediaType)
        except ManifestInvalid:
            return
        links = [(layout.blob_link(repository, blob), known.link(blob)) for blob, _ in manifest.blobs]
        await gather(self._put_missing, [(path, link) for path, link in links if link is not None])
        for child in manifest.manifests:
            if child in known.manifests:
                noted = known.record(child).model_copy(update={"released": record.released, "original": False})
                await self._keep(repository, layout.spread(child), noted)
                await self._put_missing((layout.manifest_record(repository, child), noted.model_dump_json().encode()))

    async def _put_missing(self, file: tuple[str, bytes]) -> None:
        path, content = file
        if not await self._has(path):
            await self._bucket.put(path, content)

    async def _read_all(self) -> None:
        if self._all_read:
            return
        names = [each.name for each in await self._bucket.list(MANIFESTS) if each.is_directory]
        await gather(self._repository, names)
        self._all_read = True

    async def _has(self, path: str) -> bool:
        try:
            await self._bucket.stat(path)
        except NotFound:
            return False
        return True

    async def _repository(self, name: str) -> _Repository:
        async with self._reading.of(name):
            known = self._repositories.get(name)
            if known is not None and self._clock.seconds() - known.read_at <= ORIGINAL_BELIEVED_SECONDS:
                return known
            repository = _Repository(read_at=self._clock.seconds())
            for entry in await self._bucket.list(f"{MANIFESTS}/{name}"):
                if not entry.is_directory:
                    content = await self._bucket.get(f"{MANIFESTS}/{name}/{entry.name}", _MANIFEST_MAX)
                    await self._workers.run(repository.add, entry.name, content)
            self._repositories[name] = repository
            return repository


async def _is_original(bucket: IBucket) -> bool:
    """Whether the original program wrote to a bucket. Its blobs may be needed when all of its tags were deleted."""
    return bool(await bucket.list(MANIFESTS)) or any(not each.is_directory for each in await bucket.list("blobs"))


def _original_blob(path: str) -> str | None:
    match = _BLOB.fullmatch(path)
    return None if match is None else f"blobs/{match['algorithm']}:{match['hex']}"


def _media_type(content: bytes) -> str:
    # The original program answered Docker's type for whatever said none.
    return read_text(read_json(content), "mediaType") or DOCKER_IMAGE
