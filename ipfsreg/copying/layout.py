"""An OCI image layout as a place to copy from: a directory, or one in a CAR (image-spec, "Image Layout").

One layout may hold several repositories: an image is called ``REPOSITORY:TAG`` in its annotation, as `ipfsreg export`
writes it. Programs that keep one repository in a layout write the tag alone, which is then of the repository that the
layout is named after.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.interface import IReader
from ipfsreg.client.errors import Unknown, Untrustworthy, printable
from ipfsreg.client.referrers import referrers_tag
from ipfsreg.client.registry import MANIFEST_MAX, RemoteManifest
from ipfsreg.registry.descriptor import Descriptor, read_descriptors
from ipfsreg.registry.digest import Digest, digest_of, new_hash
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.ipfs.image_tree import REF_NAME
from ipfsreg.registry.manifest import MEDIA_TYPES, Manifest, parse_manifest
from ipfsreg.registry.names import Repository, Tag, is_tag, parse_reference, parse_repository

INDEX = "index.json"
VERSION = "oci-layout"

INDEX_MAX = 64 * 1024**2
"""Bytes of the longest list of images that is read."""

Key = tuple[Repository, Tag | Digest]


class Files(Protocol):
    """The files of a layout."""

    name: str

    async def open(self, path: str) -> IReader | None:
        """A file by its path below the layout; None where there is none."""


def path_of(digest: Digest) -> str:
    """Where a layout has a content."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def read_index(content: bytes, default: Repository) -> dict[Key, Descriptor]:
    """Read ``index.json``. Images whose names say no repository are of the ``default`` one.

    :raises RegistryError: where it is none.
    """
    found: dict[Key, Descriptor] = {}
    for each in read_descriptors(read_json(content), "manifests"):
        name = (each.annotations or {}).get(REF_NAME, "")
        plain = Descriptor(each.media_type, each.digest, each.size, None, each.artifact_type)
        found[_key(name, each.digest, default)] = plain
    return found


def _key(name: str, digest: Digest, default: Repository) -> Key:
    if is_tag(name):
        return default, Tag(name)
    try:
        repository, reference = parse_reference(name)
        if isinstance(reference, str) and ":" not in name:
            return repository, digest
    except RegistryError:
        return default, digest
    return repository, digest if isinstance(reference, Digest) else reference


class LayoutSource:
    """The images of a layout; see `Source`."""

    tags_list_referrers = False

    def __init__(self, files: Files, default: Repository) -> None:
        self.name = files.name
        self._files = files
        self._default = default
        self._images: dict[Key, Descriptor] = {}
        self._referrers: dict[Digest, dict[Digest, Descriptor]] = {}
        self._subjects: dict[Digest, Digest] = {}

    async def load(self) -> None:
        """Read what the layout lists.

        :raises Untrustworthy: where it is none.
        """
        content = await self._read(INDEX, INDEX_MAX)
        if content is None or await self._read(VERSION, INDEX_MAX) is None:
            raise Untrustworthy(f"{self.name} is no OCI image layout: it has no {INDEX} or no {VERSION}")
        try:
            self._images = read_index(content, self._default)
        except RegistryError as error:
            raise Untrustworthy(f"{self.name}: {INDEX}: {error.message}") from None
        for repository, reference in list(self._images):
            if isinstance(reference, Digest):
                await self._note_subject(repository, self._images[repository, reference])

    async def _note_subject(self, repository: Repository, listed: Descriptor) -> None:
        try:
            found = await self.manifest(repository, listed.digest)
            self._note(parse_manifest(found.content, found.media_type), found.digest, len(found.content))
        except (Unknown, RegistryError):
            return  # whoever copies it is told

    def _note(self, parsed: Manifest, digest: Digest, size: int) -> None:
        if parsed.subject is not None:
            self._referrers.setdefault(parsed.subject, {})[digest] = parsed.descriptor(digest, size)
            self._subjects[digest] = parsed.subject

    def add(self, repository: Repository, reference: Tag | Digest, listed: Descriptor, parsed: Manifest) -> None:
        """There is a manifest now. What it lists need not be listed beside it, unless that is a referrer."""
        self._images[repository, reference] = listed
        self._note(parsed, listed.digest, listed.size)
        for digest in parsed.manifests:
            if digest not in self._subjects:
                self._images.pop((repository, digest), None)

    def listed(self) -> list[Descriptor]:
        """What `INDEX` is to list."""
        return [
            each._replace(
                annotations={REF_NAME: f"{repository}{'@' if isinstance(reference, Digest) else ':'}{reference}"}
            )
            for (repository, reference), each in self._images.items()
        ]

    async def repositories(self) -> AsyncGenerator[Repository, None]:
        for repository in sorted({repository for repository, _ in self._images}):
            yield repository

    async def tags(self, repository: Repository) -> AsyncGenerator[Tag | Digest, None]:
        found = [reference for each, reference in self._images if each == repository]
        if not found:
            raise Unknown(f"{self.name} has no repository {repository}", 404)
        for reference in found:
            yield reference

    async def manifest(self, repository: Repository, reference: Tag | Digest) -> RemoteManifest:
        listed = self._images.get((repository, reference))
        digest = reference if isinstance(reference, Digest) else listed.digest if listed else None
        content = None if digest is None else await self._read(path_of(digest), MANIFEST_MAX)
        if digest is None or content is None:
            raise Unknown(f"{self.name} does not have the manifest {reference} of {repository}", 404)
        if digest_of(content, digest.algorithm) != digest:
            raise Untrustworthy(f"{self.name}: what it has as {digest} is something else")
        media_type = listed.media_type if listed else ""
        return RemoteManifest(content, media_type or _media_type(content), digest)

    async def manifest_head(self, repository: Repository, reference: Tag | Digest) -> Descriptor | None:
        try:
            found = await self.manifest(repository, reference)
        except Unknown:
            return None
        return Descriptor(found.media_type, found.digest, len(found.content))

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        found = dict(self._referrers.get(subject, {}))
        listed = self._images.get((repository, referrers_tag(subject)))
        if listed is not None:
            index = await self.manifest(repository, listed.digest)
            try:
                found |= {each.digest: each for each in read_descriptors(read_json(index.content), "manifests")}
            except RegistryError as error:
                raise Untrustworthy(f"{self.name}: {referrers_tag(subject)}: {printable(error.message)}") from None
        return list(found.values())

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        file = await self._open(path_of(digest))
        if file is None:
            return None
        file.close()
        return file.size

    async def blob(self, repository: Repository, digest: Digest, size: int) -> AsyncGenerator[bytes, None]:
        hasher, last = new_hash(digest.algorithm), b""
        async with aclosing(self.blob_range(repository, digest, 0, size)) as pieces:
            async for piece in pieces:
                if last:
                    yield last
                hasher.update(piece)
                last = piece
        if hasher.hexdigest() != digest.hex:
            raise Untrustworthy(f"{self.name}: what it has as {digest} is something else")
        if last:
            yield last

    async def blob_range(
        self, repository: Repository, digest: Digest, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        file = await self._open(path_of(digest))
        if file is None:
            raise Unknown(f"{self.name} does not have the blob {digest}", 404)
        try:
            if file.size != offset + length:
                raise Untrustworthy(f"{self.name}: {digest} has {file.size} bytes and not {offset + length}")
            async with aclosing(file.pieces(offset, length)) as pieces:
                async for piece in pieces:
                    yield piece
        except BucketError as error:
            raise Untrustworthy(f"{self.name}: {digest}: {printable(str(error))}") from None
        finally:
            file.close()

    async def _open(self, path: str) -> IReader | None:
        try:
            return await self._files.open(path)
        except BucketError as error:
            raise Untrustworthy(f"{self.name}: {path}: {printable(str(error))}") from None

    async def _read(self, path: str, limit: int) -> bytes | None:
        file = await self._open(path)
        if file is None:
            return None
        try:
            size = file.size or 0  # a file on this disk has one
            if size > limit:
                raise Untrustworthy(f"{self.name}: {path} is longer than {limit} bytes")
            return b"".join([piece async for piece in file.pieces(0, size)])
        except BucketError as error:
            raise Untrustworthy(f"{self.name}: {path}: {printable(str(error))}") from None
        finally:
            file.close()


def default_repository(name: str) -> Repository:
    """What to call the repository of a layout or file of that name."""
    try:
        return parse_repository(name.lower())
    except RegistryError:
        return Repository("image")


def _media_type(content: bytes) -> str:
    """What a manifest says it is, where nothing lists it: `parse_manifest` finds that too."""
    try:
        parsed = parse_manifest(content)
    except RegistryError:
        return ""
    return parsed.media_type if parsed.media_type in MEDIA_TYPES else ""
