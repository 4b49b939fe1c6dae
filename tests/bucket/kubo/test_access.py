"""Rules on a real node: what is fetched from the network by CID, and a mirror that follows another registry."""

import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest_twisted

from tests.web.auth.guarded import Guarded, basic, guarded
from tests.web.client import pause
from tests.web.served import Served, digest_of

from .backend import unique_folder
from .node import KuboNode
from .test_registry import KuboServed, serving

Nodes = tuple[KuboNode, KuboNode]

LAYER, SECRET = b"a layer that the team may have", b"a layer of secret/app"
READER, OWNER, ALL = basic("reader"), basic("owner"), basic("deleter")
PATIENCE = 20.0


@asynccontextmanager
async def guarded_on(node: KuboNode, directory: Path, **section: object) -> AsyncIterator[Guarded]:
    """A daemon with rules on a node. It is ready when it has noticed that the node is there."""
    directory.mkdir()

    async def serve(registry: Mapping[str, object], **options: Mapping[str, object]) -> Served:
        kubo = {"api": node.url, "directory": directory / "state", "path": unique_folder(), "timeout": "5s", **section}
        served = Served(directory, {"registry": {**registry, "backend": "kubo"}, "kubo": kubo, **options})
        await served.start()
        return served

    daemon = await guarded(serve, directory)
    try:
        await until(daemon, "/v2/_catalog", 200)
        yield daemon
    finally:
        await daemon.served.stop()


async def until(daemon: Guarded, target: str, status: int) -> None:
    end = time.monotonic() + PATIENCE
    while (answer := await daemon.ask("GET", target, ALL)).status != status:
        assert time.monotonic() < end, answer.content
        await pause(0.05)


async def until_listed(daemon: Guarded, *repositories: str) -> None:
    """Wait for what the reader is shown: a list of before is believed for some seconds."""
    end = time.monotonic() + PATIENCE
    while (found := (await daemon.ask("GET", "/v2/_catalog", READER)).json()["repositories"]) != [*repositories]:
        assert time.monotonic() < end, found
        await pause(0.05)


async def statuses(daemon: Guarded, target: str) -> list[int]:
    """Those of nobody, reader, admin, owner and deleter: admin may pull nothing, owner secret/*, deleter everything."""
    everybody: tuple[Mapping[str, object], ...] = ({}, READER, basic("admin"), OWNER, ALL)
    return [(await daemon.ask("GET", target, who)).status for who in everybody]


@pytest_twisted.ensureDeferred
async def test_what_is_fetched_by_cid(nodes: Nodes, tmp_path: Path) -> None:
    here, there = nodes
    async with guarded_on(here, tmp_path / "here", network_timeout="2s") as daemon:
        async with serving(KuboServed(tmp_path / "there", there.url, unique_folder())) as other:
            await other.answers()
            await other.push_image("1", "abroad", [LAYER])
            abroad = (await other.ask("GET", "/v2/abroad/manifests/1"))["x-ipfs-cid"]
        await daemon.push_image("secret/app", "1", SECRET, OWNER)
        secret = (await daemon.ask("GET", "/v2/secret/app/manifests/1", OWNER))["x-ipfs-cid"]
        layer = (await daemon.ask("HEAD", f"/v2/secret/app/blobs/{digest_of(SECRET)}", OWNER))["x-ipfs-cid"]
        for _ in range(2):  # the second time it has been fetched
            # Only the reader and who may do everything may pull ipfs/*.
            assert await statuses(daemon, f"/v2/ipfs/{abroad}/manifests/latest") == [401, 200, 403, 403, 200]
            assert await statuses(daemon, f"/v2/ipfs/{abroad}/blobs/{digest_of(LAYER)}") == [401, 200, 403, 403, 200]
            # The node has the secret image, and does not give it to who may not pull secret/app.
            assert await statuses(daemon, f"/v2/ipfs/{secret}/manifests/latest") == [401, 404, 403, 403, 200]
            assert await statuses(daemon, f"/v2/ipfs/{secret}/blobs/{digest_of(SECRET)}") == [401, 404, 403, 403, 200]
            assert await statuses(daemon, f"/v2/ipfs/{abroad}/blobs/{digest_of(SECRET)}") == [401, 404, 403, 403, 404]
            assert await statuses(daemon, f"/ipfs/{layer}?format=raw") == [404, 404, 404, 200, 200]
            # What was fetched for one is nobody's repository.
            assert await statuses(daemon, f"/ipfs/{abroad}?format=raw") == [404, 404, 404, 404, 404]


@pytest_twisted.ensureDeferred
async def test_a_mirror_has_rules_of_its_own(nodes: Nodes, tmp_path: Path) -> None:
    key = f"registry-{secrets.token_hex(4)}"
    name = "/ipns/" + nodes[0].rpc("key/gen", key)[0]["Id"]
    async with AsyncExitStack() as stack:
        publishing = {"publish_key": key, "publish_every": "1s"}
        origin = KuboServed(tmp_path / "origin", nodes[0].url, unique_folder(), **publishing)
        await stack.enter_async_context(serving(origin))
        await origin.answers()
        await origin.push_image("1", "team/app", [LAYER])
        await origin.push_image("1", "secret/app", [SECRET])
        secret = (await origin.ask("GET", "/v2/secret/app/manifests/1"))["x-ipfs-cid"]
        following = {"follow": name, "follow_every": "1s", "network_timeout": "2s"}
        mirror = await stack.enter_async_context(guarded_on(nodes[1], tmp_path / "mirror", **following))
        await until(mirror, "/v2/secret/app/manifests/1", 200)
        # As the daemon does in the background: until then nobody gets anything by its CID, which is answered 503.
        await mirror.served.daemon.registry.cid_refresh.run()
        for _ in range(2):
            assert await statuses(mirror, "/v2/team/app/manifests/1") == [401, 200, 403, 403, 200]
            assert await statuses(mirror, "/v2/secret/app/manifests/1") == [401, 403, 403, 200, 200]
            assert await statuses(mirror, f"/v2/secret/app/blobs/{digest_of(SECRET)}") == [401, 403, 403, 200, 200]
            assert await statuses(mirror, f"/v2/team/app/blobs/{digest_of(SECRET)}") == [401, 404, 403, 403, 404]
            assert await statuses(mirror, f"/v2/ipfs/{secret}/manifests/latest") == [401, 404, 403, 403, 200]
            assert await statuses(mirror, f"/ipfs/{secret}?format=raw") == [404, 404, 404, 200, 200]
        await until_listed(mirror, "team/app")
        assert (await mirror.ask("POST", "/v2/team/app/blobs/uploads/", ALL, b"")).status == 405
