"""When a registry is published under a key, and one state of it mirrored by its CID."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.kubo.following.published_states import KEEP_SECONDS, PublishedStates
from ipfsreg.bucket.kubo.following.publishing import REPUBLISH_SECONDS, Publishing
from ipfsreg.bucket.kubo.json_file import JsonFile
from ipfsreg.ipfs.cid import parse_cid
from tests.bucket.running import running
from tests.web.served import digest_of

from .backend import Backend, unique_folder
from .node import KuboNode
from .state import pinned, root_of
from .test_registry import KuboServed, pulled, serving


class Content:
    """A node with or without peers, which notes what it was told to publish."""

    def __init__(self) -> None:
        self.peers = True
        self.state = "first"
        self.kept: list[str] = []
        self.published: list[str] = []

    async def root(self) -> str:
        return self.state

    async def keep(self, root: str) -> None:
        self.kept.append(root)

    async def publish(self, cid: str, key: str) -> str:
        assert key == "a key"
        assert self.kept[-1] == cid
        self.published.append(cid)
        return "k51"

    async def has_peers(self) -> bool:
        return self.peers


def publishing_of(content: Any, seconds: Callable[[], float]) -> Publishing:
    return Publishing(content.root, content, content, "a key", seconds)


@pytest_twisted.ensureDeferred
async def test_it_is_published_when_it_changed_and_before_the_record_ends(log: list[LogEvent]) -> None:
    content, now = Content(), [0.0]
    publishing = publishing_of(content, lambda: now[0])
    await publishing.publish()
    await publishing.publish()
    assert content.published == ["first"]
    content.state = "second"
    await publishing.publish()
    now[0] += REPUBLISH_SECONDS - 1
    await publishing.publish()
    assert content.published == ["first", "second"]
    now[0] += 1
    await publishing.publish()
    assert content.published == ["first", "second", "second"]
    (line,) = [line for line in map(formatEvent, log) if "follow = " in line]
    assert "follow = /ipns/k51." in line


@pytest_twisted.ensureDeferred
async def test_what_is_published_is_kept_for_a_while(node: KuboNode, tmp_path: Path) -> None:
    """So that a mirror can fetch it, whatever is pushed and collected meanwhile; and over a restart."""
    now = [1_000_000.0]
    async with running(Backend(node.url, tmp_path, path=unique_folder())) as backend:
        bucket: Any = backend.opened.bucket
        roots, before = [], pinned(node)
        for number in range(3):
            await backend.bucket.put("a", b"%d" % number)
            roots.append(await bucket.root())
            file = JsonFile(tmp_path / "published.json", backend.workers)
            states = PublishedStates(bucket.node, file, lambda: now[0])
            await states.keep(roots[-1])
            now[0] += KEEP_SECONDS / 2 + 1
        await backend.bucket.put("a", b"later")
        await deferToThread(node.rpc, "repo/gc", silent=True)
        for number, root in enumerate(roots):
            assert await deferToThread(node.command, "cat", f"/ipfs/{root}/a") == str(number)
        now[0] += KEEP_SECONDS
        await states.keep(await bucket.root())
        await deferToThread(node.rpc, "repo/gc", silent=True)
        known = {parse_cid(cid).hash for cid in node.command("refs", "local").split()}
        assert [parse_cid(root).hash in known for root in roots] == [False, False, True]
        assert len(pinned(node) - before) == 3, "the state, and what leads to the last two that were published"


@pytest_twisted.ensureDeferred
async def test_a_node_without_peers_is_asked_again(log: list[LogEvent]) -> None:
    content = Content()
    content.peers = False
    publishing = publishing_of(content, lambda: 0.0)
    for _ in range(3):
        await publishing.publish()
    assert content.published == ["first"] * 3
    content.peers = True
    for _ in range(2):
        await publishing.publish()
    assert content.published == ["first"] * 4
    assert len([event for event in log if "no peers yet" in formatEvent(event)]) == 1


@pytest_twisted.ensureDeferred
async def test_an_offline_node_has_no_peers(node: KuboNode, tmp_path: Path, log: list[LogEvent]) -> None:
    async with running(Backend(node.url, tmp_path, path=unique_folder(), publish_key="mine")) as backend:
        (repeated,) = [each for each in backend.opened.repeated if "publish" in each.what]
        await repeated.work()
    assert [event for event in log if "no peers yet" in formatEvent(event)]
    assert "mine" in {each["Name"] for each in node.rpc("key/list")[0]["Keys"]}


@pytest_twisted.ensureDeferred
async def test_one_state_by_its_cid(node: KuboNode, tmp_path: Path, clean_log: list[LogEvent]) -> None:
    folder = unique_folder()
    async with serving(KuboServed(tmp_path / "origin", node.url, folder)) as origin:
        await origin.answers()
        manifest = await origin.push_image("1", "box", [b"a layer"])
        state = await deferToThread(root_of, node, folder)
        await origin.push_image("2")
        async with serving(KuboServed(tmp_path / "mirror", node.url, "/none", follow=f"/ipfs/{state}")) as mirror:
            assert (await mirror.ask("GET", "/v2/box/manifests/1")).content == manifest
            assert (await mirror.ask("GET", "/v2/box/manifests/2")).status == 404
            assert await pulled(mirror, digest_of(b"a layer")) == b"a layer"
        # On the same node: the mirror's pins are not in the way of the registry's own.
        assert (await origin.ask("DELETE", "/v2/box/manifests/1")).status == 202
        await origin.push_image("3")
