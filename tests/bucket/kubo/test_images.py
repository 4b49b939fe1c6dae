"""Images by CID over real nodes: published, exported, imported, and pulled from other registries."""

import http.client
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.clients.engines import DockerEngine
from tests.clients.images import Image, layout_blobs, make_image, random_layer, sha256
from tests.clients.programs import client_environment, require_program, run
from tests.daemon_process import DaemonProcess

from .node import KuboNode, require_ipfs, running_node

IMAGE = "application/vnd.oci.image.manifest.v1+json"


def on(node: KuboNode, directory: Path, **more: str) -> DaemonProcess:
    """A daemon on a node."""
    directory.mkdir()
    section = {
        "api": node.url,
        "directory": str(directory / "store"),
        "path": f"/{directory.name}",
        "network_timeout": "10s",
        **more,
    }
    return DaemonProcess(directory, {"registry": {"backend": "kubo"}, "kubo": section})


def ask(daemon: DaemonProcess, method: str, target: str, body: bytes = b"", media_type: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    try:
        connection.request(method, f"/v2/{target}", body, {"Content-Type": media_type} if media_type else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def push(daemon: DaemonProcess, repository: str, image: Image, tag: str) -> None:
    for digest, content in image.blobs.items():
        assert ask(daemon, "POST", f"{repository}/blobs/uploads/?digest={digest}", content)[0] == 201
    assert ask(daemon, "PUT", f"{repository}/manifests/{tag}", image.manifest, IMAGE)[0] == 201


def said(daemon: DaemonProcess, *words: str) -> str:
    done = daemon.command(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def pulled(daemon: DaemonProcess, cid: str, directory: Path) -> dict[str, bytes]:
    """What skopeo gets for HOST/ipfs/CID, by digest."""
    skopeo = require_program("skopeo")
    name = f"docker://{daemon.host}/ipfs/{cid}"
    env = client_environment(directory / "home")
    run(skopeo, "copy", "--quiet", "--src-tls-verify=false", name, f"oci:{directory / 'out'}:1", env=env)
    return layout_blobs(directory / "out")


def cat(node: KuboNode, cid: str) -> bytes:
    """All that nerdctl asks of a node (fact: `cat` of ``/ipfs/CID``)."""
    url = f"{node.url}/api/v0/cat?{urlencode({'arg': f'/ipfs/{cid}'})}"
    with urllib.request.urlopen(urllib.request.Request(url, b"", method="POST"), timeout=30) as answer:
        content: bytes = answer.read()
        return content


def read_as_nerdctl_does(node: KuboNode, cid: str) -> dict[str, bytes]:
    """The CID names a descriptor; each descriptor's first ipfs:// URL has the content, of which all is checked."""
    found: dict[str, bytes] = {}
    pending = [json.loads(cat(node, cid))]
    while pending:
        descriptor = pending.pop()
        url = next(each for each in descriptor["urls"] if each.startswith("ipfs://"))
        content = cat(node, url.removeprefix("ipfs://"))
        assert (len(content), sha256(content)) == (descriptor["size"], descriptor["digest"])
        found[descriptor["digest"]] = content
        if descriptor["mediaType"] == IMAGE:
            document = json.loads(content)
            pending += [document["config"], *document["layers"]]
    return found


@pytest.fixture(scope="module")
def image() -> Image:
    return make_image([random_layer("small", 2000), random_layer("large", 3_500_000)])


@pytest.fixture(scope="module")
def registry(node: KuboNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A registry on the node."""
    with on(node, tmp_path_factory.mktemp("registry") / "one") as daemon:
        yield daemon


def test_a_car_goes_into_a_node_and_is_pulled_from_another_registry(
    node: KuboNode, registry: DaemonProcess, image: Image, tmp_path: Path
) -> None:
    car = tmp_path / "image.car"
    (tmp_path / "local").mkdir()
    with DaemonProcess(tmp_path / "local") as local:
        push(local, "team/app", image, "1.0")
        root = said(local, "export", "team/app:1.0", "-o", str(car))
    assert node.command("dag", "import", str(car)).split() == ["Pinned", "root", root, "success"]
    assert pulled(registry, root, tmp_path) == {image.digest: image.manifest, **image.blobs}
    # A node writes the same file, and makes the layout that any program can read.
    exported = subprocess.run(
        [require_ipfs(), "dag", "export", root],
        env={**os.environ, "IPFS_PATH": str(node.repository)},
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert exported.stdout == car.read_bytes()
    node.command("get", "-o", str(tmp_path / "got"), root)
    assert layout_blobs(tmp_path / "got") == {image.digest: image.manifest, **image.blobs}


def test_a_published_image_is_what_nerdctl_reads(node: KuboNode, image: Image, tmp_path: Path) -> None:
    """Also where the node was told to cut files in another way than the profile, so that its CIDs are others."""
    with on(node, tmp_path / "other-chunks", chunker="size-262144") as daemon:
        push(daemon, "app", image, "1")
        cid = said(daemon, "publish", "app:1")
        assert said(daemon, "publish", "app:1") == cid
        found = read_as_nerdctl_does(node, cid)
        assert image.blobs.items() <= found.items()
        (view,) = found.keys() - image.blobs.keys()
        assert json.loads(found[view])["config"]["digest"] == json.loads(image.manifest)["config"]["digest"]


def test_nerdctl_pulls_what_is_published_and_pushes_what_is_pulled_by_its_cid(
    node: KuboNode, registry: DaemonProcess, image: Image, tmp_path_factory: pytest.TempPathFactory
) -> None:
    push(registry, "nerdctl", image, "1")
    cid = said(registry, "publish", "nerdctl:1")
    rpc = f"--ipfs-address=/ip4/127.0.0.1/tcp/{node.port}"
    with DockerEngine(tmp_path_factory.mktemp("engine"), newer=True) as engine:
        engine.nerdctl("pull", "--quiet", rpc, f"ipfs://{cid}")
        (view,) = engine.content - image.blobs.keys()
        assert json.loads(engine.ctr("content", "get", view))["config"]["digest"] in image.blobs

        name = engine.nerdctl("images", "--quiet", "--no-trunc").split()[0]
        engine.nerdctl("tag", name, "mine:1")
        pushed = engine.nerdctl("push", "--quiet", "--estargz=false", rpc, "ipfs://mine:1").split()[-1]
    manifest = json.loads(ask(registry, "GET", f"ipfs/{pushed}/manifests/latest")[1])
    found = [each["digest"] for each in (manifest["config"], *manifest["layers"])]
    assert found == list(image.blobs)
    for digest in found:  # skopeo would not ask for layers that have URLs
        assert ask(registry, "GET", f"ipfs/{pushed}/blobs/{digest}") == (200, image.blobs[digest])


def test_two_registries_with_nothing_in_common_but_the_swarm(image: Image, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with running_node(tmp_path / "a", online=True) as first, running_node(tmp_path / "b", online=True) as second:
        addresses = first.rpc("id")[0]["Addresses"]
        second.rpc("swarm/connect", addresses[0])
        with on(first, tmp_path / "one") as one, on(second, tmp_path / "two", network_timeout="3s") as two:
            push(one, "app", image, "1")
            root = said(one, "export", "app:1", "-o", str(tmp_path / "app.car"))
            first.command("dag", "import", str(tmp_path / "app.car"))
            assert pulled(two, root, tmp_path) == {image.digest: image.manifest, **image.blobs}
            cid = said(one, "publish", "app:1")
            view = json.loads(ask(two, "GET", f"ipfs/{cid}/manifests/latest")[1])
            for each in (view["config"], *view["layers"]):  # skopeo would not ask for layers that have URLs
                assert ask(two, "GET", f"ipfs/{cid}/blobs/{each['digest']}") == (200, image.blobs[each["digest"]])
            assert json.loads(ask(two, "GET", "_catalog")[1]) == {"repositories": []}
            # What does not come in time may be there all the same.
            nowhere = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyka"
            status, content = ask(two, "GET", f"ipfs/{nowhere}/manifests/latest")
            assert (status, json.loads(content)["errors"][0]["code"]) == (503, "UNAVAILABLE")
