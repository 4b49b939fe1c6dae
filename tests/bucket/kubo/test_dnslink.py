"""A mirror of a domain: its DNSLink says what is followed, and real clients pull from it."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent

from tests.bucket.textile.test_registry_clients import write_docker_archive
from tests.clients.engines import DockerEngine
from tests.clients.images import random_layer
from tests.clients.programs import thorough
from tests.web.served import MANIFEST_TYPE

from .backend import unique_folder
from .dns import Resolver
from .node import connect, running_node
from .test_following import Nodes, Pair, daemon, eventually, until_it_has
from .test_registry import serving

DOMAIN = "registry.example.org"


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    with Resolver().running() as resolver:
        yield resolver


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, resolver: Resolver) -> Iterator[Nodes]:
    """Two nodes that know each other; the mirror's asks the resolver."""
    directory, routing = tmp_path_factory.mktemp("nodes"), {"Routing.Type": "dht"}
    with (
        running_node(directory / "one", routing, online=True) as one,
        running_node(directory / "two", routing | resolver.settings, online=True) as two,
    ):
        connect(one, two)
        yield one, two


@pytest_twisted.ensureDeferred
async def test_what_the_domain_points_to_is_served(
    nodes: Nodes, resolver: Resolver, tmp_path: Path, clean_log: list[LogEvent]
) -> None:
    pair = Pair(nodes, tmp_path, follow=f"/ipns/{DOMAIN}")
    ask = pair.mirror.ask
    async with serving(pair.origin), serving(pair.mirror):
        await pair.origin.answers()
        manifest = await pair.origin.push_image("1")
        # Nobody has heard of the domain.
        for target in ("_catalog", "box/tags/list", "box/manifests/1"):
            assert (await ask("GET", f"/v2/{target}")).status == 503
        resolver.links[DOMAIN] = pair.name
        await pair.until_tags("box", "1")
        assert (await ask("GET", "/v2/box/manifests/1")).content == manifest
        refused = (await ask("PUT", "/v2/box/manifests/2", {"Content-Type": MANIFEST_TYPE}, manifest)).json()
        assert f"mirror of /ipns/{DOMAIN}" in refused["errors"][0]["message"]
        state = (await deferToThread(nodes[0].rpc, "name/resolve", pair.name))[0]["Path"]
        other = await pair.origin.push_image("2")
        await pair.until_tags("box", "1", "2")
        assert (await ask("GET", "/v2/box/manifests/2")).content == other
        # The domain comes to point to one state for good.
        resolver.links[DOMAIN] = state
        await pair.until_tags("box", "1")
        # Neither a domain that is gone nor a resolver that fails ends what is served.
        for broken in (False, True):
            resolver.links.clear()
            resolver.broken, before = broken, resolver.asked
            await eventually(lambda before=before: resolver.asked > before + 1)  # type: ignore[misc]
            assert (await ask("GET", "/v2/box/manifests/1")).content == manifest
        resolver.broken = False


@thorough
@pytest.mark.parametrize("newer", [False, True], ids=["classic", "containerd"])
def test_docker_pulls_from_the_mirror_of_a_domain(
    newer: bool, nodes: Nodes, resolver: Resolver, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = f"registry-{secrets.token_hex(4)}"
    resolver.links[DOMAIN] = "/ipns/" + nodes[0].rpc("key/gen", key)[0]["Id"]
    publishing = {"publish_key": key, "publish_every": "1s", "path": unique_folder(), "api": nodes[0].url}
    following = {"follow": f"/ipns/{DOMAIN}", "follow_every": "1s", "api": nodes[1].url}
    layers = [random_layer("small", 1_000), random_layer("large", 3_000_000)]
    write_docker_archive(tmp_path / "image.tar", layers)
    with (
        daemon(tmp_path / "origin", publishing) as origin,
        daemon(tmp_path / "mirror", following) as mirror,
        DockerEngine(tmp_path_factory.mktemp("docker"), newer=newer) as engine,
    ):
        pushed, pulled = (f"{each.host}/team/app:1" for each in (origin, mirror))
        engine.docker("load", "--input", tmp_path / "image.tar")
        engine.docker("tag", "ten:1", pushed)
        engine.docker("push", pushed)
        engine.docker("rmi", "ten:1")
        digest = engine.pulled_digest(pushed)
        engine.forget_images()
        until_it_has(mirror, "team/app/manifests/1")
        engine.docker("pull", pulled)
        assert engine.pulled_digest(pulled) == digest
        inspected = json.loads(engine.docker("image", "inspect", pulled))
        assert inspected[0]["RootFS"]["Layers"] == [diff_id for _, diff_id in layers]
        engine.docker("tag", pulled, f"{mirror.host}/team/app:2")
        refusal = "405 Method Not Allowed" if newer else "can only be read"  # containerd does not show ours
        assert refusal in engine.docker("push", f"{mirror.host}/team/app:2", fails=True)
