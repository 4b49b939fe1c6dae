"""Whether the small files of a repository agree with each other and with the content; what can be, is mended."""

from dataclasses import dataclass, field

from ipfsreg.bucket.bulk import get_each
from ipfsreg.bucket.errors import Corrupt, Forbidden, NotFound
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.gather import batches
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ManifestUnknown
from ipfsreg.registry.manifest import Manifest
from ipfsreg.registry.names import Repository
from ipfsreg.registry.record import Record, read_record
from ipfsreg.registry.repository.blobs import LINK_MAX, Blobs, parse_link, read_link
from ipfsreg.registry.repository.manifests import Manifests
from ipfsreg.registry.repository.referrers import Referrers
from ipfsreg.registry.repository.tags import read_tags

from .compact import Digests, Lengths
from .inventory import AT_ONCE, Read, for_each, read_manifests, unreadable_tag


@dataclass
class Findings:
    """What is wrong with repositories."""

    missing: set[Digest] = field(default_factory=set)
    """What an image needs and is not there."""
    unreadable: list[str] = field(default_factory=list)
    """The paths of tags and records that say nothing sensible."""
    mended: list[str] = field(default_factory=list)
    """The paths of what was damaged and has been written anew from what is whole."""


@dataclass(frozen=True, slots=True)
class _Parts:
    missing: list[Digest]
    subject: Digest | None
    entry: Descriptor | None


class RepositoryCheck:
    """Looks through repositories. Nothing of it counts as a use of anything, but for what is mended."""

    def __init__(
        self, stored: IBucket, workers: Workers, blobs: Blobs, manifests: Manifests, referrers: Referrers
    ) -> None:
        self._stored = stored
        self._workers = workers
        self._blobs = blobs
        self._manifests = manifests
        self._referrers = referrers

    async def check(self, repository: Repository, lengths: Lengths, throttle: Throttle, findings: Findings) -> None:
        """Look through one. ``lengths`` has all content that was found whole, with its length in bytes."""
        links = await Digests.of(layout.blob_links(self._stored, repository), self._workers, throttle)
        await self._check_links(repository, links, lengths, throttle, findings)
        listed = await Digests.of(layout.manifest_records(self._stored, repository), self._workers, throttle)

        def examine(digest: Digest, record: Record, manifest: Manifest) -> _Parts:
            missing = [blob for blob, _ in manifest.blobs if blob not in lengths or blob not in links]
            if manifest.subject is None:
                return _Parts(missing, None, None)
            return _Parts(missing, manifest.subject, manifest.descriptor(digest, record.size))

        async for each in read_manifests(self._stored, self._workers, repository, listed, throttle, examine):
            await self._check_manifest(repository, each, lengths, findings)
            if each.found is not None and each.found.subject is not None:
                await self._check_entry(repository, each.digest, each.found, findings)
        await self._check_tags(repository, listed, throttle, findings)

    async def _check_tags(
        self, repository: Repository, listed: Digests, throttle: Throttle, findings: Findings
    ) -> None:
        async for some in read_tags(self._stored, repository):
            await throttle.step(1 + len(some) // 4)
            for tag, target in some:
                if not isinstance(target, Digest):
                    path = unreadable_tag(repository, tag, target)
                    findings.unreadable += [] if path is None else [path]
                elif target not in listed:
                    paths = layout.tag(repository, tag), layout.manifest_record(repository, target)
                    if [await self._is_there(path) for path in paths] == [True, False]:
                        findings.missing.add(target)

    async def _check_links(
        self,
        repository: Repository,
        links: Digests,
        lengths: Lengths,
        throttle: Throttle,
        findings: Findings,
    ) -> None:
        async def check(digest: Digest) -> None:
            length = lengths.get(digest)
            if length is None:
                return  # without content there is nothing to compare; what needs it is found below
            try:
                if await read_link(self._stored, repository, digest) == length:
                    return
            except NotFound:
                return  # deleted since it was listed
            except Forbidden as error:
                findings.unreadable.append(str(error))
                return
            if await self._blobs.mend_link(self._stored, repository, digest, length):
                findings.mended.append(layout.blob_link(repository, digest))

        for some in batches(links, AT_ONCE):
            wanted = [(layout.blob_link(repository, digest), LINK_MAX) for digest in some]
            said = await get_each(self._stored, wanted)
            doubtful = [
                digest
                for digest, link in zip(some, said, strict=True)
                if not isinstance(link, bytes) or parse_link(link) != lengths.get(digest)
            ]
            await for_each(doubtful, check)
            await throttle.step(len(some))

    async def _check_manifest(
        self, repository: Repository, each: Read[_Parts], lengths: Lengths, findings: Findings
    ) -> None:
        path = layout.manifest_record(repository, each.digest)
        if each.record is None:
            try:
                await read_record(self._stored, repository, each.digest)
            except Forbidden as error:
                findings.unreadable.append(str(error))
                return
            except Corrupt:
                pass
            findings.missing.add(each.digest)
        elif each.found is not None:
            for part in each.found.missing:
                # What the listings did not have may have been pushed meanwhile.
                there = await self._is_there(layout.blob(part))
                if not there or not await self._is_there(layout.blob_link(repository, part)):
                    findings.missing.add(part)
        elif each.digest not in lengths and not await self._is_there(layout.blob(each.digest)):
            findings.missing.add(each.digest)
        elif each.digest in lengths:
            # The content is whole, so it is the record that does not fit it.
            try:
                mended = await self._manifests.mend_record(self._stored, repository, each.digest)
            except ManifestUnknown:
                return  # deleted since it was read
            (findings.mended if mended else findings.unreadable).append(path)

    async def _check_entry(self, repository: Repository, digest: Digest, found: _Parts, findings: Findings) -> None:
        assert found.subject is not None
        try:
            entry = await self._referrers.entry(self._stored, repository, found.subject, digest)
        except (NotFound, Corrupt):
            entry = None
        if entry != found.entry and await self._referrers.mend(repository, found.subject, digest) is not None:
            findings.mended.append(layout.referrer(repository, found.subject, digest))

    async def _is_there(self, path: str) -> bool:
        try:
            await self._stored.stat(path)
        except (NotFound, Corrupt):
            return False
        return True
