"""Old content after a rotation, and files that somebody wrote who may not."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.logger import LogEvent

from ipfsreg.bucket.encrypted.backend import OpenedByKeys, encrypted_backend
from ipfsreg.bucket.errors import Corrupt, KeyMissing, Unavailable, Unchangeable
from ipfsreg.bucket.local.bucket import LocalBucket
from ipfsreg.bucket.opened import Opened
from ipfsreg.bucket.team.keys import PAUSE, TeamKeys
from ipfsreg.bucket.team.rewrap import Rewrapping
from ipfsreg.bucket.team.seen import SeenFile
from ipfsreg.bucket.team.team import Own, Team
from ipfsreg.encryption.documents import Role
from ipfsreg.encryption.keyring import FixedKeyring, Keyring
from ipfsreg.encryption.names import names_of
from ipfsreg.flow.workers import Workers
from tests.bucket.running import reactor

from .people import Hurried, key_of

TOPS = ("blobs", "repositories")
LARGE = os.urandom(3_000_000)
FILES = {"layout-version": b"1\n", "blobs/sha256/aa/x": b"small", "repositories/box/_tags/1": b"sha256:one"}


class FailingBucket(LocalBucket):
    """``left`` is how many files can still be stored; None is no end."""

    left: int | None = None
    before_file: Callable[[], Awaitable[object]] | None = None
    """What happens while a long file is on its way."""

    def _stored(self) -> "Deferred[None] | None":
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                return fail(Unavailable("killed"))
        return None

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._stored() or super().put(path, content)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self._stored() or ensureDeferred(self._slowly(path, source))

    async def _slowly(self, path: str, source: Path) -> None:
        before, self.before_file = self.before_file, None
        if before is not None:
            await before()
        await super().put_file(path, source)


class Side:
    """One member's daemon on a directory of this disk, which others use, too."""

    def __init__(self, name: str, directory: Path, workers: Workers, backend: Opened | None = None) -> None:
        self.key = key_of(name)
        self.public = self.key.public
        self.directory = directory / name
        self.directory.mkdir()
        self.workers = workers
        self.backend = backend or Opened(FailingBucket(directory, workers))
        self.storage: Any = self.backend.bucket
        own = Own(lambda: self.key, SeenFile(self.directory / "seen.json"), "layout-version")
        self.team = Team(self.storage, own, workers)
        self.clock = Hurried()
        self.keys = TeamKeys(self.team, self.clock)
        self.bucket = self.with_keys(self.keys)
        self.rewrapping = Rewrapping(self.bucket, self.team, reactor, None, TOPS, ["layout-version"])

    def with_keys(self, keys: Any, key: Any = None) -> OpenedByKeys:
        """The bucket as it is with other keys."""

        async def opened() -> None:
            await self.team.open()

        opened_by = encrypted_backend(
            self.backend, lambda: key or self.key, keys, opened, self.workers, self.directory
        ).bucket
        assert isinstance(opened_by, OpenedByKeys)
        return opened_by

    def with_replace(self, replace_: Any) -> OpenedByKeys:
        """The bucket of a daemon to whose storage something happens before it replaces a file."""
        before, self.backend = self.backend, replace(self.backend, replace=replace_)
        try:
            return self.with_keys(self.keys)
        finally:
            self.backend = before

    def forging(self) -> OpenedByKeys:
        """The bucket of one who gives himself the right to write, with the keys that he has."""
        keyring = self.team.current()
        forged = replace(keyring, member=self.key, writes=lambda author, generation: True)
        return self.with_keys(FixedKeyring(forged))

    async def put_large(self, path: str, content: bytes) -> None:
        source = self.directory / "source"
        source.write_bytes(content)
        await self.bucket.put_file(path, source)

    async def read(self, path: str) -> bytes:
        reader = await self.bucket.open(path)
        try:
            return b"".join([piece async for piece in reader.pieces(0, reader.size or 0)])
        finally:
            reader.close()

    @property
    def keyring(self) -> Keyring:
        return self.team.current()


class Team3:
    def __init__(self, directory: Path, workers: Workers) -> None:
        self.directory = directory
        self.anna, self.bert, self.carl = (Side(name, directory, workers) for name in ("anna", "bert", "carl"))

    def stored(self) -> dict[str, bytes]:
        top = self.directory / "bucket"
        files = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        return {path: content for path, content in files.items() if not path.startswith("encryption/") and content}

    async def refresh(self) -> None:
        for side in (self.anna, self.bert, self.carl):
            await side.team.refresh()

    async def assert_same(self, *sides: Side) -> None:
        for side in sides:
            for path, content in FILES.items():
                assert await side.bucket.get(path, 100) == content
            assert await side.read("blobs/sha256/bb/large") == LARGE


@pytest_twisted.async_yield_fixture()
async def three(tmp_path: Path, clean_log: list[LogEvent]) -> AsyncIterator[Team3]:
    """``anna`` founded it, ``bert`` wrote what is there, ``carl`` reads."""
    workers = Workers(reactor, 4)
    workers.startService()
    three = Team3(tmp_path, workers)
    for side in (three.anna, three.bert, three.carl):
        await side.bucket.start()
    await three.anna.team.open()
    await three.anna.team.add(three.bert.public, "bert", Role.WRITER)
    await three.anna.team.add(three.carl.public, "carl", Role.READER)
    for path, content in FILES.items():
        await three.bert.bucket.put(path, content)
    await three.bert.put_large("blobs/sha256/bb/large", LARGE)
    yield three
    for side in (three.anna, three.bert, three.carl):
        await side.bucket.stop()
    workers.stopService()


@pytest.mark.parametrize("reencrypt", [False, True])
@pytest_twisted.ensureDeferred
async def test_old_content_is_brought_to_the_newest_generation(reencrypt: bool, three: Team3) -> None:
    anna, bert, carl = three.anna, three.bert, three.carl
    await anna.team.remove(bert.public)
    if reencrypt:
        await anna.team.rotate(reencrypt=True)
    await three.refresh()
    await three.assert_same(anna, bert, carl)  # bert reads what there was
    before = three.stored()
    found = await anna.rewrapping.run()
    assert (found.files, found.changed, found.damaged) == (4, 4, [])
    await three.assert_same(anna, carl)
    for path in FILES:
        with pytest.raises(KeyMissing):
            await bert.bucket.get(path, 100)
    after = three.stored()
    assert before.keys() == after.keys()  # names stay
    (large,) = [path for path, content in after.items() if len(content) > len(LARGE)]
    assert (before[large][1000:] == after[large][1000:]) is not reencrypt
    assert all(before[path][-60:] != after[path][-60:] for path in after if path != large)
    again = await anna.rewrapping.run()
    assert (again.files, again.changed, again.done) == (4, 0, True)
    assert three.stored() == after
    assert not list((anna.directory / "moved").glob("*"))


@pytest_twisted.ensureDeferred
async def test_interrupted_at_any_moment_it_goes_on_where_it_was(three: Team3) -> None:
    anna, carl = three.anna, three.carl
    for moment in range(5):
        await anna.team.rotate()
        await three.refresh()
        anna.storage.left = moment
        try:
            first = (await anna.rewrapping.run()).changed
        except Unavailable:
            first = moment
        anna.storage.left = None
        await three.assert_same(anna, three.bert, carl)
        second = await anna.rewrapping.run()
        assert first + second.changed == 4
        await three.assert_same(anna, three.bert, carl)


@pytest_twisted.ensureDeferred
async def test_what_is_replaced_meanwhile_stays_replaced(three: Team3) -> None:
    anna, path = three.anna, "repositories/box/_tags/1"
    await anna.team.rotate()
    sealing = Deferred.fromCoroutine(anna.bucket.seal_again(path, reencrypt=False))
    putting = anna.bucket.put(path, b"sha256:two")
    await sealing
    await putting
    assert await anna.bucket.get(path, 100) == b"sha256:two"
    assert await anna.bucket.seal_again(path, reencrypt=False) == 0


@pytest_twisted.ensureDeferred
async def test_damage_is_left_and_named(three: Team3) -> None:
    anna = three.anna
    await anna.team.rotate()
    (path,) = [path for path, content in three.stored().items() if len(content) > len(LARGE)]
    stored = three.directory / "bucket" / path
    damaged = bytearray(stored.read_bytes())
    damaged[80] ^= 1
    stored.write_bytes(damaged)
    found = await anna.rewrapping.run()
    assert (found.changed, found.damaged) == (3, ["blobs/sha256/bb/large"])
    assert stored.read_bytes() == damaged


@pytest.mark.parametrize("later", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_generation_that_nobody_made_stops_nothing(later: bool, three: Team3) -> None:
    anna = three.anna
    await anna.team.remove(three.carl.public)
    path = "blobs/sha256/bb/large"
    stored = three.directory / "bucket" / names_of(anna.keyring.name_key).path(path)
    altered = bytearray(stored.read_bytes())
    altered[64:68] = (anna.keyring.generation + (5 if later else -1)).to_bytes(4)
    stored.write_bytes(altered)
    with pytest.raises(KeyMissing, match=path):
        await anna.bucket.open(path)
    found = await anna.rewrapping.run()
    assert (found.changed, found.damaged) == (len(FILES), [path])
    for _ in range(2):
        await anna.rewrapping.run_if_needed()
    assert await anna.team.rewrapped() == anna.keyring.generation


@pytest_twisted.ensureDeferred
async def test_a_rotation_is_followed_at_once(three: Team3) -> None:
    await three.anna.team.rotate()
    await three.anna.bucket.put("repositories/box/_tags/1", b"sha256:new")
    assert await three.carl.bucket.get("repositories/box/_tags/1", 100) == b"sha256:new"


@pytest_twisted.ensureDeferred
async def test_new_content_has_the_new_key_at_once(three: Team3) -> None:
    """Of a daemon that has not read the team since."""
    anna, bert, carl = three.anna, three.bert, three.carl
    await anna.team.add(carl.public, "carl", Role.WRITER)
    await carl.team.refresh()
    await bert.bucket.put("blobs/sha256/bb/before", b"before")
    await anna.team.remove(bert.public)
    for side in (bert, carl):
        side.clock.advance(PAUSE)
    path = "blobs/sha256/cc/new"
    await carl.bucket.put(path, b"new")
    assert await carl.bucket.seal_again(path, reencrypt=False) == 0
    with pytest.raises(KeyMissing):
        await bert.bucket.get(path, 100)
    with pytest.raises(Unchangeable):
        await bert.bucket.put("blobs/sha256/bb/after", b"after")


@pytest_twisted.ensureDeferred
async def test_what_is_on_its_way_when_a_generation_begins_gets_the_new_key(three: Team3) -> None:
    anna, bert, carl = three.anna, three.bert, three.carl
    await anna.team.add(carl.public, "carl", Role.WRITER)
    await carl.team.refresh()

    async def remove() -> None:
        await anna.team.remove(bert.public)
        carl.clock.advance(PAUSE)

    carl.storage.before_file = remove
    await carl.put_large("blobs/sha256/cc/large", LARGE)
    assert await anna.bucket.seal_again("blobs/sha256/cc/large", reencrypt=False) == 0
    with pytest.raises(KeyMissing):
        await bert.bucket.open("blobs/sha256/cc/large")
    assert await carl.read("blobs/sha256/cc/large") == LARGE


@pytest_twisted.ensureDeferred
async def test_nothing_is_stored_where_nobody_knows_whether_there_is_a_newer_key(three: Team3) -> None:
    bert = three.bert
    bert.clock.advance(PAUSE)
    bert.storage.list = lambda directory: fail(Unavailable("away"))
    with pytest.raises(Unavailable):
        await bert.bucket.put("blobs/sha256/bb/x", b"x")
    del bert.storage.list
    await bert.bucket.put("blobs/sha256/bb/x", b"x")


@pytest_twisted.ensureDeferred
async def test_a_file_of_who_may_not_write_is_refused(three: Team3) -> None:
    anna, bert, carl = three.anna, three.bert, three.carl
    path = "repositories/box/_tags/1"
    with pytest.raises(Unchangeable):
        await carl.bucket.put(path, b"sha256:of carl")
    await carl.forging().put(path, b"sha256:of carl")
    for side in (anna, bert):
        with pytest.raises(Corrupt, match=f"{path}.*might not write"):
            await side.bucket.get(path, 100)
    await bert.bucket.put(path, b"sha256:one")
    # Of one who was removed: with the key of the generation that he had.
    await anna.team.remove(bert.public)
    await three.refresh()
    with pytest.raises(Unchangeable):
        await bert.bucket.put(path, b"sha256:of bert")
    await bert.forging().put(path, b"sha256:of bert")
    assert await anna.bucket.get(path, 100) == b"sha256:of bert"  # as if it had been there before: see docs/teams.md
    await anna.bucket.put(path, b"sha256:one")
    for _ in range(3):
        await anna.rewrapping.run_if_needed()
    assert await anna.team.rewrapped() == anna.keyring.generation
    await bert.forging().put(path, b"sha256:of bert")
    await three.refresh()
    for side in (anna, carl):
        with pytest.raises(Corrupt, match="might not write"):
            await side.bucket.get(path, 100)


@pytest_twisted.ensureDeferred
async def test_who_just_became_a_writer_is_believed_at_once(three: Team3) -> None:
    anna, bert, carl = three.anna, three.bert, three.carl
    await anna.team.add(carl.public, "carl", Role.WRITER)
    await carl.team.refresh()
    await carl.bucket.put("blobs/sha256/cc/short", b"of carl")
    await carl.put_large("blobs/sha256/cc/large", LARGE)
    # Who takes a file for damaged moves it out of the way, for all.
    assert await bert.bucket.get("blobs/sha256/cc/short", 100) == b"of carl"
    dora = Side("dora", three.directory, anna.workers)
    await anna.team.add(dora.public, "dora", Role.WRITER)
    await dora.bucket.put("blobs/sha256/dd/short", b"of dora")
    await dora.put_large("blobs/sha256/dd/large", LARGE)
    assert await bert.read("blobs/sha256/dd/large") == LARGE
    # While the team cannot be read nobody knows; it is no damage.
    eve = Side("eve", three.directory, anna.workers)
    await anna.team.add(eve.public, "eve", Role.WRITER)
    await eve.bucket.put("blobs/sha256/ee/short", b"of eve")
    record = three.directory / "bucket" / "encryption/members" / anna.public.hex()
    content = record.read_bytes()
    record.write_bytes(content[:-1])
    with pytest.raises(Unavailable, match="who may write cannot be read anew"):
        await bert.bucket.get("blobs/sha256/ee/short", 100)
    record.write_bytes(content)
    assert await bert.bucket.get("blobs/sha256/ee/short", 100) == b"of eve"


@pytest_twisted.ensureDeferred
async def test_signatures_count_until_two_passes_found_nothing_to_do(three: Team3) -> None:
    anna, bert = three.anna, three.bert
    old = anna.keyring.generation
    await anna.team.remove(bert.public)
    await bert.rewrapping.run_if_needed()  # he is no owner
    for expected in (True, True, False):
        await anna.rewrapping.run_if_needed()
        assert anna.keyring.may_have_written(bert.public, old) is expected
    before = three.stored()
    await anna.rewrapping.run_if_needed()
    assert three.stored() == before
