"""The gateway on a bucket far away, and none on an encrypted one."""

import hashlib
from pathlib import Path
from random import Random

import pytest_twisted

from ipfsreg.ipfs.file_dag import BlockPlace, FileDag
from tests.web.client import until

from .double import TextileDouble
from .registry import TextileServed, logged, served, text_of

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

MiB = 1024 * 1024
LAYER = Random(2).randbytes(2 * MiB + 5)
DAG = FileDag(b"".join(hashlib.sha256(LAYER[at : at + MiB]).digest() for at in (0, MiB, 2 * MiB)), len(LAYER))


@pytest_twisted.ensureDeferred
async def test_blocks_of_a_layer(textile_hub: TextileDouble, tmp_path: Path) -> None:
    """Also where nothing of it is on this disk any more, the index least of all."""
    key = textile_hub.accounts.add_key()
    async with served(tmp_path / "daemon", textile_hub, key) as registry:
        await registry.push_image("1", layers=[LAYER])
    for lost in ("cids.sqlite", "cids.sqlite-wal", "cids.sqlite-shm"):
        (tmp_path / "daemon" / "state" / lost).unlink(missing_ok=True)
    again = TextileServed(tmp_path / "daemon", textile_hub, key)
    again.wipe_cache()
    await again.start()
    try:
        await until(lambda: again.daemon.registry.dags.index.complete)
        for place in (BlockPlace(0, 1), DAG.root, BlockPlace(0, 2)):
            answer = await again.ask("GET", f"/ipfs/{DAG.cid_at(place)}?format=raw")
            first, end = DAG.range_at(place)
            assert answer.status == 200
            assert answer.content == (DAG.block(place) if place.level else LAYER[first:end])
        answer = await again.ask("GET", f"/ipfs/{DAG.cid}?format=car")
        assert (answer.status, len(answer.content)) == (200, int(answer["content-length"]))
    finally:
        await again.stop()


@pytest_twisted.ensureDeferred
async def test_an_encrypted_bucket_is_served_to_no_stranger(textile_hub: TextileDouble, tmp_path: Path) -> None:
    with logged() as events:
        async with served(
            tmp_path / "daemon", textile_hub, textile_hub.accounts.add_key(), encrypted="yes"
        ) as registry:
            await registry.push_image("1", layers=[LAYER])
            assert (await registry.ask("GET", f"/ipfs/{DAG.cid}?format=raw")).error == (404, "UNSUPPORTED")
            assert (await registry.ask("GET", f"/routing/v1/providers/{DAG.cid}")).status == 404
    assert "encrypted, so nothing is served by CID" in text_of(events)
