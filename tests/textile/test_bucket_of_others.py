"""A bucket that others made, or that nobody made yet."""

import hashlib
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import Corrupt, NotFound, Refused
from ipfsreg.bucket.textile.bucket import TextileBucket
from ipfsreg.bucket.textile.identity import Identity, save_identity
from ipfsreg.ipfs.file_dag import FileDag

from ..web.client import until
from .backend import LIMIT, Backend, running
from .double import TextileDouble
from .registry import TextileServed, logged, served, text_of
from .test_commands_run import Place

pytest_plugins = ["tests.textile.double.fixtures"]

LAYER = b"a secret layer" * 1000
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
    async with running(backends[0]) as owner, running(backends[1]) as mate:
        await owner.bucket.put("d/f", b"x")
        for attempt in (mate.bucket.get("d/f", LIMIT), mate.bucket.open("d/f")):
            with pytest.raises(Refused, match="no role there, or it is damaged"):
                await attempt
        textile_buckd.faults.corrupt.add((textile_buckd.bucket("ipfsreg").key, "d/f"))
        with pytest.raises(Corrupt):
            await owner.bucket.get("d/f", LIMIT)
