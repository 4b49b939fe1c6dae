"""The client and this registry, over a real socket."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.client.credentials import Credentials
from ipfsreg.client.errors import AccessDenied, Refused, Unknown, Unreachable
from ipfsreg.client.registry import RegistryClient
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.manifest import OCI_IMAGE
from ipfsreg.registry.names import Repository, Tag
from tests.access.helpers import PASSWORD
from tests.daemon_process import free_port
from tests.web.auth.guarded import guarded
from tests.web.served import Serve, Served, descriptor, image

from .scripted import client_of

BOX = Repository("box")
LAYER = bytes(range(256)) * 4096


@pytest_twisted.async_yield_fixture()
async def client(registry: Served) -> AsyncIterator[RegistryClient]:
    async with client_of(f"http://127.0.0.1:{registry.port}") as made:
        yield made


async def content_of(client: RegistryClient, digest: Digest, size: int) -> bytes:
    return b"".join([piece async for piece in client.blob(BOX, digest, size)])


def source(content: bytes) -> "Source":
    return Source(content)


class Source:
    """Content in memory, to be sent from any offset."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.offsets: list[int] = []

    async def __call__(self, offset: int) -> AsyncGenerator[bytes, None]:
        self.offsets.append(offset)
        for begin in range(offset, len(self.content), 100_000):
            yield self.content[begin : begin + 100_000]


@pytest.mark.parametrize("content", [b"", b"x", LAYER])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest_twisted.ensureDeferred
async def test_a_blob_goes_there_and_back(client: RegistryClient, content: bytes, algorithm: str) -> None:
    digest = digest_of(content, algorithm)
    assert await client.blob_size(BOX, digest) is None
    await client.upload(BOX, digest, len(content), source(content))
    assert await client.blob_size(BOX, digest) == len(content)
    assert await content_of(client, digest, len(content)) == content
    if len(content) > 5:
        part = b"".join([piece async for piece in client.blob_range(BOX, digest, 5, len(content) - 5)])
        assert part == content[5:]


@pytest_twisted.ensureDeferred
async def test_manifests_tags_and_lists(client: RegistryClient, registry: Served) -> None:
    manifest = await registry.push_image("1", layers=[b"layer"])
    await registry.push(manifest, "2")
    await registry.push_image("1", "other/box")
    await client.ping()
    assert [each async for each in client.repositories()] == ["box", "other/box"]
    assert [each async for each in client.tags(BOX)] == ["1", "2"]
    digest = digest_of(manifest)
    for reference in (Tag("1"), digest):
        found = await client.manifest(BOX, reference)
        assert (found.content, found.media_type, found.digest) == (manifest, OCI_IMAGE, digest)
        assert await client.manifest_head(BOX, reference) == Descriptor(OCI_IMAGE, digest, len(manifest))
    assert await client.manifest_head(BOX, Tag("none")) is None
    await client.put_manifest(BOX, Tag("3"), manifest, OCI_IMAGE)
    await client.delete_manifest(BOX, Tag("1"))
    assert [each async for each in client.tags(BOX)] == ["2", "3"]
    with pytest.raises(Unknown, match="does not have it"):
        await client.manifest(BOX, Tag("1"))
    with pytest.raises(Unknown):
        [each async for each in client.tags(Repository("none"))]


@pytest_twisted.ensureDeferred
async def test_long_lists_come_in_pages(client: RegistryClient, registry: Served) -> None:
    manifest = await registry.push_image("t")
    tags = sorted(f"t{number}" for number in range(1100))
    for tag in tags:
        (registry.store / "bucket/repositories/box/_tags" / tag).write_text(f"{digest_of(manifest)}\n")
    assert [each async for each in client.tags(BOX)] == ["t", *tags]


@pytest_twisted.ensureDeferred
async def test_referrers(client: RegistryClient, registry: Served) -> None:
    subject = await registry.push_image("1")
    referrer = image(subject=descriptor(subject, OCI_IMAGE), artifactType="a/b")
    assert await client.referrers(BOX, digest_of(subject)) == []
    listed_by_itself = await client.put_manifest(BOX, digest_of(referrer), referrer, OCI_IMAGE)
    assert listed_by_itself
    (found,) = await client.referrers(BOX, digest_of(subject))
    assert (found.digest, found.artifact_type) == (digest_of(referrer), "a/b")


@pytest_twisted.ensureDeferred
async def test_a_mount_sends_nothing(client: RegistryClient, registry: Served) -> None:
    await registry.push_blob(LAYER, "other")
    digest = digest_of(LAYER)
    assert await client.mount(BOX, digest, Repository("other")) is None
    assert await client.blob_size(BOX, digest) == len(LAYER)
    missing = digest_of(b"missing")
    location = await client.mount(BOX, missing, Repository("other"))
    assert location is not None
    await client.upload(BOX, missing, 7, source(b"missing"), location)
    assert await client.blob_size(BOX, missing) == 7


@pytest_twisted.ensureDeferred
async def test_wrong_bytes_are_refused_by_the_registry(client: RegistryClient) -> None:
    with pytest.raises(Refused) as refused:
        await client.upload(BOX, digest_of(b"other"), len(LAYER), source(LAYER))
    assert refused.value.status == 400


@pytest.mark.parametrize("challenge", ["token", "basic"])
@pytest_twisted.ensureDeferred
async def test_with_a_password_and_with_tokens(serve: Serve, tmp_path: Path, challenge: str) -> None:
    daemon = await guarded(serve, tmp_path, challenge=challenge)
    url = f"http://127.0.0.1:{daemon.served.port}"
    async with client_of(url, Credentials("writer", PASSWORD)) as writer:
        app = Repository("team/app")
        await writer.upload(app, digest_of(LAYER), len(LAYER), source(LAYER))
        await writer.upload(app, digest_of(b"{}"), 2, source(b"{}"))
        await writer.put_manifest(app, Tag("1"), image(layers=[LAYER]), OCI_IMAGE)
        assert [each async for each in writer.tags(app)] == ["1"]
        with pytest.raises(AccessDenied):
            await writer.manifest(Repository("secret/app"), Tag("1"))
    async with client_of(url, Credentials("reader", "wrong")) as stranger:
        with pytest.raises(AccessDenied, match="refuses the credentials"):
            await stranger.ping()
    async with client_of(url) as nobody:
        with pytest.raises(AccessDenied, match="docker login 127"):
            await nobody.manifest(Repository("secret/app"), Tag("1"))


@pytest_twisted.ensureDeferred
async def test_nobody_listens() -> None:
    async with client_of(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(Unreachable, match=r"cannot be reached: Connection refused$"):
            await client.ping()
