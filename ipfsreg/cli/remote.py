"""A registry elsewhere, as a command reaches it: by the distribution protocol."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from ipfsreg.app.control.events import Event
from ipfsreg.client.address import parse_address
from ipfsreg.client.errors import Refused, RemoteError, Unknown
from ipfsreg.client.registry import RegistryClient, RemoteManifest
from ipfsreg.flow.gather import batches_async, gather
from ipfsreg.registry.content.block_cid import block_cid_text, is_one_block
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ManifestInvalid, ManifestUnknown
from ipfsreg.registry.ipfs.describing import NO_SUMMARY, Describer
from ipfsreg.registry.names import Repository, Tag, parse_reference, parse_repository

from .errors import ControlError, Exit, control_error

T = TypeVar("T")

PAGE = 1000
LONG_PAGE = 50


class Remote:
    """Does tasks as `Alone` does, those for which the protocol has a word."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._describer = Describer(_RemoteImages(client))

    async def do(
        self, task: str, arguments: Mapping[str, str], heard: Callable[[Event], None] | None = None
    ) -> dict[str, Any]:
        lists = {"ls": self._repositories, "tags": self._tags}
        tasks = {"inspect": self._inspect, "rm": self._remove, "cid": self._cid}
        try:
            if task in tasks:
                return await tasks[task](arguments)
            async with aclosing(lists[task](arguments)) as pages:
                async for page in pages:
                    if heard is not None:
                        heard({"items": page})
            return {}
        except Unknown as error:
            named = arguments.get("name") or arguments.get("repository")
            if named is None:
                raise ControlError(f"{self._client.name} does not list its repositories", Exit.UNKNOWN) from None
            raise ControlError(f"{named}: {error}", Exit.UNKNOWN) from None
        except RemoteError as error:
            raise control_error(error) from None
        except ManifestUnknown:
            raise ControlError(f"{self._client.name} has no image {arguments['name']}", Exit.UNKNOWN) from None

    async def _repositories(self, arguments: Mapping[str, str]) -> AsyncGenerator[Sequence[Any], None]:
        async def look(name: Repository) -> dict[str, Any]:
            try:
                return {"name": name, "tags": len([each async for each in self._client.tags(name)]), "size": None}
            except Unknown:  # deleted meanwhile, or hidden
                return {"name": name, "tags": 0, "size": None}

        async with aclosing(self._client.repositories()) as names:
            async for page in batches_async(names, LONG_PAGE if arguments.get("long") else PAGE):
                yield await gather(look, page) if arguments.get("long") else [{"name": name} for name in page]

    async def _tags(self, arguments: Mapping[str, str]) -> AsyncGenerator[Sequence[Any], None]:
        repository = parse_repository(arguments["name"])

        async def summary(tag: Tag) -> dict[str, Any]:
            try:
                return {"tag": tag} | await self._describer.summary(repository, tag)
            except (ManifestUnknown, ManifestInvalid):
                return {"tag": tag} | NO_SUMMARY

        async with aclosing(self._client.tags(repository)) as tags:
            async for page in batches_async(tags, LONG_PAGE if arguments.get("long") else PAGE):
                yield await gather(summary, page) if arguments.get("long") else [{"tag": tag} for tag in page]

    async def _inspect(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        return {"name": arguments["name"]} | await self._describer.describe(*parse_reference(arguments["name"]))

    async def _cid(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        if arguments.get("parts"):
            raise ControlError("a registry elsewhere does not say what the CIDs of blobs are: leave --blobs out")
        found = await self._client.manifest(*parse_reference(arguments["name"]))
        cid = await _RemoteImages(self._client).cid(found.digest, len(found.content))
        if cid is None:
            raise ControlError(f"{found.digest} is not one block, and a registry elsewhere does not say its CID")
        return {"parts": [{"digest": str(found.digest), "cid": cid, "size": len(found.content)}]}

    async def _remove(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        if "repository" not in arguments:
            repository, reference = parse_reference(arguments["name"])
            by_digest = isinstance(reference, Digest)
            try:
                await self._client.delete_manifest(repository, reference)
            except Refused as error:
                # Docker's registry answers 400 for a tag, as if it were a wrong digest, and others 405.
                if by_digest or error.status not in (400, 405):
                    raise
                raise ControlError(
                    f"{self._client.name} does not delete tags ({error}): name a digest, which `ipfsreg tags --long` "
                    "tells; all tags that point to it go with it",
                    Exit.REFUSED,
                ) from None
            return {"tags": None if by_digest else 1, "manifests": int(by_digest)}
        repository = parse_repository(arguments["repository"])
        digests = set()
        tags = [each async for each in self._client.tags(repository)]
        for tag in tags:
            head = await self._client.manifest_head(repository, tag)
            if head is not None:
                digests.add(head.digest)
        for digest in digests:
            await self._client.delete_manifest(repository, digest)
        return {"tags": len(tags), "manifests": len(digests)}


@asynccontextmanager
async def reach_remote(registry: str, authorities: Path | None, reactor: Any) -> AsyncIterator[Remote]:
    """The registry with that address; connections are closed at the end. See `RegistryClient` for ``authorities``.

    :raises ControlError: where that is no address, or these are none.
    """
    try:
        client = RegistryClient(reactor, parse_address(registry), authorities=authorities)
    except ValueError as error:
        raise ControlError(str(error), Exit.USAGE) from None
    try:
        yield Remote(client)
    finally:
        await client.close()


class _RemoteImages:
    """See `Images`."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    async def manifest(self, repository: Repository, reference: Tag | Digest) -> RemoteManifest | None:
        try:
            return await self._client.manifest(repository, reference)
        except Unknown:
            return None

    async def blob(self, repository: Repository, blob: Descriptor) -> bytes | None:
        try:
            return b"".join([piece async for piece in self._client.blob(repository, blob.digest, blob.size)])
        except Unknown:
            return None

    async def referrers(self, repository: Repository, subject: Digest) -> Sequence[dict[str, Any]]:
        return [each.document for each in await self._client.referrers(repository, subject)]

    async def cid(self, digest: Digest, size: int) -> str | None:
        return block_cid_text(digest) if is_one_block(digest, size) else None

    async def reading(self, length: int, function: Callable[..., T], *arguments: Any) -> T:
        return function(*arguments)
