"""The referrers of a manifest in a registry elsewhere: by the API, or by a tag where that is missing.

Source: distribution-spec, "Listing Referrers" and "Referrers Tag Schema".
"""

from collections.abc import Mapping
from typing import Any, Protocol

from ipfsreg.flow.locks import KeyedLock
from ipfsreg.registry.descriptor import Descriptor, encode_json, read_descriptors
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.manifest import OCI_INDEX
from ipfsreg.registry.names import Repository, Tag

from .authorization import scope_of
from .errors import Refused, Unknown, Untrustworthy, printable
from .listings import next_page
from .session import Session

PAGE_MAX = 16 * 1024**2
"""Bytes of one page, and of an index that stands in for the API."""

PAGES_MAX = 1000

REFERRERS_MAX = 100_000
"""Of one manifest: all of their descriptors are in memory."""

_TAG_MAX = 128


def referrers_tag(subject: Digest) -> Tag:
    """The tag of the index that lists the referrers of a manifest, where a registry has no API for that."""
    return Tag(f"{subject.algorithm}-{subject.hex}"[:_TAG_MAX])


class _Manifests(Protocol):
    async def manifest(self, repository: Repository, reference: Tag | Digest) -> Any: ...

    async def put_manifest(
        self, repository: Repository, reference: Tag | Digest, content: bytes, media_type: str
    ) -> bool: ...


class RemoteReferrers:
    """The lists of referrers of one registry."""

    def __init__(self, session: Session, manifests: _Manifests) -> None:
        self._session = session
        self._manifests = manifests
        self.has_api = True
        """Whether there is an API for them, as far as was seen."""
        self._changing = KeyedLock()

    async def of(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        """The descriptors of all referrers of a manifest, which need not be there itself."""
        if self.has_api:
            try:
                return await self._by_api(repository, subject)
            except Unknown as error:
                # A registry with the API answers 200 even for what it does not know. One that has neither the API nor
                # a code for that has a web server's page.
                self.has_api = bool(error.code) and error.code != "UNSUPPORTED"
            except Refused as error:
                if error.status not in {400, 405, 501}:
                    raise
                self.has_api = False
        return await self._by_tag(repository, subject)

    async def note(self, repository: Repository, subject: Digest, referrer: Descriptor) -> None:
        """Add a referrer to the index that stands in for the API, where there is none."""
        async with self._changing.of((repository, subject)):
            listed = await self.of(repository, subject)
            if self.has_api or any(each.digest == referrer.digest for each in listed):
                return
            manifests = [each.document for each in (*listed, referrer)]
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
            await self._manifests.put_manifest(repository, referrers_tag(subject), encode_json(index), OCI_INDEX)

    async def _by_api(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        url = self._session.address.url(f"{repository}/referrers/{subject}")
        found: dict[Digest, Descriptor] = {}
        for _ in range(PAGES_MAX):
            answer = await self._session.request("GET", url, scope_of(repository))
            for each in self._read(await answer.content(PAGE_MAX)):
                found[each.digest] = each
            if len(found) > REFERRERS_MAX:
                break
            url = next_page(self._session, answer)
            if not url:
                return list(found.values())
        raise Untrustworthy(f"{self._session.address.name}: its list of referrers does not end")

    async def _by_tag(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        try:
            index = await self._manifests.manifest(repository, referrers_tag(subject))
        except Unknown:
            return []
        return self._read(index.content)

    def _read(self, content: bytes) -> list[Descriptor]:
        try:
            document: Mapping[str, Any] = read_json(content)
            return list(read_descriptors(dict(document), "manifests"))
        except RegistryError as error:
            raise Untrustworthy(
                f"{self._session.address.name}: its list of referrers: {printable(error.message)}"
            ) from None
