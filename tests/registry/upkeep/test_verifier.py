"""Finding damage, and saying which images it is in."""

import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.spool_format import PLAIN_SPOOL
from ipfsreg.flow.throttle import FILE_COSTS, Throttle
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import BlobUnknown
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.upkeep.scrubber import SavedPosition, Scrubber
from ipfsreg.registry.upkeep.verifier import Verification, Verifier
from tests.registry.place import Place, SteppedClock, pause

Open = Callable[..., Awaitable[Place]]

APP, OTHER = Repository("app"), Repository("other/app")
CONFIG, SHARED, OWN = b"config", Random(1).randbytes(3_000_000), b"only here"


async def fill(place: Place) -> dict[str, bytes]:
    """Images that share a layer: by a tag, within an index in an index, by digest alone, and a signature."""
    plain = await place.push_image(APP, ["plain", "also"], CONFIG, SHARED)
    nested = await place.push_image(OTHER, [], CONFIG, SHARED, OWN)
    inner = await place.push_index(OTHER, [], nested)
    outer = await place.push_index(OTHER, ["multi"], inner)
    alone = await place.push_image(OTHER, [], OWN)
    signature = await place.push_image(OTHER, [], CONFIG, b"signature", subject=outer)
    return {
        "plain": plain,
        "nested": nested,
        "inner": inner,
        "outer": outer,
        "alone": alone,
        "signature": signature,
    }


def well(report: Verification) -> bool:
    return not (report.damaged or report.missing or report.unreadable or report.mended)


def named(report: Verification) -> dict[str, list[str]]:
    return {digest: sorted(names) for digest, names in report.images.items()}


def damage(place: Place, content: bytes) -> str:
    """Change one byte, as a disk does that says nothing."""
    file = place.content_file(content)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return str(digest_of(content))


@pytest_twisted.ensureDeferred
async def test_all_is_well(place: Place) -> None:
    images = await fill(place)
    report = await place.registry.verifier.verify()
    everything = {CONFIG, SHARED, OWN, b"signature", *images.values()}
    assert report == Verification(contents=len(everything), bytes=sum(map(len, everything)))
    assert well(report)


@pytest_twisted.ensureDeferred
async def test_the_images_that_use_damaged_content(place: Place) -> None:
    images = await fill(place)
    shared, own = damage(place, SHARED), damage(place, OWN)
    alone = f"other/app@{digest_of(images['alone'])}"
    report = await place.registry.verifier.verify()
    assert sorted(report.damaged) == sorted([shared, own])
    assert report.missing == []
    assert named(report) == {
        shared: ["app:also", "app:plain", "other/app:multi"],
        own: sorted([alone, "other/app:multi"]),
    }
    with pytest.raises(BlobUnknown):
        await place.registry.blobs.size(APP, digest_of(SHARED))
    # The next time it is missing, until it is pushed again.
    report = await place.registry.verifier.verify()
    assert (report.damaged, report.missing) == ([], sorted([shared, own]))
    assert named(report)[shared] == ["app:also", "app:plain", "other/app:multi"]
    await place.push_blob(APP, SHARED)
    await place.push_blob(OTHER, OWN)
    assert well(await place.registry.verifier.verify())


@pytest_twisted.ensureDeferred
async def test_damaged_manifests(place: Place) -> None:
    images = await fill(place)
    nested, signature = damage(place, images["nested"]), damage(place, images["signature"])
    report = await place.registry.verifier.verify()
    assert sorted(report.damaged) == sorted([nested, signature])
    assert named(report) == {nested: ["other/app:multi"], signature: [f"other/app@{signature}"]}


@pytest_twisted.ensureDeferred
async def test_what_is_not_there(place: Place) -> None:
    """Content, a link, or the sense of a record: the image cannot be pulled without it."""
    images = await fill(place)
    place.content_file(SHARED).unlink()
    (place.files / layout.blob_link(APP, digest_of(CONFIG))).unlink()
    (place.files / layout.manifest_record(OTHER, digest_of(images["signature"]))).write_bytes(b"damaged")
    (place.files / layout.tag(APP, Tag("also"))).write_bytes(b"damaged")
    report = await place.registry.verifier.verify()
    signature = str(digest_of(images["signature"]))
    assert report.missing == sorted([str(digest_of(SHARED)), str(digest_of(CONFIG)), signature])
    assert "app:plain" in report.images[str(digest_of(CONFIG))]
    assert report.images[signature] == [f"other/app@{signature}"]
    assert report.unreadable == [layout.tag(APP, Tag("also"))]
    assert not well(report)


@pytest_twisted.ensureDeferred
async def test_what_is_deleted_meanwhile_is_not_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    images = await fill(place)
    verifier = place.registry.verifier
    check_repositories = verifier._check_repositories

    async def after_a_deletion(*arguments: Any) -> None:
        place.content_file(SHARED).unlink()

        class Pausing(dict):
            pass

        stat = place.bucket.stat

        async def gone(path: str) -> object:
            try:
                return await stat(path)
            finally:
                monkeypatch.undo()
                await place.registry.manifests.delete(APP, digest_of(images["plain"]))
                await place.registry.manifests.delete(OTHER, digest_of(images["nested"]))

        monkeypatch.setattr(place.bucket, "stat", lambda path: Deferred.fromCoroutine(gone(path)))
        await check_repositories(*arguments)

    monkeypatch.setattr(verifier, "_check_repositories", after_a_deletion)
    report = await verifier.verify()
    assert str(digest_of(SHARED)) not in report.missing


@pytest_twisted.ensureDeferred
async def test_a_disk_that_cannot_read_a_spot(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is damage to one content, and the others are read all the same."""
    await fill(place)
    bad, pread = place.content_file(SHARED).stat().st_ino, os.pread

    def read(descriptor: int, length: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == bad and offset > 1_000_000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", read)
    report = await place.registry.verifier.verify()
    assert report.damaged == [str(digest_of(SHARED))]
    assert report.contents == 10


class _SizeUnknown:
    """A reader that learns only at the end how long the content is, as one that fetches from far away."""

    file = None
    size = None

    def __init__(self, reader: IReader, says_so: bool) -> None:
        self._reader = reader
        self._says_so = says_so

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        assert self._reader.size is not None
        left = max(self._reader.size - offset, 0)
        async for piece in self._reader.pieces(offset, min(length, left)):
            yield piece
        if left < length and self._says_so:
            raise Corrupt("the content ends before")

    def close(self) -> None:
        self._reader.close()


@pytest.mark.parametrize("says_so", [True, False])
@pytest_twisted.ensureDeferred
async def test_content_whose_length_nobody_knows(place: Place, monkeypatch: pytest.MonkeyPatch, says_so: bool) -> None:
    """It must not be taken for empty, and so for damaged."""
    await fill(place)
    await place.push_blob(APP, b"x" * 1024 * 1024)
    await place.push_blob(APP, b"")
    open_ = place.bucket.open
    monkeypatch.setattr(place.bucket, "open", lambda path: open_(path).addCallback(_SizeUnknown, says_so))
    assert well(await place.registry.verifier.verify())
    damaged = damage(place, SHARED)
    assert (await place.registry.verifier.verify()).damaged == [damaged]


@pytest_twisted.ensureDeferred
async def test_content_that_is_pushed_again_while_it_is_looked_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is put into quarantine it is read once more."""
    await fill(place)
    damage(place, SHARED)
    store = place.registry.verifier._store
    quarantine_if = store.quarantine_if

    async def healed(digest: Any, damaged: Any) -> bool:
        place.content_file(SHARED).write_bytes(SHARED)
        return await quarantine_if(digest, damaged)

    monkeypatch.setattr(store, "quarantine_if", healed)
    report = await place.registry.verifier.verify()
    assert well(report)
    assert place.content_file(SHARED).read_bytes() == SHARED


@pytest_twisted.ensureDeferred
async def test_the_rate(open_place: Open) -> None:
    """As slow as it is told: five MiB at one MiB a second take five seconds."""
    place = await open_place()
    await place.push_blob(APP, Random(2).randbytes(5 * 1024 * 1024))
    clock = SteppedClock()
    verifier = Verifier(
        place.bucket,
        place.registry.verifier._store,
        place.registry.verifier._repositories,
        place.workers,
        lambda rate: Throttle(clock, rate),
    )
    running = Deferred.fromCoroutine(verifier.verify(rate=1024 * 1024))
    for _ in range(5):
        while not clock.getDelayedCalls():
            await pause()
        assert not running.called
        clock.advance(0.99)
        await pause()
        assert clock.getDelayedCalls()
        clock.advance(0.011)
    assert (await running).bytes == 5 * 1024 * 1024


@pytest.mark.parametrize("link", [b"30x0\n", b"", b"3000001\n"])
@pytest_twisted.ensureDeferred
async def test_a_damaged_link_is_said_and_mended(place: Place, link: bytes) -> None:
    await fill(place)
    path = layout.blob_link(OTHER, digest_of(SHARED))
    (place.files / path).write_bytes(link)
    await place.restart()
    report = await place.registry.verifier.verify()
    assert (report.damaged, report.missing, report.unreadable, report.mended) == ([], [], [], [path])
    assert (place.files / path).read_bytes() == b"3000000\n"
    assert well(await place.registry.verifier.verify())


@pytest_twisted.ensureDeferred
async def test_damaged_records_of_whole_manifests(place: Place) -> None:
    images = await fill(place)
    wrong_length, wrong_type = (
        layout.manifest_record(APP, digest_of(images["plain"])),
        layout.manifest_record(OTHER, digest_of(images["outer"])),
    )
    file = place.files / wrong_length
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"size":', b'"size":1'))
    other = place.files / wrong_type
    other.write_bytes(other.read_bytes().replace(b"index", b"imdex"))
    await place.restart()
    report = await place.registry.verifier.verify()
    assert (report.mended, report.unreadable) == ([wrong_length], [wrong_type])
    assert file.read_bytes() == whole


@pytest_twisted.ensureDeferred
async def test_what_is_damaged_on_the_disk_is_mended_though_memory_has_it_whole(place: Place) -> None:
    images = await fill(place)
    plain, signature = digest_of(images["plain"]), digest_of(images["signature"])
    paths = [
        layout.blob_link(OTHER, digest_of(SHARED)),
        layout.manifest_record(APP, plain),
        layout.referrer(OTHER, digest_of(images["outer"]), signature),
    ]
    await place.registry.blobs.size(OTHER, digest_of(SHARED))
    await place.registry.manifests.get(APP, plain)
    await place.registry.manifests.get(OTHER, signature)
    whole = [(place.files / path).read_bytes() for path in paths]
    changes = (b"junk", whole[1].replace(b"image", b"imige"), b"junk")
    for path, content in zip(paths, changes, strict=True):
        (place.files / path).write_bytes(content)
    report = await place.registry.verifier.verify()
    assert (report.missing, report.unreadable, sorted(report.mended)) == ([], [], sorted(paths))
    assert [(place.files / path).read_bytes() for path in paths] == whole
    assert well(await place.registry.verifier.verify())


@pytest.mark.parametrize("entry", [b"", b"[]", b'{"mediaType": "', b"{}", None])
@pytest_twisted.ensureDeferred
async def test_a_damaged_referrer_is_said_and_mended(place: Place, entry: bytes | None) -> None:
    """As is one that is not there, or says something else than its manifest."""
    images = await fill(place)
    subject, signature = digest_of(images["outer"]), digest_of(images["signature"])
    path = layout.referrer(OTHER, subject, signature)
    file = place.files / path
    whole = file.read_bytes()
    if entry is None:
        file.unlink()
    else:
        file.write_bytes(entry or whole.replace(b"config.v1", b"konfig.v1"))
    await place.restart()
    report = await place.registry.verifier.verify()
    assert (report.damaged, report.missing, report.mended) == ([], [], [path])
    assert file.read_bytes() == whole


@pytest_twisted.ensureDeferred
async def test_a_tag_whose_manifest_has_no_record(place: Place) -> None:
    images = await fill(place)
    digest = digest_of(images["outer"])
    (place.files / layout.manifest_record(OTHER, digest)).unlink()
    report = await place.registry.verifier.verify()
    assert report.missing == [str(digest)]
    assert report.images[str(digest)] == ["other/app:multi"]


class Stopped(Exception):
    """What ends a scrub in the middle."""


def scrubber(place: Place, verifier: Verifier | None = None, clock: Clock | None = None) -> Scrubber:
    return Scrubber(
        place.bucket,
        verifier or place.registry.verifier,
        place.workers,
        clock or place.clock,
        partial(Throttle, clock or place.clock),
        SavedPosition(place.directory / "scrub-position", PLAIN_SPOOL),
    )


@pytest_twisted.ensureDeferred
async def test_a_scrub_tells_what_it_finds(place: Place, log: list[LogEvent]) -> None:
    await fill(place)
    damage(place, OWN)
    damage(place, SHARED)
    report = await place.registry.scrubber.run()
    assert (report.contents, len(report.damaged)) == (10, 2)
    told = {event["digest"]: event["images"] for event in log if "images" in event}
    assert told[str(digest_of(SHARED))].split(", ")[:2] == ["app:also", "app:plain"]
    assert not (place.directory / "scrub-position").exists()


@pytest_twisted.ensureDeferred
async def test_the_rate_of_a_scrub_bounds_small_files_too(place: Place) -> None:
    """Each counts as `FILE_COSTS` bytes."""
    for number in range(10):
        await place.push_blob(APP, b"%d" % number)
    clock = SteppedClock()
    rate = 2 * FILE_COSTS  # two of them a second
    whole = partial(Throttle, clock)
    scrub = Scrubber(
        place.bucket,
        Verifier(
            place.bucket,
            place.registry.verifier._store,
            place.registry.verifier._repositories,
            place.workers,
            whole,
        ),
        place.workers,
        clock,
        partial(whole, rate),
        SavedPosition(place.directory / "scrub-position", PLAIN_SPOOL),
    )
    running = Deferred.fromCoroutine(scrub.run())
    while not clock.getDelayedCalls():
        await pause()
    clock.advance(4.9)
    await pause()
    assert not running.called
    clock.advance(0.2)
    assert (await running).contents == 10


@pytest_twisted.ensureDeferred
async def test_a_scrub_goes_on_where_an_earlier_daemon_was_stopped(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipfsreg.registry.upkeep.scrubber.AT_ONCE", 1)
    contents = [Random(number).randbytes(100) for number in range(20)]
    for content in contents:
        await place.push_blob(APP, content)
    order = sorted(str(digest_of(content)) for content in contents)
    clock = SteppedClock()
    seen: list[str] = []

    class Counting(Verifier):
        stop_after = 7

        async def check(self, digests: Sequence[Digest], *arguments: Any) -> AsyncIterator[tuple[Digest, int | None]]:
            if len(seen) == self.stop_after:
                raise Stopped
            seen.extend(map(str, digests))
            clock.advance(100)  # it takes its time
            async for each in super().check(digests, *arguments):
                yield each

    verifier = Counting(
        place.bucket,
        place.registry.verifier._store,
        place.registry.verifier._repositories,
        place.workers,
        partial(Throttle, clock),
    )
    with pytest.raises(Stopped):
        await scrubber(place, verifier, clock).run()
    assert seen == order[:7]
    verifier.stop_after = 1000
    await scrubber(place, verifier, clock).run()
    # No more than what was being read when it was stopped is read twice.
    assert seen in (order, [*order[:7], *order[6:]])
    seen.clear()
    await scrubber(place, verifier, clock).run()  # the next pass begins at the beginning
    assert seen == order


@pytest.mark.parametrize("position", ["", "nonsense", "sha256:short", "\udcff"])
@pytest_twisted.ensureDeferred
async def test_a_damaged_position_is_the_beginning(place: Place, position: str) -> None:
    await fill(place)
    (place.directory / "scrub-position").write_text(position, errors="surrogateescape")
    (place.directory / ".scrub-position-0123456789abcdef").touch()  # left by a kill
    assert (await place.registry.scrubber.run()).contents == 10
    assert [path.name for path in place.directory.iterdir() if "scrub-position" in path.name] == []


@pytest_twisted.ensureDeferred
async def test_a_scrub_that_finds_nothing_says_nothing(place: Place, log: list[LogEvent]) -> None:
    await fill(place)
    report = await place.registry.scrubber.run()
    assert well(report)
    assert not [event for event in log if event.get("log_level") in {LogLevel.error, LogLevel.critical}]
