"""Images under other names at the destination than at the source."""

from collections.abc import Sequence
from dataclasses import dataclass

from ipfsreg.client.registry import RemoteManifest
from ipfsreg.client.uploading import From
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import NameInvalid
from ipfsreg.registry.names import Repository, Tag, parse_repository, parse_tag

from .places import Destination, Selection


@dataclass(frozen=True, slots=True)
class Naming:
    """What images are called at the destination: ``prefix`` before all names, or one ``repository`` and ``tag``."""

    prefix: str = ""
    repository: Repository | None = None
    tag: Tag | None = None
    digest: Digest | None = None
    """What gets the tag, where that is no tag."""

    @property
    def renames(self) -> bool:
        """Whether images are called otherwise than at the source."""
        return bool(self.prefix or self.repository)

    def repository_of(self, source: Repository) -> Repository:
        """The repository there. :raises NameInvalid: where that is too long a name."""
        return self.repository or parse_repository(f"{self.prefix}{source}")

    def reference_of(self, source: Tag | Digest) -> Tag | Digest:
        """The tag there; a digest that is to get none stays as it is."""
        return source if self.tag is None or (isinstance(source, Digest) and source != self.digest) else self.tag


def parse_names(names: Sequence[str], patterns: Sequence[str], prefix: str = "") -> list[tuple[Selection, Naming]]:
    """What is selected by names, each of which may be ``NAME=NEW``, and what it is to be called.

    :raises RegistryError: for what is no name.
    """
    renamed = [each for each in names if "=" in each]
    plain = tuple(each for each in names if "=" not in each)
    prefix = f"{parse_repository(prefix.strip('/'))}/" if prefix else ""
    found = [(Selection(plain, tuple(patterns)), Naming(prefix))] if plain or not renamed else []
    return found + [(Selection((each.partition("=")[0],), tuple(patterns)), _renamed(each)) for each in renamed]


def _renamed(text: str) -> Naming:
    name, _, new = text.partition("=")
    repository, colon, tag = new.partition(":")
    if any(mark in name for mark in "*?["):
        raise NameInvalid(f"{text}: a pattern has no one name; --to-prefix is for all that is copied")
    _, at, digest = name.partition("@")
    if colon and ":" not in name:
        raise NameInvalid(f"{text}: many tags cannot become one: name the tag on both sides")
    return Naming(
        "", parse_repository(repository), parse_tag(tag) if colon else None, parse_digest(digest) if at else None
    )


class Renamed:
    """A `Destination` that has images under the names of a `Naming`; who copies has those of the source.

    ``is_source`` says that it is the source.
    """

    def __init__(self, destination: Destination, naming: Naming, *, is_source: bool = False) -> None:
        self.name = destination.name
        self.is_source = is_source
        self._destination = destination
        self._to = naming.repository_of
        self._reference = naming.reference_of

    async def manifest_head(self, repository: Repository, reference: Tag | Digest) -> Descriptor | None:
        return await self._destination.manifest_head(self._to(repository), self._reference(reference))

    async def manifest(self, repository: Repository, digest: Digest) -> RemoteManifest:
        return await self._destination.manifest(self._to(repository), digest)

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        return await self._destination.blob_size(self._to(repository), digest)

    async def mount(self, repository: Repository, digest: Digest, source: Repository) -> str | None:
        """See `Destination`. ``source`` is a name there."""
        return await self._destination.mount(self._to(repository), digest, source)

    async def upload(
        self, repository: Repository, digest: Digest, size: int, source: From, location: str | None = None
    ) -> None:
        await self._destination.upload(self._to(repository), digest, size, source, location)

    async def put_manifest(
        self, repository: Repository, reference: Tag | Digest, content: bytes, media_type: str
    ) -> bool:
        to, new = self._to(repository), self._reference(reference)
        return await self._destination.put_manifest(to, new, content, media_type)

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        return await self._destination.referrers(self._to(repository), subject)

    async def note_referrer(self, repository: Repository, subject: Digest, referrer: Descriptor) -> None:
        await self._destination.note_referrer(self._to(repository), subject, referrer)
