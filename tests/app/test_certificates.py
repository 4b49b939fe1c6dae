"""``[tls]``: certificates by the name that is asked for, new ones while transfers go on, those of clients."""

import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent

from ipfsreg.app.certificates import BadCertificate, Certificates
from ipfsreg.app.configuration import load_config
from ipfsreg.config.errors import ConfigError
from ipfsreg.config.tls_options import TlsOptions
from tests.certificate_authority import CertificateAuthority
from tests.web.client import Connection, connect, pause, query
from tests.web.served import Serve, Served, digest_of

CONTENT = os.urandom(6_000_000)


class Authority(CertificateAuthority):
    """One that test clients trust."""

    async def connect(self, registry: Served, name: str, shown: tuple[Path, Path] | None = None) -> Connection:
        """A connection that insists on a certificate of this authority for a name."""
        from twisted.internet import reactor

        trusted = trustRootFromCertificates([Certificate.loadPEM(self.pem)])
        own = None
        if shown is not None:
            own = PrivateCertificate.loadPEM(shown[1].read_bytes() + shown[0].read_bytes())
        context = optionsForClientTLS(name, trustRoot=trusted, clientCertificate=own)
        endpoint: Any = wrapClientTLS(context, TCP4ClientEndpoint(reactor, "127.0.0.1", registry.port))
        return await connect(endpoint)


@pytest.fixture
def authority() -> Authority:
    return Authority()


def options(*pairs: tuple[Path, Path], **more: object) -> dict[str, dict[str, object]]:
    certificates, keys = (", ".join(str(pair[at]) for pair in pairs) for at in (0, 1))
    return {
        "registry": {"listen": "tls:0:interface=127.0.0.1"},
        "tls": {"certificate": certificates, "key": keys, **more},
    }


@pytest_twisted.ensureDeferred
async def test_http_1_1_is_agreed_on_by_alpn_whatever_the_certificate(
    serve: Serve, tmp_path: Path, authority: Authority
) -> None:
    pairs = [authority.issue(tmp_path, name, f"{name}.example.org") for name in ("one", "two")]
    registry = await serve(**options(*pairs))
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))

    def agreed(name: str, *offered: str) -> str | None:
        context.set_alpn_protocols(offered)
        with (
            socket.create_connection(("127.0.0.1", registry.port), 10) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            return secure.selected_alpn_protocol()

    for name in ("one.example.org", "two.example.org"):
        assert await deferToThread(agreed, name, "h2", "http/1.1") == "http/1.1"
        assert await deferToThread(agreed, name, "h2") is None


@pytest_twisted.ensureDeferred
async def test_pages_are_answered_under_the_name_of_a_certificate(
    serve: Serve, tmp_path: Path, authority: Authority
) -> None:
    """Nobody who makes another name lead here has a certificate for it that a browser takes."""
    registry = await serve(**options(authority.issue(tmp_path, "one", "one.example.org")))
    connection = await authority.connect(registry, "one.example.org")
    browser = {"Host": "one.example.org", "User-Agent": "Mozilla/5.0", "Accept": "text/html", "Sec-Fetch-Site": "none"}
    for headers in (browser, browser | {"Sec-Fetch-Site": "same-origin"}):
        page = await connection.ask("GET", "/", headers)
        assert (page.status, page["content-type"]) == (200, "text/html; charset=utf-8")
        assert page["set-cookie"].startswith("__Host-ipfsreg-form=")
        assert page["set-cookie"].endswith("; Secure")
    connection.close()


@pytest_twisted.ensureDeferred
async def test_what_to_try_has_a_name_for_which_there_is_a_certificate(
    serve: Serve, tmp_path: Path, authority: Authority, log: list[LogEvent]
) -> None:
    registry = await serve(**options(authority.issue(tmp_path, "one", "*.many.example.org", "one.example.org")))
    (line,) = [formatEvent(event) for event in log if "Ready" in formatEvent(event)]
    assert line.startswith(f"Ready: https://127.0.0.1:{registry.port}/v2/ on ")
    assert line.endswith(f"docker push one.example.org:{registry.port}/busybox")


@pytest_twisted.ensureDeferred
async def test_the_name_that_a_client_asks_for_chooses_the_certificate(
    serve: Serve, tmp_path: Path, authority: Authority
) -> None:
    one = authority.issue(tmp_path, "one", "one.example.org", "*.many.example.org")
    two = authority.issue(tmp_path, "two", "two.example.org")
    registry = await serve(**options(one, two))
    for name in ("one.example.org", "two.example.org", "any.many.example.org", "TWO.example.org"):
        connection = await authority.connect(registry, name)
        assert (await connection.ask("GET", "/v2/")).status == 200
        connection.close()
    for name in ("three.example.org", "many.example.org", "a.b.many.example.org"):
        connection = await authority.connect(registry, name)
        with pytest.raises(Exception, match=r"."):  # the certificate is for other names
            await connection.ask("GET", "/v2/")


@pytest_twisted.ensureDeferred
async def test_a_renewed_certificate_is_taken_while_a_transfer_goes_on(
    serve: Serve, tmp_path: Path, authority: Authority
) -> None:
    pair = authority.issue(tmp_path, "one", "old.example.org")
    registry = await serve(**options(pair))
    certificates = registry.daemon.reloadables[0]
    uploading = await authority.connect(registry, "old.example.org")
    location = (await uploading.ask("POST", "/v2/box/blobs/uploads/", None, b""))["location"]
    uploading.begin("PUT", query(location, digest=digest_of(CONTENT)), {"Content-Length": len(CONTENT)})
    uploading.send(CONTENT[:1_000_000])
    authority.issue(tmp_path, "one", "new.example.org")
    assert "new.example.org" in str(await certificates.reload())
    renewed = await authority.connect(registry, "new.example.org")
    assert (await renewed.ask("GET", "/v2/")).status == 200
    uploading.send(CONTENT[1_000_000:])
    assert (await uploading.answer()).status == 201
    for connection in (uploading, renewed):
        connection.close()


@pytest_twisted.ensureDeferred
async def test_a_connection_too_many_is_closed_before_the_handshake(
    serve: Serve, tmp_path: Path, authority: Authority
) -> None:
    pair = authority.issue(tmp_path, "one", "one.example.org")
    registry = await serve(**options(pair), limits={"connections": "1"})
    held = await authority.connect(registry, "one.example.org")
    assert (await held.ask("GET", "/v2/")).status == 200
    refused = await registry.connect()
    while not refused.is_closed:
        await pause(0.005)
    assert (await held.ask("GET", "/v2/")).status == 200
    held.close()


@pytest.mark.parametrize("broken", ["half", "other key", "no key", "junk", "gone"])
def test_a_broken_pair_keeps_the_old_one(
    tmp_path: Path, authority: Authority, broken: str, log: list[LogEvent]
) -> None:
    certificate, key = authority.issue(tmp_path, "one", "one.example.org")
    certificates = Certificates(TlsOptions(certificate=(certificate,), key=(key,)))
    certificates.load()
    before = certificates.serverConnectionForTLS(None).get_context()
    whole = key.read_bytes()
    if broken == "half":
        key.write_bytes(whole[:60])
    elif broken == "other key":
        key.write_bytes(authority.issue(tmp_path, "two", "two.example.org")[1].read_bytes())
    elif broken == "no key":
        key.write_bytes(certificate.read_bytes())
    elif broken == "junk":
        certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    else:
        certificate.unlink()
    with pytest.raises(BadCertificate, match=str(tmp_path)):
        certificates.load()
    assert certificates.serverConnectionForTLS(None).get_context() is before
    certificates.reload_if_changed()
    assert not log  # it was told already
    authority.issue(tmp_path, "one", "one.example.org")
    certificates.reload_if_changed()
    assert certificates.serverConnectionForTLS(None).get_context() is not before


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("wanted", ["required", "optional"])
async def test_clients_show_a_certificate(serve: Serve, tmp_path: Path, authority: Authority, wanted: str) -> None:
    stranger = Authority()
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.pem)
    pair = authority.issue(tmp_path, "one", "one.example.org")
    registry = await serve(**options(pair, client_ca=ca, client_certificate=wanted))
    known = await authority.connect(registry, "one.example.org", authority.issue(tmp_path, "alice"))
    assert (await known.ask("GET", "/v2/")).status == 200
    known.close()
    nobody = await authority.connect(registry, "one.example.org")
    if wanted == "required":
        with pytest.raises(Exception, match=r"."):
            await nobody.ask("GET", "/v2/")
    else:
        assert (await nobody.ask("GET", "/v2/")).status == 200
        nobody.close()
    other = await authority.connect(registry, "one.example.org", stranger.issue(tmp_path, "mallory"))
    with pytest.raises(Exception, match=r"."):
        await other.ask("GET", "/v2/")


def test_old_versions_are_not_spoken(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue(tmp_path, "one", "one.example.org")
    certificates = Certificates(TlsOptions(certificate=(certificate,), key=(key,)))
    certificates.load()
    server = certificates.serverConnectionForTLS(None)
    server.set_accept_state()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    client = SSL.Connection(context, None)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    server.bio_write(client.bio_read(65536))
    with pytest.raises(SSL.Error, match=r"version|protocol"):
        server.do_handshake()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[registry]\nlisten = tls:0\n", "needs [tls] certificate and key"),
        ("[tls]\ncertificate = {crt}\nkey = {key}\n", "add tls:5443 to [registry] listen"),
        (
            "[registry]\nlisten = tls:0\n[tls]\ncertificate = {crt}, {crt}\nkey = {key}\n",
            "2 in certificate and 1 in key",
        ),
        ("[registry]\nlisten = tls:0\n[tls]\nclient_ca = {crt}\n", "client_ca needs a certificate"),
        ("[registry]\nlisten = tls:http\n[tls]\ncertificate = {crt}\nkey = {key}\n", "tls:http"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, authority: Authority, text: str, said: str) -> None:
    from twisted.internet import reactor

    certificate, key = authority.issue(tmp_path, "one", "one.example.org")
    file = tmp_path / "ipfsreg.ini"
    file.write_text(text.format(crt=certificate, key=key))
    with pytest.raises(ConfigError) as refused:
        load_config(file, reactor, {})
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{file}: [")
    assert "\n" not in str(refused.value)
