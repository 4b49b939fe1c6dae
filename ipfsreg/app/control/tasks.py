"""What can be asked of a registry beside its protocol, by name: the same in a daemon and in a command alone."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from ipfsreg.bucket.opened import Opened
from ipfsreg.registry.errors import ReadOnly
from ipfsreg.registry.ipfs.image_parts import cids_of
from ipfsreg.registry.names import parse_reference
from ipfsreg.registry.registry import Registry

Arguments = Mapping[str, str]
Task = Callable[[Arguments], Awaitable[dict[str, Any]]]
"""Answers something that can be written as JSON."""


async def collect(registry: Registry, arguments: Arguments) -> dict[str, Any]:
    """Run the garbage collector. ``dry_run`` frees nothing; ``now`` ignores the grace period."""
    grace = 0.0 if arguments.get("now") else None
    return asdict(await registry.collector.run(dry_run=bool(arguments.get("dry_run")), grace=grace))


async def verify(registry: Registry, arguments: Arguments) -> dict[str, Any]:
    """Read everything and compare it with its digests."""
    return asdict(await registry.verifier.verify())


async def cid(registry: Registry, arguments: Arguments) -> dict[str, Any]:
    """The CID of the image ``name``; with ``parts`` also of its parts."""
    repository, reference = parse_reference(arguments["name"])
    with_parts = bool(arguments.get("parts"))
    found = await cids_of(registry.manifests, registry.blobs, repository, reference, with_parts=with_parts)
    return {"parts": [asdict(each) for each in found]}


async def publish(registry: Registry, arguments: Arguments) -> dict[str, Any]:
    """Publish the image ``name``."""
    found = await registry.publisher.publish(*parse_reference(arguments["name"]))
    return {"cid": found.cid, "view": str(found.view), "missing": [str(each) for each in found.missing]}


async def _refuse(task: str, why: str, arguments: Arguments) -> dict[str, Any]:
    raise ReadOnly(f"{why}: run `ipfsreg {task}` where it is published")


def tasks_of(registry: Registry, backend: Opened) -> Mapping[str, Task]:
    """All tasks of a registry and its backend."""
    tasks: dict[str, Task] = {
        "gc": partial(collect, registry),
        "verify": partial(verify, registry),
        "cid": partial(cid, registry),
        "publish": partial(publish, registry),
        **backend.tasks,
    }
    if backend.read_only is not None:
        tasks |= {name: partial(_refuse, name, backend.read_only) for name in ("gc", "verify", "publish")}
    return tasks
