"""How often the team is read for its keys: as often as it has to be, whatever a storage does."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.interface import Entry
from ipfsreg.bucket.team.keys import PAUSE, TeamKeys
from ipfsreg.encryption.documents import BUCKET, Role
from ipfsreg.encryption.keyring import Keyring

from .memory import MemoryBucket
from .people import AtOnce, Person


class SlowBucket(MemoryBucket):
    """Counts how often the team is read. While ``held`` is set the next reading waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = self.listings = 0
        self.held: Deferred[None] | None = None

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        if path != BUCKET:
            return super().get(path, limit)
        self.readings += 1
        held, self.held = self.held or succeed(None), None
        return held.addCallback(lambda _: super(SlowBucket, self).get(path, limit))

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        self.listings += 1
        return super().list(directory)


class Place:
    """``keys`` are those of ``bert``, a writer; ``anna`` is the owner."""

    def __init__(self, directory: Path) -> None:
        self.storage = SlowBucket()
        self.anna, self.bert = (Person(name, self.storage, directory, AtOnce()) for name in ("anna", "bert"))
        self.clock = Clock()
        self.keys = TeamKeys(self.bert.team, self.clock)

    def renewed(self) -> "Deferred[Keyring]":
        return Deferred.fromCoroutine(self.keys.renewed())


@pytest_twisted.async_fixture()
async def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    await place.anna.team.open()
    await place.anna.adds(place.bert, Role.WRITER)
    place.storage.readings = place.storage.listings = 0
    return place


@pytest_twisted.ensureDeferred
async def test_many_readers_of_forged_files_share_a_reading(place: Place) -> None:
    await place.renewed()
    assert place.storage.readings == 1
    waiting = [place.renewed() for _ in range(1000)]
    place.clock.advance(0.9 * PAUSE)
    assert place.storage.readings == 1
    place.clock.advance(0.1 * PAUSE)
    assert {id(await each) for each in waiting} == {id(place.keys.current())}
    assert place.storage.readings == 2


@pytest_twisted.ensureDeferred
async def test_who_asks_while_the_team_is_read_gets_what_is_read_later(place: Place) -> None:
    held: Deferred[None] = Deferred()
    place.storage.held = held
    first, later = place.renewed(), [place.renewed() for _ in range(3)]
    held.callback(None)
    before = await first
    await place.anna.team.rotate()
    assert not any(each.called for each in later)
    place.clock.advance(PAUSE)
    assert [(await each).generation for each in later] == [place.anna.team.current().generation] * 3
    assert before.generation < place.anna.team.current().generation


@pytest_twisted.ensureDeferred
async def test_a_failure_is_that_of_all_who_waited(place: Place) -> None:
    record = place.storage.files.pop(BUCKET)
    await place.renewed().addErrback(lambda failure: failure.trap(Unavailable))
    waiting = [place.renewed() for _ in range(3)]
    place.clock.advance(PAUSE)
    for each in waiting:
        with pytest.raises(Unavailable, match="encryption/bucket is not there any more"):
            await each
    place.storage.files[BUCKET] = record
    again = place.renewed()
    place.clock.advance(PAUSE)
    assert (await again).can_write


@pytest_twisted.ensureDeferred
async def test_who_stores_looks_for_a_newer_generation_once_in_a_while(place: Place) -> None:
    for _ in range(100):
        await place.keys.fresh()
    assert (place.storage.listings, place.storage.readings) == (1, 0)
    await place.anna.team.rotate()
    place.clock.advance(PAUSE)
    assert (await place.keys.fresh()).generation == place.anna.team.current().generation
    # A directory that anybody made is no reason to read the team for ever.
    place.storage.files["encryption/keys/4000000000/x"] = b""
    for _ in range(3):
        place.clock.advance(PAUSE)
        await place.keys.fresh()
    assert place.storage.readings == 2 + 2  # the owner's own, before and after the rotation, and ours
