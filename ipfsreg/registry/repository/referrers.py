"""Which manifests refer to a subject (distribution-spec, "Listing Referrers")."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, Corrupt, NotFound, TooLarge
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.content.guard import Guard
from ipfsreg.registry.content.store import ContentStore
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ManifestInvalid
from ipfsreg.registry.names import Repository

from .manifest import Manifest, parse_manifest
from .record import Record, manifest_key, read_record

P = ParamSpec("P")
T = TypeVar("T")

PAGE = 1024 * 1024
"""How many bytes of descriptors one answer has before the rest is left to the next."""

_INLINE = 64 * 1024  # a shorter one is parsed faster than a thread is woken


class Descriptor(BaseModel):
    """What the list shows of a manifest."""

    model_config = ConfigDict(frozen=True, strict=True)

    mediaType: str
    digest: str
    size: int
    artifactType: str | None = None
    annotations: dict[str, str] | None = None

    @classmethod
    def of(cls, digest: Digest, size: int, manifest: Manifest) -> "Descriptor":
        """That of a manifest of ``size`` bytes."""
        return cls(
            mediaType=manifest.media_type,
            digest=str(digest),
            size=size,
            artifactType=manifest.artifact_type or None,
            annotations=manifest.annotations or None,
        )

    def encoded(self) -> bytes:
        """As it is stored: never longer than its manifest by more than what the other fields take."""
        return self.model_dump_json(exclude_none=True).encode()


class Referrers:
    """The descriptors of manifests by their subject. Each is a file of its own, so no list is ever rewritten.

    ``max_manifest_size``, in bytes, bounds what is read of each: it has the manifest's annotations.
    """

    _log = Logger()

    def __init__(
        self, bucket: IBucket, store: ContentStore, guard: Guard, workers: Workers, max_manifest_size: int
    ) -> None:
        self._bucket = bucket
        self._store = store
        self._guard = guard
        self._workers = workers
        self._longest = max_manifest_size

    async def add(
        self, repository: Repository, subject: Digest, digest: Digest, size: int, manifest: Manifest
    ) -> Descriptor:
        """Note that a manifest refers to a subject, durably."""
        descriptor, content = await self._maybe_in_thread(size, _described, digest, size, manifest)
        await self._bucket.put(layout.referrer(repository, subject, digest), content)
        return descriptor

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
            descriptor = await self._whole(repository, subject, digest)
            if descriptor is None:
                continue
            if artifact_type is None or descriptor.artifactType == artifact_type:
                found.append(descriptor.model_dump(exclude_none=True))
                length += _length(descriptor)
            last = digest
        return found, None

    async def entry(self, bucket: IBucket, repository: Repository, subject: Digest, digest: Digest) -> Descriptor:
        """The descriptor that is stored. ``bucket`` is the one to read it from.

        :raises NotFound: where there is none.
        :raises Corrupt: where it is none.
        """
        path = layout.referrer(repository, subject, digest)
        try:
            content = await bucket.get(path, self._longest + _INLINE)
            descriptor = await self._maybe_in_thread(len(content), Descriptor.model_validate_json, content)
        except (ValidationError, TooLarge):
            raise Corrupt(f"{path} is not the descriptor of a manifest") from None
        if descriptor.digest != str(digest):
            raise Corrupt(f"{path} is the descriptor of another manifest")
        return descriptor

    async def mend(self, repository: Repository, subject: Digest, digest: Digest) -> Descriptor | None:
        """Write a damaged descriptor anew from its manifest; None where that cannot be read or is not there."""
        async with self._guard.holding(manifest_key(repository, digest)):
            record = await read_record(self._bucket, repository, digest)
            content = None if record is None else await self._store.get(digest, record.size)
            if record is None or content is None:
                return None
            try:
                manifest = await self._maybe_in_thread(len(content), parse_manifest, content, record.mediaType)
            except ManifestInvalid:
                return None
            if manifest.subject != subject:
                return None
            self._log.error(
                "{path} was damaged or missing: it was written anew from its manifest. Is the disk in order?",
                path=layout.referrer(repository, subject, digest),
            )
            try:
                return await self.add(repository, subject, digest, len(content), manifest)
            except BucketError as error:
                self._log.error("It could not be written: {error}", error=error)
                return Descriptor.of(digest, len(content), manifest)

    async def _whole(self, repository: Repository, subject: Digest, digest: Digest) -> Descriptor | None:
        try:
            if await self._record(repository, digest) is None:
                return None  # what a crash left behind of one that was being pushed or deleted
            return await self.entry(self._bucket, repository, subject, digest)
        except NotFound:  # deleted since it was listed
            return None
        except Corrupt:
            if self._bucket.shared:
                raise
            return await self.mend(repository, subject, digest)

    async def _record(self, repository: Repository, digest: Digest) -> Record | None:
        try:
            return await read_record(self._bucket, repository, digest)
        except Corrupt:
            if self._bucket.shared:
                raise
            return None  # the manifest cannot be pulled either

    def _maybe_in_thread(
        self, length: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        if length <= _INLINE:
            return maybeDeferred(function, *args, **kwargs)
        return self._workers.run(function, *args, **kwargs)


def _described(digest: Digest, size: int, manifest: Manifest) -> tuple[Descriptor, bytes]:
    descriptor = Descriptor.of(digest, size, manifest)
    return descriptor, descriptor.encoded()


def _length(descriptor: Descriptor) -> int:
    """About how many bytes it is in an answer."""
    annotations = descriptor.annotations or {}
    return 300 + sum(len(key) + len(value) + 6 for key, value in annotations.items())
