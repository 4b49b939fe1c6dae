"""Buckets of the original program on a real bucket daemon: written by its client as it does, then pushed to by ours."""

import http.client
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.bucket.textile.javascript.runner import install, write_as_original
from tests.clients.images import DOCKER_MANIFEST_TYPE, MANIFEST_TYPE, Image, make_image, random_layer
from tests.clients.programs import client_environment, require_program, run
from tests.daemon_process import DaemonProcess

from .backend import unique
from .servers import TextileServer


@pytest.fixture(scope="module", autouse=True)
def _client() -> None:
    install()


def docker_image(name: str, layers: int = 2) -> Image:
    """An image as Docker pushed it to the original program, unlike those of other names."""
    made = make_image([random_layer(f"{name}{number}", 100_000) for number in range(layers)], comment=name)
    text = made.manifest.decode().replace(MANIFEST_TYPE, DOCKER_MANIFEST_TYPE)
    text = text.replace("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
    text = text.replace(
        "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"
    )
    return Image(text.encode(), made.blobs)


def files_of(image: Image, *names: str) -> dict[str, bytes]:
    """What the original program keeps of an image that is pushed under names such as ``first/one``."""
    blobs = {f"blobs/{digest}": content for digest, content in image.blobs.items()}
    return {**blobs, **{f"manifests/{name}": image.manifest for name in names}}


class Bucket:
    """One that the original program made, and daemons on it."""

    def __init__(self, server: TextileServer, directory: Path, *, encrypted: bool) -> None:
        self._where: dict[str, Any] = {"thread": unique(), "encrypted": encrypted}
        self._url = server.url
        self._state = directory / "state"
        self._env = client_environment(directory / "home")
        self._directory = directory
        section = {"host": server.url, "bucket": "ddocker", "thread": self._where["thread"], "path": str(self._state)}
        section["encrypted"] = str(encrypted)
        self.daemon = DaemonProcess(directory, {"registry": {"backend": "textile"}, "textile": section})

    async def write(self, files: dict[str, bytes], *, anew: bool = False) -> None:
        """Write as the original program does; see `write_as_original`."""
        await write_as_original(self._url, files, anew=anew, **self._where)

    def start_anew(self) -> None:
        """Start the daemon with nothing on its disk."""
        self.daemon.stop()
        shutil.rmtree(self._state)
        self.daemon.start()

    def ask(self, method: str, target: str) -> tuple[int, bytes]:
        """Status and content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=60)
        try:
            connection.request(method, f"/v2/{target}")
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def skopeo(self, source: str, target: str) -> None:
        """Copy an image."""
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
        run(require_program("skopeo"), "copy", "--quiet", *plain, source, target, env=self._env)

    def name(self, image: str) -> str:
        """An image's name for skopeo."""
        return f"docker://{self.daemon.host}/{image}"

    def check_whole(self) -> None:
        """Fail unless ``ipfsreg verify`` finds nothing wrong."""
        said = self.daemon.command("verify").stdout
        assert "Everything is whole" in said, said

    def check_pull(self, name: str, image: Image) -> None:
        """Fail unless a client gets all of it."""
        back = self._directory / "back"
        # Not an OCI layout, which Docker's manifest would be converted for.
        self.skopeo(self.name(name), f"dir:{back}")
        found = {f"sha256:{file.name}": file.read_bytes() for file in back.iterdir() if len(file.name) == 64}
        assert ((back / "manifest.json").read_bytes(), found) == (image.manifest, image.blobs)
        shutil.rmtree(back)


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def bucket(request: pytest.FixtureRequest, buckd: TextileServer, tmp_path: Path) -> Bucket:
    return Bucket(buckd, tmp_path, encrypted=request.param)


@pytest_twisted.ensureDeferred
async def test_an_image_that_is_pushed_again_needs_nothing_of_the_original(bucket: Bucket) -> None:
    first, other = docker_image("first"), docker_image("other")
    await bucket.write(files_of(first, "first/one") | files_of(other, "first/two", "other/one"))
    with bucket.daemon:
        bucket.check_pull("first:one", first)
        said = bucket.daemon.command("verify").stdout
        assert "Everything is whole" in said, said

        for name in ("first:again", "second:one"):
            bucket.skopeo(bucket.name("first:one"), bucket.name(name))
        assert bucket.ask("DELETE", "first/manifests/one")[0] == 202
        assert bucket.ask("GET", "first/manifests/one")[0] == 404
        bucket.daemon.command("gc", "--now")
        bucket.check_pull("first:again", first)

        bucket.start_anew()
        for name in ("first/manifests/again", "second/manifests/one"):
            assert bucket.ask("GET", name) == (200, first.manifest)
        for name in ("first/manifests/two", "other/manifests/one", f"other/manifests/{other.digest}"):
            assert bucket.ask("GET", name) == (200, other.manifest)
        assert json.loads(bucket.ask("GET", "first/tags/list")[1])["tags"] == ["again", "two"]
        bucket.check_pull("first:again", first)
        bucket.check_pull("second:one", first)
        said = bucket.daemon.command("verify").stdout
        assert "Everything is whole" in said, said


@pytest_twisted.ensureDeferred
async def test_what_was_pushed_at_once_for_the_first_time_is_found(bucket: Bucket) -> None:
    """The original program made a thread of one name for each of the first requests, and spread the files over them."""
    images = {name: docker_image(name, layers=1) for name in ("first", "second")}
    for name, image in images.items():
        await bucket.write(files_of(image, f"{name}/latest"), anew=True)
    with bucket.daemon:
        for name, image in images.items():
            bucket.check_pull(f"{name}:latest", image)
        assert json.loads(bucket.ask("GET", "_catalog")[1])["repositories"] == list(images)
        bucket.check_whole()
