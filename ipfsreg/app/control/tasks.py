"""What can be asked of a registry beside its protocol, by name: the same in a daemon and in a command alone."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeAlias

from ipfsreg.bucket.opened import Opened
from ipfsreg.flow.progress import Progress
from ipfsreg.registry.errors import NameUnknown, ReadOnly
from ipfsreg.registry.ipfs.image_parts import cids_of
from ipfsreg.registry.names import Repository, parse_reference, parse_repository
from ipfsreg.registry.registry import Registry

from .contents import inspect_image, list_repositories, list_tags, remove
from .events import Arguments, Listing, Long
from .status import tell_status
from .unknown import explained

_CHANGES = ("gc", "verify", "publish", "rm", "retention")

Task = Callable[[Arguments], Awaitable[dict[str, Any]]]
"""Answers something that can be written as JSON."""

AnyTask: TypeAlias = Task | Long | Listing


async def run_collector(registry: Registry, arguments: Arguments, progress: Progress) -> dict[str, Any]:
    """Run the garbage collector. ``dry_run`` frees nothing; ``now`` ignores the grace period.

    ``untagged`` replaces the time for which manifests are kept without a tag, in seconds.
    """
    grace = 0.0 if arguments.get("now") else None
    untagged = float(arguments["untagged"]) if "untagged" in arguments else None
    found = await registry.collector.run(
        dry_run=bool(arguments.get("dry_run")), grace=grace, untagged=untagged, progress=progress
    )
    limits = registry.limits
    return asdict(found) | {"untagged_for": limits.gc_untagged, "used_within": limits.gc_grace}


async def verify_registry(registry: Registry, arguments: Arguments, progress: Progress) -> dict[str, Any]:
    """Read everything and compare it with its digests."""
    return asdict(await registry.verifier.verify(progress=progress))


async def apply_retention(registry: Registry, arguments: Arguments, progress: Progress) -> dict[str, Any]:
    """Delete the tags that no rule keeps, of the repository ``name`` or of all."""
    return asdict(
        await registry.tag_retention.run(registry.now(), await _one_repository(registry, arguments), progress)
    )


async def judge_tags(registry: Registry, arguments: Arguments) -> AsyncGenerator[Sequence[Any], None]:
    """What is to become of each tag, of the repository ``name`` or of all; nothing is deleted."""
    only = await _one_repository(registry, arguments)
    async for some in registry.tag_retention.all_verdicts(registry.now(), only):
        yield [asdict(verdict) for verdict in some]


async def _one_repository(registry: Registry, arguments: Arguments) -> Repository | None:
    name = arguments.get("name")
    if not name:
        return None
    repository = parse_repository(name)
    try:
        await registry.tags.in_order(repository, None, 1)
    except NameUnknown:
        raise NameUnknown(f"there is no repository {repository}") from None
    return repository


async def find_cids(registry: Registry, arguments: Arguments) -> dict[str, Any]:
    """The CID of the image ``name``; with ``parts`` also of its parts."""
    repository, reference = parse_reference(arguments["name"])
    with_parts = bool(arguments.get("parts"))
    work = cids_of(registry.manifests, registry.blobs, repository, reference, with_parts=with_parts)
    found = await explained(registry, repository, reference, work)
    return {"parts": [asdict(each) for each in found]}


async def publish_image(registry: Registry, arguments: Arguments) -> dict[str, Any]:
    """Publish the image ``name``."""
    repository, reference = parse_reference(arguments["name"])
    found = await explained(registry, repository, reference, registry.publisher.publish(repository, reference))
    return {"cid": found.cid, "view": str(found.view), "missing": [str(each) for each in found.missing]}


async def _refuse(task: str, why: str, arguments: Arguments) -> dict[str, Any]:
    raise ReadOnly(f"{why}: run `ipfsreg {task}` where it is published")


def tasks_of(registry: Registry, backend: Opened, started: float | None = None) -> Mapping[str, AnyTask]:
    """All tasks of a registry and its backend. ``started`` is when the daemon has; None for a command alone."""
    tasks: dict[str, AnyTask] = {
        "ls": Listing(partial(list_repositories, registry)),
        "tags": Listing(partial(list_tags, registry)),
        "inspect": partial(inspect_image, registry),
        "rm": Long(partial(remove, registry)),
        "status": partial(tell_status, registry, backend, started),
        "gc": Long(partial(run_collector, registry)),
        "retention": Long(partial(apply_retention, registry)),
        "retention-verdicts": Listing(partial(judge_tags, registry)),
        "verify": Long(partial(verify_registry, registry)),
        "cid": partial(find_cids, registry),
        "publish": partial(publish_image, registry),
        **backend.tasks,
        **{name: Long(work) for name, work in backend.long_tasks.items()},
    }
    if backend.read_only is not None:
        tasks |= {name: partial(_refuse, name, backend.read_only) for name in _CHANGES}
    return tasks
