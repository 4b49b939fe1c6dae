"""What to say to a person who names an image that is not there."""

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ManifestUnknown, NameUnknown
from ipfsreg.registry.names import Repository, Tag, format_reference
from ipfsreg.registry.record import read_record
from ipfsreg.registry.registry import Registry

T = TypeVar("T")

_SHOWN = 5


async def explained(registry: Registry, repository: Repository, reference: Tag | Digest, work: Awaitable[T]) -> T:
    """Await some work on an image.

    :raises ManifestUnknown: where the registry has no such image: what there is instead, or that it is damaged.
    """
    try:
        return await work
    except ManifestUnknown:
        raise ManifestUnknown(await _instead(registry, repository, reference)) from None


async def _instead(registry: Registry, repository: Repository, reference: Tag | Digest) -> str:
    image = format_reference(repository, reference)
    if await _is_listed(registry, repository, reference):
        return f"{image} is damaged or missing: `ipfsreg verify` says what of it, and a push of the image heals it"
    lacking = f"there is no image {image}"
    try:
        tags: Sequence[Tag] = await registry.tags.in_order(repository, None, _SHOWN)
    except NameUnknown:
        tags = ()
    if tags:
        plural = "" if len(tags) == 1 else "s"
        return f"{lacking}; {repository} has the tag{plural} {_some(tags, await registry.tags.count(repository))}"
    repositories = await registry.catalog.after("", _SHOWN)
    if await layout.has_manifests(registry.bucket, repository):
        return f"{lacking}; {repository} has no tags, so name it by its digest: {repository}@sha256:…"
    if not repositories:
        return f"{lacking}, nor any other: nothing was pushed yet"
    host, slash, rest = repository.partition("/")
    host_hint = f"; without its host an image is {rest}" if slash and ("." in host or host == "localhost") else ""
    return f"{lacking}; there are {_some(repositories, await registry.catalog.count())}{host_hint}"


async def _is_listed(registry: Registry, repository: Repository, reference: Tag | Digest) -> bool:
    """Whether a repository has the tag, or the manifest, though it may not be whole."""
    try:
        if isinstance(reference, Digest):
            return await read_record(registry.bucket, repository, reference) is not None
        return await registry.tags.get(repository, reference) is not None
    except Corrupt:
        return True


def _some(names: Sequence[str], count: int) -> str:
    more = count - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
