"""What is remembered of uses, and for how long the memory of them is enough."""

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry.content import guard as module
from ipfsreg.registry.content.guard import Guard
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import BlobUnknown, ManifestUnknown
from ipfsreg.registry.names import Repository, Tag
from tests.registry.place import Place, pause

APP = Repository("app")


def remembered(guard: Guard) -> int:
    return len(guard._used) + len(guard._used_before)


async def may_go(guard: Guard, key: str, since: float) -> bool:
    async with guard.removing([key], since) as may:
        return may


@pytest_twisted.ensureDeferred
async def test_the_oldest_uses_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is not remembered counts as used when the last one was that was forgotten, or a little later."""
    monkeypatch.setattr(module, "USES_REMEMBERED", 4)
    clock = Clock()
    guard = Guard(clock, float("-inf"))

    async def may_go_by(since: float) -> str:
        return "".join([key for key in "abcdefx" if await may_go(guard, key, since)])

    for key in "abacd":
        clock.advance(1)
        guard.touch(key)
    assert [await may_go_by(since) for since in (0.5, 2.5, 3.5, 4.5)] == ["efx", "befx", "abefx", "abcefx"]
    for key in "cef":
        clock.advance(1)
        guard.touch(key)
    # a, b and d are forgotten: all that is known of them is that it was before c was used again
    assert [await may_go_by(since) for since in (3.5, 6.5, 7.5)] == ["", "abcdx", "abcdex"]


@pytest_twisted.ensureDeferred
async def test_what_is_not_there_is_not_remembered(place: Place) -> None:
    """Nobody relies on what they were told is missing, and there are many more digests than anybody can remember."""
    registry = place.registry
    guard = registry.blobs._guard
    await place.push_image(APP, ["t"], b"config")
    before = remembered(guard)
    for number in range(10):
        digest = digest_of(b"%d" % number)
        with pytest.raises(BlobUnknown):
            await registry.blobs.size(APP, digest)
        with pytest.raises(BlobUnknown):
            await registry.blobs.open(APP, digest)
        assert not await registry.blobs.mount(APP, digest, None)
        with pytest.raises(ManifestUnknown):
            await registry.manifests.get(APP, digest)
        with pytest.raises(ManifestUnknown):
            await registry.manifests.delete_tag(APP, Tag(f"t{number}"))
    assert remembered(guard) == before
    assert not guard._held


@pytest_twisted.ensureDeferred
async def test_many_things_are_held_in_pieces(place: Place) -> None:
    """All of them are held when the block begins, and used when it has ended, with the reactor free in between."""
    guard = place.registry.blobs._guard
    keys = [f"key-{number}" for number in range(5000)]
    running: Deferred[None] = Deferred()
    turns = 0

    async def hold() -> None:
        async with guard.holding_all(iter(keys), Throttle(place.clock, steps=500)):
            assert not any([await may_go(guard, key, float("inf")) for key in keys[::500]])
            await running

    holding = Deferred.fromCoroutine(hold())
    while len(guard._held) < len(keys):
        turns += 1
        await pause()
    assert turns > 3
    running.callback(None)
    await holding
    assert not guard._held
    since = guard.now() - 60
    assert not any([await may_go(guard, key, since) for key in keys])
