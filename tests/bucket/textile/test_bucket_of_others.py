"""A bucket that others made, or that nobody made yet."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred

from ipfsreg.bucket.errors import Corrupt, NotFound, Refused, Unavailable
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.textile import capacity
from ipfsreg.bucket.textile.bucket import TextileBucket
from ipfsreg.bucket.textile.paths import fold
from ipfsreg.bucket.textile.server.identity import Identity, save_identity
from ipfsreg.bucket.textile.sharing import grant, revoke
from ipfsreg.ipfs.file_dag import FileDag
from tests.bucket.running import running
from tests.web.client import until
from tests.web.served import digest_of

from .backend import LIMIT, Backend
from .double import TextileDouble
from .registry import TextileServed, logged, served, text_of
from .test_commands_run import Place

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

LAYER = b"a secret layer" * 1000
MATES = [Identity.from_seed(bytes([number]) * 32) for number in (1, 2)]
DAG = FileDag(hashlib.sha256(LAYER).digest(), len(LAYER))


@pytest_twisted.ensureDeferred
async def test_a_private_bucket_of_another_is_served_to_no_stranger(textile_hub: TextileDouble, tmp_path: Path) -> None:
    """What the bucket is counts, not only what this daemon's configuration says of it."""
    key = textile_hub.accounts.add_key()
    async with served(tmp_path / "first", textile_hub, key, encrypted="yes") as registry:
        await registry.push_image("1", layers=[LAYER])
    with logged() as events:
        async with served(tmp_path / "second", textile_hub, key) as registry:
            await registry.push_image("2", layers=[LAYER])
            await until(lambda: registry.daemon.registry.dags.index.complete)
            assert (await registry.ask("GET", f"/ipfs/{DAG.cid}?format=raw")).status == 404
            assert not (await registry.ask("GET", f"/routing/v1/providers/{DAG.cid}")).json()["Providers"]
    assert "is encrypted and should be otherwise" in text_of(events)


@pytest_twisted.ensureDeferred
async def test_before_the_bucket_was_asked_nothing_is_served(textile_hub: TextileDouble, tmp_path: Path) -> None:
    """Not even what is in the cache; and that is no absence."""
    key = textile_hub.accounts.add_key()
    async with served(tmp_path / "daemon", textile_hub, key) as registry:
        await registry.push_image("1", layers=[LAYER])
        assert (await registry.ask("GET", f"/ipfs/{DAG.cid}?format=raw")).content == LAYER
    await textile_hub.go_away()
    again = TextileServed(tmp_path / "daemon", textile_hub, key)
    await again.start()
    try:
        answer = await again.ask("GET", f"/ipfs/{DAG.cid}?format=raw")
        assert (answer.status, LAYER in answer.content) == (503, False)
        assert answer["retry-after"]
    finally:
        await again.stop()


@pytest.mark.parametrize("command", [("share", "list"), ("gc", "--dry-run"), ("verify",), ("archive", "status")])
@pytest_twisted.ensureDeferred
async def test_a_command_makes_no_bucket(command: tuple[str, ...], textile_hub: TextileDouble, tmp_path: Path) -> None:
    place = Place(textile_hub, tmp_path / "daemon")
    place.daemon.state.mkdir()
    (place.daemon.state / "lock").touch()  # where a daemon has been, so that the server is asked
    ran = await place.run(*command)
    assert (ran.status, ran.errors.count("\n")) == (1, 1)
    assert "there is no bucket ipfsreg" in ran.errors
    assert not textile_hub.threads.by_id
    assert not textile_hub.buckets.all()


@pytest_twisted.ensureDeferred
async def test_who_only_reads_makes_no_bucket(
    textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(_: TextileBucket) -> None:
        """Do not."""

    monkeypatch.setattr(TextileBucket, "_look", look)
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        with pytest.raises(NotFound):
            await backend.bucket.get("d/f", LIMIT)
        with pytest.raises(NotFound):
            await backend.bucket.remove("d/f")
        assert not await backend.bucket.list("d")
        assert not textile_hub.threads.by_id
        await backend.bucket.put("d/f", b"x")
        assert textile_hub.read("ipfsreg", "d/f") == b"x"


@pytest_twisted.ensureDeferred
async def test_without_a_role_nothing_is_absent(textile_buckd: TextileDouble, tmp_path: Path) -> None:
    """To one without a role a server shows a private bucket as a public one with nothing in it."""
    owner, mate, nobody = of_identities(textile_buckd, tmp_path, encrypted=True)
    async with running(owner):
        await owner.bucket.put("d/f", b"x")
        for other in (mate, nobody):
            async with running(other):
                for attempt in everything(other.bucket):
                    with pytest.raises(Refused, match=rf"identity_file has no role there: .* {MATES[0].public_key}"):
                        await attempt
        textile_buckd.faults.corrupt.add((textile_buckd.bucket("ipfsreg").key, fold("d/f")))
        with pytest.raises(Corrupt):
            await owner.bucket.get("d/f", LIMIT)
    assert len(textile_buckd.buckets.all()) == 1


@pytest_twisted.ensureDeferred
async def test_a_role_that_is_taken_away_while_the_daemon_runs(textile_buckd: TextileDouble, tmp_path: Path) -> None:
    owner, mate, _ = of_identities(textile_buckd, tmp_path)
    async with team(owner, mate):
        assert await mate.bucket.get("d/f", LIMIT) == b"x"
        with pytest.raises(NotFound):
            await mate.bucket.stat("d/none")
        await revoke(owner.textile.shards.first, "*")
        for attempt in everything(mate.bucket):
            with pytest.raises(Refused, match="no role"):
                await attempt
        await grant(owner.textile.shards.first, "*", "reader")
        assert await mate.bucket.get("d/f", LIMIT) == b"x"


@pytest_twisted.ensureDeferred
async def test_an_outage_is_not_taken_for_a_missing_role(textile_buckd: TextileDouble, tmp_path: Path) -> None:
    owner, mate, _ = of_identities(textile_buckd, tmp_path)
    async with team(owner, mate):
        assert not await mate.bucket.list("none")
        textile_buckd.faults.refuse("Root", 2, "mongo: connection refused")
        for attempt in (mate.bucket.list("none"), mate.bucket.get("d/none", LIMIT)):
            with pytest.raises(Unavailable):
                await attempt


@pytest_twisted.ensureDeferred
async def test_only_the_owner_makes_a_bucket_grow(
    textile_buckd: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes a bucket of the server owns it, and the owner of the first could add nothing to it."""
    monkeypatch.setattr(capacity, "FULL", 4)
    owner, mate, _ = of_identities(textile_buckd, tmp_path)
    async with team(owner, mate):
        await owner.bucket.put("d/g", b"x")
        with pytest.raises(Refused, match=f"which only its owner {MATES[0].public_key}"):
            await mate.bucket.put("d/h", b"x")
        assert len(textile_buckd.buckets.all()) == 1
        await owner.bucket.put("d/h", b"x")
        assert {each.owner for each in textile_buckd.buckets.all()} == {MATES[0].public_key}


@pytest_twisted.ensureDeferred
async def test_a_token_of_before_is_renewed(textile_buckd: TextileDouble, tmp_path: Path) -> None:
    """The server was set up anew and has another key."""
    owner, _, _ = of_identities(textile_buckd, tmp_path)
    async with running(owner):
        await owner.bucket.put("d/f", b"x")
        for attempt in (owner.bucket.put("d/g", b"y"), owner.bucket.get("d/f", LIMIT), owner.bucket.list("d")):
            textile_buckd.accounts.server_key = textile_buckd.threads_service._server_key = SigningKey.generate()
            await attempt
        textile_buckd.accounts.server_key = SigningKey.generate()  # and gives tokens that it does not take
        with pytest.raises(Refused, match=r"the token of .* is not accepted"):
            await owner.bucket.get("d/f", LIMIT)


@pytest_twisted.ensureDeferred
async def test_a_repository_of_an_encrypted_bucket_has_no_roles(textile_buckd: TextileDouble, tmp_path: Path) -> None:
    file = tmp_path / "owner.identity"
    save_identity(MATES[0], file)
    owner = Place(textile_buckd, tmp_path / "owner", identity_file=file, encrypted=True)
    await owner.daemon.start()
    try:
        await owner.daemon.push_image("1", "team/app", layers=[b"one"])
        for command in (
            ["grant", "--repository", "team/app", MATES[1].public_key, "reader"],
            ["list", "--repository", "team/app"],
        ):
            ran = await owner.run("share", *command)
            assert ran.status == 1
            assert "the bucket is encrypted" in ran.errors
            assert ran.errors.count("\n") == 1
    finally:
        await owner.daemon.stop()


@pytest_twisted.ensureDeferred
async def test_what_a_role_on_a_repository_is_good_for(textile_buckd: TextileDouble, tmp_path: Path) -> None:
    """As the documentation has it: a writer moves tags that are there, an admin deletes, and nobody adds anything."""
    places = []
    for number, name in enumerate(("owner", "mate")):
        file = tmp_path / f"{name}.identity"
        save_identity(MATES[number], file)
        places.append(Place(textile_buckd, tmp_path / name, identity_file=file))
    owner, mate = places
    await owner.daemon.start()
    try:
        first = await owner.daemon.push_image("1", "team/app", layers=[b"one"])  # so that the bucket is the owner's
        await mate.daemon.start()
        await owner.daemon.push_image("2", "team/app", layers=[b"two"])
        await owner.daemon.push_image("1", "other", layers=[b"four"])

        async def grant(role: str) -> None:
            ran = await owner.run("share", "grant", "--repository", "team/app", MATES[1].public_key, role)
            assert (ran.status, ran.errors) == (0, "")
            assert "Not everywhere" not in ran.output

        async def delete() -> int:
            return (await mate.daemon.ask("DELETE", "/v2/team/app/manifests/2")).status

        await grant("writer")
        pulled = await mate.daemon.ask("GET", "/v2/team/app/manifests/1")
        moving = await mate.daemon.push(first, "2", "team/app")
        listed = await mate.daemon.ask("GET", "/v2/team/app/tags/list")
        assert (pulled.content, moving.status, listed.json()["tags"]) == (first, 201, ["1", "2"])
        assert (await owner.daemon.ask("GET", "/v2/team/app/manifests/2")).content == first
        mounting = f"/v2/team/app/blobs/uploads/?mount={digest_of(b'four')}&from=other"
        assert (await mate.daemon.ask("POST", mounting)).status == 502
        pushing = f"/v2/team/app/blobs/uploads/?digest={digest_of(b'new')}"
        assert (await mate.daemon.ask("POST", pushing, None, b"new")).status == 502
        assert (await mate.daemon.push(first, "3", "team/app")).status == 502
        assert (await mate.daemon.push(first + b" ", "2", "team/app")).status == 502
        assert await delete() == 502
        await grant("admin")
        assert await delete() == 202
    finally:
        await mate.daemon.stop()
        await owner.daemon.stop()


def of_identities(double: TextileDouble, directory: Path, **more: Any) -> list[Backend]:
    """Backends of an owner, another one, and one without an identity."""
    backends = []
    for number, name in enumerate(("owner", "mate", "nobody")):
        identity: dict[str, Any] = {}
        if number < len(MATES):
            identity["identity_file"] = directory / f"{name}.identity"
            save_identity(MATES[number], identity["identity_file"])
        backends.append(Backend(double, directory / name, **identity, **more))
    return backends


@asynccontextmanager
async def team(owner: Backend, mate: Backend) -> AsyncIterator[None]:
    """Run both; the bucket is the owner's, and has the file ``d/f``."""
    async with running(owner):
        await owner.bucket.put("d/f", b"x")
        async with running(mate):
            yield


def everything(bucket: IBucket) -> "list[Deferred[Any]]":
    """All questions that a bucket could answer with an absence."""
    return [
        *(bucket.list(path) for path in ("d", "none")),
        *(ask(path) for path in ("d/f", "d/none") for ask in (bucket.stat, bucket.open)),
        *(bucket.get(path, LIMIT) for path in ("d/f", "d/none")),
        bucket.remove("d/f"),
    ]
