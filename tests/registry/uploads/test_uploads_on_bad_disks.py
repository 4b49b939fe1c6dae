"""Upload sessions on a disk that is full or fails, and before a storage that is away."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import LogEvent, LogLevel, formatEvent

from ipfsreg.bucket.errors import Full, Unavailable
from ipfsreg.bucket.local.tree import FileTree
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import BlobUnknown, UploadUnknown
from ipfsreg.registry.uploads import session_files
from tests.registry.place import Place, append

from .uploading import CONTENT, REPOSITORY, SHA256, Open, Sender, stored

OUTSIDE = b'{"repository": "../../x"}'


def failing_after(count: int, number: int, writev: Callable[..., int]) -> Callable[..., int]:
    """`os.writev` on a disk that has room for ``count`` bytes, and then the error ``number``."""
    left = count

    def write(descriptor: int, views: Any) -> int:
        nonlocal left
        data = b"".join(views)[:left]
        if not data:
            raise OSError(number, os.strerror(number))
        left -= len(data)
        return writev(descriptor, [data])

    return write


@pytest_twisted.ensureDeferred
async def test_a_disk_that_becomes_full(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request fails, what it brought is given back, and the client can go on from where it was."""
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[:1000])
    monkeypatch.setattr(session_files, "_hash_piece", _must_not_be_called)
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", failing_after(700_000, errno.ENOSPC, os.writev))
        sender = Sender(iter([CONTENT[at : at + 65536] for at in range(1000, len(CONTENT), 65536)]))
        with pytest.raises(Full):
            await append(upload, sender.send_to)
    assert sender.sent < len(CONTENT) - 1000  # it was stopped, not swallowed to the end
    assert (upload.received, upload.data.stat().st_size) == (1000, 1000)
    await place.append(upload, CONTENT[1000:])  # without reading again what there is
    await upload.commit(SHA256)
    assert await stored(place, SHA256) == CONTENT


def _must_not_be_called(*_: object) -> int:
    raise AssertionError("the spool is read again")


@pytest_twisted.ensureDeferred
async def test_more_than_the_disk_has_room_for_is_refused_at_once(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[:1000])
    with pytest.raises(Full):
        await place.append(upload, b"never written", length=1 << 60)
    assert upload.received == 1000
    await place.append(upload, CONTENT[1000:], length=len(CONTENT) - 1000)
    await upload.commit(SHA256)


@pytest_twisted.ensureDeferred
async def test_a_disk_that_fails_otherwise(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not counted as received does not get into the blob: not at the end, nor in the middle."""
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[:1000])
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", failing_after(500, errno.EIO, os.writev))
        with pytest.raises(Unavailable):
            await place.append(upload, b"x" * 300_000)
    assert upload.received == 1000
    await upload.commit(digest_of(CONTENT[:1000]))
    assert await stored(place, digest_of(CONTENT[:1000])) == CONTENT[:1000]
    upload = await place.registry.uploads.begin(REPOSITORY)
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", failing_after(500, errno.EIO, os.writev))
        with pytest.raises(Unavailable):
            await place.append(upload, b"x" * 300_000)
    await place.append(upload, CONTENT)
    await upload.commit(SHA256)
    assert await stored(place, SHA256) == CONTENT


@pytest.mark.parametrize(("number", "wanted"), [(errno.ENOSPC, Full), (errno.EIO, Unavailable)])
@pytest_twisted.ensureDeferred
async def test_a_session_that_cannot_begin(
    place: Place, monkeypatch: pytest.MonkeyPatch, number: int, wanted: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(wanted):
            await place.registry.uploads.begin(REPOSITORY)
    assert place.sessions() == []
    await place.registry.uploads.begin(REPOSITORY)


@pytest_twisted.ensureDeferred
async def test_a_storage_that_fails_between_content_and_link(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client asks once more, and gets what it pushed."""
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    write = FileTree.write

    def fail(tree: FileTree, path: str, content: bytes) -> None:
        if "_blobs" in path:
            raise OSError(errno.ENOSPC, "full")
        write(tree, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(FileTree, "write", fail)
        with pytest.raises(Full):
            await upload.commit(SHA256)
        with pytest.raises(BlobUnknown):
            await place.registry.blobs.size(REPOSITORY, SHA256)
    await place.registry.uploads.find(REPOSITORY, upload.identifier).commit(SHA256)
    assert await stored(place, SHA256) == CONTENT
    assert place.sessions() == []


@pytest_twisted.ensureDeferred
async def test_a_storage_that_is_away(place: Place) -> None:
    """The session stays as it was."""
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    place.files.rename(place.directory / "unmounted")
    with pytest.raises(Unavailable):
        await upload.commit(SHA256)
    (place.directory / "unmounted").rename(place.files)
    await upload.commit(SHA256)
    assert await stored(place, SHA256) == CONTENT


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(directory)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs to be root")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@pytest_twisted.ensureDeferred
async def test_a_disk_that_is_really_full(small_disk: Path, open_place: Open) -> None:
    """Pushes fail with `Full`, pulls go on, and there is room again when the client gives up."""
    place = Place(small_disk)
    await place.start()
    try:
        kept = Random(3).randbytes(2 * 1024 * 1024)
        await place.push_blob(REPOSITORY, kept)
        upload = await place.registry.uploads.begin(REPOSITORY)
        await place.append(upload, CONTENT[:1_000_000])
        with pytest.raises(Full):
            await place.append(upload, CONTENT[1_000_000:])
        with pytest.raises(Full):
            await place.append(upload, CONTENT[1_000_000:], length=len(CONTENT) - 1_000_000)
        assert upload.received == 1_000_000
        assert await stored(place, digest_of(kept)) == kept
        await place.append(upload, CONTENT[1_000_000:1_500_000])
        await upload.commit(digest_of(CONTENT[:1_500_000]))
        assert await stored(place, digest_of(CONTENT[:1_500_000])) == CONTENT[:1_500_000]
    finally:
        await place.stop()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE, errno.ELOOP])
@pytest_twisted.ensureDeferred
async def test_a_session_that_cannot_be_read_just_now_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent], number: int
) -> None:
    """A later start goes on with it."""
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[:1000])
    read_note = session_files.read_note

    def fail(directory: Path, form: object) -> dict:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(session_files, "read_note", fail)
        await place.restart()
    assert upload.data.stat().st_size == 1000
    assert any(
        upload.identifier in (formatEvent(event) or "") for event in log if event.get("log_level") == LogLevel.error
    )
    with pytest.raises(UploadUnknown):
        place.registry.uploads.find(REPOSITORY, upload.identifier)
    assert session_files.read_note is read_note
    await place.restart()
    assert place.registry.uploads.find(REPOSITORY, upload.identifier).received == 1000


@pytest.mark.parametrize("note", [None, b"", b"{", b"[]", b"\xff", b"[" * 4000, OUTSIDE, b"{}" * 5000])
@pytest_twisted.ensureDeferred
async def test_a_session_that_says_nothing_is_removed(place: Place, note: bytes | None) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    file = upload.data.with_name("session.json")
    if note is None:
        file.unlink()
    else:
        file.write_bytes(note)
    await place.restart()
    assert place.sessions() == []
