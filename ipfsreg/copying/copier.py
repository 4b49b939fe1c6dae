"""Copies images: what the destination lacks, each blob once, and a manifest after all that it refers to.

So what is at the destination is whole at every moment, and a copy that was killed goes on with what is missing.
"""

from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from dataclasses import dataclass, replace

from cachetools import LRUCache
from twisted.internet.defer import DeferredSemaphore

from ipfsreg.client.errors import AccessDenied, Refused, RemoteError, Unknown, Unreachable
from ipfsreg.client.referrers import referrers_tag
from ipfsreg.client.registry import RemoteManifest
from ipfsreg.flow.gather import for_each, gather
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import HEX_LENGTHS, Digest
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.ipfs.ipfs_view import PUBLISHED
from ipfsreg.registry.manifest import Manifest, parse_manifest
from ipfsreg.registry.names import Repository, Tag

from .places import Destination, Selection, Source
from .renaming import Naming
from .tally import Tally

JOBS = 8
"""Blobs that are moved at once, and images that are worked on, unless the caller says otherwise."""

DEPTH_MAX = 16
"""How deep indexes may be in indexes, and referrers refer to referrers."""

UNREACHABLE_MAX = 3
"""After so many images one after the other that failed since a side cannot be reached, the copy ends."""

_REMEMBERED = 100_000  # blobs and manifests that need not be asked for again
_SAME = Naming()


class _TooDeep(RemoteError):
    pass


class _UrlsRefused(RemoteError):
    """The destination takes no manifest with such URLs. Docker's registry takes only those of http."""


@dataclass(frozen=True, slots=True)
class _Image:
    """A manifest that is looked at: in which repository, and how far below a tag."""

    repository: Repository
    depth: int = 0

    @property
    def below(self) -> "_Image":
        if self.depth >= DEPTH_MAX:
            raise _TooDeep(f"manifests are more than {DEPTH_MAX} deep in each other")
        return replace(self, depth=self.depth + 1)


class Known:
    """What copies to one destination know of it, by the names that repositories have there, and of their source."""

    def __init__(self) -> None:
        self.there: LRUCache[Hashable, bool] = LRUCache(_REMEMBERED)
        """The blobs and manifests that were seen or copied."""
        self.places: LRUCache[Digest, Repository] = LRUCache(_REMEMBERED)
        """A repository that has a blob."""
        self.repositories: LRUCache[Repository, bool] = LRUCache(_REMEMBERED)
        """Those of the source that were counted."""


class Copier:
    """One copy. ``jobs`` bounds what is worked on at once.

    What follows it to the same destination has its ``known``. ``naming`` is that of the destination, if it has one.
    """

    def __init__(
        self,
        source: Source,
        destination: Destination,
        tally: Tally,
        *,
        naming: Naming = _SAME,
        known: Known | None = None,
        jobs: int = JOBS,
    ) -> None:
        self._source = source
        self._destination = destination
        self._tally = tally
        self._jobs = jobs
        self._slots = DeferredSemaphore(jobs)
        self._busy = KeyedLock()
        self._known = known or Known()
        self._to = naming.repository_of
        self._all_of: LRUCache[Repository, bool] = LRUCache(_REMEMBERED)
        self._was_there = False
        self._unreachable = 0

    async def run(self, selection: Selection) -> None:
        """Copy what is selected. What cannot be copied is in the tally, and does not keep the rest from it.

        :raises RemoteError: where the source cannot be listed, or a side cannot be reached any more.
        """
        async with aclosing(self._images(selection)) as images:
            await for_each(self._try, images, self._jobs)

    async def _images(self, selection: Selection) -> AsyncGenerator[tuple[Repository, Tag | Digest], None]:
        idle, matched, selected = set(selection.names), False, False
        async with aclosing(selection.repositories(self._source)) as repositories:
            async for repository in repositories:
                matched = True
                if repository not in self._known.repositories:
                    self._known.repositories[repository] = True
                    self._tally.repositories += 1
                idle -= selection.matching(repository)
                lacking = selection.tags_of(repository)
                for digest in selection.digests_of(repository):
                    selected = True
                    yield repository, digest
                if not selection.means_tags(repository):
                    continue
                if selection.means_all_of(repository):
                    self._all_of[repository] = True
                try:
                    async with aclosing(self._source.tags(repository)) as tags:
                        async for reference in tags:
                            lacking.discard(str(reference))
                            if selection.means(repository, reference):
                                selected = True
                                yield repository, reference
                    for tag in sorted(lacking):
                        self._tally.fail(f"{repository}:{tag}", f"{self._source.name} has no such tag")
                except Unreachable:
                    raise
                except Unknown as error:  # a list may have repositories that a push had only begun
                    if selection.names_it(repository):
                        self._tally.fail(repository, error)
                except RemoteError as error:
                    self._tally.fail(repository, error)
        for name in sorted(idle):
            self._tally.fail(name, f"{self._source.name} has no such repository")
        if selection.patterns and matched and not selected:
            self._tally.fail(" ".join(selection.patterns), f"{self._source.name} has no such tags there")

    async def _try(self, named: tuple[Repository, Tag | Digest]) -> None:
        repository, reference = named
        try:
            await self._named(repository, reference)
            self._unreachable = 0
        except (RemoteError, RegistryError) as error:
            mark = "@" if isinstance(reference, Digest) else ":"
            self._tally.fail(f"{repository}{mark}{reference}", error)
            self._unreachable = self._unreachable + 1 if isinstance(error, Unreachable) else 0
            if self._unreachable >= UNREACHABLE_MAX:
                raise

    async def _named(self, repository: Repository, reference: Tag | Digest) -> None:
        image = _Image(repository)
        subject = _subject_of(reference)
        if subject is not None:  # this tag is how a registry lists referrers that has no API for that
            await self._all_referrers(image, subject)
            return
        self._tally.images += 1
        here, there = await self._heads(repository, reference)
        if here is not None and there is not None and here.digest == there.digest:
            was_there = await self._untagged(image, there.digest, there)
            self._tally.images_there += was_there
            return
        found = await self._source.manifest(repository, reference)
        key = (self._to(repository), found.digest)
        if key in self._known.there:
            await self._put(image, reference, found, None)  # another tag of what was just copied
            return
        await self._take(image, reference, found)
        self._known.there[key] = True
        await self._referrers(image, found.digest)

    async def _heads(
        self, repository: Repository, reference: Tag | Digest
    ) -> tuple[Descriptor | None, Descriptor | None]:
        """What the destination and the source have. The source is not asked where the destination has nothing."""
        places: tuple[Destination | Source, ...] = (self._destination, self._source)
        if self._was_there:  # so this one may be too: one wait for both
            here, there = await gather(lambda place: place.manifest_head(repository, reference), places)
        else:
            here = await self._destination.manifest_head(repository, reference)
            there = None if here is None else await self._source.manifest_head(repository, reference)
        self._was_there = here is not None
        return here, there

    async def _take(self, image: _Image, reference: Tag | Digest, found: RemoteManifest) -> None:
        """A manifest that the destination does not have, with all below it."""
        manifest = parse_manifest(found.content, found.media_type)
        await self._below(image, manifest)
        # One referrer of a manifest after the other: olareg 0.1.2 lists only some of those that come at once.
        async with self._busy.of((image.repository, manifest.subject) if manifest.subject else object()):
            await self._put(image, reference, found, manifest)

    async def _below(self, image: _Image, manifest: Manifest) -> bool:
        """All that a manifest refers to; answers whether it was there.

        It is looked for where the manifest is there too: blobs get lost, of a damaged disk for one.
        """
        below = image.below if manifest.manifests else image

        async def blob(each: tuple[Digest, int | None]) -> bool:
            digest, size = each
            may_be_missing = size is None
            if size is None:
                size = await self._source.blob_size(image.repository, digest)
            return size is None or await self._blob(image.repository, digest, size, may_be_missing)

        async def child(digest: Digest) -> bool:
            return await self._untagged(below, digest)

        blobs = [*dict(manifest.blobs).items(), *((each, None) for each in manifest.foreign)]
        were_there = await gather(blob, blobs, self._jobs)
        return all([*were_there, *await gather(child, dict.fromkeys(manifest.manifests), self._jobs)])

    async def _untagged(self, image: _Image, digest: Digest, have: Descriptor | None = None) -> bool:
        """A manifest, of which the destination is known to have ``have``; answers whether it was there and whole."""
        key = (self._to(image.repository), digest)
        async with self._busy.of(("manifest", *key)):
            if key in self._known.there:
                return True
            have = have or await self._destination.manifest_head(image.repository, digest)
            if have is None:
                try:
                    found = await self._source.manifest(image.repository, digest)
                except Unknown:
                    self._tally.missing += 1
                    return True
                await self._take(image, digest, found)
                was_there = False
            else:
                found = await self._destination.manifest(image.repository, digest)
                was_there = await self._below(image, parse_manifest(found.content, found.media_type))
            self._known.there[key] = True
        # Not while others are kept waiting: a referrer may list what it refers to.
        await self._referrers(image, digest)
        return was_there

    async def _referrers(self, image: _Image, subject: Digest) -> None:
        has_its_turn = image.repository in self._all_of and _subject_of(referrers_tag(subject)) == subject
        if self._source.tags_list_referrers and has_its_turn:
            return  # the tag that lists them, if there is one
        await self._all_referrers(image, subject)

    async def _all_referrers(self, image: _Image, subject: Digest) -> None:
        found = await self._source.referrers(image.repository, subject)
        if not found:
            return
        below = image.below

        async def referrer(each: Descriptor) -> None:
            try:
                await self._untagged(below, each.digest)
            except _UrlsRefused:
                if each.artifact_type != PUBLISHED:
                    raise
                self._tally.views_refused += 1  # `ipfsreg publish` makes it of the image wherever it is wanted

        await gather(referrer, found, self._jobs)
        listed = {each.digest for each in await self._destination.referrers(image.repository, subject)}
        for each in found:
            if each.digest not in listed and (self._to(image.repository), each.digest) in self._known.there:
                await self._destination.note_referrer(image.repository, subject, each)

    async def _put(
        self, image: _Image, reference: Tag | Digest, found: RemoteManifest, manifest: Manifest | None
    ) -> None:
        self._tally.manifests += 1
        try:
            listed = await self._destination.put_manifest(image.repository, reference, found.content, found.media_type)
        except Refused as error:
            if manifest is None or not manifest.foreign or isinstance(error, (AccessDenied, Unknown)):
                raise
            raise _UrlsRefused(
                f"{self._destination.name} takes no manifest whose layers have URLs, as an IPFS-enabled view's do; "
                f"without them its digest would be another one ({error})"
            ) from None
        if manifest is not None and manifest.subject is not None and not listed:
            descriptor = manifest.descriptor(found.digest, len(found.content))
            await self._destination.note_referrer(image.repository, manifest.subject, descriptor)

    async def _blob(self, repository: Repository, digest: Digest, size: int, may_be_missing: bool) -> bool:
        """Have a blob at the destination; answers whether it was there."""
        key, tally = (self._to(repository), digest), self._tally
        async with self._busy.of(digest):
            if key in self._known.there:
                return True
            was_there = await self._destination.blob_size(repository, digest) == size
            if was_there:
                tally.blobs_there += 1
                tally.bytes_there += size
            elif not await self._mount_or_move(repository, digest, size, may_be_missing):
                return True
            self._known.there[key] = True
            self._known.places[digest] = self._to(repository)
            return was_there

    async def _mount_or_move(self, repository: Repository, digest: Digest, size: int, may_be_missing: bool) -> bool:
        elsewhere = repository if self._destination.is_source else self._known.places.get(digest)
        tally, location = self._tally, None
        if elsewhere is not None:
            location = await self._destination.mount(repository, digest, elsewhere)
            if location is None:
                tally.mounted += 1
                return True

        async def pieces(offset: int) -> AsyncGenerator[bytes, None]:
            part = (
                self._source.blob_range(repository, digest, offset, size - offset)
                if offset
                else self._source.blob(repository, digest, size)
            )
            async with aclosing(part):
                async for piece in part:
                    yield piece
                    tally.moved(len(piece))

        tally.expected(size)
        await self._slots.acquire()
        try:
            await self._destination.upload(repository, digest, size, pieces, location)
        except Unknown:
            if may_be_missing:
                return False
            raise
        finally:
            self._slots.release()
        tally.blobs += 1
        tally.bytes += size
        return True


def _subject_of(reference: Tag | Digest) -> Digest | None:
    """What a tag of the referrers tag schema is about; None for all others."""
    if isinstance(reference, Digest):
        return None
    algorithm, _, encoded = reference.partition("-")
    if HEX_LENGTHS.get(algorithm) != len(encoded) or set(encoded) - set("0123456789abcdef"):
        return None
    subject = Digest(algorithm, encoded)
    return subject if referrers_tag(subject) == reference else None
