"""A registry over a directory of this disk, for tests with real files and threads."""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.task import Clock, deferLater

from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.local.bucket import LocalBucket
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.content.cid_index import CidIndex
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.manifest import OCI_IMAGE, OCI_INDEX
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.registry import OnIpfs, Registry, RegistryLimits
from ipfsreg.registry.runtime import Runtime
from ipfsreg.registry.uploads.upload import Upload

LIMITS = RegistryLimits(
    cache_memory=1024 * 1024,
    max_manifest_size=4 * 1024 * 1024,
    max_blob_size=None,
    max_uploads=100,
    max_uploads_of_client=100,
    upload_expiry=3600.0,
    gc_grace=3600.0,
    gc_untagged=3600.0,
    scrub_rate=None,
)


async def append(
    upload: Upload,
    send: Callable[[IConsumer], Awaitable[object]],
    length: int | None = None,
    content_range: tuple[int, int] | None = None,
) -> None:
    """Append what is sent to a consumer."""
    async with upload.appending(length, content_range) as consumer:
        await send(consumer)


class SteppedClock(Clock):
    """The reactor's clock, set forward by hand: who waits for no time at all is called by the reactor."""

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:
        if delay == 0:
            return reactor.callLater(0, callable, *args, **kw)
        return super().callLater(delay, callable, *args, **kw)


class Place:
    """A directory and the registry on it. `restart` is a new daemon on the same directory."""

    def __init__(self, directory: Path, *, publish: bool = False, **limits: Any) -> None:
        self.directory = directory
        self.publish = publish
        self.limits = replace(LIMITS, **limits)
        self.clock: IReactorTime = reactor
        self.workers = Workers(reactor, 8)
        self.workers.startService()
        self.registry: Registry
        self.step: Callable[[str], None] = lambda what: None
        """Called before and after each change of a storage that is elsewhere, and may fail."""
        self.bucket: IBucket

    async def start(self, *, shared: bool = False) -> "Place":
        if hasattr(self, "registry"):
            await _killed(self.registry._index)
        self.bucket = bucket = LocalBucket(self.directory, self.workers)
        bucket.shared = shared
        can = Capabilities(list_top=None if shared else bucket.list_top)
        self.registry = Registry(
            self.bucket,
            self.directory,
            Runtime(self.workers, self.clock),
            self.limits,
            OnIpfs(can, publish=self.publish),
        )
        await self.registry.start()
        return self

    async def restart(self, *, shared: bool = False) -> None:
        await self.start(shared=shared)

    async def stop(self) -> None:
        await self.registry.stop()
        self.end()

    async def settle(self) -> None:
        """Wait until nothing is written in the background."""

    def end(self) -> None:
        """No more of its threads: for one that was killed."""
        self.workers.stopService()

    @property
    def files(self) -> Path:
        """Where the bucket's files are."""
        return self.directory / "bucket"

    def sessions(self) -> list[Path]:
        """The directories of the upload sessions that are on the disk."""
        return sorted((self.directory / "uploads").iterdir())

    async def append(self, upload: Upload, *pieces: bytes, length: int | None = None) -> None:
        """Append as a request does."""

        async def send(consumer: IConsumer) -> None:
            for piece in pieces:
                consumer.write(piece)

        await append(upload, send, length)

    async def push_blob(self, repository: Repository, blob: bytes) -> Digest:
        upload = await self.registry.uploads.begin(repository)
        await self.append(upload, blob)
        await upload.commit(digest_of(blob))
        return digest_of(blob)

    async def push_image(
        self, repository: Repository, tags: Iterable[str], *blobs: bytes, subject: bytes | None = None, **more: object
    ) -> bytes:
        """Push an image with its blobs; answers the manifest. The first blob is its config."""
        for blob in blobs:
            await self.push_blob(repository, blob)
        manifest = image(*blobs, subject=subject, **more)
        await self.registry.manifests.put(repository, manifest, OCI_IMAGE, None, [Tag(tag) for tag in tags])
        return manifest

    async def push_index(self, repository: Repository, tags: Iterable[str], *manifests: bytes) -> bytes:
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor(json.loads(each)["mediaType"], each) for each in manifests],
        }
        index = json.dumps(document).encode()
        await self.registry.manifests.put(repository, index, OCI_INDEX, None, [Tag(tag) for tag in tags])
        return index

    def content_file(self, content: bytes) -> Path:
        """Where a content is on the disk."""
        return self.files / layout.blob(digest_of(content))


async def _killed(index: CidIndex) -> None:
    """What an index that was not stopped has not written yet is lost: a dead daemon writes nothing beside the next."""
    index._news.clear()
    index._not_later()
    await index.settles()


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest_of(content)), "size": len(content)}


def image(*blobs: bytes, subject: bytes | None = None, **more: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", blobs[0]),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", blob) for blob in blobs[1:]],
        **({} if subject is None else {"subject": descriptor(OCI_IMAGE, subject)}),
        **more,
    }
    return json.dumps(document).encode()


def pause(seconds: float = 0.0) -> "Deferred[None]":
    return deferLater(reactor, seconds, lambda: None)
