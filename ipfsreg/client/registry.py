"""A registry elsewhere, by the distribution protocol (distribution-spec 1.1)."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest, digest_of, new_hash, parse_digest
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.manifest import MEDIA_TYPES
from ipfsreg.registry.names import Repository, Tag, parse_repository, parse_tag

from .address import RegistryAddress
from .authorization import CATALOG, scope_of
from .credentials import find_credentials
from .errors import Unintelligible, Unknown, Unreachable, Untrustworthy, printable
from .listings import read_list
from .referrers import RemoteReferrers
from .session import STORE_SECONDS, TRIES, FindCredentials, Session
from .transport import Answer, Body, Transport
from .uploading import PUSH, From, Uploader

CONNECTIONS = 16
"""How many connections are kept for the next requests. How many requests there are at once is for the caller."""

MANIFEST_MAX = 16 * 1024**2
"""Bytes of the longest manifest that is read."""

_ACCEPT = ", ".join(sorted(MEDIA_TYPES))
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest as a registry has it. The content was compared with the digest."""

    content: bytes
    media_type: str
    digest: Digest


class RegistryClient:
    """A registry. Everything it does fails with a `RemoteError`, and ends in bounded time.

    ``find`` has the logins, by default those of `docker login`; None is for nobody in particular. See `Transport`
    for ``authorities`` and ``socket``.
    """

    is_source = False  # see `Destination`

    def __init__(
        self,
        reactor: Any,
        address: RegistryAddress,
        *,
        find: FindCredentials | None = find_credentials,
        authorities: Path | None = None,
        socket: str | None = None,
    ) -> None:
        self.address = address
        self.name = address.name
        transport = Transport(reactor, address.name, CONNECTIONS, authorities=authorities, socket=socket)
        self._session = Session(reactor, address, transport, find)
        self._uploader = Uploader(self._session)
        self._referrers = RemoteReferrers(self._session, self)

    @property
    def tags_list_referrers(self) -> bool:
        """Whether it is known that only tags tell of referrers; see `RemoteReferrers`."""
        return not self._referrers.has_api

    async def close(self) -> None:
        """Close the connections."""
        await self._session.transport.close()

    async def ping(self) -> None:
        """Return where a registry answers, and lets us in."""
        answer = await self._session.request("GET", self.address.url(""), again=False)
        await answer.drop()

    def repositories(self) -> AsyncGenerator[Repository, None]:
        """The names of all repositories that we may see."""
        return read_list(self._session, f"_catalog?n={_PAGE}", "repositories", CATALOG, parse_repository)

    def tags(self, repository: Repository) -> AsyncGenerator[Tag, None]:
        """The tags of a repository. :raises Unknown: where there is none of that name."""
        return read_list(self._session, f"{repository}/tags/list?n={_PAGE}", "tags", scope_of(repository), parse_tag)

    async def manifest(self, repository: Repository, reference: Tag | Digest) -> RemoteManifest:
        """A manifest by tag or digest. :raises Unknown: where there is none."""
        answer = await self._session.request(
            "GET", self._manifest_url(repository, reference), scope_of(repository), headers={"Accept": _ACCEPT}
        )
        content = await answer.content(MANIFEST_MAX)
        told = self._told_digest(answer)
        expected = reference if isinstance(reference, Digest) else told
        digest = digest_of(content, expected.algorithm if expected else "sha256")
        if expected is not None and digest != expected:
            raise Untrustworthy(f"{self.name}: the manifest of {repository} that is said to be {expected} is {digest}")
        return RemoteManifest(content, _media_type(answer), digest)

    async def manifest_head(self, repository: Repository, reference: Tag | Digest) -> Descriptor | None:
        """What a registry says of a manifest without sending it; None where it has none of that name."""
        try:
            answer = await self._session.request(
                "HEAD", self._manifest_url(repository, reference), scope_of(repository), headers={"Accept": _ACCEPT}
            )
        except Unknown:
            return None
        await answer.drop()
        digest = reference if isinstance(reference, Digest) else self._told_digest(answer)
        if digest is None or answer.length is None:
            found = await self.manifest(repository, reference)
            return Descriptor(found.media_type, found.digest, len(found.content))
        return Descriptor(_media_type(answer), digest, answer.length)

    async def put_manifest(
        self, repository: Repository, reference: Tag | Digest, content: bytes, media_type: str
    ) -> bool:
        """Store a manifest. Answers whether the registry lists it as a referrer by itself, if it has a subject."""
        answer = await self._session.request(
            "PUT",
            self._manifest_url(repository, reference),
            scope_of(repository, PUSH),
            headers={"Content-Type": media_type},
            body=lambda: Body.of(content),
            accept=frozenset({200, 201, 202}),
            seconds=STORE_SECONDS,
        )
        await answer.drop()
        told = self._told_digest(answer)
        if told is not None and told != digest_of(content, told.algorithm):
            raise Untrustworthy(f"{self.name} stored a manifest of {repository} as {told}, which it is not")
        return answer.header("OCI-Subject") is not None

    async def delete_manifest(self, repository: Repository, reference: Tag | Digest) -> None:
        """Delete a tag, or a manifest by its digest. :raises Unknown: where it is not there."""
        answer = await self._session.request(
            "DELETE",
            self._manifest_url(repository, reference),
            scope_of(repository, "delete"),
            accept=frozenset({200, 202, 204}),
        )
        await answer.drop()

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        """The length of a blob in bytes; None where the repository does not have it."""
        try:
            answer = await self._session.request("HEAD", self._blob_url(repository, digest), scope_of(repository))
        except Unknown:
            return None
        await answer.drop()
        if answer.length is None:
            raise Untrustworthy(f"{self.name} does not say how long {digest} is")
        return answer.length

    async def blob(self, repository: Repository, digest: Digest, size: int) -> AsyncGenerator[bytes, None]:
        """A whole blob of ``size`` bytes. Its end comes only where it was compared with the digest.

        Where the connection is cut it goes on with what is missing.

        :raises Untrustworthy: where it is not what its digest or size says. :raises Unknown: where it is not there.
        """
        done, tries, last = 0, 0, b""
        hasher = new_hash(digest.algorithm)
        while True:
            tries += 1
            try:
                async with aclosing(self.blob_range(repository, digest, done, size - done)) as pieces:
                    async for piece in pieces:
                        if last:
                            yield last
                        hasher.update(piece)
                        last, done, tries = piece, done + len(piece), 0
                break
            except Unreachable as error:
                if isinstance(error, Unintelligible) or tries >= TRIES:
                    raise
        if hasher.hexdigest() != digest.hex:
            raise Untrustworthy(f"{self.name}: what it has as {digest} is something else")
        if last:
            yield last

    async def blob_range(
        self, repository: Repository, digest: Digest, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """``length`` bytes of a blob from an offset on. Nobody compares them with anything.

        :raises Untrustworthy: where there are more or fewer.
        """
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"} if offset and length else {}
        answer = await self._session.request(
            "GET",
            self._blob_url(repository, digest),
            scope_of(repository),
            headers=headers,
            accept=frozenset({200, 206}),
        )
        skip = offset if answer.status == 200 else 0
        if answer.length not in {None, skip + length}:
            raise Untrustworthy(f"{self.name}: {digest} has {answer.length} bytes and not {skip + length}")
        left = length
        async with aclosing(answer.pieces()) as pieces:
            async for piece in pieces:
                wanted, skip = piece[skip:], max(0, skip - len(piece))
                left -= len(wanted)
                if left < 0:
                    break
                if wanted:
                    yield wanted
        if left:
            raise Untrustworthy(f"{self.name}: {digest} has not the {offset + length} bytes that it should have")

    async def mount(self, repository: Repository, digest: Digest, source: Repository) -> str | None:
        """See `Uploader.mount`."""
        return await self._uploader.mount(repository, digest, source)

    async def upload(
        self, repository: Repository, digest: Digest, size: int, source: From, location: str | None = None
    ) -> None:
        """See `Uploader.upload`."""
        await self._uploader.upload(repository, digest, size, source, location)

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        """See `RemoteReferrers.of`."""
        return await self._referrers.of(repository, subject)

    async def note_referrer(self, repository: Repository, subject: Digest, referrer: Descriptor) -> None:
        """See `RemoteReferrers.note`."""
        await self._referrers.note(repository, subject, referrer)

    def _manifest_url(self, repository: Repository, reference: Tag | Digest) -> str:
        return self.address.url(f"{repository}/manifests/{reference}")

    def _blob_url(self, repository: Repository, digest: Digest) -> str:
        return self.address.url(f"{repository}/blobs/{digest}")

    def _told_digest(self, answer: Answer) -> Digest | None:
        told = answer.header("Docker-Content-Digest")
        try:
            return None if told is None else parse_digest(told)
        except RegistryError:
            raise Untrustworthy(f"{self.name} answers what is no digest: {printable(told or '')}") from None


def _media_type(answer: Answer) -> str:
    return (answer.header("Content-Type") or "").partition(";")[0].strip()
