"""Roles in buckets of the server that are made after they were granted."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import Refused
from ipfsreg.bucket.textile import capacity, shard
from ipfsreg.bucket.textile.server import threads
from ipfsreg.bucket.textile.server.identity import Identity, save_identity
from ipfsreg.bucket.textile.shard import Shard
from ipfsreg.bucket.textile.sharing import grant_in_all, list_in_all
from tests.bucket.running import running

from .backend import LIMIT, Backend
from .double import TextileDouble
from .registry import logged, text_of

pytest_plugins = ["tests.bucket.textile.double.fixtures"]


OWNER, MATE, READER = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
REPOSITORY = "repositories/team/app"


@pytest_twisted.async_yield_fixture()
async def team(
    textile_buckd: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Backend, Backend]]:
    """Two daemons with identities on a buckd. The first made the bucket, and gave the other the right to write."""
    monkeypatch.setattr(capacity, "FULL", 8)
    monkeypatch.setattr(shard, "ROLES_SECONDS", 0.0)
    backends = []
    for name, identity in (("owner", OWNER), ("mate", MATE)):
        file = tmp_path / f"{name}.identity"
        save_identity(identity, file)
        backends.append(Backend(textile_buckd, tmp_path / name, identity_file=file))
    async with running(backends[0]) as first:
        await first.bucket.put(f"{REPOSITORY}/_tags/1", b"1")
        async with running(backends[1]) as second:
            with pytest.raises(Refused):
                await second.bucket.put("d/f", b"x")
            await grant_in_all(await services(first), MATE.public_key, "writer")
            yield first, second


async def services(backend: Backend) -> Sequence[Shard]:
    return await backend.textile.shards.all()


async def roles(backend: Backend, path: str = "") -> dict[str, object]:
    found = await list_in_all(await services(backend), path)
    assert found["uneven"] == []
    return dict(found["roles"])


@pytest_twisted.ensureDeferred
async def test_roles_are_carried_into_new_buckets(
    team: tuple[Backend, Backend], textile_buckd: TextileDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, mate = team
    # The mate's pushes make new buckets, and it owns them.
    for number in range(24):
        await mate.bucket.put(f"d{number % 6}/{number}", b"x")
    made = [each for each in textile_buckd.buckets.all() if each.owner == MATE.public_key]
    assert len(made) >= 2
    assert await roles(owner) == {"*": "reader", OWNER.public_key: "admin", MATE.public_key: "writer"}
    # Who owns the first bucket writes to them too, and looks after their roles.
    for number in range(24):
        await owner.bucket.put(f"d{number % 6}/{number}", b"owner's")
    monkeypatch.setattr(threads, "KNOWN_SECONDS", 0.0)
    for number in range(24):
        assert await mate.bucket.get(f"d{number % 6}/{number}", LIMIT) == b"owner's"
    assert await roles(owner) == {"*": "reader", OWNER.public_key: "admin", MATE.public_key: "writer"}
    await grant_in_all(await services(owner), READER.public_key, "reader")
    assert (await roles(owner))[READER.public_key] == "reader"


@pytest_twisted.ensureDeferred
async def test_a_new_private_bucket_gets_no_roles_on_all_of_it(
    textile_buckd: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would make unreadable what was just pushed into it. The log says who is left out."""
    monkeypatch.setattr(capacity, "FULL", 8)
    backends = []
    for name, identity in (("owner", OWNER), ("mate", MATE)):
        file = tmp_path / f"{name}.identity"
        save_identity(identity, file)
        backends.append(Backend(textile_buckd, tmp_path / name, identity_file=file, encrypted=True))
    async with running(backends[0]) as owner:
        await owner.bucket.put("d/first", b"x")
        await grant_in_all(await services(owner), MATE.public_key, "writer", "d")
        async with running(backends[1]) as mate:
            with logged() as events:
                for number in range(12):
                    await mate.bucket.put(f"d/{number}", b"mate's")
            made = [each for each in textile_buckd.buckets.all() if each.owner == MATE.public_key]
            assert made
            assert all(each.private for each in made)
            assert {call.request.path for call in textile_buckd.calls.of("PushPathAccessRoles")} == {"d"}
            assert text_of(events).count("is for this daemon's identity only") == len(made)
            for number in range(12):
                assert await mate.bucket.get(f"d/{number}", LIMIT) == b"mate's"


@pytest_twisted.ensureDeferred
async def test_roles_on_a_repository_go_along_and_what_was_revoked_does_not(
    team: tuple[Backend, Backend], textile_buckd: TextileDouble
) -> None:
    owner, _ = team
    await grant_in_all(await services(owner), READER.public_key, "reader", REPOSITORY)
    for number in range(12):
        await owner.bucket.put(f"{REPOSITORY}/_blobs/{number % 4}/{number}", b"x")
    having = [
        each
        for each in textile_buckd.buckets.all()
        if any(path.startswith(REPOSITORY) for path in textile_buckd.files(each.key))
    ]
    assert len(having) >= 3
    assert (await roles(owner, REPOSITORY))[READER.public_key] == "reader"
    assert READER.public_key not in await roles(owner)
    await grant_in_all(await services(owner), READER.public_key, "none", REPOSITORY)
    for number in range(24):
        await owner.bucket.put(f"{REPOSITORY}/_manifests/{number % 8}/{number}", b"x")
    assert READER.public_key not in await roles(owner, REPOSITORY)
    assert len(textile_buckd.buckets.all()) > len(having)


@pytest_twisted.ensureDeferred
async def test_roles_that_cannot_be_carried_do_not_fail_a_push(
    team: tuple[Backend, Backend], textile_buckd: TextileDouble
) -> None:
    owner, _ = team
    refusal = textile_buckd.faults.refuse("PushPathAccessRoles", 2, "permission denied")
    for number in range(10):
        await owner.bucket.put(f"d/{number}", b"x")
    assert len(textile_buckd.buckets.all()) > 1
    with pytest.raises(AssertionError):
        await roles(owner)
    # It is tried again with the next push.
    textile_buckd.faults.remove(refusal)
    await owner.bucket.put("d/9", b"y")
    assert (await roles(owner))[MATE.public_key] == "writer"
