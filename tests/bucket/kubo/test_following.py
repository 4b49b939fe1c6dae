"""A registry that mirrors another one through IPNS: two nodes with nothing shared but the connection between them."""

import hashlib
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent

from ipfsreg.ipfs.cid import raw_cid
from tests.clients.images import layout_blobs, make_image, random_layer, write_layout
from tests.clients.programs import client_environment, require_program, run
from tests.daemon_process import DaemonProcess
from tests.web.client import Answer, pause
from tests.web.pages.visiting import text_of
from tests.web.served import CONFIG_TYPE, MANIFEST_TYPE, descriptor, digest_of

from .backend import unique_folder
from .node import KuboNode, connect
from .test_registry import KuboServed, pulled, serving

Nodes = tuple[KuboNode, KuboNode]

NOBODYS = "/ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"


PIN_PATIENCE = 20.0


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PIN_PATIENCE
    while not condition():
        assert time.monotonic() < end
        await pause(0.05)


class Pair:
    """A registry that publishes on the first node, and its mirror on the second one."""

    def __init__(self, nodes: Nodes, directory: Path, **more: object) -> None:
        self.nodes = nodes
        self.directory = directory
        self.key = f"registry-{secrets.token_hex(4)}"
        self.name = "/ipns/" + nodes[0].rpc("key/gen", self.key)[0]["Id"]
        publishing = {"publish_key": self.key, "publish_every": "1s"}
        self.origin = KuboServed(directory / "origin", nodes[0].url, unique_folder(), **publishing)
        self._more = more
        self._mirrors = 0
        self.mirror = self.new_mirror()

    def new_mirror(self) -> KuboServed:
        """A mirror, or the one that there was started anew."""
        following = {"follow": self.name, "follow_every": "1s", "network_timeout": "500ms", **self._more}
        self.mirror = KuboServed(self.directory / "mirror", self.nodes[1].url, "/none", **following)
        return self.mirror

    async def until(self, target: str, wanted: Callable[[Answer], bool]) -> Answer:
        """Ask the mirror again and again until it answers as wanted."""
        end = time.monotonic() + PIN_PATIENCE
        while not wanted(answer := await self.mirror.ask("GET", target)):
            assert time.monotonic() < end, f"{target}: {answer.status} {answer.content!r}"
            await pause(0.05)
        return answer

    async def until_tags(self, repository: str, *tags: str) -> None:
        """Wait until the mirror lists these tags."""
        wanted = {"name": repository, "tags": list(tags)}
        await self.until(f"/v2/{repository}/tags/list", lambda answer: bool(json.loads(answer.content) == wanted))


@pytest_twisted.async_yield_fixture()
async def pair(nodes: Nodes, tmp_path: Path, clean_log: list[LogEvent]) -> AsyncIterator[Pair]:
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


@pytest_twisted.ensureDeferred
async def test_what_the_pages_say_of_a_mirror(pair: Pair) -> None:
    await pair.origin.push_image("1.0")
    await pair.mirror.start()
    await pair.until_tags("box", "1.0")
    browser = {"Accept": "text/html", "Host": "127.0.0.1:5000"}
    status = text_of(await pair.mirror.ask("GET", "/status", browser))
    for words in ("The storage answers.", "Kubo 0.", "Peers", f"Mirror of {pair.name}", "Serves bafy", "mirror"):
        assert words in " ".join(status.split())
    assert "Delete" not in text_of(await pair.mirror.ask("GET", "/repositories/box", browser))
    assert (await pair.mirror.ask("GET", "/repositories/box:1.0/delete", browser)).status == 405
    assert "IPFS node Kubo" in " ".join(text_of(await pair.origin.ask("GET", "/status", browser)).split())


@pytest_twisted.ensureDeferred
async def test_changes_are_refused(pair: Pair) -> None:
    manifest = await pair.origin.push_image("1.0")
    await pair.mirror.start()
    await pair.until_tags("box", "1.0")
    ask = pair.mirror.ask
    requests = [
        ("POST", "/v2/box/blobs/uploads/", b""),
        ("POST", f"/v2/box/blobs/uploads/?digest={digest_of(b'x')}", b"x"),
        ("POST", f"/v2/other/blobs/uploads/?mount={digest_of(b'{}')}&from=box", b""),
        ("PUT", "/v2/box/manifests/2.0", manifest),
        ("DELETE", "/v2/box/manifests/1.0", None),
        ("DELETE", f"/v2/box/manifests/{digest_of(manifest)}", None),
        ("DELETE", f"/v2/box/blobs/{digest_of(b'{}')}", None),
        ("PATCH", "/v2/box/blobs/uploads/x", b"x"),
    ]
    for method, target, content in requests:
        answer = await ask(method, target, {"Content-Type": MANIFEST_TYPE}, content)
        error = json.loads(answer.content)["errors"][0]
        assert (answer.status, error["code"], answer["allow"]) == (405, "UNSUPPORTED", "GET, HEAD")
        assert f"mirror of {pair.name}" in error["message"]
        assert "push to the one that publishes it" in error["message"]
    assert not list((pair.directory / "mirror/state/uploads").glob("*"))
    assert (await ask("GET", "/v2/box/manifests/1.0")).content == manifest


@pytest_twisted.ensureDeferred
async def test_what_was_fetched_is_served_while_the_publisher_is_away(pair: Pair, nodes: Nodes) -> None:
    fetched, partly, other = os.urandom(1_500_000), os.urandom(3_000_000), os.urandom(10_000)
    manifest = await pair.origin.push_image("1", "box", [fetched, partly, other])
    signature = json.dumps(
        {
            "schemaVersion": 2,
            "config": descriptor(b"{}", CONFIG_TYPE),
            "layers": [],
            "subject": descriptor(manifest, MANIFEST_TYPE),
        }
    ).encode()
    assert (await pair.origin.push(signature, digest_of(signature))).status == 201
    await pair.origin.push_image("2", "box", [b"never asked for"])
    await pair.mirror.start()
    await pair.until_tags("box", "1", "2")
    referrers = f"/v2/box/referrers/{digest_of(manifest)}"
    await pair.until(referrers, lambda answer: len(json.loads(answer.content)["manifests"]) == 1)
    state = pair.directory / "mirror/state/following.json"
    await eventually(lambda: state.exists() and bool(json.loads(state.read_text())["root"]))
    ask = pair.mirror.ask
    assert (await ask("GET", "/v2/box/manifests/1")).content == manifest
    assert await pulled(pair.mirror, digest_of(fetched)) == fetched
    assert await pulled(pair.mirror, digest_of(partly)) == partly
    cid = (await pair.origin.ask("HEAD", f"/v2/box/blobs/{digest_of(partly)}"))["x-ipfs-cid"]
    last_block = (await deferToThread(nodes[1].rpc, "refs", cid))[-1]["Ref"]
    await deferToThread(nodes[1].rpc, "block/rm", last_block)
    await pair.origin.stop()
    async with away(nodes[0], nodes[1]):
        for again in range(2):
            assert (await ask("GET", "/v2/box/manifests/1")).content == manifest
            assert await pulled(pair.mirror, digest_of(fetched)) == fetched
            assert json.loads((await ask("GET", "/v2/box/tags/list")).content)["tags"] == ["1", "2"]
            assert json.loads((await ask("GET", "/v2/_catalog")).content) == {"repositories": ["box"]}
            assert len(json.loads((await ask("GET", referrers)).content)["manifests"]) == 1
            assert (await ask("GET", "/v2/box/manifests/none")).status == 404
            for target in ("manifests/2", f"blobs/{digest_of(other)}"):
                answer = await ask("GET", f"/v2/box/{target}")
                assert (answer.status, int(answer["retry-after"]) > 0) == (503, True)
            if not again:
                with pytest.raises(ConnectionError):  # cut short, and not as if that were all
                    await ask("GET", f"/v2/box/blobs/{digest_of(partly)}")
                # The same after a start anew.
                await pair.mirror.stop()
                await pair.new_mirror().start()
                ask = pair.mirror.ask
        await deferToThread(nodes[1].rpc, "repo/gc", silent=True)
        assert json.loads((await ask("GET", "/v2/box/tags/list")).content)["tags"] == ["1", "2"]
        assert (await ask("GET", f"/v2/box/blobs/{digest_of(fetched)}")).status == 503
    assert (await pair.until("/v2/box/manifests/2", lambda answer: answer.status == 200)).status == 200
    assert await pulled(pair.mirror, digest_of(partly)) == partly


@pytest_twisted.ensureDeferred
async def test_a_newer_state_is_served_only_when_all_that_is_small_of_it_is_here(
    pair: Pair, nodes: Nodes, clean_log: list[LogEvent]
) -> None:
    manifest = await pair.origin.push_image("1")
    await pair.mirror.start()
    await pair.until_tags("box", "1")
    assert (await pair.mirror.ask("GET", "/v2/box/manifests/1")).content == manifest
    # The name comes to point to a state of which nobody has a directory.
    one = nodes[0]
    root, copy = (await deferToThread(one.rpc, "name/resolve", pair.name))[0]["Path"], unique_folder()
    await deferToThread(one.rpc, "files/cp", root, copy)
    await deferToThread(one.rpc, "files/cp", f"{root}/repositories/box/_tags/1", f"{copy}/repositories/box/_tags/2")
    lost = (await deferToThread(one.rpc, "files/stat", f"{copy}/repositories/box/_tags"))[0]["Hash"]
    newer = (await deferToThread(one.rpc, "files/stat", copy))[0]["Hash"]
    await deferToThread(one.rpc, "block/rm", lost)
    await deferToThread(one.rpc, "name/publish", newer, key=pair.key, resolve=False, allow_offline=True)
    await eventually(lambda: any(formatEvent(event).startswith("Could not look where /ipns/") for event in clean_log))
    assert json.loads((await pair.mirror.ask("GET", "/v2/box/tags/list")).content)["tags"] == ["1"]
    # What is pushed next is whole again.
    await pair.origin.push_image("3")
    await pair.until_tags("box", "1", "3")
    # It is let go of once the next one is served.
    state = pair.directory / "mirror/state/following.json"
    await eventually(lambda: newer not in json.loads(state.read_text())["pins"])
    pins = await deferToThread(nodes[1].rpc, "pin/ls")
    assert lost not in pins[0]["Keys"]


@pytest_twisted.ensureDeferred
async def test_a_cache_on_the_disk_keeps_what_the_node_lets_go(
    nodes: Nodes, tmp_path: Path, clean_log: list[LogEvent]
) -> None:
    pair, layer = Pair(nodes, tmp_path, cache_size="10MiB"), os.urandom(1_500_000)
    async with serving(pair.mirror):
        async with serving(pair.origin):
            await pair.origin.answers()
            await pair.origin.push_image("1", "box", [layer])
            await pair.until_tags("box", "1")
            assert await pulled(pair.mirror, digest_of(layer)) == layer
        async with away(*nodes):
            await deferToThread(nodes[1].rpc, "repo/gc", silent=True)
            assert await pulled(pair.mirror, digest_of(layer)) == layer


@pytest.mark.parametrize("nowhere", [True, False], ids=["nowhere", "no registry"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_registry_is_an_outage(
    nowhere: bool, nodes: Nodes, tmp_path: Path, clean_log: list[LogEvent]
) -> None:
    empty = (await deferToThread(nodes[0].rpc, "files/stat", "/"))[0]["Hash"]
    follow = NOBODYS if nowhere else f"/ipfs/{empty}"
    following = {"follow": follow, "network_timeout": "500ms"}
    async with serving(KuboServed(tmp_path / "one", nodes[1].url, "/none", **following)) as mirror:
        for target in ("_catalog", "box/tags/list", "box/manifests/1", f"box/blobs/{digest_of(b'')}"):
            assert (await mirror.ask("GET", f"/v2/{target}")).status == 503
        assert (await mirror.ask("GET", "/v2/")).status == 200
    said = "leads nowhere" if nowhere else "there is no registry"
    assert [event for event in clean_log if said in formatEvent(event)]


def has(daemon: DaemonProcess, manifest: str) -> bool:
    try:
        with urllib.request.urlopen(f"{daemon.url}/v2/{manifest}", timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def until_it_has(mirror: DaemonProcess, manifest: str) -> None:
    """Wait until a mirror serves a manifest."""
    end = time.monotonic() + PIN_PATIENCE
    while not has(mirror, manifest):
        assert time.monotonic() < end, mirror.log
        time.sleep(0.1)


def daemon(directory: Path, section: dict[str, str]) -> DaemonProcess:
    directory.mkdir()
    options = {"directory": str(directory / "state"), **section}
    return DaemonProcess(directory, {"registry": {"backend": "kubo"}, "kubo": options})


def test_real_clients_and_the_command(nodes: Nodes, tmp_path: Path) -> None:
    key = f"registry-{secrets.token_hex(4)}"
    name = "/ipns/" + nodes[0].rpc("key/gen", key)[0]["Id"]
    image = make_image([random_layer("small", 1_000), random_layer("large", 3_000_000)])
    write_layout(tmp_path / "out", {"1": image})
    origin_section = {"publish_key": key, "publish_every": "1s", "path": unique_folder(), "api": nodes[0].url}
    mirror_section = {"follow": name, "follow_every": "1s", "api": nodes[1].url}
    skopeo, env = require_program("skopeo"), client_environment(tmp_path / "home")
    with daemon(tmp_path / "origin", origin_section) as origin, daemon(tmp_path / "mirror", mirror_section) as mirror:
        pushed, pulled = (f"docker://{each.host}/team/app:1" for each in (origin, mirror))
        run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:1", pushed, env=env)
        copy = [skopeo, "copy", "--src-tls-verify=false"]
        until_it_has(mirror, "team/app/manifests/1")
        run(*copy, pulled, f"oci:{tmp_path / 'back'}:1", env=env)
        assert layout_blobs(tmp_path / "back") == {image.digest: image.manifest, **image.blobs}
        by_digest = f"docker://{mirror.host}/team/app@{image.digest}"
        run(*copy, by_digest, f"oci:{tmp_path / 'again'}:1", env=env)
        refused = run(
            skopeo, "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:1", pulled, env=env, fails=True
        )
        assert "can only be read" in refused
        assert f"follow = {name}" in origin.log
        assert "docker push" not in mirror.log
        assert mirror.command("check").returncode == 0
        refuses(mirror, "gc", name)
        mirror.stop()
        refuses(mirror, "verify", name)
        cid = mirror.command("cid", "team/app:1")
        assert cid.stdout.strip() == str(raw_cid(hashlib.sha256(image.manifest).digest()))


def refuses(mirror: DaemonProcess, command: str, name: str) -> None:
    done = mirror.command(command)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(
        f"ipfsreg: this registry is a mirror of {name}, and can only be read: run `ipfsreg {command}` "
        "where it is published ("
    )
