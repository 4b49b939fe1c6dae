"""Bytes of an upload that change on the disk before it is whole are never acknowledged."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.interfaces import IConsumer
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import BucketError
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import DigestInvalid, RegistryError, UploadInvalid
from ipfsreg.registry.uploads import upload as upload_module
from ipfsreg.registry.uploads.upload import Upload
from tests.registry.place import Place, append, pause

from .uploading import CONTENT, REPOSITORY, SHA256, stored

HALF = len(CONTENT) // 2


def alter(file: Path) -> None:
    """Change a byte, later than the clock of files can tell from the last write."""
    time.sleep(0.02)
    with file.open("r+b") as opened:
        opened.seek(1000)
        opened.write(bytes([CONTENT[1000] ^ 1]))


def alter_and_hide(file: Path) -> None:
    before = file.stat()
    alter(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def shorten(file: Path) -> None:
    time.sleep(0.02)
    os.truncate(file, 1000)


def replace(file: Path) -> None:
    file.rename(file.with_name("away"))
    file.write_bytes(bytes(HALF))


def lead_away(file: Path) -> None:
    file.rename(file.with_name("away"))
    file.symlink_to("away")


CHANGES: list[Callable[[Path], None]] = [alter, alter_and_hide, shorten, replace, lead_away]


def told(log: list[LogEvent], file: Path) -> bool:
    return any(f"{file} was changed" in (formatEvent(event) or "") for event in log)


async def refused(upload: Upload, content: bytes = CONTENT) -> None:
    with pytest.raises((DigestInvalid, UploadInvalid, BucketError)):
        await upload.commit(digest_of(content))
    with pytest.raises(RegistryError):
        await upload.commit(digest_of(content))


@pytest.mark.parametrize("change", CHANGES)
@pytest_twisted.ensureDeferred
async def test_between_two_requests(place: Place, log: list[LogEvent], change: Callable[[Path], None]) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[:HALF])
    change(upload.data)
    if change is lead_away:
        with pytest.raises(BucketError):
            await place.append(upload, CONTENT[HALF:])
        return
    try:
        await place.append(upload, CONTENT[HALF:])
        await refused(upload)
    except UploadInvalid:
        await refused(upload)
    if change is not shorten:
        assert told(log, upload.data)
    with pytest.raises(RegistryError):
        await place.registry.blobs.size(REPOSITORY, SHA256)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest_twisted.ensureDeferred
async def test_before_the_end(place: Place, change: Callable[[Path], None], algorithm: str) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    change(upload.data)
    digest = digest_of(CONTENT, algorithm)
    with pytest.raises((DigestInvalid, UploadInvalid, BucketError)):
        await upload.commit(digest)
    with pytest.raises(RegistryError):
        await place.registry.blobs.size(REPOSITORY, digest)


@pytest_twisted.ensureDeferred
async def test_while_a_request_brings_more(place: Place, log: list[LogEvent]) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)

    async def send(consumer: IConsumer) -> None:
        consumer.write(CONTENT[:HALF])
        while upload.data.stat().st_size < 1_000_000:
            await pause(0.005)
        alter(upload.data)
        consumer.write(CONTENT[HALF:])

    await append(upload, send)
    with pytest.raises(DigestInvalid):
        await upload.commit(SHA256)
    assert told(log, upload.data)


@pytest_twisted.ensureDeferred
async def test_while_the_daemon_is_stopped(place: Place) -> None:
    """It cannot know that it was changed, so all of it is read again."""
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    alter(upload.data)
    await place.restart()
    again = place.registry.uploads.find(REPOSITORY, upload.identifier)
    with pytest.raises(DigestInvalid):
        await again.commit(SHA256)


@pytest_twisted.ensureDeferred
async def test_while_it_is_read_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    await place.restart()
    again = place.registry.uploads.find(REPOSITORY, upload.identifier)
    digest = upload_module.Spool.digest

    async def then_altered(spool: upload_module.Spool, algorithm: str) -> object:
        found = await digest(spool, algorithm)
        alter(spool.path)
        monkeypatch.undo()
        return found

    monkeypatch.setattr(upload_module.Spool, "digest", then_altered)
    with pytest.raises(DigestInvalid):
        await again.commit(SHA256)


@pytest_twisted.ensureDeferred
async def test_what_only_looks_changed_is_stored(place: Place) -> None:
    """Its times were set, as a restored backup sets them: it is read again, and is what it should be."""
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[:HALF])
    os.utime(upload.data, (1, 1))
    await place.append(upload, CONTENT[HALF:])
    os.utime(upload.data, (2, 2))
    await upload.commit(SHA256)
    assert await stored(place, SHA256) == CONTENT


@pytest.mark.parametrize("name", ["data", "session.json", ""])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), Path.mkdir])
@pytest_twisted.ensureDeferred
async def test_what_is_no_file_of_a_session(place: Place, name: str, make: Callable[[Path], None]) -> None:
    """The start neither waits for it nor follows it, and other sessions go on."""
    bad, good = [await place.registry.uploads.begin(REPOSITORY) for _ in range(2)]
    await place.append(good, CONTENT[:HALF])
    path = bad.data.parent / name
    path.rename(place.directory / "away")
    make(path)
    await place.restart()
    with pytest.raises(RegistryError):
        place.registry.uploads.find(REPOSITORY, bad.identifier)
    again = place.registry.uploads.find(REPOSITORY, good.identifier)
    await place.append(again, CONTENT[HALF:])
    await again.commit(SHA256)
    assert await stored(place, SHA256) == CONTENT
