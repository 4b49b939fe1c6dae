"""A private registry on public storage: machines with a node each, and nothing in common but the nodes' connections."""

import json
import os
import re
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.kubo.bucket import KuboBucket
from tests.web.served import CONFIG_TYPE, MANIFEST_TYPE, descriptor, digest_of

from .backend import KuboStorage
from .machines import Machine, machines
from .node import KuboNode

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


def push(machine: Machine, tag: str, layer: bytes) -> bytes:
    """Push an image of one layer, and answer its manifest."""
    config = b"{}"
    for blob in (config, layer):
        status, _ = machine.ask("POST", f"secret/app/blobs/uploads/?digest={digest_of(blob)}", blob)
        assert status == 201
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(config, CONFIG_TYPE),
            "layers": [descriptor(layer, LAYER_TYPE)],
        }
    ).encode()
    status, answer = machine.ask("PUT", f"secret/app/manifests/{tag}", manifest, MANIFEST_TYPE)
    assert status == 201, answer
    return manifest


@pytest_twisted.ensureDeferred
async def test_a_file_is_replaced_only_where_nobody_else_replaced_it(node: KuboNode, tmp_path: Path) -> None:
    storage = KuboStorage(node, tmp_path)
    bucket = await storage.reopened()
    assert isinstance(bucket, KuboBucket)
    try:
        large = os.urandom(2_000_000)
        for content in (b"new", storage.spooled(large)):
            await bucket.put("a/b", b"old")
            before = (await bucket.stat("a/b")).cid
            assert before is not None
            await bucket.put("a/b", b"another's")
            assert not await bucket.replace("a/b", before, content)
            assert await bucket.get("a/b", 100) == b"another's"
            now = (await bucket.stat("a/b")).cid
            assert now is not None
            assert await bucket.replace("a/b", now, content)
            expected = content if isinstance(content, bytes) else large
            assert await bucket.get("a/b", len(large)) == expected
            await bucket.remove("a/b")
            assert not await bucket.replace("a/b", now, content)
            with pytest.raises(NotFound):
                await bucket.stat("a/b")
    finally:
        await storage.close()


def test_a_team_shares_by_a_name_and_a_stranger_keeps_a_copy_that_he_cannot_read(tmp_path: Path) -> None:
    layer, later = os.urandom(700_000), os.urandom(300_000)
    with machines(tmp_path, "anna", "bert", "eve") as (anna, bert, eve):
        name = "/ipns/" + anna.ipfs("key", "gen", "registry")
        often = {"refresh": "1s"}
        anna.configure({"publish_key": "registry", "publish_every": "1s"}, often)
        bert.configure({"follow": name, "follow_every": "1s", "network_timeout": "5s"}, often)
        eve.configure({"follow": name, "follow_every": "1s", "network_timeout": "5s"})
        anna.command("keys", "init")
        bert_key = bert.command("keys", "init").splitlines()[-1]
        anna.start()
        anna.until("_catalog")
        manifest = push(anna, "v1.2.3", layer)
        # Nobody reads it without being a member: the line says what to do.
        bert.start()
        bert.until("secret/app/manifests/v1.2.3", 503)
        assert f"ipfsreg team add {bert_key}" in bert.log
        anna.command("team", "add", bert_key, "--name", "bert", "--role", "reader")
        # The member follows by the name alone.
        assert bert.until("secret/app/manifests/v1.2.3") == manifest
        assert bert.until(f"secret/app/blobs/{digest_of(layer)}") == layer
        assert json.loads(bert.until("_catalog")) == {"repositories": ["secret/app"]}
        assert bert.ask("PUT", "secret/app/manifests/v2", manifest, MANIFEST_TYPE)[0] == 405
        # A stranger has all of it, and reads nothing.
        eve.start()
        eve.until("_catalog", 503)
        assert "is encrypted: it needs [encryption] enabled = yes, and a member's key" in eve.log
        root = json.loads((eve.store / "following.json").read_text())["root"]
        copied = eve.ipfs("ls", "--size=false", f"{root}").split()
        assert "encryption/" in copied
        assert_nothing_plain(eve, root, manifest, layer)
        # Who was removed reads nothing new.
        anna.command("team", "remove", "bert")
        newer = push(anna, "v2", later)
        assert anna.until("secret/app/manifests/v2") == newer
        state = anna.ipfs("name", "resolve", name)
        bert.until("secret/app/manifests/v2", 503)
        assert bert.ask("GET", f"secret/app/blobs/{digest_of(later)}")[0] != 200
        bert.stop()
        bert.start()
        bert.until("secret/app/manifests/v2", 503)
        assert state.startswith("/ipfs/")
        for machine in (anna, bert, eve):
            assert "Traceback" not in machine.log


def assert_nothing_plain(machine: Machine, root: str, manifest: bytes, layer: bytes) -> None:
    """Nothing of names, digests or content is in the blocks or the names that a machine has."""
    secrets = [
        manifest,
        layer[:64],
        layer[-64:],
        b"v1.2.3",
        b"secret",
        digest_of(layer)[7:].encode(),
        digest_of(manifest)[7:].encode(),
    ]
    found = machine.ipfs("refs", "--recursive", "--unique", "--format=<linkname>", root).encode()
    blocks = b"".join(path.read_bytes() for path in (machine.directory / "ipfs/blocks").rglob("*.data"))
    assert len(blocks) > len(layer)  # all of it was fetched
    for secret in secrets:
        assert secret not in found
        assert secret not in blocks
    assert re.search(rb"[a-z2-7]{52}", found)
