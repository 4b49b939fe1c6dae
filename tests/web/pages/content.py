"""What a registry may have, for pages to show: pushed by HTTP as clients do it."""

import hashlib
import http.client
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.daemon_process import DaemonProcess

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"

STEPS: Sequence[tuple[str, int]] = (
    ("/bin/sh -c #(nop) ADD file:6f1d2c0b93 in / ", 2_900_000),
    ('/bin/sh -c #(nop)  CMD ["/bin/sh"]', 0),
    ("RUN /bin/sh -c apk add --no-cache ca-certificates tzdata # buildkit", 1_400_000),
    ("WORKDIR /srv/shop", 32),
    ("COPY requirements.txt . # buildkit", 420),
    ("RUN /bin/sh -c pip install --no-cache-dir -r requirements.txt # buildkit", 5_300_000),
    ("COPY src/ /srv/shop/ # buildkit", 310_000),
    ("USER 10001", 0),
    ("EXPOSE map[8080/tcp:{}]", 0),
    ('ENTRYPOINT ["python", "-m", "shop"]', 0),
)


class Pusher:
    """Pushes to a daemon. ``headers`` go with each request."""

    def __init__(self, daemon: DaemonProcess, headers: Mapping[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
        self._headers = dict(headers or {})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _send(self, method: str, target: str, content: bytes, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, target, content, self._headers | named)
        answer = self._connection.getresponse()
        said = answer.read()
        assert answer.status == 201, (answer.status, said)

    def blob(self, repository: str, content: bytes, media_type: str, **more: object) -> dict[str, Any]:
        """Push a blob; answers its descriptor."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._send("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    def manifest(
        self, repository: str, document: Mapping[str, Any], reference: str | None = None, **more: object
    ) -> dict[str, Any]:
        """Push a manifest, by its digest where there is no other reference; answers its descriptor."""
        content = json.dumps(document, indent=2).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        target = f"/v2/{repository}/manifests/{reference or digest}"
        self._send("PUT", target, content, Content_Type=document["mediaType"])
        return {"mediaType": document["mediaType"], "digest": digest, "size": len(content), **more}

    def image(
        self,
        repository: str,
        reference: str | None,
        steps: Sequence[tuple[str, int]] = STEPS,
        *,
        config: Mapping[str, Any] | None = None,
        platform: Mapping[str, str] | None = None,
        seed: object = 0,
        scale: float = 1.0,
        **more: object,
    ) -> dict[str, Any]:
        """Push an image whose steps have layers of these sizes (none for 0) times ``scale``; answers its descriptor."""
        platform = dict(platform or {"os": "linux", "architecture": "amd64"})
        layers = []
        for number, (_, size) in enumerate(steps):
            if size:
                content = random.Random(f"{seed} {number} {platform}").randbytes(int(size * scale) or 1)
                layers.append(self.blob(repository, content, LAYER))
        document = {
            **platform,
            "created": "2026-11-21T08:15:42.123456789Z",
            "author": "shop team",
            "config": {
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"],
                "Entrypoint": ["python", "-m", "shop"],
                "WorkingDir": "/srv/shop",
                "User": "10001",
                "ExposedPorts": {"8080/tcp": {}},
                "Labels": {
                    "org.opencontainers.image.source": "https://git.example.org/shop/storefront",
                    "org.opencontainers.image.licenses": "Apache-2.0",
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
            "history": [
                {"created": "2026-11-21T08:15:42Z", "created_by": step} | ({} if size else {"empty_layer": True})
                for step, size in steps
            ],
            **(config or {}),
        }
        described = self.blob(repository, json.dumps(document).encode(), CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": IMAGE, "config": described, "layers": layers, **more}
        return self.manifest(repository, manifest, reference, platform=platform)

    def index(self, repository: str, reference: str | None, manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Push an index."""
        document = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": list(manifests),
            "annotations": {"org.opencontainers.image.version": "2.4.0"},
        }
        return self.manifest(repository, document, reference)

    def artifact(
        self, repository: str, subject: Mapping[str, Any] | None, artifact_type: str, content: bytes, **more: object
    ) -> dict[str, Any]:
        """Push an artifact of one file, as oras and cosign do, that refers to a subject."""
        empty = self.blob(repository, b"{}", EMPTY)
        file = self.blob(repository, content, artifact_type, **more)
        document = {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "artifactType": artifact_type,
            "config": empty,
            "layers": [file],
            "annotations": {"org.opencontainers.image.created": "2026-11-21T08:20:00Z"},
        }
        if subject is not None:
            document["subject"] = {name: subject[name] for name in ("mediaType", "digest", "size")}
        return self.manifest(repository, document)


def fill(push: Pusher) -> dict[str, Any]:
    """Some repositories, of which ``shop/storefront:2.4.0`` has everything; answers its descriptor."""
    name = "shop/storefront"
    images = [
        push.image(name, None, platform={"os": "linux", "architecture": architecture, **more}, seed="shop", scale=scale)
        for architecture, more, scale in (("amd64", {}, 1), ("arm64", {"variant": "v8"}, 0.94), ("riscv64", {}, 1.12))
    ]
    attested = {
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": images[0]["digest"],
        },
    }
    attestation = push.artifact(name, None, "application/vnd.in-toto+json", b'{"predicateType": "slsa"}')
    index = push.index(name, "2.4.0", [*images, attestation | attested])
    push.index(name, "latest", [*images, attestation | attested])
    sbom = push.artifact(
        name,
        index,
        "application/spdx+json",
        b'{"spdxVersion": "SPDX-2.3"}' * 900,
        annotations={TITLE: "sbom.spdx.json"},
    )
    push.artifact(name, sbom, "application/vnd.dev.sigstore.bundle.v0.3+json", b'{"signature": "of the SBOM"}')
    push.artifact(name, index, "application/vnd.dev.sigstore.bundle.v0.3+json", b'{"signature": "of the image"}')
    push.artifact(name, images[0], "application/vnd.cyclonedx+json", b'{"bomFormat": "CycloneDX"}')
    for tag, scale in (("2.3.1", 0.97), ("2.3.0", 0.96), ("2.2.0", 0.8), ("nightly", 1.1)):
        image = push.image(name, tag, seed=tag, scale=scale)
        if tag == "2.3.1":
            push.artifact(name, image, "application/vnd.dev.sigstore.bundle.v0.3+json", b'{"signature": "of 2.3.1"}')
            push.artifact(name, image, "application/spdx+json", b'{"spdxVersion": "SPDX-2.3"}' * 700)
    simple = (("ADD rootfs.tar.gz / # buildkit", 1_900_000), ('CMD ["sh"]', 0))
    for number, (repository, tags) in enumerate(
        {
            "library/busybox": ("1.36", "1.37", "latest"),
            "library/alpine": ("3.20", "3.21", "3.22", "edge"),
            "shop/checkout": ("1.0.0", "1.1.0"),
            "shop/search": ("0.9",),
            "infra/charts/ingress": ("4.11.3",),
            "team-data/etl_nightly": ("2026-11-28", "2026-11-29"),
        }.items()
    ):
        for tag in tags:
            push.image(repository, tag, simple, seed=repository + tag, scale=1 + number / 3)
    return index


TITLE = "org.opencontainers.image.title"
