"""``[kubo] ca`` and ``[textile] ca``: a server is reached whose certificate a private authority has signed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as running
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.web.resource import Resource
from twisted.web.server import Site

from ipfsreg.app.configuration import load_config, make_backend
from ipfsreg.bucket.authorities import load_authorities
from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.options import KuboOptions
from ipfsreg.bucket.kubo.rpc.client import Rpc
from ipfsreg.bucket.textile.backend import make_client
from ipfsreg.bucket.textile.options import TextileOptions
from ipfsreg.bucket.textile.proto import bucketsd_pb2
from ipfsreg.bucket.textile.server.client import BUCKETS
from ipfsreg.config.errors import ConfigError
from ipfsreg.flow.workers import Workers
from tests.certificate_authority import CertificateAuthority

reactor: Any = running


class Version(Resource):
    """A node that says its version, and a Textile server that knows no method."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setHeader("content-type", "application/json")
        return b'{"Version": "0.43.0"}'


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest_twisted.async_yield_fixture()
async def port(authority: CertificateAuthority, tmp_path: Path) -> AsyncIterator[int]:
    """Where a server listens whose certificate the authority has signed for ``localhost``."""
    certificate, key = authority.issue(tmp_path, "server", "localhost")
    shown = PrivateCertificate.loadPEM(key.read_bytes() + certificate.read_bytes())
    options = CertificateOptions(privateKey=shown.privateKey.original, certificate=shown.original)
    Factory.noisy = False
    listening = reactor.listenSSL(0, Site(Version()), options, interface="127.0.0.1")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    yield listening.getHost().port
    await listening.stopListening()


def said_of(error: BaseException) -> str:
    return str(error).lower()


@pytest_twisted.ensureDeferred
async def test_a_node(port: int, tmp_path: Path) -> None:
    async def version(host: str, ca: Path | None) -> Any:
        options = KuboOptions(api=f"https://{host}:{port}", ca=ca, directory=tmp_path / "state")
        rpc = Rpc(reactor, options.node, None, 2, 5.0)
        try:
            return await rpc.json("version")
        finally:
            await rpc.stop()

    assert (await version("localhost", tmp_path / "ca.pem"))["Version"] == "0.43.0"
    with pytest.raises(Unavailable) as refused:
        await version("localhost", None)
    assert "certificate" in said_of(refused.value)
    with pytest.raises(Unavailable):  # the certificate is not for that name
        await version("127.0.0.1", tmp_path / "ca.pem")


@pytest_twisted.ensureDeferred
async def test_a_textile_server(port: int, tmp_path: Path) -> None:
    async def refusal(ca: Path | None) -> str:
        options = TextileOptions(host=f"https://localhost:{port}", ca=ca, path=tmp_path / "state", timeout=5.0)
        client = make_client(options, reactor)
        try:
            with pytest.raises(Unavailable) as refused:
                await client.unary(BUCKETS, "List", bucketsd_pb2.ListRequest(), bucketsd_pb2.ListResponse)
            return said_of(refused.value)
        finally:
            await client.stop()

    assert "certificate" in await refusal(None)
    assert "certificate" not in await refusal(tmp_path / "ca.pem")


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
@pytest.mark.parametrize("section", ["kubo", "textile"])
def test_a_file_without_certificates_is_named(tmp_path: Path, section: str, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    config = tmp_path / "ipfsreg.ini"
    config.write_text(f"[registry]\nbackend = {section}\n[{section}]\nca = {file}\n")
    with pytest.raises(ConfigError) as refused:
        make_backend(load_config(config, reactor, {}), Workers(reactor, 2), reactor)
    assert str(refused.value).startswith(f"{config}: [{section}] ca: ")
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_chain_of_several(tmp_path: Path) -> None:
    file = tmp_path / "both.pem"
    file.write_bytes(CertificateAuthority().pem + b"\n# another\n" + CertificateAuthority().pem)
    assert load_authorities(file) is load_authorities(file)
