"""A registry that mirrors another one through IPNS: two nodes with nothing shared but the connection between them."""

import configparser
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ..clients.images import layout_blobs, make_image, random_layer, write_layout
from ..clients.programs import client_environment, require_program, run
from ..daemon_process import DaemonProcess
from ..web.client import Answer, pause
from ..web.served import digest_of
from .backend import unique_folder
from .node import KuboNode, connect
from .test_registry import KuboServed, pulled

Nodes = tuple[KuboNode, KuboNode]


class Pair:
    """A registry that publishes on the first node, and its mirror on the second one."""

    def __init__(self, nodes: Nodes, directory: Path, **more: object) -> None:
        self.nodes = nodes
        self.directory = directory
        key = f"registry-{secrets.token_hex(4)}"
        self.name = "/ipns/" + nodes[0].rpc("key/gen", key)[0]["Id"]
        publishing = {"publish_key": key, "publish_every": "1s"}
        self.origin = KuboServed(directory / "origin", nodes[0].url, unique_folder(), **publishing)
        self._more = more
        self._mirrors = 0
        self.mirror = self.new_mirror()

    def new_mirror(self) -> KuboServed:
        """A mirror, or the one that there was started anew."""
        following = {"follow": self.name, "follow_every": "1s", "network_timeout": "1s", **self._more}
        self.mirror = KuboServed(self.directory / "mirror", self.nodes[1].url, "/none", **following)
        return self.mirror

    async def until(self, target: str, wanted: Callable[[Answer], bool]) -> Answer:
        """Ask the mirror again and again until it answers as wanted."""
        for _ in range(200):
            answer = await self.mirror.ask("GET", target)
            if wanted(answer):
                return answer
            await pause(0.05)
        raise AssertionError(f"{target}: {answer.status} {answer.content!r}")

    async def until_tags(self, repository: str, *tags: str) -> None:
        """Wait until the mirror lists these tags."""
        wanted = {"name": repository, "tags": list(tags)}
        await self.until(f"/v2/{repository}/tags/list", lambda answer: bool(json.loads(answer.content) == wanted))


@pytest_twisted.async_yield_fixture()
async def pair(nodes: Nodes, tmp_path: Path, clean_log: list[Any]) -> AsyncIterator[Pair]:
    pair = Pair(nodes, tmp_path)
    await pair.origin.start()
    await pair.origin.answers()
    yield pair
    await pair.mirror.stop()
    await pair.origin.stop()


@asynccontextmanager
async def away(node: KuboNode, other: KuboNode) -> AsyncIterator[None]:
    """A node is gone for a block."""
    node.kill()
    try:
        yield
    finally:
        await deferToThread(node.start)
        await deferToThread(connect, node, other)


@pytest_twisted.ensureDeferred
async def test_what_is_pushed_to_one_is_pulled_from_the_other(pair: Pair) -> None:
    layer = os.urandom(2_500_000)
    manifest = await pair.origin.push_image("1.0", "team/app", [layer])
    await pair.mirror.start()
    await pair.until_tags("team/app", "1.0")
    ask = pair.mirror.ask
    assert (await ask("GET", "/v2/team/app/manifests/1.0")).content == manifest
    assert (await ask("GET", f"/v2/team/app/manifests/{digest_of(manifest)}")).content == manifest
    assert json.loads((await ask("GET", "/v2/_catalog")).content) == {"repositories": ["team/app"]}
    head = await ask("HEAD", f"/v2/team/app/blobs/{digest_of(layer)}")
    assert (head.status, head["content-length"]) == (200, "2500000")
    part = await pulled(pair.mirror, digest_of(layer), "team/app", range="bytes=1100000-1100009")
    assert part == layer[1_100_000:1_100_010]
    assert await pulled(pair.mirror, digest_of(layer), "team/app") == layer
    for missing in ("manifests/none", f"blobs/{digest_of(b'none')}", f"manifests/{digest_of(b'none')}"):
        assert (await ask("GET", f"/v2/team/app/{missing}")).status == 404
    # What changes there is seen here.
    other = await pair.origin.push_image("2.0", "team/app", [b"another"])
    assert (await pair.origin.ask("DELETE", "/v2/team/app/manifests/1.0")).status == 202
    await pair.until_tags("team/app", "2.0")
    assert (await pair.until("/v2/team/app/manifests/2.0", lambda answer: answer.status == 200)).content == other
    assert (await pair.until("/v2/team/app/manifests/1.0", lambda answer: answer.status != 200)).status == 404
