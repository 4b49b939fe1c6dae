"""The names of the repositories over stops and kills: what is kept is what is there."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ipfsreg.bucket.errors import Full
from ipfsreg.flow.gather import gather
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import ManifestUnknown
from ipfsreg.registry.names import Repository
from tests.full import examples
from tests.registry.place import Place, image

Open = Callable[..., Awaitable[Place]]

NAMES = [Repository(name) for name in ("a", "a-b", "a/b", "a.b/c", "b")]
IMAGE = digest_of(image(b"config"))


async def there(place: Place) -> list[Repository]:
    return sorted([name for name in NAMES if await layout.has_manifests(place.bucket, name)])


def refuse_listing(place: Place, patch: pytest.MonkeyPatch) -> None:
    def walk(directory: str, *more: object) -> object:
        raise AssertionError(f"{directory} is listed")

    patch.setattr(place.bucket, "walk", walk)


@pytest_twisted.ensureDeferred
async def test_after_a_stop_nothing_is_listed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.push_image(NAMES[0], ["one"], b"config")
    await place.registry.cid_refresh.run_if_needed()
    await place.push_image(NAMES[2], ["one"], b"config")
    await place.registry.stop()
    await place.start()
    await place.push_image(NAMES[4], ["one"], b"config")
    with pytest.MonkeyPatch.context() as patch:
        refuse_listing(place, patch)
        assert await place.registry.catalog.after("") == ["a", "a/b", "b"]
    await place.registry.manifests.delete(NAMES[0], IMAGE)
    assert await place.registry.catalog.after("") == ["a/b", "b"]


@pytest_twisted.ensureDeferred
async def test_after_a_kill_they_are_listed_again(place: Place) -> None:
    await place.push_image(NAMES[0], ["one"], b"config")
    await place.registry.cid_refresh.run_if_needed()
    record = place.files / layout.manifest_record(NAMES[1], IMAGE)
    record.parent.mkdir(parents=True)
    record.write_bytes((place.files / layout.manifest_record(NAMES[0], IMAGE)).read_bytes())  # its row is lost
    await place.restart()
    assert await place.registry.catalog.after("") == ["a", "a-b"]


@pytest_twisted.ensureDeferred
async def test_an_index_that_has_lost_something_keeps_nobody_waiting(place: Place) -> None:
    """It believes nothing until its next pass: the names are listed, and that is all."""
    await place.push_image(NAMES[0], ["one"], b"config")
    place.registry._index.tell("INSERT INTO nowhere VALUES (1)")
    asked = Deferred.fromCoroutine(place.registry.catalog.after(""))
    assert await asked.addTimeout(10, reactor) == ["a"]
    assert await place.registry.catalog.count() == 1
    await place.push_image(NAMES[2], ["one"], b"config")
    assert await place.registry.catalog.after("") == ["a", "a/b"]


@pytest_twisted.ensureDeferred
async def test_what_is_kept_is_what_is_there(open_place: Open, tmp_path: Path) -> None:
    for seed in range(examples(6, 60)):
        random = Random(seed)
        place = await open_place(tmp_path / str(seed))
        for _ in range(3):

            async def change(_: int, place: Place = place, random: Random = random) -> None:
                name = random.choice(NAMES)
                kind = random.randrange(4)
                if kind == 0:
                    with suppress(ManifestUnknown):
                        await place.registry.manifests.delete(name, IMAGE)
                elif kind == 1:
                    await place.registry.catalog.after("")
                else:
                    await place.push_image(name, [], b"config")

            await gather(change, range(12), 5)
            if random.random() < 0.7:
                await place.registry.cid_refresh.run_if_needed()
                await place.registry.stop()
            await place.start()
            if random.random() < 0.7:
                assert await place.registry.catalog.after("") == await there(place)


@pytest_twisted.ensureDeferred
async def test_a_change_that_failed_makes_it_doubtful(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.push_image(NAMES[0], ["one"], b"config")
    await place.registry.cid_refresh.run_if_needed()
    real = place.bucket.put

    async def lost(path: str, content: bytes) -> None:
        await real(path, content)
        if "/_manifests/" in path:
            raise Full("it is there all the same")

    monkeypatch.setattr(place.bucket, "put", lambda path, content: Deferred.fromCoroutine(lost(path, content)))
    with pytest.raises(Full):
        await place.push_image(NAMES[1], ["one"], b"config")
    monkeypatch.undo()
    await place.registry.stop()
    await place.start()
    assert await place.registry.catalog.after("") == ["a", "a-b"]
