"""A bucket that others made, or that nobody made yet."""

import hashlib
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import Corrupt, NotFound, Refused
from ipfsreg.bucket.textile.bucket import TextileBucket
from ipfsreg.bucket.textile.server.identity import Identity, save_identity
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
    ran = await Place(textile_hub, tmp_path / "daemon").run(*command)
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
async def test_without_a_role_nothing_is_said_to_be_damaged(textile_buckd: TextileDouble, tmp_path: Path) -> None:
    """In a private bucket the server says the same of what is damaged and of what one may not read."""
    backends = []
    for number, name in enumerate(("owner", "mate")):
        file = tmp_path / f"{name}.identity"
        save_identity(Identity.from_seed(bytes([number]) * 32), file)
        backends.append(Backend(textile_buckd, tmp_path / name, identity_file=file, encrypted=True))
    async with running(backends[0]) as owner:
        await owner.bucket.put("d/f", b"x")  # and so the bucket is the owner's before there is a mate
        async with running(backends[1]) as mate:
            for attempt in (mate.bucket.get("d/f", LIMIT), mate.bucket.open("d/f")):
                with pytest.raises(Refused, match="no role there, or it is damaged"):
                    await attempt
        textile_buckd.faults.corrupt.add((textile_buckd.bucket("ipfsreg").key, "d/f"))
        with pytest.raises(Corrupt):
            await owner.bucket.get("d/f", LIMIT)


@pytest.mark.parametrize("private", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_a_role_on_a_repository_is_good_for(
    private: bool, textile_buckd: TextileDouble, tmp_path: Path
) -> None:
    """As the documentation has it: to tag, mount and delete, not to push; in a private bucket for nothing."""
    places = []
    for number, name in enumerate(("owner", "mate")):
        file = tmp_path / f"{name}.identity"
        save_identity(MATES[number], file)
        places.append(Place(textile_buckd, tmp_path / name, identity_file=file, encrypted=private))
    owner, mate = places
    await owner.daemon.start()
    try:
        first = await owner.daemon.push_image("1", "team/app", layers=[b"one"])  # so that the bucket is the owner's
        await mate.daemon.start()
        await owner.daemon.push_image("2", "team/app", layers=[b"two"])
        await owner.daemon.push_image("1", "team/app/below", layers=[b"three"])
        await owner.daemon.push_image("1", "other", layers=[b"four"])
        granted = await owner.run("share", "grant", "--repository", "team/app", MATES[1].public_key, "writer")
        assert (granted.status, granted.errors) == (0, "")
        assert "Not everywhere" not in granted.output
        tagging = await mate.daemon.push(first, "2", "team/app")
        listed = await mate.daemon.ask("GET", "/v2/team/app/tags/list")
        digest = (await owner.daemon.ask("HEAD", "/v2/team/app/manifests/1"))["docker-content-digest"]
        pulled = await mate.daemon.ask("GET", "/v2/team/app/manifests/1")
        if private:
            assert [each.status for each in (tagging, listed, pulled)] == [502] * 3
            return
        assert listed.json()["tags"] == ["1", "2"]
        assert pulled.content == first
        assert tagging.status == 201
        mounting = f"/v2/team/app/blobs/uploads/?mount={digest_of(b'four')}&from=other"
        assert (await mate.daemon.ask("POST", mounting)).status == 201
        pushing = f"/v2/team/app/blobs/uploads/?digest={digest_of(b'new')}"
        assert (await mate.daemon.ask("POST", pushing, None, b"new")).status == 502
        assert (await mate.daemon.push(first + b" ", "3", "team/app")).status == 502
        below = await owner.daemon.ask("GET", "/v2/team/app/below/manifests/1")
        assert (await mate.daemon.push(below.content, "2", "team/app/below")).status == 502
        assert (await mate.daemon.ask("DELETE", "/v2/team/app/manifests/2")).status == 202
        assert (await mate.daemon.ask("DELETE", f"/v2/team/app/manifests/{digest}")).status == 202
    finally:
        await mate.daemon.stop()
        await owner.daemon.stop()
