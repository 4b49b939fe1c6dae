"""What a place is that images are copied from or to. `RegistryClient` is both; so is an OCI layout."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from ipfsreg.client.errors import Refused
from ipfsreg.client.registry import RemoteManifest
from ipfsreg.client.uploading import From
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.names import Repository, Tag, parse_reference


class Source(Protocol):
    """Where images come from. What it gives was compared with its digest; all of it fails with a `RemoteError`."""

    name: str

    @property
    def tags_list_referrers(self) -> bool:
        """Whether only tags tell of referrers: whoever has seen all tags has seen all that there are."""
        raise NotImplementedError

    def repositories(self) -> AsyncGenerator[Repository, None]:
        """All repositories."""

    def tags(self, repository: Repository) -> AsyncGenerator[Tag | Digest, None]:
        """The tags of a repository, and digests of images that have none, as far as the place can tell them."""

    async def manifest(self, repository: Repository, reference: Tag | Digest) -> RemoteManifest:
        """A manifest. :raises Unknown: where there is none."""

    async def manifest_head(self, repository: Repository, reference: Tag | Digest) -> Descriptor | None:
        """What there is, if there is something."""

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        """The referrers of a manifest."""

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        """The length of a blob in bytes; None where there is none."""

    def blob(self, repository: Repository, digest: Digest, size: int) -> AsyncGenerator[bytes, None]:
        """A blob. Its end comes only where it was compared with the digest."""

    def blob_range(
        self, repository: Repository, digest: Digest, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """A part of a blob."""


class Destination(Protocol):
    """Where images go. It is given no manifest before all that it refers to."""

    name: str
    is_source: bool
    """Whether the images come from the same place, under other names."""

    async def manifest(self, repository: Repository, digest: Digest) -> RemoteManifest:
        """A manifest that it has, by its digest."""

    async def manifest_head(self, repository: Repository, reference: Tag | Digest) -> Descriptor | None:
        """What there is, if there is something."""

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        """The length of a blob in bytes; None where there is none."""

    async def mount(self, repository: Repository, digest: Digest, source: Repository) -> str | None:
        """Have a blob of another repository, called so at the destination; see `Uploader.mount`."""

    async def upload(
        self, repository: Repository, digest: Digest, size: int, source: From, location: str | None = None
    ) -> None:
        """Store a blob."""

    async def put_manifest(
        self, repository: Repository, reference: Tag | Digest, content: bytes, media_type: str
    ) -> bool:
        """Store a manifest; answers whether it is listed as a referrer, if it is one."""

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        """The referrers of a manifest."""

    async def note_referrer(self, repository: Repository, subject: Digest, referrer: Descriptor) -> None:
        """List a referrer, where `put_manifest` said that it is not."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images are meant: ``names`` of repositories, each alone or with a tag or digest, and patterns of tags.

    In both ``*``, ``?`` and ``[…]`` mean what they do in a shell, but ``*`` goes over slashes too. Without names it is
    all repositories, without patterns all tags.
    """

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if not _is_pattern(name):
                parse_reference(name)

    async def repositories(self, source: Source) -> AsyncGenerator[Repository, None]:
        """The repositories that are meant. Where all have names, the source need not be able to list its own."""
        if self.names and not any(map(_is_pattern, self.names)):
            for name in dict.fromkeys(_split(each)[0] for each in self.names):
                yield Repository(name)
            return
        try:
            async for repository in source.repositories():
                if not self.names or self.matching(repository):
                    yield repository
        except Refused as error:
            if error.status == 401:  # with a login it may
                raise
            told = f"{source.name} does not list its repositories, so name those to copy ({error})"
            raise type(error)(told, error.status, error.code) from None

    def matching(self, repository: Repository) -> set[str]:
        """The ``names`` by which a repository is meant."""
        return {each for each in self.names if fnmatchcase(repository, _split(each)[0])}

    def names_it(self, repository: Repository) -> bool:
        """Whether a repository is meant by its name, and not only by a pattern."""
        return any(_split(each)[0] == repository for each in self.names)

    def tags_of(self, repository: Repository) -> set[str]:
        """The tags of a repository that are meant by their names, and not only by a pattern."""
        named = (_split(each) for each in self.names if not _is_pattern(each))
        return {tag for name, tag, _ in named if tag and name == repository}

    def digests_of(self, repository: Repository) -> list[Digest]:
        """The images of a repository that are meant by their digests."""
        return [parse_digest(digest) for name, _, digest in map(_split, self.names) if digest and name == repository]

    def means_tags(self, repository: Repository) -> bool:
        """Whether any of its tags may be meant."""
        return not self.names or any("@" not in each for each in self.matching(repository))

    def means_all_of(self, repository: Repository) -> bool:
        """Whether all that it lists is meant."""
        plain = not self.names or any(_split(each)[1:] in {("", ""), ("*", "")} for each in self.matching(repository))
        return plain and all(each == "*" for each in self.patterns)

    def means(self, repository: Repository, reference: Tag | Digest) -> bool:
        """Whether an image that a repository lists is meant."""
        text = reference if isinstance(reference, str) else ""
        wanted = [_split(each)[1] or "*" for each in self.matching(repository) if "@" not in each] or ["*"]
        return all(
            not patterns or patterns == ["*"] or any(fnmatchcase(text, each) for each in patterns)
            for patterns in (wanted if "*" not in wanted else [], list(self.patterns))
        )


def _split(name: str) -> tuple[str, str, str]:
    """Repository, tag and digest."""
    repository, _, digest = name.partition("@")
    repository, _, tag = repository.partition(":")
    return repository, tag, digest


def _is_pattern(name: str) -> bool:
    return any(each in name for each in "*?[")
