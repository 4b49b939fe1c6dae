"""Upload sessions: what is received stays received, and nothing is mixed."""

import hashlib
import os
import threading
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock

from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import (
    BlobUnknown,
    ContentTooLarge,
    DigestInvalid,
    SizeInvalid,
    TooManyRequests,
    UploadBusy,
    UploadOutOfOrder,
    UploadUnknown,
)
from ipfsreg.registry.names import Repository
from ipfsreg.registry.uploads import spool_writer
from ipfsreg.registry.uploads.sessions import GIVES_WAY_SECONDS
from ipfsreg.registry.uploads.upload import Upload
from ipfsreg.registry.uploads.uploads import EMPTY_SECONDS
from tests.registry.place import Place, append, pause

from .uploading import CONTENT, REPOSITORY, SHA256, Open, Sender, never, stored


class Gone(Exception):
    """What breaks a request in the middle."""


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest_twisted.ensureDeferred
async def test_in_pieces(place: Place, algorithm: str) -> None:
    random, uploads = Random(2), place.registry.uploads
    upload = await uploads.begin(REPOSITORY)
    at = 0
    while at < len(CONTENT):
        end = min(len(CONTENT), at + random.choice([1, 1000, 300_000, 1_000_000]))
        await place.append(upload, CONTENT[at : (at + end) // 2], CONTENT[(at + end) // 2 : end])
        at = end
        assert uploads.find(REPOSITORY, upload.identifier).received == at
    digest = Digest(algorithm, hashlib.new(algorithm, CONTENT).hexdigest())
    await upload.commit(digest)
    assert await stored(place, digest) == CONTENT
    with pytest.raises(UploadUnknown):
        uploads.find(REPOSITORY, upload.identifier)
    assert place.sessions() == []


@pytest_twisted.ensureDeferred
async def test_an_empty_blob(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await upload.commit(digest_of(b""))
    assert await stored(place, digest_of(b"")) == b""


@pytest_twisted.ensureDeferred
async def test_the_wrong_digest_ends_the_session(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    with pytest.raises(DigestInvalid):
        await upload.commit(digest_of(b"other"))
    assert place.sessions() == []
    with pytest.raises(BlobUnknown):
        await place.registry.blobs.size(REPOSITORY, SHA256)


@pytest_twisted.ensureDeferred
async def test_a_session_belongs_to_its_repository(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    for repository, identifier in ((Repository("other"), upload.identifier), (REPOSITORY, "none"), (REPOSITORY, "..")):
        with pytest.raises(UploadUnknown):
            place.registry.uploads.find(repository, identifier)


@pytest_twisted.ensureDeferred
async def test_out_of_order(place: Place) -> None:
    uploads = place.registry.uploads
    upload = await uploads.begin(REPOSITORY)
    await place.append(upload, b"0123456789")
    for begin in (0, 9, 11):
        with pytest.raises(UploadOutOfOrder) as error:
            await append(upload, never, 1, (begin, begin))
        assert error.value.received == 10
    with pytest.raises(UploadOutOfOrder):
        await append(upload, never, None, (10, 9))
    with pytest.raises(SizeInvalid):
        await append(upload, never, 2, (10, 10))
    await append(upload, _write(b"a"), 1, (10, 10))
    await append(upload, _write(b"b"), None, (11, 11))
    for sent in (b"", b"cd"):  # not what was announced: it is given back
        with pytest.raises(SizeInvalid):
            await append(upload, _write(sent), None, (12, 12))
        assert (upload.received, upload.data.read_bytes()) == (12, b"0123456789ab")
    await upload.commit(digest_of(b"0123456789ab"))


def _write(content: bytes) -> Callable[[IConsumer], Awaitable[None]]:
    async def send(consumer: IConsumer) -> None:
        consumer.write(content)

    return send


@pytest_twisted.ensureDeferred
async def test_bytes_of_a_request_that_broke_are_kept(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    for at in range(0, len(CONTENT), 500_000):
        with pytest.raises(Gone):
            await _break_off(place, upload, CONTENT[at : at + 500_000])
        assert upload.received == min(at + 500_000, len(CONTENT))
    await upload.commit(SHA256)
    assert await stored(place, SHA256) == CONTENT


async def _break_off(place: Place, upload: Upload, content: bytes) -> None:
    async def send(consumer: IConsumer) -> None:
        consumer.write(content)
        raise Gone

    await append(upload, send)


@pytest_twisted.ensureDeferred
async def test_two_writers_at_once(place: Place) -> None:
    """One is refused, and nothing of it gets in."""
    uploads = place.registry.uploads
    upload = await uploads.begin(REPOSITORY)

    async def send(consumer: IConsumer) -> None:
        consumer.write(CONTENT)
        with pytest.raises(UploadBusy):
            await append(upload, never, 5)
        with pytest.raises(UploadBusy):
            await place.append(upload, b"other")
        with pytest.raises(UploadBusy):
            await upload.commit(SHA256)
        with pytest.raises(UploadBusy):
            await upload.cancel()

    await append(upload, send)
    await upload.commit(SHA256)
    assert await stored(place, SHA256) == CONTENT


@pytest_twisted.ensureDeferred
async def test_cancelled(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    await upload.cancel()
    assert place.sessions() == []
    with pytest.raises(UploadUnknown):
        place.registry.uploads.find(REPOSITORY, upload.identifier)


@pytest_twisted.ensureDeferred
async def test_a_new_daemon_goes_on(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[:1_000_000])
    # A daemon that is killed: what its clients sent is in the file, acknowledged or not.
    with upload.data.open("ab") as file:
        file.write(CONTENT[1_000_000:1_500_000])
    await place.restart()
    again = place.registry.uploads.find(REPOSITORY, upload.identifier)
    assert again.received == 1_500_000
    await place.append(again, CONTENT[1_500_000:2_000_000])
    await place.restart()
    again = place.registry.uploads.find(REPOSITORY, upload.identifier)
    await place.append(again, CONTENT[2_000_000:])
    await again.commit(SHA256)
    assert await stored(place, SHA256) == CONTENT
    await place.restart()
    assert place.sessions() == []


@pytest_twisted.ensureDeferred
async def test_what_is_no_session_is_cleared_away_at_the_start(place: Place) -> None:
    whole = await place.registry.uploads.begin(REPOSITORY)
    spool_directory = place.directory / "uploads"
    for name, files in {
        "empty": {},
        "without-data": {"session.json": '{"repository": "a"}'},
        "without-note": {"data": "x"},
        "half-a-note": {"session.json": '{"repo', "data": "x"},
        "another-note": {"session.json": "[]", "data": "x"},
    }.items():
        (spool_directory / name).mkdir()
        for file, content in files.items():
            (spool_directory / name / file).write_text(content)
    (spool_directory / "a-file").write_text("")
    await place.restart()
    assert [each.name for each in place.sessions() if each.is_dir()] == [whole.identifier]


@pytest_twisted.ensureDeferred
async def test_expiry(open_place: Open) -> None:
    place = Place((await open_place()).directory, upload_expiry=100.0)
    place.clock = clock = Clock()
    await place.start()
    uploads = place.registry.uploads
    try:
        stale, busy, used = [await uploads.begin(REPOSITORY) for _ in range(3)]

        async def send(consumer: IConsumer) -> None:
            clock.advance(99)
            assert await uploads.expire() == 0
            uploads.find(REPOSITORY, used.identifier)
            clock.advance(2)
            assert await uploads.expire() == 1

        await append(busy, send)
        assert sorted(each.name for each in place.sessions()) == sorted([busy.identifier, used.identifier])
        with pytest.raises(UploadUnknown):
            uploads.find(REPOSITORY, stale.identifier)
        assert uploads.active(REPOSITORY, 100.0)
        assert not uploads.active(Repository("other"), 100.0)
        clock.advance(101)
        assert not uploads.active(REPOSITORY, 100.0)
    finally:
        await place.stop()


@pytest.mark.parametrize("written", [365 * 86400, 0, -50])
@pytest_twisted.ensureDeferred
async def test_those_of_an_earlier_daemon_expire_whatever_the_time_of_day_was(open_place: Open, written: int) -> None:
    """A time of the file that lies in the future counts as now; from the start on a clock counts that nobody sets."""
    place = Place((await open_place()).directory, upload_expiry=100.0)
    place.clock = clock = Clock()
    clock.advance(time.time())
    await place.start()
    try:
        upload = await place.registry.uploads.begin(REPOSITORY)
        await place.append(upload, b"something")
        for each in upload.identity.directory.iterdir():
            os.utime(each, (clock.seconds() + written, clock.seconds() + written))
        await place.restart()
        uploads = place.registry.uploads
        clock.advance(99 + min(written, 0))
        assert await uploads.expire() == 0
        clock.advance(2)
        assert await uploads.expire() == 1
    finally:
        await place.stop()


@pytest_twisted.ensureDeferred
async def test_one_that_is_used_again_while_others_expire(open_place: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal of one takes its time: what the client of the next one does meanwhile counts."""
    place = Place((await open_place()).directory, upload_expiry=100.0)
    place.clock = clock = Clock()
    await place.start()
    uploads = place.registry.uploads
    try:
        first, second = [await uploads.begin(REPOSITORY) for _ in range(2)]
        clock.advance(101)
        expiring = Deferred.fromCoroutine(uploads.expire())
        assert not expiring.called

        async def send(consumer: IConsumer) -> None:
            consumer.write(b"still here")
            assert await expiring == 1

        await append(uploads.find(REPOSITORY, second.identifier), send)
        assert [each.name for each in place.sessions()] == [second.identifier]
        assert uploads.find(REPOSITORY, second.identifier).received == 10
        with pytest.raises(UploadUnknown):
            uploads.find(REPOSITORY, first.identifier)
    finally:
        await place.stop()


@pytest_twisted.ensureDeferred
async def test_as_many_as_there_may_be(open_place: Open) -> None:
    place = await open_place(max_uploads=2)
    first, _ = [await place.registry.uploads.begin(REPOSITORY) for _ in range(2)]
    with pytest.raises(TooManyRequests):
        await place.registry.uploads.begin(REPOSITORY)
    await first.cancel()
    await place.registry.uploads.begin(REPOSITORY)


@pytest_twisted.ensureDeferred
async def test_sessions_that_received_nothing_do_not_keep_others_out_for_long(open_place: Open) -> None:
    place = Place((await open_place()).directory, max_uploads=2)
    place.clock = clock = Clock()
    await place.start()
    uploads = place.registry.uploads
    try:
        empty, begun = [await uploads.begin(REPOSITORY) for _ in range(2)]
        await place.append(begun, b"something")
        clock.advance(EMPTY_SECONDS + 1)
        await uploads.begin(REPOSITORY)
        with pytest.raises(UploadUnknown):
            uploads.find(REPOSITORY, empty.identifier)
        assert uploads.find(REPOSITORY, begun.identifier).received == 9
    finally:
        await place.stop()


@pytest_twisted.ensureDeferred
async def test_one_client_cannot_take_all_sessions(open_place: Open) -> None:
    place = await open_place(max_uploads=4, max_uploads_of_client=2)
    uploads = place.registry.uploads
    first, _ = [await uploads.begin(REPOSITORY, "hoarder") for _ in range(2)]
    for _ in range(3):
        with pytest.raises(TooManyRequests):
            await uploads.begin(REPOSITORY, "hoarder")
    for _ in range(2):
        await uploads.begin(REPOSITORY, "other")
    await first.cancel()
    await uploads.begin(REPOSITORY, "hoarder")


@pytest_twisted.ensureDeferred
async def test_the_emptiest_and_oldest_of_the_client_with_most_sessions_gives_way(open_place: Open) -> None:
    place = Place((await open_place()).directory, max_uploads=6, max_uploads_of_client=6)
    place.clock = clock = Clock()
    await place.start()
    uploads = place.registry.uploads
    try:
        own = await uploads.begin(REPOSITORY, "modest")
        longest, longer, shorter, older, younger = [await uploads.begin(REPOSITORY, "hoarder") for _ in range(5)]
        for upload, content in ((longest, b"123"), (longer, b"12"), (shorter, b"1"), (older, b""), (younger, b"")):
            clock.advance(1)
            await place.append(upload, content)
        clock.advance(1)
        for gone in (older, younger):
            await uploads.begin(REPOSITORY, "modest")
            with pytest.raises(UploadUnknown):
                uploads.find(REPOSITORY, gone.identifier)
        with pytest.raises(TooManyRequests):  # now both have the same
            await uploads.begin(REPOSITORY, "modest")
        for kept in (own, longest, longer, shorter):
            uploads.find(REPOSITORY, kept.identifier)
        assert len(place.sessions()) == 6
    finally:
        await place.stop()


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_all_it_may_have_loses_what_it_left_alone(open_place: Open) -> None:
    place = Place((await open_place()).directory, max_uploads=9, max_uploads_of_client=2)
    place.clock = clock = Clock()
    await place.start()
    uploads = place.registry.uploads
    try:
        others = await uploads.begin(REPOSITORY, "other")
        left, used = [await uploads.begin(REPOSITORY, "client") for _ in range(2)]
        await place.append(left, b"something")
        clock.advance(GIVES_WAY_SECONDS)
        busy: Deferred[None] = Deferred()
        appending = ensureDeferred(append(used, lambda _: busy))
        await pause()
        await uploads.begin(REPOSITORY, "client")
        with pytest.raises(UploadUnknown):
            uploads.find(REPOSITORY, left.identifier)
        with pytest.raises(TooManyRequests):
            await uploads.begin(REPOSITORY, "client")
        busy.callback(None)
        await appending
        uploads.find(REPOSITORY, others.identifier)
    finally:
        await place.stop()


@pytest_twisted.ensureDeferred
async def test_too_large(open_place: Open) -> None:
    place = await open_place(max_blob_size=1000)
    uploads = place.registry.uploads
    upload = await uploads.begin(REPOSITORY)
    with pytest.raises(ContentTooLarge):
        await append(upload, never, 1001)  # said before a byte of it is read
    await place.append(upload, b"x" * 600)
    with pytest.raises(ContentTooLarge):
        await append(upload, never, 401)
    with pytest.raises(ContentTooLarge):
        await append(upload, never, None, (600, 1000))
    with pytest.raises(ContentTooLarge):  # a client that does not say how much it sends
        await place.append(upload, b"x" * 400, b"x", b"x")
    assert place.sessions() == []
    upload = await uploads.begin(REPOSITORY)
    await place.append(upload, b"x" * 600, b"x" * 400)
    await upload.commit(digest_of(b"x" * 1000))
    assert await place.registry.blobs.size(REPOSITORY, digest_of(b"x" * 1000)) == 1000


@pytest_twisted.ensureDeferred
async def test_a_fast_client_is_held_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more waits in memory than is said, while the disk stands still."""
    upload = await place.registry.uploads.begin(REPOSITORY)
    writev, disk_goes_on = os.writev, threading.Event()

    def slow_writev(descriptor: int, views: Any) -> int:
        assert disk_goes_on.wait(10)
        return writev(descriptor, views)

    monkeypatch.setattr(os, "writev", slow_writev)
    size = 64 * 1024 * 1024
    sender = Sender(iter([b"x" * 65536] * (size // 65536)))

    async def send(consumer: IConsumer) -> None:
        sending = sender.send_to(consumer)
        await pause(0.05)
        assert sender.sent <= spool_writer.UNWRITTEN_MAX + spool_writer.WRITTEN_AT_ONCE + 2 * 65536
        disk_goes_on.set()
        await sending

    await append(upload, send, size)
    assert upload.received == size


@pytest_twisted.ensureDeferred
async def test_many_at_once(place: Place) -> None:
    """The same layer from many clients ends as one blob, and everybody has it."""

    async def push(number: int) -> None:
        upload = await place.registry.uploads.begin(Repository(f"app{number % 3}"))
        for at in range(0, len(CONTENT), 400_000):
            await place.append(upload, CONTENT[at : at + 400_000])
        await upload.commit(SHA256)

    await gatherResults([Deferred.fromCoroutine(push(number)) for number in range(8)], consumeErrors=True)
    for number in range(3):
        assert await place.registry.blobs.size(Repository(f"app{number}"), SHA256) == len(CONTENT)
    blobs = [path for path in (place.files / "blobs").rglob("*") if path.is_file()]
    assert blobs == [place.files / layout.blob(SHA256)]
    assert place.sessions() == []
