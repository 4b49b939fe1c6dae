"""Tasks about what a registry has: its repositories, tags and images, and taking them away."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.flow.gather import batches, gather
from ipfsreg.flow.progress import Progress
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ManifestInvalid, ManifestUnknown, NameUnknown
from ipfsreg.registry.events.event import EventAction, Origin, Target
from ipfsreg.registry.names import Repository, Tag, parse_reference, parse_repository
from ipfsreg.registry.registry import Registry

from .events import Arguments
from .unknown import explained

_ORIGIN = Origin("ipfsreg rm", agent="ipfsreg rm")
"""Whoever can open the control socket."""

PAGE = 1000
"""How many names are in a page of a list."""

LONG_PAGE = 100
"""How many are in one for which each is looked at."""


async def list_repositories(registry: Registry, arguments: Arguments) -> AsyncGenerator[Sequence[Any], None]:
    """The repositories that have a manifest, by ``name``. With ``long`` also how many tags, and how many bytes."""
    is_long = arguments.get("long")
    last = ""
    while page := await registry.catalog.after(last, LONG_PAGE if is_long else PAGE):
        last = page[-1]
        if not is_long:
            yield [{"name": name} for name in page]
            continue
        sizes = {}
        with suppress(Unavailable):  # the count cannot be read; that was logged
            sizes = dict((await registry.used(page)).of_repositories)
        yield [{"name": name, "tags": await _tags_in(registry, name), "size": sizes.get(name)} for name in page]


async def list_tags(registry: Registry, arguments: Arguments) -> AsyncGenerator[Sequence[Any], None]:
    """The tags of the repository ``name``. With ``long`` each with the summary of its image, where that is whole."""
    repository = parse_repository(arguments["name"])
    pages = _tags_of(registry, repository)
    if not arguments.get("long"):
        async for page in pages:
            yield [{"tag": tag} for tag in page]
        return

    from ipfsreg.registry.ipfs.describing import NO_SUMMARY, Describer  # not loaded before it is used

    async for page in pages:
        for some in batches(page, LONG_PAGE):
            describer = await registry.describer_of(repository, some)

            async def summary(tag: Tag, describer: Describer = describer) -> dict[str, Any]:
                try:
                    return {"tag": tag} | await describer.summary(repository, tag)
                except (ManifestUnknown, ManifestInvalid, Corrupt):
                    return {"tag": tag} | NO_SUMMARY

            yield await gather(summary, some)


async def _tags_of(registry: Registry, repository: Repository) -> AsyncGenerator[Sequence[Tag], None]:
    async with aclosing(registry.tags.pages(repository)) as pages:
        try:
            async for page in pages:
                yield page
        except NameUnknown:
            raise NameUnknown(f"there is no repository {repository}") from None


async def inspect_image(registry: Registry, arguments: Arguments) -> dict[str, Any]:
    """All that there is to say of the image ``name``; see `Describer`."""
    repository, reference = parse_reference(arguments["name"])
    work = registry.describer.describe(repository, reference)
    return {"name": arguments["name"]} | await explained(registry, repository, reference, work)


async def remove(registry: Registry, arguments: Arguments, progress: Progress) -> dict[str, Any]:
    """Delete the tag or manifest ``name``, or the whole ``repository``. Answers how many tags and manifests went."""
    if "repository" in arguments:
        return await _remove_all(registry, parse_repository(arguments["repository"]), progress)
    repository, reference = parse_reference(arguments["name"])
    if isinstance(reference, Digest):
        maybe = await registry.tags.pointing_to(repository, reference)
        pointing = [tag for tag in maybe if await registry.tags.whole(repository, tag) == reference]
        await explained(registry, repository, reference, _delete(registry, repository, reference))
        return {"tags": len(pointing), "manifests": 1}
    await explained(registry, repository, reference, _delete(registry, repository, reference))
    return {"tags": 1, "manifests": 0}


async def _delete(registry: Registry, repository: Repository, reference: Tag | Digest) -> None:
    if isinstance(reference, Digest):
        await registry.manifests.delete(repository, reference)
        target = Target(repository, reference)
    else:
        await registry.manifests.delete_tag(repository, reference)
        target = Target(repository, tag=reference)
    await registry.events.changed(EventAction.DELETE, target, _ORIGIN)


async def _remove_all(registry: Registry, repository: Repository, progress: Progress) -> dict[str, Any]:
    tags = [tag async for page in _tags_of(registry, repository) for tag in page]
    registry.manifests.check_can_delete(repository, tags)  # all of it goes, or nothing
    manifests = [each async for each in layout.manifest_records(registry.bucket, repository)]
    # The tags go first: with each manifest those that point to it are looked for.
    progress.begin(f"Deleting {repository}", len(tags) + len(manifests))
    everything: list[Tag | Digest] = [*tags, *manifests]
    for each in everything:
        with suppress(ManifestUnknown):  # somebody else has deleted it
            await _delete(registry, repository, each)
        progress.done += 1
    return {"tags": len(tags), "manifests": len(manifests)}


async def _tags_in(registry: Registry, repository: Repository) -> int:
    try:
        return await registry.tags.count(repository)
    except NameUnknown:  # it was deleted meanwhile
        return 0
