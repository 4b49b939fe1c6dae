"""Whole daemons on a real bucket daemon: many clients, kills, a lost cache, growth over several buckets."""

import random
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ipfsreg.bucket.textile import capacity
from tests.bucket.contract import spawn, together
from tests.bucket.running import pause
from tests.web.served import Served, digest_of

from .backend import served, unique
from .pushing import Acknowledged, layer, push
from .servers import TextileServer
from .soak import SOAK

CLIENTS = 20 if SOAK else 8
KILLS = 12 if SOAK else 3


@pytest.fixture(params=[False, True], ids=["public", "private"])
def bucket(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of a bucket that is not there yet."""
    return {"thread": unique(), "encrypted": request.param}


@pytest_twisted.ensureDeferred
async def test_many_clients_of_two_daemons(buckd: TextileServer, bucket: dict[str, Any], tmp_path: Path) -> None:
    """Each pushes images of two layers, one of which is everybody's; both daemons begin before there is a bucket."""
    told = Acknowledged()
    shared = layer(300_000)
    async with served(tmp_path / "a", buckd, **bucket) as here, served(tmp_path / "b", buckd, **bucket) as there:

        async def work(number: int) -> None:
            registry = (here, there)[number % 2]
            for tag in ("1", "2"):
                refused = await push(registry, f"box{number}", tag, [shared, layer(40_000)], told)
                assert not refused

        await together(*(work(number) for number in range(CLIENTS)))
    assert len(told.manifests) == 2 * CLIENTS
    # Somebody who has nothing on the disk reads all of it.
    async with served(tmp_path / "c", buckd, **bucket) as registry:
        await told.check(registry)
        found = (await registry.ask("GET", "/v2/_catalog")).json()
        assert found == {"repositories": sorted(f"box{number}" for number in range(CLIENTS))}


@pytest_twisted.ensureDeferred
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    buckd: TextileServer, bucket: dict[str, Any], tmp_path: Path
) -> None:
    told = Acknowledged()
    refused: list[int] = []
    working = True

    async def work(registry: Served, number: int) -> None:
        turn = 0
        while working:
            turn += 1
            refused.extend(await push(registry, f"box{number}", f"{turn}", [layer(300_000), layer(1_000)], told))

    async with served(tmp_path / "a", buckd, **bucket) as registry:
        workers = [spawn(work(registry, number)) for number in range(4)]
        try:
            for _ in range(KILLS):
                had = len(told.manifests)
                while len(told.manifests) <= had:  # somebody got through since the last time
                    await pause(0.05)
                await pause(random.random())
                buckd.kill()
                await pause(0.2)
                await deferToThread(buckd.start)
        finally:
            working = False
        for worker in workers:
            await worker
        assert set(refused) <= {503}
        # It goes on, and knows all that it acknowledged.
        assert await push(registry, "box", "last", [layer(1_000)], told) == []
        await told.check(registry)
    async with served(tmp_path / "b", buckd, **bucket) as registry:
        await told.check(registry)


@pytest_twisted.ensureDeferred
async def test_a_cache_that_is_lost(buckd: TextileServer, bucket: dict[str, Any], tmp_path: Path) -> None:
    told = Acknowledged()
    async with served(tmp_path / "a", buckd, **bucket) as registry:
        assert await push(registry, "team/app", "1", [layer(3_000_000), b"", layer(262_144)], told) == []
    registry.wipe_cache()
    async with served(tmp_path / "a", buckd, **bucket) as registry:
        await told.check(registry)
        for (repository, digest), content in told.blobs.items():
            answer = await registry.ask("HEAD", f"/v2/{repository}/blobs/{digest}")
            assert (answer.status, answer["content-length"]) == (200, str(len(content)))
        # What is deleted is gone, also for one who begins anew.
        manifest = told.manifests["team/app", "1"]
        assert (await registry.ask("DELETE", f"/v2/team/app/manifests/{digest_of(manifest)}")).status == 202
    async with served(tmp_path / "b", buckd, **bucket) as registry:
        assert (await registry.ask("GET", "/v2/team/app/manifests/1")).status == 404


@pytest_twisted.ensureDeferred
async def test_growth_over_several_buckets(
    buckd: TextileServer, bucket: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buckets that are full soon: writes go to the next ones, and all that was written is found again."""
    monkeypatch.setattr(capacity, "FULL", 8)
    told = Acknowledged()
    async with served(tmp_path / "a", buckd, **bucket) as registry:
        for number in range(6 if not SOAK else 40):
            assert await push(registry, f"box{number % 3}", f"{number}", [layer(2_000)], told) == []
    async with served(tmp_path / "b", buckd, **bucket) as registry:
        await told.check(registry)
        for name in ("box0", "box1", "box2"):
            tags = {tag for repository, tag in told.manifests if repository == name}
            assert set((await registry.ask("GET", f"/v2/{name}/tags/list")).json()["tags"]) == tags
