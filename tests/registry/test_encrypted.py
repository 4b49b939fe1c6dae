"""A registry whose bucket is encrypted: it does all that another does, and leaves nothing plain on the disk."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.logger import LogEvent, LogLevel, formatEvent

from ipfsreg.bucket.errors import Corrupt, KeyMissing, PathTooLong, SetupError
from ipfsreg.encryption.chunks import CHUNK, HEADER_SIZE, SEAL_SIZE, stored_size
from ipfsreg.encryption.names import names_of
from ipfsreg.registry import layout
from ipfsreg.registry.content.quotas import QuotaLimits
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import BlobUnknown, Denied, DigestInvalid, QuotaExceeded, UploadLost
from ipfsreg.registry.names import Repository, Tag
from tests.bucket.encrypted.keys import FIXED
from tests.full import some
from tests.registry.uploads.uploading import CONTENT, REPOSITORY, SHA256

from .encrypted_place import EncryptedPlace
from .place import Place, image

CONFIG = b"the config of the image"


@pytest_twisted.async_yield_fixture()
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = EncryptedPlace(tmp_path)
    yield await place.start()
    await place.stop()


def on_disk(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Each path below a directory, with what is in the file."""
    for path in directory.rglob("*"):
        yield str(path.relative_to(directory)), path.read_bytes() if path.is_file() else b""


def assert_nothing_is_plain(directory: Path, *secrets: bytes) -> None:
    for path, content in on_disk(directory):
        for secret in secrets:
            assert secret not in path.encode(), path
            assert secret not in content, path


def stored_files(place: Place, size: int) -> list[Path]:
    """The files in the bucket that have so many bytes of content."""
    return [path for path in place.files.rglob("*") if path.is_file() and path.stat().st_size == stored_size(size)]


def change(at: int) -> Callable[[bytes], bytes]:
    """Change a bit of the byte ``at``."""
    return lambda file: file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "the header": change(2),
    "the seal": change(HEADER_SIZE + 100),
    "a generation that nobody made": lambda file: file[:HEADER_SIZE] + (7).to_bytes(4) + file[HEADER_SIZE + 4 :],
    "a generation that cannot be": lambda file: file[:HEADER_SIZE] + b"\xff" * 4 + file[HEADER_SIZE + 4 :],
    "a chunk": change(HEADER_SIZE + SEAL_SIZE + 100),
    "the end is cut off": lambda file: file[:-1],
    "nothing is left": lambda file: b"",
}


async def blob(place: Place) -> bytes:
    found = await place.registry.blobs.open(REPOSITORY, SHA256)
    try:
        return b"".join([piece async for piece in found.reader.pieces(0, found.size)])
    finally:
        found.reader.close()


@pytest_twisted.ensureDeferred
async def test_what_was_pushed_is_there_after_a_restart_and_nothing_of_it_is_plain(place: Place) -> None:
    manifest = await place.push_image(REPOSITORY, ["v1.2.3"], CONFIG, CONTENT)
    place.registry.scrubber._position.save(SHA256)
    secrets = [b"team", b"v1.2.3", b"sha256", CONFIG, CONTENT[:16], CONTENT[CHUNK : CHUNK + 16], CONTENT[-16:]]
    secrets += [digest_of(each).hex[:16].encode() for each in (CONFIG, CONTENT, manifest)]
    secrets += [bytes.fromhex(digest_of(each).hex) for each in (CONFIG, CONTENT, manifest)]
    secrets += [b"layout-version", b"repositories", b"_tags", b"schemaVersion"]
    unfinished = await place.registry.uploads.begin(Repository("team/other"))
    await place.append(unfinished, CONTENT[:300_000])
    assert_nothing_is_plain(place.directory, *secrets)
    await place.registry.stop()
    await place.restart()
    found = await place.registry.manifests.get(REPOSITORY, Tag("v1.2.3"))
    assert found.content == manifest
    assert await blob(place) == CONTENT
    assert place.registry.scrubber._position.load() == SHA256
    report = await place.registry.verifier.verify()
    assert not report.damaged
    collection = await place.registry.collector.run(grace=0.0, untagged=0.0)
    assert not collection.contents
    assert_nothing_is_plain(place.directory, *secrets)


@pytest.mark.parametrize("length", [1, CHUNK - 150, CHUNK, CHUNK + 1, 2 * CHUNK, len(CONTENT)])
@pytest_twisted.ensureDeferred
async def test_an_upload_goes_on_after_a_kill(place: Place, length: int) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[:length])
    await place.restart()
    again = place.registry.uploads.find(REPOSITORY, upload.identifier)
    assert again.received == length
    await place.append(again, CONTENT[length:])
    await again.commit(SHA256)
    assert await blob(place) == CONTENT
    assert place.sessions() == []


@pytest.mark.parametrize("torn", [1, 50, 104, 5000])
@pytest_twisted.ensureDeferred
async def test_a_chunk_that_was_half_written_is_cut_off(place: Place, torn: int) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[: CHUNK + 10_000])
    os.truncate(upload.data, upload.data.stat().st_size - torn)
    await place.restart()
    again = place.registry.uploads.find(REPOSITORY, upload.identifier)
    assert again.received == CHUNK
    await place.append(again, CONTENT[CHUNK:])
    await again.commit(SHA256)
    assert await blob(place) == CONTENT


@pytest_twisted.ensureDeferred
async def test_an_altered_spool_is_never_acknowledged(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    with upload.data.open("r+b") as file:
        file.seek(HEADER_SIZE + SEAL_SIZE + 1000)
        file.write(b"altered")
    await place.restart()
    again = place.registry.uploads.find(REPOSITORY, upload.identifier)
    with pytest.raises(UploadLost):
        await again.commit(SHA256)
    with pytest.raises(BlobUnknown):
        await place.registry.blobs.size(REPOSITORY, SHA256)


@pytest_twisted.ensureDeferred
async def test_a_wrong_digest_is_refused(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    with pytest.raises(DigestInvalid):
        await upload.commit(digest_of(b"something else"))
    assert place.sessions() == []


@pytest_twisted.ensureDeferred
async def test_nothing_tells_a_cid(place: Place) -> None:
    await place.push_image(REPOSITORY, ["v1"], CONFIG, CONTENT)
    assert await place.registry.dags.cid_text(SHA256, len(CONTENT)) is None
    assert await place.registry.dags.cid_text(digest_of(CONFIG), len(CONFIG)) is None
    with pytest.raises(Denied, match="encrypted"):
        await place.registry.blobs.cid(REPOSITORY, SHA256)
    manifest = await place.registry.manifests.get(REPOSITORY, Tag("v1"))
    with pytest.raises(Denied, match="encrypted"):
        await place.registry.manifests.cid(manifest)
    with pytest.raises(Denied, match="encrypted"):
        await place.registry.publisher.publish(REPOSITORY, Tag("v1"))
    with pytest.raises(Denied, match="encrypted"):
        await place.registry.exporter.export(REPOSITORY, Tag("v1"))

    async def car() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(Denied, match="encrypted"):
        await place.registry.importer.run(car(), None)
    assert not list(place.directory.glob("cids.sqlite*"))


@pytest_twisted.ensureDeferred
async def test_quotas_count(tmp_path: Path) -> None:

    place = EncryptedPlace(tmp_path, quotas=QuotaLimits(repository=len(CONTENT) + 100))
    await place.start()
    try:
        await place.push_blob(REPOSITORY, CONTENT)
        with pytest.raises(QuotaExceeded):
            await place.push_blob(REPOSITORY, b"x" * 101)
        await place.registry.stop()
        await place.restart()
        await place.registry.cid_refresh.run_if_needed()
        with pytest.raises(QuotaExceeded):
            await place.push_blob(REPOSITORY, b"x" * 101)
        await place.push_blob(REPOSITORY, b"x" * 99)
    finally:
        await place.stop()


@pytest_twisted.ensureDeferred
async def test_damage_is_told_by_the_name_of_the_file_and_heals(place: Place, log: list[LogEvent]) -> None:
    await place.push_image(REPOSITORY, ["v1"], CONFIG, CONTENT)
    (file,) = stored_files(place, len(CONTENT))
    with file.open("r+b") as opened:
        opened.seek(stored_size(0) + 2 * CHUNK)
        opened.write(b"altered")
    report = await place.registry.verifier.verify()
    assert list(report.damaged) == [str(SHA256)]
    lines = [formatEvent(event) or "" for event in log]
    assert any(str(SHA256) in line and "quarantine" in line for line in lines)
    with pytest.raises(BlobUnknown):
        await place.registry.blobs.size(REPOSITORY, SHA256)
    await place.push_blob(REPOSITORY, CONTENT)
    assert await blob(place) == CONTENT
    assert not (await place.registry.verifier.verify()).damaged


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("what", some(4, list(DAMAGE)))
@pytest_twisted.ensureDeferred
async def test_a_damaged_blob_is_told_and_healed_by_pushing_it_again(
    tmp_path: Path, log: list[LogEvent], what: str, shared: bool
) -> None:
    """Read before or not, by clients that look whether it is there or do not."""
    for was_read in (False, True):
        place = EncryptedPlace(tmp_path / str(was_read))
        await place.start(shared=shared)
        try:
            await place.push_blob(REPOSITORY, CONTENT)
            file = place.files / names_of(FIXED.keyring.name_key).path(layout.blob(SHA256))
            file.write_bytes(DAMAGE[what](file.read_bytes()))
            del log[:]
            if was_read:
                with pytest.raises((Corrupt, KeyMissing, BlobUnknown)) as refusal:
                    await blob(place)
                lines = [formatEvent(event) or "" for event in log if event["log_level"] == LogLevel.error]
                told = str(refusal.value)  # a bucket's error is logged by who answers the client
                assert SHA256.hex in told or any(SHA256.hex in line for line in lines)
                if isinstance(refusal.value, Corrupt) and not shared:
                    with pytest.raises(BlobUnknown):
                        await place.registry.blobs.size(REPOSITORY, SHA256)
                    with pytest.raises(BlobUnknown, match="found damaged"):
                        await blob(place)
            await place.push_blob(REPOSITORY, CONTENT)
            if not (what == "a chunk" and shared and not was_read):  # nobody looked at it
                assert await blob(place) == CONTENT
        finally:
            await place.stop()


@pytest.mark.parametrize("what", [each for each in DAMAGE if each != "a chunk"])
@pytest_twisted.ensureDeferred
async def test_who_asks_whether_a_blob_is_there_has_its_seal_looked_at(place: Place, what: str) -> None:
    """A client that is told that it is there does not push it."""
    await place.push_blob(REPOSITORY, CONTENT)
    file = place.files / names_of(FIXED.keyring.name_key).path(layout.blob(SHA256))
    file.write_bytes(DAMAGE[what](file.read_bytes()))
    # Of another generation: for all that this daemon knows, others can read it.
    with pytest.raises(KeyMissing if what.endswith("made") else BlobUnknown):
        await place.registry.blobs.size(REPOSITORY, SHA256)
    await place.push_blob(REPOSITORY, CONTENT)
    assert await place.registry.blobs.size(REPOSITORY, SHA256) == len(CONTENT)
    assert await blob(place) == CONTENT


@pytest.mark.parametrize("what", DAMAGE)
@pytest_twisted.ensureDeferred
async def test_what_nobody_needs_is_freed_damaged_or_not(place: Place, what: str) -> None:
    await place.push_blob(REPOSITORY, CONTENT)
    file = place.files / names_of(FIXED.keyring.name_key).path(layout.blob(SHA256))
    file.write_bytes(DAMAGE[what](file.read_bytes()))
    await place.registry.blobs.delete(REPOSITORY, SHA256)
    collection = await place.registry.collector.run(grace=0.0, untagged=0.0)
    assert collection.contents == 1
    assert not file.exists()


@pytest.mark.parametrize("what", DAMAGE)
@pytest_twisted.ensureDeferred
async def test_a_damaged_link_is_mended_or_named(place: Place, log: list[LogEvent], what: str) -> None:
    await place.push_blob(REPOSITORY, CONTENT)
    path = layout.blob_link(REPOSITORY, SHA256)
    file = place.files / names_of(FIXED.keyring.name_key).path(path)
    file.write_bytes(DAMAGE[what](file.read_bytes()))
    del log[:]
    if what == "a generation that nobody made":  # for all that this daemon knows, others can read it
        for use in (place.registry.blobs.size(REPOSITORY, SHA256), blob(place)):
            with pytest.raises(KeyMissing, match=path):
                await use
        await place.push_blob(REPOSITORY, CONTENT)
    else:
        assert await blob(place) == CONTENT
        lines = [formatEvent(event) or "" for event in log if event["log_level"] == LogLevel.error]
        assert [path in line for line in lines] == [True]
    assert await place.registry.blobs.size(REPOSITORY, SHA256) == len(CONTENT)


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_too_long(place: Place) -> None:

    with pytest.raises(PathTooLong, match="143"):
        await place.push_blob(Repository("a" * 144), b"x")
    await place.push_image(Repository("a" * 143), ["t" * 128], CONFIG)
    found = await place.registry.manifests.get(Repository("a" * 143), Tag("t" * 128))
    assert found.content == image(CONFIG)


@pytest_twisted.ensureDeferred
async def test_an_encrypted_bucket_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    encrypted = EncryptedPlace(tmp_path)
    await encrypted.start()
    await encrypted.stop()
    mark = encrypted.files / layout.ENCRYPTED
    mark.parent.mkdir()
    mark.write_bytes(b"signed by the founder")
    place = Place(tmp_path)
    try:
        with pytest.raises(SetupError, match=r"is encrypted: it needs \[encryption\] enabled = yes"):
            await place.start()
    finally:
        await place.stop()
    assert not (place.files / layout.VERSION_FILE).exists()
