"""What the client tests share: the daemon, a wire tap before it, the engines and the images."""

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificate_authority import CertificateAuthority
from tests.daemon_process import DaemonProcess

from .engines import DockerEngine
from .images import DOCKER_LIST_TYPE, DOCKER_MANIFEST_TYPE, INDEX_TYPE, MANIFEST_TYPE, busybox_layout
from .programs import client_environment, require_program, run
from .recorder import Recorder

# Registries may answer with another form of a manifest when a client does not name the one it pushed.
ACCEPT = f"{MANIFEST_TYPE}, {INDEX_TYPE}, {DOCKER_MANIFEST_TYPE}, {DOCKER_LIST_TYPE}, */*"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: many clients at once for IPFSREG_SOAK_SECONDS (by default a few seconds)")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A running daemon with an empty local store; afterwards it has to stop in good order."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as process:
        yield process


@pytest.fixture
def wire(daemon: DaemonProcess) -> Iterator[Recorder]:
    """The daemon behind a recorder: clients that are sent to `wire.host` are listened to."""
    with Recorder(daemon.port) as recorder:
        yield recorder


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with the images `amd64` (it runs), `arm64` and their index `multi`."""
    for name in ("umoci", "busybox"):
        require_program(name)
    directory = tmp_path_factory.mktemp("images")
    return busybox_layout(directory, directory)


@pytest.fixture(scope="session")
def busybox_archive(busybox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image `amd64` as an archive that engines load; its name in there is `busybox:1`."""
    directory = tmp_path_factory.mktemp("archive")
    archive = directory / "busybox.tar"
    run(
        require_program("skopeo"),
        *("copy", "--quiet", f"oci:{busybox}:amd64", f"docker-archive:{archive}:busybox:1"),
        env=client_environment(directory),
    )
    return archive


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    """Whom the Docker engines trust for TLS."""
    return CertificateAuthority()


@pytest.fixture(scope="session", params=["classic", "containerd"])
def shared_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[DockerEngine]:
    """A Docker engine: the system's with the classic image store, then the newer one with containerd's."""
    store: str = request.param
    directory = tmp_path_factory.mktemp(store)
    trusted = directory / "ca.crt"
    trusted.write_bytes(authority.pem)
    with DockerEngine(directory, newer=store == "containerd", trusted=trusted) as running:
        yield running


@pytest.fixture
def engine(shared_engine: DockerEngine) -> DockerEngine:
    """A Docker engine without any image in it."""
    shared_engine.forget_images()
    return shared_engine


@dataclass(frozen=True)
class Answer:
    """What the daemon answered to `ask`."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    def json(self) -> object:
        """The content, decoded."""
        return json.loads(self.content)


@pytest.fixture
def ask(daemon: DaemonProcess) -> Callable[..., Answer]:
    """Ask the daemon directly: `ask("/v2/_catalog")`, with `method=` and `accept=` where they matter."""

    def ask(target: str, method: str = "GET", accept: str = ACCEPT) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
        try:
            connection.request(method, target, headers={"Accept": accept})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    return ask
