"""Buckets of the original program: written by the official JavaScript client, read through our registry."""

import hashlib
import json
from pathlib import Path

import pytest
import pytest_twisted
import treq
from twisted.internet.threads import deferToThread
from twisted.web.http_headers import Headers

from tests.daemon_process import DaemonProcess
from tests.full import FULL

from .double import TextileDouble
from .javascript.runner import install, write_as_original

DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _manifest(config: bytes, layer: bytes) -> bytes:
    config_type = "application/vnd.docker.container.image.v1+json"
    layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_IMAGE,
            "config": {"mediaType": config_type, "size": len(config), "digest": _digest(config)},
            "layers": [{"mediaType": layer_type, "size": len(layer), "digest": _digest(layer)}],
        }
    ).encode()


LAYER = b"a layer" * 100_000
CONFIG = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
MANIFEST = _manifest(CONFIG, LAYER)
OTHER_CONFIG = json.dumps({"architecture": "arm64", "os": "linux"}).encode()
OTHER = _manifest(OTHER_CONFIG, LAYER)


async def _get(url: str, range: str | None = None) -> tuple[int, bytes, str]:
    headers = Headers({} if range is None else {"range": [range]})
    response = await treq.get(url, headers=headers, persistent=False, timeout=20)
    content = await response.content()
    return response.code, content, (response.headers.getRawHeaders("content-type") or [""])[0]


@pytest.mark.parametrize("encrypted", [False, True] if FULL else [True])
@pytest_twisted.ensureDeferred
async def test_a_bucket_of_the_original_program(tmp_path: Path, encrypted: bool) -> None:
    install()
    double = TextileDouble(hub=True).start()
    key = double.accounts.add_key()
    files = {
        f"blobs/{_digest(LAYER)}": LAYER,
        f"blobs/{_digest(CONFIG)}": CONFIG,
        "manifests/hello/latest": MANIFEST,
        "manifests/hello/v1": MANIFEST,
    }
    await write_as_original(double.url, files, key=key.key, secret=key.secret, bucket="docker-hub", encrypted=encrypted)
    textile = {
        "host": double.url,
        "key": key.key,
        "secret": key.secret or "",
        "bucket": "docker-hub",
        "encrypted": str(encrypted),
        "path": str(tmp_path / "textile"),
    }
    daemon = DaemonProcess(tmp_path, {"registry": {"backend": "textile"}, "textile": textile})
    await deferToThread(daemon.start)
    try:
        base = f"{daemon.url}/v2/hello"
        # Pulled, by tag and by digest, and listed.
        assert await _get(f"{base}/manifests/latest") == (200, MANIFEST, DOCKER_IMAGE)
        assert await _get(f"{base}/manifests/{_digest(MANIFEST)}") == (200, MANIFEST, DOCKER_IMAGE)
        assert (await _get(f"{base}/blobs/{_digest(LAYER)}"))[:2] == (200, LAYER)
        assert (await _get(f"{base}/blobs/{_digest(LAYER)}", range="bytes=7-13"))[:2] == (206, LAYER[7:14])
        assert json.loads((await _get(f"{base}/tags/list"))[1])["tags"] == ["latest", "v1"]
        assert json.loads((await _get(f"{daemon.url}/v2/_catalog"))[1])["repositories"] == ["hello"]
        assert (await _get(f"{base}/manifests/v2"))[0] == 404
        # Pushed to: the layer is there already, as a client finds out by HEAD.
        assert (await treq.head(f"{base}/blobs/{_digest(LAYER)}", persistent=False)).code == 200
        put = await treq.post(
            f"{base}/blobs/uploads/?digest={_digest(OTHER_CONFIG)}", data=OTHER_CONFIG, persistent=False
        )
        assert put.code == 201
        put = await treq.put(
            f"{base}/manifests/latest", data=OTHER, headers=Headers({"content-type": [DOCKER_IMAGE]}), persistent=False
        )
        assert put.code == 201, await put.text()
        assert (await _get(f"{base}/manifests/latest"))[1] == OTHER
        assert (await _get(f"{base}/manifests/v1"))[1] == MANIFEST
        # Deleted in both layouts: the older tag of the same name does not come back.
        assert (await treq.delete(f"{base}/manifests/latest", persistent=False)).code == 202
        assert (await _get(f"{base}/manifests/latest"))[0] == 404
        assert json.loads((await _get(f"{base}/tags/list"))[1])["tags"] == ["v1"]
        # What the original program wrote is never collected.
        await deferToThread(daemon.command, "gc", "--now")
        assert (await _get(f"{base}/manifests/v1"))[1] == MANIFEST
        assert (await _get(f"{base}/blobs/{_digest(LAYER)}"))[1] == LAYER
    finally:
        await deferToThread(daemon.stop)
        await double.stop()
