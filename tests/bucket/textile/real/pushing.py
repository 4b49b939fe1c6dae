"""Images pushed to a daemon, and what was acknowledged of them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.web.client import Answer, query
from tests.web.served import MANIFEST_TYPE, Served, digest_of, image


@dataclass
class Acknowledged:
    """What a client was told that the registry has: blobs by repository, and manifests by repository and tag."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)

    async def check(self, registry: Served) -> None:
        """Fail unless all of it can be read, whole."""
        for (repository, digest), content in self.blobs.items():
            answer = await registry.ask("GET", f"/v2/{repository}/blobs/{digest}")
            assert (answer.status, answer.content) == (200, content), f"{repository}@{digest}"
        for (repository, tag), manifest in self.manifests.items():
            answer = await registry.ask("GET", f"/v2/{repository}/manifests/{tag}")
            assert (answer.status, answer.content) == (200, manifest), f"{repository}:{tag}"


async def push(registry: Served, repository: str, tag: str, layers: Iterable[bytes], told: Acknowledged) -> list[int]:
    """Push an image as a client does; answers the statuses of what was refused, after the first of which it stops."""
    layers = list(layers)
    for blob in (b"{}", *layers):
        target = query(f"/v2/{repository}/blobs/uploads/", digest=digest_of(blob))
        answer: Answer = await registry.ask("POST", target, None, blob)
        if answer.status != 201:
            return [answer.status]
        told.blobs[repository, digest_of(blob)] = blob
    manifest = image(layers=layers)
    answer = await registry.ask("PUT", f"/v2/{repository}/manifests/{tag}", {"Content-Type": MANIFEST_TYPE}, manifest)
    if answer.status != 201:
        return [answer.status]
    told.manifests[repository, tag] = manifest
    return []


def layer(size: int) -> bytes:
    """A layer that no other image has."""
    return os.urandom(size)
