"""A private registry on public storage: machines with a node each, and nothing in common but the nodes' connections."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as default_reactor
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.kubo.bucket import KuboBucket
from tests.bucket.team.daemons import Member
from tests.web.client import pause
from tests.web.served import CONFIG_TYPE, MANIFEST_TYPE, descriptor, digest_of

from .backend import KuboStorage, unique_folder
from .machines import PATIENCE, Machine, machines
from .node import KuboNode

reactor: Any = default_reactor

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


def member(directory: Path, name: str, api: str, folder: str, **more: str) -> Member:
    """A daemon of one member, on a folder of a node."""
    return Member(
        directory, name, "kubo", {"api": api, "directory": directory / name / "state", "path": folder, **more}
    )


@pytest_twisted.ensureDeferred
async def test_a_daemon_takes_notice_of_what_happens_to_its_member(
    node: KuboNode, tmp_path: Path, clean_log: list[LogEvent]
) -> None:
    folder = unique_folder()
    anna, bert = (member(tmp_path, name, node.url, folder) for name in ("anna", "bert"))
    await anna.start()
    await anna.until("/v2/_catalog", 200)
    await bert.start()
    try:
        await bert.until("/v2/_catalog", 503)
        await anna.command("team-add", key=bert.public, name="bert", role="writer")
        await bert.until("/v2/_catalog", 200)
        manifest = await bert.push_image("1", "box", [os.urandom(1_200_000)])
        assert (await anna.until("/v2/box/manifests/1", 200)).content == manifest
        # New keys are taken up without a restart, and both go on pushing and pulling.
        generation = (await anna.command("team-rotate"))["generation"]
        while (await bert.command("team-list"))["generation"] != generation:
            await pause(0.1)
        newer = await bert.push_image("2", "box", [b"newer"])
        assert (await anna.until("/v2/box/manifests/2", 200)).content == newer
        # A reader and, after that, one who was removed pushes nothing.
        await anna.command("team-add", key=bert.public, role="reader")
        refused = await bert.until("/v2/box/blobs/uploads/", 405, "POST")
        assert b"can only be read" in refused.content
        assert (await bert.until("/v2/box/manifests/1", 200)).content == manifest
        last = await anna.push_image("3", "box", [b"last"])
        assert (await bert.until("/v2/box/manifests/3", 200)).content == last
        await anna.command("team-remove", who="bert")
        await anna.push_image("4", "box", [b"not for bert"])
        await bert.until("/v2/box/manifests/4", 503)
        await bert.until("/v2/box/blobs/uploads/", 405, "POST")
        assert (await anna.command("team-rewrap"))["damaged"] == []
        assert (await anna.until("/v2/box/manifests/1", 200)).content == manifest
    finally:
        await bert.stop()
        await anna.stop()


@pytest_twisted.ensureDeferred
async def test_a_mirror_refuses_an_older_state_and_one_that_nobody_signed(
    nodes: tuple[KuboNode, KuboNode], tmp_path: Path, clean_log: list[LogEvent]
) -> None:
    one, key = nodes[0], f"registry-{unique_folder()[1:]}"
    name = "/ipns/" + one.rpc("key/gen", key)[0]["Id"]
    anna = member(tmp_path, "anna", one.url, unique_folder(), publish_key=key, publish_every="1s")
    bert = member(tmp_path, "bert", nodes[1].url, "/none", follow=name, follow_every="1s", network_timeout="2s")

    async def rpc(command: str, *arguments: str, **options: Any) -> str:
        answer = (await deferToThread(one.rpc, command, *arguments, **options))[0]
        return str(answer.get("Path") or answer.get("Hash"))

    async def publish(root: str, said: str) -> None:
        """Let the name lead to a state, and wait until the mirror says why it does not follow."""
        before = len(clean_log)
        await rpc("name/publish", root, key=key, resolve=False, allow_offline=True)
        end = time.monotonic() + PATIENCE
        while not [event for event in clean_log[before:] if said in formatEvent(event)]:
            assert time.monotonic() < end
            await pause(0.1)
        assert (await bert.ask("GET", "/v2/box/manifests/1")).content == newer

    await anna.start()
    try:
        await anna.until("/v2/_catalog", 200)
        await anna.command("team-add", key=bert.public, role="reader")
        await anna.push_image("1", "box", [b"older"])
        await bert.start()
        await bert.until("/v2/box/manifests/1", 200)
        older = await rpc("name/resolve", name, nocache=True)
        newer = await anna.push_image("1", "box", [b"newer"])
        end = time.monotonic() + PATIENCE
        while (await bert.ask("GET", "/v2/box/manifests/1")).content != newer:
            assert time.monotonic() < end
            await pause(0.1)
        newest = await rpc("name/resolve", name, nocache=True)
        await anna.stop()
        await publish(older.removeprefix("/ipfs/"), "Somebody may have rolled the storage back")
        # A directory of the older state in the newest one: an older tag, with a team that is as it should be.
        tops = []
        for state in (older, newest):
            links = (await deferToThread(one.rpc, "ls", state))[0]["Objects"][0]["Links"]
            tops.append({link["Name"]: link["Hash"] for link in links})
        changed = [each for each in tops[1] if len(each) == 52 and tops[0].get(each) not in {None, tops[1][each]}]
        assert changed
        mixed = unique_folder()
        await deferToThread(one.rpc, "files/cp", newest, mixed)
        for each in changed:
            await deferToThread(one.rpc, "files/rm", f"{mixed}/{each}", recursive=True)
            await deferToThread(one.rpc, "files/cp", f"/ipfs/{tops[0][each]}", f"{mixed}/{each}")
        await publish(await rpc("files/stat", mixed), "changed without being signed")
        await deferToThread(one.rpc, "files/rm", f"{mixed}/encryption/state")
        await publish(await rpc("files/stat", mixed), "is not signed")
    finally:
        await bert.stop()
        if anna.daemon.running:
            await anna.stop()


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
        # A member's node keeps what is small, and fetches blobs as they are asked for, as any mirror's.
        end = time.monotonic() + PATIENCE
        while len(pinned(bert)) != len(pinned(eve)) - 1:
            assert time.monotonic() < end, (pinned(bert), pinned(eve))
            time.sleep(0.3)
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


def pinned(machine: Machine) -> dict[str, bool]:
    """What a mirror keeps on its node, by CID."""
    found: dict[str, bool] = json.loads((machine.store / "following.json").read_text())["pins"]
    return found


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
