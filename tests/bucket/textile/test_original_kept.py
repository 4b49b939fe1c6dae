"""Images of the original program that are pushed again through ours: what was acknowledged stays."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted

from tests.web.client import query
from tests.web.served import MANIFEST_TYPE, Served, descriptor, digest_of, image

from .double import TextileDouble
from .registry import TextileServed

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

LAYER = b"layer" * 1000
MANIFEST = image(layers=[LAYER])
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


class Bucket:
    """One that the original program wrote to, and daemons on it, one after the other with nothing on their disk."""

    def __init__(self, double: TextileDouble, directory: Path) -> None:
        self.double = double
        self._directory = directory
        self._daemon: TextileServed | None = None
        double.add_bucket(double.add_thread(), "ipfsreg")

    def write(self, files: dict[str, bytes]) -> None:
        """Write as the original program does."""
        self.double.put_files("ipfsreg", files)

    def remove(self, path: str) -> None:
        """Remove a file."""
        draft = self.double.bucket("ipfsreg").draft()
        draft.root = self.double.ipfs.put(draft.root, path.split("/"), None)
        self.double.buckets.save_now(draft)

    async def daemon(self) -> Served:
        """A new daemon, in place of the last one."""
        await self.stop()
        self._daemon = TextileServed(self._directory, self.double, None)
        self._daemon.wipe_cache()
        await self._daemon.start()
        return self._daemon

    async def stop(self) -> None:
        """Stop the last one."""
        if self._daemon is not None:
            await self._daemon.stop()
            self._daemon = None


@pytest_twisted.async_yield_fixture()
async def bucket(textile_buckd: TextileDouble, tmp_path: Path) -> AsyncIterator[Bucket]:
    """With the image ``first:one``."""
    bucket = Bucket(textile_buckd, tmp_path / "daemon")
    blobs = {f"blobs/{digest_of(content)}": content for content in (LAYER, b"{}")}
    bucket.write({**blobs, "manifests/first/one": MANIFEST})
    yield bucket
    await bucket.stop()


async def check_pull(registry: Served, repository: str, reference: str, manifest: bytes = MANIFEST) -> None:
    answer = await registry.ask("GET", f"/v2/{repository}/manifests/{reference}")
    assert (answer.status, answer.content) == (200, manifest)
    if manifest is MANIFEST:
        for content in (LAYER, b"{}"):
            answer = await registry.ask("GET", f"/v2/{repository}/blobs/{digest_of(content)}")
            assert (answer.status, answer.content) == (200, content)


async def check_stays(bucket: Bucket, repository: str, reference: str) -> None:
    """It is there at once, after a garbage collection, and for a daemon that knows nothing yet."""
    await check_pull(await bucket.daemon(), repository, reference)
    registry = await bucket.daemon()
    assert not (await registry.daemon.registry.collector.run(grace=0.0)).skipped
    await check_pull(registry, repository, reference)
    await check_pull(await bucket.daemon(), repository, reference)


@pytest.mark.parametrize("who", ["ours", "the original program"])
@pytest_twisted.ensureDeferred
async def test_under_another_tag(who: str, bucket: Bucket) -> None:
    """A client finds everything there, and pushes the manifest only."""
    registry = await bucket.daemon()
    for content in (LAYER, b"{}"):
        assert (await registry.ask("HEAD", f"/v2/first/blobs/{digest_of(content)}")).status == 200
    assert (await registry.push(MANIFEST, "again", "first")).status == 201
    if who == "ours":
        assert (await registry.ask("DELETE", "/v2/first/manifests/one")).status == 202
        assert (await registry.ask("GET", "/v2/first/manifests/one")).status == 404
    else:
        bucket.write({"manifests/first/one": image(layers=[])})
    await check_stays(bucket, "first", "again")


@pytest_twisted.ensureDeferred
async def test_in_another_repository(bucket: Bucket) -> None:
    registry = await bucket.daemon()
    for content in (LAYER, b"{}"):
        mounting = query("/v2/second/blobs/uploads/", mount=digest_of(content), **{"from": "first"})
        assert (await registry.ask("POST", mounting)).status == 201
    assert (await registry.push(MANIFEST, "one", "second")).status == 201
    assert (await registry.ask("DELETE", "/v2/first/manifests/one")).status == 202
    await check_stays(bucket, "second", "one")


@pytest_twisted.ensureDeferred
async def test_in_an_index(bucket: Bucket) -> None:
    registry = await bucket.daemon()
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [descriptor(MANIFEST, MANIFEST_TYPE)]}
    listing = json.dumps(document).encode()
    assert (await registry.push(listing, "all", "first", INDEX_TYPE)).status == 201
    assert (await registry.ask("DELETE", "/v2/first/manifests/one")).status == 202
    await check_pull(await bucket.daemon(), "first", "all", listing)
    await check_stays(bucket, "first", digest_of(MANIFEST))


@pytest_twisted.ensureDeferred
async def test_what_an_older_release_left_in_another_repository_is_found_after_a_start(bucket: Bucket) -> None:
    """It wrote the record and the links, and no content: the first requests were answered 404."""
    registry = await bucket.daemon()
    for content in (LAYER, b"{}"):
        mounting = query("/v2/second/blobs/uploads/", mount=digest_of(content), **{"from": "first"})
        assert (await registry.ask("POST", mounting)).status == 201
    assert (await registry.push(MANIFEST, "one", "second")).status == 201
    await bucket.stop()
    hexadecimal = digest_of(MANIFEST).removeprefix("sha256:")
    bucket.remove(f"blobs/sha256/{hexadecimal[:2]}/{hexadecimal}")
    await check_pull(await bucket.daemon(), "second", "one")


@pytest_twisted.ensureDeferred
async def test_verify_reads_what_the_original_program_wrote(bucket: Bucket) -> None:
    """Also where an image of ours has its blobs there, and where nothing of ours is in the bucket."""
    registry = await bucket.daemon()
    verifier = registry.daemon.registry.verifier
    report = await verifier.verify()
    assert (report.contents, report.bytes) == (2, len(LAYER) + 2)
    assert (report.damaged, report.missing, report.unreadable, report.mended) == ([], [], [], [])

    assert (await registry.push(MANIFEST, "again", "first")).status == 201
    assert (await registry.ask("DELETE", "/v2/first/manifests/one")).status == 202
    report = await verifier.verify()
    assert (report.contents, report.bytes) == (3, len(LAYER) + len(MANIFEST) + 2)
    assert (report.damaged, report.missing, report.unreadable, report.mended) == ([], [], [], [])


@pytest.mark.parametrize("how", ["another byte", "another length", "gone"])
@pytest_twisted.ensureDeferred
async def test_verify_finds_damage_in_what_the_original_program_wrote(how: str, bucket: Bucket) -> None:
    path = f"blobs/{digest_of(LAYER)}"
    if how == "gone":
        bucket.remove(path)
    else:
        bucket.write({path: LAYER[:-1] + (b"x" if how == "another byte" else b"")})
    registry = await bucket.daemon()
    report = await registry.daemon.registry.verifier.verify()
    assert (report.missing if how == "gone" else report.damaged) == [digest_of(LAYER)]
    assert report.images == {digest_of(LAYER): ["first:one"]}
    # Pushed again, it is whole.
    target = query("/v2/first/blobs/uploads/", digest=digest_of(LAYER))
    assert (await registry.ask("POST", target, None, LAYER)).status == 201
    await check_pull(registry, "first", "one")
    report = await registry.daemon.registry.verifier.verify()
    assert (report.damaged, report.missing) == ([], [])
