"""Which manifests refer to a subject (distribution-spec, "Listing Referrers")."""

import json
from typing import Any

from twisted.internet.defer import Deferred

from ..bucket.errors import NotFound
from ..bucket.interface import IBucket
from . import layout
from .digest import Digest
from .manifest import Manifest
from .names import Repository
from .record import read_record

PAGE = 1024 * 1024
"""How many bytes of descriptors one answer has before the rest is left to the next."""

_DESCRIPTOR_MAX = 5 * 1024 * 1024  # it carries the manifest's annotations, so it can be as long as one


class Referrers:
    """The descriptors of manifests by their subject. Each is a file of its own, so no list is ever rewritten."""

    def __init__(self, bucket: IBucket) -> None:
        self._bucket = bucket

    def add(
        self, repository: Repository, subject: Digest, digest: Digest, size: int, manifest: Manifest
    ) -> "Deferred[None]":
        """Note that a manifest refers to a subject, durably."""
        descriptor: dict[str, Any] = {"mediaType": manifest.media_type, "digest": str(digest), "size": size}
        if manifest.artifact_type:
            descriptor["artifactType"] = manifest.artifact_type
        if manifest.annotations:
            descriptor["annotations"] = manifest.annotations
        content = json.dumps(descriptor, separators=(",", ":")).encode()
        return self._bucket.put(layout.referrer(repository, subject, digest), content)

    async def remove(self, repository: Repository, subject: Digest, digest: Digest) -> None:
        """Forget that a manifest refers to a subject."""
        try:
            await self._bucket.remove(layout.referrer(repository, subject, digest))
        except NotFound:
            return

    async def list(
        self,
        repository: Repository,
        subject: Digest,
        artifact_type: str | None = None,
        after: Digest | None = None,
    ) -> tuple[list[dict[str, Any]], Digest | None]:
        """The descriptors of the manifests that refer to a subject, in the order of their digests.

        A page of them: from behind ``after``, until there are `PAGE` bytes. The second value is the digest of the
        last one of this page where more may follow, else None.
        """
        found: list[dict[str, Any]] = []
        length = 0
        last = after
        for digest in await layout.referring(self._bucket, repository, subject):
            if after is not None and digest <= after:
                continue
            if length >= PAGE:
                return found, last
            if await read_record(self._bucket, repository, digest) is None:
                continue  # what a crash left behind of one that was being pushed or deleted
            try:
                path = layout.referrer(repository, subject, digest)
                content = await self._bucket.get(path, _DESCRIPTOR_MAX)
            except NotFound:  # deleted since it was listed
                continue
            descriptor = json.loads(content)
            if artifact_type is None or descriptor.get("artifactType") == artifact_type:
                found.append(descriptor)
                length += len(content)
            last = digest
        return found, None
